//! The relative gradient of the groups of kernels that are closed under products.

use super::pointwise::{self, Pixels};
use super::product::{Side, Spectra};
use super::values::Values;
use super::{ConvolutionBackend, Gradient, Parameters, Spectral};
use crate::backend::Relative as Dense;
use crate::device::{Cpu, MatrixRef};
use crate::error::{Error, Result};
use crate::network::Architecture;
use realfft::num_complex::Complex;

/// ΔK = (1/(nN)) Σ δ uᵀ + K, u = Wᵀy, for kernels with every tap, and a bias constant over each channel \[M27\]; for
/// 1×1 kernels \[M11\]–\[M14\] with the nN pixels as samples. Both are the relative gradient of a group: no inverse, no
/// determinant. Biases are exact (`BiasMode::Exact`).
///
/// Kernels of any other support are not closed under products and have no relative gradient: see
/// [`super::Preconditioned`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Relative;

/// Work memory of either group.
pub enum Workspace<T: Spectral> {
    /// Every tap.
    Full(Box<FullWorkspace<T>>),
    /// One tap.
    Pointwise(Box<Pixels<T, Dense>>),
}

/// Work memory for kernels with every tap.
pub struct FullWorkspace<T: Spectral> {
    values: Values<T>,
    /// ΔK̂.
    direction: Vec<Complex<T>>,
}

impl<T: Spectral> ConvolutionBackend<T> for Relative {
    type Workspace = Workspace<T>;

    fn workspace(&self, device: &Cpu, architecture: &Architecture, batch: usize) -> Result<Workspace<T>> {
        architecture.validate()?;
        let convolution = architecture.convolution()?;
        if convolution.is_pointwise() {
            return Ok(Workspace::Pointwise(Box::new(Pixels::new(device, Dense::default(), architecture, batch)?)));
        }
        if !convolution.is_full() {
            let [rows, cols] = convolution.kernel;
            return Err(Error::shape(
                "relative gradient",
                "a kernel with every tap or with one (others are no group: take the ordinary gradient)",
                format!("{rows}×{cols} taps"),
            ));
        }
        let values = Values::new(device, architecture, batch)?;
        let direction = super::transform::zeros(values.kernels[0].len(), "spectrum of a direction")?;
        Ok(Workspace::Full(Box::new(FullWorkspace { values, direction })))
    }

    fn gradient(
        &self,
        device: &Cpu,
        parameters: &Parameters<T>,
        x: MatrixRef<'_, Cpu, T>,
        workspace: &mut Workspace<T>,
        out: &mut Gradient<T>,
    ) -> Result<()> {
        let architecture = parameters.architecture();
        out.require_fit(architecture)?;
        let work = match workspace {
            Workspace::Pointwise(pixels) => {
                return pixels.gradient(device, parameters, x, pointwise::Scale::Group, out);
            }
            Workspace::Full(work) => work,
        };
        work.values.forward(device, parameters, x)?;
        for k in (0..architecture.layers).rev() {
            work.values.write_error(device, architecture, k)?;
            layer(parameters, k, work, out);
        }
        Ok(())
    }
}

/// The direction of layer k from the spectrum of δ_k, and V_k for the layer below.
fn layer<T: Spectral>(parameters: &Parameters<T>, k: usize, work: &mut FullWorkspace<T>, out: &mut Gradient<T>) {
    let FullWorkspace { values, direction } = work;
    let channels = values.convolution.channels;
    let mean = 1.0 / (values.convolution.points() * values.batch) as f64;
    if k > 0 {
        values.pull(k);
    }
    let y = values.trail.view().columns(k * values.batch, values.batch);
    let [delta, pre_activation, u] = &mut values.work;
    values.transform.fields(channels, y.slice(), pre_activation);
    values.spectra.apply(Side::Adjoint, &values.kernels[k], pre_activation, u);
    direction.copy_from_slice(&values.kernels[k]);
    values.spectra.add_outer(T::of(mean), delta, u, direction);
    values.transform.inverse_kernel(channels, direction, out.kernels[k].view_mut().into_slice());
    if let Some(bias) = parameters.bias(k) {
        let out = out.biases[k].view_mut().into_slice();
        bias_direction(&values.spectra, mean, delta, pre_activation, bias, out);
    }
}

/// Δb = (1/(nN)) Σ_n (Σ_p δ_n[:,p]) (1 + bᵀ Σ_p y_n[:,p]) + b; sums over the grid are the values at frequency zero.
fn bias_direction<T: Spectral>(
    spectra: &Spectra,
    mean: f64,
    delta: &[Complex<T>],
    y: &[Complex<T>],
    bias: &[T],
    out: &mut [T],
) {
    let one = T::of(1.0);
    let samples = || delta.chunks_exact(spectra.block()).zip(y.chunks_exact(spectra.block()));
    for (channel, (out, &own)) in out.iter_mut().zip(bias).enumerate() {
        let term = |(delta, y): (&[Complex<T>], &[Complex<T>])| {
            let weight = bias.iter().zip(y).fold(one, |sum, (&b, y)| sum + b * y.re);
            (delta[channel].re * weight).widen()
        };
        // In f64: one after the other, many samples would lose digits.
        *out = T::of(own.widen() + mean * samples().map(term).sum::<f64>());
    }
}
