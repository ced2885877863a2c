//! The in-place sweep: a plain gradient step applied layer by layer as the direction becomes known \[M16\].
//!
//! No gradient is stored, so that the memory is the parameters and L+3 blocks of D×N: half of what any method needs
//! that keeps a gradient. The step W ← (I+μE)W has a product form, from which follow a guard that keeps every W_k
//! invertible \[M19\] and the exact change of log|det W_k| without an LU \[M17\]–\[M18\].

use faer::reborrow::ReborrowMut;
use faer::{Mat, MatRef};

use crate::backend::BiasMode;
use crate::backend::relative::{Form, RankUpdate, RightFactor, Sink, Workspace as SweepWorkspace, sweep};
use crate::device::{Addend, Device, MatrixRef, OnHost, PullOuter, Updated};
use crate::error::{Error, Result};
use crate::layer::{Coupling, Dense, Extent, Group, Seen, SeenBlock};
use crate::likelihood::log_abs_dets;
use crate::network::Architecture;
use crate::output::Head;
use crate::parameters::{Batch, Parameters};
use crate::scalar::Scalar;

/// A step μ along the relative gradient or its transposed form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InPlaceStep {
    /// Whether to step along the transposed form \[M12\] instead of the relative gradient \[M11\].
    pub transposed: bool,
    /// Treatment of the biases of the relative gradient.
    pub bias_mode: BiasMode,
    /// Whether to shorten the step where \[M19\] could not keep a layer invertible: μ_k = min(μ, ½/ρ_k).
    pub guard: bool,
    /// Steps for which an update is kept as factors (MATH.md §15), where 1 writes each at once. With more, W is what it
    /// stands for only after [`InPlaceStep::settle`].
    pub delay: usize,
}

impl Default for InPlaceStep {
    fn default() -> Self {
        Self { transposed: false, bias_mode: BiasMode::Exact, guard: true, delay: 1 }
    }
}

/// What a step did, per layer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepReport {
    /// μ_k actually taken.
    pub step_sizes: Vec<f64>,
    /// The bound ρ_k ≥ ‖E_k‖ of \[M19\], in Frobenius norms.
    pub rho: Vec<f64>,
}

/// Work memory of [`InPlaceStep::step`].
pub struct Workspace<D: Device<T>, T: Scalar, C: Group<D, T> = Dense> {
    pub(crate) sweep: SweepWorkspace<D, T, C>,
    report: StepReport,
    /// Σ μρ of each layer since its last settling.
    pending: Vec<f64>,
}

/// Σ μρ over pending steps, at most: then W_eff = M W with ‖M‖ ≤ e and ‖M⁻¹‖ ≤ 4, so that what is pending cancels no
/// digits of W.
const MOST_PENDING: f64 = 1.0;

impl InPlaceStep {
    /// Takes the work memory for batches of `batch` samples: L+3 blocks of D×N, and 2kL with a delay of k > 1 steps.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::InvalidParameter`]; [`Error::ShapeMismatch`] for layers whose updates cannot be
    /// delayed.
    pub fn workspace<D: Device<T>, T: Scalar, C: Group<D, T>>(
        &self,
        device: &D,
        architecture: &Architecture<C>,
        batch: usize,
    ) -> Result<Workspace<D, T, C>> {
        let zeros = vec![0.0; architecture.layers];
        let report = StepReport { step_sizes: zeros.clone(), rho: zeros };
        let pending = report.rho.clone();
        let mut sweep = SweepWorkspace::new(device, architecture, batch)?;
        let Architecture { dim, layers, bias, coupling, .. } = *architecture;
        coupling.delay(device, Extent { dim, layers, batch, bias }, self.delay, &mut sweep.values.work)?;
        Ok(Workspace { sweep, report, pending })
    }

    /// Brings the weights to what they stand for, with no update pending: before anybody reads them.
    ///
    /// # Errors
    /// Those of the device.
    pub fn settle<D: Device<T>, T: Scalar, C: Group<D, T>>(
        &self,
        device: &D,
        parameters: &mut Parameters<D, T, C>,
        workspace: &mut Workspace<D, T, C>,
    ) -> Result<()> {
        let coupling = parameters.architecture().coupling;
        for (k, weight) in parameters.arrays.weights.iter_mut().enumerate() {
            coupling.settle(device, k, weight.view_mut(), &mut workspace.sweep.values.work)?;
        }
        workspace.pending.fill(0.0);
        Ok(())
    }

    /// The form of the direction.
    pub(crate) fn form(&self) -> Form {
        if self.transposed { Form::Transposed } else { Form::Relative(self.bias_mode) }
    }

