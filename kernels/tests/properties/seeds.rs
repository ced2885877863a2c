//! The same seed gives the same numbers on every machine; orthogonal weights are orthogonal.

use nalgebra::DMatrix;
use relgrad_kernels::init::{self, Init};
use relgrad_kernels::{Architecture, Cpu, Scalar};

use crate::support::*;

fn architecture(dim: usize) -> Architecture {
    Architecture { bias: true, ..Architecture::new(dim, 2) }
}

fn draw<T: Scalar>(dim: usize, init: Init, seed: u64) -> Host {
    let network = init::network::<_, T, _>(&Cpu::new(2), &architecture(dim), init, seed).unwrap();
    Host::of(network.arrays())
}

fn batch<T: Scalar>(dim: usize, samples: usize, seed: u64) -> DMatrix<f64> {
    wide(&init::batch::<_, T>(&Cpu::new(2), dim, samples, seed).unwrap())
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    for init in Init::ALL {
        for dim in [1, 17, 100] {
            assert_eq!(draw::<f64>(dim, init, 3), draw::<f64>(dim, init, 3));
            assert_eq!(draw::<f32>(dim, init, 3), draw::<f32>(dim, init, 3));
            // Signs alone are left in one dimension.
            if dim > 1 {
                let (a, b) = (draw::<f64>(dim, init, 3), draw::<f64>(dim, init, 4));
                assert!((0..2).all(|k| a.weights[k] != b.weights[k] && a.biases[k] != b.biases[k]));
                assert_ne!(a.weights[0], a.weights[1]);
                assert_ne!(a.biases[0], a.biases[1]);
            }
        }
    }
    assert_eq!(batch::<f64>(5, 7, 3), batch::<f64>(5, 7, 3));
    assert_ne!(batch::<f64>(5, 7, 3), batch::<f64>(5, 7, 4));
}

/// Each use of a seed has a stream of its own.
#[test]
fn streams_of_one_seed_differ() {
    let network = draw::<f64>(4, Init::ScaledGaussian, 3);
    let firsts = [
        network.weights[0][0] * 2.0,
        network.weights[1][0] * 2.0,
        network.biases[0][0] * 10.0,
        network.biases[1][0] * 10.0,
        batch::<f64>(4, 1, 3)[0],
        init::normals(3, 1)[0],
    ];
    for (i, a) in firsts.iter().enumerate() {
        assert!(firsts[..i].iter().all(|b| (a - b).abs() > 1e-6), "{firsts:?}");
    }
}

/// Weights and batch do not depend on what else the network has.
#[test]
fn arrays_do_not_depend_on_each_other() {
    let device = Cpu::new(1);
    let without = Architecture { bias: false, layers: 1, ..architecture(6) };
    let without = init::network::<_, f64, _>(&device, &without, Init::Orthogonal, 3).unwrap();
    assert_eq!(Host::of(without.arrays()).weights[0], draw::<f64>(6, Init::Orthogonal, 3).weights[0]);
    assert_eq!(batch::<f64>(5, 9, 3).columns(0, 4), batch::<f64>(5, 4, 3));
}

/// f32 numbers are the f64 ones rounded once.
#[test]
fn single_precision_rounds_double_precision() {
    for init in Init::ALL {
        let (narrow, exact) = (draw::<f32>(20, init, 8), draw::<f64>(20, init, 8));
        for (narrow, exact) in narrow.weights.iter().zip(&exact.weights) {
            assert_eq!(*narrow, exact.map(|x| f64::from(x as f32)));
        }
    }
}

