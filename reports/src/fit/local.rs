//! Exponents between neighbours: where a power law holds, and where it bends.

use super::Observation;
use crate::stats::bootstrap::additive_interval;
use crate::summary::Estimate;

/// The exponent between two neighbouring places on the axis.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    let mut measured: Vec<_> =
        observations.iter().filter(|o| o.x > 0 && o.processes.rounds() > 0).copied().collect();
    measured.sort_by_key(|o| o.x);
    measured.dedup_by_key(|o| o.x);
    measured.windows(2).filter_map(|pair| between(&pair[0], &pair[1])).collect()
}

fn between(low: &Observation<'_>, high: &Observation<'_>) -> Option<LocalExponent> {
    let distance = (high.x as f64 / low.x as f64).ln();
    let value = (high.processes.median()? / low.processes.median()?).ln() / distance;
    let degrees = low.processes.degrees() + high.processes.degrees();
    let exponent = additive_interval(value, degrees, |random| {
        let (high, low) = (high.processes.resampled_median(random), low.processes.resampled_median(random));
        (high / low).ln() / distance
    });
    Some(LocalExponent { from: low.x, to: high.x, exponent })
}
