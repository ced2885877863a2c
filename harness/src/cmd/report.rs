//! `relgrad report`: text, tables and figures from a folder of records.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use relgrad_plots::{Drawing, Figure, draw};
use relgrad_reports::export::{self, Report, write_all};
use relgrad_reports::study::Study;
use relgrad_reports::summary::Summary;

use crate::error::{EXIT_CODES, Error, Result};
use crate::run::folder;

const EXAMPLES: &str = "\
Examples:
  relgrad report results/2026-11-24T00-15-00Z
";

/// Writes report.md, report.html, summary.json, summary.csv and the figures of a sweep into its folder
#[derive(Debug, Args)]
#[command(after_help = help())]
pub(crate) struct Arguments {
    /// Folder of a sweep, finished or not
    dir: PathBuf,
}

fn help() -> String {
    format!("{EXAMPLES}\n{EXIT_CODES}")
}

/// Writes the report and prints where it is.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let study = folder::read(&arguments.dir)?;
    for path in write(&arguments.dir, &study)? {
        say!("{}", path.display());
    }
    Ok(0)
}

/// Writes every file of the report, figures first, and returns their paths.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write(dir: &Path, study: &Study) -> Result<Vec<PathBuf>> {
    let summary = Summary::of(study);
    let mut figures = Vec::new();
    let mut paths = Vec::new();
    for figure in Figure::ALL.into_iter().filter(|figure| figure.available(study, &summary)) {
        let drawing = draw(figure, study, &summary).map_err(|cause| Error::Output(cause.to_string()))?;
        paths.extend(write_figure(dir, figure, &drawing)?);
        figures.push(export::Figure {
            name: figure.name().to_string(),
            caption: figure.caption(study, &summary),
            svg: drawing.svg().to_string(),
        });
    }
    let report = Report { study, summary: &summary, figures: &figures };
    let written = write_all(dir, &report).map_err(|cause| Error::Output(cause.to_string()))?;
    Ok(written.into_iter().chain(paths).collect())
}

/// Writes a figure as `figures/NAME.svg` and `figures/NAME.png`.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write_figure(dir: &Path, figure: Figure, drawing: &Drawing) -> Result<[PathBuf; 2]> {
    let folder = dir.join("figures");
    fs::create_dir_all(&folder).map_err(|cause| Error::output(&folder, cause))?;
    let paths = ["svg", "png"].map(|extension| folder.join(format!("{figure}.{extension}")));
    let written = drawing.write_svg(&paths[0]).and_then(|()| drawing.write_png(&paths[1]));
    written.map_err(|cause| Error::Output(cause.to_string()))?;
    Ok(paths)
}
