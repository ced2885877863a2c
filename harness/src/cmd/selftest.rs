//! `relgrad selftest`: do the statistics and the meters find answers that were planted?

use clap::Args;
use relgrad_reports::units;

use crate::error::{Result, code};
use crate::selftest::{self, Row, Trials};

const HELP: &str = "\
Plants known answers and looks for them: exponents, speed-ups, medians, crossovers and predictions in seeded synthetic \
records (how often do 95 % intervals hold the truth?), a crossover, a breakpoint, laws and a censored cell in quiet \
ones, an exponent and a ratio in kernels that spin for a planted number of operations and are timed as cells are, and \
allocations of known size in the memory meters. A share of intervals passes between 93 % and 97 % of 1,000 studies; \
with fewer studies the range is wider by what chance allows. Where a share is within 1 % of an edge of that range, on \
either side, its design gets four times the studies, and all of them decide.
";

/// Plants known answers in records, timed kernels and memory, and checks that they are found
#[derive(Debug, Args)]
#[command(after_help = super::help(HELP))]
pub(crate) struct Arguments {
    /// Seeded studies for each share of intervals
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(50..))]
    studies: u16,
    /// A check of a few seconds, for CI: 300 studies of two designs, small allocations
    #[arg(long, conflicts_with = "studies")]
    quick: bool,
}

/// Prints a table and returns whether everything in it passed.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    super::start_threads(None)?;
    let trials = if arguments.quick { Trials::quick() } else { Trials::full(arguments.studies.into()) };
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
