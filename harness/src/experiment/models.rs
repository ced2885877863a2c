//! Trainings that experiments share: each in `models/NAME` of the output folder, resumed or reused where it stands.

use std::path::PathBuf;

use relgrad_reports::training::{Epoch, Outcome, Stop, Training, TrainingSettings};

use super::{Context, figures};
use crate::data::{self, DataSet};
use crate::error::{Error, Result};
use crate::train::learner::Tracking;
use crate::train::recipe::Recipe;
use crate::train::store::{self, Store};
use crate::train::trainer::{self, Job, Trained};

pub(crate) struct Model {
    pub(crate) settings: TrainingSettings,
    pub(crate) outcome: Outcome,
    pub(crate) epochs: Vec<Epoch>,
}

impl Context<'_> {
    pub(crate) fn model_dir(&self, name: &str) -> PathBuf {
        self.out.join("models").join(name)
    }

    /// Trains the model `name`, goes on with it, or reads it when it is finished. One that is there keeps its number
    /// of threads, which changes likelihoods by rounding alone.
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
            let training = store::begun(super::command(), settings.clone(), set);
            (Store::create(&dir, &training)?, training)
        };
        if (TrainingSettings { threads: settings.threads, ..training.settings.clone() }) != settings {
            return Err(Error::Usage(format!(
                "{} was trained with other settings: choose another --out, or remove it",
                dir.display()
            )));
        }
        let settings = training.settings.clone();
        data::require_same(&set.name, &training.data, &set.facts())?;
        if let Some(outcome) = &training.outcome
            && outcome.stop.is_final()
        {
            self.say(&format!("{name}: already trained"));
            let epochs = store.epochs()?;
            return Ok(Model { settings, outcome: outcome.clone(), epochs });
        }
        let recipe = Recipe::of(&settings, set.parts.dim())?;
        let label = format!("{name}: ");
        let job =
            Job { store: Some(&store), label: &label, quiet: self.quiet, ..Job::new(&recipe, &set.parts, tracking) };
        let Trained { epochs, outcome } = trainer::train(&job, self.events)?;
        if outcome.stop == Stop::Interrupted {
            return Err(Error::Interrupted(self.resume_hint()));
        }
        let training = Training { outcome: Some(outcome.clone()), ..training };
        store.write_header(&training)?;
        // The experiment is worth more than this picture.
        if let Err(cause) = figures::training(store.dir(), &training, &epochs) {
            note!("relgrad: {cause}");
        }
        Ok(Model { settings, outcome, epochs })
    }
}
