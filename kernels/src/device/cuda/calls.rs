//! Each kernel as a function: its arguments in the order of its parameters, and its geometry.
//!
//! Addresses are of device memory. The functions are unsafe to call with addresses of less memory than their doc
//! states.

use std::ffi::c_void;

use super::launch::{Geometry, Kernel, Launcher};
use crate::elementwise::{DensityParameters, SigmaParameters};
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// Runs a kernel on values that are named like its parameters, in their order.
macro_rules! launch {
    ($launcher:expr, $kernel:ident, $geometry:expr; $($name:ident = $value:expr),+ $(,)?) => {{
        let geometry = $geometry;
        let ($(mut $name,)+) = ($($value,)+);
        // SAFETY: the values have the types and the order of the parameters in the .cu file, which the emulation tests
        // run through this very call; the caller vouches for the addresses.
        unsafe {
            $launcher.launch(Kernel::$kernel, geometry, &mut [$((&raw mut $name).cast::<c_void>()),+])
        }
    }};
}

/// Kernels on numbers of type `T`.
pub(super) struct Calls<L> {
    pub(super) launcher: L,
}

/// The panel of D×D blocks that an operand is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    pub(super) address: u64,
    /// Numbers between two blocks; 0 when one block stands for all.
    pub(super) stride: u64,
}

fn too_large(operation: &'static str) -> impl Fn() -> Error {
    move || Error::Device { operation, status: "more columns than a grid of thread blocks can have".to_owned() }
}

impl<L: Launcher> Calls<L> {
    /// x ← value, `len` numbers.
    pub(super) unsafe fn fill<T: Copy>(&self, len: usize, value: T, x: u64) -> Result<()> {
        launch!(self.launcher, fill, Geometry::flat(len); len = len as u64, value = value, x = x)
    }

    /// y ← y + b 1ᵀ: y (rows×cols), b (rows).
    pub(super) unsafe fn add_bias(&self, rows: usize, cols: usize, bias: u64, y: u64) -> Result<()> {
        let geometry = Geometry::tiles(rows, cols).ok_or_else(too_large("add bias"))?;
        launch!(self.launcher, add_bias, geometry; rows = rows as u64, cols = cols as u64, bias = bias, y = y)
    }

    /// y ← y + b 1ᵀ, z ← σ(y): y, z (rows×cols), b (rows).
    pub(super) unsafe fn bias_activate<T: Copy>(
        &self,
        (rows, cols): (usize, usize),
        sigma: SigmaParameters<T>,
        bias: u64,
        y: u64,
        z: u64,
    ) -> Result<()> {
        let geometry = Geometry::tiles(rows, cols).ok_or_else(too_large("activation"))?;
        launch!(self.launcher, bias_activate, geometry;
            rows = rows as u64, cols = cols as u64, sigma = sigma, bias = bias, y = y, z = z)
    }

    /// z ← σ(y), `len` numbers.
    pub(super) unsafe fn activate<T: Copy>(&self, len: usize, sigma: SigmaParameters<T>, y: u64, z: u64) -> Result<()> {
        launch!(self.launcher, activate, Geometry::flat(len); len = len as u64, sigma = sigma, y = y, z = z)
    }

    /// δ ← v σ'(y) + r(y), `len` numbers.
    pub(super) unsafe fn backward_error<T: Copy>(
        &self,
        len: usize,
        sigma: SigmaParameters<T>,
        v: u64,
        y: u64,
        delta: u64,
    ) -> Result<()> {
        launch!(self.launcher, backward_error, Geometry::flat(len);
            len = len as u64, sigma = sigma, v = v, y = y, delta = delta)
    }

    /// δ ← ψ(y), `len` numbers.
    pub(super) unsafe fn output_score<T: Copy>(
        &self,
        len: usize,
        density: DensityParameters<T>,
        y: u64,
        delta: u64,
    ) -> Result<()> {
        launch!(self.launcher, output_score, Geometry::flat(len);
            len = len as u64, density = density, y = y, delta = delta)
    }

    /// δ ← ψ(σ(y)) σ'(y) + r(y), `len` numbers.
    pub(super) unsafe fn output_error<T: Copy>(
        &self,
        len: usize,
        sigma: SigmaParameters<T>,
        density: DensityParameters<T>,
        y: u64,
        delta: u64,
    ) -> Result<()> {
        launch!(self.launcher, output_error, Geometry::flat(len);
            len = len as u64, sigma = sigma, density = density, y = y, delta = delta)
    }

    /// slope ← σ'(y), ratio ← r(y), `len` numbers.
    pub(super) unsafe fn slope_and_ratio<T: Copy>(
        &self,
        len: usize,
        sigma: SigmaParameters<T>,
        y: u64,
        slope: u64,
        ratio: u64,
    ) -> Result<()> {
        launch!(self.launcher, slope_and_ratio, Geometry::flat(len);
            len = len as u64, sigma = sigma, y = y, slope = slope, ratio = ratio)
    }

