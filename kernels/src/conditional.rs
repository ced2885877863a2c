//! Conditional densities p(x|u) \[M6\], (P.4): a location–scale family over the base density, affine in u.
//!
//! The Jacobian term does not know u. Only Lp and the derivative ψ that starts the backward errors change, so every
//! backend serves as it is, with the output's scores handed to it: [`Conditional`] wraps one.

use crate::backend::{Autodiff, GradientBackend, Ordinary, Relative, Transposed, autodiff, ordinary, relative};
use crate::device::{Addend, Device, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::inversion::{Inverter, draw_latents};
use crate::likelihood::{Evaluator, LogLikelihood};
use crate::network::{Activation, Architecture, Base};
use crate::parameters::{Gradient, Parameters};
use crate::scalar::Scalar;

/// m(u) = A u + a and log τ(u) = B u + c for u of dimension d; or a direction in their space.
///
/// A discrete u is one-hot.
pub struct LocationScale<D: Device<T>, T: Scalar> {
    /// A, D×d.
    pub location: Matrix<D, T>,
    /// a, D×1.
    pub location_offset: Matrix<D, T>,
    /// B, D×d.
    pub log_scale: Matrix<D, T>,
    /// c, D×1.
    pub log_scale_offset: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar> LocationScale<D, T> {
    /// All zeros: m = 0, τ = 1, the unconditional density.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn zeros(device: &D, dim: usize, conditions: usize, what: &str) -> Result<Self> {
        let matrix = |cols| Matrix::zeros(device, dim, cols, what);
        Ok(Self {
            location: matrix(conditions)?,
            location_offset: matrix(1)?,
            log_scale: matrix(conditions)?,
            log_scale_offset: matrix(1)?,
        })
    }

    fn require_fit(&self, dim: usize, conditions: usize) -> Result<()> {
        let shapes = [
            (&self.location, conditions),
            (&self.location_offset, 1),
            (&self.log_scale, conditions),
            (&self.log_scale_offset, 1),
        ];
        for (matrix, cols) in shapes {
            if (matrix.rows(), matrix.cols()) != (dim, cols) {
                let found = format!("{}×{}", matrix.rows(), matrix.cols());
                return Err(Error::shape("conditional density", format!("{dim}×{cols}"), found));
            }
        }
        Ok(())
    }
}

/// A network with the conditional density of its output.
pub struct Model<'a, D: Device<T>, T: Scalar> {
    /// g; its architecture's base density is p_0.
    pub network: &'a Parameters<D, T>,
    /// m(u) and τ(u).
    pub density: &'a LocationScale<D, T>,
}

/// A direction for both parts of a [`Model`]. The density's share is always the ordinary gradient.
pub struct ModelGradient<D: Device<T>, T: Scalar> {
    /// What the backend computes.
    pub network: Gradient<D, T>,
    /// dA, da, dB, dc.
    pub density: LocationScale<D, T>,
}

/// Samples with their conditions.
pub struct Pairs<'a, D: Device<T>, T: Scalar> {
    /// X, D×N.
    pub x: MatrixRef<'a, D, T>,
    /// u, d×N.
    pub u: MatrixRef<'a, D, T>,
}

/// A backend for the gradient of (1/N) Σ_n log p(x_n|u_n).
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditional<B> {
    /// What computes the network's share.
    pub backend: B,
}

/// Work memory of [`Conditional`].
pub struct Workspace<W> {
    backend: W,
}

impl<B> Conditional<B> {
    /// Takes the work memory for batches of `batch` samples: the backend's, and four blocks of D×N.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::InvalidParameter`].
    pub fn workspace<D: Device<T>, T: Scalar>(
        &self,
        device: &D,
        architecture: &Architecture,
        batch: usize,
    ) -> Result<Workspace<B::Workspace>>
    where
        B: ConditionalBackend<D, T>,
    {
        let mut backend = self.backend.undivided(device, architecture, batch)?;
        *B::condition(&mut backend) = Some(Condition::new(device, architecture.dim, batch)?);
        Ok(Workspace { backend })
    }

    /// Writes the direction at `model` for a batch; allocates nothing on the CPU.
    ///
    /// # Errors
    /// Those of [`GradientBackend::gradient`]; [`Error::NonFinite`] when m(u) or log τ(u) is not finite.
    pub fn gradient<D: Device<T>, T: Scalar>(
        &self,
        device: &D,
        model: &Model<'_, D, T>,
        pairs: &Pairs<'_, D, T>,
        workspace: &mut Workspace<B::Workspace>,
        out: &mut ModelGradient<D, T>,
    ) -> Result<()>
    where
        B: ConditionalBackend<D, T>,
    {
        let (dim, conditions) = (model.network.architecture().dim, pairs.u.rows());
        out.density.require_fit(dim, conditions)?;
        condition_of::<B, D, T>(workspace)?.prepare(device, model.density, pairs.u.shorten())?;
        let inner = &mut workspace.backend;
        self.backend.gradient(device, model.network, pairs.x.shorten(), inner, &mut out.network)?;
        condition_of::<B, D, T>(workspace)?.write_gradient(device, pairs.u.shorten(), &mut out.density)
    }
}

