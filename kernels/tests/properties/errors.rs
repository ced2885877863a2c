//! Numbers that no gradient can be made of: an error that says so, never a panic, never a number.

use nalgebra::DMatrix;
use relgrad_kernels::backend::autodiff::Jacobians;
use relgrad_kernels::evaluation::{Workload, prepare};
use relgrad_kernels::inversion::Inverter;
use relgrad_kernels::step::{InPlaceStep, LogDets};
use relgrad_kernels::{Activation, Architecture, Base, Cpu, Dtype, Error, Init, Method, Scalar, init};

use crate::support::*;

fn architecture() -> Architecture {
    Architecture { bias: true, ..Architecture::new(5, 3) }
}

/// Where a bad number is put.
#[derive(Debug, Clone, Copy)]
enum Place {
    Batch,
    Weight(usize),
    Bias(usize),
}

fn spoiled<T: Scalar>(architecture: Architecture, place: Place, value: f64) -> Net<T> {
    let net = Net::<T>::draw(architecture, 4, 3);
    let (mut host, mut x) = (net.host(), wide(&net.x));
    match place {
        Place::Batch => x[(2, 1)] = value,
        Place::Weight(k) => host.weights[k][(1, 3)] = value,
        Place::Bias(k) => host.biases[k][4] = value,
    }
    Net::from_host(architecture, &host, &x)
}

#[test]
fn numbers_that_are_not_finite_are_refused_everywhere() {
    fn refused<T: Scalar>() {
        let places = (0..3).flat_map(|k| [Place::Weight(k), Place::Bias(k)]).chain([Place::Batch]);
        for place in places {
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                for activation in [
                    Activation::SmoothLeaky { alpha: 0.3 },
                    Activation::SmoothLeaky { alpha: 1.0 },
                    Activation::TanhLinear { alpha: 1.0, beta: 0.1 },
                ] {
                    for last_nonlinear in [false, true] {
                        let architecture = Architecture { activation, last_nonlinear, ..architecture() };
                        let mut net = spoiled::<T>(architecture, place, value);
                        let non_finite = |what: &str, error: Option<Error>| {
                            let right = matches!(error, Some(Error::NonFinite { .. }));
                            assert!(right, "{what}, {place:?} = {value}, {activation:?}: {error:?}");
                        };
                        for way in WAYS {
                            non_finite(&format!("{way:?}"), net.gradient(way).err());
                        }
                        non_finite("log-likelihood", net.log_likelihood().err());
                        let step = InPlaceStep::default();
                        let mut workspace = step.workspace(&net.device, &architecture, 4).unwrap();
                        let before = format!("{:?}", net.host());
                        let Net { device, parameters, x } = &mut net;
                        let result = step.step(device, parameters, x.view(), 0.1, &mut workspace, None);
                        non_finite("step", result.err());
                        assert_eq!(before, format!("{:?}", net.host()), "a refused step changed the network");
                    }
                }
            }
        }
    }
    refused::<f64>();
    refused::<f32>();
}

/// A weight of rank D−1: exactly, by a zero row or column or by equal rows of small integers, and up to rounding.
fn singular_weights(dim: usize) -> Vec<(&'static str, DMatrix<f64>)> {
    let full = DMatrix::from_fn(dim, dim, |i, j| if i == j { 3.0 } else { ((i + 2 * j) % 4) as f64 - 1.0 });
    let (mut row, mut column, mut equal) = (full.clone(), full.clone(), full.clone());
    row.row_mut(1).fill(0.0);
    column.column_mut(dim - 1).fill(0.0);
    equal.set_row(0, &full.row(dim - 1));
    vec![("zero", DMatrix::zeros(dim, dim)), ("zero row", row), ("zero column", column), ("equal rows", equal)]
}

