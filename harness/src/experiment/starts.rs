//! Figure 1, right: the same network from the same starts, with the relative and with the ordinary gradient.

use relgrad_kernels::Method;
use relgrad_reports::experiment::{Curve, Figure, Level, LinePanel, Table};
use relgrad_reports::training::{Epoch, Stop};
use serde_json::json;

use super::{Context, Findings};
use crate::data::{DataSet, Parts};
use crate::error::{Error, Result};
use crate::train::learner::Tracking;
use crate::train::recipe::Recipe;
use crate::train::trainer::{self, Job};
use crate::units;

const POINTS: usize = 1000;
const STARTS: u64 = 10;
const METHODS: [Method; 2] = [Method::Relative, Method::Ordinary];
/// Step sizes tried; each method is shown with the one that is best for it.
const STEP_SIZES: [f64; 6] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

/// All starts of one method with one step size.
struct Runs {
    method: Method,
    step_size: f64,
    /// Epochs of each start; none where it diverged.
    starts: Vec<Option<Vec<Epoch>>>,
}

impl Runs {
    /// Mean final log-likelihood; −∞ when a start diverged.
    fn score(&self) -> f64 {
        let last = |start: &Option<Vec<Epoch>>| {
            start
                .as_ref()
                .and_then(|epochs| epochs.last())
                .map_or(f64::NEG_INFINITY, |epoch| epoch.validation_nats)
        };
        self.starts.iter().map(last).sum::<f64>() / self.starts.len() as f64
    }
}

