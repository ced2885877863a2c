//! `relgrad export`: a sweep in the format of another program, or as a table for a paper.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use relgrad_reports::export::{FORMATS, Report, write};
use relgrad_reports::summary::Summary;

use super::compare::Reading;
use super::report::code_of;
use crate::console;
use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  relgrad export results/2026-11-24T00-15-00Z --format github-action-smaller --out smaller.json
  relgrad export results/2026-11-24T00-15-00Z --format extra-p > relgrad.jsonl
  relgrad export results/2026-11-24T00-15-00Z --format latex --out table.tex

For github-action-benchmark:
- github-action-smaller has times and peak memory (`tool: customSmallerIsBetter`);
- github-action-bigger has speed-ups (`tool: customBiggerIsBetter`).
bencher is the Bencher Metric Format; latex is a table for a paper (package booktabs).
table and table-records are CSV with one row a sample, or a record; csv has one a method and dimension.
";

/// Writes the results of a sweep in the format of another program
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Folder of a sweep, finished or not, or a baseline file
    dir: PathBuf,
    #[command(flatten)]
    reading: Reading,
    /// Format
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(FORMATS.map(|format| format.name)))]
    format: String,
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let study = arguments.reading.read(&arguments.dir)?;
    let summary = Summary::of(&study);
    let report = Report { study: &study, summary: &summary, figures: &[] };
    let found = FORMATS.into_iter().find(|format| format.name == arguments.format);
    let format = found.ok_or_else(|| Error::Usage(format!("unknown format `{}`", arguments.format)))?;
    let text = (format.render)(&report);
    match &arguments.out {
        Some(path) => write(path, &text).map_err(|cause| Error::Output(cause.to_string()))?,
        None => console::emit(&text),
    }
    Ok(code_of(&study))
}
