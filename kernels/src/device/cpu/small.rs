//! The inverse of a small matrix, in place and column by column.
//!
//! A recursion in blocks (`super::factor`) has little to gain from a matrix that fits into a near cache, and much to
//! lose in calls. Here every loop adds a few columns to another one: the left-looking forms of `getrf`, `trtri` and
//! `getri` of LAPACK, with [`STEP`] columns at a time so that the destination is loaded and stored once for all of
//! them.

#![allow(
    clippy::needless_range_loop,
    reason = "iterators would not be compiled for the instruction set of the loops around them"
)]

use super::factor::{row_sums, skeel_condition};
use crate::device::Inversion;
use crate::elementwise::{Vectorised, mul_add, vectorised};
use crate::scalar::Scalar;

/// Columns that are added to another one at a time.
const STEP: usize = 4;

/// Numbers of a vector: one AVX2 register of f32, two of f64.
const LANES: usize = 8;

/// out ← A^{-T} (D×D, column-major); `a` is overwritten. With partial pivoting, along the rows of A.
///
/// `pivots` and `sums` have room for D numbers.
pub(super) fn invert_transposed<T: Scalar>(
    dim: usize,
    a: &mut [T],
    out: &mut [T],
    pivots: &mut [usize],
    sums: &mut [f64],
) -> Inversion {
    vectorised(Inverse { dim, a, out, pivots, sums })
}

struct Inverse<'a, T> {
    dim: usize,
    a: &'a mut [T],
    out: &'a mut [T],
    pivots: &'a mut [usize],
    sums: &'a mut [f64],
}

// Loops in plain words from here on: closures, and with them most of an iterator's methods, would not be compiled for
// the instruction set that the loops around them are.
impl<T: Scalar> Vectorised for Inverse<'_, T> {
    type Output = Inversion;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Inversion {
        let Self { dim, a, out, pivots, sums } = self;
        row_sums(dim, a, sums);
        transpose(dim, a, out);
        // The inverse of Aᵀ is what is wanted, so that all happens in place.
        factorize::<T, FMA>(dim, out, pivots);
        let mut log_abs_det = 0.0;
        for i in 0..dim {
            log_abs_det += out[i * dim + i].widen().abs().ln();
        }
        if log_abs_det == f64::NEG_INFINITY {
            return Inversion { log_abs_det, condition: f64::INFINITY };
        }
        invert_upper::<T, FMA>(dim, out);
        if dim > 1 {
            solve_from_right::<T, FMA>(dim, out, &mut a[..2 * dim]);
        }
        for j in (0..dim).rev() {
            let other = pivots[j];
            if other != j {
                let (left, right) = out.split_at_mut(other * dim);
                left[j * dim..][..dim].swap_with_slice(&mut right[..dim]);
            }
        }
        Inversion { log_abs_det, condition: skeel_condition(dim, out, sums) }
    }
}

/// out ← aᵀ, in squares so that both are read and written by the line.
#[inline(always)]
fn transpose<T: Scalar>(dim: usize, a: &[T], out: &mut [T]) {
    let mut left = 0;
    while left < dim {
        let right = (left + LANES).min(dim);
        let mut top = 0;
        while top < dim {
            let bottom = (top + LANES).min(dim);
            for col in left..right {
                for row in top..bottom {
                    out[col * dim + row] = a[row * dim + col];
                }
            }
            top = bottom;
        }
        left = right;
    }
}

