//! Training by maximum likelihood.

use std::path::Path;

use relgrad_reports::training::TRAINING_SCHEMA;
pub use relgrad_reports::training::{Training, TrainingSettings};

use crate::data::{self, Request};
use crate::error::Result;
use crate::machine::time::{rfc3339, unix_seconds};
use crate::measure::run::interrupt::Events;
use crate::train::learner::Tracking;
use crate::train::prepare::prepare;
use crate::train::recipe::Recipe;
use crate::train::store::Store;
use crate::train::trainer::{self, Job};
use crate::{cmd, console, machine};

/// The default settings of `relgrad train` for `data`, a data set or `toy:NAME`.
///
/// # Errors
/// When the name cannot be an argument.
pub fn settings(data: &str) -> Result<TrainingSettings> {
    cmd::train::default_settings(data)
}

/// Trains a network, and writes the model, its checkpoints and a log to the folder `dir`. `data` is the folder of the
/// data sets; toys require none.
///
/// # Errors
/// When the settings do not fit the data, `dir` is not empty or cannot be written, or the training diverges.
pub fn train(settings: &TrainingSettings, data: Option<&Path>, dir: impl AsRef<Path>) -> Result<Training> {
    let TrainingSettings { data: name, seed, toy_samples, .. } = settings;
    let mut set = data::load(&Request { name, folder: data, seed: *seed, toy_samples: *toy_samples })?;
    let recipe = Recipe::of(settings, set.parts.dim())?;
    prepare(&mut set, recipe.start, recipe.dtype)?;
    let mut training = Training {
        schema: TRAINING_SCHEMA,
        command: console::command_line(),
        identity: None,
        version: env!("CARGO_PKG_VERSION").to_string(),
        git_revision: option_env!("RELGRAD_GIT_REVISION").map(str::to_string),
        started: rfc3339(unix_seconds()),
        settings: settings.clone(),
        data: set.facts(),
        machine: machine::facts(),
        outcome: None,
    };
    let store = Store::create(dir.as_ref(), &training)?;
    let job = Job {
        recipe: &recipe,
        data: &set.parts,
        store: Some(&store),
        time_limit_seconds: None,
        label: "",
        quiet: true,
        tracking: Tracking::On,
    };
    let mut events = Events::without_signals();
    let trained = trainer::train(&job, &mut events)?;
    training.outcome = Some(trained.outcome);
    store.write_header(&training)?;
    Ok(training)
}
