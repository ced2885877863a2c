//! The parameters and the rule that moves them, one batch at a time.

use relgrad_kernels::bound::{Bound, bind};
use relgrad_kernels::device::{Device, Matrix};
use relgrad_kernels::layer::{Coupling, Dense, MaybeGroup, best_delay};
use relgrad_kernels::likelihood::Evaluator;
use relgrad_kernels::optimizer::{Adam, Correction, Equivariant, Moments, Preconditioner, equivariant, plain_step};
use relgrad_kernels::parameters::{Batch, Gradient, Parameters};
use relgrad_kernels::stateful::Stateful;
use relgrad_kernels::step::{InPlaceStep, LogDets};
use relgrad_kernels::{Cpu, Method, Result, Scalar};

use super::edge::{Probe, Probed};
use super::network::{self, require_finite};
use super::plain::{self, Plain};
use super::recipe::{AdamCorrection, Optimizer, Recipe};
use crate::data::Samples;
use crate::error;

pub(crate) struct Learner<T: Scalar, C: Coupling<Cpu, T> = Dense> {
    pub(crate) device: Cpu,
    pub(crate) parameters: Parameters<Cpu, T, C>,
    batch: Matrix<Cpu, T>,
    /// u of the batch, where the density has a condition.
    given: Option<Matrix<Cpu, T>>,
    rule: Rule<T, C>,
    /// Where the sharpness of its steps is estimated.
    probe: Option<Probe<T, C>>,
}

/// How a batch becomes a step.
enum Rule<T: Scalar, C: Coupling<Cpu, T>> {
    /// A plain step applied layer by layer; no direction is stored.
    InPlace {
        step: Box<dyn Plain<T, C>>,
        /// Carried from step to step where the likelihood is tracked.
        tracked: Option<Tracked<T, C>>,
        /// The same direction to be stored, where it is differentiated.
        stored: Option<StoredDirection<T, C>>,
    },
    /// A plain step of a method that keeps numbers beside the parameters.
    Stateful {
        steps: Box<dyn Stateful<Cpu, T, C>>,
        /// Where the likelihood is tracked.
        evaluator: Option<Evaluator<Cpu, T, C>>,
    },
    /// Adam in the coordinates of the relative step.
    Equivariant {
        steps: Box<dyn Equivariant<Cpu, T, C>>,
        adam: Adam,
        moments: Moments<Cpu, T>,
        /// A direction for estimates.
        scratch: Option<Gradient<Cpu, T>>,
    },
    /// A stored direction, then the optimiser.
    Stored {
        backend: Bound<Cpu, T, C>,
        direction: Gradient<Cpu, T>,
        adam: Option<(Adam, Moments<Cpu, T>)>,
        /// Whether layers that keep factors of their weights are kept well conditioned.
        guard: bool,
    },
}

/// A backend, and where its direction goes.
type StoredDirection<T, C> = (Bound<Cpu, T, C>, Gradient<Cpu, T>);

struct Tracked<T: Scalar, C: Coupling<Cpu, T>> {
    log_dets: LogDets<T>,
    evaluator: Evaluator<Cpu, T, C>,
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

impl<T: Scalar, C: MaybeGroup<Cpu, T>> Learner<T, C> {
    /// The first network of a recipe, whose layers are `coupling`, with all memory for its batches.
    ///
    /// # Errors
    /// Not enough memory; data that it cannot start from; a singular weight where log-determinants are carried.
    pub(crate) fn begin(recipe: &Recipe, coupling: C, training: &Samples, tracking: Tracking) -> error::Result<Self> {
        let device = Cpu::new(recipe.threads);
        let parameters = recipe.start.network(&device, &recipe.architecture.with(coupling), recipe.seed, training)?;
        let batch = recipe.batch.min(training.count());
        let begun = Self::new(device, parameters, recipe, (batch, training.count() / batch), tracking);
        begun.map_err(|cause| error::Error::Input(format!("cannot begin to train: {cause}")))
    }

