//! Two studies side by side: every quantity of every cell with its change and verdict.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rounds::{self, Points, Rounds};
use super::shift::{Observed, Shift, exponent_change, shift};
use super::{Change, Rules, Verdict, judge, rounds_to_decide};
use crate::method::{AUTODIFF, COPY, GEMM, ORDINARY, is_calibration};
use crate::record::{Cell, Outcome as Ended, Record};
use crate::stats::median;
use crate::study::Study;
use crate::summary::Estimate;

/// Bytes of peak memory that come and go with the allocator.
const MEMORY_SLACK_BYTES: f64 = 524_288.0;
/// Bytes gained while sampling from which memory is said to leak.
const LEAK_BYTES: f64 = 1_048_576.0;

/// What to compare.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    /// What was.
    pub base: &'a Study,
    /// What is.
    pub new: &'a Study,
    /// Whether both were measured in turn in the same rounds of one run.
    pub paired: bool,
    /// Whether absolute times are judged although calibration kernels would do better.
    pub absolute: bool,
    /// Only rounds of `new` (and, when paired, of `base`) from this one on count.
    pub first_round: usize,
}

/// What is compared of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Seconds of one gradient.
    Time,
    /// Time over that of the matrix product of the same shape.
    TimeOverGemm,
    /// Time over that of a copy of one weight.
    TimeOverCopy,
    /// Time of `ordinary` over this one's.
    SpeedupOverOrdinary,
    /// Time of `autodiff` over this one's.
    SpeedupOverAutodiff,
    /// Peak memory in bytes.
    PeakMemory,
    /// Exponent of time over D; of a series, not of a cell.
    Exponent,
}

/// One quantity on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantity {
    /// Which.
    pub kind: Kind,
    /// Median over the rounds of the base (seconds, bytes, or a ratio); 0 for an exponent, of which only the change is known.
    pub base: f64,
    /// The same of the new side.
    pub new: f64,
    /// New over base with its 95 % interval; new minus base for an exponent.
    pub change: Estimate,
    /// What follows from it.
    pub verdict: Verdict,
    /// Whether the outcome depends on it. What is not judged is there to be seen.
    pub judged: bool,
    /// Rounds of the new side.
    pub rounds: usize,
    /// How many more rounds would decide, when they do not yet and the scatter is known.
    pub more_rounds: Option<usize>,
}

/// What is wrong with a cell beyond its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// The gradient is wrong: the cell has no speed.
    WrongGradient {
        /// What the check said.
        reason: String,
    },
    /// The cell was measured before and fails now.
    Failed {
        /// What the record says.
        reason: String,
    },
    /// Memory grows with every evaluation.
    Leak {
        /// Bytes an evaluation.
        bytes_per_evaluation: f64,
    },
}

/// One method at one point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellComparison {
    /// The method.
    pub method: String,
    /// The point; its method, threads, seed and round mean nothing.
    pub point: Cell,
    /// What is wrong with it, when something is.
    pub fault: Option<Fault>,
    /// What was compared.
    pub quantities: Vec<Quantity>,
}

/// One method over its dimensions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesComparison {
    /// The method.
    pub method: String,
    /// The point of its smallest dimension; it names device, N, L and type.
    pub point: Cell,
    /// The change of its exponent, with three dimensions or more.
    pub exponent: Option<Quantity>,
    /// What moved, where a cell got better or worse.
    pub shift: Option<Shift>,
}

/// How a comparison ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing got worse.
    Held,
    /// Something got worse, or is wrong.
    Regression,
    /// Something may have got worse.
    Inconclusive {
        /// How many more rounds would decide, when that can be told.
        more_rounds: Option<usize>,
    },
    /// Nothing could be compared.
    Nothing,
}

/// The whole comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// How it ends.
    pub outcome: Outcome,
    /// Revision of the base.
    pub base_revision: Option<String>,
    /// Revision of the new side.
    pub new_revision: Option<String>,
    /// Whether both sides have the same machine fingerprint.
    pub same_machine: bool,
    /// Whether both sides were measured in turn.
    pub paired: bool,
    /// What was tolerated.
    pub rules: Rules,
    /// Probability of error of each bound that a verdict rests on.
    pub alpha: f64,
    /// By method and point.
    pub cells: Vec<CellComparison>,
    /// By method.
    pub series: Vec<SeriesComparison>,
    /// What a reader must know, one sentence each.
    pub notes: Vec<String>,
}

