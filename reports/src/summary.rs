//! What a sweep's records say, per method and dimension: the numbers that tables and figures show.

use serde::{Deserialize, Serialize};

use crate::record::{Model, Outcome};
use crate::roofline::Ceiling;

/// A number with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Point estimate.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// One method at one dimension, over all its rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Data dimension D.
    pub dim: usize,
    /// Median seconds of one gradient evaluation.
    pub seconds: Estimate,
    /// Independent processes behind it.
    pub rounds: usize,
    /// Raw samples behind it.
    pub samples: usize,
    /// Largest peak memory over the rounds, in bytes.
    pub peak_bytes: Option<u64>,
    /// Model of the cell.
    pub model: Model,
    /// Achieved rate, model flops over median seconds, in 10⁹ a second.
    pub gflops: f64,
    /// The least time on this machine and the fraction of it that is reached; absent where the ceilings were not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Ceiling>,
    /// Time of `ordinary` at the same dimension over this one's.
    pub speedup_over_ordinary: Option<Estimate>,
    /// Time of `autodiff` at the same dimension over this one's.
    pub speedup_over_autodiff: Option<Estimate>,
    /// Worst relative error of the gradient check.
    pub check_max_rel_err: Option<f64>,
}

/// A cell without a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// Data dimension D.
    pub dim: usize,
    /// Skipped or failed.
    pub outcome: Outcome,
    /// Why, as the record says.
    pub reason: String,
    /// Predicted seconds of one evaluation, when the driver had a prediction.
    pub predicted_seconds: Option<f64>,
    /// Predicted peak bytes, when the driver had a prediction.
    pub predicted_bytes: Option<f64>,
}

/// Exponent p of time ∝ Dᵖ over a stated range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Exponent {
    /// The exponent with its interval.
    pub exponent: Estimate,
    /// Smallest dimension of the fit.
    pub min_dim: usize,
    /// Largest dimension of the fit.
    pub max_dim: usize,
    /// Number of dimensions fitted.
    pub points: usize,
}

/// One line of a figure: a method on a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Method name.
    pub method: String,
    /// Device name.
    pub device: String,
    /// Measured points, by ascending dimension.
    pub points: Vec<Point>,
    /// Cells without a measurement, by ascending dimension.
    pub stops: Vec<Stop>,
    /// Fitted complexity, when at least three dimensions allow it.
    pub fit: Option<Exponent>,
}

/// The whole sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// [`crate::record::SCHEMA_VERSION`].
    pub schema: u32,
    /// One entry per device and method, in the order of the run's settings.
    pub series: Vec<Series>,
    /// Things a reader must know before trusting a number, one sentence each.
    pub warnings: Vec<String>,
}
