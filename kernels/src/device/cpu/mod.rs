//! The CPU, on faer.

mod blocks;
mod buffer;
mod core;
mod factor;
#[cfg(target_arch = "x86_64")]
mod few;
#[cfg(target_arch = "x86_64")]
mod gemm;
mod inner;
mod lines;
mod lu;
mod norm;
mod once;
mod product;
mod shared;
mod sharing;
mod small;
mod team;
mod triangular;

use faer::{MatMut, MatRef};

use super::raw::{Combination, Raw, RawInverse, Term};
use super::{Addend, AppendOuter, Device, Factor, Inversion, Lines, MatrixMut, MatrixRef, Memory};
#[cfg(target_arch = "x86_64")]
use super::{PullOuter, pull::too_large};
use crate::error::{Error, Result};
use crate::math::Math;
use crate::network::{Activation, Architecture, Base};
use crate::scalar::{Dtype, Scalar};
pub(super) use buffer::Buffer;
use factor::Lane;
pub(crate) use factor::Triangle as Solvable;
pub(crate) use once::OnHost;
pub(crate) use product::Onto;
pub(crate) use triangular::{Half, HalfOuter, How, Triangular};

/// A number of CPU threads.
///
/// All work runs on a team of threads of this program's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    threads: usize,
    math: Math,
}

impl Cpu {
    /// Uses up to `threads` threads, at least one and at most 1024: work is cut in so many pieces.
    pub fn new(threads: usize) -> Self {
        Self { threads: threads.clamp(1, 1024), math: Math::F32 }
    }

    /// What [`Math::Bf16`] requires.
    pub const OF_BF16: &str = "a CPU with AVX512-BF16, which this one lacks";

    /// The same threads with another arithmetic of [`Device::multiply`]. Numbers of another type than its own are
    /// multiplied in theirs. Factorisations and elementwise work stay in full precision.
    ///
    /// # Errors
    /// [`Error::NoArithmetic`] where this processor has no instructions for it.
    pub fn with_math(self, math: Math) -> Result<Self> {
        product::require(math)?;
        Ok(Self { math, ..self })
    }

    /// The same arithmetic on one thread.
    fn alone(self) -> Self {
        Self { threads: 1, ..self }
    }

    fn math_of(&self, dtype: Dtype) -> Math {
        if self.math.dtype() == dtype { self.math } else { Math::of(dtype) }
    }

    /// Threads used at most.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls every thread for nothing, and waits for all: what each operation that is shared among them costs at least.
    pub fn empty_region(&self) {
        team::run(self.threads, team::Length::Short, &|part| {
            std::hint::black_box(part);
        });
    }
}

fn mat<'a, T: Scalar>(view: MatrixRef<'a, Cpu, T>) -> MatRef<'a, T> {
    MatRef::from_column_major_slice(view.slice(), view.rows(), view.cols())
}

fn factor<'a, T: Scalar>(factor: &Factor<'a, Cpu, T>) -> MatRef<'a, T> {
    let matrix = mat(factor.matrix);
    if factor.transposed { matrix.transpose() } else { matrix }
}

impl<T: Scalar> Memory<T> for Cpu {
    type Buffer = Buffer<T>;
    type Slice<'a> = &'a [T];
    type SliceMut<'a> = &'a mut [T];

    fn allocate(&self, len: usize, what: &str) -> Result<Buffer<T>> {
        Buffer::zeroed(len, what)
    }

    fn slice(buffer: &Buffer<T>) -> &[T] {
        buffer
    }

    fn slice_mut(buffer: &mut Buffer<T>) -> &mut [T] {
        buffer
    }

    fn len(slice: &&[T]) -> usize {
        slice.len()
    }

    fn split<'a>(slice: Self::Slice<'a>, mid: usize) -> (Self::Slice<'a>, Self::Slice<'a>) {
        slice.split_at(mid)
    }

    fn split_mut<'a>(slice: Self::SliceMut<'a>, mid: usize) -> (Self::SliceMut<'a>, Self::SliceMut<'a>) {
        slice.split_at_mut(mid)
    }

    fn reborrow_mut<'b>(slice: &'b mut &mut [T]) -> &'b mut [T] {
        slice
    }

    fn shorten<'b>(slice: &'b &[T]) -> &'b [T] {
        slice
    }

    fn reborrow<'b>(slice: &'b &mut [T]) -> &'b [T] {
        slice
    }
}

impl<T: Scalar> Device<T> for Cpu {
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn lanes(&self) -> usize {
        self.threads
    }

    fn factorization(&self, dim: usize, count: usize) -> Result<Vec<Lane>> {
        let lanes = if count >= self.threads { self.threads } else { 1 };
        Ok((0..lanes).map(|_| Lane::new::<T>(dim)).collect())
    }

    fn math(&self) -> Math {
        self.math_of(T::DTYPE)
    }

