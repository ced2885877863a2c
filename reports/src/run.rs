//! `run.json`: the command, the plan and the machine that every record of a folder belongs to.

use serde::{Deserialize, Serialize};

/// Everything needed to judge, and to repeat, the measurements beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`crate::record::SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// The exact command, program first.
    pub command: Vec<String>,
    /// Version of relgrad.
    pub version: String,
    /// Git revision of the source, with `-dirty` when it had uncommitted changes; absent outside a checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_revision: Option<String>,
    /// `rustc --version` of the build.
    pub rustc: String,
    /// Start, RFC 3339 in UTC.
    pub started: String,
    /// End, RFC 3339 in UTC; absent while the sweep runs or after it was cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The settings of the sweep after defaults were filled in.
    pub settings: Settings,
    /// The machine.
    pub machine: Machine,
}

/// The settings of a sweep: with these, `--resume` rebuilds the same cells in the same order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Data dimensions D, ascending.
    pub dims: Vec<usize>,
    /// Methods, in the order figures list them.
    pub methods: Vec<String>,
    /// Devices.
    pub devices: Vec<String>,
    /// Batch size N.
    pub batch: usize,
    /// Number of layers L.
    pub layers: usize,
    /// `f32` or `f64`.
    pub dtype: String,
    /// Whether the layers have biases.
    pub bias: bool,
    /// Nonlinearity, as the command line spells it.
    pub activation: String,
    /// CPU threads.
    pub threads: usize,
    /// Seed of networks, data and cell order.
    pub seed: u64,
    /// Independent processes per cell.
    pub rounds: usize,
    /// Fewest samples of a measured cell (unless its time is up).
    pub min_samples: usize,
    /// Seconds for the whole sweep; absent means no budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_seconds: Option<f64>,
    /// Seconds for one cell; absent means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell_limit_seconds: Option<f64>,
    /// Bytes that one cell may take.
    pub memory_limit_bytes: u64,
    /// Device bytes that one cell on a GPU may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_memory_limit_bytes: Option<u64>,
    /// Arithmetic of matrix products on a GPU: `f32`, `tf32` or `f64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub math: Option<String>,
}

/// Facts about the machine; `None` or empty where the machine does not tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// CPU model name.
    pub cpu: String,
    /// Physical cores.
    pub physical_cores: Option<usize>,
    /// Logical cores that this process may use.
    pub logical_cores: usize,
    /// Caches as the kernel lists them, for instance `L2 2048K per core`.
    pub caches: Vec<String>,
    /// Widest SIMD level that the kernels use here.
    pub simd: String,
    /// Installed memory in bytes.
    pub memory_bytes: u64,
    /// Memory available at the start, in bytes.
    pub available_bytes: u64,
    /// Frequency governor.
    pub governor: Option<String>,
    /// Current frequency in MHz at the start.
    pub frequency_mhz: Option<f64>,
    /// One-minute load average at the start.
    pub load_average: Option<f64>,
    /// Transparent-huge-page setting.
    pub huge_pages: Option<String>,
    /// `container`, the hypervisor's name, or `none detected`.
    pub virtualization: String,
    /// Operating system with its version and kernel.
    pub os: String,
    /// GPU facts, one line each; empty without one.
    pub gpus: Vec<String>,
}
