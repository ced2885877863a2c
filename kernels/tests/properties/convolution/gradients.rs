//! The gradients are derivatives, and the directions ascend.

use proptest::prelude::*;
use relgrad_kernels::layer::Spectral;
use relgrad_kernels::reference::Direction;
use relgrad_kernels::{Method, init};

use super::support::*;

const EXACT: [Way; 3] = [ORDINARY, Way::Named(Method::Autodiff), Way::Named(Method::AutodiffStreamed)];

/// A random direction of norm 1 in the space of the parameters.
fn direction(like: &Host, seed: u64) -> Host {
    let mut source = init::normals(seed, 4096).into_iter();
    let mut fill = |arrays: &[Vec<f64>]| -> Vec<Vec<f64>> {
        arrays.iter().map(|a| a.iter().map(|_| source.next().unwrap()).collect()).collect()
    };
    let direction = Host { kernels: fill(&like.kernels), biases: fill(&like.biases) };
    let norm = direction.dot(&direction).sqrt();
    direction.plus(1.0 / norm - 1.0, &direction)
}

/// (d/dt) of the mean log-likelihood at θ + t·direction, to fourth order in h.
fn difference_quotient(net: &Net<f64>, along: &Host) -> f64 {
    let x = wide(&net.x);
    let value = |t: f64| {
        let moved = Net::<f64>::from_host(net.architecture, &net.host().plus(t, along), &x);
        moved.log_likelihood().unwrap().mean()
    };
    let central = |h: f64| (value(h) - value(-h)) / (2.0 * h);
    (4.0 * central(5e-4) - central(1e-3)) / 3.0
}

/// What a dense direction becomes on kernels and biases.
fn project_all(net: &Net<f64>, dense: &Direction, mean: bool) -> Host {
    let (convolution, points) = (net.convolution(), net.convolution().points());
    let share = if mean { points as f64 } else { 1.0 };
    let bias = |b: &[f64]| b.chunks(points).map(|channel| channel.iter().sum::<f64>() / share).collect();
    Host {
        kernels: dense.weights.iter().map(|w| project(convolution, w, mean)).collect(),
        biases: dense.biases.iter().map(|b| bias(b.as_slice())).collect(),
    }
}

