//! The ordinary gradient with an unbiased sketch of the inverses: random probes, and a solve with Wᵀ by conjugate
//! gradients (MATH.md §24).

use nalgebra::DMatrix;

use super::GradientBackend;
use super::ordinary::Passes;
use crate::Tuning;
use crate::device::{Addend, Device, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::init::Signs;
use crate::layer::{Coupling, DENSE_ONLY, Dense};
use crate::network::Architecture;
use crate::parameters::{Batch, Gradient, Parameters};
use crate::scalar::Scalar;

/// G_k = (1/N) δ_k Z_{k-1}ᵀ + C_k + (1/m)(Q_k − C_kΩ)Ωᵀ, Q_k ≈ W_k^{-T}Ω \[M62\], for m probes Ω that all layers share.
/// E ΩΩᵀ = m I, so its mean over the probes is the ordinary gradient, but for what the solve leaves. For dense layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hutchinson {
    /// m, columns of Ω: signs drawn anew for each gradient.
    pub probes: usize,
    /// η: the solve ends where ‖Q − W^{-T}Ω‖_F ≤ η‖Q‖_F, as far as its last steps tell \[M63\].
    pub tolerance: f64,
    /// Steps after which it ends all the same.
    pub most_iterations: usize,
    /// Whether C = γW, γ = D/‖W‖_F² \[M36\], which takes D²/‖W‖_F² off the variance; else C = 0.
    pub control: bool,
    /// Of the probes.
    pub seed: u64,
}

impl Default for Hutchinson {
    fn default() -> Self {
        Self { probes: PROBES, tolerance: TOLERANCE, most_iterations: MOST_ITERATIONS, control: true, seed: SEED }
    }
}

impl Hutchinson {
    /// With the numbers that `tuning` has.
    pub fn tuned(tuning: Tuning) -> Self {
        let Tuning { probes, tolerance, .. } = tuning;
        Self { probes: probes.unwrap_or(PROBES), tolerance: tolerance.unwrap_or(TOLERANCE), ..Self::default() }
    }
}

/// m by default.
const PROBES: usize = 10;

/// η by default: a bias that is small beside the noise of ten probes, √((D−1)/m) of the share.
const TOLERANCE: f64 = 1e-3;

/// More than half of cond(W) ln(2/η), which a solve takes, for every cond(W) up to 250.
const MOST_ITERATIONS: usize = 1000;

/// Away from the seeds of networks.
const SEED: u64 = 0x6875_7463_6869_6e00;

/// What the solves of a gradient took.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Solved {
    /// Steps of conjugate gradients, over all layers.
    pub iterations: usize,
    /// The largest ‖Q − W^{-T}Ω‖_F/‖Q‖_F of a layer, as the last steps tell it.
    pub error: f64,
}

/// What a check must know of a gradient whose inverses are sketched.
#[derive(Debug, Clone)]
pub struct Sketched {
    /// Ω, D×m.
    pub probes: DMatrix<f64>,
    /// Whether C = γW, else 0.
    pub control: bool,
    /// η.
    pub tolerance: f64,
    /// ‖Q‖_F of every layer, as its solve tells it: by its size an error is judged.
    pub sizes: Vec<f64>,
}

impl Sketched {
    /// γ, of C = γW.
    pub(crate) fn gain(&self, dim: usize, weight_norm: f64) -> f64 {
        if self.control { dim as f64 / (weight_norm * weight_norm) } else { 0.0 }
    }
}

/// Work memory: that of the passes, six blocks of D×m, and two small squares.
pub struct Workspace<D: Device<T>, T: Scalar, C: Coupling<D, T> = Dense> {
    passes: Passes<D, T, C>,
    solver: ConjugateGradients<D, T>,
    /// Where probes come from, unless they were given.
    signs: Option<Signs>,
    host: Vec<T>,
}

impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> Workspace<D, T, C> {
    /// Sets Ω (D×m, column by column) for all further gradients.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    pub fn set_probes(&mut self, device: &D, probes: &[T]) -> Result<()> {
        self.signs = None;
        device.upload(probes, self.solver.probes.view_mut().into_slice())
    }

    /// ‖ω − Wᵀq‖ of every probe, layer by layer, where the last solve ended by its count of steps.
    pub fn residuals(&self) -> &[Vec<f64>] {
        &self.solver.residuals
    }
}

/// Conjugate gradients on WᵀW X = Ω, Q = W X, all columns at a time.
struct ConjugateGradients<D: Device<T>, T: Scalar> {
    /// Ω; every other block is D×m too.
    probes: Matrix<D, T>,
    solution: Matrix<D, T>,
    residual: Matrix<D, T>,
    direction: Matrix<D, T>,
    /// Wᵀt, then the next direction.
    spare: Matrix<D, T>,
    /// t = W p.
    pushed: Matrix<D, T>,
    squares: Squares<D, T>,
    residuals: Vec<Vec<f64>>,
    /// ‖Q‖_F of every layer.
    sizes: Vec<f64>,
    last: Solved,
}

