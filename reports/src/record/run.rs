//! `run.json`: the command, the plan and the machine that every record of a folder belongs to.

use relgrad_vocabulary::{Activation, DeviceKind, Dtype, Math, Method, Subject, Tuning, UpdateRule};
use serde::{Deserialize, Serialize};

use crate::record::roofline::{Ceilings, Roofline};
use crate::record::{Held, is_one_rank, one_rank};
use crate::units::{counted, grouped};

/// Everything required to judge and to repeat the measurements of a folder.
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
    /// Its ceilings, one entry a measurement; empty where they were not measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rooflines: Vec<Roofline>,
    /// Fingerprint of the program's file, which differs between builds of one version; absent if the file cannot be
    /// read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Changes by later sessions of the sweep, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// What one `--resume` changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Its command, program first.
    pub command: Vec<String>,
    /// Number of records that it kept. The lines after these are its own, or of a later session.
    pub records: usize,
    /// Changed limits with the old and the new value, a phrase each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// Differences of the program or the machine from the sweep's start, a phrase each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mixed: Vec<String>,
}

impl Run {
    /// Where the sweep continued with another program or on another machine, one sentence each.
    pub fn mixtures(&self) -> impl Iterator<Item = String> {
        self.changes.iter().filter(|change| !change.mixed.is_empty()).map(|change| {
            format!(
                "After {} records the sweep continued with another program or machine ({}); later cells are not fully \
                 comparable.",
                change.records,
                change.mixed.join("; ")
            )
        })
    }

    /// The ceilings of `device`, where they were measured.
    pub fn roofline(&self, device: DeviceKind) -> Option<Ceilings<'_>> {
        Ceilings::of(device, &self.rooflines)
    }
}

/// The settings of a sweep: with these, `--resume` rebuilds the same cells in the same order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Data dimensions D, ascending.
    pub dims: Vec<usize>,
    /// Methods, in the order figures list them.
    pub methods: Vec<Method>,
    /// Devices.
    pub devices: Vec<DeviceKind>,
    /// Batch size N: the one that figures against D show.
    pub batch: usize,
    /// Further batch sizes of the sweep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_batches: Vec<usize>,
    /// Number of layers L: the one that figures against D show.
    pub layers: usize,
    /// Further numbers of layers of the sweep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_layers: Vec<usize>,
    /// Type of the numbers.
    pub dtype: Dtype,
    /// Whether the layers have biases.
    pub bias: bool,
    /// Nonlinearity.
    pub activation: Activation,
    /// CPU threads: as many as figures against D show.
    pub threads: usize,
    /// Further numbers of threads of the sweep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_threads: Vec<usize>,
    /// Ranks over which the weights are split: as many as figures against D show; absent for 1.
    #[serde(default = "one_rank", skip_serializing_if = "is_one_rank")]
    pub ranks: usize,
    /// Further numbers of ranks of the sweep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_ranks: Vec<usize>,
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
    /// What the layers convolve; absent for dense layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convolution: Option<Convolution>,
    /// Device bytes that one cell on a GPU may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_memory_limit_bytes: Option<u64>,
    /// Arithmetic of matrix products: `f32`, `f64`, `tf32` on a GPU or `bf16` on a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub math: Option<Math>,
    /// The update that every evaluation makes; absent where gradients alone are measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateRule>,
    /// Numbers of methods that approximate, where they are not their own.
    #[serde(default, skip_serializing_if = "Tuning::is_default")]
    pub tuning: Tuning,
    /// The part of the plan that this sweep is; absent for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
}

/// One of `of` parts of a plan, which together are the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shard {
    /// Which, from 1.
    pub index: usize,
    /// Number of parts.
    pub of: usize,
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((index, of)) if 1 <= index && index <= of => Ok(Self { index, of }),
            _ => Err(format!("`{text}` is no part: write 2/5 for the second of five")),
        }
    }
}

/// A sweep over the grid of convolution layers: D = channels · points takes the values in [`Settings::dims`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Convolution {
    /// Channels c, the same for every grid.
    pub channels: usize,
    /// Taps of the kernel along each axis; absent for a kernel with every tap of its grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<[usize; 2]>,
    /// Rows and columns of each grid, by ascending number of points; a 1-D grid has one row.
    pub grids: Vec<[usize; 2]>,
}

impl Convolution {
    /// The layers without their grids, as in the names of benchmarks: `conv-c2`, `conv-c2-k3x3`.
    pub fn describe_layers(&self) -> String {
        let kernel = self.kernel.map_or(String::new(), |[rows, cols]| format!("-k{rows}x{cols}"));
        format!("conv-c{}{kernel}", self.channels)
    }

    /// The layers of one place of the axis: `conv-c2`, and with the rows and columns of a 2-D grid `conv-c2-8x8`.
    pub(crate) fn describe_layers_at(&self, dim: usize) -> String {
        let of_dim = |grid: &&[usize; 2]| self.channels * grid[0] * grid[1] == dim;
        match self.grids.iter().find(of_dim) {
            Some([rows, cols]) if *rows > 1 => format!("{}-{rows}x{cols}", self.describe_layers()),
            _ => self.describe_layers(),
        }
    }

    /// What the layers are, in a phrase.
    pub fn describe(&self) -> String {
        let size = |[rows, cols]: [usize; 2]| match rows {
            1 => cols.to_string(),
            _ => format!("{rows}×{cols}"),
        };
        let kernels = match self.kernel {
            None => "kernels with every tap".to_string(),
            Some([rows, cols]) => format!("kernels of {rows}×{cols} taps"),
        };
        let channels = if self.channels == 1 { "1 channel".into() } else { format!("{} channels", self.channels) };
        let grids = match self.grids.as_slice() {
            [] => String::new(),
            [one] => format!(" on {} points", size(*one)),
            [first, .., last] => format!(" on {} to {} points", size(*first), size(*last)),
        };
        format!("convolutions of {channels}{grids}, {kernels}")
    }
}

