//! LU factorisation, inverse and log-determinant, by our products and faer.
//!
//! Everything is recursive (Toledo, *Locality of reference in LU decomposition with partial pivoting*, 1997): halves of
//! a matrix meet in one product, so that but for narrow panels and small triangles, which are faer's, all work is done
//! at the speed of [`super::product`].

use dyn_stack::{MemBuffer, MemStack};
use faer::linalg::lu::partial_pivoting::factor::{lu_in_place, lu_in_place_scratch};
use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::linalg::triangular_solve::{
    solve_lower_triangular_in_place, solve_unit_lower_triangular_in_place, solve_unit_upper_triangular_in_place,
};
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::{Mat, MatMut, MatRef, Par};

use super::product::{self, Onto, SharedMatrix, share};
use super::small;
use super::team::{self, Length, Shared};
use crate::device::Inversion;
use crate::scalar::Scalar;

/// Columns of a panel, and rows of a triangle, that faer handles whole.
const LEAF: usize = 96;

/// A matrix of at most so many rows is inverted column by column.
const SMALL: usize = 128;

/// Numbers on the right-hand side below which one thread solves: another would not be told in time.
const PARALLEL_SOLVE: usize = 1 << 14;

/// Work memory for one factorisation at a time, O(D).
pub struct Lane {
    /// The row that each row was exchanged with.
    pivots: Vec<usize>,
    /// |A| 1, for the condition number.
    row_sums: Vec<f64>,
    panel: PanelWork,
}

/// Work memory of a panel: its permutation and inverse, as faer tells them and while they are turned into exchanges.
struct PanelWork {
    forward: Vec<usize>,
    backward: Vec<usize>,
    scratch: MemBuffer,
}

impl Lane {
    /// Rows of the matrices that this can factor.
    pub(super) fn dim(&self) -> usize {
        self.row_sums.len()
    }

    pub(super) fn new<T: Scalar>(dim: usize) -> Self {
        let scratch = lu_in_place_scratch::<usize, T>(dim, LEAF.min(dim), Par::Seq, Default::default());
        let panel = PanelWork { forward: vec![0; dim], backward: vec![0; dim], scratch: MemBuffer::new(scratch) };
        Self { pivots: vec![0; dim], row_sums: vec![0.0; dim], panel }
    }
}

/// out ← A^{-T}; `a` (D×D) is overwritten by its LU factors.
///
/// From PA = LU: A^{-T} = Pᵀ L^{-T} U^{-T}. U^{-T}, a lower triangle, is built in `out`, solved with Lᵀ there, and its
/// rows are brought back in place: 2D³ operations (⅔ + ⅓ + 1), and no work memory of D² numbers.
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
    row_sums(dim, a, &mut lane.row_sums);
    factorize(MatMut::from_column_major_slice_mut(a, dim, dim), &mut lane.pivots, &mut lane.panel, threads);
    let factors = MatRef::from_column_major_slice(a, dim, dim);
    let log_abs_det = log_abs_diagonal(factors);
    out.fill(T::of(0.0));
    invert_lower(factors.transpose(), MatMut::from_column_major_slice_mut(out, dim, dim), threads);
    let pivots = &lane.pivots;
    let shared = Shared::new(out);
    let parts = if dim * dim < PARALLEL_SOLVE { 1 } else { threads.max(1) };
    team::run(parts, Length::of(dim * dim * dim, parts), &|part| {
        let columns = share(dim, part, parts, 2)..share(dim, part + 1, parts, 2);
        // SAFETY: the parts' columns are disjoint.
        let numbers = unsafe { shared.range(columns.start * dim..columns.end * dim) };
        let block = MatMut::from_column_major_slice_mut(numbers, dim, columns.len());
        solve(Triangle::UnitUpper, factors.transpose(), block);
        for column in numbers.chunks_exact_mut(dim) {
            for (row, &other) in pivots.iter().enumerate().rev() {
                column.swap(row, other);
            }
        }
    });
    let condition =
        if log_abs_det == f64::NEG_INFINITY { f64::INFINITY } else { skeel_condition(dim, out, &lane.row_sums) };
    Inversion { log_abs_det, condition }
}

