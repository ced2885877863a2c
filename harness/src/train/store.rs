//! The folder of a training: `training.json`, `epochs.jsonl`, the checkpoints `last` and `best`. One process at a time
//! has it.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};

use relgrad_reports::training::{Epoch, TRAINING_SCHEMA, Training, TrainingSettings};

use super::checkpoint::{LAST, Slot, State};
use super::learns::Learns;
use super::log::{EPOCHS, Log};
use super::recipe::Recipe;
use super::sealed::{self, MOST_JSON, damaged};
use super::standing::Progress;
use crate::data::DataSet;
use crate::error::{Error, Result};
use crate::machine::time::{rfc3339, unix_seconds};
use crate::{machine, outputs};

const HEADER: &str = "training.json";

/// An open folder.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    /// What its checkpoints must belong to; unknown of folders from before there were checksums.
    identity: Option<u32>,
    /// The checkpoint that `--resume` continues from.
    last: Slot,
    best: Slot,
    /// Open, and with it the folder's lock.
    log: RefCell<Log>,
    /// Whether this process wrote a checkpoint: what happens to the folder's name afterwards takes nothing away.
    saved: Cell<bool>,
    /// Whether the training had ended when the folder was opened.
    ended: bool,
}

/// What a folder held when its training went on.
pub(crate) struct Restored {
    pub(crate) progress: Progress,
    pub(crate) epochs: Vec<Epoch>,
}

impl Store {
    /// Makes the folder of a new training, unless it holds something already or another process writes it.
    pub(crate) fn create(dir: &Path, training: &Training) -> Result<Self> {
        let shown = dir.display();
        if is_training(dir) {
            return Err(Error::Usage(format!(
                "{shown} holds a training already; continue it with --resume {shown}, or choose another --out"
            )));
        }
        if dir.join(EPOCHS).symlink_metadata().is_err() {
            outputs::require_empty(dir, EPOCHS)?;
        }
        let log = Log::open(dir)?;
        if log.is_empty() {
            remove_unfinished(dir);
        }
        // Another training may have begun, and even ended, before the lock was ours.
        outputs::require_empty(dir, EPOCHS)?;
        if !log.is_empty() {
            return Err(Error::Usage(format!("{shown} is not empty (it has {EPOCHS}): choose another --out")));
        }
        let json = serde_json::to_vec(training).map_err(|cause| Error::output(dir, cause))?;
        let store = Self::new(dir, log, Some(crc32fast::hash(&json)), false);
        store.write_header(training)?;
        Ok(store)
    }

