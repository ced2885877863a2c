//! Appendix H.3: seconds for one epoch with each gradient.

use std::time::Instant;

use relgrad_kernels::{Dense, Method};
use relgrad_reports::experiment::Dot;
use relgrad_reports::units::{self, counted};
use serde_json::json;

use super::{Context, Findings, dots, table, texts};
use crate::data::DataSet;
use crate::error::{Error, Result};
use crate::train::learner::{Learner, Tracking};
use crate::train::network::converted;
use crate::train::recipe::Recipe;

/// Batch sizes timed.
const BATCHES: [usize; 2] = [PAPER_BATCH, 100];

/// How many times longer than relative an epoch takes in the paper, on a GPU, in batches of [`PAPER_BATCH`].
pub(crate) const PAPER: [(Method, f64); 2] = [(Method::Ordinary, 4.5), (Method::AutodiffStreamed, 50.0)];
pub(crate) const PAPER_BATCH: usize = 10;

/// Method and optimiser; the same optimiser for the three that are compared, and the step without a stored gradient.
const RULES: [(Method, &str); 4] = [
    (Method::Relative, "adam"),
    (Method::Ordinary, "adam"),
    (Method::AutodiffStreamed, "adam"),
    (Method::RelativeInPlace, "sgd"),
];

const WARM_UP: usize = 2;

/// Time of one rule at one batch size.
struct Timing {
    method: Method,
    optimizer: &'static str,
    batch: usize,
    steps: usize,
    steps_per_epoch: usize,
    /// Seconds of each timed step.
    seconds: Vec<f64>,
}

impl Timing {
    fn is_scaled(&self) -> bool {
        self.steps < self.steps_per_epoch
    }

    /// Seconds for an epoch: the sum, scaled where only a part was timed.
    fn epoch_seconds(&self) -> f64 {
        self.seconds.iter().sum::<f64>() * self.steps_per_epoch as f64 / self.steps as f64
    }

    /// How many times longer than `relative` with Adam at the same batch size.
    fn ratio(&self, timings: &[Self]) -> Option<f64> {
        let base = timings.iter().find(|t| t.method == Method::Relative && t.batch == self.batch)?;
        Some(self.epoch_seconds() / base.epoch_seconds())
    }
}

/// Times steps (gather, gradient, update) on the real batches.
pub(crate) fn run(context: &mut Context<'_>) -> Result<Findings> {
    let set = context.load(&context.images.clone(), 0)?;
    let most_seconds = context.effort.pick(0.2, 15.0, 120.0);
    let mut timings = Vec::new();
    for batch in BATCHES {
        for (method, optimizer) in RULES {
            context.check_interrupt()?;
            let timing = time(context, &set, (method, optimizer), batch, most_seconds)?;
            let scaled = if timing.is_scaled() { " (scaled)" } else { "" };
            let epoch = units::seconds(timing.epoch_seconds());
            context.say(&format!("{method} with {optimizer}, N = {batch}: {epoch} an epoch{scaled}"));
            timings.push(timing);
        }
    }
    let number = |t: &Timing| {
        json!({ "method": t.method.name(), "optimizer": t.optimizer, "batch": t.batch, "timed_steps": t.steps,
            "steps_per_epoch": t.steps_per_epoch, "epoch_seconds": t.epoch_seconds(), "scaled": t.is_scaled(),
            "step_seconds": t.seconds })
    };
    let numbers: Vec<_> = timings.iter().map(number).collect();
    let columns = ["gradient", "optimiser", "N", "seconds an epoch", "times relative with Adam", "timed"];
    Ok(Findings {
        numbers: json!({ "data": set.name, "dim": set.parts.dim(), "timings": numbers }),
        table: table(columns, timings.iter().map(|t| cells(t, &timings)).collect()),
        notes: notes(context, &set),
        figure: dots("seconds for one epoch", None, timings.iter().map(|t| dot(t, &timings)).collect()),
    })
}

fn cells(t: &Timing, timings: &[Timing]) -> Vec<String> {
    let scaled = format!("{} of {} steps, scaled", t.steps, t.steps_per_epoch);
    vec![
        t.method.to_string(),
        t.optimizer.to_string(),
        t.batch.to_string(),
        format!("{:.3}", t.epoch_seconds()),
        t.ratio(timings).map_or("–".to_string(), |ratio| format!("{ratio:.2}")),
        if t.is_scaled() { scaled } else { "the whole epoch".to_string() },
    ]
}

fn dot(t: &Timing, timings: &[Timing]) -> Dot {
    let scaled = if t.is_scaled() { ", scaled" } else { "" };
    Dot {
        name: format!("{} with {}, N = {}", t.method, if t.optimizer == "sgd" { "SGD" } else { "Adam" }, t.batch),
        value: Some(t.epoch_seconds()),
        interval: None,
        note: t.ratio(timings).map_or(String::new(), |ratio| format!("{ratio:.2} times{scaled}")),
    }
}

fn notes(context: &Context<'_>, set: &DataSet) -> Vec<String> {
    let setting = format!(
        "{}: D = {}, {}, L = 2, f32, {}. A step gathers a batch, computes its gradient and updates; evaluation is \
         excluded.",
        set.name,
        units::grouped(set.parts.dim()),
        counted(set.parts.train.count(), "training sample"),
        counted(context.threads, "thread")
    );
    let [ordinary, autodiff] = PAPER.map(|(_, ratio)| ratio);
    let paper = format!(
        "The paper (a GPU) reports that at N = {PAPER_BATCH} relative is {ordinary} times faster than ordinary and \
         about {autodiff} times faster than autodiff."
    );
    texts([&setting, &paper, "*Scaled*: only a part of the epoch was timed, after a warm-up, and scaled to the epoch."])
}

fn time(
    context: &Context<'_>,
    set: &DataSet,
    (method, optimizer): (Method, &'static str),
    batch: usize,
    most_seconds: f64,
) -> Result<Timing> {
    // Smaller sets than a batch make one of all their samples.
    let batch = batch.min(set.parts.train.count());
    let mut settings = context.settings(&set.name);
    settings.method = method;
    settings.optimizer = optimizer.to_string();
    // Steps alone are timed.
    settings.edge = None;
    // Small: a thousand timed steps must not change what is timed.
    settings.learning_rate = 1e-6;
    settings.batch = batch;
    settings.init = "standardise".to_string();
    let dim = set.parts.dim();
    let recipe = Recipe::of(&settings, dim)?;
    let mut learner = Learner::begin(&recipe, Dense, &set.parts.train, Tracking::Off)?;
    let training: Vec<f32> = converted(&set.parts.train);
    let mut staging = vec![0.0_f32; dim * batch];
    let steps_per_epoch = set.parts.train.count() / batch;
    let mut step = |at: usize| -> Result<()> {
        let start = at % steps_per_epoch * batch * dim;
        staging.copy_from_slice(&training[start..start + dim * batch]);
        let stepped = learner.step(&staging, &[], recipe.learning_rate, false);
        stepped.map(|_| ()).map_err(|cause| Error::Diverged(format!("{method}: {cause}")))
    };
    (0..WARM_UP.min(steps_per_epoch)).try_for_each(&mut step)?;
    let (clock, mut seconds) = (Instant::now(), Vec::new());
    while seconds.len() < steps_per_epoch && (seconds.is_empty() || clock.elapsed().as_secs_f64() < most_seconds) {
        let before = Instant::now();
        step(seconds.len())?;
        seconds.push(before.elapsed().as_secs_f64());
    }
    Ok(Timing { method, optimizer, batch, steps: seconds.len(), steps_per_epoch, seconds })
}
