//! The ceilings of a machine, as measured: how fast it multiplies, how fast it moves memory, what a parallel region
//! costs.
//!
//! The roofline model (Williams, Waterman and Patterson, CACM 52(4), 2009) bounds a computation of F operations that
//! must move B bytes: its time is at least max(F / rate, B / bandwidth). `relgrad sweep` measures rate and bandwidth on
//! the machine, through the same operations as the gradients use, and keeps them in `run.json`, so that a report can
//! say which fraction of its ceiling a cell reaches.

use relgrad_vocabulary::{DeviceKind, Math};
use serde::{Deserialize, Serialize};

use crate::record::{Model, State};
use crate::statistics::summary::Estimate;

/// What was measured on one device in one process. Every entry keeps its raw samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// Where.
    pub device: DeviceKind,
    /// Whether this is the short form that a sweep takes: fewer sizes, fewer and shorter samples.
    pub quick: bool,
    /// Start, RFC 3339 in UTC.
    pub started: String,
    /// Wall-clock seconds that measuring took.
    pub wall_seconds: f64,
    /// Rates of arithmetic: products and inverses.
    pub rates: Vec<Rate>,
    /// Bandwidths of streaming through memory, in arrays too large for any cache.
    pub bandwidths: Vec<Bandwidth>,
    /// Costs of an empty parallel region.
    pub regions: Vec<Region>,
    /// The machine meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
}

/// Every measurement of a device's ceilings in a run. The best counts: what disturbs one only lowers it.
#[derive(Debug, Clone, Copy)]
pub struct Ceilings<'a> {
    device: DeviceKind,
    all: &'a [Roofline],
}

/// An arithmetic operation whose rate is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// C ← A B, all D×D. Its rate is the ceiling of every method.
    SquareProduct,
    /// Y ← W Z, W (D×D), Z (D×N): the forward pass.
    ForwardProduct,
    /// \[U | V\] ← Wᵀ \[Y | δ\], D×2N: the backward pass.
    PullBackProduct,
    /// W ← βW + α δ Uᵀ in place, D×D from two D×N: the update.
    OuterProduct,
    /// A⁻ᵀ of a D×D matrix by LU with partial pivoting, 2D³ operations.
    Inverse,
    /// One that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Operation {
    /// What it computes, in a phrase.
    pub fn description(self) -> &'static str {
        match self {
            Self::SquareProduct => "square product A B",
            Self::ForwardProduct => "forward product W Z",
            Self::PullBackProduct => "pull-back product Wᵀ[Y | δ]",
            Self::OuterProduct => "outer product W + δUᵀ, in place",
            Self::Inverse => "LU and inverse",
            Self::Unknown => "unknown operation",
        }
    }
}

/// The rate of one operation at one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The operation.
    pub operation: Operation,
    /// The arithmetic; the file calls it `dtype`.
    #[serde(rename = "dtype")]
    pub math: Math,
    /// Threads that it may use; on a GPU, those that the sweep gives the host's part.
    pub threads: usize,
    /// Dimension D.
    pub dim: usize,
    /// Batch size N, for the products that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Floating-point operations of one evaluation; a multiply-add counts 2.
    pub flops: f64,
    /// Raw samples: seconds of one evaluation each, in the order taken.
    pub seconds: Vec<f64>,
    /// Evaluations that each sample averages.
    pub evaluations_per_sample: u64,
    /// `flops` over the median of `seconds`.
    pub flops_per_second: f64,
}

/// A way to stream through memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Reads an array once.
    Read,
    /// Copies an array to another that is resident; the bytes read and the bytes written both count.
    Copy,
    /// One that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Stream {
    /// What it does, in a phrase.
    pub fn description(self) -> &'static str {
        match self {
            Self::Read => "streaming read",
            Self::Copy => "streaming copy",
            Self::Unknown => "unknown stream",
        }
    }
}

/// The bandwidth of one way to stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// The way.
    pub stream: Stream,
    /// Threads that share the array.
    pub threads: usize,
    /// Bytes of one array.
    pub array_bytes: f64,
    /// Bytes that one pass moves.
    pub bytes: f64,
    /// Raw samples: seconds of one pass each, in the order taken.
    pub seconds: Vec<f64>,
    /// Passes that each sample averages.
    pub evaluations_per_sample: u64,
    /// `bytes` over the median of `seconds`.
    pub bytes_per_second: f64,
}

