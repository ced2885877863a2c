//! Predictions: the conditional expectation of y, and an interval for a further measurement.

use std::collections::BTreeSet;

use relgrad_vocabulary::DeviceKind;

use super::cell::{machine_name, model_seconds};
use super::cholesky::Cholesky;
use super::covariance::{Located, Variances};
use super::{Atlas, AtlasCell};
use crate::record::roofline::Roofline;
use crate::record::run::Machine;
use crate::record::{Cell, Model};
use crate::statistics::student::{Part, Parts, pooled_975};
use crate::statistics::summary::Estimate;

/// A cell that was measured on the machine that is predicted.
#[derive(Debug, Clone, PartialEq)]
pub struct Anchor {
    /// The cell.
    pub cell: Cell,
    /// Its cost.
    pub model: Model,
    /// Median seconds of one evaluation, process by process.
    pub seconds: Vec<f64>,
}

/// An atlas applied to one machine.
#[derive(Debug, Clone)]
pub struct Predictor {
    conditioned: Conditioned,
    rooflines: Vec<Roofline>,
    /// Place of the machine, as a CPU and as a GPU.
    places: [usize; 2],
    /// Whether the atlas has cells of it.
    is_known: bool,
}

impl Predictor {
    /// For a machine with these ceilings, of which some cells may have been measured.
    ///
    /// # Errors
    /// When the numbers of the atlas contradict each other.
    pub fn new(atlas: &Atlas, machine: &Machine, rooflines: Vec<Roofline>, anchors: &[Anchor]) -> Result<Self, String> {
        let known = DeviceKind::ALL.map(|device| {
            let name = machine_name(machine, device);
            atlas.machines.iter().position(|known| *known == name)
        });
        let [cpu, cuda] = known;
        let further = atlas.machines.len();
        let places = [cpu.unwrap_or(further), cuda.unwrap_or(further + 1)];
        let here = anchors.iter().filter_map(|anchor| {
            let cell = AtlasCell::of(&anchor.cell)?;
            let processes = anchor.seconds.len();
            let log_seconds = anchor.seconds.iter().map(|seconds| seconds.ln()).sum::<f64>() / processes as f64;
            let log_ratio = log_seconds - model_seconds(&rooflines, &cell, &anchor.model)?.ln();
            log_ratio.is_finite().then(|| (place(places, cell.series.device), cell, log_ratio, processes))
        });
        let conditioned = Conditioned::of(atlas.variances, atlas.cells(), here)
            .ok_or("the numbers of the atlas contradict each other: fit it again")?;
        Ok(Self { conditioned, rooflines, places, is_known: known.iter().any(Option::is_some) })
    }

    /// Whether the atlas has cells of this machine.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// Seconds of one evaluation, with the interval in which the mean of so many processes lies with 95 % probability.
    ///
    /// `None` for a cell that the atlas leaves out, without its ceilings, and where the atlas has no machine with such
    /// a device.
    pub fn seconds(&self, cell: &Cell, model: &Model, processes: usize) -> Option<Estimate> {
        let cell = AtlasCell::of(cell)?;
        let model_seconds = model_seconds(&self.rooflines, &cell, model)?;
        let located = Located::new(place(self.places, cell.series.device), cell);
        let log_ratio = self.conditioned.estimate(&located, processes)?;
        Some(log_ratio.map(|y| model_seconds * y.exp()))
    }

    /// The expectation alone, also of a kind of device that the atlas does not know: then that of the ceilings.
    pub fn expected_seconds(&self, cell: &Cell, model: &Model) -> Option<f64> {
        let cell = AtlasCell::of(cell)?;
        let model_seconds = model_seconds(&self.rooflines, &cell, model)?;
        let (log_ratio, _) = self.conditioned.at(&Located::new(place(self.places, cell.series.device), cell));
        Some(model_seconds * log_ratio.exp())
    }
}

fn place(places: [usize; 2], device: DeviceKind) -> usize {
    match device {
        DeviceKind::Cpu => places[0],
        DeviceKind::Cuda => places[1],
    }
}

