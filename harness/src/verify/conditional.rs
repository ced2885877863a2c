//! The directions of a golden network, under a conditional density where the file has one.

use relgrad_kernels::conditional::{
    self, Conditional, ConditionalBackend, LocationScale, Model, ModelGradient, Pairs,
};
use relgrad_kernels::device::{Matrix, MatrixRef};
use relgrad_kernels::likelihood::{Evaluator, LogLikelihood};
use relgrad_kernels::parameters::{Gradient, Parameters};
use relgrad_kernels::{Cpu, Result, Scalar};

use super::golden;

/// m(u), τ(u) and the conditions of the batch.
pub(super) struct Condition<T: Scalar> {
    density: LocationScale<Cpu, T>,
    u: Matrix<Cpu, T>,
}

impl<T: Scalar> Condition<T> {
    /// Takes the file's to a device.
    pub(super) fn new(device: &Cpu, golden: &golden::Conditional) -> Result<Self> {
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

    fn pairs<'a>(&'a self, x: MatrixRef<'a, Cpu, T>, first: usize) -> Pairs<'a, Cpu, T> {
        let u = self.u.view().columns(first, x.cols());
        Pairs { x, u }
    }

    /// log p(x|u) in its parts.
    pub(super) fn log_likelihood(
        &self,
        device: &Cpu,
        evaluator: &mut Evaluator<Cpu, T>,
        network: &Parameters<Cpu, T>,
        x: MatrixRef<'_, Cpu, T>,
    ) -> Result<LogLikelihood> {
        let model = Model { network, density: &self.density };
        conditional::log_likelihood(device, evaluator, &model, &self.pairs(x.shorten(), 0))
    }

    /// The direction of a backend for the samples `x`, which are those from `first` on.
    pub(super) fn gradient<B: ConditionalBackend<Cpu, T> + Copy>(
        &self,
        device: &Cpu,
        backend: &B,
        network: &Parameters<Cpu, T>,
        x: MatrixRef<'_, Cpu, T>,
        first: usize,
    ) -> Result<ModelGradient<Cpu, T>> {
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
