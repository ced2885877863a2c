//! BSDS300: 8×8 grey patches, dequantised, centred, their last pixel dropped.

use std::path::Path;

use super::catalogue::Entry;
use super::numpy::RandomState;
use super::{DataSet, Parts, Samples, files};
use crate::error::{Error, Result};

/// (k + u)/256 minus the patch's mean over all 64 pixels, without the last pixel (it is minus the sum of the others).
pub(crate) fn load(entry: &Entry, folder: &Path) -> Result<DataSet> {
    let path = entry.file(folder, 0)?;
    let mut noise = RandomState::new(42);
    let mut parts = files::npz(&path, [&["train"], &["val", "validation"], &["test"]])?;
    for part in &mut parts {
        if part.dim != entry.dim + 1 {
            return Err(Error::input(&path, format!("its patches have {} pixels, not {}", part.dim, entry.dim + 1)));
        }
        let mut values = Vec::with_capacity(part.count() * entry.dim);
        for patch in part.iter() {
            let patch: Vec<f64> = patch.iter().map(|k| (k + noise.uniform()) / 256.0).collect();
            let mean = patch.iter().sum::<f64>() / patch.len() as f64;
            values.extend(patch[..entry.dim].iter().map(|p| p - mean));
        }
        *part = Samples { dim: entry.dim, values };
    }
    Ok(DataSet::new(entry.name, Parts::of(parts), entry.provenance))
}
