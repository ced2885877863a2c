//! Medians and ratios of two-level samples, with intervals from a seeded hierarchical bootstrap.

use super::order::{median_of_sorted, sorted};
use super::resample::{Blocks, Drawn, Resampler};
use super::scatter::Variance;
use super::student::{NORMAL_975, Part, Parts, pooled_975};
use crate::statistics::random::Random;
use crate::statistics::summary::Estimate;

/// Resamples behind one interval.
const RESAMPLES: usize = 2000;
/// Resamples behind an interval of which each is a search.
pub(crate) const SEARCHES: usize = 400;
/// Every interval starts from this seed, so that a report is the same each time it is made.
const SEED: u64 = 0x5EED;

/// The samples of one cell: per round, in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub struct Processes {
    rounds: Vec<(usize, Vec<f64>)>,
    /// The scatter between processes that one or two are given.
    borrowed: Option<Variance>,
}

impl Processes {
    /// Gathers samples by round. Rounds without samples, or with one that is not finite and positive, are left out.
    pub fn new<'a>(rounds: impl IntoIterator<Item = (usize, &'a [f64])>) -> Self {
        let usable = |samples: &[f64]| samples.iter().all(|x| x.is_finite() && *x > 0.0);
        let mut rounds: Vec<_> = rounds
            .into_iter()
            .filter(|(_, samples)| usable(samples))
            .filter_map(|(round, samples)| Some((round, sorted(samples)?)))
            .collect();
        rounds.sort_by_key(|(round, _)| *round);
        Self { rounds, borrowed: None }
    }

    /// Gives a scatter between processes to one or two of them.
    pub(crate) fn lend(&mut self, borrowed: Option<Variance>) {
        self.borrowed = borrowed;
    }

    /// The scatter of the logarithms of the processes' medians: their own from two on, else what was borrowed.
    pub(crate) fn scatter(&self) -> Option<Variance> {
        let logs: Vec<f64> = self.medians().map(|(_, median)| median.ln()).collect();
        Variance::of(&logs).or(self.borrowed)
    }

    /// The samples of round after round, from 0.
    pub fn of_rounds(rounds: &[Vec<f64>]) -> Self {
        Self::new(rounds.iter().enumerate().map(|(round, samples)| (round, samples.as_slice())))
    }

    /// Number of processes.
    pub fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// Number of samples of all processes.
    pub fn samples(&self) -> usize {
        self.rounds.iter().map(|(_, samples)| samples.len()).sum()
    }

    /// The round and the median of each process, by ascending round.
    pub fn medians(&self) -> impl Iterator<Item = (usize, f64)> {
        self.rounds.iter().map(|(round, samples)| (*round, median_of_sorted(samples)))
    }

    /// Median over the processes of each process's median; `None` without samples.
    pub fn median(&self) -> Option<f64> {
        super::median(&self.medians().map(|(_, median)| median).collect::<Vec<_>>())
    }

    /// What resamples the logarithm of the median; `None` without samples.
    pub(crate) fn resampler(&self) -> Option<Resampler<'_>> {
        self.resampler_in(&Blocks::default())
    }

    /// The same without what each round does to all cells alike.
    pub(crate) fn resampler_in(&self, blocks: &Blocks) -> Option<Resampler<'_>> {
        let center = self.log_median_in(blocks)?;
        let processes = self.rounds.iter().map(|(round, samples)| (blocks.effect(*round), Drawn::One(samples)));
        Some(Resampler::new(center, processes, blocks.inflation(), self.borrowed))
    }

    /// The logarithm of the median without what each round does to all cells alike.
    pub(crate) fn log_median_in(&self, blocks: &Blocks) -> Option<f64> {
        super::median(&self.medians().map(|(round, m)| m.ln() - blocks.effect(round)).collect::<Vec<_>>())
    }
}

/// Median of `processes` (over processes, of each one's median) with its 95 % interval; `None` without samples.
///
/// The interval holds the middle 95 % of 2000 resamples of processes, then of samples within them, stretched on the
/// logarithmic scale about the estimate: the plain percentile interval of the few processes there are is too short
/// (Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69, 2015, section 3.4,
/// stretches for the same reason). What the mean of the processes scatters is stretched by t/z with Student's t of
/// (processes − 1) degrees of freedom. What their median scatters beyond that is not: it is part of the very deviations
/// that the scatter is estimated from, and large exactly where they are.
/// A single process has no interval (both ends are the value), unless it was given the scatter of its neighbours; the
/// scatter of two is pooled with what they were given.
pub fn median_estimate(processes: &Processes) -> Option<Estimate> {
    median_estimate_in(processes, &Blocks::default())
}

/// The same without what each round does to it.
pub(crate) fn median_estimate_in(processes: &Processes, blocks: &Blocks) -> Option<Estimate> {
    let (value, resampler) = (processes.log_median_in(blocks)?, processes.resampler_in(blocks)?);
    let value = if blocks.is_empty() { processes.median()? } else { value.exp() };
    Some(interval(value, &resampler))
}

/// How many times longer `base` takes than `this`: the one number that reports and comparisons show of a ratio of two
/// times at a point. `None` without a shared round.
pub fn ratio(base: &Processes, this: &Processes) -> Option<f64> {
    Some(Pairs::new(base, this)?.median_ratio())
}

