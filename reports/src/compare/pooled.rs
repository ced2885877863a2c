//! Two separate sweeps as wholes: what their hours do to all cells is taken out, and cells lend each other scatter.

use std::collections::BTreeMap;

use relgrad_vocabulary::{DeviceKind, Method};

use super::Change;
use super::location::Location;
use super::rounds::{Points, log_medians};
use crate::record::Point;
use crate::statistics::{median, student};

/// Cells from which on their variances say how differently cells scatter.
const CELLS: usize = 4;
/// Standard errors by which the change of a method may differ from that of all, to be called the same.
const ALIKE: f64 = 2.0;

/// The changes of all cells of a device that two separate sweeps share.
#[derive(Debug, Default)]
pub(super) struct Pooled {
    /// By device, what all its methods share, as a logarithm: another hour, or code that all use.
    pub(super) shared: Vec<(DeviceKind, f64)>,
    /// Standard deviation of what an hour does to each cell, beyond the scatter of rounds: the largest of the devices.
    pub(super) hours: f64,
    cells: BTreeMap<(Method, Point), (f64, Change)>,
}

/// One cell on both sides.
struct Both {
    method: Method,
    point: Point,
    /// Logarithms of the medians by round.
    sides: [BTreeMap<usize, f64>; 2],
    base: f64,
    log: f64,
    /// Variance of one round and its degrees of freedom.
    variance: f64,
    degrees: f64,
}

impl Pooled {
    /// Compares every cell that both sides have.
    pub(super) fn of(base: &Points<'_>, new: &Points<'_>) -> Self {
        let mut pooled = Self::default();
        for device in [DeviceKind::Cpu, DeviceKind::Cuda] {
            let mut cells = Vec::new();
            for (point, methods) in base.points.iter().filter(|(point, _)| point.device == device) {
                for (method, base) in methods.iter().filter_map(|(subject, rounds)| Some((subject.method()?, rounds))) {
                    let sides = [Some(base), new.rounds(point, method)].map(|r| r.map(log_medians).unwrap_or_default());
                    if sides.iter().all(|logs| !logs.is_empty()) {
                        cells.push(Both::new(method, *point, sides));
                    }
                }
            }
            if !cells.is_empty() {
                pooled.add(device, cells);
            }
        }
        pooled
    }

    /// The base's seconds as a logarithm, and the change less what all methods share.
    pub(super) fn change(&self, point: &Point, method: Method) -> Option<(f64, Change)> {
        self.cells.get(&(method, *point)).copied()
    }

    fn add(&mut self, device: DeviceKind, mut cells: Vec<Both>) {
        let inflation = [0, 1].map(|side| without_rounds(&mut cells, side)).into_iter().fold(1.0, f64::max);
        cells.iter_mut().for_each(|cell| cell.settle(inflation));
        let borrowed = Borrowed::of(&cells);
        let changes: Vec<Change> = cells.iter().map(|cell| borrowed.change(cell)).collect();
        let methods = Methods::of(&cells, &changes);
        let (shared, from) = methods.shared();
        self.shared.push((device, shared));
        self.hours = self.hours.max(methods.hours(&cells, &changes));
        for (cell, mut change) in cells.into_iter().zip(changes) {
            change.log -= shared;
            change.error = match from {
                Origin::All { cells } => change.error * (1.0 - 1.0 / cells).sqrt(),
                Origin::One { method, cells, .. } if method == cell.method => change.error * (1.0 - 1.0 / cells).sqrt(),
                Origin::One { error, .. } => change.error.hypot(error),
                Origin::None => change.error,
            };
            self.cells.insert((cell.method, cell.point), (cell.base, change));
        }
    }
}

impl Both {
    fn new(method: Method, point: Point, sides: [BTreeMap<usize, f64>; 2]) -> Self {
        Self { method, point, sides, base: 0.0, log: 0.0, variance: f64::INFINITY, degrees: 0.0 }
    }

    /// Finds location and scatter when the effects of the rounds are out.
    fn settle(&mut self, inflation: f64) {
        let mut squares = 0.0;
        let mut values = [0.0; 2];
        for (side, value) in self.sides.iter().zip(&mut values) {
            let logs: Vec<f64> = side.values().copied().collect();
            let Some(location) = Location::of(&logs) else { continue };
            *value = location.value;
            if logs.len() > 1 {
                squares += location.degrees * location.variance * logs.len() as f64;
                self.degrees += location.degrees;
            }
        }
        self.base = values[0];
        self.log = values[1] - values[0];
        self.variance = inflation * squares / self.degrees;
    }
}

