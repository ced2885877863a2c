//! 1×1 kernels: a dense c×c matrix on the channels of every grid point, on the CPU.
//!
//! Channels stand n numbers apart, so that a sample is an n×c matrix and y = W z is y ← z Wᵀ, one product a sample.

use rayon::prelude::*;

use super::convolution::{self, Channels, add_to, entries_of_convolution, geometry_of_convolution};
use super::pending::Pending;
use super::{Convolution, Coupling, Dense, Extent, ForGroup, Geometry, Group, MaybeGroup, SeenBlock};
use crate::cost::{Cost, Sizes};
use crate::device::{Addend, Cpu, Device, Factor, Matrix, MatrixMut, MatrixRef};
use crate::error::Result;
use crate::init::Init;
use crate::inversion::{DenseFactors, Solve};
use crate::method::Method;
use crate::network::Architecture;
use crate::parameters::{Arrays, Layer};
use crate::scalar::Scalar;

/// A convolution with one tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointwise(pub Convolution);

impl Geometry for Pointwise {
    fn validate(&self, dim: usize) -> Result<()> {
        Convolution { kernel: [1, 1], ..self.0 }.validate(dim)
    }

    geometry_of_convolution!();
}

type Ref<'a, T> = MatrixRef<'a, Cpu, T>;
type Mut<'a, T> = MatrixMut<'a, Cpu, T>;

/// Biases on all points, and a direction of each thread.
pub struct Work<T: Scalar> {
    channels: Channels<T>,
    /// c×c side by side.
    partial: Matrix<Cpu, T>,
}

/// Multiply-adds below which products stay on the calling thread.
const PARALLEL_WORK: usize = 1 << 18;

impl Pointwise {
    /// out_s ← z_s factor for every sample.
    fn each_sample<'a, T: Scalar>(
        &self,
        device: &Cpu,
        factor: impl Fn() -> Factor<'a, Cpu, T> + Sync,
        z: Ref<'_, T>,
        out: Mut<'_, T>,
    ) -> Result<()> {
        let (n, c) = (self.0.points(), self.0.channels);
        let samples = z.slice().par_chunks_exact(n * c).zip(out.into_slice().par_chunks_exact_mut(n * c));
        let least = if device.threads() == 1 { usize::MAX } else { PARALLEL_WORK.div_ceil(n * c * c) };
        let product = |(z, out): (&[T], &mut [T])| {
            let (z, out) = (MatrixRef::of_slice(z, n, c), MatrixMut::of_slice(out, n, c));
            Cpu::new(1).multiply(T::of(1.0), MatrixRef::plain(z), factor(), Addend::Zero, out)
        };
        samples.with_min_len(least).map(product).reduce(|| Ok(()), Result::and)
    }
}

impl<T: Scalar> Coupling<Cpu, T> for Pointwise {
    type Work = Work<T>;
    type Inverse = <Dense as Coupling<Cpu, T>>::Inverse;

    fn work(&self, device: &Cpu, extent: Extent) -> Result<Work<T>> {
        let c = self.0.channels;
        Ok(Work {
            channels: Channels::new(device, extent)?,
            partial: Matrix::zeros(device, c, c.saturating_mul(device.threads()), "directions of threads")?,
        })
    }

    fn inverse(&self, device: &Cpu, _dim: usize) -> Result<Self::Inverse> {
        Dense.inverse(device, self.0.channels)
    }

    fn parts(&self, device: &Cpu, architecture: &Architecture<Self>, batch: usize) -> usize {
        let pixel = Architecture { dim: self.0.channels, ..architecture.with(Dense) };
        Device::<T>::sample_parts(device, &pixel, self.0.points().saturating_mul(batch)).min(batch)
    }

    fn prepare(&self, _device: &Cpu, arrays: &Arrays<Cpu, T>, work: &mut Work<T>) -> Result<()> {
        work.channels.prepare(arrays);
        Ok(())
    }

    fn push(
        &self,
        device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        z: Ref<'_, T>,
        y: Mut<'_, T>,
        _work: &mut Work<T>,
    ) -> Result<()> {
        self.each_sample(device, || layer.weight.transposed(), z, y)
    }

    fn pull(
        &self,
        device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        delta: Ref<'_, T>,
        v: Mut<'_, T>,
        _work: &mut Work<T>,
    ) -> Result<()> {
        self.each_sample(device, || layer.weight.plain(), delta, v)
    }

