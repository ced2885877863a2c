//! A preconditioned gradient for couplings that are no group: a proposal, not a relative gradient.

use super::{GradientBackend, Ordinary, ordinary};
use crate::device::Cpu;
use crate::error::Result;
use crate::layer::{Circular, Geometry, Spectral};
use crate::network::Architecture;
use crate::parameters::{Batch, Gradient, Parameters};

/// ΔK = (1/n) P_S(gK_S ∗ KᵀK), with gK_S the ordinary gradient of the taps S \[M26\] and P_S the restriction to them;
/// Δb = gb/n.
///
/// Kernels supported on S ≠ all are not closed under products, so there is no relative gradient in the paper's sense.
/// This is what would be one for S = all, made to ascend for any S: ⟨gK_S, ΔK⟩ = ‖gK_S Wᵀ‖²/n² ≥ 0, since P_S drops
/// only what gK_S does not have. It is **not** equivariant, and it needs the inverses that the relative gradient does
/// without. (\[M27\] restricted to S does not always ascend.)
#[derive(Debug, Clone, Copy, Default)]
pub struct Preconditioned;

impl<T: Spectral, const FULL: bool> GradientBackend<Cpu, T, Circular<FULL>> for Preconditioned {
    type Workspace = ordinary::Workspace<Cpu, T, Circular<FULL>>;

    fn workspace(
        &self,
        device: &Cpu,
        architecture: &Architecture<Circular<FULL>>,
        batch: usize,
    ) -> Result<Self::Workspace> {
        Ordinary.workspace(device, architecture, batch)
    }

    fn gradient<'a>(
        &self,
        device: &Cpu,
        parameters: &Parameters<Cpu, T, Circular<FULL>>,
        batch: impl Into<Batch<'a, Cpu, T>>,
        workspace: &mut Self::Workspace,
        out: &mut Gradient<Cpu, T>,
    ) -> Result<()>
    where
        Cpu: 'a,
    {
        Ordinary.gradient(device, parameters, batch, workspace, out)?;
        let coupling = parameters.architecture().coupling;
        let scale = T::of(1.0 / coupling.multiplicity());
        for (k, kernel) in out.weights.iter_mut().enumerate() {
            coupling.times_gram(k, scale, kernel.view_mut(), &mut workspace.passes.values.work);
        }
        for bias in &mut out.biases {
            bias.view_mut().into_slice().iter_mut().for_each(|b| *b *= scale);
        }
        Ok(())
    }
}
