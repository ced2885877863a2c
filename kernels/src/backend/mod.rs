//! The gradient backends: interchangeable ways to the gradient of the mean log-likelihood over a batch.

pub mod autodiff;
pub mod hutchinson;
pub mod newton_schulz;
pub mod ordinary;
pub mod preconditioned;
pub mod relative;

pub use autodiff::Autodiff;
pub use hutchinson::{Hutchinson, Sketched, Solved};
pub use newton_schulz::{NewtonSchulz, Refresh};
pub use ordinary::Ordinary;
pub use preconditioned::Preconditioned;
pub(crate) use relative::RelativeCoordinates;
pub use relative::{BiasMode, Relative, Transposed};

use crate::device::Device;
use crate::error::Result;
use crate::layer::{Coupling, Dense};
use crate::network::Architecture;
use crate::parameters::{Batch, Gradient, Parameters};
use crate::scalar::Scalar;

/// Computes an ascent direction of (1/N) Σ_n ℓ(x_n), \[M2\], for networks with layers of `C`.
///
/// `workspace` allocates all memory; `gradient` allocates none. With every backend, the direction of a conditional
/// density is its ordinary gradient.
pub trait GradientBackend<D: Device<T>, T: Scalar, C: Coupling<D, T> = Dense> {
    /// Work memory, reusable for any batch of the same size.
    type Workspace;

    /// Takes the work memory for batches of `batch` samples.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`], [`crate::Error::InvalidParameter`], [`crate::Error::ShapeMismatch`].
    fn workspace(&self, device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self::Workspace>;

    /// Writes the direction at `parameters` for a batch (D×N, one sample per column, with its conditions where the
    /// density has them) to `out`, whose old contents do not matter.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`] when an operand is not of the workspace's sizes;
    /// [`crate::Error::NonFinite`] for a batch or parameters that are not finite; [`crate::Error::Singular`] where the
    /// backend must invert and cannot. After an error the contents of `out` are undefined.
    fn gradient<'a>(
        &self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: impl Into<Batch<'a, D, T>>,
        workspace: &mut Self::Workspace,
        out: &mut Gradient<D, T>,
    ) -> Result<()>
    where
        D: 'a;

    /// What the inverses of the last gradient took, where they are refreshed.
    fn refresh(_workspace: &Self::Workspace) -> Option<Refresh> {
        None
    }

    /// What the solves of the last gradient took, where inverses are known by their products with probes alone.
    fn solved(_workspace: &Self::Workspace) -> Option<Solved> {
        None
    }

    /// Which probes the last gradient knows its inverses by; `None` where it knows all of them.
    ///
    /// # Errors
    /// Those of the device.
    fn sketched(&self, _device: &D, _workspace: &Self::Workspace) -> Result<Option<Sketched>> {
        Ok(None)
    }
}