#[test]
fn singular_weights_are_named_where_an_inverse_is_needed_and_harmless_elsewhere() {
    fn holds<T: Scalar>() {
        for dim in [2, 5, 33] {
            for (kind, singular) in singular_weights(dim) {
                for layer in 0..3 {
                    // s_L with a linear last layer: a zero weight leaves finite values everywhere.
                    let architecture = Architecture { bias: true, ..Architecture::new(dim, 3) };
                    let drawn = Net::<T>::draw(architecture, 4, 3);
                    let mut host = drawn.host();
                    host.weights[layer] = singular.clone();
                    let net = Net::<T>::from_host(architecture, &host, &wide(&drawn.x));
                    assert_singular(&net, kind, layer);
                }
            }
        }
    }
    fn assert_singular<T: Scalar>(net: &Net<T>, kind: &str, layer: usize) {
        let dim = net.architecture().dim;
        let what = format!("{kind} in layer {}, D = {dim}, {}", layer + 1, T::DTYPE);
        let named = |operation: &str, error: Option<Error>, name: &str| match error {
            Some(Error::Singular { matrix, condition }) => {
                assert!(matrix.starts_with(name), "{what}: {operation} names {matrix}");
                assert!(condition > 1e6 || condition.is_nan(), "{what}: {operation} says condition {condition}");
            }
            other => panic!("{what}: {operation} gave {other:?}"),
        };
        let weight = format!("weight of layer {}", layer + 1);
        named("ordinary", net.gradient(Way::Ordinary).err(), &weight);
        named("log-likelihood", net.log_likelihood().err(), &weight);
        named("log-determinants", LogDets::new(&net.device, &net.parameters, 4).err(), &weight);
        named("inverter", Inverter::new(&net.device, &net.parameters).err(), &weight);
        for jacobians in [Jacobians::Batched, Jacobians::Streamed] {
            named("autodiff", net.gradient(Way::Autodiff(jacobians)).err(), "Jacobian of sample ");
        }
        for way in WAYS.into_iter().filter(|way| matches!(way, Way::Relative(_) | Way::Transposed)) {
            let gradient = net.gradient(way).unwrap_or_else(|error| panic!("{what}: {way:?} gave {error}"));
            assert!(gradient.weights.iter().all(|w| w.iter().all(|x| x.is_finite())), "{what}: {way:?}");
        }
    }
    holds::<f64>();
    holds::<f32>();
}

/// Rank D−1 up to rounding: a product through D−1 dimensions. The smallest pivot is noise, so that chance decides
/// whether the condition passes D/eps; a gradient that does come out shows by its size that it is worth nothing.
#[test]
fn weights_that_are_singular_up_to_rounding_are_refused_or_show() {
    fn refused<T: Scalar>() -> usize {
        let mut refused = 0;
        for dim in [3, 8, 20, 50] {
            for seed in 0..20 {
                let net = Net::<T>::draw(Architecture::new(dim, 2), 3, seed);
                let mut host = net.host();
                let thin = host.weights[0].columns(0, dim - 1).into_owned();
                host.weights[1] = &thin * thin.transpose();
                let net = Net::<T>::from_host(net.architecture(), &host, &wide(&net.x));
                for way in [Way::Ordinary, Way::Autodiff(Jacobians::Batched)] {
                    match net.gradient(way) {
                        Err(Error::Singular { .. }) => refused += 1,
                        Err(other) => panic!("{way:?}: {other}"),
                        Ok(gradient) => assert!(gradient.weights[1].amax() * T::EPS * dim as f64 > 0.01),
                    }
                }
            }
        }
        refused
    }
    // Of 160 each; 146 and 152 when this was written.
    assert!(refused::<f64>() >= 120 && refused::<f32>() >= 120);
}

#[test]
fn undefined_architectures_are_refused() {
    let bad = [
        Architecture { dim: 0, ..architecture() },
        Architecture { layers: 0, ..architecture() },
        Architecture { activation: Activation::SmoothLeaky { alpha: 0.0 }, ..architecture() },
        Architecture { activation: Activation::SmoothLeaky { alpha: -0.5 }, ..architecture() },
        Architecture { activation: Activation::SmoothLeaky { alpha: 1.0 + 1e-9 }, ..architecture() },
        Architecture { activation: Activation::SmoothLeaky { alpha: f64::NAN }, ..architecture() },
        Architecture { activation: Activation::TanhLinear { alpha: 0.0, beta: 1.0 }, ..architecture() },
        Architecture { activation: Activation::TanhLinear { alpha: 1.0, beta: 0.0 }, ..architecture() },
        Architecture { activation: Activation::TanhLinear { alpha: f64::INFINITY, beta: 1.0 }, ..architecture() },
        Architecture { base: Base::Sech { c: 0.0 }, ..architecture() },
        Architecture { base: Base::Sech { c: f64::NAN }, ..architecture() },
    ];
    for architecture in bad {
        for method in Method::ALL {
            let result = prepare(&workload(method, architecture, 4)).err();
            assert!(matches!(result, Some(Error::InvalidParameter { .. })), "{method}, {architecture:?}: {result:?}");
        }
        let net = Net::<f64>::draw(self::architecture(), 4, 1);
        for way in WAYS {
            let mut out = relgrad_kernels::parameters::Gradient::zeros(&net.device, &net.architecture(), "g").unwrap();
            let result = net.gradient_with(way, &architecture, 4, &mut out).err();
            assert!(matches!(result, Some(Error::InvalidParameter { .. })), "{way:?}, {architecture:?}: {result:?}");
        }
    }
}