/// A few literal values: a change of the generator, of the stream numbers or of a rounding is a change of every study.
#[test]
fn the_numbers_of_a_seed_never_change() {
    let bits = |x: f64| x.to_bits();
    let orthogonal = draw::<f64>(20, Init::Orthogonal, 1);
    let gaussian = draw::<f64>(20, Init::ScaledGaussian, 1);
    let conditioned = draw::<f64>(20, Init::Conditioned, 1);
    let found = [
        conditioned.weights[0][(0, 0)],
        conditioned.weights[1][(19, 7)],
        orthogonal.weights[0][(0, 0)],
        orthogonal.weights[1][(19, 7)],
        orthogonal.biases[1][3],
        gaussian.weights[0][(0, 0)],
        gaussian.weights[1][(19, 7)],
        batch::<f64>(3, 4, 1)[(2, 3)],
        init::normals(1, 1)[0],
        init::uniforms(1, 1)[0],
    ]
    .map(bits);
    let expected = [
        0x3f97_82b3_eceb_ca84,
        0x3fb1_f0b7_b943_343e,
        0x3fd1_ee40_1724_3a1d,
        0x3fc9_ef46_27cc_7236,
        0xbf9d_10fd_50e4_e738,
        0xbfb4_c25f_0079_05bb,
        0xbfbd_7b79_2d66_f8f3,
        0x4005_3d6c_a607_b99d,
        0x3fc1_3948_57a7_d409,
        0x3fec_0b6b_afd2_264e_u64,
    ];
    assert_eq!(found, expected, "{found:#x?}");
    let narrow = [draw::<f32>(20, Init::Orthogonal, 1).weights[0][(0, 0)], batch::<f32>(3, 4, 1)[(2, 3)]];
    let narrow = narrow.map(|x| (x as f32).to_bits());
    assert_eq!(narrow, [0x3e8f_7201, 0x4029_eb65], "{narrow:#x?}");
}

/// Sizes around the number of reflections and of columns per block. Each of 16 reflections rounds once.
#[test]
fn orthogonal_weights_are_orthogonal() {
    for dim in [1, 2, 15, 16, 17, 63, 65, 100] {
        let weight = &draw::<f64>(dim, Init::Orthogonal, 5).weights[0];
        let error = (weight.transpose() * weight - DMatrix::identity(dim, dim)).amax();
        assert!(error <= 32.0 * f64::EPSILON, "D = {dim}: {error:e}");
        let narrow = &draw::<f32>(dim, Init::Orthogonal, 5).weights[0];
        let error = (narrow.transpose() * narrow - DMatrix::identity(dim, dim)).amax();
        assert!(error <= 2.0 * f64::from(f32::EPSILON), "D = {dim}: {error:e}");
    }
}

/// Condition at most e^½, and far from orthogonal on both sides, also where the reflections outnumber the dimensions.
#[test]
fn conditioned_weights_are_neither_singular_nor_orthogonal() {
    for dim in [2, 3, 4, 5, 63, 65, 100] {
        let weight = &draw::<f64>(dim, Init::Conditioned, 5).weights[0];
        let values = weight.clone().svd(false, false).singular_values;
        let (low, high) = (values.min(), values.max());
        assert!(low >= (-0.25_f64).exp() - 1e-12 && high <= 0.25_f64.exp() + 1e-12, "D = {dim}: {low} to {high}");
        for gram in [weight.transpose() * weight, weight * weight.transpose()] {
            let off = (gram - DMatrix::identity(dim, dim)).norm() / (dim as f64).sqrt();
            assert!(off > 0.05, "D = {dim}: {off}");
        }
        assert!(dim < 5 || weight.iter().all(|w| *w != 0.0));
    }
}

/// Variance 1/D within five standard errors.
#[test]
fn gaussian_weights_have_variance_one_over_dim() {
    let weight = &draw::<f64>(100, Init::ScaledGaussian, 5).weights[0];
    let (n, sum) = (weight.len() as f64, weight.sum());
    assert!(sum.abs() / n <= 5.0 * (0.01 / n).sqrt());
    let variance = weight.iter().map(|x| x * x).sum::<f64>() / n;
    assert!((variance * 100.0 - 1.0).abs() <= 5.0 * (2.0 / n).sqrt(), "{variance}");
}
