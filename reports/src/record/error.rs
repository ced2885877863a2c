//! What can go wrong with a folder of records.

use std::path::{Path, PathBuf};

use crate::record::SCHEMA_VERSION;
use crate::record::log::SKIP;

/// Result of reading or writing a folder.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a folder could not be read or written. One line each, naming the file and what to do. Where there is a reason,
/// it is the last field.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused what was tried, for instance to `read`.
    #[error("cannot {0} {path}: {2}", path = .1.display())]
    Io(&'static str, PathBuf, #[source] std::io::Error),
    /// A newer relgrad wrote the file, with this version.
    #[error(
        "{path} has schema version {1}; this relgrad reads up to {SCHEMA_VERSION}: use the relgrad that wrote it, \
         or a newer one",
        path = .0.display()
    )]
    NewerSchema(PathBuf, u32),
    /// A line, by its number from 1, is not a record. A last line that was cut off is repaired instead.
    #[error("{path}, line {1} is not a record ({2}): {SKIP}", path = .0.display())]
    Record(PathBuf, usize, String),
    /// A line is invalid: a number out of range, an unknown name, a second record of a cell. The last field is what to
    /// do.
    #[error("{path}, line {1} is invalid: {2}; {3}", path = .0.display())]
    Invalid(PathBuf, usize, String, &'static str),
    /// `run.json` does not describe a run.
    #[error(
        "{path} does not describe a run ({1}): name the folder of a sweep, or restore the file",
        path = .0.display()
    )]
    Run(PathBuf, String),
    /// The file is not that of an atlas.
    #[error("{path} is no atlas ({1}): name a file that relgrad atlas wrote", path = .0.display())]
    Atlas(PathBuf, String),
    /// A record or a run that a reader would not accept, so it is not written.
    #[error("{path} was not written: it could not be read back ({1})", path = .0.display())]
    Unreadable(PathBuf, String),
    /// A device, a pipe or a folder stands where a file is read.
    #[error("{path} is not a regular file: name the file itself", path = .0.display())]
    NotAFile(PathBuf),
    /// The file is larger than any that is read, which may have so many bytes.
    #[error("{path} is larger than the limit of {1} bytes: name the right file", path = .0.display())]
    TooLarge(PathBuf, u64),
    /// A packed file is damaged, or becomes too large.
    #[error("cannot unpack {path}: {1}", path = .0.display())]
    Packed(PathBuf, String),
    /// The records of the folder are packed; nothing can be appended to them.
    #[error(
        "{path} is packed; a sweep cannot append to it: unpack it (gunzip), or choose another folder",
        path = .0.display()
    )]
    NotAppendable(PathBuf),
    /// Another process holds the folder.
    #[error("{path} is being written by another relgrad: wait for it, or choose another folder", path = .0.display())]
    Busy(PathBuf),
}

impl Error {
    /// Wraps the system's reason with what was tried on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io(action, path, source)
    }
}