/// D = 2, L = 2, full batches, plain steps.
pub(crate) fn run(context: &mut Context<'_>) -> Result<Findings> {
    let epochs = context.effort.pick(30, 500, 2000);
    let set = context.load("toy:moons", POINTS)?;
    let train = set.parts.train.clone();
    // The curves are of the objective itself, so the training part is also the one that is evaluated.
    let parts = Parts { train: train.clone(), validation: train.clone(), test: train };
    let mut best = Vec::new();
    let mut tried = Vec::new();
    for method in METHODS {
        let mut of_method: Option<Runs> = None;
        for step_size in STEP_SIZES {
            let runs = all_starts(context, method, step_size, epochs, &parts)?;
            context.say(&format!(
                "{method}, step size {step_size}: mean of the last epoch {:.4} nats",
                runs.score()
            ));
            tried.push(json!({ "method": method.name(), "step_size": step_size, "final_mean_nats": finite(runs.score()) }));
            if of_method.as_ref().is_none_or(|best| runs.score() > best.score()) {
                of_method = Some(runs);
            }
        }
        best.extend(of_method);
    }
    findings(&set, &best, &tried, epochs)
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn all_starts(
    context: &mut Context<'_>,
    method: Method,
    step_size: f64,
    epochs: usize,
    parts: &Parts,
) -> Result<Runs> {
    let mut starts = Vec::new();
    for seed in 0..STARTS {
        context.check_interrupt()?;
        let mut settings = context.settings("toy:moons");
        settings.method = method.to_string();
        settings.optimizer = "sgd".to_string();
        settings.learning_rate = step_size;
        settings.batch = POINTS;
        settings.epochs = epochs;
        settings.init = "gaussian".to_string();
        settings.dtype = "f64".to_string();
        settings.seed = context.seed.wrapping_add(seed);
        settings.threads = 1;
        let recipe = Recipe::of(&settings, 2)?;
        let job = Job {
            recipe: &recipe,
            data: parts,
            store: None,
            time_limit_seconds: None,
            label: "",
            quiet: true,
            tracking: Tracking::Off,
        };
        match trainer::train::<f64>(&job, context.events) {
            Ok(trained) if trained.outcome.stop == Stop::Interrupted => {
                return Err(Error::Interrupted(context.resume_hint()));
            }
            Ok(trained) => starts.push(Some(trained.epochs)),
            Err(Error::Diverged(_)) => starts.push(None),
            Err(other) => return Err(other),
        }
    }
    Ok(Runs { method, step_size, starts })
}

fn findings(set: &DataSet, best: &[Runs], tried: &[serde_json::Value], epochs: usize) -> Result<Findings> {
    let mut by_epoch = Vec::new();
    let mut by_seconds = Vec::new();
    let mut rows = Vec::new();
    let target = best.iter().map(Runs::score).fold(f64::INFINITY, f64::min);
    for runs in best {
        let kept: Vec<&Vec<Epoch>> = runs.starts.iter().flatten().collect();
        for epochs in &kept {
            let curve = |x: &dyn Fn(&Epoch) -> f64| Curve {
                name: runs.method.to_string(),
                points: epochs.iter().map(|e| (x(e), -e.validation_nats)).collect(),
            };
            by_epoch.push(curve(&|e| e.epoch as f64));
            by_seconds.push(curve(&|e| e.seconds));
        }
        let (to_target, seconds) = to_reach(&kept, target);
        rows.push(vec![
            runs.method.to_string(),
            runs.step_size.to_string(),
            format!("{:.4}", -runs.score()),
            to_target.map_or("not reached".to_string(), |epochs| format!("{epochs:.0}")),
            seconds.map_or("–".to_string(), units::seconds),
            runs.starts.iter().filter(|start| start.is_none()).count().to_string(),
        ]);
    }
    let columns = [
        "gradient",
        "step size",
        "negative log-likelihood at the end, mean of starts (nats)",
        "epochs to the worse of the two ends (median)",
        "seconds to it (median)",
        "diverged starts",
    ];
    let panel = |x_title: &str, curves: Vec<Curve>| LinePanel {
        x_title: x_title.to_string(),
        y_title: "negative log-likelihood (nats)".to_string(),
        y_range: shown(&curves),
        curves,
        levels: Vec::<Level>::new(),
    };
    let number = |runs: &Runs| {
        let ends: Vec<Option<f64>> = runs
            .starts
            .iter()
            .map(|start| start.as_ref().and_then(|epochs| epochs.last()).map(|e| e.validation_nats))
            .collect();
        json!({ "method": runs.method.name(), "step_size": runs.step_size, "final_nats": ends })
    };
    Ok(Findings {
        numbers: json!({ "data": set.name, "points": POINTS, "epochs": epochs, "shown": best.iter().map(number).collect::<Vec<_>>(), "tried": tried }),
        table: Table { columns: columns.map(str::to_string).to_vec(), rows },
        notes: vec![
            format!(
                "{POINTS} points of the half moons, D = 2, L = 2, full batches, plain steps, f64; {STARTS} networks with \
                 Gaussian weights, the same for both gradients."
            ),
            format!(
                "Each gradient is shown with the step size that ends highest on average among {STEP_SIZES:?}; the paper \
                 does not say how it chose its own."
            ),
            "Seconds are those of the steps alone; at D = 2 they say little about the cost of a gradient (the sweep \
             measures that), much about the number of steps."
                .to_string(),
        ],
        figure: Figure::Lines { panels: vec![panel("epoch", by_epoch), panel("seconds", by_seconds)] },
    })
}

/// From the best value to the median of the starts' values after a hundredth of the epochs: what lies above is the first
/// moments of a bad start.
fn shown(curves: &[Curve]) -> Option<(f64, f64)> {
    let mut early: Vec<f64> =
        curves.iter().filter_map(|curve| curve.points.get(curve.points.len() / 50)).map(|p| p.1).collect();
    early.sort_by(f64::total_cmp);
    let high = *early.get(early.len().checked_sub(1)? / 2)?;
    let low = curves.iter().flat_map(|curve| &curve.points).map(|p| p.1).fold(f64::INFINITY, f64::min);
    let margin = 0.06 * (high - low).max(1e-6);
    (low.is_finite() && high.is_finite()).then_some((low - margin, high + margin))
}

/// Median number of epochs, and of seconds, until the log-likelihood is at least `target`.
fn to_reach(starts: &[&Vec<Epoch>], target: f64) -> (Option<f64>, Option<f64>) {
    let mut reached: Vec<(f64, f64)> = starts
        .iter()
        .filter_map(|epochs| epochs.iter().find(|e| e.validation_nats >= target))
        .map(|e| (e.epoch as f64, e.seconds))
        .collect();
    if 2 * reached.len() < starts.len() || reached.is_empty() {
        return (None, None);
    }
    let middle = reached.len() / 2;
    reached.sort_by(|a, b| a.0.total_cmp(&b.0));
    let epochs = reached[middle].0;
    reached.sort_by(|a, b| a.1.total_cmp(&b.1));
    (Some(epochs), Some(reached[middle].1))
}
