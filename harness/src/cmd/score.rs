//! `relgrad score`: the log-likelihood of rows under a trained model.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use relgrad_kernels::Dtype;
use relgrad_kernels::likelihood::LogLikelihood;
use relgrad_reports::training::Nats;
use relgrad_reports::units::counted;

use crate::data::rows::{Rows, Wanted, WhichPart, rows_for};
use crate::data::sink::RowSink;
use crate::data::text::Header;
use crate::data::{self, Samples};
use crate::error::{Error, Result};
use crate::machine;
use crate::train::model::OpenedModel;
use crate::train::network::CHUNK;
use crate::train::recipe::MOST_THREADS;

const EXAMPLES: &str = "\
The table has one line a row of the data, in nats: log_likelihood, and its parts log_base (the
density of the latents), log_slopes (of the activations) and log_det (of the weights). Rows are
moved as the training moved its data.

Examples:
  relgrad score trainings/mine new.csv > likelihoods.csv
  relgrad score trainings/mine new.npy --out likelihoods.npy --latents z.npy
  relgrad score trainings/digits optdigits --data DIR --part test
  zcat new.csv.gz | relgrad score trainings/mine -
";

/// Prints the log-likelihood of each row of data under a trained model, with its parts, and their mean
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    #[command(flatten)]
    of: OfModel,

    /// What to score: a file as of `relgrad train`, a data set, toy:NAME, or - for text from standard input
    #[arg(value_name = "DATA")]
    dataset: OsString,

    /// Which part of a set; of a file the parts that `relgrad train` makes of it [default: all of a file, else test]
    #[arg(long, value_parser = PossibleValuesParser::new(WhichPart::NAMES))]
    part: Option<String>,

    /// Folder of the data sets [default: $RELGRAD_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Whether the first line of text names the columns; auto: where none of its fields is a number
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = PossibleValuesParser::new(Header::NAMES))]
    header: String,

    /// File with u of each row, for a model of x given u; without it the columns of the training's --conditional are u
    #[arg(long, value_name = "FILE")]
    given: Option<PathBuf>,

    /// File for the table, .csv or .npy [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Write the latents z = g(x) of the rows too, to a .csv or .npy, which `relgrad invert` maps back
    #[arg(long, value_name = "FILE")]
    latents: Option<PathBuf>,
}

/// Which model, and on how many threads.
#[derive(Debug, Args)]
pub(crate) struct OfModel {
    /// Folder of a training, for its best model; or best.json, last.json or one of their .safetensors in it
    #[arg(value_name = "MODEL")]
    model: PathBuf,

    /// CPU threads [default: all available]
    #[arg(long, value_name = "COUNT", value_parser = super::count::<MOST_THREADS>)]
    threads: Option<usize>,
}

impl OfModel {
    /// Starts the threads and opens the model.
    pub(crate) fn open(&self) -> Result<OpenedModel> {
        super::start_threads(self.threads)?;
        OpenedModel::open(&self.model, self.threads.unwrap_or_else(|| machine::logical_cores().min(MOST_THREADS)))
    }
}

/// Columns of the table.
const COLUMNS: [&str; 4] = ["log_likelihood", "log_base", "log_slopes", "log_det"];

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let mut model = arguments.of.open()?;
    let given = arguments.given.as_deref().map(|path| data::every_row(path, Header::Auto)).transpose()?;
    let folder = data::folder(arguments.data.as_deref());
    let wanted = Wanted {
        name: &arguments.dataset,
        header: arguments.header.parse()?,
        part: arguments.part.as_deref().map(str::parse).transpose()?,
        folder: folder.as_deref(),
        given: given.map(|set| set.parts.train),
    };
    let parts = rows_for(&model.training, wanted)?;
    let count = parts.iter().map(|(x, _)| x.count()).sum();
    let mut table = RowSink::begin(arguments.out.as_deref(), &COLUMNS.map(str::to_string), count, Dtype::F64)?;
    let (names, dtype) = (numbered("z", model.dim()), model.training.settings.dtype);
    let latents = arguments.latents.as_deref().map(|path| RowSink::begin(Some(path), &names, count, dtype));
    let mut latents = latents.transpose()?;
    let mut totals = Totals::default();
    for part in &parts {
        score_part(&mut model, part, &mut table, latents.as_mut(), &mut totals)?;
    }
    latents.map_or(Ok(()), RowSink::finish)?;
    table.finish()?;
    let words = totals.words()?;
    if arguments.out.is_some() {
        say!("{words}")
    } else {
        note!("{words}")
    }
    Ok(0)
}

