//! The verbs of the program, one file each.

// Not by the macro below: rustfmt would not find the files.
pub(crate) mod atlas;
pub(crate) mod calibrate;
pub(crate) mod cell;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod draw;
pub(crate) mod evaluate;
pub(crate) mod experiment;
pub(crate) mod export;
pub(crate) mod gate;
pub(crate) mod history;
pub(crate) mod invert;
pub(crate) mod man;
pub(crate) mod merge;
pub(crate) mod paper;
pub(crate) mod peer_case;
pub(crate) mod plot;
pub(crate) mod predict;
pub(crate) mod report;
pub(crate) mod roofline;
pub(crate) mod score;
pub(crate) mod selftest;
pub(crate) mod sweep;
pub(crate) mod train;
pub(crate) mod verify;

use std::any::Any;
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::panic::{PanicHookInfo, catch_unwind};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::LazyLock;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Command, CommandFactory, Parser, Subcommand};
use relgrad_kernels::{DeviceKind, Math};
use relgrad_reports::units;
use serde::Serialize;

use crate::error::{EXIT_CODES, Error, Result, code};
use crate::measure::run::process;
use crate::{console, machine};

/// A variant a verb: its module has `Arguments`, which say whether it is hidden, and `run`.
macro_rules! verbs {
    ($($file:ident: $verb:ident,)*) => {
        #[derive(Debug, Subcommand)]
        enum Verb {
            $($verb(Box<$file::Arguments>),)*
        }

        impl Verb {
            fn run(&self) -> Result<u8> {
                match self {
                    $(Self::$verb(arguments) => $file::run(arguments),)*
                }
            }
        }
    };
}

verbs! {
    sweep: Sweep,
    report: Report,
    merge: Merge,
    atlas: Atlas,
    predict: Predict,
    plot: Plot,
    verify: Verify,
    roofline: Roofline,
    selftest: Selftest,
    train: Train,
    score: Score,
    draw: Draw,
    invert: Invert,
    experiment: Experiment,
    paper: Paper,
    doctor: Doctor,
    compare: Compare,
    gate: Gate,
    calibrate: Calibrate,
    history: History,
    export: Export,
    completions: Completions,
    man: Man,
    cell: Cell,
    evaluate: Evaluate,
    peer_case: PeerCase,
}

/// Measures the cost of the gradient of a log-likelihood with a Jacobian determinant: relative, ordinary and
/// full-Jacobian automatic differentiation, over the data dimension D
#[derive(Debug, Parser)]
#[command(name = "relgrad", version = version(), after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// The program: reads the command line of this process, runs its verb, and says what went wrong.
pub fn main() -> ExitCode {
    process::survive_file_size_limit();
    std::panic::set_hook(Box::new(tell_of_panic));
    ExitCode::from(guarded(start))
}

fn start() -> Result<u8> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return tell_of_usage(&told),
    };
    let code = cli.verb.run()?;
    // What was measured is in its folder by now, whatever became of the words about it.
    match console::failure() {
        Some(cause) => Err(Error::Output(cause)),
        None => Ok(code),
    }
}

/// The exit code of `work`, told of where it is an error; that of an internal error where it panics.
fn guarded(work: fn() -> Result<u8>) -> u8 {
    match catch_unwind(work) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            note!("relgrad: {}", relgrad_vocabulary::visible(&error.to_string()));
            error.code()
        }
        Err(_) => code::INTERNAL,
    }
}

/// Prints help, the version, or what is wrong with the command line.
fn tell_of_usage(told: &clap::Error) -> Result<u8> {
    // Clap quotes arguments as they are.
    let steers = |argument: &String| console::visible(argument) != *argument;
    let printed = if console::command_line().iter().any(steers) {
        note!("{}", told.render().to_string().trim_end());
        Ok(())
    } else {
        told.print()
    };
    match printed {
        Err(cause) if !told.use_stderr() && cause.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Output(format!("cannot write to standard output: {cause}")))
        }
        _ => Ok(if told.use_stderr() { code::USAGE } else { 0 }),
    }
}

