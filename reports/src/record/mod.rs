//! The record of one cell: one JSON object a line of `records.jsonl`.
//!
//! A *cell* is a method at one point of the sweep (device, dimension, …) in one round, measured in a process of its
//! own. Whatever happens to it, it leaves a record: measured, skipped (with the prediction that ruled it out), or
//! failed (with the reason). A cell that had a disturbed machine may have several, of which one counts. Fields are only
//! ever added within a schema version; readers ignore the ones they don't know.

pub(crate) mod contents;
pub mod error;
pub mod experiment;
mod failure;
pub(crate) mod log;
pub mod roofline;
pub mod run;
mod state;
pub mod study;
pub mod training;
pub(crate) mod validity;
pub mod writer;

use relgrad_vocabulary::{Activation, DeviceKind, Dtype, Math, Subject, Tuning, UpdateRule};
use serde::{Deserialize, Deserializer, Serialize};

pub use failure::{Failure, KILL_FACTOR, Reason};
pub(crate) use state::counting;
pub use state::{Clocks, Disturbance, State};

/// Version of the schema of records and of `run.json`. A reader rejects a newer one.
pub const SCHEMA_VERSION: u32 = 1;

/// What one process measured: a method or a calibration kernel, at a point of the sweep, in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell {
    /// The gradient backend or the kernel, by its name on the command line.
    pub method: Subject,
    /// Its place on the axes.
    #[serde(flatten)]
    pub point: Point,
    /// Index of the independent process that measured this cell, from 0; what people read counts rounds from 1.
    pub round: usize,
}

/// A place on the axes of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Point {
    /// Device.
    pub device: DeviceKind,
    /// Data dimension D.
    pub dim: usize,
    /// Batch size N.
    pub batch: usize,
    /// Number of layers L.
    pub layers: usize,
    /// Type of the numbers.
    pub dtype: Dtype,
    /// Arithmetic of matrix products, if it differs from `dtype`: `tf32` or `bf16`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub math: Option<Math>,
    /// Threads the CPU backend may use.
    pub threads: usize,
    /// Whether the layers have biases.
    pub bias: bool,
    /// Nonlinearity with its parameters.
    pub activation: Activation,
    /// Seed of the network and of the data.
    pub seed: u64,
    /// What the layers convolve; absent for dense layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convolution: Option<Convolution>,
    /// The update that every evaluation makes; absent where gradients alone are measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateRule>,
    /// Numbers of the method, where they are not its own.
    #[serde(default, skip_serializing_if = "Tuning::is_default")]
    pub tuning: Tuning,
    /// Ranks over which the weights are split by columns; absent for 1, the weights whole in one process.
    #[serde(default = "one_rank", skip_serializing_if = "is_one_rank")]
    pub ranks: usize,
}

impl Point {
    /// The arithmetic of matrix products.
    pub fn arithmetic(&self) -> Math {
        self.math.unwrap_or(Math::of(self.dtype))
    }

    /// What is held fixed along D.
    pub fn held(&self) -> Held {
        let Self { batch, layers, threads, ranks, .. } = *self;
        Held { batch, layers, threads, ranks }
    }
}

/// The axes of a sweep besides D: with them, the series of a method on a device are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Held {
    /// Batch size N.
    pub batch: usize,
    /// Number of layers L.
    pub layers: usize,
    /// CPU threads, of all ranks together.
    pub threads: usize,
    /// Ranks over which the weights are split.
    pub ranks: usize,
}

/// Layers that are circular convolutions: D = channels · points of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Convolution {
    /// Channels c.
    pub channels: usize,
    /// Rows and columns of the grid; a 1-D grid has one row.
    pub grid: [usize; 2],
    /// Taps of the kernel along each axis; as many as the grid has points for a full kernel.
    pub kernel: [usize; 2],
}

/// How a cell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Samples were taken and the gradient agreed with its check.
    Measured,
    /// Not tried: the prediction exceeds a limit.
    Skipped,
    /// Tried, and ended without a valid measurement.
    Failed,
}

impl Outcome {
    /// Its name in a record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// The cost model of one gradient evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Floating-point operations (a multiply-add counts 2), leading terms.
    pub flops: f64,
    /// Lower bound of the resident memory, in bytes.
    pub min_bytes: f64,
    /// Lower bound of the bytes that must move between memory and the cores.
    pub min_traffic_bytes: f64,
}

/// The prediction of a cell before it ran.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Seconds of one gradient evaluation.
    #[serde(deserialize_with = "number_or_nan")]
    pub seconds: f64,
    /// Peak resident bytes above the process's own.
    #[serde(deserialize_with = "number_or_nan")]
    pub peak_bytes: f64,
}

/// The correctness check that a cell passed (or failed) before it was timed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What the gradient was compared with, for instance `reference` or `directional-derivative`.
    pub kind: String,
    /// Largest relative error found. JSON has no NaN and no infinity: both are written as `null` and read as NaN.
    #[serde(deserialize_with = "number_or_nan")]
    pub max_rel_err: f64,
    /// The bound it had to stay under.
    pub tolerance: f64,
}

/// What the inverses of an evaluation took, over all layers, where they are refreshed by products.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Refresh {
    /// Products of D×D matrices.
    pub products: usize,
    /// Layers that took an LU instead.
    pub factored: usize,
    /// By how much the inverses were off before, the largest of all layers.
    pub residual: f64,
}

/// What the solves of an evaluation took, over all layers, where inverses are known by their products with probes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Solved {
    /// Steps of conjugate gradients.
    pub iterations: usize,
    /// Relative error of the solutions as the last steps tell it, the largest of all layers.
    pub error: f64,
}

