//! Gradients are the derivatives of the log-likelihood, directions ascend it, and both are means over the batch.

use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;
use relgrad_kernels::{Scalar, init};

use crate::support::*;

/// A random direction of norm 1 in the space of the parameters.
fn direction(like: &Host, seed: u64) -> Host {
    let mut source = init::normals(seed, like.weights.len() * like.weights[0].len() * 2).into_iter();
    let mut fill = |rows, cols| DMatrix::from_fn(rows, cols, |_, _| source.next().unwrap());
    let weights: Vec<_> = like.weights.iter().map(|w| fill(w.nrows(), w.ncols())).collect();
    let biases = like.biases.iter().map(|b| DVector::from_column_slice(fill(b.len(), 1).as_slice()));
    let direction = Host { biases: biases.collect(), weights };
    let norm = direction.dot(&direction).sqrt();
    let zero = direction.plus(-1.0, &direction);
    zero.plus(1.0 / norm, &direction)
}

/// (d/dt) of the mean log-likelihood at θ + t·direction, to fourth order in h.
fn difference_quotient(net: &Net<f64>, along: &Host) -> f64 {
    let x = wide(&net.x);
    let value = |t: f64| {
        let moved = Net::<f64>::from_host(net.architecture(), &net.host().plus(t, along), &x);
        moved.log_likelihood().unwrap().mean()
    };
    let central = |h: f64| (value(h) - value(-h)) / (2.0 * h);
    (4.0 * central(5e-4) - central(1e-3)) / 3.0
}

proptest! {
    #![proptest_config(config(64))]

    /// Truncation is h⁴ ≈ 1e-12 times a fifth derivative, rounding eps·|ℓ|/h ≈ 1e-11; the fifth derivative of
    /// log|det W| reaches 4!·‖W⁻¹‖⁵ < 1e3 for singular values over ½. Laplace's kink is left out: nothing there is
    /// differentiable.
    #[test]
    fn ordinary_and_autodiff_are_the_derivatives(architecture in architectures(), batch in 1..6_usize, seed: u32) {
        prop_assume!(architecture.base != relgrad_kernels::Base::Laplace);
        let net = Net::<f64>::draw(architecture, batch, seed.into());
        for way in WAYS.into_iter().filter(|way| matches!(way, Way::Ordinary | Way::Autodiff(_) | Way::Pulled(_))) {
            let gradient = net.gradient(way).unwrap();
            let along = direction(&net.host(), u64::from(seed) + 9);
            let scale = gradient.dot(&gradient).sqrt().max(1.0);
            let error = (difference_quotient(&net, &along) - gradient.dot(&along)).abs() / scale;
            prop_assert!(error < 1e-7, "{:?}: {:e}", way, error);
        }
    }

    /// ⟨G, ΔW⟩ + ⟨g, Δb⟩ = ‖E‖² + ‖g‖² > 0 for every direction but the paper's biases (erratum E7), so that a small
    /// step raises ℓ. The step is 1e-6 of the parameters: the gain ~ μ‖E‖² is far above the rounding of ℓ.
    #[test]
    fn a_small_step_along_every_direction_ascends(architecture in architectures(), batch in 1..6_usize, seed: u32) {
        let net = Net::<f64>::draw(architecture, batch, seed.into());
        let before = net.log_likelihood().unwrap().mean();
        let ordinary = net.gradient(Way::Ordinary).unwrap();
        for way in WAYS {
            if matches!(way, Way::Relative(relgrad_kernels::backend::BiasMode::Paper)) {
                continue;
            }
            let gradient = net.gradient(way).unwrap();
            let slope = ordinary.dot(&gradient);
            prop_assert!(slope > 0.0, "{:?}: slope {}", way, slope);
            let mu = 1e-6 / gradient.dot(&gradient).sqrt();
            let moved = net.host().plus(mu, &gradient);
            let after = Net::<f64>::from_host(architecture, &moved, &wide(&net.x)).log_likelihood().unwrap().mean();
            let gain = after - before;
            prop_assert!(gain > 0.0, "{:?}: slope {:e}, gain {:e}", way, slope, gain);
        }
    }

    /// Sums in another order differ by N eps; f32 ~ 1e-6, f64 ~ 1e-15, times the condition of the weights.
    #[test]
    fn a_batch_is_the_mean_of_batches_of_one(architecture in architectures(), batch in 2..8_usize, seed: u32) {
        mean_of_singles::<f64>(architecture, batch, seed.into(), 1e-12)?;
        mean_of_singles::<f32>(architecture, batch, seed.into(), 1e-3)?;
    }
}

fn mean_of_singles<T: Scalar>(
    architecture: relgrad_kernels::Architecture,
    batch: usize,
    seed: u64,
    tolerance: f64,
) -> Result<(), TestCaseError> {
    let net = Net::<T>::draw(architecture, batch, seed);
    let x = wide(&net.x);
    for way in WAYS {
        let whole = net.gradient(way).unwrap();
        let zero = whole.plus(-1.0, &whole);
        let mean = x.column_iter().fold(zero, |sum, sample| {
            let sample = DMatrix::from_column_slice(sample.len(), 1, sample.clone_owned().as_slice());
            let single = Net::<T>::from_host(architecture, &net.host(), &sample).gradient(way).unwrap();
            sum.plus(1.0 / batch as f64, &single)
        });
        let error = scaled_error(&mean, &whole);
        prop_assert!(error <= tolerance, "{:?} in {}: {:e}", way, T::DTYPE, error);
    }
    Ok(())
}

/// ‖a − b‖ / max(‖b‖, 1) over all arrays: a mean may cancel to nearly nothing in one of them.
fn scaled_error(a: &Host, b: &Host) -> f64 {
    let difference = a.plus(-1.0, b);
    difference.dot(&difference).sqrt() / b.dot(b).sqrt().max(1.0)
}
