//! When a change counts: the one place where verdicts are decided.

use serde::{Deserialize, Serialize};

use super::Change;

/// The verdict on a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It certainly improved.
    Better,
    /// It did not get worse by the tolerance.
    Same,
    /// It certainly got worse, and possibly by more than the tolerance.
    Worse,
    /// The rounds do not decide.
    Inconclusive,
}

impl Verdict {
    /// As tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Same => "same",
            Self::Worse => "worse",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// The verdict of all rounds, given that of the rounds that were added to confirm a regression. A regression that
    /// the added rounds do not show was a fluctuation: it is inconclusive.
    pub fn confirmed_by(self, fresh: Self) -> Self {
        match (self, fresh) {
            (Self::Worse, Self::Worse) | (Self::Better | Self::Same | Self::Inconclusive, _) => self,
            (Self::Worse, _) => Self::Inconclusive,
        }
    }
}

/// Tolerances, and probabilities of error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Tolerated slowdown or loss of speed-up, as a fraction: 0.1 is 10 %.
    pub max_slowdown: f64,
    /// Tolerated slowdown between different machines, whose ratios differ anyway.
    pub max_slowdown_elsewhere: f64,
    /// Growth of peak memory that is no regression, as a fraction.
    pub max_growth: f64,
    /// Rise of an exponent that is no regression.
    pub max_exponent_rise: f64,
    /// Greatest probability of a false alarm in one cell.
    pub cell_alarm: f64,
    /// Greatest probability of a false alarm in a whole comparison.
    pub total_alarm: f64,
    /// How many times the rounds may be looked at: once, or again whenever rounds are added.
    pub looks: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            max_slowdown: 0.1,
            max_slowdown_elsewhere: 0.1,
            max_growth: 0.1,
            max_exponent_rise: 0.1,
            cell_alarm: 0.01,
            total_alarm: 0.05,
            looks: 1,
        }
    }
}

impl Rules {
    /// The slowdown that is no regression between sides of the same machine, or of two.
    pub fn slowdown(&self, same_machine: bool) -> f64 {
        if same_machine { self.max_slowdown } else { self.max_slowdown_elsewhere }
    }

    /// The probability of error of each bound, when `judged` quantities are: the cell's or an equal share of the
    /// whole's (Bonferroni), whichever is less, shared equally among the looks.
    pub fn alpha(&self, judged: usize) -> f64 {
        self.cell_alarm.min(self.total_alarm / judged.max(1) as f64) / self.looks.max(1) as f64
    }
}

/// Where the verdicts on a change begin, in its own unit (logarithms, or exponents).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// What a change must exceed beyond doubt to be *worse*: nothing where both sides were measured in turn, and half
    /// the tolerance where they were not, since two moments or two machines differ beyond what the scatter of rounds
    /// tells.
    pub floor: f64,
    /// What is tolerated.
    pub tolerance: f64,
    /// Probability of error of each bound.
    pub alpha: f64,
    /// The same of the bound that *same* rests on: the probability of missing a change of just what is tolerated.
    pub missed: f64,
}

impl Limits {
    /// The limits of sides that were measured in turn (`paired`), or were not.
    pub fn new(tolerance: f64, alpha: f64, paired: bool) -> Self {
        Self { floor: if paired { 0.0 } else { 0.5 * tolerance }, tolerance, alpha, missed: alpha }
    }
}

/// Judges a change of which more is worse.
///
/// *Worse*: more than the floor beyond doubt, and the tolerance not ruled out. *Same*: the tolerance ruled out. With
/// bounds nearer to the value than half the way from floor to tolerance one of the two always holds, so more rounds
/// always decide.
pub fn judge(change: &Change, limits: &Limits) -> Verdict {
    let Limits { floor, tolerance, alpha, missed } = *limits;
    let (low, high) = (change.lower(alpha), change.upper(alpha));
    if high < 0.0 && low <= -tolerance {
        Verdict::Better
    } else if change.upper(missed) < tolerance {
        Verdict::Same
    } else if low > floor {
        Verdict::Worse
    } else {
        Verdict::Inconclusive
    }
}

