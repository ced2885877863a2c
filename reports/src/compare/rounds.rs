//! The records of a study by point, method and round, and the log-ratios of a round.

use std::collections::BTreeMap;

use relgrad_vocabulary::{Kernel, Subject};

use crate::record::study::Study;
use crate::record::{Point, Record};
use crate::statistics::summary::{Estimate, Series};
use crate::statistics::{self, Processes, median};

/// Records of one method at one point, by round.
pub(super) type Rounds<'a> = BTreeMap<usize, &'a Record>;

/// Whether cells that differ in their numbers of threads alone are at one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    Alike,
    Apart,
}

/// A study by point (without the seed, and without threads where all cells have as many), then method.
pub(super) struct Points<'a> {
    pub(super) points: BTreeMap<Point, BTreeMap<Subject, Rounds<'a>>>,
    /// Whether the samples of a round were taken in turn, so that equal places in the records belong together.
    pub(super) interleaved: bool,
}

impl<'a> Points<'a> {
    /// Groups the records of the rounds from `first_round` on, without those that reports leave out. A study with
    /// calibration kernels was measured in turn.
    pub(super) fn new(study: &'a Study, first_round: usize, interleaved: bool, threads: Threads) -> Self {
        let mut points: BTreeMap<Point, BTreeMap<Subject, Rounds<'_>>> = BTreeMap::new();
        let left_out = study.left_out();
        let counts = |r: &&Record| r.cell.round >= first_round && !left_out.contains(&r.cell);
        for record in study.records.iter().filter(counts) {
            let methods = points.entry(point(&record.cell.point, threads)).or_default();
            methods.entry(record.cell.method).or_default().insert(record.cell.round, record);
        }
        let calibrated = study.records.iter().any(|r| r.cell.method.is_kernel());
        Self { points, interleaved: interleaved || calibrated }
    }

    pub(super) fn rounds(&self, point: &Point, method: impl Into<Subject>) -> Option<&Rounds<'a>> {
        self.points.get(point)?.get(&method.into())
    }

    /// How many times longer `base` takes than `this`, as a report says it.
    pub(super) fn ratio(&self, point: &Point, base: Subject, this: Subject) -> Option<f64> {
        let [base, this] = [base, this].map(|subject| self.rounds(point, subject).map(processes));
        statistics::ratio(&base?, &this?)
    }

    /// The same with its interval.
    pub(super) fn ratio_estimate(&self, point: &Point, base: Subject, this: Subject) -> Option<Estimate> {
        let [base, this] = [base, this].map(|subject| self.rounds(point, subject).map(processes));
        statistics::ratio_estimate(&base?, &this?)
    }

    /// ln(numerator/denominator) of every round that has both.
    pub(super) fn log_ratios(&self, point: &Point, numerator: Subject, denominator: Subject) -> Vec<f64> {
        match (self.rounds(point, numerator), self.rounds(point, denominator)) {
            (Some(a), Some(b)) => between(a, b, self.interleaved),
            _ => Vec::new(),
        }
    }
}

/// The samples of the valid rounds, as a report pools them.
pub(super) fn processes(rounds: &Rounds<'_>) -> Processes {
    let valid = rounds.values().filter(|record| is_valid(record));
    Processes::new(valid.map(|record| (record.cell.round, record.seconds.as_slice())))
}

/// ln(numerator/denominator) of every round that both have a valid time in.
pub(super) fn between(numerator: &Rounds<'_>, denominator: &Rounds<'_>, interleaved: bool) -> Vec<f64> {
    let ratio = |(round, a): (&usize, &&Record)| {
        let b = denominator.get(round)?;
        (is_valid(a) && is_valid(b)).then(|| log_ratio(&a.seconds, &b.seconds, interleaved))?
    };
    numerator.iter().filter_map(ratio).collect()
}

/// ln of the median of every valid round.
pub(super) fn log_medians(rounds: &Rounds<'_>) -> BTreeMap<usize, f64> {
    let valid = rounds.iter().filter(|(_, record)| is_valid(record));
    valid.filter_map(|(round, record)| Some((*round, median(&record.seconds)?.ln()))).collect()
}

/// ln(numerator/denominator) of one round.
///
/// Where samples were taken in turn (A B B A: samples 2j and 2j+1 of both sides lie around the same moment), it is the
/// median over the turns of the ratio of their sums: a drift of the machine during a turn cancels. Otherwise it is the
/// ratio of the medians. `None` without samples.
pub fn log_ratio(numerator: &[f64], denominator: &[f64], interleaved: bool) -> Option<f64> {
    let turns = numerator.len() / 2;
    if interleaved && turns > 0 && numerator.len() == denominator.len() {
        let of_turn = |(a, b): (&[f64], &[f64])| (a.iter().sum::<f64>() / b.iter().sum::<f64>()).ln();
        let logs: Vec<f64> = numerator.chunks(2).zip(denominator.chunks(2)).map(of_turn).collect();
        return median(&logs).filter(|log| log.is_finite());
    }
    let ratio = (median(numerator)? / median(denominator)?).ln();
    ratio.is_finite().then_some(ratio)
}

/// Times over those of calibration kernels at the same point, where both were measured in turn.
pub(crate) struct OverKernels<'a>(Points<'a>);

impl<'a> OverKernels<'a> {
    /// Groups the records of a study; `None` without a calibration kernel.
    pub(crate) fn of(study: &'a Study) -> Option<Self> {
        let points = Points::new(study, 0, false, Threads::Apart);
        points.interleaved.then_some(Self(points))
    }

    /// Median over the rounds of a series' time over that of a kernel; `None` where they were not measured in turn.
    pub(crate) fn ratio(&self, series: &Series, dim: usize, kernel: Kernel) -> Option<f64> {
        let is_there = |p: &&Point| (p.device, p.dim, p.held()) == (series.device, dim, series.held());
        let at = self.0.points.keys().find(is_there)?;
        Some(median(&self.0.log_ratios(at, series.method, kernel.into()))?.exp())
    }
}

/// Whether a record holds a time that counts.
pub(super) fn is_valid(record: &Record) -> bool {
    record.is_valid() && !record.seconds.is_empty()
}

/// Where on the axes a cell lies, whatever measured it there.
fn point(point: &Point, threads: Threads) -> Point {
    Point { threads: if threads == Threads::Apart { point.threads } else { 0 }, seed: 0, ..*point }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drift_within_a_turn_cancels_in_the_ratio() {
        // A B B A at moments 0, 1, 2, 3 of a machine that slows down by 10 % a moment; A is 20 % slower than B.
        let moment = |t: f64| 1.0 + 0.1 * t;
        let a = [1.2 * moment(0.0), 1.2 * moment(3.0)];
        let b = [moment(1.0), moment(2.0)];
        let ratio = log_ratio(&a, &b, true).expect("samples").exp();
        assert!((ratio - 1.2).abs() < 1e-12, "{ratio}");
    }

    #[test]
    fn one_disturbed_turn_does_not_move_the_ratio() {
        let b = [1.0; 10];
        let mut a = [1.1; 10];
        a[4] = 50.0;
        assert!((log_ratio(&a, &b, true).expect("samples").exp() - 1.1).abs() < 1e-12);
        assert_eq!(log_ratio(&[], &b, true), None);
        assert!((log_ratio(&[3.0, 2.0, 1.0], &b, true).expect("samples").exp() - 2.0).abs() < 1e-12);
    }
}
