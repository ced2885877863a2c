//! Where matrices live and what can be done to them in place.
//!
//! A [`Device`] offers some twenty operations, each at the level of one line of MATH.md's equations. None returns a
//! matrix, none allocates: results go to a caller's buffer and work memory is the caller's ([`Device::Factorization`]).
//! Everything above (forward pass, backends, in-place sweep) is written once against this trait, for f32 and f64.
//!
//! All matrices are column-major without padding, so that a range of columns is a contiguous slice; a batch has one
//! sample per column.

mod cpu;
pub mod cuda;
mod matrix;
mod shape;

pub use cpu::Cpu;
pub use cuda::Cuda;
pub use matrix::{Matrix, MatrixMut, MatrixRef};

use crate::elementwise;
use crate::error::Result;
use crate::math::Math;
use crate::network::{Activation, Architecture, Base};
use crate::scalar::Scalar;

/// A factor of a product: a matrix or its transpose.
pub struct Factor<'a, D: Device<T>, T: Scalar> {
    /// The stored matrix.
    pub matrix: MatrixRef<'a, D, T>,
    /// Whether the product uses the transpose of what is stored.
    pub transposed: bool,
}

impl<D: Device<T>, T: Scalar> Factor<'_, D, T> {
    /// Rows of the factor as the product sees it.
    pub fn rows(&self) -> usize {
        if self.transposed { self.matrix.cols() } else { self.matrix.rows() }
    }

    /// Columns of the factor as the product sees it.
    pub fn cols(&self) -> usize {
        if self.transposed { self.matrix.rows() } else { self.matrix.cols() }
    }
}

/// What a product is added to.
pub enum Addend<'a, D: Device<T>, T: Scalar> {
    /// Nothing: the destination is overwritten and may hold anything, NaN included.
    Zero,
    /// The destination itself, scaled: c ← βc + αab.
    Scaled(T),
    /// Another matrix of the destination's shape: c ← m + αab.
    Matrix(MatrixRef<'a, D, T>),
}

/// What an inversion finds out on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Inversion {
    /// log|det| of the inverted matrix, from the pivots, in f64.
    pub log_abs_det: f64,
    /// Skeel's condition number ‖|A⁻¹||A|‖_∞, which bounds the relative error of the inverse's rows and is blind to the
    /// scaling of A's rows; infinite after a zero pivot.
    pub condition: f64,
}

impl Inversion {
    /// Whether no digit of the inverse can be trusted: its condition number is above D/ε, or not a number.
    pub fn is_singular<T: Scalar>(&self, dim: usize) -> bool {
        self.condition > dim as f64 / T::EPS || self.condition.is_nan()
    }
}

/// Work that a device recorded once and can ask for again, all of it in one call.
pub trait Replay {
    /// Asks for the work again, on the same buffers.
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    fn replay(&self) -> Result<()>;
}

/// In-place linear algebra and elementwise work on one kind of memory, in precision `T`.
///
/// # Contract of every operation
/// Shapes are checked once, on entry ([`crate::Error::ShapeMismatch`]). Destinations never alias sources: the borrow
/// checker sees to it. Work may be asynchronous; [`Device::synchronize`] waits for it and reports a deferred error.
pub trait Device<T: Scalar>: Sized {
    /// Owned, zero-initialised storage.
    type Buffer: Send + Sync;
    /// Shared slice of a buffer.
    type Slice<'a>: Copy + Send + Sync;
    /// Exclusive slice of a buffer.
    type SliceMut<'a>;
    /// Work memory of [`Device::invert_transposed`] and [`Device::log_abs_det`].
    type Factorization: Send;

    /// Takes zero-filled storage for `len` numbers, resident from now on. `what` names it in an error.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    fn allocate(&self, len: usize, what: &str) -> Result<Self::Buffer>;