    /// W_k ← W_k + μ_k ΔW_k, b_k ← b_k + μ_k Δb_k for every layer, the directions taken at the old parameters.
    ///
    /// With `log_dets`, also carries log|det W_k| along, O(N²D) a layer.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless μ is positive and finite; [`Error::ShapeMismatch`]; [`Error::NonFinite`]:
    /// when the network's output is not finite nothing has changed yet; when the error of layer k is not, or its
    /// direction may overflow, the layers behind it have stepped already, and some of its own columns may have.
    pub fn step<'w, 'a, D: Device<T> + 'a, T: Scalar, C: Group<D, T>>(
        &self,
        device: &D,
        parameters: &mut Parameters<D, T, C>,
        batch: impl Into<Batch<'a, D, T>>,
        mu: f64,
        workspace: &'w mut Workspace<D, T, C>,
        log_dets: Option<&mut LogDets<T>>,
    ) -> Result<&'w StepReport> {
        self.follow(device, parameters, batch.into(), mu, workspace, (log_dets, None))
    }

    /// As [`Self::step`], with somebody who learns of the step of every layer.
    pub(crate) fn follow<'w, D: Device<T>, T: Scalar, C: Group<D, T>>(
        &self,
        device: &D,
        parameters: &mut Parameters<D, T, C>,
        batch: Batch<'_, D, T>,
        mu: f64,
        workspace: &'w mut Workspace<D, T, C>,
        (log_dets, follower): (Option<&mut LogDets<T>>, Option<&mut dyn Follower<D, T>>),
    ) -> Result<&'w StepReport> {
        require_step_size(mu)?;
        if let Some(log_dets) = &log_dets {
            log_dets.require_fit(parameters.architecture(), batch.x.cols())?;
        }
        let form = self.form();
        let Workspace { sweep: work, report, pending } = workspace;
        let mut sink = Step { parameters, mu, guard: self.guard, report, pending, log_dets, follower };
        sweep(device, form, batch, work, &mut sink)?;
        Ok(report)
    }
}

/// What is kept beside the weights and moves with them.
pub(crate) trait Follower<D: Device<T>, T: Scalar> {
    /// W_k has become keep W_k + gain a bᵀW_k, or keep W_k + gain W_k a bᵀ for the transposed form, a and b being D×N;
    /// the coefficients are those that were used, as rounded.
    fn advance(
        &mut self,
        device: &D,
        k: usize,
        keep_and_gain: (f64, f64),
        a: MatrixRef<'_, D, T>,
        b: MatrixRef<'_, D, T>,
    ) -> Result<()>;
}

struct Step<'a, 'f, D: Device<T>, T: Scalar, C: Group<D, T>> {
    parameters: &'a mut Parameters<D, T, C>,
    mu: f64,
    guard: bool,
    report: &'a mut StepReport,
    pending: &'a mut [f64],
    log_dets: Option<&'a mut LogDets<T>>,
    follower: Option<&'a mut (dyn Follower<D, T> + 'f)>,
}

impl<D: Device<T>, T: Scalar, C: Group<D, T>> Sink<D, T, C> for Step<'_, '_, D, T, C> {
    fn parameters(&self) -> &Parameters<D, T, C> {
        self.parameters
    }

    fn absorb_head(&mut self, device: &D, head: &Head<D, T>, batch: Batch<'_, D, T>) -> Result<()> {
        let gain = self.mu / batch.x.cols() as f64;
        head.add_gradient(device, (gain, 1.0), batch.u, self.parameters.arrays.head.as_mut())
    }

