//! `relgrad report`: text, tables and figures from a folder of records.

use std::path::{Path, PathBuf};

use clap::Args;
use relgrad_plots::{Figure, draw};
use relgrad_reports::export::{self, Report, write_all};
use relgrad_reports::record::Outcome;
use relgrad_reports::study::Study;
use relgrad_reports::summary::Summary;

use super::compare::{Reading, told};
use super::plot::failed;
use crate::error::{Error, Result, code};
use crate::measure::run::folder;
use crate::outputs;

const EXAMPLES: &str = "\
Examples:
  relgrad report results/2026-11-24T00-15-00Z
";

/// Writes report.md, report.html, summary.json, summary.csv and the figures into the folder of a sweep
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Folder of a sweep, finished or not
    dir: PathBuf,
    #[command(flatten)]
    reading: Reading,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let study = told(folder::read_with(&arguments.dir, arguments.reading.invalid())?);
    for path in write(&arguments.dir, &study)? {
        say!("{}", path.display());
    }
    Ok(code_of(&study))
}

/// The exit code of a verb that reads a study: one without measurements is no success.
pub(crate) fn code_of(study: &Study) -> u8 {
    if study.records.iter().any(|record| record.outcome == Outcome::Measured) {
        return 0;
    }
    note!("relgrad: nothing was measured; records.jsonl states the reasons");
    code::NOTHING_MEASURED
}

/// Writes every file of the report and returns their paths: text and numbers before any figure, and again with the
/// figures.
pub(crate) fn write(dir: &Path, study: &Study) -> Result<Vec<PathBuf>> {
    let summary = Summary::of(study);
    let text = |figures: &[export::Figure]| {
        let report = Report { study, summary: &summary, figures };
        write_all(dir, &report).map_err(|cause| Error::Output(cause.to_string()))
    };
    let mut paths = text(&[])?;
    let (mut figures, mut errors) = (Vec::new(), Vec::new());
    for figure in Figure::ALL.into_iter().filter(|figure| figure.available(study, &summary)) {
        match draw(figure, study, &summary).map_err(failed) {
            Ok(drawing) => {
                match outputs::write_drawing(&dir.join("figures"), figure.name(), &drawing, &outputs::FORMATS) {
                    Ok(written) => paths.extend(written),
                    Err(cause) => errors.push(cause),
                }
                let (name, caption) = (figure.name().to_string(), figure.caption(study, &summary));
                figures.push(export::Figure {
                    name,
                    caption,
                    svg: drawing.svg().to_string(),
                    chart: drawing.chart().cloned(),
                });
            }
            Err(cause) => errors.push(cause),
        }
    }
    text(&figures)?;
    match errors.first() {
        None => Ok(paths),
        Some(cause) => Err(Error::Output(format!(
            "{} figures are missing or lack a file ({cause}); text and numbers are in {}; repeat with relgrad report",
            errors.len(),
            dir.display()
        ))),
    }
}
