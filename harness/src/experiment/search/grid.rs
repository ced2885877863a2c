//! The settings that a search tries.

use std::fmt::Display;
use std::str::FromStr;

use relgrad_kernels::{Activation, Base};
use relgrad_reports::training::TrainingSettings;
use relgrad_vocabulary::names;
use serde_json::{Value, json};

use crate::data::catalogue;
use crate::error::{Error, Result};
use crate::experiment::{Context, Effort};
use crate::train::recipe::EpochSchedule;
use crate::train::start::Start;

/// Validations in a row without a better one after which a training stops.
pub(super) const PATIENCE: usize = 5;

/// Values along each axis of the paper's Table 3, of which the values are ours, and along two more.
#[derive(Clone)]
pub(super) struct Grid {
    activations: Vec<Activation>,
    layers: Vec<usize>,
    step_sizes: Vec<f64>,
    batches: Vec<usize>,
    bases: Vec<Base>,
    biases: Vec<bool>,
    starts: Vec<Start>,
    schedules: Vec<EpochSchedule>,
    epochs: usize,
    /// Epochs between two validations.
    pub(super) every: usize,
}

/// The names of the axes on the command line.
const AXES: &str =
    "activation, layers, learning-rate, batch, base, bias (yes, no), init, schedule, epochs and validate-every";

impl Grid {
    /// That of the effort, with the axes that were asked for in place of its own.
    ///
    /// # Errors
    /// An axis that is unknown or named twice; a value that is no value of it.
    pub(super) fn of(context: &Context<'_>) -> Result<Self> {
        let mut grid = Self::of_effort(context.effort);
        let mut seen = Vec::new();
        for asked in &context.axes {
            let usage = |cause| Error::Usage(format!("--axis {asked}: {cause}"));
            let unknown = || usage(format!("write AXIS=VALUES; the axes are {AXES}"));
            let (axis, values) = asked.split_once('=').ok_or_else(unknown)?;
            if seen.contains(&axis) {
                return Err(Error::Usage(format!("--axis {axis} stands twice: put its values into one list")));
            }
            seen.push(axis);
            if !grid.set(axis, values).map_err(usage)? {
                return Err(unknown());
            }
        }
        Ok(grid)
    }

    fn of_effort(effort: Effort) -> Self {
        // The paper's two nonlinearities with its slopes, and one near the identity, which deep networks need.
        let full = Self {
            activations: vec![
                Activation::SmoothLeaky { alpha: 0.3 },
                Activation::TanhLinear { alpha: 1.0, beta: 0.1 },
                Activation::TanhLinear { alpha: 0.3, beta: 1.0 },
            ],
            layers: vec![2, 5, 10],
            step_sizes: vec![3e-4, 1e-3, 3e-3],
            batches: vec![100, 500],
            bases: vec![Base::Normal, Base::SECH],
            biases: vec![true, false],
            starts: vec![Start::Orthogonal],
            schedules: vec![EpochSchedule::Constant],
            epochs: 1000,
            every: 25,
        };
        // A few settings and epochs: whether it works, in a few minutes, or in seconds.
        let quick = Self {
            activations: full.activations[..2].to_vec(),
            layers: vec![2],
            step_sizes: vec![1e-3],
            batches: vec![100],
            biases: vec![true],
            epochs: 3,
            every: 1,
            ..full.clone()
        };
        match effort {
            Effort::Full => full,
            Effort::Quick => quick,
            Effort::Smoke => {
                let (bases, biases) = (vec![Base::Normal], vec![true, false]);
                Self { layers: vec![2, 3], bases, biases, epochs: 4, every: 2, ..quick }
            }
        }
    }