/// The condition that [`Conditional::workspace`] put there.
fn condition_of<B, D, T>(workspace: &mut Workspace<B::Workspace>) -> Result<&mut Condition<D, T>>
where
    B: ConditionalBackend<D, T>,
    D: Device<T>,
    T: Scalar,
{
    B::condition(&mut workspace.backend)
        .as_mut()
        .ok_or_else(|| Error::shape("conditional density", "a workspace of its own", "another's"))
}

/// log p(x_n|u_n) in its parts \[M2\], \[M6\].
///
/// # Errors
/// As [`Evaluator::log_likelihood`]; [`Error::NonFinite`] when m(u) or log τ(u) is not finite.
pub fn log_likelihood<D: Device<T>, T: Scalar>(
    device: &D,
    evaluator: &mut Evaluator<D, T>,
    model: &Model<'_, D, T>,
    pairs: &Pairs<'_, D, T>,
) -> Result<LogLikelihood> {
    let mut result = evaluator.log_likelihood(device, model.network, pairs.x.shorten())?;
    let architecture = model.network.architecture();
    let mut condition = Condition::new(device, architecture.dim, pairs.x.cols())?;
    condition.prepare(device, model.density, pairs.u.shorten())?;
    result.lp = condition.log_density_sums(device, architecture.base, evaluator.latents())?;
    Ok(result)
}

/// One draw of x for each column of `u` (d×N), D×N column-major: s = m(u) + τ(u)ρ with ρ from the base density, then
/// g⁻¹(s) \[M22\].
///
/// # Errors
/// As [`Inverter::invert`]; [`Error::NonFinite`] when m(u) or log τ(u) is not finite.
pub fn sample<D: Device<T>, T: Scalar>(
    device: &D,
    inverter: &Inverter<T>,
    model: &Model<'_, D, T>,
    u: MatrixRef<'_, D, T>,
    seed: u64,
) -> Result<Vec<T>> {
    let Architecture { dim, base, .. } = *model.network.architecture();
    let mut condition = Condition::new(device, dim, u.cols())?;
    condition.prepare(device, model.density, u)?;
    let location = condition.location.to_column_major(device)?;
    let log_scale = condition.log_scale.to_column_major(device)?;
    let rho = draw_latents(base, location.len(), seed);
    let latent = |((m, t), rho): ((&T, &T), f64)| T::of(m.widen() + t.widen().exp() * rho);
    let mut x: Vec<T> = location.iter().zip(&log_scale).zip(rho).map(latent).collect();
    inverter.invert(&mut x)?;
    Ok(x)
}

/// A backend whose workspace can hold a conditional density of the output.
pub trait ConditionalBackend<D: Device<T>, T: Scalar>: GradientBackend<D, T> {
    /// Where the workspace keeps it; `None` for the architecture's own density.
    fn condition(workspace: &mut Self::Workspace) -> &mut Option<Condition<D, T>>;

    /// A workspace in which all samples of a batch go through the network together, as a condition wants them.
    ///
    /// # Errors
    /// Those of [`GradientBackend::workspace`].
    fn undivided(&self, device: &D, architecture: &Architecture, batch: usize) -> Result<Self::Workspace> {
        self.workspace(device, architecture, batch)
    }
}

impl<D: Device<T>, T: Scalar> ConditionalBackend<D, T> for Relative {
    fn condition(workspace: &mut relative::Divided<D, T>) -> &mut Option<Condition<D, T>> {
        workspace.condition()
    }

    fn undivided(&self, device: &D, architecture: &Architecture, batch: usize) -> Result<relative::Divided<D, T>> {
        relative::Divided::whole(device, architecture, batch)
    }
}

impl<D: Device<T>, T: Scalar> ConditionalBackend<D, T> for Transposed {
    fn condition(workspace: &mut relative::Divided<D, T>) -> &mut Option<Condition<D, T>> {
        workspace.condition()
    }

    fn undivided(&self, device: &D, architecture: &Architecture, batch: usize) -> Result<relative::Divided<D, T>> {
        relative::Divided::whole(device, architecture, batch)
    }
}

impl<D: Device<T>, T: Scalar> ConditionalBackend<D, T> for Ordinary {
    fn condition(workspace: &mut ordinary::Workspace<D, T>) -> &mut Option<Condition<D, T>> {
        workspace.condition()
    }
}

impl<D: Device<T>, T: Scalar> ConditionalBackend<D, T> for Autodiff {
    fn condition(workspace: &mut autodiff::Workspace<D, T>) -> &mut Option<Condition<D, T>> {
        workspace.condition()
    }
}

