//! Steps with an inverse that is learned beside the weight: the self-normalising gradient (MATH.md §26).
//!
//! Keller et al., *Self Normalizing Flows*, ICML 2021.

use nalgebra::DMatrix;

use super::Stateful;
use super::checking::{Move, Multiplier, Passed, gentle, mean_column, probe, wide};
use crate::Tuning;
use crate::check::{Check, tolerance, worst};
use crate::device::{Addend, Device, Matrix, MatrixRef};
use crate::elementwise::reference as scalar;
use crate::error::{Error, Result};
use crate::forward::ValuesWorkspace;
use crate::init::{Signs, normals};
use crate::layer::{Dense, LuFactors};
use crate::parameters::{Batch, Parameters};
use crate::scalar::Scalar;
use crate::step::StepReport;

/// How strongly the inverses are held to the weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constraint {
    /// ‖Z − RWZ‖_F/‖Z‖_F that a layer is held to; for inputs of one size in all directions that is ‖I − RW‖_F/√D.
    pub error: f64,
    /// η: λ ← λ exp(η(Ē/E* − 1)) a step, as long as the step is stable; with 0 it stays as it is.
    pub gain: f64,
    /// λ of the first step.
    pub weight: f64,
}

impl Default for Constraint {
    fn default() -> Self {
        Self { error: 0.02, gain: 0.1, weight: 1.0 }
    }
}

impl Constraint {
    /// With the error that `tuning` has.
    pub fn tuned(tuning: Tuning) -> Self {
        let default = Self::default();
        Self { error: tuning.tolerance.unwrap_or(default.error), ..default }
    }
}

/// Share of the past in the running mean Ē.
const MEMORY: f64 = 0.9;
/// A step changes λ by this factor at most.
const MOST_CHANGE: f64 = 1.5;
/// λ stays within this factor of 1, whatever the constraint wants.
const MOST_WEIGHT: f64 = 1e6;
/// Of the bound μλ λ_max(C)(‖W‖² + ‖R‖²) < 1 beyond which the inverse diverges.
const STABLE: f64 = 0.5;
/// Steps for which the norms of that bound serve.
const NORMS_SERVE: u64 = 64;
/// Iterations for a norm.
const POWERS: usize = 8;
/// Probes for ‖RW − I‖_F.
const PROBES: usize = 8;
/// Any seed that the networks of a study do not use.
const SEED: u64 = 0x6e6f_726d_0000;

/// ΔW = ½Rᵀ + (1/N)(½δ + 2λRᵀQ)Zᵀ, ΔR = −½Wᵀ + (1/N)(−½V + 2λQ)Y_0ᵀ, Δb = (1/N)δ1 with Y_0 = WZ, Q = Z − RY_0,
/// V = Wᵀδ \[M46\]: half of the likelihood written in W, half in R⁻¹, less λE of E = ‖Q‖_F²/N.
pub struct SelfNormalizing<D: Device<T>, T: Scalar> {
    values: ValuesWorkspace<D, T, Dense>,
    /// Rᵀ of every layer, so that it and W are added to one another as they stand.
    transposed: Vec<Matrix<D, T>>,
    /// Q, then −½V + 2λQ; D×N.
    residual: Matrix<D, T>,
    /// N×1.
    ones: Matrix<D, T>,
    constraint: Constraint,
    layers: Vec<Held>,
    norms: Norms<D, T>,
    steps: u64,
    report: StepReport,
}

/// The constraint of one layer.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// λ as the constraint wants it, and as the last step had it.
    weight: f64,
    used: f64,
    /// E of the last batch, and the running mean of E over ‖Z‖_F²/N.
    loss: f64,
    mean: Option<f64>,
    /// λ_max(C)(‖W‖² + ‖R‖²).
    stiffness: f64,
}

/// Vectors for power iterations.
struct Norms<D: Device<T>, T: Scalar> {
    /// D×1, D×1, N×1.
    vectors: [Matrix<D, T>; 3],
    start: Vec<T>,
    host: Vec<T>,
}

