//! Files of arrays: idx (gzip), NumPy's npy and npz, and raw numbers.

use std::io::{Read, Seek};
use std::path::Path;

use super::{Samples, npy, open};
use crate::console::quoted;
use crate::error::{Error, Result};

/// The pictures of an idx file: bytes, each picture's rows one after another, and the pictures' rows and columns.
pub(crate) fn idx_pictures(path: &Path) -> Result<(Vec<u8>, (usize, usize))> {
    let ([count, rows, columns], pixels) = idx(path, 2051, "pictures")?;
    if pixels.len() != count.saturating_mul(rows).saturating_mul(columns) {
        let announced = format!("the {count} pictures of {rows}×{columns}");
        return Err(Error::input(path, format!("it does not hold {announced} it announces; fetch the file again")));
    }
    Ok((pixels, (rows, columns)))
}

/// The labels of an idx file, a byte each.
pub(crate) fn idx_labels(path: &Path) -> Result<Vec<u8>> {
    let ([count], labels) = idx(path, 2049, "labels")?;
    if labels.len() != count {
        return Err(Error::input(
            path,
            format!("it does not hold the {count} labels it announces; fetch the file again"),
        ));
    }
    Ok(labels)
}

/// The sizes that an idx file announces, and its bytes: as many, or one more where there are more.
fn idx<const N: usize>(path: &Path, known: u32, what: &str) -> Result<([usize; N], Vec<u8>)> {
    open::reading(path, |path| {
        let failed = |cause: std::io::Error| open::reason(&cause);
        let mut reader = open::open(path)?;
        let mut word = || {
            let mut word = [0; 4];
            reader.read_exact(&mut word).map(|()| u32::from_be_bytes(word)).map_err(failed)
        };
        let magic = word()?;
        if magic != known {
            return Err(format!("its magic number is {magic}, that of idx {what} is {known}; fetch the file again"));
        }
        let mut sizes = [0; N];
        for size in &mut sizes {
            *size = word()? as usize;
        }
        let expected = sizes.iter().fold(1_usize, |product, size| product.saturating_mul(*size)) as u64;
        open::require_memory(expected)?;
        let mut bytes = Vec::new();
        // One more than expected, so that what is too long is noticed, and the end is met, where gzip compares its
        // checksum.
        reader.take(expected.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        Ok((sizes, bytes))
    })
}

/// The numbers of a file of little-endian f32 and nothing else.
pub(crate) fn raw_floats(path: &Path) -> Result<Vec<f64>> {
    open::reading(path, |path| {
        let mut bytes = Vec::new();
        open::open(path)?.read_to_end(&mut bytes).map_err(|cause| open::reason(&cause))?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(format!("{} bytes are not numbers of four; fetch the file again", bytes.len()));
        }
        Ok(numbers.iter().map(|number| f64::from(f32::from_le_bytes(*number))).collect())
    })
}

/// A two-dimensional array, one sample a row.
pub(crate) fn npy_file(path: &Path) -> Result<Samples> {
    open::reading(path, |path| open::regular(path).and_then(|(file, bytes)| npy::read(file, bytes)))
}

/// The named arrays of an npz file, each by the one of its names that is there.
pub(crate) fn npz<const N: usize>(path: &Path, parts: [&[&str]; N]) -> Result<[Samples; N]> {
    open::reading(path, |path| {
        let (mut archive, bytes) = open_npz(path)?;
        let mut part = |names: &[&str]| {
            let files = names.iter().map(|name| format!("{name}.npy"));
            let there: Vec<String> = files.filter(|name| archive.index_for_name(name).is_some()).collect();
            let name = match &there[..] {
                [] => return Err(format!("it has no array named {}", names.join(" or "))),
                [name] => name,
                _ => return Err(format!("it has arrays named {}: leave one out", names.join(" and "))),
            };
            let entry = archive.by_name(name).map_err(|cause| quoted(&cause.to_string()))?;
            let size = entry.size();
            open::require_ratio(bytes, size)?;
            npy::read(entry, size).map_err(|cause| format!("{}: {cause}", quoted(name)))
        };
        let mut samples = parts.map(|_| Samples { dim: 0, values: Vec::new() });
        for (samples, names) in samples.iter_mut().zip(parts) {
            *samples = part(names)?;
        }
        Ok(samples)
    })
}

pub(crate) fn npz_names(path: &Path) -> Result<Vec<String>> {
    let (archive, _) = open::reading(path, open_npz)?;
    let name = |name: &str| name.strip_suffix(".npy").unwrap_or(name).to_string();
    Ok(archive.file_names().map(name).collect())
}

fn open_npz(path: &Path) -> Result<(zip::ZipArchive<impl Read + Seek + use<>>, u64), String> {
    let (file, bytes) = open::regular(path)?;
    let damaged = |cause: zip::result::ZipError| format!("{}; fetch the file again", quoted(&cause.to_string()));
    Ok((zip::ZipArchive::new(file).map_err(damaged)?, bytes))
}

#[cfg(test)]
#[path = "files_tests.rs"]
pub(super) mod tests;
