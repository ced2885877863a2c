//! f = g⁻¹ undoes g, g undoes f, and samples follow the base density.

use std::f64::consts::PI;

use nalgebra::DMatrix;
use proptest::prelude::*;
use relgrad_kernels::check::relative_error;
use relgrad_kernels::inversion::{Inverter, draw_latents};
use relgrad_kernels::likelihood::Evaluator;
use relgrad_kernels::{Architecture, Base, Scalar};

use crate::support::*;

fn latents<T: Scalar>(net: &Net<T>) -> Vec<T> {
    let mut evaluator = Evaluator::new(&net.device, &net.architecture(), net.x.cols()).unwrap();
    evaluator.data_terms(&net.device, &net.parameters, net.x.view()).unwrap();
    evaluator.latents().slice().to_vec()
}

fn widen<T: Scalar>(numbers: &[T]) -> impl Iterator<Item = f64> {
    numbers.iter().map(|x| x.widen())
}

/// The error of x is eps times the condition of the whole map: at most (4·20)⁴ ≈ 4e7 here (weights of condition 4 and
/// slopes over 0.05), and much less for most; s_T and s_L with small α are the worst.
fn round_trips<T: Scalar>(architecture: Architecture, batch: usize, seed: u64) -> Result<(), TestCaseError> {
    let tolerance = per_dtype::<T>(1e-9, 2e-2);
    let net = Net::<T>::draw(architecture, batch, seed);
    let inverter = Inverter::new(&net.device, &net.parameters).unwrap();
    let s = latents(&net);

    let mut x = s.clone();
    inverter.invert(&mut x).unwrap();
    let error = relative_error(widen(&x), wide(&net.x).iter().copied());
    prop_assert!(error <= tolerance, "f(g(x)) in {}: {:e}", T::DTYPE, error);

    let x = DMatrix::from_vec(architecture.dim, batch, widen(&x).collect());
    let back = latents(&Net::<T>::from_host(architecture, &net.host(), &x));
    let error = relative_error(widen(&back), widen(&s));
    prop_assert!(error <= tolerance, "g(f(s)) in {}: {:e}", T::DTYPE, error);
    Ok(())
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn the_inverse_undoes_the_network_and_is_undone(
        architecture in architectures(), batch in 1..6_usize, seed: u32,
    ) {
        round_trips::<f64>(architecture, batch, seed.into())?;
        round_trips::<f32>(architecture, batch, seed.into())?;
    }
}

/// Mean and variance of 10⁵ draws, each within five standard errors: √(σ²/n) and √((κ − 1) σ⁴/n), κ the kurtosis.
#[test]
fn draws_have_the_moments_of_their_density() {
    const COUNT: usize = 100_000;
    for (base, variance, kurtosis) in [
        (Base::Normal, 1.0, 3.0),
        (Base::SECH, 1.0, 5.0),
        (Base::Sech { c: 1.0 }, PI * PI / 4.0, 5.0),
        (Base::Logistic, PI * PI / 3.0, 4.2),
        (Base::Laplace, 2.0, 6.0),
    ] {
        for seed in 0..3 {
            let draws = draw_latents(base, COUNT, seed);
            let n = COUNT as f64;
            let mean = draws.iter().sum::<f64>() / n;
            let second = draws.iter().map(|s| s * s).sum::<f64>() / n;
            assert!(mean.abs() <= 5.0 * (variance / n).sqrt(), "{base}: mean {mean}");
            let spread = 5.0 * variance * ((kurtosis - 1.0) / n).sqrt();
            assert!((second - variance).abs() <= spread, "{base}: variance {second}, not {variance}");
        }
    }
}

/// A linear network with W = 2I and bias b makes x = (s − b)/2 of its latents.
#[test]
fn samples_are_inverted_latents() {
    let architecture = Architecture { bias: true, base: Base::Laplace, ..Architecture::new(3, 1) };
    let bias = nalgebra::DVector::from_vec(vec![1.0, -2.0, 0.5]);
    let host = Host { weights: vec![DMatrix::identity(3, 3) * 2.0], biases: vec![bias.clone()] };
    let net = Net::<f64>::from_host(architecture, &host, &DMatrix::zeros(3, 1));
    let samples = Inverter::new(&net.device, &net.parameters).unwrap().sample(50, 11).unwrap();
    let latents = draw_latents(Base::Laplace, 150, 11);
    let expected = latents.iter().enumerate().map(|(i, s)| (s - bias[i % 3]) / 2.0);
    assert!(relative_error(samples, expected) <= 1e-15);
}
