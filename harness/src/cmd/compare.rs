//! `relgrad compare`: two sweeps, or baselines, side by side.

use std::path::{Path, PathBuf};

use clap::Args;
use relgrad_reports::study::{Invalid, Study};

use crate::compare::{self, Comparison, Outcome, Rules};
use crate::error::{Result, code};
use crate::quantity::Fraction;

const EXAMPLES: &str = "\
Examples:
  relgrad compare results/before results/after
  relgrad compare reports/baselines/ci.jsonl new.jsonl --markdown

A side is the folder of a sweep or a file that relgrad gate saved. Every cell that both sides have is compared: its \
time, its time over the calibration kernels where both sides have them, its speed-ups, its peak memory; and the \
exponent of every method. Absolute times are judged only between equal machines, and nothing between sides of other \
--threads. Quantities in parentheses are shown and not judged.

A quantity is worse when it got worse beyond doubt by more than half the tolerated slowdown and that is not ruled out, \
the same when the tolerated slowdown is ruled out, and otherwise inconclusive. The unit is a process: intervals are \
Student's t over the medians of the rounds.
";

/// Compares two measurements cell by cell: ratio, interval, verdict, and what moved
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// What was: the folder of a sweep, or a baseline file
    base: PathBuf,
    /// What is: the folder of a sweep, or a baseline file
    new: PathBuf,
    #[command(flatten)]
    tolerance: Tolerance,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    format: Format,
}

/// How files of records are read.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Reading {
    /// Leave out lines that are no valid records, and say which; otherwise they are an error
    #[arg(long)]
    skip_invalid: bool,
}

impl Reading {
    /// What becomes of an invalid line.
    pub(crate) fn invalid(self) -> Invalid {
        if self.skip_invalid { Invalid::Skip } else { Invalid::Refuse }
    }

    /// Reads the folder of a sweep or a baseline file, and says what was left out.
    pub(crate) fn read(self, path: &Path) -> Result<Study> {
        compare::read(path, self.invalid()).map(told)
    }
}

/// A study whose warnings of its reading were printed.
pub(crate) fn told(study: Study) -> Study {
    study.warnings.iter().for_each(|warning| note!("relgrad: {warning}"));
    study
}

/// What is tolerated.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Tolerance {
    /// Slowdown, and loss of speed-up, that is no regression (10%, or 1.1x)
    #[arg(long, value_name = "PERCENT", default_value = "10%")]
    max_slowdown: Fraction,
    /// The same where the sides are of different machines; that of --max-slowdown when absent
    #[arg(long, value_name = "PERCENT")]
    max_slowdown_elsewhere: Option<Fraction>,
    /// Growth of peak memory that is no regression (10%, or 1.1x)
    #[arg(long, value_name = "PERCENT", default_value = "10%")]
    max_growth: Fraction,
}

/// How a comparison is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Format {
    /// Print Markdown, for a comment or a job summary
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let reading = arguments.reading;
    let (base, new) = (reading.read(&arguments.base)?, reading.read(&arguments.new)?);
    let comparison = compare::studies(&base, &new, &arguments.tolerance.rules(1));
    print(&comparison, arguments.format)?;
    Ok(exit_code(&comparison))
}

impl Tolerance {
    /// The rules with these tolerances, for rounds that are looked at `looks` times.
    pub(crate) fn rules(&self, looks: usize) -> Rules {
        Rules {
            max_slowdown: self.max_slowdown.0,
            max_slowdown_elsewhere: self.max_slowdown_elsewhere.unwrap_or(self.max_slowdown).0,
            max_growth: self.max_growth.0,
            looks,
            ..Rules::default()
        }
    }
}

pub(crate) fn print(comparison: &Comparison, format: Format) -> Result<()> {
    if format.json {
        super::print_pretty_json(comparison)?;
    } else if format.markdown {
        say_text!("{}", comparison.markdown());
    } else {
        say_text!("{}", comparison.table());
    }
    Ok(())
}

pub(crate) fn exit_code(comparison: &Comparison) -> u8 {
    match comparison.outcome {
        Outcome::Held => 0,
        Outcome::Regression => code::CHECK_FAILED,
        Outcome::Inconclusive { .. } => code::INCONCLUSIVE,
        Outcome::Nothing => code::NOTHING_MEASURED,
    }
}
