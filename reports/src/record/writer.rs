//! Writing a sweep's folder so that a kill or a full disk at any moment costs at most the record in flight.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::record::Record;
use crate::record::contents;
use crate::record::error::{Error, Result};
use crate::record::log::{self, Invalid, Reading};
use crate::record::run::Run;
use crate::record::study::Study;
use crate::record::validity;

/// Appends records to `records.jsonl`. Holds the file's lock, so that one process at a time writes a folder.
#[derive(Debug)]
pub struct RecordWriter {
    file: File,
    path: PathBuf,
    bytes: u64,
    told: Option<&'static str>,
}

impl RecordWriter {
    /// Opens (or creates) `records.jsonl` in `dir` for appending. A last line that was cut off is removed first, and
    /// one that lacks only its newline gets it, so that the next record starts on a line of its own ([`Self::told`]).
    ///
    /// # Errors
    /// When the file cannot be opened, when it holds lines that are no records, when a newer relgrad wrote it, when
    /// another process is writing it ([`Error::Busy`]), or when the folder's records are packed
    /// ([`Error::NotAppendable`]).
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(log::RECORDS);
        let packed = dir.join(log::PACKED_RECORDS);
        // Plain records begun here would hide the packed ones from every reader.
        if packed.exists() && !path.exists() {
            return Err(Error::NotAppendable(packed));
        }
        let mut file = open_locked(&path)?;
        sync_folder(dir)?;
        let text = contents::of_file(&mut file, &path)?;
        let reading = Reading { settings: None, invalid: Invalid::Refuse, may_be_torn: true, first_line: 1 };
        let log = log::parse(&path, &text, &reading)?;
        let mut bytes = log.whole_bytes as u64;
        let mut told = None;
        if log.is_torn(&text) {
            file.set_len(bytes).and_then(|()| file.sync_data()).map_err(Error::io("repair", &path))?;
            told = Some("the last line of records.jsonl was cut off; it is removed and its cell is measured again");
        } else if log.unended {
            file.write_all(b"\n").and_then(|()| file.sync_data()).map_err(Error::io("repair", &path))?;
            bytes += 1;
            told = Some("the last line of records.jsonl had no line end; it is added");
        }
        Ok(Self { file, path, bytes, told })
    }

    /// What opening had to repair, in a phrase; `None` where the file was whole.
    pub fn told(&self) -> Option<&'static str> {
        self.told
    }

    /// Appends one record as one line, in one write, and waits until it is on the disk.
    ///
    /// # Errors
    /// When the record could not be read back (a value that is not finite or out of range), or when writing fails, for
    /// instance on a full disk; the file then keeps its previous records and no part of this one.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let mut line = to_readable_json(&self.path, record, validity::record, serde_json::to_string)?;
        line.push('\n');
        if let Err(source) = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data()) {
            // Best effort: what remains is a torn tail, which readers leave out and the next writer removes.
            let _ = self.file.set_len(self.bytes);
            return Err(Error::io("append to", &self.path)(source));
        }
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Takes out the records that `keep` refuses and returns their number. The file is replaced as a whole, and locked
    /// throughout.
    ///
    /// # Errors
    /// When the file cannot be read or written; it then keeps every record.
    pub fn retain(&mut self, keep: impl Fn(&Record) -> bool) -> Result<usize> {
        let text = contents::of(&self.path)?;
        let mut kept = Vec::with_capacity(text.len());
        let mut removed = 0;
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            match serde_json::from_slice::<Record>(line) {
                Ok(record) if !keep(&record) => removed += 1,
                _ => kept.extend_from_slice(line),
            }
        }
        if removed == 0 {
            return Ok(0);
        }
        let partial = partial(&self.path);
        let write = || -> Result<File> {
            remove_leftover(&partial).map_err(Error::io("write", &partial))?;
            // Locked under its first name: there is no moment at which another process could take the renamed file.
            let mut file = open_locked(&partial)?;
            file.write_all(&kept).and_then(|()| file.sync_all()).map_err(Error::io("write", &partial))?;
            std::fs::rename(&partial, &self.path).map_err(Error::io("write", &self.path))?;
            Ok(file)
        };
        self.file = write().inspect_err(|_| {
            let _ = std::fs::remove_file(&partial);
        })?;
        self.bytes = kept.len() as u64;
        sync_folder(self.path.parent().unwrap_or(Path::new("")))?;
        Ok(removed)
    }
}

