//! The parameters and the rule that moves them, one batch at a time.

use relgrad_kernels::bound::{Bound, bind};
use relgrad_kernels::device::{Device, Matrix, MatrixRef};
use relgrad_kernels::likelihood::Evaluator;
use relgrad_kernels::optimizer::{Adam, Moments, plain_step};
use relgrad_kernels::parameters::{Arrays, Gradient, Parameters};
use relgrad_kernels::step::{self, InPlaceStep, LogDets};
use relgrad_kernels::{Cpu, Method, Result, Scalar};

use super::recipe::{Optimizer, Recipe};

/// A network that learns.
pub(crate) struct Learner<T: Scalar> {
    pub(crate) device: Cpu,
    pub(crate) parameters: Parameters<Cpu, T>,
    rule: Rule<T>,
}

/// How a batch becomes a step.
enum Rule<T: Scalar> {
    /// A plain step applied layer by layer; no direction is stored.
    InPlace(Box<InPlace<T>>),
    /// A stored direction, then the optimiser.
    Stored { backend: Bound<Cpu, T>, direction: Gradient<Cpu, T>, adam: Option<(Adam, Moments<Cpu, T>)> },
}

struct InPlace<T: Scalar> {
    step: InPlaceStep,
    work: step::Workspace<Cpu, T>,
    /// Carried from step to step where the likelihood is tracked.
    tracked: Option<(LogDets<T>, Evaluator<Cpu, T>)>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Stepped {
    /// Mean log-likelihood of the batch before the step, where it was tracked.
    pub(crate) batch_nats: Option<f64>,
    /// Layers whose step the guard shortened.
    pub(crate) guarded_layers: usize,
}

/// Whether plain relative steps also follow the training likelihood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracking {
    Off,
    On,
}

impl<T: Scalar> Learner<T> {
    /// Takes all memory for batches of `batch` samples.
    ///
    /// # Errors
    /// Not enough memory; a singular first network where log-determinants are carried.
    pub(crate) fn new(
        device: Cpu,
        parameters: Parameters<Cpu, T>,
        recipe: &Recipe,
        batch: usize,
        tracking: Tracking,
    ) -> Result<Self> {
        let rule = Rule::new(&device, &parameters, recipe, batch, tracking)?;
        Ok(Self { device, parameters, rule })
    }

    /// One step of size `mu` along the direction of the batch `x` (D×N); `track` asks for the batch's likelihood where
    /// the rule carries log-determinants.
    ///
    /// # Errors
    /// [`relgrad_kernels::Error::NonFinite`] or [`relgrad_kernels::Error::Singular`]: the parameters are then of no
    /// more use.
    pub(crate) fn step(&mut self, x: MatrixRef<'_, Cpu, T>, mu: f64, track: bool) -> Result<Stepped> {
        let Self { device, parameters, rule } = self;
        match rule {
            Rule::InPlace(rule) => rule.step(device, parameters, x, mu, track),
            Rule::Stored { backend, direction, adam } => {
                backend.gradient(device, parameters, x, direction)?;
                match adam {
                    None => plain_step(device, parameters, direction, mu)?,
                    Some((adam, moments)) => adam.step(device, parameters, direction, mu, moments)?,
                }
                require_finite(device, "", parameters.arrays())?;
                Ok(Stepped::default())
            }
        }
    }

    /// Recomputes carried log-determinants by LU and returns the drift that it removed; `None` where none are carried.
    ///
    /// # Errors
    /// A singular weight.
    pub(crate) fn refresh(&mut self) -> Result<Option<f64>> {
        match &mut self.rule {
            Rule::InPlace(rule) => match &mut rule.tracked {
                Some((log_dets, _)) => log_dets.refresh(&self.device, &self.parameters).map(Some),
                None => Ok(None),
            },
            Rule::Stored { .. } => Ok(None),
        }
    }

