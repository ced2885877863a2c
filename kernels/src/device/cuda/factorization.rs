//! Inverse-transposes of D×D blocks: an LU, by whatever is fastest for the size and the number of blocks, then
//! triangular solves.

use super::blas::{Batched, Triangle};
use super::launch::{self, Kernels, Launcher};
use super::memory::{Block, Buffer, Pinned};
use super::operations::{Answers, Gpu};
use super::solver::Work;
use super::{Cuda, lu, refused};
use crate::device::Inversion;
use crate::error::Result;
use crate::scalar::Scalar;

/// Largest D whose blocks cuBLAS factors side by side, each by one multiprocessor: beyond it the panels of [`lu`] are
/// faster.
const SMALL_DIM: usize = 160;

/// Fewest blocks that are factored side by side: cuSOLVER gives a single one the whole GPU.
const MANY: usize = 4;

/// Columns of the identity that are solved for at a time: U^{-T} is a lower triangle, and what is above it costs
/// nothing.
const SOLVED_COLUMNS: usize = 2560;

/// Work memory to invert `count` blocks at a time.
pub struct Factorization {
    dim: usize,
    count: usize,
    way: Way,
    /// |A_n| 1, D×count.
    row_sums: Buffer<f64>,
    /// D×count, for the condition numbers.
    terms: Buffer<f64>,
    /// The order of the rows of each inverse, D×count.
    orders: Buffer<i32>,
    /// log|det| and condition of each block.
    reports: Pinned<f64>,
}

enum Way {
    OneByOne(Work),
    SideBySide(Addresses),
}

/// What the batched routines of cuBLAS want to know.
struct Addresses {
    /// The addresses of the blocks and of their right-hand sides.
    a: Buffer<u64>,
    b: Buffer<u64>,
    /// One-based row that step i swapped with row i, D×count.
    pivots: Buffer<i32>,
    /// Not read: a zero pivot shows in log|det|.
    info: Buffer<i32>,
}

impl Factorization {
    pub(super) fn new<T: Scalar>(device: &Cuda, dim: usize, count: usize) -> Result<Self> {
        let memory = &device.shared.heap;
        let numbers = dim.saturating_mul(count);
        let small = count > 1 && dim <= SMALL_DIM;
        let way = if small || count >= MANY {
            Way::SideBySide(Addresses {
                a: Buffer::new(memory, count, "addresses of matrices")?,
                b: Buffer::new(memory, count, "addresses of right-hand sides")?,
                pivots: Buffer::new(memory, numbers, "pivots")?,
                info: Buffer::new(memory, count, "status of factorisations")?,
            })
        } else {
            Way::OneByOne(device.solver()?.work::<T>(memory, dim)?)
        };
        Ok(Self {
            dim,
            count,
            way,
            row_sums: Buffer::new(memory, numbers, "row sums")?,
            terms: Buffer::new(memory, numbers, "terms of condition numbers")?,
            orders: Buffer::new(memory, numbers, "row orders")?,
            reports: Pinned::new(memory, 2 * count.max(1))?,
        })
    }

    /// Whether `count` blocks of `dim`×`dim` fit.
    pub(super) fn fits(&self, dim: usize, count: usize) -> bool {
        dim == self.dim && count <= self.count
    }

    /// out_n ← A_n^{-T} for the blocks at `a` and `out`, with the A_n as work memory; waits, to tell what it found out.
    ///
    /// From PA = LU follows A^{-T} = Pᵀ L^{-T} U^{-T}: two solves with transposed triangles, then an order of rows.
    ///
    /// # Safety
    /// There are as many blocks as reports, and they fit.
    pub(super) unsafe fn invert_transposed<T: Scalar>(
        &mut self,
        device: &Cuda,
        [a, out]: [u64; 2],
        report: &mut [Inversion],
    ) -> Result<()> {
        let (dim, count) = (self.dim, report.len());
        let kernels = device.kernels::<T>()?;
        let (row_sums, terms, orders) = (self.row_sums.address(), self.terms.address(), self.orders.address());
        let reports = self.reports.address(0);
        // SAFETY: `a` and `out` are `count` blocks of dim×dim, the other buffers were taken for as many. The factors in
        // `a` are not needed once log|det| is asked for and the solves are done: then `a` takes the ordered rows.
        unsafe {
            kernels.row_abs_sums(dim, count, a, row_sums)?;
            kernels.identities(dim, count, out)?;
            match &mut self.way {
                Way::OneByOne(work) => one_by_one(device, &kernels, work, (dim, count), [a, out, orders])?,
                Way::SideBySide(addresses) => {
                    side_by_side(device, &kernels, addresses, (dim, count), [a, out, orders])?;
                }
            }
            kernels.log_abs_dets(count, dim, a, reports)?;
            kernels.permute_rows(dim, count, orders, out, a)?;
            device.copy_bytes(a, out, dim * dim * count * size_of::<T>())?;
            kernels.skeel_conditions((dim, count), [out, row_sums, terms, reports])?;
        }
        device.answers().wait()?;
        for (n, report) in report.iter_mut().enumerate() {
            let (log_abs_det, condition) = (self.reports.get(2 * n), self.reports.get(2 * n + 1));
            // After a zero pivot the inverse is nonsense, and so is a condition number from it.
            let condition = if log_abs_det == f64::NEG_INFINITY { f64::INFINITY } else { condition };
            *report = Inversion { log_abs_det, condition };
        }
        Ok(())
    }
}

