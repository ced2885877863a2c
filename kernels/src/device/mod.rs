//! Where matrices live and what can be done to them in place.
//!
//! A [`Device`] offers some twenty operations, each at the level of one line of MATH.md's equations. None returns a
//! matrix, none allocates: results go to a caller's buffer and work memory is the caller's ([`Device::factorization`]).
//! Everything above (forward pass, backends, in-place sweep) is written once against this trait, for f32 and f64.
//!
//! All matrices are column-major without padding, so that a range of columns is a contiguous slice; a batch has one
//! sample per column.

mod cpu;
pub mod cuda;
mod matrix;
mod memory;
mod operands;
mod pull;
mod raw;
mod shape;

pub use cpu::Cpu;
pub(crate) use cpu::{Half, HalfOuter, How, OnHost, Onto, Solvable, Triangular};
pub use cuda::Cuda;
pub use matrix::{Matrix, MatrixMut, MatrixRef};
pub use memory::Memory;
pub use operands::{Addend, Factor, Inversion, Lines, ROWS_WIDENED, Replay};
pub use pull::{AppendOuter, PullOuter, Updated};
pub(crate) use raw::Term;
pub(crate) use shape::require;

use crate::error::{Error, Result};
use crate::math::Math;
use crate::network::{Activation, Architecture, Base};
use crate::scalar::Scalar;
use raw::{Combination, Raw, RawInverse};
use shape::{require_block_or_blocks, require_blocks, require_length};

/// In-place linear algebra and elementwise work on one kind of memory, in precision `T`.
///
/// # Contract of every operation
/// Shapes are checked once, here ([`crate::Error::ShapeMismatch`]), before a device does its work. Destinations never
/// alias sources: the borrow checker sees to it. Work may be asynchronous; [`Device::synchronize`] waits for it and
/// reports a deferred error.
pub trait Device<T: Scalar>: Raw<T> + RawInverse<T> {
    /// Waits for everything asked for so far.
    fn synchronize(&self) -> Result<()>;

    /// How many of the blocks of [`Device::invert_transposed`] are factored at the same time; a panel with fewer leaves
    /// the device partly idle.
    fn lanes(&self) -> usize;

    /// Work memory to factor `count` D×D matrices at a time.
    fn factorization(&self, dim: usize, count: usize) -> Result<Self::Factorization>;

    /// The arithmetic of [`Device::multiply`].
    fn math(&self) -> Math {
        Math::of(T::DTYPE)
    }

    /// Does `work` on this device with products exact to `T`'s precision, whatever [`Device::math`] says otherwise.
    fn in_full_precision<R>(&self, work: impl FnOnce(&Self) -> R) -> R {
        work(self)
    }

    /// Records what `work` asks of the device, without doing it; `None` where the device has no such thing, or where
    /// the work needs an answer on its way. `work` must have been done once before.
    ///
    /// # Errors
    /// Those of `work`.
    fn record(&self, _work: &mut dyn FnMut() -> Result<()>) -> Result<Option<Box<dyn Replay>>> {
        Ok(None)
    }

    /// Into how many parts the samples of a batch are best divided for a gradient of such a network, each part to go
    /// through the network on its own in [`Device::each_part`]; 1 where every operation is shared out by itself.
    fn sample_parts(&self, _architecture: &Architecture, _batch: usize) -> usize {
        1
    }

    /// Does `work` for every one of `parts`, at the same time where the device can, and gives each a device to ask.
    ///
    /// # Errors
    /// One of those of `work`, after all parts have ended.
    fn each_part<P: Send>(&self, parts: &mut [P], work: impl Fn(&Self, &mut P) -> Result<()> + Sync) -> Result<()> {
        parts.iter_mut().map(|part| work(self, part)).fold(Ok(()), Result::and)
    }

    /// Copies from host memory of the same length.
    fn upload(&self, source: &[T], destination: Self::SliceMut<'_>) -> Result<()> {
        require_length("upload", Self::len(&Self::reborrow(&destination)), source.len())?;
        // SAFETY: both have the same length.
        unsafe { self.raw_upload(source, destination) }
    }

    /// Copies to host memory of the same length.
    fn download(&self, source: Self::Slice<'_>, destination: &mut [T]) -> Result<()> {
        require_length("download", destination.len(), Self::len(&source))?;
        // SAFETY: both have the same length.
        unsafe { self.raw_download(source, destination) }
    }

