//! From the name of a method to the backend that computes it, with its work memory: the one place where the two meet
//! for dense layers ([`crate::convolution::prepare`] has its own).

use crate::backend::autodiff::{Autodiff, Jacobians};
use crate::backend::{BiasMode, GradientBackend, Ordinary, Relative, Transposed};
use crate::check::Kind;
use crate::device::{Device, MatrixRef};
use crate::error::Result;
use crate::method::Method;
use crate::network::Architecture;
use crate::parameters::{Gradient, Parameters};
use crate::scalar::Scalar;

/// A backend with its work memory, whatever its type. One call through a pointer a gradient.
pub struct Bound<D: Device<T>, T: Scalar> {
    kind: Kind,
    backend: Box<dyn Erased<D, T>>,
}

/// The backend whose direction is that of `method`, with work memory for batches of `batch` samples; that of
/// [`Method::RelativeInPlace`] is the relative gradient, which [`crate::step::InPlaceStep`] applies without storing it.
/// `bias_mode` concerns the relative gradient alone.
///
/// # Errors
/// Those of [`GradientBackend::workspace`].
pub fn bind<D: Device<T> + 'static, T: Scalar>(
    device: &D,
    method: Method,
    bias_mode: BiasMode,
    architecture: &Architecture,
    batch: usize,
) -> Result<Bound<D, T>> {
    let (batched, streamed) = (Jacobians::Batched, Jacobians::Streamed);
    let shape = (architecture, batch);
    match method {
        Method::Relative | Method::RelativeInPlace => Bound::new(device, Kind::Relative, Relative { bias_mode }, shape),
        Method::Transposed => Bound::new(device, Kind::Transposed, Transposed, shape),
        Method::Ordinary => Bound::new(device, Kind::Ordinary, Ordinary, shape),
        Method::Autodiff => Bound::new(device, Kind::Ordinary, Autodiff { jacobians: batched }, shape),
        Method::AutodiffStreamed => Bound::new(device, Kind::Ordinary, Autodiff { jacobians: streamed }, shape),
    }
}

impl<D: Device<T>, T: Scalar> Bound<D, T> {
    fn new<B: GradientBackend<D, T> + 'static>(
        device: &D,
        kind: Kind,
        backend: B,
        (architecture, batch): (&Architecture, usize),
    ) -> Result<Self>
    where
        D: 'static,
    {
        let workspace = backend.workspace(device, architecture, batch)?;
        Ok(Self { kind, backend: Box::new(WithWorkspace { backend, workspace }) })
    }

    /// What a check compares its direction with.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// As [`GradientBackend::gradient`]; allocates nothing.
    ///
    /// # Errors
    /// Those of [`GradientBackend::gradient`].
    pub fn gradient(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        self.backend.gradient(device, parameters, x, out)
    }

    /// The same, after which the first weight's gradient is overwritten with ones: wrong on purpose.
    #[cfg(feature = "inject")]
    pub(crate) fn wrong(self) -> Self
    where
        D: 'static,
    {
        Self { kind: self.kind, backend: Box::new(Wrong(self.backend)) }
    }
}

trait Erased<D: Device<T>, T: Scalar> {
    fn gradient(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        out: &mut Gradient<D, T>,
    ) -> Result<()>;
}

struct WithWorkspace<D: Device<T>, T: Scalar, B: GradientBackend<D, T>> {
    backend: B,
    workspace: B::Workspace,
}

impl<D: Device<T>, T: Scalar, B: GradientBackend<D, T>> Erased<D, T> for WithWorkspace<D, T, B> {
    fn gradient(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        self.backend.gradient(device, parameters, x, &mut self.workspace, out)
    }
}

#[cfg(feature = "inject")]
struct Wrong<D: Device<T>, T: Scalar>(Box<dyn Erased<D, T>>);

#[cfg(feature = "inject")]
impl<D: Device<T>, T: Scalar> Erased<D, T> for Wrong<D, T> {
    fn gradient(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        self.0.gradient(device, parameters, x, out)?;
        device.fill(T::of(1.0), out.weights[0].view_mut())
    }
}
