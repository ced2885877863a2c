//! Products with one half of a square matrix, which skip the other.
//!
//! Row blocks of a destination (column blocks of a half that is computed) are shared out among the threads. Of each,
//! all but a square on the diagonal is one product. The square is halved until it is so small that masking a copy of
//! it costs less than another division would save.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use faer::reborrow::ReborrowMut;
use faer::{MatMut, MatRef};

use super::factor::half;
use super::product::{self, Onto};
use super::shared::{Shared, SharedMatrix};
use super::team::{self, Length};
use crate::math::Math;
use crate::scalar::Scalar;

/// Rows of a square on the diagonal that is multiplied whole, zeros and all.
const LEAF: usize = 32;
/// Rows of a block: a multiple of [`LEAF`]. A taller one is packed better, more of them are shared out better.
const LEAST_BLOCK: usize = 64;
const MOST_BLOCK: usize = 256;
/// Blocks for each thread, which differ in size.
const BLOCKS_A_THREAD: usize = 6;
/// As for products.
const PARALLEL_MULTIPLY_ADDS: usize = 100_000;

/// What lies on one side of a diagonal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    /// Below.
    Lower,
    /// Above.
    Upper,
}

/// A triangular matrix: the half of a matrix, with a diagonal of its own.
#[derive(Clone, Copy)]
pub struct Triangular<'a, T> {
    half: Half,
    /// D×D, of which the other half and the diagonal are not read.
    matrix: MatRef<'a, T>,
    /// D numbers; without them all are 1.
    diagonal: Option<&'a [T]>,
}

impl<'a, T: Scalar> Triangular<'a, T> {
    /// The lower half of the first columns of an array with D rows, column-major, with ones on the diagonal.
    pub(crate) fn unit_lower(dim: usize, array: &'a [T]) -> Self {
        Self { half: Half::Lower, matrix: square(dim, array), diagonal: None }
    }

    /// The upper half, with a diagonal.
    pub(crate) fn upper(array: &'a [T], diagonal: &'a [T]) -> Self {
        Self { half: Half::Upper, matrix: square(diagonal.len(), array), diagonal: Some(diagonal) }
    }

    /// The transpose.
    pub(crate) fn transposed(self) -> Self {
        let half = if self.half == Half::Lower { Half::Upper } else { Half::Lower };
        Self { half, matrix: self.matrix.transpose(), ..self }
    }

    /// The square of some rows and the same columns.
    fn of(self, range: Range<usize>) -> Self {
        let diagonal = self.diagonal.map(|diagonal| &diagonal[range.clone()]);
        Self { matrix: self.matrix.get(range.clone(), range), diagonal, ..self }
    }

    /// A copy with zeros in the other half, which `numbers` are before.
    fn mask(self, numbers: &mut [T]) -> MatRef<'_, T> {
        if self.matrix.row_stride() != 1 {
            return self.transposed().mask_columns(numbers).transpose();
        }
        self.mask_columns(numbers)
    }

    /// The same for a matrix with contiguous columns.
    fn mask_columns(self, numbers: &mut [T]) -> MatRef<'_, T> {
        let size = self.matrix.nrows();
        for (j, (to, from)) in numbers.chunks_exact_mut(size).zip(self.matrix.col_iter()).enumerate() {
            let inside = if self.half == Half::Lower { j + 1..size } else { 0..j };
            match from.try_as_col_major() {
                Some(from) => to[inside.clone()].copy_from_slice(&from.as_slice()[inside]),
                None => inside.for_each(|i| to[i] = from[i]),
            }
            to[j] = self.diagonal.map_or(T::of(1.0), |diagonal| diagonal[j]);
        }
        MatRef::from_column_major_slice(numbers, size, size)
    }

    /// The columns that some rows have beside their square.
    fn beside(self, rows: &Range<usize>) -> Range<usize> {
        match self.half {
            Half::Lower => 0..rows.start,
            Half::Upper => rows.end..self.matrix.nrows(),
        }
    }
}

