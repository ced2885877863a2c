//! From records to a summary.

mod axes;
mod fits;
mod ranks;
mod spells;
mod threads;
mod warnings;

use std::collections::{BTreeMap, HashSet};

use relgrad_vocabulary::{DeviceKind, Method, Subject};

use crate::record::roofline::{Ceiling, Ceilings};
use crate::record::study::Study;
use crate::record::{Cell, Held, Outcome, Record, SCHEMA_VERSION};
use crate::statistics::bootstrap::Pairs;
use crate::statistics::fit::Observation;
use crate::statistics::scatter::{Scatter, Variance};
use crate::statistics::summary::{CellSummary, Estimate, Series, Stop, Summary};
use crate::statistics::{Processes, median_estimate};
use spells::Spells;

impl Summary {
    /// Reduces every cell to its estimates, fits the exponents and collects the warnings.
    ///
    /// A dimension with at least one valid measurement becomes a [`CellSummary`] over the rounds that have one; any
    /// other a [`Stop`]. A measured record whose check failed is not valid: a wrong gradient has no speed.
    /// The same study always gives the same summary.
    pub fn of(study: &Study) -> Self {
        let mut groups = group(study);
        groups.iter_mut().for_each(Group::lend);
        let states = spells::find(&mut groups);
        let summarized = groups.iter().map(|group| {
            let baseline = |method: Method| {
                groups.iter().find(|g| g.method == method && g.method != group.method && g.is_beside(group))
            };
            let ceilings = study.run.roofline(group.device);
            summarize(group, baseline(Method::Ordinary), baseline(Method::Autodiff), ceilings)
        });
        let mut series: Vec<Series> = summarized.collect();
        for (index, group) in groups.iter().enumerate() {
            let least = LeastTime::new(study.run.roofline(group.device), &series, group.device);
            fits::complete(&mut series[index], group, &study.run.settings, &least);
        }
        let mut warnings = warnings::of(study, &groups, &states);
        warnings.extend(warnings::of_ceilings(&series, &study.run.settings));
        let thread_scaling = threads::scaling(&groups, &series, &study.run);
        let rank_scaling = ranks::scaling(&groups, &series, &study.run.settings);
        Self {
            schema: SCHEMA_VERSION,
            series,
            scaling: axes::scaling(&groups, &study.run.settings),
            thread_scaling,
            rank_scaling,
            overtakings: axes::overtakings(&groups, &study.run.settings),
            states,
            warnings,
        }
    }
}

/// With fewer processes a cell borrows from the scatter of others: Student's t of one degree of freedom is 12.7.
const FEW: usize = 3;

/// The records of one method on one device, everything but D held fixed, by dimension.
struct Group<'a> {
    method: Subject,
    device: DeviceKind,
    held: Held,
    cells: BTreeMap<usize, Rounds<'a>>,
}

impl Group<'_> {
    /// Whether both differ in nothing but the method, so that their ratio is a speed-up.
    fn is_beside(&self, other: &Self) -> bool {
        (self.device, self.held) == (other.device, other.held)
    }

    /// Gives each cell with one or two processes the scatter of the nearest cells with more.
    fn lend(&mut self) {
        for few in 1..FEW {
            let cells = self.cells.iter().filter(|(_, rounds)| rounds.processes.rounds() > few);
            let scatter = Scatter::of_cells(cells.map(|(&dim, rounds)| (dim, &rounds.processes)));
            for (&dim, rounds) in self.cells.iter_mut().filter(|(_, rounds)| rounds.processes.rounds() == few) {
                let near = scatter.near(dim);
                rounds.processes.lend(near.map(|(scatter, _)| scatter));
                rounds.scatter_from = near.map(|(_, from)| from);
            }
        }
    }

    /// The measured dimensions.
    fn observations(&self) -> Vec<Observation<'_>> {
        let measured = self.cells.iter().filter(|(_, rounds)| rounds.processes.rounds() > 0);
        measured.map(|(&x, rounds)| Observation { x, processes: &rounds.processes }).collect()
    }
}

/// The records of one cell, one a round.
struct Rounds<'a> {
    records: Vec<&'a Record>,
    processes: Processes,
    /// The dimensions that the scatter of one or two processes is from.
    scatter_from: Option<(usize, usize)>,
    /// The states of the machine, where it had two.
    spells: Option<Spells>,
}

