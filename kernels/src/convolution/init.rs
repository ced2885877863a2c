//! Seeded networks of convolutions: the same seed gives the same numbers, bit for bit, on every machine.

use super::dense::dense_architecture;
use super::{Arrays, Parameters};
use crate::device::{Cpu, Device};
use crate::error::Result;
use crate::init::{self, Init};
use crate::network::Architecture;
use crate::scalar::Scalar;

/// Away from the seeds of batches and probes.
const KERNEL_SEED: u64 = 0x6b65_726e_656c;

/// Share of the Gaussian part in a kernel that is orthogonal at its first tap: K̂(ω) = Q + G(ω)/8 stays far from
/// singular at every frequency.
const SPREAD: f64 = 0.125;

/// A network drawn from `seed`, well-conditioned at every frequency.
///
/// [`Init::Orthogonal`]: an orthogonal c×c matrix at the tap τ = 0, plus independent normals at every tap that add up
/// to an eighth of its size at each frequency. [`Init::ScaledGaussian`]: independent normals of variance 1/(c·|S|).
/// Biases are those of [`init::network`].
///
/// # Errors
/// [`crate::Error::OutOfMemory`], [`crate::Error::InvalidParameter`], [`crate::Error::ShapeMismatch`].
pub fn network<T: Scalar>(device: &Cpu, architecture: &Architecture, init: Init, seed: u64) -> Result<Parameters<T>> {
    let mut arrays = Arrays::zeros(device, architecture, "parameters")?;
    let convolution = architecture.convolution()?;
    let (channels, taps) = (convolution.channels, convolution.taps());
    let pixel = Architecture { dim: channels, ..dense_architecture(architecture) };
    let pixel = init::network::<_, T>(device, &pixel, init, seed)?;
    let (offset, spread) = match init {
        Init::Orthogonal => (1.0, SPREAD),
        Init::ScaledGaussian => (0.0, 1.0),
    };
    let scale = spread / ((channels * taps) as f64).sqrt();
    for (k, kernel) in arrays.kernels.iter_mut().enumerate() {
        let weight = pixel.arrays().weights[k].to_column_major(device)?;
        let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(KERNEL_SEED + k as u64);
        let normals = init::normals(seed, channels * channels * taps);
        let kernel = kernel.view_mut().into_slice();
        kernel.iter_mut().zip(normals).for_each(|(k, normal)| *k = T::of(scale * normal));
        for (first, weight) in kernel.iter_mut().step_by(taps).zip(weight) {
            *first = T::of(first.widen() + offset * weight.widen());
        }
    }
    for (to, from) in arrays.biases.iter_mut().zip(&pixel.arrays().biases) {
        device.copy(from.view(), to.view_mut())?;
    }
    Parameters::new(*architecture, arrays)
}
