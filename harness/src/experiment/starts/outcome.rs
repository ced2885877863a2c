//! What came of the starts: the table, the notes and the figure.

use relgrad_kernels::Method;
use relgrad_reports::experiment::{Curve, Figure, LinePanel};
use relgrad_reports::training::Epoch;
use relgrad_reports::units;
use serde_json::{Value, json};

use super::{CHOOSING, FIRST_STEP, POINTS, Problem, Runs, STEP_SIZES, Solved, Stepping, finite, sorted};
use crate::experiment::{Findings, lines, signed, table, texts};

/// A start that ends so many nats below the best end of its data has failed.
const BEHIND_NATS: f64 = 0.5;
/// Starts that the figure shows, and points of each curve.
const SHOWN_STARTS: usize = 10;
const SHOWN_POINTS: usize = 250;

pub(super) fn findings(solved: &[Solved], epochs: usize, starts: usize) -> Findings {
    let columns = [
        "data",
        "starts",
        "gradient",
        "steps",
        "negative log-likelihood over the last tenth of the epochs, median of starts (nats)",
        "mean",
        "epochs to the worse of the two medians (median)",
        "seconds to it (median)",
        "diverged starts",
        "starts behind",
    ];
    let of_problem = |solved: &Solved| {
        let Problem { data, mixing, starts } = solved.problem;
        let of = |all: &[Runs]| all.iter().map(numbers).collect::<Vec<_>>();
        json!({ "data": data, "mixing": mixing, "starts": starts, "shown": of(&solved.constant),
            "line_search": of(&solved.line_search), "tried": solved.tried })
    };
    Findings {
        numbers: json!({ "points": POINTS, "epochs": epochs, "starts": starts, "step_sizes": STEP_SIZES,
            "first_step": FIRST_STEP, "behind_nats": BEHIND_NATS,
            "sets": solved.iter().map(of_problem).collect::<Vec<_>>() }),
        table: table(columns, solved.iter().flat_map(rows).collect()),
        notes: notes(solved, starts),
        figure: Figure::Lines { panels: panels(solved) },
    }
}

fn numbers(runs: &Runs) -> Value {
    json!({ "method": runs.method.name(), "step_size": runs.step_size,
        "last_tenth_nats": runs.ends().into_iter().map(finite).collect::<Vec<_>>(),
        "rejected_steps": runs.starts.iter().map(|start| start.as_deref().map(rejected)).collect::<Vec<_>>(),
        "smallest_singular_value": runs.smallest_singular_values })
}

fn rejected(epochs: &[Epoch]) -> usize {
    epochs.iter().filter_map(|epoch| epoch.rejected_steps).sum()
}

/// The best end of all starts, gradients and steps of a problem.
fn best_end(set: &Solved) -> f64 {
    set.constant.iter().chain(&set.line_search).flat_map(Runs::ends).fold(f64::NEG_INFINITY, f64::max)
}

/// Starts that diverged, and starts that ended too far below the best one.
fn failures(runs: &Runs, best: f64) -> (usize, usize) {
    let diverged = runs.starts.iter().filter(|start| start.is_none()).count();
    let behind = runs.ends().iter().filter(|end| end.is_finite() && **end < best - BEHIND_NATS).count();
    (diverged, behind)
}

fn rows(set: &Solved) -> Vec<Vec<String>> {
    let best = best_end(set);
    let of = |pair: &[Runs]| {
        let target = pair.iter().map(Runs::median).fold(f64::INFINITY, f64::min);
        pair.iter().map(|runs| row(set.problem, runs, target, best)).collect::<Vec<_>>()
    };
    [of(&set.constant), of(&set.line_search)].concat()
}

