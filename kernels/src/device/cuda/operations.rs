//! The operations of a device on memory that is known by address: kernels of ours, and what a GPU's libraries do.

use super::gemm::Gemm;
use super::launch::{Kernels, Launcher};
use super::memory::{Block, Slice, SliceMut, Span};
use crate::device::raw::{Combination, Raw, Term};
use crate::device::{Addend, MatrixMut, Memory};
use crate::elementwise::{DensityParameters, SigmaParameters};
use crate::error::Result;
use crate::network::{Activation, Base};
use crate::scalar::Scalar;

/// What the operations are made of: a GPU has it, and so has the emulation of the tests. Addresses are of its memory.
///
/// # Safety
/// The unsafe functions take it that the addresses are of as much memory as they use.
pub trait Gpu: Sized {
    type Buffer<T: Scalar>: Block;

    /// Where kernels leave what the host wants to know.
    fn answers(&self) -> &impl Answers;

    /// The kernels for numbers of type `T`, ready to run from the calling thread.
    fn kernels<T: Scalar>(&self) -> Result<Kernels<impl Launcher, T>>;

    /// Zero-filled memory.
    fn buffer<T: Scalar>(&self, len: usize, what: &str) -> Result<Self::Buffer<T>>;

    /// Copies all of `source`, which is not empty, to the device.
    unsafe fn copy_from_host<T: Scalar>(&self, source: &[T], to: u64) -> Result<()>;

    /// Fills `destination`, which is not empty, from the device.
    unsafe fn copy_to_host<T: Scalar>(&self, from: u64, destination: &mut [T]) -> Result<()>;

    /// Copies at least one byte on the device.
    unsafe fn copy_bytes(&self, from: u64, to: u64, bytes: usize) -> Result<()>;

    /// c ← α op(a) op(b) + β c; with β = 0 the old c is not read.
    unsafe fn gemm<T: Scalar>(&self, gemm: &Gemm, factors: (T, T), operands: [u64; 3]) -> Result<()>;

    /// c ← addend + α op(a) op(b) in one pass over c; `false` where there is no such way, and nothing was done.
    unsafe fn gemm_onto<T: Scalar>(&self, gemm: &Gemm, alpha: T, addend: u64, operands: [u64; 3]) -> Result<bool>;
}

/// Sums that a kernel can hand to the host at a time.
pub(super) const ANSWERS: usize = 4096;

/// Small memory that kernels write to and the host reads after waiting.
pub trait Answers {
    /// The address of the flag (u32) that a kernel sets when `what` is not finite.
    fn flag(&self, what: &str) -> u64;

    /// The address of [`super::launch::PARTIAL_SUMS`] f64.
    fn partial_sums(&self) -> u64;

    /// The address of [`ANSWERS`] f64.
    fn address(&self) -> u64;

    /// Answer `i`; the caller has waited.
    fn get(&self, i: usize) -> f64;

    /// Waits for everything asked for, and tells what the checks have found.
    fn wait(&self) -> Result<()>;
}

impl<T: Scalar, G: Gpu> Memory<T> for G {
    type Buffer = G::Buffer<T>;
    type Slice<'a> = Slice<'a, T>;
    type SliceMut<'a> = SliceMut<'a, T>;

    fn allocate(&self, len: usize, what: &str) -> Result<G::Buffer<T>> {
        self.buffer(len, what)
    }

    fn slice(buffer: &G::Buffer<T>) -> Slice<'_, T> {
        Span::of(buffer)
    }

    fn slice_mut(buffer: &mut G::Buffer<T>) -> SliceMut<'_, T> {
        Span::of(buffer)
    }

    fn len(slice: &Slice<'_, T>) -> usize {
        slice.len()
    }

    fn split<'a>(slice: Self::Slice<'a>, mid: usize) -> (Self::Slice<'a>, Self::Slice<'a>) {
        slice.split(mid)
    }

    fn split_mut<'a>(slice: Self::SliceMut<'a>, mid: usize) -> (Self::SliceMut<'a>, Self::SliceMut<'a>) {
        slice.split(mid)
    }

    fn reborrow_mut<'b>(slice: &'b mut SliceMut<'_, T>) -> SliceMut<'b, T> {
        slice.part(0, slice.len())
    }

    fn shorten<'b>(slice: &'b Slice<'_, T>) -> Slice<'b, T> {
        slice.part(0, slice.len())
    }

    fn reborrow<'b>(slice: &'b SliceMut<'_, T>) -> Slice<'b, T> {
        slice.part(0, slice.len())
    }
}