proptest! {
    #![proptest_config(config(64))]

    /// Truncation h⁴ ≈ 1e-12 times a fifth derivative, rounding eps·|ℓ|/h ≈ 1e-11·D; all kernels are far from singular.
    #[test]
    fn ordinary_and_autodiff_are_the_derivatives(architecture in architectures(), batch in 1..5_usize, seed: u32) {
        let net = Net::<f64>::draw(architecture, batch, seed.into());
        let along = direction(&net.host(), u64::from(seed) + 9);
        let quotient = difference_quotient(&net, &along);
        for way in EXACT {
            let gradient = net.gradient(way).unwrap();
            let scale = gradient.dot(&gradient).sqrt().max(1.0);
            let error = (quotient - gradient.dot(&along)).abs() / scale;
            prop_assert!(error < 1e-6, "{:?} of {:?}: {:e}", way, architecture, error);
        }
    }

    /// The dense reference knows nothing of Fourier transforms; the chain rule sums its entries.
    #[test]
    fn all_agree_with_the_block_circulant_reference(architecture in architectures(), batch in 1..5_usize, seed: u32) {
        fn holds<T: Spectral>(
            architecture: Network, batch: usize, seed: u64,
        ) -> Result<(), TestCaseError> {
            let net = Net::<T>::draw(architecture, batch, seed);
            let double = Net::<f64>::from_host(architecture, &net.host(), &wide(&net.x));
            let expected = project_all(&double, &double.reference().ordinary(&wide(&net.x)).unwrap(), false);
            for way in EXACT {
                let error = net.gradient(way).unwrap().error(&expected);
                prop_assert!(error <= per_dtype::<T>(1e-12, 1e-4), "{:?} in {}: {:e}", way, T::DTYPE, error);
            }
            let ours = net.log_likelihood().unwrap();
            let theirs = double.reference().log_likelihood(&wide(&net.x)).unwrap();
            for (a, b) in ours.per_sample().iter().zip(theirs.per_sample()) {
                prop_assert!((a - b).abs() <= per_dtype::<T>(1e-12, 1e-4) * (1.0 + b.abs()));
            }
            // By LU of D×D in one case, by n LUs of c×c in the other.
            for (a, b) in ours.l2j_per_layer.iter().zip(&theirs.l2j_per_layer) {
                prop_assert!((a - b).abs() <= 1e-12 * (1.0 + b.abs()), "{} {}", a, b);
            }
            Ok(())
        }
        holds::<f64>(architecture, batch, seed.into())?;
        holds::<f32>(architecture, batch, seed.into())?;
    }

    /// P(A B) = P(A) B, and P(B A) = B P(A): both relative forms of a group are the means over the entries of the dense
    /// ones.
    #[test]
    fn the_transposed_form_of_a_group_is_the_projected_dense_one(
        architecture in architectures(), batch in 1..5_usize, seed: u32,
    ) {
        let convolution = convolution_of(architecture);
        prop_assume!(convolution.is_full() || convolution.is_pointwise());
        let net = Net::<f64>::draw(architecture, batch, seed.into());
        let expected = project_all(&net, &net.reference().transposed(&wide(&net.x)).unwrap(), true);
        let error = net.gradient(Way::Named(Method::Transposed)).unwrap().error(&expected);
        prop_assert!(error <= 1e-12, "{:e}", error);
    }

    /// P(A B) = P(A) B: the relative gradient of every tap is the mean over the entries of the dense one.
    #[test]
    fn with_every_tap_the_relative_gradient_is_the_projected_dense_one(
        architecture in architectures(), batch in 1..5_usize, seed: u32,
    ) {
        // A grid of one point has one tap, and is a dense network; the two forms agree there.
        prop_assume!(convolution_of(architecture).is_full());
        let net = Net::<f64>::draw(architecture, batch, seed.into());
        let expected = project_all(&net, &net.reference().relative(&wide(&net.x)).unwrap(), true);
        let error = net.gradient(RELATIVE).unwrap().error(&expected);
        prop_assert!(error <= 1e-12, "{:e}", error);
        let narrow = Net::<f32>::draw(architecture, batch, seed.into());
        let error = narrow.gradient(RELATIVE).unwrap().error(&expected);
        prop_assert!(error <= 1e-4, "f32: {:e}", error);
    }

    /// ⟨G, ΔK⟩ ≥ 0, and a small step raises ℓ: for the relative gradient ‖E‖², for the proposal whatever its support.
    #[test]
    fn a_small_step_along_every_direction_ascends(architecture in architectures(), batch in 1..5_usize, seed: u32) {
        let net = Net::<f64>::draw(architecture, batch, seed.into());
        let ordinary = net.gradient(ORDINARY).unwrap();
        let before = net.log_likelihood().unwrap().mean();
        let group = net.convolution().is_full() || net.convolution().is_pointwise();
        for way in [RELATIVE, Way::Preconditioned] {
            if way == RELATIVE && !group {
                prop_assert!(net.gradient(way).unwrap_err().to_string().contains("use `ordinary`"));
                continue;
            }
            let step = net.gradient(way).unwrap();
            let slope = ordinary.dot(&step);
            prop_assert!(slope > 0.0, "{:?}: {:e}", way, slope);
            let mu = 1e-5 / step.dot(&step).sqrt().max(1.0);
            let moved = Net::<f64>::from_host(architecture, &net.host().plus(mu, &step), &wide(&net.x));
            let gain = moved.log_likelihood().unwrap().mean() - before;
            prop_assert!(gain > 0.5 * mu * slope - 1e-12 * (1.0 + before.abs()), "{:?}: {:e}", way, gain);
        }
    }

    /// Without biases and with every tap the proposal is the relative gradient.
    #[test]
    fn with_every_tap_the_proposal_is_the_relative_gradient(
        architecture in architectures(), batch in 1..5_usize, seed: u32,
    ) {
        let architecture = relgrad_kernels::Architecture { bias: false, ..architecture };
        prop_assume!(convolution_of(architecture).is_full());
        let net = Net::<f64>::draw(architecture, batch, seed.into());
        let error = net.gradient(Way::Preconditioned).unwrap().error(&net.gradient(RELATIVE).unwrap());
        prop_assert!(error <= 1e-12, "{:e}", error);
    }
}
