//! The CPU, on faer.

mod blocks;
mod buffer;
mod factor;
#[cfg(target_arch = "x86_64")]
mod gemm;
mod norm;
mod product;
mod sharing;
mod small;
mod team;

use faer::{MatMut, MatRef};

use super::shape::{require, require_blocks, require_length};
use super::{Addend, Device, Factor, Inversion, MatrixMut, MatrixRef};
use crate::elementwise;
use crate::error::{Error, Result};
use crate::network::{Activation, Architecture, Base};
use crate::scalar::Scalar;
use buffer::Buffer;
use factor::Lane;
use product::Onto;
use team::Shared;

/// A number of CPU threads.
///
/// All work runs on a team of threads of this program's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    threads: usize,
}

impl Cpu {
    /// Uses up to `threads` threads, at least one and at most 1024: work is cut in so many pieces.
    pub fn new(threads: usize) -> Self {
        Self { threads: threads.clamp(1, 1024) }
    }

    /// Threads used at most.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls every thread for nothing, and waits for all: what each operation that is shared among them costs at least.
    pub fn empty_region(&self) {
        team::run(self.threads, &|part| {
            std::hint::black_box(part);
        });
    }
}

fn mat<'a, T: Scalar>(view: MatrixRef<'a, Cpu, T>) -> MatRef<'a, T> {
    MatRef::from_column_major_slice(view.slice(), view.rows(), view.cols())
}

fn mat_mut<'a, T: Scalar>(view: MatrixMut<'a, Cpu, T>) -> MatMut<'a, T> {
    let (rows, cols) = (view.rows(), view.cols());
    MatMut::from_column_major_slice_mut(view.into_slice(), rows, cols)
}

fn factor<'a, T: Scalar>(factor: &Factor<'a, Cpu, T>) -> MatRef<'a, T> {
    let matrix = mat(factor.matrix);
    if factor.transposed { matrix.transpose() } else { matrix }
}

impl<T: Scalar> Device<T> for Cpu {
    type Buffer = Buffer<T>;
    type Slice<'a> = &'a [T];
    type SliceMut<'a> = &'a mut [T];
    type Factorization = Vec<Lane>;

    fn allocate(&self, len: usize, what: &str) -> Result<Buffer<T>> {
        Buffer::zeroed(len, what)
    }

    fn slice(buffer: &Buffer<T>) -> &[T] {
        buffer
    }

