//! Matrix products, split by hand among the threads.
//!
//! Each thread multiplies its own range of the destination's rows or columns: with our kernel where the processor has
//! the instructions for it ([`super::gemm`]), with faer's sequential one otherwise and for matrix–vector products.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::reborrow::ReborrowMut;
use faer::{Accum, MatMut, MatRef, Par};

use super::shared::SharedMatrix;
use super::team::{self, Length};
#[cfg(target_arch = "x86_64")]
use super::{few, gemm};
use crate::device::Cpu;
use crate::error::{Error, Result};
use crate::math::Math;
use crate::scalar::Scalar;

/// Samples up to which a pass in f32 over a weight is faster than a product in bf16 that packs its factors.
#[cfg(target_arch = "x86_64")]
pub(super) const FEW_IN_BF16: usize = 24;

/// Products below this many multiply-adds stay on the calling thread: telling another costs more than it saves.
const PARALLEL_MULTIPLY_ADDS: usize = 100_000;

/// From this many rows on, threads share the rows of a tall destination, so that each packs its own part of the left
/// factor. Below, where a share cannot be cut in whole tiles without leaving the threads unequal, they share its
/// columns.
const TALL: usize = 256;

/// Products with a thinner destination are vectors in all but name, which our kernel is not made for.
#[cfg(target_arch = "x86_64")]
const LEAST_SIDE: usize = 4;

/// Terms that are added one after the other where a small destination has sums that are much longer, as that of a bias
/// over a million samples: rounding errors grow with the length of a sum. Our kernel adds 256 at a time.
const LONGEST_SUM: usize = 1024;
/// A destination is small beside its sums when it has at most this part of their terms: visiting it again costs
/// nothing.
const SMALL_SHARE: usize = 64;

/// Rows and columns of the tiles in which faer's kernel gets an addend into the cache just before a product is added to
/// it.
const TILE_ROWS: usize = 1024;
const TILE_COLS: usize = 128;

/// What the product is added to; [`super::super::Addend`] in faer's terms.
#[derive(Clone, Copy)]
pub enum Onto<'a, T> {
    Overwrite,
    Scaled(T),
    Matrix(MatRef<'a, T>),
}

/// Fails unless this processor can multiply in an arithmetic.
pub(super) fn require(math: Math) -> Result<()> {
    let requirement = match math {
        Math::F32 | Math::F64 => return Ok(()),
        #[cfg(target_arch = "x86_64")]
        Math::Bf16 if gemm::ProductKernel::of(math).is_some() => return Ok(()),
        Math::Bf16 => Cpu::OF_BF16,
        Math::Tf32 => "an NVIDIA GPU",
    };
    Err(Error::NoArithmetic { math, requirement })
}

/// c ← addend + α a b in full precision on up to `threads` threads. Shapes fit: the caller has checked.
pub(super) fn multiply<T: Scalar>(
    threads: usize,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    onto: Onto<'_, T>,
    c: MatMut<'_, T>,
) {
    multiply_in(Math::of(T::DTYPE), threads, alpha, a, b, onto, c);
}

/// The same in an arithmetic of T's numbers that [`require`] allows. Vectors, sums of a bias and passes for few samples
/// are in full precision even so: they are bound by memory.
pub(super) fn multiply_in<T: Scalar>(
    math: Math,
    threads: usize,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    onto: Onto<'_, T>,
    c: MatMut<'_, T>,
) {
    #[cfg(target_arch = "x86_64")]
    let mut c = c;
    #[cfg(target_arch = "x86_64")]
    if (math != Math::Bf16 || b.ncols() <= FEW_IN_BF16) && few::multiply(threads, alpha, a, b, onto, c.rb_mut()) {
        return;
    }
    let (rows, cols) = (c.nrows(), c.ncols());
    if threads <= 1 || rows * cols * a.ncols() < PARALLEL_MULTIPLY_ADDS {
        return sequential(math, alpha, a, b, onto, c);
    }
    let tall = rows > cols && rows >= TALL;
    let shared = SharedMatrix::new(c);
    team::run(threads, Length::of(rows * cols * a.ncols(), threads), &|part| {
        let (rows, cols) = if tall {
            // Whole tiles of any instruction set, and whole cache lines: no two threads write one.
            (share(rows, part, threads, 32)..share(rows, part + 1, threads, 32), 0..cols)
        } else {
            (0..rows, share(cols, part, threads, 2)..share(cols, part + 1, threads, 2))
        };
        let onto = match onto {
            Onto::Matrix(m) => Onto::Matrix(m.get(rows.clone(), cols.clone())),
            other => other,
        };
        let (a, b) = (a.get(rows.clone(), ..), b.get(.., cols.clone()));
        // SAFETY: the parts' shares of the rows, or of the columns, are disjoint.
        sequential(math, alpha, a, b, onto, unsafe { shared.part(rows, cols) });
    });
}

