//! Steps that carry the inverse of every weight: it stays one, and the steps are those without it.

use nalgebra::DMatrix;
use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::device::{Device, Matrix, MatrixRef, ROWS_WIDENED};
use relgrad_kernels::likelihood::log_abs_dets;
use relgrad_kernels::parameters::Parameters;
use relgrad_kernels::stateful::{RelativeCarried, Stateful};
use relgrad_kernels::step::InPlaceStep;
use relgrad_kernels::{Activation, Architecture, Cpu, Init, Scalar, init};

fn architecture(dim: usize, layers: usize) -> Architecture {
    let activation = Activation::TanhLinear { alpha: 1.0, beta: 0.1 };
    Architecture { activation, bias: true, ..Architecture::new(dim, layers) }
}

fn batch<T: Scalar>(device: &Cpu, (dim, samples): (usize, usize), seed: usize) -> Matrix<Cpu, T> {
    init::batch(device, dim, samples, seed as u64).unwrap()
}

fn wide<T: Scalar>(device: &Cpu, view: MatrixRef<'_, Cpu, T>) -> DMatrix<f64> {
    let (rows, cols) = view.shape();
    let numbers = device.to_host(view).unwrap();
    DMatrix::from_vec(rows, cols, numbers.into_iter().map(Scalar::widen).collect())
}

fn distance(a: &DMatrix<f64>, b: &DMatrix<f64>) -> f64 {
    (a - b).abs().max() / b.abs().max()
}

/// The largest error of the inverses, of R b and of the log-determinants, each relative.
fn errors<T: Scalar>(device: &Cpu, parameters: &Parameters<Cpu, T>, carried: &RelativeCarried<Cpu, T>) -> [f64; 3] {
    let mut worst = [0.0_f64; 3];
    let exact = log_abs_dets(device, parameters).unwrap();
    for (k, exact) in exact.into_iter().enumerate() {
        let inverse = wide(device, parameters.weight(k)).try_inverse().unwrap();
        worst[0] = worst[0].max(distance(&wide(device, carried.inverse_transposed(k)).transpose(), &inverse));
        if let Some(shift) = carried.shift(k) {
            let expected = &inverse * wide(device, parameters.bias(k).unwrap());
            worst[1] = worst[1].max(distance(&wide(device, shift), &expected));
        }
        let found = carried.log_abs_dets().unwrap()[k];
        worst[2] = worst[2].max((found - exact).abs() / exact.abs().max(1.0));
    }
    worst
}

fn state_follows<T: Scalar>(step: InPlaceStep) {
    const STEPS: usize = 40;
    let device = Cpu::new(2);
    for (dim, samples, layers) in [(1, 1, 2), (2, 5, 3), (7, 3, 1), (20, 33, 2), (64, 16, 2), (150, 9, 3)] {
        let architecture = architecture(dim, layers);
        let start = || init::network::<_, T, _>(&device, &architecture, Init::Conditioned, 2).unwrap();
        let (mut parameters, mut plain) = (start(), start());
        let mut carried = RelativeCarried::new(&device, &parameters, samples, step).unwrap();
        let mut work = step.workspace(&device, &architecture, samples).unwrap();
        for seed in 0..STEPS {
            let x = batch::<T>(&device, (dim, samples), seed);
            let report = step.step(&device, &mut plain, x.view(), 0.05, &mut work, None).unwrap().clone();
            assert_eq!(carried.step(&device, &mut parameters, x.view().into(), 0.05).unwrap(), &report);
        }
        let numbers = |of: &Parameters<Cpu, T>| {
            of.arrays().iter().flat_map(|m| m.to_column_major(&device).unwrap()).collect::<Vec<_>>()
        };
        assert!(numbers(&plain) == numbers(&parameters), "the steps are those without an inverse");
        let found = errors(&device, &parameters, &carried);
        let tolerance = 500.0 * T::EPS;
        assert!(found.iter().all(|e| *e < tolerance), "{step:?}, {dim}×{samples}, {layers} layers: {found:?}");
        let estimate = carried.inverse_error(&device, &parameters).unwrap().unwrap();
        assert!(estimate > 0.0 || dim == 1, "an estimate of a residual");
        assert!(estimate < 100.0 * T::EPS, "{step:?}, {dim}×{samples}: ‖RW − I‖ {estimate:e}");
    }
}

