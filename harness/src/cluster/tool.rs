//! The programs of an engine: found on PATH, and run with a limit of time.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::console;
use crate::error::{Error, Result};
use crate::measure::run::interrupt::Events;
use crate::measure::run::process::{self, ChildLimits, End};

/// How long a question may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long copying the program to another machine may take.
pub(super) const COPYING: Duration = Duration::from_secs(600);
/// Characters of what a program says in vain.
const MOST_WORDS: usize = 300;

/// A program of an engine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool {
    pub(super) program: &'static str,
    /// What to do where it is missing.
    pub(super) remedy: &'static str,
}

/// Why a program gave no answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    /// Its exit code; none where it was killed, or could not be started.
    pub(super) code: Option<i32>,
    /// In a line.
    pub(super) words: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<Refusal> for String {
    fn from(refusal: Refusal) -> Self {
        refusal.words
    }
}

impl Tool {
    /// Fails where the program is not there.
    pub(super) fn require(&self) -> Result<()> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if std::env::split_paths(&path).any(|folder| folder.join(self.program).is_file()) {
            return Ok(());
        }
        Err(Error::NoDevice(format!("`{}` is not on PATH: {}", self.program, self.remedy)))
    }

    /// Runs it in `folder` and returns what it prints. Signals of the terminal do not cut it off: a job that was handed
    /// over without its number would have to be looked for.
    pub(super) fn run<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        folder: &Path,
        patience: Duration,
    ) -> Result<String, Refusal> {
        let mut command = Command::new(self.program);
        command.args(arguments).current_dir(folder);
        let limits = ChildLimits { kill_after: Some(patience), ..ChildLimits::default() };
        let prefix = format!("{}: ", self.program);
        // Most programs name themselves.
        let refusal = |code, words: String| Refusal {
            code,
            words: if words.starts_with(&prefix) { words } else { format!("{prefix}{words}") },
        };
        match process::run(command, limits, &mut Events::without_signals()) {
            Ok(End::Exited { status, stdout, .. }) if status.success() => Ok(stdout),
            Ok(End::Exited { status, stdout, stderr }) => {
                let words = last_line(&stderr).or_else(|| last_line(&stdout));
                let words = words.unwrap_or_else(|| format!("ended with {status}"));
                Err(refusal(status.code(), words))
            }
            Ok(End::TimedOut | End::Interrupted) => {
                Err(refusal(None, format!("gave no answer within {} s", patience.as_secs())))
            }
            Err(cause) => Err(refusal(None, format!("cannot be started: {cause}"))),
        }
    }
}

/// The last line that says something. The `error` of a JSON object ends in one that does not.
fn last_line(text: &str) -> Option<String> {
    let says = |line: &&str| line.contains(|c: char| c.is_alphanumeric());
    let line = text.lines().map(str::trim).rfind(says)?;
    Some(console::cut(line, MOST_WORDS))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const SHELL: Tool = Tool { program: "sh", remedy: "install a shell" };

    fn run(script: &str, patience: Duration) -> Result<String, Refusal> {
        SHELL.run(["-c", script], Path::new("/"), patience)
    }

    #[test]
    fn a_program_answers_or_says_why_not_in_a_line() {
        assert_eq!(run("pwd", PATIENCE), Ok("/\n".to_string()));
        let told = |script: &str| run(script, PATIENCE).unwrap_err();
        let refused = Refusal { code: Some(3), words: "sh: no such partition".to_string() };
        assert_eq!(told("echo out; echo warning >&2; echo no such partition >&2; exit 3"), refused);
        assert_eq!(told("echo sh: line 1 >&2; exit 2").words, "sh: line 1");
        assert_eq!(told("echo '{\n \"error\": \"no server\"\n}'; exit 1").words, "sh: \"error\": \"no server\"");
        assert!(told("exit 9").words.contains('9'));
        let slow = run("exec sleep 60", Duration::from_millis(50)).unwrap_err();
        assert!(slow.code.is_none() && slow.words.contains("no answer"), "{slow}");
    }

    #[test]
    fn a_missing_program_is_named_with_what_to_do() {
        SHELL.require().unwrap();
        let missing = Tool { program: "no-such-engine", remedy: "install it" };
        let told = missing.require().unwrap_err();
        assert_eq!(told.code(), crate::error::code::NO_DEVICE);
        assert_eq!(told.to_string(), "`no-such-engine` is not on PATH: install it");
        let refusal = missing.run(["x"], Path::new("/"), PATIENCE).unwrap_err();
        assert!(refusal.words.starts_with("no-such-engine: cannot be started: "), "{refusal}");
    }
}
