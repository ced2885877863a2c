//! Counting false alarms and missed slowdowns: the decision of a gate, replayed.

use serde::{Deserialize, Serialize};

use super::judge::Limits;
use super::{Change, Verdict, judge};
use crate::statistics::random::Random;

/// How many rounds a decision may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Rounds before the first verdict.
    pub first: usize,
    /// Rounds added whenever a cell stays suspicious.
    pub more: usize,
    /// Rounds after which what is open stays open.
    pub most: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { first: 6, more: 6, most: 24 }
    }
}

impl Plan {
    /// How many times the rounds are looked at.
    pub fn looks(&self) -> usize {
        1 + self.most.saturating_sub(self.first) / self.more.max(1)
    }

    /// Rounds after the next addition, when there is one.
    pub fn next(&self, used: usize) -> Option<usize> {
        let next = if used == 0 { self.first } else { used + self.more };
        (next <= self.most.max(self.first)).then_some(next)
    }
}

/// How a decision on one cell went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is made.
    Decided(Verdict),
    /// It needs this many rounds in all.
    Needs(usize),
}

/// The decision on one cell from its log-ratios so far, by the rules of a gate: a first verdict after [`Plan::first`]
/// rounds, and a regression only where the rounds added since show it by themselves.
pub fn step(log_ratios: &[f64], plan: &Plan, limits: &Limits) -> Step {
    if log_ratios.len() < plan.first {
        return Step::Needs(plan.first);
    }
    let verdict =
        |rounds: &[f64]| Change::paired(rounds).map_or(Verdict::Inconclusive, |change| judge(&change, limits));
    let all = verdict(log_ratios).confirmed_by(verdict(&log_ratios[plan.first..]));
    match (all, plan.next(log_ratios.len())) {
        (Verdict::Inconclusive, Some(next)) => Step::Needs(next),
        (verdict, _) => Step::Decided(verdict),
    }
}

/// Runs a decision over rounds that are all there; what they leave open is inconclusive.
pub fn decide(log_ratios: &[f64], plan: &Plan, limits: &Limits) -> Verdict {
    let mut used = plan.first;
    loop {
        let Some(rounds) = log_ratios.get(..used) else { return Verdict::Inconclusive };
        match step(rounds, plan, limits) {
            Step::Decided(verdict) => return verdict,
            Step::Needs(next) => used = next,
        }
    }
}

/// Share of decisions that end in a regression when `shift` is added to log-ratios drawn from `pool`.
///
/// Each of `draws` seeded decisions takes its rounds from the pool without replacement, in random order. `None` when
/// the pool holds fewer rounds than one decision may take.
pub fn regression_rate(pool: &[f64], shift: f64, plan: &Plan, limits: &Limits, draws: usize) -> Option<f64> {
    if pool.len() < plan.most || draws == 0 {
        return None;
    }
    let mut random = Random::new(0xAA);
    let mut pool: Vec<f64> = pool.iter().map(|log| log + shift).collect();
    let mut found = 0;
    for _ in 0..draws {
        for place in 0..plan.most {
            let from = place + random.below(pool.len() - place);
            pool.swap(place, from);
        }
        found += usize::from(decide(&pool[..plan.most], plan, limits) == Verdict::Worse);
    }
    Some(found as f64 / draws as f64)
}

/// The smallest slowdown, to a tenth of a percent, that decisions on rounds from `pool` find with probability 95 %.
/// `None` when even a factor of two is missed, or when the pool is too small.
pub fn smallest_found(pool: &[f64], plan: &Plan, limits: &Limits, draws: usize) -> Option<f64> {
    const POWER: f64 = 0.95;
    let found = |slowdown: f64| regression_rate(pool, slowdown.ln_1p(), plan, limits, draws);
    let (mut low, mut high) = (0.0, 1.0);
    if found(high)? < POWER {
        return None;
    }
    while high - low > 0.001 {
        let middle = 0.5 * (low + high);
        if found(middle)? >= POWER { high = middle } else { low = middle }
    }
    Some(high)
}

