//! One gradient evaluation as something to be checked and timed, whatever its method, device and precision.

use crate::backend::{Refresh, Solved};
use crate::bound::{Bound, STEP_RESIDUAL, bind_to_time};
use crate::check::{self, Check};
use crate::device::{Cpu, Cuda, Device, Matrix, Replay};
use crate::error::{Error, Result};
use crate::init::{self, Init};
use crate::layer::{Coupling, CouplingKind, Dense, ForGroup, Group, MaybeGroup, Spectral, Visitor, best_delay};
use crate::math::Math;
use crate::method::Method;
use crate::network::Architecture;
use crate::optimizer::Updater;
use crate::parameters::{Gradient, Parameters};
use crate::scalar::{Dtype, Scalar};
use crate::stateful::Stateful;
use crate::step::{self, InPlaceStep};
use crate::{Tuned, Tuning, UpdateRule};

/// What to evaluate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload {
    /// The method.
    pub method: Method,
    /// The network.
    pub architecture: Architecture<CouplingKind>,
    /// How its weights are drawn.
    pub init: Init,
    /// Batch size N.
    pub batch: usize,
    /// Working precision.
    pub dtype: Dtype,
    /// CPU threads.
    pub threads: usize,
    /// Seed of network and batch.
    pub seed: u64,
    /// Numbers of a method that approximates.
    pub tuning: Tuning,
}

impl Workload {
    /// With one thread, seed 0, and weights as they are timed.
    pub fn new(
        method: impl Into<Tuned>,
        architecture: impl Into<Architecture<CouplingKind>>,
        batch: usize,
        dtype: Dtype,
    ) -> Self {
        let Tuned { method, tuning } = method.into();
        Self {
            method,
            architecture: architecture.into(),
            init: Init::Conditioned,
            batch,
            dtype,
            threads: 1,
            seed: 0,
            tuning,
        }
    }

    /// The method with its numbers.
    pub fn tuned(&self) -> Tuned {
        Tuned { method: self.method, tuning: self.tuning }
    }
}

/// A prepared workload: all memory taken, ready to be timed.
pub trait Evaluation {
    /// One gradient of the mean log-likelihood over the batch (for an in-place method: one step). Allocates nothing and
    /// waits for the device. This is the timed region.
    ///
    /// # Errors
    /// Those of [`Bound::gradient`].
    fn evaluate(&mut self) -> Result<()>;

    /// Evaluates once and compares the result with an independent computation.
    ///
    /// # Errors
    /// Those of [`Bound::gradient`]. A result that is merely wrong is no error: see [`Check::passed`].
    fn check(&mut self) -> Result<Check>;

    /// The same of the last evaluation's result, where it is still there; evaluates again where it is not.
    ///
    /// # Errors
    /// Those of [`Self::check`].
    fn check_last(&mut self) -> Result<Check> {
        self.check()
    }