    /// wide ← x in f64, `len` numbers.
    pub(super) unsafe fn widen(&self, len: usize, x: u64, wide: u64) -> Result<()> {
        launch!(self.launcher, widen, Geometry::flat(len); len = len as u64, x = x, wide = wide)
    }

    /// flag (u32) ← 1 when one of `len` numbers is not finite.
    pub(super) unsafe fn flag_not_finite(&self, len: usize, x: u64, flag: u64) -> Result<()> {
        launch!(self.launcher, flag_not_finite, Geometry::flat(len); len = len as u64, x = x, flag = flag)
    }

    /// total (f64) ← the sum of the squares of `len` numbers, through [`super::launch::PARTIAL_SUMS`] f64 of `partial`.
    pub(super) unsafe fn sum_of_squares(&self, len: usize, x: u64, partial: u64, total: u64) -> Result<()> {
        let geometry = Geometry::partial_sums(len);
        launch!(self.launcher, sum_of_squares, geometry; len = len as u64, x = x, partial = partial)?;
        launch!(self.launcher, sum_partials, Geometry::one_block();
            count = u64::from(geometry.grid.0), partial = partial, total = total)
    }

    /// sums\[n\] (f64) ← Σ_i log σ'(y_in): y (rows×cols).
    pub(super) unsafe fn log_slope_sums<T: Copy>(
        &self,
        (rows, cols): (usize, usize),
        sigma: SigmaParameters<T>,
        y: u64,
        sums: u64,
    ) -> Result<()> {
        let geometry = Geometry::one_block_each(cols).ok_or_else(too_large("log-slope sums"))?;
        launch!(self.launcher, log_slope_sums, geometry; rows = rows as u64, sigma = sigma, y = y, sums = sums)
    }

    /// sums\[n\] (f64) ← Σ_i log p(z_in): z (rows×cols).
    pub(super) unsafe fn log_density_sums<T: Copy>(
        &self,
        (rows, cols): (usize, usize),
        density: DensityParameters<T>,
        z: u64,
        sums: u64,
    ) -> Result<()> {
        let geometry = Geometry::one_block_each(cols).ok_or_else(too_large("log-density sums"))?;
        launch!(self.launcher, log_density_sums, geometry;
            rows = rows as u64, density = density, z = z, sums = sums)
    }

    /// out_n ← diag(s_n) a_n for `count` blocks of dim×dim; `out` may be `a`.
    pub(super) unsafe fn scale_rows(&self, (dim, count): (usize, usize), scale: u64, a: Panel, out: u64) -> Result<()> {
        let geometry = Geometry::tiles(dim, dim * count).ok_or_else(too_large("row scaling"))?;
        launch!(self.launcher, scale_rows, geometry;
            dim = dim as u64, count = count as u64, scale = scale, a = a.address, stride = a.stride, out = out)
    }

    /// out\[:,n\] ← slope ⊙ out + weight ⊙ rowsum(a_n ⊙ b_n) for `count` blocks of dim×dim.
    pub(super) unsafe fn curvature_adjoint(
        &self,
        (dim, count): (usize, usize),
        (slope, weight): (u64, u64),
        a: u64,
        b: Panel,
        out: u64,
    ) -> Result<()> {
        launch!(self.launcher, curvature_adjoint, Geometry::flat(dim * count);
            dim = dim as u64, count = count as u64, slope = slope, weight = weight, a = a, b = b.address,
            stride = b.stride, out = out)
    }

    /// out ← out + α Σ_n a_n for `count` blocks of `len` numbers.
    pub(super) unsafe fn add_blocks<T: Copy>(
        &self,
        (len, count): (usize, usize),
        alpha: T,
        a: u64,
        out: u64,
    ) -> Result<()> {
        launch!(self.launcher, add_blocks, Geometry::flat(len);
            len = len as u64, count = count as u64, alpha = alpha, a = a, out = out)
    }

    /// out_n ← I for `count` blocks of dim×dim.
    pub(super) unsafe fn identities(&self, dim: usize, count: usize, out: u64) -> Result<()> {
        launch!(self.launcher, identities, Geometry::flat(dim * dim * count);
            dim = dim as u64, count = count as u64, out = out)
    }

    /// pointers\[n\] (u64) ← the address of block n of `len` numbers.
    pub(super) unsafe fn block_pointers(&self, len: usize, count: usize, blocks: u64, pointers: u64) -> Result<()> {
        launch!(self.launcher, block_pointers, Geometry::flat(count);
            len = len as u64, count = count as u64, blocks = blocks, pointers = pointers)
    }

