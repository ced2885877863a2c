//! Why the program ends early, and the exit code that says so.

use std::path::Path;

/// `Result` with [`Error`].
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Exit codes, as `--help` documents them.
pub(crate) mod code {
    /// A gradient disagrees with its reference.
    pub(crate) const CHECK_FAILED: u8 = 1;
    /// The command line is wrong, or an input cannot be read.
    pub(crate) const USAGE: u8 = 2;
    /// Results cannot be written.
    pub(crate) const OUTPUT: u8 = 3;
    /// A comparison found that something got worse.
    pub(crate) const REGRESSION: u8 = 1;
    /// A comparison could not decide.
    pub(crate) const INCONCLUSIVE: u8 = 3;
    /// Results of a comparison cannot be written; 3 means something else there.
    pub(crate) const COMPARISON_OUTPUT: u8 = 5;
    /// A sweep ended without a single measurement.
    pub(crate) const NOTHING_MEASURED: u8 = 4;
    /// A training met a number that is not finite, or a singular weight.
    pub(crate) const DIVERGED: u8 = 6;
    /// The device that was asked for is not there.
    pub(crate) const NO_DEVICE: u8 = 7;
    /// Stopped by a signal, as shells report SIGINT.
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// What `--help` says about exit codes.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  success
    1  a gradient disagrees with its reference
    2  wrong usage, or an input that cannot be read
    3  results cannot be written
    4  the sweep ended without one measurement
    6  a training diverged; its last good checkpoint is kept
    7  the device that was asked for is not there
  130  stopped by Ctrl-C; the records, or a checkpoint, are kept";

/// What `--help` says about the exit codes of `calibrate`.
pub(crate) const CALIBRATION_EXIT_CODES: &str = "\
Exit codes:
    0  the trials were made; the output says what they showed
    2  wrong usage
    4  nothing was measured
    5  results cannot be written
  130  stopped by Ctrl-C";

/// What `--help` says about the exit codes of `compare` and `gate`.
pub(crate) const COMPARISON_EXIT_CODES: &str = "\
Exit codes:
    0  held: nothing got worse by more than is tolerated
    1  regression: something got slower or larger, or a gradient is wrong
    2  wrong usage, or an input that cannot be read
    3  inconclusive; the output says how many more rounds would decide
    4  nothing was measured on both sides
    5  results cannot be written
  130  stopped by Ctrl-C";

/// An early end of the program: one line for the user and an exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line asks for something impossible.
    #[error("{0}")]
    Usage(String),
    /// An input file or folder cannot be used.
    #[error("{0}")]
    Input(String),
    /// Results cannot be written.
    #[error("{0}")]
    Output(String),
    /// The user asked to stop.
    #[error("{0}")]
    Interrupted(String),
    /// A training cannot go on.
    #[error("{0}")]
    Diverged(String),
    /// The device that was asked for is not there, or does not work.
    #[error("{0}")]
    NoDevice(String),
    /// Results of a comparison cannot be written.
    #[error("{0}")]
    ComparisonOutput(String),
}

impl Error {
    /// An output error about `path`.
    pub(crate) fn output(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Output(format!("cannot write {}: {cause}", path.display()))
    }

    /// An input error about `path`.
    pub(crate) fn input(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Input(format!("cannot read {}: {cause}", path.display()))
    }

    /// The same error of a verb that compares, where the code of [`Error::Output`] means something else.
    pub(crate) fn of_comparison(self) -> Self {
        match self {
            Self::Output(cause) => Self::ComparisonOutput(cause),
            other => other,
        }
    }

    /// Exit code of the program.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Input(_) => code::USAGE,
            Self::Output(_) => code::OUTPUT,
            Self::Interrupted(_) => code::INTERRUPTED,
            Self::Diverged(_) => code::DIVERGED,
            Self::NoDevice(_) => code::NO_DEVICE,
            Self::ComparisonOutput(_) => code::COMPARISON_OUTPUT,
        }
    }
}
