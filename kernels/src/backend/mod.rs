//! The gradient backends: interchangeable ways to the gradient of the mean log-likelihood over a batch.

pub mod autodiff;
pub mod ordinary;
pub mod relative;

pub use autodiff::Autodiff;
pub use ordinary::Ordinary;
pub use relative::{BiasMode, Relative, Transposed};

use crate::device::{Device, MatrixRef};
use crate::error::Result;
use crate::network::Architecture;
use crate::parameters::{Gradient, Parameters};
use crate::scalar::Scalar;

/// A way to an ascent direction of (1/N) Σ_n ℓ(x_n), \[M2\].
///
/// `workspace` takes all memory that `gradient` will need; `gradient` allocates none.
pub trait GradientBackend<D: Device<T>, T: Scalar> {
    /// Work memory, reusable for any batch of the same size.
    type Workspace;

    /// Takes the work memory for batches of `batch` samples.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`], [`crate::Error::InvalidParameter`].
    fn workspace(&self, device: &D, architecture: &Architecture, batch: usize) -> Result<Self::Workspace>;

    /// Writes the direction at `parameters` for the batch `x` (D×N, one sample per column) to `out`, whose old contents
    /// do not matter.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`] when an operand is not of the workspace's sizes;
    /// [`crate::Error::NonFinite`] for a batch or parameters that are not finite; [`crate::Error::Singular`] where the
    /// backend must invert and cannot. After an error `out` holds nothing of use.
    fn gradient(
        &self,
        device: &D,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        workspace: &mut Self::Workspace,
        out: &mut Gradient<D, T>,
    ) -> Result<()>;
}