    /// Makes sure that the optimiser's moments are finite; every step sees to the parameters.
    ///
    /// # Errors
    /// [`relgrad_kernels::Error::NonFinite`]: squares of the direction are beyond the number type, and nothing moves.
    pub(crate) fn require_finite_moments(&self) -> Result<()> {
        self.moments().map_or(Ok(()), |moments| {
            require_finite(&self.device, "first moment of the ", &moments.first)?;
            require_finite(&self.device, "second moment of the ", &moments.second)
        })
    }

    /// The optimiser's moments, where it has some.
    pub(crate) fn moments(&self) -> Option<&Moments<Cpu, T>> {
        match &self.rule {
            Rule::Stored { adam: Some((_, moments)), .. } => Some(moments),
            _ => None,
        }
    }

    /// The same, to be restored.
    pub(crate) fn moments_mut(&mut self) -> Option<&mut Moments<Cpu, T>> {
        match &mut self.rule {
            Rule::Stored { adam: Some((_, moments)), .. } => Some(moments),
            _ => None,
        }
    }
}

impl<T: Scalar> Rule<T> {
    fn new(
        device: &Cpu,
        parameters: &Parameters<Cpu, T>,
        recipe: &Recipe,
        batch: usize,
        tracking: Tracking,
    ) -> Result<Self> {
        let architecture = parameters.architecture();
        let adam = match recipe.optimizer {
            Optimizer::Sgd => None,
            Optimizer::Adam(adam) => Some((adam, Moments::zeros(device, architecture)?)),
        };
        let plain = adam.is_none();
        match recipe.method {
            Method::Relative | Method::RelativeInPlace | Method::Transposed if plain => {
                let transposed = recipe.method == Method::Transposed;
                let step = InPlaceStep { transposed, bias_mode: recipe.bias_mode, guard: recipe.guard };
                let work = step.workspace(device, architecture, batch)?;
                let tracked = match tracking {
                    Tracking::Off => None,
                    Tracking::On => {
                        let log_dets = LogDets::new(device, parameters, batch)?;
                        Some((log_dets, Evaluator::new(device, architecture, batch)?))
                    }
                };
                Ok(Self::InPlace(Box::new(InPlace { step, work, tracked })))
            }
            method => {
                let backend = bind(device, method, recipe.bias_mode, architecture, batch)?;
                let direction = Gradient::zeros(device, architecture, "direction")?;
                Ok(Self::Stored { backend, direction, adam })
            }
        }
    }
}

impl<T: Scalar> InPlace<T> {
    fn step(
        &mut self,
        device: &Cpu,
        parameters: &mut Parameters<Cpu, T>,
        x: MatrixRef<'_, Cpu, T>,
        mu: f64,
        track: bool,
    ) -> Result<Stepped> {
        let mut stepped = Stepped::default();
        let log_dets = match &mut self.tracked {
            Some((log_dets, evaluator)) => {
                if track {
                    let terms = evaluator.data_terms(device, parameters, x)?;
                    stepped.batch_nats = Some(terms.mean() + log_dets.per_layer().iter().sum::<f64>());
                }
                Some(log_dets)
            }
            None => None,
        };
        let report = self.step.step(device, parameters, x, mu, &mut self.work, log_dets)?;
        stepped.guarded_layers = report.step_sizes.iter().filter(|taken| **taken < mu).count();
        require_finite(device, "", parameters.arrays())?;
        Ok(stepped)
    }
}

fn require_finite<T: Scalar>(device: &Cpu, of: &str, arrays: &Arrays<Cpu, T>) -> Result<()> {
    let check = |kind: &str, arrays: &[Matrix<Cpu, T>]| {
        arrays
            .iter()
            .enumerate()
            .try_for_each(|(k, array)| device.require_finite(&format!("{of}{kind} of layer {}", k + 1), array.view()))
    };
    check("weight", &arrays.weights)?;
    check("bias", &arrays.biases)
}