/// How many more rounds would decide an inconclusive change; `None` where the scatter is unknown.
pub fn rounds_to_decide(change: &Change, limits: &Limits) -> Option<usize> {
    let worse = change.more_rounds(limits.alpha, change.log - limits.floor);
    let same = change.more_rounds(limits.missed, limits.tolerance - change.log);
    worse.into_iter().chain(same).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRED: Limits = Limits { floor: 0.0, tolerance: 0.1, alpha: 0.01, missed: 0.01 };

    fn change(log: f64, error: f64) -> Change {
        Change { log, error, degrees: 1000, rounds: 10, fixed_variance: 0.0 }
    }

    #[test]
    fn verdicts_are_where_they_should_be() {
        // The 99 % one-sided reach is 2.33 standard errors.
        for (log, error, verdict) in [
            (0.0, 0.01, Verdict::Same),
            (0.05, 0.01, Verdict::Same),
            (0.10, 0.01, Verdict::Worse),
            (0.09, 0.01, Verdict::Worse),
            (0.30, 0.05, Verdict::Worse),
            (0.05, 0.05, Verdict::Inconclusive),
            (0.00, 0.10, Verdict::Inconclusive),
            (-0.30, 0.05, Verdict::Better),
            (-0.04, 0.01, Verdict::Same),
        ] {
            assert_eq!(judge(&change(log, error), &PAIRED), verdict, "{log} ± {error}");
        }
    }

    #[test]
    fn bounds_within_half_the_tolerance_always_decide() {
        for step in 0..=100 {
            let log = -0.1 + 0.003 * f64::from(step);
            let apart = Limits::new(0.1, 0.01, false);
            assert_ne!(judge(&change(log, 0.049 / 2.34), &PAIRED), Verdict::Inconclusive, "{log}");
            assert_ne!(judge(&change(log, 0.024 / 2.34), &apart), Verdict::Inconclusive, "{log}");
        }
    }

    #[test]
    fn sides_of_two_moments_must_differ_by_more_than_the_moments_may() {
        let apart = Limits::new(0.1, 0.01, false);
        assert_eq!(judge(&change(0.09, 0.02), &apart), Verdict::Inconclusive);
        assert_eq!(judge(&change(0.09, 0.02), &PAIRED), Verdict::Worse);
        assert_eq!(judge(&change(0.12, 0.02), &apart), Verdict::Worse);
    }

    #[test]
    fn an_unconfirmed_regression_stays_open() {
        assert_eq!(Verdict::Worse.confirmed_by(Verdict::Worse), Verdict::Worse);
        assert_eq!(Verdict::Worse.confirmed_by(Verdict::Same), Verdict::Inconclusive);
        assert_eq!(Verdict::Same.confirmed_by(Verdict::Worse), Verdict::Same);
    }

    #[test]
    fn the_error_is_shared_among_what_is_judged() {
        let rules = Rules::default();
        assert_eq!(rules.alpha(0), 0.01);
        assert_eq!(rules.alpha(5), 0.01);
        assert_eq!(rules.alpha(50), 0.001);
        assert_eq!(Rules { looks: 4, ..rules }.alpha(50), 0.000_25);
    }

    #[test]
    fn rounds_to_decide_decide() {
        let rounds = [0.05, -0.08, 0.13, 0.0];
        let first = Change::paired(&rounds).expect("rounds");
        assert_eq!(judge(&first, &PAIRED), Verdict::Inconclusive);
        let more = rounds_to_decide(&first, &PAIRED).expect("a number decides");
        let repeated: Vec<f64> = rounds.iter().cycle().take(4 + more.next_multiple_of(4)).copied().collect();
        let grown = Change::paired(&repeated).expect("rounds");
        assert_eq!(judge(&grown, &PAIRED), Verdict::Same);
    }
}
