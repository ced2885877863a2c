//! Medians and ratios of two-level samples, with intervals from a seeded hierarchical bootstrap.

use super::order::{median_of_sorted, sorted};
use super::{NORMAL_975, student_975};
use crate::random::Random;
use crate::summary::Estimate;

/// Resamples behind one interval.
const RESAMPLES: usize = 2000;
/// Every interval starts from this seed, so that a report is the same each time it is made.
const SEED: u64 = 0x5EED;

/// The samples of one cell: per round, in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub struct Processes {
    rounds: Vec<(usize, Vec<f64>)>,
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
        Self { rounds }
    }

    /// Number of processes.
    pub fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// Number of samples of all processes.
    pub fn samples(&self) -> usize {
        self.rounds.iter().map(|(_, samples)| samples.len()).sum()
    }

    /// Median over the processes of each process's median; `None` without samples.
    pub fn median(&self) -> Option<f64> {
        super::median(&self.rounds.iter().map(|(_, samples)| median_of_sorted(samples)).collect::<Vec<_>>())
    }

    /// The median of one bootstrap resample: processes drawn with replacement, then samples within each.
    pub(crate) fn resampled_median(&self, random: &mut Random) -> f64 {
        let draw = |_| resampled_median(&self.rounds[random.below(self.rounds.len())].1, random);
        median_of_unsorted((0..self.rounds.len()).map(draw).collect())
    }

    /// Degrees of freedom of the differences that a resample can see: between processes, or within the only one.
    pub(crate) fn degrees(&self) -> usize {
        if self.rounds() > 1 { self.rounds() - 1 } else { self.samples().saturating_sub(1) }
    }
}

/// Median of `processes` (over processes, of each one's median) with its 95 % interval; `None` without samples.
///
/// The interval holds the middle 95 % of the medians of 2000 resamples, stretched on the logarithmic scale about the
/// estimate by `t/z` with Student's t of (processes − 1) degrees of freedom: the plain percentile interval cannot leave the
/// range of the few processes there are and covers 75 % for three (Hesterberg, "What teachers should know about the
/// bootstrap", The American Statistician 69, 2015, section 3.4, stretches for the same reason).
/// Where samples vary more than processes do, resampling both levels counts the samples' variance twice, so the interval
/// is then wider than it need be; `tests/coverage.rs` measures both cases.
/// With a single process the interval knows only the differences within it, and a single sample has no width at all.
pub fn median_estimate(processes: &Processes) -> Option<Estimate> {
    let value = processes.median()?;
    Some(interval(value, processes.degrees(), |random| processes.resampled_median(random)))
}

/// How many times longer `base` takes than `this`, paired by round, with its 95 % interval.
///
/// The estimate is the median over the rounds that both have of the ratio of their medians. The interval resamples
/// rounds jointly, then the samples within each side. `None` without a shared round.
pub fn ratio_estimate(base: &Processes, this: &Processes) -> Option<Estimate> {
    let pairs = Pairs::new(base, this)?;
    Some(interval(pairs.median_ratio(), pairs.degrees(), |random| pairs.resampled_ratio(random)))
}

/// The samples of two cells in the rounds that both have; at least one.
pub(crate) struct Pairs<'a>(Vec<(&'a [f64], &'a [f64])>);

impl<'a> Pairs<'a> {
    pub(crate) fn new(base: &'a Processes, this: &'a Processes) -> Option<Self> {
        let shared = base.rounds.iter().filter_map(|(round, samples)| {
            let at = this.rounds.binary_search_by_key(round, |(r, _)| *r).ok()?;
            Some((samples.as_slice(), this.rounds[at].1.as_slice()))
        });
        let pairs: Vec<_> = shared.collect();
        (!pairs.is_empty()).then_some(Self(pairs))
    }

    /// Median over the rounds of the ratio of the medians.
    pub(crate) fn median_ratio(&self) -> f64 {
        let ratio = |(b, t): &(&[f64], &[f64])| median_of_sorted(b) / median_of_sorted(t);
        median_of_unsorted(self.0.iter().map(ratio).collect())
    }

    /// The same of one bootstrap resample.
    pub(crate) fn resampled_ratio(&self, random: &mut Random) -> f64 {
        let draw = |_| {
            let (b, t) = self.0[random.below(self.0.len())];
            resampled_median(b, random) / resampled_median(t, random)
        };
        median_of_unsorted((0..self.0.len()).map(draw).collect())
    }

    /// As [`Processes::degrees`].
    pub(crate) fn degrees(&self) -> usize {
        match self.0.as_slice() {
            [(b, t)] => b.len().min(t.len()) - 1,
            pairs => pairs.len() - 1,
        }
    }
}

/// Median of values that are not empty and not NaN.
fn median_of_unsorted(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    median_of_sorted(&values)
}

/// The 95 % interval of a positive statistic: percentiles of its resamples, stretched on the logarithmic scale.
fn interval(value: f64, degrees: usize, mut resample: impl FnMut(&mut Random) -> f64) -> Estimate {
    let stretched = additive_interval(value.ln(), degrees, |random| resample(random).ln());
    Estimate { value, low: stretched.low.exp().min(value), high: stretched.high.exp().max(value) }
}

/// The 95 % interval of any statistic: percentiles of its resamples, stretched about `value` by Student's t over the normal's.
pub(crate) fn additive_interval(
    value: f64,
    degrees: usize,
    mut resample: impl FnMut(&mut Random) -> f64,
) -> Estimate {
    let mut random = Random::new(SEED);
    let mut resamples: Vec<f64> = (0..RESAMPLES).map(|_| resample(&mut random)).collect();
    resamples.sort_unstable_by(f64::total_cmp);
    let tail = RESAMPLES / 40;
    let stretch = student_975(degrees.max(1)) / NORMAL_975;
    let low = (value - resamples[tail]).max(0.0);
    let high = (resamples[RESAMPLES - 1 - tail] - value).max(0.0);
    Estimate { value, low: value - stretch * low, high: value + stretch * high }
}

/// The median of a resample of `sorted` without drawing it: the k-th of n uniform numbers is beta(k, n − k + 1), and sample
/// ⌈n·u⌉ is the one it picks. For even n the next order statistic follows the k-th as the least of n − k uniforms above it.
fn resampled_median(sorted: &[f64], random: &mut Random) -> f64 {
    let n = sorted.len();
    let at = |u: f64| sorted[((u * n as f64) as usize).min(n - 1)];
    let k = n.div_ceil(2);
    let u = random.beta(k as f64, (n - k + 1) as f64);
    if n % 2 == 1 {
        return at(u);
    }
    let next = 1.0 - (1.0 - u) * random.uniform().powf(1.0 / (n - k) as f64);
    0.5 * (at(u) + at(next))
}
