//! Where a series of runs changed its level.

use crate::statistics::random::Random;

/// A change of level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoint {
    /// Index of the first run at the new level.
    pub index: usize,
    /// New over old level.
    pub factor: f64,
    /// Probability of a split as clear as this in runs that do not change.
    pub probability: f64,
}

/// Fewest runs of a level.
const FEWEST: usize = 3;
/// Permutations behind a probability.
const PERMUTATIONS: usize = 999;
/// Largest probability at which a split counts.
const SIGNIFICANCE: f64 = 0.01;
/// Permutations as clear as a split from which on it does not count, whatever the others are.
const TOO_MANY: usize = 10;
/// Smallest change of level that counts, on the logarithmic scale.
const SMALLEST: f64 = 0.02;

/// The changes of level of positive values, in order: binary segmentation with a permutation test of each split.
///
/// A segment is split where the difference of the mean logarithms is largest in units of its standard error; the split
/// counts when it is more than 2 % and at most 1 % of the seeded permutations of the segment have one as clear (as
/// E-divisive does, Matteson & James, *JASA* 109, 2014). Both parts are then looked at in turn.
pub fn change_points(values: &[f64]) -> Vec<ChangePoint> {
    let logs: Vec<f64> = values.iter().map(|v| v.ln()).collect();
    let mut bounds = Vec::new();
    if logs.iter().all(|l| l.is_finite()) {
        segment(&logs, 0, &mut bounds);
    }
    bounds.sort_by_key(|(index, _)| *index);
    let level = |from: usize, to: usize| logs[from..to].iter().sum::<f64>() / (to - from) as f64;
    let edges: Vec<usize> = std::iter::once(0).chain(bounds.iter().map(|(i, _)| *i)).chain([logs.len()]).collect();
    let point = |(at, &(index, probability)): (usize, &(usize, f64))| {
        let factor = (level(index, edges[at + 2]) - level(edges[at], index)).exp();
        ChangePoint { index, factor, probability }
    };
    bounds.iter().enumerate().map(point).collect()
}

fn segment(logs: &[f64], offset: usize, bounds: &mut Vec<(usize, f64)>) {
    let Some((split, clear)) = best_split(logs) else { return };
    let step = mean(&logs[split..]) - mean(&logs[..split]);
    if step.abs() < SMALLEST {
        return;
    }
    let mut random = Random::new(logs.len() as u64);
    let mut shuffled = logs.to_vec();
    let as_clear = (0..PERMUTATIONS)
        .filter(|_| {
            for last in (1..shuffled.len()).rev() {
                shuffled.swap(last, random.below(last + 1));
            }
            best_split(&shuffled).is_some_and(|(_, c)| c >= clear)
        })
        .take(TOO_MANY)
        .count();
    if as_clear == TOO_MANY {
        return;
    }
    let probability = (as_clear + 1) as f64 / (PERMUTATIONS + 1) as f64;
    if probability <= SIGNIFICANCE {
        bounds.push((offset + split, probability));
        segment(&logs[..split], offset, bounds);
        segment(&logs[split..], offset + split, bounds);
    }
}

/// The split with the largest difference of means over its standard error; `None` when there are too few values.
fn best_split(logs: &[f64]) -> Option<(usize, f64)> {
    let n = logs.len();
    let (total, square) = logs.iter().fold((0.0, 0.0), |(s, q), l| (s + l, q + l * l));
    let (mut best, mut left) = (None, 0.0);
    for split in 1..n {
        left += logs[split - 1];
        if split < FEWEST || n - split < FEWEST {
            continue;
        }
        let (a, b) = (split as f64, (n - split) as f64);
        let (mean_a, mean_b) = (left / a, (total - left) / b);
        // Rounding may leave a scatter of exact steps below zero; a floor of 10⁻⁴ is below any timer's repeatability.
        let scatter = ((square - a * mean_a * mean_a - b * mean_b * mean_b) / (n as f64 - 2.0).max(1.0)).max(1e-8);
        let clear = (mean_b - mean_a).abs() / (scatter * (1.0 / a + 1.0 / b)).sqrt();
        if best.is_none_or(|(_, c)| clear > c) {
            best = Some((split, clear));
        }
    }
    best
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs of a level with 1 % scatter.
    fn runs(levels: &[(usize, f64)], seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed);
        let of = |&(count, level): &(usize, f64)| vec![level; count];
        let mut scattered = |level: f64| level * (0.01 * random.normal()).exp();
        levels.iter().flat_map(of).map(&mut scattered).collect()
    }

    #[test]
    fn planted_steps_are_found_where_they_are() {
        let found = change_points(&runs(&[(10, 1.0), (8, 1.2), (9, 1.05)], 1));
        assert_eq!(found.iter().map(|c| c.index).collect::<Vec<_>>(), [10, 18]);
        assert!((found[0].factor - 1.2).abs() < 0.02 && (found[1].factor - 1.05 / 1.2).abs() < 0.02, "{found:?}");
    }

    #[test]
    fn level_runs_rarely_show_a_step_and_few_runs_never() {
        let alarms = (0..100).filter(|&seed| !change_points(&runs(&[(20, 1.0)], seed)).is_empty()).count();
        assert!(alarms <= 5, "{alarms} of 100");
        assert_eq!(change_points(&[1.0, 1.0, 2.0, 2.0]), []);
        assert_eq!(change_points(&[]), []);
        assert_eq!(change_points(&[f64::NAN; 10]), []);
    }
}
