//! Warnings: what a reader must know before trusting a number.

use std::collections::BTreeMap;

use super::{Group, Rounds};
use crate::record::run::Settings;
use crate::record::study::Study;
use crate::record::{Outcome, Record};
use crate::statistics::diagnosis::{clock_is_coarse, disagreement, drift, slow_outliers};
use crate::statistics::median;
use crate::statistics::summary::{CellSummary, MachineStates, Series};
use crate::units::{self, grouped};

/// Fewest samples of a cell whose interval means something.
const MIN_SAMPLES: usize = 5;
/// Share of slow outliers in a cell from which the machine was not quiet.
const OUTLIER_SHARE: f64 = 0.1;
/// How much longer the slowest process of a cell may take than the fastest before they disagree.
const DISAGREEMENT: f64 = 0.25;
/// How far a round may be from the others, over all cells, before the machine has changed between them.
const ROUND_DEVIATION: f64 = 0.05;
/// Fewest cells that tell this.
const ROUND_CELLS: usize = 5;
/// Fewest processes whose differences an interval can know.
const FEW_ROUNDS: usize = 3;
/// Load average per logical core at the start from which something else may have been running.
const BUSY_LOAD: f64 = 0.25;

/// One sentence per kind of trouble, the run's own first.
pub(super) fn of(study: &Study, groups: &[Group<'_>], states: &[MachineStates]) -> Vec<String> {
    let mut warnings = study.warnings.clone();
    warnings.extend(of_run(study));
    if groups.iter().any(|g| g.cells.values().any(|c| c.processes.rounds() > 0)) {
        warnings.extend(few_rounds(study.run.settings.rounds));
    }
    if states.is_empty() {
        warnings.extend(odd_rounds(groups));
    }
    warnings.extend(states.iter().map(two_states));
    warnings.extend(of_cells(study, groups));
    warnings
}

fn two_states(states: &MachineStates) -> String {
    format!(
        "The machine had two states that lasted for a while ({}): in the slow one a gradient takes {} as long, and {} \
         of {} processes ran in it. Each time is the median of its processes; its interval spans both states.",
        states.device,
        units::ratio_estimate(&states.factor),
        grouped(states.slow),
        grouped(states.processes),
    )
}

/// Cells that are faster than their ceilings.
pub(super) fn of_ceilings(series: &[Series], settings: &Settings) -> Option<String> {
    let above = series.iter().filter_map(|series| {
        let is_above = |point: &&CellSummary| point.ceiling.is_some_and(|ceiling| ceiling.is_exceeded());
        let dims: Vec<usize> = series.points.iter().filter(is_above).map(|point| point.dim).collect();
        let name = format!("{} on {}{}", series.method, series.device, settings.apart(series.held()));
        (!dims.is_empty()).then(|| format!("{name}, D = {}", list(&dims)))
    });
    let places = above.collect::<Vec<_>>().join("; ");
    let told = "faster than the measured ceiling by more than 5 %, so the machine was slower when its ceilings were \
                measured";
    (!places.is_empty()).then(|| format!("{places}: {told}."))
}

fn few_rounds(rounds: usize) -> Option<String> {
    let what = match rounds {
        1 => "one process only, so the differences between processes are not known and times have no interval",
        n if n < FEW_ROUNDS => "two processes only, so intervals are several times wider than with three",
        _ => return None,
    };
    Some(format!("Each cell was measured in {what}; use --rounds 3 or more."))
}

/// Rounds that differ from the others by the same factor in the middle of all cells: the machine was another then.
fn odd_rounds(groups: &[Group<'_>]) -> Vec<String> {
    let mut deviations: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for processes in groups.iter().flat_map(|g| g.cells.values()).map(|c| &c.processes) {
        let Some(center) = processes.median().filter(|_| processes.rounds() >= FEW_ROUNDS) else { continue };
        for (round, median) in processes.medians() {
            deviations.entry(round).or_default().push(median / center);
        }
    }
    let told = |(round, ratios): (usize, Vec<f64>)| {
        let deviation = median(&ratios).filter(|_| ratios.len() >= ROUND_CELLS)? - 1.0;
        (deviation.abs() > ROUND_DEVIATION).then(|| {
            let direction = if deviation > 0.0 { "slower" } else { "faster" };
            format!(
                "Round {} was {direction} than the others by {:.0} % in the median over {} cells: the machine changed \
                 between rounds.",
                round + 1,
                100.0 * deviation.abs(),
                ratios.len()
            )
        })
    };
    deviations.into_iter().filter_map(told).collect()
}

fn of_run(study: &Study) -> Vec<String> {
    let run = &study.run;
    let mut warnings = Vec::new();
    let accounted = study.records.iter().any(|r| r.state.is_some_and(|state| state.foreign_seconds.is_some()));
    // The load average has the past in it, and relgrad's own work: only where nothing better is known.
    if let Some(load) = run.machine.load_average.filter(|_| !accounted) {
        let cores = run.machine.logical_cores.max(1);
        if load > BUSY_LOAD * cores as f64 {
            warnings.push(format!(
                "The load average was {load:.2} on {cores} logical cores at the start: other programs may have been \
                 running."
            ));
        }
    }
    let cores = run.machine.logical_cores;
    for threads in run.settings.thread_counts().filter(|threads| *threads > cores && cores > 0) {
        warnings.push(format!(
            "{threads} threads ran on {cores} logical cores: they wait for one another, which lengthens the times."
        ));
    }
    if run.git_revision.as_ref().is_some_and(|r| r.ends_with("-dirty")) {
        warnings.push("The source had uncommitted changes, so its revision does not identify it.".into());
    }
    let settings = &run.settings;
    let planned = settings.cell_count().unwrap_or(usize::MAX);
    let missing = planned.saturating_sub(study.records.len());
    if missing > 0 {
        warnings.push(format!(
            "{missing} of {planned} cells have no record: the sweep was stopped or is still running; \
             relgrad sweep --resume completes it."
        ));
    }
    warnings
}

/// One sentence per kind of trouble, naming the cells that have it.
fn of_cells(study: &Study, groups: &[Group<'_>]) -> Vec<String> {
    let measured = |rounds: &Rounds<'_>| rounds.processes.rounds() > 0;
    let planned = study.run.settings.rounds;
    type Test<'a> = &'a dyn Fn(&Rounds<'_>) -> bool;
    let clocks = study.clocks();
    let kinds: [(&str, Test<'_>); 14] = [
        ("the gradient failed its check, so these cells have no valid time", &|c| {
            c.records.iter().any(|r| r.check_failed())
        }),
        ("a process failed although others of the same cell were measured", &|c| {
            measured(c) && c.records.iter().any(|r| r.outcome == Outcome::Failed)
        }),
        ("fewer processes than planned, so intervals are wide", &|c| {
            c.processes.rounds() > 1 && c.processes.rounds() < planned && c.scatter_from.is_none()
        }),
        ("one or two processes, so the interval has the scatter between processes of the nearest dimensions", &|c| {
            c.scatter_from.is_some()
        }),
        ("one process and no dimension to borrow the scatter between processes from, so no interval", &|c| {
            planned > 1 && c.processes.rounds() == 1 && c.scatter_from.is_none()
        }),
        ("fewer than 5 samples, so intervals are unreliable", &|c| measured(c) && c.processes.samples() < MIN_SAMPLES),
        ("a process had no quiet machine and counts, since the cell has not two that had one", &|c| {
            c.valid().any(|r| clocks.of_record(r).is_some() && c.counts(r))
        }),
        ("a process had no quiet machine and is left out", &|c| c.valid().any(|r| !c.counts(r))),
        ("times drifted by more than 2 % from the first to the second half of a process's samples", &|c| {
            c.valid().any(|r| drift(&r.seconds).is_some())
        }),
        ("more than a tenth of the samples are slow outliers", &many_outliers),
        ("the slowest process took over 25 % longer than the fastest, so the machine was not quiet", &|c| {
            disagreement(&c.processes).is_some_and(|d| d > DISAGREEMENT)
        }),
        ("the clock is too coarse for a sample, so the times have steps", &|c| {
            c.valid().any(|r| clock_is_coarse(&r.seconds, r.evaluations_per_sample))
        }),
        ("the GPU was throttled; records.jsonl states the reasons", &|c| c.valid().any(throttled)),
        ("free device memory fell by another amount than our buffers", &|c| c.valid().any(books_disagree)),
    ];
    let told = |(what, test): (&str, Test<'_>)| {
        let places: Vec<String> = groups.iter().filter_map(|group| place(study, group, &|c| test(c))).collect();
        (!places.is_empty()).then(|| format!("{}: {what}.", places.join("; ")))
    };
    kinds.into_iter().filter_map(told).collect()
}

/// The cells of a group that pass a test, as `relative on cpu, D = 10, 20`.
fn place(study: &Study, group: &Group<'_>, test: &dyn Fn(&Rounds<'_>) -> bool) -> Option<String> {
    let dims: Vec<usize> = group.cells.iter().filter(|(_, rounds)| test(rounds)).map(|(&dim, _)| dim).collect();
    let settings = &study.run.settings;
    let name = format!("{} on {}{}", group.method, group.device, settings.apart(group.held));
    (!dims.is_empty()).then(|| format!("{name}, D = {}", list(&dims)))
}

fn many_outliers(rounds: &Rounds<'_>) -> bool {
    let valid = rounds.records.iter().filter(|r| r.is_valid());
    let outliers: usize = valid.map(|r| slow_outliers(&r.seconds)).sum();
    outliers > 1 && outliers as f64 > OUTLIER_SHARE * rounds.processes.samples() as f64
}

/// Whether a GPU gave a reason for lower clocks just before or after its samples.
fn throttled(record: &Record) -> bool {
    let states = record.gpu.iter().flat_map(|gpu| gpu.before.iter().chain(&gpu.after));
    states.into_iter().any(|state| !state.throttled_by.is_empty())
}

/// Whether our books of device memory and the driver's differ by more than granularity and libraries explain.
fn books_disagree(record: &Record) -> bool {
    const UNEXPLAINED_BYTES: f64 = (64 << 20) as f64;
    const UNEXPLAINED_SHARE: f64 = 0.05;
    let (Some(gpu), Some(peak)) = (&record.gpu, record.peak_bytes) else { return false };
    let difference = (gpu.driver_bytes as f64 - peak as f64).abs();
    difference > UNEXPLAINED_BYTES + UNEXPLAINED_SHARE * peak as f64
}

fn list(dims: &[usize]) -> String {
    dims.iter().map(|&dim| grouped(dim)).collect::<Vec<_>>().join(", ")
}
