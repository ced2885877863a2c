//! The ordinary gradient: back-propagation plus the explicit inverse of every weight.

use super::GradientBackend;
use super::relative::{require_gradient, write_error};
use crate::conditional::Condition;
use crate::device::{Addend, Device, Inversion, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::forward::ValuesWorkspace;
use crate::network::Architecture;
use crate::parameters::{Gradient, Parameters};
use crate::scalar::Scalar;

/// G_k = (1/N) δ_k Z_{k-1}ᵀ + W_k^{-T}, g_k = (1/N) δ_k 1 \[M9\]; one LU per layer, shared by the whole batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ordinary;

/// Work memory: L+3 blocks of D×N, one D×D matrix for the LU factors (the inverse is built in the gradient's own
/// buffer), and ones for the mean of the bias.
pub struct Workspace<D: Device<T>, T: Scalar> {
    values: ValuesWorkspace<D, T>,
    factors: Matrix<D, T>,
    factorization: D::Factorization,
    ones: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar> Workspace<D, T> {
    /// The density of the outputs, where it is not the architecture's own.
    pub(crate) fn condition(&mut self) -> &mut Option<Condition<D, T>> {
        &mut self.values.condition
    }
}

impl<D: Device<T>, T: Scalar> GradientBackend<D, T> for Ordinary {
    type Workspace = Workspace<D, T>;

    fn workspace(&self, device: &D, architecture: &Architecture, batch: usize) -> Result<Self::Workspace> {
        let dim = architecture.dim;
        let values = ValuesWorkspace::new(device, architecture, batch)?;
        let factors = Matrix::zeros(device, dim, dim, "LU factors")?;
        let samples = if architecture.bias { batch } else { 0 };
        let mut ones = Matrix::zeros(device, samples, 1, "ones")?;
        device.fill(T::of(1.0), ones.view_mut())?;
        Ok(Workspace { values, factors, factorization: device.factorization(dim, 1)?, ones })
    }

    fn gradient(
        &self,
        device: &D,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        workspace: &mut Self::Workspace,
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        require_gradient(parameters.architecture(), out)?;
        workspace.values.forward(device, parameters, x)?;
        for k in (0..parameters.architecture().layers).rev() {
            write_error(device, parameters, k, &mut workspace.values)?;
            invert_weight(device, parameters, k, workspace, out)?;
            add_mean_outer_product(device, parameters, k, x, workspace, out)?;
        }
        Ok(())
    }
}

/// G_k ← W_k^{-T}.
fn invert_weight<D: Device<T>, T: Scalar>(
    device: &D,
    parameters: &Parameters<D, T>,
    k: usize,
    workspace: &mut Workspace<D, T>,
    out: &mut Gradient<D, T>,
) -> Result<()> {
    let Workspace { factors, factorization, .. } = workspace;
    device.copy(parameters.weight(k), factors.view_mut())?;
    let mut report = [Inversion { log_abs_det: 0.0, condition: 0.0 }];
    device.invert_transposed(factors.view_mut(), out.weights[k].view_mut(), factorization, &mut report)?;
    if report[0].is_singular::<T>(parameters.architecture().dim) {
        let matrix = format!("weight of layer {}", k + 1);
        return Err(Error::Singular { matrix, condition: report[0].condition });
    }
    Ok(())
}

/// G_k ← G_k + (1/N) δ_k Z_{k-1}ᵀ, g_k ← (1/N) δ_k 1, and V_k = W_kᵀ δ_k for the layer below.
fn add_mean_outer_product<D: Device<T>, T: Scalar>(
    device: &D,
    parameters: &Parameters<D, T>,
    k: usize,
    x: MatrixRef<'_, D, T>,
    workspace: &mut Workspace<D, T>,
    out: &mut Gradient<D, T>,
) -> Result<()> {
    let Workspace { values, ones, .. } = workspace;
    let batch = values.batch;
    let one = T::of(1.0);
    let mean = T::of(1.0 / batch as f64);
    let delta = values.trail.view().columns((k + 1) * batch, batch);
    if let Some(bias) = out.biases.get_mut(k) {
        device.multiply(mean, delta.plain(), ones.view().plain(), Addend::Zero, bias.view_mut())?;
    }
    let (mut carried, pulled) = values.pair.view_mut().split_columns(batch);
    if k > 0 {
        device.multiply(one, parameters.weight(k).transposed(), delta.plain(), Addend::Zero, pulled)?;
        let below = values.trail.view_mut().columns((k - 1) * batch, batch);
        device.bias_activate(parameters.architecture().activation, None, below, carried.reborrow())?;
    }
    let carried = if k > 0 { carried.view() } else { x.shorten() };
    let delta = values.trail.view().columns((k + 1) * batch, batch);
    let out = out.weights[k].view_mut();
    device.multiply(mean, delta.plain(), carried.transposed(), Addend::Scaled(one), out)
}
