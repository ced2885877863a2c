//! Data to learn from: the paper's sets with their preprocessing, toy densities, and the user's own files.
//!
//! Loaders give f64 in the coordinates that log-likelihoods are quoted in; what a set is, where its files come from and
//! what to compare with is in [`catalogue`].

mod again;
pub(crate) mod catalogue;
mod condition;
mod curves;
mod digits;
mod files;
mod lines;
mod npy;
mod numpy;
mod open;
mod own;
mod patches;
mod preprocess;
pub(crate) mod recording;
pub(crate) mod rows;
pub(crate) mod sink;
mod tabular;
pub(crate) mod text;
pub(crate) mod toy;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use relgrad_reports::training::{DataFacts, Provenance};

use crate::error::{Error, Result};

pub(crate) use again::{load_again, require_same};
pub(crate) use condition::{LABELS, conditional, one_hot};
pub(crate) use own::{every_row, is_file_name};
use text::Header;

/// Name of the environment variable that says where the data lie when `--data` does not.
pub(crate) const DATA_VARIABLE: &str = "RELGRAD_DATA";

/// A column whose values have so many digits in common, relative to the largest, counts as constant: f64 has sixteen.
pub(crate) const CONSTANT: f64 = 1e-12;

/// Samples of one dimension, one after another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Samples {
    pub(crate) dim: usize,
    /// D numbers a sample.
    pub(crate) values: Vec<f64>,
}

impl Samples {
    /// Number of samples N.
    pub(crate) fn count(&self) -> usize {
        self.values.len().checked_div(self.dim).unwrap_or(0)
    }

    pub(crate) fn iter(&self) -> std::slice::ChunksExact<'_, f64> {
        self.values.chunks_exact(self.dim.max(1))
    }

    /// Some of the columns, in this order.
    fn columns(&self, chosen: &[usize]) -> Self {
        let values = self.iter().flat_map(|sample| chosen.iter().map(|&j| sample[j])).collect();
        Self { dim: chosen.len(), values }
    }

    /// The first `count` samples, or all there are.
    pub(crate) fn first(&self, count: usize) -> Self {
        let kept = count.min(self.count()) * self.dim;
        Self { dim: self.dim, values: self.values[..kept].to_vec() }
    }
}

/// The three parts of a set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parts {
    pub(crate) train: Samples,
    pub(crate) validation: Samples,
    pub(crate) test: Samples,
    /// u of every sample of each part, where the density is that of x given u.
    pub(crate) given: Option<[Samples; 3]>,
}

impl Parts {
    /// Dimension d of the conditions u, 0 without.
    pub(crate) fn conditions(&self) -> usize {
        self.given.as_ref().map_or(0, |[train, ..]| train.dim)
    }

    pub(crate) fn dim(&self) -> usize {
        self.train.dim
    }

    pub(crate) fn of([train, validation, test]: [Samples; 3]) -> Self {
        Self { train, validation, test, given: None }
    }

    fn each_mut(&mut self) -> [&mut Samples; 3] {
        [&mut self.train, &mut self.validation, &mut self.test]
    }

    pub(crate) fn each(&self) -> [(&'static str, &Samples); 3] {
        [("training", &self.train), ("validation", &self.validation), ("test", &self.test)]
    }
}

/// A set ready to learn from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DataSet {
    pub(crate) name: String,
    pub(crate) parts: Parts,
    /// What its numbers may be compared with.
    pub(crate) provenance: Provenance,
    /// Rows and columns of a picture, where a sample is one that [`Self::to_grey`] can show.
    pub(crate) picture: Option<(usize, usize)>,
    /// The entropy of the distribution in nats, where it is known: minus the best expected log-likelihood.
    pub(crate) entropy_nats: Option<f64>,
    /// Names of the columns, where a file has them.
    pub(crate) names: Vec<String>,
    /// What is to be told of a file, such as how many samples and columns it has.
    pub(crate) told: Vec<String>,
    /// Absolute path of a file of the user's, and how its first line was read, as [`DataFacts`] keeps them.
    file: Option<(String, Header)>,
    /// Digest of what was read from files.
    digest: Option<String>,
    /// What [`Self::shift`] subtracted.
    shift: Option<Vec<f64>>,
    /// Which columns of the file are left in x, where others are a condition.
    columns: Option<Vec<usize>>,
}

impl DataSet {
    /// A set without pictures, known entropy and names.
    fn new(name: impl Into<String>, parts: Parts, provenance: Provenance) -> Self {
        let (names, told) = (Vec::new(), Vec::new());
        let (picture, entropy_nats, file, digest, shift, columns) = (None, None, None, None, None, None);
        Self { name: name.into(), parts, provenance, picture, entropy_nats, names, told, file, digest, shift, columns }
    }

    /// The number of a column of x in the file, from 1.
    pub(crate) fn number(&self, j: usize) -> usize {
        self.columns.as_ref().map_or(j, |columns| columns[j]) + 1
    }

