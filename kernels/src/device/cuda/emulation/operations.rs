//! Elementwise work, sums and panels.

use super::super::calls::Panel;
use super::{address, address_mut, assert_close, calls, cpu, host, in_both_precisions, matrix, numbers};
use crate::device::Device;
use crate::elementwise::{DensityParameters, SigmaParameters};
use crate::network::{Activation, Base};
use crate::scalar::Scalar;

const ACTIVATIONS: [Activation; 4] = [
    Activation::SmoothLeaky { alpha: 0.3 },
    Activation::SmoothLeaky { alpha: 1.0 },
    Activation::TanhLinear { alpha: 1.0, beta: 0.1 },
    Activation::TanhLinear { alpha: 1.7, beta: 0.4 },
];
const BASES: [Base; 5] = [Base::Normal, Base::SECH, Base::Sech { c: 1.0 }, Base::Logistic, Base::Laplace];

/// Rows and columns on both sides of tiles of 32×8 and blocks of 256.
const SHAPES: [(usize, usize); 6] = [(1, 1), (31, 7), (32, 8), (33, 9), (127, 3), (1000, 2)];

fn sigma<T: Scalar>(activation: Activation) -> SigmaParameters<T> {
    SigmaParameters::new(activation).expect("good parameters")
}

fn density<T: Scalar>(base: Base) -> DensityParameters<T> {
    DensityParameters::new(base).expect("good parameters")
}

fn biases_and_activations<T: Scalar>() {
    let (calls, device) = (calls::<T>(), cpu());
    for (rows, cols) in SHAPES {
        let (y, bias) = (numbers::<T>(1, rows * cols), numbers::<T>(2, rows));
        for activation in ACTIVATIONS {
            let (mut expected_y, mut expected_z) = (matrix(&y, rows, cols), matrix(&y, rows, cols));
            let bias_matrix = matrix(&bias, rows, 1);
            let bias_view = Some(bias_matrix.view());
            device.bias_activate(activation, bias_view, expected_y.view_mut(), expected_z.view_mut()).unwrap();
            let (mut ours_y, mut ours_z) = (y.clone(), vec![T::default(); y.len()]);
            // SAFETY: all arrays have the lengths that the shapes say.
            unsafe {
                let (y, z) = (address_mut(&mut ours_y), address_mut(&mut ours_z));
                calls.bias_activate((rows, cols), sigma::<T>(activation), address(&bias), y, z).unwrap();
            }
            assert_eq!(ours_y, host(&expected_y), "{activation} {rows}×{cols}");
            assert_close("biased activation", &ours_z, &host(&expected_z), 4.0);
            device.bias_activate(activation, None, matrix(&y, rows, cols).view_mut(), expected_z.view_mut()).unwrap();
            // SAFETY: as above.
            unsafe {
                let z = address_mut(&mut ours_z);
                calls.activate(y.len(), sigma::<T>(activation), address(&y), z).unwrap();
            }
            assert_close("activation", &ours_z, &host(&expected_z), 4.0);
        }
        let mut expected = matrix(&y, rows, cols);
        device.add_bias(matrix(&bias, rows, 1).view(), expected.view_mut()).unwrap();
        let mut ours = y.clone();
        // SAFETY: as above.
        unsafe { calls.add_bias(rows, cols, address(&bias), address_mut(&mut ours)).unwrap() };
        assert_eq!(ours, host(&expected), "{rows}×{cols}");
    }
}
in_both_precisions!(biases_and_activations_are_those_of_the_cpu, biases_and_activations);

fn errors<T: Scalar>() {
    let (calls, device) = (calls::<T>(), cpu());
    for (rows, cols) in SHAPES {
        let len = rows * cols;
        let (v, y) = (numbers::<T>(3, len), numbers::<T>(4, len));
        let (v_matrix, y_matrix) = (matrix(&v, rows, cols), matrix(&y, rows, cols));
        let (mut expected, mut other) = (matrix(&v, rows, cols), matrix(&v, rows, cols));
        let (mut ours, mut ours_other) = (vec![T::default(); len], vec![T::default(); len]);
        for activation in ACTIVATIONS {
            device.backward_error(activation, v_matrix.view(), y_matrix.view(), expected.view_mut()).unwrap();
            // SAFETY: all arrays have `len` numbers.
            unsafe {
                let delta = address_mut(&mut ours);
                calls.backward_error(len, sigma::<T>(activation), address(&v), address(&y), delta).unwrap();
            }
            assert_close("backward error", &ours, &host(&expected), 8.0);
            device.slope_and_ratio(activation, y_matrix.view(), expected.view_mut(), other.view_mut()).unwrap();
            // SAFETY: as above.
            unsafe {
                let (slope, ratio) = (address_mut(&mut ours), address_mut(&mut ours_other));
                calls.slope_and_ratio(len, sigma::<T>(activation), address(&y), slope, ratio).unwrap();
            }
            assert_close("slope", &ours, &host(&expected), 8.0);
            assert_close("ratio", &ours_other, &host(&other), 8.0);
            for base in BASES {
                device.output_error(base, Some(activation), y_matrix.view(), expected.view_mut()).unwrap();
                // SAFETY: as above.
                unsafe {
                    let (sigma, density) = (sigma::<T>(activation), density::<T>(base));
                    calls.output_error(len, sigma, density, address(&y), address_mut(&mut ours)).unwrap();
                }
                assert_close("output error", &ours, &host(&expected), 32.0);
            }
        }
        for base in BASES {
            device.output_error(base, None, y_matrix.view(), expected.view_mut()).unwrap();
            // SAFETY: as above.
            unsafe {
                calls.output_score(len, density::<T>(base), address(&y), address_mut(&mut ours)).unwrap();
            }
            assert_close("score", &ours, &host(&expected), 4.0);
        }
    }
}
in_both_precisions!(errors_are_those_of_the_cpu, errors);