    /// Whether there is such an axis.
    fn set(&mut self, axis: &str, values: &str) -> std::result::Result<bool, String> {
        match axis {
            "activation" => self.activations = list(values)?,
            "layers" => self.layers = list(values)?,
            "learning-rate" => self.step_sizes = list(values)?,
            "batch" => self.batches = list(values)?,
            "base" => self.bases = list(values)?,
            "bias" => self.biases = list::<YesOrNo>(values)?.into_iter().map(|bias| bias == YesOrNo::Yes).collect(),
            "init" => self.starts = list(values)?,
            "schedule" => self.schedules = list(values)?,
            "epochs" => self.epochs = single(values)?,
            "validate-every" => self.every = single(values)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Every setting for a set, the last axis the fastest.
    pub(super) fn settings(&self, context: &Context<'_>, data: &str) -> Vec<TrainingSettings> {
        let mut all = vec![TrainingSettings {
            edge: None,
            epochs: self.epochs,
            validate_every: Some(self.every).filter(|every| *every > 1),
            patience: Some(PATIENCE * self.every),
            ..context.settings(data)
        }];
        along(&mut all, &self.activations, |settings, activation| settings.activation = activation);
        along(&mut all, &self.layers, |settings, layers| settings.layers = layers);
        along(&mut all, &self.step_sizes, |settings, size| settings.learning_rate = size);
        along(&mut all, &self.batches, |settings, batch| settings.batch = batch);
        along(&mut all, &self.starts, |settings, start| settings.init = start.to_string());
        along(&mut all, &self.schedules, |settings, schedule| settings.schedule = schedule.to_string());
        along(&mut all, &self.bases, |settings, base| settings.base = base);
        along(&mut all, &self.biases, |settings, bias| settings.bias = bias);
        all
    }

    pub(super) fn numbers(&self) -> Value {
        json!({ "activation": texts(&self.activations), "layers": self.layers, "learning_rate": self.step_sizes,
            "batch": self.batches, "base": texts(&self.bases),
            "bias": self.biases, "init": texts(&self.starts), "schedule": texts(&self.schedules),
            "epochs": self.epochs, "validate_every": self.every })
    }
}

names! {
    /// Whether there are biases.
    YesOrNo, "answer", {
        Yes = "yes",
        No = "no",
    }
}

/// Each of the settings with each of the values.
fn along<T: Clone>(all: &mut Vec<TrainingSettings>, values: &[T], set: impl Fn(&mut TrainingSettings, T)) {
    let with = |settings: &TrainingSettings, value: &T| {
        let mut settings = settings.clone();
        set(&mut settings, value.clone());
        settings
    };
    *all = all.iter().flat_map(|settings| values.iter().map(move |value| with(settings, value))).collect();
}

/// The values of an axis, no two alike.
fn list<T: FromStr<Err: Display> + PartialEq>(text: &str) -> std::result::Result<Vec<T>, String> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let value: T = part.trim().parse().map_err(|cause| format!("{:?}: {cause}", part.trim()))?;
        if all.contains(&value) {
            return Err(format!("{} stands twice", part.trim()));
        }
        all.push(value);
    }
    Ok(all)
}

fn single(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write one number from 1 on".to_string())
}

fn texts<T: Display>(all: &[T]) -> Vec<String> {
    all.iter().map(T::to_string).collect()
}

/// What a setting has besides the paper's axes: how it starts, and how its steps fall.
fn besides(settings: &TrainingSettings) -> impl Iterator<Item = &str> {
    let usual = [Start::Orthogonal.to_string(), EpochSchedule::Constant.to_string()];
    [&settings.init, &settings.schedule].into_iter().zip(usual).filter(|(a, b)| *a != b).map(|(a, _)| a.as_str())
}

/// A setting in words.
pub(super) fn described(settings: &TrainingSettings) -> String {
    let TrainingSettings { activation, layers, learning_rate, batch, base, bias, .. } = settings;
    let base = if *base == Base::SECH { "sech".to_string() } else { base.to_string() };
    let biases = if *bias { "biases" } else { "no biases" };
    let plural = if *layers == 1 { "" } else { "s" };
    let mut words = format!(
        "{activation}, {layers} layer{plural}, step size {learning_rate}, batches of {batch}, {base}, {biases}"
    );
    besides(settings).for_each(|word| words += &format!(", {word}"));
    words
}

/// The name of a setting's file and of its model: what distinguishes it from the settings of all grids and seeds.
pub(super) fn name(settings: &TrainingSettings) -> String {
    let TrainingSettings { data, activation, layers, learning_rate, batch, base, bias, epochs, seed, .. } = settings;
    let (bias, every) = (if *bias { "bias" } else { "plain" }, settings.validate_every.unwrap_or(1));
    let mut name =
        format!("{data}-{activation}-{layers}-{learning_rate:e}-{batch}-{base}-{bias}-{epochs}-{every}-{seed}");
    besides(settings).for_each(|word| name += &format!("-{word}"));
    name.replace(':', "-")
}

/// Columns and training samples of its set.
pub(super) fn size(TrainingSettings { data, toy_samples, .. }: &TrainingSettings) -> Result<(usize, usize)> {
    match data.starts_with("toy:") {
        true => Ok((2, *toy_samples)),
        false => catalogue::find(data).map(|entry| (entry.dim, entry.parts[0])),
    }
}

/// What a training costs at most, in products of a step over all its steps; only ratios count. Set, sizes and epochs
/// alone say it, so that every machine finds the same.
pub(super) fn cost(settings: &TrainingSettings) -> Result<f64> {
    /// Multiplications that a layer's other work in a step is worth.
    const OTHER: f64 = 1e4;
    let TrainingSettings { layers, batch, epochs, .. } = settings;
    let (dim, samples) = size(settings)?;
    let (dim, batch) = (dim as f64, (*batch).min(samples) as f64);
    let steps = (samples as f64 / batch).floor() * *epochs as f64;
    Ok(steps * *layers as f64 * (batch * dim * dim + OTHER))
}
