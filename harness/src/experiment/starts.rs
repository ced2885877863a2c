//! Figure 1, right: the same network from the same starts, with the relative and with the ordinary gradient.

use relgrad_kernels::parameters::Parameters;
use relgrad_kernels::{Cpu, Dense, Dtype, Method};
use relgrad_reports::experiment::{Curve, Figure};
use relgrad_reports::training::{Epoch, Stop};
use relgrad_reports::units;
use serde_json::json;

use super::{Context, Findings, lines, signed, table, texts};
use crate::data::{Parts, Samples};
use crate::error::{Error, Result};
use crate::train::learner::Tracking;
use crate::train::recipe::Recipe;
use crate::train::trainer::{self, Job};

const POINTS: usize = 1000;
const STARTS: u64 = 10;
const METHODS: [Method; 2] = [Method::Relative, Method::Ordinary];
/// Step sizes tried; each method is shown with the one that is best for it.
const STEP_SIZES: [f64; 8] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// A data set and where its networks start.
struct Problem {
    data: &'static str,
    /// The data are x ↦ Ax with A = [[1, mixing], [mixing, 1]], of condition number (1 + mixing)/(1 − mixing).
    mixing: f64,
    /// First weights, as in the settings of a training.
    starts: &'static str,
}

/// Each set with starts that are well conditioned, and with independent normals, of which some are nearly singular.
const PROBLEMS: [Problem; 4] = [
    Problem { data: "half moons", mixing: 0.0, starts: "orthogonal" },
    Problem { data: "half moons", mixing: 0.0, starts: "gaussian" },
    Problem { data: "mixed half moons", mixing: 0.9, starts: "orthogonal" },
    Problem { data: "mixed half moons", mixing: 0.9, starts: "gaussian" },
];
/// The problems that the figure shows.
const SHOWN: std::ops::Range<usize> = 2..4;

/// All starts of one method with one step size.
struct Runs {
    method: Method,
    step_size: f64,
    /// Epochs of each start; none where it diverged.
    starts: Vec<Option<Vec<Epoch>>>,
    /// The smallest singular value of each start's weights.
    smallest_singular_values: Vec<f64>,
}

impl Runs {
    /// Mean log-likelihood of each start over the last tenth of its epochs, so that curves which jump are not judged by
    /// where they happen to be at the end; −∞ where it diverged.
    fn ends(&self) -> Vec<f64> {
        let end = |epochs: &Vec<Epoch>| {
            let last = &epochs[epochs.len() - epochs.len().div_ceil(10)..];
            last.iter().map(|epoch| epoch.validation_nats).sum::<f64>() / last.len() as f64
        };
        self.starts.iter().map(|start| start.as_ref().map_or(f64::NEG_INFINITY, end)).collect()
    }

    /// Their mean, which chooses the step size.
    fn score(&self) -> f64 {
        let ends = self.ends();
        ends.iter().sum::<f64>() / ends.len() as f64
    }

