//! f(g(x)) = x, and samples.

use proptest::prelude::*;
use relgrad_kernels::layer::Spectral;

use super::support::*;

proptest! {
    #![proptest_config(config(64))]

    /// Kernels have a condition of about 2; each s_L layer stretches by 1/α ≤ 20, which eps times the norm covers.
    #[test]
    fn inverting_the_network_gives_the_data_back(architecture in architectures(), batch in 1..5_usize, seed: u32) {
        fn holds<T: Spectral>(architecture: Network, batch: usize, seed: u64) -> Result<(), TestCaseError> {
            let net = Net::<T>::draw(architecture, batch, seed);
            let mut s = net.latents().unwrap();
            net.inverter().unwrap().invert(&mut s).unwrap();
            let x = wide(&net.x);
            let error = s.iter().zip(x.iter()).map(|(a, b)| (a.widen() - b).abs()).fold(0.0, f64::max) / x.amax();
            prop_assert!(error <= per_dtype::<T>(1e-11, 1e-2), "{}: {:e}", T::DTYPE, error);
            Ok(())
        }
        holds::<f64>(architecture, batch, seed.into())?;
        holds::<f32>(architecture, batch, seed.into())?;
    }
}

/// A linear network of a normal base: samples have covariance (WᵀW)⁻¹. One channel on 8 points, 20,000 samples: an
/// entry's standard error is about 1 % of the variance.
#[test]
fn samples_of_a_linear_network_have_its_covariance() {
    let architecture = convolutional(relgrad_kernels::Convolution::full(1, [1, 8]), 1);
    let net = Net::<f64>::draw(architecture, 1, 3);
    let samples = net.inverter().unwrap().sample(20_000, 5).unwrap();
    let x = nalgebra::DMatrix::from_vec(8, 20_000, samples);
    let w = dense(net.convolution(), &net.host().kernels[0]);
    let expected = (w.transpose() * &w).try_inverse().unwrap();
    let difference = (&x * x.transpose() / 20_000.0 - &expected).amax();
    assert!(difference <= 0.05 * expected.amax(), "{difference:e} of {:e}", expected.amax());
}
