//! Ordinary steps by a sketch of the inverse: right in the mean, with an inverse that stays one.

use nalgebra::DMatrix;
use relgrad_kernels::backend::{GradientBackend, Ordinary};
use relgrad_kernels::device::{Device, Matrix, MatrixRef};
use relgrad_kernels::likelihood::log_abs_dets;
use relgrad_kernels::optimizer::plain_step;
use relgrad_kernels::parameters::{Gradient, Parameters};
use relgrad_kernels::stateful::{Control, Design, OrdinaryCarried, Sketch, Stateful};
use relgrad_kernels::{Activation, Architecture, Cpu, Init, Scalar, init};

fn architecture(dim: usize, layers: usize) -> Architecture {
    let activation = Activation::TanhLinear { alpha: 1.0, beta: 0.1 };
    Architecture { activation, bias: true, ..Architecture::new(dim, layers) }
}

/// Not of orthogonal columns, which [`Control::Columns`] would leave nothing to sketch of.
fn start<T: Scalar>(device: &Cpu, architecture: &Architecture) -> Parameters<Cpu, T> {
    init::network(device, architecture, Init::ScaledGaussian, 2).unwrap()
}

/// Well conditioned; its columns are orthogonal.
fn easy<T: Scalar>(device: &Cpu, architecture: &Architecture) -> Parameters<Cpu, T> {
    init::network(device, architecture, Init::Conditioned, 2).unwrap()
}

fn batch<T: Scalar>(device: &Cpu, (dim, samples): (usize, usize), seed: usize) -> Matrix<Cpu, T> {
    init::batch(device, dim, samples, seed as u64).unwrap()
}

fn wide<T: Scalar>(device: &Cpu, view: MatrixRef<'_, Cpu, T>) -> DMatrix<f64> {
    let (rows, cols) = view.shape();
    DMatrix::from_vec(rows, cols, device.to_host(view).unwrap().into_iter().map(Scalar::widen).collect())
}

fn weights<T: Scalar>(device: &Cpu, parameters: &Parameters<Cpu, T>) -> Vec<DMatrix<f64>> {
    (0..parameters.architecture().layers).map(|k| wide(device, parameters.weight(k))).collect()
}

fn gradient<T: Scalar>(device: &Cpu, parameters: &Parameters<Cpu, T>, x: &Matrix<Cpu, T>) -> Gradient<Cpu, T> {
    let mut out = Gradient::zeros(device, parameters.architecture(), "gradient").unwrap();
    let mut work =
        GradientBackend::<Cpu, T>::workspace(&Ordinary, device, parameters.architecture(), x.cols()).unwrap();
    Ordinary.gradient(device, parameters, x.view(), &mut work, &mut out).unwrap();
    out
}

/// All subsets of `count` numbers below `dim`.
fn subsets(dim: usize, count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let last = |last: usize| {
        subsets(last, count - 1).into_iter().map(move |mut all| {
            all.push(last);
            all
        })
    };
    (0..dim).flat_map(last).collect()
}

/// The mean of W' over steps at each of some choices of coordinates, from the same network.
fn mean_step(control: Control, choices: &[Vec<usize>]) -> (Vec<DMatrix<f64>>, Vec<DMatrix<f64>>) {
    const MU: f64 = 0.05;
    let (device, architecture) = (Cpu::new(1), architecture(6, 2));
    let x = batch::<f64>(&device, (6, 4), 1);
    let exact = start::<f64>(&device, &architecture);
    let gradient = gradient(&device, &exact, &x);
    let before = weights(&device, &exact);
    let expected = before.iter().zip(&gradient.weights).map(|(w, g)| w + MU * wide(&device, g.view())).collect();
    let mut sums = vec![DMatrix::zeros(6, 6); 2];
    for chosen in choices {
        let mut parameters = start::<f64>(&device, &architecture);
        let sketch = Sketch { coordinates: Some(chosen.len()), control, guard: false, ..Sketch::default() };
        let mut carried = OrdinaryCarried::new(&device, &parameters, (4, 0), sketch).unwrap();
        let given = vec![chosen.clone(); 2];
        carried.step_at(&device, &mut parameters, x.view().into(), MU, &given).unwrap();
        for (sum, weight) in sums.iter_mut().zip(weights(&device, &parameters)) {
            *sum += weight / choices.len() as f64;
        }
    }
    (sums, expected)
}

