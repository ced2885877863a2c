//! Inverse-transposes of D×D blocks: an LU, by whatever is fastest for the size and the number of blocks, then
//! triangular solves.

use super::blas::{Batch, Triangle};
use super::calls::Calls;
use super::memory::{Buffer, Pinned, Slice, SliceMut};
use super::solver::Work;
use super::stream::Lane;
use super::{Cuda, launch, lu, refused};
use crate::device::Inversion;
use crate::error::Result;
use crate::scalar::Scalar;
use cudarc::driver::result;

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

/// The blocks of one call.
#[derive(Clone, Copy)]
struct Blocks<'a, T> {
    dim: usize,
    count: usize,
    a: Slice<'a, T>,
    out: Slice<'a, T>,
}

impl Factorization {
    pub(super) fn new<T: Scalar>(device: &Cuda, dim: usize, count: usize) -> Result<Self> {
        let memory = &device.shared.memory;
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

    /// out_n ← A_n^{-T}, with the A_n as work memory; waits, to tell what it found out.
    ///
    /// From PA = LU follows A^{-T} = Pᵀ L^{-T} U^{-T}: two solves with transposed triangles, then an order of rows.
    pub(super) fn invert_transposed<T: Scalar>(
        &mut self,
        device: &Cuda,
        calls: &Calls<Lane<'_>>,
        a: &SliceMut<'_, T>,
        out: &SliceMut<'_, T>,
        report: &mut [Inversion],
    ) -> Result<()> {
        let (dim, count) = (self.dim, report.len());
        let shape = (dim, count);
        let blocks = Blocks { dim, count, a: a.shared(), out: out.shared() };
        let (a, out) = (a.address(), out.address());
        debug_assert!(self.fits(dim, count) && blocks.a.len() == dim * dim * count);
        debug_assert_eq!(blocks.a.len(), blocks.out.len());
        let (row_sums, terms, orders) = (self.row_sums.address(), self.terms.address(), self.orders.address());
        let reports = self.reports.address(0);
        // SAFETY: `a` and `out` are `count` blocks of dim×dim, the other buffers were taken for as many. The factors in
        // `a` are not needed once log|det| is asked for and the solves are done: then `a` takes the ordered rows.
        unsafe {
            calls.row_abs_sums(dim, count, a, row_sums)?;
            calls.identities(dim, count, out)?;
            match &mut self.way {
                Way::OneByOne(work) => one_by_one(device, calls, work, blocks, orders)?,
                Way::SideBySide(addresses) => side_by_side(device, calls, addresses, blocks, orders)?,
            }
            calls.log_abs_dets(shape, a, reports)?;
            calls.permute_rows(shape, orders, out, a)?;
            let bytes = blocks.a.len() * size_of::<T>();
            result::memcpy_dtod_async(out, a, bytes, device.shared.queue.stream().cu_stream())
                .map_err(refused("copying an inverse"))?;
            calls.condition_numbers(shape, out, row_sums, terms, reports)?;
        }
        device.shared.queue.wait()?;
        for (n, report) in report.iter_mut().enumerate() {
            *report = told(self.reports.get(2 * n), self.reports.get(2 * n + 1));
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
    calls: &Calls<Lane<'_>>,
    work: &mut Work,
    Blocks { dim, count, a, out }: Blocks<'_, T>,
    orders: u64,
) -> Result<()> {
    let (solver, blas, ld) = (device.solver()?, &device.shared.blas, dim as i64);
    for n in 0..count {
        let (a, out) = (nth(a, n, dim * dim), nth(out, n, dim * dim));
        let order = orders + (n * dim * size_of::<i32>()) as u64;
        // SAFETY: the caller vouches for the blocks. Each solve is with the trailing part of U and of the same columns
        // of the identity, whose entries above it are zero and stay so.
        unsafe {
            solver.factor::<T>(a, work)?;
            calls.row_orders((dim, 1), work.pivots(), 2, order)?;
            for first in (0..dim).step_by(SOLVED_COLUMNS) {
                let shape = ((dim - first) as i64, SOLVED_COLUMNS.min(dim - first) as i64);
                let corner = ((first * dim + first) * size_of::<T>()) as u64;
                blas.solve_triangle::<T>(Triangle::Upper, shape, a + corner, out + corner, ld)?;
            }
            blas.solve_triangle::<T>(Triangle::UnitLower, (ld, ld), a, out, ld)?;
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
    calls: &Calls<Lane<'_>>,
    addresses: &Addresses,
    Blocks { dim, count, a, out }: Blocks<'_, T>,
    orders: u64,
) -> Result<()> {
    let blas = &device.shared.blas;
    let Addresses { a: from, b: to, pivots, info } = addresses;
    let failed = refused("a batched factorisation");
    let batch = Batch {
        dim: i32::try_from(dim).map_err(&failed)?,
        count: i32::try_from(count).map_err(&failed)?,
        a: from.address(),
        pivots: pivots.address(),
        info: info.address(),
    };
    // SAFETY: the caller vouches for the blocks.
    unsafe {
        calls.block_pointers(dim * dim, count, a.address(), from.address())?;
        calls.block_pointers(dim * dim, count, out.address(), to.address())?;
        if dim <= SMALL_DIM {
            blas.factor_batch::<T>(batch)?;
        } else {
            let update = |trailing| blas.update_trailing::<T>(trailing);
            let (short_rows, addresses) = (launch::short_rows(T::DTYPE), (a.address(), pivots.address()));
            lu::factor::<T, _>(calls, (dim, count), short_rows, addresses, update)?;
        }
        calls.row_orders((dim, count), pivots.address(), 1, orders)?;
        blas.solve_triangles::<T>(Triangle::Upper, batch, to.address())?;
        blas.solve_triangles::<T>(Triangle::UnitLower, batch, to.address())
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
