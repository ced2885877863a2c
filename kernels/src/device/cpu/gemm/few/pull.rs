//! \[U | V\] = Wᵀ errors, some columns of W at a time: every entry is a scalar product along two columns.

use std::arch::x86_64::_mm_sfence;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::super::pack::Pack;
use super::super::vector::Vector;
use super::{MOST_SAMPLES, Pull, outer};

/// Columns of errors whose sums are kept in registers at a time.
const AT_ONCE: usize = 3;
/// Bytes of the first cache that a chunk of the rows of some columns takes.
const CHUNK_BYTES: usize = 32 << 10;

/// The columns `cols`, C at a time; whether no row of U was too large.
///
/// # Safety
/// As for [`super::pull`], inside a function that enables V's instruction set.
#[inline(always)]
pub(super) unsafe fn columns<V: Vector, const C: usize, const G: usize>(p: &Pull<V::Number>, cols: Range<usize>) -> bool
where
    V::Number: Pack + Into<f64>,
{
    let mut col = cols.start;
    let mut fits = true;
    // SAFETY: the columns are those of the caller.
    unsafe {
        while fits && col + C <= cols.end {
            fits = block::<V, C, G>(p, col);
            col += C;
        }
        while fits && col < cols.end {
            fits = block::<V, 1, 1>(p, col);
            col += 1;
        }
        // What went past the caches is there before anybody is told that the share is done.
        _mm_sfence();
    }
    fits
}

/// C columns: their scalar products, then their update.
#[inline(always)]
unsafe fn block<V: Vector, const C: usize, const G: usize>(p: &Pull<V::Number>, col: usize) -> bool
where
    V::Number: Pack + Into<f64>,
{
    let mut sums = [[MaybeUninit::<V>::uninit(); C]; 2 * MOST_SAMPLES];
    let weight = p.weight.wrapping_add(col * p.rows);
    let chunk = (CHUNK_BYTES / (C * size_of::<V::Number>())).next_multiple_of(V::LANES);
    let tiles = p.width.div_ceil(AT_ONCE);
    // SAFETY: rows below `rows`, errors below `width` ≤ 2·MOST_SAMPLES; every sum is written before it is read.
    unsafe {
        let mut row = 0;
        while row < p.rows {
            let rows = chunk.min(p.rows - row);
            for tile in 0..tiles {
                let (first, end) = (p.width * tile / tiles, p.width * (tile + 1) / tiles);
                let operands = (weight.add(row), p.errors.add(first * p.rows + row), p.rows);
                let sums = sums.as_mut_ptr().add(first).cast::<[V; C]>();
                match end - first {
                    1 => dots::<V, C, 1>(operands, rows, row == 0, sums),
                    2 => dots::<V, C, 2>(operands, rows, row == 0, sums),
                    _ => dots::<V, C, 3>(operands, rows, row == 0, sums),
                }
            }
            row += rows;
        }
        let mut u = [[V::Number::default(); MOST_SAMPLES]; C];
        for n in 0..p.width {
            for c in 0..C {
                let sum = sums[n][c].assume_init().sum();
                *p.pulled.add(n * p.cols + col + c) = sum;
                if n < p.samples {
                    u[c][n] = sum;
                }
            }
        }
        let Some(update) = &p.update else { return true };
        if let Some(most) = update.most {
            for row in &u {
                let mut square = 0.0;
                for &entry in &row[..p.samples] {
                    let entry: f64 = entry.into();
                    square += entry * entry;
                }
                if square.sqrt() > most || !square.is_finite() {
                    return false;
                }
            }
        }
        outer::columns::<V, C, G>(p, update, col, &u);
    }
    true
}

/// Adds the scalar products of C columns of W with R of the errors over `rows` rows to their sums, lane by lane.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Plain indices unroll into registers; iterators do not.
unsafe fn dots<V: Vector, const C: usize, const R: usize>(
    (weight, errors, stride): (*const V::Number, *const V::Number, usize),
    rows: usize,
    is_first: bool,
    sums: *mut [V; C],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [[V::zero(); C]; R];
        if !is_first {
            for r in 0..R {
                acc[r] = *sums.add(r);
            }
        }
        let mut row = 0;
        while row + V::LANES <= rows {
            let mut error = [V::zero(); R];
            for r in 0..R {
                error[r] = V::load(errors.add(r * stride + row));
            }
            for c in 0..C {
                let w = V::load(weight.add(c * stride + row));
                for r in 0..R {
                    acc[r][c] = acc[r][c].add_mul(w, error[r]);
                }
            }
            row += V::LANES;
        }
        if row < rows {
            for c in 0..C {
                let w = V::load_first(weight.add(c * stride + row), rows - row);
                for r in 0..R {
                    let error = V::load_first(errors.add(r * stride + row), rows - row);
                    acc[r][c] = acc[r][c].add_mul(w, error);
                }
            }
        }
        for r in 0..R {
            *sums.add(r) = acc[r];
        }
    }
}