/// Numbers a column, by way of m×m matrices: what a device can do with columns is to multiply them.
struct Squares<D: Device<T>, T: Scalar> {
    square: Matrix<D, T>,
    host: Vec<T>,
    /// ‖r‖² and ‖t‖² of every column.
    norms: [Vec<f64>; 2],
    /// α or β of every column.
    factors: Vec<f64>,
}

impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> GradientBackend<D, T, C> for Hutchinson {
    type Workspace = Workspace<D, T, C>;

    fn workspace(&self, device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self::Workspace> {
        if !C::IS_DENSE {
            return Err(Error::shape("hutchinson", DENSE_ONLY, format!("{:?}", architecture.coupling)));
        }
        if self.probes == 0 || self.most_iterations == 0 {
            return Err(Error::invalid("probes and steps of a solve", 0.0, "must be at least 1"));
        }
        let passes = Passes::new(device, architecture, batch)?;
        let (dim, count) = (architecture.dim, self.probes);
        Ok(Workspace {
            passes,
            solver: ConjugateGradients::new(device, architecture.layers, dim, count)?,
            signs: Some(Signs::new(self.seed)),
            host: vec![T::default(); dim.saturating_mul(count)],
        })
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
        let Workspace { passes, solver, signs, host } = workspace;
        if let Some(signs) = signs {
            signs.fill(host);
            device.upload(host, solver.probes.view_mut().into_slice())?;
        }
        solver.last = Solved::default();
        passes.gradient(device, parameters, batch.into(), out, |layer, out, _| {
            solver.share(device, self, layer.index, layer.weight.shorten(), out)
        })
    }

    fn solved(workspace: &Self::Workspace) -> Option<Solved> {
        Some(workspace.solver.last)
    }

    fn sketched(&self, device: &D, workspace: &Self::Workspace) -> Result<Option<Sketched>> {
        let probes = &workspace.solver.probes;
        let numbers = probes.to_column_major(device)?.into_iter().map(Scalar::widen).collect();
        let probes = DMatrix::from_vec(probes.rows(), probes.cols(), numbers);
        let sizes = workspace.solver.sizes.clone();
        Ok(Some(Sketched { probes, control: self.control, tolerance: self.tolerance, sizes }))
    }
}

impl<D: Device<T>, T: Scalar> ConjugateGradients<D, T> {
    fn new(device: &D, layers: usize, dim: usize, count: usize) -> Result<Self> {
        let block = |what| Matrix::zeros(device, dim, count, what);
        Ok(Self {
            probes: block("probes")?,
            solution: block("solution for the probes")?,
            residual: block("residual of the probes")?,
            direction: block("direction of the solve")?,
            spare: block("direction of the solve")?,
            pushed: block("product of the solve")?,
            squares: Squares {
                square: Matrix::zeros(device, count, count, "factors of the solve")?,
                host: vec![T::default(); count * count],
                norms: [vec![0.0; count], vec![0.0; count]],
                factors: vec![0.0; count],
            },
            residuals: vec![vec![0.0; count]; layers],
            sizes: vec![0.0; layers],
            last: Solved::default(),
        })
    }

    /// `out` times the returned factor ← C + (1/m)(Q − CΩ)Ωᵀ.
    fn share(
        &mut self,
        device: &D,
        method: &Hutchinson,
        layer: usize,
        weight: MatrixRef<'_, D, T>,
        out: MatrixMut<'_, D, T>,
    ) -> Result<T> {
        let count = self.probes.cols() as f64;
        let gain =
            if method.control { weight.rows() as f64 / device.frobenius_norm(weight.shorten())?.powi(2) } else { 0.0 };
        self.solve(device, method, layer, weight.shorten(), gain)?;
        let (scale, addend, factor) = match method.control {
            // What is written is C/γ + …, so that W needs no scaled copy.
            true => (1.0 / (gain * count), Addend::Matrix(weight), gain),
            false => (1.0 / count, Addend::Zero, 1.0),
        };
        let (left, right) = (self.solution.view(), self.probes.view());
        device.multiply(T::of(scale), left.plain(), right.transposed(), addend, out)?;
        Ok(T::of(factor))
    }

    /// `solution` ← Q − γWΩ. The first direction is Ω, so that WΩ is at hand.
    fn solve(
        &mut self,
        device: &D,
        method: &Hutchinson,
        layer: usize,
        weight: MatrixRef<'_, D, T>,
        gain: f64,
    ) -> Result<()> {
        let Self { probes, solution, residual, direction, spare, pushed, squares, residuals, sizes, last } = self;
        let (one, singular) = (T::of(1.0), || singular(layer));
        device.copy(probes.view(), residual.view_mut())?;
        device.copy(probes.view(), direction.view_mut())?;
        squares.measure(device, 0, residual.view())?;
        let mut gains = Gains::default();
        for iteration in 0..method.most_iterations {
            device.multiply(
                one,
                weight.shorten().plain(),
                direction.view().plain(),
                Addend::Zero,
                pushed.view_mut(),
            )?;
            squares.measure(device, 1, pushed.view())?;
            let gained = squares.lengths().ok_or_else(singular)?;
            let addend = if iteration == 0 { Addend::Zero } else { Addend::Scaled(one) };
            let shift = if iteration == 0 { gain } else { 0.0 };
            squares.multiply(device, (1.0, shift), pushed.view(), addend, solution.view_mut())?;
            last.iterations += 1;
            if !gains.add(gained) {
                return Err(singular());
            }
            if gains.error() <= method.tolerance {
                break;
            }
            device.multiply(one, weight.transposed(), pushed.view().plain(), Addend::Zero, spare.view_mut())?;
            squares.multiply(device, (-1.0, 0.0), spare.view(), Addend::Scaled(one), residual.view_mut())?;
            squares.turn(device, residual.view())?;
            let addend = Addend::Matrix(residual.view());
            squares.multiply(device, (1.0, 0.0), direction.view(), addend, spare.view_mut())?;
            std::mem::swap(direction, spare);
        }
        residuals[layer].iter_mut().zip(&squares.norms[0]).for_each(|(to, square)| *to = square.sqrt());
        sizes[layer] = gains.total.sqrt();
        last.error = last.error.max(gains.error());
        Ok(())
    }
}

fn singular(layer: usize) -> Error {
    Error::Singular { matrix: format!("weight of layer {}", layer + 1), condition: f64::INFINITY }
}

/// What the steps of a solve have gained, ‖Q_{i+1}‖² − ‖Q_i‖² = Σ_j α_j‖r_j‖² \[M63\]: as much as the squared error
/// fell.
#[derive(Debug, Clone, Copy, Default)]
struct Gains {
    total: f64,
    /// The last gains, the last one first.
    last: [f64; 3],
    count: usize,
}

impl Gains {
    /// `false` where it is not a number.
    fn add(&mut self, gained: f64) -> bool {
        self.last.rotate_right(1);
        self.last[0] = gained;
        self.total += gained;
        self.count += 1;
        self.total.is_finite()
    }

    /// ‖Q − Q_i‖/‖Q_i‖ if all further gains fall by the worse of the last two ratios; infinite where they do not fall.
    fn error(&self) -> f64 {
        let last = self.last[0];
        let known = &self.last[..self.count.min(self.last.len())];
        let ratio = match known.windows(2).map(|pair| pair[0] / pair[1]).reduce(f64::max) {
            Some(ratio) if !ratio.is_nan() => ratio,
            _ => f64::INFINITY,
        };
        if last <= 0.0 {
            return 0.0;
        }
        if ratio < 1.0 { (last * ratio / (1.0 - ratio) / self.total).sqrt() } else { f64::INFINITY }
    }
}

impl<D: Device<T>, T: Scalar> Squares<D, T> {
    /// The squared norms of a block's columns.
    fn measure(&mut self, device: &D, which: usize, block: MatrixRef<'_, D, T>) -> Result<()> {
        let Self { square, host, norms, .. } = self;
        device.multiply(T::of(1.0), block.transposed(), block.plain(), Addend::Zero, square.view_mut())?;
        device.download(square.view().slice(), host)?;
        let diagonal = host.iter().step_by(norms[which].len() + 1);
        norms[which].iter_mut().zip(diagonal).for_each(|(norm, number)| *norm = number.widen());
        Ok(())
    }

    /// α = ‖r‖²/‖t‖², and the sum of α‖r‖²; `None` where Wp = 0 for a p that is not.
    fn lengths(&mut self) -> Option<f64> {
        let [of_residual, of_pushed] = &self.norms;
        let mut gained = 0.0;
        for ((alpha, r), t) in self.factors.iter_mut().zip(of_residual).zip(of_pushed) {
            // A column that is solved exactly stays as it is.
            *alpha = if *r == 0.0 { 0.0 } else { r / t };
            gained += *alpha * r;
        }
        (gained.is_finite()).then_some(gained)
    }

    /// β = ‖r‖²/‖r before‖².
    fn turn(&mut self, device: &D, residual: MatrixRef<'_, D, T>) -> Result<()> {
        self.factors.copy_from_slice(&self.norms[0]);
        self.measure(device, 0, residual)?;
        for (beta, norm) in self.factors.iter_mut().zip(&self.norms[0]) {
            *beta = if *beta == 0.0 { 0.0 } else { norm / *beta };
        }
        Ok(())
    }

    /// out ← addend + block diag(scale·factors − shift).
    fn multiply(
        &mut self,
        device: &D,
        (scale, shift): (f64, f64),
        block: MatrixRef<'_, D, T>,
        addend: Addend<'_, D, T>,
        out: MatrixMut<'_, D, T>,
    ) -> Result<()> {
        let Self { square, host, factors, .. } = self;
        let count = factors.len();
        host.fill(T::default());
        let diagonal = host.iter_mut().step_by(count + 1);
        diagonal.zip(factors).for_each(|(to, factor)| *to = T::of(scale * *factor - shift));
        device.upload(host, square.view_mut().into_slice())?;
        device.multiply(T::of(1.0), block.plain(), square.view().plain(), addend, out)
    }
}

#[cfg(test)]
mod tests;
