//! One gradient evaluation as something to be checked and timed, whatever its method, device and precision.

use crate::backend::BiasMode;
use crate::bound::{Bound, bind};
use crate::check::{self, Check};
use crate::device::{Cpu, Device, Matrix, Replay};
use crate::error::Result;
use crate::init::{self, Init};
use crate::method::Method;
use crate::network::{Architecture, Coupling};
use crate::parameters::{Gradient, Parameters};
use crate::scalar::{Dtype, Scalar};
use crate::step::{self, InPlaceStep};

/// What to evaluate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload {
    /// The method.
    pub method: Method,
    /// The network.
    pub architecture: Architecture,
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

    /// Lets the device record the work of [`Self::evaluate`], which from then on asks for all of it in one call.
    /// `false` where the device cannot, and nothing has changed. To be called after the first evaluation.
    ///
    /// # Errors
    /// Those of [`Bound::gradient`].
    fn record(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// Forgets a recording: [`Self::evaluate`] asks for the work call by call again.
    fn forget_recording(&mut self) {}
}

/// Takes all memory for `workload` on the CPU and fills in its numbers.
///
/// # Errors
/// [`crate::Error::OutOfMemory`], [`crate::Error::InvalidParameter`].
pub fn prepare(workload: &Workload) -> Result<Box<dyn Evaluation>> {
    if let Coupling::Convolution(_) = workload.architecture.coupling {
        return crate::convolution::prepare(workload);
    }
    let device = Cpu::new(workload.threads);
    match workload.dtype {
        Dtype::F32 => prepare_on::<_, f32>(device, workload),
        Dtype::F64 => prepare_on::<_, f64>(device, workload),
    }
}

/// Takes all memory for `workload` on `device`.
///
/// # Errors
/// [`crate::Error::OutOfMemory`], [`crate::Error::InvalidParameter`].
pub fn prepare_on<D: Device<T> + 'static, T: Scalar>(device: D, workload: &Workload) -> Result<Box<dyn Evaluation>> {
    match workload.method {
        Method::RelativeInPlace => in_place(device, workload),
        _ => Ok(Box::new(Stored::new(device, workload)?)),
    }
}

/// As [`prepare`], with a gradient whose first weight is wrong: a fault for tests of what must find it.
///
/// # Errors
/// Those of [`prepare`]; [`crate::Error::Unknown`] for a method that stores no gradient.
#[cfg(feature = "inject")]
pub fn prepare_wrong(workload: &Workload) -> Result<Box<dyn Evaluation>> {
    let device = Cpu::new(workload.threads);
    match workload.dtype {
        Dtype::F32 => prepare_wrong_on::<_, f32>(device, workload),
        Dtype::F64 => prepare_wrong_on::<_, f64>(device, workload),
    }
}

#[cfg(feature = "inject")]
fn prepare_wrong_on<D: Device<T> + 'static, T: Scalar>(device: D, workload: &Workload) -> Result<Box<dyn Evaluation>> {
    if workload.method == Method::RelativeInPlace {
        return Err(crate::Error::Unknown {
            kind: "method with a stored gradient",
            name: workload.method.to_string(),
            expected: "one that stores its gradient".to_owned(),
        });
    }
    let stored = Stored::new(device, workload)?;
    Ok(Box::new(Stored { bound: stored.bound.wrong(), ..stored }))
}

struct Problem<D: Device<T>, T: Scalar> {
    device: D,
    parameters: Parameters<D, T>,
    x: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar> Problem<D, T> {
    fn new(device: D, workload: &Workload) -> Result<Self> {
        let Workload { architecture, init, batch, seed, .. } = workload;
        let parameters = init::network(&device, architecture, *init, *seed)?;
        let x = init::batch(&device, architecture.dim, *batch, *seed)?;
        Ok(Self { device, parameters, x })
    }
}

/// A backend that writes a gradient.
struct Stored<D: Device<T>, T: Scalar> {
    problem: Problem<D, T>,
    bound: Bound<D, T>,
    gradient: Gradient<D, T>,
    /// Of the work on exactly these buffers.
    recording: Option<Box<dyn Replay>>,
}

impl<D: Device<T> + 'static, T: Scalar> Stored<D, T> {
    fn new(device: D, workload: &Workload) -> Result<Self> {
        let Workload { method, architecture, batch, .. } = workload;
        let problem = Problem::new(device, workload)?;
        let bound = bind(&problem.device, *method, BiasMode::Exact, architecture, *batch)?;
        let gradient = Gradient::zeros(&problem.device, architecture, "gradient")?;
        Ok(Self { problem, bound, gradient, recording: None })
    }
}

impl<D: Device<T>, T: Scalar> Evaluation for Stored<D, T> {
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
        let Problem { device, parameters, x } = &self.problem;
        check::gradient(device, self.bound.kind(), parameters, x, &self.gradient)
    }

    fn record(&mut self) -> Result<bool> {
        let Self { problem: Problem { device, parameters, x }, bound, gradient, .. } = self;
        self.recording = device.record(&mut || bound.gradient(device, parameters, x.view(), gradient))?;
        Ok(self.recording.is_some())
    }

    fn forget_recording(&mut self) {
        self.recording = None;
    }
}

/// The step whose direction is the relative gradient.
struct InPlace<D: Device<T>, T: Scalar> {
    problem: Problem<D, T>,
    step: InPlaceStep,
    workspace: step::Workspace<D, T>,
}

/// Small enough that thousands of timed steps leave a network of the same scale and condition.
const TIMED_STEP: f64 = 1e-6;

/// Large enough that the direction stands out of the rounding of the weights, small enough to leave the network's
/// scale.
const CHECKED_STEP: f64 = 0.01;

fn in_place<D: Device<T> + 'static, T: Scalar>(device: D, workload: &Workload) -> Result<Box<dyn Evaluation>> {
    let problem = Problem::new(device, workload)?;
    let step = InPlaceStep { bias_mode: BiasMode::Exact, ..InPlaceStep::default() };
    let workspace = step.workspace(&problem.device, &workload.architecture, workload.batch)?;
    Ok(Box::new(InPlace { problem, step, workspace }))
}

impl<D: Device<T>, T: Scalar> Evaluation for InPlace<D, T> {
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
