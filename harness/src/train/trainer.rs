//! The loop over epochs and batches.

mod divergence;
mod rate;

use std::time::Instant;

use relgrad_kernels::layer::{MaybeGroup, Spectral, Visitor};
use relgrad_kernels::ranks::Transport;
use relgrad_kernels::{Cpu, Dtype, Scalar};
use relgrad_reports::training::{Epoch, Nats, Outcome, Stop};

use super::learner::{Learner, Stepped, Tracking};
use super::learns::{Learns, input};
use super::network::Inputs;
use super::progress::Display;
use super::ranked::RankedLearner;
use super::recipe::Recipe;
use super::standing::{Best, Progress};
use super::store::Store;
use super::{memory, order};
use crate::data::Parts;
use crate::error::{Error, Result};
use crate::run::interrupt::Events;

/// The training likelihood is tracked at one batch in so many: the extra forward pass then costs a few per cent.
const TRACKED_EVERY: usize = 8;

pub(crate) struct Job<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) data: &'a Parts,
    /// Where checkpoints and the log go; without one nothing is written.
    pub(crate) store: Option<&'a Store>,
    /// Seconds of this process after which training stops with a checkpoint.
    pub(crate) time_limit_seconds: Option<f64>,
    /// What progress lines begin with.
    pub(crate) label: &'a str,
    pub(crate) quiet: bool,
    /// Whether plain relative steps follow the training likelihood.
    pub(crate) tracking: Tracking,
}

impl<'a> Job<'a> {
    /// A quiet training that nothing limits and that writes nothing.
    pub(crate) fn new(recipe: &'a Recipe, data: &'a Parts, tracking: Tracking) -> Self {
        Self { recipe, data, store: None, time_limit_seconds: None, label: "", quiet: true, tracking }
    }
}

pub(crate) struct Trained {
    /// Every epoch, the untrained network first.
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) outcome: Outcome,
}

/// Trains from the start, or from the store's last checkpoint, until the epochs are done, patience or time is over, or
/// the user interrupts.
///
/// # Errors
/// [`Error::Diverged`] when a parameter, moment or likelihood stops being finite: it says where, and the last good
/// checkpoint stays. Data that do not fit, too little memory, a damaged checkpoint, a full disk.
pub(crate) fn train(job: &Job<'_>, events: &mut Events) -> Result<Trained> {
    match job.recipe.dtype {
        Dtype::F32 => train_in::<f32>(job, events),
        Dtype::F64 => train_in::<f64>(job, events),
    }
}

fn train_in<T: Spectral>(job: &Job<'_>, events: &mut Events) -> Result<Trained> {
    job.recipe.require_fit(job.data)?;
    memory::require(job.recipe, job.data, None)?;
    job.recipe.architecture.coupling.visit::<T, _>(Training { job, events }).map_err(input)?
}

/// A training of layers whose type is yet to be known.
struct Training<'a> {
    job: &'a Job<'a>,
    events: &'a mut Events,
}

impl<T: Spectral> Visitor<T> for Training<'_> {
    type Out = Result<Trained>;

    fn visit<C: MaybeGroup<Cpu, T>>(self, coupling: C) -> relgrad_kernels::Result<Self::Out> {
        Ok(train_on(self.job, coupling, self.events))
    }
}

fn train_on<T: Scalar, C: MaybeGroup<Cpu, T>>(job: &Job<'_>, coupling: C, events: &mut Events) -> Result<Trained> {
    // A line search knows the likelihood of every step.
    let tracking = if job.recipe.line_search { Tracking::Off } else { job.tracking };
    let learner = Learner::<T, C>::begin(job.recipe, coupling, &job.data.train, tracking)?;
    go_through(job, learner, Some(events))
}

/// The same as one of the ranks of a `transport`, of which the first one has the store and the events.
///
/// # Errors
/// As [`train`], and [`Error::NoDevice`] where ranks fail to exchange.
pub(crate) fn train_as_rank<T: Scalar>(
    job: &Job<'_>,
    transport: &mut impl Transport<T>,
    events: Option<&mut Events>,
) -> Result<Trained> {
    go_through(job, RankedLearner::begin(job.recipe, job.data, transport)?, events)
}