    fn outer(
        &self,
        device: &Cpu,
        alpha: T,
        (left, right): (SeenBlock<'_, Cpu, T>, SeenBlock<'_, Cpu, T>),
        addend: Addend<'_, Cpu, T>,
        out: Mut<'_, T>,
        work: &mut Work<T>,
    ) -> Result<()> {
        let (n, c) = (self.0.points(), self.0.channels);
        let samples = left.matrix.cols();
        let share = samples.div_ceil(if samples * n * c * c < PARALLEL_WORK { 1 } else { device.threads() });
        let lefts = left.matrix.slice().par_chunks(share * n * c);
        let rights = right.matrix.slice().par_chunks(share * n * c);
        let parts = lefts.len();
        let partial = work.partial.view_mut().into_slice();
        let sum = |((left, right), out): ((&[T], &[T]), &mut [T])| -> Result<()> {
            let mut out = MatrixMut::of_slice(out, c, c);
            for (i, (left, right)) in left.chunks_exact(n * c).zip(right.chunks_exact(n * c)).enumerate() {
                let addend = if i == 0 { Addend::Zero } else { Addend::Scaled(T::of(1.0)) };
                let (left, right) = (MatrixRef::of_slice(left, n, c), MatrixRef::of_slice(right, n, c));
                let factors = (MatrixRef::transposed(left), MatrixRef::plain(right));
                Cpu::new(1).multiply(T::of(1.0), factors.0, factors.1, addend, out.reborrow())?;
            }
            Ok(())
        };
        lefts.zip(rights).zip(partial.par_chunks_exact_mut(c * c)).map(sum).reduce(|| Ok(()), Result::and)?;
        let total = |i: usize| (0..parts).map(|part| partial[part * c * c + i].widen()).sum::<f64>();
        add_to(&addend, (0..c * c).map(|i| alpha.widen() * total(i)), out);
        Ok(())
    }

    fn invert_transposed(
        &self,
        device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        out: Mut<'_, T>,
        inverse: &mut Self::Inverse,
        _work: &mut Work<T>,
    ) -> Result<()> {
        Dense.invert_transposed(device, layer, out, inverse, &mut Pending::default())
    }

    /// Every pixel has its own: they are the samples.
    fn weights_per_sample(&self) -> usize {
        self.0.points()
    }

    fn weigh(
        &self,
        _device: &Cpu,
        y: Ref<'_, T>,
        layer: &Layer<'_, Cpu, T>,
        c: Mut<'_, T>,
        _work: &Work<T>,
    ) -> Result<()> {
        let Some(bias) = &layer.bias else { return Ok(()) };
        let n = self.0.points();
        for (y, c) in y.slice().chunks_exact(n * bias.rows()).zip(c.into_slice().chunks_exact_mut(n)) {
            for (y, &b) in y.chunks_exact(n).zip(bias.slice()) {
                c.iter_mut().zip(y).for_each(|(c, &y)| *c += b * y);
            }
        }
        Ok(())
    }

    fn outer_bias(
        &self,
        _device: &Cpu,
        alpha: T,
        (left, pixels): (Ref<'_, T>, Ref<'_, T>),
        addend: Addend<'_, Cpu, T>,
        out: Mut<'_, T>,
        _work: &mut Work<T>,
    ) -> Result<()> {
        let (n, dim) = (self.0.points(), left.rows());
        let sum = |channel: usize| {
            let samples = left.slice().chunks_exact(dim).zip(pixels.slice().chunks_exact(n));
            let sample = |(left, c): (&[T], &[T])| {
                let pixels = left[channel * n..].iter().zip(c);
                pixels.fold(0.0, |sum, (&left, &c)| sum + (left * c).widen())
            };
            alpha.widen() * samples.map(sample).sum::<f64>()
        };
        add_to(&addend, (0..self.0.channels).map(sum), out);
        Ok(())
    }

    entries_of_convolution!();

    fn log_abs_det(&self, device: &Cpu, _dim: usize, layer: &Layer<'_, Cpu, T>) -> Result<f64> {
        Ok(self.0.multiplicity() * Dense.log_abs_det(device, self.0.channels, layer)?)
    }

    fn factor(&self, _device: &Cpu, _dim: usize, layer: &Layer<'_, Cpu, T>) -> Result<Box<dyn Solve<T>>> {
        let factors = DenseFactors::new(layer.index, self.0.channels, layer.weight.slice())?;
        Ok(Box::new(Pixels { convolution: self.0, factors }))
    }
}

/// The factors of W, for the pixels of samples.
struct Pixels<T: Scalar> {
    convolution: Convolution,
    factors: DenseFactors<T>,
}

impl<T: Scalar> Solve<T> for Pixels<T> {
    fn solve(&self, y: &mut [T]) -> Result<()> {
        let (n, c) = (self.convolution.points(), self.convolution.channels);
        let mut pixels = vec![T::default(); n * c];
        for sample in y.chunks_exact_mut(n * c) {
            for (p, pixel) in pixels.chunks_exact_mut(c).enumerate() {
                pixel.iter_mut().zip(sample[p..].iter().step_by(n)).for_each(|(to, &from)| *to = from);
            }
            self.factors.solve(&mut pixels)?;
            for (p, pixel) in pixels.chunks_exact(c).enumerate() {
                sample[p..].iter_mut().step_by(n).zip(pixel).for_each(|(to, &from)| *to = from);
            }
        }
        Ok(())
    }
}

impl<T: Scalar> Group<Cpu, T> for Pointwise {}

impl<T: Scalar> MaybeGroup<Cpu, T> for Pointwise {
    fn if_group<V: ForGroup<Cpu, T, Self>>(&self, visitor: V) -> Result<V::Out> {
        visitor.call(*self)
    }
}
