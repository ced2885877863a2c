//! LU of many matrices at a time, by panels: a kernel of ours factors a panel of every matrix, another swaps rows
//! beside it and solves for U's part of the rows, and a product of the library's updates the rest.
//!
//! cuBLAS's own batched LU is for small matrices (at D = 1,000 it takes 80 ms for 32 of them on an H200), and one call
//! of cuSOLVER after the other waits for the pivots of one matrix while most multiprocessors idle (1.9 ms each).

use super::blas::Trailing;
use super::launch::{Kernels, Launcher, PANEL};
use crate::error::Result;
use crate::scalar::Scalar;

/// PA = LU of `count` matrices of dim×dim, side by side at `a`, in place; one-based pivots (dim×count, i32) as
/// LAPACK's. `update` is asked for A22 ← A22 − A21 A12. Panels of up to `short_rows` rows are factored in registers.
///
/// # Safety
/// `a` and `pivots` are addresses of memory of these sizes, of numbers of type `T` and i32; `short_rows` is at most
/// [`super::launch::short_rows`].
pub(super) unsafe fn factor<T: Scalar, L: Launcher>(
    kernels: &Kernels<L, T>,
    (dim, count): (usize, usize),
    short_rows: usize,
    (a, pivots): (u64, u64),
    mut update: impl FnMut(Trailing) -> Result<()>,
) -> Result<()> {
    for first in (0..dim).step_by(PANEL) {
        let width = PANEL.min(dim - first);
        // SAFETY: the caller vouches for the addresses; the panel lies within the matrices.
        unsafe {
            if dim - first <= short_rows {
                kernels.lu_short_panel(count, dim, first, width, a, pivots)?;
            } else {
                kernels.lu_panel(count, dim, first, width, a, pivots)?;
            }
            if width < dim {
                kernels.lu_rows(count, dim, first, width, a, pivots)?;
            }
        }
        if first + width < dim {
            update(Trailing { dim, count, first, width, a })?;
        }
    }
    Ok(())
}
