//! MNIST and optdigits: pixels, dequantised and sent through the logit.

use std::path::Path;

use super::catalogue::Entry;
use super::numpy::RandomState;
use super::preprocess::logit;
use super::text::{self, Delimiter, Header, TextFormat};
use super::{DataSet, Parts, Samples, files};
use crate::error::{Error, Result};

const MNIST_VALIDATION: usize = 10_000;
const OPTDIGITS_VALIDATION: usize = 500;

/// MNIST as MAF prepares it: 50 000 / 10 000 / 10 000 in file order; (k + u)/256 with u from one `RandomState(42)` over
/// the parts in order; then the logit. No standardisation.
pub(crate) fn mnist(entry: &Entry, folder: &Path) -> Result<DataSet> {
    const VALIDATION: usize = MNIST_VALIDATION;
    let (train_file, test_file) = (entry.file(folder, 0)?, entry.file(folder, 1)?);
    let (pixels, picture) = files::idx_pictures(&train_file)?;
    let (test_pixels, test_picture) = files::idx_pictures(&test_file)?;
    let dim = picture.0 * picture.1;
    let count = pixels.len().checked_div(dim).unwrap_or(0);
    if Some(picture) != entry.picture || test_picture != picture || count <= VALIDATION {
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
    let parts = Parts::of([train, validation, part(&test_pixels)]);
    let set = DataSet::new(entry.name, parts, entry.provenance);
    Ok(DataSet { picture: entry.picture, ..set })
}

/// The 8×8 digits: (k + u)/17, k = 0..16, then the logit; the last 500 rows of the training file are the validation
/// part.
pub(crate) fn optdigits(entry: &Entry, folder: &Path) -> Result<DataSet> {
    const VALIDATION: usize = OPTDIGITS_VALIDATION;
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
    let set = DataSet::new(entry.name, Parts::of([train, validation, test]), entry.provenance);
    Ok(DataSet { picture: entry.picture, ..set })
}

/// The digit that each picture shows, from 0 to 9, part by part; `None` for a set without classes.
pub(crate) fn labels(entry: &Entry, folder: &Path) -> Option<Result<[Vec<f64>; 3]>> {
    match entry.name {
        "mnist" => Some(split(|index| mnist_labels(entry, folder, index), MNIST_VALIDATION)),
        "optdigits" => Some(split(|index| optdigits_labels(entry, folder, index), OPTDIGITS_VALIDATION)),
        _ => None,
    }
}

fn split(read: impl Fn(usize) -> Result<Vec<f64>>, validation: usize) -> Result<[Vec<f64>; 3]> {
    let (mut train, test) = (read(0)?, read(1)?);
    let validation = train.split_off(train.len().saturating_sub(validation));
    Ok([train, validation, test])
}

fn mnist_labels(entry: &Entry, folder: &Path, index: usize) -> Result<Vec<f64>> {
    let files = [("train-labels-idx1-ubyte.gz", "28.9 kB"), ("t10k-labels-idx1-ubyte.gz", "4.5 kB")];
    let (file, size) = files[index];
    let labels = files::idx_labels(&entry.at(folder, file, size)?)?;
    Ok(labels.into_iter().map(f64::from).collect())
}

fn optdigits_labels(entry: &Entry, folder: &Path, index: usize) -> Result<Vec<f64>> {
    let class = |fields: text::Fields<'_>, out: &mut Vec<f64>| text::numbers(fields.skip(entry.dim), out);
    let format = TextFormat { delimiter: Delimiter::Is(b','), header: Header::No, loose: false };
    Ok(text::read(&entry.file(folder, index)?, format, class)?.samples.values)
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::find;
    use super::super::files::tests::gzip;
    use super::*;

    #[test]
    fn labels_are_read_part_by_part_or_their_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| labels(find(name).unwrap(), folder.path()).unwrap().map_err(|cause| cause.to_string());
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), gzip(bytes)).unwrap();
        let told = read("mnist").unwrap_err();
        assert!(told.contains("train-labels-idx1-ubyte.gz (28.9 kB) is missing"), "{told}");
        let idx = |labels: &[u8]| [&[2049, labels.len() as u32].map(u32::to_be_bytes).concat(), labels].concat();
        write("train-labels-idx1-ubyte.gz", &idx(&[7; 10_002]));
        write("t10k-labels-idx1-ubyte.gz", &idx(&[0, 9, 3]));
        let [train, validation, test] = read("mnist").unwrap();
        assert_eq!((train, validation.len(), test), (vec![7.0; 2], 10_000, vec![0.0, 9.0, 3.0]));
        for damaged in [&idx(&[0, 9, 3])[..10], &[&idx(&[1])[..], b"\x01"].concat(), &[0; 16], b""] {
            write("t10k-labels-idx1-ubyte.gz", damaged);
            let told = read("mnist").unwrap_err();
            assert!(told.contains("t10k-labels") && told.contains("fetch the file again"), "{told}");
        }
        let rows = |count: usize| (0..count).map(|i| "0,".repeat(64) + &format!("{}\n", i % 10)).collect::<String>();
        write("optdigits.tra.gz", rows(503).as_bytes());
        write("optdigits.tes.gz", rows(2).as_bytes());
        let [train, validation, test] = read("optdigits").unwrap();
        assert_eq!((train, validation.len(), test), (vec![0.0, 1.0, 2.0], 500, vec![0.0, 1.0]));
        assert!(labels(find("power").unwrap(), folder.path()).is_none());
    }
}