    /// Lets the device record the work of [`Self::evaluate`], which from then on asks for all of it in one call.
    /// `false` where the device cannot, and nothing has changed. To be called after the first evaluation.
    ///
    /// # Errors
    /// Those of [`Bound::gradient`].
    fn record(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// What the inverses of the last evaluation took, for a method that refreshes them.
    fn refresh(&self) -> Option<Refresh> {
        None
    }

    /// What the solves of the last evaluation took, for a method that knows inverses by probes alone.
    fn solved(&self) -> Option<Solved> {
        None
    }

    /// As [`Stateful::inverse_error`].
    ///
    /// # Errors
    /// Those of the device.
    fn inverse_error(&mut self) -> Result<Option<f64>> {
        Ok(None)
    }

    /// Forgets a recording: [`Self::evaluate`] asks for the work call by call again.
    fn forget_recording(&mut self) {}
}

/// Takes all memory for `workload` on the CPU and fills in its numbers.
///
/// # Errors
/// [`Error::OutOfMemory`], [`Error::InvalidParameter`]; [`Error::ShapeMismatch`] for a method that the network's layers
/// have no form for.
pub fn prepare(workload: &Workload) -> Result<Box<dyn Evaluation>> {
    prepare_in(Math::of(workload.dtype), workload)
}

/// As [`prepare`], with products in an arithmetic of the workload's number type.
///
/// # Errors
/// Those of [`prepare`]; [`Error::NoArithmetic`]; [`Error::ShapeMismatch`] for layers whose products know no other
/// arithmetic than that of their numbers.
pub fn prepare_in(math: Math, workload: &Workload) -> Result<Box<dyn Evaluation>> {
    prepare_updating(math, workload, None)
}

/// As [`prepare_in`], with an update of the parameters by a rule in every evaluation; that of a method whose evaluation
/// is a step is plain anyway.
///
/// # Errors
/// Those of [`prepare_in`]; [`Error::ShapeMismatch`] for another rule than [`UpdateRule::Plain`] with such a method.
pub fn prepare_updating(math: Math, workload: &Workload, rule: Option<UpdateRule>) -> Result<Box<dyn Evaluation>> {
    if math != Math::of(workload.dtype) && workload.architecture.coupling != CouplingKind::Dense {
        return Err(Error::shape("layers in this arithmetic", "dense ones", "convolutions"));
    }
    let device = Cpu::new(workload.threads).with_math(math)?;
    let coupling = workload.architecture.coupling.moved_by(workload.method);
    match workload.dtype {
        Dtype::F32 => coupling.visit::<f32, _>(OnCpu(device, workload, rule)),
        Dtype::F64 => coupling.visit::<f64, _>(OnCpu(device, workload, rule)),
    }
}

/// As [`prepare`], with a gradient whose first weight is wrong: a fault for tests of what must find it.
///
/// # Errors
/// Those of [`prepare`]; [`Error::Unknown`] for a method that stores no gradient.
#[cfg(feature = "inject")]
pub fn prepare_wrong(workload: &Workload) -> Result<Box<dyn Evaluation>> {
    if workload.method.is_step() {
        let kind = "method with a stored gradient";
        let unknown = relgrad_vocabulary::Unknown::new(kind, workload.method.name(), "one that stores its gradient");
        return Err(unknown.into());
    }
    let coupling = workload.architecture.coupling.moved_by(workload.method);
    match workload.dtype {
        Dtype::F32 => coupling.visit::<f32, _>(WrongOnCpu(workload)),
        Dtype::F64 => coupling.visit::<f64, _>(WrongOnCpu(workload)),
    }
}

#[cfg(feature = "inject")]
struct WrongOnCpu<'a>(&'a Workload);

#[cfg(feature = "inject")]
impl<T: Spectral> Visitor<T> for WrongOnCpu<'_> {
    type Out = Box<dyn Evaluation>;

    fn visit<C: MaybeGroup<Cpu, T>>(self, coupling: C) -> Result<Self::Out> {
        let stored = Stored::new(Cpu::new(self.0.threads), coupling, self.0)?;
        Ok(Box::new(Stored { bound: stored.bound.wrong(), ..stored }))
    }
}

struct OnCpu<'a>(Cpu, &'a Workload, Option<UpdateRule>);

impl<T: Spectral> Visitor<T> for OnCpu<'_> {
    type Out = Box<dyn Evaluation>;

    fn visit<C: MaybeGroup<Cpu, T>>(self, coupling: C) -> Result<Self::Out> {
        let Self(device, workload, rule) = self;
        match rule {
            Some(rule) if !workload.method.is_step() => {
                let stored = Stored::new(device, coupling, workload)?;
                let Problem { device, parameters, .. } = &stored.problem;
                let updater = Updater::new(device, rule, parameters.architecture())?;
                Ok(Box::new(WithUpdate { stored, updater }))
            }
            Some(UpdateRule::Plain) | None => of_layers(device, coupling, workload),
            Some(rule) => Err(Error::shape("update", "a method that stores its gradient", format!("{rule}"))),
        }
    }
}

fn of_layers<D: Device<T> + 'static, T: Scalar, C: MaybeGroup<D, T>>(
    device: D,
    coupling: C,
    workload: &Workload,
) -> Result<Box<dyn Evaluation>> {
    if workload.method.keeps_state() {
        return Ok(Box::new(Kept::new(device, coupling, workload)?));
    }
    if workload.method.is_step() {
        return coupling.if_group(Stepped { device, workload });
    }
    Ok(Box::new(Stored::new(device, coupling, workload)?))
}