fn row(problem: &Problem, runs: &Runs, target: f64, best: f64) -> Vec<String> {
    let kept: Vec<&Vec<Epoch>> = runs.starts.iter().flatten().collect();
    let (epochs, seconds) = to_reach(&kept, runs.starts.len(), target).unzip();
    let (diverged, behind) = failures(runs, best);
    let steps = match runs.stepping {
        Stepping::Constant => format!("constant, {}", runs.step_size),
        Stepping::LineSearch => format!("line search from {}", runs.step_size),
    };
    vec![
        problem.data.to_string(),
        problem.starts.to_string(),
        runs.method.to_string(),
        steps,
        negated(runs.median()),
        negated(runs.score()),
        epochs.map_or("not reached".to_string(), |epochs| format!("{epochs:.0}")),
        seconds.map_or("–".to_string(), units::seconds),
        diverged.to_string(),
        behind.to_string(),
    ]
}

fn negated(nats: f64) -> String {
    if nats.is_finite() { signed(-nats, 4) } else { "diverged".to_string() }
}

/// Median number of epochs, and of seconds, until the log-likelihood is at least `target`, where half of all starts
/// reach it.
fn to_reach(kept: &[&Vec<Epoch>], starts: usize, target: f64) -> Option<(f64, f64)> {
    let first = |epochs: &&Vec<Epoch>| epochs.iter().find(|e| e.validation_nats >= target).cloned();
    let reached: Vec<Epoch> = kept.iter().filter_map(first).collect();
    let middle = reached.len() / 2;
    let median = |of: fn(&Epoch) -> f64| sorted(reached.iter().map(of).collect())[middle];
    let is_common = 2 * reached.len() >= starts && !reached.is_empty();
    is_common.then(|| (median(|e| e.epoch as f64), median(|e| e.seconds)))
}

/// Mixed data: the line search from both kinds of starts, as the paper's figure, and what constant steps do from normal
/// ones.
fn panels(solved: &[Solved]) -> Vec<LinePanel> {
    let panel = |x_title: &str, runs: &[Runs], x: fn(&Epoch) -> f64| {
        let curves = curves(runs, x);
        lines([x_title, "negative log-likelihood (nats)"], shown(&curves), curves, Vec::new())
    };
    let epoch = |e: &Epoch| e.epoch as f64;
    let [_, _, orthogonal, normal] = solved else { return Vec::new() };
    vec![
        panel("epoch (orthogonal starts)", &orthogonal.line_search, epoch),
        panel("epoch (normal starts)", &normal.line_search, epoch),
        panel("seconds (normal starts)", &normal.line_search, |e| e.seconds),
        panel("epoch (normal, constant)", &normal.constant, epoch),
    ]
}

fn curves(pair: &[Runs], x: fn(&Epoch) -> f64) -> Vec<Curve> {
    let shown = pair
        .iter()
        .flat_map(|runs| runs.starts.iter().take(SHOWN_STARTS).flatten().map(|epochs| (runs.method, epochs)));
    let curve = |(method, epochs): (Method, &Vec<Epoch>)| {
        let every = epochs.len().div_ceil(SHOWN_POINTS).max(1);
        let is_shown = |i: &usize| i.is_multiple_of(every) || i + 1 == epochs.len();
        let points = (0..epochs.len()).filter(is_shown).map(|i| (x(&epochs[i]), -epochs[i].validation_nats));
        Curve { name: method.to_string(), points: points.collect() }
    };
    shown.map(curve).collect()
}

/// From the best value to the median of the starts' values after a fiftieth of the epochs: what lies above is the first
/// moments of a bad start.
fn shown(curves: &[Curve]) -> Option<(f64, f64)> {
    let early = curves.iter().filter_map(|curve| curve.points.get(curve.points.len() / 50)).map(|p| p.1);
    let early = sorted(early.collect());
    let high = *early.get(early.len().checked_sub(1)? / 2)?;
    let low = curves.iter().flat_map(|curve| &curve.points).map(|p| p.1).fold(f64::INFINITY, f64::min);
    let margin = 0.06 * (high - low).max(1e-6);
    (low.is_finite() && high.is_finite()).then_some((low - margin, high + margin))
}

