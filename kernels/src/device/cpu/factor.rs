//! Inverse, log-determinant and condition from LU factors.
//!
//! The columns of an inverse do not depend on one another: a block of them is solved for from the first triangle to the
//! last exchange by one thread, in whose caches it stays. Triangles are halved, so that but for small ones, which are
//! faer's, all work is done at the speed of [`super::product`].

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use faer::linalg::triangular_solve::{
    solve_lower_triangular_in_place, solve_unit_lower_triangular_in_place, solve_unit_upper_triangular_in_place,
    solve_upper_triangular_in_place,
};
use faer::reborrow::{IntoConst, Reborrow, ReborrowMut};
use faer::{Mat, MatMut, MatRef, Par};

use super::lu::{self, LuWork};
use super::product::{self, Onto, share};
use super::shared::Shared;
use super::small;
use super::team::{self, Length};
use crate::device::Inversion;
use crate::scalar::Scalar;

/// Rows of a triangle that faer handles whole.
const LEAF: usize = 96;

/// A matrix of at most so many rows is inverted column by column.
const SMALL: usize = 128;

/// Most columns of an inverse that are solved for together: a product reads a triangle once for all of them.
const MOST_COLUMNS: usize = 192;

/// Work memory for one factorisation at a time, O(D).
pub struct Lane {
    /// The row that each row was exchanged with.
    pivots: Vec<usize>,
    /// |A| 1, for the condition number.
    row_sums: Vec<f64>,
    lu: LuWork,
}

impl Lane {
    /// Rows of the matrices that this can factor.
    pub(super) fn dim(&self) -> usize {
        self.row_sums.len()
    }

    pub(super) fn new<T: Scalar>(dim: usize) -> Self {
        Self { pivots: vec![0; dim], row_sums: vec![0.0; dim], lu: LuWork::new::<T>(dim) }
    }
}

/// out ← A^{-T}; `a` (D×D) is overwritten by its LU factors.
///
/// From PA = LU: A^{-T} = Pᵀ L^{-T} U^{-T}. Columns of U^{-T}, a lower triangle, are built in `out` and solved with Lᵀ
/// there, and their rows are brought back in place: 2D³ operations (⅔ + ⅓ + 1), and no work memory of D² numbers.
pub(super) fn invert_transposed<T: Scalar>(
    dim: usize,
    a: &mut [T],
    out: &mut [T],
    lane: &mut Lane,
    threads: usize,
) -> Inversion {
    if dim <= SMALL {
        return small::invert_transposed(dim, a, out, &mut lane.pivots, &mut lane.row_sums);
    }
    let mut whole = MatMut::from_column_major_slice_mut(a, dim, dim);
    row_sums_shared(whole.rb(), &mut lane.row_sums, threads);
    lu::factorize(whole.rb_mut(), &mut lane.pivots, &mut lane.lu, threads);
    let factors = whole.into_const();
    let log_abs_det = log_abs_diagonal(factors);
    // As many blocks for every thread.
    let blocks = dim.div_ceil(MOST_COLUMNS).next_multiple_of(threads.max(1));
    let (next, worst, out) = (AtomicUsize::new(0), Worst::default(), Shared::new(out));
    let Lane { pivots, row_sums, .. } = lane;
    team::run(threads.max(1), Length::of(dim * dim * dim, threads), &|_| {
        loop {
            // The longest blocks come first.
            let block = next.fetch_add(1, Ordering::Relaxed);
            if block >= blocks {
                break;
            }
            let columns = share(dim, block, blocks, 4)..share(dim, block + 1, blocks, 4);
            // SAFETY: no two blocks have a column in common.
            let out = unsafe { out.range(columns.start * dim..columns.end * dim) };
            invert_columns(factors, columns.start, pivots, out);
            worst.add(skeel_condition(dim, out, row_sums));
        }
    });
    let condition = if log_abs_det == f64::NEG_INFINITY { f64::INFINITY } else { worst.get() };
    Inversion { log_abs_det, condition }
}

/// Columns of A^{-T} from `first` on.
fn invert_columns<T: Scalar>(factors: MatRef<'_, T>, first: usize, pivots: &[usize], out: &mut [T]) {
    let (dim, transposed) = (factors.nrows(), factors.transpose());
    out.fill(T::of(0.0));
    for (j, column) in out.chunks_exact_mut(dim).enumerate() {
        column[first + j] = T::of(1.0);
    }
    let columns = out.len() / dim;
    let mut block = MatMut::from_column_major_slice_mut(&mut *out, dim, columns);
    // Above its diagonal a lower triangle has zeros.
    solve(Triangle::Lower, transposed.get(first.., first..), block.rb_mut().subrows_mut(first, dim - first));
    solve(Triangle::UnitUpper, transposed, block);
    for column in out.chunks_exact_mut(dim) {
        for (row, &other) in pivots.iter().enumerate().rev() {
            column.swap(row, other);
        }
    }
}

/// The largest of numbers that are not negative, or NaN if one is, whichever thread they come from.
#[derive(Default)]
struct Worst(AtomicU64);

