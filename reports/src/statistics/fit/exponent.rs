//! The exponent p of time ∝ xᵖ.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::line::{Line, Weighted};
use super::{Bound, Observation};
use crate::statistics::Processes;
use crate::statistics::bootstrap::{additive_interval, stretch};
use crate::statistics::resample::{Blocks, Resampler};
use crate::statistics::scatter::Variance;
use crate::statistics::student::{Parts, student_975};
use crate::statistics::summary::{Estimate, Exponent};

/// Fewest places on the axis that an exponent is fitted to.
const MIN_POINTS: usize = 3;
/// Exponent with which the width that each round's own slope gives enters that of an interval.
///
/// The slopes of R rounds give an interval that is exact however the places scatter, but with (R − 1) degrees of
/// freedom where all places together have many: 1.4 times as wide for three rounds of four places. Of normal values
/// with one place five times as loud as three others, an interval from three rounds holds 91.4 % with an exponent of 0,
/// 93.2 % with this one and 95.2 % with 1; with equal places 95.3, 95.8 and 95.0 %, and it is 1.12 times as wide as
/// with 0.
const ROUNDS_PART: f64 = 1.0 / 3.0;

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
/// each) and is stretched by Student's t, see [`median_estimate`](crate::statistics::median_estimate). What a round
/// does to all places alike does not move the slope and is taken out first, as in a randomised block design whose
/// blocks are the rounds. One place that scatters more than all others is then in part taken for the round's effect; so
/// the width is weighed with what the scatter of each round's own slope asks for. Where the scatter between processes
/// is not known (one process everywhere), the interval is that of least squares, from the residuals. `None` with fewer
/// than three places in the range.
pub fn exponent(observations: &[Observation<'_>], range: RangeInclusive<usize>) -> Option<Exponent> {
    bounded_exponent(observations, &[], range)
}

/// [`exponent`] with censored observations: at each of `bounds` the time is known to be at least so much. A bound above
/// the line pulls it up as a point of one process would; one below it says nothing. Bounds below the range are left
/// out.
pub fn bounded_exponent(
    observations: &[Observation<'_>],
    bounds: &[Bound],
    range: RangeInclusive<usize>,
) -> Option<Exponent> {
    let places = Places::new(observations, bounds, &range)?;
    let line = places.line(|place| place.log_median)?;
    let exponent = if places.places.iter().any(|place| place.resampler.degrees == 0.0) {
        places.by_residuals(&line)
    } else {
        let pooled = additive_interval(line.slope, places.stretch(&line), |random| {
            places.line(|place| place.resampler.draw(random)).map_or(line.slope, |line| line.slope)
        });
        places.weighed(pooled)
    };
    let (from, to) = places.ends();
    Some(Exponent { exponent, from, to, points: places.distinct() })
}

/// Logarithm of the measured median over that of the fit of [`bounded_exponent`] at every place, by ascending place.
pub fn residuals(
    observations: &[Observation<'_>],
    bounds: &[Bound],
    range: RangeInclusive<usize>,
) -> Option<Vec<(usize, f64)>> {
    let line = Places::new(observations, bounds, &range)?.line(|place| place.log_median)?;
    let mut residuals: Vec<(usize, f64)> = observations
        .iter()
        .filter(|o| o.x > 0)
        .filter_map(|o| Some((o.x, o.processes.median()?.ln() - line.at((o.x as f64).ln()))))
        .collect();
    residuals.sort_by_key(|(x, _)| *x);
    Some(residuals)
}

/// The measured places of a range, ascending, and the floors at and above it.
struct Places<'a> {
    places: Vec<Place<'a>>,
    floors: Vec<Weighted>,
    /// How the scatters of the places hang together.
    dependence: Parts,
}

struct Place<'a> {
    x: usize,
    /// Without what the rounds do to all places alike.
    log_median: f64,
    weight: f64,
    processes: &'a Processes,
    resampler: Resampler<'a>,
}

impl<'a> Places<'a> {
    /// `None` with fewer than three distinct places.
    fn new(observations: &[Observation<'a>], bounds: &[Bound], range: &RangeInclusive<usize>) -> Option<Self> {
        let inside = observations.iter().filter(|o| range.contains(&o.x) && o.x > 0);
        let inside: Vec<_> = inside.filter(|o| o.processes.rounds() > 0).collect();
        let blocks = Blocks::of(&inside.iter().map(|o| o.processes).collect::<Vec<_>>());
        let mut places: Vec<_> = inside
            .into_iter()
            .filter_map(|o| {
                Some(Place {
                    x: o.x,
                    log_median: o.processes.log_median_in(&blocks)?,
                    weight: o.processes.rounds() as f64,
                    processes: o.processes,
                    resampler: o.processes.resampler_in(&blocks)?,
                })
            })
            .collect();
        places.sort_by_key(|place| place.x);
        let floors = bounds.iter().filter(|b| b.x >= *range.start() && b.at_least_seconds > 0.0);
        let floors = floors.map(|b| ((b.x as f64).ln(), b.at_least_seconds.ln(), 1.0)).collect();
        let places = Self { places, floors, dependence: blocks.dependence() };
        (places.distinct() >= MIN_POINTS).then_some(places)
    }

    fn points(&self, mut log_time: impl FnMut(&Place<'a>) -> f64) -> Vec<Weighted> {
        self.places.iter().map(|place| ((place.x as f64).ln(), log_time(place), place.weight)).collect()
    }

    fn line(&self, log_time: impl FnMut(&Place<'a>) -> f64) -> Option<Line> {
        Line::above(&self.points(log_time), &self.floors)
    }

    /// What the slope is stretched by. A place's share of its variance is (w·(x − mean))² times the variance of its
    /// mean: each place scatters by as much as is found there.
    fn stretch(&self, line: &Line) -> f64 {
        let share = |place: &Place<'_>| {
            (place.weight * ((place.x as f64).ln() - line.mean_x)).powi(2) * place.resampler.variance
        };
        stretch(self.places.iter().map(|place| (share(place), &place.resampler)), self.dependence)
    }

    /// An interval of the slope, with [`ROUNDS_PART`] of the width that the slopes of the rounds ask for.
    fn weighed(&self, pooled: Estimate) -> Estimate {
        let half = 0.5 * (pooled.high - pooled.low);
        let Some(rounds) = self.rounds_half_width().filter(|rounds| *rounds > 0.0 && half > 0.0) else {
            return pooled;
        };
        let factor = (rounds / half).powf(ROUNDS_PART);
        let Estimate { value, low, high } = pooled;
        Estimate { value, low: value - factor * (value - low), high: value + factor * (high - value) }
    }

    /// Half the 95 % interval of the mean of the slopes of single rounds; `None` unless all places share all rounds.
    fn rounds_half_width(&self) -> Option<f64> {
        let mut rounds: BTreeMap<usize, Vec<Weighted>> = BTreeMap::new();
        for place in &self.places {
            for (round, median) in place.processes.medians() {
                rounds.entry(round).or_default().push(((place.x as f64).ln(), median.ln(), 1.0));
            }
        }
        let complete = rounds.values().all(|points| points.len() == self.places.len());
        let slopes: Vec<f64> = rounds.values().filter_map(|points| Some(Line::fit(points)?.slope)).collect();
        let scatter = Variance::of(&slopes).filter(|_| complete)?;
        Some(student_975(scatter.degrees) * (scatter.variance / slopes.len() as f64).sqrt())
    }

    /// The slope with the interval that the residuals give.
    fn by_residuals(&self, line: &Line) -> Estimate {
        let degrees = (self.places.len() - 2).max(1) as f64;
        let scatter = line.residual(&self.points(|place| place.log_median)) / degrees;
        Estimate::within(line.slope, student_975(degrees) * (scatter / line.spread).sqrt())
    }

    fn ends(&self) -> (usize, usize) {
        (self.places[0].x, self.places[self.places.len() - 1].x)
    }

    fn distinct(&self) -> usize {
        self.places.chunk_by(|a, b| a.x == b.x).count()
    }
}
