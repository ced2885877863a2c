//! The settings that a search tries.

use relgrad_kernels::{Activation, Base};
use relgrad_reports::training::TrainingSettings;
use serde_json::{Value, json};

use crate::data::catalogue;
use crate::error::Result;
use crate::experiment::{Context, Effort};

/// Validations in a row without a better one after which a training stops.
pub(super) const PATIENCE: usize = 5;

/// Values along each axis of the paper's Table 3. The axes are the paper's, the values are ours.
pub(super) struct Grid {
    activations: &'static [Activation],
    layers: &'static [usize],
    step_sizes: &'static [f64],
    batches: &'static [usize],
    bases: &'static [Base],
    biases: &'static [bool],
    epochs: usize,
    /// Epochs between two validations.
    pub(super) every: usize,
}

/// The paper's two nonlinearities with its slopes, and one near the identity, which deep networks need.
const ACTIVATIONS: &[Activation] = &[
    Activation::SmoothLeaky { alpha: 0.3 },
    Activation::TanhLinear { alpha: 1.0, beta: 0.1 },
    Activation::TanhLinear { alpha: 0.3, beta: 1.0 },
];

const FULL: Grid = Grid {
    activations: ACTIVATIONS,
    layers: &[2, 5, 10],
    step_sizes: &[3e-4, 1e-3, 3e-3],
    batches: &[100, 500],
    bases: &[Base::Normal, Base::SECH],
    biases: &[true, false],
    epochs: 1000,
    every: 25,
};

/// A few settings and epochs: whether it works, in a few minutes.
const QUICK: Grid = Grid {
    activations: ACTIVATIONS.split_at(2).0,
    layers: &[2],
    step_sizes: &[1e-3],
    batches: &[100],
    biases: &[true],
    epochs: 3,
    every: 1,
    ..FULL
};

const SMOKE: Grid =
    Grid { layers: &[2, 3], bases: &[Base::Normal], biases: &[true, false], epochs: 4, every: 2, ..QUICK };

impl Grid {
    pub(super) fn of(effort: Effort) -> &'static Self {
        effort.pick(&SMOKE, &QUICK, &FULL)
    }

    /// Every setting for a set, the last axis the fastest. Steps keep their size, which does not depend on how long a
    /// training goes on; networks start as the authors' do, which a network without biases can too.
    pub(super) fn settings(&self, context: &Context<'_>, data: &str) -> Vec<TrainingSettings> {
        let common = TrainingSettings {
            schedule: "constant".to_string(),
            init: "orthogonal".to_string(),
            edge: None,
            epochs: self.epochs,
            validate_every: Some(self.every).filter(|every| *every > 1),
            patience: Some(PATIENCE * self.every),
            ..context.settings(data)
        };
        let mut all = Vec::new();
        for &activation in self.activations {
            for &layers in self.layers {
                for &learning_rate in self.step_sizes {
                    for &batch in self.batches {
                        for (&base, &bias) in
                            self.bases.iter().flat_map(|base| self.biases.iter().map(move |b| (base, b)))
                        {
                            let common = common.clone();
                            all.push(TrainingSettings {
                                activation,
                                layers,
                                learning_rate,
                                batch,
                                base,
                                bias,
                                ..common
                            });
                        }
                    }
                }
            }
        }
        all
    }

    pub(super) fn numbers(&self) -> Value {
        let shown = |list: &[Activation]| list.iter().map(Activation::to_string).collect::<Vec<_>>();
        json!({ "activation": shown(self.activations), "layers": self.layers, "learning_rate": self.step_sizes,
            "batch": self.batches, "base": self.bases.iter().map(Base::to_string).collect::<Vec<_>>(),
            "bias": self.biases, "epochs": self.epochs, "validate_every": self.every })
    }
}

/// A setting in words.
pub(super) fn described(settings: &TrainingSettings) -> String {
    let TrainingSettings { activation, layers, learning_rate, batch, base, bias, .. } = settings;
    let base = if *base == Base::SECH { "sech".to_string() } else { base.to_string() };
    let biases = if *bias { "biases" } else { "no biases" };
    let plural = if *layers == 1 { "" } else { "s" };
    format!("{activation}, {layers} layer{plural}, step size {learning_rate}, batches of {batch}, {base}, {biases}")
}

/// The name of a setting's file and of its model: what distinguishes it from the settings of all grids and seeds.
pub(super) fn name(settings: &TrainingSettings) -> String {
    let TrainingSettings { data, activation, layers, learning_rate, batch, base, bias, epochs, seed, .. } = settings;
    let bias = if *bias { "bias" } else { "plain" };
    format!("{data}-{activation}-{layers}-{learning_rate:e}-{batch}-{base}-{bias}-{epochs}-{seed}").replace(':', "-")
}

/// What a training costs at most, in products of a step over all its steps; only ratios count. Set, sizes and epochs
/// alone say it, so that every machine finds the same.
pub(super) fn cost(settings: &TrainingSettings) -> Result<f64> {
    /// Multiplications that a layer's other work in a step is worth.
    const OTHER: f64 = 1e4;
    let TrainingSettings { data, toy_samples, layers, batch, epochs, .. } = settings;
    let (dim, samples) = match data.starts_with("toy:") {
        true => (2, *toy_samples),
        false => catalogue::find(data).map(|entry| (entry.dim, entry.parts[0]))?,
    };
    let (dim, batch) = (dim as f64, (*batch).min(samples) as f64);
    let steps = (samples as f64 / batch).floor() * *epochs as f64;
    Ok(steps * *layers as f64 * (batch * dim * dim + OTHER))
}
