//! The files of a report. Each is one [`Format`] in a file of its own.
//!
//! Files for other programs ([`FORMATS`]) follow those programs' published schemas; one is a table for a paper, two are
//! a [`Frame`] as CSV.
//!
//! `report.md` and `report.html` say the same in units people read (one document, two renderings, in `report`);
//! `summary.json` and `summary.csv` carry the same numbers for programs, in SI units and bytes.

mod bencher;
mod csv;
mod extra_p;
mod frame;
mod github_action;
mod google_benchmark;
mod hyperfine;
mod json;
mod latex;

use std::path::{Path, PathBuf};

pub use csv::summary;
pub use frame::{Field, Frame, records, samples};
use relgrad_vocabulary::Method;

use crate::record::Record;
use crate::record::error::Result;
use crate::record::run::at;
use crate::record::study::Study;
use crate::record::writer::write_atomically;
pub use crate::report::chart::{Chart, ChartAxis, ChartCurve, ChartPanel, ChartPoint, ChartStyle, cell_key};
use crate::report::{html, markdown};
use crate::statistics::summary::{CellSummary, Estimate, Series, Summary};

/// A figure to show in a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// File name without extension: Markdown links to `figures/NAME.svg`.
    pub name: String,
    /// What the figure shows, one or two sentences.
    pub caption: String,
    /// The drawing, which HTML carries inline.
    pub svg: String,
    /// Its numbers, with which the script of the HTML draws it again; absent for a figure that stays as it is.
    pub chart: Option<Chart>,
}

/// Everything a report shows.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The sweep.
    pub study: &'a Study,
    /// Its summary, from [`Summary::of`].
    pub summary: &'a Summary,
    /// Its figures, in the order to show them.
    pub figures: &'a [Figure],
}

/// A format of a report.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Name on the command line.
    pub name: &'static str,
    /// Name of the file within the sweep's folder.
    pub file_name: &'static str,
    /// The file's whole contents.
    pub render: fn(&Report<'_>) -> String,
}

/// The files of every report, in the order they are written.
pub const REPORT: [Format; 4] = [
    Format { name: "markdown", file_name: "report.md", render: markdown::render },
    Format { name: "html", file_name: "report.html", render: html::render },
    Format { name: "json", file_name: "summary.json", render: json::render },
    CSV,
];

/// Formats of other programs, by the name of the program, and tables, which only `relgrad export` writes.
pub const FORMATS: [Format; 10] = [
    Format { name: "github-action-smaller", file_name: "github-action-smaller.json", render: github_action::smaller },
    Format { name: "github-action-bigger", file_name: "github-action-bigger.json", render: github_action::bigger },
    Format { name: "bencher", file_name: "bencher.json", render: bencher::render },
    Format { name: "google-benchmark", file_name: "google-benchmark.json", render: google_benchmark::render },
    Format { name: "hyperfine", file_name: "hyperfine.json", render: hyperfine::render },
    Format { name: "extra-p", file_name: "extra-p.jsonl", render: extra_p::render },
    Format { name: "latex", file_name: "table.tex", render: latex::render },
    CSV,
    Format { name: "table", file_name: "samples.csv", render: |report| samples(report.study).to_csv() },
    Format { name: "table-records", file_name: "records.csv", render: |report| records(report.study).to_csv() },
];

const CSV: Format = Format { name: "csv", file_name: "summary.csv", render: csv::render };

impl<'a> Report<'a> {
    /// Every measured point with its series, without calibration kernels.
    fn points(&self) -> impl Iterator<Item = (&'a Series, &'a CellSummary)> + use<'a> {
        let methods = self.summary.series.iter().filter(|series| !series.method.is_kernel());
        methods.flat_map(|series| series.points.iter().map(move |point| (series, point)))
    }

    /// The measured records behind a point.
    fn records(&self, series: &Series, point: &CellSummary) -> Vec<&'a Record> {
        let is_of = |r: &&Record| {
            let place = &r.cell.point;
            let cell = (r.cell.method, place.device, place.held(), place.dim);
            r.is_valid() && cell == (series.method, series.device, series.held(), point.dim)
        };
        self.study.records.iter().filter(is_of).collect()
    }
}

impl CellSummary {
    /// The speed-ups that exist, with the method they are over.
    fn speedups(&self) -> impl Iterator<Item = (Method, &Estimate)> {
        let over = [&self.speedup_over_ordinary, &self.speedup_over_autodiff];
        Method::BASELINES.into_iter().zip(over).filter_map(|(method, speedup)| Some((method, speedup.as_ref()?)))
    }
}

/// The name of a cell in other programs, with every setting that changes its time.
fn name_of(report: &Report<'_>, series: &Series, dim: usize) -> String {
    let name = report.study.run.settings.name((series.method, series.device), series.held(), Some(dim));
    at(&name, series.batch, series.layers, dim)
}

/// Indented JSON that ends with a newline.
fn pretty_json(value: &impl serde::Serialize) -> String {
    // Serialising fails only for maps whose keys are not strings, and the formats have none.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// Writes one file: whole, or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, text.as_bytes())
}

/// Writes the files of a report into `dir` and returns the paths. Each file appears whole or not at all.
///
/// # Errors
/// When a file cannot be written.
pub fn write_all(dir: &Path, report: &Report<'_>) -> Result<Vec<PathBuf>> {
    let write_one = |format: Format| {
        let path = dir.join(format.file_name);
        write(&path, &(format.render)(report))?;
        Ok(path)
    };
    REPORT.into_iter().map(write_one).collect()
}
