//! Captures what built the program: the git revision and the compiler.
//!
//! Both go into every `run.json`. Git, or a checkout, may be missing (a source archive): then there is no revision.

use std::path::Path;
use std::process::Command;

fn main() {
    // The revision is `-dirty` when any source differs from it, so a change of any source must run this again. A commit
    // is seen by the log of HEAD: every `git status`, that of a shell's prompt too, may write the index, and would have
    // all built anew.
    let log = "../.git/logs/HEAD";
    for watched in [
        "../.git/HEAD",
        if Path::new(log).exists() { log } else { "../.git/index" },
        "../Cargo.lock",
        "../harness",
        "../kernels",
        "../plots",
        "../reports",
    ] {
        if Path::new(watched).exists() {
            println!("cargo::rerun-if-changed={watched}");
        }
    }
    if let Some(revision) = git_revision() {
        println!("cargo::rustc-env=RELGRAD_GIT_REVISION={revision}");
    }
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_string());
    let version = output(Command::new(compiler).arg("--version")).unwrap_or_else(|| "unknown".to_string());
    println!("cargo::rustc-env=RELGRAD_RUSTC_VERSION={version}");
}

/// The commit of the checkout that holds this crate, with `-dirty` when tracked files differ from it.
fn git_revision() -> Option<String> {
    let git = || {
        let mut command = Command::new("git");
        command.current_dir("..");
        command
    };
    // A source archive unpacked inside some other checkout is not that checkout.
    let prefix = output(git().args(["rev-parse", "--show-prefix"]));
    if !Path::new("../.git").exists() && prefix.is_none_or(|prefix| !prefix.is_empty()) {
        return None;
    }
    let revision = output(git().args(["rev-parse", "HEAD"]))?;
    let changes = output(git().args(["--no-optional-locks", "status", "--porcelain", "--untracked-files=no"]))?;
    Some(if changes.is_empty() { revision } else { format!("{revision}-dirty") })
}

/// Trimmed standard output of a command that succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
}
