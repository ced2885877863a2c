//! The ordinary gradient with inverses that follow the weights by products alone: a Newton–Schulz refresh (MATH.md
//! §19).

use super::GradientBackend;
use super::ordinary::Passes;
use crate::device::{Addend, Device, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::init::normals;
use crate::layer::{Coupling, DENSE_ONLY, Dense, LuFactors};
use crate::network::Architecture;
use crate::parameters::{Batch, Gradient, Layer, Parameters};
use crate::scalar::Scalar;

/// The gradient of [`super::Ordinary`], with W_k^{-T} refreshed from an inverse R of weights close by \[M41\]. The
/// first gradient of a workspace, and each layer whose weights have moved too far, take the inverse by LU. For dense
/// layers.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewtonSchulz {
    /// Whether every gradient starts from the R of the first one, as if it followed the first by one step: for timing.
    /// Else it starts from the last one's.
    pub restarts: bool,
}

/// What the inverses of a gradient took, over all layers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Refresh {
    /// Products of D×D matrices.
    pub products: usize,
    /// Layers that took an LU.
    pub factored: usize,
    /// The largest ‖F₀³‖/‖F₀²‖ of a layer, F₀ = I − RW: by how much R was off.
    pub residual: f64,
}

/// Work memory: that of the passes, an inverse a layer, four matrices of D×D, and probes.
pub struct Workspace<D: Device<T>, T: Scalar, C: Coupling<D, T> = Dense> {
    passes: Passes<D, T, C>,
    inverses: Followed<D, T>,
}

/// The inverse of every layer, and how it follows the weights.
struct Followed<D: Device<T>, T: Scalar> {
    /// Rᵀ of every layer, and whether it has been computed.
    known: Vec<(Matrix<D, T>, bool)>,
    /// Of an LU; its matrix is Fᵀ in between.
    lu: LuFactors<D, T>,
    spare: Matrix<D, T>,
    identity: Matrix<D, T>,
    /// Independent normals, D×[`PROBES`], and room for two products with them.
    probes: [Matrix<D, T>; 3],
    last: Refresh,
}

/// Columns of a probe: an estimate of a norm from eight is off by a factor of three once in some thousands of times.
const PROBES: usize = 8;

/// Seed of the probes, away from those of networks.
const SEED: u64 = 0x6e73_7072_6f62_6500;

/// Iterations until the last residual is given up: from ½ five square it below 2⁻²⁴ and six below 2⁻⁵³.
const MOST_ITERATIONS: usize = 8;

/// ‖F³‖/‖F²‖ from which on an LU takes over: the guard of MATH.md §19.
const LARGEST_RESIDUAL: f64 = 0.5;

/// Rounding of I − RW itself leaves up to so many times [`tolerance`], which no iteration removes.
const FLOOR: f64 = 4.0;

/// The one place for the tolerance of a refresh: ‖I − RW‖_F/√D is to be ε χ, χ = ‖W‖_F‖R‖_F/D, which is ε for an
/// orthogonal W; returned is the bound of ‖I − RW‖_F.
fn tolerance<T: Scalar>(weight_norm: f64, inverse_norm: f64, dim: usize) -> f64 {
    T::EPS * weight_norm * inverse_norm / (dim as f64).sqrt()
}

/// How R is brought closer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Iteration {
    /// Not at all: the residual is rounding.
    Done,
    /// R + FR, a residual of F².
    Square,
    /// R + F(R + FR), a residual of F³: where it is the last one it saves a product.
    Cube,
}

/// The next iteration, and whether it is the last, from ‖F‖_F, ‖F²‖_F, ‖F³‖_F; `None` where they do not fall.
fn next([first, second, third]: [f64; 3], tolerance: f64) -> Option<(Iteration, bool)> {
    if first <= FLOOR * tolerance {
        Some((Iteration::Done, true))
    } else if second <= tolerance {
        Some((Iteration::Square, true))
    } else if third <= tolerance {
        Some((Iteration::Cube, true))
    } else {
        (third.is_finite() && third <= LARGEST_RESIDUAL * second).then_some((Iteration::Square, false))
    }
}

/// Products of D×D matrices that a refresh in precision ε takes where F₀ is `residual` times an orthogonal matrix.
pub(crate) fn products(residual: f64, epsilon: f64) -> usize {
    let powers = [1, 2, 3].map(|power| residual.powi(power));
    match next(powers, epsilon) {
        Some((Iteration::Done, _)) => 1,
        Some((Iteration::Cube, _)) => 3,
        Some((Iteration::Square, true)) => 2,
        Some((Iteration::Square, false)) => 2 + products(powers[1], epsilon),
        None => 0,
    }
}

impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> GradientBackend<D, T, C> for NewtonSchulz {
    type Workspace = Workspace<D, T, C>;

    fn workspace(&self, device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self::Workspace> {
        if !C::IS_DENSE {
            return Err(Error::shape("newton-schulz", DENSE_ONLY, format!("{:?}", architecture.coupling)));
        }
        let passes = Passes::new(device, architecture, batch)?;
        Ok(Workspace { passes, inverses: Followed::new(device, architecture.layers, architecture.dim)? })
    }

    fn gradient<'a>(
        &self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: impl Into<Batch<'a, D, T>>,
        workspace: &mut Self::Workspace,
        out: &mut Gradient<D, T>,
    ) -> Result<()>
    where
        D: 'a,
    {
        let Workspace { passes, inverses } = workspace;
        inverses.last = Refresh::default();
        passes.gradient(device, parameters, batch.into(), out, |layer, out, _| {
            inverses.refresh(device, layer, self.restarts, out)?;
            Ok(T::of(1.0))
        })
    }

    fn refresh(workspace: &Self::Workspace) -> Option<Refresh> {
        Some(workspace.inverses.last)
    }
}

