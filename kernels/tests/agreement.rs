//! Every method, in both precisions, against computations that share no code with it.

use relgrad_kernels::evaluation::{Workload, prepare};
use relgrad_kernels::{Activation, Architecture, Base, Dtype, Init, Method};

/// Sizes on both sides of the blocks of vectors, tiles and chunks, and of the switch from the reference to the probe.
const DIMS: [usize; 12] = [1, 2, 3, 15, 16, 17, 31, 33, 64, 127, 129, 257];

fn workload(method: Method, dim: usize, dtype: Dtype) -> Workload {
    Workload {
        method,
        architecture: Architecture::new(dim, 2),
        init: Init::Orthogonal,
        batch: 10,
        dtype,
        threads: 2,
        seed: 7,
    }
}

fn assert_passes(workload: &Workload) {
    let check = prepare(workload).unwrap().check().unwrap();
    assert!(check.passed(), "{workload:?}: {check:?}");
}

#[test]
fn every_method_agrees_at_every_size() {
    for method in Method::ALL {
        for dim in DIMS {
            for dtype in Dtype::ALL {
                assert_passes(&workload(method, dim, dtype));
            }
        }
    }
}

#[test]
fn every_method_agrees_for_every_architecture() {
    let activations = [
        Activation::SmoothLeaky { alpha: 0.3 },
        Activation::SmoothLeaky { alpha: 1.0 },
        Activation::TanhLinear { alpha: 1.0, beta: 0.1 },
    ];
    let bases = [Base::Normal, Base::SECH, Base::Sech { c: 1.0 }, Base::Logistic, Base::Laplace];
    for method in Method::ALL {
        for (i, activation) in activations.into_iter().enumerate() {
            for (j, base) in bases.into_iter().enumerate() {
                for layers in [1, 2, 3, 4] {
                    // Every architecture at a size for the reference, and at one for the probe.
                    for dim in [9, 130] {
                        let last_nonlinear = (i + j + layers) % 2 == 0;
                        let bias = (j + layers) % 2 == 0;
                        let mut workload = workload(method, dim, Dtype::F64);
                        workload.architecture = Architecture {
                            layers,
                            activation,
                            base,
                            last_nonlinear,
                            bias,
                            ..workload.architecture
                        };
                        assert_passes(&workload);
                    }
                }
            }
        }
    }
}

/// Where W Wᵀ = I the relative, the transposed and the ordinary gradient are the same, and a missing factor W does not
/// show: weights of condition ~ D as well, in f64, whose sixteen digits leave more than the ten of the check.
#[test]
fn every_method_agrees_where_weights_are_not_orthogonal() {
    for method in Method::ALL {
        for dim in [1, 2, 9, 33, 100, 130, 257] {
            for bias in [false, true] {
                let mut workload = workload(method, dim, Dtype::F64);
                workload.architecture.bias = bias;
                assert_passes(&Workload { init: Init::ScaledGaussian, ..workload });
            }
        }
    }
}

/// Batches of one, of fewer than a chunk, and with a remainder after the last whole chunk; one thread and several.
#[test]
fn every_method_agrees_for_every_batch_and_thread_count() {
    for method in Method::ALL {
        for (dim, batch) in [(5, 1), (40, 3), (40, 101), (600, 11)] {
            for threads in [1, 2, 3] {
                assert_passes(&Workload { batch, threads, ..workload(method, dim, Dtype::F64) });
            }
        }
    }
}

/// The checks themselves: a gradient that is off by a factor, or in one entry of one array, does not pass.
#[test]
fn a_wrong_gradient_is_noticed() {
    use relgrad_kernels::backend::{GradientBackend, Ordinary, Relative, Transposed};
    use relgrad_kernels::check::{Kind, gradient};
    use relgrad_kernels::parameters::Gradient;
    use relgrad_kernels::{Cpu, init};

    fn broken<B: GradientBackend<Cpu, f64>>(backend: &B, kind: Kind, dim: usize, layer: usize, bias: bool) {
        let device = Cpu::new(1);
        let architecture = Architecture { bias: true, ..Architecture::new(dim, 3) };
        let parameters = init::network(&device, &architecture, Init::Orthogonal, 3).unwrap();
        let x = init::batch(&device, dim, 8, 3).unwrap();
        let mut out = Gradient::zeros(&device, &architecture, "gradient").unwrap();
        let mut workspace = backend.workspace(&device, &architecture, 8).unwrap();
        backend.gradient(&device, &parameters, x.view(), &mut workspace, &mut out).unwrap();
        assert!(gradient(&device, kind, &parameters, &x, &out).unwrap().passed());
        let array = if bias { &mut out.biases[layer] } else { &mut out.weights[layer] };
        let slice = array.view_mut().into_slice();
        slice[slice.len() / 2] += 0.01;
        let check = gradient(&device, kind, &parameters, &x, &out).unwrap();
        assert!(!check.passed(), "{kind:?}, D = {dim}, layer {layer}: {check:?}");
    }

    for dim in [20, 200] {
        for layer in 0..3 {
            for bias in [false, true] {
                broken(&Relative::default(), Kind::Relative, dim, layer, bias);
                broken(&Transposed, Kind::Transposed, dim, layer, bias);
                broken(&Ordinary, Kind::Ordinary, dim, layer, bias);
            }
        }
    }
}
