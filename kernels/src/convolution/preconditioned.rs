//! A preconditioned gradient for kernels of small support: a proposal, not a relative gradient.

use realfft::num_complex::Complex;

use super::ordinary::SpectralWorkspace;
use super::product::Side;
use super::transform::zeros;
use super::{ConvolutionBackend, Gradient, Parameters, Spectral};
use crate::device::{Cpu, MatrixRef};
use crate::error::Result;
use crate::network::Architecture;

/// ΔK = (1/n) P_S(gK_S ∗ KᵀK), with gK_S the ordinary gradient of the taps S \[M26\] and P_S the restriction to them;
/// Δb = gb/n.
///
/// Kernels supported on S ≠ all are not closed under products, so there is no relative gradient in the paper's sense.
/// This is what would be one for S = all, made to ascend for any S: ⟨gK_S, ΔK⟩ = ‖gK_S Wᵀ‖²/n² ≥ 0, since P_S drops
/// only what gK_S does not have. It is **not** equivariant, and it needs the inverses that the relative gradient does
/// without. (\[M27\] restricted to S does not always ascend.)
#[derive(Debug, Clone, Copy, Default)]
pub struct Preconditioned;

/// Work memory: that of the ordinary gradient and one more spectrum of a kernel.
pub struct Workspace<T: Spectral> {
    ordinary: SpectralWorkspace<T>,
    product: Vec<Complex<T>>,
}

impl<T: Spectral> ConvolutionBackend<T> for Preconditioned {
    type Workspace = Workspace<T>;

    fn workspace(&self, device: &Cpu, architecture: &Architecture, batch: usize) -> Result<Workspace<T>> {
        let ordinary = SpectralWorkspace::new(device, architecture, batch)?;
        let product = zeros(ordinary.direction.len(), "spectrum of a product")?;
        Ok(Workspace { ordinary, product })
    }

    fn gradient(
        &self,
        device: &Cpu,
        parameters: &Parameters<T>,
        x: MatrixRef<'_, Cpu, T>,
        workspace: &mut Workspace<T>,
        out: &mut Gradient<T>,
    ) -> Result<()> {
        out.require_fit(parameters.architecture())?;
        let Workspace { ordinary, product } = workspace;
        ordinary.gradient(device, parameters, x, out)?;
        let SpectralWorkspace { values, direction, .. } = ordinary;
        let channels = values.convolution.channels;
        let scale = T::of(1.0 / values.convolution.points() as f64);
        for (kernel, spectrum) in out.kernels.iter_mut().zip(&values.kernels) {
            values.transform.kernel(channels, kernel.view().slice(), direction);
            // gK_S K̂ᴴ, then (gK_S K̂ᴴ) K̂: both factors act from the right.
            let zero = Complex::new(T::of(0.0), T::of(0.0));
            product.fill(zero);
            values.spectra.add_outer(scale, direction, spectrum, product);
            values.spectra.apply(Side::Plain, product, spectrum, direction);
            values.transform.inverse_kernel(channels, direction, kernel.view_mut().into_slice());
        }
        for bias in &mut out.biases {
            bias.view_mut().into_slice().iter_mut().for_each(|b| *b *= scale);
        }
        Ok(())
    }
}
