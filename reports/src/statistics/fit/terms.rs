//! Cost as a sum of terms.

use serde::{Deserialize, Serialize};

use super::line::Weighted;
use super::{Bound, Observation};
use crate::statistics::bootstrap::{SEARCHES, interval_of, stretch};
use crate::statistics::resample::Resampler;
use crate::statistics::student::Parts;
use crate::statistics::summary::Estimate;

/// How far outside the measured range a crossover of terms is still told, as a factor.
const FARTHEST: f64 = 10.0;
/// The largest power of a term.
pub(crate) const HIGHEST: usize = 3;

/// `seconds ≈ constant + linear·x + quadratic·x² + cubic·x³` with no coefficient negative.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TwoTerm {
    /// c, in seconds.
    pub constant: f64,
    /// l, in seconds.
    #[serde(default)]
    pub linear: f64,
    /// a, in seconds.
    pub quadratic: f64,
    /// b, in seconds.
    pub cubic: f64,
    /// Where the cubic term reaches the quadratic one, a/b, with its 95 % interval; `None` when either is zero, or when
    /// it is more than ten times outside the measured range. An end at a tenth of the least or ten times the largest
    /// place means "there or beyond".
    pub crossover: Option<Estimate>,
    /// Root mean square of the relative residuals.
    pub relative_residual: f64,
}