    fn absorb(&mut self, device: &D, k: usize, mut update: RankUpdate<'_, D, T>, work: &mut C::Work) -> Result<()> {
        let Architecture { coupling, dim, .. } = *self.parameters.architecture();
        let samples = update.left.matrix.cols() as f64;
        let left = coupling.norm(device, &update.left, work)?;
        let (norm_a, norm_b) = match &update.right {
            RightFactor::Pulled { .. } => (left, device.frobenius_norm(update.factors().1)?),
            RightFactor::Known(right, a) => (device.frobenius_norm(*a)?, device.frobenius_norm(*right)?),
        };
        let (mu, rho) = guarded(k, (self.mu, self.guard), (norm_a, norm_b), samples)?;
        let samples_norm = update.samples.map_or(Ok(0.0), |samples| device.frobenius_norm(samples))?;
        require_representable::<T>(k, left, samples_norm)?;
        (self.report.step_sizes[k], self.report.rho[k]) = (mu, rho);
        let (keep, gain) = (1.0 + mu, mu / samples / coupling.multiplicity());
        self.step_weight(device, k, (gain, keep), left, &mut update, work)?;
        self.pending[k] += mu * rho;
        if C::is_delayed(work) && self.pending[k] > MOST_PENDING {
            coupling.settle(device, k, self.parameters.arrays.weights[k].view_mut(), work)?;
            self.pending[k] = 0.0;
        }
        // With the coefficients as they were used: rounded ones have a constant error at every step.
        let rounded = |x: f64| if C::is_delayed(work) { x } else { T::of(x).widen() };
        let (a, b) = update.factors();
        if let Some(follower) = self.follower.as_mut() {
            follower.advance(device, k, (rounded(keep), rounded(gain)), a, b)?;
        }
        match self.log_dets.as_mut() {
            Some(log_dets) if C::IS_DENSE => log_dets.advance(device, k, (rounded(keep), rounded(gain)), a, b)?,
            Some(log_dets) => {
                let layer = self.parameters.network().layer(k);
                log_dets.per_layer[k] = coupling.log_abs_det(device, dim, &layer)?;
            }
            None => {}
        }
        let (Some(samples), Some(bias)) = (update.samples, self.parameters.arrays.biases.get_mut(k)) else {
            return Ok(());
        };
        let keep = if update.bias_share { T::of(keep) } else { T::of(1.0) };
        let factors = (update.left.matrix, samples);
        coupling.outer_bias(device, T::of(gain), factors, Addend::Scaled(keep), bias.view_mut(), work)
    }
}

impl<D: Device<T>, T: Scalar, C: Group<D, T>> Step<'_, '_, D, T, C> {
    /// W_k ← keep W_k + gain left rightᵀ, with the norm of the left factor.
    fn step_weight(
        &mut self,
        device: &D,
        k: usize,
        (gain, keep): (f64, f64),
        norm: f64,
        update: &mut RankUpdate<'_, D, T>,
        work: &mut C::Work,
    ) -> Result<()> {
        let coupling = self.parameters.architecture().coupling;
        let RankUpdate { left, right, .. } = update;
        let right = match right {
            RightFactor::Pulled { errors, into } if C::IS_DENSE && !C::is_delayed(work) => {
                let pass = PullOuter {
                    errors: errors.shorten(),
                    pulled: into.reborrow(),
                    left: left.matrix.shorten(),
                    alpha: T::of(gain),
                    most: Some(T::LARGEST / norm),
                    weight: Updated::InPlace(self.parameters.arrays.weights[k].view_mut(), T::of(keep)),
                };
                return device.pull_outer(pass).map_err(|error| match error {
                    Error::NonFinite { .. } => not_representable(k),
                    other => other,
                });
            }
            RightFactor::Pulled { errors, into } => {
                let layer = self.parameters.network().layer(k);
                coupling.pull_pair(device, &layer, errors.shorten(), into.reborrow(), work)?;
                SeenBlock::new(into.view().columns(0, left.matrix.cols()), Seen::Written)
            }
            RightFactor::Known(right, _) => SeenBlock::new(right.shorten(), Seen::No),
        };
        require_representable::<T>(k, norm, coupling.norm(device, &right, work)?)?;
        let weight = self.parameters.arrays.weights[k].view_mut();
        if C::is_delayed(work) {
            let factors = (left.matrix.shorten(), right.matrix);
            return coupling.append(device, (gain, keep), factors, weight, work);
        }
        coupling.outer(device, T::of(gain), (left.shorten(), right), Addend::Scaled(T::of(keep)), weight, work)
    }
}

/// What μ of a step may be.
pub(crate) fn require_step_size(mu: f64) -> Result<()> {
    if mu > 0.0 && mu.is_finite() { Ok(()) } else { Err(Error::invalid("mu", mu, "must be positive and finite")) }
}

/// μ_k and ρ_k \[M19\] of a step μ, shortened where there is a guard, from ‖a‖ and ‖b‖ of E = (1/N) a bᵀ + I.
pub(crate) fn guarded(k: usize, (mu, guard): (f64, bool), (a, b): (f64, f64), samples: f64) -> Result<(f64, f64)> {
    let rho = 1.0 + a * b / samples;
    if !rho.is_finite() {
        return Err(Error::NonFinite { what: format!("back-propagated error of layer {}", k + 1) });
    }
    Ok((if guard { mu.min(0.5 / rho) } else { mu }, rho))
}

