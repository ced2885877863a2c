//! Full-Jacobian automatic differentiation of a network of convolutions, on its dense block-circulant matrices.

use super::dense::{Circulant, dense_architecture};
use super::{ConvolutionBackend, Gradient, Parameters, Spectral};
use crate::backend::autodiff::{Jacobians, Workspace as Dense};
use crate::backend::{Autodiff as DenseAutodiff, GradientBackend};
use crate::device::{Cpu, MatrixRef};
use crate::error::{Error, Result};
use crate::network::Architecture;
use crate::parameters as dense;

/// ℓ = Σ log p(z_L) + log|det J_L| per sample, and its gradient \[M20\]–\[M21\], through W(K): the chain rule takes the
/// derivative in every entry of the D×D matrix to the tap that stands in it.
///
/// It knows neither that the determinant factors over layers nor that the DFT makes W block-diagonal. Products with W
/// are dense; pushing the tangents by FFT would save some of the L−1 forward products a sample, not the LU of its D×D
/// Jacobian, nor the exponent of D.
#[derive(Debug, Clone, Copy, Default)]
pub struct Autodiff {
    /// How many Jacobians are in memory at a time.
    pub jacobians: Jacobians,
}

/// Work memory: the dense network, its gradient, and the Jacobians.
pub struct Workspace<T: Spectral> {
    circulant: Circulant,
    network: dense::Parameters<Cpu, T>,
    direction: dense::Gradient<Cpu, T>,
    inner: Dense<Cpu, T>,
}

impl<T: Spectral> Workspace<T> {
    /// log|det J_g(x_n)| of every sample of the last batch, from the LU factors of the full Jacobians.
    pub fn log_abs_det_jacobian(&self) -> &[f64] {
        self.inner.log_abs_det_jacobian()
    }
}

impl<T: Spectral> ConvolutionBackend<T> for Autodiff {
    type Workspace = Workspace<T>;

    fn workspace(&self, device: &Cpu, architecture: &Architecture, batch: usize) -> Result<Workspace<T>> {
        architecture.validate()?;
        let circulant = Circulant::new(&architecture.convolution()?);
        let dense = dense_architecture(architecture);
        let arrays = dense::Arrays::zeros(device, &dense, "dense network")?;
        Ok(Workspace {
            circulant,
            network: dense::Parameters::new(dense, arrays)?,
            direction: dense::Arrays::zeros(device, &dense, "dense gradient")?,
            inner: DenseAutodiff { jacobians: self.jacobians }.workspace(device, &dense, batch)?,
        })
    }

    fn gradient(
        &self,
        device: &Cpu,
        parameters: &Parameters<T>,
        x: MatrixRef<'_, Cpu, T>,
        workspace: &mut Workspace<T>,
        out: &mut Gradient<T>,
    ) -> Result<()> {
        let Workspace { circulant, network, direction, inner } = workspace;
        let architecture = parameters.architecture();
        parameters.arrays().require_fit(architecture)?;
        out.require_fit(architecture)?;
        if dense_architecture(architecture) != *network.architecture() || !circulant.is_of(parameters) {
            return Err(Error::shape("autodiff", "a workspace for this architecture", "another's"));
        }
        circulant.write(parameters, network.arrays_mut());
        DenseAutodiff { jacobians: self.jacobians }.gradient(device, network, x, inner, direction)?;
        for (kernel, weight) in out.kernels.iter_mut().zip(&direction.weights) {
            circulant.gather(weight.view().slice(), 1.0, kernel.view_mut().into_slice());
        }
        for (out, bias) in out.biases.iter_mut().zip(&direction.biases) {
            let points = parameters.convolution().points();
            let sums = bias.view().slice().chunks_exact(points);
            let sums = sums.map(|channel| channel.iter().map(|b| b.widen()).sum::<f64>());
            out.view_mut().into_slice().iter_mut().zip(sums).for_each(|(out, sum)| *out = T::of(sum));
        }
        Ok(())
    }
}