/// The name of a method's cells in other programs and stores: `relative/cpu/f32/threads=2/smooth:0.3`. It has every
/// setting that changes the time, so cells with equal names are comparable.
pub(crate) fn name(
    (method, device, arithmetic): (Subject, DeviceKind, Math),
    (threads, ranks, bias): (Option<usize>, usize, Option<bool>),
    activation: Option<Activation>,
    convolution: Option<&str>,
) -> String {
    let mut name = format!("{method}/{device}/{arithmetic}");
    name.extend(threads.map(|threads| format!("/threads={threads}")));
    name.extend((ranks > 1).then(|| format!("/ranks={ranks}")));
    name.extend(bias.filter(|bias| *bias).map(|_| "/bias"));
    name.extend(activation.map(|activation| format!("/{activation}")));
    name.extend(convolution.map(|words| format!("/{words}")));
    name
}

/// The name of a cell, from that of its method's: `…/N=100/L=2/D=1000`.
pub(crate) fn at(name: &str, batch: usize, layers: usize, dim: usize) -> String {
    format!("{name}/N={batch}/L={layers}/D={dim}")
}

impl Settings {
    /// The plan: what says which cells there are, without limits and rounds, which differ between its parts and runs.
    pub fn plan(&self) -> Self {
        Self {
            rounds: 1,
            min_samples: 0,
            budget_seconds: None,
            cell_limit_seconds: None,
            memory_limit_bytes: 0,
            device_memory_limit_bytes: None,
            shard: None,
            ..self.clone()
        }
    }

    /// A name of the plan: equal plans have equal names.
    pub fn plan_name(&self) -> String {
        let text = serde_json::to_string(&self.plan()).unwrap_or_default();
        format!("{:08x}", crc32fast::hash(text.as_bytes()))
    }

    /// The arithmetic of matrix products on a device: it says more than the type of the numbers, since f32, tf32 and
    /// bf16 all multiply f32 numbers. A device that does not know the one that was asked for has that of the numbers.
    pub fn arithmetic(&self, device: DeviceKind) -> Math {
        self.math.filter(|math| math.is_known_to(device)).unwrap_or(Math::of(self.dtype))
    }

    /// The [`name`] of a method's cells on a device, on so many threads and ranks, at one D or of all.
    pub(crate) fn name(&self, (method, device): (Subject, DeviceKind), held: Held, dim: Option<usize>) -> String {
        let layers = |c: &Convolution| dim.map_or_else(|| c.describe_layers(), |dim| c.describe_layers_at(dim));
        let convolution = self.convolution.as_ref().map(layers);
        let of = (method, device, self.arithmetic(device));
        name(of, (Some(held.threads), held.ranks, Some(self.bias)), Some(self.activation), convolution.as_deref())
    }

    /// Every batch size N, that of the figures first.
    pub fn batches(&self) -> impl Iterator<Item = usize> {
        [self.batch].into_iter().chain(self.other_batches.iter().copied())
    }

    /// Every number of layers L, that of the figures first.
    pub fn layer_counts(&self) -> impl Iterator<Item = usize> {
        [self.layers].into_iter().chain(self.other_layers.iter().copied())
    }

    /// Every number of threads, that of the figures first.
    pub fn thread_counts(&self) -> impl Iterator<Item = usize> {
        [self.threads].into_iter().chain(self.other_threads.iter().copied())
    }

    /// Every number of ranks, that of the figures first.
    pub fn rank_counts(&self) -> impl Iterator<Item = usize> {
        [self.ranks].into_iter().chain(self.other_ranks.iter().copied())
    }

    /// The numbers of threads in words: `2 threads`, `1, 2, 4 threads`.
    pub fn threads_in_words(&self) -> String {
        let counts: Vec<String> = self.thread_counts().map(grouped).collect();
        match counts.as_slice() {
            [_] => counted(self.threads, "thread"),
            counts => format!("{} threads", counts.join(", ")),
        }
    }

    /// The most threads of a cell.
    pub fn most_threads(&self) -> usize {
        self.thread_counts().fold(self.threads, usize::max)
    }

    /// What figures against D hold fixed.
    pub fn held(&self) -> Held {
        let Self { batch, layers, threads, ranks, .. } = *self;
        Held { batch, layers, threads, ranks }
    }

    /// What distinguishes a series from the others of the run: `, N = 10` if the run has several batch sizes or a
    /// different one, and likewise L, the number of threads and that of ranks. Empty without a difference.
    pub(crate) fn apart(&self, Held { batch, layers, threads, ranks }: Held) -> String {
        let mut text = String::new();
        if self.batches().any(|other| other != batch) {
            text += &format!(", N = {}", grouped(batch));
        }
        if self.layer_counts().any(|other| other != layers) {
            text += &format!(", L = {}", grouped(layers));
        }
        if self.thread_counts().any(|other| other != threads) {
            text += &format!(", {}", counted(threads, "thread"));
        }
        if self.rank_counts().any(|other| other != ranks) {
            text += &format!(", {}", counted(ranks, "rank"));
        }
        text
    }
}

/// Facts about the machine; `None` or empty where unknown.
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

impl Machine {
    /// The facts on which absolute times depend, in one line. Seconds are comparable between machines with the same
    /// fingerprint.
    pub fn fingerprint(&self) -> String {
        format!("{}, {} logical cores, {}, {}", self.cpu, self.logical_cores, self.simd, self.caches.join("; "))
    }
}
