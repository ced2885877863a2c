//! Figure 1, right: the same network from the same starts, with the relative and with the ordinary gradient.

use relgrad_kernels::Method;
use relgrad_reports::experiment::{Curve, Figure, LinePanel, Table};
use relgrad_reports::training::{Epoch, Stop};
use serde_json::json;

use super::{Context, Findings};
use crate::data::{Parts, Samples};
use crate::error::{Error, Result};
use crate::train::learner::Tracking;
use crate::train::recipe::Recipe;
use crate::train::trainer::{self, Job};
use crate::units;

const POINTS: usize = 1000;
const STARTS: u64 = 10;
const METHODS: [Method; 2] = [Method::Relative, Method::Ordinary];
/// Step sizes tried; each method is shown with the one that is best for it.
const STEP_SIZES: [f64; 6] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3];
/// What mixes the coordinates of the second data set: condition number 19.
const MIXING: [[f64; 2]; 2] = [[1.0, 0.9], [0.9, 1.0]];

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

/// D = 2, L = 2, full batches, plain steps; the half moons as they are, and linearly mixed.
pub(crate) fn run(context: &mut Context<'_>) -> Result<Findings> {
    let epochs = context.effort.pick(30, 500, 2000);
    let train = context.load("toy:moons", POINTS)?.parts.train;
    let mixed = train.iter().flat_map(|x| MIXING.map(|row| row[0] * x[0] + row[1] * x[1])).collect();
    let mixed = Samples { dim: 2, values: mixed };
    let plain = best_runs(context, "half moons", train, epochs)?;
    let mixed = best_runs(context, "half moons, mixed", mixed, epochs)?;
    Ok(findings(&[plain, mixed], epochs))
}

/// What came out on one data set.
struct OnData {
    name: &'static str,
    /// Of each method, with the step size that is best for it.
    best: Vec<Runs>,
    /// Every step size of every method.
    tried: Vec<serde_json::Value>,
}

fn best_runs(
    context: &mut Context<'_>,
    name: &'static str,
    points: Samples,
    epochs: usize,
) -> Result<OnData> {
    // The curves are of the objective itself, so the training part is also the one that is evaluated.
    let parts = Parts { train: points.clone(), validation: points.clone(), test: points };
    let (mut best, mut tried) = (Vec::new(), Vec::new());
    for method in METHODS {
        let mut of_method: Option<Runs> = None;
        for step_size in STEP_SIZES {
            let runs = all_starts(context, method, step_size, epochs, &parts)?;
            let score = runs.score();
            context
                .say(&format!("{name}: {method}, step size {step_size}, ends at {score:.4} nats on average"));
            tried.push(
                json!({ "method": method.name(), "step_size": step_size, "final_mean_nats": finite(score) }),
            );
            if of_method.as_ref().is_none_or(|best| score > best.score()) {
                of_method = Some(runs);
            }
        }
        best.extend(of_method);
    }
    Ok(OnData { name, best, tried })
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

fn findings(sets: &[OnData; 2], epochs: usize) -> Findings {
    let columns = [
        "data",
        "gradient",
        "step size",
        "negative log-likelihood at the end, mean of starts (nats)",
        "epochs to the worse of the two ends (median)",
        "seconds to it (median)",
        "diverged starts",
    ];
    let number = |runs: &Runs| {
        let end = |start: &Option<Vec<Epoch>>| {
            start.as_ref().and_then(|epochs| epochs.last()).map(|epoch| epoch.validation_nats)
        };
        json!({ "method": runs.method.name(), "step_size": runs.step_size,
            "final_nats": runs.starts.iter().map(end).collect::<Vec<_>>() })
    };
    let of_set = |set: &OnData| json!({ "data": set.name, "shown": set.best.iter().map(number).collect::<Vec<_>>(), "tried": set.tried });
    let [_, mixed] = sets;
    Findings {
        numbers: json!({ "points": POINTS, "epochs": epochs, "sets": sets.iter().map(of_set).collect::<Vec<_>>() }),
        table: Table {
            columns: columns.map(str::to_string).to_vec(),
            rows: sets.iter().flat_map(rows).collect(),
        },
        notes: notes(),
        figure: Figure::Lines {
            panels: vec![
                panel("epoch", curves(mixed, |e| e.epoch as f64)),
                panel("seconds", curves(mixed, |e| e.seconds)),
            ],
        },
    }
}

fn rows(set: &OnData) -> Vec<Vec<String>> {
    let target = set.best.iter().map(Runs::score).fold(f64::INFINITY, f64::min);
    let row = |runs: &Runs| {
        let kept: Vec<&Vec<Epoch>> = runs.starts.iter().flatten().collect();
        let (epochs, seconds) = to_reach(&kept, target);
        vec![
            set.name.to_string(),
            runs.method.to_string(),
            runs.step_size.to_string(),
            format!("{:.4}", -runs.score()),
            epochs.map_or("not reached".to_string(), |epochs| format!("{epochs:.0}")),
            seconds.map_or("–".to_string(), units::seconds),
            runs.starts.iter().filter(|start| start.is_none()).count().to_string(),
        ]
    };
    set.best.iter().map(row).collect()
}

fn curves(set: &OnData, x: impl Fn(&Epoch) -> f64) -> Vec<Curve> {
    let curve = |method: Method, epochs: &Vec<Epoch>| Curve {
        name: method.to_string(),
        points: epochs.iter().map(|e| (x(e), -e.validation_nats)).collect(),
    };
    let of_runs =
        |runs: &Runs| runs.starts.iter().flatten().map(|epochs| curve(runs.method, epochs)).collect();
    set.best.iter().flat_map(|runs| -> Vec<Curve> { of_runs(runs) }).collect()
}

fn panel(x_title: &str, curves: Vec<Curve>) -> LinePanel {
    LinePanel {
        x_title: x_title.to_string(),
        y_title: "negative log-likelihood (nats)".to_string(),
        y_range: shown(&curves),
        curves,
        levels: Vec::new(),
    }
}

fn notes() -> Vec<String> {
    vec![
        format!(
            "{POINTS} points, D = 2, L = 2, full batches, plain steps, f64; {STARTS} networks with Gaussian weights, the \
             same for both gradients. The figure shows the mixed half moons (x ↦ Ax with A = {MIXING:?})."
        ),
        format!(
            "Each gradient is shown with the step size that ends highest on average among {STEP_SIZES:?}; the paper does \
             not say how it chose its own, nor is its data set known here."
        ),
        "Curves that jump up are constant steps that overshoot. The guard of the relative step keeps every weight \
         invertible; it does not keep the likelihood from falling."
            .to_string(),
        "Seconds are those of the steps alone; at D = 2 they say little about the cost of a gradient (the sweep measures \
         that), much about the number of steps."
            .to_string(),
    ]
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
