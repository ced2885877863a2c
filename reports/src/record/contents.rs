//! Whole files into memory: regular ones, of a size that can be meant.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use relgrad_vocabulary::excerpt;

use crate::record::error::{Error, Result};

/// Bytes of the largest file that is read; the records of 100,000 cells take a tenth.
const MOST_BYTES: u64 = 1 << 30;
/// A packed file may become this many times its size; records become five to seven times theirs.
const MOST_UNPACKED: u64 = 100;
/// Bytes that any packed file may become.
const ALWAYS_UNPACKED: u64 = 1 << 20;

/// The bytes of a file.
///
/// # Errors
/// When it cannot be read, when it is a device, a pipe or a folder, which may never end, or when it is too large.
pub(crate) fn of(path: &Path) -> Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    options.read(true);
    // Opening a pipe would wait for its other end.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let mut file = options.open(path).map_err(Error::io("read", path))?;
    of_file(&mut file, path)
}

/// The bytes of a file, unpacked where its name ends in .gz.
///
/// # Errors
/// As [`of`]; when it is damaged, or becomes more than a packed file may.
pub(crate) fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let bytes = of(path)?;
    if is_packed(path) { unpack(path, &bytes) } else { Ok(bytes) }
}

/// Whether the name of a file says that it is packed.
pub(crate) fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

/// Unpacks all members of a gzip file and checks their sums.
fn unpack(path: &Path, packed: &[u8]) -> Result<Vec<u8>> {
    let most = (packed.len() as u64).saturating_mul(MOST_UNPACKED).clamp(ALWAYS_UNPACKED, MOST_BYTES);
    let mut bytes = Vec::new();
    let read = MultiGzDecoder::new(packed).take(most + 1).read_to_end(&mut bytes);
    let reason = match read {
        Ok(_) if bytes.len() as u64 <= most => return Ok(bytes),
        Ok(_) => {
            format!("it unpacks to more than {most} bytes, the limit for its size; if this is correct, unpack it first")
        }
        Err(cause) => format!("{}; restore the file", damage(&cause)),
    };
    Err(Error::Packed(path.into(), reason))
}

/// What is wrong with a packed file, in a phrase.
fn damage(cause: &io::Error) -> String {
    match cause.kind() {
        ErrorKind::UnexpectedEof => "it ends too early".into(),
        _ => excerpt(&cause.to_string(), 60),
    }
}

/// The bytes of an open file, from its start.
///
/// # Errors
/// As [`of`].
pub(crate) fn of_file(file: &mut File, path: &Path) -> Result<Vec<u8>> {
    require_regular(file, path)?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).map_err(Error::io("read", path))?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Error::TooLarge(path.into(), MOST_BYTES));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        let cause = io::Error::other("it begins with a byte-order mark: save it as UTF-8 without one");
        return Err(Error::io("read", path)(cause));
    }
    Ok(bytes)
}

/// Rejects devices and pipes.
///
/// # Errors
/// [`Error::NotAFile`].
pub(crate) fn require_regular(file: &File, path: &Path) -> Result<()> {
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    if metadata.is_file() { Ok(()) } else { Err(Error::NotAFile(path.into())) }
}
