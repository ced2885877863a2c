//! Where the rounds of a cell lie and how they scatter, without what a few slow processes do to both.

/// Rounds from which slow ones are told from the others: of fewer, the shortest interval is too often far too short.
const FROM: usize = 18;
/// Share of the rounds in the shortest interval.
const SHARE: f64 = 1.0 / 3.0;
/// Half the length of that interval, in standard deviations of normal rounds.
const HALF_LENGTH: f64 = 0.4307;
/// Rounds beyond so many standard deviations are slow ones, if they are so on the logarithmic scale too.
const FAR: (f64, f64) = (3.5, 0.1);

/// The location of some logarithms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Location {
    pub(super) value: f64,
    /// Its variance; infinite where one round leaves it unknown.
    pub(super) variance: f64,
    /// Degrees of freedom of the variance, at least 1.
    pub(super) degrees: f64,
}

impl Location {
    /// The mean of the rounds, from 18 on without those that lie far from the bulk. The bulk is the shortest interval
    /// that holds a third of the rounds (a shorth: Andrews et al., *Robust Estimates of Location*, 1972); its mean is
    /// the place, its length the scale. A cell where a fifth of the processes of each side is slow has a third of its
    /// ratios far from the bulk, now and then nearly half; less robust estimates break down there. Rounds that are left
    /// out cost half of the degrees of freedom. `None` without rounds.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        if values.len() < FROM {
            return (!values.is_empty()).then(|| Self::mean(values));
        }
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let held = (SHARE * sorted.len() as f64).ceil() as usize;
        let length = |w: &&[f64]| w[held - 1] - w[0];
        let bulk = sorted.windows(held).min_by(|a, b| length(a).total_cmp(&length(b)))?;
        let reach = (FAR.0 * 0.5 * length(&bulk) / HALF_LENGTH).max(FAR.1);
        let near = |at: f64| -> Vec<f64> { sorted.iter().copied().filter(|x| (x - at).abs() <= reach).collect() };
        let kept = near(Self::mean(&near(Self::mean(bulk).value)).value);
        let location = Self::mean(&kept);
        let degrees = if kept.len() < sorted.len() { 0.5 * location.degrees } else { location.degrees };
        Some(Self { degrees, ..location })
    }

    /// The mean. Rounds that are all 0 are those of a study against itself.
    fn mean(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let value = values.iter().sum::<f64>() / n;
        let square: f64 = values.iter().map(|v| (v - value).powi(2)).sum();
        let unknown = values.len() < 2 && value != 0.0;
        let variance = if unknown { f64::INFINITY } else { square / (n - 1.0).max(1.0) / n };
        Self { value, variance, degrees: (n - 1.0).max(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::random::Random;

    #[test]
    fn few_rounds_have_their_mean_and_one_has_no_scatter() {
        let location = Location::of(&[1.0, 2.0, 6.0]).unwrap();
        assert_eq!(location, Location { value: 3.0, variance: 7.0 / 3.0, degrees: 2.0 });
        assert_eq!(Location::of(&[1.0]).unwrap().variance, f64::INFINITY);
        assert_eq!(Location::of(&[0.0]).unwrap().variance, 0.0);
        assert_eq!(Location::of(&[]), None);
    }

    /// 24 rounds of two sides with one slow process in five each: the scatter is that of the others.
    #[test]
    fn slow_processes_do_not_count() {
        let mut random = Random::new(3);
        let mut small = 0;
        for _ in 0..400 {
            let mut slow = || if random.uniform() < 0.2 { 2_f64.ln() } else { 0.0 };
            let slow: Vec<f64> = (0..24).map(|_| slow() - slow()).collect();
            let rounds: Vec<f64> = slow.iter().map(|slow| slow + 0.03 * random.normal()).collect();
            let location = Location::of(&rounds).unwrap();
            small += usize::from(location.variance.sqrt() < 0.015 && location.value.abs() < 0.04);
        }
        assert!(small >= 392, "{small} of 400");
    }
}
