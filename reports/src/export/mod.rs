//! The files of a report. Each is one [`Exporter`] in a file of its own.
//!
//! `report.md` and `report.html` say the same (one `document`, two renderings) in units people read; `summary.json` and
//! `summary.csv` carry the same numbers for programs, in SI units and bytes.

mod ceilings;
mod csv;
mod document;
mod html;
mod json;
mod markdown;

use std::path::{Path, PathBuf};

pub use csv::Csv;
pub use html::Html;
pub use json::Json;
pub use markdown::Markdown;

use crate::error::Result;
use crate::study::Study;
use crate::summary::Summary;
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

/// All formats, in the order they are written.
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
