//! MNIST and optdigits: pixels, dequantised and sent through the logit.

use std::path::Path;

use super::catalogue::Entry;
use super::numpy::RandomState;
use super::preprocess::logit;
use super::text::{self, Delimiter, Header, TextFormat};
use super::{DataSet, Parts, Samples, files};
use crate::error::{Error, Result};

/// MNIST as MAF prepares it: 50 000 / 10 000 / 10 000 in file order; (k + u)/256 with u from one `RandomState(42)` over
/// the parts in order; then the logit. No standardisation.
pub(crate) fn mnist(entry: &Entry, folder: &Path) -> Result<DataSet> {
    const VALIDATION: usize = 10_000;
    let (train_file, test_file) = (entry.file(folder, 0)?, entry.file(folder, 1)?);
    let (pixels, picture) = files::idx_pictures(&train_file)?;
    let (test_pixels, test_picture) = files::idx_pictures(&test_file)?;
    let dim = picture.0 * picture.1;
    let count = pixels.len().checked_div(dim).unwrap_or(0);
    if dim != entry.dim || test_picture != picture || count <= VALIDATION {
        return Err(Error::input(
            &train_file,
            format!("{count} pictures of {}×{} are not MNIST", picture.0, picture.1),
        ));
    }
    let mut noise = RandomState::new(42);
    let mut part = |pixels: &[u8]| Samples {
        dim,
        values: pixels.iter().map(|&k| logit(f64::from(k) / 256.0 + noise.uniform() / 256.0)).collect(),
    };
    let (train, validation) = pixels.split_at((count - VALIDATION) * dim);
    let (train, validation) = (part(train), part(validation));
    let parts = Parts { train, validation, test: part(&test_pixels) };
    let set = DataSet::new(entry.name, parts, entry.provenance);
    Ok(DataSet { picture: Some(picture), ..set })
}

/// The 8×8 digits: (k + u)/17, k = 0..16, then the logit; the last 500 rows of the training file are the validation
/// part.
pub(crate) fn optdigits(entry: &Entry, folder: &Path) -> Result<DataSet> {
    const VALIDATION: usize = 500;
    let mut noise = RandomState::new(42);
    let mut read = |index| {
        let path = entry.file(folder, index)?;
        // 64 pixels and the class.
        let pixels = |fields: text::Fields<'_>, out: &mut Vec<f64>| match fields.clone().count() {
            count if count == entry.dim + 1 => text::numbers(fields.take(entry.dim), out),
            count => Err(format!("{count} fields, not {}", entry.dim + 1)),
        };
        let format = TextFormat { delimiter: Delimiter::Is(b','), header: Header::No, loose: false };
        let mut samples = text::read(&path, format, pixels)?.samples;
        samples.values.iter_mut().for_each(|x| *x = logit((*x + noise.uniform()) / 17.0));
        Ok::<_, Error>((path, samples))
    };
    let ((path, mut train), (_, test)) = (read(0)?, read(1)?);
    let count = train.count();
    if count <= VALIDATION {
        return Err(Error::input(&path, format!("{count} rows leave none to learn from")));
    }
    let validation = Samples { dim: entry.dim, values: train.values.split_off((count - VALIDATION) * entry.dim) };
    let set = DataSet::new(entry.name, Parts { train, validation, test }, entry.provenance);
    Ok(DataSet { picture: Some((8, 8)), ..set })
}
