//! The verbs of the program, one file each.

mod calibrate;
mod cell;
mod compare;
mod doctor;
mod evaluate;
mod experiment;
mod export;
mod gate;
mod history;
mod peer_case;
mod plot;
mod report;
mod roofline;
mod selftest;
mod sweep;
mod train;
mod verify;
mod worker;

use std::io;
use std::str::FromStr;
use std::sync::LazyLock;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use relgrad_reports::units;

use crate::error::{EXIT_CODES, Error, Result};
use crate::{console, machine};

/// Measures what the gradient of a log-determinant-of-the-Jacobian objective costs: the relative gradient beside the
/// ordinary one and full-Jacobian automatic differentiation, over the data dimension D
#[derive(Debug, Parser)]
#[command(name = "relgrad", version = version(), after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Sweep(Box<sweep::Arguments>),
    Report(report::Arguments),
    Plot(plot::Arguments),
    Verify(verify::Arguments),
    Roofline(roofline::Arguments),
    Selftest(selftest::Arguments),
    Train(Box<train::Arguments>),
    Experiment(experiment::Arguments),
    Doctor(doctor::Arguments),
    Compare(compare::Arguments),
    Gate(Box<gate::Arguments>),
    Calibrate(Box<calibrate::Arguments>),
    History(history::Arguments),
    Export(export::Arguments),
    /// Measures one cell in this process and prints the result as JSON (the sweep starts these)
    #[command(hide = true)]
    Cell(cell::Arguments),
    /// Evaluates the gradient of one cell again and again, for instruction counters and profilers
    #[command(hide = true)]
    Evaluate(evaluate::Arguments),
    /// Prints a small network, a batch and the gradients of every method as JSON, to verify other implementations
    #[command(hide = true)]
    PeerCase(peer_case::Arguments),
    /// Prepares one cell in this process and takes samples when asked (the gate starts these)
    #[command(hide = true)]
    Worker(worker::Arguments),
}

impl Cli {
    /// Runs the verb and returns the exit code of the program.
    ///
    /// # Errors
    /// What the verb cannot do, with the exit code of [`crate::error::Error::code`].
    pub(crate) fn run(self) -> Result<u8> {
        if self.verb.computes() {
            start_threads(self.verb.threads())?;
        }
        match self.verb {
            Verb::Sweep(arguments) => sweep::run(&arguments),
            Verb::Report(arguments) => report::run(&arguments),
            Verb::Plot(arguments) => plot::run(&arguments),
            Verb::Verify(arguments) => verify::run(&arguments),
            Verb::Roofline(arguments) => roofline::run(&arguments),
            Verb::Selftest(arguments) => selftest::run(&arguments),
            Verb::Train(arguments) => train::run(&arguments),
            Verb::Experiment(arguments) => experiment::run(&arguments),
            Verb::Doctor(arguments) => doctor::run(&arguments),
            Verb::Compare(arguments) => compare::run(&arguments),
            Verb::Gate(arguments) => gate::run(&arguments),
            Verb::Calibrate(arguments) => calibrate::run(&arguments),
            Verb::History(arguments) => history::run(&arguments),
            Verb::Export(arguments) => export::run(&arguments),
            Verb::Cell(arguments) => cell::run(&arguments),
            Verb::Evaluate(arguments) => evaluate::run(&arguments),
            Verb::PeerCase(arguments) => peer_case::run(&arguments),
            Verb::Worker(arguments) => worker::run(&arguments),
        }
    }
}

impl Verb {
    /// Threads that were asked for, of the verbs whose pool is to have no more.
    fn threads(&self) -> Option<usize> {
        match self {
            Self::Train(arguments) => arguments.asked_threads(),
            _ => None,
        }
    }

    /// Whether the verb computes in this process; others only read, write and start processes.
    fn computes(&self) -> bool {
        matches!(
            self,
            Self::Verify(_)
                | Self::Selftest(_)
                | Self::Train(_)
                | Self::Experiment(_)
                | Self::Cell(_)
                | Self::PeerCase(_)
                | Self::Worker(_)
        )
    }
}

