//! The directions of a golden network, under a conditional density where the file has one.

use relgrad_kernels::conditional::{
    self, Conditional, ConditionalBackend, LocationScale, Model, ModelGradient, Pairs,
};
use relgrad_kernels::device::{Device, Matrix, MatrixRef};
use relgrad_kernels::likelihood::{Evaluator, LogLikelihood};
use relgrad_kernels::parameters::{Gradient, Parameters};
use relgrad_kernels::{Result, Scalar};

use super::golden;

/// m(u), τ(u) and the conditions of the batch.
pub(super) struct Condition<D: Device<T>, T: Scalar> {
    density: LocationScale<D, T>,
    u: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar> Condition<D, T> {
    /// Takes the file's to a device.
    pub(super) fn new(device: &D, golden: &golden::Conditional) -> Result<Self> {
        let upload = |array: &golden::Array| {
            let data: Vec<T> = array.data.iter().map(|value| T::of(*value)).collect();
            Matrix::from_column_major(device, &data, array.rows, array.cols, "golden array")
        };
        let [location, location_offset, log_scale, log_scale_offset] = &golden.density;
        let density = LocationScale {
            location: upload(location)?,
            location_offset: upload(location_offset)?,
            log_scale: upload(log_scale)?,
            log_scale_offset: upload(log_scale_offset)?,
        };
        Ok(Self { density, u: upload(&golden.u)? })
    }

    fn pairs<'a>(&'a self, x: MatrixRef<'a, D, T>, first: usize) -> Pairs<'a, D, T> {
        let u = self.u.view().columns(first, x.cols());
        Pairs { x, u }
    }

    /// log p(x|u) in its parts.
    pub(super) fn log_likelihood(
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
    pub(super) fn gradient<B: ConditionalBackend<D, T> + Copy>(
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
