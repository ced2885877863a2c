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

use clap::{Parser, Subcommand};

use crate::error::{EXIT_CODES, Result};

/// Measures what the gradient of a log-determinant-of-the-Jacobian objective costs: the relative gradient beside the
/// ordinary one and full-Jacobian automatic differentiation, over the data dimension D
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES, max_term_width = 100)]
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

/// Reads a count that cannot be zero.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err(format!("`{text}` is not a whole number from 1 on")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