/// Takes all memory for `workload`, whose layers are dense, on a GPU.
///
/// # Errors
/// [`Error::OutOfMemory`], [`Error::InvalidParameter`]; [`Error::ShapeMismatch`] for other layers.
pub fn prepare_on_gpu(device: Cuda, workload: &Workload) -> Result<Box<dyn Evaluation>> {
    if workload.architecture.coupling != CouplingKind::Dense {
        return Err(Error::shape("layers on this device", "dense ones", "convolutions"));
    }
    if workload.method.needs_cpu() {
        return Err(Error::shape(workload.method.name(), "a CPU (on a GPU use `relative-inplace`)", "a GPU"));
    }
    match workload.dtype {
        Dtype::F32 => of_layers::<_, f32, _>(device, Dense, workload),
        Dtype::F64 => of_layers::<_, f64, _>(device, Dense, workload),
    }
}

struct Problem<D: Device<T>, T: Scalar, C> {
    device: D,
    parameters: Parameters<D, T, C>,
    x: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> Problem<D, T, C> {
    fn new(device: D, coupling: C, workload: &Workload) -> Result<Self> {
        let Workload { architecture, init, batch, seed, .. } = workload;
        let parameters = init::network(&device, &architecture.with(coupling), *init, *seed)?;
        let x = init::batch(&device, architecture.dim, *batch, *seed)?;
        Ok(Self { device, parameters, x })
    }
}

/// A backend that writes a gradient.
struct Stored<D: Device<T>, T: Scalar, C: MaybeGroup<D, T>> {
    problem: Problem<D, T, C>,
    bound: Bound<D, T, C>,
    gradient: Gradient<D, T>,
    /// Of the work on exactly these buffers.
    recording: Option<Box<dyn Replay>>,
}

impl<D: Device<T> + 'static, T: Scalar, C: MaybeGroup<D, T>> Stored<D, T, C> {
    fn new(device: D, coupling: C, workload: &Workload) -> Result<Self> {
        let Workload { method, batch, .. } = *workload;
        let problem = Problem::new(device, coupling, workload)?;
        let architecture = problem.parameters.architecture();
        let bound = bind_to_time(&problem.device, workload.tuned(), architecture, batch)?;
        let gradient = Gradient::zeros(&problem.device, architecture, "gradient")?;
        let mut stored = Self { problem, bound, gradient, recording: None };
        if method == Method::NewtonSchulz {
            stored.follow_a_step()?;
        }
        Ok(stored)
    }

    /// Leaves the weights one plain step after those whose inverses the backend keeps, so that each later gradient
    /// refreshes the inverses that a training would find: a step at which ‖RΔW‖ of one layer is [`STEP_RESIDUAL`]. Its
    /// length follows from that of a shorter one.
    fn follow_a_step(&mut self) -> Result<()> {
        let mut step = FIRST_STEP;
        for _ in 0..2 {
            self.evaluate()?;
            if let Some(Refresh { residual, .. }) = self.bound.refresh()
                && residual > 0.0
                && residual.is_finite()
            {
                step = FIRST_STEP * (STEP_RESIDUAL / residual - 1.0);
            }
            let Problem { device, parameters, .. } = &mut self.problem;
            for (to, from) in parameters.arrays_mut().weights.iter_mut().zip(&self.gradient.weights) {
                device.add_blocks(T::of(step), from.view(), to.view_mut())?;
            }
        }
        Ok(())
    }
}

impl<D: Device<T>, T: Scalar, C: MaybeGroup<D, T>> Evaluation for Stored<D, T, C> {
    fn evaluate(&mut self) -> Result<()> {
        let Self { problem: Problem { device, parameters, x }, bound, gradient, recording } = self;
        match recording {
            Some(recording) => recording.replay()?,
            None => bound.gradient(device, parameters, x.view(), gradient)?,
        }
        device.synchronize()
    }

    fn check(&mut self) -> Result<Check> {
        self.evaluate()?;
        self.check_last()
    }

    fn check_last(&mut self) -> Result<Check> {
        let Problem { device, parameters, x } = &self.problem;
        self.bound.check(device, parameters, x, &self.gradient)
    }

    fn record(&mut self) -> Result<bool> {
        let Self { problem: Problem { device, parameters, x }, bound, gradient, .. } = self;
        self.recording = device.record(&mut || bound.gradient(device, parameters, x.view(), gradient))?;
        Ok(self.recording.is_some())
    }

    fn refresh(&self) -> Option<Refresh> {
        self.bound.refresh()
    }

    fn solved(&self) -> Option<Solved> {
        self.bound.solved()
    }

    fn forget_recording(&mut self) {
        self.recording = None;
    }
}

/// A stored gradient, and the update of the parameters by it.
struct WithUpdate<T: Scalar, C: MaybeGroup<Cpu, T>> {
    stored: Stored<Cpu, T, C>,
    updater: Updater<Cpu, T>,
}

