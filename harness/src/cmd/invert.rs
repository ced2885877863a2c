//! `relgrad invert`: from latents back to data.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::score::{OfModel, numbered, plain_rows};
use crate::data::rows::require_width;
use crate::data::sink::RowSink;
use crate::data::text::Header;
use crate::error::Result;
use crate::train::network::CHUNK;

const EXAMPLES: &str = "\
x = g⁻¹(z), layer by layer, with one LU a layer, plus what the training subtracted from its data
(`shift`). `relgrad score MODEL DATA --latents FILE` is the way forward.

Examples:
  relgrad invert trainings/mine z.npy --out x.npy
  relgrad invert trainings/mine - < z.csv > x.csv
";

/// Maps latents back to data by inverting a trained model
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    #[command(flatten)]
    of: OfModel,

    /// A file of latents, one z a row, as of `relgrad train`; or - for text from standard input
    latents: PathBuf,

    /// Whether the first line of text names the columns; auto: where none of its fields is a number
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = PossibleValuesParser::new(Header::NAMES))]
    header: String,

    /// File for the data, .csv or .npy [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let mut model = arguments.of.open()?;
    let z = plain_rows(&arguments.latents, &arguments.header)?;
    require_width(&arguments.latents.to_string_lossy(), z.dim, model.dim())?;
    let names = numbered("x", model.dim());
    let mut sink = RowSink::begin(arguments.out.as_deref(), &names, z.count(), model.data_dtype())?;
    for z in z.values.chunks(z.dim * CHUNK) {
        sink.write(&model.data_of(z)?)?;
    }
    sink.finish()?;
    Ok(0)
}