    fn in_full_precision<R>(&self, work: impl FnOnce(&Self) -> R) -> R {
        work(&Self { math: Math::of(T::DTYPE), ..*self })
    }

    fn sample_parts(&self, architecture: &Architecture, batch: usize) -> usize {
        self.parts_of_samples(architecture, batch)
    }

    fn each_part<P: Send>(&self, parts: &mut [P], work: impl Fn(&Self, &mut P) -> Result<()> + Sync) -> Result<()> {
        self.run_each(parts, work)
    }
}

impl<T: Scalar> Raw<T> for Cpu {
    unsafe fn raw_upload(&self, source: &[T], destination: &mut [T]) -> Result<()> {
        destination.copy_from_slice(source);
        Ok(())
    }

    unsafe fn raw_download(&self, source: &[T], destination: &mut [T]) -> Result<()> {
        destination.copy_from_slice(source);
        Ok(())
    }

    unsafe fn raw_copy(&self, rows: usize, source: &[T], destination: &mut [T]) -> Result<()> {
        self.on_columns(rows, [destination], [source], |[to], [from]| {
            to.copy_from_slice(from);
            Ok(())
        })
    }

    fn raw_fill(&self, value: T, destination: &mut [T]) -> Result<()> {
        destination.fill(value);
        Ok(())
    }

    fn raw_require_finite(&self, what: &str, numbers: &[T]) -> Result<()> {
        if T::all_finite(numbers) { Ok(()) } else { Err(Error::NonFinite { what: what.to_owned() }) }
    }

    fn raw_frobenius_norm(&self, a: &[T]) -> Result<f64> {
        Ok(T::frobenius(self.threads, a))
    }

    unsafe fn raw_inner_products(
        &self,
        rows: usize,
        factors: [&[T]; 2],
        room: &mut [f64],
        out: &mut [f64],
    ) -> Result<()> {
        T::inner_products(self.threads, rows, factors, room, out);
        Ok(())
    }

    unsafe fn raw_scale_lines(&self, lines: Lines, rows: usize, by: &[T], a: &mut [T]) -> Result<bool> {
        T::scale_lines(self.threads, lines, rows, by, a);
        Ok(true)
    }

    unsafe fn raw_column_norms(&self, rows: usize, a: &[T], out: &mut [f64]) -> Result<()> {
        T::column_norms(self.threads, rows, a, out);
        Ok(())
    }

    unsafe fn raw_multiply(&self, product: Combination<'_, '_, '_, Self, T>, c: MatrixMut<'_, Self, T>) -> Result<()> {
        let Combination { alpha, a, b, addend } = product;
        let onto = match addend {
            Addend::Zero => Onto::Overwrite,
            Addend::Scaled(beta) => Onto::Scaled(beta),
            Addend::Matrix(matrix) => Onto::Matrix(mat(matrix)),
        };
        let (rows, cols) = c.shape();
        let c = MatMut::from_column_major_slice_mut(c.into_slice(), rows, cols);
        T::multiply(self.math_of(T::DTYPE), self.threads, alpha, factor(&a), factor(&b), onto, c);
        Ok(())
    }

    #[cfg(target_arch = "x86_64")]
    unsafe fn raw_pull_outer(&self, pass: &mut PullOuter<'_, Self, T>) -> Result<bool> {
        if self.math_of(T::DTYPE) == Math::Bf16 && pass.left.cols() > product::FEW_IN_BF16 {
            return Ok(false);
        }
        match few::pull_outer(self.threads, pass) {
            Some(true) => Ok(true),
            Some(false) => Err(too_large()),
            None => Ok(false),
        }
    }

    unsafe fn raw_append_outer(&self, pass: AppendOuter<'_, Self, T>) -> Result<bool> {
        let AppendOuter { gain, left, right, a, b, turn, weight } = pass;
        let ((dim, samples), rank) = (left.shape(), a.cols());
        let (a, b, weight) = (a.into_slice(), b.into_slice(), weight.into_slice());
        let place = turn * samples * dim..(turn + 1) * samples * dim;
        a[place.clone()].iter_mut().zip(left.slice()).for_each(|(to, &from)| *to = gain * from);
        b[place].copy_from_slice(right.slice());
        let steps = rank / samples;
        let share = dim * turn / steps..dim * (turn + 1) / steps;
        let columns = &mut weight[share.start * dim..share.end * dim];
        let columns = MatMut::from_column_major_slice_mut(columns, dim, share.len());
        let rows = MatRef::from_column_major_slice(b, dim, rank).get(share.clone(), ..);
        let (a, one) = (MatRef::from_column_major_slice(a, dim, rank), T::of(1.0));
        if !share.is_empty() {
            T::multiply(self.math_of(T::DTYPE), self.threads, one, a, rows.transpose(), Onto::Scaled(one), columns);
        }
        b.chunks_exact_mut(dim).for_each(|column| column[share.clone()].fill(T::default()));
        Ok(true)
    }

