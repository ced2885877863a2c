//! The list of the real sets: files, owners, the paper's value, and what ours may be compared with.

use std::path::{Path, PathBuf};

use relgrad_reports::training::Provenance;

use super::own::ENDINGS;
use super::{DATA_VARIABLE, DataSet, digits, patches, tabular};
use crate::console::quoted;
use crate::error::{Error, Result};

/// A set that can be loaded by name.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Data dimension D.
    pub(crate) dim: usize,
    /// Its folder below the data folder.
    pub(crate) subfolder: &'static str,
    /// The files it needs, with their sizes.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Where its owners publish it.
    pub(crate) published: &'static str,
    /// The set of Table 1 that it is, or stands for.
    pub(crate) stands_for: Option<&'static str>,
    pub(crate) provenance: Provenance,
    /// The Gaussian's test log-likelihood in nats that a correct loader gives: the value and how far off it may be,
    /// with the reason of the margin in the data's own notes.
    pub(crate) gaussian_check: Option<(f64, f64)>,
    pub(crate) load: fn(&Entry, &Path) -> Result<DataSet>,
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

/// Every set.
pub(crate) static ENTRIES: [Entry; 9] = [
    Entry {
        name: "power",
        dim: 6,
        subfolder: "power",
        files: &[("household_power_consumption.txt", "127 MB")],
        published: "https://archive.ics.uci.edu/dataset/235",
        stands_for: Some("POWER"),
        provenance: Provenance::SameData,
        gaussian_check: Some((-7.74, 0.05)),
        load: tabular::power,
    },
    Entry {
        name: "power-subset",
        dim: 6,
        subfolder: "power-subset",
        files: &[("household_power_consumption_first47960.csv.gz", "0.5 MB")],
        published: "https://archive.ics.uci.edu/dataset/235",
        stands_for: Some("POWER"),
        provenance: Provenance::Subset,
        gaussian_check: Some((-7.79, 0.01)),
        load: tabular::power,
    },
    Entry {
        name: "gas",
        dim: 8,
        subfolder: "gas",
        files: &[("ethylene_CO.txt", "640 MB")],
        published: "https://archive.ics.uci.edu/dataset/322",
        stands_for: Some("GAS"),
        provenance: Provenance::FreshDraw,
        gaussian_check: Some((-3.58, 0.75)),
        load: tabular::gas,
    },
    Entry {
        name: "hepmass",
        dim: 21,
        subfolder: "hepmass",
        files: &[
            ("1000_train.csv.gz", "about 2.5 GB unpacked"),
            ("1000_test.csv.gz", "about 2.5 GB unpacked"),
        ],
        published: "https://archive.ics.uci.edu/dataset/347",
        stands_for: Some("HEPMASS"),
        provenance: Provenance::SameData,
        gaussian_check: Some((-27.93, 0.05)),
        load: tabular::hepmass,
    },
    Entry {
        name: "miniboone",
        dim: 43,
        subfolder: "miniboone",
        files: &[("data.npy", "13 MB, 36 488 × 43 as MAF distributes it")],
        published: "https://archive.ics.uci.edu/dataset/199 (raw), https://zenodo.org/records/1161203 (preprocessed)",
        stands_for: Some("MINIBOONE"),
        provenance: Provenance::SameData,
        gaussian_check: Some((-37.24, 0.05)),
        load: tabular::miniboone,
    },
    Entry {
        name: "miniboone-subset",
        dim: 43,
        subfolder: "miniboone-subset",
        files: &[("miniboone_maf_rows0-1522.npy", "0.5 MB")],
        published: "https://zenodo.org/records/1161203",
        stands_for: Some("MINIBOONE"),
        provenance: Provenance::Subset,
        gaussian_check: Some((-35.8, 0.05)),
        load: tabular::miniboone,
    },
    Entry {
        name: "bsds300",
        dim: 63,
        subfolder: "bsds300",
        files: &[("bsds300-patches-u8.npz", "7.3 MB, 8×8 grey patches as integers")],
        published: "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds (images)",
        stands_for: Some("BSDS300"),
        provenance: Provenance::FreshDraw,
        gaussian_check: Some((96.1, 0.8)),
        load: patches::load,
    },
    Entry {
        name: "mnist",
        dim: 784,
        subfolder: "mnist",
        files: &[("train-images-idx3-ubyte.gz", "9.9 MB"), ("t10k-images-idx3-ubyte.gz", "1.6 MB")],
        published: "http://yann.lecun.com/exdb/mnist",
        stands_for: Some("MNIST"),
        provenance: Provenance::SameData,
        gaussian_check: Some((-1366.90, 0.01)),
        load: digits::mnist,
    },
    Entry {
        name: "optdigits",
        dim: 64,
        subfolder: "optdigits",
        files: &[("optdigits.tra.gz", "0.1 MB"), ("optdigits.tes.gz", "0.1 MB")],
        published: "https://archive.ics.uci.edu/dataset/80",
        stands_for: None,
        provenance: Provenance::SameData,
        gaussian_check: Some((-114.3, 0.5)),
        load: digits::optdigits,
    },
];

/// The entry with this name.
///
/// # Errors
/// Lists what would have been understood.
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
    /// The set's own folder.
    ///
    /// # Errors
    /// When nobody said where the data lie.
    pub(crate) fn folder(&self, data: Option<&Path>) -> Result<PathBuf> {
        let data = data.ok_or_else(|| {
            Error::Usage(format!(
                "where is {}? Name the folder of the data with --data or {DATA_VARIABLE}",
                self.name
            ))
        })?;
        Ok(data.join(self.subfolder))
    }

    /// Whether every file is there.
    pub(crate) fn is_at_hand(&self, data: Option<&Path>) -> bool {
        data.is_some_and(|data| {
            self.files.iter().all(|(file, _)| data.join(self.subfolder).join(file).is_file())
        })
    }

    /// The path of the set's `index`-th file.
    ///
    /// # Errors
    /// When it is not there: says its size and where it is published.
    pub(crate) fn file(&self, folder: &Path, index: usize) -> Result<PathBuf> {
        let (file, size) = self.files[index];
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

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
