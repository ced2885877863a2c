//! What a device does behind the checks of [`Device`](super::Device).

use super::{Addend, AppendOuter, Factor, Inversion, Lines, MatrixMut, Memory, PullOuter};
use crate::elementwise;
use crate::error::Result;
use crate::network::{Activation, Base};
use crate::scalar::Scalar;

/// addend + α a b.
pub struct Combination<'a, 'b, 'c, D: Memory<T>, T: Scalar> {
    pub alpha: T,
    pub a: Factor<'a, D, T>,
    pub b: Factor<'b, D, T>,
    pub addend: Addend<'c, D, T>,
}

/// What a sum over a column has for each of its numbers.
#[derive(Debug, Clone, Copy)]
pub enum Term {
    /// log σ'(y).
    LogSlope(Activation),
    /// log p(z).
    LogDensity(Base),
}

/// The operations of [`Device`](super::Device), each under its name there, on slices: matrices without their shapes.
/// Where the numbers of rows and columns matter they come first, as do D and the number of D×D blocks.
///
/// # Safety
/// Slices have the lengths that the operation's doc there says, and shapes that are given in full are not empty: that
/// is what `Device` has checked, and an implementation need not notice when it is not so.
#[allow(clippy::missing_safety_doc, reason = "it is that of the trait")]
pub trait Raw<T: Scalar>: Memory<T> {
    unsafe fn raw_upload(&self, source: &[T], destination: Self::SliceMut<'_>) -> Result<()>;

    unsafe fn raw_download(&self, source: Self::Slice<'_>, destination: &mut [T]) -> Result<()>;

    unsafe fn raw_copy(&self, rows: usize, source: Self::Slice<'_>, destination: Self::SliceMut<'_>) -> Result<()>;

    fn raw_fill(&self, value: T, destination: Self::SliceMut<'_>) -> Result<()>;

    fn raw_require_finite(&self, what: &str, numbers: Self::Slice<'_>) -> Result<()>;

    fn raw_frobenius_norm(&self, a: Self::Slice<'_>) -> Result<f64>;

    /// As given here it goes through the host and takes memory there.
    unsafe fn raw_inner_products(
        &self,
        rows: usize,
        factors: [Self::Slice<'_>; 2],
        _room: &mut [f64],
        out: &mut [f64],
    ) -> Result<()> {
        let [a, b] = factors.map(|factor| self.raw_to_host(factor));
        let (a, b) = (a?, b?);
        let left = a.len() / rows;
        for (place, sum) in out.iter_mut().enumerate() {
            let columns = a[place % left * rows..].iter().zip(&b[place / left * rows..]).take(rows);
            *sum = columns.map(|(a, b)| a.widen() * b.widen()).sum();
        }
        Ok(())
    }

    /// Whether the device has it.
    unsafe fn raw_scale_lines(
        &self,
        _: Lines,
        _rows: usize,
        _by: Self::Slice<'_>,
        _a: Self::SliceMut<'_>,
    ) -> Result<bool> {
        Ok(false)
    }

    /// As given here, one column after the other.
    unsafe fn raw_column_norms(&self, rows: usize, a: Self::Slice<'_>, out: &mut [f64]) -> Result<()> {
        for (j, norm) in out.iter_mut().enumerate() {
            let column = Self::split(Self::split(a, j * rows).1, rows).0;
            *norm = self.raw_frobenius_norm(column)?;
        }
        Ok(())
    }

    unsafe fn raw_multiply(&self, product: Combination<'_, '_, '_, Self, T>, c: MatrixMut<'_, Self, T>) -> Result<()>;

    /// Whether it did; where it does not, nothing has changed.
    unsafe fn raw_pull_outer(&self, _: &mut PullOuter<'_, Self, T>) -> Result<bool> {
        Ok(false)
    }

    /// Whether the device has it.
    unsafe fn raw_append_outer(&self, _: AppendOuter<'_, Self, T>) -> Result<bool> {
        Ok(false)
    }

    unsafe fn raw_add_bias(&self, shape: (usize, usize), bias: Self::Slice<'_>, y: Self::SliceMut<'_>) -> Result<()>;

    unsafe fn raw_bias_activate(
        &self,
        shape: (usize, usize),
        activation: Activation,
        bias: Option<Self::Slice<'_>>,
        y: Self::SliceMut<'_>,
        z: Self::SliceMut<'_>,
    ) -> Result<()>;

    unsafe fn raw_backward_error(
        &self,
        rows: usize,
        activation: Activation,
        v: Self::Slice<'_>,
        y: Self::Slice<'_>,
        delta: Self::SliceMut<'_>,
    ) -> Result<()>;

    unsafe fn raw_output_error(
        &self,
        rows: usize,
        base: Base,
        activation: Option<Activation>,
        y: Self::Slice<'_>,
        delta: Self::SliceMut<'_>,
    ) -> Result<()>;

    unsafe fn raw_slope_and_ratio(
        &self,
        activation: Activation,
        y: Self::Slice<'_>,
        slope: Self::SliceMut<'_>,
        ratio: Self::SliceMut<'_>,
    ) -> Result<()>;

    unsafe fn raw_add_sums(&self, rows: usize, term: Term, x: Self::Slice<'_>, out: &mut [f64]) -> Result<()>;

    /// A copy in host memory.
    fn raw_to_host(&self, numbers: Self::Slice<'_>) -> Result<Vec<T>> {
        let mut copy = vec![T::default(); Self::len(&numbers)];
        // SAFETY: both have the same length.
        unsafe { self.raw_download(numbers, &mut copy)? };
        Ok(copy)
    }

    /// As given here it goes through the host and takes memory there; a device overrides it to stay in its own.
    unsafe fn raw_standardize(
        &self,
        [s, location, log_scale]: [Self::Slice<'_>; 3],
        rho: Self::SliceMut<'_>,
    ) -> Result<()> {
        let mut out = self.raw_to_host(s)?;
        elementwise::standardize(&mut out, &self.raw_to_host(location)?, &self.raw_to_host(log_scale)?);
        // SAFETY: all have the same length.
        unsafe { self.raw_upload(&out, rho) }
    }

    /// As [`Self::raw_standardize`].
    unsafe fn raw_conditional_scores(
        &self,
        log_scale: Self::Slice<'_>,
        psi: Self::SliceMut<'_>,
        rho: Self::SliceMut<'_>,
    ) -> Result<()> {
        let mut host = (self.raw_to_host(Self::reborrow(&psi))?, self.raw_to_host(Self::reborrow(&rho))?);
        elementwise::conditional_scores(&self.raw_to_host(log_scale)?, &mut host.0, &mut host.1);
        // SAFETY: as there.
        unsafe { self.raw_upload(&host.0, psi).and_then(|()| self.raw_upload(&host.1, rho)) }
    }

    /// As [`Self::raw_standardize`].
    unsafe fn raw_transpose_blocks(&self, dim: usize, a: Self::Slice<'_>, out: Self::SliceMut<'_>) -> Result<()> {
        let (a, mut host) = (self.raw_to_host(a)?, self.raw_to_host(Self::reborrow(&out))?);
        let from = |at: usize| at / (dim * dim) * (dim * dim) + at % dim * dim + at % (dim * dim) / dim;
        host.iter_mut().enumerate().for_each(|(at, out)| *out = a[from(at) % a.len()]);
        // SAFETY: both have the same length.
        unsafe { self.raw_upload(&host, out) }
    }

    /// As [`Self::raw_standardize`].
    unsafe fn raw_scale_and_add(
        &self,
        _rows: usize,
        scale: Self::Slice<'_>,
        addend: Option<Self::Slice<'_>>,
        out: Self::SliceMut<'_>,
    ) -> Result<()> {
        let mut host = self.raw_to_host(Self::reborrow(&out))?;
        elementwise::scale_and_add(
            &self.raw_to_host(scale)?,
            addend.map(|addend| self.raw_to_host(addend)).transpose()?.as_deref(),
            &mut host,
        );
        // SAFETY: both have the same length.
        unsafe { self.raw_upload(&host, out) }
    }

    /// As [`Self::raw_standardize`].
    unsafe fn raw_blend(
        &self,
        _rows: usize,
        (alpha, a): (T, Self::Slice<'_>),
        beta: T,
        out: Self::SliceMut<'_>,
    ) -> Result<()> {
        let mut host = self.raw_to_host(Self::reborrow(&out))?;
        elementwise::blend((alpha, &self.raw_to_host(a)?), beta, &mut host);
        // SAFETY: both have the same length.
        unsafe { self.raw_upload(&host, out) }
    }

    /// Without `a`, `out` is scaled in place.
    unsafe fn raw_scale_rows(
        &self,
        blocks: (usize, usize),
        scale: Self::Slice<'_>,
        a: Option<Self::Slice<'_>>,
        out: Self::SliceMut<'_>,
    ) -> Result<()>;

    unsafe fn raw_curvature_adjoint(
        &self,
        blocks: (usize, usize),
        slope_weight_a_b: [Self::Slice<'_>; 4],
        out: Self::SliceMut<'_>,
    ) -> Result<()>;

    unsafe fn raw_add_blocks(&self, alpha: T, a: Self::Slice<'_>, out: Self::SliceMut<'_>) -> Result<()>;
}

/// As [`Raw`], the operations on a factorisation.
///
/// # Safety
/// As there.
#[allow(clippy::missing_safety_doc, reason = "it is that of the trait")]
pub trait RawInverse<T: Scalar>: Memory<T> {
    /// Work memory of [`super::Device::invert_transposed`] and [`super::Device::log_abs_det`].
    type Factorization: Send;

    /// Whether `work` is for `count` blocks of dim×dim.
    fn raw_fits(work: &Self::Factorization, dim: usize, count: usize) -> bool;

    unsafe fn raw_invert_transposed(
        &self,
        dim: usize,
        a: Self::SliceMut<'_>,
        out: Self::SliceMut<'_>,
        work: &mut Self::Factorization,
        report: &mut [Inversion],
    ) -> Result<()>;

    unsafe fn raw_log_abs_det(&self, dim: usize, a: Self::Slice<'_>) -> Result<f64>;
}
