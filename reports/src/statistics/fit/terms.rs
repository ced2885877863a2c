//! Cost as a sum of terms, and the choice between single-term laws.

use serde::{Deserialize, Serialize};

use super::Observation;
use crate::statistics::bootstrap::{additive_interval, stretch};
use crate::statistics::resample::Resampler;
use crate::statistics::student::Parts;
use crate::statistics::summary::Estimate;

/// How far outside the measured range a crossover of terms is still told, as a factor.
const FARTHEST: f64 = 10.0;

/// `seconds ≈ constant + quadratic·x² + cubic·x³` with no coefficient negative.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TwoTerm {
    /// c, in seconds.
    pub constant: f64,
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
/// number of processes. `None` with fewer than four places.
///
/// With three columns the active-set search is exhaustive: of the least-squares solutions over every subset of terms
/// that are non-negative, the best is the constrained optimum.
pub fn two_term(observations: &[Observation<'_>]) -> Option<TwoTerm> {
    let mut places: Vec<((f64, f64, f64), Resampler<'_>)> =
        observations.iter().filter_map(|o| Some((point(o)?, o.processes.resampler()?))).collect();
    places.sort_by(|a, b| a.0.0.total_cmp(&b.0.0));
    if places.len() < 4 {
        return None;
    }
    let points: Vec<_> = places.iter().map(|(point, _)| *point).collect();
    let coefficients = non_negative(&points)?;
    let [constant, quadratic, cubic] = coefficients;
    let weight: f64 = points.iter().map(|(_, _, w)| w).sum();
    let (low, high) = ((points[0].0 / FARTHEST).ln(), (points[points.len() - 1].0 * FARTHEST).ln());
    let crossing = (quadratic / cubic).ln();
    let crossover = (low..=high).contains(&crossing).then(|| {
        let stretch = stretch(places.iter().map(|(_, resampler)| (1.0, resampler)), Parts::Independent);
        let logarithm = additive_interval(crossing, stretch, |random| {
            let resampled: Vec<_> =
                places.iter().map(|((x, _, w), resampler)| (*x, resampler.draw(random).exp(), *w)).collect();
            let ratio = non_negative(&resampled).map_or(f64::NAN, |[_, quadratic, cubic]| quadratic / cubic);
            if ratio.is_nan() { crossing } else { ratio.ln().clamp(low, high) }
        });
        logarithm.map(|x| x.clamp(low, high).exp())
    });
    let relative_residual = (residual(&points, &coefficients) / weight).sqrt();
    Some(TwoTerm { constant, quadratic, cubic, crossover, relative_residual })
}

/// The non-negative coefficients of 1, x² and x³ with the least relative residuals.
fn non_negative(points: &[(f64, f64, f64)]) -> Option<[f64; 3]> {
    let rows: Vec<_> = points
        .iter()
        .map(|(x, seconds, weight)| ([1.0, x * x, x * x * x].map(|term| term / seconds), *weight))
        .collect();
    let subsets = (1..8_usize).map(|mask| [mask & 1 != 0, mask & 2 != 0, mask & 4 != 0]);
    subsets
        .filter_map(|active| least_squares(&rows, active))
        .filter(|c| c.iter().all(|c| *c >= 0.0))
        .min_by(|a, b| residual(points, a).total_cmp(&residual(points, b)))
}

/// Weighted sum of the squared relative residuals.
fn residual(points: &[(f64, f64, f64)], [constant, quadratic, cubic]: &[f64; 3]) -> f64 {
    let fitted = |x: f64| constant + quadratic * x * x + cubic * x * x * x;
    points.iter().map(|(x, seconds, weight)| weight * (fitted(*x) / seconds - 1.0).powi(2)).sum()
}

/// A law with one free factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// x
    Linear,
    /// x²
    Quadratic,
    /// x² log x
    QuadraticLog,
    /// x³
    Cubic,
}

/// The best law and by how much.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The law of the least AICc; `None` ("undecided") when its margin is below [`Choice::DECISIVE_MARGIN`].
    pub law: Option<Law>,
    /// AICc of the second best law minus that of the best.
    pub margin: f64,
}

impl Choice {
    /// A law whose AICc is larger by 4 or more has considerably less support (Burnham & Anderson, *Model Selection and
    /// Multimodel Inference*, 2002, section 2.6).
    pub const DECISIVE_MARGIN: f64 = 4.0;
}

/// Chooses among the [`Law`]s by the corrected Akaike criterion of log-normal residuals about the medians.
///
/// All laws have the same two parameters (factor and scatter), so AICc's penalty is common to them and its difference
/// is that of n·ln(residual sum of squares). `None` with fewer than four places.
pub fn choose_law(observations: &[Observation<'_>]) -> Option<Choice> {
    let points = medians(observations);
    if points.len() < 4 || points[0].0 < 2.0 {
        return None;
    }
    let n = points.len() as f64;
    let criterion = |law: Law| {
        let residuals: Vec<f64> = points.iter().map(|(x, t, _)| t.ln() - law.logarithm(*x)).collect();
        let mean = residuals.iter().sum::<f64>() / n;
        // The floor keeps an exact fit finite: one part in 10¹² is beyond any timer.
        n * (residuals.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / n).max(1e-24).ln()
    };
    let mut laws = [Law::Linear, Law::Quadratic, Law::QuadraticLog, Law::Cubic].map(|l| (criterion(l), l));
    laws.sort_by(|a, b| a.0.total_cmp(&b.0));
    let margin = laws[1].0 - laws[0].0;
    Some(Choice { law: (margin >= Choice::DECISIVE_MARGIN).then_some(laws[0].1), margin })
}

impl Law {
    /// Logarithm of the law at `x` ≥ 2 with factor 1.
    fn logarithm(self, x: f64) -> f64 {
        match self {
            Self::Linear => x.ln(),
            Self::Quadratic => 2.0 * x.ln(),
            Self::QuadraticLog => 2.0 * x.ln() + x.ln().ln(),
            Self::Cubic => 3.0 * x.ln(),
        }
    }
}

/// Place, median and weight of every measured observation, by ascending place.
fn medians(observations: &[Observation<'_>]) -> Vec<(f64, f64, f64)> {
    let mut points: Vec<_> = observations.iter().filter_map(point).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn point(observation: &Observation<'_>) -> Option<(f64, f64, f64)> {
    let weight = observation.processes.rounds() as f64;
    (observation.x > 0).then_some(())?;
    Some((observation.x as f64, observation.processes.median()?, weight))
}

/// Weighted least squares of `terms·c = 1` over the active columns, by Gram–Schmidt on scaled columns (their sizes
/// differ by many orders of magnitude). `None` when the active columns are dependent.
fn least_squares(rows: &[([f64; 3], f64)], active: [bool; 3]) -> Option<[f64; 3]> {
    let root: Vec<f64> = rows.iter().map(|(_, w)| w.sqrt()).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut basis: Vec<(usize, Vec<f64>)> = Vec::new();
    let mut r = [[0.0; 3]; 3];
    for column in (0..3).filter(|&c| active[c]) {
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
    let mut coefficients = [0.0; 3];
    for (column, q) in basis.iter().rev() {
        let known: f64 = (column + 1..3).map(|c| r[*column][c] * coefficients[c]).sum();
        coefficients[*column] = (dot(q, &root) - known) / r[*column][*column];
    }
    Some(coefficients)
}
