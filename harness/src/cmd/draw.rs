//! `relgrad draw`: samples of a trained model.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::Args;
use relgrad_plots::Format;
use relgrad_reports::units::counted;

use super::score::{OfModel, numbered, plain_rows};
use crate::console::quoted;
use crate::data::sink::{RowFormat, RowSink};
use crate::data::text::Header;
use crate::data::{self, DataSet, Samples, catalogue};
use crate::error::{Error, Result};
use crate::experiment::figures;
use crate::train::model::OpenedModel;
use crate::train::network::CHUNK;

const EXAMPLES: &str = "\
Draws are of the base density, sent back through the layers, plus what the training subtracted
from its data (`shift`). The first rows of a longer table are those of a shorter one of the same
seed.

Examples:
  relgrad draw trainings/mine --count 1000 --out samples.npy
  relgrad draw trainings/mnist --count 64 --seed 3 --out samples.png
  relgrad draw trainings/digits --given 7 --count 20 --out sevens.png
";

/// Draws samples from a trained model, as a table or a picture
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    #[command(flatten)]
    of: OfModel,

    /// Samples [default: 100, or one for each row of --given]
    #[arg(long, value_name = "N", value_parser = super::count::<{ super::MAX_BATCH }>)]
    count: Option<usize>,

    /// Seed
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Factor of the draws from the base density; below 1 samples are nearer to the middle of the model
    #[arg(long, value_name = "T", default_value_t = 1.0)]
    temperature: f64,

    /// u of a model of x given u: numbers separated by commas, for all samples; a digit, for a model of labels; or a
    /// file with one u a row, which are taken in turn
    #[arg(long, value_name = "U")]
    given: Option<OsString>,

    /// File for the samples: .csv, .npy, or for a set of pictures .png, .svg or .pdf [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Samples without another wish.
const COUNT: usize = 100;
/// Pictures in a figure.
const MOST_PICTURES: usize = 10_000;

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let Arguments { seed, temperature, .. } = *arguments;
    if !(temperature > 0.0 && temperature.is_finite()) {
        return Err(Error::Usage("--temperature must be positive and finite".to_string()));
    }
    let mut model = arguments.of.open()?;
    let given = given(arguments.given.as_deref(), &model)?;
    let count = arguments.count.unwrap_or_else(|| match &given {
        Some(u) if u.count() > 1 => u.count(),
        _ => COUNT,
    });
    let picture = arguments.out.as_deref().filter(|path| RowFormat::of(path).is_none());
    let picture = picture.map(|path| Ok::<_, Error>((path, picture_size(path, &model, count)?))).transpose()?;
    // The draws, and what they are made of.
    super::require_memory("these samples", 24.0 * (count as f64) * (model.dim() as f64))?;
    let rho = model.draws(count, seed, temperature);
    match picture {
        Some((path, size)) => {
            let mut pictures = Vec::with_capacity(count);
            each_chunk(&mut model, &rho, given.as_ref(), |x, dim| {
                pictures.extend(x.chunks_exact(dim).map(DataSet::to_pixels));
                Ok(())
            })?;
            let title = format!("{} of a model of {}", counted(count, "sample"), quoted(&model.training.settings.data));
            figures::pictures(path, size, pictures, &title)?;
        }
        None => {
            let names = numbered("x", model.dim());
            let mut sink = RowSink::begin(arguments.out.as_deref(), &names, count, model.data_dtype())?;
            each_chunk(&mut model, &rho, given.as_ref(), |x, _| sink.write(&x))?;
            sink.finish()?;
        }
    }
    Ok(0)
}

/// Some samples at a time, and D.
fn each_chunk(
    model: &mut OpenedModel,
    rho: &[f64],
    given: Option<&Samples>,
    mut take: impl FnMut(Vec<f64>, usize) -> Result<()>,
) -> Result<()> {
    let dim = model.dim();
    for (i, rho) in rho.chunks(dim * CHUNK).enumerate() {
        let count = rho.len() / dim;
        let u: Vec<f64> = given.map_or(Vec::new(), |u| {
            u.iter().cycle().skip(i * CHUNK % u.count()).take(count).flatten().copied().collect()
        });
        let z = model.network.locate(rho.to_vec(), &u);
        let z = z.map_err(|cause| Error::Input(format!("cannot draw: {cause}")))?;
        take(model.data_of(&z)?, dim)?;
    }
    Ok(())
}

/// u of the samples, in turn.
fn given(text: Option<&OsStr>, model: &OpenedModel) -> Result<Option<Samples>> {
    let (text, conditions) = match (text, model.conditions()) {
        (None, 0) => return Ok(None),
        (Some(_), 0) => return Err(Error::Usage("the model has no condition u: leave out --given".to_string())),
        (None, _) => return Err(Error::Usage("this is a model of x given u: say which u with --given".to_string())),
        (Some(text), conditions) => (text, conditions),
    };
    let is_of_labels = model.training.settings.conditional.as_deref() == Some(data::LABELS);
    let u = if data::is_file_name(text) { plain_rows(Path::new(text), Header::Auto.name())? } else { numbers(text)? };
    let label = |label: f64| (0..10).any(|class| f64::from(class) == label);
    let u = if is_of_labels && u.dim == 1 && u.values.iter().all(|x| label(*x)) { data::one_hot(&u.values) } else { u };
    if u.dim != conditions {
        let (found, digit) = (counted(u.dim, "number"), if is_of_labels { ", or a digit" } else { "" });
        return Err(Error::Usage(format!("--given has {found}, and u of the model {conditions}{digit}")));
    }
    Ok(Some(u))
}

/// Numbers with commas between them.
fn numbers(text: &OsStr) -> Result<Samples> {
    let text = text.to_string_lossy();
    let number = |field: &str| field.trim().parse().ok().filter(|x: &f64| x.is_finite());
    let values: Option<Vec<f64>> = text.split(',').map(number).collect();
    let values = values.ok_or_else(|| {
        Error::Usage(format!("--given {}: neither a file of numbers nor numbers with commas", quoted(&text)))
    })?;
    Ok(Samples { dim: values.len(), values })
}

/// Rows and columns of the pictures that samples of this model are.
fn picture_size(path: &Path, model: &OpenedModel, count: usize) -> Result<(usize, usize)> {
    let name = &model.training.settings.data;
    let is_figure = Format::of(path).is_ok();
    let size = catalogue::find(name).ok().and_then(|entry| entry.picture).filter(|_| is_figure);
    match size {
        Some(_) if count > MOST_PICTURES => {
            Err(Error::Usage(format!("a figure has at most {MOST_PICTURES} pictures: choose a smaller --count")))
        }
        Some(size) => Ok(size),
        None if is_figure => {
            let name = quoted(name);
            Err(Error::Usage(format!("{name} has no pictures: let the name of --out end in .csv or .npy")))
        }
        None => Err(Error::Usage(format!("{} must end in .csv, .npy, .png, .svg or .pdf", path.display()))),
    }
}
