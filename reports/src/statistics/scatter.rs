//! The scatter between processes: of one cell, of its neighbours, and how it grows along an axis.

use super::Processes;

/// Neighbours whose scatter a cell with one or two processes is given.
const NEIGHBOURS: usize = 3;

/// A variance between processes, of the logarithms of their medians, that an interval is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Variance {
    pub(crate) variance: f64,
    /// Its degrees of freedom, at least 1.
    pub(crate) degrees: f64,
}

impl Variance {
    /// The variance of some logarithms; `None` of fewer than two.
    pub(crate) fn of(logs: &[f64]) -> Option<Self> {
        let degrees = logs.len().checked_sub(1).filter(|degrees| *degrees > 0)? as f64;
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        Some(Self { variance: logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / degrees, degrees })
    }

    /// The two of one scatter together.
    pub(crate) fn pooled(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        let degrees = self.degrees + other.degrees;
        Self { variance: (self.degrees * self.variance + other.degrees * other.variance) / degrees, degrees }
    }
}

/// What is known of the scatter along an axis: one entry for each place with two processes or more.
#[derive(Debug, Default)]
pub(crate) struct Scatter(Vec<(usize, Variance)>);

impl Scatter {
    pub(crate) fn of(known: impl Iterator<Item = (usize, Variance)>) -> Self {
        Self(known.filter(|(x, _)| *x > 0).collect())
    }

    pub(crate) fn of_cells<'a>(cells: impl Iterator<Item = (usize, &'a Processes)>) -> Self {
        let several = cells.filter(|(_, processes)| processes.rounds() > 1);
        Self::of(several.filter_map(|(x, processes)| Some((x, processes.scatter()?))))
    }

    /// The pooled variance of the three nearest places on the logarithmic axis, and the first and last of them.
    ///
    /// Where the scatter [grows](Self::growth) along the axis, it is carried to `x`.
    pub(crate) fn near(&self, x: usize) -> Option<(Variance, (usize, usize))> {
        let distance = |place: usize| (place as f64 / x as f64).ln().abs();
        let mut nearest: Vec<(usize, Variance)> = self.0.clone();
        nearest.sort_by(|a, b| distance(a.0).total_cmp(&distance(b.0)));
        nearest.truncate(NEIGHBOURS);
        let growth = self.growth();
        let degrees = nearest.iter().map(|(_, scatter)| scatter.degrees).sum::<f64>();
        let carried = |(place, scatter): &(usize, Variance)| {
            scatter.degrees * scatter.variance * (x as f64 / *place as f64).powf(growth)
        };
        let variance = nearest.iter().map(carried).sum::<f64>() / degrees;
        let places = nearest.iter().map(|(place, _)| *place);
        Some((Variance { variance, degrees }, (places.clone().min()?, places.max()?)))
    }

    /// The exponent with which the variance grows along the axis, less the standard error of that exponent, and not
    /// below 0: the slope of the logarithms of the variances.
    ///
    /// The logarithm of a variance with ν degrees of freedom scatters by ψ′(ν/2) (Bartlett & Kendall, "The statistical
    /// analysis of variance-heterogeneity and the logarithmic transformation", Supplement to the Journal of the Royal
    /// Statistical Society 8, 1946), which also weights it.
    pub(crate) fn growth(&self) -> f64 {
        let known = self.0.iter().filter(|(_, scatter)| scatter.variance > 0.0);
        let points: Vec<(f64, f64, f64)> = known
            .map(|(x, scatter)| {
                let half = 0.5 * scatter.degrees;
                ((*x as f64).ln(), scatter.variance.ln() - digamma(half) + half.ln(), 1.0 / trigamma(half))
            })
            .collect();
        let Some(line) = super::fit::Line::fit(&points).filter(|_| points.len() > 2) else { return 0.0 };
        (line.slope - line.spread.recip().sqrt()).max(0.0)
    }
}

/// ψ(x) for x > 0, by its recurrence and the asymptotic series from 6 on (Abramowitz & Stegun, 6.3.5 and 6.3.18).
fn digamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 6.0 {
        sum -= 1.0 / x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    sum + x.ln() - 0.5 / x - square * (1.0 / 12.0 - square * (1.0 / 120.0 - square / 252.0))
}

/// ψ′(x) for x > 0 (Abramowitz & Stegun, 6.4.6 and 6.4.12).
fn trigamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 6.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    sum + 1.0 / x + 0.5 * square + square / x * (1.0 / 6.0 - square * (1.0 / 30.0 - square / 42.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digamma_and_trigamma_agree_with_known_values() {
        let gamma = 0.577_215_664_901_532_9;
        let square = std::f64::consts::PI.powi(2);
        for (ours, known) in [
            (digamma(1.0), -gamma),
            (digamma(0.5), -gamma - 2.0 * std::f64::consts::LN_2),
            (trigamma(1.0), square / 6.0),
            (trigamma(0.5), square / 2.0),
        ] {
            assert!((ours - known).abs() < 1e-6, "{ours} against {known}");
        }
    }

    #[test]
    fn a_place_is_given_the_scatter_of_the_three_nearest() {
        let at = |x, variance| (x, Variance { variance, degrees: 2.0 });
        let scatter = Scatter::of([at(10, 9.0), at(100, 1.0), at(200, 2.0), at(500, 3.0)].into_iter());
        let (borrowed, from) = scatter.near(1000).unwrap();
        assert_eq!((borrowed.variance, borrowed.degrees, from), (2.0, 6.0, (100, 500)));
        assert!(Scatter::default().near(10).is_none());
    }

    #[test]
    fn a_scatter_that_grows_is_carried_on_and_one_that_does_not_is_not() {
        let of = |power: f64| {
            let at = |x: usize| (x, Variance { variance: 1e-4 * (x as f64).powf(power), degrees: 9.0 });
            Scatter::of([100, 200, 500, 1000, 2000].map(at).into_iter()).growth()
        };
        assert_eq!(of(0.0), 0.0);
        assert_eq!(of(-1.0), 0.0);
        let growth = of(2.0);
        assert!((1.7..2.0).contains(&growth), "{growth}");
    }
}
