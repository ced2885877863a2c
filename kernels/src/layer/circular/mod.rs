//! Circular convolutions through the discrete Fourier transform, on the CPU \[M24\]–\[M27\].
//!
//! The DFT over the grid makes the D×D block-circulant matrix of a layer block-diagonal: one c×c matrix K̂(ω) a
//! frequency. Log-determinants \[M25\], gradients \[M26\] and inverses then cost O(n(c²N + c³) + cNn log n). Kernels
//! are real, so that half of the frequencies stand for all.

mod inverse;
mod once;
mod product;
mod transform;

use faer::linalg::solvers::Solve as _;
use faer::{Mat, MatMut, MatRef};
use realfft::num_complex::Complex;

use super::convolution::{self, Channels, add_to, entries_of_convolution, geometry_of_convolution};
use super::{Convolution, Coupling, Extent, ForGroup, Geometry, Group, MaybeGroup, Seen, SeenBlock};
use crate::cost::{Cost, Sizes};
use crate::device::{Addend, Cpu, Device, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::init::Init;
use crate::inversion::Solve;
use crate::method::Method;
use crate::parameters::{Arrays, Layer};
use crate::scalar::Scalar;
use inverse::Inverses;
use once::OnSpectra;
use product::{Side, Spectra};
use transform::{Transform, zeros};

/// A working precision that can be transformed: f32 or f64.
pub trait Spectral: Scalar + realfft::FftNum + OnSpectra {}

impl<T: Scalar + realfft::FftNum + OnSpectra> Spectral for T {}

/// Circular convolutions whose kernels have every tap on the grid (`FULL`), a group; or those of a window, which is
/// none: products of two leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circular<const FULL: bool>(pub Convolution);

/// Kernels with every tap: closed under products.
pub type EveryTap = Circular<true>;

/// Kernels of any support.
pub type Window = Circular<false>;

impl<const FULL: bool> Circular<FULL> {
    /// Layers of this convolution.
    pub fn of(convolution: Convolution) -> Self {
        Self(convolution)
    }
}

impl<const FULL: bool> Geometry for Circular<FULL> {
    fn validate(&self, dim: usize) -> Result<()> {
        if FULL && !self.0.is_full() {
            let [rows, cols] = self.0.kernel;
            return Err(Error::shape("convolution", "a kernel with every tap", format!("{rows}×{cols} taps")));
        }
        self.0.validate(dim)
    }

    geometry_of_convolution!();
}

/// Spectra of the kernels and of three blocks.
pub struct Work<T: Spectral> {
    transform: Transform<T>,
    spectra: Spectra,
    /// K̂_1 … K̂_L.
    kernels: Vec<Vec<Complex<T>>>,
    /// Of the block last read ([`Seen::Read`]), of that last written ([`Seen::Written`]), and scratch.
    blocks: [Vec<Complex<T>>; 3],
    /// Of a direction, twice.
    direction: [Vec<Complex<T>>; 2],
    /// A kernel.
    taps: Vec<T>,
    channels: Channels<T>,
    /// D×1.
    expanded: Matrix<Cpu, T>,
}

type Ref<'a, T> = MatrixRef<'a, Cpu, T>;
type Mut<'a, T> = MatrixMut<'a, Cpu, T>;

impl<T: Spectral> Work<T> {
    fn new(device: &Cpu, convolution: &Convolution, extent: Extent) -> Result<Self> {
        let transform = Transform::new(device, convolution)?;
        let spectra = spectra_of(device, convolution, &transform);
        let c = convolution.channels;
        let block = |samples: usize, what| zeros(spectra.block().saturating_mul(samples), what);
        let batch = || block(extent.batch, "spectra");
        let kernel = || block(c, "spectra of the kernels");
        Ok(Self {
            transform,
            kernels: (0..extent.layers).map(|_| kernel()).collect::<Result<_>>()?,
            blocks: [batch()?, batch()?, batch()?],
            direction: [kernel()?, kernel()?],
            taps: vec![T::of(0.0); c * c * convolution.taps()],
            channels: Channels::new(device, extent)?,
            expanded: Matrix::zeros(device, extent.dim, 1, "direction of a bias")?,
            spectra,
        })
    }

    /// Makes the spectrum of a block the `at`-th, unless it is there.
    fn load(&mut self, at: usize, block: &SeenBlock<'_, Cpu, T>) {
        let known = [Seen::Read, Seen::Written][at];
        debug_assert!(block.seen == Seen::No || block.seen == known);
        if block.seen != known {
            self.transform.fields(self.spectra.channels, block.matrix.slice(), &mut self.blocks[at]);
        }
    }

    /// out ← addend + factor times the taps of the spectrum of a direction.
    fn store(&mut self, factor: f64, addend: &Addend<'_, Cpu, T>, out: Mut<'_, T>) {
        self.transform.inverse_kernel(self.spectra.channels, &self.direction[0], &mut self.taps);
        add_to(addend, self.taps.iter().map(|x| factor * x.widen()), out);
    }
}

fn spectra_of<T: Spectral>(device: &Cpu, convolution: &Convolution, transform: &Transform<T>) -> Spectra {
    Spectra { channels: convolution.channels, frequencies: transform.frequencies(), threads: device.threads() }
}

impl<const FULL: bool> Circular<FULL> {
    /// gradient ← factor · gradient ∗ KᵀK for the kernel of layer k, restricted to its taps.
    pub(crate) fn times_gram<T: Spectral>(&self, k: usize, factor: T, gradient: Mut<'_, T>, work: &mut Work<T>) {
        let Work { transform, spectra, kernels, direction: [direction, product], .. } = work;
        transform.kernel(self.0.channels, gradient.view().slice(), direction);
        // g K̂ᴴ, then (g K̂ᴴ) K̂: both factors act from the right.
        product.fill(Complex::new(T::of(0.0), T::of(0.0)));
        T::add_outer(spectra, factor, direction, &kernels[k], product);
        T::apply(spectra, Side::Plain, product, &kernels[k], direction);
        work.store(1.0, &Addend::Zero, gradient);
    }
}

impl<T: Spectral, const FULL: bool> Coupling<Cpu, T> for Circular<FULL> {
    type Work = Work<T>;
    type Inverse = Inverses<T>;

    fn work(&self, device: &Cpu, extent: Extent) -> Result<Work<T>> {
        Work::new(device, &self.0, extent)
    }

    fn inverse(&self, device: &Cpu, _dim: usize) -> Result<Inverses<T>> {
        Inverses::new(spectra_of(device, &self.0, &Transform::<T>::new(device, &self.0)?))
    }

    fn prepare(&self, _device: &Cpu, arrays: &Arrays<Cpu, T>, work: &mut Work<T>) -> Result<()> {
        for (kernel, spectrum) in arrays.weights.iter().zip(&mut work.kernels) {
            work.transform.kernel(self.0.channels, kernel.view().slice(), spectrum);
        }
        work.channels.prepare(arrays);
        Ok(())
    }

    fn push(
        &self,
        _device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        z: Ref<'_, T>,
        y: Mut<'_, T>,
        work: &mut Work<T>,
    ) -> Result<()> {
        let Work { transform, spectra, kernels, blocks: [input, _, output], .. } = work;
        let (input, output) = (&mut input[..spectra.block() * z.cols()], &mut output[..spectra.block() * z.cols()]);
        transform.fields(self.0.channels, z.slice(), input);
        T::apply(spectra, Side::Plain, &kernels[layer.index], input, output);
        transform.inverse_fields(self.0.channels, output, y.into_slice());
        Ok(())
    }

    fn pull(
        &self,
        _device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        delta: Ref<'_, T>,
        v: Mut<'_, T>,
        work: &mut Work<T>,
    ) -> Result<()> {
        let Work { transform, spectra, kernels, blocks: [read, _, output], .. } = work;
        transform.fields(self.0.channels, delta.slice(), read);
        T::apply(spectra, Side::Adjoint, &kernels[layer.index], read, output);
        transform.inverse_fields(self.0.channels, output, v.into_slice());
        Ok(())
    }

    fn outer(
        &self,
        _device: &Cpu,
        alpha: T,
        (left, right): (SeenBlock<'_, Cpu, T>, SeenBlock<'_, Cpu, T>),
        addend: Addend<'_, Cpu, T>,
        out: Mut<'_, T>,
        work: &mut Work<T>,
    ) -> Result<()> {
        work.load(0, &left);
        work.load(1, &right);
        let Work { spectra, blocks: [left, right, _], direction: [direction, _], .. } = work;
        direction.fill(Complex::new(T::of(0.0), T::of(0.0)));
        T::add_outer(spectra, alpha, left, right, direction);
        work.store(1.0, &addend, out);
        Ok(())
    }

    /// Of a block just written by Parseval: its transform alone is there.
    fn norm(&self, device: &Cpu, block: &SeenBlock<'_, Cpu, T>, work: &Work<T>) -> Result<f64> {
        if block.seen != Seen::Written {
            return device.frobenius_norm(block.matrix);
        }
        let Work { transform, spectra, blocks, .. } = work;
        let square = |(i, x): (usize, &Complex<T>)| {
            let size = x.re.widen().hypot(x.im.widen());
            transform.multiplicity(i / spectra.channels % spectra.frequencies) * size * size
        };
        Ok((blocks[1].iter().enumerate().map(square).sum::<f64>() / self.0.multiplicity()).sqrt())
    }

    fn invert_transposed(
        &self,
        _device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        out: Mut<'_, T>,
        inverse: &mut Inverses<T>,
        work: &mut Work<T>,
    ) -> Result<()> {
        let kernel = &work.kernels[layer.index];
        inverse.write(kernel).map_err(|(f, condition)| singular(&work.transform, layer.index, f, condition))?;
        inverse.scatter(T::of(1.0), &mut work.direction[0]);
        work.store(1.0, &Addend::Zero, out);
        Ok(())
    }

    fn outer_bias(
        &self,
        device: &Cpu,
        alpha: T,
        (left, samples): (Ref<'_, T>, Ref<'_, T>),
        addend: Addend<'_, Cpu, T>,
        out: Mut<'_, T>,
        work: &mut Work<T>,
    ) -> Result<()> {
        device.multiply(T::of(1.0), left.plain(), samples.plain(), Addend::Zero, work.expanded.view_mut())?;
        convolution::sum(alpha.widen(), work.expanded.view(), &addend, out);
        Ok(())
    }

    entries_of_convolution!();

    /// log|det W| = Σ_ω log|det K̂(ω)| \[M25\].
    fn log_abs_det(&self, _device: &Cpu, _dim: usize, layer: &Layer<'_, Cpu, T>) -> Result<f64> {
        let wide: Vec<f64> = layer.weight.slice().iter().map(|x| x.widen()).collect();
        let mut sum = 0.0;
        each_frequency(&Cpu::new(1), &self.0, layer.index, &wide, |transform, f, factors| {
            let u = factors.U();
            let log = |i: usize| u[(i, i)].re.hypot(u[(i, i)].im).ln();
            sum += transform.multiplicity(f) * (0..u.nrows()).map(log).sum::<f64>();
        })?;
        Ok(sum)
    }

    fn factor(&self, device: &Cpu, _dim: usize, layer: &Layer<'_, Cpu, T>) -> Result<Box<dyn Solve<T>>> {
        let mut factors = Vec::new();
        let weight = layer.weight.slice();
        each_frequency(device, &self.0, layer.index, weight, |_, _, of_one| factors.push(of_one))?;
        Ok(Box::new(Frequencies { device: *device, convolution: self.0, factors }))
    }
}

impl<T: Spectral> Group<Cpu, T> for EveryTap {
    fn pull_pair(
        &self,
        _device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        errors: Ref<'_, T>,
        pulled: Mut<'_, T>,
        work: &mut Work<T>,
    ) -> Result<()> {
        let Work { transform, spectra, kernels, blocks: [read, written, output], .. } = work;
        let (channels, kernel) = (self.0.channels, &kernels[layer.index]);
        let samples = read.len() / spectra.block();
        transform.fields(channels, errors.columns(0, samples).slice(), read);
        T::apply(spectra, Side::Adjoint, kernel, read, written);
        if errors.cols() > samples {
            transform.fields(channels, errors.columns(samples, samples).slice(), read);
            T::apply(spectra, Side::Adjoint, kernel, read, output);
            transform.inverse_fields(channels, output, pulled.columns(samples, samples).into_slice());
        }
        Ok(())
    }
}

impl<T: Spectral> MaybeGroup<Cpu, T> for EveryTap {
    fn if_group<V: ForGroup<Cpu, T, Self>>(&self, visitor: V) -> Result<V::Out> {
        visitor.call(*self)
    }
}

impl<T: Spectral> MaybeGroup<Cpu, T> for Window {}

type Lu<T> = faer::linalg::solvers::PartialPivLu<Complex<T>>;

/// Gives `take` the LU of K̂(ω) at every frequency.
///
/// # Errors
/// [`Error::Singular`] names layer and frequency of a zero pivot, or of one that is not finite.
fn each_frequency<T: Spectral>(
    device: &Cpu,
    convolution: &Convolution,
    layer: usize,
    kernel: &[T],
    mut take: impl FnMut(&Transform<T>, usize, Lu<T>),
) -> Result<()> {
    let mut transform = Transform::new(device, convolution)?;
    let spectra = spectra_of(device, convolution, &transform);
    let mut spectrum = zeros(spectra.block() * convolution.channels, "spectrum of a kernel")?;
    transform.kernel(convolution.channels, kernel, &mut spectrum);
    for f in 0..spectra.frequencies {
        let factors =
            T::factor(spectra.at(&spectrum, f)).ok_or_else(|| singular(&transform, layer, f, f64::INFINITY))?;
        take(&transform, f, factors);
    }
    Ok(())
}

/// The LU of K̂(ω), unless a pivot is zero or not finite.
fn factor<T: Spectral>(matrix: MatRef<'_, Complex<T>>) -> Option<Lu<T>> {
    let factors = Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)]).partial_piv_lu();
    let upper = factors.U();
    let usable = |i: usize| {
        let pivot = upper[(i, i)].re.widen().hypot(upper[(i, i)].im.widen());
        pivot > 0.0 && pivot.is_finite()
    };
    (0..matrix.nrows()).all(usable).then_some(factors)
}

