//! Files of arrays: idx (gzip), NumPy's npy and npz.

use std::io::{Read, Seek};
use std::path::Path;

use super::{Samples, npy, open};
use crate::console::quoted;
use crate::error::Result;

/// The pictures of an idx file: bytes, each picture's rows one after another, and the pictures' rows and columns.
pub(crate) fn idx_pictures(path: &Path) -> Result<(Vec<u8>, (usize, usize))> {
    const PICTURES: usize = 2051;
    open::reading(path, |path| {
        let failed = |cause: std::io::Error| open::reason(&cause);
        let mut reader = open::open(path)?;
        let mut header = [[0; 4]; 4];
        reader.read_exact(header.as_flattened_mut()).map_err(failed)?;
        let [magic, count, rows, columns] = header.map(|word| u32::from_be_bytes(word) as usize);
        if magic != PICTURES {
            return Err(format!(
                "its magic number is {magic}, that of idx pictures is {PICTURES}; fetch the file again"
            ));
        }
        let expected = count.saturating_mul(rows).saturating_mul(columns);
        open::require_memory(expected as u64)?;
        let mut pixels = Vec::new();
        // One more than expected, so that what is too long is noticed, and the end is met, where gzip compares its
        // checksum.
        reader.take(expected as u64 + 1).read_to_end(&mut pixels).map_err(failed)?;
        if pixels.len() != expected {
            return Err(format!(
                "it does not hold the {count} pictures of {rows}×{columns} it announces; fetch the file again"
            ));
        }
        Ok((pixels, (rows, columns)))
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