    /// A copy in host memory, column-major.
    fn to_host(&self, matrix: MatrixRef<'_, Self, T>) -> Result<Vec<T>> {
        self.raw_to_host(matrix.slice())
    }

    /// destination ← source, both on the device.
    fn copy(&self, source: MatrixRef<'_, Self, T>, destination: MatrixMut<'_, Self, T>) -> Result<()> {
        require("copy", destination.shape(), source.shape())?;
        // SAFETY: the shapes fit.
        unsafe { self.raw_copy(source.rows(), source.slice(), destination.into_slice()) }
    }

    /// Sets every element.
    fn fill(&self, value: T, destination: MatrixMut<'_, Self, T>) -> Result<()> {
        self.raw_fill(value, destination.into_slice())
    }

    /// Fails with [`crate::Error::NonFinite`] when an element is NaN or infinite; an asynchronous device may tell at
    /// the next [`Device::synchronize`].
    fn require_finite(&self, what: &str, matrix: MatrixRef<'_, Self, T>) -> Result<()> {
        self.raw_require_finite(what, matrix.slice())
    }

    /// ‖a‖_F, in f64; waits for `a`.
    fn frobenius_norm(&self, a: MatrixRef<'_, Self, T>) -> Result<f64> {
        self.raw_frobenius_norm(a.slice())
    }

    /// out ← aᵀb (m×n, column-major) of a (D×m) and b (D×n), in f64: the columns are widened, a few rows at a time, in
    /// `room` for [`ROWS_WIDENED`] numbers of each column.
    fn inner_products(
        &self,
        a: MatrixRef<'_, Self, T>,
        b: MatrixRef<'_, Self, T>,
        room: &mut [f64],
        out: &mut [f64],
    ) -> Result<()> {
        require("inner products", b.shape(), (a.rows(), b.cols()))?;
        require_length("inner products", out.len(), a.cols() * b.cols())?;
        require_length("room of inner products", room.len(), ROWS_WIDENED * (a.cols() + b.cols()))?;
        if a.is_empty() || b.is_empty() {
            out.fill(0.0);
            return Ok(());
        }
        // SAFETY: the shapes fit, and neither matrix is empty.
        unsafe { self.raw_inner_products(a.rows(), [a.shorten().slice(), b.shorten().slice()], room, out) }
    }

    /// Each row or column of a, times or over a number of its own: as many as a has of them, in a column.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], also on a device that has no such thing.
    fn scale_lines(&self, lines: Lines, by: MatrixRef<'_, Self, T>, a: MatrixMut<'_, Self, T>) -> Result<()> {
        let count = if lines == Lines::RowsOver { a.rows() } else { a.cols() };
        require("scaling of lines", by.shape(), (count, 1))?;
        // SAFETY: the shapes fit.
        if a.is_empty() || unsafe { self.raw_scale_lines(lines, a.rows(), by.slice(), a.into_slice())? } {
            return Ok(());
        }
        Err(Error::shape("scaling of lines", "a CPU", "another device"))
    }

    /// out\[j\] ← ‖a_{:j}‖, in f64; waits for a.
    fn column_norms(&self, a: MatrixRef<'_, Self, T>, out: &mut [f64]) -> Result<()> {
        require_length("norms of columns", out.len(), a.cols())?;
        if a.is_empty() {
            out.fill(0.0);
            return Ok(());
        }
        // SAFETY: there is a norm for each column.
        unsafe { self.raw_column_norms(a.rows(), a.slice(), out) }
    }

    /// c ← addend + α a b, with a (m×k), b (k×n), c (m×n).
    fn multiply(
        &self,
        alpha: T,
        a: Factor<'_, Self, T>,
        b: Factor<'_, Self, T>,
        addend: Addend<'_, Self, T>,
        c: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        if b.rows() != a.cols() {
            return Err(Error::shape("product", format!("{} rows of the right factor", a.cols()), b.rows()));
        }
        require("product", c.shape(), (a.rows(), b.cols()))?;
        if let Addend::Matrix(addend) = &addend {
            require("product's addend", addend.shape(), c.shape())?;
        }
        if c.is_empty() {
            return Ok(());
        }
        // SAFETY: the shapes fit.
        unsafe { self.raw_multiply(Combination { alpha, a, b, addend }, c) }
    }