impl Held {
    /// λ of a step.
    fn hold(&mut self, constraint: &Constraint, mu: f64) {
        let most = if constraint.gain > 0.0 { STABLE / (mu * self.stiffness) } else { f64::INFINITY };
        self.used = self.weight.min(most);
    }

    fn advance(&mut self, constraint: &Constraint, (loss, size): (f64, f64)) {
        self.loss = loss;
        if constraint.gain == 0.0 {
            return;
        }
        let relative = if size > 0.0 { loss / size } else { 0.0 };
        let mean = self.mean.map_or(relative, |mean| MEMORY * mean + (1.0 - MEMORY) * relative);
        self.mean = Some(mean);
        let change = (constraint.gain * (mean / constraint.error.powi(2) - 1.0)).exp();
        let change = change.clamp(1.0 / MOST_CHANGE, MOST_CHANGE);
        // What the bound of stability took off is not made up for: it would only build up.
        self.weight = (self.used.min(self.weight) * change).clamp(1.0 / MOST_WEIGHT, MOST_WEIGHT);
    }
}

impl<D: Device<T>, T: Scalar> SelfNormalizing<D, T> {
    /// With R_k = W_k⁻¹, for batches of `batch` samples.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::InvalidParameter`], [`Error::Singular`].
    pub fn new(device: &D, parameters: &Parameters<D, T>, batch: usize, constraint: Constraint) -> Result<Self> {
        let architecture = parameters.architecture();
        let values = ValuesWorkspace::new(device, architecture, batch)?;
        let (dim, layers) = (architecture.dim, architecture.layers);
        let mut ones = Matrix::zeros(device, batch, 1, "ones")?;
        device.fill(T::of(1.0), ones.view_mut())?;
        let vector = |len| Matrix::zeros(device, len, 1, "vector of a norm");
        let start = normals(SEED, dim).into_iter().map(T::of).collect();
        let held = Held { weight: constraint.weight, used: 0.0, loss: 0.0, mean: None, stiffness: 0.0 };
        let square = |_| Matrix::zeros(device, dim, dim, "learned inverse");
        let zeros = vec![0.0; layers];
        let mut this = Self {
            values,
            transposed: (0..layers).map(square).collect::<Result<_>>()?,
            residual: Matrix::zeros(device, dim, batch, "residual of the inverse")?,
            ones,
            constraint,
            layers: vec![held; layers],
            norms: Norms {
                vectors: [vector(dim)?, vector(dim)?, vector(batch)?],
                start,
                host: vec![T::default(); dim],
            },
            steps: 0,
            report: StepReport { step_sizes: zeros.clone(), rho: zeros },
        };
        this.restart(device, parameters)?;
        Ok(this)
    }