impl Comparison {
    /// Compares every cell that both sides have.
    pub fn of(sides: &Sides<'_>, rules: &Rules) -> Self {
        Self::with(sides, rules, None)
    }

    /// The same comparison over some of its rounds, with the same probability of error of each bound.
    pub fn again(&self, sides: &Sides<'_>) -> Self {
        Self::with(sides, &self.rules, Some(self.alpha))
    }

    fn with(sides: &Sides<'_>, rules: &Rules, alpha: Option<f64>) -> Self {
        let builder = Builder::new(sides);
        let drafts = builder.drafts();
        let mut series = builder.series(&drafts);
        let judged = drafts.iter().flat_map(|d| &d.changes).filter(|c| c.judged).count()
            + series.iter().filter(|s| s.exponent.is_some()).count();
        let alpha = alpha.unwrap_or_else(|| rules.alpha(judged));
        let cells: Vec<_> = drafts.iter().map(|draft| draft.cell(rules, alpha)).collect();
        let mut done = Vec::new();
        for draft in series.drain(..) {
            let moved = cells.iter().any(|c| draft.covers(c) && c.moved());
            done.push(draft.finish(rules, alpha, moved));
        }
        let mut comparison = Self {
            outcome: Outcome::Nothing,
            base_revision: sides.base.run.git_revision.clone(),
            new_revision: sides.new.run.git_revision.clone(),
            same_machine: builder.same_machine,
            paired: sides.paired,
            rules: *rules,
            alpha,
            cells,
            series: done,
            notes: builder.notes(),
        };
        comparison.outcome = comparison.decide();
        comparison
    }

    /// Keeps a regression only where the rounds that were added to look again show it too.
    pub fn confirmed_by(mut self, fresh: &Self) -> Self {
        for cell in &mut self.cells {
            let again = fresh.cells.iter().find(|c| c.method == cell.method && c.point == cell.point);
            for quantity in &mut cell.quantities {
                let same = |q: &&Quantity| q.kind == quantity.kind;
                let found = again.and_then(|c| c.quantities.iter().find(same)).copied();
                confirm(quantity, found);
            }
        }
        for series in &mut self.series {
            let again = fresh.series.iter().find(|s| s.method == series.method && s.point == series.point);
            if let Some(quantity) = &mut series.exponent {
                confirm(quantity, again.and_then(|s| s.exponent));
            }
        }
        self.outcome = self.decide();
        self
    }

    /// The points whose rounds do not decide, at a cell or at a method's exponent.
    pub fn open_points(&self) -> Vec<Cell> {
        let open = |q: &Quantity| q.judged && q.verdict == Verdict::Inconclusive;
        let mut points: Vec<Cell> = self
            .cells
            .iter()
            .filter(|c| c.fault.is_none() && c.quantities.iter().any(open))
            .map(|c| c.point.clone())
            .collect();
        for series in self.series.iter().filter(|s| s.exponent.as_ref().is_some_and(open)) {
            let of_series = |c: &&CellComparison| c.method == series.method && alike(&c.point, &series.point);
            points.extend(self.cells.iter().filter(of_series).map(|c| c.point.clone()));
        }
        points.sort();
        points.dedup();
        points
    }

    /// Every judged quantity.
    pub fn judged(&self) -> impl Iterator<Item = &Quantity> {
        let of_cells = self.cells.iter().flat_map(|c| &c.quantities);
        of_cells.chain(self.series.iter().filter_map(|s| s.exponent.as_ref())).filter(|q| q.judged)
    }

    fn decide(&self) -> Outcome {
        let any = |verdict| self.judged().any(|q| q.verdict == verdict);
        if self.cells.iter().any(|c| c.fault.is_some()) || any(Verdict::Worse) {
            Outcome::Regression
        } else if any(Verdict::Inconclusive) {
            let open = || self.judged().filter(|q| q.verdict == Verdict::Inconclusive);
            let known = open().all(|q| q.more_rounds.is_some());
            Outcome::Inconclusive {
                more_rounds: open().filter_map(|q| q.more_rounds).max().filter(|_| known),
            }
        } else if self.judged().next().is_some() {
            Outcome::Held
        } else {
            Outcome::Nothing
        }
    }
}

impl CellComparison {
    fn moved(&self) -> bool {
        self.quantities.iter().any(|q| {
            let time = matches!(q.kind, Kind::Time | Kind::TimeOverGemm | Kind::TimeOverCopy);
            time && q.judged && matches!(q.verdict, Verdict::Better | Verdict::Worse)
        })
    }
}