/// PM = LU in place. Row i was exchanged with row `pivots[i]` ≥ i, first to last.
#[inline(always)]
fn factorize<T: Scalar, const FMA: bool>(dim: usize, m: &mut [T], pivots: &mut [usize]) {
    for j in 0..dim {
        let (left, right) = m.split_at_mut(j * dim);
        let column = &mut right[..dim];
        for row in 0..j {
            column.swap(row, pivots[row]);
        }
        let whole = j - j % STEP;
        let mut k = 0;
        while k < whole {
            // The triangle among these rows, then all rows below at once.
            let mut factors = [T::ZERO; STEP];
            for row in 0..STEP {
                let mut sum = column[k + row];
                for l in 0..row {
                    sum = mul_add::<T, FMA>(left[(k + l) * dim + k + row], factors[l], sum);
                }
                column[k + row] = sum;
                factors[row] = -sum;
            }
            let first = k + STEP;
            add_columns::<T, STEP, FMA>(&mut column[first..], &left[k * dim + first..], dim, factors);
            k = first;
        }
        while k < j {
            let factor = -column[k];
            add_columns::<T, 1, FMA>(&mut column[k + 1..], &left[k * dim + k + 1..], dim, [factor]);
            k += 1;
        }
        let pivot = j + largest(&column[j..]);
        pivots[j] = pivot;
        if pivot != j {
            for col in 0..=j {
                m.swap(col * dim + j, col * dim + pivot);
            }
        }
        let column = &mut m[j * dim..][..dim];
        if column[j] != T::ZERO {
            let inverse = T::ONE / column[j];
            scale(&mut column[j + 1..], inverse);
        }
    }
}

/// The place of the number that is largest in magnitude.
#[inline(always)]
fn largest<T: Scalar>(numbers: &[T]) -> usize {
    let mut most = T::ZERO;
    let (whole, rest) = numbers.as_chunks::<LANES>();
    if !whole.is_empty() {
        let mut lanes = [T::ZERO; LANES];
        for chunk in whole {
            for lane in 0..LANES {
                let x = chunk[lane].magnitude();
                lanes[lane] = if x > lanes[lane] { x } else { lanes[lane] };
            }
        }
        for x in lanes {
            most = if x > most { x } else { most };
        }
    }
    for x in rest {
        most = if x.magnitude() > most { x.magnitude() } else { most };
    }
    let mut place = 0;
    // Among NaNs there is no largest: the first will do, and shows in the diagonal.
    while place < numbers.len() && numbers[place].magnitude() != most {
        place += 1;
    }
    if place < numbers.len() { place } else { 0 }
}

/// The upper triangle becomes its inverse; below the diagonal nothing is touched.
#[inline(always)]
fn invert_upper<T: Scalar, const FMA: bool>(dim: usize, m: &mut [T]) {
    for j in 0..dim {
        let (left, right) = m.split_at_mut(j * dim);
        let inverse = T::ONE / right[j];
        right[j] = inverse;
        let x = &mut right[..j];
        let whole = j - j % STEP;
        // x ← V x for the triangle V left of it: each step takes numbers that no earlier one has changed.
        let mut k = 0;
        while k < whole {
            let mut factors = [T::ZERO; STEP];
            factors.copy_from_slice(&x[k..k + STEP]);
            add_columns::<T, STEP, FMA>(&mut x[..k], &left[k * dim..], dim, factors);
            for row in 0..STEP {
                let mut sum = left[(k + row) * dim + k + row] * factors[row];
                for l in row + 1..STEP {
                    sum = mul_add::<T, FMA>(left[(k + l) * dim + k + row], factors[l], sum);
                }
                x[k + row] = sum;
            }
            k += STEP;
        }
        while k < j {
            let factor = x[k];
            add_columns::<T, 1, FMA>(&mut x[..k], &left[k * dim..], dim, [factor]);
            x[k] = left[k * dim + k] * factor;
            k += 1;
        }
        scale(x, -inverse);
    }
}