/// Fits [`TwoTerm`] to the medians by non-negative least squares of the relative residuals, each place weighted by its
/// number of processes. `highest` is the largest power that the operations grow with (1 to 3): no term grows faster.
/// `None` with fewer than four places.
pub fn two_term(observations: &[Observation<'_>], highest: usize) -> Option<TwoTerm> {
    let mut places: Vec<(Weighted, Resampler<'_>)> =
        observations.iter().filter_map(|o| Some((point(o)?, o.processes.resampler()?))).collect();
    places.sort_by(|a, b| a.0.0.total_cmp(&b.0.0));
    if places.len() < 4 {
        return None;
    }
    let points: Vec<_> = places.iter().map(|(point, _)| *point).collect();
    let powers = powers(points.len(), highest);
    let terms = Terms::fit(&points, &powers)?;
    let [constant, linear, quadratic, cubic] = terms.0;
    let weight: f64 = points.iter().map(|(_, _, w)| w).sum();
    let (low, high) = ((points[0].0 / FARTHEST).ln(), (points[points.len() - 1].0 * FARTHEST).ln());
    let crossing = (quadratic / cubic).ln();
    let crossover = (low..=high).contains(&crossing).then(|| {
        let shares = places.iter().map(|(_, resampler)| (resampler.variance, resampler));
        let logarithm = interval_of(SEARCHES, crossing, stretch(shares, Parts::Independent), |random| {
            let resampled: Vec<_> =
                places.iter().map(|((x, _, w), resampler)| (*x, resampler.draw(random).exp(), *w)).collect();
            let ratio = Terms::fit(&resampled, &powers).map_or(f64::NAN, |terms| terms.0[2] / terms.0[3]);
            if ratio.is_nan() { crossing } else { ratio.ln().clamp(low, high) }
        });
        logarithm.map(|x| x.clamp(low, high).exp())
    });
    let relative_residual = (terms.residual(&points) / weight).sqrt();
    Some(TwoTerm { constant, linear, quadratic, cubic, crossover, relative_residual })
}

/// The powers of the terms of so many places: the highest ones, at least two fewer than there are places.
pub(crate) fn powers(places: usize, highest: usize) -> Vec<usize> {
    let highest = highest.clamp(1, HIGHEST);
    ((highest + 3).saturating_sub(places).min(highest)..=highest).collect()
}

/// The coefficients of 1, x, x² and x³.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Terms(pub(crate) [f64; HIGHEST + 1]);

impl Terms {
    /// The non-negative coefficients of these powers with the least relative residuals at points of place, seconds and
    /// weight.
    ///
    /// With four columns the active-set search is exhaustive: of the least-squares solutions over every subset of terms
    /// that are non-negative, the best is the constrained optimum.
    pub(crate) fn fit(points: &[Weighted], powers: &[usize]) -> Option<Self> {
        let rows: Vec<_> = points
            .iter()
            .map(|(x, seconds, weight)| (std::array::from_fn(|power| x.powi(power as i32) / seconds), *weight))
            .collect();
        let subsets = (1..1_usize << (HIGHEST + 1))
            .filter(|mask| (0..=HIGHEST).all(|power| mask >> power & 1 == 0 || powers.contains(&power)));
        subsets
            .filter_map(|mask| least_squares(&rows, mask))
            .filter(|c| c.iter().all(|c| *c >= 0.0))
            .map(Self)
            .min_by(|a, b| a.residual(points).total_cmp(&b.residual(points)))
    }

    /// The same, pulled up by the bounds that lie above it, as [`Line::above`](super::Line::above) does.
    pub(crate) fn above(points: &[Weighted], bounds: &[Bound], powers: &[usize]) -> Option<Self> {
        let mut terms = Self::fit(points, powers)?;
        let mut active = vec![false; bounds.len()];
        for _ in 0..=2 * bounds.len() {
            let violated: Vec<bool> = bounds.iter().map(|b| terms.at(b.x as f64) < b.at_least_seconds).collect();
            if violated == active {
                break;
            }
            active = violated;
            let counted = bounds.iter().zip(&active).filter(|(_, active)| **active);
            let floors = counted.map(|(bound, _)| (bound.x as f64, bound.at_least_seconds, 1.0));
            terms = Self::fit(&points.iter().copied().chain(floors).collect::<Vec<_>>(), powers)?;
        }
        Some(terms)
    }

    /// Seconds at `x`.
    pub(crate) fn at(&self, x: f64) -> f64 {
        self.0.iter().rev().fold(0.0, |sum, c| sum * x + c)
    }

    /// How many terms are not zero.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().filter(|c| **c > 0.0).count()
    }

    /// Weighted sum of the squared relative residuals.
    fn residual(&self, points: &[Weighted]) -> f64 {
        points.iter().map(|(x, seconds, weight)| weight * (self.at(*x) / seconds - 1.0).powi(2)).sum()
    }
}

/// Place, median and weight of a measured observation.
pub(crate) fn point(observation: &Observation<'_>) -> Option<Weighted> {
    let weight = observation.processes.rounds() as f64;
    (observation.x > 0).then_some(())?;
    Some((observation.x as f64, observation.processes.median()?, weight))
}

/// Weighted least squares of `terms·c = 1` over the columns of `mask`, by Gram–Schmidt on scaled columns (their sizes
/// differ by many orders of magnitude). `None` when these columns are dependent.
fn least_squares(rows: &[([f64; HIGHEST + 1], f64)], mask: usize) -> Option<[f64; HIGHEST + 1]> {
    let root: Vec<f64> = rows.iter().map(|(_, w)| w.sqrt()).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut basis: Vec<(usize, Vec<f64>)> = Vec::new();
    let mut r = [[0.0; HIGHEST + 1]; HIGHEST + 1];
    for column in (0..=HIGHEST).filter(|column| mask >> column & 1 == 1) {
        let mut v: Vec<f64> = rows.iter().zip(&root).map(|((terms, _), s)| terms[column] * s).collect();
        let length = dot(&v, &v).sqrt();
        for (other, q) in &basis {
            let along = dot(q, &v);
            r[*other][column] = along;
            v.iter_mut().zip(q).for_each(|(v, q)| *v -= along * q);
        }
        let left = dot(&v, &v).sqrt();
        if left.is_nan() || left <= 1e-10 * length {
            return None;
        }
        r[column][column] = left;
        v.iter_mut().for_each(|v| *v /= left);
        basis.push((column, v));
    }
    let mut coefficients = [0.0; HIGHEST + 1];
    for (column, q) in basis.iter().rev() {
        let known: f64 = (column + 1..=HIGHEST).map(|c| r[*column][c] * coefficients[c]).sum();
        coefficients[*column] = (dot(q, &root) - known) / r[*column][*column];
    }
    Some(coefficients)
}