/// Numbers from one block of dim×dim to the next; 0 when one block stands for all.
fn stride<T>(dim: usize, blocks: Slice<'_, T>) -> usize {
    if blocks.len() == dim * dim { 0 } else { dim * dim }
}

impl<T: Scalar, G: Gpu> Raw<T> for G {
    unsafe fn raw_upload(&self, source: &[T], destination: SliceMut<'_, T>) -> Result<()> {
        // SAFETY: both have the same length.
        if source.is_empty() { Ok(()) } else { unsafe { self.copy_from_host(source, destination.address()) } }
    }

    unsafe fn raw_download(&self, source: Slice<'_, T>, destination: &mut [T]) -> Result<()> {
        // SAFETY: both have the same length.
        if destination.is_empty() { Ok(()) } else { unsafe { self.copy_to_host(source.address(), destination) } }
    }

    unsafe fn raw_copy(&self, _: usize, source: Slice<'_, T>, destination: SliceMut<'_, T>) -> Result<()> {
        let bytes = source.len() * size_of::<T>();
        // SAFETY: both have this many bytes, and do not overlap: one is borrowed exclusively.
        if bytes == 0 { Ok(()) } else { unsafe { self.copy_bytes(source.address(), destination.address(), bytes) } }
    }

    fn raw_fill(&self, value: T, destination: SliceMut<'_, T>) -> Result<()> {
        // SAFETY: the kernel writes as many numbers as the slice has.
        unsafe { self.kernels()?.fill(destination.len(), value, destination.address()) }
    }

    fn raw_require_finite(&self, what: &str, numbers: Slice<'_, T>) -> Result<()> {
        let flag = self.answers().flag(what);
        // SAFETY: the kernel reads as many numbers as the slice has, and may write the flag.
        unsafe { self.kernels::<T>()?.flag_not_finite(numbers.len(), numbers.address(), flag) }
    }

    fn raw_frobenius_norm(&self, a: Slice<'_, T>) -> Result<f64> {
        let answers = self.answers();
        let (partial, total) = (answers.partial_sums(), answers.address());
        // SAFETY: the kernels read as many numbers as the slice has; there is room for all sums.
        unsafe { self.kernels::<T>()?.total_of_squares(a.len(), a.address(), partial, total)? };
        answers.wait()?;
        Ok(answers.get(0).sqrt())
    }

    unsafe fn raw_multiply(
        &self,
        product: Combination<'_, '_, '_, Self, T>,
        mut c: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        let Combination { alpha, a, b, addend } = product;
        let gemm = Gemm::new((a.matrix.shape(), a.transposed), (b.matrix.shape(), b.transposed));
        let operands = [a.matrix.slice().address(), b.matrix.slice().address(), c.view().slice().address()];
        // SAFETY: the shapes fit, and c is borrowed exclusively.
        unsafe {
            let beta = match addend {
                Addend::Zero => T::of(0.0),
                Addend::Scaled(beta) => beta,
                Addend::Matrix(addend) => {
                    if self.gemm_onto(&gemm, alpha, addend.slice().address(), operands)? {
                        return Ok(());
                    }
                    self.raw_copy(c.rows(), addend.slice(), c.reborrow().into_slice())?;
                    T::of(1.0)
                }
            };
            self.gemm(&gemm, (alpha, beta), operands)
        }
    }

    unsafe fn raw_add_bias(&self, (rows, cols): (usize, usize), bias: Slice<'_, T>, y: SliceMut<'_, T>) -> Result<()> {
        // SAFETY: y is rows×cols and the bias has as many rows.
        unsafe { self.kernels::<T>()?.add_bias(rows, cols, bias.address(), y.address()) }
    }

    unsafe fn raw_bias_activate(
        &self,
        (rows, cols): (usize, usize),
        activation: Activation,
        bias: Option<Slice<'_, T>>,
        y: SliceMut<'_, T>,
        z: SliceMut<'_, T>,
    ) -> Result<()> {
        let (sigma, kernels) = (SigmaParameters::new(activation)?, self.kernels::<T>()?);
        // SAFETY: y and z are rows×cols and the bias has as many rows.
        unsafe {
            match bias {
                Some(bias) => kernels.bias_activate(rows, cols, sigma, bias.address(), y.address(), z.address()),
                None => kernels.activate(rows * cols, sigma, y.address(), z.address()),
            }
        }
    }