/// out ← L^{-T} U^{-T} for one block after the other, by cuSOLVER's LU, and the order of the rows of each.
///
/// # Safety
/// The blocks are as `work` was made for, `out` holds identities, `orders` has dim×count i32.
unsafe fn one_by_one<T: Scalar>(
    device: &Cuda,
    kernels: &Kernels<impl Launcher, T>,
    work: &mut Work,
    (dim, count): (usize, usize),
    [a, out, orders]: [u64; 3],
) -> Result<()> {
    let (solver, blas, ld) = (device.solver()?, &device.shared.blas, dim as i64);
    for n in 0..count {
        let block = (n * dim * dim * size_of::<T>()) as u64;
        let (a, out, order) = (a + block, out + block, orders + (n * dim * size_of::<i32>()) as u64);
        // SAFETY: the caller vouches for the blocks. Each solve is with the trailing part of U and of the same columns
        // of the identity, whose entries above it are zero and stay so.
        unsafe {
            solver.factor::<T>(a, work)?;
            kernels.row_orders(1, dim, work.pivots(), 2, order)?;
            for first in (0..dim).step_by(SOLVED_COLUMNS) {
                let shape = ((dim - first) as i64, SOLVED_COLUMNS.min(dim - first) as i64);
                let corner = ((first * dim + first) * size_of::<T>()) as u64;
                blas.solve_triangle::<T>(Triangle::Upper, shape, [a + corner, out + corner], ld)?;
            }
            blas.solve_triangle::<T>(Triangle::UnitLower, (ld, ld), [a, out], ld)?;
        }
    }
    Ok(())
}

/// The same for all blocks at a time.
///
/// # Safety
/// As [`one_by_one`], with `addresses` for as many blocks.
unsafe fn side_by_side<T: Scalar>(
    device: &Cuda,
    kernels: &Kernels<impl Launcher, T>,
    Addresses { a: from, b: to, pivots, info }: &Addresses,
    (dim, count): (usize, usize),
    [a, out, orders]: [u64; 3],
) -> Result<()> {
    let blas = &device.shared.blas;
    let failed = refused("a batched factorisation");
    let batch = Batched {
        dim: i32::try_from(dim).map_err(&failed)?,
        count: i32::try_from(count).map_err(&failed)?,
        a: from.address(),
        pivots: pivots.address(),
        info: info.address(),
    };
    // SAFETY: the caller vouches for the blocks.
    unsafe {
        kernels.block_pointers(dim * dim, count, a, from.address())?;
        kernels.block_pointers(dim * dim, count, out, to.address())?;
        if dim <= SMALL_DIM {
            blas.factor_batch::<T>(batch)?;
        } else {
            let update = |trailing| blas.update_trailing::<T>(trailing);
            lu::factor(kernels, (dim, count), launch::short_rows(T::DTYPE), (a, pivots.address()), update)?;
        }
        kernels.row_orders(count, dim, pivots.address(), 1, orders)?;
        blas.solve_triangles::<T>(Triangle::Upper, batch, to.address())?;
        blas.solve_triangles::<T>(Triangle::UnitLower, batch, to.address())
    }
}

/// log|det A| by an LU in f64; waits.
///
/// # Safety
/// `a` is the address of dim×dim numbers.
pub(super) unsafe fn log_abs_det<T: Scalar>(device: &Cuda, dim: usize, a: u64) -> Result<f64> {
    let (solver, kernels, answers) = (device.solver()?, device.kernels::<T>()?, device.answers());
    let heap = &device.shared.heap;
    let wide = Buffer::<f64>::new(heap, dim * dim, "LU factors in f64")?;
    let mut work = solver.work::<f64>(heap, dim)?;
    // SAFETY: the caller vouches for `a`, `wide` is of the same size, and the answer one f64.
    unsafe {
        kernels.widen(dim * dim, a, wide.address())?;
        solver.factor::<f64>(wide.address(), &mut work)?;
        kernels.log_abs_diagonal(dim, wide.address(), answers.address())?;
    }
    answers.wait()?;
    Ok(answers.get(0))
}