/// E W' = W + μG over all choices of m coordinates, and over the blocks of any partition.
#[test]
fn the_mean_step_is_that_of_the_ordinary_gradient() {
    for control in Control::ALL {
        for choices in [subsets(6, 1), subsets(6, 2), subsets(6, 6), vec![vec![3, 0], vec![5, 1], vec![2, 4]]] {
            let (found, expected) = mean_step(control, &choices);
            for (found, expected) in found.iter().zip(&expected) {
                let error = (found - expected).abs().max();
                assert!(error < 1e-14 * 10.0, "{control}, {} choices: {error:e}", choices.len());
            }
        }
    }
    // One choice alone is off, unless it has all coordinates.
    let (found, expected) = mean_step(Control::None, &[vec![1, 4]]);
    assert!((&found[0] - &expected[0]).abs().max() > 1e-3);
}

/// Of the coordinates that the method draws itself: a sum over all entries, each with a random weight, has a z-score.
#[test]
fn drawn_coordinates_are_unbiased() {
    const DRAWS: usize = 1_000;
    let (device, architecture) = (Cpu::new(1), architecture(10, 1));
    let x = batch::<f64>(&device, (10, 5), 1);
    let exact = start::<f64>(&device, &architecture);
    let gradient = wide(&device, gradient(&device, &exact, &x).weights[0].view());
    let before = weights(&device, &exact).remove(0);
    let random = DMatrix::from_vec(10, 10, init::normals(3, 100));
    let mu = 1e-3;
    for design in Design::ALL {
        for control in Control::ALL {
            let mut sums = [0.0, 0.0];
            for seed in 0..DRAWS {
                let mut parameters = start::<f64>(&device, &architecture);
                let sketch = Sketch { coordinates: Some(3), design, control, guard: false };
                let mut carried = OrdinaryCarried::new(&device, &parameters, (5, seed as u64), sketch).unwrap();
                carried.step(&device, &mut parameters, x.view().into(), mu).unwrap();
                let moved = (weights(&device, &parameters).remove(0) - &before) / mu;
                let off = (moved - &gradient).dot(&random);
                sums[0] += off;
                sums[1] += off * off;
            }
            let n = DRAWS as f64;
            let (mean, square) = (sums[0] / n, sums[1] / n);
            let z = mean / ((square - mean * mean) / n).sqrt();
            assert!(z.abs() < 4.0 && square > 1e-3, "{design}, {control}: z = {z}");
        }
    }
}

fn state_follows<T: Scalar>(control: Control, design: Design) {
    let device = Cpu::new(2);
    for (dim, samples, coordinates, layers) in [
        (1, 1, None, 2),
        (2, 5, None, 3),
        (7, 3, Some(2), 1),
        (20, 33, None, 2),
        (64, 16, None, 2),
        (150, 9, Some(20), 2),
    ] {
        let architecture = architecture(dim, layers);
        let mut parameters = easy::<T>(&device, &architecture);
        let sketch = Sketch { coordinates, control, design, guard: true };
        let mut carried = OrdinaryCarried::new(&device, &parameters, (samples, 5), sketch).unwrap();
        for seed in 0..30 {
            let x = batch::<T>(&device, (dim, samples), seed);
            carried.step(&device, &mut parameters, x.view().into(), 0.01).unwrap();
        }
        let exact = log_abs_dets(&device, &parameters).unwrap();
        for (k, weight) in weights(&device, &parameters).into_iter().enumerate() {
            let inverse = weight.try_inverse().unwrap();
            let found = wide(&device, carried.inverse_transposed(k)).transpose();
            let error = (found - &inverse).abs().max() / inverse.abs().max();
            let off = (carried.log_abs_dets().unwrap()[k] - exact[k]).abs() / exact[k].abs().max(1.0);
            let told = format!("{control}, {design}, {dim}×{samples}");
            assert!(
                error < 1000.0 * T::EPS && off < 1000.0 * T::EPS,
                "{told}: R off by {error:e}, log|det| by {off:e}"
            );
        }
    }
}

#[test]
fn inverse_and_log_determinant_are_those_of_the_weights() {
    for control in Control::ALL {
        for design in Design::ALL {
            state_follows::<f64>(control, design);
            state_follows::<f32>(control, design);
        }
    }
}

#[test]
fn rounding_stays_bounded_in_a_training() {
    let (device, architecture) = (Cpu::new(2), architecture(64, 2));
    let mut parameters = easy::<f32>(&device, &architecture);
    let mut carried = OrdinaryCarried::new(&device, &parameters, (16, 1), Sketch::default()).unwrap();
    let mut worst = 0.0_f64;
    for seed in 0..1000 {
        let x = batch::<f32>(&device, (64, 16), seed);
        carried.step(&device, &mut parameters, x.view().into(), 1e-3).unwrap();
        if seed % 100 == 99 {
            worst = worst.max(carried.inverse_error(&device, &parameters).unwrap().unwrap());
        }
    }
    assert!(worst < 1e-4, "‖RW − I‖_F/√D reached {worst:e}");
    let exact = log_abs_dets(&device, &parameters).unwrap();
    for (found, exact) in carried.log_abs_dets().unwrap().iter().zip(exact) {
        assert!((found - exact).abs() < 1e-3, "log|det W| {found}, {exact} by LU");
    }
}