fn solve<T: Spectral>(factors: &Lu<T>, y: MatMut<'_, Complex<T>>) {
    factors.solve_in_place(y);
}

fn singular<T: Spectral>(transform: &Transform<T>, layer: usize, f: usize, condition: f64) -> Error {
    let (row, col) = transform.frequency(f);
    Error::Singular { matrix: format!("kernel of layer {} at frequency ({row}, {col})", layer + 1), condition }
}

/// The LU of K̂(ω) at every frequency.
struct Frequencies<T: Spectral> {
    device: Cpu,
    convolution: Convolution,
    factors: Vec<Lu<T>>,
}

impl<T: Spectral> Solve<T> for Frequencies<T> {
    fn solve(&self, y: &mut [T]) -> Result<()> {
        let mut transform = Transform::new(&self.device, &self.convolution)?;
        let spectra = spectra_of(&self.device, &self.convolution, &transform);
        let mut batch = zeros(spectra.block() * (y.len() / self.convolution.dim()), "spectra")?;
        transform.fields(spectra.channels, y, &mut batch);
        for (f, factors) in self.factors.iter().enumerate() {
            T::solve(factors, spectra.at_mut(&mut batch, f));
        }
        transform.inverse_fields(spectra.channels, &batch, y);
        Ok(())
    }
}
