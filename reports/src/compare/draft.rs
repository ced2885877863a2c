//! The changes of every cell and series that two studies share, before anything is judged.

use std::collections::BTreeMap;

use relgrad_vocabulary::{DeviceKind, Kernel, Method, Subject};

use super::comparison::{CellComparison, Kind, Quantity, SeriesComparison, Sides, alike, series_key};
use super::fault::{Fault, fault, memory, peak};
use super::judge::Limits;
use super::rounds::{self, Points};
use super::shift::{Observed, exponent_change, shift};
use super::{Change, Rules, Verdict, judge, rounds_to_decide};
use crate::record::Point;
use crate::record::run::{Convolution, Settings};
use crate::statistics::summary::Estimate;

/// Everything that two studies share, by method and point.
pub(super) struct Drafts<'a> {
    builder: Builder<'a>,
    /// Whether both sides have the same machine fingerprint.
    pub(super) same_machine: bool,
    cells: Vec<Draft>,
    series: Vec<SeriesDraft>,
}

impl<'a> Drafts<'a> {
    /// Finds what both sides measured, and how it changed.
    pub(super) fn new(sides: &'a Sides<'a>) -> Self {
        let builder = Builder::new(sides);
        let cells = builder.drafts();
        let series = builder.series(&cells);
        Self { same_machine: builder.same_machine, builder, cells, series }
    }

    /// How many quantities are judged by an interval.
    pub(super) fn judged(&self) -> usize {
        let of_cells = self.cells.iter().flat_map(|d| &d.changes).filter(|c| c.judged).count();
        let judged = |s: &&SeriesDraft| s.exponent.is_some() && s.judged;
        of_cells + self.series.iter().filter(judged).count()
    }

    /// The cells with their verdicts.
    pub(super) fn cells(&self, rules: &Rules, alpha: f64) -> Vec<CellComparison> {
        let slowdown = rules.slowdown(self.builder.same_machine);
        let limits = Limits::new(slowdown.ln_1p(), alpha, self.builder.sides.paired);
        self.cells.iter().map(|draft| draft.cell(rules, &limits)).collect()
    }

    /// The series with their verdicts, and with what moved where one of `cells` did.
    pub(super) fn series(&self, rules: &Rules, alpha: f64, cells: &[CellComparison]) -> Vec<SeriesComparison> {
        let finish = |draft: &SeriesDraft| {
            let moved = cells.iter().any(|c| draft.covers(c) && c.moved());
            draft.finish(rules, alpha, moved, self.builder.sides.paired)
        };
        self.series.iter().map(finish).collect()
    }

    /// What a reader must know, one sentence each.
    pub(super) fn notes(&self, cells: &[CellComparison]) -> Vec<String> {
        let mut notes = self.builder.notes();
        notes.extend(self.common_change(cells));
        notes
    }

    /// Separate runs in which every method changed alike at every point: the machine rather than the code.
    fn common_change(&self, cells: &[CellComparison]) -> Option<String> {
        /// As logarithms.
        const SMALLEST: f64 = 0.03;
        const METHODS: usize = 2;
        let time = |c: &CellComparison| {
            let judged = c.quantities.iter().find(|q| q.kind == Kind::Time && q.judged);
            judged.map(|q| (c.method, q.change.value.ln()))
        };
        let mut found: Vec<(Method, f64)> = cells.iter().filter_map(time).collect();
        let (low, high) = found
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, log)| (low.min(*log), high.max(*log)));
        found.dedup_by(|a, b| a.0 == b.0);
        let alike = low > SMALLEST || high < -SMALLEST;
        (!self.builder.sides.paired && found.len() >= METHODS && alike).then(|| {
            let (direction, least) = if low > 0.0 { ("slower", low) } else { ("faster", -high) };
            format!(
                "Every cell of every method is {direction}, by {:.0} % at least. The whole machine may have been \
                 {direction}; use relgrad gate --against.",
                100.0 * least.exp_m1()
            )
        })
    }
}

