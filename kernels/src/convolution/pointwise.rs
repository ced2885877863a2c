//! 1×1 kernels: the nN pixels of a batch are the samples of a dense c×c network.

use super::{Gradient, Parameters, Spectral};
use crate::backend::GradientBackend;
use crate::device::{Cpu, Device, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::network::{Architecture, Coupling};
use crate::parameters as dense;

/// A dense backend on pixels, and its work memory.
pub struct Pixels<T: Spectral, B: GradientBackend<Cpu, T>> {
    backend: B,
    points: usize,
    batch: usize,
    network: dense::Parameters<Cpu, T>,
    direction: dense::Gradient<Cpu, T>,
    /// One pixel a column, c×nN.
    pixels: Matrix<Cpu, T>,
    workspace: B::Workspace,
}

/// What a mean over pixels becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// The direction of the group of 1×1 kernels, in the metric of the whole matrix: the mean itself.
    Group,
    /// The derivative of the log-likelihood of a whole sample, n pixels.
    Derivative,
}

impl<T: Spectral, B: GradientBackend<Cpu, T>> Pixels<T, B> {
    pub(super) fn new(device: &Cpu, backend: B, architecture: &Architecture, batch: usize) -> Result<Self> {
        architecture.validate()?;
        let convolution = architecture.convolution()?;
        let (channels, points) = (convolution.channels, convolution.points());
        let samples = points.saturating_mul(batch);
        let dense = Architecture { dim: channels, coupling: Coupling::Dense, ..*architecture };
        let arrays = dense::Arrays::zeros(device, &dense, "pixel network")?;
        Ok(Self {
            points,
            batch,
            network: dense::Parameters::new(dense, arrays)?,
            direction: dense::Arrays::zeros(device, &dense, "direction of the pixel network")?,
            pixels: Matrix::zeros(device, channels, samples, "pixels")?,
            workspace: backend.workspace(device, &dense, samples)?,
            backend,
        })
    }

    pub(super) fn gradient(
        &mut self,
        device: &Cpu,
        parameters: &Parameters<T>,
        x: MatrixRef<'_, Cpu, T>,
        scale: Scale,
        out: &mut Gradient<T>,
    ) -> Result<()> {
        let (architecture, convolution) = (parameters.architecture(), parameters.convolution());
        parameters.arrays().require_fit(architecture)?;
        let (channels, dim) = (self.pixels.rows(), architecture.dim);
        let dense = Architecture { dim: channels, coupling: Coupling::Dense, ..*architecture };
        let fits = convolution.is_pointwise()
            && dense == *self.network.architecture()
            && (dim, x.rows(), x.cols()) == (channels * self.points, dim, self.batch);
        if !fits {
            return Err(Error::shape(
                "pixel network",
                format!("1×1 kernels, and a workspace and a batch of {dim}×{}", self.batch),
                format!("{}×{}", x.rows(), x.cols()),
            ));
        }
        let arrays = self.network.arrays_mut();
        for (to, from) in arrays.weights.iter_mut().zip(&parameters.arrays().kernels) {
            device.copy(from.view(), to.view_mut())?;
        }
        for (to, from) in arrays.biases.iter_mut().zip(&parameters.arrays().biases) {
            device.copy(from.view(), to.view_mut())?;
        }
        gather(channels, self.points, x.slice(), self.pixels.view_mut().into_slice());
        let Self { backend, network, direction, pixels, workspace, .. } = self;
        backend.gradient(device, network, pixels.view(), workspace, direction)?;
        let factor = T::of(match scale {
            Scale::Group => 1.0,
            Scale::Derivative => self.points as f64,
        });
        let directions = self.direction.weights.iter().chain(&self.direction.biases);
        for (to, from) in out.kernels.iter_mut().chain(&mut out.biases).zip(directions) {
            let to = to.view_mut().into_slice().iter_mut();
            to.zip(from.view().slice()).for_each(|(to, &from)| *to = factor * from);
        }
        Ok(())
    }
}

/// Pixels to columns: channel-major samples of c·n numbers to c numbers a pixel.
fn gather<T: Copy>(channels: usize, points: usize, samples: &[T], pixels: &mut [T]) {
    let samples = samples.chunks_exact(channels * points);
    for (sample, pixels) in samples.zip(pixels.chunks_exact_mut(channels * points)) {
        for (p, pixel) in pixels.chunks_exact_mut(channels).enumerate() {
            pixel.iter_mut().zip(sample[p..].iter().step_by(points)).for_each(|(to, &from)| *to = from);
        }
    }
}
