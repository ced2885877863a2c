//! Every operation of the emulation against the CPU's.

use super::{Emulated, address, address_mut, in_both_precisions, kernels, numbers};
use crate::backend::newton_schulz::tests::a_refresh_ends_at_the_inverse;
use crate::device::{Addend, Cpu, Device, Matrix};
use crate::error::{Error, Result};
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

/// Sizes and numbers of D×D blocks.
const BLOCKS: [(usize, usize); 5] = [(1, 1), (3, 5), (31, 2), (33, 3), (127, 1)];

/// An operation with what it takes besides matrices.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Copy,
    Multiply { onto: usize, transposed: [bool; 2] },
    AddBias,
    Activate { activation: Activation, biased: bool },
    BackwardError(Activation),
    SlopeAndRatio(Activation),
    OutputError(Base, Option<Activation>),
    LogSlopes(Activation),
    LogDensities(Base),
    Norm,
    ScaleRows { one_block: bool },
    ScaleRowsInPlace,
    CurvatureAdjoint { one_block: bool },
    AddBlocks,
}

/// Everything that the operation may have changed, on D×N matrices and panels of D×D blocks.
fn results<D: Device<T>, T: Scalar>(
    device: &D,
    operation: Operation,
    (rows, cols): (usize, usize),
) -> Result<[Vec<f64>; 3]> {
    use Operation::*;
    let matrix = |seed, rows: usize, cols: usize| {
        Matrix::from_column_major(device, &numbers::<T>(seed, rows * cols), rows, cols, "test")
    };
    let (a, bias) = (matrix(1, rows, cols)?, matrix(2, rows, 1)?);
    let (mut b, mut c, mut sums) = (matrix(3, rows, cols)?, matrix(4, rows, cols)?, vec![5.0; cols]);
    let a = a.view();
    match operation {
        Copy => device.copy(a, b.view_mut())?,
        Multiply { onto, transposed } => {
            let factor = |seed, rows, cols, transposed: bool| {
                if transposed { matrix(seed, cols, rows) } else { matrix(seed, rows, cols) }
            };
            let (x, y) = (factor(5, rows, 3, transposed[0])?, factor(6, 3, cols, transposed[1])?);
            let x = if transposed[0] { x.view().transposed() } else { x.view().plain() };
            let y = if transposed[1] { y.view().transposed() } else { y.view().plain() };
            let addend = match onto {
                0 => Addend::Zero,
                1 => Addend::Scaled(T::of(-2.0)),
                _ => Addend::Matrix(a),
            };
            device.multiply(T::of(0.5), x, y, addend, b.view_mut())?;
        }
        AddBias => device.add_bias(bias.view(), b.view_mut())?,
        Activate { activation, biased } => {
            device.bias_activate(activation, biased.then(|| bias.view()), b.view_mut(), c.view_mut())?;
        }
        BackwardError(activation) => device.backward_error(activation, a, c.view(), b.view_mut())?,
        SlopeAndRatio(activation) => device.slope_and_ratio(activation, a, b.view_mut(), c.view_mut())?,
        OutputError(base, activation) => device.output_error(base, activation, a, b.view_mut())?,
        LogSlopes(activation) => device.log_slope_sums(activation, a, &mut sums)?,
        LogDensities(base) => device.log_density_sums(base, a, &mut sums)?,
        Norm => sums = vec![device.frobenius_norm(a)?],
        ScaleRows { .. } | ScaleRowsInPlace | CurvatureAdjoint { .. } | AddBlocks => {
            let (x, mut y) = (matrix(5, rows, rows * cols)?, matrix(6, rows, rows * cols)?);
            match operation {
                ScaleRows { one_block } => {
                    let x = x.view().columns(0, if one_block { rows } else { rows * cols });
                    device.scale_rows(a, x, y.view_mut())?;
                }
                ScaleRowsInPlace => device.scale_rows_in_place(a, y.view_mut())?,
                CurvatureAdjoint { one_block } => {
                    let y = y.view().columns(0, if one_block { rows } else { rows * cols });
                    device.curvature_adjoint(a, c.view(), x.view(), y, b.view_mut())?;
                }
                _ => device.add_blocks(T::of(0.25), x.view(), y.view_mut().columns(0, rows))?,
            }
            c = y;
        }
    }
    device.synchronize()?;
    let host = |matrix: &Matrix<D, T>| -> Result<Vec<f64>> {
        Ok(matrix.to_column_major(device)?.into_iter().map(Scalar::widen).collect())
    };
    Ok([host(&b)?, host(&c)?, sums])
}

/// Every number within `ulps` units of the larger of `least` and what the CPU finds, which has its own exponential.
fn assert_agrees<T: Scalar>(operation: Operation, shape: (usize, usize), ulps: f64, least: f64) {
    let expected = results::<_, T>(&Cpu::new(1), operation, shape).unwrap();
    let ours = results::<_, T>(&Emulated::new(), operation, shape).unwrap();
    let what = format!("{operation:?} of {shape:?}, {}", T::DTYPE);
    for (ours, expected) in ours.iter().zip(&expected) {
        assert_eq!(ours.len(), expected.len(), "{what}");
        for (i, (ours, expected)) in ours.iter().zip(expected).enumerate() {
            let bound = ulps * T::EPS * expected.abs().max(least);
            assert!((ours - expected).abs() <= bound, "{what}, number {i}: {ours} is not {expected}");
        }
    }
}

