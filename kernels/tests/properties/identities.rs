//! Algebra that relates the gradients to each other and to symmetries of the model.

use nalgebra::DMatrix;
use proptest::prelude::*;
use relgrad_kernels::backend::autodiff::{Jacobians, Mode};
use relgrad_kernels::backend::{Autodiff, BiasMode, GradientBackend};
use relgrad_kernels::device::Matrix;
use relgrad_kernels::parameters::Gradient;
use relgrad_kernels::reference::Reference;
use relgrad_kernels::{Architecture, Base, Scalar, init};

use crate::support::*;

/// The relative gradients as MATH.md defines them, from the ordinary gradient of the same backends: \[M11\] = G WᵀW,
/// \[M12\] = W WᵀG, \[M13\]–\[M14\] from Ḡ W̄ᵀ W̄, less b for the paper's mode.
fn by_definition(net: &Host, ordinary: &Host, way: Way) -> Host {
    let mut expected = ordinary.clone();
    for (k, w) in net.weights.iter().enumerate() {
        let g = &ordinary.weights[k];
        let (Some(b), Some(gb)) = (net.biases.get(k), ordinary.biases.get(k)) else {
            expected.weights[k] = match way {
                Way::Transposed => w * w.transpose() * g,
                _ => g * w.transpose() * w,
            };
            continue;
        };
        (expected.weights[k], expected.biases[k]) = match way {
            Way::Transposed => (w * w.transpose() * g, w * w.transpose() * gb),
            Way::Relative(BiasMode::Plain) => (g * w.transpose() * w, gb.clone()),
            _ => {
                let share = if way == Way::Relative(BiasMode::Paper) { 1.0 } else { 0.0 };
                let weight = g * w.transpose() * w + gb * b.transpose() * w;
                (weight, g * w.transpose() * b + gb * (1.0 + b.dot(b)) - b * share)
            }
        };
    }
    expected
}

/// What [`by_definition`] loses to rounding is measured against its own terms, which cancel in the sum.
fn largest(host: &Host) -> f64 {
    let weights = host.weights.iter().map(|w| w.amax());
    weights.chain(host.biases.iter().map(|b| b.amax())).fold(1.0, f64::max)
}