/// X ← V L⁻¹, where X holds the triangle V and, below its diagonal, L without its ones. `work` has room for two
/// columns.
///
/// Two columns of X at a time, so that each number of those right of them is loaded once for both.
#[inline(always)]
fn solve_from_right<T: Scalar, const FMA: bool>(dim: usize, m: &mut [T], work: &mut [T]) {
    let (first_factors, second_factors) = work.split_at_mut(dim);
    let mut end = dim;
    while end >= 2 {
        let (left, right) = m.split_at_mut(end * dim);
        let (first, second) = left[(end - 2) * dim..].split_at_mut(dim);
        let count = dim - end;
        take_below::<T>(first, end - 1, first_factors);
        take_below::<T>(second, end, second_factors);
        let whole = count - count % STEP;
        let mut k = 0;
        while k < whole {
            let mut factors = [[T::ZERO; STEP]; 2];
            // The first column of L begins a row higher.
            factors[0].copy_from_slice(&first_factors[k + 1..k + 1 + STEP]);
            factors[1].copy_from_slice(&second_factors[k..k + STEP]);
            add_columns_to_two::<T, STEP, FMA>(first, second, &right[k * dim..], dim, factors);
            k += STEP;
        }
        while k < count {
            let factors = [[first_factors[k + 1]], [second_factors[k]]];
            add_columns_to_two::<T, 1, FMA>(first, second, &right[k * dim..], dim, factors);
            k += 1;
        }
        add_columns::<T, 1, FMA>(first, second, dim, [first_factors[0]]);
        end -= 2;
    }
    if end == 1 {
        let (first, right) = m.split_at_mut(dim);
        take_below::<T>(first, 1, first_factors);
        for k in 0..dim - 1 {
            add_columns::<T, 1, FMA>(first, &right[k * dim..], dim, [first_factors[k]]);
        }
    }
}

/// Moves the numbers from row `start` on, negated, to `factors`, and leaves zeros.
#[inline(always)]
fn take_below<T: Scalar>(column: &mut [T], start: usize, factors: &mut [T]) {
    for (factor, x) in factors.iter_mut().zip(&mut column[start..]) {
        *factor = -*x;
        *x = T::ZERO;
    }
}

#[inline(always)]
fn scale<T: Scalar>(numbers: &mut [T], factor: T) {
    for x in numbers {
        *x *= factor;
    }
}

/// y ← y + Σ_k factors_k x_k, where x_k starts at `x[k·stride]`.
#[inline(always)]
fn add_columns<T: Scalar, const K: usize, const FMA: bool>(y: &mut [T], x: &[T], stride: usize, factors: [T; K]) {
    let len = y.len();
    if len == 0 {
        return;
    }
    let mut columns = [x; K];
    for k in 0..K {
        columns[k] = &x[k * stride..][..len];
    }
    let mut start = 0;
    while start + LANES <= len {
        add_piece::<T, K, LANES, FMA>(y, &columns, &factors, start);
        start += LANES;
    }
    for k in 0..K {
        columns[k] = &columns[k][start..];
    }
    add_rest::<T, K, FMA>(&mut y[start..], &columns, &factors);
}

/// [`add_columns`] to two columns at a time.
#[inline(always)]
fn add_columns_to_two<T: Scalar, const K: usize, const FMA: bool>(
    first: &mut [T],
    second: &mut [T],
    x: &[T],
    stride: usize,
    factors: [[T; K]; 2],
) {
    let len = first.len();
    let second = &mut second[..len];
    let mut columns = [x; K];
    for k in 0..K {
        columns[k] = &x[k * stride..][..len];
    }
    let mut start = 0;
    while start + LANES <= len {
        let (first, second) = (&mut first[start..start + LANES], &mut second[start..start + LANES]);
        let mut sums = [[T::ZERO; LANES]; 2];
        sums[0].copy_from_slice(first);
        sums[1].copy_from_slice(second);
        for k in 0..K {
            let x = &columns[k][start..start + LANES];
            for lane in 0..LANES {
                sums[0][lane] = mul_add::<T, FMA>(x[lane], factors[0][k], sums[0][lane]);
            }
            for lane in 0..LANES {
                sums[1][lane] = mul_add::<T, FMA>(x[lane], factors[1][k], sums[1][lane]);
            }
        }
        first.copy_from_slice(&sums[0]);
        second.copy_from_slice(&sums[1]);
        start += LANES;
    }
    if start < len {
        let mut rest = [x; K];
        for k in 0..K {
            rest[k] = &columns[k][start..];
        }
        add_rest::<T, K, FMA>(&mut first[start..], &rest, &factors[0]);
        add_rest::<T, K, FMA>(&mut second[start..], &rest, &factors[1]);
    }
}

/// [`add_columns`] to less than [`LANES`] rows.
#[inline(always)]
fn add_rest<T: Scalar, const K: usize, const FMA: bool>(y: &mut [T], x: &[&[T]; K], factors: &[T; K]) {
    let mut start = 0;
    if LANES / 2 <= y.len() {
        add_piece::<T, K, { LANES / 2 }, FMA>(y, x, factors, 0);
        start = LANES / 2;
    }
    while start < y.len() {
        add_piece::<T, K, 1, FMA>(y, x, factors, start);
        start += 1;
    }
}

