//! The list of the real sets: files, owners, the paper's value, and what ours may be compared with.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use relgrad_reports::training::Provenance;
use serde::Deserialize;

use super::own::ENDINGS;
use super::{DATA_VARIABLE, DataSet, Parts, digits, patches, recording, tabular};
use crate::console::quoted;
use crate::error::{Error, Result};

/// A set that can be loaded by name; `catalogue.json` lists them.
#[derive(Debug, Deserialize)]
pub(crate) struct Entry {
    /// Its name on the command line, and of its folder below the data folder.
    pub(crate) name: &'static str,
    pub(crate) dim: usize,
    /// The files it needs, with their sizes.
    pub(crate) files: Vec<(&'static str, &'static str)>,
    pub(crate) published: &'static str,
    /// The set of Table 1 that it is, or stands for.
    pub(crate) stands_for: Option<&'static str>,
    pub(crate) provenance: Provenance,
    /// Rows and columns of the pictures that its samples are.
    pub(crate) picture: Option<(usize, usize)>,
    /// Samples of its training, validation and test part; those of a fresh draw may be others.
    pub(crate) parts: [usize; 3],
    /// [`fingerprint`] of its numbers, where they were at hand.
    pub(crate) fingerprint: Option<f64>,
    /// The Gaussian's test log-likelihood in nats that a correct loader gives: the value and how far off it may be,
    /// with the reason of the margin in the data's own notes.
    pub(crate) gaussian_check: Option<(f64, f64)>,
}

/// Test log-likelihoods of Table 1 in nats: set, dimension, value, two standard errors.
pub(crate) const PAPER: [(&str, usize, f64, f64); 6] = [
    ("POWER", 6, 0.065, 0.013),
    ("GAS", 8, 6.978, 0.020),
    ("HEPMASS", 21, -21.958, 0.019),
    ("MINIBOONE", 43, -13.372, 0.450),
    ("BSDS300", 63, 151.12, 0.28),
    ("MNIST", 784, -1375.2, 1.4),
];

pub(crate) static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let entries = serde_json::from_str(include_str!("catalogue.json"));
    entries.expect("the list of sets is what `Entry` says")
});

pub(crate) fn find(name: &str) -> Result<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let names: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
        let there = if Path::new(name).exists() {
            "; there is a file of that name, but its ending is none of these"
        } else {
            ""
        };
        Error::Usage(format!(
            "unknown data set `{}`: the sets are {}, toy:NAME, or a file whose name ends in {ENDINGS}{there}",
            quoted(name),
            names.join(", ")
        ))
    })
}

impl Entry {
    /// Reads the set's files with their published preprocessing.
    pub(super) fn load(&self, folder: &Path) -> Result<DataSet> {
        let load: fn(&Self, &Path) -> Result<DataSet> = match self.name {
            "power" | "power-subset" => tabular::power,
            "gas" => tabular::gas,
            "hepmass" => tabular::hepmass,
            "miniboone" | "miniboone-subset" => tabular::miniboone,
            "bsds300" => patches::load,
            "mnist" => digits::mnist,
            "eeg" => recording::load,
            _ => digits::optdigits,
        };
        load(self, folder)
    }

    pub(crate) fn folder(&self, data: Option<&Path>) -> Result<PathBuf> {
        let data = data.ok_or_else(|| {
            Error::Usage(format!("where is {}? Name the folder of the data with --data or {DATA_VARIABLE}", self.name))
        })?;
        Ok(data.join(self.name))
    }

    /// Compares what was loaded with what is published, and tells how much there is. Another number of samples, where
    /// it is known, is refused: a file that is cut short must not stand under the set's name.
    pub(super) fn verify(&self, set: &mut DataSet) -> Result<()> {
        let [train, validation, test] = sizes(&set.parts);
        let name = self.name;
        set.told.push(format!(
            "{name}: {train} training, {validation} validation and {test} test samples of {} columns",
            set.parts.dim()
        ));
        if sizes(&set.parts) != self.parts {
            let [a, b, c] = self.parts;
            if self.provenance != Provenance::FreshDraw {
                return Err(Error::Input(format!(
                    "{name}: {train} training, {validation} validation and {test} test samples, and it should be {a}, \
                     {b} and {c}: a file is cut short, damaged or another one; fetch it again ({})",
                    self.published
                )));
            }
            set.told.push(format!("{name}: another draw than the known one, which has {a}, {b} and {c} samples"));
        }
        let found = fingerprint(&set.parts);
        if self.fingerprint.is_some_and(|known| (found - known).abs() > 1e-9 * (1.0 + known.abs())) {
            set.provenance = Provenance::Subset;
            set.told.push(format!(
                "{name}: its numbers are not the published ones (fingerprint {found:.12e}): results are not \
                 comparable; compare its files with those that its owners publish"
            ));
        }
        Ok(())
    }

    /// Whether a loaded set is the one that the known values are of.
    pub(crate) fn is_as_published(&self, set: &DataSet) -> bool {
        sizes(&set.parts) == self.parts && set.provenance == self.provenance
    }

    pub(crate) fn is_at_hand(&self, data: Option<&Path>) -> bool {
        data.is_some_and(|data| self.files.iter().all(|(file, _)| data.join(self.name).join(file).is_file()))
    }

    /// The path of the set's `index`-th file; where it is not there, the error says its size and where it is published.
    pub(crate) fn file(&self, folder: &Path, index: usize) -> Result<PathBuf> {
        let (file, size) = self.files[index];
        self.at(folder, file, size)
    }

    /// The same for a file that not everyone needs.
    pub(super) fn at(&self, folder: &Path, file: &str, size: &str) -> Result<PathBuf> {
        let path = folder.join(file);
        if path.is_file() {
            return Ok(path);
        }
        Err(Error::Input(format!(
            "{}: {} ({size}) is missing; its owners publish the set at {}",
            self.name,
            path.display(),
            self.published
        )))
    }
}

fn sizes(parts: &Parts) -> [usize; 3] {
    parts.each().map(|(_, part)| part.count())
}

/// A mean of all numbers with weights that differ between neighbouring rows and columns: it is another where samples,
/// columns or parts change places. A digest would notice the last bit too, which another mathematical library rounds
/// otherwise.
fn fingerprint(parts: &Parts) -> f64 {
    const PERIOD: usize = 101;
    let (mut sum, mut count) = (0.0, 0);
    for (k, (_, part)) in parts.each().into_iter().enumerate() {
        for (n, sample) in part.iter().enumerate() {
            let weights = (0..).map(|j| ((7 * k + 31 * n + 17 * j) % PERIOD) as f64 / PERIOD as f64);
            sum += sample.iter().zip(weights).map(|(x, weight)| weight * x).sum::<f64>();
        }
        count += part.values.len();
    }
    sum / count.max(1) as f64
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