fn go_through(job: &Job<'_>, learner: impl Learns, events: Option<&mut Events>) -> Result<Trained> {
    let mut session = Session::new(job, learner)?;
    let stop = session.run(events);
    session.display.finish();
    session.finish(stop?)
}

struct Session<'a, L: Learns> {
    job: &'a Job<'a>,
    learner: L,
    training: Inputs<L::T>,
    validation: Inputs<L::T>,
    test: Inputs<L::T>,
    staging: Inputs<L::T>,
    progress: Progress,
    epochs: Vec<Epoch>,
    best: Vec<Vec<L::T>>,
    display: Display,
    started: Instant,
    /// The mean log-likelihood of the training part at these parameters, where a line search knows it.
    reached: Option<f64>,
    /// Whether it was told that steps are at the edge of stability.
    is_warned: bool,
}

impl<'a, L: Learns> Session<'a, L> {
    /// Picks up the last checkpoint, or evaluates the untrained network.
    fn new(job: &'a Job<'a>, learner: L) -> Result<Self> {
        let Job { recipe, data, .. } = job;
        let started = Instant::now();
        let [training, validation, test] = learner.inputs(data);
        let room = |width: usize| vec![L::T::default(); width * learner.batch_size()];
        let steps = (data.train.count() / learner.batch_size() * recipe.epochs) as u64;
        let mut session = Self {
            job,
            training,
            validation,
            test,
            staging: Inputs { x: room(learner.width()), u: room(data.conditions()) },
            progress: Progress::default(),
            epochs: Vec::new(),
            best: Vec::new(),
            display: Display::new(job.quiet, job.label, steps),
            started,
            reached: None,
            is_warned: false,
            learner,
        };
        let batches = session.steps_per_epoch();
        let restored = match job.store {
            Some(store) => store.restore(&mut session.learner, recipe, batches)?,
            None => session.learner.follow()?,
        };
        if let Some(restored) = restored {
            session.refresh()?;
            (session.progress, session.epochs) = (restored.progress, restored.epochs);
            session.resume_best()?;
        } else {
            session.end_epoch()?;
        }
        Ok(session)
    }

    /// Reads the best model. After a kill in the moment between the two it is of a later epoch than the last
    /// checkpoint, which training then comes to again.
    fn resume_best(&mut self) -> Result<()> {
        let (found, best) = self.learner.find_best(self.job.store)?;
        let is_newer = |found: Best, known: Best| {
            found.epoch > self.progress.epoch.max(known.epoch) && found.validation_nats > known.validation_nats
        };
        match (found, self.progress.best) {
            (Some(found), Some(known)) if found == known || is_newer(found, known) => {}
            _ => {
                let other = || Error::Input("the best model is not that of the last checkpoint".to_string());
                return Err(self.job.store.map_or_else(other, Store::strange_best));
            }
        }
        (self.progress.best, self.best) = (found, best);
        Ok(())
    }

    fn run(&mut self, mut events: Option<&mut Events>) -> Result<Stop> {
        let recipe = self.job.recipe;
        while self.progress.epoch < recipe.epochs {
            let best = self.progress.best.map_or(0, |best| best.epoch);
            if recipe.patience.is_some_and(|patience| self.progress.epoch >= best.saturating_add(patience)) {
                return Ok(Stop::Patience);
            }
            if self.is_search_over() {
                return Ok(Stop::LineSearch);
            }
            match self.epoch(events.as_deref_mut()) {
                Ok(None) => {}
                Ok(Some(stop)) => {
                    self.save()?;
                    return Ok(stop);
                }
                // The rest of the epoch is left out.
                Err(Error::Diverged(_)) if self.can_go_back() => {
                    self.go_back()?;
                    self.progress.step = ((self.progress.epoch + 1) * self.steps_per_epoch()) as u64;
                }
                Err(other) => return Err(other),
            }
            self.progress.epoch += 1;
            self.progress.batches = 0;
            self.end_epoch()?;
        }
        self.save()?;
        Ok(Stop::Complete)
    }