fn confirm(quantity: &mut Quantity, fresh: Option<Quantity>) {
    if !quantity.judged || quantity.kind == Kind::PeakMemory {
        return;
    }
    let confirmed = quantity.verdict.confirmed_by(fresh.map_or(Verdict::Inconclusive, |q| q.verdict));
    if confirmed != quantity.verdict {
        quantity.verdict = confirmed;
        quantity.more_rounds = fresh.and_then(|q| q.more_rounds);
    }
}

/// Whether two points differ in D alone.
pub(super) fn alike(a: &Cell, b: &Cell) -> bool {
    Cell { dim: 0, ..a.clone() } == Cell { dim: 0, ..b.clone() }
}

/// A cell before its verdicts.
struct Draft {
    method: String,
    point: Cell,
    fault: Option<Fault>,
    changes: Vec<Measured>,
    memory: Option<(f64, f64)>,
}

/// A change with the values behind it.
#[derive(Clone, Copy)]
struct Measured {
    kind: Kind,
    base: f64,
    new: f64,
    /// Of the cost: positive is worse.
    change: Change,
    judged: bool,
}

struct SeriesDraft {
    method: String,
    point: Cell,
    observed: Vec<Observed>,
    exponent: Option<Change>,
}

/// Both sides by point.
struct Builder<'a> {
    sides: &'a Sides<'a>,
    base: Points<'a>,
    new: Points<'a>,
    same_machine: bool,
}

impl<'a> Builder<'a> {
    fn new(sides: &'a Sides<'a>) -> Self {
        let base_from = if sides.paired { sides.first_round } else { 0 };
        Self {
            sides,
            base: Points::new(sides.base, base_from, sides.paired),
            new: Points::new(sides.new, sides.first_round, sides.paired),
            same_machine: sides.base.run.machine.fingerprint() == sides.new.run.machine.fingerprint(),
        }
    }