/// One line with all that a report needs, and the trace where RUST_BACKTRACE asks for one.
fn tell_of_panic(panic: &PanicHookInfo<'_>) {
    let message = words(panic.payload()).replace('\n', " ");
    let place = panic.location().map_or(String::new(), |at| format!(" ({at})"));
    let version = version();
    note!("relgrad: internal error: {message}{place}; please report this and the command, of version {version}");
    let trace = std::backtrace::Backtrace::capture();
    if trace.status() == std::backtrace::BacktraceStatus::Captured {
        note!("{trace}");
    }
}

fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The command line without hidden verbs, for completions and manual pages.
fn shown() -> Command {
    let all = Cli::command();
    let verbs = all.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    let named = Command::new("relgrad").version(version()).after_help(EXIT_CODES).subcommand_required(true);
    named.about(all.get_about().cloned().unwrap_or_default()).subcommands(verbs.collect::<Vec<_>>())
}

fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let version = env!("CARGO_PKG_VERSION");
        option_env!("RELGRAD_GIT_REVISION")
            .map_or(version.to_string(), |revision| format!("{version} (revision {revision})"))
    });
    &VERSION
}

/// What stands behind the flags in the help of a verb.
fn help(words: &str) -> String {
    format!("{words}\n{EXIT_CODES}")
}

fn print_json(document: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(document).map_err(|cause| Error::Output(cause.to_string()))?;
    console::emit(&format!("{text}\n"));
    Ok(())
}

fn print_pretty_json(document: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(document).map_err(|cause| Error::Output(cause.to_string()))?;
    console::emit(&format!("{text}\n"));
    Ok(())
}

/// Most samples N of a batch.
const MAX_BATCH: usize = 1_000_000_000;
/// Most layers L.
const MAX_LAYERS: usize = 1_000_000;
/// Most rounds, trials and repetitions.
const MAX_ROUNDS: usize = 1_000_000;
/// Most CPU threads.
const MAX_THREADS: usize = 65_536;

fn at_least_one(text: &str) -> Result<usize, String> {
    count::<MAX_BATCH>(text)
}

fn count<const MOST: usize>(text: &str) -> Result<usize, String> {
    whole(text, 1..=MOST)
}

fn up_to<const MOST: usize>(text: &str) -> Result<usize, String> {
    whole(text, 0..=MOST)
}

fn whole(text: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if range.contains(&count) => Ok(count),
        _ => {
            let (least, most) = range.into_inner();
            Err(format!("`{}` is not a whole number from {least} to {most}", console::quoted(text)))
        }
    }
}

/// Fails unless one of the devices knows an arithmetic.
pub(crate) fn require_known(math: Math, devices: &[DeviceKind]) -> Result<()> {
    if devices.iter().any(|device| math.is_known_to(*device)) {
        return Ok(());
    }
    let others = DeviceKind::ALL.into_iter().filter(|device| math.is_known_to(*device));
    let names: Vec<&str> = others.map(DeviceKind::name).collect();
    Err(Error::Usage(format!("--math {math} requires --device {}", names.join(" or "))))
}

/// Each value once, in the order given.
pub(crate) fn distinct<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

/// Says so where threads would have to take turns.
fn warn_of_threads(threads: usize) {
    let cores = machine::logical_cores();
    if threads > cores {
        let cores = units::counted(cores, "core");
        note!("relgrad: {threads} threads on {cores}: times are unreliable; choose fewer --threads");
    }
}

/// Says so where ranks would have to take turns.
fn warn_of_ranks(ranks: usize) {
    let cores = machine::logical_cores();
    if ranks > cores {
        let cores = units::counted(cores, "core");
        note!("relgrad: {ranks} ranks on {cores}: times are unreliable; choose fewer --ranks");
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

#[cfg(test)]
mod flags_tests;

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_panic_is_an_internal_error_and_errors_have_their_codes() {
        assert_eq!(guarded(|| Ok(5)), 5);
        assert_eq!(guarded(|| Err(Error::Output("full".to_string()))), code::OUTPUT);
        assert_eq!(guarded(|| panic!("planted")), code::INTERNAL);
        assert_eq!((words(&"a"), words(&"b".to_string()), words(&3)), ("a", "b", "no message"));
    }
}