    /// \[U | V\] ← Wᵀ\[Y | δ\], then the update of W by U \[M11\]. Both need only some columns of W at a time, so that
    /// a device may read W once for both (RIVALS.md §31).
    ///
    /// # Errors
    /// [`Error::NonFinite`] by [`PullOuter::most`], before the column of W for such a row is updated; others may be.
    fn pull_outer(&self, pass: PullOuter<'_, Self, T>) -> Result<()> {
        pull::pull_outer(self, pass)
    }

    /// The turn's columns of A ← gain left, of B ← right; then the turn's share J of W's columns: W_J ← W_J + A B_Jᵀ,
    /// B_J ← 0. W + A Bᵀ grows by gain left rightᵀ, less what the overwritten columns held.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], also on a device that has no such thing.
    fn append_outer(&self, pass: AppendOuter<'_, Self, T>) -> Result<()> {
        pull::append_outer(self, pass)
    }

    /// y ← y + b 1ᵀ, with b (D×1) and y (D×N).
    fn add_bias(&self, bias: MatrixRef<'_, Self, T>, y: MatrixMut<'_, Self, T>) -> Result<()> {
        require("add bias", bias.shape(), (y.rows(), 1))?;
        if y.is_empty() {
            return Ok(());
        }
        // SAFETY: the shapes fit.
        unsafe { self.raw_add_bias(y.shape(), bias.slice(), y.into_slice()) }
    }

    /// y ← y + b 1ᵀ (when there is a bias), z ← σ(y), in one pass over D×N matrices \[M1\].
    fn bias_activate(
        &self,
        activation: Activation,
        bias: Option<MatrixRef<'_, Self, T>>,
        y: MatrixMut<'_, Self, T>,
        z: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("activation", z.shape(), y.shape())?;
        if let Some(bias) = &bias {
            require("activation's bias", bias.shape(), (y.rows(), 1))?;
        }
        if y.is_empty() {
            return Ok(());
        }
        let bias = bias.map(|bias| bias.slice());
        // SAFETY: the shapes fit.
        unsafe { self.raw_bias_activate(y.shape(), activation, bias, y.into_slice(), z.into_slice()) }
    }

    /// δ ← v ⊙ σ'(y) + r(y), r = σ''/σ' \[M8\], over D×N matrices.
    fn backward_error(
        &self,
        activation: Activation,
        v: MatrixRef<'_, Self, T>,
        y: MatrixRef<'_, Self, T>,
        delta: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("backward error", y.shape(), v.shape())?;
        require("backward error", delta.shape(), v.shape())?;
        // SAFETY: the shapes fit.
        unsafe { self.raw_backward_error(y.rows(), activation, v.slice(), y.slice(), delta.into_slice()) }
    }

    /// δ_L \[M7\]: ψ(y) for a linear last layer (`activation` is `None`), else ψ(σ(y)) ⊙ σ'(y) + r(y).
    fn output_error(
        &self,
        base: Base,
        activation: Option<Activation>,
        y: MatrixRef<'_, Self, T>,
        delta: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("output error", delta.shape(), y.shape())?;
        // SAFETY: the shapes fit.
        unsafe { self.raw_output_error(y.rows(), base, activation, y.slice(), delta.into_slice()) }
    }

    /// slope ← σ'(y), ratio ← r(y), over D×N matrices.
    fn slope_and_ratio(
        &self,
        activation: Activation,
        y: MatrixRef<'_, Self, T>,
        slope: MatrixMut<'_, Self, T>,
        ratio: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("slope", slope.shape(), y.shape())?;
        require("slope", ratio.shape(), y.shape())?;
        // SAFETY: the shapes fit.
        unsafe { self.raw_slope_and_ratio(activation, y.slice(), slope.into_slice(), ratio.into_slice()) }
    }

    /// out\[n\] ← out\[n\] + Σ_i log σ'(y_in), the terms of L1J \[M2\], in f64.
    fn log_slope_sums(&self, activation: Activation, y: MatrixRef<'_, Self, T>, out: &mut [f64]) -> Result<()> {
        require_length("log-slope sums", out.len(), y.cols())?;
        // SAFETY: there is a sum for each column.
        unsafe { self.raw_add_sums(y.rows(), Term::LogSlope(activation), y.slice(), out) }
    }

