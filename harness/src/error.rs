//! Errors that end the program, and the exit codes.

use std::io;
use std::path::Path;

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Exit codes: each has one meaning, whatever the verb; [`EXIT_CODES`] says which.
pub(crate) mod code {
    pub(crate) const CHECK_FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const OUTPUT: u8 = 3;
    pub(crate) const NOTHING_MEASURED: u8 = 4;
    pub(crate) const INCONCLUSIVE: u8 = 5;
    pub(crate) const DIVERGED: u8 = 6;
    pub(crate) const NO_DEVICE: u8 = 7;
    /// EX_SOFTWARE of sysexits.h.
    pub(crate) const INTERNAL: u8 = 70;
    /// As shells report SIGINT.
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// What `--help` of every verb says about exit codes.
pub(crate) const EXIT_CODES: &str = "\
Exit codes of all verbs:
    0  success; all checks and comparisons passed
    1  a check failed: wrong gradient, regression, or missed planted answer
    2  wrong usage, or an input that cannot be read
    3  results cannot be written, or a process or thread cannot be started
    4  nothing was measured or compared
    5  a comparison is inconclusive; the output estimates the rounds needed
    6  a training diverged; its last good checkpoint, if any, is kept
    7  the requested device is missing or does not work
   70  an internal error of relgrad: please report its message
  130  stopped by Ctrl-C; the records, or a checkpoint, are kept

A closed output pipe (head) ends the printing only. A full disk is code 3.";

/// An early end of the program: one line for the user and an exit code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// An input file or folder cannot be used.
    #[error("{0}")]
    Input(String),
    /// Results cannot be written, or a process or thread cannot be started.
    #[error("{0}")]
    Output(String),
    /// A computation gave a wrong result.
    #[error("{0}")]
    Wrong(String),
    /// The user asked to stop.
    #[error("{0}")]
    Interrupted(String),
    /// A training diverged.
    #[error("{0}")]
    Diverged(String),
    /// The requested device is missing or does not work.
    #[error("{0}")]
    NoDevice(String),
}

impl From<relgrad_vocabulary::Unknown> for Error {
    fn from(unknown: relgrad_vocabulary::Unknown) -> Self {
        Self::Usage(unknown.to_string())
    }
}

impl Error {
    pub(crate) fn output(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Output(format!("cannot write {}: {cause}", path.display()))
    }

    pub(crate) fn input(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Input(format!("cannot read {}: {cause}", path.display()))
    }

    /// A process or thread that the system does not start.
    pub(crate) fn cannot_start(what: &str, cause: &io::Error) -> Self {
        Self::Output(format!("cannot start {what}: {}", explained(cause)))
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Input(_) => code::USAGE,
            Self::Output(_) => code::OUTPUT,
            Self::Wrong(_) => code::CHECK_FAILED,
            Self::Interrupted(_) => code::INTERRUPTED,
            Self::Diverged(_) => code::DIVERGED,
            Self::NoDevice(_) => code::NO_DEVICE,
        }
    }
}

/// Why a process or thread was not started and, where there are too many, what to do.
pub(crate) fn explained(cause: &io::Error) -> String {
    let advice = ": raise the limit of processes and threads (`ulimit -u`)";
    format!("{cause}{}", if cause.kind() == io::ErrorKind::WouldBlock { advice } else { "" })
}
