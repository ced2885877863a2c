//! Training by maximum likelihood.

use std::path::Path;

pub use relgrad_reports::training::{ConvolutionLayers, Training, TrainingSettings};

use crate::data::{self, Request};
use crate::error::Result;
use crate::measure::run::interrupt::Events;
use crate::train::learner::Tracking;
use crate::train::prepare::prepare;
use crate::train::recipe::Recipe;
use crate::train::store::{self, Store};
use crate::train::trainer::{self, Job};
use crate::{cmd, console};

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
    let set = data::load(&Request { name, folder: data, seed: *seed, toy_samples: *toy_samples })?;
    let mut set = data::conditional(set, settings.conditional.as_deref(), data)?;
    let recipe = Recipe::for_data(settings, &set.parts)?;
    prepare(&mut set, &recipe)?;
    let mut training = store::begun(console::command_line(), settings.clone(), &set);
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
