//! How much a quantity changed between two sides, with what is known of it.
//!
//! The unit of observation is a process: one value a round, the median of what that process measured, on a logarithmic
//! scale. Samples of one process share its memory placement and its moment, so they are no independent observations
//! (Kalibera & Jones, "Rigorous benchmarking in reasonable time", ISMM 2013).

use super::location::Location;
use crate::statistics::student;
use crate::statistics::summary::Estimate;

/// A change on the logarithmic scale: positive where the new side is larger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// ln(new/base).
    pub log: f64,
    /// Its standard error; infinite where a single round leaves it unknown.
    pub error: f64,
    /// Degrees of freedom behind the standard error, at least 1.
    pub degrees: usize,
    /// Rounds of the new side.
    pub rounds: usize,
    /// The part of the squared standard error that more rounds of the new side cannot reduce (the baseline's share).
    pub fixed_variance: f64,
}

impl Change {
    /// The change from one log-ratio a round, both sides measured in the same round. `None` without a round.
    pub fn paired(log_ratios: &[f64]) -> Option<Self> {
        let location = Location::of(log_ratios)?;
        Some(Self {
            log: location.value,
            error: location.variance.sqrt(),
            degrees: (location.degrees as usize).max(1),
            rounds: log_ratios.len(),
            fixed_variance: 0.0,
        })
    }

    /// The change between two sets of rounds that have nothing in common (Welch, *Biometrika* 34, 1947). `None` when
    /// one is empty.
    pub fn between(base: &[f64], new: &[f64]) -> Option<Self> {
        let (old, location) = (Location::of(base)?, Location::of(new)?);
        let (a, b) = (old.variance, location.variance);
        let degrees = (a + b).powi(2) / (a * a / old.degrees + b * b / location.degrees);
        Some(Self {
            log: location.value - old.value,
            error: (a + b).sqrt(),
            degrees: if degrees.is_finite() { (degrees as usize).max(1) } else { 1 },
            rounds: new.len(),
            fixed_variance: a,
        })
    }

    /// The one-sided bound above which the change lies with probability 1 − `alpha`.
    pub fn lower(&self, alpha: f64) -> f64 {
        self.log - self.reach(alpha)
    }

    /// The one-sided bound below which the change lies with probability 1 − `alpha`.
    pub fn upper(&self, alpha: f64) -> f64 {
        self.log + self.reach(alpha)
    }

    /// The factor new/base with its 95 % interval.
    pub fn factor(&self) -> Estimate {
        self.difference().map(f64::exp)
    }

    /// The change itself with its 95 % interval, for quantities that are logarithms already (exponents).
    pub fn difference(&self) -> Estimate {
        Estimate { value: self.log, low: self.lower(0.025), high: self.upper(0.025) }
    }

    /// The same change with the opposite sign: a speed-up that fell is a cost that rose.
    pub fn reversed(self) -> Self {
        Self { log: -self.log, ..self }
    }

    fn reach(&self, alpha: f64) -> f64 {
        // A standard error of zero is exact equality of every round, not an unknown.
        if self.error == 0.0 { 0.0 } else { student::quantile(1.0 - 2.0 * alpha, self.degrees) * self.error }
    }

    /// How many more rounds of the new side would bring the reach of `alpha` below `distance`, if the scatter stays as
    /// it is. `None` where no number would, or where a single round tells nothing of the scatter.
    pub fn more_rounds(&self, alpha: f64, distance: f64) -> Option<usize> {
        const MOST: usize = 1000;
        let of_a_round = (self.error.powi(2) - self.fixed_variance) * self.rounds as f64;
        if !of_a_round.is_finite() || distance <= 0.0 {
            return None;
        }
        let decides = |more: usize| {
            let error = (self.fixed_variance + of_a_round / (self.rounds + more) as f64).sqrt();
            student::quantile(1.0 - 2.0 * alpha, self.degrees + more) * error < distance
        };
        // The reach only shrinks with more rounds.
        let (mut too_few, mut enough) = (0, MOST);
        if !decides(enough) {
            return None;
        }
        while enough - too_few > 1 {
            let middle = (too_few + enough) / 2;
            if decides(middle) { enough = middle } else { too_few = middle }
        }
        Some(enough)
    }
}

/// New over base of two estimates that have nothing in common, from their intervals on the logarithmic scale (MOVER:
/// Zou & Donner, *Statistics in Medicine* 27, 2008).
pub(super) fn quotient(base: &Estimate, new: &Estimate) -> Estimate {
    let value = (new.value / base.value).ln();
    let down = (new.value / new.low).ln().hypot((base.high / base.value).ln());
    let up = (new.high / new.value).ln().hypot((base.value / base.low).ln());
    Estimate { value, low: value - down, high: value + up }.map(f64::exp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::random::Random;

    #[test]
    fn equal_rounds_leave_no_doubt_and_one_round_leaves_all() {
        let change = Change::paired(&[0.1; 4]).expect("four rounds");
        assert!((change.lower(0.01) - 0.1).abs() < 1e-12 && (change.upper(0.01) - 0.1).abs() < 1e-12);
        let change = Change::paired(&[0.1]).expect("one round");
        assert_eq!((change.lower(0.01), change.upper(0.01)), (f64::NEG_INFINITY, f64::INFINITY));
        assert_eq!(change.more_rounds(0.01, 0.05), None);
        assert_eq!(Change::paired(&[]), None);
        assert_eq!(Change::between(&[1.0], &[]), None);
    }

    /// The example of Student's sleep data, unpaired: t = −1.8608 with 17.78 degrees of freedom (R's `t.test`).
    #[test]
    fn welch_agrees_with_a_published_example() {
        let first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let change = Change::between(&first, &second).expect("both sides have rounds");
        assert!((change.log / change.error - 1.8608).abs() < 1e-4);
        assert_eq!(change.degrees, 17);
    }

    /// 4,000 seeded studies of five rounds: the share of one-sided bounds that miss is alpha.
    #[test]
    fn bounds_miss_as_often_as_they_say() {
        let mut random = Random::new(11);
        let mut missed = [0; 2];
        for _ in 0..4000 {
            let rounds: Vec<f64> = (0..5).map(|_| 0.02 * random.normal()).collect();
            let change = Change::paired(&rounds).expect("five rounds");
            missed[0] += usize::from(change.lower(0.01) > 0.0);
            missed[1] += usize::from(change.upper(0.05) < 0.0);
        }
        // Expected 40 and 200; five standard deviations are 32 and 69.
        assert!((10..=72).contains(&missed[0]) && (131..=269).contains(&missed[1]), "{missed:?}");
    }

    #[test]
    fn more_rounds_shrink_the_reach_as_promised() {
        let rounds = [0.00, 0.04, -0.03, 0.05];
        let change = Change::paired(&rounds).expect("four rounds");
        let more = change.more_rounds(0.01, 0.03).expect("some number decides");
        let repeated: Vec<f64> = rounds.iter().cycle().take(4 + more).copied().collect();
        let grown = Change::paired(&repeated).expect("more rounds");
        let reach = grown.upper(0.01) - grown.log;
        assert!(reach < 0.033, "{reach} after {more} more rounds");
    }
}
