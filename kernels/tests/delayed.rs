//! Updates that are kept as factors: the steps are those of updates written at once, but for rounding.

use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::evaluation::{self, Workload};
use relgrad_kernels::layer::{Convolution, CouplingKind, best_delay};
use relgrad_kernels::parameters::Parameters;
use relgrad_kernels::step::{InPlaceStep, LogDets};
use relgrad_kernels::{Activation, Architecture, Cpu, Dtype, Init, Method, Scalar, init};

fn architecture(dim: usize) -> Architecture {
    let activation = Activation::TanhLinear { alpha: 1.0, beta: 0.1 };
    Architecture { activation, bias: true, ..Architecture::new(dim, 3) }
}

fn numbers<T: Scalar>(device: &Cpu, parameters: &Parameters<Cpu, T>) -> Vec<f64> {
    let arrays = parameters.arrays().iter();
    arrays.flat_map(|m| m.to_column_major(device).unwrap()).map(Scalar::widen).collect()
}

/// The parameters, log-determinants and sizes after `count` steps on changing batches.
fn after<T: Scalar>(
    step: InPlaceStep,
    (dim, samples): (usize, usize),
    (count, mu): (usize, f64),
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (device, architecture) = (Cpu::new(2), architecture(dim));
    let mut parameters = init::network::<_, T, _>(&device, &architecture, Init::Orthogonal, 1).unwrap();
    let mut work = step.workspace(&device, &architecture, samples).unwrap();
    let mut log_dets = LogDets::new(&device, &parameters, samples).unwrap();
    let mut sizes = Vec::new();
    for seed in 0..count {
        let x = init::batch::<_, T>(&device, dim, samples, seed as u64).unwrap();
        let dets = Some(&mut log_dets);
        sizes.extend(&step.step(&device, &mut parameters, x.view(), mu, &mut work, dets).unwrap().step_sizes);
    }
    step.settle(&device, &mut parameters, &mut work).unwrap();
    // Nothing is left to settle.
    let settled = numbers(&device, &parameters);
    step.settle(&device, &mut parameters, &mut work).unwrap();
    assert_eq!(settled, numbers(&device, &parameters));
    let carried = log_dets.per_layer().to_vec();
    let drift = log_dets.refresh(&device, &parameters).unwrap();
    assert!(drift <= 200.0 * dim as f64 * T::EPS, "the carried log-determinants drift by {drift:e}");
    (settled, carried, sizes)
}

fn same_as_at_once<T: Scalar>() {
    // Delays beyond the dimension, batches beyond it, and counts that end amid a turn.
    for (dim, samples, delay, count) in [(1, 1, 2, 5), (3, 2, 5, 11), (17, 1, 4, 9), (20, 33, 3, 7), (260, 3, 6, 13)] {
        for mu in [0.01, 0.3] {
            let modes = BiasMode::ALL.map(|bias_mode| InPlaceStep { bias_mode, ..InPlaceStep::default() });
            let transposed = InPlaceStep { transposed: true, ..InPlaceStep::default() };
            for step in modes.into_iter().chain([transposed]) {
                let (at_once, dets, sizes) = after::<T>(step, (dim, samples), (count, mu));
                let late = after::<T>(InPlaceStep { delay, ..step }, (dim, samples), (count, mu));
                let scale = at_once.iter().fold(1.0, |most: f64, x| most.max(x.abs()));
                let close = |a: &[f64], b: &[f64], tolerance: f64| {
                    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * scale)
                };
                // The steps feed on their own rounding: a few hundred ε over a dozen.
                let tolerance = 1000.0 * T::EPS;
                assert!(close(&at_once, &late.0, tolerance), "{step:?}, {dim}×{samples}, {delay} steps, μ = {mu}");
                assert!(close(&dets, &late.1, tolerance * dim as f64) && close(&sizes, &late.2, tolerance));
            }
        }
    }
}

#[test]
fn delayed_steps_are_steps() {
    same_as_at_once::<f64>();
    same_as_at_once::<f32>();
}

/// A step below half an ulp of the weights is lost at once, and kept among others.
#[test]
fn small_steps_are_not_lost_in_the_rounding_of_the_weights() {
    let (size, steps) = ((48, 4), (120, 1e-6));
    let exact = after::<f64>(InPlaceStep::default(), size, steps).0;
    let begun = after::<f64>(InPlaceStep::default(), size, (0, 1e-6)).0;
    let error = |delay| {
        let found = after::<f32>(InPlaceStep { delay, ..InPlaceStep::default() }, size, steps).0;
        let start = after::<f32>(InPlaceStep::default(), size, (0, 1e-6)).0;
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let moves = || exact.iter().zip(&begun).map(|(a, b)| a - b);
        let errors = found.iter().zip(&start).map(|(a, b)| a - b).zip(moves()).map(|(a, b)| a - b);
        norm(&mut { errors }) / norm(&mut { moves() })
    };
    let (at_once, late) = (error(1), error(32));
    assert!(late < 0.2 * at_once, "errors of the movement: {at_once:e} at once, {late:e} with 32 steps");
}

#[test]
fn the_method_passes_its_check_and_another_coupling_refuses() {
    let workload = |architecture, batch, dtype| Workload {
        threads: 2,
        ..Workload::new(Method::RelativeDelayed, architecture, batch, dtype)
    };
    for (dim, batch) in [(4, 1), (50, 1), (200, 7), (389, 16), (1100, 2)] {
        for dtype in [Dtype::F32, Dtype::F64] {
            let mut evaluation = evaluation::prepare(&workload(architecture(dim).into(), batch, dtype)).unwrap();
            for _ in 0..2 * best_delay(dim, batch) {
                evaluation.evaluate().unwrap();
            }
            let check = evaluation.check().unwrap();
            assert!(check.passed(), "D = {dim}, N = {batch}, {dtype}: {check:?}");
        }
    }
    let convolution = CouplingKind::Convolution(Convolution { channels: 2, grid: [4, 4], kernel: [4, 4] });
    let error = evaluation::prepare(&workload(architecture(32).with(convolution), 5, Dtype::F64)).err().unwrap();
    assert!(error.to_string().contains("use `relative-inplace`"), "{error}");
}