/// Version and revision, as `--version` tells them.
pub(crate) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let version = env!("CARGO_PKG_VERSION");
        match option_env!("RELGRAD_GIT_REVISION") {
            Some(revision) => format!("{version} (revision {revision})"),
            None => version.to_string(),
        }
    });
    &VERSION
}

/// Most samples N of a batch.
pub(crate) const MAX_BATCH: usize = 1_000_000_000;
/// Most layers L.
pub(crate) const MAX_LAYERS: usize = 1_000_000;
/// Most rounds, trials and repetitions.
pub(crate) const MAX_ROUNDS: usize = 1_000_000;
/// Most CPU threads.
pub(crate) const MAX_THREADS: usize = 65_536;

/// Reads a count that cannot be zero.
fn at_least_one(text: &str) -> Result<usize, String> {
    count::<MAX_BATCH>(text)
}

/// Reads a count from 1 to `MOST`.
fn count<const MOST: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=MOST).contains(&count) => Ok(count),
        _ => Err(format!("`{}` is not a whole number from 1 to {MOST}", console::quoted(text))),
    }
}

/// Says so where threads would have to take turns.
pub(crate) fn warn_of_threads(threads: usize) {
    let cores = machine::logical_cores();
    if threads > cores {
        let cores = units::counted(cores, "core");
        note!("relgrad: {threads} threads on {cores} take turns: times say little; choose fewer --threads");
    }
}

/// Starts the pool of threads that everything parallel outside of the kernels' own teams runs on, as many as this
/// process may use, or as RAYON_NUM_THREADS or the user says. Rayon would start it on first use, and panic where the
/// system refuses a thread.
fn start_threads(asked: Option<usize>) -> Result<()> {
    // 0 leaves it to rayon.
    rayon::ThreadPoolBuilder::new().num_threads(asked.unwrap_or(0)).build_global().map_err(no_threads)?;
    // One more is needed for short: the trace of memory, the signals.
    let one_more = std::thread::Builder::new().spawn(|| ());
    one_more.map(drop).map_err(|cause| Error::cannot_start("a thread", &cause))
}

/// What a pool of threads that cannot be built comes to.
pub(crate) fn no_threads(cause: rayon::ThreadPoolBuildError) -> Error {
    let refused = std::error::Error::source(&cause).and_then(|source| source.downcast_ref::<io::Error>());
    match refused {
        Some(refused) => Error::cannot_start("a thread", refused),
        None => Error::Output(format!("cannot start threads: {cause}")),
    }
}

/// Fails where a computation would need more memory than there is.
///
/// # Errors
/// Names `what` and both amounts.
pub(crate) fn require_memory(what: &str, bytes: f64) -> Result<()> {
    let reserved = machine::memory::BYTES_A_THREAD * (1 + machine::logical_cores()) as f64;
    machine::memory::require(what, bytes, reserved, "choose a smaller one")
}

/// Reads one of a few names, which `--help` lists.
fn named<T, const N: usize>(names: [&'static str; N]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

/// A list without what stands in it before.
pub(crate) fn each_once<T: Copy + PartialEq>(list: &[T]) -> Vec<T> {
    let mut once = Vec::new();
    list.iter().for_each(|entry| {
        if !once.contains(entry) {
            once.push(*entry);
        }
    });
    once
}

#[cfg(test)]
mod flags_tests;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn counts_have_a_range() {
        assert_eq!((count::<9>("1"), count::<9>("9")), (Ok(1), Ok(9)));
        for text in ["0", "10", "18446744073709551615", "18446744073709551616", "-1", "1.5", ""] {
            let told = count::<9>(text).unwrap_err();
            assert!(told.contains(&format!("`{text}`")) && told.contains("from 1 to 9"), "{told}");
        }
    }
}