    /// The whole buffer.
    fn slice(buffer: &Self::Buffer) -> Self::Slice<'_>;
    /// The whole buffer, exclusively.
    fn slice_mut(buffer: &mut Self::Buffer) -> Self::SliceMut<'_>;
    /// Splits a slice in two at `mid`.
    fn split<'a>(slice: Self::Slice<'a>, mid: usize) -> (Self::Slice<'a>, Self::Slice<'a>);
    /// Splits an exclusive slice in two at `mid`.
    fn split_mut<'a>(slice: Self::SliceMut<'a>, mid: usize) -> (Self::SliceMut<'a>, Self::SliceMut<'a>);
    /// Lends an exclusive slice for a shorter time.
    fn reborrow_mut<'b>(slice: &'b mut Self::SliceMut<'_>) -> Self::SliceMut<'b>;
    /// The same shared slice for a shorter time (the compiler cannot see that an associated type is covariant).
    fn shorten<'b>(slice: &'b Self::Slice<'_>) -> Self::Slice<'b>;
    /// Lends an exclusive slice as a shared one.
    fn reborrow<'b>(slice: &'b Self::SliceMut<'_>) -> Self::Slice<'b>;

    /// Copies from host memory of the same length.
    fn upload(&self, source: &[T], destination: Self::SliceMut<'_>) -> Result<()>;
    /// Copies to host memory of the same length.
    fn download(&self, source: Self::Slice<'_>, destination: &mut [T]) -> Result<()>;
    /// destination ← source, both on the device.
    fn copy(&self, source: MatrixRef<'_, Self, T>, destination: MatrixMut<'_, Self, T>) -> Result<()>;
    /// Sets every element.
    fn fill(&self, value: T, destination: MatrixMut<'_, Self, T>) -> Result<()>;
    /// Waits for everything asked for so far.
    fn synchronize(&self) -> Result<()>;

    /// The arithmetic of [`Device::multiply`].
    fn math(&self) -> Math {
        Math::of(T::DTYPE)
    }

    /// Does `work` with products exact to `T`'s precision, whatever [`Device::math`] says otherwise.
    fn in_full_precision<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
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

    /// Fails with [`crate::Error::NonFinite`] when an element is NaN or infinite; an asynchronous device may tell at
    /// the next [`Device::synchronize`].
    fn require_finite(&self, what: &str, matrix: MatrixRef<'_, Self, T>) -> Result<()>;

    /// ‖a‖_F, in f64; waits for `a`.
    fn frobenius_norm(&self, a: MatrixRef<'_, Self, T>) -> Result<f64>;

    /// c ← addend + α a b, with a (m×k), b (k×n), c (m×n).
    fn multiply(
        &self,
        alpha: T,
        a: Factor<'_, Self, T>,
        b: Factor<'_, Self, T>,
        addend: Addend<'_, Self, T>,
        c: MatrixMut<'_, Self, T>,
    ) -> Result<()>;

    /// y ← y + b 1ᵀ, with b (D×1) and y (D×N).
    fn add_bias(&self, bias: MatrixRef<'_, Self, T>, y: MatrixMut<'_, Self, T>) -> Result<()>;

    /// y ← y + b 1ᵀ (when there is a bias), z ← σ(y), in one pass over D×N matrices \[M1\].
    fn bias_activate(
        &self,
        activation: Activation,
        bias: Option<MatrixRef<'_, Self, T>>,
        y: MatrixMut<'_, Self, T>,
        z: MatrixMut<'_, Self, T>,
    ) -> Result<()>;

    /// δ ← v ⊙ σ'(y) + r(y), r = σ''/σ' \[M8\], over D×N matrices.
    fn backward_error(
        &self,
        activation: Activation,
        v: MatrixRef<'_, Self, T>,
        y: MatrixRef<'_, Self, T>,
        delta: MatrixMut<'_, Self, T>,
    ) -> Result<()>;

    /// δ_L \[M7\]: ψ(y) for a linear last layer (`activation` is `None`), else ψ(σ(y)) ⊙ σ'(y) + r(y).
    fn output_error(
        &self,
        base: Base,
        activation: Option<Activation>,
        y: MatrixRef<'_, Self, T>,
        delta: MatrixMut<'_, Self, T>,
    ) -> Result<()>;

    /// slope ← σ'(y), ratio ← r(y), over D×N matrices.
    fn slope_and_ratio(
        &self,
        activation: Activation,
        y: MatrixRef<'_, Self, T>,
        slope: MatrixMut<'_, Self, T>,
        ratio: MatrixMut<'_, Self, T>,
    ) -> Result<()>;

    /// out\[n\] ← out\[n\] + Σ_i log σ'(y_in), the terms of L1J \[M2\], in f64.
    fn log_slope_sums(&self, activation: Activation, y: MatrixRef<'_, Self, T>, out: &mut [f64]) -> Result<()>;

    /// out\[n\] ← out\[n\] + Σ_i log p(z_in), the terms of Lp \[M2\], \[M5\], in f64.
    fn log_density_sums(&self, base: Base, z: MatrixRef<'_, Self, T>, out: &mut [f64]) -> Result<()>;

    /// ρ ← (s − m)/τ \[M6\], with log τ given, over D×N matrices.
    ///
    /// As given here it goes through the host and takes memory there; a device overrides it to stay in its own.
    fn standardize(
        &self,
        s: MatrixRef<'_, Self, T>,
        location: MatrixRef<'_, Self, T>,
        log_scale: MatrixRef<'_, Self, T>,
        rho: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        let (s, location) = (self.to_host(s)?, self.to_host(location)?);
        let log_scale = self.to_host(log_scale)?;
        let mut out = vec![T::default(); rho.rows() * rho.cols()];
        elementwise::standardize(&s, &location, &log_scale, &mut out)?;
        self.upload(&out, rho.into_slice())
    }

    /// ψ ← ψ/τ and ρ ← −1 − ρψ \[M6\], over D×N matrices: from ψ(ρ) and ρ to the derivatives of log p(s|u) in s and in
    /// log τ.
    ///
    /// As given here it goes through the host and takes memory there; a device overrides it to stay in its own.
    fn conditional_scores(
        &self,
        log_scale: MatrixRef<'_, Self, T>,
        psi: MatrixMut<'_, Self, T>,
        rho: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        let log_scale = self.to_host(log_scale)?;
        let (mut host_psi, mut host_rho) = (self.to_host(psi.view())?, self.to_host(rho.view())?);
        elementwise::conditional_scores(&log_scale, &mut host_psi, &mut host_rho)?;
        self.upload(&host_psi, psi.into_slice())?;
        self.upload(&host_rho, rho.into_slice())
    }

    /// A copy in host memory, column-major.
    fn to_host(&self, matrix: MatrixRef<'_, Self, T>) -> Result<Vec<T>> {
        let mut copy = vec![T::default(); matrix.rows() * matrix.cols()];
        self.download(matrix.slice(), &mut copy)?;
        Ok(copy)
    }

    /// How many of the blocks of [`Device::invert_transposed`] are factored at the same time; a panel with fewer leaves
    /// the device partly idle.
    fn lanes(&self) -> usize;

    /// Work memory to factor `count` D×D matrices at a time.
    fn factorization(&self, dim: usize, count: usize) -> Result<Self::Factorization>;

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
    ) -> Result<()>;

    /// log|det A| of a D×D matrix, by an LU in f64 whatever `T` is (MATH.md §16); −∞ when a pivot is zero.
    fn log_abs_det(&self, a: MatrixRef<'_, Self, T>) -> Result<f64>;

    /// out_n ← diag(s_n) a_n for each D×D block a_n of a (D×Dc), s_n the n-th column of `scale` (D×c).
    ///
    /// `a` may be one single D×D block: then it is used for every n.
    fn scale_rows(
        &self,
        scale: MatrixRef<'_, Self, T>,
        a: MatrixRef<'_, Self, T>,
        out: MatrixMut<'_, Self, T>,
    ) -> Result<()>;

    /// a_n ← diag(s_n) a_n, in place.
    fn scale_rows_in_place(&self, scale: MatrixRef<'_, Self, T>, a: MatrixMut<'_, Self, T>) -> Result<()>;

    /// out\[:,n\] ← slope\[:,n\] ⊙ out\[:,n\] + weight\[:,n\] ⊙ rowsum(a_n ⊙ b_n), the ȳ of \[M21\], for D×D
    /// blocks a_n, b_n; `b` may be one single block: then it is used for every n.
    fn curvature_adjoint(
        &self,
        slope: MatrixRef<'_, Self, T>,
        weight: MatrixRef<'_, Self, T>,
        a: MatrixRef<'_, Self, T>,
        b: MatrixRef<'_, Self, T>,
        out: MatrixMut<'_, Self, T>,
    ) -> Result<()>;

    /// out ← out + α Σ_n a_n, for D×D blocks a_n of a (D×Dc).
    fn add_blocks(&self, alpha: T, a: MatrixRef<'_, Self, T>, out: MatrixMut<'_, Self, T>) -> Result<()>;
}
