//! One gradient of a network of convolutions as something to be checked and timed.

use super::cost::require;
use super::{Autodiff, ConvolutionBackend, Gradient, Ordinary, Parameters, Relative, Spectral, check, network};
use crate::backend::autodiff::Jacobians;
use crate::check::{Check, Kind};
use crate::device::{Cpu, Matrix};
use crate::error::Result;
use crate::evaluation::{Evaluation, Workload};
use crate::init;
use crate::method::Method;
use crate::scalar::Dtype;

/// Takes all memory for `workload`, whose layers are convolutions, on the CPU and fills in its numbers.
///
/// # Errors
/// [`crate::Error::OutOfMemory`], [`crate::Error::InvalidParameter`]; [`crate::Error::ShapeMismatch`] for a method that
/// has no form for these kernels.
pub fn prepare(workload: &Workload) -> Result<Box<dyn Evaluation>> {
    match workload.dtype {
        Dtype::F32 => prepare_as::<f32>(workload),
        Dtype::F64 => prepare_as::<f64>(workload),
    }
}

fn prepare_as<T: Spectral>(workload: &Workload) -> Result<Box<dyn Evaluation>> {
    workload.architecture.validate()?;
    require(workload.method, &workload.architecture.convolution()?)?;
    let autodiff = |jacobians| Autodiff { jacobians };
    match workload.method {
        Method::Relative => stored::<T, _>(workload, Relative, Kind::Relative),
        Method::AutodiffStreamed => stored::<T, _>(workload, autodiff(Jacobians::Streamed), Kind::Ordinary),
        Method::Autodiff => stored::<T, _>(workload, autodiff(Jacobians::Batched), Kind::Ordinary),
        // `require` has turned away the rest.
        _ => stored::<T, _>(workload, Ordinary, Kind::Ordinary),
    }
}

struct Stored<T: Spectral, B: ConvolutionBackend<T>> {
    device: Cpu,
    parameters: Parameters<T>,
    x: Matrix<Cpu, T>,
    backend: B,
    kind: Kind,
    workspace: B::Workspace,
    gradient: Gradient<T>,
}

fn stored<T: Spectral, B: ConvolutionBackend<T> + 'static>(
    workload: &Workload,
    backend: B,
    kind: Kind,
) -> Result<Box<dyn Evaluation>> {
    let Workload { architecture, init, batch, seed, threads, .. } = workload;
    let device = Cpu::new(*threads);
    let parameters = network(&device, architecture, *init, *seed)?;
    let x = init::batch(&device, architecture.dim, *batch, *seed)?;
    let workspace = backend.workspace(&device, architecture, *batch)?;
    let gradient = Gradient::zeros(&device, architecture, "gradient")?;
    Ok(Box::new(Stored { device, parameters, x, backend, kind, workspace, gradient }))
}

impl<T: Spectral, B: ConvolutionBackend<T>> Evaluation for Stored<T, B> {
    fn evaluate(&mut self) -> Result<()> {
        let Self { device, parameters, x, backend, workspace, gradient, .. } = self;
        backend.gradient(device, parameters, x.view(), workspace, gradient)
    }

    fn check(&mut self) -> Result<Check> {
        self.evaluate()?;
        check::gradient(&self.device, self.kind, &self.parameters, &self.x, &self.gradient)
    }
}
