//! `relgrad completions`: verbs, options and their values for a shell.

use clap::Args;
use clap_complete::Shell;

use crate::console;
use crate::error::Result;

const EXAMPLES: &str = "\
Examples:
  relgrad completions bash >~/.local/share/bash-completion/completions/relgrad
  relgrad completions zsh >~/.zfunc/_relgrad
  relgrad completions fish >~/.config/fish/completions/relgrad.fish
";

/// Prints the script by which a shell completes verbs, options and their values
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::shown(), "relgrad", &mut script);
    console::emit(&String::from_utf8_lossy(&script));
    Ok(0)
}
