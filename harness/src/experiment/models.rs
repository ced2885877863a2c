//! Trainings that experiments share: each in `models/NAME` of the output folder, resumed or reused where it stands.

use std::path::PathBuf;

use relgrad_kernels::{Dtype, Scalar};
use relgrad_reports::training::{Epoch, Outcome, Stop, TRAINING_SCHEMA, Training, TrainingSettings};

use super::{Context, figures};
use crate::data::{self, DataSet};
use crate::error::{Error, Result};
use crate::machine;
use crate::machine::time::{rfc3339, unix_seconds};
use crate::train::learner::Tracking;
use crate::train::recipe::Recipe;
use crate::train::store::{self, Store};
use crate::train::trainer::{self, Job};

/// A finished training.
pub(crate) struct Model {
    pub(crate) settings: TrainingSettings,
    pub(crate) outcome: Outcome,
    pub(crate) epochs: Vec<Epoch>,
}

impl Context<'_> {
    /// The folder of the model `name`.
    pub(crate) fn model_dir(&self, name: &str) -> PathBuf {
        self.out.join("models").join(name)
    }

    /// Trains the model `name`, goes on with it, or reads it when it is finished.
    ///
    /// # Errors
    /// A folder of that name with other settings; [`Error::Interrupted`]; whatever training meets.
    pub(crate) fn model(
        &mut self,
        name: &str,
        settings: TrainingSettings,
        set: &DataSet,
        tracking: Tracking,
    ) -> Result<Model> {
        let dir = self.model_dir(name);
        let (store, training) = if store::is_training(&dir) {
            Store::open(&dir)?
        } else {
            let training = header(settings.clone(), set);
            (Store::create(&dir, &training)?, training)
        };
        if training.settings != settings {
            return Err(Error::Usage(format!(
                "{} was trained with other settings: choose another --out, or remove it",
                dir.display()
            )));
        }
        data::require_same(&set.name, &training.data, &set.facts())?;
        if let Some(outcome) = &training.outcome
            && matches!(outcome.stop, Stop::Complete | Stop::Patience)
        {
            self.say(&format!("{name}: trained already"));
            let epochs = store.epochs()?;
            return Ok(Model { settings, outcome: outcome.clone(), epochs });
        }
        let recipe = Recipe::of(&settings, set.parts.dim())?;
        let label = format!("{name}: ");
        let job = Job {
            recipe: &recipe,
            data: &set.parts,
            store: Some(&store),
            time_limit_seconds: None,
            label: &label,
            quiet: self.quiet,
            tracking,
        };
        match recipe.dtype {
            Dtype::F32 => self.finish::<f32>(&job, &store, training),
            Dtype::F64 => self.finish::<f64>(&job, &store, training),
        }
    }

    fn finish<T: Scalar>(&mut self, job: &Job<'_>, store: &Store, mut training: Training) -> Result<Model> {
        let trained = trainer::train::<T>(job, self.events)?;
        if trained.outcome.stop == Stop::Interrupted {
            return Err(Error::Interrupted(self.resume_hint()));
        }
        training.outcome = Some(trained.outcome.clone());
        store.write_header(&training)?;
        // The experiment is worth more than this picture.
        if let Err(cause) = figures::training(store.dir(), &training, &trained.epochs) {
            note!("relgrad: {cause}");
        }
        Ok(Model { settings: training.settings, outcome: trained.outcome, epochs: trained.epochs })
    }
}

fn header(settings: TrainingSettings, set: &DataSet) -> Training {
    Training {
        schema: TRAINING_SCHEMA,
        command: super::command(),
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