/// `N` rows from `start` on of [`add_columns`].
#[inline(always)]
fn add_piece<T: Scalar, const K: usize, const N: usize, const FMA: bool>(
    y: &mut [T],
    x: &[&[T]; K],
    factors: &[T; K],
    start: usize,
) {
    let y = &mut y[start..start + N];
    let mut sums = [T::ZERO; N];
    sums.copy_from_slice(y);
    for k in 0..K {
        let x = &x[k][start..start + N];
        for lane in 0..N {
            sums[lane] = mul_add::<T, FMA>(x[lane], factors[k], sums[lane]);
        }
    }
    y.copy_from_slice(&sums);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Well-conditioned: ‖E‖₂ ≤ 0.8 in M = P(I + E), with P a cyclic exchange of rows so that every step pivots.
    fn matrix<T: Scalar>(dim: usize) -> Vec<T> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut m = vec![T::ZERO; dim * dim];
        for col in 0..dim {
            for row in 0..dim {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5;
                let diagonal = if row == col { 1.0 } else { 0.0 };
                m[col * dim + (row + 1) % dim] = T::of(diagonal + 0.6 * uniform / (dim as f64).sqrt());
            }
        }
        m
    }

    /// Tolerance: M^{-T} and M are O(1) in norm, and a sum of D products errs by less than D ε; 8 D ε.
    fn inverts<T: Scalar>() {
        for dim in [1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 33, 50, 64, 95, 96, 100, 127, 128] {
            let m = matrix::<T>(dim);
            let (mut a, mut out) = (m.clone(), vec![T::of(f64::NAN); dim * dim]);
            let (mut pivots, mut sums) = (vec![0; dim], vec![0.0; dim]);
            let report = invert_transposed(dim, &mut a, &mut out, &mut pivots, &mut sums);
            let tolerance = 8.0 * dim as f64 * T::EPS;
            for i in 0..dim {
                for j in 0..dim {
                    // (M⁻¹M)_ij with M⁻¹_ik = out_ki.
                    let sum: f64 = (0..dim).map(|k| out[i * dim + k].widen() * m[j * dim + k].widen()).sum();
                    let wanted = if i == j { 1.0 } else { 0.0 };
                    assert!((sum - wanted).abs() <= tolerance, "D = {dim}, ({i}, {j}): {sum}");
                }
            }
            let wide = nalgebra::DMatrix::from_iterator(dim, dim, m.iter().map(|x| x.widen()));
            let log_abs_det = wide.determinant().abs().ln();
            assert!((report.log_abs_det - log_abs_det).abs() <= tolerance, "D = {dim}: {report:?}");
            assert!(report.condition >= 1.0 - tolerance && report.condition < 1e3, "D = {dim}: {report:?}");
        }
    }

    #[test]
    fn an_inverse_times_its_matrix_is_the_identity() {
        inverts::<f32>();
        inverts::<f64>();
    }

    #[test]
    fn what_has_no_inverse_is_told() {
        for dim in [2, 9, 20] {
            let mut m = matrix::<f64>(dim);
            m.copy_within(0..dim, dim);
            let report = report(dim, &mut m);
            assert!(report.is_singular::<f64>(dim), "equal columns, D = {dim}: {report:?}");
            let report = self::report(dim, &mut vec![0.0; dim * dim]);
            assert!(report.is_singular::<f64>(dim), "zeros, D = {dim}: {report:?}");
            let mut m = matrix::<f64>(dim);
            m[dim + 1] = f64::NAN;
            let report = self::report(dim, &mut m);
            assert!(report.is_singular::<f64>(dim), "a NaN, D = {dim}: {report:?}");
        }
    }

    fn report(dim: usize, m: &mut [f64]) -> Inversion {
        let mut out = vec![0.0; dim * dim];
        invert_transposed(dim, m, &mut out, &mut vec![0; dim], &mut vec![0.0; dim])
    }
}
