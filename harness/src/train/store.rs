//! The folder of a training: `training.json`, `epochs.jsonl`, the checkpoints `last` and `best`.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use relgrad_kernels::parameters::Parameters;
use relgrad_kernels::{Cpu, Scalar};
use relgrad_reports::training::{Epoch, TRAINING_SCHEMA, Training};
use relgrad_reports::writer::write_atomically;

use super::checkpoint::{self, Progress};
use super::learner::Learner;
use crate::error::{Error, Result};

const HEADER: &str = "training.json";
const EPOCHS: &str = "epochs.jsonl";
const LAST: &str = "last";
const BEST: &str = "best";

/// An open folder.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    /// Makes the folder of a new training.
    ///
    /// # Errors
    /// When it holds a training already, or cannot be written.
    pub(crate) fn create(dir: &Path, training: &Training) -> Result<Self> {
        if dir.join(HEADER).exists() {
            let dir = dir.display();
            return Err(Error::Usage(format!(
                "{dir} holds a training already; continue it with --resume {dir}, or choose another --out"
            )));
        }
        fs::create_dir_all(dir).map_err(|cause| Error::output(dir, cause))?;
        let store = Self { dir: dir.to_path_buf() };
        store.write_header(training)?;
        Ok(store)
    }

    /// Opens the folder of a training that was begun.
    ///
    /// # Errors
    /// When it is no such folder, is damaged, or was written by a newer relgrad.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Training)> {
        let path = dir.join(HEADER);
        if !path.exists() {
            let dir = dir.display();
            return Err(Error::Input(format!("{dir} is not the folder of a training: it has no {HEADER}")));
        }
        let text = fs::read_to_string(&path).map_err(|cause| Error::input(&path, cause))?;
        let training: Training = serde_json::from_str(&text).map_err(|cause| Error::input(&path, cause))?;
        if training.schema > TRAINING_SCHEMA {
            return Err(Error::input(&path, "a newer relgrad wrote it: use that one"));
        }
        Ok((Self { dir: dir.to_path_buf() }, training))
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes `training.json`.
    pub(crate) fn write_header(&self, training: &Training) -> Result<()> {
        let path = self.dir.join(HEADER);
        let mut text = serde_json::to_string_pretty(training).map_err(|cause| Error::output(&path, cause))?;
        text.push('\n');
        write_atomically(&path, text.as_bytes()).map_err(|cause| Error::Output(cause.to_string()))
    }

    /// Appends one line and waits until it is on the disk.
    pub(crate) fn append(&self, epoch: &Epoch) -> Result<()> {
        let path = self.dir.join(EPOCHS);
        let line = serde_json::to_string(epoch).map_err(|cause| Error::output(&path, cause))? + "\n";
        let append = || -> std::io::Result<()> {
            let mut file: File = OpenOptions::new().append(true).create(true).open(&path)?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        };
        append().map_err(|cause| Error::output(&path, cause))
    }

    /// The epochs on disk up to `last`; later ones, and a line that was cut off, are removed: the training that goes on
    /// from the checkpoint writes them again.
    pub(crate) fn epochs_until(&self, last: usize) -> Result<Vec<Epoch>> {
        let path = self.dir.join(EPOCHS);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(Error::input(&path, cause)),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut kept = Vec::new();
        let mut lines = String::new();
        for (i, line) in whole.lines().enumerate() {
            let epoch: Epoch = serde_json::from_str(line)
                .map_err(|cause| Error::input(&path, format!("line {}: {cause}; remove it", i + 1)))?;
            if epoch.epoch <= last {
                lines = lines + line + "\n";
                kept.push(epoch);
            }
        }
        if lines.len() != text.len() {
            write_atomically(&path, lines.as_bytes()).map_err(|cause| Error::Output(cause.to_string()))?;
        }
        Ok(kept)
    }

    /// Writes the checkpoint that `--resume` continues from.
    pub(crate) fn save<T: Scalar>(&self, progress: &Progress, learner: &Learner<T>) -> Result<()> {
        checkpoint::write(&self.dir, LAST, progress, learner)
    }

    /// Writes the best model so far.
    pub(crate) fn save_best<T: Scalar>(&self, progress: &Progress, learner: &Learner<T>) -> Result<()> {
        checkpoint::write(&self.dir, BEST, progress, learner)
    }

    /// Restores the last checkpoint; `None` when the training was cut off before its first.
    pub(crate) fn restore<T: Scalar>(&self, learner: &mut Learner<T>) -> Result<Option<Progress>> {
        if !checkpoint::exists(&self.dir, LAST) {
            return Ok(None);
        }
        checkpoint::read(&self.dir, LAST, learner).map(Some)
    }

    /// Reads the best model into `parameters`.
    pub(crate) fn read_best<T: Scalar>(
        &self,
        device: &Cpu,
        parameters: &mut Parameters<Cpu, T>,
    ) -> Result<Progress> {
        checkpoint::read_parameters(&self.dir, BEST, device, parameters)
    }
}
