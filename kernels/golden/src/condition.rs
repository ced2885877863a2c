//! The directions of a golden network, under a conditional density where the file has one.

use relgrad_kernels::conditional::{self, Conditional, ConditionalBackend, LocationScale, Model, ModelGradient, Pairs};
use relgrad_kernels::device::{Device, Matrix, MatrixRef};
use relgrad_kernels::likelihood::{Evaluator, LogLikelihood};
use relgrad_kernels::parameters::{Gradient, Parameters};
use relgrad_kernels::{Result, Scalar};

use crate::compare::upload;
use crate::dense;

/// m(u), τ(u) and the conditions of the batch.
pub(crate) struct Condition<D: Device<T>, T: Scalar> {
    density: LocationScale<D, T>,
    u: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar> Condition<D, T> {
    /// Takes the file's to a device.
    pub(crate) fn new(device: &D, golden: &dense::Conditional) -> Result<Self> {
        let [location, location_offset, log_scale, log_scale_offset] = &golden.density;
        let density = LocationScale {
            location: upload(device, location)?,
            location_offset: upload(device, location_offset)?,
            log_scale: upload(device, log_scale)?,
            log_scale_offset: upload(device, log_scale_offset)?,
        };
        Ok(Self { density, u: upload(device, &golden.u)? })
    }

    fn pairs<'a>(&'a self, x: MatrixRef<'a, D, T>, first: usize) -> Pairs<'a, D, T> {
        let u = self.u.view().columns(first, x.cols());
        Pairs { x, u }
    }

    /// log p(x|u) in its parts.
    pub(crate) fn log_likelihood(
        &self,
        device: &D,
        evaluator: &mut Evaluator<D, T>,
        network: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
    ) -> Result<LogLikelihood> {
        let model = Model { network, density: &self.density };
        conditional::log_likelihood(device, evaluator, &model, &self.pairs(x.shorten(), 0))
    }

    /// The direction of a backend for the samples `x`, which are those from `first` on.
    pub(crate) fn gradient<B: ConditionalBackend<D, T> + Copy>(
        &self,
        device: &D,
        backend: &B,
        network: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        first: usize,
    ) -> Result<ModelGradient<D, T>> {
        let architecture = network.architecture();
        let backend = Conditional { backend: *backend };
        let mut workspace = backend.workspace(device, architecture, x.cols())?;
        let mut out = ModelGradient {
            network: Gradient::zeros(device, architecture, "gradient")?,
            density: LocationScale::zeros(device, architecture.dim, self.u.rows(), "gradient")?,
        };
        let model = Model { network, density: &self.density };
        backend.gradient(device, &model, &self.pairs(x.shorten(), first), &mut workspace, &mut out)?;
        Ok(out)
    }
}
