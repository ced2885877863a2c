//! What can go wrong with a folder of records.

use std::path::{Path, PathBuf};

/// Result of reading or writing a folder.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a folder could not be read or written. One line each, naming the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, for instance `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A newer relgrad wrote the file.
    #[error(
        "{} has schema version {found}; this relgrad reads up to {}: use the relgrad that wrote it, or a newer one",
        path.display(),
        crate::record::SCHEMA_VERSION
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A line is not a record. A last line that was cut off is repaired instead.
    #[error("{}, line {line} is not a record ({reason}): {}", path.display(), super::log::SKIP)]
    Record {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// Where parsing stopped.
        reason: String,
    },
    /// A line is invalid: a number out of range, an unknown name, a second record of a cell.
    #[error("{}, line {line} is invalid: {reason}; {remedy}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// `run.json` does not describe a run.
    #[error("{} does not describe a run ({reason}): restore the file, or start a new sweep", path.display())]
    Run {
        /// The file.
        path: PathBuf,
        /// Where parsing stopped, or what is wrong.
        reason: String,
    },
    /// A record or a run that a reader would not accept, so it is not written.
    #[error("{} was not written: it could not be read back ({reason})", path.display())]
    Unreadable {
        /// The file it was meant for.
        path: PathBuf,
        /// What a reader would say.
        reason: String,
    },
    /// A device, a pipe or a folder in place of a file.
    #[error("{} is not a regular file: name the file itself", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// The file is larger than any that is read.
    #[error("{} is larger than the limit of {} bytes: name the right file", path.display(), most)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes that are read.
        most: u64,
    },
    /// A packed file is damaged, or becomes too large.
    #[error("cannot unpack {}: {reason}", path.display())]
    Packed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The records of the folder are packed; nothing can be appended to them.
    #[error(
        "{} is packed; a sweep cannot append to it: unpack it (gunzip), or choose another folder",
        path.display()
    )]
    NotAppendable {
        /// The packed records.
        path: PathBuf,
    },
    /// Another process holds the folder.
    #[error("{} is being written by another relgrad: wait for it, or choose another folder", path.display())]
    Busy {
        /// The records.
        path: PathBuf,
    },
}

impl Error {
    /// Wraps the system's reason with what was tried on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}
