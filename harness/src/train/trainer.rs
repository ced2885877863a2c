//! The loop over epochs and batches.

use std::time::Instant;

use relgrad_kernels::layer::{CouplingKind, MaybeGroup, Spectral, Visitor};
use relgrad_kernels::{Cpu, Dtype, Scalar};
use relgrad_reports::training::{Epoch, Nats, Outcome, Stop};

use super::checkpoint::{Best, Progress};
use super::learner::{Learner, Stepped, Tracking};
use super::network::Inputs;
use super::progress::Display;
use super::recipe::Recipe;
use super::store::Store;
use super::{memory, order};
use crate::data::Parts;
use crate::error::{Error, Result};
use crate::run::interrupt::Events;

/// The training likelihood is tracked at one batch in so many: the extra forward pass then costs a few per cent.
const TRACKED_EVERY: usize = 8;
/// Norms that a message has room for.
const MOST_NORMS: usize = 10;

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
    memory::require(job.recipe, job.data)?;
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
    let mut session = Session::<T, C>::new(job, coupling)?;
    let stop = session.run(events);
    session.display.finish();
    session.finish(stop?)
}

struct Session<'a, T: Scalar, C: MaybeGroup<Cpu, T>> {
    job: &'a Job<'a>,
    learner: Learner<T, C>,
    training: Inputs<T>,
    validation: Inputs<T>,
    test: Inputs<T>,
    staging: Inputs<T>,
    progress: Progress,
    epochs: Vec<Epoch>,
    best: Vec<Vec<T>>,
    display: Display,
    started: Instant,
}

impl<'a, T: Scalar, C: MaybeGroup<Cpu, T>> Session<'a, T, C> {
    /// Picks up the last checkpoint, or evaluates the untrained network.
    fn new(job: &'a Job<'a>, coupling: C) -> Result<Self> {
        let Job { recipe, data, .. } = job;
        let started = Instant::now();
        let learner = Learner::begin(recipe, coupling, &data.train, job.tracking)?;
        let [training, validation, test] = Inputs::of(data);
        let room = |width: usize| vec![T::default(); width * learner.batch_size()];
        let steps = (data.train.count() / learner.batch_size() * recipe.epochs) as u64;
        let mut session = Self {
            job,
            training,
            validation,
            test,
            staging: Inputs { x: room(data.dim()), u: room(data.conditions()) },
            progress: Progress::default(),
            epochs: Vec::new(),
            best: Vec::new(),
            display: Display::new(job.quiet, job.label, steps),
            started,
            learner,
        };
        let batches = session.steps_per_epoch();
        if let Some(store) = job.store
            && let Some(restored) = store.restore(&mut session.learner, recipe, batches)?
        {
            session.refresh()?;
            (session.progress, session.epochs) = (restored.progress, restored.epochs);
            session.resume_best(store)?;
        } else {
            session.end_epoch()?;
        }
        Ok(session)
    }

    /// Reads the best model. After a kill in the moment between the two it is of a later epoch than the last
    /// checkpoint, which training then comes to again.
    fn resume_best(&mut self, store: &Store) -> Result<()> {
        let now = self.learner.snapshot().map_err(input)?;
        let found = store.read_best(&self.learner.device, &mut self.learner.parameters)?.best;
        let is_newer = |found: Best, known: Best| {
            found.epoch > self.progress.epoch.max(known.epoch) && found.validation_nats > known.validation_nats
        };
        match (found, self.progress.best) {
            (Some(found), Some(known)) if found == known || is_newer(found, known) => {}
            _ => return Err(store.strange_best()),
        }
        self.progress.best = found;
        self.best = self.learner.snapshot().map_err(input)?;
        self.learner.restore(&now).map_err(input)
    }