    /// Steps layer k, with δ_k in its block.
    fn step_layer(
        &mut self,
        device: &D,
        parameters: &mut Parameters<D, T>,
        batch: Batch<'_, D, T>,
        (k, mu): (usize, f64),
    ) -> Result<()> {
        let architecture = *parameters.architecture();
        let (one, samples) = (T::of(1.0), self.values.batch());
        let gain = mu / samples as f64;
        if let Some(bias) = parameters.arrays.biases.get_mut(k) {
            // Y_0 leaves the bias out.
            let y = self.values.trail.view_mut().columns(k * samples, samples);
            let ones = self.ones.view().transposed();
            device.multiply(T::of(-1.0), bias.view().plain(), ones, Addend::Scaled(one), y)?;
            let (delta, ones) = (self.values.delta(k), self.ones.view().plain());
            device.multiply(T::of(gain), delta.plain(), ones, Addend::Scaled(one), bias.view_mut())?;
        }
        let weight = parameters.arrays.weights[k].view();
        let delta = self.values.trail.view().columns((k + 1) * samples, samples);
        let pulled = self.values.pair.view_mut().columns(samples, samples);
        device.multiply(one, weight.transposed(), delta.plain(), Addend::Zero, pulled)?;
        if k > 0 {
            self.values.carry(device, &architecture, k - 1)?;
        }
        if self.steps.is_multiple_of(NORMS_SERVE) {
            let z = if k > 0 { self.values.pair.view().columns(0, samples) } else { batch.x.shorten() };
            self.layers[k].stiffness = self.norms.stiffness(device, [z, weight, self.transposed[k].view()])?;
        }
        let Self { values: ValuesWorkspace { trail, pair, .. }, transposed, residual, layers, constraint, .. } = self;
        let z = if k > 0 { pair.view().columns(0, samples) } else { batch.x.shorten() };
        let inverse = &mut transposed[k];
        let (y, delta) = trail.view_mut().split_columns((k + 1) * samples);
        let (y, mut delta) = (y.view().columns(k * samples, samples), delta.columns(0, samples));
        let addend = Addend::Matrix(z.shorten());
        device.multiply(T::of(-1.0), inverse.view().transposed(), y.plain(), addend, residual.view_mut())?;
        let held = &mut layers[k];
        held.hold(constraint, mu);
        let lambda = held.used;
        let mean_square = |norm: f64| norm * norm / samples as f64;
        let loss = mean_square(device.frobenius_norm(residual.view())?);
        if !loss.is_finite() {
            return Err(Error::NonFinite { what: format!("reconstruction by the inverse of layer {}", k + 1) });
        }
        held.advance(constraint, (loss, mean_square(device.frobenius_norm(z.shorten())?)));
        let (twice, half) = (T::of(2.0 * lambda), T::of(0.5));
        let of_weight = Addend::Scaled(half);
        device.multiply(twice, inverse.view().plain(), residual.view().plain(), of_weight, delta.reborrow())?;
        let pulled = pair.view().columns(samples, samples);
        device.blend(T::of(-0.5), pulled, twice, residual.view_mut())?;
        // W + αS, then S − αW with the old W: (1 + α²)S − α(W + αS) for S = Rᵀ, α = μ/2 as it is rounded.
        let alpha = T::of(0.5 * mu);
        let kept = T::of(1.0 + alpha.widen().powi(2));
        let weight = &mut parameters.arrays.weights[k];
        device.add_blocks(alpha, inverse.view(), weight.view_mut())?;
        let learned = residual.view().transposed();
        device.multiply(T::of(gain), y.plain(), learned, Addend::Scaled(kept), inverse.view_mut())?;
        device.add_blocks(T::of(-alpha.widen()), weight.view(), inverse.view_mut())?;
        device.multiply(T::of(gain), delta.view().plain(), z.transposed(), Addend::Scaled(one), weight.view_mut())
    }
}

impl<D: Device<T>, T: Scalar> SelfNormalizing<D, T> {
    /// What the last step, of length `mu` on so many samples, did to weights, inverses and biases.
    fn judge(
        &self,
        device: &D,
        parameters: &Parameters<D, T>,
        expected: Expected,
        (mu, samples): (f64, usize),
    ) -> Result<Check> {
        let probe = probe(parameters.architecture().dim);
        let mut errors = Vec::new();
        for (k, of_layer) in expected.weights.into_iter().enumerate() {
            let arrays = [&parameters.arrays.weights[k], &self.transposed[k]];
            for (found, (before, [constant, slope])) in arrays.into_iter().zip(of_layer) {
                let moved = Move { before, direction: constant + slope * self.layers[k].used, terms: 0.0 };
                let after = Multiplier::new(device, found)?.push(&probe)?;
                errors.push(moved.error::<D, T>(device, &after, mu, samples));
            }
        }
        for (moved, found) in expected.biases.into_iter().zip(&parameters.arrays.biases) {
            errors.push(moved.error::<D, T>(device, &wide(device, found)?, mu, samples));
        }
        let kind = if probe.ncols() > 1 { "reference" } else { "random-vector" };
        Ok(Check { kind, max_rel_err: worst(errors), tolerance: tolerance(device.math()) })
    }