/// log|det A|, A widened to f64 first.
pub(super) fn log_abs_det<T: Scalar>(a: MatRef<'_, T>, threads: usize) -> f64 {
    let mut wide = Mat::<f64>::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)].widen());
    let mut lane = Lane::new::<f64>(a.nrows());
    factorize(wide.as_mut(), &mut lane.pivots, &mut lane.panel, threads);
    log_abs_diagonal(wide.as_ref())
}

/// Σ log|u_ii|: the log-determinant of a triangular factor.
fn log_abs_diagonal<T: Scalar>(u: MatRef<'_, T>) -> f64 {
    (0..u.nrows()).map(|i| u[(i, i)].widen().abs().ln()).sum()
}

/// PA = LU in place, with partial pivoting; A is rows×cols, rows ≥ cols. Row i was exchanged with row `pivots[i]` ≥ i.
fn factorize<T: Scalar>(mut a: MatMut<'_, T>, pivots: &mut [usize], work: &mut PanelWork, threads: usize) {
    let cols = a.ncols();
    if cols <= LEAF {
        return factorize_panel(a, pivots, work);
    }
    let half = half(cols);
    let (first, second) = pivots[..cols].split_at_mut(half);
    factorize(a.rb_mut().subcols_mut(0, half), first, work, threads);
    let (left, mut right) = a.split_at_col_mut(half);
    exchange(right.rb_mut(), first);
    let (triangle, below) = left.rb().split_at_row(half);
    let (mut upper, mut lower) = right.split_at_row_mut(half);
    solve_shared(Triangle::UnitLower, triangle, upper.rb_mut(), threads);
    let onto = Onto::Scaled(T::of(1.0));
    product::multiply(threads, T::of(-1.0), below, upper.rb(), onto, lower.rb_mut());
    factorize(lower, second, work, threads);
    exchange(left.split_at_row_mut(half).1, second);
    second.iter_mut().for_each(|pivot| *pivot += half);
}

/// Half of a size, in whole leaves.
fn half(size: usize) -> usize {
    (size / 2).next_multiple_of(LEAF).min(size - 1)
}

fn factorize_panel<T: Scalar>(a: MatMut<'_, T>, pivots: &mut [usize], work: &mut PanelWork) {
    let rows = a.nrows();
    let (forward, backward) = (&mut work.forward[..rows], &mut work.backward[..rows]);
    lu_in_place(a, forward, backward, Par::Seq, MemStack::new(&mut work.scratch), Default::default());
    exchanges(forward, pivots);
}

/// The exchanges of rows i and pivots\[i\], first to last, that bring row `order[i]` to each place i < pivots.len().
fn exchanges(order: &[usize], pivots: &mut [usize]) {
    for (i, &row) in order.iter().enumerate().take(pivots.len()) {
        // Each earlier exchange at the row's place has moved it on.
        let mut place = row;
        while place < i {
            place = pivots[place];
        }
        pivots[i] = place;
    }
}

/// Exchanges each row with its pivot's, first to last.
fn exchange<T: Scalar>(a: MatMut<'_, T>, pivots: &[usize]) {
    for column in a.col_iter_mut() {
        let Some(column) = column.try_as_col_major_mut() else { unreachable!("columns are contiguous") };
        let column = column.as_slice_mut();
        for (row, &other) in pivots.iter().enumerate() {
            column.swap(row, other);
        }
    }
}

/// A kind of triangle. Only its own half of a matrix is read, without the diagonal where that is 1.
#[derive(Clone, Copy)]
enum Triangle {
    Lower,
    UnitLower,
    UnitUpper,
}