    unsafe fn raw_add_bias(&self, _: (usize, usize), bias: &[T], y: &mut [T]) -> Result<()> {
        T::add_bias(bias, y);
        Ok(())
    }

    unsafe fn raw_bias_activate(
        &self,
        (rows, _): (usize, usize),
        activation: Activation,
        bias: Option<&[T]>,
        y: &mut [T],
        z: &mut [T],
    ) -> Result<()> {
        self.on_columns(rows, [y, z], [], |[y, z], []| T::bias_activate(activation, bias, y, z))
    }

    unsafe fn raw_backward_error(
        &self,
        rows: usize,
        activation: Activation,
        v: &[T],
        y: &[T],
        delta: &mut [T],
    ) -> Result<()> {
        self.on_columns(rows, [delta], [v, y], |[delta], [v, y]| T::backward_error(activation, v, y, delta))
    }

    unsafe fn raw_output_error(
        &self,
        rows: usize,
        base: Base,
        activation: Option<Activation>,
        y: &[T],
        delta: &mut [T],
    ) -> Result<()> {
        self.on_columns(rows, [delta], [y], |[delta], [y]| match activation {
            Some(activation) => T::output_error(activation, base, y, delta),
            None => T::base_score(base, y, delta),
        })
    }

    unsafe fn raw_slope_and_ratio(
        &self,
        activation: Activation,
        y: &[T],
        slope: &mut [T],
        ratio: &mut [T],
    ) -> Result<()> {
        T::slope_and_ratio(activation, y, slope, ratio)
    }

    unsafe fn raw_add_sums(&self, rows: usize, term: Term, x: &[T], out: &mut [f64]) -> Result<()> {
        T::add_sums(term, x, rows, out)
    }

    unsafe fn raw_standardize(&self, [s, location, log_scale]: [&[T]; 3], rho: &mut [T]) -> Result<()> {
        rho.copy_from_slice(s);
        T::standardize(rho, location, log_scale);
        Ok(())
    }

    unsafe fn raw_conditional_scores(&self, log_scale: &[T], psi: &mut [T], rho: &mut [T]) -> Result<()> {
        T::conditional_scores(log_scale, psi, rho);
        Ok(())
    }

    unsafe fn raw_scale_rows(
        &self,
        (dim, _): (usize, usize),
        scale: &[T],
        a: Option<&[T]>,
        out: &mut [T],
    ) -> Result<()> {
        T::scale_rows(self.threads, dim, scale, a, out);
        Ok(())
    }

    unsafe fn raw_transpose_blocks(&self, dim: usize, a: &[T], out: &mut [T]) -> Result<()> {
        T::transpose_blocks(self.threads, dim, a, out);
        Ok(())
    }

    unsafe fn raw_scale_and_add(&self, rows: usize, scale: &[T], addend: Option<&[T]>, out: &mut [T]) -> Result<()> {
        match addend {
            None => self.on_columns(rows, [out], [scale], |[out], [scale]| {
                T::scale_and_add(scale, None, out);
                Ok(())
            }),
            Some(addend) => self.on_columns(rows, [out], [scale, addend], |[out], [scale, addend]| {
                T::scale_and_add(scale, Some(addend), out);
                Ok(())
            }),
        }
    }

    unsafe fn raw_blend(&self, rows: usize, (alpha, a): (T, &[T]), beta: T, out: &mut [T]) -> Result<()> {
        self.on_columns(rows, [out], [a], |[out], [a]| {
            T::blend((alpha, a), beta, out);
            Ok(())
        })
    }

    unsafe fn raw_curvature_adjoint(&self, (dim, _): (usize, usize), operands: [&[T]; 4], out: &mut [T]) -> Result<()> {
        T::curvature_adjoint(self.threads, dim, operands, out);
        Ok(())
    }

    unsafe fn raw_add_blocks(&self, alpha: T, a: &[T], out: &mut [T]) -> Result<()> {
        T::add_blocks(self.threads, alpha, a, out);
        Ok(())
    }
}

impl<T: Scalar> RawInverse<T> for Cpu {
    type Factorization = Vec<Lane>;

    fn raw_fits(work: &Vec<Lane>, dim: usize, _: usize) -> bool {
        work.iter().all(|lane| lane.dim() == dim)
    }

    unsafe fn raw_invert_transposed(
        &self,
        dim: usize,
        a: &mut [T],
        out: &mut [T],
        work: &mut Vec<Lane>,
        report: &mut [Inversion],
    ) -> Result<()> {
        T::invert_each(self.threads, dim, a, out, work, report);
        Ok(())
    }

    unsafe fn raw_log_abs_det(&self, dim: usize, a: &[T]) -> Result<f64> {
        Ok(T::log_abs_det(MatRef::from_column_major_slice(a, dim, dim), self.threads))
    }
}