    /// R of layer k, column by column.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    pub fn set_inverse(&mut self, device: &D, k: usize, inverse: &[T]) -> Result<()> {
        let dim = self.residual.rows();
        let plain = Matrix::from_column_major(device, inverse, dim, dim, "learned inverse")?;
        device.transpose_blocks(plain.view(), self.transposed[k].view_mut())
    }

    /// R of every layer, column by column.
    ///
    /// # Errors
    /// Those of the device.
    pub fn inverses(&self, device: &D) -> Result<Vec<Vec<T>>> {
        let dim = self.residual.rows();
        let mut plain = Matrix::zeros(device, dim, dim, "learned inverse")?;
        let mut plain = |transposed: &Matrix<D, T>| {
            device.transpose_blocks(transposed.view(), plain.view_mut())?;
            plain.to_column_major(device)
        };
        self.transposed.iter().map(&mut plain).collect()
    }

    /// E of every layer, of the last step.
    pub fn losses(&self) -> impl Iterator<Item = f64> {
        self.layers.iter().map(|held| held.loss)
    }
}

impl<D: Device<T>, T: Scalar> Stateful<D, T> for SelfNormalizing<D, T> {
    fn step(
        &mut self,
        device: &D,
        parameters: &mut Parameters<D, T>,
        batch: Batch<'_, D, T>,
        mu: f64,
    ) -> Result<&StepReport> {
        if !(mu > 0.0 && mu.is_finite()) {
            return Err(Error::invalid("mu", mu, "must be positive and finite"));
        }
        let architecture = *parameters.architecture();
        self.values.forward(device, parameters.network(), batch.shorten())?;
        for k in (0..architecture.layers).rev() {
            self.values.write_error(device, &architecture, k)?;
            if k + 1 == architecture.layers {
                let gain = mu / batch.x.cols() as f64;
                self.values.head.add_gradient(device, (gain, 1.0), batch.u, parameters.arrays.head.as_mut())?;
            }
            self.step_layer(device, parameters, batch.shorten(), (k, mu))?;
        }
        self.steps += 1;
        self.report.step_sizes.fill(mu);
        Ok(&self.report)
    }

    fn restart(&mut self, device: &D, parameters: &Parameters<D, T>) -> Result<()> {
        let mut lu = LuFactors::new(device, parameters.architecture().dim)?;
        for (k, inverse) in self.transposed.iter_mut().enumerate() {
            lu.invert(device, &parameters.network().layer(k), inverse.view_mut())?;
        }
        self.steps = 0;
        for held in &mut self.layers {
            *held = Held { weight: self.constraint.weight, mean: None, ..*held };
        }
        Ok(())
    }

    fn check(&mut self, device: &D, parameters: &mut Parameters<D, T>, x: &Matrix<D, T>, mu: f64) -> Result<Check> {
        let expected = expected(device, parameters, &self.transposed, x)?;
        // Without the pull, which the bound on λ keeps small.
        let arrays = expected.weights.iter().flatten().map(|(before, [constant, _])| (before, constant));
        let mu = gentle(mu, arrays);
        self.step(device, parameters, x.view().into(), mu)?;
        self.judge(device, parameters, expected, (mu, x.cols()))
    }

    fn inverse_error(&mut self, device: &D, parameters: &Parameters<D, T>) -> Result<Option<f64>> {
        let dim = parameters.architecture().dim;
        let mut signs = vec![T::default(); dim * PROBES];
        Signs::new(SEED).fill(&mut signs);
        let probes = Matrix::from_column_major(device, &signs, dim, PROBES, "probes")?;
        let probes = wide(device, &probes)?;
        let mut largest = 0.0;
        for (weight, inverse) in parameters.arrays.weights.iter().zip(&self.transposed) {
            let pushed = Multiplier::new(device, weight)?.push(&probes)?;
            let error = Multiplier::new(device, inverse)?.pull(&pushed)? - &probes;
            largest = worst([largest, error.norm() / (PROBES as f64 * dim as f64).sqrt()]);
        }
        Ok(Some(largest))
    }
}