/// B ← T⁻¹B, the columns shared by the threads.
fn solve_shared<T: Scalar>(kind: Triangle, t: MatRef<'_, T>, b: MatMut<'_, T>, threads: usize) {
    let (rows, cols) = (b.nrows(), b.ncols());
    if threads <= 1 || rows * cols < PARALLEL_SOLVE {
        return solve(kind, t, b);
    }
    let shared = SharedMatrix::new(b);
    team::run(threads, Length::of(rows * rows * cols, threads), &|part| {
        let columns = share(cols, part, threads, 2)..share(cols, part + 1, threads, 2);
        // SAFETY: the parts' columns are disjoint.
        solve(kind, t, unsafe { shared.part(0..rows, columns) });
    });
}

/// B ← T⁻¹B on the calling thread.
fn solve<T: Scalar>(kind: Triangle, t: MatRef<'_, T>, b: MatMut<'_, T>) {
    let size = t.nrows();
    if size <= LEAF {
        return match kind {
            Triangle::Lower => solve_lower_triangular_in_place(t, b, Par::Seq),
            Triangle::UnitLower => solve_unit_lower_triangular_in_place(t, b, Par::Seq),
            Triangle::UnitUpper => solve_unit_upper_triangular_in_place(t, b, Par::Seq),
        };
    }
    let half = half(size);
    let (mut upper, mut lower) = b.split_at_row_mut(half);
    let (first, last) = (t.get(..half, ..half), t.get(half.., half..));
    let (minus, onto) = (T::of(-1.0), Onto::Scaled(T::of(1.0)));
    match kind {
        Triangle::Lower | Triangle::UnitLower => {
            solve(kind, first, upper.rb_mut());
            product::multiply(1, minus, t.get(half.., ..half), upper.rb(), onto, lower.rb_mut());
            solve(kind, last, lower);
        }
        Triangle::UnitUpper => {
            solve(kind, last, lower.rb_mut());
            product::multiply(1, minus, t.get(..half, half..), lower.rb(), onto, upper.rb_mut());
            solve(kind, first, upper);
        }
    }
}

/// out ← M⁻¹ for a lower triangle M. `out` is zero above its diagonal before and after.
fn invert_lower<T: Scalar>(m: MatRef<'_, T>, mut out: MatMut<'_, T>, threads: usize) {
    let size = m.nrows();
    if size <= LEAF {
        return invert_lower_triangular(out, m, Par::Seq);
    }
    let half = half(size);
    let (upper, lower) = out.rb_mut().split_at_row_mut(half);
    let mut first = upper.subcols_mut(0, half);
    let (mut corner, second) = lower.split_at_col_mut(half);
    invert_lower(m.get(..half, ..half), first.rb_mut(), threads);
    // The corner is −M₂⁻¹ (M₂₁ M₁⁻¹), and M₁⁻¹ a lower triangle.
    subtract_times_lower(m.get(half.., ..half), first.rb(), corner.rb_mut(), threads);
    solve_shared(Triangle::Lower, m.get(half.., half..), corner, threads);
    invert_lower(m.get(half.., half..), second, threads);
}

/// C ← −A T for a lower triangle T with zeros above.
fn subtract_times_lower<T: Scalar>(a: MatRef<'_, T>, t: MatRef<'_, T>, c: MatMut<'_, T>, threads: usize) {
    let size = t.nrows();
    if size <= LEAF {
        return product::multiply(threads, T::of(-1.0), a, t, Onto::Overwrite, c);
    }
    let half = half(size);
    let (mut left, right) = c.split_at_col_mut(half);
    let (a0, a1) = a.split_at_col(half);
    subtract_times_lower(a0, t.get(..half, ..half), left.rb_mut(), threads);
    let onto = Onto::Scaled(T::of(1.0));
    product::multiply(threads, T::of(-1.0), a1, t.get(half.., ..half), onto, left);
    subtract_times_lower(a1, t.get(half.., half..), right, threads);
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
