//! `relgrad selftest`: whether statistics and meters find planted answers.

use std::path::PathBuf;

use clap::Args;
use relgrad_reports::units;

use crate::error::{Result, code};
use crate::selftest::{self, Row, Trials};

const HELP: &str = "\
Planted are:
- in noisy synthetic records: exponents, speed-ups, medians, crossovers, predictions and laws, also on machines with \
two speeds, with a scatter that grows with D, or with one process at the largest D;
- in quiet synthetic records: a crossover, a bend, a step, laws and a censored cell;
- in kernels that spin for a known number of operations, timed like cells: an exponent and a ratio;
- in the memory meters: allocations of known size.

In noisy records the 95 % intervals must cover the truth in 93 % to 97 % of 1,000 studies, and in 92 % to 98 % on the \
troubled machines. With fewer studies the accepted range is wider. A share within 1 % of an edge of the range is \
decided by four times the studies. The largest dimensions of every sweep below --archive are hidden and predicted: 85 \
% of the intervals must hold what was measured, with a median error of at most 15 %.
";

/// Plants known answers in records, timed kernels and memory, and checks that they are found
#[derive(Debug, Args)]
#[command(after_help = super::help(HELP))]
pub(crate) struct Arguments {
    /// Synthetic studies for each coverage of intervals
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(50..))]
    studies: u16,
    /// A few seconds, for CI: 300 studies of two designs, small allocations
    #[arg(long, conflicts_with = "studies")]
    quick: bool,
    /// A folder of sweeps whose largest dimensions are hidden and predicted [default: reports/archive, if it exists]
    #[arg(long, value_name = "DIR", conflicts_with = "quick")]
    archive: Option<PathBuf>,
}

/// Prints a table and returns whether everything in it passed.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    super::start_threads(None)?;
    let usual = || Some(PathBuf::from("reports/archive")).filter(|folder| folder.is_dir());
    let archive = arguments.archive.clone().or_else(usual);
    let trials = if arguments.quick { Trials::quick() } else { Trials::full(arguments.studies.into(), archive) };
    say!("{:<78} {:>12} {:>26} {:>18}", "what", "planted", "found", "accepted");
    let mut failed = 0;
    selftest::run(&trials, |row: &Row| {
        failed += usize::from(!row.passed);
        let verdict = if row.passed { "" } else { "  FAILED" };
        say!("{:<78} {:>12} {:>26} {:>18}{verdict}", row.what, row.planted, row.found, row.accepted);
    })?;
    if failed == 0 {
        say!("\nEvery planted answer was found.");
        return Ok(0);
    }
    note!("relgrad: {} not found", units::counted(failed, "planted answer"));
    Ok(code::CHECK_FAILED)
}