/// m(u) and log τ(u) of every sample of a batch, and the scores of the outputs under them; D×N each.
pub struct Condition<D: Device<T>, T: Scalar> {
    location: Matrix<D, T>,
    log_scale: Matrix<D, T>,
    /// ψ(ρ)/τ, the derivative in s; that in m is its negative.
    score: Matrix<D, T>,
    /// −1 − ρψ(ρ), the derivative in log τ.
    log_scale_score: Matrix<D, T>,
    /// N×1.
    ones: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar> Condition<D, T> {
    fn new(device: &D, dim: usize, batch: usize) -> Result<Self> {
        let block = || Matrix::zeros(device, dim, batch, "conditional density");
        let mut ones = Matrix::zeros(device, batch, 1, "ones")?;
        device.fill(T::of(1.0), ones.view_mut())?;
        Ok(Self { location: block()?, log_scale: block()?, score: block()?, log_scale_score: block()?, ones })
    }

    /// m ← A u + a, log τ ← B u + c.
    fn prepare(&mut self, device: &D, density: &LocationScale<D, T>, u: MatrixRef<'_, D, T>) -> Result<()> {
        let (dim, batch) = (self.location.rows(), self.location.cols());
        density.require_fit(dim, u.rows())?;
        if u.cols() != batch {
            return Err(Error::shape("conditional density", format!("{batch} columns of u, one a sample"), u.cols()));
        }
        let affine = [
            (&density.location, &density.location_offset, &mut self.location, "location m(u)"),
            (&density.log_scale, &density.log_scale_offset, &mut self.log_scale, "log-scale log τ(u)"),
        ];
        for (matrix, offset, out, what) in affine {
            device.multiply(T::of(1.0), matrix.view().plain(), u.plain(), Addend::Zero, out.view_mut())?;
            device.add_bias(offset.view(), out.view_mut())?;
            device.require_finite(what, out.view())?;
        }
        Ok(())
    }

    /// ψ(ρ)/τ of the samples from `start` on, whose outputs are `s`, to `out`; the derivative in log τ is kept beside
    /// it.
    pub(crate) fn write_score(
        &mut self,
        device: &D,
        base: Base,
        start: usize,
        s: MatrixRef<'_, D, T>,
        out: MatrixMut<'_, D, T>,
    ) -> Result<()> {
        let count = s.cols();
        let (location, log_scale) =
            (self.location.view().columns(start, count), self.log_scale.view().columns(start, count));
        let mut rho = self.log_scale_score.view_mut().columns(start, count);
        let mut score = self.score.view_mut().columns(start, count);
        device.standardize(s, location, log_scale, rho.reborrow())?;
        device.output_error(base, None, rho.view(), score.reborrow())?;
        device.conditional_scores(log_scale, score.reborrow(), rho)?;
        device.copy(score.view(), out)
    }

    /// δ_L \[M7\] of the whole batch from the pre-activations `y` and the outputs `s`, with ψ(ρ)/τ in the place of ψ.
    pub(crate) fn output_error(
        &mut self,
        device: &D,
        (base, activation): (Base, Option<Activation>),
        y: MatrixRef<'_, D, T>,
        s: MatrixRef<'_, D, T>,
        mut delta: MatrixMut<'_, D, T>,
    ) -> Result<()> {
        self.write_score(device, base, 0, s, delta.reborrow())?;
        match activation {
            Some(activation) => device.backward_error(activation, self.score.view(), y, delta),
            None => Ok(()),
        }
    }

    /// dA = (1/N) Σ (∂/∂m) uᵀ, da = (1/N) Σ ∂/∂m, likewise dB and dc from ∂/∂log τ.
    fn write_gradient(&self, device: &D, u: MatrixRef<'_, D, T>, out: &mut LocationScale<D, T>) -> Result<()> {
        let mean = 1.0 / u.cols() as f64;
        let parts = [
            (&self.score, -mean, &mut out.location, &mut out.location_offset),
            (&self.log_scale_score, mean, &mut out.log_scale, &mut out.log_scale_offset),
        ];
        for (score, weight, matrix, offset) in parts {
            let (weight, score) = (T::of(weight), score.view());
            device.multiply(weight, score.plain(), u.transposed(), Addend::Zero, matrix.view_mut())?;
            let ones = self.ones.view().plain();
            device.multiply(weight, score.plain(), ones, Addend::Zero, offset.view_mut())?;
        }
        Ok(())
    }

    /// Σ_i log p(s_i|u) = Σ_i log p_0(ρ_i) − log τ_i of every sample, summed in f64.
    fn log_density_sums(&mut self, device: &D, base: Base, s: MatrixRef<'_, D, T>) -> Result<Vec<f64>> {
        let mut sums = vec![0.0; s.cols()];
        let (location, log_scale) = (self.location.view(), self.log_scale.view());
        device.standardize(s, location, log_scale, self.log_scale_score.view_mut())?;
        device.log_density_sums(base, self.log_scale_score.view(), &mut sums)?;
        let log_scale = self.log_scale.to_column_major(device)?;
        for (sum, column) in sums.iter_mut().zip(log_scale.chunks_exact(self.log_scale.rows())) {
            *sum -= column.iter().map(|t| t.widen()).sum::<f64>();
        }
        Ok(sums)
    }
}