/// A NaN or an infinity among the arguments leaves no finite number in any result.
fn lost_numbers<T: Scalar>() {
    let calls = calls::<T>();
    let lost = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(T::of);
    let sane = [0.5; 3].map(T::of);
    for activation in ACTIVATIONS {
        let sigma = sigma::<T>(activation);
        let mut results = [[T::default(); 3]; 5];
        // SAFETY: all arrays have three numbers.
        unsafe {
            let out = results.each_mut().map(|result| address_mut(result));
            calls.activate(3, sigma, address(&lost), out[0]).unwrap();
            calls.backward_error(3, sigma, address(&sane), address(&lost), out[1]).unwrap();
            calls.slope_and_ratio(3, sigma, address(&lost), out[2], out[3]).unwrap();
            calls.backward_error(3, sigma, address(&lost), address(&sane), out[4]).unwrap();
        }
        let all = results.as_flattened();
        assert!(all.iter().all(|x| !x.widen().is_finite()), "{activation}: {results:?}");
    }
    for base in BASES {
        let mut result = [T::default(); 3];
        // SAFETY: as above.
        unsafe {
            calls.output_score(3, density::<T>(base), address(&lost), address_mut(&mut result)).unwrap();
        }
        assert!(result.iter().all(|x| !x.widen().is_finite()), "{base}: {result:?}");
    }
    for (i, lost) in lost.into_iter().enumerate() {
        let mut array = numbers::<T>(5, 1000);
        let mut flag = [0_u32];
        // SAFETY: the array has 1000 numbers, the flag one.
        unsafe { calls.flag_not_finite(1000, address(&array), address_mut(&mut flag)).unwrap() };
        assert_eq!(flag, [0]);
        array[333 * (i + 1)] = lost;
        // SAFETY: as above.
        unsafe { calls.flag_not_finite(1000, address(&array), address_mut(&mut flag)).unwrap() };
        assert_eq!(flag, [1]);
    }
}
in_both_precisions!(a_lost_number_stays_visible, lost_numbers);

fn sums<T: Scalar>() {
    let (calls, device) = (calls::<T>(), cpu());
    for (rows, cols) in SHAPES {
        let y = numbers::<T>(6, rows * cols);
        let view = matrix(&y, rows, cols);
        let close = |ours: &[f64], expected: &[f64], what: &str| {
            for (ours, expected) in ours.iter().zip(expected) {
                // The terms are rounded to T on both sides, their sum is not.
                let bound = 4.0 * T::EPS * expected.abs().max(rows as f64);
                assert!((ours - expected).abs() <= bound, "{what} {rows}×{cols}: {ours} is not {expected}");
            }
        };
        for activation in ACTIVATIONS {
            let (mut ours, mut expected) = (vec![0.0; cols], vec![0.0; cols]);
            device.log_slope_sums(activation, view.view(), &mut expected).unwrap();
            // SAFETY: y is rows×cols, and there are as many sums as columns.
            unsafe {
                let sums = address_mut(&mut ours);
                calls.log_slope_sums((rows, cols), sigma::<T>(activation), address(&y), sums).unwrap();
            }
            close(&ours, &expected, "log slopes");
        }
        for base in BASES {
            let (mut ours, mut expected) = (vec![0.0; cols], vec![0.0; cols]);
            device.log_density_sums(base, view.view(), &mut expected).unwrap();
            // SAFETY: as above.
            unsafe {
                let sums = address_mut(&mut ours);
                calls.log_density_sums((rows, cols), density::<T>(base), address(&y), sums).unwrap();
            }
            for (ours, expected) in ours.iter().zip(&expected) {
                assert!((ours - expected).abs() <= 8.0 * T::EPS * expected.abs(), "{base}: {ours} {expected}");
            }
        }
        let (mut partial, mut total) = (vec![0.0_f64; 1024], [0.0_f64]);
        // SAFETY: y has this length; there is room for all partial sums.
        unsafe {
            let (partial, total) = (address_mut(&mut partial), address_mut(&mut total));
            calls.sum_of_squares(y.len(), address(&y), partial, total).unwrap();
        }
        let norm = device.frobenius_norm(view.view()).unwrap();
        assert!((total[0].sqrt() / norm - 1.0).abs() < 1e-14, "{rows}×{cols}");
    }
}
in_both_precisions!(sums_are_those_of_the_cpu, sums);