/// Where the share of `part` begins when `parts` share `total` in whole units.
pub(super) fn share(total: usize, part: usize, parts: usize, unit: usize) -> usize {
    let exact = total * part / parts;
    if part == parts { total } else { ((exact + unit / 2) / unit * unit).min(total) }
}

fn sequential<T: Scalar>(
    math: Math,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    onto: Onto<'_, T>,
    mut c: MatMut<'_, T>,
) {
    #[cfg(not(target_arch = "x86_64"))]
    let _ = math;
    #[cfg(target_arch = "x86_64")]
    if a.ncols() > 0
        && c.nrows().min(c.ncols()) >= LEAST_SIDE
        && let Some(kernel) = gemm::ProductKernel::of(math)
        && gemm::multiply(kernel, alpha, a, b, onto, c.rb_mut())
    {
        return;
    }
    if a.ncols() > LONGEST_SUM && a.ncols() / SMALL_SHARE > c.nrows() * c.ncols() {
        return long_sums(alpha, a, b, onto, c);
    }
    match onto {
        Onto::Overwrite => matmul(c, Accum::Replace, a, b, alpha, Par::Seq),
        Onto::Scaled(beta) if beta == T::of(1.0) => matmul(c, Accum::Add, a, b, alpha, Par::Seq),
        _ => for_each_tile(c.nrows(), c.ncols(), |rows, cols| {
            let mut tile = c.rb_mut().get_mut(rows.clone(), cols.clone());
            match onto {
                Onto::Overwrite => {}
                Onto::Scaled(beta) => {
                    let columns = tile.rb_mut().col_iter_mut();
                    columns.for_each(|column| column.iter_mut().for_each(|value| *value *= beta));
                }
                Onto::Matrix(m) => tile.rb_mut().copy_from(m.get(rows.clone(), cols.clone())),
            }
            matmul(tile, Accum::Add, a.get(rows, ..), b.get(.., cols), alpha, Par::Seq);
        }),
    }
}

/// A small destination whose sums are long, in parts of [`LONGEST_SUM`] terms that are added up in f64. faer adds every
/// term to the destination as it stands.
fn long_sums<T: Scalar>(alpha: T, a: MatRef<'_, T>, b: MatRef<'_, T>, onto: Onto<'_, T>, mut c: MatMut<'_, T>) {
    const ROWS: usize = 64;
    const COLS: usize = 4;
    for col in (0..c.ncols()).step_by(COLS) {
        for row in (0..c.nrows()).step_by(ROWS) {
            let (rows, cols) = (row..(row + ROWS).min(c.nrows()), col..(col + COLS).min(c.ncols()));
            let (a, b) = (a.get(rows.clone(), ..), b.get(.., cols.clone()));
            let mut part = [T::of(0.0); ROWS * COLS];
            let mut total = [0.0; ROWS * COLS];
            for start in (0..a.ncols()).step_by(LONGEST_SUM) {
                let depth = start..(start + LONGEST_SUM).min(a.ncols());
                let sums =
                    MatMut::from_column_major_slice_mut(&mut part[..rows.len() * cols.len()], rows.len(), cols.len());
                let (a, b) = (a.get(.., depth.clone()), b.get(depth, ..));
                matmul(sums, Accum::Replace, a, b, T::of(1.0), Par::Seq);
                total.iter_mut().zip(part).for_each(|(total, part)| *total += part.widen());
            }
            for (j, col) in cols.enumerate() {
                for (i, row) in rows.clone().enumerate() {
                    let addend = match onto {
                        Onto::Overwrite => 0.0,
                        Onto::Scaled(beta) => beta.widen() * c[(row, col)].widen(),
                        Onto::Matrix(m) => m[(row, col)].widen(),
                    };
                    c[(row, col)] = T::of(addend + alpha.widen() * total[j * rows.len() + i]);
                }
            }
        }
    }
}

fn for_each_tile(rows: usize, cols: usize, mut visit: impl FnMut(Range<usize>, Range<usize>)) {
    for col in (0..cols).step_by(TILE_COLS) {
        for row in (0..rows).step_by(TILE_ROWS) {
            visit(row..(row + TILE_ROWS).min(rows), col..(col + TILE_COLS).min(cols));
        }
    }
}