    unsafe fn raw_backward_error(
        &self,
        _: usize,
        activation: Activation,
        v: Slice<'_, T>,
        y: Slice<'_, T>,
        delta: SliceMut<'_, T>,
    ) -> Result<()> {
        let (sigma, kernels) = (SigmaParameters::new(activation)?, self.kernels::<T>()?);
        // SAFETY: all three have the length of delta.
        unsafe { kernels.backward_error(delta.len(), sigma, v.address(), y.address(), delta.address()) }
    }

    unsafe fn raw_output_error(
        &self,
        _: usize,
        base: Base,
        activation: Option<Activation>,
        y: Slice<'_, T>,
        delta: SliceMut<'_, T>,
    ) -> Result<()> {
        let density = DensityParameters::new(base)?;
        let sigma = activation.map(SigmaParameters::new).transpose()?;
        let (kernels, len, y, delta) = (self.kernels::<T>()?, delta.len(), y.address(), delta.address());
        // SAFETY: both have the length of delta.
        unsafe {
            match sigma {
                Some(sigma) => kernels.output_error(len, sigma, density, y, delta),
                None => kernels.output_score(len, density, y, delta),
            }
        }
    }

    unsafe fn raw_slope_and_ratio(
        &self,
        activation: Activation,
        y: Slice<'_, T>,
        slope: SliceMut<'_, T>,
        ratio: SliceMut<'_, T>,
    ) -> Result<()> {
        let (sigma, kernels) = (SigmaParameters::new(activation)?, self.kernels::<T>()?);
        // SAFETY: all three have the length of y.
        unsafe { kernels.slope_and_ratio(y.len(), sigma, y.address(), slope.address(), ratio.address()) }
    }

    unsafe fn raw_add_sums(&self, rows: usize, term: Term, x: Slice<'_, T>, out: &mut [f64]) -> Result<()> {
        let (kernels, answers) = (self.kernels::<T>()?, self.answers());
        for (i, out) in out.chunks_mut(ANSWERS).enumerate() {
            let (cols, x, sums) = (out.len(), x.split(i * ANSWERS * rows).1.address(), answers.address());
            // SAFETY: there are `rows` numbers for each of the sums.
            unsafe {
                match term {
                    Term::LogSlope(sigma) => {
                        kernels.log_slope_sums(cols, rows, SigmaParameters::new(sigma)?, x, sums)?
                    }
                    Term::LogDensity(base) => {
                        kernels.log_density_sums(cols, rows, DensityParameters::new(base)?, x, sums)?;
                    }
                }
            }
            answers.wait()?;
            out.iter_mut().enumerate().for_each(|(n, out)| *out += answers.get(n));
        }
        Ok(())
    }

    unsafe fn raw_scale_rows(
        &self,
        (dim, count): (usize, usize),
        scale: Slice<'_, T>,
        a: Option<Slice<'_, T>>,
        out: SliceMut<'_, T>,
    ) -> Result<()> {
        // In place each entry is read before it is written.
        let (a, stride) = a.map_or((out.address(), dim * dim), |a| (a.address(), stride(dim, a)));
        // SAFETY: `out` is `count` blocks, `a` one or as many, and `scale` has a column for each.
        unsafe { self.kernels::<T>()?.scale_rows(dim, count, scale.address(), a, stride, out.address()) }
    }

    unsafe fn raw_curvature_adjoint(
        &self,
        (dim, count): (usize, usize),
        [slope, weight, a, b]: [Slice<'_, T>; 4],
        out: SliceMut<'_, T>,
    ) -> Result<()> {
        let (kernels, stride, b) = (self.kernels::<T>()?, stride(dim, b), b.address());
        let (slope, weight, a) = (slope.address(), weight.address(), a.address());
        // SAFETY: slope, weight and out are dim×count, `a` is `count` blocks, `b` one or as many.
        unsafe { kernels.curvature_adjoint(dim, count, slope, weight, a, b, stride, out.address()) }
    }

    unsafe fn raw_add_blocks(&self, alpha: T, a: Slice<'_, T>, out: SliceMut<'_, T>) -> Result<()> {
        let (len, count) = (out.len(), a.len() / out.len());
        // SAFETY: `a` is `count` blocks of the length of out.
        unsafe { self.kernels::<T>()?.add_blocks(len, count, alpha, a.address(), out.address()) }
    }
}