fn notes(solved: &[Solved], starts: usize) -> Vec<String> {
    let ahead = |pair: &[Runs]| matches!(pair, [relative, ordinary] if relative.median() > ordinary.median());
    let won = |of: fn(&Solved) -> &Vec<Runs>| solved.iter().filter(|set| ahead(of(set))).count();
    let lost = |of: fn(&Solved) -> &Vec<Runs>| -> usize {
        let of_set = |set| {
            let sum = |runs| {
                let (diverged, behind) = failures(runs, best_end(set));
                diverged + behind
            };
            of(set).iter().map(sum).sum::<usize>()
        };
        solved.iter().map(of_set).sum()
    };
    let setting = format!(
        "{POINTS} points, D = 2, L = 2, full batches, plain steps, f64. {starts} networks, the same for both \
         gradients, with orthogonal and with independent normal weights. Mixed data are x ↦ Ax with A = [[1, 0.9], \
         [0.9, 1]], of condition number 19. The figure shows mixed data, and at most {SHOWN_STARTS} starts of each \
         kind."
    );
    let steps = format!(
        "Constant steps: each gradient has the step size of {STEP_SIZES:?} with the highest mean over the first \
         {CHOOSING} starts and the last tenth of the epochs. Line search: from {FIRST_STEP}, a step that lowers the \
         likelihood is undone, and the step size halved for the rest; it counts as an epoch."
    );
    let ends = format!(
        "The median of the starts ends higher with the relative gradient in {} of {} rows of constant steps, and in {} \
         of the line search.",
        won(|set| &set.constant),
        solved.len(),
        won(|set| &set.line_search)
    );
    let failed = format!(
        "A start is behind where it ends more than {BEHIND_NATS} nats below the best end of its data. {} of {} \
         trainings by constant steps diverged or are behind, and {} by the line search.",
        lost(|set| &set.constant),
        2 * solved.len() * starts,
        lost(|set| &set.line_search)
    );
    texts([
        &setting,
        &steps,
        &ends,
        &failed,
        "Curves of constant steps jump up where μ times the sharpness of the loss passes 2. The guard of the relative \
         step keeps every weight invertible; it does not keep the likelihood from falling.",
        "A relative step increases a small singular value σ of a weight by a factor 1 + μ at most, so σ requires (1/μ) \
         log(1/σ) steps to reach order 1. The ordinary gradient contains W^{-T}, whose 1/σ does so in a few steps. \
         Some independent normal starts have such weights (`smallest_singular_value` in the numbers).",
        "The paper states neither its step sizes nor its data set. Seconds are those of the steps, with the \
         likelihoods that a line search compares. At D = 2 they depend on the number of steps, not on the cost of a \
         gradient (use relgrad sweep).",
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing::epoch;

    #[test]
    fn failures_are_counted_and_a_target_is_reached_by_half_of_all_starts() {
        let start = |end: f64| Some(vec![epoch(0, -9.0), epoch(1, -3.0), epoch(2, end)]);
        let mut runs = Runs::none(Method::Relative, Stepping::Constant, 0.1);
        runs.starts = vec![start(-1.0), start(-1.4), start(-2.0), None];
        assert_eq!(failures(&runs, -1.0), (1, 1));
        let kept: Vec<&Vec<Epoch>> = runs.starts.iter().flatten().collect();
        assert_eq!(to_reach(&kept, 4, -1.5).map(|(epochs, _)| epochs), Some(2.0));
        assert_eq!(to_reach(&kept, 4, -3.0).map(|(epochs, _)| epochs), Some(1.0));
        assert_eq!(to_reach(&kept, 4, -1.2), None);
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_ends() {
        let mut runs = Runs::none(Method::Relative, Stepping::LineSearch, 1.0);
        runs.starts = vec![Some((0..1001).map(|i| epoch(i, -(i as f64))).collect()); 12];
        let curves = curves(&[runs], |e| e.epoch as f64);
        assert_eq!(curves.len(), SHOWN_STARTS);
        let points = &curves[0].points;
        assert!(points.len() <= SHOWN_POINTS + 1, "{}", points.len());
        assert_eq!((points[0], points[points.len() - 1]), ((0.0, 0.0), (1000.0, 1000.0)));
    }
}