fn elementwise<T: Scalar>() {
    use Operation::*;
    for shape in SHAPES {
        // The terms of a sum are rounded to T on both sides, their sum is not.
        let (agrees, terms) = (|operation, ulps| assert_agrees::<T>(operation, shape, ulps, 1.0), shape.0 as f64);
        agrees(Copy, 0.0);
        agrees(AddBias, 0.0);
        assert_agrees::<T>(Norm, shape, 1e-14 / T::EPS, 0.0);
        for activation in ACTIVATIONS {
            for biased in [false, true] {
                agrees(Activate { activation, biased }, 4.0);
            }
            agrees(BackwardError(activation), 8.0);
            agrees(SlopeAndRatio(activation), 8.0);
            assert_agrees::<T>(LogSlopes(activation), shape, 4.0, terms);
            for base in BASES {
                agrees(OutputError(base, Some(activation)), 32.0);
            }
        }
        for base in BASES {
            agrees(OutputError(base, None), 4.0);
            assert_agrees::<T>(LogDensities(base), shape, 8.0, terms);
        }
    }
}
in_both_precisions!(elementwise_work_and_sums_are_those_of_the_cpu, elementwise);

fn many_sums<T: Scalar>() {
    assert_agrees::<T>(Operation::LogDensities(Base::Normal), (1, super::ANSWERS + 10), 8.0, 1.0);
}
in_both_precisions!(more_sums_than_answers_are_all_added, many_sums);

fn products<T: Scalar>() {
    for shape in [(1, 1), (4, 7), (5, 3)] {
        for onto in 0..3 {
            for transposed in [[false, false], [true, false], [false, true], [true, true]] {
                // Three products of numbers of up to a hundred.
                assert_agrees::<T>(Operation::Multiply { onto, transposed }, shape, 4.0, 3e4);
            }
        }
    }
}
in_both_precisions!(products_and_their_addends_are_those_of_the_cpu, products);

fn panels<T: Scalar>() {
    use Operation::*;
    for shape in BLOCKS {
        for one_block in [false, true] {
            assert_agrees::<T>(ScaleRows { one_block }, shape, 0.0, 1.0);
            // D products of numbers of up to a hundred, times another.
            assert_agrees::<T>(CurvatureAdjoint { one_block }, shape, 8.0 * shape.0 as f64, 1e4);
        }
        assert_agrees::<T>(ScaleRowsInPlace, shape, 0.0, 1.0);
        assert_agrees::<T>(AddBlocks, shape, 64.0, 1.0);
    }
}
in_both_precisions!(panels_are_those_of_the_cpu, panels);

/// A NaN or an infinity among the arguments leaves no finite number in any result.
fn lost_numbers<T: Scalar>() {
    let device = Emulated::new();
    let of = |numbers: &[f64]| {
        let numbers: Vec<T> = numbers.iter().map(|&x| T::of(x)).collect();
        Matrix::from_column_major(&device, &numbers, 3, 1, "test").unwrap()
    };
    let (lost, sane) = (of(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]), of(&[0.5; 3]));
    let none_is_finite = |what: String, results: &[&Matrix<_, T>]| {
        for result in results {
            let result = result.to_column_major(&device).unwrap();
            assert!(result.iter().all(|x| !x.widen().is_finite()), "{what}: {result:?}");
        }
    };
    for activation in ACTIVATIONS {
        let mut out = [(); 5].map(|()| of(&[0.0; 3]));
        let [z, of_y, of_v, slope, ratio] = out.each_mut().map(Matrix::view_mut);
        device
            .bias_activate(activation, None, of(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]).view_mut(), z)
            .unwrap();
        device.backward_error(activation, sane.view(), lost.view(), of_y).unwrap();
        device.backward_error(activation, lost.view(), sane.view(), of_v).unwrap();
        device.slope_and_ratio(activation, lost.view(), slope, ratio).unwrap();
        none_is_finite(activation.to_string(), &out.each_ref());
    }
    for base in BASES {
        let mut psi = of(&[0.0; 3]);
        device.output_error(base, None, lost.view(), psi.view_mut()).unwrap();
        none_is_finite(base.to_string(), &[&psi]);
    }
    for (i, lost) in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(T::of).into_iter().enumerate() {
        let mut array = numbers::<T>(5, 1000);
        let check = |array: &[T]| {
            let matrix = Matrix::from_column_major(&device, array, 1000, 1, "test").unwrap();
            device.require_finite("a matrix", matrix.view()).and_then(|()| Device::<T>::synchronize(&device))
        };
        assert_eq!(check(&array), Ok(()));
        array[333 * (i + 1)] = lost;
        assert!(matches!(check(&array), Err(Error::NonFinite { .. })));
    }
}
in_both_precisions!(a_lost_number_stays_visible, lost_numbers);

fn fills<T: Scalar>() {
    let kernels = kernels::<T>();
    let (mut array, mut wide) = (numbers::<T>(12, 700), vec![0.0_f64; 700]);
    // SAFETY: both have 700 numbers; the second call fills all but the last 100.
    unsafe {
        kernels.widen(700, address(&array), address_mut(&mut wide)).unwrap();
        assert!(wide.iter().zip(&array).all(|(wide, narrow)| *wide == narrow.widen()));
        kernels.fill(600, T::of(2.5), address_mut(&mut array)).unwrap();
    }
    assert!(array[..600].iter().all(|x| *x == T::of(2.5)));
    assert!(array[600..].iter().zip(&wide[600..]).all(|(narrow, wide)| *wide == narrow.widen()));
}
in_both_precisions!(fills_and_copies_touch_what_they_should, fills);

fn refreshes<T: Scalar>() {
    a_refresh_ends_at_the_inverse::<_, T>(&Emulated::new());
}
in_both_precisions!(inverses_are_refreshed, refreshes);
