//! `relgrad compare`: two sweeps, or baselines, next to each other.

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

Compared are the time, the speed-ups and the peak memory of each cell that both sides have, and the exponent of each \
method. Times are also divided by those of the calibration kernels, if both sides have them.

Judged are times over the kernels', or without kernels times less the change that all methods share: another hour \
makes that too, so it is no regression. Between different machines speed-ups are judged, between different --threads \
nothing. Quantities in parentheses are not judged.

Verdicts, from Student's t intervals over the medians of the rounds (a process each):
  worse         certainly slower than half the tolerance, and the tolerance is not excluded
  same          a slowdown by the tolerance is excluded; three rounds do that for 10 cells, four for 24
  inconclusive  otherwise
";

/// Compares two measurements cell by cell: ratio, interval, verdict, and what changed
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Base side: the folder of a sweep, or a baseline file (relgrad gate --save)
    base: PathBuf,
    /// New side: likewise
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
    /// Skip invalid records and name them, instead of failing
    #[arg(long)]
    skip_invalid: bool,
}

impl Reading {
    /// How an invalid line is treated.
    pub(crate) fn invalid(self) -> Invalid {
        if self.skip_invalid { Invalid::Skip } else { Invalid::Refuse }
    }

    /// Reads the folder of a sweep or a baseline file, and names the lines it skipped.
    pub(crate) fn read(self, path: &Path) -> Result<Study> {
        compare::read(path, self.invalid()).map(told)
    }
}

/// Prints the warnings of reading `study`.
pub(crate) fn told(study: Study) -> Study {
    study.warnings.iter().for_each(|warning| note!("relgrad: {warning}"));
    study
}

/// Tolerances of a comparison.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Tolerance {
    /// Tolerated slowdown or loss of speed-up (10%, or 1.1x)
    #[arg(long, value_name = "PERCENT", default_value = "10%")]
    max_slowdown: Fraction,
    /// Tolerated slowdown between different machines [default: --max-slowdown]
    #[arg(long, value_name = "PERCENT")]
    max_slowdown_elsewhere: Option<Fraction>,
    /// Tolerated growth of peak memory (10%, or 1.1x)
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