    /// Subtracts a number from every column of every part, in f64: what is far from 0 loses its digits in f32. A
    /// density keeps its value where data are moved. Rounding around the number in a column that is constant but for it
    /// becomes 0: moved, nothing would tell it from data.
    pub(crate) fn shift(&mut self, by: Vec<f64>) {
        let mut rounding: Vec<f64> = by.iter().map(|by| CONSTANT * by.abs()).collect();
        for sample in self.parts.train.iter() {
            for ((x, by), rounding) in sample.iter().zip(&by).zip(&mut rounding) {
                if (x - by).abs() > *rounding {
                    *rounding = 0.0;
                }
            }
        }
        for part in self.parts.each_mut() {
            for (x, (by, rounding)) in part.values.iter_mut().zip(by.iter().zip(&rounding).cycle()) {
                let moved = *x - by;
                *x = if moved.abs() <= *rounding { 0.0 } else { moved };
            }
        }
        self.shift = Some(by);
    }

    /// What a training must find again when it is resumed.
    pub(crate) fn facts(&self) -> DataFacts {
        let [training, validation, test] = self.parts.each().map(|(_, part)| part.count());
        DataFacts {
            dim: self.parts.dim(),
            conditions: self.parts.given.as_ref().map(|_| self.parts.conditions()),
            training,
            validation,
            test,
            provenance: self.provenance,
            entropy_nats: self.entropy_nats,
            file: self.file.as_ref().map(|(path, _)| path.clone()),
            header: self.file.as_ref().map(|(_, header)| header.name().to_string()),
            digest: self.digest.clone(),
            shift: self.shift.clone(),
        }
    }

    /// Grey level in [0, 1] of a coordinate of a picture set: the inverse of the logit preprocessing.
    pub(crate) fn to_grey(value: f64) -> f64 {
        ((1.0 / (1.0 + (-value).exp()) - preprocess::LOGIT_MARGIN) / (1.0 - 2.0 * preprocess::LOGIT_MARGIN))
            .clamp(0.0, 1.0)
    }

    /// The pixels of a sample of a picture set, 0 (black) to 255.
    pub(crate) fn to_pixels(sample: &[f64]) -> Vec<u8> {
        sample.iter().map(|&x| (255.0 * Self::to_grey(x)).round() as u8).collect()
    }
}

/// What to load.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    /// A name of [`catalogue`], `toy:NAME`, or the path of a file whose name says so ([`is_file_name`]).
    pub(crate) name: &'a str,
    pub(crate) folder: Option<&'a Path>,
    /// Seed of toy sets; real sets have the seeds of their published preprocessing.
    pub(crate) seed: u64,
    /// Training samples of a toy set; validation and test have as many again, at least 1 000.
    pub(crate) toy_samples: usize,
}

/// Loads a set; an error says which name is unknown, or which file is missing (with its size and where its owners
/// publish it), damaged or not as expected.
pub(crate) fn load(request: &Request<'_>) -> Result<DataSet> {
    let Request { name, folder, seed, toy_samples } = *request;
    if let Some(toy) = name.strip_prefix("toy:") {
        return toy::data_set(toy.parse()?, toy_samples, seed);
    }
    if is_file_name(OsStr::new(name)) {
        return load_file(Path::new(name), Header::Auto);
    }
    let entry = catalogue::find(name)?;
    let mut set = usable(entry.load(&entry.folder(folder)?)?)?;
    entry.verify(&mut set)?;
    Ok(set)
}

pub(crate) fn load_file(path: &Path, header: Header) -> Result<DataSet> {
    let mut set = usable(own::load(path, header)?)?;
    set.file = Some((again::encoded(path), header));
    Ok(set)
}

/// The folder named on the command line, or by [`DATA_VARIABLE`].
pub(crate) fn folder(argument: Option<&Path>) -> Option<PathBuf> {
    argument.map(Path::to_path_buf).or_else(|| std::env::var_os(DATA_VARIABLE).map(PathBuf::from))
}

/// A set with the digest of its numbers. Nothing empty, of another width, or not finite goes into a training.
fn usable(set: DataSet) -> Result<DataSet> {
    let (name, dim) = (&set.name, set.parts.dim());
    for (part, samples) in set.parts.each() {
        let Samples { dim: columns, values } = samples;
        if *columns != dim || values.is_empty() {
            return Err(Error::Input(format!(
                "{name}: the {part} part has {} samples of {columns} columns, the training part {dim} columns",
                samples.count()
            )));
        }
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            return Err(Error::Input(format!(
                "{name}: sample {} of the {part} part, column {}, is not a finite number; remove or replace it",
                at / dim + 1,
                at % dim + 1
            )));
        }
    }
    Ok(DataSet { digest: Some(again::digest(set.parts.each().map(|(_, part)| part))), ..set })
}