    /// sums\[:,n\] (f64) ← |a_n| 1 for `count` blocks of dim×dim.
    pub(super) unsafe fn row_abs_sums(&self, dim: usize, count: usize, a: u64, sums: u64) -> Result<()> {
        launch!(self.launcher, row_abs_sums, Geometry::flat(dim * count);
            dim = dim as u64, count = count as u64, a = a, sums = sums)
    }

    /// report (f64, two a block): the first of each pair ← log|det A_n| from the LU factors.
    pub(super) unsafe fn log_abs_dets(&self, (dim, count): (usize, usize), lu: u64, report: u64) -> Result<()> {
        let blocks = Geometry::one_block_each(count).ok_or_else(too_large("log-determinant"))?;
        launch!(self.launcher, log_abs_dets, blocks; dim = dim as u64, lu = lu, report = report)
    }

    /// report (f64, two a block): the second of each pair ← Skeel's condition number from the inverse-transposes and
    /// |A_n| 1; `terms` (dim×count, f64) is work memory.
    pub(super) unsafe fn condition_numbers(
        &self,
        (dim, count): (usize, usize),
        inverse: u64,
        row_sums: u64,
        terms: u64,
        report: u64,
    ) -> Result<()> {
        let columns = Geometry::one_block_each(dim * count).ok_or_else(too_large("condition number"))?;
        launch!(self.launcher, skeel_terms, columns;
            dim = dim as u64, inverse = inverse, row_sums = row_sums, terms = terms)?;
        let blocks = Geometry::one_block_each(count).ok_or_else(too_large("condition number"))?;
        launch!(self.launcher, condition_numbers, blocks; dim = dim as u64, terms = terms, report = report)
    }

    /// Factors the panel of `width` columns from `first` on of `count` blocks of dim×dim; pivots (dim×count, i32).
    pub(super) unsafe fn lu_panel(
        &self,
        (dim, count): (usize, usize),
        (first, width): (usize, usize),
        a: u64,
        pivots: u64,
    ) -> Result<()> {
        let geometry = Geometry::panels(count).ok_or_else(too_large("a panel"))?;
        launch!(self.launcher, lu_panel, geometry;
            dim = dim as u64, first = first as u64, width = width as u64, a = a, pivots = pivots)
    }

    /// As [`Self::lu_panel`], for at most [`super::launch::short_rows`] rows from `first` on.
    pub(super) unsafe fn lu_short_panel<T: Scalar>(
        &self,
        (dim, count): (usize, usize),
        (first, width): (usize, usize),
        a: u64,
        pivots: u64,
    ) -> Result<()> {
        let geometry = Geometry::short_panels(T::DTYPE, count).ok_or_else(too_large("a panel"))?;
        launch!(self.launcher, lu_short_panel, geometry;
            dim = dim as u64, first = first as u64, width = width as u64, a = a, pivots = pivots)
    }

    /// Beside the panel of [`Self::lu_panel`]: its swaps of rows, and right of it U12 ← L11⁻¹ A12.
    pub(super) unsafe fn lu_rows(
        &self,
        (dim, count): (usize, usize),
        (first, width): (usize, usize),
        a: u64,
        pivots: u64,
    ) -> Result<()> {
        let geometry = Geometry::thread_a_column(dim - width, count).ok_or_else(too_large("a panel"))?;
        launch!(self.launcher, lu_rows, geometry;
            dim = dim as u64, first = first as u64, width = width as u64, a = a, pivots = pivots)
    }

    /// orders (dim×count, i32) ← Pᵀ of each block as an order of rows, from pivots of `stride` words of 32 bits.
    pub(super) unsafe fn row_orders(
        &self,
        (dim, count): (usize, usize),
        pivots: u64,
        stride: u64,
        orders: u64,
    ) -> Result<()> {
        let geometry = Geometry::one_block_each(count).ok_or_else(too_large("row orders"))?;
        launch!(self.launcher, row_orders, geometry;
            dim = dim as u64, pivots = pivots, stride = stride, orders = orders)
    }

    /// out_n ← P_nᵀ y_n for `count` blocks of dim×dim, with the orders of [`Self::row_orders`].
    pub(super) unsafe fn permute_rows(
        &self,
        (dim, count): (usize, usize),
        orders: u64,
        y: u64,
        out: u64,
    ) -> Result<()> {
        let geometry = Geometry::tiles(dim, dim * count).ok_or_else(too_large("row orders"))?;
        launch!(self.launcher, permute_rows, geometry;
            dim = dim as u64, count = count as u64, orders = orders, y = y, out = out)
    }

    /// total (f64) ← Σ log|u_ii| of LU factors in f64, dim×dim.
    pub(super) unsafe fn log_abs_diagonal(&self, dim: usize, lu: u64, total: u64) -> Result<()> {
        launch!(self.launcher, log_abs_diagonal, Geometry::one_block();
            dim = dim as u64, lu = lu, total = total)
    }
}
