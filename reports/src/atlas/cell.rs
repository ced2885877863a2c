//! What the model knows of a cell, and the time that the ceilings of a machine give it.

use relgrad_vocabulary::{DeviceKind, Math, Method, excerpt};
use serde::{Deserialize, Serialize};

use crate::merge;
use crate::record::roofline::{Ceilings, Roofline};
use crate::record::run::Machine;
use crate::record::{Cell, Model, Point};

/// Dense cells that differ in D alone. Bias, activation and seed are left out: they change a time by less than the
/// model can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AtlasSeries {
    /// The method.
    pub method: Method,
    /// The device.
    pub device: DeviceKind,
    /// Arithmetic of matrix products.
    pub math: Math,
    /// CPU threads.
    pub threads: usize,
    /// Batch size N.
    pub batch: usize,
    /// Number of layers L.
    pub layers: usize,
}

/// A dense cell without its round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AtlasCell {
    /// Everything but D.
    pub series: AtlasSeries,
    /// Data dimension D.
    pub dim: usize,
}

impl AtlasCell {
    /// That of a record; `None` for what the atlas leaves out: a calibration kernel, a convolution, a whole update,
    /// several ranks, and a method with other numbers than its own.
    pub fn of(cell: &Cell) -> Option<Self> {
        let Point { device, dim, batch, layers, threads, convolution, update, ranks, tuning, .. } = cell.point;
        let math = cell.point.arithmetic();
        let is_plain = convolution.is_none() && update.is_none() && ranks == 1 && tuning.is_default();
        let of_method = |method| Self { series: AtlasSeries { method, device, math, threads, batch, layers }, dim };
        cell.method.method().filter(|_| is_plain).map(of_method)
    }

    /// (ln D, ln N, ln L, ln threads, ln bits of a factor of a product). The host's threads do not matter to a GPU.
    pub(super) fn coordinates(&self) -> [f64; 5] {
        let AtlasSeries { device, math, threads, batch, layers, .. } = self.series;
        let threads = if device == DeviceKind::Cuda { 1 } else { threads };
        let bits = match math {
            Math::F64 => 64.0,
            Math::F32 => 32.0,
            Math::Tf32 => 19.0,
            Math::Bf16 => 16.0_f64,
        };
        let ln = |count: usize| (count.max(1) as f64).ln();
        [ln(self.dim), ln(batch), ln(layers), ln(threads), bits.ln()]
    }
}

/// t₀: flops / rate + bytes / bandwidth, in seconds, at the best ceilings of the device; `None` where they were not
/// measured for this arithmetic and number of threads.
pub(super) fn model_seconds(rooflines: &[Roofline], cell: &AtlasCell, model: &Model) -> Option<f64> {
    let AtlasSeries { device, math, threads, .. } = cell.series;
    let ceilings = Ceilings::of(device, rooflines)?;
    let rate = ceilings.peak_flops_per_second(math, threads)?;
    let bandwidth = ceilings.peak_bytes_per_second(threads)?;
    let seconds = model.flops / rate + model.min_traffic_bytes / bandwidth;
    Some(seconds).filter(|seconds| seconds.is_finite() && *seconds > 0.0)
}

/// What tells a machine from others: the GPU with its memory; or the CPU, its instruction set, the cores that may be
/// used, and its last cache, since processors of several generations have one name. Machines that differ in nothing of
/// this are one machine.
pub fn machine_name(machine: &Machine, device: DeviceKind) -> String {
    let first = |text: &str, parts: usize, separator: char| {
        let words = text.split(separator).map(str::trim).filter(|part| !part.is_empty());
        words.take(parts).collect::<Vec<&str>>().join(if separator == ',' { ", " } else { " " })
    };
    let name = match device {
        DeviceKind::Cuda => machine.gpus.first().map_or("a GPU".to_string(), |gpu| first(gpu, 2, ',')),
        DeviceKind::Cpu => {
            let cache = machine.caches.last().map_or(String::new(), |cache| format!(", {}", first(cache, 2, ' ')));
            let cores = crate::units::counted(machine.logical_cores, "core");
            format!("{}, {}, {cores}{cache}", merge::short(&machine.cpu), machine.simd)
        }
    };
    excerpt(&name, 100)
}