    /// Their median, which one bad start does not move.
    fn median(&self) -> f64 {
        let ends = sorted(self.ends());
        0.5 * (ends[(ends.len() - 1) / 2] + ends[ends.len() / 2])
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// D = 2, L = 2, full batches, plain steps; the half moons as they are, and linearly mixed.
pub(crate) fn run(context: &mut Context<'_>) -> Result<Findings> {
    let epochs = context.effort.pick(30, 500, 2000);
    let train = context.load("toy:moons", POINTS)?.parts.train;
    let mut solved = Vec::new();
    for problem in &PROBLEMS {
        let mix = |x: &[f64]| [x[0] + problem.mixing * x[1], problem.mixing * x[0] + x[1]];
        let points = Samples { dim: 2, values: train.iter().flat_map(mix).collect() };
        solved.push(best_runs(context, problem, points, epochs)?);
    }
    Ok(findings(&solved, epochs))
}

/// What came out of one problem.
struct Solved {
    problem: &'static Problem,
    /// Of each method, with the step size that is best for it.
    best: Vec<Runs>,
    /// Every step size of every method.
    tried: Vec<serde_json::Value>,
}

fn best_runs(context: &mut Context<'_>, problem: &'static Problem, points: Samples, epochs: usize) -> Result<Solved> {
    // The curves are of the objective itself, so the training part is also the one that is evaluated.
    let parts = Parts::of([points.clone(), points.clone(), points]);
    let (mut best, mut tried) = (Vec::new(), Vec::new());
    for method in METHODS {
        let mut of_method: Option<Runs> = None;
        for step_size in STEP_SIZES {
            let runs = all_starts(context, (problem, method, step_size), epochs, &parts)?;
            let score = runs.score();
            let Problem { data, starts, .. } = problem;
            context.say(&format!(
                "{data}, {starts} starts: {method}, step size {step_size}, ends at {score:.4} nats on average"
            ));
            tried.push(json!({ "method": method.name(), "step_size": step_size,
                "last_tenth_mean_nats": finite(score), "last_tenth_median_nats": finite(runs.median()) }));
            if of_method.as_ref().is_none_or(|best| score > best.score()) {
                of_method = Some(runs);
            }
        }
        best.extend(of_method);
    }
    Ok(Solved { problem, best, tried })
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn all_starts(
    context: &mut Context<'_>,
    (problem, method, step_size): (&Problem, Method, f64),
    epochs: usize,
    parts: &Parts,
) -> Result<Runs> {
    let (mut starts, mut smallest_singular_values) = (Vec::new(), Vec::new());
    for seed in 0..STARTS {
        context.check_interrupt()?;
        let mut settings = context.settings("toy:moons");
        settings.method = method;
        settings.optimizer = "sgd".to_string();
        settings.learning_rate = step_size;
        settings.batch = POINTS;
        settings.epochs = epochs;
        settings.init = problem.starts.to_string();
        settings.dtype = Dtype::F64;
        settings.seed = context.seed.wrapping_add(seed);
        settings.threads = 1;
        let recipe = Recipe::of(&settings, 2)?;
        let architecture = recipe.architecture.with(Dense);
        let start = recipe.start.network(&Cpu::new(1), &architecture, recipe.seed, &parts.train)?;
        smallest_singular_values.push(smallest_singular_value(&start));
        let job = Job::new(&recipe, parts, Tracking::Off);
        match trainer::train(&job, context.events) {
            Ok(trained) if trained.outcome.stop == Stop::Interrupted => {
                return Err(Error::Interrupted(context.resume_hint()));
            }
            Ok(trained) => starts.push(Some(trained.epochs)),
            Err(Error::Diverged(_)) => starts.push(None),
            Err(other) => return Err(other),
        }
    }
    Ok(Runs { method, step_size, starts, smallest_singular_values })
}

/// Of all 2×2 weights: |det W| over the largest, from σ₁² + σ₂² = ‖W‖_F² and σ₁σ₂ = |det W|.
fn smallest_singular_value(network: &Parameters<Cpu, f64>) -> f64 {
    let of_layer = |k| {
        let [a, b, c, d] = <[f64; 4]>::try_from(network.weight(k).slice()).unwrap_or([0.0; 4]);
        let (squares, det) = (a * a + b * b + c * c + d * d, (a * d - b * c).abs());
        let largest = (0.5 * (squares + (squares * squares - 4.0 * det * det).max(0.0).sqrt())).sqrt();
        if largest > 0.0 { det / largest } else { 0.0 }
    };
    (0..network.architecture().layers).map(of_layer).fold(f64::INFINITY, f64::min)
}

fn findings(solved: &[Solved], epochs: usize) -> Findings {
    let columns = [
        "data",
        "starts",
        "gradient",
        "step size",
        "negative log-likelihood over the last tenth of the epochs, mean of starts (nats)",
        "median",
        "epochs to the worse of the two ends (median)",
        "seconds to it (median)",
        "diverged starts",
    ];
    let number = |runs: &Runs| {
        json!({ "method": runs.method.name(), "step_size": runs.step_size,
            "last_tenth_nats": runs.ends().into_iter().map(finite).collect::<Vec<_>>(),
            "smallest_singular_value": runs.smallest_singular_values })
    };
    let of_problem = |solved: &Solved| {
        let Problem { data, mixing, starts } = solved.problem;
        json!({ "data": data, "mixing": mixing, "starts": starts,
            "shown": solved.best.iter().map(number).collect::<Vec<_>>(), "tried": solved.tried })
    };
    let panels = |solved: &Solved| {
        let title = |x: &str| format!("{x} ({} starts)", solved.problem.starts);
        let panel = |x: &str, curves: Vec<Curve>| {
            lines([&title(x), "negative log-likelihood (nats)"], shown(&curves), curves, Vec::new())
        };
        [panel("epoch", curves(solved, |e| e.epoch as f64)), panel("seconds", curves(solved, |e| e.seconds))]
    };
    Findings {
        numbers: json!({ "points": POINTS, "epochs": epochs, "step_sizes": STEP_SIZES,
            "sets": solved.iter().map(of_problem).collect::<Vec<_>>() }),
        table: table(columns, solved.iter().flat_map(rows).collect()),
        notes: notes(solved),
        figure: Figure::Lines { panels: solved[SHOWN].iter().flat_map(panels).collect() },
    }
}

fn rows(set: &Solved) -> Vec<Vec<String>> {
    let target = set.best.iter().map(Runs::score).fold(f64::INFINITY, f64::min);
    let row = |runs: &Runs| {
        let kept: Vec<&Vec<Epoch>> = runs.starts.iter().flatten().collect();
        let (epochs, seconds) = to_reach(&kept, target).unzip();
        vec![
            set.problem.data.to_string(),
            set.problem.starts.to_string(),
            runs.method.to_string(),
            runs.step_size.to_string(),
            negated(runs.score()),
            negated(runs.median()),
            epochs.map_or("not reached".to_string(), |epochs| format!("{epochs:.0}")),
            seconds.map_or("–".to_string(), units::seconds),
            runs.starts.iter().filter(|start| start.is_none()).count().to_string(),
        ]
    };
    set.best.iter().map(row).collect()
}

fn negated(nats: f64) -> String {
    if nats.is_finite() { signed(-nats, 4) } else { "diverged".to_string() }
}

fn curves(set: &Solved, x: impl Fn(&Epoch) -> f64) -> Vec<Curve> {
    let curve = |method: Method, epochs: &Vec<Epoch>| Curve {
        name: method.to_string(),
        points: epochs.iter().map(|e| (x(e), -e.validation_nats)).collect(),
    };
    let of_runs = |runs: &Runs| runs.starts.iter().flatten().map(|epochs| curve(runs.method, epochs)).collect();
    set.best.iter().flat_map(|runs| -> Vec<Curve> { of_runs(runs) }).collect()
}

fn notes(solved: &[Solved]) -> Vec<String> {
    let ahead = |solved: &&Solved| match solved.best.as_slice() {
        [relative, ordinary] => relative.score() > ordinary.score(),
        _ => false,
    };
    let won = solved.iter().filter(ahead).count();
    let setting = format!(
        "{POINTS} points, D = 2, L = 2, full batches, plain steps, f64. {STARTS} networks, the same for both \
         gradients, with orthogonal and with independent normal weights. Mixed data are x ↦ Ax with A = [[1, 0.9], \
         [0.9, 1]], of condition number 19. The figure shows mixed data."
    );
    let ends = format!(
        "The mean of the starts ends higher with the relative gradient in {won} of {} rows. A relative step increases \
         a small singular value σ of a weight by a factor 1 + μ at most, so σ requires (1/μ) log(1/σ) steps to reach \
         order 1. The ordinary gradient contains W^{{-T}}, whose 1/σ does so in a few steps. Some independent normal \
         starts have such weights (`smallest_singular_value` in the numbers), the orthogonal ones do not. The jumps \
         below also affect which starts end badly.",
        solved.len()
    );
    let chosen = format!(
        "Each gradient has the step size of {STEP_SIZES:?} with the highest mean over the starts and the last tenth of \
         the epochs. The paper states neither its choice nor its data set."
    );
    texts([
        &setting,
        &ends,
        &chosen,
        "Curves jump up where a constant step overshoots. The guard of the relative step keeps every weight \
         invertible; it does not keep the likelihood from falling.",
        "Seconds are those of the steps alone. At D = 2 they depend on the number of steps, not on the cost of a \
         gradient (use relgrad sweep).",
    ])
}

/// From the best value to the median of the starts' values after a hundredth of the epochs: what lies above is the
/// first moments of a bad start.
fn shown(curves: &[Curve]) -> Option<(f64, f64)> {
    let early = curves.iter().filter_map(|curve| curve.points.get(curve.points.len() / 50)).map(|p| p.1);
    let early = sorted(early.collect());
    let high = *early.get(early.len().checked_sub(1)? / 2)?;
    let low = curves.iter().flat_map(|curve| &curve.points).map(|p| p.1).fold(f64::INFINITY, f64::min);
    let margin = 0.06 * (high - low).max(1e-6);
    (low.is_finite() && high.is_finite()).then_some((low - margin, high + margin))
}

/// Median number of epochs, and of seconds, until the log-likelihood is at least `target`.
fn to_reach(starts: &[&Vec<Epoch>], target: f64) -> Option<(f64, f64)> {
    let first = |epochs: &&Vec<Epoch>| epochs.iter().find(|e| e.validation_nats >= target).cloned();
    let reached: Vec<Epoch> = starts.iter().filter_map(first).collect();
    let middle = reached.len() / 2;
    let median = |of: fn(&Epoch) -> f64| sorted(reached.iter().map(of).collect())[middle];
    let is_common = 2 * reached.len() >= starts.len() && !reached.is_empty();
    is_common.then(|| (median(|e| e.epoch as f64), median(|e| e.seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing::epoch;

    fn start(nats: impl Iterator<Item = f64>) -> Option<Vec<Epoch>> {
        Some(nats.enumerate().map(|(i, nats)| epoch(i, nats)).collect())
    }

    fn runs(starts: Vec<Option<Vec<Epoch>>>) -> Runs {
        Runs { method: Method::Relative, step_size: 0.1, starts, smallest_singular_values: Vec::new() }
    }

    /// A curve that jumps between −1 and −9 and happens to end high is worse than one that stays at −2.
    #[test]
    fn a_curve_that_jumps_is_not_judged_by_its_last_epoch() {
        let jumping = || start((0..40).map(|i| if i % 2 == 0 { -9.0 } else { -1.0 }));
        let calm = || start((0..40).map(|i| if i < 36 { -50.0 } else { -2.0 }));
        assert_eq!(runs(vec![jumping(), calm()]).ends(), [-5.0, -2.0]);
        assert_eq!(runs(vec![jumping(), calm()]).score(), -3.5);
        assert_eq!(runs(vec![start([-3.0].into_iter())]).ends(), [-3.0]);
        assert_eq!(runs(vec![calm(), None]).score(), f64::NEG_INFINITY);
    }
}
