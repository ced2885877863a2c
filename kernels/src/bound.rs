//! From the name of a method to the backend that computes it, with its work memory, and to what that costs: the one
//! place where name and code meet.

mod cost;

pub(crate) use cost::cost_of_dense;
pub use cost::{cost_of_refresh, cost_of_solve};

use crate::Tuned;
use crate::backend::autodiff::{Autodiff, Jacobians, Mode};
use crate::backend::{
    BiasMode, GradientBackend, Hutchinson, NewtonSchulz, Ordinary, Refresh, Relative, Sketched, Solved, Transposed,
};
use crate::check::{self, Check, Kind};
use crate::device::{Device, Matrix};
use crate::error::{Error, Result};
use crate::layer::{Coupling, Dense, ForGroup, Group, MaybeGroup};
use crate::method::Method;
use crate::network::Architecture;
use crate::parameters::{Batch, Gradient, Parameters};
use crate::scalar::Scalar;

/// A backend of any type with its work memory. Each gradient is one call through a pointer.
pub struct Bound<D: Device<T>, T: Scalar, C: Coupling<D, T> = Dense> {
    kind: Kind,
    backend: Box<dyn Erased<D, T, C>>,
}

/// What to bind.
struct Request<'a, C> {
    /// The method, with its numbers.
    tuned: Tuned,
    /// Treatment of the biases; it concerns the relative gradient alone.
    bias_mode: BiasMode,
    /// The network.
    architecture: &'a Architecture<C>,
    /// Batch size N.
    batch: usize,
}

/// The backend whose direction is that of `method`, with work memory for batches of `batch` samples; that of
/// [`Method::is_step`] is the relative gradient, which [`crate::step::InPlaceStep`] applies without storing it.
/// `bias_mode` concerns the relative gradient alone.
///
/// # Errors
/// Those of [`GradientBackend::workspace`]; [`crate::Error::ShapeMismatch`] for a method that the coupling has no form
/// for.
pub fn bind<D: Device<T> + 'static, T: Scalar, C: MaybeGroup<D, T>>(
    device: &D,
    method: impl Into<Tuned>,
    bias_mode: BiasMode,
    architecture: &Architecture<C>,
    batch: usize,
) -> Result<Bound<D, T, C>> {
    let request = Request { tuned: method.into(), bias_mode, architecture, batch };
    let Tuned { method, tuning } = request.tuned;
    let autodiff = |mode, jacobians| Bound::new(device, Kind::Ordinary, Autodiff { mode, jacobians }, &request);
    architecture.validate()?;
    match method {
        Method::Relative
        | Method::RelativeInPlace
        | Method::RelativeDelayed
        | Method::RelativeCarried
        | Method::Transposed => architecture.coupling.if_group(OfGroup { device, request: &request }),
        Method::Ordinary | Method::OrdinaryCarried => Bound::new(device, Kind::Ordinary, Ordinary, &request),
        Method::Autodiff => autodiff(Mode::Forward, Jacobians::Batched),
        Method::AutodiffStreamed => autodiff(Mode::Forward, Jacobians::Streamed),
        Method::AutodiffReverse => autodiff(Mode::Reverse, Jacobians::Batched),
        Method::SelfNormalizing | Method::FreeForm => {
            Err(Error::shape("direction to store", "a method that stores one", method))
        }
        Method::NewtonSchulz => Bound::new(device, Kind::Ordinary, NewtonSchulz::default(), &request),
        Method::Hutchinson => Bound::new(device, Kind::Ordinary, Hutchinson::tuned(tuning), &request),
        Method::Plu | Method::Qr if architecture.coupling.own_method() == Some(method) => {
            Bound::new(device, Kind::Ordinary, Ordinary, &request)
        }
        Method::Plu | Method::Qr => {
            Err(Error::shape(method.name(), "layers of this method", format!("{:?}", architecture.coupling)))
        }
    }
}

/// As [`bind`] in mode `exact`, for a backend whose gradients are timed: each is to take what the second one takes.
pub(crate) fn bind_to_time<D: Device<T> + 'static, T: Scalar, C: MaybeGroup<D, T>>(
    device: &D,
    tuned: Tuned,
    architecture: &Architecture<C>,
    batch: usize,
) -> Result<Bound<D, T, C>> {
    if tuned.method != Method::NewtonSchulz {
        return bind(device, tuned, BiasMode::Exact, architecture, batch);
    }
    let request = Request { tuned, bias_mode: BiasMode::Exact, architecture, batch };
    Bound::new(device, Kind::Ordinary, NewtonSchulz { restarts: true }, &request)
}

/// ‖RΔW‖ of the plain step ΔW that a timed gradient of [`Method::NewtonSchulz`] follows, in the layer where it is
/// largest: the size of a step of 10⁻³ where ‖RG‖ is 10 (MATH.md §19).
pub(crate) const STEP_RESIDUAL: f64 = 0.01;