fn square<T: Scalar>(dim: usize, array: &[T]) -> MatRef<'_, T> {
    MatRef::from_column_major_slice(&array[..dim * dim], dim, dim)
}

/// How a product is computed: by so many threads, in an arithmetic.
#[derive(Debug, Clone, Copy)]
pub struct How {
    pub(crate) threads: usize,
    pub(crate) math: Math,
    /// Rows of a block, where they are not to follow from the sizes.
    pub(crate) block: Option<usize>,
}

/// The blocks of a half: `size` rows, in so many each, the longest first.
struct Blocks {
    size: usize,
    block: usize,
    /// Whether those at the end are longer.
    ascending: bool,
}

impl Blocks {
    fn new(how: How, size: usize, ascending: bool) -> Self {
        let shared = (size / (BLOCKS_A_THREAD * how.threads)).next_multiple_of(LEAF).clamp(LEAST_BLOCK, MOST_BLOCK);
        Self { size, block: how.block.unwrap_or(shared).max(1), ascending }
    }

    /// Calls `work` for every block, some at a time.
    fn share_out(&self, how: How, multiply_adds: usize, work: impl Fn(Range<usize>) + Sync) {
        let count = self.size.div_ceil(self.block);
        let parts = if multiply_adds < PARALLEL_MULTIPLY_ADDS { 1 } else { how.threads.min(count).max(1) };
        let next = AtomicUsize::new(0);
        team::run(parts, Length::of(multiply_adds, parts), &|_| {
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                if turn >= count {
                    break;
                }
                let start = self.block * if self.ascending { count - 1 - turn } else { turn };
                work(start..(start + self.block).min(self.size));
            }
        });
    }
}

/// out ← T z.
pub(super) fn multiply<T: Scalar>(how: How, t: Triangular<'_, T>, z: MatRef<'_, T>, out: MatMut<'_, T>) {
    let (size, cols) = (t.matrix.nrows(), z.ncols());
    let out = SharedMatrix::new(out);
    let blocks = Blocks::new(how, size, t.half == Half::Lower);
    blocks.share_out(how, size * size / 2 * cols, |rows| {
        let beside = t.beside(&rows);
        // SAFETY: the blocks have no row in common.
        let mut out = unsafe { out.part(rows.clone(), 0..cols) };
        let is_first = beside.is_empty();
        if !is_first {
            let (left, right) = (t.matrix.get(rows.clone(), beside.clone()), z.get(beside, ..));
            product::multiply_in(how.math, 1, T::of(1.0), left, right, Onto::Overwrite, out.rb_mut());
        }
        multiply_square(how.math, t.of(rows.clone()), z.get(rows, ..), is_first, out);
    });
}

/// out ← T z, or out + T z where it is not the first product of these rows.
fn multiply_square<T: Scalar>(
    math: Math,
    t: Triangular<'_, T>,
    z: MatRef<'_, T>,
    is_first: bool,
    mut out: MatMut<'_, T>,
) {
    let (size, one) = (t.matrix.nrows(), T::of(1.0));
    let onto = |is_first| if is_first { Onto::Overwrite } else { Onto::Scaled(one) };
    if size <= LEAF {
        let mut masked = [T::default(); LEAF * LEAF];
        let masked = t.mask(&mut masked[..size * size]);
        return product::multiply_in(math, 1, one, masked, z, onto(is_first), out);
    }
    let half = half(size, LEAF);
    let (first, last) = (0..half, half..size);
    let (from, to) = if t.half == Half::Lower { (first, last) } else { (last, first) };
    let mut part = |rows: &Range<usize>, is_first| {
        let out = out.rb_mut().subrows_mut(rows.start, rows.len());
        multiply_square(math, t.of(rows.clone()), z.get(rows.clone(), ..), is_first, out);
    };
    part(&from, is_first);
    part(&to, is_first);
    let out = out.subrows_mut(to.start, to.len());
    product::multiply_in(math, 1, one, t.matrix.get(to, from.clone()), z.get(from, ..), Onto::Scaled(one), out);
}