impl<D: Device<T>, T: Scalar> Norms<D, T> {
    /// λ_max(ZZᵀ/N)(‖W‖² + ‖R‖²) of Z, W and Rᵀ.
    fn stiffness(&mut self, device: &D, [z, weight, inverse]: [MatrixRef<'_, D, T>; 3]) -> Result<f64> {
        let samples = z.cols() as f64;
        Ok(self.square(device, z)? / samples * (self.square(device, weight)? + self.square(device, inverse)?))
    }

    /// ‖A‖² by power iteration, from below.
    fn square(&mut self, device: &D, matrix: MatrixRef<'_, D, T>) -> Result<f64> {
        let Self { vectors: [vector, image, short], start, host } = self;
        let middle = if matrix.cols() == matrix.rows() { image } else { short };
        host.copy_from_slice(start);
        let mut square = 0.0;
        for _ in 0..POWERS {
            let norm = host.iter().map(|x| x.widen().powi(2)).sum::<f64>().sqrt();
            if norm == 0.0 || !norm.is_finite() {
                break;
            }
            host.iter_mut().for_each(|x| *x = T::of(x.widen() / norm));
            device.upload(host, vector.view_mut().into_slice())?;
            let one = T::of(1.0);
            device.multiply(one, matrix.transposed(), vector.view().plain(), Addend::Zero, middle.view_mut())?;
            device.multiply(one, matrix.plain(), middle.view().plain(), Addend::Zero, vector.view_mut())?;
            device.download(vector.view().slice(), host)?;
            square = host.iter().map(|x| x.widen().powi(2)).sum::<f64>().sqrt();
        }
        Ok(square)
    }
}

/// An array times the probe, and its direction, affine in λ.
type Affine = (DMatrix<f64>, [DMatrix<f64>; 2]);

struct Expected {
    /// Of W and Rᵀ, layer by layer.
    weights: Vec<[Affine; 2]>,
    biases: Vec<Move>,
}

/// [M46] in f64, through its own pass.
fn expected<D: Device<T>, T: Scalar>(
    device: &D,
    parameters: &Parameters<D, T>,
    inverses: &[Matrix<D, T>],
    x: &Matrix<D, T>,
) -> Result<Expected> {
    let architecture = parameters.architecture();
    let (layers, samples) = (architecture.layers, x.cols() as f64);
    let probe = probe(architecture.dim);
    let is_nonlinear = |k| architecture.is_nonlinear(k);
    let passed = Passed::new(device, (architecture, &parameters.arrays), is_nonlinear, wide(device, x)?)?;
    let Passed { inputs, plain, activated } = passed;
    let mut pulled = inputs[layers].map(|z| scalar::score(architecture.base, z));
    let mut expected = Expected { weights: Vec::new(), biases: Vec::new() };
    for k in (0..layers).rev() {
        let weight = Multiplier::new(device, &parameters.arrays.weights[k])?;
        let inverse = Multiplier::new(device, &inverses[k])?;
        let (z, y) = (&inputs[k], &plain[k]);
        let delta = pulled.component_mul(&activated[k].slope) + &activated[k].ratio;
        let v = weight.pull(&delta)?;
        let q = z - inverse.pull(y)?;
        let (before, of_inverse) = (weight.push(&probe)?, inverse.push(&probe)?);
        // Rᵀ stands for R, and what ΔR multiplies from the left comes from the right.
        let seen = z.tr_mul(&probe) / samples;
        let weights = [&of_inverse * 0.5 + &delta * &seen * 0.5, inverse.push(&(&q * &seen))? * 2.0];
        let seen = [v.tr_mul(&probe) / samples, q.tr_mul(&probe) / samples];
        let inverses = [&before * -0.5 - y * &seen[0] * 0.5, y * &seen[1] * 2.0];
        if let Some(bias) = parameters.arrays.biases.get(k) {
            expected.biases.push(Move { before: wide(device, bias)?, direction: mean_column(&delta), terms: 0.0 });
        }
        expected.weights.push([(before, weights), (of_inverse, inverses)]);
        pulled = v;
    }
    expected.weights.reverse();
    expected.biases.reverse();
    Ok(expected)
}

#[cfg(test)]
mod tests;