/// No entry of ‖left rightᵀ‖, nor of left c, exceeds the product of the norms: where that can be represented, the
/// product cannot overflow and, scaled by a step however small, cost a weight its numbers.
pub(crate) fn require_representable<T: Scalar>(k: usize, left: f64, right: f64) -> Result<()> {
    if T::of(left * right).widen().is_finite() { Ok(()) } else { Err(not_representable(k)) }
}

fn not_representable(k: usize) -> Error {
    Error::NonFinite { what: format!("direction of layer {}", k + 1) }
}

/// log|det W_k| of every layer, carried from step to step by the matrix determinant lemma \[M17\]–\[M18\], in f64.
///
/// Rounding accumulates slowly (MATH.md §11): [`LogDets::refresh`] now and then.
pub struct LogDets<T: Scalar> {
    per_layer: Vec<f64>,
    narrow: Vec<T>,
    wide: [Mat<f64>; 2],
    small: Mat<f64>,
}

impl<T: Scalar> LogDets<T> {
    /// One LU a layer to begin with; batches will have `batch` samples.
    ///
    /// # Errors
    /// [`Error::Singular`].
    pub fn new<D: Device<T>, C: Coupling<D, T>>(
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: usize,
    ) -> Result<Self> {
        Ok(Self::known(log_abs_dets(device, parameters)?, parameters.architecture().dim, batch))
    }

    /// The same from known values, such as those of weights that no rank has whole.
    pub fn known(per_layer: Vec<f64>, dim: usize, batch: usize) -> Self {
        let side = dim.min(batch);
        Self {
            per_layer,
            narrow: vec![T::default(); dim * batch],
            wide: [Mat::zeros(dim, batch), Mat::zeros(dim, batch)],
            small: Mat::zeros(side, side),
        }
    }

    /// log|det W_k| of every layer.
    pub fn per_layer(&self) -> &[f64] {
        &self.per_layer
    }

    /// Recomputes all by LU; returns the largest drift that it removed.
    ///
    /// # Errors
    /// [`Error::Singular`].
    pub fn refresh<D: Device<T>, C: Coupling<D, T>>(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T, C>,
    ) -> Result<f64> {
        let exact = log_abs_dets(device, parameters)?;
        let drift = self.per_layer.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        self.per_layer = exact;
        Ok(drift)
    }

    /// Whether these belong to a network of this shape, and to batches of this size.
    pub(crate) fn require_fit<C>(&self, architecture: &Architecture<C>, batch: usize) -> Result<()> {
        let (dim, samples) = self.wide[0].shape();
        let layers = self.per_layer.len();
        if (dim, samples, layers) == (architecture.dim, batch, architecture.layers) {
            return Ok(());
        }
        Err(Error::shape(
            "log-determinants",
            format!("those of {} layers, for batches of {}×{batch}", architecture.layers, architecture.dim),
            format!("{layers} layers, {dim}×{samples}"),
        ))
    }

    /// Adds log|det(βI + α a bᵀ)| = D log β + log|det(I + (α/β) bᵀa)|.
    pub(crate) fn advance<D: Device<T>>(
        &mut self,
        device: &D,
        k: usize,
        (beta, alpha): (f64, f64),
        a: MatrixRef<'_, D, T>,
        b: MatrixRef<'_, D, T>,
    ) -> Result<()> {
        let (dim, samples) = (a.rows(), a.cols());
        for (matrix, wide) in [a.shorten(), b.shorten()].into_iter().zip(&mut self.wide) {
            device.download(matrix.slice(), &mut self.narrow)?;
            let narrow = MatRef::from_column_major_slice(&self.narrow, dim, samples);
            for (to, from) in wide.col_iter_mut().zip(narrow.col_iter()) {
                to.iter_mut().zip(from.iter()).for_each(|(to, from)| *to = from.widen());
            }
        }
        let [a, b] = &self.wide;
        let small = &mut self.small;
        // The smaller of the two determinants: bᵀa is N×N, a bᵀ is D×D.
        if samples <= dim {
            f64::multiply_alone(small.rb_mut(), b.transpose(), a.as_ref(), alpha / beta);
        } else {
            f64::multiply_alone(small.rb_mut(), a.as_ref(), b.transpose(), alpha / beta);
        }
        for i in 0..small.nrows() {
            small[(i, i)] += 1.0;
        }
        self.per_layer[k] += dim as f64 * beta.abs().ln() + log_det(small);
        Ok(())
    }
}

/// log|det A|; a function of its own, since it is not generic and so compiled once.
fn log_det(a: &Mat<f64>) -> f64 {
    let lu = a.partial_piv_lu();
    let u = lu.U();
    (0..u.nrows()).map(|i| u[(i, i)].abs().ln()).sum()
}
