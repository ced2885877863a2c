//! One resample of a cell's median, or of the ratio of two: processes drawn with replacement, then samples within them.

use std::collections::BTreeMap;

use super::Processes;
use super::order::median_of_sorted;
use super::scatter::Variance;
use super::student::Parts;
use crate::statistics::random::Random;

/// Draws behind the estimate of the scatter of a process's own median.
const WITHIN_DRAWS: usize = 100;
/// The scatter within processes is the same whenever it is asked for.
const WITHIN_SEED: u64 = 0x0A11;

/// What one process contributes: its samples, or those of both sides of a ratio, in ascending order.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Drawn<'a> {
    One(&'a [f64]),
    Ratio { over: &'a [f64], under: &'a [f64] },
}

/// The distribution that intervals are read from, on the logarithmic scale.
///
/// A plain two-level bootstrap has three faults with the few processes that one can afford. The processes' medians
/// already hold the scatter of the samples, so resampling both levels counts it twice; drawing R of R processes shrinks
/// the variance between them by (R − 1)/R; and the median of R draws of R values has so few atoms that its percentiles
/// cover 90 to 99 % by chance of R. So here
///
/// - deviations of the processes are shrunk so that with the scatter drawn within them they have the variance between
///   processes, s², and that scatter is shrunk where it alone exceeds s² (shrinkage of the two-stage bootstrap: Davison
///   & Hinkley, *Bootstrap Methods and their Application*, 1997, section 3.8);
/// - what is then lacking in s² is added as normal noise (smoothed bootstrap: Hesterberg, "What teachers should know
///   about the bootstrap", The American Statistician 69, 2015, section 3.4);
/// - the mean of the R draws, whose distribution is smooth, stands for their median, widened by the ratio of the two's
///   standard deviations.
///
/// A resampled median's moves are taken with either sign: about a process's own median they are skewed where some
/// samples were held up, and a percentile on the short side would fall short of the variance that both sides give.
///
/// What the median scatters beyond the mean is a matter of the processes' deviations from their mean, and where each
/// round's effect was taken out, these are what it was taken out of: only that part of the variance shrinks with them.
///
/// `relgrad selftest` measures what it covers.
#[derive(Debug)]
pub(crate) struct Resampler<'a> {
    center: f64,
    processes: Vec<Process<'a>>,
    levels: Levels,
    /// Variance of a draw beyond that of the processes' mean, over the latter.
    pub(crate) beyond_mean: f64,
    /// Degrees of freedom of the scatter between processes, its own or a borrowed one; 0 where it is not known.
    pub(crate) degrees: f64,
    /// Variance of the mean of the processes.
    pub(crate) variance: f64,
}

/// What a draw knows of a process.
#[derive(Debug)]
struct Process<'a> {
    /// The logarithm of its median, from the mean of all processes.
    deviation: f64,
    log_median: f64,
    /// How far the logarithm of a resampled median moves from its own at most.
    farthest: f64,
    /// Mean square of these moves.
    variance: f64,
    drawn: Drawn<'a>,
}

/// A resampled median moves by no more than so many standard deviations of the middle half: one that lands on a sample
/// that was held up says nothing of the median.
const FARTHEST: f64 = 3.0;

/// How much of each level a draw takes.
#[derive(Debug, Clone, Copy)]
struct Levels {
    /// Factor of a process's deviation from the mean.
    between: f64,
    /// Factor of a resampled median's deviation from its process's.
    within: f64,
    /// Standard deviation of the added noise.
    noise: f64,
}

