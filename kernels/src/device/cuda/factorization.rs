//! Inverse-transposes of D×D blocks: one cuSOLVER call after the other where a block fills the GPU, cuBLAS's batched
//! routines where it does not.

use super::blas::Batch;
use super::calls::Calls;
use super::memory::{Buffer, Pinned, Slice, SliceMut};
use super::solver::Work;
use super::stream::Lane;
use super::{Cuda, refused};
use crate::device::Inversion;
use crate::error::Result;
use crate::scalar::Scalar;

/// Largest D whose blocks are factored side by side. cuBLAS gives each matrix one multiprocessor's work, which pays while
/// a single factorisation would leave the others idle.
const BATCHED_DIM: usize = 256;

/// Work memory to invert `count` blocks at a time.
pub struct Factorization {
    dim: usize,
    count: usize,
    way: Way,
    /// |A_n| 1, D×count.
    row_sums: Buffer<f64>,
    /// D×count, for the condition numbers.
    terms: Buffer<f64>,
    /// log|det| and condition of each block.
    reports: Pinned<f64>,
}

enum Way {
    OneByOne(Work),
    Batched {
        /// The addresses of the blocks and of their right-hand sides.
        a: Buffer<u64>,
        b: Buffer<u64>,
        pivots: Buffer<i32>,
        info: Buffer<i32>,
    },
}

impl Factorization {
    pub(super) fn new<T: Scalar>(device: &Cuda, dim: usize, count: usize) -> Result<Self> {
        let memory = &device.shared.memory;
        let numbers = dim.saturating_mul(count);
        let way = if count > 1 && dim <= BATCHED_DIM {
            Way::Batched {
                a: Buffer::new(memory, count, "addresses of matrices")?,
                b: Buffer::new(memory, count, "addresses of right-hand sides")?,
                pivots: Buffer::new(memory, numbers, "pivots")?,
                info: Buffer::new(memory, count, "status of factorisations")?,
            }
        } else {
            Way::OneByOne(device.solver()?.work::<T>(memory, dim)?)
        };
        Ok(Self {
            dim,
            count,
            way,
            row_sums: Buffer::new(memory, numbers, "row sums")?,
            terms: Buffer::new(memory, numbers, "terms of condition numbers")?,
            reports: Pinned::new(memory, 2 * count.max(1))?,
        })
    }

    /// Whether `count` blocks of `dim`×`dim` fit.
    pub(super) fn fits(&self, dim: usize, count: usize) -> bool {
        dim == self.dim && count <= self.count
    }

    /// out_n ← A_n^{-T}; waits, to tell what it found out.
    ///
    /// A^{-T} is the solution of AᵀX = I: with the factors of A that is a solve with the transpose, and no matrix is
    /// transposed or permuted.
    pub(super) fn invert_transposed<T: Scalar>(
        &mut self,
        device: &Cuda,
        calls: &Calls<Lane<'_>>,
        a: &SliceMut<'_, T>,
        out: &SliceMut<'_, T>,
        report: &mut [Inversion],
    ) -> Result<()> {
        let (dim, count) = (self.dim, report.len());
        let block = dim * dim;
        let (a, out) = (a.shared(), out.shared());
        debug_assert!(self.fits(dim, count) && a.len() == block * count && out.len() == block * count);
        // SAFETY: `a` and `out` are `count` blocks of dim×dim, the other buffers were taken for as many.
        unsafe {
            calls.row_abs_sums(dim, count, a.address(), self.row_sums.address())?;
            calls.identities(dim, count, out.address())?;
            match &mut self.way {
                Way::OneByOne(work) => {
                    let solver = device.solver()?;
                    for n in 0..count {
                        let (a, out) = (nth(a, n, block), nth(out, n, block));
                        solver.factor::<T>(a, work)?;
                        solver.solve_transposed::<T>(a, out, work)?;
                    }
                }
                Way::Batched { a: from, b: to, pivots, info } => {
                    calls.block_pointers(block, count, a.address(), from.address())?;
                    calls.block_pointers(block, count, out.address(), to.address())?;
                    let batch = Batch {
                        dim: dim as i32,
                        count: i32::try_from(count).map_err(refused("a batched factorisation"))?,
                        a: from.address(),
                        pivots: pivots.address(),
                        info: info.address(),
                    };
                    device.shared.blas.factor_batch::<T>(batch)?;
                    device.shared.blas.solve_transposed_batch::<T>(batch, to.address())?;
                }
            }
            let (row_sums, terms) = (self.row_sums.address(), self.terms.address());
            let reports = self.reports.address(0);
            calls.inversion_reports((dim, count), a.address(), out.address(), row_sums, terms, reports)?;
        }
        device.shared.queue.wait()?;
        for (n, report) in report.iter_mut().enumerate() {
            *report = told(self.reports.get(2 * n), self.reports.get(2 * n + 1));
        }
        Ok(())
    }
}

/// What a block's report says; after a zero pivot the inverse is nonsense, and so is a condition number from it.
fn told(log_abs_det: f64, condition: f64) -> Inversion {
    let condition = if log_abs_det == f64::NEG_INFINITY { f64::INFINITY } else { condition };
    Inversion { log_abs_det, condition }
}

/// The address of block `n`.
fn nth<T>(blocks: Slice<'_, T>, n: usize, block: usize) -> u64 {
    blocks.split(n * block).1.address()
}

/// log|det A| by an LU in f64, of a matrix that is overwritten; waits.
///
/// # Safety
/// `a` is the address of dim×dim f64.
pub(super) unsafe fn log_abs_det(device: &Cuda, calls: &Calls<Lane<'_>>, dim: usize, a: u64) -> Result<f64> {
    let solver = device.solver()?;
    let mut work = solver.work::<f64>(&device.shared.memory, dim)?;
    let queue = &device.shared.queue;
    // SAFETY: the caller vouches for `a`; the answer is one f64.
    unsafe {
        solver.factor::<f64>(a, &mut work)?;
        calls.log_abs_diagonal(dim, a, queue.answer_address(0))?;
    }
    queue.wait()?;
    Ok(queue.answer(0))
}