    fn new(
        device: Cpu,
        parameters: Parameters<Cpu, T, C>,
        recipe: &Recipe,
        (size, steps_per_epoch): (usize, usize),
        tracking: Tracking,
    ) -> Result<Self> {
        let architecture = *parameters.architecture();
        let correction = match recipe.adam_correction {
            AdamCorrection::Step => Correction::Steps,
            AdamCorrection::Epoch => Correction::Epochs { steps: steps_per_epoch as u64 },
        };
        let adam = Adam { correction, ..Adam::default() };
        let moments = || Moments::zeros(&device, &architecture);
        let stored = || -> Result<StoredDirection<T, C>> {
            let backend = bind(&device, recipe.tuned(), recipe.bias_mode, &architecture, size)?;
            Ok((backend, Gradient::zeros(&device, &architecture, "direction")?))
        };
        let rule = if recipe.optimizer == Optimizer::EquivariantAdam {
            let scratch = recipe.estimates_sharpness().then(|| Gradient::zeros(&device, &architecture, "direction"));
            let (steps, scratch) = (equivariant(&device, &architecture, size)?, scratch.transpose()?);
            Rule::Equivariant { steps, adam, moments: moments()?, scratch }
        } else if recipe.method.keeps_state() {
            let steps = C::stateful(&device, recipe.tuned(), &parameters, (size, recipe.seed))?;
            let is_tracked = tracking == Tracking::On && steps.log_abs_dets().is_some();
            let evaluator = is_tracked.then(|| Evaluator::new(&device, &architecture, size)).transpose()?;
            Rule::Stateful { steps, evaluator }
        } else if recipe.method.needs_group() && recipe.optimizer == Optimizer::Sgd {
            let transposed = recipe.method == Method::Transposed;
            let delay = if recipe.method == Method::RelativeDelayed { best_delay(architecture.dim, size) } else { 1 };
            let step = InPlaceStep { transposed, bias_mode: recipe.bias_mode, guard: recipe.guard, delay };
            let step = plain::bind(step, &device, &architecture, size)?;
            let tracked = match tracking {
                Tracking::Off => None,
                Tracking::On => Some(Tracked {
                    log_dets: LogDets::new(&device, &parameters, size)?,
                    evaluator: Evaluator::new(&device, &architecture, size)?,
                }),
            };
            let stored = recipe.estimates_sharpness().then(stored).transpose()?;
            Rule::InPlace { step, tracked, stored }
        } else {
            let (backend, direction) = stored()?;
            let adam = if recipe.optimizer == Optimizer::Adam { Some((adam, moments()?)) } else { None };
            Rule::Stored { backend, direction, adam, guard: recipe.guard }
        };
        let probe = recipe.estimates_sharpness().then(|| Probe::new(&device, &parameters)).transpose()?;
        let batch = Matrix::zeros(&device, architecture.dim, size, "batch")?;
        let given = || Matrix::zeros(&device, architecture.conditions, size, "conditions of a batch");
        let given = (architecture.conditions > 0).then(given).transpose()?;
        Ok(Self { device, parameters, batch, given, rule, probe })
    }
}

/// As [`Coupling::recondition`], for every layer; returns how many were changed.
fn recondition<T: Scalar, C: Coupling<Cpu, T>>(
    device: &Cpu,
    parameters: &mut Parameters<Cpu, T, C>,
    mut moments: Option<&mut Moments<Cpu, T>>,
) -> Result<usize> {
    let coupling = parameters.architecture().coupling;
    let mut changed = 0;
    for (k, weight) in parameters.arrays_mut().weights.iter_mut().enumerate() {
        let moments = moments.as_mut().map(|moments| {
            let Moments { first, second, .. } = &mut **moments;
            [&mut first.weights[k], &mut second.weights[k]].map(Matrix::view_mut)
        });
        changed += usize::from(coupling.recondition(device, k, weight.view_mut(), moments)?);
    }
    Ok(changed)
}

impl<T: Scalar, C: Coupling<Cpu, T>> Learner<T, C> {
    pub(crate) fn batch_size(&self) -> usize {
        self.batch.cols()
    }

