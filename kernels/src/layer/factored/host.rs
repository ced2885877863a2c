//! What checks ask of the factors: in f64, column by column, with nothing of the fast products.

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

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
    half_of(half, &whole) + DMatrix::from_diagonal(&DVector::from_column_slice(diagonal))
}

/// The D columns of reflections and triangle of an array of [`super::Qr`], d, and s.
fn columns<T>(dim: usize, array: &[T]) -> (&[T], &[T], &[T]) {
    let (triangles, columns) = array.split_at(dim * dim);
    let (logs, signs) = columns.split_at(dim);
    (triangles, logs, signs)
}

/// The chain rule from a D×D gradient to an array of [`super::Qr`], by one reflection after the other.
pub(super) fn sum_reflections<T: Scalar>(dim: usize, weight: &[T], dense: &[T], out: &mut [T]) {
    let (array, logs, signs) = columns(dim, weight);
    let diagonal: Vec<f64> = logs.iter().zip(signs).map(|(d, s)| s.widen() * d.widen().exp()).collect();
    let u = triangle(Half::Upper, array, &diagonal);
    // M = Aᵀ G Uᵀ Bᵀ for the reflections A before one and B behind it.
    let mut m = DMatrix::from_fn(dim, dim, |i, j| dense[i + j * dim].widen());
    let pulled = (0..dim.saturating_sub(1)).fold(m.clone(), |m, i| reflect(array, i, m));
    m = (0..dim.saturating_sub(1)).rev().fold(m * u.transpose(), |m, i| reflect(array, i, m.transpose()).transpose());
    let sums = half_of(Half::Upper, &pulled);
    out.fill(T::default());
    out.iter_mut().zip(sums.iter()).for_each(|(out, &sum)| *out = T::of(sum));
    for i in 0..dim.saturating_sub(1) {
        m = reflect(array, i, m.transpose()).transpose();
        let h = reflection(array, i, dim);
        let square = h.norm_squared();
        let along = (&m + m.transpose()) * &h;
        let sum = &along * (-2.0 / square) + &h * (2.0 * h.dot(&along) / (square * square));
        (i..dim).for_each(|row| out[row + i * dim] = T::of(sum[row]));
        m = reflect(array, i, m);
    }
    (0..dim).for_each(|i| out[dim * dim + i] = T::of(diagonal[i] * pulled[(i, i)]));
}

/// [`crate::layer::Coupling::tangent`] of [`super::Qr`], by one reflection after the other.
pub(super) fn reflections_tangent<T: Scalar>(
    weight: &[T],
    (r, c): (&[f64], &[f64]),
    z: &DMatrix<f64>,
) -> (DMatrix<f64>, f64) {
    let dim = z.nrows();
    let (array, logs, signs) = columns(dim, weight);
    let u: Vec<f64> = logs.iter().zip(signs).map(|(d, s)| s.widen() * d.widen().exp()).collect();
    let log_moves: Vec<f64> = r.iter().map(|r| r * c[dim]).collect();
    let moved: Vec<f64> = u.iter().zip(&log_moves).map(|(u, log)| u * log).collect();
    let mut values = half_times(Half::Upper, array, z) + scale_rows(&u, z);
    let mut moves = rank_one_times(Half::Upper, (r, c), z) + scale_rows(&moved, z);
    let columns = values.as_mut_slice().par_chunks_exact_mut(dim).zip(moves.as_mut_slice().par_chunks_exact_mut(dim));
    columns.for_each(|(x, dx)| {
        for i in (0..dim - 1).rev() {
            let column = &array[i * dim + i..(i + 1) * dim];
            let (x, dx, r) = (&mut x[i..], &mut dx[i..], &r[i..]);
            // ‖h‖², h·x, and what they move by.
            let [mut square, mut dot, mut half_square_moves, mut dot_moves] = [0.0; 4];
            for (((h, x), dx), r) in column.iter().zip(&*x).zip(&*dx).zip(r) {
                let (h, dh) = (h.widen(), c[i] * r);
                square += h * h;
                dot += h * x;
                half_square_moves += h * dh;
                dot_moves += dh * x + h * dx;
            }
            let along = 2.0 * dot / square;
            let along_moves = 2.0 * (dot_moves - 2.0 * half_square_moves * dot / square) / square;
            for (((h, x), dx), r) in column.iter().zip(x).zip(dx).zip(r) {
                let (h, dh) = (h.widen(), c[i] * r);
                *x -= along * h;
                *dx -= along_moves * h + along * dh;
            }
        }
    });
    (moves, log_moves.iter().sum())
}

/// h_i, D numbers.
fn reflection<T: Scalar>(array: &[T], i: usize, dim: usize) -> DVector<f64> {
    DVector::from_fn(dim, |row, _| if row < i { 0.0 } else { array[row + i * dim].widen() })
}

/// H_i m.
fn reflect<T: Scalar>(array: &[T], i: usize, m: DMatrix<f64>) -> DMatrix<f64> {
    let h = reflection(array, i, m.nrows());
    let along = m.tr_mul(&h) * (2.0 / h.norm_squared());
    m - h * along.transpose()
}
