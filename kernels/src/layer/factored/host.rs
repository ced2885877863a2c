//! What checks ask of the factors: in f64, column by column, with nothing of the fast products.

use nalgebra::DMatrix;

use crate::device::Half;
use crate::scalar::Scalar;

/// Columns that are widened at a time.
const COLUMNS: usize = 64;

/// The product of a half of the first D columns of an array with a block of D×N, without the diagonal.
pub(super) fn half_times<T: Scalar>(half: Half, array: &[T], z: &DMatrix<f64>) -> DMatrix<f64> {
    let dim = z.nrows();
    let mut sum = DMatrix::zeros(dim, z.ncols());
    for start in (0..dim).step_by(COLUMNS) {
        let count = COLUMNS.min(dim - start);
        let columns = DMatrix::from_fn(dim, count, |i, j| {
            let j = start + j;
            let is_inside = if half == Half::Lower { i > j } else { i < j };
            if is_inside { array[i + j * dim].widen() } else { 0.0 }
        });
        sum += columns * z.rows(start, count);
    }
    sum
}

/// The same for the array r cᵀ.
pub(super) fn rank_one_times(half: Half, (r, c): (&[f64], &[f64]), z: &DMatrix<f64>) -> DMatrix<f64> {
    let (dim, mut product) = (z.nrows(), z.clone());
    for mut column in product.column_iter_mut() {
        let mut sum = 0.0;
        for turn in 0..dim {
            let i = if half == Half::Lower { turn } else { dim - 1 - turn };
            let z = column[i];
            column[i] = r[i] * sum;
            sum += c[i] * z;
        }
    }
    product
}

/// f_i times each row i.
pub(super) fn scale_rows(factors: &[f64], z: &DMatrix<f64>) -> DMatrix<f64> {
    DMatrix::from_fn(z.nrows(), z.ncols(), |i, j| factors[i] * z[(i, j)])
}

/// The half of a product of two matrices, and its diagonal.
pub(super) fn half_of(half: Half, of: &DMatrix<f64>) -> DMatrix<f64> {
    let is_inside = |i, j| if half == Half::Lower { i > j } else { i < j };
    DMatrix::from_fn(of.nrows(), of.ncols(), |i, j| if is_inside(i, j) { of[(i, j)] } else { 0.0 })
}

/// A triangular matrix of the first D columns of an array and a diagonal.
pub(super) fn triangle<T: Scalar>(half: Half, array: &[T], diagonal: &[f64]) -> DMatrix<f64> {
    let dim = diagonal.len();
    let whole = DMatrix::from_fn(dim, dim, |i, j| array[i + j * dim].widen());
    half_of(half, &whole) + DMatrix::from_diagonal(&nalgebra::DVector::from_column_slice(diagonal))
}
