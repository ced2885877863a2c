//! Equivariance, 1×1 kernels, and kernels small enough to work out by hand.

use nalgebra::DMatrix;
use proptest::prelude::*;
use relgrad_kernels::parameters::{Arrays, Parameters};
use relgrad_kernels::reference::{Direction, Reference};
use relgrad_kernels::{Architecture, Convolution, CouplingKind, Dense};

use super::support::*;

proptest! {
    #![proptest_config(config(64))]

    /// X → MX, W_1 → W_1 M⁻¹ with block-circulant M is a change of coordinates inside the group: the directions behind
    /// the first layer stay, that of W_1 goes to ΔW_1 M⁻¹, ℓ moves by −log|det M|.
    #[test]
    fn the_relative_gradient_is_equivariant_under_circulant_maps(
        architecture in architectures(), batch in 1..5_usize, seed: u32,
    ) {
        let convolution = convolution_of(architecture);
        prop_assume!(convolution.is_full());
        let net = Net::<f64>::draw(architecture, batch, seed.into());
        let one = Architecture { bias: false, ..convolutional(convolution, 1) };
        let m = dense(convolution, &Net::<f64>::draw(one, 1, u64::from(seed) + 77).host().kernels[0]);
        let inverse = m.clone().try_inverse().unwrap();
        let changed_kernel = |kernel: &[f64]| project(convolution, &(dense(convolution, kernel) * &inverse), true);
        let mut changed = net.host();
        changed.kernels[0] = changed_kernel(&changed.kernels[0]);
        let moved = Net::<f64>::from_host(architecture, &changed, &(&m * wide(&net.x)));

        let log_det = m.lu().u().diagonal().iter().map(|u| u.abs().ln()).sum::<f64>();
        let (before, after) = (net.log_likelihood().unwrap(), moved.log_likelihood().unwrap());
        for (before, after) in before.per_sample().iter().zip(after.per_sample()) {
            prop_assert!((after - before + log_det).abs() <= 1e-11 * (1.0 + before.abs()));
        }
        let mut expected = net.gradient(RELATIVE).unwrap();
        expected.kernels[0] = changed_kernel(&expected.kernels[0]);
        let error = moved.gradient(RELATIVE).unwrap().error(&expected);
        prop_assert!(error <= 1e-11, "{:e}", error);
    }

    /// 1×1 kernels are a dense network of the channels with the pixels as samples, biases included.
    #[test]
    fn pointwise_kernels_are_dense_layers_on_pixels(architecture in architectures(), batch in 1..4_usize, seed: u32) {
        let convolution = Convolution { kernel: [1, 1], ..convolution_of(architecture) };
        let architecture = architecture.with(CouplingKind::Convolution(convolution));
        let net = Net::<f64>::draw(architecture, batch, seed.into());
        let (channels, points) = (convolution.channels, convolution.points());
        let x = wide(&net.x);
        let pixels = DMatrix::from_fn(channels, points * batch, |i, j| x[(i * points + j % points, j / points)]);
        let pixel = Architecture { dim: channels, ..architecture.with(Dense) };
        let host = net.host();
        let arrays = Arrays {
            weights: host.kernels.iter().map(|k| narrow::<f64>(channels, k)).collect(),
            biases: host.biases.iter().map(|b| narrow(channels, b)).collect(),
            head: None,
        };
        let pixel_network = Parameters::new(pixel, arrays).unwrap();
        let reference = Reference::from_parameters(&net.device, &pixel_network).unwrap();
        let flat = |d: &Direction, factor: f64| Host {
            kernels: d.weights.iter().map(|w| w.iter().map(|x| factor * x).collect()).collect(),
            biases: d.biases.iter().map(|b| b.iter().map(|x| factor * x).collect()).collect(),
        };
        let error = net.gradient(RELATIVE).unwrap().error(&flat(&reference.relative(&pixels).unwrap(), 1.0));
        prop_assert!(error <= 1e-12, "relative: {:e}", error);
        let ordinary = flat(&reference.ordinary(&pixels).unwrap(), points as f64);
        let error = net.gradient(ORDINARY).unwrap().error(&ordinary);
        prop_assert!(error <= 1e-12, "ordinary: {:e}", error);
        // L2J = n log|det K|.
        let l2j = reference.log_likelihood(&pixels).unwrap().l2j() * points as f64;
        prop_assert!((net.log_likelihood().unwrap().l2j() - l2j).abs() <= 1e-12 * (1.0 + l2j.abs()));
    }
}

/// One channel on two points, K = (2, 1), no bias, one sample x = (1, 0): W = [[2, 1], [1, 2]], y = (2, 1), δ = −y.
#[test]
fn a_kernel_small_enough_to_work_out_by_hand() {
    let architecture = convolutional(Convolution::full(1, [1, 2]), 1);
    let host = Host { kernels: vec![vec![2.0, 1.0]], biases: Vec::new() };
    let net = Net::<f64>::from_host(architecture, &host, &DMatrix::from_column_slice(2, 1, &[1.0, 0.0]));
    assert_eq!(dense(net.convolution(), &net.host().kernels[0]), DMatrix::from_row_slice(2, 2, &[2.0, 1.0, 1.0, 2.0]));
    let likelihood = net.log_likelihood().unwrap();
    assert!((likelihood.l2j() - 3.0_f64.ln()).abs() <= 1e-15);
    assert!((likelihood.mean() - (3.0_f64.ln() - 2.5 - (std::f64::consts::TAU).ln())).abs() <= 1e-14);
    // δ xᵀ summed along the diagonals is (−2, −1); W⁻ᵀ = [[2, −1], [−1, 2]]/3, twice each diagonal.
    let expected = Host { kernels: vec![vec![-2.0 + 4.0 / 3.0, -1.0 - 2.0 / 3.0]], biases: Vec::new() };
    assert!(net.gradient(ORDINARY).unwrap().error(&expected) <= 1e-15);
    // u = Wᵀy = (5, 4): half of δ uᵀ along the diagonals, −(2·5 + 1·4)/2 and −(2·4 + 1·5)/2, plus K.
    let expected = Host { kernels: vec![vec![-7.0 + 2.0, -6.5 + 1.0]], biases: Vec::new() };
    assert!(net.gradient(RELATIVE).unwrap().error(&expected) <= 1e-15);
}