/// Opens (or creates) a file to read and to append to, and locks it until it is closed. A symbolic link is refused:
/// what a folder that came from elsewhere holds must not lead out of it.
///
/// # Errors
/// When the file cannot be opened or is no regular file, or when another process holds its lock ([`Error::Busy`]).
pub fn open_locked(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
    if path.is_symlink() {
        let source = std::io::Error::other("it is a symbolic link: name the file itself");
        return Err(Error::io("write", path)(source));
    }
    let file = options.open(path).map_err(Error::io("open", path))?;
    contents::require_regular(&file, path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Busy(path.into())),
        // Some network file systems have no locks; what is written is still right as long as one process at a time does
        // it.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// Writes `run.json` in `dir`: whole, or not at all.
///
/// # Errors
/// When `run` could not be read back (a value is not finite or out of range), or when writing fails; a `run.json` that
/// was there stays as it was.
pub fn write_run(dir: &Path, run: &Run) -> Result<()> {
    let path = dir.join(log::RUN);
    let mut text = to_readable_json(&path, run, validity::run, serde_json::to_string_pretty)?;
    text.push('\n');
    write_atomically(&path, text.as_bytes())
}

/// Writes the folder of a study that is complete: `records.jsonl`, then `run.json`. A folder that has the latter has
/// all.
///
/// # Errors
/// As [`write_run`]; [`Error::Unreadable`] for a record that could not be read back.
pub fn write_study(dir: &Path, study: &Study) -> Result<()> {
    let path = dir.join(log::RECORDS);
    let mut lines = String::new();
    for record in study.records.iter().chain(&study.replaced) {
        lines += &to_readable_json(&path, record, validity::record, serde_json::to_string)?;
        lines.push('\n');
    }
    write_atomically(&path, lines.as_bytes())?;
    write_run(dir, &study.run)
}

/// Writes a file under a temporary name in the same folder, syncs it, and renames it into place: whole, or not at all,
/// also where several processes write it. A symbolic link of that name is replaced, not followed; a device or a pipe
/// (`/dev/null`, `>(gzip)`) is written to.
///
/// # Errors
/// When writing fails, for instance on a full disk; a file that was there stays as it was.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<()> {
    write_atomically_by(path, |file| file.write_all(contents))
}

/// The same of what `write` writes, a piece at a time.
///
/// # Errors
/// As [`write_atomically`], and those of `write`.
pub fn write_atomically_by(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
    if std::fs::metadata(path).is_ok_and(|target| !target.is_file() && !target.is_dir()) {
        let written = OpenOptions::new().write(true).open(path).and_then(|mut file| write(&mut file));
        return written.map_err(Error::io("write", path));
    }
    let partial = partial(path);
    let mut file = open_alone(&partial).map_err(Error::io("write", path))?;
    let written = file.set_len(0).and_then(|()| write(&mut file)).and_then(|()| file.sync_all());
    if let Err(source) = written.and_then(|()| std::fs::rename(&partial, path)) {
        // Best effort: the reason for the failure matters more than the leftover.
        let _ = std::fs::remove_file(&partial);
        return Err(Error::io("write", path)(source));
    }
    sync_folder(path.parent().unwrap_or(Path::new("")))
}

/// Opens a temporary file that nobody else writes until it is closed. What a kill left behind is used again; a link is
/// removed.
fn open_alone(partial: &Path) -> std::io::Result<File> {
    loop {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
        if partial.is_symlink() {
            remove_leftover(partial)?;
        }
        let file = options.open(partial)?;
        // Some network file systems have no locks.
        let _ = file.lock();
        // Whoever had the lock before may have given the file its final name.
        if is_still(&file, partial)? {
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn is_still(file: &File, path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok(identity(there) == identity(file.metadata()?)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(cause),
    }
}

#[cfg(not(unix))]
fn is_still(_file: &File, _path: &Path) -> std::io::Result<bool> {
    Ok(true)
}

/// The temporary name of a file that replaces `path`.
fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    path.with_file_name(name)
}

/// What a kill left behind, or a link, goes; whoever makes the file anew follows none.
fn remove_leftover(partial: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(partial) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

/// Makes the names of new and renamed files durable; only Unix can open a folder for that.
fn sync_folder(dir: &Path) -> Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    if cfg!(unix) {
        File::open(dir).and_then(|f| f.sync_all()).map_err(Error::io("sync", dir))?;
    }
    Ok(())
}

/// JSON of `value`, after making sure that it reads back: JSON has no NaN and no infinity, and readers check every
/// number.
pub(crate) fn to_readable_json<T: Serialize + DeserializeOwned>(
    path: &Path,
    value: &T,
    check: fn(&T) -> std::result::Result<(), String>,
    to_string: fn(&T) -> serde_json::Result<String>,
) -> Result<String> {
    let unreadable = |reason| Error::Unreadable(path.into(), reason);
    let text = to_string(value).map_err(|cause| unreadable(cause.to_string()))?;
    check(&log::parse_json(text.as_bytes()).map_err(unreadable)?).map_err(unreadable)?;
    Ok(text)
}
