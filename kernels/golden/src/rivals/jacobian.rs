//! `jacobian`: J of every sample, log|det J|, and the gradient through it \[M66\]–\[M67\], by reverse and by forward
//! mode.

use relgrad_kernels::backend::autodiff::Mode;
use relgrad_kernels::backend::{Autodiff, GradientBackend};
use relgrad_kernels::check::relative_error;
use relgrad_kernels::device::Matrix;
use relgrad_kernels::parameters::Gradient;
use relgrad_kernels::{Cpu, Result, Scalar};

use super::{Network, numbers};
use crate::array::{Array, Direction, arrays, biases};
use crate::compare::{distance, wide};
use crate::node::{Node, Read};

/// What the file has of it.
#[derive(Debug, Clone)]
pub(crate) struct FullJacobians {
    /// J of every sample.
    jacobians: Vec<Array>,
    log_abs_dets: Vec<f64>,
    gradient: Direction,
}

pub(crate) fn read(node: &Node<'_>, network: &Network) -> Read<FullJacobians> {
    let (dim, layers, samples) = (network.architecture.dim, network.architecture.layers, network.x.cols);
    let outputs = node.field("outputs")?;
    Ok(FullJacobians {
        jacobians: arrays(&outputs.field("J")?, samples, [dim, dim])?,
        log_abs_dets: numbers(&outputs.field("log_abs_det")?, samples)?,
        gradient: Direction {
            weights: arrays(&outputs.field("dW")?, layers, [dim, dim])?,
            biases: biases(&outputs.field("db")?, &network.architecture, dim)?,
        },
    })
}

impl FullJacobians {
    pub(crate) fn errors<T: Scalar>(&self, device: &Cpu, network: &Network, mode: Mode) -> Result<Vec<f64>> {
        let (parameters, x) = network.on::<T>(device)?;
        let (dim, samples) = (network.architecture.dim, x.cols());
        let backend = Autodiff { mode, ..Autodiff::default() };
        let mut work = GradientBackend::<Cpu, T>::workspace(&backend, device, &network.architecture, samples)?;
        let mut out = Gradient::zeros(device, &network.architecture, "gradient")?;
        backend.gradient(device, &parameters, x.view(), &mut work, &mut out)?;
        let theirs = self.gradient.weights.iter().chain(&self.gradient.biases);
        let error = |(ours, theirs)| Ok(distance(&wide(device, Matrix::view(ours))?, theirs));
        let mut errors = out.iter().zip(theirs).map(error).collect::<Result<Vec<f64>>>()?;
        let log_dets = work.log_abs_det_jacobian().iter().copied();
        errors.push(relative_error(log_dets, self.log_abs_dets.iter().copied()));
        let mut jacobians = Matrix::zeros(device, dim, dim * samples, "Jacobians")?;
        work.jacobians(device, &parameters, x.view(), &mut jacobians)?;
        for (n, theirs) in self.jacobians.iter().enumerate() {
            errors.push(distance(&wide(device, jacobians.view().columns(n * dim, dim))?, theirs));
        }
        Ok(errors)
    }
}
