//! Where a power law changes its exponent.

use serde::{Deserialize, Serialize};

use super::Observation;
use super::line::{Line, Weighted};
use crate::statistics::bootstrap::{interval_of, stretch};
use crate::statistics::resample::Resampler;
use crate::statistics::student::Parts;
use crate::statistics::summary::Estimate;

/// Fewest places: two on either side of the bend and one to judge by.
const MIN_POINTS: usize = 5;
/// Places for the bend that are tried between two neighbours.
const STEPS: usize = 4;
/// Thirds by which the best one is refined: each cuts what is left of its neighbourhood by a third.
const REFINEMENTS: usize = 12;
/// Resamples behind the interval: each is a search.
const RESAMPLES: usize = 400;
/// AICc by which two lines must be better than one (Burnham & Anderson, *Model Selection and Multimodel Inference*,
/// 2002, section 2.6: "considerably less support").
const DECISIVE_MARGIN: f64 = 4.0;

/// A bend between two power laws that meet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Breakpoint {
    /// Where they meet, with its 95 % interval.
    pub at: Estimate,
    /// The exponent below.
    pub below: f64,
    /// The exponent above.
    pub above: f64,
    /// AICc of the single power law minus that of the two.
    pub margin: f64,
}

/// Fits two power laws that meet at a bend (least squares of log median on log x, weighted by the number of processes,
/// over a grid of bends from the second place to the last but one). `None` with fewer than five places, or where the
/// corrected Akaike criterion does not favour two laws over one by 4 or more.
pub fn breakpoint(observations: &[Observation<'_>]) -> Option<Breakpoint> {
    let mut places: Vec<(Weighted, Resampler<'_>)> = observations
        .iter()
        .filter(|o| o.x > 0)
        .filter_map(|o| {
            let weight = o.processes.rounds() as f64;
            Some((((o.x as f64).ln(), o.processes.median()?.ln(), weight), o.processes.resampler()?))
        })
        .collect();
    places.sort_by(|a, b| a.0.0.total_cmp(&b.0.0));
    places.dedup_by(|a, b| a.0.0 == b.0.0);
    if places.len() < MIN_POINTS {
        return None;
    }
    let points: Vec<Weighted> = places.iter().map(|(point, _)| *point).collect();
    let bent = Bent::fit(&points)?;
    let margin =
        criterion(Line::fit(&points)?.residual(&points), &points, 3.0) - criterion(bent.residual, &points, 5.0);
    if margin.is_nan() || margin < DECISIVE_MARGIN {
        return None;
    }
    let stretch = stretch(places.iter().map(|(_, resampler)| (1.0, resampler)), Parts::Independent);
    let at = interval_of(RESAMPLES, bent.at, stretch, |random| {
        let points: Vec<Weighted> =
            places.iter().map(|((x, _, w), resampler)| (*x, resampler.draw(random), *w)).collect();
        Bent::fit(&points).map_or(bent.at, |bent| bent.at)
    });
    let at = at.map(|x| x.clamp(points[0].0, points[points.len() - 1].0).exp());
    Some(Breakpoint { at, below: bent.below, above: bent.above, margin })
}

/// AICc of normal residuals with `parameters`, the scatter among them.
fn criterion(residual: f64, points: &[Weighted], parameters: f64) -> f64 {
    let n = points.len() as f64;
    let weight: f64 = points.iter().map(|(_, _, w)| w).sum();
    let correction = match n - parameters - 1.0 {
        room if room > 0.0 => 2.0 * parameters * (parameters + 1.0) / room,
        _ => f64::INFINITY,
    };
    // The floor keeps an exact fit finite: one part in 10¹² is beyond any timer.
    n * (residual / weight).max(1e-24).ln() + 2.0 * parameters + correction
}

/// y = y₀ + below·(x − at) + (above − below)·max(0, x − at).
#[derive(Debug, Clone, Copy)]
struct Bent {
    at: f64,
    below: f64,
    above: f64,
    residual: f64,
}

impl Bent {
    /// The best of a grid of bends with at least two places on either side, refined between its neighbours on the grid.
    fn fit(points: &[Weighted]) -> Option<Self> {
        let inner = &points[1..points.len() - 1];
        let bends = inner.windows(2).flat_map(|pair| {
            let (from, to) = (pair[0].0, pair[1].0);
            (0..STEPS).map(move |i| from + (to - from) * i as f64 / STEPS as f64)
        });
        let bends: Vec<f64> = bends.chain(inner.last().map(|(x, ..)| *x)).collect();
        let tried = bends.iter().enumerate().filter_map(|(i, at)| Some((i, Self::at(points, *at)?)));
        let (index, best) = tried.min_by(|a, b| a.1.residual.total_cmp(&b.1.residual))?;
        let (mut low, mut high) = (bends[index.saturating_sub(1)], bends[(index + 1).min(bends.len() - 1)]);
        let mut refined = best;
        for _ in 0..REFINEMENTS {
            let thirds = [low + (high - low) / 3.0, high - (high - low) / 3.0];
            let [Some(left), Some(right)] = thirds.map(|at| Self::at(points, at)) else { break };
            let better = if left.residual < right.residual { left } else { right };
            if better.residual < refined.residual {
                refined = better;
            }
            if left.residual < right.residual { high = thirds[1] } else { low = thirds[0] }
        }
        Some(refined)
    }

    /// The least-squares slopes for a given bend, by regressing y and the hinge on x first (Frisch & Waugh).
    fn at(points: &[Weighted], at: f64) -> Option<Self> {
        let hinge: Vec<Weighted> = points.iter().map(|(x, _, w)| (*x, (x - at).max(0.0), *w)).collect();
        let (line, hinge_line) = (Line::fit(points)?, Line::fit(&hinge)?);
        let (mut covariance, mut variance) = (0.0, 0.0);
        for ((x, y, w), (_, h, _)) in points.iter().zip(&hinge) {
            let rest = h - hinge_line.at(*x);
            covariance += w * rest * (y - line.at(*x));
            variance += w * rest * rest;
        }
        if variance <= 0.0 {
            return None;
        }
        let change = covariance / variance;
        let below = line.slope - change * hinge_line.slope;
        let residual = line.residual(points) - change * covariance;
        Some(Self { at, below, above: below + change, residual: residual.max(0.0) })
    }
}