impl<'a> Resampler<'a> {
    /// A resampler about `center`, the logarithm of the estimate. Each process comes with the logarithm of a factor to
    /// be taken out of it; `inflation` makes up for the scatter that went with these. What is `borrowed` is the scatter
    /// of a single process, and is pooled with that of several. `processes` must not be empty.
    pub(crate) fn new(
        center: f64,
        processes: impl Iterator<Item = (f64, Drawn<'a>)>,
        inflation: f64,
        borrowed: Option<Variance>,
    ) -> Self {
        let mut random = Random::new(WITHIN_SEED);
        let mut processes: Vec<_> = processes
            .map(|(effect, drawn)| {
                let log_median = drawn.log_median();
                let (farthest, variance) = drawn.scatter(log_median, &mut random);
                Process { deviation: log_median - effect, log_median, farthest, variance, drawn }
            })
            .collect();
        let count = processes.len() as f64;
        let mean = processes.iter().map(|process| process.deviation).sum::<f64>() / count;
        for process in &mut processes {
            process.deviation = (process.deviation - mean) * inflation;
        }
        let scatter = match processes.as_slice() {
            [_] => borrowed,
            many => {
                let degrees = count - 1.0;
                let squares = many.iter().map(|process| process.deviation.powi(2)).sum::<f64>();
                Some(Variance { variance: squares / degrees, degrees }.pooled(borrowed))
            }
        };
        let levels = Levels::of(&processes, scatter, borrowed.is_some());
        let beyond_mean = (median_over_mean(processes.len()).powi(2) - 1.0) / (inflation * inflation);
        let (variance, degrees) = scatter.map_or((0.0, 0.0), |scatter| (scatter.variance / count, scatter.degrees));
        Self { center, processes, levels, beyond_mean, degrees, variance }
    }

    /// The logarithm of one resampled estimate.
    pub(crate) fn draw(&self, random: &mut Random) -> f64 {
        let Levels { between, within, noise } = self.levels;
        let count = self.processes.len();
        let sum: f64 = (0..count)
            .map(|_| {
                let Process { deviation, log_median, farthest, drawn, .. } = &self.processes[random.below(count)];
                let noise = if noise > 0.0 { noise * random.normal() } else { 0.0 };
                let moved = (drawn.resampled(random) - log_median).max(-farthest).min(*farthest);
                let moved = if random.uniform() < 0.5 { -moved } else { moved };
                between * deviation + within * moved + noise
            })
            .sum();
        self.center + (1.0 + self.beyond_mean).sqrt() * sum / count as f64
    }
}

impl Drawn<'_> {
    fn log_median(&self) -> f64 {
        match self {
            Self::One(samples) => median_of_sorted(samples).ln(),
            Self::Ratio { over, under } => (median_of_sorted(over) / median_of_sorted(under)).ln(),
        }
    }

    fn resampled(&self, random: &mut Random) -> f64 {
        match self {
            Self::One(samples) => resampled_median(samples, random).ln(),
            Self::Ratio { over, under } => (resampled_median(over, random) / resampled_median(under, random)).ln(),
        }
    }

    /// Where a resampled median ends and how far that scatters, about `log_median`. The ends are set by the middle half
    /// of the draws: a few that land on a sample that was held up would outweigh all others, and no room would be left
    /// for the scatter between processes.
    fn scatter(&self, log_median: f64, random: &mut Random) -> (f64, f64) {
        /// Distance between the quartiles of a normal distribution, in standard deviations.
        const QUARTILES: f64 = 1.349;
        let mut draws: Vec<f64> = (0..WITHIN_DRAWS).map(|_| self.resampled(random) - log_median).collect();
        draws.sort_unstable_by(f64::total_cmp);
        let farthest = FARTHEST * (draws[WITHIN_DRAWS * 3 / 4] - draws[WITHIN_DRAWS / 4]) / QUARTILES;
        let squares = draws.iter().map(|moved| moved.max(-farthest).min(farthest).powi(2));
        (farthest, squares.sum::<f64>() / WITHIN_DRAWS as f64)
    }
}

impl Levels {
    /// The factors with which a draw has the variance s² between the processes' medians. Where some of it `is_borrowed`
    /// the deviations of the processes do not have it, and noise stands for them.
    fn of(processes: &[Process<'_>], scatter: Option<Variance>, is_borrowed: bool) -> Self {
        let count = processes.len() as f64;
        let Some(between) = scatter.map(|scatter| scatter.variance) else {
            return Self { between: 0.0, within: 1.0, noise: 0.0 };
        };
        let within = processes.iter().map(|process| process.variance).sum::<f64>() / count;
        if within >= between {
            let within = if within > 0.0 { (between / within).sqrt() } else { 0.0 };
            return Self { between: 0.0, within, noise: 0.0 };
        }
        if is_borrowed {
            return Self { between: 0.0, within: 1.0, noise: (between - within).sqrt() };
        }
        let square = (between - within) / between * count / (count - 1.0);
        if square <= 1.0 {
            return Self { between: square.sqrt(), within: 1.0, noise: 0.0 };
        }
        Self { between: 1.0, within: 1.0, noise: (between / count - within).max(0.0).sqrt() }
    }
}

/// What each round does to all of several cells alike, as the logarithm of a factor (a randomised block design: Box,
/// Hunter & Hunter, *Statistics for Experimenters*, 2005, chapter 4). Empty where the cells do not share two rounds.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    effects: BTreeMap<usize, f64>,
    cells: usize,
}