/// A cell before its verdicts.
struct Draft {
    method: Method,
    point: Point,
    fault: Option<Fault>,
    changes: Vec<Measured>,
    memory: Option<(f64, f64)>,
    /// Whether the sides may be compared in it at all.
    judged: bool,
}

/// A change with the values behind it.
#[derive(Clone, Copy)]
struct Measured {
    kind: Kind,
    base: f64,
    new: f64,
    /// New over base.
    shown: f64,
    /// Of the cost: positive is worse.
    change: Change,
    judged: bool,
}

struct SeriesDraft {
    method: Method,
    point: Point,
    observed: Vec<Observed>,
    exponent: Option<Change>,
    /// Whether the exponent is judged: machines with other caches have other exponents.
    judged: bool,
    /// ln of the largest over the smallest dimension that the exponent rests on.
    span: f64,
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
            for (method, base) in methods.iter().filter_map(|(subject, rounds)| Some((subject.method()?, rounds))) {
                let Some(new) = self.new.rounds(point, method) else { continue };
                if !base.values().any(|r| rounds::is_valid(r)) {
                    continue;
                }
                let fault = fault(base, new, self.new.interleaved);
                let invalid = matches!(fault, Some(Fault::WrongGradient { .. } | Fault::Failed { .. }));
                let changes = if invalid { Vec::new() } else { self.changes(point, method) };
                let of = |rounds| peak(rounds, self.sides.paired);
                let memory = of(base).zip(of(new)).filter(|_| !invalid);
                if fault.is_some() || !changes.is_empty() {
                    drafts.push(Draft { method, point: *point, fault, changes, memory, judged: self.same_threads() });
                }
            }
        }
        drafts.sort_by_key(|d| (rank(&self.sides.base.run.settings.methods, d.method), d.point));
        drafts
    }

    fn changes(&self, point: &Point, method: Method) -> Vec<Measured> {
        let calibrated = self.calibrated(point, method);
        let judge_time = self.sides.paired || (self.same_machine && (calibrated.is_none() || self.sides.absolute));
        let mut changes: Vec<Measured> = self.time(point, method, judge_time).into_iter().collect();
        changes.extend(calibrated);
        if !self.sides.paired && !Method::BASELINES.contains(&method) {
            let over = Method::BASELINES.into_iter().zip([Kind::SpeedupOverOrdinary, Kind::SpeedupOverAutodiff]);
            let ratio = |(baseline, kind): (Method, Kind)| self.ratio(point, method, baseline.into(), kind);
            changes.extend(over.filter_map(ratio));
        }
        let judged = self.same_threads();
        changes.iter_mut().for_each(|change| change.judged &= judged);
        changes
    }

    /// The other settings that change a time tell points apart.
    fn same_threads(&self) -> bool {
        self.sides.base.run.settings.threads == self.sides.new.run.settings.threads
    }

    fn time(&self, point: &Point, method: Method, judged: bool) -> Option<Measured> {
        let (base, new) = (self.base.rounds(point, method)?, self.new.rounds(point, method)?);
        let (base_logs, new_logs) = (rounds::log_medians(base), rounds::log_medians(new));
        let kind = Kind::Time;
        if self.sides.paired {
            // Each round says by itself how much longer one side took; means are what agrees with that.
            let change = Change::paired(&rounds::between(new, base, true))?;
            let (base, new) = (geometric_mean(&base_logs)?, geometric_mean(&new_logs)?);
            return Some(Measured { kind, base, new, shown: change.log.exp(), change, judged });
        }
        let change = Change::between(&base_logs, &new_logs)?;
        let (base, new) = (rounds::processes(base).median()?, rounds::processes(new).median()?);
        Some(Measured { kind, base, new, shown: new / base, change, judged })
    }

    /// The time against the calibration kernel beside which it looks best: code that got slower did so beside each of
    /// them, while a machine with other proportions (memory, vector units) did so beside one.
    fn calibrated(&self, point: &Point, method: Method) -> Option<Measured> {
        let beside = [(Kernel::Gemm, Kind::TimeOverGemm), (Kernel::Copy, Kind::TimeOverCopy)];
        let ratios = beside.into_iter().filter_map(|(kernel, kind)| self.ratio(point, method, kernel.into(), kind));
        ratios.min_by(|a, b| a.change.log.total_cmp(&b.change.log))
    }

    /// The change of `method`'s time over that of `other` at the same point.
    fn ratio(&self, point: &Point, method: Method, other: Subject, kind: Kind) -> Option<Measured> {
        if self.sides.paired {
            return None;
        }
        let method = Subject::from(method);
        let [base, new] = [&self.base, &self.new].map(|side| side.log_ratios(point, method, other));
        let change = Change::between(&base, &new)?;
        let (over, under) = if kind.is_speedup() { (other, method) } else { (method, other) };
        let (base, new) = (self.base.ratio(point, over, under)?, self.new.ratio(point, over, under)?);
        Some(Measured { kind, base, new, shown: new / base, change, judged: true })
    }

    /// One series a method and device: its cells in ascending D.
    fn series(&self, drafts: &[Draft]) -> Vec<SeriesDraft> {
        let mut series: BTreeMap<(usize, Method, Point), SeriesDraft> = BTreeMap::new();
        for draft in drafts {
            let Some(change) = draft.typical() else { continue };
            let key = series_key(&draft.point);
            let order = rank(&self.sides.base.run.settings.methods, draft.method);
            let entry = series.entry((order, draft.method, key)).or_insert_with(|| SeriesDraft {
                method: draft.method,
                point: draft.point,
                observed: Vec::new(),
                exponent: None,
                judged: self.sides.paired || self.same_machine,
                span: 0.0,
            });
            let (base_seconds, base_error) = self.base_time(&draft.point, draft.method);
            entry.observed.push(Observed { dim: draft.point.dim, base_seconds, base_error, change: change.change });
        }
        let mut series: Vec<_> = series.into_values().collect();
        for draft in &mut series {
            let dims: Vec<usize> = draft.observed.iter().map(|o| o.dim).collect();
            let range = crate::statistics::fit::asymptotic_range(&dims);
            let inside = |o: &&Observed| range.as_ref().is_some_and(|r| r.contains(&o.dim));
            let inside: Vec<Observed> = draft.observed.iter().filter(inside).copied().collect();
            draft.exponent = exponent_change(&inside);
            if let (Some(first), Some(last)) = (inside.first(), inside.last()) {
                draft.span = (last.dim as f64 / first.dim as f64).ln();
            }
        }
        series
    }

    /// Geometric mean of the base time over its rounds and the standard error of its logarithm (0 where one round
    /// leaves it unknown).
    fn base_time(&self, point: &Point, method: Method) -> (f64, f64) {
        let logs = self.base.rounds(point, method).map(rounds::log_medians).unwrap_or_default();
        let error = Change::paired(&logs).map_or(0.0, |c| c.error);
        (geometric_mean(&logs).unwrap_or(f64::NAN), if error.is_finite() { error } else { 0.0 })
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.same_machine {
            notes.push(
                "The sides were measured on different machines: absolute times and exponents are not judged.".into(),
            );
        }
        let cells = |points: &Points<'_>| -> Vec<(Method, Point)> {
            let methods = points.points.iter();
            let valid = methods.flat_map(|(p, m)| {
                let with_time = m.iter().filter(|(_, rounds)| rounds.values().any(|r| rounds::is_valid(r)));
                with_time.filter_map(move |(subject, _)| Some((subject.method()?, *p)))
            });
            valid.collect()
        };
        let (base, new) = (cells(&self.base), cells(&self.new));
        let missing = base.iter().filter(|c| !new.contains(c)).count();
        let added = new.iter().filter(|c| !base.contains(c)).count();
        if missing + added > 0 {
            notes.push(format!("{missing} cells are only in the base side, {added} only in the new side."));
        }
        notes.extend(self.settings_apart());
        notes
    }

    /// What changes a time and is not the same on both sides.
    fn settings_apart(&self) -> Vec<String> {
        let [base, new] = [self.sides.base, self.sides.new].map(|study| &study.run.settings);
        let mut notes = Vec::new();
        if base.threads != new.threads {
            notes.push(format!("The sides used {} and {} threads: nothing is judged.", base.threads, new.threads));
        }
        let words = |settings: &Settings| {
            let device = settings.devices.first().copied().unwrap_or(DeviceKind::Cpu);
            let layers = settings.convolution.as_ref().map_or("dense".to_string(), Convolution::describe_layers);
            let bias = if settings.bias { "with bias" } else { "without bias" };
            [settings.arithmetic(device).to_string(), settings.activation.to_string(), bias.into(), layers]
        };
        let kinds = ["arithmetic", "activation", "bias", "layers"];
        for ((kind, base), new) in kinds.into_iter().zip(words(base)).zip(words(new)) {
            if base != new {
                notes.push(format!("The sides differ in {kind} ({base}; {new}): their cells are not compared."));
            }
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

    fn cell(&self, rules: &Rules, limits: &Limits) -> CellComparison {
        let mut quantities: Vec<_> = self.changes.iter().map(|m| m.quantity(limits)).collect();
        let memory = self.memory.map(|(base, new)| memory(base, new, rules));
        quantities.extend(memory.map(|quantity| Quantity { judged: self.judged, ..quantity }));
        CellComparison { method: self.method, point: self.point, fault: self.fault.clone(), quantities }
    }
}

impl Measured {
    fn quantity(&self, limits: &Limits) -> Quantity {
        let Self { kind, base, new, shown, change, judged } = *self;
        let verdict = judge(&change, limits);
        let more_rounds = (verdict == Verdict::Inconclusive).then(|| rounds_to_decide(&change, limits)).flatten();
        let interval = match kind {
            Kind::Exponent => change.difference(),
            _ if kind.is_speedup() => change.reversed().factor(),
            _ => change.factor(),
        };
        // A mean over the rounds and their medians may differ.
        let change = Estimate { value: shown, low: interval.low.min(shown), high: interval.high.max(shown) };
        Quantity { kind, base, new, change, verdict, judged, rounds: self.change.rounds, more_rounds }
    }
}

impl SeriesDraft {
    fn covers(&self, cell: &CellComparison) -> bool {
        self.method == cell.method && alike(&self.point, &cell.point)
    }

    fn finish(&self, rules: &Rules, alpha: f64, moved: bool, paired: bool) -> SeriesComparison {
        // What the tolerated slowdown at one end of the range alone does to the exponent is tolerated too.
        let of_slowdown = if self.span > 0.0 { rules.max_slowdown.ln_1p() / self.span } else { 0.0 };
        let limits = Limits::new(rules.max_exponent_rise.max(of_slowdown), alpha, paired);
        let quantity = |change: Change| {
            Measured { kind: Kind::Exponent, base: 0.0, new: 0.0, shown: change.log, change, judged: self.judged }
                .quantity(&limits)
        };
        SeriesComparison {
            exponent: self.exponent.map(quantity),
            shift: moved.then(|| shift(&self.observed)),
            method: self.method,
            point: self.point,
        }
    }
}

/// The value to which a mean of log-ratios refers; `None` without rounds.
fn geometric_mean(logs: &[f64]) -> Option<f64> {
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

fn rank(methods: &[Method], method: Method) -> usize {
    methods.iter().position(|m| *m == method).unwrap_or(methods.len())
}
