//! The density of the outputs: one of the base densities \[M5\], or a location–scale family over it that is affine in a
//! condition u \[M6\], (P.4).
//!
//! The Jacobian term does not know u. Only Lp and the derivative ψ that starts the backward errors change, so that
//! every backend goes through here and serves both.

use crate::device::{Addend, Device, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::network::{Activation, Architecture, Base};
use crate::parameters::LocationScale;
use crate::scalar::Scalar;

/// Work memory of the output density of a batch.
pub(crate) struct Head<D: Device<T>, T: Scalar> {
    base: Base,
    condition: Option<Condition<D, T>>,
}

/// m(u) and log τ(u) of every sample of a batch, and the scores of the outputs under them; D×N each.
struct Condition<D: Device<T>, T: Scalar> {
    /// d.
    size: usize,
    location: Matrix<D, T>,
    log_scale: Matrix<D, T>,
    /// ψ(ρ)/τ, the derivative in s; that in m is its negative.
    score: Matrix<D, T>,
    /// −1 − ρψ(ρ), the derivative in log τ.
    log_scale_score: Matrix<D, T>,
    /// 1×N.
    ones: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar> Head<D, T> {
    pub(crate) fn new<C>(device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self> {
        let (dim, size) = (architecture.dim, architecture.conditions);
        let condition = (size > 0).then(|| Condition::new(device, dim, size, batch)).transpose()?;
        Ok(Self { base: architecture.base, condition })
    }

    /// m ← A u + a, log τ ← B u + c for the samples of a pass.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless there is a u for a conditional density, d×N, and for no other;
    /// [`Error::NonFinite`] when m(u) or log τ(u) is not finite.
    pub(crate) fn prepare(
        &mut self,
        device: &D,
        density: Option<&LocationScale<D, T>>,
        u: Option<MatrixRef<'_, D, T>>,
    ) -> Result<()> {
        match (&mut self.condition, density, u) {
            (None, None, None) => Ok(()),
            (Some(condition), Some(density), Some(u)) => condition.prepare(device, density, u),
            (condition, _, u) => {
                let expected = condition.as_ref().map_or("no condition", |_| "a condition u for every sample");
                let found = if u.is_some() { "a condition" } else { "none" };
                Err(Error::shape("conditional density", expected, found))
            }
        }
    }

    /// The derivative ψ of the log-density in the outputs `s`, of the samples from the first on, to `out`.
    pub(crate) fn score(&mut self, device: &D, s: MatrixRef<'_, D, T>, mut out: MatrixMut<'_, D, T>) -> Result<()> {
        match &mut self.condition {
            None => device.output_error(self.base, None, s, out),
            Some(condition) => {
                condition.score(device, self.base, s)?;
                device.copy(condition.score.view().columns(0, s.cols()), out.reborrow())
            }
        }
    }

    /// δ_L \[M7\] of the whole batch from the pre-activations `y` and the outputs `s`.
    pub(crate) fn output_error(
        &mut self,
        device: &D,
        activation: Option<Activation>,
        y: MatrixRef<'_, D, T>,
        s: MatrixRef<'_, D, T>,
        delta: MatrixMut<'_, D, T>,
    ) -> Result<()> {
        let Some(condition) = &mut self.condition else {
            return device.output_error(self.base, activation, y, delta);
        };
        condition.score(device, self.base, s)?;
        match activation {
            Some(activation) => device.backward_error(activation, condition.score.view(), y, delta),
            None => device.copy(condition.score.view(), delta),
        }
    }

    /// dA = mean Σ (∂/∂m) uᵀ, da = mean Σ ∂/∂m, likewise dB and dc from ∂/∂log τ, of the samples last scored, added to
    /// `keep` times what `out` holds. The density's direction is the ordinary gradient, whatever the backend.
    pub(crate) fn add_gradient(
        &self,
        device: &D,
        (mean, keep): (f64, f64),
        u: Option<MatrixRef<'_, D, T>>,
        out: Option<&mut LocationScale<D, T>>,
    ) -> Result<()> {
        let (Some(condition), Some(u), Some(out)) = (&self.condition, u, out) else { return Ok(()) };
        let addend = || if keep == 0.0 { Addend::Zero } else { Addend::Scaled(T::of(keep)) };
        let parts = [
            (&condition.score, -mean, &mut out.location, &mut out.location_offset),
            (&condition.log_scale_score, mean, &mut out.log_scale, &mut out.log_scale_offset),
        ];
        for (score, weight, matrix, offset) in parts {
            let (weight, score) = (T::of(weight), score.view().columns(0, u.cols()));
            device.multiply(weight, score.plain(), u.transposed(), addend(), matrix.view_mut())?;
            let ones = condition.ones.view().columns(0, u.cols()).transposed();
            device.multiply(weight, score.plain(), ones, addend(), offset.view_mut())?;
        }
        Ok(())
    }

    /// out\[n\] ← out\[n\] + Σ_i log p(s_i|u), summed in f64.
    pub(crate) fn log_density_sums(&mut self, device: &D, s: MatrixRef<'_, D, T>, out: &mut [f64]) -> Result<()> {
        let Some(Condition { location, log_scale, log_scale_score, .. }) = &mut self.condition else {
            return device.log_density_sums(self.base, s, out);
        };
        device.standardize(s, location.view(), log_scale.view(), log_scale_score.view_mut())?;
        device.log_density_sums(self.base, log_scale_score.view(), out)?;
        let rows = log_scale.rows();
        for (sum, column) in out.iter_mut().zip(log_scale.to_column_major(device)?.chunks_exact(rows)) {
            *sum -= column.iter().map(|t| t.widen()).sum::<f64>();
        }
        Ok(())
    }

    /// s = m(u) + τ(u)ρ for draws ρ from the base density, on the host.
    pub(crate) fn locate(&self, device: &D, rho: Vec<f64>) -> Result<Vec<T>> {
        let Some(condition) = &self.condition else { return Ok(rho.into_iter().map(T::of).collect()) };
        let location = condition.location.to_column_major(device)?;
        let log_scale = condition.log_scale.to_column_major(device)?;
        let latent = |((m, t), rho): ((&T, &T), f64)| T::of(m.widen() + t.widen().exp() * rho);
        Ok(location.iter().zip(&log_scale).zip(rho).map(latent).collect())
    }
}

impl<D: Device<T>, T: Scalar> Condition<D, T> {
    fn new(device: &D, dim: usize, size: usize, batch: usize) -> Result<Self> {
        let block = || Matrix::zeros(device, dim, batch, "conditional density");
        let mut ones = Matrix::zeros(device, 1, batch, "ones")?;
        device.fill(T::of(1.0), ones.view_mut())?;
        Ok(Self { size, location: block()?, log_scale: block()?, score: block()?, log_scale_score: block()?, ones })
    }

    fn prepare(&mut self, device: &D, density: &LocationScale<D, T>, u: MatrixRef<'_, D, T>) -> Result<()> {
        let (batch, count) = (self.location.cols(), u.cols());
        if u.rows() != self.size || count > batch {
            let expected = format!("{}×{batch} numbers of u, a column a sample", self.size);
            return Err(Error::shape("conditional density", expected, format!("{}×{count}", u.rows())));
        }
        let affine = [
            (&density.location, &density.location_offset, &mut self.location, "location m(u)"),
            (&density.log_scale, &density.log_scale_offset, &mut self.log_scale, "log-scale log τ(u)"),
        ];
        for (matrix, offset, out, what) in affine {
            let mut out = out.view_mut().columns(0, count);
            device.multiply(T::of(1.0), matrix.view().plain(), u.plain(), Addend::Zero, out.reborrow())?;
            device.add_bias(offset.view(), out.reborrow())?;
            device.require_finite(what, out.view())?;
        }
        Ok(())
    }

    /// `score` ← ψ(ρ)/τ and `log_scale_score` ← −1 − ρψ(ρ) of the outputs `s`.
    fn score(&mut self, device: &D, base: Base, s: MatrixRef<'_, D, T>) -> Result<()> {
        let count = s.cols();
        let (location, log_scale) = (self.location.view().columns(0, count), self.log_scale.view().columns(0, count));
        let mut rho = self.log_scale_score.view_mut().columns(0, count);
        let mut score = self.score.view_mut().columns(0, count);
        device.standardize(s, location, log_scale, rho.reborrow())?;
        device.output_error(base, None, rho.view(), score.reborrow())?;
        device.conditional_scores(log_scale, score, rho)
    }
}
