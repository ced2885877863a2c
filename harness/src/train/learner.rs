//! The parameters and the rule that moves them, one batch at a time.

use relgrad_kernels::bound::{Bound, bind};
use relgrad_kernels::device::{Device, Matrix};
use relgrad_kernels::likelihood::Evaluator;
use relgrad_kernels::optimizer::{Adam, Moments, plain_step};
use relgrad_kernels::parameters::{Gradient, Parameters};
use relgrad_kernels::step::{self, InPlaceStep, LogDets};
use relgrad_kernels::{Cpu, Method, Result, Scalar};

use super::network::{self, require_finite};
use super::recipe::{Optimizer, Recipe};
use crate::data::Samples;
use crate::error;

pub(crate) struct Learner<T: Scalar> {
    pub(crate) device: Cpu,
    pub(crate) parameters: Parameters<Cpu, T>,
    batch: Matrix<Cpu, T>,
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
    /// The first network of a recipe, with all memory for its batches.
    ///
    /// # Errors
    /// Not enough memory; data that it cannot start from; a singular weight where log-determinants are carried.
    pub(crate) fn begin(recipe: &Recipe, training: &Samples, tracking: Tracking) -> error::Result<Self> {
        let device = Cpu::new(recipe.threads);
        let parameters = recipe.start.network(&device, &recipe.architecture, recipe.seed, training)?;
        let batch = recipe.batch.min(training.count());
        let begun = Self::new(device, parameters, recipe, batch, tracking);
        begun.map_err(|cause| error::Error::Input(format!("cannot begin to train: {cause}")))
    }

    fn new(
        device: Cpu,
        parameters: Parameters<Cpu, T>,
        recipe: &Recipe,
        size: usize,
        tracking: Tracking,
    ) -> Result<Self> {
        let architecture = *parameters.architecture();
        let adam = match recipe.optimizer {
            Optimizer::Sgd => None,
            Optimizer::Adam => Some((Adam::default(), Moments::zeros(&device, &architecture)?)),
        };
        let is_in_place = matches!(recipe.method, Method::Relative | Method::RelativeInPlace | Method::Transposed);
        let rule = if is_in_place && adam.is_none() {
            let transposed = recipe.method == Method::Transposed;
            let step = InPlaceStep { transposed, bias_mode: recipe.bias_mode, guard: recipe.guard };
            let work = step.workspace(&device, &architecture, size)?;
            let tracked = match tracking {
                Tracking::Off => None,
                Tracking::On => {
                    let log_dets = LogDets::new(&device, &parameters, size)?;
                    Some((log_dets, Evaluator::new(&device, &architecture, size)?))
                }
            };
            Rule::InPlace(Box::new(InPlace { step, work, tracked }))
        } else {
            let backend = bind(&device, recipe.method, recipe.bias_mode, &architecture, size)?;
            Rule::Stored { backend, direction: Gradient::zeros(&device, &architecture, "direction")?, adam }
        };
        let batch = Matrix::zeros(&device, architecture.dim, size, "batch")?;
        Ok(Self { device, parameters, batch, rule })
    }

    pub(crate) fn batch_size(&self) -> usize {
        self.batch.cols()
    }

    /// One step of size `mu` along the direction of a batch of [`Self::batch_size`] samples; `track` asks for its
    /// likelihood where the rule carries log-determinants. After an error the parameters are of no more use.
    ///
    /// # Errors
    /// [`relgrad_kernels::Error::NonFinite`] or [`relgrad_kernels::Error::Singular`].
    pub(crate) fn step(&mut self, samples: &[T], mu: f64, track: bool) -> Result<Stepped> {
        let Self { device, parameters, batch, rule } = self;
        device.upload(samples, batch.view_mut().into_slice())?;
        let x = batch.view();
        let mut stepped = Stepped::default();
        match rule {
            Rule::InPlace(rule) => {
                if track && let Some((log_dets, evaluator)) = &mut rule.tracked {
                    let terms = evaluator.data_terms(device, parameters, x)?;
                    stepped.batch_nats = Some(terms.mean() + log_dets.per_layer().iter().sum::<f64>());
                }
                let log_dets = rule.tracked.as_mut().map(|(log_dets, _)| log_dets);
                let report = rule.step.step(device, parameters, x, mu, &mut rule.work, log_dets)?;
                stepped.guarded_layers = report.step_sizes.iter().filter(|taken| **taken < mu).count();
            }
            Rule::Stored { backend, direction, adam } => {
                backend.gradient(device, parameters, x, direction)?;
                match adam {
                    None => plain_step(device, parameters, direction, mu)?,
                    Some((adam, moments)) => adam.step(device, parameters, direction, mu, moments)?,
                }
            }
        }
        require_finite(device, "", parameters.arrays())?;
        Ok(stepped)
    }

    /// Recomputes carried log-determinants by LU and returns the drift that it removed; `None` where none are carried.
    pub(crate) fn refresh(&mut self) -> Result<Option<f64>> {
        let Rule::InPlace(rule) = &mut self.rule else { return Ok(None) };
        let Some((log_dets, _)) = &mut rule.tracked else { return Ok(None) };
        log_dets.refresh(&self.device, &self.parameters).map(Some)
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

    pub(crate) fn log_likelihoods(&self, samples: &[T]) -> Result<Vec<f64>> {
        network::log_likelihoods(&self.device, &self.parameters, samples)
    }

    /// The parameters, array after array.
    pub(crate) fn snapshot(&self) -> Result<Vec<Vec<T>>> {
        let arrays = network::each(self.parameters.arrays());
        arrays.map(|(_, _, array)| array.to_column_major(&self.device)).collect()
    }

    /// Sets the parameters to those of a snapshot.
    pub(crate) fn restore(&mut self, snapshot: &[Vec<T>]) -> Result<()> {
        let mut arrays = network::each_mut(self.parameters.arrays_mut()).zip(snapshot);
        arrays.try_for_each(|((_, _, array), values)| self.device.upload(values, array.view_mut().into_slice()))
    }

    /// The Frobenius norms of the weights, layer by layer; `None` where one cannot be computed.
    pub(crate) fn norms(&self) -> impl Iterator<Item = Option<f64>> {
        self.parameters.arrays().weights.iter().map(|weight| self.device.frobenius_norm(weight.view()).ok())
    }
}
