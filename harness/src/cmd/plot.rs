//! `relgrad plot`: one figure, or all, from a folder of records.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use relgrad_plots::{Drawing, Figure, Format, Paper, draw_on};
use relgrad_reports::summary::Summary;

use crate::cmd::compare::{Reading, told};
use crate::error::{Error, Result};
use crate::measure::run::folder;
use crate::outputs;
use crate::quantity::Length;

const EXAMPLES: &str = "\
Examples:
  relgrad plot results/2026-11-24T00-15-00Z --figure fig3
  relgrad plot results/2026-11-24T00-15-00Z --figure speedup --out speedup.png
  relgrad plot results/2026-11-24T00-15-00Z --format pdf --width 3.3in --font-size 9pt
";

/// Draws figures of a sweep as SVG, PNG or PDF
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
    /// File to write, .svg, .png or .pdf [default: DIR/figures/NAME.svg and .png]
    #[arg(long, value_name = "FILE", requires = "figure")]
    out: Option<PathBuf>,
    /// Formats of the files in DIR/figures
    #[arg(long, value_delimiter = ',', default_value = "svg,png", conflicts_with = "out")]
    #[arg(value_parser = PossibleValuesParser::new(Format::ALL.map(Format::name)))]
    format: Vec<String>,
    /// Width of a figure on paper, such as 85mm or 3.3in [default: 85mm, or 170mm of the wide ones]
    #[arg(long, value_name = "LENGTH")]
    width: Option<Length>,
    /// Size of the text on paper; lines and markers grow with it [default: 7pt]
    #[arg(long, value_name = "LENGTH")]
    font_size: Option<Length>,
}

impl Arguments {
    fn paper(&self) -> Result<Paper> {
        let points = self.font_size.map(|size| size.0 / Length::POINT);
        Paper::new(self.width.map(|width| width.0), points).map_err(usage)
    }

    fn formats(&self) -> Vec<Format> {
        Format::ALL.into_iter().filter(|format| self.format.iter().any(|name| name == format.name())).collect()
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let (paper, formats) = (arguments.paper()?, arguments.formats());
    if let Some(path) = &arguments.out {
        Format::of(path).map_err(failed)?;
    }
    let study = told(folder::read_with(&arguments.dir, arguments.reading.invalid())?);
    let summary = Summary::of(&study);
    let figures: Vec<Figure> = match &arguments.figure {
        Some(name) => {
            vec![name.parse().map_err(usage)?]
        }
        None => Figure::ALL.into_iter().filter(|figure| figure.available(&study, &summary)).collect(),
    };
    if figures.is_empty() {
        return Err(Error::Input(format!("{} has no measurements to draw", arguments.dir.display())));
    }
    for figure in figures {
        let drawing = draw_on(paper, figure, &study, &summary).map_err(failed)?;
        match &arguments.out {
            Some(path) => {
                write_one(path, &drawing)?;
                say!("{}", path.display());
            }
            None => {
                for path in outputs::write_drawing(&arguments.dir.join("figures"), figure.name(), &drawing, &formats)? {
                    say!("{}", path.display());
                }
            }
        }
    }
    Ok(0)
}

/// Writes one file in the format that its extension names.
pub(crate) fn write_one(path: &Path, drawing: &Drawing) -> Result<()> {
    drawing.write(path).map_err(failed)
}

fn usage(cause: relgrad_plots::Error) -> Error {
    Error::Usage(cause.to_string())
}

/// An error of drawing: what the records lack is one of the input, anything else of the output.
pub(crate) fn failed(cause: relgrad_plots::Error) -> Error {
    use relgrad_plots::Error::{Extension, Memory, Render, Write};
    match cause {
        Extension(_) => Error::Usage(format!("--out {cause}")),
        Memory { .. } | Render(_) | Write(_) => Error::Output(cause.to_string()),
        _ => Error::Input(cause.to_string()),
    }
}