impl<'a> Rounds<'a> {
    fn new(mut records: Vec<&'a Record>, left_out: &HashSet<Cell>) -> Self {
        records.sort_by_key(|r| r.cell.round);
        let valid = records.iter().filter(|r| r.is_valid() && !left_out.contains(&r.cell));
        let processes = Processes::new(valid.map(|r| (r.cell.round, r.seconds.as_slice())));
        Self { records, processes, scatter_from: None, spells: None }
    }

    /// Whether a valid record is in the statistics.
    fn counts(&self, record: &Record) -> bool {
        self.processes.medians().any(|(round, _)| round == record.cell.round)
    }

    fn valid(&self) -> impl Iterator<Item = &'a Record> {
        self.records.iter().copied().filter(|r| r.is_valid())
    }
}

/// Groups by device, ranks, threads, layers, batch, then method, all in the order of the settings; what the settings
/// lack comes last.
fn group(study: &Study) -> Vec<Group<'_>> {
    let settings = &study.run.settings;
    let left_out = study.left_out();
    let rank = |place: Option<usize>| place.unwrap_or(usize::MAX);
    let mut cells: BTreeMap<_, BTreeMap<usize, Vec<&Record>>> = BTreeMap::new();
    for record in &study.records {
        let method = record.cell.method;
        let (device, dim, held) = (record.cell.point.device, record.cell.point.dim, record.cell.point.held());
        let Held { batch, layers, threads, ranks } = held;
        let key = (
            (rank(settings.devices.iter().position(|d| *d == device)), device),
            (ranks != settings.ranks, ranks),
            (threads != settings.threads, threads),
            (layers != settings.layers, layers),
            (batch != settings.batch, batch),
            (rank(settings.methods.iter().position(|m| method == *m)), method.name(), method),
        );
        cells.entry(key).or_default().entry(dim).or_default().push(record);
    }
    cells
        .into_iter()
        .map(|(((_, device), (_, ranks), (_, threads), (_, layers), (_, batch), (.., method)), cells)| {
            let cells = cells.into_iter().map(|(dim, records)| (dim, Rounds::new(records, &left_out))).collect();
            Group { method, device, held: Held { batch, layers, threads, ranks }, cells }
        })
        .collect()
}

fn summarize(
    group: &Group<'_>,
    ordinary: Option<&Group<'_>>,
    autodiff: Option<&Group<'_>>,
    ceilings: Option<Ceilings<'_>>,
) -> Series {
    let mut series = Series::new(group.method, group.device, group.held);
    let scatters = [ordinary, autodiff].map(|baseline| scatters_of_ratios(group, baseline));
    for (&dim, rounds) in &group.cells {
        let speedup = |baseline: Option<&Group<'_>>, scatters| speedup(group, baseline?, scatters, dim);
        match point(dim, rounds) {
            Some(point) => series.points.push(CellSummary {
                speedup_over_ordinary: speedup(ordinary, &scatters[0]),
                speedup_over_autodiff: speedup(autodiff, &scatters[1]),
                ceiling: ceilings.and_then(|ceilings| ceiling(ceilings, rounds, &point)),
                ..point
            }),
            None => series.stops.extend(stop(dim, rounds)),
        }
    }
    series
}

/// How many times faster a group is than a baseline at one dimension; `scatters` are those of its speed-ups over it.
fn speedup(group: &Group<'_>, baseline: &Group<'_>, scatters: &[Scatter], dim: usize) -> Option<Estimate> {
    let [base, this] = [baseline, group].map(|group| group.cells.get(&dim));
    let mut pairs = Pairs::new(&base?.processes, &this?.processes)?;
    let scatter = scatters.get(pairs.rounds() - 1);
    pairs.lend(scatter.and_then(|scatter| scatter.near(dim)).map(|(scatter, _)| scatter));
    Some(pairs.estimate())
}

