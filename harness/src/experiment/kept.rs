//! Trainings that leave their numbers and no model: a file each, which the next run reads.

use std::fs;
use std::path::{Path, PathBuf};

use relgrad_reports::training::{DataFacts, Stop, TrainingSettings};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Context, MOST_JSON};
use crate::data::Parts;
use crate::error::{Error, Result};
use crate::train::learner::Tracking;
use crate::train::recipe::Recipe;
use crate::train::sealed;
use crate::train::trainer::{self, Job, Trained};

const SCHEMA: u32 = 1;

/// What stays of a training; no model where it diverged.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptTraining<M> {
    schema: u32,
    pub(super) settings: TrainingSettings,
    pub(super) data: DataFacts,
    pub(super) model: Option<M>,
}

impl<M: Serialize + DeserializeOwned> KeptTraining<M> {
    pub(super) fn new(settings: TrainingSettings, data: DataFacts, model: Option<M>) -> Self {
        Self { schema: SCHEMA, settings, data, model }
    }

    /// Reads what was written whole.
    pub(super) fn parse(path: &Path) -> Result<Self> {
        sealed::parse(path, &sealed::read(path, MOST_JSON)?, SCHEMA)
    }

    /// What an earlier run left; `None` where it left nothing. What cannot be read is told, and is as nothing.
    pub(super) fn find(context: &Context<'_>, path: &Path) -> Option<Self> {
        path.symlink_metadata().ok()?;
        let told = |_: &Error| {
            context.say(&format!("{} is damaged, or of another relgrad; it is trained again", path.display()));
        };
        Self::parse(path).inspect_err(told).ok()
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        sealed::write(path, self)
    }
}

/// A folder of such files, made where there is none.
pub(super) fn folder(out: &Path, name: &str) -> Result<PathBuf> {
    let folder = out.join(name);
    fs::create_dir_all(&folder).map_err(|cause| Error::output(&folder, cause))?;
    Ok(folder)
}

/// Trains; `None` where it diverged.
pub(super) fn train(context: &mut Context<'_>, recipe: &Recipe, parts: &Parts) -> Result<Option<Trained>> {
    match trainer::train(&Job::new(recipe, parts, Tracking::Off), context.events) {
        Ok(trained) if trained.outcome.stop == Stop::Interrupted => {
            Err(Error::Interrupted("interrupted; repeat the command: what is trained stays".to_string()))
        }
        Ok(trained) => Ok(Some(trained)),
        Err(Error::Diverged(_)) => Ok(None),
        Err(other) => Err(other),
    }
}
