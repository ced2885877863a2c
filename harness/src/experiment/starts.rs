//! Figure 1, right: the same network from the same starts, with the relative and with the ordinary gradient, by
//! constant steps and by a line search.

mod outcome;

use relgrad_kernels::parameters::Parameters;
use relgrad_kernels::{Cpu, Dense, Dtype, Method};
use relgrad_reports::training::{Epoch, Stop};
use serde_json::json;

use super::{Context, Findings};
use crate::data::{Parts, Samples};
use crate::error::{Error, Result};
use crate::train::learner::Tracking;
use crate::train::recipe::Recipe;
use crate::train::trainer::{self, Job};

const POINTS: usize = 1000;
const METHODS: [Method; 2] = [Method::Relative, Method::Ordinary];
/// Constant step sizes tried; each method is shown with the one that is best for it.
const STEP_SIZES: [f64; 8] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];
/// Starts that choose it.
const CHOOSING: usize = 10;
/// Where the line search begins.
const FIRST_STEP: f64 = 1.0;

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

/// What becomes of the step size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stepping {
    Constant,
    /// Halved by every step that lowers the likelihood, which is undone.
    LineSearch,
}

/// Some starts of one method with one step size.
struct Runs {
    method: Method,
    stepping: Stepping,
    step_size: f64,
    /// Epochs of each start; none where it diverged.
    starts: Vec<Option<Vec<Epoch>>>,
    /// The smallest singular value of each start's weights.
    smallest_singular_values: Vec<f64>,
}

impl Runs {
    fn none(method: Method, stepping: Stepping, step_size: f64) -> Self {
        Self { method, stepping, step_size, starts: Vec::new(), smallest_singular_values: Vec::new() }
    }

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
    let starts = context.effort.pick(3, 10, 60);
    let train = context.load("toy:moons", POINTS)?.parts.train;
    let mut solved = Vec::new();
    for problem in &PROBLEMS {
        let mix = |x: &[f64]| [x[0] + problem.mixing * x[1], problem.mixing * x[0] + x[1]];
        let points = Samples { dim: 2, values: train.iter().flat_map(mix).collect() };
        solved.push(best_runs(context, problem, points, (epochs, starts))?);
    }
    Ok(outcome::findings(&solved, epochs, starts))
}

/// What came out of one problem.
struct Solved {
    problem: &'static Problem,
    /// Of each method, with the constant step size that is best for it.
    constant: Vec<Runs>,
    /// Of each method.
    line_search: Vec<Runs>,
    /// Every step size of every method.
    tried: Vec<serde_json::Value>,
}

fn best_runs(
    context: &mut Context<'_>,
    problem: &'static Problem,
    points: Samples,
    (epochs, starts): (usize, usize),
) -> Result<Solved> {
    // The curves are of the objective itself, so the training part is also the one that is evaluated.
    let parts = Parts::of([points.clone(), points.clone(), points]);
    let mut solved = Solved { problem, constant: Vec::new(), line_search: Vec::new(), tried: Vec::new() };
    for method in METHODS {
        let mut best: Option<Runs> = None;
        for step_size in STEP_SIZES {
            let mut runs = Runs::none(method, Stepping::Constant, step_size);
            extend(context, problem, &mut runs, (epochs, starts.min(CHOOSING)), &parts)?;
            let score = runs.score();
            tell(context, problem, &runs);
            solved.tried.push(json!({ "method": method.name(), "step_size": step_size, "starts": runs.starts.len(),
                "last_tenth_mean_nats": finite(score), "last_tenth_median_nats": finite(runs.median()) }));
            if best.as_ref().is_none_or(|best| score > best.score()) {
                best = Some(runs);
            }
        }
        let mut searched = Runs::none(method, Stepping::LineSearch, FIRST_STEP);
        for runs in best.iter_mut().chain([&mut searched]) {
            extend(context, problem, runs, (epochs, starts), &parts)?;
            tell(context, problem, runs);
        }
        solved.constant.extend(best);
        solved.line_search.push(searched);
    }
    Ok(solved)
}

fn tell(context: &Context<'_>, problem: &Problem, runs: &Runs) {
    let by = if runs.stepping == Stepping::Constant { "step size" } else { "line search from" };
    context.say(&format!(
        "{}, {} {} starts: {}, {by} {}, ends at {:.4} nats (median), {:.4} on average",
        problem.data,
        runs.starts.len(),
        problem.starts,
        runs.method,
        runs.step_size,
        runs.median(),
        runs.score()
    ));
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Trains from further starts until there are `count`.
fn extend(
    context: &mut Context<'_>,
    problem: &Problem,
    runs: &mut Runs,
    (epochs, count): (usize, usize),
    parts: &Parts,
) -> Result<()> {
    for seed in runs.starts.len()..count {
        context.check_interrupt()?;
        let mut settings = context.settings("toy:moons");
        settings.method = runs.method;
        settings.optimizer = "sgd".to_string();
        settings.learning_rate = runs.step_size;
        // The paper's steps do not fall.
        settings.schedule = "constant".to_string();
        settings.edge = None;
        settings.line_search = runs.stepping == Stepping::LineSearch;
        settings.batch = POINTS;
        settings.epochs = epochs;
        settings.init = problem.starts.to_string();
        settings.dtype = Dtype::F64;
        settings.seed = context.seed.wrapping_add(seed as u64);
        settings.threads = 1;
        let recipe = Recipe::of(&settings, 2)?;
        let architecture = recipe.architecture.with(Dense);
        let start = recipe.start.network(&Cpu::new(1), &architecture, recipe.seed, &parts.train)?;
        runs.smallest_singular_values.push(smallest_singular_value(&start));
        let job = Job::new(&recipe, parts, Tracking::Off);
        match trainer::train(&job, context.events) {
            Ok(trained) if trained.outcome.stop == Stop::Interrupted => {
                return Err(Error::Interrupted(context.resume_hint()));
            }
            Ok(trained) => runs.starts.push(Some(trained.epochs)),
            Err(Error::Diverged(_)) => runs.starts.push(None),
            Err(other) => return Err(other),
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing::epoch;

    fn start(nats: impl Iterator<Item = f64>) -> Option<Vec<Epoch>> {
        Some(nats.enumerate().map(|(i, nats)| epoch(i, nats)).collect())
    }

    fn runs(starts: Vec<Option<Vec<Epoch>>>) -> Runs {
        Runs { starts, ..Runs::none(Method::Relative, Stepping::Constant, 0.1) }
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
