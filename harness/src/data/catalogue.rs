//! The list of the real sets: files, owners, the paper's value, and what ours may be compared with.

use std::path::{Path, PathBuf};

use relgrad_reports::training::Provenance;

use super::own::ENDINGS;
use super::{DATA_VARIABLE, DataSet, Parts, digits, patches, tabular};
use crate::console::quoted;
use crate::error::{Error, Result};

/// A set that can be loaded by name.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its name on the command line, and of its folder below the data folder.
    pub(crate) name: &'static str,
    /// Data dimension D.
    pub(crate) dim: usize,
    /// The files it needs, with their sizes.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Where its owners publish it.
    pub(crate) published: &'static str,
    /// The set of Table 1 that it is, or stands for.
    pub(crate) stands_for: Option<&'static str>,
    pub(crate) provenance: Provenance,
    /// Samples of its training, validation and test part; those of a fresh draw may be others.
    pub(crate) parts: [usize; 3],
    /// [`fingerprint`] of its numbers, where they were at hand.
    pub(crate) fingerprint: Option<f64>,
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

/// What most sets have in common, to be filled in.
const SAME: Entry = Entry {
    name: "",
    dim: 0,
    files: &[],
    published: "",
    stands_for: None,
    provenance: Provenance::SameData,
    parts: [0; 3],
    fingerprint: None,
    gaussian_check: None,
    load: digits::mnist,
};

const POWER: Entry = Entry {
    name: "power",
    dim: 6,
    files: &[("household_power_consumption.txt", "127 MB")],
    published: "https://archive.ics.uci.edu/dataset/235",
    stands_for: Some("POWER"),
    parts: [1_659_917, 184_435, 204_928],
    gaussian_check: Some((-7.74, 0.05)),
    load: tabular::power,
    ..SAME
};

const MINIBOONE: Entry = Entry {
    name: "miniboone",
    dim: 43,
    files: &[("data.npy", "13 MB, 36 488 × 43 as MAF distributes it")],
    published: "https://archive.ics.uci.edu/dataset/199 (raw), https://zenodo.org/records/1161203 (preprocessed)",
    stands_for: Some("MINIBOONE"),
    parts: [29_556, 3_284, 3_648],
    gaussian_check: Some((-37.24, 0.05)),
    load: tabular::miniboone,
    ..SAME
};

/// Every set.
pub(crate) static ENTRIES: [Entry; 9] = [
    POWER,
    Entry {
        name: "power-subset",
        files: &[("household_power_consumption_first47960.csv.gz", "0.5 MB")],
        provenance: Provenance::Subset,
        parts: [38_844, 4_316, 4_795],
        fingerprint: Some(-0.000_820_156_805_1),
        gaussian_check: Some((-7.79, 0.01)),
        ..POWER
    },
    Entry {
        name: "gas",
        dim: 8,
        files: &[("ethylene_CO.txt", "640 MB")],
        published: "https://archive.ics.uci.edu/dataset/322",
        stands_for: Some("GAS"),
        provenance: Provenance::FreshDraw,
        parts: [852_174, 94_685, 105_206],
        gaussian_check: Some((-3.58, 0.75)),
        load: tabular::gas,
        ..SAME
    },
    Entry {
        name: "hepmass",
        dim: 21,
        files: &[("1000_train.csv.gz", "about 2.5 GB unpacked"), ("1000_test.csv.gz", "about 2.5 GB unpacked")],
        published: "https://archive.ics.uci.edu/dataset/347",
        stands_for: Some("HEPMASS"),
        parts: [315_123, 35_013, 174_987],
        gaussian_check: Some((-27.93, 0.05)),
        load: tabular::hepmass,
        ..SAME
    },
    MINIBOONE,
    Entry {
        name: "miniboone-subset",
        files: &[("miniboone_maf_rows0-1522.npy", "0.5 MB")],
        published: "https://zenodo.org/records/1161203",
        provenance: Provenance::Subset,
        parts: [1_234, 137, 152],
        fingerprint: Some(0.001_007_036_052_3),
        gaussian_check: Some((-35.8, 0.05)),
        ..MINIBOONE
    },
    Entry {
        name: "bsds300",
        dim: 63,
        files: &[("bsds300-patches-u8.npz", "7.3 MB, 8×8 grey patches as integers")],
        published: "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds (images)",
        stands_for: Some("BSDS300"),
        provenance: Provenance::FreshDraw,
        parts: [100_000, 5_000, 25_000],
        gaussian_check: Some((96.1, 0.8)),
        load: patches::load,
        ..SAME
    },
    Entry {
        name: "mnist",
        dim: 784,
        files: &[("train-images-idx3-ubyte.gz", "9.9 MB"), ("t10k-images-idx3-ubyte.gz", "1.6 MB")],
        published: "http://yann.lecun.com/exdb/mnist",
        stands_for: Some("MNIST"),
        parts: [50_000, 10_000, 10_000],
        fingerprint: Some(-2.447_999_311_164),
        gaussian_check: Some((-1366.90, 0.01)),
        ..SAME
    },
    Entry {
        name: "optdigits",
        dim: 64,
        files: &[("optdigits.tra.gz", "0.1 MB"), ("optdigits.tes.gz", "0.1 MB")],
        published: "https://archive.ics.uci.edu/dataset/80",
        parts: [3_323, 500, 1_797],
        fingerprint: Some(-0.734_057_020_430),
        gaussian_check: Some((-114.3, 0.5)),
        load: digits::optdigits,
        ..SAME
    },
];

/// The entry with this name.
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
    pub(crate) fn folder(&self, data: Option<&Path>) -> Result<PathBuf> {
        let data = data.ok_or_else(|| {
            Error::Usage(format!("where is {}? Name the folder of the data with --data or {DATA_VARIABLE}", self.name))
        })?;
        Ok(data.join(self.name))
    }

    /// Compares what was loaded with what is published, and tells how much there is. Another number of samples, where it
    /// is known, is refused: a file that is cut short must not stand under the set's name.
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

    /// Whether every file is there.
    pub(crate) fn is_at_hand(&self, data: Option<&Path>) -> bool {
        data.is_some_and(|data| self.files.iter().all(|(file, _)| data.join(self.name).join(file).is_file()))
    }

    /// The path of the set's `index`-th file; where it is not there, the error says its size and where it is published.
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