/// One half of α left rightᵀ, and what is on its diagonal.
#[derive(Clone, Copy)]
pub struct HalfOuter<'a, T> {
    pub(crate) half: Half,
    pub(crate) alpha: T,
    /// D×N, column-major.
    pub(crate) left: &'a [T],
    pub(crate) right: &'a [T],
}

/// The half of `out` (D×D, column-major) ← that of α left rightᵀ; `diagonal`, where it is wanted, ← its diagonal. The
/// rest of `out` stays.
pub(super) fn outer<T: Scalar>(
    how: How,
    dim: usize,
    pass: HalfOuter<'_, T>,
    out: &mut [T],
    diagonal: Option<&mut [T]>,
) {
    let samples = pass.left.len() / dim;
    let [left, right] = [pass.left, pass.right].map(|m| MatRef::from_column_major_slice(m, dim, samples));
    let out = SharedMatrix::new(MatMut::from_column_major_slice_mut(&mut out[..dim * dim], dim, dim));
    let diagonal = diagonal.map(Shared::new);
    let blocks = Blocks::new(how, dim, pass.half == Half::Upper);
    blocks.share_out(how, dim * dim / 2 * samples, |cols| {
        let rows = if pass.half == Half::Lower { cols.end..dim } else { 0..cols.start };
        let factors = (left.get(rows.clone(), ..), right.get(cols.clone(), ..));
        if !rows.is_empty() {
            // SAFETY: the blocks have no column in common.
            let out = unsafe { out.part(rows, cols.clone()) };
            product::multiply_in(how.math, 1, pass.alpha, factors.0, factors.1.transpose(), Onto::Overwrite, out);
        }
        // SAFETY: as above; the squares lie in the blocks' own columns.
        let (out, diagonal) = unsafe {
            (out.part(cols.clone(), cols.clone()), diagonal.as_ref().map(|diagonal| diagonal.range(cols.clone())))
        };
        outer_square(how.math, pass.half, (pass.alpha, left.get(cols.clone(), ..), factors.1), out, diagonal);
    });
}

