//! Networks whose layers are circular convolutions \[M24\]–\[M27\], on the CPU.
//!
//! The DFT over the grid makes the D×D block-circulant matrix of a layer block-diagonal: one c×c matrix K̂(ω) a
//! frequency. Log-determinants \[M25\], gradients \[M26\] and inverses then cost O(n(c²N + c³) + cNn log n). Kernels
//! are real, so that half of the frequencies stand for all.
//!
//! | kernel | gradient | |
//! | --- | --- | --- |
//! | any | [`Ordinary`] \[M26\] | exact |
//! | any | [`Autodiff`], on the dense block-circulant matrix | exact, the baseline |
//! | every tap, or 1×1 | [`Relative`] \[M27\], \[M11\]–\[M14\] | exact: these kernels are groups |
//! | any | [`Preconditioned`] | a proposal: an ascent direction, not a relative gradient |
//!
//! As everywhere: directions of ascent, means over the batch, `workspace` takes all memory and `gradient` takes none.

mod autodiff;
mod check;
mod cost;
mod dense;
mod evaluation;
mod init;
mod inversion;
mod likelihood;
mod ordinary;
mod parameters;
mod pointwise;
mod preconditioned;
mod product;
mod relative;
mod transform;
mod values;

pub use autodiff::Autodiff;
pub use cost::cost;
pub use dense::{dense_parameters, project_mean, project_sum};
pub use evaluation::prepare;
pub use init::network;
pub use inversion::Inverter;
pub use likelihood::Evaluator;
pub use ordinary::Ordinary;
pub use parameters::{Arrays, Gradient, Parameters};
pub use preconditioned::Preconditioned;
pub use relative::Relative;

use crate::device::{Cpu, MatrixRef};
use crate::error::Result;
use crate::network::Architecture;
use crate::scalar::Scalar;

/// A working precision that can be transformed: f32 or f64.
pub trait Spectral: Scalar + realfft::FftNum {}

impl<T: Scalar + realfft::FftNum> Spectral for T {}

/// A way to an ascent direction of (1/N) Σ_n ℓ(x_n) for a network of convolutions.
pub trait ConvolutionBackend<T: Spectral> {
    /// Work memory, reusable for any batch of the same size.
    type Workspace;

    /// Takes the work memory for batches of `batch` samples.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`], [`crate::Error::InvalidParameter`]; [`crate::Error::ShapeMismatch`] for kernels
    /// that the backend has no direction for.
    fn workspace(&self, device: &Cpu, architecture: &Architecture, batch: usize) -> Result<Self::Workspace>;

    /// Writes the direction at `parameters` for the batch `x` (D×N, one sample per column) to `out`.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`] when an operand is not of the workspace's sizes; [`crate::Error::NonFinite`] for
    /// a batch or parameters that are not finite; [`crate::Error::Singular`] names layer and frequency where the
    /// backend must invert and cannot. After an error `out` holds nothing of use.
    fn gradient(
        &self,
        device: &Cpu,
        parameters: &Parameters<T>,
        x: MatrixRef<'_, Cpu, T>,
        workspace: &mut Self::Workspace,
        out: &mut Gradient<T>,
    ) -> Result<()>;
}