/// What several ranks exchanged in one evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchanged {
    /// What carried it.
    pub transport: TransportKind,
    /// Bytes that came to all ranks together from others, as the transport counted them.
    pub received_bytes: u64,
    /// Operations of a rank.
    pub collectives: u64,
}

/// What ranks talk by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportKind {
    /// Processes that `mpiexec` started.
    Mpi,
    /// Threads of one process.
    Threads,
}

/// Resident memory of the process at one instant of a gradient evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MemoryPoint {
    /// Seconds since the trace began.
    pub seconds: f64,
    /// Resident bytes above those just before the problem was allocated.
    pub bytes: f64,
}

/// Measurements of a GPU, in addition to the wall-clock times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// Seconds by the GPU's own events, one for each entry of `seconds`: of the last evaluation of that sample.
    pub event_seconds: Vec<f64>,
    /// Seconds of the process's first, tiny evaluation: loading the libraries, starting the GPU, compiling the kernels.
    pub first_call_seconds: f64,
    /// Whether an evaluation was one launch of a recorded graph, because that was faster than call by call.
    pub graph: bool,
    /// Bytes by which the driver's free memory fell while the problem was built and evaluated once: a check on
    /// `peak_bytes`.
    pub driver_bytes: u64,
    /// The GPU just before the first sample, if NVML reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<GpuState>,
    /// The GPU just after the last sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<GpuState>,
}

/// Clocks, temperature and power of a GPU at one moment; absent if it does not report them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuState {
    /// Clock of the multiprocessors.
    pub sm_mhz: Option<f64>,
    /// Clock of the memory.
    pub memory_mhz: Option<f64>,
    /// Power drawn.
    pub power_watts: Option<f64>,
    /// Temperature of the chip.
    pub temperature_celsius: Option<f64>,
    /// Reasons of throttling, by NVML's names in lower case; empty without throttling.
    pub throttled_by: Vec<String>,
}

/// One line of `records.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// What was measured.
    pub cell: Cell,
    /// Which process of this cell it was, from 0; further ones follow a disturbed machine.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// Why the cell was skipped or failed; absent when measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Raw samples in the order taken: seconds of one gradient evaluation each.
    #[serde(default)]
    pub seconds: Vec<f64>,
    /// How many evaluations one entry of `seconds` averages (more than 1 where one is shorter than the clock can
    /// resolve).
    #[serde(default = "one")]
    pub evaluations_per_sample: u64,
    /// Seconds of the first evaluations before sampling began (the very first touches fresh memory), fifty at most;
    /// never part of a statistic.
    #[serde(default)]
    pub warmup_seconds: Vec<f64>,
    /// High-water resident bytes of the process minus those just before the problem was allocated; on a GPU, the most
    /// device bytes that buffers took at a time, by our own books. Of several ranks the largest one's, or the mean of
    /// those that are threads of one process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Memory over time from the allocation to the end of the first evaluation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memory_trace: Vec<MemoryPoint>,
    /// The cost model of this cell.
    pub model: Model,
    /// What the driver predicted when it decided whether to run the cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Prediction>,
    /// The correctness check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// How the inverses were refreshed; absent for methods that refresh none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
    /// ‖RW − I‖_F/√D after the last sample, the largest of all layers, by products with random signs; absent for
    /// methods that carry no inverse R from step to step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inverse_error: Option<f64>,
    /// What the solves took; absent for methods that solve for no probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solved: Option<Solved>,
    /// What the ranks exchanged; absent for one rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchanged: Option<Exchanged>,
    /// Measurements that only a GPU has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
    /// The machine meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Wall-clock seconds that the whole cell took, process start to end.
    #[serde(default)]
    pub wall_seconds: f64,
    /// When the cell started, seconds since the Unix epoch.
    #[serde(default)]
    pub started_unix_seconds: f64,
}

impl Record {
    /// What kept the cell from a measurement, where its reason says so.
    pub fn failure(&self) -> Option<Failure> {
        self.reason.as_ref().map(Reason::failure)
    }

    /// Whether its times are valid: measured, with a gradient that did not fail its check.
    pub fn is_valid(&self) -> bool {
        self.outcome == Outcome::Measured && !self.check_failed()
    }

    /// Whether the gradient was compared and found wrong; an error that is not a number is wrong too.
    pub fn check_failed(&self) -> bool {
        self.check.as_ref().is_some_and(|c| c.max_rel_err.is_nan() || c.max_rel_err > c.tolerance)
    }

    /// A skipped record with only its model, from which the other outcomes start.
    pub fn blank(cell: Cell, model: Model) -> Self {
        Self {
            schema: SCHEMA_VERSION,
            cell,
            attempt: 0,
            outcome: Outcome::Skipped,
            reason: None,
            seconds: Vec::new(),
            evaluations_per_sample: 1,
            warmup_seconds: Vec::new(),
            peak_bytes: None,
            memory_trace: Vec::new(),
            model,
            prediction: None,
            check: None,
            refresh: None,
            inverse_error: None,
            solved: None,
            exchanged: None,
            gpu: None,
            state: None,
            wall_seconds: 0.0,
            started_unix_seconds: 0.0,
        }
    }
}

/// Reads `null`, which is how JSON carries a number that is not finite, as NaN.
fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn one() -> u64 {
    1
}

pub(crate) fn one_rank() -> usize {
    1
}

pub(crate) fn is_one_rank(ranks: &usize) -> bool {
    *ranks == 1
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}
