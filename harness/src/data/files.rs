//! Files of arrays: idx (gzip), NumPy's npy and npz.

use std::io::{BufReader, Read, Seek};
use std::path::Path;

use super::open;
use super::{Samples, npy};
use crate::console::quoted;
use crate::error::{Error, Result};

/// The pictures of an idx file: bytes, each picture's rows one after another, and the pictures' rows and columns.
pub(crate) fn idx_pictures(path: &Path) -> Result<(Vec<u8>, (usize, usize))> {
    const PICTURES: u32 = 2051;
    let damaged = |what: String| Error::input(path, format!("{what}; fetch the file again"));
    let failed = |cause: std::io::Error| Error::input(path, open::reason(&cause));
    let mut reader = open::open(path)?;
    let mut header = [0; 16];
    reader.read_exact(&mut header).map_err(failed)?;
    let word = |i: usize| u32::from_be_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
    if word(0) != PICTURES {
        return Err(damaged(format!("its magic number is {}, that of idx pictures is {PICTURES}", word(0))));
    }
    let [count, rows, columns] = [4, 8, 12].map(|i| word(i) as usize);
    let expected = count.saturating_mul(rows).saturating_mul(columns);
    open::require_memory(expected as u64).map_err(|cause| Error::input(path, cause))?;
    let mut pixels = Vec::new();
    // One more than expected, so that what is too long is noticed, and the end is met, where gzip compares its
    // checksum.
    reader.take(expected as u64 + 1).read_to_end(&mut pixels).map_err(failed)?;
    if pixels.len() != expected {
        return Err(damaged(format!("it does not hold the {count} pictures of {rows}×{columns} it announces")));
    }
    Ok((pixels, (rows, columns)))
}

/// A two-dimensional array, one sample a row.
pub(crate) fn npy_file(path: &Path) -> Result<Samples> {
    let (file, bytes) = open::regular(path)?;
    npy::read(BufReader::new(file), bytes).map_err(|cause| Error::input(path, cause))
}

/// The named arrays of an npz file, each by the one of its names that is there.
pub(crate) fn npz(path: &Path, parts: &[&[&str]]) -> Result<Vec<Samples>> {
    let (mut archive, bytes) = open_npz(path)?;
    let mut part = |names: &&[&str]| {
        let files = names.iter().map(|name| format!("{name}.npy"));
        let mut there = files.filter(|name| archive.index_for_name(name).is_some());
        let name = there.next().ok_or_else(|| format!("it has no array named {}", names.join(" or ")))?;
        if there.next().is_some() {
            return Err(format!("it has arrays named {}: leave one out", names.join(" and ")));
        }
        drop(there);
        let entry = archive.by_name(&name).map_err(|cause| quoted(&cause.to_string()))?;
        open::require_ratio(bytes, entry.size())?;
        let size = entry.size();
        npy::read(entry, size).map_err(|cause| format!("{}: {cause}", quoted(&name)))
    };
    parts.iter().map(|names| part(names).map_err(|cause: String| Error::input(path, cause))).collect()
}

/// Names of the arrays of an npz file.
pub(crate) fn npz_names(path: &Path) -> Result<Vec<String>> {
    let (archive, _) = open_npz(path)?;
    let name = |name: &str| name.strip_suffix(".npy").unwrap_or(name).to_string();
    Ok(archive.file_names().map(name).collect())
}

fn open_npz(path: &Path) -> Result<(zip::ZipArchive<impl Read + Seek>, u64)> {
    let (file, bytes) = open::regular(path)?;
    let archive = zip::ZipArchive::new(BufReader::new(file))
        .map_err(|cause| Error::input(path, format!("{}; fetch the file again", quoted(&cause.to_string()))))?;
    Ok((archive, bytes))
}

#[cfg(test)]
#[path = "files_tests.rs"]
pub(super) mod tests;