/// The Gaussian of all y, given some of them.
#[derive(Debug, Clone)]
pub(super) struct Conditioned {
    variances: Variances,
    places: Vec<Located>,
    factor: Cholesky,
    /// K⁻¹ y.
    weights: Vec<f64>,
    degrees: Degrees,
}

/// A cell on a machine, with y and the processes behind it.
pub(super) type Known = (usize, AtlasCell, f64, usize);

impl Conditioned {
    /// Given the cells that the variances follow from, and further ones; `None` where the numbers contradict each
    /// other.
    pub(super) fn of(
        variances: Variances,
        fitted: impl IntoIterator<Item = Known>,
        further: impl IntoIterator<Item = Known>,
    ) -> Option<Self> {
        let mut known: Vec<Known> = fitted.into_iter().collect();
        let degrees = Degrees::of(&known);
        known.extend(further);
        let places: Vec<Located> = known.iter().map(|(machine, cell, ..)| Located::new(*machine, *cell)).collect();
        let entry = |i: usize, j: usize| {
            let noise = if i == j { variances.noise(known[i].3) } else { 0.0 };
            variances.covariance(&places[i], &places[j]) + noise
        };
        let factor = Cholesky::of(places.len(), entry)?;
        let weights = factor.solve(known.iter().map(|(_, _, log_ratio, _)| *log_ratio).collect());
        Some(Self { variances, places, factor, weights, degrees })
    }

    /// Expectation and variance of the functions at a place.
    pub(super) fn at(&self, at: &Located) -> (f64, f64) {
        let covariances: Vec<f64> = self.places.iter().map(|place| self.variances.covariance(place, at)).collect();
        let mean: f64 = covariances.iter().zip(&self.weights).map(|(covariance, weight)| covariance * weight).sum();
        let explained: f64 = self.factor.forward(covariances).iter().map(|z| z * z).sum();
        let prior = self.variances.covariance(at, at);
        (mean, (prior - explained).max(1e-6 * prior))
    }

    /// y of a mean over so many processes, with its interval; `None` without a machine with such a device.
    pub(super) fn estimate(&self, at: &Located, processes: usize) -> Option<Estimate> {
        if !self.places.iter().any(|place| place.cell.series.device == at.cell.series.device) {
            return None;
        }
        let (mean, variance) = self.at(at);
        let noise = self.variances.noise(processes);
        let [machine, method] = self.variances.between();
        let share = machine / (machine + method);
        let Degrees { machines, methods, cells } = self.degrees;
        let parts = [(variance * share, machines), (variance * (1.0 - share), methods), (noise, cells)];
        let parts = parts.map(|(share, degrees)| Part { share, degrees });
        let reach = pooled_975(&parts, Parts::Independent) * (variance + noise).sqrt();
        Some(Estimate::within(mean, reach))
    }
}

/// Degrees of freedom of the variances: between machines, between methods on machines, between cells.
#[derive(Debug, Clone, Copy)]
struct Degrees {
    machines: f64,
    methods: f64,
    cells: f64,
}

impl Degrees {
    /// As in an analysis of variance of each kind of device: M − 1, (M − 1)(methods − 1) where every machine has every
    /// method, and the cells beyond the pairs of both.
    fn of(known: &[Known]) -> Self {
        let kinds: BTreeSet<_> = known.iter().map(|(_, cell, ..)| cell.series.device).collect();
        let machines: BTreeSet<_> = known.iter().map(|(machine, ..)| machine).collect();
        let methods: BTreeSet<_> = known.iter().map(|(_, cell, ..)| (cell.series.device, cell.series.method)).collect();
        let pairs: BTreeSet<_> = known.iter().map(|(machine, cell, ..)| (machine, cell.series.method)).collect();
        let [kinds, machines, methods, pairs] = [kinds.len(), machines.len(), methods.len(), pairs.len()];
        let at_least_one = |degrees: usize| degrees.max(1) as f64;
        Self {
            machines: at_least_one(machines.saturating_sub(kinds)),
            methods: at_least_one((pairs + kinds).saturating_sub(machines + methods)),
            cells: at_least_one(known.len().saturating_sub(pairs)),
        }
    }
}
