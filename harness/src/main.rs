//! `relgrad`: what the gradient of a log-determinant-of-the-Jacobian objective costs.
//!
//! A sweep goes through folders that name its stages: [`plan`] (axes to cells, their order and predicted cost), [`run`]
//! (one process per cell, a record of each at once), [`cell`] (what that process does), and then the report. [`cmd`]
//! has one file per verb. [`gate`] measures builds in turn and compares them. Learning has three folders of its own:
//! [`data`], [`train`], and the [`experiment`]s made of them. Everything is printed through [`console`].

#[macro_use]
mod console;

mod cell;
mod cmd;
mod data;
mod error;
mod experiment;
mod gate;
mod machine;
mod outputs;
mod peer;
mod plan;
mod quantity;
mod roofline;
mod run;
mod selftest;
mod train;
mod verify;
mod workload;

use std::any::Any;
use std::io::ErrorKind;
use std::panic::{PanicHookInfo, catch_unwind};
use std::process::ExitCode;

use clap::Parser;

use crate::error::{Error, Result, code};

/// Tests of readers count the memory that they take.
#[cfg(test)]
#[global_allocator]
static COUNTING: relgrad_adversary::Counting = relgrad_adversary::Counting;

fn main() -> ExitCode {
    run::process::survive_file_size_limit();
    std::panic::set_hook(Box::new(tell_of_panic));
    ExitCode::from(guarded(start))
}

/// Reads the command line, runs its verb, and tells what went wrong with the words.
fn start() -> Result<u8> {
    let cli = match cmd::Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return tell_of_usage(&told),
    };
    let code = cli.run()?;
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
    let version = cmd::version();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_internal_error_and_errors_have_their_codes() {
        assert_eq!(guarded(|| Ok(5)), 5);
        assert_eq!(guarded(|| Err(Error::Output("full".to_string()))), code::OUTPUT);
        assert_eq!(guarded(|| panic!("planted")), code::INTERNAL);
        assert_eq!((words(&"a"), words(&"b".to_string()), words(&3)), ("a", "b", "no message"));
    }
}