    fn steps_per_epoch(&self) -> usize {
        self.job.data.train.count() / self.learner.batch_size()
    }

    /// The rest of an epoch; a reason when it was cut short. Samples that fill no whole batch sit this epoch out: the
    /// next has another order.
    fn epoch(&mut self, mut events: Option<&mut Events>) -> Result<Option<Stop>> {
        let order = order::of_epoch(self.job.recipe.seed, self.progress.epoch, self.job.data.train.count());
        let clock = Instant::now();
        let before = self.progress.seconds;
        let size = self.learner.batch_size();
        for at in self.progress.batches..self.steps_per_epoch() {
            let seconds = self.started.elapsed().as_secs_f64();
            let is_over = self.job.time_limit_seconds.is_some_and(|limit| seconds >= limit);
            let is_interrupted = events.as_deref_mut().is_some_and(Events::interrupted);
            let stop = if is_interrupted { Some(Stop::Interrupted) } else { is_over.then_some(Stop::TimeLimit) };
            if let Some(stop) = self.learner.agree(stop).map_err(|cause| self.diverged(&cause))? {
                return Ok(Some(stop));
            }
            self.gather(&order[at * size..(at + 1) * size]);
            if let Some(stepped) = self.take_step(at.is_multiple_of(TRACKED_EVERY))? {
                self.add_up(stepped)?;
            }
            self.progress.batches = at + 1;
            self.progress.step += 1;
            self.progress.seconds = before + clock.elapsed().as_secs_f64();
            self.display.step(self.progress.step);
        }
        Ok(None)
    }

    fn add_up(&mut self, stepped: Stepped) -> Result<()> {
        let running = &mut self.progress.running;
        running.guarded += stepped.guarded_layers;
        if let Some(nats) = stepped.batch_nats {
            running.tracked += 1;
            running.nats += nats;
        }
        let nats = running.nats;
        self.finite(nats, "training log-likelihood").map(|_| ())
    }

    fn gather(&mut self, samples: &[u32]) {
        let (dim, conditions) = (self.learner.width(), self.job.data.conditions());
        gather(dim, &self.training.x, samples, &mut self.staging.x);
        if conditions > 0 {
            gather(conditions, &self.training.u, samples, &mut self.staging.u);
        }
        let steps = (self.steps_per_epoch() * self.job.recipe.epochs) as u64;
        let width = self.job.recipe.noise * noise_factor(self.progress.step, steps);
        if width > 0.0 {
            let noise = order::noise_of_step(self.job.recipe.seed, self.progress.step, self.staging.x.len());
            self.staging.x.iter_mut().zip(noise).for_each(|(x, noise)| *x += L::T::of(width * noise));
        }
    }

    /// Evaluates, logs, and keeps what is worth keeping.
    fn end_epoch(&mut self) -> Result<()> {
        let (validation_nats, drift) = match self.validate() {
            Err(Error::Diverged(_)) if self.can_go_back() => {
                self.go_back()?;
                self.validate()?
            }
            validated => validated?,
        };
        if self.has_fallen(validation_nats) {
            self.go_back()?;
        }
        let Progress { epoch, step, running, seconds, .. } = self.progress;
        let recipe = self.job.recipe;
        let updates = self.steps_per_epoch() * recipe.architecture.layers;
        let undoes = recipe.line_search || recipe.rewind.is_some();
        let record = Epoch {
            epoch,
            step,
            training_nats: (running.tracked > 0).then(|| running.nats / running.tracked as f64),
            validation_nats,
            learning_rate: self.rate(),
            sharpness: self.learner.edge().and_then(|(estimates, _)| estimates.last()),
            edge_share: running.edge_share,
            rejected_steps: (undoes && epoch > 0).then_some(running.rejected),
            guarded_share: (epoch > 0 && self.learner.is_guarded()).then(|| running.guarded as f64 / updates as f64),
            log_det_drift: drift,
            seconds,
        };
        self.progress.running = Default::default();
        let is_higher = self.progress.best.is_none_or(|best| validation_nats > best.validation_nats);
        let better = is_higher && epoch.is_multiple_of(self.job.recipe.validate_every);
        if better {
            self.progress.best = Some(Best { epoch, validation_nats });
            self.best = self.learner.snapshot().map_err(input)?;
            match self.job.store {
                Some(store) => store.save_best(&self.progress, &mut self.learner)?,
                None => self.learner.lend_arrays()?,
            }
        }
        let epochs = self.job.recipe.epochs;
        let left = (0 < epoch && epoch < epochs).then(|| seconds / epoch as f64 * (epochs - epoch) as f64);
        self.display.epoch(&record, epochs, better && epoch > 0, left);
        if let Some(store) = self.job.store {
            store.append(&record)?;
        }
        self.epochs.push(record);
        let went_back = self.job.recipe.rewind.is_some() && running.rejected > 0;
        if went_back || epoch.is_multiple_of(self.job.recipe.checkpoint_every) { self.save() } else { Ok(()) }
    }