/// The scatters of a group's speed-ups over a baseline that one shared round, and that two, borrow from: those of more.
fn scatters_of_ratios(group: &Group<'_>, baseline: Option<&Group<'_>>) -> [Scatter; FEW - 1] {
    let pairs = group.cells.iter().filter_map(|(&dim, rounds)| {
        let base = &baseline?.cells.get(&dim)?.processes;
        Some((dim, Pairs::new(base, &rounds.processes)?.logs()))
    });
    let pairs: Vec<(usize, Vec<f64>)> = pairs.collect();
    std::array::from_fn(|fewer| {
        let more = pairs.iter().filter(|(_, logs)| logs.len() > fewer + 1);
        Scatter::of(more.filter_map(|(dim, logs)| Some((*dim, Variance::of(logs)?))))
    })
}

/// The least time of a cell on a device, by its ceilings.
struct LeastTime<'a> {
    ceilings: Option<Ceilings<'a>>,
    /// By how much the cell that came nearest to its ceiling exceeds it; 1 where none does. Ceilings that a cell
    /// exceeds were disturbed, and are raised by this.
    exceeded: f64,
}

impl<'a> LeastTime<'a> {
    fn new(ceilings: Option<Ceilings<'a>>, series: &[Series], device: DeviceKind) -> Self {
        let points = series.iter().filter(|series| series.device == device).flat_map(|series| &series.points);
        let exceeded = points.filter_map(|point| Some(point.ceiling.as_ref()?.fraction.value)).fold(1.0, f64::max);
        Self { ceilings, exceeded }
    }

    /// Seconds; 0 where the ceilings are not known.
    fn of(&self, rounds: &Rounds<'_>) -> f64 {
        let known = self.ceilings.zip(rounds.records.first()).and_then(|(ceilings, record)| {
            let place = &record.cell.point;
            ceilings.ceiling(&record.model, place.arithmetic(), place.threads, &Estimate::exact(1.0))
        });
        known.map_or(0.0, |ceiling| ceiling.seconds / self.exceeded)
    }
}

/// The estimates of one cell, speed-ups and ceiling left out; `None` without a valid measurement.
fn point(dim: usize, rounds: &Rounds<'_>) -> Option<CellSummary> {
    let median = median_estimate(&rounds.processes)?;
    let states = rounds.spells.as_ref().map_or(Vec::new(), |spells| spells.states(&rounds.processes));
    let seconds = states.iter().fold(median, |all, state| Estimate {
        low: all.low.min(state.seconds.low),
        high: all.high.max(state.seconds.high),
        ..all
    });
    let model = rounds.valid().next()?.model;
    let errors = rounds.valid().filter_map(|r| r.check.as_ref()).map(|c| c.max_rel_err);
    Some(CellSummary {
        dim,
        seconds,
        rounds: rounds.processes.rounds(),
        samples: rounds.processes.samples(),
        peak_bytes: rounds.valid().filter_map(|r| r.peak_bytes).max(),
        model,
        gflops: model.flops / seconds.value / 1e9,
        ceiling: None,
        speedup_over_ordinary: None,
        speedup_over_autodiff: None,
        check_max_rel_err: errors.reduce(f64::max),
        inverse_error: rounds.valid().filter_map(|r| r.inverse_error).reduce(f64::max),
        scatter_from: rounds.scatter_from,
        states,
    })
}

/// The least time of a cell on its machine, for the number type and threads of its records.
fn ceiling(ceilings: Ceilings<'_>, rounds: &Rounds<'_>, point: &CellSummary) -> Option<Ceiling> {
    let place = &rounds.valid().next()?.cell.point;
    ceilings.ceiling(&point.model, place.arithmetic(), place.threads, &point.seconds)
}

/// Why a cell has no measurement. A failure says more than a skip, so it is the one reported.
fn stop(dim: usize, rounds: &Rounds<'_>) -> Option<Stop> {
    let told = rounds.records.iter().find(|r| r.outcome != Outcome::Skipped).or(rounds.records.first())?;
    let reason = match &told.reason {
        Some(reason) => reason.shown(),
        None if told.check_failed() => "the gradient failed its check".into(),
        None if told.outcome == Outcome::Measured => "no usable sample".into(),
        None => "no reason recorded".into(),
    };
    let outcome = if told.outcome == Outcome::Skipped { Outcome::Skipped } else { Outcome::Failed };
    Some(Stop {
        dim,
        outcome,
        reason,
        predicted_seconds: told.prediction.map(|p| p.seconds),
        predicted_bytes: told.prediction.map(|p| p.peak_bytes),
        at_least_seconds: None,
        extrapolated_seconds: None,
    })
}