    /// One step of size `mu` along the direction of a batch of [`Self::batch_size`] samples, given their conditions `u`
    /// where the density has some; `track` asks for its
    /// likelihood where the rule carries log-determinants. After an error the parameters are of no more use.
    ///
    /// # Errors
    /// [`relgrad_kernels::Error::NonFinite`] or [`relgrad_kernels::Error::Singular`].
    pub(crate) fn step(&mut self, x: &[T], u: &[T], mu: f64, track: bool) -> Result<Stepped> {
        self.load(x, u)?;
        let Self { device, parameters, batch, given, rule, .. } = self;
        let batch = Batch { x: batch.view(), u: given.as_ref().map(Matrix::view) };
        let mut stepped = Stepped::default();
        match rule {
            Rule::InPlace { step, tracked, .. } => {
                if track && let Some(Tracked { log_dets, evaluator }) = tracked {
                    step.settle(device, parameters)?;
                    let terms = evaluator.data_terms(device, parameters, batch)?;
                    stepped.batch_nats = Some(terms.mean() + log_dets.per_layer().iter().sum::<f64>());
                }
                let log_dets = tracked.as_mut().map(|tracked| &mut tracked.log_dets);
                stepped.guarded_layers = step.step(device, parameters, batch, mu, log_dets)?;
            }
            Rule::Stateful { steps, evaluator } => {
                if track && let (Some(evaluator), Some(log_dets)) = (evaluator, steps.log_abs_dets()) {
                    let terms = evaluator.data_terms(device, parameters, batch)?;
                    stepped.batch_nats = Some(terms.mean() + log_dets.iter().sum::<f64>());
                }
                let report = steps.step(device, parameters, batch, mu)?;
                stepped.guarded_layers = report.step_sizes.iter().filter(|taken| **taken < mu).count();
            }
            Rule::Equivariant { steps, adam, moments, .. } => {
                steps.step(device, parameters, batch, mu, (adam, moments))?;
            }
            Rule::Stored { backend, direction, adam, guard } => {
                backend.gradient(device, parameters, batch, direction)?;
                match adam {
                    None => plain_step(device, parameters, direction, mu)?,
                    Some((adam, moments)) => adam.step(device, parameters, direction, mu, moments)?,
                }
                if *guard {
                    let moments = adam.as_mut().map(|(_, moments)| moments);
                    stepped.guarded_layers = recondition(device, parameters, moments)?;
                }
            }
        }
        require_finite(device, "", parameters.arrays())?;
        Ok(stepped)
    }

    fn load(&mut self, x: &[T], u: &[T]) -> Result<()> {
        self.device.upload(x, self.batch.view_mut().into_slice())?;
        let Some(given) = &mut self.given else { return Ok(()) };
        self.device.upload(u, given.view_mut().into_slice())
    }

    /// Estimates the sharpness of the loss of a batch at these parameters, in a training of so many steps; nothing
    /// where none is estimated.
    ///
    /// # Errors
    /// Those of the device.
    pub(crate) fn probe(&mut self, x: &[T], u: &[T], steps_in_all: u64) -> Result<()> {
        if self.probe.is_none() {
            return Ok(());
        }
        self.settle()?;
        self.load(x, u)?;
        let Self { device, parameters, batch, given, rule, probe: Some(probe) } = self else { return Ok(()) };
        let batch = Batch { x: batch.view(), u: given.as_ref().map(Matrix::view) };
        let (stored, preconditioner) = match rule {
            Rule::InPlace { stored: Some((backend, scratch)), .. } => ((backend, scratch), Preconditioner::Identity),
            Rule::Stored { backend, direction, adam, .. } => {
                let adam = adam.as_ref().map(|(adam, moments)| Preconditioner::Adam(*adam, moments));
                ((backend, direction), adam.unwrap_or(Preconditioner::Identity))
            }
            Rule::Equivariant { steps, adam, moments, scratch: Some(scratch) } => {
                let direction = &mut |at: &Parameters<Cpu, T, C>, out: &mut Gradient<Cpu, T>| {
                    steps.coordinates(device, at, batch, out)
                };
                let preconditioner = Preconditioner::Coordinates(*adam, moments);
                return probe.estimate(device, parameters, Probed { direction, scratch, preconditioner }, steps_in_all);
            }
            Rule::InPlace { stored: None, .. } | Rule::Stateful { .. } | Rule::Equivariant { scratch: None, .. } => {
                return Ok(());
            }
        };
        let (backend, scratch) = stored;
        let direction =
            &mut |at: &Parameters<Cpu, T, C>, out: &mut Gradient<Cpu, T>| backend.gradient(device, at, batch, out);
        probe.estimate(device, parameters, Probed { direction, scratch, preconditioner }, steps_in_all)
    }

    /// What estimates of the sharpness have found and go on from, where some are made.
    pub(crate) fn sharpness(&self) -> Option<&Probe<T, C>> {
        self.probe.as_ref()
    }

    /// The same, to be restored.
    pub(crate) fn sharpness_mut(&mut self) -> Option<&mut Probe<T, C>> {
        self.probe.as_mut()
    }