    /// The mean log-likelihood of the validation part, and the drift that the refresh took off.
    fn validate(&mut self) -> Result<(f64, Option<f64>)> {
        self.settle()?;
        let drift = if self.progress.epoch == 0 { None } else { self.refresh()? };
        self.require_finite()?;
        let held_out = &self.validation;
        let values = self.learner.log_likelihoods(&held_out.x, &held_out.u).map_err(|cause| self.diverged(&cause))?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Ok((self.finite(mean, "validation log-likelihood")?, drift))
    }

    fn refresh(&mut self) -> Result<Option<f64>> {
        let drift = self.learner.refresh().map_err(|cause| self.diverged(&cause))?;
        drift.map(|drift| self.finite(drift, "carried log-determinant")).transpose()
    }

    fn finite(&self, value: f64, what: &str) -> Result<f64> {
        if value.is_finite() { Ok(value) } else { Err(self.diverged(&not_finite(what))) }
    }

    /// What a checkpoint holds beside what every step sees to.
    fn require_finite(&self) -> Result<()> {
        self.learner.require_finite_moments().map_err(|cause| self.diverged(&cause))
    }

    fn settle(&mut self) -> Result<()> {
        self.learner.settle().map_err(|cause| self.diverged(&cause))
    }

    fn save(&mut self) -> Result<()> {
        self.settle()?;
        self.require_finite()?;
        match self.job.store {
            Some(store) => store.save(&self.progress, &mut self.learner),
            None => self.learner.lend_arrays(),
        }
    }

    /// Evaluates the best model on all held-out parts.
    fn finish(mut self, stop: Stop) -> Result<Trained> {
        self.learner.restore_best(&self.best, self.job.store)?;
        let outcome = Outcome {
            stop,
            epochs: self.progress.epoch,
            best_epoch: self.progress.best.map_or(0, |best| best.epoch),
            validation: self.held_out("validation")?,
            test: self.held_out("test")?,
            seconds: self.progress.seconds,
        };
        Ok(Trained { epochs: self.epochs, outcome })
    }

    fn held_out(&mut self, part: &str) -> Result<Nats> {
        let samples = if part == "test" { &self.test } else { &self.validation };
        let values = self.learner.log_likelihoods(&samples.x, &samples.u);
        let nats = values.and_then(|values| Nats::of(&values).ok_or_else(|| not_finite("log-likelihood")));
        nats.map_err(|cause| {
            Error::Diverged(format!("the best model and the {part} part: {cause}{}", self.what_is_kept()))
        })
    }
}

/// Share of the noise that is left at a step: it falls to 0 in a line over the first half of all steps.
fn noise_factor(step: u64, steps: u64) -> f64 {
    (1.0 - 2.0 * step as f64 / steps as f64).max(0.0)
}

/// The numbers of some samples of width `width`, one after another.
pub(crate) fn gather<T: Copy>(width: usize, from: &[T], samples: &[u32], to: &mut [T]) {
    for (column, &sample) in to.chunks_exact_mut(width).zip(samples) {
        let start = sample as usize * width;
        column.copy_from_slice(&from[start..start + width]);
    }
}

fn not_finite(what: &str) -> relgrad_kernels::Error {
    relgrad_kernels::Error::NonFinite { what: what.to_string() }
}