/// The guard is by a norm, not by a sign: two changes of sign leave a determinant positive.
#[test]
fn the_guard_keeps_every_layer_invertible() {
    let device = Cpu::new(1);
    for dim in [2, 9, 40] {
        let architecture = Architecture { bias: true, ..Architecture::new(dim, 2) };
        let mut parameters = easy::<f64>(&device, &architecture);
        let mut carried = OrdinaryCarried::new(&device, &parameters, (6, 3), Sketch::default()).unwrap();
        for seed in 0..20 {
            let before = weights(&device, &parameters);
            let x = batch::<f64>(&device, (dim, 6), seed);
            let report = carried.step(&device, &mut parameters, x.view().into(), 10.0).unwrap().clone();
            assert!(report.step_sizes.iter().zip(&report.rho).all(|(mu, tau)| *mu < 10.0 && mu * tau < 0.51));
            for (before, after) in before.iter().zip(weights(&device, &parameters)) {
                // W' = (I + E)W with ‖E‖ = τ < 1, or W(I + E).
                let change = before.clone().try_inverse().unwrap() * &after;
                let values = change.clone().singular_values();
                assert!(values.min() > 0.3 && values.max() < 1.7, "{dim}: {values}");
                assert!(change.determinant() > 0.0);
            }
        }
    }
}

/// How far steps at m coordinates get from those of the exact gradient, relative to the way: over a sweep the noise
/// cancels, over independent draws it does not. `--nocapture` shows the table.
#[test]
fn a_sweep_is_closer_to_the_exact_flow_than_independent_draws() {
    const STEPS: usize = 100;
    const DIM: usize = 32;
    let (device, architecture) = (Cpu::new(2), architecture(DIM, 1));
    let x = batch::<f64>(&device, (DIM, 64), 1);
    let mu = 2e-3;
    let mut exact = easy::<f64>(&device, &architecture);
    let begun = weights(&device, &exact).remove(0);
    for _ in 0..STEPS {
        let direction = gradient(&device, &exact, &x);
        plain_step(&device, &mut exact, &direction, mu).unwrap();
    }
    let end = weights(&device, &exact).remove(0);
    let distance = |coordinates, design, control| {
        let mut squares = 0.0;
        for seed in 0..4 {
            let mut parameters = easy::<f64>(&device, &architecture);
            let sketch = Sketch { coordinates: Some(coordinates), design, control, guard: false };
            let mut carried = OrdinaryCarried::new(&device, &parameters, (64, seed), sketch).unwrap();
            for _ in 0..STEPS {
                carried.step(&device, &mut parameters, x.view().into(), mu).unwrap();
            }
            squares += (weights(&device, &parameters).remove(0) - &end).norm_squared() / 4.0;
        }
        squares.sqrt() / (&end - &begun).norm()
    };
    for coordinates in [2, 4, 8, 16, 32] {
        let [a, b, d] = [
            (Design::Sweep, Control::None),
            (Design::Independent, Control::None),
            (Design::Independent, Control::Columns),
        ]
        .map(|(design, control)| distance(coordinates, design, control));
        if coordinates == DIM {
            assert!(a < 1e-10 && b < 1e-10, "all coordinates are the exact gradient");
        } else {
            assert!(a < 0.5 * b, "m = {coordinates}: {a} with a sweep, {b} with independent draws");
            assert!(d < b, "m = {coordinates}: {d} of the columns' error, {b} of all");
        }
    }
}

#[test]
fn coordinates_that_do_not_fit_are_refused() {
    let (device, architecture) = (Cpu::new(1), architecture(5, 1));
    let mut parameters = start::<f64>(&device, &architecture);
    let sketch = Sketch { coordinates: Some(2), ..Sketch::default() };
    let mut carried = OrdinaryCarried::new(&device, &parameters, (3, 0), sketch).unwrap();
    let x = batch::<f64>(&device, (5, 3), 1);
    for wrong in [vec![], vec![vec![0]], vec![vec![0, 5]], vec![vec![3, 3]], vec![vec![0, 1], vec![2, 3]]] {
        let told = carried.step_at(&device, &mut parameters, x.view().into(), 0.1, &wrong).unwrap_err().to_string();
        assert!(told.contains("2 different coordinates below 5"), "{told}");
    }
    assert!(carried.set_direction(&device, 0, x.view().columns(0, 1)).is_err());
}
