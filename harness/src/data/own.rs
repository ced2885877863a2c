//! The user's own files.

use std::path::Path;

use relgrad_reports::training::Provenance;

use super::{DataSet, Parts, Samples, files, preprocess, require_usable};
use crate::error::{Error, Result};

/// Names of the three arrays of an npz file that brings its own split.
const SPLIT: [&[&str]; 3] = [&["train"], &["validation", "val"], &["test"]];

/// Whether a data set's name is that of a file.
pub(crate) fn is_file_name(name: &str) -> bool {
    [".npy", ".npz", ".csv", ".csv.gz"].iter().any(|extension| name.ends_with(extension))
}

/// Reads a file. An npz file may hold `train`, `validation` (or `val`) and `test`; a single array, or text, is split in
/// its order: the last tenth is the test, the last tenth of the rest the validation part. Nothing is rescaled.
///
/// # Errors
/// When the file cannot be read or has no usable samples.
pub(crate) fn load(path: &Path) -> Result<DataSet> {
    let name = path.display().to_string();
    let parts = if name.ends_with(".npz") { npz(path)? } else { split(path, single(path, &name)?)? };
    let set = DataSet { name, parts, provenance: Provenance::Own, picture: None, entropy_nats: None };
    require_usable(&set)?;
    Ok(set)
}

fn npz(path: &Path) -> Result<Parts> {
    let names = files::npz_names(path)?;
    if let [only] = &names[..] {
        let all = files::npz(path, &[&[only.as_str()]])?.remove(0);
        return split(path, all);
    }
    let mut parts = files::npz(path, &SPLIT)?.into_iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(train), Some(validation), Some(test)) => Ok(Parts { train, validation, test }),
        _ => Err(Error::input(path, "it has no arrays named train, validation and test")),
    }
}

fn single(path: &Path, name: &str) -> Result<Samples> {
    if name.ends_with(".npy") { files::npy_file(path) } else { files::text(path, b',', files::numbers) }
}

fn split(path: &Path, all: Samples) -> Result<Parts> {
    let count = all.count();
    if count < 12 {
        return Err(Error::input(
            path,
            format!("{count} samples are too few for three parts; 12 are the fewest"),
        ));
    }
    Ok(preprocess::split_in_order(all))
}