/// [`ratio`], paired by round, with its 95 % interval.
///
/// The estimate is the median over the rounds that both have of the ratio of their medians. The interval resamples
/// rounds jointly, then the samples within each side. With a single shared round there is no interval, unless the
/// sides have borrowed scatters, whose variances are added. `None` without a shared round.
pub fn ratio_estimate(base: &Processes, this: &Processes) -> Option<Estimate> {
    Some(Pairs::new(base, this)?.estimate())
}

/// The samples of two cells in the rounds that both have; at least one.
pub(crate) struct Pairs<'a> {
    rounds: Vec<(&'a [f64], &'a [f64])>,
    borrowed: Option<Variance>,
}

impl<'a> Pairs<'a> {
    pub(crate) fn new(base: &'a Processes, this: &'a Processes) -> Option<Self> {
        let shared = base.rounds.iter().filter_map(|(round, samples)| {
            let at = this.rounds.binary_search_by_key(round, |(r, _)| *r).ok()?;
            Some((samples.as_slice(), this.rounds[at].1.as_slice()))
        });
        let rounds: Vec<_> = shared.collect();
        let sum = || {
            let (base, this) = (base.scatter()?, this.scatter()?);
            Some(Variance { variance: base.variance + this.variance, degrees: base.degrees.min(this.degrees) })
        };
        let borrowed = if rounds.len() == 1 { sum() } else { None };
        (!rounds.is_empty()).then_some(Self { rounds, borrowed })
    }

    /// Number of shared rounds.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// Gives the scatter of other ratios to one or two of them.
    pub(crate) fn lend(&mut self, borrowed: Option<Variance>) {
        self.borrowed = borrowed.or(self.borrowed);
    }

    /// [`ratio_estimate`].
    pub(crate) fn estimate(&self) -> Estimate {
        interval(self.median_ratio(), &self.resampler())
    }

    /// The logarithm of the ratio in each round.
    pub(crate) fn logs(&self) -> Vec<f64> {
        self.rounds.iter().map(|(base, this)| (median_of_sorted(base) / median_of_sorted(this)).ln()).collect()
    }

    /// Median over the rounds of the ratio of the medians.
    pub(crate) fn median_ratio(&self) -> f64 {
        let ratio = |(b, t): &(&[f64], &[f64])| median_of_sorted(b) / median_of_sorted(t);
        let mut ratios: Vec<f64> = self.rounds.iter().map(ratio).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        median_of_sorted(&ratios)
    }

    /// What resamples the logarithm of that ratio.
    pub(crate) fn resampler(&self) -> Resampler<'a> {
        let drawn = self.rounds.iter().map(|(over, under)| (0.0, Drawn::Ratio { over, under }));
        Resampler::new(self.median_ratio().ln(), drawn, 1.0, self.borrowed)
    }
}

/// The 95 % interval of a positive statistic, stretched on the logarithmic scale.
fn interval(value: f64, resampler: &Resampler<'_>) -> Estimate {
    let stretch = stretch([(1.0, resampler)].into_iter(), Parts::Independent);
    if stretch == 0.0 {
        return Estimate::exact(value);
    }
    let logarithm = additive_interval(value.ln(), stretch, |random| resampler.draw(random));
    Estimate { value, low: logarithm.low.exp().min(value), high: logarithm.high.exp().max(value) }
}

/// The 95 % interval of any statistic: percentiles of its resamples, stretched about `value`, see [`stretch`].
pub(crate) fn additive_interval(value: f64, stretch: f64, resample: impl FnMut(&mut Random) -> f64) -> Estimate {
    interval_of(RESAMPLES, value, stretch, resample)
}

/// [`additive_interval`] from a chosen number of resamples, at least 40: fewer where one is dear.
pub(crate) fn interval_of(
    count: usize,
    value: f64,
    stretch: f64,
    mut resample: impl FnMut(&mut Random) -> f64,
) -> Estimate {
    let mut random = Random::new(SEED);
    let mut resamples: Vec<f64> = (0..count).map(|_| resample(&mut random)).collect();
    resamples.sort_unstable_by(f64::total_cmp);
    let tail = count / 40;
    let low = (value - resamples[tail]).max(0.0);
    let high = (resamples[count - 1 - tail] - value).max(0.0);
    Estimate { value, low: value - stretch * low, high: value + stretch * high }
}

/// By how much the percentiles of a statistic's resamples are stretched: the statistic moves with several medians, each
/// with its share of the variance that means in their place would give it. 0 where a scatter is not known: then there
/// is no interval.
///
/// The shares are estimates where they hold the scatters that were found, as in the approximation of Welch (Biometrika
/// 34, 1947): a place that scatters more than all others then leaves its own few degrees of freedom.
///
/// The means' part of the variance is judged by the quantile of a pooled variance, the rest by the normal's, see
/// [`median_estimate`]. For one median of 3 to 15 normal processes that is the exact interval to a fortieth of its
/// width; it holds 95.0 to 95.2 %.
pub(crate) fn stretch<'a>(parts: impl Iterator<Item = (f64, &'a Resampler<'a>)>, dependence: Parts) -> f64 {
    let mut beyond = 0.0;
    let mut pooled = Vec::new();
    for (share, resampler) in parts {
        if resampler.degrees == 0.0 {
            return 0.0;
        }
        beyond += share * resampler.beyond_mean;
        pooled.push(Part { share, degrees: resampler.degrees });
    }
    let total = pooled.iter().map(|part| part.share).sum::<f64>();
    if total <= 0.0 {
        return 1.0;
    }
    let beyond = beyond / total;
    let t = pooled_975(&pooled, dependence) / NORMAL_975;
    ((t * t + beyond) / (1.0 + beyond)).sqrt()
}
