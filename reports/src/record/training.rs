//! The record of a training: `training.json` beside `epochs.jsonl`.

use relgrad_vocabulary::{Activation, Base, Dtype, Method, Tuning};
use serde::{Deserialize, Serialize};

use crate::record::run::Machine;

/// Version of [`Training`] and [`Epoch`]; readers reject a newer one. 1 had no checksum.
pub const TRAINING_SCHEMA: u32 = 2;

/// What the numbers of a data set may be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provenance {
    /// The published set, sample for sample.
    SameData,
    /// The published recipe on the published sources, drawn anew.
    FreshDraw,
    /// A part of the published set: its numbers say nothing about the whole.
    Subset,
    /// Drawn from a density that is defined here.
    Synthetic,
    /// A file of the user's.
    Own,
}

impl Provenance {
    /// What a table says beside a number.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SameData => "same data",
            Self::FreshDraw => "fresh draw",
            Self::Subset => "subset, not comparable",
            Self::Synthetic => "synthetic",
            Self::Own => "own file",
        }
    }
}

/// A mean log-likelihood in nats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Nats {
    /// (1/N) Σ_n ℓ(x_n).
    pub mean: f64,
    /// Twice the standard error of the mean, 2 s/√N, over the samples; one sample has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub two_standard_errors: Option<f64>,
}

impl Nats {
    /// Of per-sample log-likelihoods; `None` without any, or where the result is not finite.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let count = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / count;
        let variance = samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let error = 2.0 * (variance / count).sqrt();
        (mean.is_finite() && error.is_finite())
            .then_some(Self { mean, two_standard_errors: (samples.len() > 1).then_some(error) })
    }
}

impl std::fmt::Display for Nats {
    /// With the decimals that the standard error allows: `−1375.2 ± 1.4`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self.two_standard_errors {
            Some(error) => {
                let decimals = if error > 0.0 { (1.0 - error.log10().floor()).clamp(1.0, 4.0) as usize } else { 4 };
                format!("{:.decimals$} ± {error:.decimals$}", self.mean)
            }
            None => format!("{:.4}", self.mean),
        };
        f.pad(&text.replace('-', "−"))
    }
}

/// How a network is trained, spelled as the command line spells it; with these and the data, `--resume` goes on bit for
/// bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingSettings {
    /// Data set, or path of a file.
    pub data: String,
    /// Samples of a toy set.
    pub toy_samples: usize,
    /// Gradient backend.
    pub method: Method,
    /// `exact`, `paper` or `plain`.
    pub bias_mode: String,
    /// `sgd` or `adam`.
    pub optimizer: String,
    /// Step size μ before the schedule.
    pub learning_rate: f64,
    /// `constant`, `inverse:EPOCHS` or `cosine`.
    pub schedule: String,
    /// Whether plain steps are shortened where a layer might lose its invertibility.
    pub guard: bool,
    /// Batch size N.
    pub batch: usize,
    /// Epochs at most.
    pub epochs: usize,
    /// Epochs without a better validation likelihood after which training stops; absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Number of layers L.
    pub layers: usize,
    /// Nonlinearity.
    pub activation: Activation,
    /// Whether it follows the last layer too.
    pub last_nonlinear: bool,
    /// Whether layers have biases.
    pub bias: bool,
    /// Density of the latents.
    pub base: Base,
    /// How weights are drawn.
    pub init: String,
    /// Type of the numbers.
    pub dtype: Dtype,
    /// Seed of network, order and toy data.
    pub seed: u64,
    /// CPU threads.
    pub threads: usize,
    /// Epochs between checkpoints.
    pub checkpoint_every: usize,
    /// What the layers are where they are circular convolutions; absent for dense ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convolution: Option<ConvolutionLayers>,
    /// What u of log p(x|u) is: `labels`, or columns of the file, comma-separated; absent for log p(x).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditional: Option<String>,
    /// Which t is in Adam's bias corrections: `epoch`; absent for the number of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adam_correction: Option<String>,
    /// The share of the limit of stable steps that the step size keeps below, or `off` where that is only watched;
    /// absent where no sharpness is estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<String>,
    /// Whether a step that lowers the training likelihood is undone, and the step size halved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub line_search: bool,
    /// Nats by which the validation likelihood may lie below the best one: after five epochs further below, training
    /// goes back to the best network and halves the step size. Absent where it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewind: Option<f64>,
    /// Epochs between the validations that choose the best model and that patience counts; absent for every epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate_every: Option<usize>,
    /// Standard deviation of the normal noise that training samples have in the first step; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
    /// Numbers of a method that approximates, where they are not its own.
    #[serde(default, skip_serializing_if = "Tuning::is_default")]
    pub tuning: Tuning,
}

/// The layers of `--coupling conv`; D is the channels times the points of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvolutionLayers {
    /// Channels; a sample has their grids one after another, each row by row.
    pub channels: usize,
    /// Rows and columns of the grid.
    pub grid: [usize; 2],
    /// Taps of the kernels along each axis; absent for all of the grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<[usize; 2]>,
}

