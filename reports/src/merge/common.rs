//! What several machines have in common: a random-effects estimate.

use serde::Serialize;

use crate::statistics::student::{NORMAL_975, student_975};
use crate::statistics::summary::Estimate;

/// The common value μ of numbers y_i with standard errors s_i, y_i ~ N(μ, s_i² + τ²).
///
/// τ² is that of Paule and Mandel (J. Res. NBS 87, 1982): Σ (y_i − μ)²/(s_i² + τ²) = k − 1. The interval of μ is that
/// of Hartung and Knapp (Statistics in Medicine 20, 2001), no narrower than with known variances. The prediction
/// interval of a further machine is that of Higgins, Thompson and Spiegelhalter (JRSS A 172, 2009).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Common {
    /// μ with its 95 % confidence interval.
    pub value: Estimate,
    /// τ, the standard deviation between machines.
    pub between: f64,
    /// Where a further machine lies with 95 % probability; absent with fewer than three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub further: Option<Estimate>,
    /// Machines behind it: those whose number has an interval.
    pub machines: usize,
}

impl Common {
    /// Of some estimates; `None` where fewer than two have an interval.
    pub fn of(estimates: impl IntoIterator<Item = Estimate>) -> Option<Self> {
        let known: Vec<(f64, f64)> = estimates.into_iter().filter_map(value_and_variance).collect();
        if known.len() < 2 {
            return None;
        }
        let degrees = (known.len() - 1) as f64;
        let tau_squared = paule_mandel(&known);
        let (mean, sum) = weighted(&known, tau_squared);
        let spread = scatter(&known, tau_squared) / degrees;
        let error = (spread.max(1.0) / sum).sqrt();
        let further = (known.len() > 2).then(|| {
            let reach = student_975(degrees - 1.0) * (tau_squared + error * error).sqrt();
            Estimate::within(mean, reach)
        });
        let value = Estimate::within(mean, student_975(degrees) * error);
        Some(Self { value, between: tau_squared.sqrt(), further, machines: known.len() })
    }

    /// Of ratios, on the scale of their logarithms; `between` is then that of the logarithms.
    pub fn of_ratios(estimates: impl IntoIterator<Item = Estimate>) -> Option<Self> {
        let positive = estimates.into_iter().filter(|e| e.low > 0.0);
        let common = Self::of(positive.map(|e| e.map(f64::ln)))?;
        let exp = |e: Estimate| e.map(f64::exp);
        Some(Self { value: exp(common.value), further: common.further.map(exp), ..common })
    }
}

/// The variance that a 95 % interval stands for; `None` of a number without one.
fn value_and_variance(Estimate { value, low, high }: Estimate) -> Option<(f64, f64)> {
    let error = (high - low) / (2.0 * NORMAL_975);
    (value.is_finite() && error.is_finite() && error > 0.0).then_some((value, error * error))
}

/// Weighted mean, and the sum of the weights.
fn weighted(known: &[(f64, f64)], tau_squared: f64) -> (f64, f64) {
    let weight = |variance: f64| 1.0 / (variance + tau_squared);
    let sum: f64 = known.iter().map(|(_, variance)| weight(*variance)).sum();
    (known.iter().map(|(y, variance)| y * weight(*variance)).sum::<f64>() / sum, sum)
}

/// Σ (y − μ)²/(s² + τ²), which falls with τ².
fn scatter(known: &[(f64, f64)], tau_squared: f64) -> f64 {
    let (mean, _) = weighted(known, tau_squared);
    known.iter().map(|(y, variance)| (y - mean).powi(2) / (variance + tau_squared)).sum()
}

/// τ² by bisection; 0 where the scatter is within the errors.
fn paule_mandel(known: &[(f64, f64)]) -> f64 {
    let degrees = (known.len() - 1) as f64;
    if scatter(known, 0.0) <= degrees {
        return 0.0;
    }
    let (lowest, highest) =
        known.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), (y, _)| (a.min(*y), b.max(*y)));
    // At τ² = Σ(y − μ)²/(k − 1) at the latest the scatter is at most k − 1; k times the squared range is beyond it.
    let (mut low, mut high) = (0.0, known.len() as f64 * (highest - lowest).powi(2));
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if scatter(known, middle) > degrees { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(value: f64, error: f64) -> Estimate {
        Estimate::within(value, NORMAL_975 * error)
    }

    /// Equal errors have a closed form: τ² = s_y² − s², and the interval is Student's t of the numbers themselves.
    #[test]
    fn with_equal_errors_it_is_the_mean_of_the_machines() {
        let values = [1.9, 2.0, 2.3];
        let common = Common::of(values.map(|value| estimate(value, 0.05))).unwrap();
        let mean = values.iter().sum::<f64>() / 3.0;
        let variance = values.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / 2.0;
        assert!((common.value.value - mean).abs() < 1e-12);
        assert!((common.between.powi(2) - (variance - 0.0025)).abs() < 1e-9, "{common:?}");
        let reach = student_975(2.0) * (variance / 3.0).sqrt();
        assert!((common.value.high - mean - reach).abs() < 1e-9, "{common:?}");
        let further = common.further.unwrap();
        assert!(further.low < common.value.low && further.high > common.value.high);
    }

    #[test]
    fn numbers_within_their_errors_have_no_variance_between_them() {
        let common = Common::of([estimate(2.0, 0.1), estimate(2.01, 0.2)]).unwrap();
        assert_eq!((common.between, common.machines, common.further), (0.0, 2, None));
        // Weights 1/s²: 100 and 25.
        assert!((common.value.value - (2.0 * 100.0 + 2.01 * 25.0) / 125.0).abs() < 1e-12);
        let reach = student_975(1.0) * (1.0_f64 / 125.0).sqrt();
        assert!((common.value.high - common.value.value - reach).abs() < 1e-9);
    }

    #[test]
    fn a_number_without_an_interval_counts_for_nothing() {
        assert_eq!(Common::of([estimate(2.0, 0.1), Estimate::exact(7.0)]), None);
        let common = Common::of([estimate(2.0, 0.1), Estimate::exact(7.0), estimate(2.0, 0.1)]).unwrap();
        assert_eq!((common.value.value, common.machines), (2.0, 2));
    }

    #[test]
    fn ratios_are_pooled_by_their_logarithms() {
        let ratio = |value: f64| Estimate { value, low: value / 1.1, high: value * 1.1 };
        let common = Common::of_ratios([ratio(10.0), ratio(1000.0)]).unwrap();
        assert!((common.value.value - 100.0).abs() < 1e-6, "{common:?}");
        assert!(common.between > 3.0 && common.value.low < 10.0 && common.value.high > 1000.0);
    }
}