/// The bound below which a probability lies with 95 % confidence when `events` of `trials` happened (Clopper and
/// Pearson, *Biometrika* 26, 1934). 1 without a trial.
pub fn upper_bound(events: usize, trials: usize) -> f64 {
    if events >= trials {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let p = 0.5 * (low + high);
        if at_most(events, trials, p) > 0.05 { low = p } else { high = p }
    }
    0.5 * (low + high)
}

/// P(B ≤ events) for B ~ binomial(trials, p).
fn at_most(events: usize, trials: usize, p: f64) -> f64 {
    let mut log_term = trials as f64 * (-p).ln_1p();
    let mut sum = log_term.exp();
    for k in 1..=events {
        log_term += ((trials - k + 1) as f64 / k as f64).ln() + p.ln() - (-p).ln_1p();
        sum += log_term.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10 % between sides that were measured in turn, over the four looks of the default plan.
    const LIMITS: Limits = Limits { floor: 0.0, tolerance: 0.0953, alpha: 0.01 / 4.0, missed: 0.01 / 4.0 };

    fn noise(scatter: f64, rounds: usize) -> Vec<f64> {
        let mut random = Random::new(5);
        (0..rounds).map(|_| scatter * random.normal()).collect()
    }

    #[test]
    fn a_quiet_pool_raises_no_alarm_and_shows_small_slowdowns() {
        let pool = noise(0.01, 400);
        let rate = |shift: f64| regression_rate(&pool, shift, &Plan::default(), &LIMITS, 4000);
        assert_eq!(rate(0.0), Some(0.0));
        assert!(rate(0.1_f64.ln_1p()) >= Some(0.97), "{:?}", rate(0.1_f64.ln_1p()));
        let smallest = smallest_found(&pool, &Plan::default(), &LIMITS, 1000).expect("found");
        assert!((0.08..0.12).contains(&smallest), "{smallest}");
    }

    /// However loud the pool: at most 1 % of the decisions on equal sides are alarms.
    #[test]
    fn false_alarms_stay_below_their_bound_at_every_noise() {
        for scatter in [0.02, 0.05, 0.1, 0.3, 1.0] {
            let pool = noise(scatter, 2000);
            let centred = -pool.iter().sum::<f64>() / pool.len() as f64;
            let rate = regression_rate(&pool, centred, &Plan::default(), &LIMITS, 20_000);
            assert!(rate <= Some(0.01), "scatter {scatter}: {rate:?}");
        }
    }

    #[test]
    fn a_suspicion_asks_for_more_rounds_and_is_dropped_unless_they_confirm_it() {
        let plan = Plan { first: 3, more: 3, most: 6 };
        assert_eq!((plan.looks(), Plan::default().looks()), (2, 4));
        assert_eq!(step(&[0.0; 2], &plan, &LIMITS), Step::Needs(3));
        assert_eq!(step(&[0.2, 0.201, 0.199], &plan, &LIMITS), Step::Needs(6));
        let confirmed = [0.2, 0.201, 0.199, 0.2, 0.201, 0.2];
        assert_eq!(step(&confirmed, &plan, &LIMITS), Step::Decided(Verdict::Worse));
        let refuted = [0.2, 0.201, 0.199, 0.0, 0.01, -0.01];
        assert_eq!(step(&refuted, &plan, &LIMITS), Step::Decided(Verdict::Inconclusive));
        assert_eq!(decide(&confirmed[..4], &plan, &LIMITS), Verdict::Inconclusive);
    }

    /// From the table of Clopper and Pearson, one-sided: 1 − 0.05^(1/n) without an event.
    #[test]
    fn bounds_agree_with_the_closed_form_and_a_table() {
        for n in [1, 10, 59, 300] {
            assert!((upper_bound(0, n) - (1.0 - 0.05_f64.powf(1.0 / n as f64))).abs() < 1e-9);
        }
        assert!((upper_bound(2, 20) - 0.2826).abs() < 1e-3, "{}", upper_bound(2, 20));
        assert_eq!((upper_bound(3, 3), upper_bound(0, 0)), (1.0, 1.0));
    }
}
