//! The changes of every cell and series that two studies share, before anything is judged.

use std::collections::BTreeMap;

use relgrad_vocabulary::{DeviceKind, Kernel, Method, Subject, UpdateRule};

use super::change::quotient;
use super::comparison::{CellComparison, Kind, Quantity, SeriesComparison, Sides, alike, series_key};
use super::fault::{Fault, fault, memory, peak};
use super::judge::Limits;
use super::pooled::{Pooled, reach_of_hours};
use super::rounds::{self, Points, Threads};
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
        let limits = self.builder.limits(slowdown.ln_1p(), alpha, 1.0);
        self.cells.iter().map(|draft| draft.cell(rules, &limits)).collect()
    }

    /// The series with their verdicts, and with what moved where one of `cells` did.
    pub(super) fn series(&self, rules: &Rules, alpha: f64, cells: &[CellComparison]) -> Vec<SeriesComparison> {
        let finish = |draft: &SeriesDraft| {
            let moved = cells.iter().any(|c| draft.covers(c) && c.moved());
            // Of dimensions evenly apart, the exponent moves by so much of what the cells do.
            let lever = std::f64::consts::SQRT_2 / draft.span.max(1e-9);
            draft.finish(rules, moved, |tolerance| self.builder.limits(tolerance, alpha, lever))
        };
        self.series.iter().map(finish).collect()
    }

    /// What a reader must know, one sentence each.
    pub(super) fn notes(&self) -> Vec<String> {
        self.builder.notes()
    }

    /// New over base of what all methods share, of the device where it is largest.
    pub(super) fn shared(&self) -> Option<f64> {
        let of_devices = self.builder.pooled.iter().flat_map(|pooled| &pooled.shared);
        of_devices.map(|(_, log)| log.exp()).max_by(f64::total_cmp)
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
    /// Its interval, where that is not the change's.
    interval: Option<Estimate>,
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
    /// Apart where a side has several numbers of them.
    threads: Threads,
    /// Whether the rounds belong together: measured in turn, or the same records.
    paired: bool,
    /// Two sweeps of one machine as wholes, where no calibration kernel says how fast it was.
    pooled: Option<Pooled>,
}

impl<'a> Builder<'a> {
    fn new(sides: &'a Sides<'a>) -> Self {
        let paired = sides.paired || sides.base.records == sides.new.records;
        let base_from = if paired { sides.first_round } else { 0 };
        let settings = [sides.base, sides.new].map(|study| &study.run.settings);
        let has_several = settings.iter().any(|settings| !settings.other_threads.is_empty());
        let threads = if has_several { Threads::Apart } else { Threads::Alike };
        let base = Points::new(sides.base, base_from, paired, threads);
        let new = Points::new(sides.new, sides.first_round, paired, threads);
        let same_machine = sides.base.run.machine.fingerprint() == sides.new.run.machine.fingerprint();
        let same_threads = has_several || settings[0].threads == settings[1].threads;
        let pools = same_machine && same_threads && !(base.interleaved && new.interleaved);
        let pooled = pools.then(|| Pooled::of(&base, &new));
        Self { sides, base, new, same_machine, threads, paired, pooled }
    }