proptest! {
    #![proptest_config(config(96))]

    /// Condition numbers under 4 lose at most a few of the 16 (7) digits over up to four layers.
    #[test]
    fn relative_gradients_are_products_with_the_ordinary_one(
        architecture in architectures(), batch in 1..8_usize, seed: u32,
    ) {
        fn holds<T: Scalar>(architecture: Architecture, batch: usize, seed: u64) -> Result<(), TestCaseError> {
            let net = Net::<T>::draw(architecture, batch, seed);
            let ordinary = net.gradient(Way::Ordinary).unwrap();
            let scale = 16.0 * largest(&ordinary);
            for way in WAYS.into_iter().filter(|way| matches!(way, Way::Relative(_) | Way::Transposed)) {
                let expected = by_definition(&net.host(), &ordinary, way);
                let difference = net.gradient(way).unwrap().plus(-1.0, &expected);
                let error = (difference.dot(&difference)).sqrt() / scale;
                prop_assert!(error <= per_dtype::<T>(1e-13, 1e-4), "{:?} in {}: {:e}", way, T::DTYPE, error);
            }
            Ok(())
        }
        holds::<f64>(architecture, batch, seed.into())?;
        holds::<f32>(architecture, batch, seed.into())?;
    }

    /// log|det J| of the full Jacobians is L1J + L2J, although nothing in them knows the layers' determinants.
    #[test]
    fn the_jacobian_term_of_autodiff_is_that_of_the_layers(
        architecture in architectures(), batch in 1..8_usize, seed: u32,
    ) {
        fn holds<T: Scalar>(architecture: Architecture, batch: usize, seed: u64) -> Result<(), TestCaseError> {
            let net = Net::<T>::draw(architecture, batch, seed);
            let likelihood = net.log_likelihood().unwrap();
            for (mode, jacobians) in [
                (Mode::Forward, Jacobians::Batched),
                (Mode::Forward, Jacobians::Streamed),
                (Mode::Reverse, Jacobians::Batched),
            ] {
                let backend = Autodiff { mode, jacobians };
                let mut workspace = backend.workspace(&net.device, &architecture, batch).unwrap();
                let mut out = Gradient::zeros(&net.device, &architecture, "gradient").unwrap();
                backend.gradient(&net.device, &net.parameters, net.x.view(), &mut workspace, &mut out).unwrap();
                for (ours, l1j) in workspace.log_abs_det_jacobian().iter().zip(&likelihood.l1j) {
                    // Each of the D pivots of a Jacobian of condition up to (4·20)⁴ is off by a few eps of it.
                    let error = (ours - l1j - likelihood.l2j()).abs() / (1.0 + l1j.abs());
                    prop_assert!(error <= per_dtype::<T>(1e-11, 1e-3), "{}: {:e}", T::DTYPE, error);
                }
            }
            Ok(())
        }
        holds::<f64>(architecture, batch, seed.into())?;
        holds::<f32>(architecture, batch, seed.into())?;
    }

    /// Both modes compute the same Jacobians and the same gradient.
    #[test]
    fn reverse_mode_is_forward_mode(architecture in architectures(), batch in 1..8_usize, seed: u32) {
        let net = Net::<f64>::draw(architecture, batch, seed.into());
        let dim = architecture.dim;
        let jacobians = [Mode::Forward, Mode::Reverse].map(|mode| {
            let backend = Autodiff { mode, jacobians: Jacobians::Streamed };
            let mut workspace = backend.workspace(&net.device, &architecture, batch).unwrap();
            let mut out = Matrix::zeros(&net.device, dim, dim * batch, "test").unwrap();
            workspace.jacobians(&net.device, &net.parameters, net.x.view(), &mut out).unwrap();
            wide(&out)
        });
        let [forward, reverse] = jacobians;
        prop_assert!((&forward - &reverse).norm() <= 1e-12 * forward.norm());
        for jacobians in [Jacobians::Batched, Jacobians::Streamed] {
            let forward = net.gradient(Way::Autodiff(jacobians)).unwrap();
            let error = net.gradient(Way::Pulled(jacobians)).unwrap().error(&forward);
            prop_assert!(error <= 1e-9, "{:e}", error);
        }
    }

    /// X → MX, W_1 → W_1 M⁻¹ is a change of coordinates: the directions of the layers behind it stay, that of W_1 goes
    /// to ΔW_1 M⁻¹, ℓ moves by −log|det M|. The transposed form knows W_1 only from the other side.
    #[test]
    fn the_relative_gradient_is_equivariant(
        architecture in architectures(), batch in 1..8_usize, seed: u32,
    ) {
        prop_assume!(architecture.dim > 1);
        let net = Net::<f64>::draw(architecture, batch, seed.into());
        let one_layer = Architecture { bias: false, ..Architecture::new(architecture.dim, 1) };
        let m = Net::<f64>::draw(one_layer, 1, u64::from(seed) + 77).host().weights[0].clone() * 2.0;
        let inverse = m.clone().try_inverse().unwrap();
        let mut changed = net.host();
        changed.weights[0] = &changed.weights[0] * &inverse;
        let moved = Net::<f64>::from_host(architecture, &changed, &(&m * wide(&net.x)));

        let log_det = m.lu().u().diagonal().iter().map(|u| u.abs().ln()).sum::<f64>();
        let (before, after) = (net.log_likelihood().unwrap(), moved.log_likelihood().unwrap());
        for (before, after) in before.per_sample().iter().zip(after.per_sample()) {
            prop_assert!((after - before + log_det).abs() <= 1e-11 * (1.0 + before.abs()));
        }
        for mode in BiasMode::ALL {
            let mut expected = net.gradient(Way::Relative(mode)).unwrap();
            expected.weights[0] = &expected.weights[0] * &inverse;
            let difference = moved.gradient(Way::Relative(mode)).unwrap().plus(-1.0, &expected);
            let error = difference.dot(&difference).sqrt() / (1.0 + expected.dot(&expected).sqrt());
            prop_assert!(error <= 1e-12, "{:?}: {:e}", mode, error);
        }
        let mut expected = net.gradient(Way::Transposed).unwrap();
        expected.weights[0] = &expected.weights[0] * &inverse;
        let error = moved.gradient(Way::Transposed).unwrap().error(&expected);
        prop_assert!(error > 1e-3, "the transposed form is not equivariant, yet {:e}", error);
    }

    /// Equal, symmetric densities: a permutation of the latents changes nothing, nor does a sign behind a linear layer.
    #[test]
    fn permuting_or_negating_latents_leaves_the_likelihood(
        architecture in architectures(), batch in 1..5_usize, seed: u32,
    ) {
        let net = Net::<f64>::draw(architecture, batch, seed.into());
        let (dim, last) = (architecture.dim, architecture.layers - 1);
        let u = init::uniforms(seed.into(), dim);
        let mut order: Vec<usize> = (0..dim).collect();
        order.sort_by(|&i, &j| u[i].total_cmp(&u[j]));
        let sign = |i: usize| if !architecture.last_nonlinear && u[i] < 0.5 { -1.0 } else { 1.0 };
        let permutation = DMatrix::from_fn(dim, dim, |i, j| if order[i] == j { sign(i) } else { 0.0 });
        let mut changed = net.host();
        changed.weights[last] = &permutation * &changed.weights[last];
        if architecture.bias {
            changed.biases[last] = &permutation * &changed.biases[last];
        }
        let moved = Net::<f64>::from_host(architecture, &changed, &wide(&net.x));
        let (before, after) = (net.log_likelihood().unwrap(), moved.log_likelihood().unwrap());
        for (before, after) in before.per_sample().iter().zip(after.per_sample()) {
            prop_assert!((after - before).abs() <= 1e-12 * (1.0 + before.abs()));
        }
    }

    /// The likelihood of f32 and f64 networks against nalgebra's, part by part.
    #[test]
    fn the_likelihood_agrees_with_the_reference(architecture in architectures(), batch in 1..8_usize, seed: u32) {
        fn holds<T: Scalar>(architecture: Architecture, batch: usize, seed: u64) -> Result<(), TestCaseError> {
            let net = Net::<T>::draw(architecture, batch, seed);
            let reference = Reference::from_parameters(&net.device, &net.parameters).unwrap();
            let (ours, theirs) = (net.log_likelihood().unwrap(), reference.log_likelihood(&wide(&net.x)).unwrap());
            let parts = [(&ours.lp, &theirs.lp), (&ours.l1j, &theirs.l1j)];
            for (ours, theirs) in parts.into_iter().flat_map(|(a, b)| a.iter().zip(b)) {
                let error = (ours - theirs).abs() / (1.0 + theirs.abs());
                prop_assert!(error <= per_dtype::<T>(1e-13, 1e-4), "{}: {:e}", T::DTYPE, error);
            }
            // By LU in f64, whatever the working precision.
            for (ours, theirs) in ours.l2j_per_layer.iter().zip(&theirs.l2j_per_layer) {
                prop_assert!((ours - theirs).abs() <= 1e-13 * (1.0 + theirs.abs()));
            }
            Ok(())
        }
        holds::<f64>(architecture, batch, seed.into())?;
        holds::<f32>(architecture, batch, seed.into())?;
    }
}