    /// out\[n\] ← out\[n\] + Σ_i log p(z_in), the terms of Lp \[M2\], \[M5\], in f64.
    fn log_density_sums(&self, base: Base, z: MatrixRef<'_, Self, T>, out: &mut [f64]) -> Result<()> {
        require_length("log-density sums", out.len(), z.cols())?;
        // SAFETY: there is a sum for each column.
        unsafe { self.raw_add_sums(z.rows(), Term::LogDensity(base), z.slice(), out) }
    }

    /// ρ ← (s − m)/τ \[M6\], with log τ given, over D×N matrices.
    fn standardize(
        &self,
        s: MatrixRef<'_, Self, T>,
        location: MatrixRef<'_, Self, T>,
        log_scale: MatrixRef<'_, Self, T>,
        rho: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        for shape in [s.shape(), location.shape(), log_scale.shape()] {
            require("standardize", shape, rho.shape())?;
        }
        let operands = [s.shorten().slice(), location.shorten().slice(), log_scale.shorten().slice()];
        // SAFETY: the shapes fit.
        unsafe { self.raw_standardize(operands, rho.into_slice()) }
    }

    /// ψ ← ψ/τ and ρ ← −1 − ρψ \[M6\], over D×N matrices: from ψ(ρ) and ρ to the derivatives of log p(s|u) in s and in
    /// log τ.
    fn conditional_scores(
        &self,
        log_scale: MatrixRef<'_, Self, T>,
        psi: MatrixMut<'_, Self, T>,
        rho: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("conditional scores", psi.shape(), log_scale.shape())?;
        require("conditional scores", rho.shape(), log_scale.shape())?;
        // SAFETY: the shapes fit.
        unsafe { self.raw_conditional_scores(log_scale.slice(), psi.into_slice(), rho.into_slice()) }
    }

    /// For each of the D×D blocks A_n side by side in `a` (D×Dc): out_n ← A_n^{-T} by LU with partial pivoting, into
    /// the same place of `out`; `report[n]` tells log|det A_n| and the condition. `a` is overwritten.
    ///
    /// A singular block leaves non-finite numbers and an infinite condition in its report: the caller decides.
    fn invert_transposed(
        &self,
        a: MatrixMut<'_, Self, T>,
        out: MatrixMut<'_, Self, T>,
        work: &mut Self::Factorization,
        report: &mut [Inversion],
    ) -> Result<()> {
        let (dim, count) = (a.rows(), report.len());
        require("inverse", a.shape(), (dim, dim * count))?;
        require("inverse", out.shape(), a.shape())?;
        if !Self::raw_fits(work, dim, count) {
            let expected = format!("work memory for {count} blocks of {dim}×{dim}");
            return Err(Error::shape("inverse", expected, "another size"));
        }
        if a.is_empty() {
            return Ok(());
        }
        // SAFETY: the shapes fit.
        unsafe { self.raw_invert_transposed(dim, a.into_slice(), out.into_slice(), work, report) }
    }

    /// log|det A| of a D×D matrix, by an LU in f64 whatever `T` is (MATH.md §16); −∞ when a pivot is zero.
    fn log_abs_det(&self, a: MatrixRef<'_, Self, T>) -> Result<f64> {
        require("log-determinant", a.shape(), (a.rows(), a.rows()))?;
        // SAFETY: the matrix is square and, where it is used, not empty.
        if a.is_empty() { Ok(0.0) } else { unsafe { self.raw_log_abs_det(a.rows(), a.slice()) } }
    }

    /// out_n ← diag(s_n) a_n for each D×D block a_n of a (D×Dc), s_n the n-th column of `scale` (D×c).
    ///
    /// `a` may be one single D×D block: then it is used for every n.
    fn scale_rows(
        &self,
        scale: MatrixRef<'_, Self, T>,
        a: MatrixRef<'_, Self, T>,
        out: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require_blocks("row scaling", scale.shape(), out.shape())?;
        require_block_or_blocks("row scaling", scale.shape(), a.shape())?;
        if out.is_empty() {
            return Ok(());
        }
        // SAFETY: the shapes fit.
        unsafe { self.raw_scale_rows(scale.shape(), scale.slice(), Some(a.slice()), out.into_slice()) }
    }

