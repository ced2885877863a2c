//! `relgrad man`: the help as manual pages.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use crate::console;
use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  relgrad man | man -l -
  relgrad man --out ~/.local/share/man/man1
";

/// Prints the manual page of relgrad, or writes one for each verb
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Write relgrad.1, relgrad-sweep.1 and so on into DIR
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let mut command = super::shown().disable_help_subcommand(true);
    command.build();
    match &arguments.out {
        Some(dir) => {
            fs::create_dir_all(dir).map_err(|cause| Error::output(dir, cause))?;
            write(dir, &command)?;
        }
        None => console::emit(&page(&command)?),
    }
    Ok(0)
}

/// The page of a command, and of those below it.
fn write(dir: &Path, command: &Command) -> Result<()> {
    let path = dir.join(format!("{}.1", command.get_display_name().unwrap_or(command.get_name())));
    fs::write(&path, page(command)?).map_err(|cause| Error::output(&path, cause))?;
    command.get_subcommands().try_for_each(|verb| write(dir, verb))
}

fn page(command: &Command) -> Result<String> {
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text).map_err(|cause| Error::Output(cause.to_string()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