/// The half of a square on the diagonal.
fn outer_square<T: Scalar>(
    math: Math,
    which: Half,
    (alpha, left, right): (T, MatRef<'_, T>, MatRef<'_, T>),
    mut out: MatMut<'_, T>,
    diagonal: Option<&mut [T]>,
) {
    let size = out.nrows();
    if size <= LEAF {
        let mut whole = [T::default(); LEAF * LEAF];
        let whole = &mut whole[..size * size];
        let view = MatMut::from_column_major_slice_mut(whole, size, size);
        product::multiply_in(math, 1, alpha, left, right.transpose(), Onto::Overwrite, view);
        for (j, column) in whole.chunks_exact(size).enumerate() {
            let rows = if which == Half::Lower { j + 1..size } else { 0..j };
            rows.for_each(|i| out[(i, j)] = column[i]);
        }
        if let Some(diagonal) = diagonal {
            diagonal.iter_mut().zip(whole.iter().step_by(size + 1)).for_each(|(to, &from)| *to = from);
        }
        return;
    }
    let half = half(size, LEAF);
    let (upper, lower) = diagonal.map(|diagonal| diagonal.split_at_mut(half)).unzip();
    for (range, diagonal) in [(0..half, upper), (half..size, lower)] {
        let factors = (alpha, left.get(range.clone(), ..), right.get(range.clone(), ..));
        let out = out.rb_mut().submatrix_mut(range.start, range.start, range.len(), range.len());
        outer_square(math, which, factors, out, diagonal);
    }
    let (rows, cols) = if which == Half::Lower { (half..size, 0..half) } else { (0..half, half..size) };
    let factors = (left.get(rows.clone(), ..), right.get(cols.clone(), ..).transpose());
    let out = out.submatrix_mut(rows.start, cols.start, rows.len(), cols.len());
    product::multiply_in(math, 1, alpha, factors.0, factors.1, Onto::Overwrite, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init;

    /// Sizes around every edge: of a leaf, of its halves, and of blocks.
    const SIZES: [usize; 12] = [1, 2, 31, 32, 33, 63, 64, 65, 97, 128, 160, 257];

    fn numbers(seed: u64, count: usize) -> Vec<f64> {
        init::normals(seed, count)
    }

    /// Σ_j t_ij z_jn by definition, with NaN wherever the product must not look.
    #[test]
    fn products_skip_the_other_half_at_every_edge() {
        for size in SIZES {
            for (samples, threads, block) in [(1, 1, None), (7, 2, Some(48)), (30, 3, Some(1)), (30, 2, None)] {
                let how = How { threads, math: Math::F64, block };
                let (whole, z) = (numbers(1, size * size), numbers(2, size * samples));
                let diagonal = numbers(3, size);
                let lower = |i: usize, j: usize| i > j;
                let masked = |keep: &dyn Fn(usize, usize) -> bool| -> Vec<f64> {
                    let keep = |at: usize| keep(at % size, at / size);
                    whole.iter().enumerate().map(|(at, &x)| if keep(at) { x } else { f64::NAN }).collect()
                };
                let (below, above) = (masked(&lower), masked(&|i, j| i < j));
                let l = Triangular::unit_lower(size, &below);
                let u = Triangular::upper(&above, &diagonal);
                let entry = |upper: bool, i: usize, j: usize| match (i == j, upper) {
                    (true, true) => diagonal[i],
                    (true, false) => 1.0,
                    (false, upper) if (i < j) == upper => whole[i + j * size],
                    _ => 0.0,
                };
                for (is_upper, is_transposed) in [(false, false), (true, false), (false, true), (true, true)] {
                    let t = if is_upper { u } else { l };
                    let t = if is_transposed { t.transposed() } else { t };
                    let mut out = vec![f64::NAN; size * samples];
                    let view = |of| MatRef::from_column_major_slice(of, size, samples);
                    multiply(how, t, view(&z), MatMut::from_column_major_slice_mut(&mut out, size, samples));
                    for (at, found) in out.iter().enumerate() {
                        let (i, n) = (at % size, at / size);
                        let of = |j| if is_transposed { entry(is_upper, j, i) } else { entry(is_upper, i, j) };
                        let expected: f64 = (0..size).map(|j| of(j) * z[j + n * size]).sum();
                        assert!((found - expected).abs() <= 1e-12 * size as f64, "{size} {how:?} {i} {n}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_half_of_an_outer_product_leaves_the_other_alone() {
        for size in SIZES {
            for (samples, threads, block) in [(1, 2, None), (9, 2, Some(40)), (9, 3, Some(1))] {
                let how = How { threads, math: Math::F64, block };
                let (left, right) = (numbers(1, size * samples), numbers(2, size * samples));
                for half in [Half::Lower, Half::Upper] {
                    let mut out = vec![7.0; size * size];
                    let mut diagonal = vec![7.0; size];
                    let pass = HalfOuter { half, alpha: 0.5, left: &left, right: &right };
                    outer(how, size, pass, &mut out, Some(&mut diagonal));
                    let sum = |i: usize, j: usize| -> f64 {
                        (0..samples).map(|n| 0.5 * left[i + n * size] * right[j + n * size]).sum()
                    };
                    for (at, found) in out.iter().enumerate() {
                        let (i, j) = (at % size, at / size);
                        let is_inside = if half == Half::Lower { i > j } else { i < j };
                        let expected = if is_inside { sum(i, j) } else { 7.0 };
                        assert!((found - expected).abs() <= 1e-12, "{size} {how:?} {half:?} {i} {j}");
                    }
                    assert!(diagonal.iter().enumerate().all(|(i, d)| (d - sum(i, i)).abs() <= 1e-12));
                }
            }
        }
    }
}
