//! `epochs.jsonl`: one line an epoch, whose lock says that a process is writing the folder.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use relgrad_reports::error::Error as ReportError;
use relgrad_reports::training::Epoch;
use relgrad_reports::writer::open_locked;
use serde::{Deserialize, Serialize};

use super::sealed::damaged;
use crate::error::{Error, Result};

pub(super) const EPOCHS: &str = "epochs.jsonl";

/// The part of the log that a checkpoint belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Prefix {
    bytes: u64,
    crc32: u32,
}

/// The open log. It holds the file's lock.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    path: PathBuf,
    bytes: u64,
    checksum: crc32fast::Hasher,
}

impl Prefix {
    pub(super) fn of(text: &[u8]) -> Self {
        Self { bytes: text.len() as u64, crc32: crc32fast::hash(text) }
    }
}

impl Log {
    /// Opens (or creates) the log of a folder, whatever is in it, and locks the folder, unless another process writes.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(EPOCHS);
        if path.is_symlink() {
            return Err(Error::input(&path, "links are not followed; put the file itself there"));
        }
        let file = open_locked(&path).map_err(|cause| match cause {
            ReportError::Busy { .. } => Error::Usage(cause.to_string()),
            cause => Error::Output(cause.to_string()),
        })?;
        let facts = file.metadata().map_err(|cause| Error::output(&path, cause))?;
        if !facts.is_file() {
            return Err(Error::output(&path, "it is not a regular file"));
        }
        Ok(Self { file, path, bytes: facts.len(), checksum: crc32fast::Hasher::new() })
    }

    pub(super) fn require(dir: &Path) -> Result<()> {
        let path = dir.join(EPOCHS);
        let is_missing = path.symlink_metadata().is_err_and(|cause| cause.kind() == ErrorKind::NotFound);
        if !is_missing {
            return Ok(());
        }
        Err(Error::Input(format!("{} is missing: restore it, or start in another folder", path.display())))
    }

    /// Whether the file that is open still has its name, and was not moved, removed or replaced: another process takes
    /// a folder without it for one that nobody writes.
    pub(super) fn require_in_place(&self) -> Result<()> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let number = |facts: std::fs::Metadata| (facts.dev(), facts.ino());
            let open = self.file.metadata().map(number).ok();
            if open.is_none() || self.path.symlink_metadata().map(number).ok() != open {
                let cause = "it, or its folder, was moved, removed or replaced while this training wrote it: \
                             nothing more is written; put it back, and continue with --resume";
                return Err(Error::output(&self.path, cause));
            }
        }
        Ok(())
    }

    pub(super) fn lines(&self) -> Result<usize> {
        Ok(self.read(MOST)?.iter().filter(|byte| **byte == b'\n').count())
    }

    /// The log from its beginning, at most so many bytes.
    fn read(&self, most: u64) -> Result<Vec<u8>> {
        let (mut file, mut text) = (&self.file, Vec::new());
        let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(most).read_to_end(&mut text));
        read.map_err(|cause| Error::input(&self.path, cause))?;
        Ok(text)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Appends one line and waits until it is on the disk. What could not be written whole is taken away again.
    pub(super) fn append(&mut self, epoch: &Epoch) -> Result<()> {
        self.require_in_place()?;
        let line = serde_json::to_string(epoch).map_err(|cause| Error::output(&self.path, cause))? + "\n";
        if let Err(cause) = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data()) {
            // Best effort: what remains is a torn line, which `--resume` removes.
            let _ = self.file.set_len(self.bytes);
            return Err(Error::output(&self.path, cause));
        }
        self.bytes += line.len() as u64;
        self.checksum.update(line.as_bytes());
        Ok(())
    }

    pub(super) fn prefix(&self) -> Prefix {
        Prefix { bytes: self.bytes, crc32: self.checksum.clone().finalize() }
    }

    /// The epochs 0 to `last`, which must be as the checkpoint knows them. What follows them, whole lines or a torn
    /// one, is removed: the training that goes on writes it again. Without `last` everything is.
    pub(super) fn keep(&mut self, last: Option<usize>, known: Option<Prefix>) -> Result<Vec<Epoch>> {
        let most = known.map_or(MOST, |known| known.bytes.min(MOST));
        let text = self.read(if last.is_some() { most } else { 0 })?;
        let (epochs, end) = parse(&self.path, &text, last.map_or(0, |last| last.saturating_add(1)), known)?;
        if end as u64 != self.bytes {
            let cut = self.file.set_len(end as u64).and_then(|()| self.file.sync_data());
            cut.map_err(|cause| Error::output(&self.path, cause))?;
        }
        self.bytes = end as u64;
        self.checksum = crc32fast::Hasher::new();
        self.checksum.update(&text[..end]);
        Ok(epochs)
    }
}

/// The most bytes of a log that are read: some millions of epochs.
const MOST: u64 = 1 << 30;

/// The first `count` lines, of the epochs from 0 on, and where they end.
pub(super) fn parse(path: &Path, text: &[u8], count: usize, known: Option<Prefix>) -> Result<(Vec<Epoch>, usize)> {
    if known.is_some_and(|known| known != Prefix::of(text)) {
        return Err(damaged(path, "it is not as the checkpoint knows it"));
    }
    let (mut epochs, mut end) = (Vec::new(), 0);
    for line in text.split_inclusive(|&byte| byte == b'\n').take(count) {
        let at = epochs.len();
        let told = |cause: String| damaged(path, format!("line {}: {cause}", at + 1));
        if !line.ends_with(b"\n") {
            break;
        }
        let epoch: Epoch = serde_json::from_slice(line).map_err(|cause| told(cause.to_string()))?;
        if epoch.epoch != at {
            return Err(told(format!("epoch {} instead of {at}", epoch.epoch)));
        }
        epochs.push(epoch);
        end += line.len();
    }
    if epochs.len() != count || (known.is_some() && end != text.len()) {
        return Err(damaged(path, format!("it has {} of the {count} epochs of the checkpoint", epochs.len())));
    }
    Ok((epochs, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing::epoch;

    fn log(dir: &Path, epochs: usize) -> Log {
        let mut log = Log::open(dir).unwrap();
        (0..epochs).for_each(|i| log.append(&epoch(i, -1.5 + i as f64)).unwrap());
        log
    }

    #[test]
    fn two_processes_do_not_write_one_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = log(folder.path(), 1);
        let told = Log::open(folder.path()).unwrap_err();
        assert_eq!(told.code(), 2);
        assert!(told.to_string().contains("is being written by another relgrad"), "{told}");
        drop(first);
        assert!(Log::open(folder.path()).is_ok());
    }

    #[test]
    fn what_follows_the_checkpoint_is_cut_off_and_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (short, long) = (folder.path().join("short"), folder.path().join("long"));
        [&short, &long].iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
        let known = log(&short, 2).prefix();
        let mut log = log(&long, 4);
        log.file.write_all(b"{\"epoch\":4,\"st").unwrap();
        let kept = log.keep(Some(1), Some(known)).unwrap();
        assert_eq!(kept.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [0, 1]);
        let text = |dir: &Path| std::fs::read(dir.join(EPOCHS)).unwrap();
        assert_eq!((text(&long), log.prefix()), (text(&short), known));
    }

    /// A kill in the middle of the first write.
    #[test]
    fn a_log_of_one_torn_line_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(EPOCHS), "{\"epoch\":0,\"st").unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        assert_eq!(log.keep(None, None).unwrap(), []);
        log.append(&epoch(0, -1.0)).unwrap();
        assert_eq!(log.keep(Some(0), None).unwrap(), [epoch(0, -1.0)]);
    }
}