/// The cost of asking every thread to do nothing, and waiting for all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// Threads that take part, the calling one included.
    pub threads: usize,
    /// Raw samples: seconds of one region each, in the order taken.
    pub seconds: Vec<f64>,
    /// Regions that each sample averages.
    pub evaluations_per_sample: u64,
    /// Median of `seconds`.
    pub median_seconds: f64,
}

/// What bounds a cell's time from below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Operations over the rate.
    Compute,
    /// Bytes over the bandwidth.
    Bandwidth,
}

impl Bound {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Bandwidth => "bandwidth",
        }
    }
}

/// The least time of a cell on its machine, and the fraction of the ceiling that it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// max(flops / rate, bytes / bandwidth).
    pub seconds: f64,
    /// Which of the two it is.
    pub bound: Bound,
    /// `seconds` over the cell's time, with the interval that the time has. 1 is the ceiling itself.
    pub fraction: Estimate,
}

impl Ceiling {
    /// Whether the cell is faster than its ceiling by more than noise, so that the ceiling is none: it was measured on
    /// a slower machine. Not for bandwidth, since parameters that fit into a cache have a higher one.
    pub fn is_exceeded(&self) -> bool {
        const NOISE: f64 = 0.05;
        self.bound == Bound::Compute && self.fraction.value > 1.0 + NOISE
    }
}

impl Rate {
    /// `flops` over the fastest of `seconds`, in FLOP/s: what the machine does when nothing disturbs it. The median
    /// where there are no samples.
    pub fn best_flops_per_second(&self) -> f64 {
        fastest(&self.seconds).map_or(self.flops_per_second, |seconds| self.flops / seconds)
    }
}

impl Bandwidth {
    /// `bytes` over the fastest of `seconds`, in bytes/s. The median where there are no samples.
    pub fn best_bytes_per_second(&self) -> f64 {
        fastest(&self.seconds).map_or(self.bytes_per_second, |seconds| self.bytes / seconds)
    }
}

fn fastest(seconds: &[f64]) -> Option<f64> {
    seconds.iter().copied().filter(|seconds| *seconds > 0.0).reduce(f64::min)
}

impl Roofline {
    /// The rate that bounds arithmetic in `math` on `threads` threads: the fastest sample of a square product over the
    /// sizes measured.
    ///
    /// The fastest, not the median: whatever disturbs the machine while its ceilings are measured only lowers a rate,
    /// and a ceiling that was lowered is none.
    /// Deliberately not the rate of the skinny products that a method happens to use: those are part of what is judged.
    pub fn peak_flops_per_second(&self, math: Math, threads: usize) -> Option<f64> {
        self.rates
            .iter()
            .filter(|r| r.operation == Operation::SquareProduct && r.math == math && r.threads == threads)
            .map(Rate::best_flops_per_second)
            .reduce(f64::max)
    }

    /// The bandwidth that bounds traffic on `threads` threads: the fastest sample of the best way to stream.
    pub fn peak_bytes_per_second(&self, threads: usize) -> Option<f64> {
        let of_threads = self.bandwidths.iter().filter(|b| b.threads == threads);
        of_threads.map(Bandwidth::best_bytes_per_second).reduce(f64::max)
    }
}

impl<'a> Ceilings<'a> {
    /// Those among `all` that were measured on `device`; `None` where there is none.
    pub(crate) fn of(device: DeviceKind, all: &'a [Roofline]) -> Option<Self> {
        all.iter().any(|roofline| roofline.device == device).then_some(Self { device, all })
    }

    fn best(self, peak: impl Fn(&Roofline) -> Option<f64>) -> Option<f64> {
        self.all.iter().filter(|roofline| roofline.device == self.device).filter_map(peak).reduce(f64::max)
    }

    /// [`Roofline::peak_flops_per_second`], the best of all.
    pub fn peak_flops_per_second(self, math: Math, threads: usize) -> Option<f64> {
        self.best(|roofline| roofline.peak_flops_per_second(math, threads))
    }

    /// [`Roofline::peak_bytes_per_second`], the best of all.
    pub fn peak_bytes_per_second(self, threads: usize) -> Option<f64> {
        self.best(|roofline| roofline.peak_bytes_per_second(threads))
    }

