//! Exponents between neighbours: where a power law holds, and where it bends.

use serde::{Deserialize, Serialize};

use super::Observation;
use crate::statistics::bootstrap::{additive_interval, stretch};
use crate::statistics::student::Parts;
use crate::statistics::summary::Estimate;

/// The exponent between two neighbouring places on the axis.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LocalExponent {
    /// The smaller place.
    pub from: usize,
    /// The larger place.
    pub to: usize,
    /// `ln(t₂/t₁) / ln(x₂/x₁)` of the medians, with its 95 % interval.
    pub exponent: Estimate,
}

/// The exponent between each pair of neighbours, by ascending place. Places without samples are passed over.
pub fn local_exponents(observations: &[Observation<'_>]) -> Vec<LocalExponent> {
    let mut measured: Vec<_> = observations.iter().filter(|o| o.x > 0 && o.processes.rounds() > 0).copied().collect();
    measured.sort_by_key(|o| o.x);
    measured.dedup_by_key(|o| o.x);
    measured.windows(2).filter_map(|pair| between(&pair[0], &pair[1])).collect()
}

fn between(low: &Observation<'_>, high: &Observation<'_>) -> Option<LocalExponent> {
    let distance = (high.x as f64 / low.x as f64).ln();
    let value = (high.processes.median()? / low.processes.median()?).ln() / distance;
    let ends = [high.processes.resampler()?, low.processes.resampler()?];
    let shares = ends.iter().map(|end| (end.variance, end));
    let stretch = stretch(shares, Parts::Independent);
    let exponent = additive_interval(value, stretch, |random| (ends[0].draw(random) - ends[1].draw(random)) / distance);
    Some(LocalExponent { from: low.x, to: high.x, exponent })
}
