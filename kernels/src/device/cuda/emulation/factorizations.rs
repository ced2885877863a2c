//! What stands around an LU by a library.

use super::{address, address_mut, calls, cpu, in_both_precisions, matrix, numbers};
use crate::device::{Device, Inversion};
use crate::scalar::Scalar;

/// LU factors without pivoting, which a matrix with a dominant diagonal does not need: L below the diagonal, U above.
fn factors(dim: usize, a: &[f64]) -> Vec<f64> {
    let mut lu = a.to_vec();
    for k in 0..dim {
        for i in k + 1..dim {
            lu[k * dim + i] /= lu[k * dim + k];
            for j in k + 1..dim {
                lu[j * dim + i] -= lu[k * dim + i] * lu[j * dim + k];
            }
        }
    }
    lu
}

fn reports<T: Scalar>() {
    let (calls, device) = (calls::<T>(), cpu());
    for (dim, count) in [(1, 3), (2, 1), (31, 3), (33, 2), (300, 1)] {
        let block = dim * dim;
        let mut a = numbers::<T>(20, block * count);
        for n in 0..count {
            for i in 0..dim {
                a[n * block + i * dim + i] = T::of((n + 1) as f64 * 100.0 + i as f64);
            }
        }
        let mut inverse = matrix(&a, dim, dim * count);
        let mut expected = vec![Inversion { log_abs_det: 0.0, condition: 0.0 }; count];
        let mut work = Device::<T>::factorization(&device, dim, count).unwrap();
        let mut overwritten = matrix(&a, dim, dim * count);
        device
            .invert_transposed(overwritten.view_mut(), inverse.view_mut(), &mut work, &mut expected)
            .unwrap();

        let lu: Vec<T> = a
            .chunks(block)
            .flat_map(|a| factors(dim, &a.iter().map(|x| x.widen()).collect::<Vec<_>>()))
            .map(T::of)
            .collect();
        let (mut row_sums, mut terms) = (vec![0.0; dim * count], vec![0.0; dim * count]);
        let mut report = vec![0.0; 2 * count];
        // SAFETY: all arrays have the sizes that dim and count say.
        unsafe {
            let (sums, terms) = (address_mut(&mut row_sums), address_mut(&mut terms));
            let inverse = address(inverse.view().slice());
            calls.row_abs_sums(dim, count, address(&a), sums).unwrap();
            calls
                .inversion_reports((dim, count), address(&lu), inverse, sums, terms, address_mut(&mut report))
                .unwrap();
        }
        for (n, expected) in expected.iter().enumerate() {
            let (log_det, condition) = (report[2 * n], report[2 * n + 1]);
            let close = |a: f64, b: f64| (a / b - 1.0).abs() <= 100.0 * T::EPS;
            assert!(close(log_det, expected.log_abs_det), "{dim}: {log_det} {expected:?}");
            assert!(close(condition, expected.condition), "{dim}: {condition} {expected:?}");
        }
    }
}
in_both_precisions!(reports_are_those_of_the_cpu, reports);

/// A zero on the diagonal of U, and a NaN anywhere in the inverse, reach the report.
fn bad_news<T: Scalar>() {
    let calls = calls::<T>();
    let dim = 300;
    for (zero, nan, log_abs_det_is_finite) in
        [(Some(299), None, false), (None, Some(7), true), (None, Some(299), true)]
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
            calls.inversion_reports((dim, 1), address(&lu), address(&inverse), sums, terms, report).unwrap();
        }
        if log_abs_det_is_finite {
            assert!(
                (report[0] - dim as f64 * 2.0_f64.ln()).abs() < 1e-10 && report[1].is_nan(),
                "{report:?}"
            );
        } else {
            assert_eq!(report, [f64::NEG_INFINITY, dim as f64]);
        }
    }
}
in_both_precisions!(bad_news_reaches_the_report, bad_news);

fn operands<T: Scalar>() {
    let calls = calls::<T>();
    for (dim, count) in [(1, 1), (2, 3), (17, 4)] {
        let mut identities = numbers::<T>(30, dim * dim * count);
        let mut pointers = vec![0_u64; count];
        // SAFETY: there are `count` blocks of dim×dim numbers, and `count` pointers.
        unsafe {
            calls.identities(dim, count, address_mut(&mut identities)).unwrap();
            let blocks = address_mut(&mut identities);
            calls.block_pointers(dim * dim, count, blocks, address_mut(&mut pointers)).unwrap();
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
    unsafe { calls.log_abs_diagonal(300, address(&lu), address_mut(&mut total)).unwrap() };
    let expected: f64 = (0..300).map(|i| lu[i * 300 + i].abs().ln()).sum();
    assert!((total[0] - expected).abs() < 1e-9);
}
in_both_precisions!(operands_of_batched_routines_are_laid_out, operands);