#[test]
fn inverse_shift_and_log_determinant_are_those_of_the_weights() {
    let modes = BiasMode::ALL.map(|bias_mode| InPlaceStep { bias_mode, ..InPlaceStep::default() });
    for step in modes.into_iter().chain([InPlaceStep { transposed: true, ..InPlaceStep::default() }]) {
        state_follows::<f64>(step);
        state_follows::<f32>(step);
    }
}

/// Rounding adds up like a random walk, not step by step: the coefficients of a step are rounded, and 1/(1 + μ) more
/// often than not to the same side.
#[test]
fn rounding_adds_up_slowly() {
    let (device, architecture) = (Cpu::new(2), architecture(64, 2));
    let mut parameters = init::network::<_, f32, _>(&device, &architecture, Init::Conditioned, 3).unwrap();
    let mut carried = RelativeCarried::new(&device, &parameters, 16, InPlaceStep::default()).unwrap();
    for seed in 0..1000 {
        let x = batch::<f32>(&device, (64, 16), seed);
        carried.step(&device, &mut parameters, x.view().into(), 1e-3).unwrap();
    }
    let error = carried.inverse_error(&device, &parameters).unwrap().unwrap();
    assert!(error < 1e-5, "‖RW − I‖_F/√D is {error:e} after 1,000 steps");
    assert_eq!(carried.refreshes(), 0);
    let [inverse, shift, log_det] = errors(&device, &parameters, &carried);
    assert!(inverse < 1e-4 && shift < 1e-4 && log_det < 1e-5, "{inverse:e} {shift:e} {log_det:e}");
}

/// z = R y − q is the layer's input: a sample of the model by one product a layer.
#[test]
fn a_layer_is_inverted_by_a_product() {
    let (device, architecture) = (Cpu::new(1), architecture(12, 1));
    let mut parameters = init::network::<_, f64, _>(&device, &architecture, Init::Conditioned, 5).unwrap();
    let mut carried = RelativeCarried::new(&device, &parameters, 4, InPlaceStep::default()).unwrap();
    for seed in 0..10 {
        let x = batch::<f64>(&device, (12, 4), seed);
        carried.step(&device, &mut parameters, x.view().into(), 0.1).unwrap();
    }
    let z = wide(&device, batch::<f64>(&device, (12, 6), 99).view());
    let [weight, bias] = [parameters.weight(0), parameters.bias(0).unwrap()].map(|of| wide(&device, of));
    let [inverse, shift] = [carried.inverse_transposed(0), carried.shift(0).unwrap()].map(|of| wide(&device, of));
    for column in z.column_iter() {
        let y = &weight * column + &bias;
        let back = inverse.transpose() * y - &shift;
        assert!((back - column).abs().max() < 1e-12);
    }
}

/// In f64 whatever the columns are, on both sides of the rows that are widened at a time.
#[test]
fn inner_products_are_those_of_the_columns() {
    fn agrees<T: Scalar>() {
        for threads in [1, 3] {
            let device = Cpu::new(threads);
            for (rows, m, n) in [(1, 1, 1), (5, 3, 2), (512, 1, 40), (513, 9, 9), (1500, 33, 70), (3, 0, 2)] {
                let [a, b] = [(m, 1), (n, 2)].map(|(cols, seed)| batch::<T>(&device, (rows, cols), seed));
                let mut room = vec![0.0; ROWS_WIDENED * (m + n)];
                let mut out = vec![f64::NAN; m * n];
                device.inner_products(a.view(), b.view(), &mut room, &mut out).unwrap();
                let expected = wide(&device, a.view()).transpose() * wide(&device, b.view());
                for (found, expected) in out.iter().zip(expected.iter()) {
                    assert!((found - expected).abs() < 1e-12 * rows as f64, "{rows} rows, {m}×{n}");
                }
            }
        }
    }
    agrees::<f32>();
    agrees::<f64>();
}
