//! What a sweep's records say, per method and dimension: the numbers that tables and figures show.

use relgrad_vocabulary::{DeviceKind, Method, Subject};
use serde::{Deserialize, Serialize};

use crate::record::roofline::Ceiling;
use crate::record::{Held, Model, Outcome, TransportKind, is_one_rank, one_rank};
use crate::statistics::fit::{Breakpoint, Choice, Crossover, Jump, LocalExponent, TwoTerm};

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

impl Estimate {
    /// A number that is known exactly.
    pub fn exact(value: f64) -> Self {
        Self { value, low: value, high: value }
    }

    /// A number within so much on either side.
    pub(crate) fn within(value: f64, reach: f64) -> Self {
        Self { value, low: value - reach, high: value + reach }
    }

    /// The same through an increasing function.
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { value: f(self.value), low: f(self.low), high: f(self.high) }
    }
}

/// One method at one dimension, over all its rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellSummary {
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
    /// The least time on this machine, and its fraction of the measured time; absent if the ceilings were not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Ceiling>,
    /// Time of `ordinary` at the same dimension over this one's.
    pub speedup_over_ordinary: Option<Estimate>,
    /// Time of `autodiff` at the same dimension over this one's.
    pub speedup_over_autodiff: Option<Estimate>,
    /// Worst relative error of the gradient check.
    pub check_max_rel_err: Option<f64>,
    /// Worst ‖RW − I‖_F/√D of inverses that the steps carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inverse_error: Option<f64>,
    /// With one or two processes: first and last of the dimensions whose scatter between processes its interval has. Of
    /// one without such dimensions there is no interval, and both ends are the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scatter_from: Option<(usize, usize)>,
    /// Where the machine had two states, the time in the fast one and in the slow one; the interval of `seconds` spans
    /// both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<TimeInState>,
}

/// The time of a cell in one state of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimeInState {
    /// Median seconds of one gradient evaluation.
    pub seconds: Estimate,
    /// The cell's processes that ran in this state.
    pub processes: usize,
}

/// Two states of a machine, such as two clocks, that each lasted for a while.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MachineStates {
    /// The device.
    pub device: DeviceKind,
    /// The time in the slow state over that in the fast one.
    pub factor: Estimate,
    /// Processes that ran in the slow state.
    pub slow: usize,
    /// Processes in all.
    pub processes: usize,
}

/// A cell without a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// Data dimension D.
    pub dim: usize,
    /// Skipped or failed.
    pub outcome: Outcome,
    /// The reason in the record: its first 200 characters, control characters visible.
    pub reason: String,
    /// Predicted seconds of one evaluation, when the driver had a prediction.
    pub predicted_seconds: Option<f64>,
    /// Predicted peak bytes, when the driver had a prediction.
    pub predicted_bytes: Option<f64>,
    /// Lower bound of the seconds of one evaluation, from a cell that ran out of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least_seconds: Option<f64>,
    /// Seconds of one evaluation that the measured dimensions predict, with the 95 % prediction interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extrapolated_seconds: Option<Estimate>,
}

impl Stop {
    /// The time expected of one evaluation: what the measured dimensions predict, else what the sweep did.
    pub fn expected_seconds(&self) -> Option<Estimate> {
        self.extrapolated_seconds.or_else(|| self.predicted_seconds.map(Estimate::exact))
    }
}

/// An axis of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Axis {
    /// Data dimension D.
    Dim,
    /// Batch size N.
    Batch,
    /// Number of layers L.
    Layers,
}

/// Exponent p of time ∝ xᵖ over a stated range of an axis x.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Exponent {
    /// The exponent with its interval.
    pub exponent: Estimate,
    /// Smallest place of the fit.
    pub from: usize,
    /// Largest place of the fit.
    pub to: usize,
    /// Number of places fitted.
    pub points: usize,
}

/// How far a measured time is from the fit of its series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Residual {
    /// Data dimension D.
    pub dim: usize,
    /// Measured median over the fitted one.
    pub ratio: f64,
}

/// How the time of a method grows along another axis than D.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// The method.
    pub method: Subject,
    /// The device.
    pub device: DeviceKind,
    /// The axis.
    pub axis: Axis,
    /// Data dimension D, the largest at which enough of the axis was measured.
    pub dim: usize,
    /// Exponent along the axis, everything else as in the sweep's settings.
    pub fit: Exponent,
}

/// How the time of a method falls with more threads at one D, everything else as in the sweep's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThreadScaling {
    /// The method.
    pub method: Subject,
    /// Data dimension D.
    pub dim: usize,
    /// Fewest threads of the sweep, which the others are compared with.
    pub from: usize,
    /// The numbers of threads that were measured, ascending; `from` is the first.
    pub points: Vec<OnThreads>,
    /// The share of the time on one thread that more threads do not shorten; absent where the times do not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_share: Option<Estimate>,
}