impl<D: Device<T>, T: Scalar> Followed<D, T> {
    fn new(device: &D, layers: usize, dim: usize) -> Result<Self> {
        let square = |what| Matrix::zeros(device, dim, dim, what);
        let known = (0..layers).map(|_| Ok((square("inverse of a weight")?, false))).collect::<Result<_>>()?;
        let normals: Vec<T> = normals(SEED, dim * PROBES).into_iter().map(T::of).collect();
        let room = || Matrix::zeros(device, dim, PROBES, "products with probes");
        let probes = [Matrix::from_column_major(device, &normals, dim, PROBES, "probes")?, room()?, room()?];
        let (lu, spare) = (LuFactors::new(device, dim)?, square("inverse in progress")?);
        Ok(Self { known, lu, spare, identity: Matrix::identity(device, dim)?, probes, last: Refresh::default() })
    }

    /// out ← W^{-T}.
    fn refresh(
        &mut self,
        device: &D,
        layer: &Layer<'_, D, T>,
        restarts: bool,
        mut out: MatrixMut<'_, D, T>,
    ) -> Result<()> {
        let k = layer.index;
        let is_known = self.known[k].1;
        if !is_known || !self.iterate(device, k, layer.weight.shorten(), out.reborrow())? {
            self.last.factored += 1;
            self.lu.invert(device, layer, out.reborrow())?;
        }
        // One that restarts does the same work, and drops the result.
        let kept = if restarts && is_known { &mut self.spare } else { &mut self.known[k].0 };
        device.copy(out.view(), kept.view_mut())?;
        self.known[k].1 = true;
        Ok(())
    }

    /// out ← Rᵀ with R W = I but for rounding; `false` where the last R is too far from it.
    fn iterate(
        &mut self,
        device: &D,
        k: usize,
        weight: MatrixRef<'_, D, T>,
        mut out: MatrixMut<'_, D, T>,
    ) -> Result<bool> {
        let one = T::of(1.0);
        let dim = weight.rows();
        let norms = [weight.shorten(), self.known[k].0.view()].map(|matrix| device.frobenius_norm(matrix));
        let [weight_norm, inverse_norm] = norms;
        let tolerance = tolerance::<T>(weight_norm?, inverse_norm?, dim);
        for iteration in 0..MOST_ITERATIONS {
            let Self { known, lu, spare, identity, probes, last } = self;
            let is_first = iteration == 0;
            if !is_first {
                device.copy(out.view(), spare.view_mut())?;
            }
            let start = known[k].0.view();
            let source = if is_first { start.shorten() } else { spare.view() };
            let residual = &mut lu.factors;
            let powers = device.in_full_precision(|device| {
                // Fᵀ = I − WᵀRᵀ: the residual on the side whose size bounds the error of R.
                let addend = Addend::Matrix(identity.view());
                device.multiply(T::of(-1.0), weight.transposed(), source.plain(), addend, residual.view_mut())?;
                powers(device, residual.view(), probes)
            })?;
            if is_first {
                last.residual = last.residual.max(if powers[1] > 0.0 { powers[2] / powers[1] } else { 0.0 });
            }
            last.products += 1;
            let Some((next, is_last)) = next(powers, tolerance) else { return Ok(false) };
            let residual = residual.view();
            if next == Iteration::Done {
                return device.copy(source, out.reborrow()).map(|()| true);
            }
            last.products += 1;
            device.multiply(one, source.plain(), residual.plain(), Addend::Matrix(source), out.reborrow())?;
            if next == Iteration::Cube {
                last.products += 1;
                let addend = if is_first { Addend::Matrix(start) } else { Addend::Scaled(one) };
                device.multiply(one, out.view().plain(), residual.plain(), addend, spare.view_mut())?;
                device.copy(spare.view(), out.reborrow())?;
            }
            if is_last {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Estimates of ‖F‖_F, ‖F²‖_F and ‖F³‖_F: E‖FⁱV‖_F² = m‖Fⁱ‖_F² for m columns of independent normals \[M34\].
fn powers<D: Device<T>, T: Scalar>(
    device: &D,
    residual: MatrixRef<'_, D, T>,
    [probes, even, odd]: &mut [Matrix<D, T>; 3],
) -> Result<[f64; 3]> {
    let times = |from: &Matrix<D, T>, to: &mut Matrix<D, T>| -> Result<f64> {
        device.multiply(T::of(1.0), residual.plain(), from.view().plain(), Addend::Zero, to.view_mut())?;
        Ok(device.frobenius_norm(to.view())? / (PROBES as f64).sqrt())
    };
    Ok([times(probes, odd)?, times(odd, even)?, times(even, odd)?])
}

#[cfg(test)]
pub(crate) mod tests;