    /// The least time of a cell of this cost, and what fraction of it `seconds` reaches.
    ///
    /// `None` where nothing was measured at this number type and count of threads.
    pub fn ceiling(self, model: &Model, math: Math, threads: usize, seconds: &Estimate) -> Option<Ceiling> {
        let compute = model.flops / self.peak_flops_per_second(math, threads)?;
        let traffic = model.min_traffic_bytes / self.peak_bytes_per_second(threads)?;
        let (least, bound) = if compute >= traffic { (compute, Bound::Compute) } else { (traffic, Bound::Bandwidth) };
        let fraction = Estimate { value: least / seconds.value, low: least / seconds.high, high: least / seconds.low };
        Some(Ceiling { seconds: least, bound, fraction })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn model(flops: f64, min_traffic_bytes: f64) -> Model {
        Model { flops, min_bytes: 0.0, min_traffic_bytes }
    }

    #[test]
    fn the_ceiling_is_the_larger_of_the_two_times() {
        let all = [fixture::roofline()];
        let ceilings = Ceilings::of(DeviceKind::Cpu, &all).unwrap();
        let (rate, bandwidth) = (100e9, 40e9);
        let time = Estimate { value: 2.0, low: 1.6, high: 2.5 };
        let compute = ceilings.ceiling(&model(rate, 0.5 * bandwidth), Math::F32, 2, &time).unwrap();
        assert_eq!((compute.seconds, compute.bound), (1.0, Bound::Compute));
        assert_eq!(compute.fraction, Estimate { value: 0.5, low: 0.4, high: 0.625 });
        let traffic = ceilings.ceiling(&model(rate, 1.5 * bandwidth), Math::F32, 2, &time).unwrap();
        assert_eq!((traffic.seconds, traffic.bound), (1.5, Bound::Bandwidth));
    }

    #[test]
    fn the_rate_is_that_of_the_best_square_product_of_the_same_kind() {
        let roofline = fixture::roofline();
        assert_eq!(roofline.peak_flops_per_second(Math::F32, 2), Some(100e9));
        assert_eq!(roofline.peak_flops_per_second(Math::F32, 1), Some(50e9));
        assert_eq!(roofline.peak_flops_per_second(Math::F64, 2), None);
        assert_eq!(roofline.peak_bytes_per_second(2), Some(40e9));
        let mut faster = roofline.clone();
        faster.rates.iter_mut().flat_map(|rate| &mut rate.seconds).for_each(|seconds| *seconds /= 2.0);
        let all = [roofline, faster];
        let ceilings = Ceilings::of(DeviceKind::Cpu, &all).unwrap();
        assert_eq!(ceilings.peak_flops_per_second(Math::F32, 2), Some(200e9), "the best of all measurements");
        let time = Estimate { value: 1.0, low: 1.0, high: 1.0 };
        assert_eq!(ceilings.ceiling(&model(1.0, 1.0), Math::F64, 2, &time), None);
        assert!(Ceilings::of(DeviceKind::Cuda, &all).is_none());
    }

    /// A machine that is busy with something else in all samples but one has the ceilings that the one found.
    #[test]
    fn a_disturbed_machine_has_the_ceilings_of_its_fastest_samples() {
        let quiet = fixture::roofline();
        let mut disturbed = quiet.clone();
        for rate in &mut disturbed.rates {
            rate.seconds.iter_mut().skip(1).for_each(|seconds| *seconds *= 2.0);
            rate.flops_per_second /= 2.0;
        }
        for bandwidth in &mut disturbed.bandwidths {
            bandwidth.seconds.iter_mut().skip(1).for_each(|seconds| *seconds *= 2.0);
            bandwidth.bytes_per_second /= 2.0;
        }
        for threads in [1, 2] {
            let peaks = |r: &Roofline| (r.peak_flops_per_second(Math::F32, threads), r.peak_bytes_per_second(threads));
            assert_eq!(peaks(&disturbed), peaks(&quiet));
        }
        disturbed.rates.iter_mut().for_each(|rate| rate.seconds.clear());
        assert_eq!(disturbed.peak_flops_per_second(Math::F32, 2), Some(50e9));
    }

    /// A sweep of a newer relgrad may have measured more than this one knows.
    #[test]
    fn an_unknown_operation_reads_as_unknown_and_bounds_nothing() {
        let text = serde_json::to_string(&fixture::roofline()).unwrap();
        assert_eq!(serde_json::from_str::<Roofline>(&text).unwrap(), fixture::roofline());
        let newer = text.replace("square-product", "sparse-product").replace("\"read\"", "\"scatter\"");
        let read: Roofline = serde_json::from_str(&newer).unwrap();
        assert_eq!(read.rates[0].operation, Operation::Unknown);
        assert_eq!(read.peak_flops_per_second(Math::F32, 2), None);
    }
}
