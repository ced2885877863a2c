//! The ordinary gradient: back-propagation plus the explicit inverse of every weight.

use super::GradientBackend;
use crate::device::{Addend, Device, Matrix, MatrixMut};
use crate::error::Result;
use crate::forward::ValuesWorkspace;
use crate::layer::{Coupling, Dense};
use crate::network::Architecture;
use crate::parameters::{Batch, Gradient, Layer, Parameters};
use crate::scalar::Scalar;

/// G_k = (1/N) δ_k Z_{k-1}ᵀ + W_k^{-T}, g_k = (1/N) δ_k 1 \[M9\]; one inverse per layer, shared by the whole batch. For
/// circular convolutions \[M26\].
#[derive(Debug, Clone, Copy, Default)]
pub struct Ordinary;

/// Work memory: that of the passes, and that of the coupling's inverse.
pub struct Workspace<D: Device<T>, T: Scalar, C: Coupling<D, T> = Dense> {
    pub(super) passes: Passes<D, T, C>,
    inverse: C::Inverse,
}

/// What back-propagation takes besides an inverse: L+3 blocks of D×N, and ones for the mean of the bias.
pub(super) struct Passes<D: Device<T>, T: Scalar, C: Coupling<D, T>> {
    pub(super) values: ValuesWorkspace<D, T, C>,
    ones: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> GradientBackend<D, T, C> for Ordinary {
    type Workspace = Workspace<D, T, C>;

    fn workspace(&self, device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self::Workspace> {
        let passes = Passes::new(device, architecture, batch)?;
        Ok(Workspace { passes, inverse: architecture.coupling.inverse(device, architecture.dim)? })
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
        let Workspace { passes, inverse } = workspace;
        let coupling = parameters.architecture().coupling;
        passes.gradient(device, parameters, batch.into(), out, |layer, out, work| {
            coupling.invert_transposed(device, layer, out, inverse, work)?;
            Ok(T::of(coupling.multiplicity()))
        })
    }
}

impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> Passes<D, T, C> {
    pub(super) fn new(device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self> {
        let values = ValuesWorkspace::new(device, architecture, batch)?;
        let samples = if architecture.bias { batch * architecture.coupling.weights_per_sample() } else { 0 };
        let mut ones = Matrix::zeros(device, samples, 1, "ones")?;
        device.fill(T::of(1.0), ones.view_mut())?;
        Ok(Self { values, ones })
    }

    /// The gradient, with the share of log|det W_k| from `invert`, last layer first: what that writes, times the factor
    /// that it returns.
    pub(super) fn gradient(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: Batch<'_, D, T>,
        out: &mut Gradient<D, T>,
        mut invert: impl FnMut(&Layer<'_, D, T>, MatrixMut<'_, D, T>, &mut C::Work) -> Result<T>,
    ) -> Result<()> {
        let architecture = parameters.architecture();
        out.require_fit("gradient", architecture)?;
        self.values.forward(device, parameters.network(), batch.shorten())?;
        for k in (0..architecture.layers).rev() {
            self.values.write_error(device, architecture, k)?;
            if k + 1 == architecture.layers {
                let mean = 1.0 / batch.x.cols() as f64;
                self.values.head.add_gradient(device, (mean, 0.0), batch.u, out.head.as_mut())?;
            }
            let layer = parameters.network().layer(k);
            let factor = invert(&layer, out.weights[k].view_mut(), &mut self.values.work)?;
            add_data(device, architecture, (&layer, factor), batch.shorten(), self, out)?;
        }
        Ok(())
    }
}

/// G_k ← factor·G_k + (1/N) δ_k Z_{k-1}ᵀ, g_k ← (1/N) δ_k 1, and V_k = W_kᵀ δ_k for the layer below.
fn add_data<D: Device<T>, T: Scalar, C: Coupling<D, T>>(
    device: &D,
    architecture: &Architecture<C>,
    (layer, factor): (&Layer<'_, D, T>, T),
    batch: Batch<'_, D, T>,
    Passes { values, ones }: &mut Passes<D, T, C>,
    out: &mut Gradient<D, T>,
) -> Result<()> {
    let samples = values.batch();
    let mean = T::of(1.0 / samples as f64);
    let (k, coupling) = (layer.index, architecture.coupling);
    if let Some(bias) = out.biases.get_mut(k) {
        let delta = values.trail.view().columns((k + 1) * samples, samples);
        let factors = (delta, ones.view());
        coupling.outer_bias(device, mean, factors, Addend::Zero, bias.view_mut(), &mut values.work)?;
    }
    if k > 0 {
        values.carry(device, architecture, k - 1)?;
    }
    let ValuesWorkspace { trail, pair, work, .. } = values;
    let delta = trail.view().columns((k + 1) * samples, samples);
    let (z, v) = pair.view_mut().split_columns(samples);
    let (carried, v) = if k > 0 { (z.view(), Some(v)) } else { (batch.x.shorten(), None) };
    coupling.differentiate(device, layer, (mean, factor), (delta, carried), (v, out.weights[k].view_mut()), work)
}
