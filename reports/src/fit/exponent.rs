//! The exponent p of time ∝ xᵖ.

use std::ops::RangeInclusive;

use super::Observation;
use super::line::slope;
use crate::random::Random;
use crate::stats::bootstrap::additive_interval;
use crate::summary::Exponent;

/// Fewest places on the axis that an exponent is fitted to.
const MIN_POINTS: usize = 3;

/// The range over which reports fit the exponent: the upper part of what was measured, where the leading term rules.
///
/// It is the top decade, `max/10 ..= max`, when that holds at least three of `xs`; else the three largest. `None` when
/// there are fewer than three. Below it, call overhead and caches that still hold everything flatten the curve.
pub fn asymptotic_range(xs: &[usize]) -> Option<RangeInclusive<usize>> {
    let mut xs = xs.to_vec();
    xs.sort_unstable();
    xs.dedup();
    let third_largest = *xs.get(xs.len().checked_sub(MIN_POINTS)?)?;
    let max = *xs.last()?;
    let decade = xs.into_iter().find(|x| x.saturating_mul(10) >= max)?;
    Some(decade.min(third_largest)..=max)
}

/// Fits p of time ∝ xᵖ to the observations within `range`: least squares of log(median) on log x, each place weighted
/// by its number of processes.
///
/// The weights are counts rather than inverse variances because a variance estimated from three processes is off by a
/// factor of several either way, and the relative scatter of times changes little along the axis.
///
/// The 95 % interval refits 2000 resamples (at each place processes are drawn with replacement, then samples within
/// each) and is stretched by Student's t with Σ(processes − 1) degrees of freedom, see
/// [`median_estimate`](crate::stats::median_estimate). `None` with fewer than three places in the range.
pub fn exponent(observations: &[Observation<'_>], range: RangeInclusive<usize>) -> Option<Exponent> {
    let mut inside: Vec<_> = observations
        .iter()
        .filter(|o| range.contains(&o.x) && o.x > 0 && o.processes.rounds() > 0)
        .copied()
        .collect();
    inside.sort_by_key(|o| o.x);
    let distinct = inside.chunk_by(|a, b| a.x == b.x).count();
    if distinct < MIN_POINTS {
        return None;
    }
    let fit = |median: &mut dyn FnMut(&Observation<'_>) -> f64| {
        let points: Vec<_> =
            inside.iter().map(|o| ((o.x as f64).ln(), median(o).ln(), o.processes.rounds() as f64)).collect();
        slope(points.into_iter())
    };
    let value = fit(&mut |o| o.processes.median().unwrap_or(f64::NAN))?;
    let degrees = inside.iter().map(|o| o.processes.rounds() - 1).sum::<usize>();
    let degrees = if degrees > 0 { degrees } else { inside.iter().map(|o| o.processes.degrees()).sum() };
    // The median of two is their mean, whose bootstrap variance is half of the true one; more processes need no correction.
    let only_two = inside.iter().map(|o| o.processes.rounds()).max() == Some(2);
    let scale = if only_two { std::f64::consts::SQRT_2 } else { 1.0 };
    let exponent = additive_interval(value, degrees, |random: &mut Random| {
        let resampled = fit(&mut |o| o.processes.resampled_median(random)).unwrap_or(value);
        value + scale * (resampled - value)
    });
    Some(Exponent { exponent, min_dim: inside[0].x, max_dim: inside[inside.len() - 1].x, points: distinct })
}
