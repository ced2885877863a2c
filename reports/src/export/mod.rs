//! The files of a report. Each is one [`Exporter`] in a file of its own.
//!
//! Files for other programs ([`formats`]) follow those programs' published schemas.
//!
//! `report.md` and `report.html` say the same (one `document`, two renderings) in units people read; `summary.json` and
//! `summary.csv` carry the same numbers for programs, in SI units and bytes.

mod bencher;
mod ceilings;
mod csv;
mod document;
mod extra_p;
mod github_action;
mod google_benchmark;
mod html;
mod hyperfine;
mod json;
mod markdown;

use std::path::{Path, PathBuf};

use relgrad_vocabulary::Method;

pub use bencher::Bencher;
pub use csv::Csv;
pub use extra_p::ExtraP;
pub use github_action::{GithubActionBigger, GithubActionSmaller};
pub use google_benchmark::GoogleBenchmark;
pub use html::Html;
pub use hyperfine::Hyperfine;
pub use json::Json;
pub use markdown::Markdown;
pub(crate) use markdown::escape;

use crate::error::Result;
use crate::record::{Point, Record};
use crate::study::Study;
use crate::summary::{CellSummary, Estimate, Series, Summary};
use crate::writer::write_atomically;

/// A figure to show in a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// File name without extension: Markdown links to `figures/NAME.svg`.
    pub name: String,
    /// What the figure shows, one or two sentences.
    pub caption: String,
    /// The drawing, which HTML carries inline.
    pub svg: String,
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

/// A format of the report.
pub trait Exporter {
    /// Name of the file within the sweep's folder.
    fn file_name(&self) -> &'static str;

    /// The file's whole contents.
    fn render(&self, report: &Report<'_>) -> String;
}

/// Formats of other programs, by the name of the program. They are written when asked for, not with every report.
pub fn formats() -> [(&'static str, &'static dyn Exporter); 7] {
    [
        ("github-action-smaller", &GithubActionSmaller),
        ("github-action-bigger", &GithubActionBigger),
        ("bencher", &Bencher),
        ("google-benchmark", &GoogleBenchmark),
        ("hyperfine", &Hyperfine),
        ("extra-p", &ExtraP),
        ("csv", &Csv),
    ]
}

impl<'a> Report<'a> {
    /// Every measured point with its series; calibration kernels are none.
    fn points(&self) -> impl Iterator<Item = (&'a Series, &'a CellSummary)> + use<'a> {
        let methods = self.summary.series.iter().filter(|series| !series.method.is_kernel());
        methods.flat_map(|series| series.points.iter().map(move |point| (series, point)))
    }

    /// The measured records behind a point.
    fn records(&self, series: &Series, point: &CellSummary) -> Vec<&'a Record> {
        let is_of = |r: &&Record| {
            let Point { device, batch, layers, dim, .. } = r.cell.point;
            let cell = (r.cell.method, device, batch, layers, dim);
            r.is_valid() && cell == (series.method, series.device, series.batch, series.layers, point.dim)
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

/// What other programs call a cell, with every setting that changes its time.
fn name_of(report: &Report<'_>, series: &Series, dim: usize) -> String {
    report
        .study
        .run
        .settings
        .name((series.method, series.device), Some(dim), |name| name.at(series.batch, series.layers, dim))
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

/// All formats of a report, in the order they are written.
pub fn exporters() -> [&'static dyn Exporter; 4] {
    [&Markdown, &Html, &Json, &Csv]
}

/// Writes every format into `dir` and returns the paths. Each file appears whole or not at all.
///
/// # Errors
/// When a file cannot be written.
pub fn write_all(dir: &Path, report: &Report<'_>) -> Result<Vec<PathBuf>> {
    exporters()
        .into_iter()
        .map(|exporter| {
            let path = dir.join(exporter.file_name());
            write_atomically(&path, exporter.render(report).as_bytes())?;
            Ok(path)
        })
        .collect()
}