    fn slice_mut(buffer: &mut Buffer<T>) -> &mut [T] {
        buffer
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

    fn upload(&self, source: &[T], destination: &mut [T]) -> Result<()> {
        require_length("upload", destination.len(), source.len())?;
        destination.copy_from_slice(source);
        Ok(())
    }

    fn download(&self, source: &[T], destination: &mut [T]) -> Result<()> {
        self.upload(source, destination)
    }

    fn copy(&self, source: MatrixRef<'_, Self, T>, destination: MatrixMut<'_, Self, T>) -> Result<()> {
        require("copy", &destination.view(), source.rows(), source.cols())?;
        let (from, rows) = (source.slice(), source.rows());
        let to = Shared::new(destination.into_slice());
        self.share_out(from.len(), rows, |range| {
            // SAFETY: the ranges are disjoint.
            unsafe { to.range(range.clone()) }.copy_from_slice(&from[range]);
            Ok(())
        })
    }

    fn fill(&self, value: T, destination: MatrixMut<'_, Self, T>) -> Result<()> {
        destination.into_slice().fill(value);
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn sample_parts(&self, architecture: &Architecture, batch: usize) -> usize {
        self.parts_of_samples(architecture, batch)
    }

    fn each_part<P: Send>(&self, parts: &mut [P], work: impl Fn(&Self, &mut P) -> Result<()> + Sync) -> Result<()> {
        self.run_each(parts, work)
    }

    fn require_finite(&self, what: &str, matrix: MatrixRef<'_, Self, T>) -> Result<()> {
        if norm::all_finite(matrix.slice()) { Ok(()) } else { Err(Error::NonFinite { what: what.to_owned() }) }
    }

    fn frobenius_norm(&self, a: MatrixRef<'_, Self, T>) -> Result<f64> {
        Ok(norm::frobenius(self.threads, a.slice()))
    }

    fn multiply(
        &self,
        alpha: T,
        a: Factor<'_, Self, T>,
        b: Factor<'_, Self, T>,
        addend: Addend<'_, Self, T>,
        c: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        let (rows, inner, cols) = (a.rows(), a.cols(), b.cols());
        if b.rows() != inner {
            return Err(Error::shape("product", format!("{inner} rows of the right factor"), b.rows()));
        }
        require("product", &c.view(), rows, cols)?;
        let onto = match &addend {
            Addend::Zero => Onto::Overwrite,
            Addend::Scaled(beta) => Onto::Scaled(*beta),
            Addend::Matrix(matrix) => {
                require("product's addend", matrix, rows, cols)?;
                Onto::Matrix(mat(*matrix))
            }
        };
        product::multiply(self.threads, alpha, factor(&a), factor(&b), onto, mat_mut(c));
        Ok(())
    }

    fn add_bias(&self, bias: MatrixRef<'_, Self, T>, y: MatrixMut<'_, Self, T>) -> Result<()> {
        require("add bias", &bias, y.rows(), 1)?;
        elementwise::add_bias(bias.slice(), y.into_slice())
    }

    fn bias_activate(
        &self,
        activation: Activation,
        bias: Option<MatrixRef<'_, Self, T>>,
        y: MatrixMut<'_, Self, T>,
        z: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("activation", &z.view(), y.rows(), y.cols())?;
        if let Some(bias) = &bias {
            require("activation's bias", bias, y.rows(), 1)?;
        }
        let bias = bias.map(|bias| bias.slice());
        let (len, rows) = (y.rows() * y.cols(), y.rows());
        let (y, z) = (Shared::new(y.into_slice()), Shared::new(z.into_slice()));
        self.share_out(len, rows, |range| {
            // SAFETY: the ranges are disjoint.
            let (y, z) = unsafe { (y.range(range.clone()), z.range(range)) };
            elementwise::bias_activate(activation, bias, y, z)
        })
    }

    fn backward_error(
        &self,
        activation: Activation,
        v: MatrixRef<'_, Self, T>,
        y: MatrixRef<'_, Self, T>,
        delta: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("backward error", &y, v.rows(), v.cols())?;
        require("backward error", &delta.view(), v.rows(), v.cols())?;
        let (rows, v, y) = (v.rows(), v.slice(), y.slice());
        let delta = Shared::new(delta.into_slice());
        self.share_out(v.len(), rows, |range| {
            // SAFETY: the ranges are disjoint.
            let delta = unsafe { delta.range(range.clone()) };
            elementwise::backward_error(activation, &v[range.clone()], &y[range], delta)
        })
    }

    fn output_error(
        &self,
        base: Base,
        activation: Option<Activation>,
        y: MatrixRef<'_, Self, T>,
        delta: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("output error", &delta.view(), y.rows(), y.cols())?;
        let (rows, y) = (y.rows(), y.slice());
        let delta = Shared::new(delta.into_slice());
        self.share_out(y.len(), rows, |range| {
            // SAFETY: the ranges are disjoint.
            let delta = unsafe { delta.range(range.clone()) };
            match activation {
                Some(activation) => elementwise::output_error(activation, base, &y[range], delta),
                None => elementwise::base_score(base, &y[range], delta),
            }
        })
    }

    fn slope_and_ratio(
        &self,
        activation: Activation,
        y: MatrixRef<'_, Self, T>,
        slope: MatrixMut<'_, Self, T>,
        ratio: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("slope", &slope.view(), y.rows(), y.cols())?;
        require("slope", &ratio.view(), y.rows(), y.cols())?;
        elementwise::slope_and_ratio(activation, y.slice(), slope.into_slice(), ratio.into_slice())
    }

    fn log_slope_sums(&self, activation: Activation, y: MatrixRef<'_, Self, T>, out: &mut [f64]) -> Result<()> {
        require_length("log-slope sums", out.len(), y.cols())?;
        elementwise::log_slope_sums(activation, y.slice(), y.rows(), out)
    }

    fn log_density_sums(&self, base: Base, z: MatrixRef<'_, Self, T>, out: &mut [f64]) -> Result<()> {
        require_length("log-density sums", out.len(), z.cols())?;
        elementwise::log_density_sums(base, z.slice(), z.rows(), out)
    }

    fn standardize(
        &self,
        s: MatrixRef<'_, Self, T>,
        location: MatrixRef<'_, Self, T>,
        log_scale: MatrixRef<'_, Self, T>,
        rho: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        elementwise::standardize(s.slice(), location.slice(), log_scale.slice(), rho.into_slice())
    }

    fn conditional_scores(
        &self,
        log_scale: MatrixRef<'_, Self, T>,
        psi: MatrixMut<'_, Self, T>,
        rho: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        elementwise::conditional_scores(log_scale.slice(), psi.into_slice(), rho.into_slice())
    }

    fn lanes(&self) -> usize {
        self.threads
    }

    fn factorization(&self, dim: usize, count: usize) -> Result<Vec<Lane>> {
        let lanes = if count >= self.threads { self.threads } else { 1 };
        Ok((0..lanes).map(|_| Lane::new::<T>(dim)).collect())
    }

    fn invert_transposed(
        &self,
        a: MatrixMut<'_, Self, T>,
        out: MatrixMut<'_, Self, T>,
        work: &mut Vec<Lane>,
        report: &mut [Inversion],
    ) -> Result<()> {
        require("inverse", &out.view(), a.rows(), a.cols())?;
        require_length("inverse", a.cols(), a.rows() * report.len())?;
        if work.iter().any(|lane| lane.dim() != a.rows()) {
            return Err(Error::shape("inverse", format!("work memory for D = {}", a.rows()), "another size"));
        }
        if a.rows() == 0 {
            return Ok(());
        }
        blocks::invert_each(self.threads, a.rows(), a.into_slice(), out.into_slice(), work, report);
        Ok(())
    }

    fn log_abs_det(&self, a: MatrixRef<'_, Self, T>) -> Result<f64> {
        require("log-determinant", &a, a.rows(), a.rows())?;
        Ok(factor::log_abs_det(mat(a), self.threads))
    }

    fn scale_rows(
        &self,
        scale: MatrixRef<'_, Self, T>,
        a: MatrixRef<'_, Self, T>,
        out: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        let dim = scale.rows();
        require("row scaling", &out.view(), dim, dim * scale.cols())?;
        require_blocks("row scaling", dim, scale.cols(), &a)?;
        if dim == 0 {
            return Ok(());
        }
        blocks::scale_rows(self.threads, dim, scale.slice(), a.slice(), out.into_slice());
        Ok(())
    }

    fn scale_rows_in_place(&self, scale: MatrixRef<'_, Self, T>, a: MatrixMut<'_, Self, T>) -> Result<()> {
        let dim = scale.rows();
        require("row scaling", &a.view(), dim, dim * scale.cols())?;
        if dim == 0 {
            return Ok(());
        }
        blocks::scale_rows_in_place(self.threads, dim, scale.slice(), a.into_slice());
        Ok(())
    }

    fn curvature_adjoint(
        &self,
        slope: MatrixRef<'_, Self, T>,
        weight: MatrixRef<'_, Self, T>,
        a: MatrixRef<'_, Self, T>,
        b: MatrixRef<'_, Self, T>,
        out: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        let (dim, count) = (out.rows(), out.cols());
        require("curvature adjoint", &slope, dim, count)?;
        require("curvature adjoint", &weight, dim, count)?;
        require("curvature adjoint", &a, dim, dim * count)?;
        require_blocks("curvature adjoint", dim, count, &b)?;
        if dim == 0 {
            return Ok(());
        }
        blocks::curvature_adjoint(
            self.threads,
            dim,
            &blocks::Adjoint { slope: slope.slice(), weight: weight.slice(), a: a.slice(), b: b.slice() },
            out.into_slice(),
        );
        Ok(())
    }

    fn add_blocks(&self, alpha: T, a: MatrixRef<'_, Self, T>, out: MatrixMut<'_, Self, T>) -> Result<()> {
        let dim = out.rows();
        require("block sum", &out.view(), dim, dim)?;
        if dim == 0 {
            return require("block sum", &a, 0, a.cols());
        }
        require("block sum", &a, dim, a.cols() / dim * dim)?;
        blocks::add_blocks(self.threads, alpha, a.slice(), out.into_slice());
        Ok(())
    }
}