    fn drafts(&self) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for (point, methods) in &self.base.points {
            for (&method, base) in methods.iter().filter(|(name, _)| !is_calibration(name)) {
                let Some(new) = self.new.rounds(point, method) else { continue };
                if !base.values().any(|r| rounds::is_valid(r)) {
                    continue;
                }
                let fault = fault(base, new, self.new.interleaved());
                let invalid = matches!(fault, Some(Fault::WrongGradient { .. } | Fault::Failed { .. }));
                let changes = if invalid { Vec::new() } else { self.changes(point, method) };
                let memory = peak(base).zip(peak(new)).filter(|_| !invalid);
                if fault.is_some() || !changes.is_empty() {
                    drafts.push(Draft {
                        method: method.into(),
                        point: point.clone(),
                        fault,
                        changes,
                        memory,
                    });
                }
            }
        }
        drafts.sort_by_key(|d| (rank(&self.sides.base.run.settings.methods, &d.method), d.point.clone()));
        drafts
    }

    fn changes(&self, point: &Cell, method: &str) -> Vec<Measured> {
        let calibrated = self.calibrated(point, method);
        let judge_time =
            self.sides.paired || (self.same_machine && (calibrated.is_none() || self.sides.absolute));
        let mut changes: Vec<Measured> = self.time(point, method, judge_time).into_iter().collect();
        changes.extend(calibrated);
        if !self.sides.paired && ![ORDINARY, AUTODIFF].contains(&method) {
            let over = [(ORDINARY, Kind::SpeedupOverOrdinary), (AUTODIFF, Kind::SpeedupOverAutodiff)];
            let ratio = |(baseline, kind): (&str, Kind)| self.ratio(point, method, baseline, kind);
            changes.extend(over.into_iter().filter_map(ratio).map(|m| Measured {
                base: m.base.recip(),
                new: m.new.recip(),
                ..m
            }));
        }
        changes
    }

    fn time(&self, point: &Cell, method: &str, judged: bool) -> Option<Measured> {
        let (base, new) = (self.base.rounds(point, method)?, self.new.rounds(point, method)?);
        let (base_logs, new_logs) = (rounds::log_medians(base), rounds::log_medians(new));
        let change = if self.sides.paired {
            Change::paired(&rounds::between(new, base, true))?
        } else {
            Change::between(&base_logs, &new_logs)?
        };
        let value = |logs: &[f64]| median(logs).map(f64::exp);
        Some(Measured { kind: Kind::Time, base: value(&base_logs)?, new: value(&new_logs)?, change, judged })
    }

    /// The time against the calibration kernel beside which it looks best: code that got slower did so beside each of
    /// them, while a machine with other proportions (memory, vector units) did so beside one.
    fn calibrated(&self, point: &Cell, method: &str) -> Option<Measured> {
        let beside = [(GEMM, Kind::TimeOverGemm), (COPY, Kind::TimeOverCopy)];
        let ratios = beside.into_iter().filter_map(|(kernel, kind)| self.ratio(point, method, kernel, kind));
        ratios.min_by(|a, b| a.change.log.total_cmp(&b.change.log))
    }

    /// The change of `method`'s time over that of `other` at the same point.
    fn ratio(&self, point: &Cell, method: &str, other: &str, kind: Kind) -> Option<Measured> {
        if self.sides.paired {
            return None;
        }
        let base = self.base.log_ratios(point, method, other);
        let new = self.new.log_ratios(point, method, other);
        let change = Change::between(&base, &new)?;
        Some(Measured { kind, base: median(&base)?.exp(), new: median(&new)?.exp(), change, judged: true })
    }

    /// One series a method and device: its cells in ascending D.
    fn series(&self, drafts: &[Draft]) -> Vec<SeriesDraft> {
        let mut series: BTreeMap<(usize, String, Cell), SeriesDraft> = BTreeMap::new();
        for draft in drafts {
            let Some(change) = draft.typical() else { continue };
            let key = Cell { dim: 0, ..draft.point.clone() };
            let order = rank(&self.sides.base.run.settings.methods, &draft.method);
            let entry = series.entry((order, draft.method.clone(), key)).or_insert_with(|| SeriesDraft {
                method: draft.method.clone(),
                point: draft.point.clone(),
                observed: Vec::new(),
                exponent: None,
            });
            let (base_seconds, base_error) = self.base_time(&draft.point, &draft.method);
            entry.observed.push(Observed {
                dim: draft.point.dim,
                base_seconds,
                base_error,
                change: change.change,
            });
        }
        let mut series: Vec<_> = series.into_values().collect();
        for draft in &mut series {
            let dims: Vec<usize> = draft.observed.iter().map(|o| o.dim).collect();
            let range = crate::fit::asymptotic_range(&dims);
            let inside = |o: &&Observed| range.as_ref().is_some_and(|r| r.contains(&o.dim));
            draft.exponent =
                exponent_change(&draft.observed.iter().filter(inside).copied().collect::<Vec<_>>());
        }
        series
    }

    /// Geometric mean of the base time over its rounds, which is what a mean log-ratio refers to, and the standard error of
    /// its logarithm (0 where one round leaves it unknown).
    fn base_time(&self, point: &Cell, method: &str) -> (f64, f64) {
        let logs = self.base.rounds(point, method).map(rounds::log_medians).unwrap_or_default();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        let error = Change::paired(&logs).map_or(0.0, |c| c.error);
        (mean.exp(), if error.is_finite() { error } else { 0.0 })
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.same_machine {
            notes.push(
                "The sides were measured on different machines: absolute times are shown and not judged."
                    .into(),
            );
        }
        let cells = |points: &Points<'_>| -> Vec<(String, Cell)> {
            let methods = points.points.iter();
            let named = methods.flat_map(|(p, m)| m.keys().map(move |name| (name.to_string(), p.clone())));
            named.filter(|(name, _)| !is_calibration(name)).collect()
        };
        let (base, new) = (cells(&self.base), cells(&self.new));
        let missing = base.iter().filter(|c| !new.contains(c)).count();
        let added = new.iter().filter(|c| !base.contains(c)).count();
        if missing + added > 0 {
            notes.push(format!("{missing} cells of the base are not in the new side, and {added} are new."));
        }
        let threads = |study: &Study| study.run.settings.threads;
        if threads(self.sides.base) != threads(self.sides.new) {
            notes.push("The sides used different numbers of threads.".into());
        }
        notes
    }
}

impl Draft {
    /// The change that stands for the cell's time.
    fn typical(&self) -> Option<Measured> {
        let of = |kind| self.changes.iter().find(|c| c.kind == kind && c.judged);
        let kinds = [Kind::Time, Kind::TimeOverGemm, Kind::TimeOverCopy];
        kinds.into_iter().find_map(of).copied()
    }

    fn cell(&self, rules: &Rules, alpha: f64) -> CellComparison {
        let tolerance = rules.max_slowdown.ln_1p();
        let mut quantities: Vec<_> = self.changes.iter().map(|m| m.quantity(tolerance, alpha)).collect();
        quantities.extend(self.memory.map(|(base, new)| memory(base, new, rules)));
        CellComparison {
            method: self.method.clone(),
            point: self.point.clone(),
            fault: self.fault.clone(),
            quantities,
        }
    }
}