impl Blocks {
    pub(crate) fn of(cells: &[&Processes]) -> Self {
        let mut effects: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for cell in cells {
            let logs: Vec<(usize, f64)> = cell.medians().map(|(round, median)| (round, median.ln())).collect();
            let mean = logs.iter().map(|(_, log)| log).sum::<f64>() / logs.len() as f64;
            logs.iter().for_each(|(round, log)| effects.entry(*round).or_default().push(log - mean));
        }
        let complete = cells.len() > 1 && effects.len() > 1 && effects.values().all(|e| e.len() == cells.len());
        if !complete {
            return Self::default();
        }
        let mean = |deviations: Vec<f64>| deviations.iter().sum::<f64>() / deviations.len() as f64;
        Self { effects: effects.into_iter().map(|(round, e)| (round, mean(e))).collect(), cells: cells.len() }
    }

    /// Known effects of a single cell.
    pub(crate) fn known(effects: impl Iterator<Item = (usize, f64)>) -> Self {
        Self { effects: effects.collect(), cells: 1 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    pub(crate) fn effect(&self, round: usize) -> f64 {
        self.effects.get(&round).copied().unwrap_or(0.0)
    }

    /// How the scatters of the cells hang together once the effects are taken out.
    pub(crate) fn dependence(&self) -> Parts {
        if self.cells > 1 { Parts::Blocks } else { Parts::Independent }
    }

    /// Taking a round's mean over n cells out of them leaves (n − 1)/n of their variance.
    pub(crate) fn inflation(&self) -> f64 {
        let cells = self.cells as f64;
        if self.cells > 1 { (cells / (cells - 1.0)).sqrt() } else { 1.0 }
    }
}

/// Standard deviation of the median of `count` normal values over that of their mean: tabulated variances of order
/// statistics to 10 (Sarhan & Greenberg, *Contributions to Order Statistics*, 1962, table 10C.1), beyond them the
/// leading terms.
fn median_over_mean(count: usize) -> f64 {
    const RATIOS: [f64; 10] = [1.0, 1.0, 1.1602, 1.0922, 1.1976, 1.1351, 1.2137, 1.1599, 1.2227, 1.1762];
    let n = count as f64;
    let beyond = if count % 2 == 1 { 0.9 } else { 2.7 };
    let leading = (n * std::f64::consts::PI / (2.0 * n + beyond)).sqrt();
    count.checked_sub(1).and_then(|i| RATIOS.get(i)).copied().unwrap_or(leading)
}

/// The median of a resample of `sorted` without drawing it: the k-th of n uniform numbers is beta(k, n − k + 1), and
/// sample ⌈n·u⌉ is the one it picks. For even n the next order statistic follows the k-th as the least of n − k
/// uniforms above it.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The table and the formula beyond it agree with 40,000 medians to their sampling error of 0.4 %, three of them.
    #[test]
    fn a_median_scatters_as_tabulated() {
        let mut random = Random::new(1);
        for count in [2, 3, 4, 5, 8, 9, 10, 11, 12, 25] {
            let studies = 40_000;
            let square = |random: &mut Random| {
                let mut values: Vec<f64> = (0..count).map(|_| random.normal()).collect();
                values.sort_unstable_by(f64::total_cmp);
                median_of_sorted(&values).powi(2)
            };
            let variance = (0..studies).map(|_| square(&mut random)).sum::<f64>() / f64::from(studies);
            let ratio = (variance * count as f64).sqrt();
            assert!((ratio / median_over_mean(count) - 1.0).abs() < 0.012, "{count}: {ratio}");
        }
    }

    /// Draws have the variance that medians of R processes have, whichever level the scatter is from.
    #[test]
    fn draws_have_the_variance_between_processes() {
        for (between, within) in [(0.1, 0.001), (0.1, 0.1), (0.001, 0.1)] {
            let mut random = Random::new(7);
            let samples: Vec<Vec<f64>> = (0..6)
                .map(|i| {
                    let process = between * (f64::from(i) - 2.5) / 2.0;
                    let mut s: Vec<f64> = (0..9).map(|_| (process + within * random.normal()).exp()).collect();
                    s.sort_unstable_by(f64::total_cmp);
                    s
                })
                .collect();
            let logs: Vec<f64> = samples.iter().map(|s| median_of_sorted(s).ln()).collect();
            let mean = logs.iter().sum::<f64>() / 6.0;
            let expected = logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 5.0 / 6.0;
            let resampler = Resampler::new(0.0, samples.iter().map(|s| (0.0, Drawn::One(s))), 1.0, None);
            let draws = 20_000;
            let square: f64 = (0..draws).map(|_| resampler.draw(&mut random).powi(2)).sum();
            let found = square / f64::from(draws) / median_over_mean(6).powi(2);
            assert!((found / expected - 1.0).abs() < 0.1, "{found} against {expected}");
        }
    }
}