/// Takes out of one side what each round does to all cells alike, by median polish (Tukey, *Exploratory Data Analysis*,
/// 1977, chapter 11): a slow process moves no median. Returns the factor by which the variance of what is left is too
/// small. Cells with all rounds keep their mean; one of a single round gets what that round did to the others.
fn without_rounds(cells: &mut [Both], side: usize) -> f64 {
    let several: Vec<usize> = (0..cells.len()).filter(|i| cells[*i].sides[side].len() > 1).collect();
    let mut effects: BTreeMap<usize, f64> = BTreeMap::new();
    cells.iter().for_each(|cell| effects.extend(cell.sides[side].keys().map(|round| (*round, 0.0))));
    if several.len() < CELLS {
        return 1.0;
    }
    for _ in 0..10 {
        let mut left: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for i in &several {
            let logs = &cells[*i].sides[side];
            let center = median(&logs.iter().map(|(round, log)| log - effects[round]).collect::<Vec<_>>());
            let center = center.unwrap_or_default();
            logs.iter().for_each(|(round, log)| left.entry(*round).or_default().push(log - center));
        }
        effects = left.into_iter().filter_map(|(round, left)| Some((round, median(&left)?))).collect();
        let mean = effects.values().sum::<f64>() / effects.len() as f64;
        effects.values_mut().for_each(|effect| *effect -= mean);
    }
    for cell in cells.iter_mut() {
        cell.sides[side].iter_mut().for_each(|(round, log)| *log -= effects.get(round).unwrap_or(&0.0));
    }
    several.len() as f64 / (several.len() as f64 - 1.0)
}

/// What a cell's variance is worth next to those of the others: an inverse χ² of `degrees` about `variance`.
struct Borrowed {
    variance: f64,
    degrees: f64,
    most: f64,
}

