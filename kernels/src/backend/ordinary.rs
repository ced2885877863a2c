//! The ordinary gradient: back-propagation plus the explicit inverse of every weight.

use super::GradientBackend;
use crate::device::{Addend, Device, Matrix};
use crate::error::Result;
use crate::forward::ValuesWorkspace;
use crate::layer::{Coupling, Dense, Seen, SeenBlock};
use crate::network::Architecture;
use crate::parameters::{Batch, Gradient, Parameters};
use crate::scalar::Scalar;

/// G_k = (1/N) δ_k Z_{k-1}ᵀ + W_k^{-T}, g_k = (1/N) δ_k 1 \[M9\]; one inverse per layer, shared by the whole batch. For
/// circular convolutions \[M26\].
#[derive(Debug, Clone, Copy, Default)]
pub struct Ordinary;

/// Work memory: L+3 blocks of D×N, that of the coupling's inverse, and ones for the mean of the bias.
pub struct Workspace<D: Device<T>, T: Scalar, C: Coupling<D, T> = Dense> {
    pub(super) values: ValuesWorkspace<D, T, C>,
    inverse: C::Inverse,
    ones: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> GradientBackend<D, T, C> for Ordinary {
    type Workspace = Workspace<D, T, C>;

    fn workspace(&self, device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self::Workspace> {
        let values = ValuesWorkspace::new(device, architecture, batch)?;
        let inverse = architecture.coupling.inverse(device, architecture.dim)?;
        let samples = if architecture.bias { batch * architecture.coupling.weights_per_sample() } else { 0 };
        let mut ones = Matrix::zeros(device, samples, 1, "ones")?;
        device.fill(T::of(1.0), ones.view_mut())?;
        Ok(Workspace { values, inverse, ones })
    }

    fn gradient<'a>(
        &self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: impl Into<Batch<'a, D, T>>,
        workspace: &mut Self::Workspace,
        out: &mut Gradient<D, T>,
    ) -> Result<()>
    where
        D: 'a,
    {
        let batch = batch.into();
        let architecture = parameters.architecture();
        out.require_fit("gradient", architecture)?;
        workspace.values.forward(device, parameters.network(), batch)?;
        for k in (0..architecture.layers).rev() {
            workspace.values.write_error(device, architecture, k)?;
            if k + 1 == architecture.layers {
                let mean = 1.0 / batch.x.cols() as f64;
                workspace.values.head.add_gradient(device, (mean, 0.0), batch.u, out.head.as_mut())?;
            }
            layer(device, parameters, k, batch, workspace, out)?;
        }
        Ok(())
    }
}

/// G_k ← W_k^{-T} + (1/N) δ_k Z_{k-1}ᵀ, g_k ← (1/N) δ_k 1, and V_k = W_kᵀ δ_k for the layer below.
fn layer<D: Device<T>, T: Scalar, C: Coupling<D, T>>(
    device: &D,
    parameters: &Parameters<D, T, C>,
    k: usize,
    batch: Batch<'_, D, T>,
    workspace: &mut Workspace<D, T, C>,
    out: &mut Gradient<D, T>,
) -> Result<()> {
    let Workspace { values, inverse, ones } = workspace;
    let samples = values.batch();
    let mean = T::of(1.0 / samples as f64);
    let architecture = parameters.architecture();
    let coupling = architecture.coupling;
    let layer = parameters.network().layer(k);
    coupling.invert_transposed(device, &layer, out.weights[k].view_mut(), inverse, &mut values.work)?;
    if let Some(bias) = out.biases.get_mut(k) {
        let delta = values.trail.view().columns((k + 1) * samples, samples);
        let factors = (delta, ones.view());
        coupling.outer_bias(device, mean, factors, Addend::Zero, bias.view_mut(), &mut values.work)?;
    }
    if k > 0 {
        let ValuesWorkspace { trail, pair, work, .. } = &mut *values;
        let delta = trail.view().columns((k + 1) * samples, samples);
        coupling.pull(device, &layer, delta, pair.view_mut().columns(samples, samples), work)?;
        values.carry(device, architecture, k - 1)?;
    }
    let ValuesWorkspace { trail, pair, work, .. } = values;
    let carried = if k > 0 { pair.view().columns(0, samples) } else { batch.x.shorten() };
    let delta = trail.view().columns((k + 1) * samples, samples);
    let factors = (SeenBlock::new(delta, if k > 0 { Seen::Read } else { Seen::No }), SeenBlock::new(carried, Seen::No));
    let share = Addend::Scaled(T::of(coupling.multiplicity()));
    coupling.outer(device, mean, factors, share, out.weights[k].view_mut(), work)
}
