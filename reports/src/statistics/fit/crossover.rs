//! Where one method overtakes another.

use serde::{Deserialize, Serialize};

use super::Observation;
use crate::statistics::bootstrap::{Pairs, additive_interval, stretch};
use crate::statistics::resample::Resampler;
use crate::statistics::student::Parts;
use crate::statistics::summary::Estimate;

/// Where along the axis a method becomes, and from there on stays, faster than a baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Crossover {
    /// At this place, with its 95 % interval. An end at an edge of the measured range means "there or beyond".
    At(Estimate),
    /// The method is faster all over the measured range.
    BelowRange,
    /// The method is not faster at the end of the measured range.
    AboveRange,
}

/// Finds the last place where `base`/`this` rises through 1, linear in log x and log ratio between neighbours.
///
/// Places are used where both were measured in a shared round, and resampled as
/// [`ratio_estimate`](crate::statistics::ratio_estimate) does. `None` with fewer than two such places.
pub fn crossover(base: &[Observation<'_>], this: &[Observation<'_>]) -> Option<Crossover> {
    let mut places: Vec<(f64, f64, Resampler<'_>)> = this
        .iter()
        .filter(|o| o.x > 0)
        .filter_map(|o| {
            let base = base.iter().find(|b| b.x == o.x)?;
            let pairs = Pairs::new(base.processes, o.processes)?;
            Some(((o.x as f64).ln(), pairs.median_ratio().ln(), pairs.resampler()))
        })
        .collect();
    places.sort_by(|a, b| a.0.total_cmp(&b.0));
    if places.len() < 2 {
        return None;
    }
    let (first, last) = (places[0].0, places[places.len() - 1].0);
    let ratios: Vec<_> = places.iter().map(|(x, ratio, _)| (*x, *ratio)).collect();
    let value = last_rise(&ratios);
    if value == f64::NEG_INFINITY {
        return Some(Crossover::BelowRange);
    }
    if value == f64::INFINITY {
        return Some(Crossover::AboveRange);
    }
    let logarithm = additive_interval(value, stretch_at(&places, value), |random| {
        let ratios: Vec<_> = places.iter().map(|(x, _, resampler)| (*x, resampler.draw(random))).collect();
        last_rise(&ratios).clamp(first, last)
    });
    Some(Crossover::At(logarithm.map(|x| x.clamp(first, last).exp())))
}

/// What a crossing at `value` is stretched by: it moves with the ratio at one of the two places that it lies between as
/// far as it is from the other.
fn stretch_at(places: &[(f64, f64, Resampler<'_>)], value: f64) -> f64 {
    let above = places.partition_point(|(x, ..)| *x < value).clamp(1, places.len() - 1);
    let (low, high) = (&places[above - 1], &places[above]);
    let parts = [(high.0 - value, low), (value - low.0, high)];
    let share = |lever: f64, resampler: &Resampler<'_>| lever * lever * resampler.variance;
    stretch(parts.into_iter().map(|(lever, place)| (share(lever, &place.2), &place.2)), Parts::Independent)
}

/// The x where the last stretch of positive y begins; −∞ when all are positive, +∞ when the last is not.
fn last_rise(points: &[(f64, f64)]) -> f64 {
    if points.last().is_none_or(|(_, y)| *y <= 0.0) {
        return f64::INFINITY;
    }
    match points.iter().rposition(|(_, y)| *y <= 0.0) {
        None => f64::NEG_INFINITY,
        Some(at) => {
            let ((x0, y0), (x1, y1)) = (points[at], points[at + 1]);
            x0 + (x1 - x0) * y0 / (y0 - y1)
        }
    }
}