/// One layer, no bias, one sample, worked by hand: W = diag(2, 3), x = (1, 1), normal density.
#[test]
fn a_network_small_enough_to_work_out_by_hand() {
    let weight = DMatrix::from_row_slice(2, 2, &[2.0, 0.0, 0.0, 3.0]);
    let host = Host { weights: vec![weight], biases: Vec::new() };
    let net = Net::<f64>::from_host(Architecture::new(2, 1), &host, &DMatrix::from_element(2, 1, 1.0));
    assert_eq!(net.architecture().base, Base::Normal);
    // y = δ·(−1) = (2, 3); G = −y xᵀ + W^{-T}; ΔW = G WᵀW; W WᵀG.
    let rows = |a: [f64; 4]| Host { weights: vec![DMatrix::from_row_slice(2, 2, &a)], biases: Vec::new() };
    let cases = [
        (Way::Ordinary, rows([-1.5, -2.0, -3.0, -3.0 + 1.0 / 3.0])),
        (Way::Autodiff(Jacobians::Batched), rows([-1.5, -2.0, -3.0, -3.0 + 1.0 / 3.0])),
        (Way::Relative(BiasMode::Exact), rows([-6.0, -18.0, -12.0, -24.0])),
        (Way::Transposed, rows([-6.0, -8.0, -27.0, -24.0])),
    ];
    for (way, expected) in cases {
        assert!(net.gradient(way).unwrap().error(&expected) <= 1e-15, "{way:?}");
    }
    let expected = -(std::f64::consts::TAU).ln() - 6.5 + 6.0_f64.ln();
    assert!((net.log_likelihood().unwrap().mean() - expected).abs() <= 1e-15 * expected.abs() * 4.0);
}
