//! The time of a cell that was not measured.

use super::line::{Line, Weighted};
use super::panel::Panel;
use super::terms::{Terms, point, powers};
use super::{Bound, Observation};
use crate::statistics::scatter::Scatter;
use crate::statistics::student::student_975;
use crate::statistics::summary::Estimate;

/// Fewest places that say how time grows.
const MIN_POINTS: usize = 3;

/// What is asked for, and what is known of it beforehand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unmeasured {
    /// The place.
    pub x: usize,
    /// The largest power that the operations grow with, 1 to 3: no term grows faster.
    pub highest: usize,
    /// The least time that the ceilings of the machine allow, in seconds; 0 where they are not known.
    pub least_seconds: f64,
}

/// The time expected at an unmeasured place, with the 95 % prediction interval of one further median there.
///
/// Two models are fitted to all medians: a sum of non-negative terms ([`super::two_term`]) and a power law. They are
/// averaged by their Akaike weights, and what they disagree is part of the variance (Burnham & Anderson, *Model
/// Selection and Multimodel Inference*, 2002, section 4.3). The rest of the variance is that of least squares (Draper
/// & Smith, *Applied Regression Analysis*, 1998, section 3.2): it holds the scatter about the model, be it noise or
/// misfit, and grows with the distance. Terms that came out as zero count in it as if they were free. Where the
/// scatter between processes grows along the axis, places are weighted by it and it is carried on. It is not taken to
/// be less than that of the largest place. Bounds pull a model up that passes below them, and no prediction is below a
/// bound at or before its place. `None` with fewer than three places.
pub fn predict(observations: &[Observation<'_>], bounds: &[Bound], wanted: &Unmeasured) -> Option<Estimate> {
    let curve = Known::new(observations, bounds)?;
    let x = wanted.x as f64;
    let models: Vec<AtPlace> = [curve.power_law(x), curve.terms(x, wanted.highest)].into_iter().flatten().collect();
    let best = models.iter().map(|model| model.criterion).fold(f64::INFINITY, f64::min);
    // Of three places and no repetition the criterion is infinite for both.
    let weight = |model: &AtPlace| if best.is_finite() { (0.5 * (best - model.criterion)).exp() } else { 1.0 };
    let weights: Vec<f64> = models.iter().map(weight).collect();
    let sum: f64 = weights.iter().sum();
    let average = |of: &dyn Fn(&AtPlace) -> f64| models.iter().zip(&weights).map(|(m, w)| w * of(m)).sum::<f64>() / sum;
    let value = average(&|model| model.value);
    let further = (x / curve.largest).powf(curve.growth) / curve.typical;
    let variance = average(&|model| {
        model.scatter.max(curve.least_scatter) * (model.leverage + further) + (model.value - value).powi(2)
    });
    let degrees = average(&|model| model.degrees);
    let logarithm = Estimate::within(value, student_975(degrees) * variance.sqrt());
    let below = bounds.iter().filter(|bound| bound.x <= wanted.x).map(|bound| bound.at_least_seconds);
    let least = below.fold(wanted.least_seconds, f64::max);
    // What passes below is lifted as a whole: a bound says nothing of the width above it.
    let expected = logarithm.map(f64::exp);
    let lifted = (least / expected.value).max(1.0);
    Some(Estimate {
        value: expected.value.max(least),
        low: (expected.low * lifted).max(least),
        high: expected.high * lifted,
    })
}

/// What the models are fitted to.
struct Known<'a> {
    bounds: &'a [Bound],
    /// Place, seconds and number of processes.
    points: Vec<Weighted>,
    /// The same with the number of processes over their relative variance, that of the largest place being 1.
    weighted: Vec<Weighted>,
    panel: Panel,
    largest: f64,
    /// Processes of a typical place.
    typical: f64,
    /// The exponent with which the variance grows.
    growth: f64,
    /// The least variance of a process at the largest place.
    least_scatter: f64,
}

/// A fitted model at the wanted place; logarithms.
struct AtPlace {
    value: f64,
    /// Variance of a process at the largest place, from the residuals.
    scatter: f64,
    /// Its degrees of freedom.
    degrees: f64,
    /// The variance of `value` over it.
    leverage: f64,
    criterion: f64,
}

