//! `relgrad plot`: one figure, or all, from a folder of records.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use relgrad_plots::{Drawing, Figure, draw};
use relgrad_reports::summary::Summary;

use crate::cmd::compare::{Reading, told};
use crate::error::{Error, Result};
use crate::measure::run::folder;
use crate::outputs;

const EXAMPLES: &str = "\
Examples:
  relgrad plot results/2026-11-24T00-15-00Z --figure fig3
  relgrad plot results/2026-11-24T00-15-00Z --figure speedup --out speedup.png
";

/// Draws figures of a sweep as SVG and PNG
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Folder of a sweep, finished or not
    dir: PathBuf,
    #[command(flatten)]
    reading: Reading,
    /// Figure [default: all that the records allow]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Figure::ALL.map(Figure::name)))]
    figure: Option<String>,
    /// File to write, .svg or .png [default: DIR/figures/NAME.svg and .png]
    #[arg(long, value_name = "FILE", requires = "figure")]
    out: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let study = told(folder::read_with(&arguments.dir, arguments.reading.invalid())?);
    let summary = Summary::of(&study);
    let figures: Vec<Figure> = match &arguments.figure {
        Some(name) => {
            vec![name.parse().map_err(|cause: relgrad_plots::Error| Error::Usage(cause.to_string()))?]
        }
        None => Figure::ALL.into_iter().filter(|figure| figure.available(&study, &summary)).collect(),
    };
    if figures.is_empty() {
        return Err(Error::Input(format!("{} has no measurements to draw", arguments.dir.display())));
    }
    for figure in figures {
        let drawing = draw(figure, &study, &summary).map_err(failed)?;
        match &arguments.out {
            Some(path) => {
                write_one(path, &drawing)?;
                say!("{}", path.display());
            }
            None => {
                for path in outputs::write_drawing(&arguments.dir.join("figures"), figure.name(), &drawing)? {
                    say!("{}", path.display());
                }
            }
        }
    }
    Ok(0)
}

/// Writes one file in the format that its extension names.
pub(crate) fn write_one(path: &Path, drawing: &Drawing) -> Result<()> {
    let written = match path.extension().and_then(|extension| extension.to_str()) {
        Some("svg") => drawing.write_svg(path),
        Some("png") => drawing.write_png(path),
        _ => return Err(Error::Usage(format!("--out {} must end in .svg or .png", path.display()))),
    };
    written.map_err(failed)
}

/// An error of drawing: what the records lack is one of the input, anything else of the output.
pub(crate) fn failed(cause: relgrad_plots::Error) -> Error {
    use relgrad_plots::Error::{Memory, Render, Write};
    match cause {
        Memory { .. } | Render(_) | Write(_) => Error::Output(cause.to_string()),
        _ => Error::Input(cause.to_string()),
    }
}