/// `z1` to `zD`.
pub(crate) fn numbered(letter: &str, dim: usize) -> Vec<String> {
    (1..=dim).map(|j| format!("{letter}{j}")).collect()
}

/// ℓ of every row, and the sums of its parts.
#[derive(Default)]
struct Totals {
    rows: Vec<f64>,
    sums: [f64; 3],
}

impl Totals {
    fn words(&self) -> Result<String> {
        let nats = Nats::of(&self.rows);
        let nats = nats.ok_or_else(|| Error::Wrong("the mean of the log-likelihoods is not finite".to_string()))?;
        let count = self.rows.len() as f64;
        let [base, slopes, det] = self.sums.map(|sum| format!("{:.4}", sum / count).replace('-', "−"));
        let rows = counted(self.rows.len(), "row");
        Ok(format!("{rows}: {nats} nats on average (base {base}, slopes {slopes}, determinants {det})"))
    }
}

fn score_part(
    model: &mut OpenedModel,
    (x, u): &Rows,
    table: &mut RowSink,
    mut latents: Option<&mut RowSink>,
    totals: &mut Totals,
) -> Result<()> {
    let (dim, conditions) = (model.dim(), model.conditions());
    for (i, x) in x.values.chunks(dim * CHUNK).enumerate() {
        let first = i * CHUNK;
        let of_chunk = first * conditions..(first + x.len() / dim) * conditions;
        let u: &[f64] = u.as_ref().map_or(&[], |u| &u.values[of_chunk]);
        let scored = model.network.score(x, u);
        let (terms, z) = scored.map_err(|cause| blamed(model, x, u, (totals.rows.len(), cause)))?;
        table.write(&lines(&terms, totals))?;
        if let Some(latents) = &mut latents {
            latents.write(&z)?;
        }
    }
    Ok(())
}

/// The lines of the table.
fn lines(terms: &LogLikelihood, totals: &mut Totals) -> Vec<f64> {
    let l2j = terms.l2j();
    let parts = terms.per_sample().into_iter().zip(terms.lp.iter().zip(&terms.l1j));
    let mut lines = Vec::with_capacity(COLUMNS.len() * terms.lp.len());
    for (sum, (&lp, &l1j)) in parts {
        lines.extend([sum, lp, l1j, l2j]);
        totals.rows.push(sum);
        totals.sums.iter_mut().zip([lp, l1j, l2j]).for_each(|(sum, part)| *sum += part);
    }
    lines
}

/// The error of some rows, with the one to blame where there is one; `before` rows went well.
fn blamed(model: &mut OpenedModel, x: &[f64], u: &[f64], (before, cause): (usize, relgrad_kernels::Error)) -> Error {
    let conditions = model.conditions();
    if matches!(cause, relgrad_kernels::Error::NonFinite { .. }) {
        for (i, x) in x.chunks_exact(model.dim()).enumerate() {
            if let Err(cause) = model.network.score(x, &u[i * conditions..(i + 1) * conditions]) {
                return Error::Input(format!("row {}: {cause}; it is far from what the model knows", before + i + 1));
            }
        }
    }
    Error::Input(format!("cannot score: {cause}"))
}

/// Rows of latents, or of conditions, from a file or standard input.
pub(crate) fn plain_rows(path: &Path, header: &str) -> Result<Samples> {
    Ok(data::every_row(path, header.parse()?)?.parts.train)
}