    /// The value of μλ from which this rule's steps are not stable.
    pub(crate) fn edge_limit(&self) -> f64 {
        match &self.rule {
            Rule::Stored { adam: Some((adam, moments)), .. } | Rule::Equivariant { adam, moments, .. } => {
                Preconditioner::Adam(*adam, moments).limit()
            }
            _ => Preconditioner::<Cpu, T>::Identity.limit(),
        }
    }

    /// Brings the parameters to what they stand for, where updates are delayed: before they are read.
    pub(crate) fn settle(&mut self) -> Result<()> {
        match &mut self.rule {
            Rule::InPlace { step, .. } => step.settle(&self.device, &mut self.parameters),
            Rule::Stateful { .. } | Rule::Equivariant { .. } | Rule::Stored { .. } => Ok(()),
        }
    }

    /// Recomputes carried log-determinants by LU and returns the drift that it removed; `None` where none are carried.
    pub(crate) fn refresh(&mut self) -> Result<Option<f64>> {
        let Rule::InPlace { tracked: Some(tracked), .. } = &mut self.rule else { return Ok(None) };
        tracked.log_dets.refresh(&self.device, &self.parameters).map(Some)
    }

    /// What is carried from step to step, where it is.
    pub(super) fn log_dets(&self) -> Option<&LogDets<T>> {
        match &self.rule {
            Rule::InPlace { tracked: Some(tracked), .. } => Some(&tracked.log_dets),
            _ => None,
        }
    }

    /// Makes sure that the optimiser's moments are finite; every step sees to the parameters. Where they are not,
    /// squares of the direction are beyond the number type, and nothing moves.
    pub(crate) fn require_finite_moments(&self) -> Result<()> {
        let Some(moments) = self.moments() else { return Ok(()) };
        require_finite(&self.device, "first moment of the ", &moments.first)?;
        require_finite(&self.device, "second moment of the ", &moments.second)
    }

    /// The optimiser's moments, where it has some.
    pub(crate) fn moments(&self) -> Option<&Moments<Cpu, T>> {
        match &self.rule {
            Rule::Stored { adam: Some((_, moments)), .. } | Rule::Equivariant { moments, .. } => Some(moments),
            _ => None,
        }
    }

    /// The same, to be restored.
    pub(crate) fn moments_mut(&mut self) -> Option<&mut Moments<Cpu, T>> {
        match &mut self.rule {
            Rule::Stored { adam: Some((_, moments)), .. } | Rule::Equivariant { moments, .. } => Some(moments),
            _ => None,
        }
    }

    pub(crate) fn log_likelihoods(&self, x: &[T], u: &[T]) -> Result<Vec<f64>> {
        network::log_likelihoods(&self.device, &self.parameters, x, u)
    }

    /// The parameters, array after array.
    pub(crate) fn snapshot(&self) -> Result<Vec<Vec<T>>> {
        let arrays = network::each(self.parameters.arrays());
        arrays.map(|(_, array)| array.to_column_major(&self.device)).collect()
    }

    /// Sets the parameters to those of a snapshot.
    pub(crate) fn restore(&mut self, snapshot: &[Vec<T>]) -> Result<()> {
        self.settle()?;
        for ((_, array), values) in network::each_mut(self.parameters.arrays_mut()).zip(snapshot) {
            self.device.upload(values, array.view_mut().into_slice())?;
        }
        match &mut self.rule {
            Rule::Stateful { steps, .. } => steps.restart(&self.device, &self.parameters),
            Rule::InPlace { .. } | Rule::Equivariant { .. } | Rule::Stored { .. } => Ok(()),
        }
    }

    /// As [`Self::restore`]; Adam's moments begin with zeros, and estimates of the sharpness with noise.
    pub(crate) fn go_back(&mut self, snapshot: &[Vec<T>]) -> Result<()> {
        self.restore(snapshot)?;
        let device = self.device;
        if let Some(moments) = self.moments_mut() {
            for array in moments.first.iter_mut().chain(moments.second.iter_mut()) {
                device.fill(T::ZERO, array.view_mut())?;
            }
            moments.steps = 0;
        }
        self.probe.as_mut().map_or(Ok(()), |probe| probe.restart(&device))?;
        self.refresh().map(drop)
    }

    /// The Frobenius norms of the weights, layer by layer; `None` where one cannot be computed.
    pub(crate) fn norms(&self) -> impl Iterator<Item = Option<f64>> {
        self.parameters.arrays().weights.iter().map(|weight| self.device.frobenius_norm(weight.view()).ok())
    }
}