impl Borrowed {
    /// The moderated variances of Smyth ("Linear models and empirical Bayes methods for assessing differential
    /// expression", 2004, section 6.2): cells that scatter alike share all degrees of freedom, and the more differently
    /// they scatter, the fewer.
    fn of(cells: &[Both]) -> Self {
        let known: Vec<&Both> = cells.iter().filter(|c| c.degrees > 0.0 && c.variance > 0.0).collect();
        let most = known.iter().map(|cell| cell.degrees).sum();
        if known.len() < CELLS {
            return Self { variance: 0.0, degrees: 0.0, most };
        }
        let n = known.len() as f64;
        let log = |c: &&Both| c.variance.ln() - digamma(0.5 * c.degrees) + (0.5 * c.degrees).ln();
        let mean = known.iter().map(log).sum::<f64>() / n;
        let scatter = known.iter().map(|c| (log(c) - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let own = known.iter().map(|c| trigamma(0.5 * c.degrees)).sum::<f64>() / n;
        let half = inverse_trigamma((scatter - own).max(1e-4));
        Self { variance: (mean + digamma(half) - half.ln()).exp(), degrees: 2.0 * half, most }
    }

    fn change(&self, cell: &Both) -> Change {
        let degrees = (self.degrees + cell.degrees).min(self.most);
        let own = if cell.degrees > 0.0 { cell.degrees * cell.variance } else { 0.0 };
        let variance = match self.degrees + cell.degrees {
            0.0 => f64::INFINITY,
            total => (self.degrees * self.variance + own) / total,
        };
        let [base, new] = [0, 1].map(|side| cell.sides[side].len());
        Change {
            log: cell.log,
            error: (variance / base as f64 + variance / new as f64).sqrt(),
            degrees: (degrees as usize).max(1),
            rounds: base.min(new),
            fixed_variance: 0.0,
        }
    }
}

/// Which cells the change that all share is the mean of.
#[derive(Clone, Copy)]
enum Origin {
    All { cells: f64 },
    One { method: Method, cells: f64, error: f64 },
    None,
}

/// How far a method moved as a whole.
struct Moved {
    method: Method,
    cells: f64,
    log: f64,
    error: f64,
}

struct Methods(Vec<Moved>);

impl Methods {
    fn of(cells: &[Both], changes: &[Change]) -> Self {
        let mut found: BTreeMap<Method, (Vec<f64>, f64)> = BTreeMap::new();
        for (cell, change) in cells.iter().zip(changes) {
            let entry = found.entry(cell.method).or_default();
            entry.0.push(change.log);
            entry.1 += change.error.powi(2);
        }
        let of = |(method, (logs, squares)): (Method, (Vec<f64>, f64))| {
            let cells = logs.len() as f64;
            Some(Moved { method, cells, log: hodges_lehmann(&logs)?, error: (1.05 * squares).sqrt() / cells })
        };
        Self(found.into_iter().filter_map(of).collect())
    }

    /// What all methods share: the mean of their changes where these agree; else the smallest of them, or nothing where
    /// they have two signs.
    fn shared(&self) -> (f64, Origin) {
        let weight = |of: &Moved| of.error.max(1e-9).powi(-2);
        let total: f64 = self.0.iter().map(weight).sum();
        let mean = self.0.iter().map(|of| weight(of) * of.log).sum::<f64>() / total;
        if !mean.is_finite() {
            return (0.0, Origin::None);
        }
        if self.0.iter().all(|of| (of.log - mean).abs() <= ALIKE * of.error) {
            return (mean, Origin::All { cells: self.0.iter().map(|of| of.cells).sum() });
        }
        let one_sign = self.0.iter().all(|of| of.log > 0.0) || self.0.iter().all(|of| of.log < 0.0);
        match self.0.iter().min_by(|a, b| a.log.abs().total_cmp(&b.log.abs())).filter(|_| one_sign) {
            Some(&Moved { method, cells, log, error }) => (log, Origin::One { method, cells, error }),
            None => (0.0, Origin::None),
        }
    }

    /// The scatter of cells about their method, beyond that of their rounds; robust, since code may move a few.
    fn hours(&self, cells: &[Both], changes: &[Change]) -> f64 {
        const NORMAL: f64 = 1.4826;
        let center = |method| self.0.iter().find(|of| of.method == method).map_or(0.0, |of| of.log);
        let moved: Vec<f64> =
            cells.iter().zip(changes).map(|(c, change)| (change.log - center(c.method)).abs()).collect();
        let squares: Vec<f64> = changes.iter().map(|change| change.error.powi(2)).collect();
        let free = cells.len() as f64 - self.0.len() as f64;
        let (Some(moved), Some(square)) = (median(&moved), median(&squares)) else { return 0.0 };
        let found = (NORMAL * moved).powi(2) * cells.len() as f64 / free.max(1.0);
        if free > 0.0 { (found - square).max(0.0).sqrt() } else { 0.0 }
    }
}

/// What a change must exceed so that an hour does it with probability `alpha` at most.
pub(super) fn reach_of_hours(hours: f64, alpha: f64) -> f64 {
    student::quantile(1.0 - 2.0 * alpha, usize::MAX) * hours
}

/// The median of the means of all pairs (Hodges & Lehmann, *Annals of Mathematical Statistics* 34, 1963): as good as
/// the mean for normal numbers, and one of five may be anything.
fn hodges_lehmann(values: &[f64]) -> Option<f64> {
    let pairs = values.iter().enumerate().flat_map(|(i, a)| values[i..].iter().map(move |b| 0.5 * (a + b)));
    median(&pairs.collect::<Vec<_>>())
}

/// ψ(x), by recurrence and asymptotic series (Abramowitz & Stegun, 6.3.5 and 6.3.18).
fn digamma(x: f64) -> f64 {
    if x < 6.0 {
        return digamma(x + 1.0) - 1.0 / x;
    }
    let square = 1.0 / (x * x);
    x.ln() - 0.5 / x - square * (1.0 / 12.0 - square * (1.0 / 120.0 - square / 252.0))
}

/// ψ′(x) (Abramowitz & Stegun, 6.4.6 and 6.4.12).
fn trigamma(x: f64) -> f64 {
    if x < 6.0 {
        return trigamma(x + 1.0) + 1.0 / (x * x);
    }
    let square = 1.0 / (x * x);
    1.0 / x + 0.5 * square + square / x * (1.0 / 6.0 - square * (1.0 / 30.0 - square / 42.0))
}

/// The x whose ψ′ is `y`, by bisection of ln x.
fn inverse_trigamma(y: f64) -> f64 {
    let (mut low, mut high) = (-10.0_f64, 20.0_f64);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if trigamma(middle.exp()) > y { low = middle } else { high = middle }
    }
    (0.5 * (low + high)).exp()
}