fn panels<T: Scalar>() {
    let (calls, device) = (calls::<T>(), cpu());
    for (dim, count) in [(1, 1), (3, 5), (31, 2), (33, 3), (127, 1)] {
        let block = dim * dim;
        let (scale, weight) = (numbers::<T>(7, dim * count), numbers::<T>(8, dim * count));
        let (a, b) = (numbers::<T>(9, block * count), numbers::<T>(10, block * count));
        let (scale_m, weight_m) = (matrix(&scale, dim, count), matrix(&weight, dim, count));
        let (a_m, b_m) = (matrix(&a, dim, dim * count), matrix(&b, dim, dim * count));
        for shared in [false, true] {
            let stride = if shared { 0 } else { block as u64 };
            let blocks = if shared { 1 } else { count };
            let panel = |data: &[T]| Panel { address: address(data), stride };
            let mut expected = matrix(&a, dim, dim * count);
            let used = a_m.view().columns(0, dim * blocks);
            device.scale_rows(scale_m.view(), used, expected.view_mut()).unwrap();
            let mut ours = vec![T::default(); block * count];
            // SAFETY: all arrays have the sizes that dim and count say.
            unsafe {
                let out = address_mut(&mut ours);
                calls.scale_rows((dim, count), address(&scale), panel(&a), out).unwrap();
            }
            assert_eq!(ours, host(&expected), "scaling {dim} {count} {shared}");

            let mut expected = matrix(&weight, dim, count);
            let (slope, used) = (scale_m.view(), b_m.view().columns(0, dim * blocks));
            device.curvature_adjoint(slope, weight_m.view(), a_m.view(), used, expected.view_mut()).unwrap();
            let mut ours = weight.clone();
            // SAFETY: as above.
            unsafe {
                let (factors, out) = ((address(&scale), address(&weight)), address_mut(&mut ours));
                calls.curvature_adjoint((dim, count), factors, address(&a), panel(&b), out).unwrap();
            }
            let norm = |x: &[T]| x.iter().map(|x| x.widen().powi(2)).sum::<f64>().sqrt();
            let difference: Vec<T> =
                ours.iter().zip(host(&expected)).map(|(a, b)| T::of(a.widen() - b.widen())).collect();
            assert!(norm(&difference) <= 8.0 * dim as f64 * T::EPS * norm(&ours).max(1.0), "adjoint {dim}");
        }
        let mut in_place = a.clone();
        let mut expected = matrix(&a, dim, dim * count);
        device.scale_rows_in_place(scale_m.view(), expected.view_mut()).unwrap();
        let out = address_mut(&mut in_place);
        // SAFETY: as above.
        unsafe {
            let a = Panel { address: out, stride: block as u64 };
            calls.scale_rows((dim, count), address(&scale), a, out).unwrap();
        }
        assert_eq!(in_place, host(&expected), "in place {dim} {count}");

        let start = numbers::<T>(11, block);
        let mut expected = matrix(&start, dim, dim);
        device.add_blocks(T::of(0.25), a_m.view(), expected.view_mut()).unwrap();
        let mut ours = start;
        // SAFETY: as above.
        unsafe {
            calls.add_blocks((block, count), T::of(0.25), address(&a), address_mut(&mut ours)).unwrap();
        }
        assert_close("block sum", &ours, &host(&expected), 64.0);
    }
}
in_both_precisions!(panels_are_those_of_the_cpu, panels);

fn fills<T: Scalar>() {
    let calls = calls::<T>();
    let (mut array, mut wide) = (numbers::<T>(12, 700), vec![0.0_f64; 700]);
    // SAFETY: both have 700 numbers; the second call fills all but the last 100.
    unsafe {
        calls.widen(700, address(&array), address_mut(&mut wide)).unwrap();
        assert!(wide.iter().zip(&array).all(|(wide, narrow)| *wide == narrow.widen()));
        calls.fill(600, T::of(2.5), address_mut(&mut array)).unwrap();
    }
    assert!(array[..600].iter().all(|x| *x == T::of(2.5)));
    assert!(array[600..].iter().zip(&wide[600..]).all(|(narrow, wide)| *wide == narrow.widen()));
}
in_both_precisions!(fills_and_copies_touch_what_they_should, fills);
