//! What stands around an LU by a library.

use super::super::blas::Trailing;
use super::super::{launch, lu};
use super::{address, address_mut, in_both_precisions, kernels, numbers};
use crate::check;
use crate::device::{Cpu, Device, Inversion, Matrix};
use crate::scalar::Scalar;

/// The CPU's inverse-transposes of `count` blocks, and what it reports of them.
fn inverses<T: Scalar>((dim, count): (usize, usize), a: &[T]) -> (Vec<T>, Vec<Inversion>) {
    let device = Cpu::new(1);
    let matrix = || Matrix::from_column_major(&device, a, dim, dim * count, "test").unwrap();
    let (mut a, mut out, mut report) =
        (matrix(), matrix(), vec![Inversion { log_abs_det: 0.0, condition: 0.0 }; count]);
    let mut work = Device::<T>::factorization(&device, dim, count).unwrap();
    device.invert_transposed(a.view_mut(), out.view_mut(), &mut work, &mut report).unwrap();
    (out.to_column_major(&device).unwrap(), report)
}

/// A zero on the diagonal of U, and a NaN anywhere in the inverse, reach the report.
fn bad_news<T: Scalar>() {
    let kernels = kernels::<T>();
    let dim = 300;
    for (zero, nan, log_abs_det_is_finite) in [(Some(299), None, false), (None, Some(7), true), (None, Some(299), true)]
    {
        let (mut lu, mut inverse) = (vec![T::of(0.0); dim * dim], vec![T::of(1.0); dim * dim]);
        (0..dim).for_each(|i| lu[i * dim + i] = T::of(2.0));
        if let Some(i) = zero {
            lu[i * dim + i] = T::of(0.0);
        }
        if let Some(column) = nan {
            inverse[column * dim + 5] = T::of(f64::NAN);
        }
        let (row_sums, mut terms, mut report) = (vec![1.0; dim], vec![0.0; dim], [0.0; 2]);
        // SAFETY: all arrays have the sizes that `dim` says.
        unsafe {
            let (sums, terms) = (address(&row_sums), address_mut(&mut terms));
            let report = address_mut(&mut report);
            kernels.log_abs_dets(1, dim, address(&lu), report).unwrap();
            kernels.skeel_conditions((dim, 1), [address(&inverse), sums, terms, report]).unwrap();
        }
        if log_abs_det_is_finite {
            assert!((report[0] - dim as f64 * 2.0_f64.ln()).abs() < 1e-10 && report[1].is_nan(), "{report:?}");
        } else {
            assert_eq!(report, [f64::NEG_INFINITY, dim as f64]);
        }
    }
}
in_both_precisions!(bad_news_reaches_the_report, bad_news);

fn operands<T: Scalar>() {
    let kernels = kernels::<T>();
    for (dim, count) in [(1, 1), (2, 3), (17, 4)] {
        let mut identities = numbers::<T>(30, dim * dim * count);
        let mut pointers = vec![0_u64; count];
        // SAFETY: there are `count` blocks of dim×dim numbers, and `count` pointers.
        unsafe {
            kernels.identities(dim, count, address_mut(&mut identities)).unwrap();
            let blocks = address_mut(&mut identities);
            kernels.block_pointers(dim * dim, count, blocks, address_mut(&mut pointers)).unwrap();
        }
        for (n, block) in identities.chunks(dim * dim).enumerate() {
            assert_eq!(pointers[n], address(block));
            for (i, &x) in block.iter().enumerate() {
                assert_eq!(x, T::of(if i / dim == i % dim { 1.0 } else { 0.0 }));
            }
        }
    }
    let lu: Vec<f64> = numbers::<f64>(31, 300 * 300);
    let mut total = [0.0];
    // SAFETY: the matrix is 300×300, the total one number.
    unsafe { kernels.log_abs_diagonal(300, address(&lu), address_mut(&mut total)).unwrap() };
    let expected: f64 = (0..300).map(|i| lu[i * 300 + i].abs().ln()).sum();
    assert!((total[0] - expected).abs() < 1e-9);
}
in_both_precisions!(operands_of_batched_routines_are_laid_out, operands);