    /// a_n ← diag(s_n) a_n, in place.
    fn scale_rows_in_place(&self, scale: MatrixRef<'_, Self, T>, a: MatrixMut<'_, Self, T>) -> Result<()> {
        require_blocks("row scaling", scale.shape(), a.shape())?;
        if a.is_empty() {
            return Ok(());
        }
        // SAFETY: the shapes fit.
        unsafe { self.raw_scale_rows(scale.shape(), scale.slice(), None, a.into_slice()) }
    }

    /// out\[:,n\] ← slope\[:,n\] ⊙ out\[:,n\] + weight\[:,n\] ⊙ rowsum(a_n ⊙ b_n), the ȳ of \[M21\], for D×D
    /// blocks a_n, b_n; `b` may be one single block: then it is used for every n.
    fn curvature_adjoint(
        &self,
        slope: MatrixRef<'_, Self, T>,
        weight: MatrixRef<'_, Self, T>,
        a: MatrixRef<'_, Self, T>,
        b: MatrixRef<'_, Self, T>,
        out: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("curvature adjoint", slope.shape(), out.shape())?;
        require("curvature adjoint", weight.shape(), out.shape())?;
        require_blocks("curvature adjoint", out.shape(), a.shape())?;
        require_block_or_blocks("curvature adjoint", out.shape(), b.shape())?;
        if out.is_empty() {
            return Ok(());
        }
        let operands = [slope.shorten().slice(), weight.shorten().slice(), a.shorten().slice(), b.shorten().slice()];
        // SAFETY: the shapes fit.
        unsafe { self.raw_curvature_adjoint(out.shape(), operands, out.into_slice()) }
    }

    /// out_n ← a_nᵀ for each D×D block of out (D×Dc); `a` may be one single block: then it is used for every n.
    fn transpose_blocks(&self, a: MatrixRef<'_, Self, T>, out: MatrixMut<'_, Self, T>) -> Result<()> {
        let blocks = (out.rows(), out.cols() / out.rows().max(1));
        require_blocks("transposition", blocks, out.shape())?;
        require_block_or_blocks("transposition", blocks, a.shape())?;
        if out.is_empty() {
            return Ok(());
        }
        // SAFETY: the shapes fit.
        unsafe { self.raw_transpose_blocks(out.rows(), a.slice(), out.into_slice()) }
    }

    /// out ← scale ⊙ out, or that + addend, over D×N matrices.
    fn scale_and_add(
        &self,
        scale: MatrixRef<'_, Self, T>,
        addend: Option<MatrixRef<'_, Self, T>>,
        out: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("scaling", scale.shape(), out.shape())?;
        if let Some(addend) = &addend {
            require("scaling", addend.shape(), out.shape())?;
        }
        let addend = addend.map(|addend| addend.slice());
        // SAFETY: the shapes fit.
        unsafe { self.raw_scale_and_add(out.rows(), scale.slice(), addend, out.into_slice()) }
    }

    /// out ← α a + β out, over D×N matrices.
    fn blend(&self, alpha: T, a: MatrixRef<'_, Self, T>, beta: T, out: MatrixMut<'_, Self, T>) -> Result<()> {
        require("blend", a.shape(), out.shape())?;
        // SAFETY: the shapes fit.
        unsafe { self.raw_blend(out.rows(), (alpha, a.slice()), beta, out.into_slice()) }
    }

    /// out ← out + α Σ_n a_n, for D×D blocks a_n of a (D×Dc).
    fn add_blocks(&self, alpha: T, a: MatrixRef<'_, Self, T>, out: MatrixMut<'_, Self, T>) -> Result<()> {
        let dim = out.rows();
        require("block sum", out.shape(), (dim, dim))?;
        require_blocks("block sum", (dim, a.cols() / dim.max(1)), a.shape())?;
        if a.is_empty() {
            return Ok(());
        }
        // SAFETY: the shapes fit.
        unsafe { self.raw_add_blocks(alpha, a.slice(), out.into_slice()) }
    }
}

#[cfg(test)]
mod tests;