    /// Opens the folder of a training that was begun, unless it is damaged, is being written by another process, or was
    /// written by a newer relgrad.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Training)> {
        require_training(dir)?;
        // The log comes before the header; one that is gone may be open in a process that still writes.
        Log::require(dir)?;
        let log = Log::open(dir)?;
        let training = header(dir)?;
        remove_unfinished(dir);
        Ok((Self::new(dir, log, training.identity, training.outcome.is_some()), training))
    }

    fn new(dir: &Path, log: Log, identity: Option<u32>, ended: bool) -> Self {
        let [last, best] = [LAST, "best"].map(|name| Slot::new(dir, name, identity));
        let (log, saved) = (RefCell::new(log), Cell::new(false));
        Self { dir: dir.to_path_buf(), identity, last, best, log, saved, ended }
    }

    /// Empties the folder of a training that failed before its first checkpoint, so that it can be tried again.
    pub(crate) fn give_back(&self) {
        let mut log = self.log.borrow_mut();
        let is_begun = self.saved.get() || self.has_checkpoint() || log.require_in_place().is_err();
        if is_begun || log.keep(None, None).is_err() {
            return;
        }
        self.best.remove();
        // Best effort, and last: without it the folder is that of no training.
        let _ = fs::remove_file(self.dir.join(HEADER));
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn write_header(&self, training: &Training) -> Result<()> {
        self.log.borrow().require_in_place()?;
        let path = self.dir.join(HEADER);
        sealed::write(&path, &Training { schema: TRAINING_SCHEMA, identity: self.identity, ..training.clone() })
    }

    /// Appends one line and waits until it is on the disk.
    pub(crate) fn append(&self, epoch: &Epoch) -> Result<()> {
        self.log.borrow_mut().append(epoch)
    }

    pub(crate) fn epochs(&self) -> Result<Vec<Epoch>> {
        let State { progress, of, .. } = self.last.state()?;
        self.log.borrow_mut().keep(Some(progress.epoch), of.log)
    }

    /// Writes the checkpoint that `--resume` continues from.
    pub(super) fn save(&self, progress: &Progress, learner: &mut impl Learns) -> Result<()> {
        self.log.borrow().require_in_place()?;
        self.last.write(progress, learner, Some(self.log.borrow().prefix()))?;
        self.saved.set(true);
        Ok(())
    }

    pub(super) fn save_best(&self, progress: &Progress, learner: &mut impl Learns) -> Result<()> {
        self.log.borrow().require_in_place()?;
        self.best.write(progress, learner, None)
    }

    pub(crate) fn has_checkpoint(&self) -> bool {
        self.last.exists()
    }

    /// Restores the last checkpoint; `None` when the training was cut off before its first, which then begins anew.
    pub(super) fn restore(
        &self,
        learner: &mut impl Learns,
        recipe: &Recipe,
        batches: usize,
    ) -> Result<Option<Restored>> {
        if !self.has_checkpoint() {
            self.require_unbegun()?;
            self.log.borrow_mut().keep(None, None)?;
            return learner.begin_anew().map(|()| None);
        }
        let State { progress, of, .. } = learner.read(&self.last)?;
        if let Some(cause) = progress.impossible(recipe.epochs, batches) {
            return Err(self.last.damaged(cause));
        }
        let epochs = self.log.borrow_mut().keep(Some(progress.epoch), of.log)?;
        // Only now: before, another process may have been writing.
        [&self.last, &self.best].iter().for_each(|slot| slot.tidy());
        Ok(Some(Restored { progress, epochs }))
    }

    pub(super) fn best(&self) -> &Slot {
        &self.best
    }

    /// The error of a best model that is not the one that the last checkpoint knows.
    pub(crate) fn strange_best(&self) -> Error {
        self.best.damaged("it is not the best model of the last checkpoint")
    }

    /// Without its last checkpoint a training begins anew, where a kill before the first one explains that there is
    /// none: nothing is lost then but the epoch 0.
    fn require_unbegun(&self) -> Result<()> {
        let is_later = || Ok::<_, Error>(self.best.exists() && self.best.state()?.progress.epoch > 0);
        if self.ended || self.log.borrow().lines()? > 1 || is_later()? {
            let path = self.last.path();
            return Err(Error::Input(format!("{} is missing: restore it, or start in another folder", path.display())));
        }
        Ok(())
    }
}

/// The header of a training that begins now.
pub(crate) fn begun(command: Vec<String>, settings: TrainingSettings, set: &DataSet) -> Training {
    Training {
        schema: TRAINING_SCHEMA,
        command,
        identity: None,
        version: env!("CARGO_PKG_VERSION").to_string(),
        git_revision: option_env!("RELGRAD_GIT_REVISION").map(str::to_string),
        started: rfc3339(unix_seconds()),
        settings,
        data: set.facts(),
        machine: machine::facts(),
        outcome: None,
    }
}

pub(crate) fn is_training(dir: &Path) -> bool {
    dir.join(HEADER).symlink_metadata().is_ok()
}

fn require_training(dir: &Path) -> Result<()> {
    if is_training(dir) {
        return Ok(());
    }
    let dir = dir.display();
    Err(Error::Input(format!("{dir} is not the folder of a training: it has no {HEADER}")))
}

/// `training.json` of a folder that another process may be writing: nothing is locked or changed.
pub(crate) fn header(dir: &Path) -> Result<Training> {
    require_training(dir)?;
    let path = dir.join(HEADER);
    parse_header(&path, &sealed::read(&path, MOST_JSON)?)
}

/// Removes what a kill left of a header. Best effort: it takes space and does no harm.
fn remove_unfinished(dir: &Path) {
    let _ = fs::remove_file(dir.join(format!("{HEADER}.partial")));
}

/// Reads `training.json`; its settings must be ones that the command line would take.
pub(super) fn parse_header(path: &Path, bytes: &[u8]) -> Result<Training> {
    let training: Training = sealed::parse(path, bytes, TRAINING_SCHEMA)?;
    let data = &training.data;
    if [data.dim, data.training, data.validation, data.test].contains(&0) {
        return Err(damaged(path, "a part of its data is empty"));
    }
    if training.schema == 1 && training.identity.is_some() {
        return Err(damaged(path, "version 1 had no identity"));
    }
    Recipe::of(&training.settings, data.dim).map_err(|cause| damaged(path, cause))?;
    Ok(training)
}