    /// Where verdicts begin. Of two sweeps, each cell may miss its tolerance with a probability of 5 %: that all are
    /// *same* is then wrong with no more (an intersection of tests: Berger, *Technometrics* 24, 1982). What an hour
    /// does to a cell makes none *worse*; a quantity moves by `lever` times that.
    fn limits(&self, tolerance: f64, alpha: f64, lever: f64) -> Limits {
        const MISSED: f64 = 0.05;
        let limits = Limits::new(tolerance, alpha, self.paired);
        match &self.pooled {
            Some(pooled) => Limits {
                floor: limits.floor.max(lever * reach_of_hours(pooled.hours, alpha)),
                missed: alpha.max(MISSED),
                ..limits
            },
            None => limits,
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
                let of = |rounds| peak(rounds, self.paired);
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
        let absolute = self.pooled.is_none() && (calibrated.is_none() || self.sides.absolute);
        let judge_time = self.paired || (self.same_machine && absolute);
        let mut changes: Vec<Measured> = self.time(point, method, judge_time).into_iter().collect();
        changes.extend(self.apart(point, method));
        changes.extend(calibrated);
        if !self.paired && !Method::BASELINES.contains(&method) {
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
        let [base, new] = [self.sides.base, self.sides.new].map(|study| study.run.settings.threads);
        self.threads == Threads::Apart || base == new
    }

    fn time(&self, point: &Point, method: Method, judged: bool) -> Option<Measured> {
        let (base, new) = (self.base.rounds(point, method)?, self.new.rounds(point, method)?);
        let [base_logs, new_logs] =
            [base, new].map(|rounds| rounds::log_medians(rounds).into_values().collect::<Vec<_>>());
        let kind = Kind::Time;
        if self.paired {
            // Each round says by itself how much longer one side took; means are what agrees with that.
            let change = Change::paired(&rounds::between(new, base, true))?;
            let (base, new) = if self.sides.paired {
                (geometric_mean(&base_logs)?, geometric_mean(&new_logs)?)
            } else {
                // A folder against itself: what its report says.
                (rounds::processes(base).median()?, rounds::processes(new).median()?)
            };
            return Some(Measured { kind, base, new, shown: change.log.exp(), change, judged, interval: None });
        }
        let change = Change::between(&base_logs, &new_logs)?;
        let (base, new) = (rounds::processes(base).median()?, rounds::processes(new).median()?);
        Some(Measured { kind, base, new, shown: new / base, change, judged, interval: None })
    }

    /// The time of two sweeps without what all methods share.
    fn apart(&self, point: &Point, method: Method) -> Option<Measured> {
        let (base, change) = self.pooled.as_ref()?.change(point, method)?;
        let (base, shown) = (base.exp(), change.log.exp());
        let kind = Kind::TimeApart;
        Some(Measured { kind, base, new: base * shown, shown, change, judged: true, interval: None })
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
        if self.paired {
            return None;
        }
        let method = Subject::from(method);
        let [base, new] = [&self.base, &self.new].map(|side| side.log_ratios(point, method, other));
        let change = Change::between(&base, &new)?;
        let (over, under) = if kind.is_speedup() { (other, method) } else { (method, other) };
        let sides = [&self.base, &self.new];
        let [Some(base), Some(new)] = sides.map(|side| side.ratio(point, over, under)) else { return None };
        let judged = self.pooled.is_none();
        let interval = || {
            let [base, new] = sides.map(|side| side.ratio_estimate(point, over, under));
            Some(quotient(&base?, &new?))
        };
        let interval = if judged { None } else { interval() };
        Some(Measured { kind, base, new, shown: new / base, change, judged, interval })
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
                judged: self.paired || self.same_machine,
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
        let logs: Vec<f64> = self
            .base
            .rounds(point, method)
            .map(rounds::log_medians)
            .into_iter()
            .flatten()
            .map(|(_, log)| log)
            .collect();
        let error = Change::paired(&logs).map_or(0.0, |c| c.error);
        (geometric_mean(&logs).unwrap_or(f64::NAN), if error.is_finite() { error } else { 0.0 })
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.shared_notes();
        if self.paired && !self.sides.paired {
            notes.push("Both sides are the same records.".into());
        }
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

    /// What all methods share, by device.
    fn shared_notes(&self) -> Vec<String> {
        let shared = self.pooled.iter().flat_map(|pooled| &pooled.shared);
        let said = |(device, log): &(DeviceKind, f64)| {
            format!(
                "All methods on {device} changed by {:+.1} % together. It is taken out: another hour does that, and so \
                 does code that all use. relgrad gate --against judges it.",
                100.0 * log.exp_m1()
            )
        };
        shared.map(said).collect()
    }

    /// What changes a time and is not the same on both sides.
    fn settings_apart(&self) -> Vec<String> {
        let [base, new] = [self.sides.base, self.sides.new].map(|study| &study.run.settings);
        let mut notes = Vec::new();
        if !self.same_threads() {
            notes.push(format!("The sides used {} and {} threads: nothing is judged.", base.threads, new.threads));
        }
        let words = |settings: &Settings| {
            let device = settings.devices.first().copied().unwrap_or(DeviceKind::Cpu);
            let layers = settings.convolution.as_ref().map_or("dense".to_string(), Convolution::describe_layers);
            let bias = if settings.bias { "with bias" } else { "without bias" };
            let update = settings.update.map_or("none", UpdateRule::name).to_string();
            let tuning = settings.tuning.to_string();
            let activation = settings.activation.to_string();
            [settings.arithmetic(device).to_string(), activation, bias.into(), layers, update, tuning]
        };
        let kinds = ["arithmetic", "activation", "bias", "layers", "update", "tuning"];
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
        let kinds = [Kind::Time, Kind::TimeApart, Kind::TimeOverGemm, Kind::TimeOverCopy];
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
        let Self { kind, base, new, shown, change, judged, interval } = *self;
        let verdict = judge(&change, limits);
        let more_rounds = (verdict == Verdict::Inconclusive).then(|| rounds_to_decide(&change, limits)).flatten();
        let interval = interval.unwrap_or_else(|| match kind {
            Kind::Exponent => change.difference(),
            _ if kind.is_speedup() => change.reversed().factor(),
            _ => change.factor(),
        });
        // A mean over the rounds and their medians may differ.
        let change = Estimate { value: shown, low: interval.low.min(shown), high: interval.high.max(shown) };
        Quantity { kind, base, new, change, verdict, judged, rounds: self.change.rounds, more_rounds }
    }
}

impl SeriesDraft {
    fn covers(&self, cell: &CellComparison) -> bool {
        self.method == cell.method && alike(&self.point, &cell.point)
    }

    fn finish(&self, rules: &Rules, moved: bool, limits: impl Fn(f64) -> Limits) -> SeriesComparison {
        // What the tolerated slowdown at one end of the range alone does to the exponent is tolerated too.
        let of_slowdown = if self.span > 0.0 { rules.max_slowdown.ln_1p() / self.span } else { 0.0 };
        let limits = limits(rules.max_exponent_rise.max(of_slowdown));
        let quantity = |change: Change| {
            let judged = self.judged;
            let kind = Kind::Exponent;
            Measured { kind, base: 0.0, new: 0.0, shown: change.log, change, judged, interval: None }.quantity(&limits)
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