impl<'a> Known<'a> {
    fn new(observations: &[Observation<'_>], bounds: &'a [Bound]) -> Option<Self> {
        let mut points: Vec<Weighted> = observations.iter().filter_map(point).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by(|a, b| a.0 == b.0);
        if points.len() < MIN_POINTS {
            return None;
        }
        let growth = Scatter::of_cells(observations.iter().map(|o| (o.x, o.processes))).growth();
        let largest = points[points.len() - 1].0;
        let weighted = points.iter().map(|(x, t, w)| (*x, *t, w / (x / largest).powf(growth))).collect();
        let typical = points.iter().map(|(.., weight)| weight).sum::<f64>() / points.len() as f64;
        let of_largest = observations.iter().find(|o| o.x as f64 == largest)?.processes.scatter();
        let least_scatter = of_largest.map_or(0.0, |scatter| scatter.variance);
        let panel = Panel::of(observations);
        Some(Self { bounds, points, weighted, panel, largest, typical, growth, least_scatter })
    }

    fn power_law(&self, x: f64) -> Option<AtPlace> {
        let logs: Vec<Weighted> = self.weighted.iter().map(|(x, seconds, w)| (x.ln(), seconds.ln(), *w)).collect();
        let floors = self.bounds.iter().filter(|b| b.x > 0 && b.at_least_seconds > 0.0);
        let floors: Vec<Weighted> = floors.map(|b| ((b.x as f64).ln(), b.at_least_seconds.ln(), 1.0)).collect();
        let line = Line::above(&logs, &floors)?;
        let leverage = 1.0 / line.weight + (x.ln() - line.mean_x).powi(2) / line.spread;
        Some(self.model(line.at(x.ln()), leverage, 2, 2, |x| line.at(x.ln())))
    }

    fn terms(&self, x: f64, highest: usize) -> Option<AtPlace> {
        let powers = powers(self.points.len(), highest);
        let terms = Terms::above(&self.weighted, self.bounds, &powers)?;
        let row = |x: f64| powers.iter().map(|power| (x / self.largest).powi(*power as i32) / terms.at(x)).collect();
        let rows: Vec<(Vec<f64>, f64)> = self.weighted.iter().map(|(x, _, w)| (row(*x), *w)).collect();
        let leverage = leverage(&rows, row(x))?;
        Some(self.model(terms.at(x).ln(), leverage, powers.len(), terms.count(), |x| terms.at(x).ln()))
    }

    /// A model of so many coefficients, `active` of which are not zero.
    fn model(&self, value: f64, leverage: f64, free: usize, active: usize, at: impl Fn(f64) -> f64) -> AtPlace {
        let square = |(x, seconds, weight): &Weighted| weight * (seconds.ln() - at(*x)).powi(2);
        let degrees = self.points.len().saturating_sub(free).max(1) as f64;
        let scatter = self.weighted.iter().map(square).sum::<f64>() / degrees;
        let criterion = self.panel.criterion(self.points.iter().map(square).sum(), active as f64 + 1.0);
        AtPlace { value, scatter, degrees, leverage, criterion }
    }
}

/// vᵀ (Σ w·r rᵀ)⁻¹ v over rows r with weights w, by orthogonalising v with the columns (their sizes differ by many
/// orders of magnitude). `None` when the columns are dependent.
fn leverage(rows: &[(Vec<f64>, f64)], mut v: Vec<f64>) -> Option<f64> {
    let mut columns: Vec<Vec<f64>> =
        (0..v.len()).map(|c| rows.iter().map(|(row, weight)| row[c] * weight.sqrt()).collect()).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut sum = 0.0;
    for c in 0..v.len() {
        let length = dot(&columns[c], &columns[c]).sqrt();
        if length.is_nan() || length <= 1e-100 {
            return None;
        }
        let unit: Vec<f64> = columns[c].iter().map(|x| x / length).collect();
        let along = v[c] / length;
        sum += along * along;
        for later in c + 1..v.len() {
            let shared = dot(&unit, &columns[later]);
            columns[later].iter_mut().zip(&unit).for_each(|(x, u)| *x -= shared * u);
            v[later] -= shared * along;
        }
    }
    Some(sum)
}
