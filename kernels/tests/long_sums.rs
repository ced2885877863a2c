//! Means over many samples keep their digits: an f32 gradient of a large batch is as right as that of a small one.

use relgrad_kernels::backend::autodiff::{Autodiff, Jacobians, Mode};
use relgrad_kernels::backend::{GradientBackend, Ordinary, Relative, Transposed};
use relgrad_kernels::check::{self, Kind};
use relgrad_kernels::evaluation::{self, Workload};
use relgrad_kernels::parameters::Gradient;
use relgrad_kernels::{Activation, Architecture, Convolution, CouplingKind, Cpu, Dtype, Init, Method, Scalar, init};

const BATCH: usize = 300_000;
/// Of the largest entry of any array of the gradient; a sum of one term after the other is off by 1e-4 to 4e-3.
const TOLERANCE: f64 = 5e-5;

fn gradient<T: Scalar, B: GradientBackend<Cpu, T>>(backend: &B, architecture: &Architecture) -> Vec<f64> {
    let device = Cpu::new(1);
    let parameters = init::network::<_, T, _>(&device, architecture, Init::Orthogonal, 0).unwrap();
    let x = init::batch::<_, T>(&device, architecture.dim, BATCH, 0).unwrap();
    let mut workspace = backend.workspace(&device, architecture, BATCH).unwrap();
    let mut gradient = Gradient::<Cpu, T>::zeros(&device, architecture, "gradient").unwrap();
    backend.gradient(&device, &parameters, x.view(), &mut workspace, &mut gradient).unwrap();
    let arrays = gradient.weights.iter().chain(&gradient.biases);
    arrays.flat_map(|m| m.to_column_major(&device).unwrap()).map(Scalar::widen).collect()
}

fn agree<B: GradientBackend<Cpu, f32> + GradientBackend<Cpu, f64>>(name: &str, backend: &B) {
    for dim in [1, 2, 3, 5] {
        let activation = Activation::TanhLinear { alpha: 1.0, beta: 0.1 };
        let architecture = Architecture { activation, bias: true, ..Architecture::new(dim, 2) };
        let exact = gradient::<f64, B>(backend, &architecture);
        let rounded = gradient::<f32, B>(backend, &architecture);
        let scale = exact.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        let error = exact.iter().zip(&rounded).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
        assert!(error <= TOLERANCE * scale, "{name}, D = {dim}: {error:.1e} of {scale:.1e}");
    }
}

#[test]
fn gradients_of_many_samples_keep_their_digits() {
    agree("relative", &Relative::default());
    agree("transposed", &Transposed);
    agree("ordinary", &Ordinary);
    agree("autodiff", &Autodiff { jacobians: Jacobians::Batched, ..Autodiff::default() });
    agree("autodiff-reverse", &Autodiff { mode: Mode::Reverse, jacobians: Jacobians::Batched });
    agree("autodiff-streamed", &Autodiff { jacobians: Jacobians::Streamed, ..Autodiff::default() });
}

fn passes(method: Method, architecture: Architecture<CouplingKind>) {
    let (init, dtype) = (Init::Orthogonal, Dtype::F32);
    let workload = Workload { init, ..Workload::new(method, architecture, BATCH, dtype) };
    let check = evaluation::prepare(&workload).unwrap().check().unwrap();
    assert!(check.passed(), "{method}, D = {}: {check:?}", architecture.dim);
}

#[test]
fn every_right_gradient_of_many_samples_passes_its_check() {
    let activation = Activation::TanhLinear { alpha: 1.0, beta: 0.1 };
    // Carried inverses solve systems of N×N, 720 GB here.
    let carried = [Method::RelativeCarried, Method::OrdinaryCarried];
    for method in Method::ALL.into_iter().filter(|method| !carried.contains(method)) {
        for dim in [1, 3] {
            passes(method, Architecture { activation, bias: true, ..Architecture::new(dim, 2) }.into());
        }
        let architecture = Architecture::convolutional(Convolution::full(1, [1, 3]), 2);
        if method.needs_dense() {
            continue;
        }
        passes(method, Architecture { activation, bias: true, ..architecture });
    }
}

#[test]
fn a_gradient_that_is_wrong_by_a_hundredth_is_refused_at_many_samples_too() {
    let device = Cpu::new(1);
    let architecture = Architecture { bias: true, ..Architecture::new(3, 2) };
    let parameters = init::network::<_, f32, _>(&device, &architecture, Init::Orthogonal, 0).unwrap();
    let x = init::batch(&device, 3, BATCH, 0).unwrap();
    let mut workspace = Ordinary.workspace(&device, &architecture, BATCH).unwrap();
    let mut gradient = Gradient::zeros(&device, &architecture, "gradient").unwrap();
    Ordinary.gradient(&device, &parameters, x.view(), &mut workspace, &mut gradient).unwrap();
    let judge = |gradient: &Gradient<Cpu, f32>| {
        check::gradient(&device, Kind::Ordinary, &parameters, &x, gradient).unwrap().passed()
    };
    assert!(judge(&gradient));
    for at in 0..2 * architecture.layers {
        let scale = |gradient: &mut Gradient<Cpu, f32>, factor: f32| {
            let mut arrays = gradient.weights.iter_mut().chain(&mut gradient.biases);
            let array = arrays.nth(at).unwrap().view_mut().into_slice();
            array.iter_mut().for_each(|x| *x *= factor);
        };
        scale(&mut gradient, 1.01);
        assert!(!judge(&gradient), "array {at}");
        scale(&mut gradient, 1.0 / 1.01);
    }
}