impl Measured {
    fn quantity(&self, tolerance: f64, alpha: f64) -> Quantity {
        let Self { kind, base, new, change, judged } = *self;
        let verdict = judge(&change, tolerance, alpha);
        let more_rounds =
            (verdict == Verdict::Inconclusive).then(|| rounds_to_decide(&change, tolerance, alpha)).flatten();
        let shown = match kind {
            Kind::SpeedupOverOrdinary | Kind::SpeedupOverAutodiff => change.reversed().factor(),
            Kind::Exponent => change.difference(),
            _ => change.factor(),
        };
        Quantity { kind, base, new, change: shown, verdict, judged, rounds: change.rounds, more_rounds }
    }
}

impl SeriesDraft {
    fn covers(&self, cell: &CellComparison) -> bool {
        self.method == cell.method && alike(&self.point, &cell.point)
    }

    fn finish(self, rules: &Rules, alpha: f64, moved: bool) -> SeriesComparison {
        let quantity = |change: Change| {
            Measured { kind: Kind::Exponent, base: 0.0, new: 0.0, change, judged: true }
                .quantity(rules.max_exponent_rise, alpha)
        };
        SeriesComparison {
            exponent: self.exponent.map(quantity),
            shift: moved.then(|| shift(&self.observed)),
            method: self.method,
            point: self.point,
        }
    }
}

fn rank(methods: &[String], method: &str) -> usize {
    methods.iter().position(|m| m == method).unwrap_or(methods.len())
}

/// Peak memory has no noise worth an interval: it is the number of pages that the same allocations touch.
fn memory(base: f64, new: f64, rules: &Rules) -> Quantity {
    let ratio = new / base;
    let verdict = if new > base * (1.0 + rules.max_growth) + MEMORY_SLACK_BYTES {
        Verdict::Worse
    } else if base > new * (1.0 + rules.max_growth) + MEMORY_SLACK_BYTES {
        Verdict::Better
    } else {
        Verdict::Same
    };
    let change = Estimate { value: ratio, low: ratio, high: ratio };
    Quantity {
        kind: Kind::PeakMemory,
        base,
        new,
        change,
        verdict,
        judged: true,
        rounds: 1,
        more_rounds: None,
    }
}

fn peak(rounds: &Rounds<'_>) -> Option<f64> {
    let valid = rounds.values().filter(|r| rounds::is_valid(r));
    median(&valid.filter_map(|r| r.peak_bytes).map(|b| b as f64).collect::<Vec<_>>()).filter(|b| *b > 0.0)
}

fn fault(base: &Rounds<'_>, new: &Rounds<'_>, interleaved: bool) -> Option<Fault> {
    let reason = |record: &Record| record.reason.clone().unwrap_or_else(|| "no reason recorded".into());
    if let Some(record) = new.values().find(|r| rounds::wrong_gradient(r) || says_wrong_gradient(r)) {
        return Some(Fault::WrongGradient { reason: reason(record) });
    }
    if !new.values().any(|r| rounds::is_valid(r)) {
        let failed = new.values().find(|r| r.outcome == Ended::Failed)?;
        return Some(Fault::Failed { reason: reason(failed) });
    }
    if !interleaved {
        return None;
    }
    let (bytes, evaluations) = gained(new)?;
    let before = gained(base).map_or(0.0, |(bytes, _)| bytes);
    let leaks = bytes > LEAK_BYTES && bytes > 2.0 * before;
    leaks.then(|| Fault::Leak { bytes_per_evaluation: bytes / evaluations })
}

/// A check whose error is not a number leaves only its reason in the record.
fn says_wrong_gradient(record: &Record) -> bool {
    let wrong = |reason: &String| reason.starts_with("wrong gradient");
    record.outcome == Ended::Failed && record.reason.as_ref().is_some_and(wrong)
}

/// Bytes gained while sampling and the evaluations meanwhile, of the round that gained least.
fn gained(rounds: &Rounds<'_>) -> Option<(f64, f64)> {
    let of = |record: &&Record| {
        let (first, last) = (record.memory_trace.first()?, record.memory_trace.last()?);
        let evaluations = record.seconds.len() as f64 * record.evaluations_per_sample as f64;
        Some((last.bytes - first.bytes, evaluations.max(1.0)))
    };
    let valid = rounds.values().filter(|r| rounds::is_valid(r));
    valid.filter_map(of).min_by(|a, b| a.0.total_cmp(&b.0))
}
