//! The median of one set of samples, and its interval from order statistics.

/// Median of `samples`, the mean of the middle two when their number is even; `None` when empty or when one is NaN.
pub fn median(samples: &[f64]) -> Option<f64> {
    Some(median_of_sorted(&sorted(samples)?))
}

/// Distribution-free confidence interval of the median.
///
/// The number B of samples below the true median is binomial(n, ½), so `[x₍ⱼ₎, x₍ₙ₊₁₋ⱼ₎]` covers it with probability
/// `P(j ≤ B ≤ n − j)`; j is the largest whose coverage is at least `confidence` (Le Boudec, *Performance Evaluation of
/// Computer and Communication Systems*, 2010, theorem 2.1). `None` when there are too few samples for any (fewer
/// than 6 at 0.95), or when one is NaN.
///
/// Costs a sort; a caller that asks after every sample does better to ask after every tenth.
pub fn median_interval(samples: &[f64], confidence: f64) -> Option<(f64, f64)> {
    let sorted = sorted(samples)?;
    let rank = rank_of_lower_end(sorted.len(), confidence)?;
    Some((sorted[rank - 1], sorted[sorted.len() - rank]))
}

/// Half the length of [`median_interval`] over the median: the harness samples until this is small.
///
/// `None` where the interval is, or when the median is not positive.
pub fn relative_half_width_of_median(samples: &[f64], confidence: f64) -> Option<f64> {
    let (low, high) = median_interval(samples, confidence)?;
    let center = median(samples)?;
    (center > 0.0).then(|| (high - low) / (2.0 * center))
}

/// Median of ascending samples, which must not be empty.
pub(crate) fn median_of_sorted(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    0.5 * (sorted[(n - 1) / 2] + sorted[n / 2])
}

/// The samples in ascending order; `None` when empty or when one is NaN.
pub(crate) fn sorted(samples: &[f64]) -> Option<Vec<f64>> {
    if samples.is_empty() || samples.iter().any(|x| x.is_nan()) {
        return None;
    }
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Some(sorted)
}

/// The largest rank j (from 1) with `P(j ≤ B ≤ n − j) ≥ confidence` for B ~ binomial(n, ½), summed from the centre
/// outwards.
fn rank_of_lower_end(n: usize, confidence: f64) -> Option<usize> {
    // C(m, m/2)/2ᵐ for the even m = n or n + 1, as a product that neither over- nor underflows.
    let half = n.div_ceil(2);
    let central: f64 = (1..=half).map(|i| (2 * i - 1) as f64 / (2 * i) as f64).product();
    // Even n: the single centre is inside from the start. Odd n: two equal centres, at ranks (n ± 1)/2.
    let (mut rank, mut coverage, mut mass) =
        if n.is_multiple_of(2) { (n / 2, central, central) } else { (n / 2, 2.0 * central, central) };
    while rank > 0 && coverage < confidence {
        mass *= rank as f64 / (n - rank + 1) as f64;
        rank -= 1;
        coverage += 2.0 * mass;
    }
    (rank > 0).then_some(rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_even_empty_and_nan() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, f64::NAN]), None);
    }

    /// Ranks from Le Boudec's table A.1 (median, level 0.95).
    #[test]
    fn ranks_agree_with_the_published_table() {
        for (n, rank) in [(6, 1), (8, 1), (9, 2), (12, 3), (15, 4), (20, 6), (30, 10), (50, 18), (70, 27)] {
            assert_eq!(rank_of_lower_end(n, 0.95), Some(rank), "n = {n}");
        }
        for n in 0..6 {
            assert_eq!(rank_of_lower_end(n, 0.95), None, "n = {n}");
        }
    }

    /// For large n the rank is n/2 − 0.98√n up to one (the normal approximation).
    #[test]
    fn rank_of_many_samples_matches_the_normal_approximation() {
        let n = 100_000_usize;
        let normal = n as f64 / 2.0 - 0.98 * (n as f64).sqrt();
        let rank = rank_of_lower_end(n, 0.95).unwrap() as f64;
        assert!((rank - normal).abs() < 2.0, "{rank} against {normal}");
    }

    #[test]
    fn half_width_is_relative() {
        let samples: Vec<f64> = (0..9).map(|i| 100.0 + f64::from(i)).collect();
        // Ranks 2 and 8 of 100..=108: half of 107 − 101, over 104.
        assert_eq!(relative_half_width_of_median(&samples, 0.95), Some(3.0 / 104.0));
        assert_eq!(relative_half_width_of_median(&samples[..5], 0.95), None);
    }
}