/// A22 ← A22 − A21 A12, which a GPU's library does.
fn update<T: Scalar>(a: &mut [T], Trailing { dim, count, first, width, .. }: Trailing) {
    let next = first + width;
    for matrix in a.chunks_mut(dim * dim).take(count) {
        for col in next..dim {
            for row in next..dim {
                let product: f64 =
                    (first..next).map(|k| matrix[k * dim + row].widen() * matrix[col * dim + k].widen()).sum();
                let entry = &mut matrix[col * dim + row];
                *entry = T::of(entry.widen() - product);
            }
        }
    }
}

/// B ← T^{-T} B by substitution: U's rows from the first on, then L's from the last.
fn solve_transposed(dim: usize, lu: &[f64], b: &mut [f64]) {
    for column in b.chunks_mut(dim) {
        for i in 0..dim {
            let known: f64 = (0..i).map(|k| lu[i * dim + k] * column[k]).sum();
            column[i] = (column[i] - known) / lu[i * dim + i];
        }
        for i in (0..dim).rev() {
            let known: f64 = (i + 1..dim).map(|k| lu[i * dim + k] * column[k]).sum();
            column[i] -= known;
        }
    }
}

/// From the panels' LU of matrices that need pivoting, and the order of rows, come the CPU's inverse-transpose and what
/// it reports.
fn panels<T: Scalar>() {
    let kernels = kernels::<T>();
    // Panels in registers, panels in memory, and both: only the last two panels of 100 have up to 40 rows.
    let shapes = [(1, 4), (2, 3), (31, 2), (32, 2), (33, 2), (64, 1), (100, 2), (300, 1)];
    let short = launch::short_rows(T::DTYPE);
    let cases = [short, 0, 40].into_iter().flat_map(|short| shapes.map(|(dim, count)| (dim, count, short)));
    for (dim, count, short_rows) in cases {
        let block = dim * dim;
        let a = numbers::<T>(40, block * count);
        let (expected, expected_report) = inverses((dim, count), &a);
        let worst = expected_report.iter().map(|report| report.condition).fold(1.0, f64::max);
        let what = format!("D = {dim}, {short_rows} short rows, condition {worst:e}");
        let tolerance = 10.0 * worst * T::EPS;

        let (mut lu, mut pivots) = (a.clone(), vec![0_i32; dim * count]);
        let (at, pivots_at) = (address_mut(&mut lu), address_mut(&mut pivots));
        let update = |trailing| {
            update(&mut lu, trailing);
            Ok(())
        };
        // SAFETY: there are `count` blocks of dim×dim and as many pivots as rows.
        unsafe { lu::factor(&kernels, (dim, count), short_rows, (at, pivots_at), update).unwrap() };
        let (below, most) = (|i: usize| i % block % dim > i % block / dim, 1.0 + 4.0 * T::EPS);
        assert!(lu.iter().enumerate().filter(|(i, _)| below(*i)).all(|(_, l)| l.widen().abs() <= most), "{what}");

        let wide = |x: &[T]| x.iter().map(|x| x.widen()).collect::<Vec<_>>();
        let mut solved: Vec<f64> =
            (0..block * count).map(|i| if i % block / dim == i % block % dim { 1.0 } else { 0.0 }).collect();
        for (lu, b) in lu.chunks(block).zip(solved.chunks_mut(block)) {
            solve_transposed(dim, &wide(lu), b);
        }
        let solved: Vec<T> = solved.into_iter().map(T::of).collect();
        let pivots_64: Vec<i64> = pivots.iter().map(|&pivot| i64::from(pivot)).collect();
        for (pivots, stride) in [(address(&pivots), 1), (address(&pivots_64), 2)] {
            let (mut orders, mut inverse) = (vec![0_i32; dim * count], vec![T::of(0.0); block * count]);
            let (orders, at) = (address_mut(&mut orders), address_mut(&mut inverse));
            // SAFETY: all arrays have the sizes that dim and count say.
            unsafe {
                kernels.row_orders(count, dim, pivots, stride, orders).unwrap();
                kernels.permute_rows(dim, count, orders, address(&solved), at).unwrap();
            }
            let error = check::relative_error(wide(&inverse), wide(&expected));
            assert!(error <= tolerance, "{what}, stride {stride}: {error:e}");
        }

        let (mut sums, mut terms, mut report) = (vec![0.0; dim * count], vec![0.0; dim * count], vec![0.0; 2 * count]);
        let [sums, terms, at] = [&mut sums, &mut terms, &mut report].map(|numbers| address_mut(numbers));
        // SAFETY: as above.
        unsafe {
            kernels.row_abs_sums(dim, count, address(&a), sums).unwrap();
            kernels.log_abs_dets(count, dim, address(&lu), at).unwrap();
            kernels.skeel_conditions((dim, count), [address(&expected), sums, terms, at]).unwrap();
        }
        for (report, expected) in report.chunks(2).zip(&expected_report) {
            assert!(
                (report[0] - expected.log_abs_det).abs() <= tolerance * dim as f64,
                "{what}: {report:?} {expected:?}"
            );
            assert!((report[1] / expected.condition - 1.0).abs() <= 100.0 * T::EPS, "{what}: {report:?} {expected:?}");
        }
    }
}
in_both_precisions!(panels_and_row_orders_invert_as_the_cpu_does, panels);

