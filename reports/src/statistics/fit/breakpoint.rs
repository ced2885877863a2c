//! Where a curve bends or jumps.

use serde::{Deserialize, Serialize};

use super::line::{Line, Weighted};
use super::panel::Panel;
use super::terms::{Terms, powers};
use super::{DECISIVE_MARGIN, Observation};
use crate::statistics::bootstrap::{SEARCHES, interval_of, stretch};
use crate::statistics::resample::Resampler;
use crate::statistics::student::{Parts, student_975};
use crate::statistics::summary::Estimate;

/// Fewest places: two on either side of the bend and one to judge by.
const MIN_POINTS: usize = 5;
/// Places for the bend that are tried between two neighbours.
const STEPS: usize = 4;
/// Thirds by which the best one is refined: each cuts what is left of its neighbourhood by a third.
const REFINEMENTS: usize = 12;
/// Parameters of a power law with its scatter, and of one with a bend or a step.
const STRAIGHT: f64 = 3.0;
const BROKEN: f64 = 5.0;

/// A bend between two power laws that meet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Breakpoint {
    /// Where they meet, with its 95 % interval.
    pub at: Estimate,
    /// The exponent below.
    pub below: f64,
    /// The exponent above.
    pub above: f64,
    /// The AICc of the best smooth law, one power law or a sum of terms, minus that of the two.
    pub margin: f64,
}

/// A jump between two neighbouring places, with the same exponent on both sides: a cache that no longer holds the data,
/// another algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Jump {
    /// The last place below it.
    pub from: usize,
    /// The first place above it.
    pub to: usize,
    /// The time above over the continued law from below, with its 95 % interval.
    pub factor: Estimate,
    /// The exponent on either side.
    pub exponent: f64,
    /// The AICc of the best smooth law minus that of the step.
    pub margin: f64,
}

/// Two power laws that meet at a bend (least squares of log time on log x, weighted by the number of processes, over a
/// grid of bends from the second place to the last but one).
///
/// `None` with fewer than five places, or where AICc does not prefer them by 4 or more to each of: one power law, a sum
/// of terms up to the power `highest`, and a step.
pub fn breakpoint(observations: &[Observation<'_>], highest: usize) -> Option<Breakpoint> {
    let shapes = Shapes::of(observations, highest)?;
    let margin = shapes.smooth - shapes.bend;
    if margin.is_nan() || margin < DECISIVE_MARGIN || shapes.step - shapes.bend < DECISIVE_MARGIN {
        return None;
    }
    let points = &shapes.panel.places;
    let mut resamplers: Vec<(usize, Resampler<'_>)> =
        observations.iter().filter(|o| o.x > 0).filter_map(|o| Some((o.x, o.processes.resampler()?))).collect();
    resamplers.sort_by_key(|(x, _)| *x);
    resamplers.dedup_by_key(|(x, _)| *x);
    let bent = Bent::fit(points)?;
    let stretch = stretch(resamplers.iter().map(|(_, of)| (of.variance, of)), Parts::Independent);
    let at = interval_of(SEARCHES, bent.at, stretch, |random| {
        let places = points.iter().zip(&resamplers);
        let points: Vec<Weighted> = places.map(|((x, _, w), (_, of))| (*x, of.draw(random), *w)).collect();
        Bent::fit(&points).map_or(bent.at, |bent| bent.at)
    });
    let at = at.map(|x| x.clamp(points[0].0, points[points.len() - 1].0).exp());
    Some(Breakpoint { at, below: bent.below, above: bent.above, margin })
}

/// A power law with a step between two neighbouring places, at least two on either side, under the conditions of
/// [`breakpoint`].
pub fn step(observations: &[Observation<'_>], highest: usize) -> Option<Jump> {
    let shapes = Shapes::of(observations, highest)?;
    let margin = shapes.smooth - shapes.step;
    if margin.is_nan() || margin < DECISIVE_MARGIN || shapes.bend - shapes.step < DECISIVE_MARGIN {
        return None;
    }
    let points = &shapes.panel.places;
    let (at, fit) = Added::best_step(points)?;
    let degrees = (points.len() - 3) as f64;
    let scatter = (fit.residual / degrees).max(shapes.panel.variance().unwrap_or(0.0));
    let reach = student_975(degrees) * (scatter / fit.variance).sqrt();
    let place = |i: usize| points[i].0.exp().round() as usize;
    let factor = Estimate::within(fit.change, reach).map(f64::exp);
    Some(Jump { from: place(at - 1), to: place(at), factor, exponent: fit.slope, margin })
}

/// The criteria of every shape that a curve may have.
struct Shapes {
    panel: Panel,
    /// The better one of a power law and a sum of terms.
    smooth: f64,
    bend: f64,
    step: f64,
}

impl Shapes {
    fn of(observations: &[Observation<'_>], highest: usize) -> Option<Self> {
        let panel = Panel::of(observations);
        let points = &panel.places;
        if points.len() < MIN_POINTS {
            return None;
        }
        let times: Vec<Weighted> = points.iter().map(|(x, y, w)| (x.exp(), y.exp(), *w)).collect();
        let terms = Terms::fit(&times, &powers(times.len(), highest))?;
        let of_terms = points.iter().map(|(x, y, w)| w * (y - terms.at(x.exp()).ln()).powi(2)).sum();
        let line = panel.criterion(Line::fit(points)?.residual(points), STRAIGHT);
        let smooth = line.min(panel.criterion(of_terms, terms.count() as f64 + 1.0));
        let bend = panel.criterion(Bent::fit(points)?.residual, BROKEN);
        let step = panel.criterion(Added::best_step(points)?.1.residual, BROKEN);
        Some(Self { panel, smooth, bend, step })
    }
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

    /// The least-squares slopes for a given bend.
    fn at(points: &[Weighted], at: f64) -> Option<Self> {
        let Added { slope, change, residual, .. } = Added::fit(points, |x| (x - at).max(0.0))?;
        Some(Self { at, below: slope, above: slope + change, residual })
    }
}

/// A line to which a multiple of another function of x is added.
struct Added {
    slope: f64,
    /// The multiple.
    change: f64,
    /// The variance of a point of unit weight over that of the multiple.
    variance: f64,
    residual: f64,
}

impl Added {
    /// Least squares, by regressing y and the function on x first (Frisch & Waugh).
    fn fit(points: &[Weighted], function: impl Fn(f64) -> f64) -> Option<Self> {
        let added: Vec<Weighted> = points.iter().map(|(x, _, w)| (*x, function(*x), *w)).collect();
        let (line, added_line) = (Line::fit(points)?, Line::fit(&added)?);
        let (mut covariance, mut variance) = (0.0, 0.0);
        for ((x, y, w), (_, f, _)) in points.iter().zip(&added) {
            let rest = f - added_line.at(*x);
            covariance += w * rest * (y - line.at(*x));
            variance += w * rest * rest;
        }
        if variance <= 0.0 {
            return None;
        }
        let change = covariance / variance;
        let residual = (line.residual(points) - change * covariance).max(0.0);
        Some(Self { slope: line.slope - change * added_line.slope, change, variance, residual })
    }

    /// The best step with at least two places on either side, and the place from which it counts.
    fn best_step(points: &[Weighted]) -> Option<(usize, Self)> {
        let steps = (2..points.len() - 1).filter_map(|at| {
            let from = points[at].0;
            Some((at, Self::fit(points, |x| if x < from { 0.0 } else { 1.0 })?))
        });
        steps.min_by(|a, b| a.1.residual.total_cmp(&b.1.residual))
    }
}