impl Worst {
    /// The bits of numbers without a sign are in the order of the numbers, and those of NaN above all others.
    fn add(&self, number: f64) {
        self.0.fetch_max(number.abs().to_bits(), Ordering::Relaxed);
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// log|det A|, A widened to f64 first.
pub(super) fn log_abs_det<T: Scalar>(a: MatRef<'_, T>, threads: usize) -> f64 {
    let mut wide = Mat::<f64>::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)].widen());
    let mut lane = Lane::new::<f64>(a.nrows());
    lu::factorize(wide.as_mut(), &mut lane.pivots, &mut lane.lu, threads);
    log_abs_diagonal(wide.as_ref())
}

/// Σ log|u_ii|: the log-determinant of a triangular factor.
fn log_abs_diagonal<T: Scalar>(u: MatRef<'_, T>) -> f64 {
    (0..u.nrows()).map(|i| u[(i, i)].widen().abs().ln()).sum()
}

/// A kind of triangle. Only its own half of a matrix is read, without the diagonal where that is 1.
#[derive(Clone, Copy)]
pub enum Triangle {
    /// As it is, below and on the diagonal.
    Lower,
    /// Below the diagonal.
    UnitLower,
    /// As it is, above and on the diagonal.
    Upper,
    /// Above the diagonal.
    UnitUpper,
}

/// B ← T⁻¹B on the calling thread.
pub(super) fn solve<T: Scalar>(kind: Triangle, t: MatRef<'_, T>, b: MatMut<'_, T>) {
    let size = t.nrows();
    if size <= LEAF {
        return match kind {
            Triangle::Lower => solve_lower_triangular_in_place(t, b, Par::Seq),
            Triangle::UnitLower => solve_unit_lower_triangular_in_place(t, b, Par::Seq),
            Triangle::Upper => solve_upper_triangular_in_place(t, b, Par::Seq),
            Triangle::UnitUpper => solve_unit_upper_triangular_in_place(t, b, Par::Seq),
        };
    }
    let half = half(size, LEAF);
    let (mut upper, mut lower) = b.split_at_row_mut(half);
    let (first, last) = (t.get(..half, ..half), t.get(half.., half..));
    let (minus, onto) = (T::of(-1.0), Onto::Scaled(T::of(1.0)));
    match kind {
        Triangle::Lower | Triangle::UnitLower => {
            solve(kind, first, upper.rb_mut());
            product::multiply(1, minus, t.get(half.., ..half), upper.rb(), onto, lower.rb_mut());
            solve(kind, last, lower);
        }
        Triangle::Upper | Triangle::UnitUpper => {
            solve(kind, last, lower.rb_mut());
            product::multiply(1, minus, t.get(..half, half..), lower.rb(), onto, upper.rb_mut());
            solve(kind, first, upper);
        }
    }
}

/// Half of a size, in whole leaves.
pub(super) fn half(size: usize, leaf: usize) -> usize {
    (size / 2).next_multiple_of(leaf).min(size - 1)
}

/// |A| 1 of a matrix, its rows shared out among the threads.
fn row_sums_shared<T: Scalar>(a: MatRef<'_, T>, sums: &mut [f64], threads: usize) {
    let (dim, sums) = (sums.len(), Shared::new(sums));
    team::run(threads, Length::of(dim * dim, threads), &|part| {
        let rows = share(dim, part, threads, 8)..share(dim, part + 1, threads, 8);
        // SAFETY: the parts' rows are disjoint.
        let sums = unsafe { sums.range(rows.clone()) };
        sums.fill(0.0);
        for column in a.subrows(rows.start, rows.len()).col_iter() {
            let Some(column) = column.try_as_col_major() else { unreachable!("columns are contiguous") };
            for (sum, x) in sums.iter_mut().zip(column.as_slice()) {
                *sum += x.widen().abs();
            }
        }
    });
}

/// |A| 1 of a column-major D×D matrix.
#[inline(always)]
pub(super) fn row_sums<T: Scalar>(dim: usize, a: &[T], sums: &mut [f64]) {
    sums.fill(0.0);
    for column in a.chunks_exact(dim) {
        for (sum, x) in sums.iter_mut().zip(column) {
            *sum += x.widen().abs();
        }
    }
}

/// Skeel's condition number ‖|A⁻¹||A|‖_∞ = ‖|A⁻¹|(|A|1)‖_∞ from `inverse` = A^{-T} and |A|1, O(D²).
///
/// Unlike ‖A‖‖A⁻¹‖ it does not see a bad scaling of the rows, which does an LU with partial pivoting no harm.
#[inline(always)]
pub(super) fn skeel_condition<T: Scalar>(dim: usize, inverse: &[T], row_sums: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut worst = 0.0;
    for column in inverse.chunks_exact(dim) {
        let mut lanes = [0.0; LANES];
        let (whole, rest) = column.as_chunks::<LANES>();
        let (sums, rest_sums) = row_sums.as_chunks::<LANES>();
        for (column, sums) in whole.iter().zip(sums) {
            for lane in 0..LANES {
                lanes[lane] += column[lane].widen().abs() * sums[lane];
            }
        }
        let mut row = 0.0;
        for sum in lanes {
            row += sum;
        }
        for (x, sum) in rest.iter().zip(rest_sums) {
            row += x.widen().abs() * sum;
        }
        // A NaN must not lose against the maximum.
        if row > worst || row.is_nan() {
            worst = row;
        }
    }
    worst
}