/// A method at one D on some threads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OnThreads {
    /// CPU threads p.
    pub threads: usize,
    /// Median seconds of one gradient evaluation.
    pub seconds: Estimate,
    /// Time on the fewest threads over this one's, paired by round.
    pub speedup: Estimate,
    /// The speed-up over p/p₀, where p₀ are the fewest threads.
    pub efficiency: Estimate,
}

/// How the time of a method changes with more ranks at one D, everything else as in the sweep's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankScaling {
    /// The method.
    pub method: Subject,
    /// Data dimension D.
    pub dim: usize,
    /// Fewest ranks of the sweep, which the others are compared with.
    pub from: usize,
    /// The numbers of ranks that were measured, ascending; `from` is the first.
    pub points: Vec<OnRanks>,
}

/// A method at one D on some ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OnRanks {
    /// Ranks p.
    pub ranks: usize,
    /// Median seconds of one evaluation.
    pub seconds: Estimate,
    /// Time on the fewest ranks over this one's, paired by round.
    pub speedup: Estimate,
    /// Most bytes of memory of a rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Bytes that all ranks received in an evaluation; absent for one rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_bytes: Option<u64>,
    /// What carried them; absent for one rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<TransportKind>,
}

/// Where one method overtakes another along an axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overtaking {
    /// The method that is the faster one at the end of the measured range.
    pub method: Method,
    /// The method that it overtakes.
    pub over: Method,
    /// The device.
    pub device: DeviceKind,
    /// The axis.
    pub axis: Axis,
    /// Data dimension D, for an axis other than D.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dim: Option<usize>,
    /// First and last place where both were measured.
    pub range: (usize, usize),
    /// Where.
    pub crossover: Crossover,
}

/// One line of a figure: a method on a device, at one batch size, number of layers and of threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The method.
    pub method: Subject,
    /// The device.
    pub device: DeviceKind,
    /// Batch size N.
    pub batch: usize,
    /// Number of layers L.
    pub layers: usize,
    /// CPU threads.
    #[serde(default)]
    pub threads: usize,
    /// Ranks over which the weights are split; absent for 1.
    #[serde(default = "one_rank", skip_serializing_if = "is_one_rank")]
    pub ranks: usize,
    /// Measured points, by ascending dimension.
    pub points: Vec<CellSummary>,
    /// Cells without a measurement, by ascending dimension.
    pub stops: Vec<Stop>,
    /// Fitted complexity, when at least three dimensions allow it.
    pub fit: Option<Exponent>,
    /// Measured over fitted times at every measured dimension; empty without a fit.
    pub residuals: Vec<Residual>,
    /// Exponents between neighbouring dimensions.
    pub local_exponents: Vec<LocalExponent>,
    /// Where the exponent changes, if two power laws describe the times clearly better than one, than terms and than a
    /// step.
    pub breakpoint: Option<Breakpoint>,
    /// Where the times jump, if a step describes them clearly better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Jump>,
    /// The times as c + l·D + a·D² + b·D³, when there are at least four dimensions.
    pub terms: Option<TwoTerm>,
    /// The best of D, D², D² log D and D³ over the range of the fit, when that holds at least four dimensions.
    pub law: Option<Choice>,
}

/// The whole sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// [`crate::record::SCHEMA_VERSION`].
    pub schema: u32,
    /// One entry per device, numbers of threads and of layers, batch size and method: those of the run's settings
    /// first, in their order.
    pub series: Vec<Series>,
    /// Exponents along the batch size and the number of layers, where a sweep varied them.
    pub scaling: Vec<Scaling>,
    /// Speed-ups by threads, where a sweep varied them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thread_scaling: Vec<ThreadScaling>,
    /// Times by ranks, where a sweep varied them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rank_scaling: Vec<RankScaling>,
    /// Crossovers of methods.
    pub overtakings: Vec<Overtaking>,
    /// Devices that had two states.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<MachineStates>,
    /// Warnings, one sentence each.
    pub warnings: Vec<String>,
}

impl Series {
    /// Nothing known yet.
    pub(crate) fn new(method: Subject, device: DeviceKind, held: Held) -> Self {
        let Held { batch, layers, threads, ranks } = held;
        Self {
            method,
            device,
            batch,
            layers,
            threads,
            ranks,
            points: Vec::new(),
            stops: Vec::new(),
            fit: None,
            residuals: Vec::new(),
            local_exponents: Vec::new(),
            breakpoint: None,
            step: None,
            terms: None,
            law: None,
        }
    }

    /// What is held fixed along D.
    pub fn held(&self) -> Held {
        let Self { batch, layers, threads, ranks, .. } = *self;
        Held { batch, layers, threads, ranks }
    }
}

impl Axis {
    /// Its symbol.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Dim => "D",
            Self::Batch => "N",
            Self::Layers => "L",
        }
    }
}