/// A column of zeros keeps its zero pivot, so that log|det| is −∞ and not a NaN; a NaN stays one.
fn singular<T: Scalar>() {
    let kernels = kernels::<T>();
    let dim = 40;
    let short = launch::short_rows(T::DTYPE);
    for (bad, expected, short_rows) in [
        (0.0, f64::NEG_INFINITY, short),
        (0.0, f64::NEG_INFINITY, 0),
        (f64::NAN, f64::NAN, short),
        (f64::NAN, f64::NAN, 0),
    ] {
        let mut a = numbers::<T>(41, dim * dim);
        a[35 * dim..36 * dim].fill(T::of(bad));
        let (mut pivots, mut report) = (vec![0_i32; dim], [0.0; 2]);
        let at = address_mut(&mut a);
        // SAFETY: one block of dim×dim and its pivots.
        unsafe {
            lu::factor(&kernels, (dim, 1), short_rows, (at, address_mut(&mut pivots)), |trailing| {
                update(&mut a, trailing);
                Ok(())
            })
            .unwrap();
            kernels.log_abs_dets(1, dim, at, address_mut(&mut report)).unwrap();
        }
        let same = report[0] == expected || report[0].is_nan() && expected.is_nan();
        assert!(same, "{} is not {expected}", report[0]);
        assert!(pivots.iter().all(|&pivot| (1..=dim as i32).contains(&pivot)), "{pivots:?}");
    }
}
in_both_precisions!(a_zero_pivot_stays_zero, singular);

/// Pivots that a library left undefined move nothing and reach no memory beyond the orders.
fn undefined_pivots<T: Scalar>() {
    let kernels = kernels::<T>();
    let mut orders = vec![-1_i32; 5];
    let pivots = [0_i32, i32::MIN, 4, 5, i32::MAX];
    // SAFETY: one matrix of 4 rows, and four pivots and more.
    unsafe { kernels.row_orders(1, 4, address(&pivots), 1, address_mut(&mut orders)).unwrap() };
    assert_eq!(orders, [0, 1, 3, 2, -1]);
}
in_both_precisions!(undefined_pivots_move_nothing, undefined_pivots);
