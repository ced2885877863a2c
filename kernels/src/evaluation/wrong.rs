//! A backend that is wrong on purpose.

use super::{Evaluation, Workload, stored};
use crate::backend::autodiff::{Autodiff, Jacobians};
use crate::backend::{GradientBackend, Ordinary, Relative, Transposed};
use crate::check::Kind;
use crate::device::{Device, MatrixRef};
use crate::error::{Error, Result};
use crate::method::Method;
use crate::network::Architecture;
use crate::parameters::{Gradient, Parameters};
use crate::scalar::Scalar;

pub(super) fn prepare<D: Device<T> + 'static, T: Scalar>(
    device: D,
    workload: &Workload,
) -> Result<Box<dyn Evaluation>> {
    let autodiff = |jacobians| Wrong(Autodiff { jacobians });
    match workload.method {
        Method::Relative => stored(device, workload, Wrong(Relative::default()), Kind::Relative),
        Method::Transposed => stored(device, workload, Wrong(Transposed), Kind::Transposed),
        Method::Ordinary => stored(device, workload, Wrong(Ordinary), Kind::Ordinary),
        Method::Autodiff => stored(device, workload, autodiff(Jacobians::Batched), Kind::Ordinary),
        Method::AutodiffStreamed => stored(device, workload, autodiff(Jacobians::Streamed), Kind::Ordinary),
        _ => Err(Error::Unknown {
            kind: "method with a stored gradient",
            name: workload.method.to_string(),
            expected: "one that stores its gradient".to_owned(),
        }),
    }
}

/// The inner backend, after which the first weight's gradient is overwritten with ones.
struct Wrong<B>(B);

impl<D: Device<T>, T: Scalar, B: GradientBackend<D, T>> GradientBackend<D, T> for Wrong<B> {
    type Workspace = B::Workspace;

    fn workspace(&self, device: &D, architecture: &Architecture, batch: usize) -> Result<Self::Workspace> {
        self.0.workspace(device, architecture, batch)
    }

    fn gradient(
        &self,
        device: &D,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        workspace: &mut Self::Workspace,
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        self.0.gradient(device, parameters, x, workspace, out)?;
        device.fill(T::of(1.0), out.weights[0].view_mut())
    }
}