    fn run(&mut self, events: &mut Events) -> Result<Stop> {
        let recipe = self.job.recipe;
        while self.progress.epoch < recipe.epochs {
            let best = self.progress.best.map_or(0, |best| best.epoch);
            if recipe.patience.is_some_and(|patience| self.progress.epoch >= best.saturating_add(patience)) {
                return Ok(Stop::Patience);
            }
            if let Some(stop) = self.epoch(events)? {
                self.save()?;
                return Ok(stop);
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

    fn rate(&self) -> f64 {
        let recipe = self.job.recipe;
        let schedule = recipe.schedule.in_steps(self.steps_per_epoch(), recipe.epochs);
        recipe.learning_rate * schedule.factor(self.progress.step)
    }

    /// The rest of an epoch; a reason when it was cut short. Samples that fill no whole batch sit this epoch out: the
    /// next has another order.
    fn epoch(&mut self, events: &mut Events) -> Result<Option<Stop>> {
        let order = order::of_epoch(self.job.recipe.seed, self.progress.epoch, self.job.data.train.count());
        let clock = Instant::now();
        let before = self.progress.seconds;
        let size = self.learner.batch_size();
        for at in self.progress.batches..self.steps_per_epoch() {
            if events.interrupted() {
                return Ok(Some(Stop::Interrupted));
            }
            if self.job.time_limit_seconds.is_some_and(|limit| self.started.elapsed().as_secs_f64() >= limit) {
                return Ok(Some(Stop::TimeLimit));
            }
            self.gather(&order[at * size..(at + 1) * size]);
            let rate = self.rate();
            if rate > 0.0 {
                let stepped =
                    self.learner.step(&self.staging.x, &self.staging.u, rate, at.is_multiple_of(TRACKED_EVERY));
                self.add_up(stepped.map_err(|cause| self.diverged(&cause))?)?;
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
        let (dim, conditions) = (self.job.data.dim(), self.job.data.conditions());
        gather(dim, &self.training.x, samples, &mut self.staging.x);
        if conditions > 0 {
            gather(conditions, &self.training.u, samples, &mut self.staging.u);
        }
    }

    /// Evaluates, logs, and keeps what is worth keeping.
    fn end_epoch(&mut self) -> Result<()> {
        self.settle()?;
        let drift = if self.progress.epoch == 0 { None } else { self.refresh()? };
        self.require_finite()?;
        let held_out = &self.validation;
        let values = self.learner.log_likelihoods(&held_out.x, &held_out.u).map_err(|cause| self.diverged(&cause))?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let validation_nats = self.finite(mean, "validation log-likelihood")?;
        let Progress { epoch, step, running, seconds, .. } = self.progress;
        let updates = self.steps_per_epoch() * self.job.recipe.architecture.layers;
        let record = Epoch {
            epoch,
            step,
            training_nats: (running.tracked > 0).then(|| running.nats / running.tracked as f64),
            validation_nats,
            learning_rate: self.rate(),
            guarded_share: drift.map(|_| running.guarded as f64 / updates as f64),
            log_det_drift: drift,
            seconds,
        };
        self.progress.running = Default::default();
        let better = self.progress.best.is_none_or(|best| validation_nats > best.validation_nats);
        if better {
            self.progress.best = Some(Best { epoch, validation_nats });
            self.best = self.learner.snapshot().map_err(input)?;
            if let Some(store) = self.job.store {
                store.save_best(&self.progress, &self.learner)?;
            }
        }
        let epochs = self.job.recipe.epochs;
        let left = (0 < epoch && epoch < epochs).then(|| seconds / epoch as f64 * (epochs - epoch) as f64);
        self.display.epoch(&record, epochs, better && epoch > 0, left);
        if let Some(store) = self.job.store {
            store.append(&record)?;
        }
        self.epochs.push(record);
        if epoch.is_multiple_of(self.job.recipe.checkpoint_every) { self.save() } else { Ok(()) }
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
        self.job.store.map_or(Ok(()), |store| store.save(&self.progress, &self.learner))
    }

    /// Says where the numbers went wrong, how large the weights had become, what is left, and what to do.
    fn diverged(&self, cause: &relgrad_kernels::Error) -> Error {
        let Progress { epoch, step, .. } = self.progress;
        let scale = self.scale_advice();
        if self.epochs.is_empty() {
            // Nothing has moved yet: these are the data as the first network sees them.
            return Error::Input(format!("cannot begin to train: {cause}; {scale}"));
        }
        let advice = if self.learner.require_finite_moments().is_err() {
            scale.to_string()
        } else {
            format!("try a smaller --learning-rate than {}", self.job.recipe.learning_rate)
        };
        let norm = |norm: Option<f64>| norm.map_or("?".to_string(), |norm| format!("{norm:.1e}"));
        // A hundred norms would hide the rest.
        let more = if self.learner.norms().count() > MOST_NORMS { ", …" } else { "" };
        Error::Diverged(format!(
            "training stopped at step {} (epoch {}): {cause}; norms of the weights, layer by layer: {}{more}{}; \
             {advice}",
            step + 1,
            epoch + 1,
            self.learner.norms().take(MOST_NORMS).map(norm).collect::<Vec<_>>().join(", "),
            self.what_is_kept(),
        ))
    }

    /// What to do about numbers that are too large or too small. A start from the data scales the first layer, but its
    /// gradient keeps the scale of the data, and Adam squares that.
    fn scale_advice(&self) -> &'static str {
        let recipe = self.job.recipe;
        let largest = self.job.data.train.values.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
        let most = if recipe.dtype == Dtype::F32 { 1e17 } else { 1e150 };
        let is_grid = matches!(recipe.architecture.coupling, CouplingKind::Convolution(_));
        let is_of_use = !is_grid && !recipe.start.is_from_data() && largest < most;
        match (is_of_use, recipe.dtype) {
            (true, Dtype::F32) => "rescale the data (--init standardise), or take --dtype f64",
            (true, Dtype::F64) => "rescale the data (--init standardise)",
            (false, Dtype::F32) => "rescale the data in their file, or take --dtype f64",
            (false, Dtype::F64) => "rescale the data in their file",
        }
    }

    fn what_is_kept(&self) -> String {
        let kept = self.job.store.filter(|store| store.has_checkpoint());
        kept.map_or(String::new(), |store| format!("; the last good checkpoint is kept in {}", store.dir().display()))
    }

    /// Evaluates the best model on all held-out parts.
    fn finish(mut self, stop: Stop) -> Result<Trained> {
        self.learner.restore(&self.best).map_err(input)?;
        let held_out = |part: &str, samples: &Inputs<T>| {
            let failed = |cause: &relgrad_kernels::Error| {
                Error::Diverged(format!("the best model and the {part} part: {cause}{}", self.what_is_kept()))
            };
            let values = self.learner.log_likelihoods(&samples.x, &samples.u).map_err(|cause| failed(&cause))?;
            Nats::of(&values).ok_or_else(|| failed(&not_finite("log-likelihood")))
        };
        let outcome = Outcome {
            stop,
            epochs: self.progress.epoch,
            best_epoch: self.progress.best.map_or(0, |best| best.epoch),
            validation: held_out("validation", &self.validation)?,
            test: held_out("test", &self.test)?,
            seconds: self.progress.seconds,
        };
        Ok(Trained { epochs: self.epochs, outcome })
    }
}

/// The numbers of some samples of width `width`, one after another.
pub(crate) fn gather<T: Copy>(width: usize, from: &[T], samples: &[u32], to: &mut [T]) {
    for (column, &sample) in to.chunks_exact_mut(width).zip(samples) {
        let start = sample as usize * width;
        column.copy_from_slice(&from[start..start + width]);
    }
}

fn input(cause: relgrad_kernels::Error) -> Error {
    Error::Input(cause.to_string())
}

fn not_finite(what: &str) -> relgrad_kernels::Error {
    relgrad_kernels::Error::NonFinite { what: what.to_string() }
}
