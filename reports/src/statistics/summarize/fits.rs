//! What a series' times say of its complexity, and of the cells that were not measured.

use super::{Group, LeastTime, Rounds};
use crate::record::run::Settings;
use crate::record::{Failure, KILL_FACTOR, Outcome, Record};
use crate::statistics::fit::{self, Bound, Observation, Unmeasured};
use crate::statistics::summary::{Residual, Series};

/// Fits the measured cells of a series and completes its stops with bounds and predictions.
pub(super) fn complete(series: &mut Series, group: &Group<'_>, settings: &Settings, least: &LeastTime<'_>) {
    let observations = group.observations();
    let highest = highest_power(group);
    series.local_exponents = fit::local_exponents(&observations);
    series.breakpoint = fit::breakpoint(&observations, highest);
    series.step = fit::step(&observations, highest);
    series.terms = fit::two_term(&observations, highest);

    for stop in &mut series.stops {
        stop.at_least_seconds = group.cells.get(&stop.dim).and_then(|rounds| at_least(rounds, settings));
    }
    let bounds: Vec<Bound> = series
        .stops
        .iter()
        .filter_map(|stop| Some(Bound { x: stop.dim, at_least_seconds: stop.at_least_seconds? }))
        .collect();
    let dims: Vec<usize> = observations.iter().map(|o| o.x).collect();
    let Some(range) = fit::asymptotic_range(&dims) else { return };
    series.fit = fit::bounded_exponent(&observations, &bounds, range.clone());
    let inside: Vec<Observation<'_>> = observations.iter().filter(|o| range.contains(&o.x)).copied().collect();
    series.law = fit::choose_law(&inside);
    let residuals = fit::residuals(&observations, &bounds, range.clone()).unwrap_or_default();
    series.residuals = residuals.into_iter().map(|(dim, log)| Residual { dim, ratio: log.exp() }).collect();
    for stop in series.stops.iter_mut().filter(|stop| stop.dim > *range.end()) {
        let least_seconds = group.cells.get(&stop.dim).map_or(0.0, |rounds| least.of(rounds));
        let wanted = Unmeasured { x: stop.dim, highest, least_seconds };
        stop.extrapolated_seconds = fit::predict(&observations, &bounds, &wanted);
    }
}

/// The power of D that the operations of the cost model grow with at the largest dimensions.
fn highest_power(group: &Group<'_>) -> usize {
    let flops = |rounds: &Rounds<'_>| Some(rounds.records.first()?.model.flops);
    let mut known = group.cells.iter().rev().filter_map(|(&dim, rounds)| Some((dim as f64, flops(rounds)?)));
    let slope = known.next().zip(known.next()).map(|((d1, f1), (d0, f0))| (f1 / f0).ln() / (d1 / d0).ln());
    slope.map_or(3, |slope| slope.round().clamp(1.0, 3.0) as usize)
}

/// What a cell that was killed for its time tells of one evaluation.
///
/// Such a process has made two evaluations at most, one to warm up and one sample, in [`KILL_FACTOR`] cell limits
/// beyond what its set-up was allowed: the longer took more than half of that. A process that the end of the budget
/// killed earlier tells nothing.
fn at_least(rounds: &Rounds<'_>, settings: &Settings) -> Option<f64> {
    let limit = settings.cell_limit_seconds?;
    let killed_for_its_limit = |r: &&Record| {
        let timed_out = r.outcome == Outcome::Failed && r.failure() == Some(Failure::TimedOut);
        timed_out && r.wall_seconds >= KILL_FACTOR * limit
    };
    let found = rounds.records.iter().any(killed_for_its_limit);
    found.then_some(KILL_FACTOR * limit / 2.0)
}