fn workload(method: Method, architecture: Architecture, batch: usize) -> Workload {
    Workload { init: Init::Orthogonal, threads: 2, seed: 1, ..Workload::new(method, architecture, batch, Dtype::F32) }
}

#[test]
fn an_empty_batch_is_refused() {
    for method in Method::ALL {
        let error = prepare(&workload(method, architecture(), 0)).err();
        assert!(matches!(error, Some(Error::InvalidParameter { name: "batch", .. })), "{method}: {error:?}");
    }
}

/// Parameters that f64 holds and f32 does not.
#[test]
fn parameters_lost_in_single_precision_are_refused() {
    let activation = Activation::SmoothLeaky { alpha: 1e-60 };
    let architecture = Architecture { activation, ..architecture() };
    for way in WAYS {
        let error = Net::<f32>::draw(architecture, 3, 1).gradient(way).err();
        assert!(matches!(error, Some(Error::InvalidParameter { .. })), "{way:?}: {error:?}");
    }
}

#[test]
fn step_sizes_must_be_positive_and_finite() {
    for mu in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        let mut net = Net::<f64>::draw(architecture(), 3, 1);
        let step = InPlaceStep::default();
        let mut workspace = step.workspace(&net.device, &net.architecture(), 3).unwrap();
        let Net { device, parameters, x } = &mut net;
        let error = step.step(device, parameters, x.view(), mu, &mut workspace, None).err();
        assert!(matches!(error, Some(Error::InvalidParameter { name: "mu", .. })), "{mu}: {error:?}");
    }
}

/// D² numbers of 10⁷ exceed the address space, so that no machine has them; so do the batches.
#[test]
fn sizes_beyond_memory_are_an_error() {
    const HUGE: usize = 10_000_000;
    for method in Method::ALL {
        for dtype in Dtype::ALL {
            let workload = Workload { dtype, ..workload(method, Architecture::new(HUGE, 2), 1) };
            let error = prepare(&workload).err();
            assert!(matches!(error, Some(Error::OutOfMemory { .. })), "{method}: {error:?}");
        }
    }
    for (dim, batch) in [(3, usize::MAX), (3, usize::MAX / 4), (1, usize::MAX / 2), (1, 1 << 60)] {
        for method in Method::ALL {
            let error = prepare(&workload(method, Architecture::new(dim, 2), batch)).err();
            assert!(matches!(error, Some(Error::OutOfMemory { .. })), "{method}, {dim}×{batch}: {error:?}");
        }
        // The workspace by itself, which need not wait for a batch.
        let net = Net::<f32>::draw(Architecture::new(dim, 2), 1, 1);
        for way in WAYS {
            let mut out = relgrad_kernels::parameters::Gradient::zeros(&net.device, &net.architecture(), "g").unwrap();
            let error = net.gradient_with(way, &net.architecture(), batch, &mut out).err();
            assert!(matches!(error, Some(Error::OutOfMemory { .. })), "{way:?}, {dim}×{batch}: {error:?}");
        }
        let step = InPlaceStep::default().workspace::<_, f32, _>(&Cpu::new(1), &net.architecture(), batch).err();
        assert!(matches!(step, Some(Error::OutOfMemory { .. })), "step, {dim}×{batch}: {step:?}");
    }
    let error = init::batch::<_, f32>(&Cpu::new(1), HUGE, HUGE, 1).err();
    assert!(matches!(error, Some(Error::OutOfMemory { .. })));
}

/// Latents that are not finite, or of the wrong number; a network without an inverse in sight of f64's range.
#[test]
fn inversion_refuses_what_it_cannot_invert() {
    let net = Net::<f64>::draw(architecture(), 3, 1);
    let inverter = Inverter::new(&net.device, &net.parameters).unwrap();
    for value in [f64::NAN, f64::INFINITY, f64::MAX] {
        let mut s = vec![0.5; 10];
        s[7] = value;
        let error = inverter.invert(&mut s).err();
        assert!(matches!(error, Some(Error::NonFinite { .. })), "{value}: {error:?}");
    }
    let error = inverter.invert(&mut [0.5; 7]).err();
    assert!(matches!(error, Some(Error::ShapeMismatch { .. })), "{error:?}");
    assert_eq!(inverter.invert(&mut []), Ok(()));
    assert_eq!(inverter.sample(0, 1), Ok(Vec::new()));
}