impl<T: Scalar, C: MaybeGroup<Cpu, T>> Evaluation for WithUpdate<T, C> {
    fn evaluate(&mut self) -> Result<()> {
        self.stored.evaluate()?;
        let Stored { problem: Problem { device, parameters, .. }, gradient, .. } = &mut self.stored;
        self.updater.step(device, parameters, gradient, TIMED_STEP)
    }

    /// Of the gradient at the parameters where it is evaluated: an update moves them on.
    fn check(&mut self) -> Result<Check> {
        self.stored.check()
    }

    fn refresh(&self) -> Option<Refresh> {
        self.stored.refresh()
    }
}

/// μ of the step from which the length of a longer one follows.
const FIRST_STEP: f64 = 1e-5;

/// The step whose direction is the relative gradient.
struct InPlace<D: Device<T>, T: Scalar, C: Group<D, T>> {
    problem: Problem<D, T, C>,
    step: InPlaceStep,
    workspace: step::Workspace<D, T, C>,
}

/// Small enough that thousands of timed steps leave a network of the same scale and condition.
pub(crate) const TIMED_STEP: f64 = 1e-6;

/// Large enough that the direction stands out of the rounding of the weights, small enough to leave the network's
/// scale.
pub(crate) const CHECKED_STEP: f64 = 0.01;

/// Prepares steps, which need a group.
struct Stepped<'a, D> {
    device: D,
    workload: &'a Workload,
}

impl<D: Device<T> + 'static, T: Scalar, C: Coupling<D, T>> ForGroup<D, T, C> for Stepped<'_, D> {
    type Out = Box<dyn Evaluation>;

    fn call(self, group: C) -> Result<Self::Out>
    where
        C: Group<D, T>,
    {
        let problem = Problem::new(self.device, group, self.workload)?;
        let Workload { method, architecture, batch, .. } = *self.workload;
        let delay = if method == Method::RelativeDelayed { best_delay(architecture.dim, batch) } else { 1 };
        let step = InPlaceStep { delay, ..InPlaceStep::default() };
        let workspace = step.workspace(&problem.device, problem.parameters.architecture(), self.workload.batch)?;
        Ok(Box::new(InPlace { problem, step, workspace }))
    }
}

impl<D: Device<T>, T: Scalar, C: Group<D, T>> Evaluation for InPlace<D, T, C> {
    fn evaluate(&mut self) -> Result<()> {
        let Problem { device, parameters, x } = &mut self.problem;
        self.step.step(device, parameters, x.view(), TIMED_STEP, &mut self.workspace, None)?;
        device.synchronize()
    }

    fn check(&mut self) -> Result<Check> {
        let Problem { device, parameters, x } = &mut self.problem;
        // The guard's steps shrink like 1/D, until a change of the weights is lost in their rounding.
        let step = InPlaceStep { guard: false, ..self.step };
        check::step(device, &step, parameters, x, CHECKED_STEP, &mut self.workspace)
    }
}

/// The step of a method that keeps a state.
struct Kept<D: Device<T>, T: Scalar, C: Coupling<D, T>> {
    problem: Problem<D, T, C>,
    stateful: Box<dyn Stateful<D, T, C>>,
}

impl<D: Device<T> + 'static, T: Scalar, C: MaybeGroup<D, T>> Kept<D, T, C> {
    fn new(device: D, coupling: C, workload: &Workload) -> Result<Self> {
        let problem = Problem::new(device, coupling, workload)?;
        let sizes = (workload.batch, workload.seed);
        let stateful = C::stateful(&problem.device, workload.tuned(), &problem.parameters, sizes)?;
        Ok(Self { problem, stateful })
    }
}

impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> Evaluation for Kept<D, T, C> {
    fn evaluate(&mut self) -> Result<()> {
        let Problem { device, parameters, x } = &mut self.problem;
        self.stateful.step(device, parameters, x.view().into(), TIMED_STEP)?;
        device.synchronize()
    }

    fn check(&mut self) -> Result<Check> {
        let Problem { device, parameters, x } = &mut self.problem;
        self.stateful.check(device, parameters, x, CHECKED_STEP)
    }

    fn inverse_error(&mut self) -> Result<Option<f64>> {
        let Problem { device, parameters, .. } = &self.problem;
        self.stateful.inverse_error(device, parameters)
    }
}
