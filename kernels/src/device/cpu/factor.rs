//! LU factorisation, inverse and log-determinant on faer.

use dyn_stack::{MemBuffer, MemStack};
use faer::linalg::lu::partial_pivoting::factor::{lu_in_place, lu_in_place_scratch};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::triangular_inverse::{invert_unit_lower_triangular, invert_upper_triangular};
use faer::perm::permute_rows;
use faer::{Accum, Mat, MatMut, MatRef, Par};

use crate::device::Inversion;
use crate::scalar::Scalar;

/// Work memory for one factorisation at a time: pivots and faer's scratch, O(D).
pub struct Lane {
    forward: Vec<usize>,
    backward: Vec<usize>,
    scratch: MemBuffer,
    /// |A| 1, for the condition number.
    row_sums: Vec<f64>,
}

impl Lane {
    /// Rows of the matrices that this can factor.
    pub(super) fn dim(&self) -> usize {
        self.row_sums.len()
    }

    pub(super) fn new<T: Scalar>(dim: usize, par: Par) -> Self {
        Self {
            forward: vec![0; dim],
            backward: vec![0; dim],
            scratch: MemBuffer::new(lu_in_place_scratch::<usize, T>(dim, dim, par, Default::default())),
            row_sums: vec![0.0; dim],
        }
    }
}

/// out ← A^{-T}; `a` (D×D) is overwritten.
///
/// From PA = LU: A^{-T} = Pᵀ L^{-T} U^{-T}. The triangular inverses share `out`, their product goes to `a` (whose factors
/// are spent by then), and the permutation brings it back: D² numbers of work memory beside the result, `a` itself.
pub(super) fn invert_transposed<T: Scalar>(
    dim: usize,
    a: &mut [T],
    out: &mut [T],
    lane: &mut Lane,
    par: Par,
) -> Inversion {
    row_sums(dim, a, &mut lane.row_sums);
    let a = MatMut::from_column_major_slice_mut(a, dim, dim);
    let log_abs_det = invert_matrix(a, MatMut::from_column_major_slice_mut(out, dim, dim), lane, par);
    let condition = if log_abs_det == f64::NEG_INFINITY {
        f64::INFINITY
    } else {
        skeel_condition(dim, out, &lane.row_sums)
    };
    Inversion { log_abs_det, condition }
}

fn invert_matrix<T: Scalar>(mut a: MatMut<'_, T>, mut out: MatMut<'_, T>, lane: &mut Lane, par: Par) -> f64 {
    let stack = MemStack::new(&mut lane.scratch);
    let (_, permutation) =
        lu_in_place(a.as_mut(), &mut lane.forward, &mut lane.backward, par, stack, Default::default());
    let log_abs_det = log_abs_diagonal(a.as_ref());
    invert_unit_lower_triangular(out.as_mut(), a.as_ref(), par);
    invert_upper_triangular(out.as_mut(), a.as_ref(), par);
    triangular::matmul(
        a.as_mut(),
        BlockStructure::Rectangular,
        Accum::Replace,
        out.as_ref().transpose(),
        BlockStructure::UnitTriangularUpper,
        out.as_ref().transpose(),
        BlockStructure::TriangularLower,
        T::of(1.0),
        par,
    );
    permute_rows(out.as_mut(), a.as_ref(), permutation.inverse());
    log_abs_det
}

/// log|det A|, A widened to f64 first.
pub(super) fn log_abs_det<T: Scalar>(a: MatRef<'_, T>, par: Par) -> f64 {
    let mut wide = Mat::<f64>::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)].widen());
    let mut lane = Lane::new::<f64>(a.nrows(), par);
    let stack = MemStack::new(&mut lane.scratch);
    lu_in_place(wide.as_mut(), &mut lane.forward, &mut lane.backward, par, stack, Default::default());
    log_abs_diagonal(wide.as_ref())
}

/// Σ log|u_ii|: the log-determinant of a triangular factor.
fn log_abs_diagonal<T: Scalar>(u: MatRef<'_, T>) -> f64 {
    (0..u.nrows()).map(|i| u[(i, i)].widen().abs().ln()).sum()
}

/// |A| 1 of a column-major D×D matrix.
fn row_sums<T: Scalar>(dim: usize, a: &[T], sums: &mut [f64]) {
    sums.fill(0.0);
    for column in a.chunks_exact(dim) {
        sums.iter_mut().zip(column).for_each(|(sum, x)| *sum += x.widen().abs());
    }
}

/// Skeel's condition number ‖|A⁻¹||A|‖_∞ = ‖|A⁻¹|(|A|1)‖_∞ from `inverse` = A^{-T} and |A|1, O(D²).
///
/// Unlike ‖A‖‖A⁻¹‖ it does not see a bad scaling of the rows, which does an LU with partial pivoting no harm.
fn skeel_condition<T: Scalar>(dim: usize, inverse: &[T], row_sums: &[f64]) -> f64 {
    let row = |column: &[T]| column.iter().zip(row_sums).map(|(x, sum)| x.widen().abs() * sum).sum::<f64>();
    // A NaN must not lose against the maximum.
    inverse
        .chunks_exact(dim)
        .map(row)
        .fold(0.0, |worst, row| if row > worst || row.is_nan() { row } else { worst })
}

/// ‖a‖_F of the numbers, in f64 so that neither squares nor sums overflow.
pub(super) fn frobenius<T: Scalar>(a: &[T]) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    for chunk in a.chunks(LANES) {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x.widen() * x.widen();
        }
    }
    sums.iter().sum::<f64>().sqrt()
}