/// The data of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFacts {
    /// Data dimension D.
    pub dim: usize,
    /// Dimension of the condition u; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<usize>,
    /// Samples of the training part.
    pub training: usize,
    /// Samples of the validation part.
    pub validation: usize,
    /// Samples of the test part.
    pub test: usize,
    /// What numbers may be compared with.
    pub provenance: Provenance,
    /// Entropy of the distribution in nats where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy_nats: Option<f64>,
    /// Absolute path of a file of the user's; bytes that are not UTF-8, control characters and `%` as `%XX`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Whether that file's first line is a header: `auto`, `yes` or `no`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Digest of the numbers, where they come from files; trainings of before have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What was subtracted from every sample before the network saw it; absent where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<Vec<f64>>,
}

/// Why a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// All epochs are done.
    Complete,
    /// The validation likelihood had not risen for as long as patience allows.
    Patience,
    /// Its time was up.
    TimeLimit,
    /// Ctrl-C.
    Interrupted,
    /// The line search found no step that raises the training likelihood.
    LineSearch,
}

impl Stop {
    /// Whether nothing is left to train.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Patience | Self::LineSearch)
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Why it ended.
    pub stop: Stop,
    /// Epochs done.
    pub epochs: usize,
    /// Epoch of the model with the best validation likelihood, which the numbers below are of.
    pub best_epoch: usize,
    /// Validation part.
    pub validation: Nats,
    /// Test part.
    pub test: Nats,
    /// Seconds of training, evaluation left out.
    pub seconds: f64,
}

/// `training.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// [`TRAINING_SCHEMA`] of the writer.
    pub schema: u32,
    /// The exact command, program first.
    pub command: Vec<String>,
    /// A number of this training's own, which its checkpoints carry; absent before version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<u32>,
    /// Version of relgrad.
    pub version: String,
    /// Git revision of the source; absent outside a checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_revision: Option<String>,
    /// Start, RFC 3339 in UTC.
    pub started: String,
    /// Settings after defaults were filled in.
    pub settings: TrainingSettings,
    /// The data.
    pub data: DataFacts,
    /// The machine.
    pub machine: Machine,
    /// Absent until the training ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// One line of `epochs.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Epochs done; 0 is the untrained network.
    pub epoch: usize,
    /// Steps done.
    pub step: u64,
    /// Mean log-likelihood over the epoch's batches, each before its step, in nats; absent where log-determinants are
    /// not carried from step to step (Adam, and backends that store a gradient) and at epoch 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_nats: Option<f64>,
    /// Mean validation log-likelihood in nats, determinants by LU in f64.
    pub validation_nats: f64,
    /// Step size at the end of the epoch, before the guard.
    pub learning_rate: f64,
    /// The last estimate of the sharpness λ of the loss of a batch, in the metric of the step; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharpness: Option<f64>,
    /// The largest μλ of the epoch's steps over the limit of stable ones: 2, or (2 + 2β₁)/(1 − β₁) with Adam.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge_share: Option<f64>,
    /// Steps that were undone: of the epoch by a line search, since the best epoch where training went back to it;
    /// absent where neither is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected_steps: Option<usize>,
    /// Share of the epoch's layer updates that the guard shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarded_share: Option<f64>,
    /// What the LU refresh at the end of the epoch took off the carried log-determinants, at most, in nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_det_drift: Option<f64>,
    /// Seconds of training so far, evaluation and checkpoints left out.
    pub seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nats_have_the_decimals_that_their_error_allows() {
        let text = |mean, error| Nats { mean, two_standard_errors: Some(error) }.to_string();
        assert_eq!(text(-1375.23, 1.41), "−1375.2 ± 1.4");
        assert_eq!(text(0.06512, 0.0131), "0.065 ± 0.013");
        assert_eq!(text(151.123, 0.284), "151.12 ± 0.28");
        assert_eq!(text(-3.5, 0.0), "−3.5000 ± 0.0000");
        assert_eq!(Nats::of(&[]), None);
        assert_eq!(Nats::of(&[1.0, f64::NEG_INFINITY]), None);
        assert_eq!(Nats::of(&[1.0, 3.0]), Some(Nats { mean: 2.0, two_standard_errors: Some(2.0_f64.sqrt()) }));
    }

    #[test]
    fn one_sample_has_no_error_and_old_files_still_read() {
        let one = Nats::of(&[-6.548]).unwrap();
        assert_eq!(one.to_string(), "−6.5480");
        assert_eq!(serde_json::to_string(&one).unwrap(), "{\"mean\":-6.548}");
        let old: Nats = serde_json::from_str("{\"mean\":-6.5,\"two_standard_errors\":0.5}").unwrap();
        assert_eq!(old, Nats { mean: -6.5, two_standard_errors: Some(0.5) });
    }
}
