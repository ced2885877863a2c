//! Signs that samples are not what an interval assumes: drift, outliers, a coarse clock, processes that disagree.

use super::Processes;
use super::order::{median, median_of_sorted, sorted};

/// A sample is an outlier when its modified z-score exceeds this (Iglewicz & Hoaglin, *How to Detect and Handle
/// Outliers*, 1993; hyperfine uses the same score).
pub const OUTLIER_SCORE: f64 = 3.5;

/// Modified z-scores `0.6745·(x − median)/MAD` in the order of `samples`; all 0 when more than half are equal.
pub fn modified_z_scores(samples: &[f64]) -> Vec<f64> {
    let Some(center) = median(samples) else { return vec![0.0; samples.len()] };
    let deviations: Vec<f64> = samples.iter().map(|x| (x - center).abs()).collect();
    match median(&deviations) {
        Some(mad) if mad > 0.0 => samples.iter().map(|x| 0.6745 * (x - center) / mad).collect(),
        _ => vec![0.0; samples.len()],
    }
}

/// How many samples are outliers on the slow side.
pub fn slow_outliers(samples: &[f64]) -> usize {
    modified_z_scores(samples).into_iter().filter(|z| *z > OUTLIER_SCORE).count()
}

/// Relative change of the median from the first to the second half of `samples` in the order taken, when it is both
/// significant (Mann–Whitney |z| > 3) and larger than 2 %; `None` otherwise.
pub fn drift(samples: &[f64]) -> Option<f64> {
    let (first, second) = samples.split_at(samples.len() / 2);
    let (first, second) = (sorted(first)?, sorted(second)?);
    let (m, n) = (first.len() as f64, second.len() as f64);
    // U counts the pairs in which the later sample is the larger, ties as a half.
    let u: f64 = second
        .iter()
        .map(|x| {
            let below = first.partition_point(|y| y < x);
            let not_above = first.partition_point(|y| y <= x);
            0.5 * (below + not_above) as f64
        })
        .sum();
    let z = (u - m * n / 2.0) / (m * n * (m + n + 1.0) / 12.0).sqrt();
    let change = median_of_sorted(&second) / median_of_sorted(&first) - 1.0;
    (z.abs() > 3.0 && change.abs() > 0.02).then_some(change)
}

/// Whether the clock shows in `samples` (seconds of one evaluation, each the mean of `evaluations_per_sample`): fewer
/// than half of at least five are distinct and the least step between them exceeds 0.1 % of the median, or a sample
/// took less than 10 µs in all, of which the usual clock's 25 to 100 ns are up to 1 %.
pub fn clock_is_coarse(samples: &[f64], evaluations_per_sample: u64) -> bool {
    const SHORTEST_SAMPLE_SECONDS: f64 = 10e-6;
    const STEP: f64 = 1e-3;
    let Some(sorted) = sorted(samples) else { return false };
    let center = median_of_sorted(&sorted);
    if center * (evaluations_per_sample as f64) < SHORTEST_SAMPLE_SECONDS {
        return true;
    }
    let steps = || sorted.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step > 0.0);
    let least = steps().fold(f64::INFINITY, f64::min);
    sorted.len() >= 5 && 2 * (steps().count() + 1) < sorted.len() && least.is_finite() && least > STEP * center
}

/// How much longer the slowest process took than the fastest; `None` with fewer than two.
pub fn disagreement(processes: &Processes) -> Option<f64> {
    let ends = processes.medians().fold((f64::INFINITY, 0.0_f64), |(low, high), (_, m)| (low.min(m), high.max(m)));
    (processes.rounds() > 1).then(|| ends.1 / ends.0 - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::random::Random;

    #[test]
    fn one_slow_sample_is_an_outlier_and_equal_samples_are_none() {
        let mut samples: Vec<f64> = (0..20).map(|i| 1.0 + 0.001 * f64::from(i % 5)).collect();
        assert_eq!(slow_outliers(&samples), 0);
        samples[7] = 1.5;
        assert_eq!(slow_outliers(&samples), 1);
        assert_eq!(slow_outliers(&[1.0; 9]), 0);
        assert_eq!(slow_outliers(&[]), 0);
    }

    #[test]
    fn a_trend_is_drift_and_noise_is_not() {
        let mut random = Random::new(3);
        let noise: Vec<f64> = (0..60).map(|_| 1.0 + 0.03 * random.normal()).collect();
        assert_eq!(drift(&noise), None);
        let trend: Vec<f64> = noise.iter().enumerate().map(|(i, x)| x * (1.0 + 0.002 * i as f64)).collect();
        let change = drift(&trend).expect("a rise of 12 % over 60 samples is drift");
        assert!((0.03..0.10).contains(&change), "{change}");
        // A constant step below 2 % is significant but harmless.
        let step: Vec<f64> = (0..60).map(|i| if i < 30 { 1.0 } else { 1.01 }).collect();
        assert_eq!(drift(&step), None);
    }

    #[test]
    fn a_clock_that_ticks_in_the_samples_is_coarse() {
        let mut random = Random::new(5);
        let fine: Vec<f64> = (0..40).map(|_| 1e-3 * (1.0 + 0.01 * random.normal())).collect();
        let ticked: Vec<f64> = fine.iter().map(|x| (x / 1e-5).round() * 1e-5).collect();
        assert!(!clock_is_coarse(&fine, 1));
        assert!(clock_is_coarse(&ticked, 1));
        assert!(!clock_is_coarse(&[1e-3; 9], 1), "equal samples show no step");
        assert!(clock_is_coarse(&[1e-6, 1.1e-6, 0.9e-6], 1) && !clock_is_coarse(&[1e-6, 1.1e-6, 0.9e-6], 20));
        assert!(!clock_is_coarse(&[], 1));
    }

    #[test]
    fn processes_disagree_by_their_medians() {
        let processes = Processes::new([(0, [1.0, 9.0, 1.0].as_slice()), (1, [1.5].as_slice())]);
        assert_eq!(disagreement(&processes), Some(0.5));
        assert_eq!(disagreement(&Processes::new([(0, [1.0].as_slice())])), None);
    }
}
