//! Matrix products on faer, split by hand among the threads.
//!
//! Each thread multiplies its own range of the destination's rows or columns with faer's sequential kernel. That beats
//! faer's own threading at the shapes of this crate (skinny D×D·D×N products), which was measured to be erratic there.

use faer::linalg::matmul::matmul;
use faer::reborrow::ReborrowMut;
use faer::{Accum, MatMut, MatRef, Par};

use crate::scalar::Scalar;

/// Products below this many multiply-adds stay on the calling thread: waking another costs more than it saves.
const PARALLEL_MULTIPLY_ADDS: usize = 400_000;

/// Rows and columns of the tiles in which an addend is brought into the cache just before the product is added to it.
const TILE_ROWS: usize = 1024;
const TILE_COLS: usize = 128;

/// What the product is added to; [`super::super::Addend`] in faer's terms.
#[derive(Clone, Copy)]
pub(super) enum Onto<'a, T: Scalar> {
    Overwrite,
    Scaled(T),
    Matrix(MatRef<'a, T>),
}

/// c ← addend + α a b on up to `threads` threads of the current pool. Shapes fit: the caller has checked.
pub(super) fn multiply<T: Scalar>(
    threads: usize,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    onto: Onto<'_, T>,
    c: MatMut<'_, T>,
) {
    let multiply_adds = c.nrows() * c.ncols() * a.ncols();
    let threads = if multiply_adds < PARALLEL_MULTIPLY_ADDS { 1 } else { threads };
    split(threads, alpha, a, b, onto, c);
}

/// Halves the longer side of the destination until every thread has a part.
fn split<T: Scalar>(
    threads: usize,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    onto: Onto<'_, T>,
    c: MatMut<'_, T>,
) {
    if threads <= 1 {
        return sequential(alpha, a, b, onto, c);
    }
    let first = threads / 2;
    if c.nrows() > c.ncols() {
        let mid = share(c.nrows(), first, threads);
        let (a0, a1) = a.split_at_row(mid);
        let (c0, c1) = c.split_at_row_mut(mid);
        let (onto0, onto1) = match onto {
            Onto::Matrix(m) => (Onto::Matrix(m.get(..mid, ..)), Onto::Matrix(m.get(mid.., ..))),
            other => (other, other),
        };
        rayon::join(
            || split(first, alpha, a0, b, onto0, c0),
            || split(threads - first, alpha, a1, b, onto1, c1),
        );
    } else {
        let mid = share(c.ncols(), first, threads);
        let (b0, b1) = b.split_at_col(mid);
        let (c0, c1) = c.split_at_col_mut(mid);
        let (onto0, onto1) = match onto {
            Onto::Matrix(m) => (Onto::Matrix(m.get(.., ..mid)), Onto::Matrix(m.get(.., mid..))),
            other => (other, other),
        };
        rayon::join(
            || split(first, alpha, a, b0, onto0, c0),
            || split(threads - first, alpha, a, b1, onto1, c1),
        );
    }
}

/// The share of `total` that `part` of `threads` take, in whole cache lines of f32 so that no two threads write one.
fn share(total: usize, part: usize, threads: usize) -> usize {
    (total * part / threads).next_multiple_of(16).min(total)
}

fn sequential<T: Scalar>(
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    onto: Onto<'_, T>,
    mut c: MatMut<'_, T>,
) {
    match onto {
        Onto::Overwrite => matmul(c, Accum::Replace, a, b, alpha, Par::Seq),
        Onto::Scaled(beta) if beta == T::of(1.0) => matmul(c, Accum::Add, a, b, alpha, Par::Seq),
        Onto::Scaled(beta) => for_each_tile(c.nrows(), c.ncols(), |rows, cols| {
            let mut tile = c.rb_mut().get_mut(rows.clone(), cols.clone());
            for column in tile.rb_mut().col_iter_mut() {
                column.iter_mut().for_each(|value| *value *= beta);
            }
            matmul(tile, Accum::Add, a.get(rows, ..), b.get(.., cols), alpha, Par::Seq);
        }),
        Onto::Matrix(m) => for_each_tile(c.nrows(), c.ncols(), |rows, cols| {
            let mut tile = c.rb_mut().get_mut(rows.clone(), cols.clone());
            tile.rb_mut().copy_from(m.get(rows.clone(), cols.clone()));
            matmul(tile, Accum::Add, a.get(rows, ..), b.get(.., cols), alpha, Par::Seq);
        }),
    }
}

fn for_each_tile(
    rows: usize,
    cols: usize,
    mut visit: impl FnMut(std::ops::Range<usize>, std::ops::Range<usize>),
) {
    for col in (0..cols).step_by(TILE_COLS) {
        for row in (0..rows).step_by(TILE_ROWS) {
            visit(row..(row + TILE_ROWS).min(rows), col..(col + TILE_COLS).min(cols));
        }
    }
}