/// Binds the methods that need a group.
struct OfGroup<'a, D, C> {
    device: &'a D,
    request: &'a Request<'a, C>,
}

impl<D: Device<T> + 'static, T: Scalar, C: Coupling<D, T>> ForGroup<D, T, C> for OfGroup<'_, D, C> {
    type Out = Bound<D, T, C>;

    fn call(self, _group: C) -> Result<Bound<D, T, C>>
    where
        C: Group<D, T>,
    {
        let Self { device, request } = self;
        match request.tuned.method {
            Method::Transposed => Bound::new(device, Kind::Transposed, Transposed, request),
            _ => Bound::new(device, Kind::Relative, Relative { bias_mode: request.bias_mode }, request),
        }
    }
}

impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> Bound<D, T, C> {
    fn new<B: GradientBackend<D, T, C> + 'static>(
        device: &D,
        kind: Kind,
        backend: B,
        request: &Request<'_, C>,
    ) -> Result<Self>
    where
        D: 'static,
    {
        let workspace = backend.workspace(device, request.architecture, request.batch)?;
        Ok(Self { kind, backend: Box::new(WithWorkspace { backend, workspace }) })
    }

    /// The same, after which the first weight's gradient is overwritten with ones: wrong on purpose.
    #[cfg(feature = "inject")]
    pub(crate) fn wrong(self) -> Self
    where
        D: 'static,
    {
        Self { kind: self.kind, backend: Box::new(Wrong(self.backend)) }
    }

    /// What a check compares its direction with.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// As [`GradientBackend::gradient`]; allocates nothing.
    ///
    /// # Errors
    /// Those of [`GradientBackend::gradient`].
    pub fn gradient<'a>(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: impl Into<Batch<'a, D, T>>,
        out: &mut Gradient<D, T>,
    ) -> Result<()>
    where
        D: 'a,
    {
        self.backend.gradient(device, parameters, batch.into(), out)
    }

    /// As [`GradientBackend::refresh`].
    pub fn refresh(&self) -> Option<Refresh> {
        self.backend.refresh()
    }

    /// As [`GradientBackend::solved`].
    pub fn solved(&self) -> Option<Solved> {
        self.backend.solved()
    }

    /// Checks the gradient that it has just computed at `parameters` for the batch `x`.
    ///
    /// # Errors
    /// Those of [`check::gradient`].
    pub fn check(
        &self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        x: &Matrix<D, T>,
        gradient: &Gradient<D, T>,
    ) -> Result<Check> {
        match self.backend.sketched(device)? {
            Some(sketched) => check::sketched(device, &sketched, parameters, x, gradient),
            None => check::gradient(device, self.kind, parameters, x, gradient),
        }
    }
}

trait Erased<D: Device<T>, T: Scalar, C: Coupling<D, T>> {
    fn gradient<'a>(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: Batch<'a, D, T>,
        out: &mut Gradient<D, T>,
    ) -> Result<()>
    where
        D: 'a;

    fn refresh(&self) -> Option<Refresh>;

    fn solved(&self) -> Option<Solved>;

    fn sketched(&self, device: &D) -> Result<Option<Sketched>>;
}

struct WithWorkspace<B, W> {
    backend: B,
    workspace: W,
}

impl<D, T, C, B> Erased<D, T, C> for WithWorkspace<B, B::Workspace>
where
    D: Device<T>,
    T: Scalar,
    C: Coupling<D, T>,
    B: GradientBackend<D, T, C>,
{
    fn gradient<'a>(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: Batch<'a, D, T>,
        out: &mut Gradient<D, T>,
    ) -> Result<()>
    where
        D: 'a,
    {
        self.backend.gradient(device, parameters, batch, &mut self.workspace, out)
    }

    fn refresh(&self) -> Option<Refresh> {
        B::refresh(&self.workspace)
    }

    fn solved(&self) -> Option<Solved> {
        B::solved(&self.workspace)
    }

    fn sketched(&self, device: &D) -> Result<Option<Sketched>> {
        self.backend.sketched(device, &self.workspace)
    }
}

#[cfg(feature = "inject")]
struct Wrong<D: Device<T>, T: Scalar, C: Coupling<D, T>>(Box<dyn Erased<D, T, C>>);

#[cfg(feature = "inject")]
impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> Erased<D, T, C> for Wrong<D, T, C> {
    fn gradient<'a>(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: Batch<'a, D, T>,
        out: &mut Gradient<D, T>,
    ) -> Result<()>
    where
        D: 'a,
    {
        self.0.gradient(device, parameters, batch, out)?;
        device.fill(T::of(1.0), out.weights[0].view_mut())
    }

    fn refresh(&self) -> Option<Refresh> {
        self.0.refresh()
    }

    fn solved(&self) -> Option<Solved> {
        self.0.solved()
    }

    fn sketched(&self, device: &D) -> Result<Option<Sketched>> {
        self.0.sketched(device)
    }
}
