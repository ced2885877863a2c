//! Opening a file of data: a regular one, unpacked where its name says so, within limits that are checked before memory
//! is taken. Readers below this say what is wrong in a sentence; [`reading`] adds of which file.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use relgrad_reports::units;

use crate::console::quoted;
use crate::error::{Error, Result};
use crate::machine;

/// A packed file may become this many times its size. Tables of measurements shrink to a fifth, pictures to a tenth;
/// what shrinks more is almost only zeros, or made to fill the memory.
const MOST_UNPACKED: u64 = 100;
/// Bytes that any packed file may become.
const ALWAYS_UNPACKED: u64 = 16 << 20;

/// What `read` makes of a file, or an error that names the file.
pub(super) fn reading<T>(path: &Path, read: impl FnOnce(&Path) -> Result<T, String>) -> Result<T> {
    read(path).map_err(|cause| Error::input(path, cause))
}

/// An open file and its size in bytes. What is no regular file is refused: opening a pipe would wait, and a device has
/// no end.
pub(super) fn regular(path: &Path) -> Result<(BufReader<File>, u64), String> {
    let facts = std::fs::metadata(path).map_err(|cause| cause.to_string())?;
    if !facts.is_file() {
        let what = if facts.is_dir() { "it is a folder" } else { "it is a pipe or a device" };
        return Err(format!("{what}, not a regular file"));
    }
    let file = File::open(path).map_err(|cause| cause.to_string())?;
    Ok((BufReader::new(file), facts.len()))
}

/// A file's bytes, unpacked when its name ends in .gz.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read>, String> {
    let (file, packed) = regular(path)?;
    if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz")) {
        return Ok(Box::new(file));
    }
    Ok(Box::new(Limited { inner: MultiGzDecoder::new(file), packed, left: most_unpacked(packed) }))
}

/// Bytes that a packed file of `packed` bytes may become.
fn most_unpacked(packed: u64) -> u64 {
    packed.saturating_mul(MOST_UNPACKED).max(ALWAYS_UNPACKED)
}

/// Refuses to unpack `unpacked` bytes from a file of `packed`.
pub(super) fn require_ratio(packed: u64, unpacked: u64) -> Result<(), String> {
    if unpacked <= most_unpacked(packed) {
        return Ok(());
    }
    let [packed, most, always] = [packed, most_unpacked(packed), ALWAYS_UNPACKED].map(bytes);
    Err(format!(
        "its {packed} become more than {most}, the limit ({MOST_UNPACKED} times as much, or {always}): if it is as it \
         should be, unpack it first"
    ))
}

fn bytes(bytes: u64) -> String {
    units::bytes(bytes as f64)
}

/// Ends with an error where more is unpacked than [`require_ratio`] allows.
struct Limited<R> {
    inner: R,
    packed: u64,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => require_ratio(self.packed, u64::MAX).map_err(io::Error::other)?,
        }
        Ok(read)
    }
}

/// Refuses more numbers, of eight bytes, than there is memory for.
pub(super) fn require_memory(numbers: u64) -> Result<(), String> {
    // Asking the machine takes longer than reading a small file.
    const ALWAYS: u64 = 1 << 20;
    let needed = numbers.saturating_mul(8);
    if needed <= ALWAYS {
        return Ok(());
    }
    match machine::available_bytes() {
        // 0: the machine does not say.
        free if free == 0 || needed <= free => Ok(()),
        free => Err(format!("its numbers take {} of memory, and {} are free", bytes(needed), bytes(free))),
    }
}

/// Why reading failed; a container that is damaged is to be fetched again.
pub(super) fn reason(cause: &io::Error) -> String {
    let words = cause.to_string();
    let told = match cause.kind() {
        ErrorKind::UnexpectedEof => "it ends too early".to_string(),
        ErrorKind::InvalidData | ErrorKind::InvalidInput if words.contains("checksum") => {
            "its checksum does not match".to_string()
        }
        ErrorKind::InvalidData | ErrorKind::InvalidInput => quoted(&words),
        _ => return words,
    };
    format!("{told}; fetch the file again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("zero.csv");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        for (path, what) in [(link.as_path(), "device"), (folder.path(), "a folder")] {
            let error = regular(path).unwrap_err();
            assert!(error.contains(what) && error.contains("not a regular file"), "{error}");
        }
    }

    #[test]
    fn what_a_packed_file_becomes_is_limited() {
        assert_eq!(require_ratio(1 << 10, 16 << 20), Ok(()));
        assert_eq!(require_ratio(1 << 30, 99 << 30), Ok(()));
        for (packed, unpacked) in [(97 << 10, 1400 << 20), (1 << 30, 101 << 30), (0, 17 << 20)] {
            let error = require_ratio(packed, unpacked).unwrap_err();
            assert!(error.contains("unpack it first"), "{error}");
        }
        assert_eq!(require_memory(1 << 10), Ok(()));
        let error = require_memory(1 << 50).unwrap_err();
        assert!(error.contains("8 PiB") || error.contains("of memory"), "{error}");
    }
}
