//! What a reader must know before trusting a number.

use super::{Group, Rounds, check_failed, is_valid};
use crate::record::{Outcome, Record};
use crate::stats::diagnosis::{drift, slow_outliers};
use crate::study::Study;
use crate::units::grouped;

/// Fewest samples of a cell whose interval means something.
const MIN_SAMPLES: usize = 5;
/// Share of slow outliers in a cell from which the machine was not quiet.
const OUTLIER_SHARE: f64 = 0.1;
/// Load average per logical core at the start from which something else was running.
const BUSY_LOAD: f64 = 0.25;

/// One sentence per kind of trouble and series, the run's own first.
pub(super) fn of(study: &Study, groups: &[Group<'_>]) -> Vec<String> {
    let mut warnings = study.warnings.clone();
    warnings.extend(of_run(study));
    if study.run.settings.rounds == 1
        && groups.iter().any(|g| g.cells.values().any(|c| c.processes.rounds() > 0))
    {
        warnings.push(
            "Each cell was measured in one process only, so intervals leave out the differences between processes; \
             use --rounds 3 or more."
                .into(),
        );
    }
    for group in groups {
        warnings.extend(of_group(study, group));
    }
    warnings
}

fn of_run(study: &Study) -> Vec<String> {
    let run = &study.run;
    let mut warnings = Vec::new();
    if let Some(load) = run.machine.load_average {
        let cores = run.machine.logical_cores.max(1);
        if load > BUSY_LOAD * cores as f64 {
            warnings.push(format!(
                "The load average was {load:.2} on {cores} logical cores at the start: other programs were running."
            ));
        }
    }
    if run.git_revision.as_ref().is_some_and(|r| r.ends_with("-dirty")) {
        warnings.push("The source had uncommitted changes, so its revision does not identify it.".into());
    }
    let settings = &run.settings;
    let planned = settings.dims.len() * settings.methods.len() * settings.devices.len() * settings.rounds;
    let missing = planned.saturating_sub(study.records.len());
    if missing > 0 {
        warnings.push(format!(
            "{missing} of {planned} cells have no record: the sweep was cut off or is still running; \
             relgrad sweep --resume completes it."
        ));
    }
    warnings
}

fn of_group(study: &Study, group: &Group<'_>) -> Vec<String> {
    let dims_where = |test: &dyn Fn(&Rounds<'_>) -> bool| -> Vec<usize> {
        group.cells.iter().filter(|(_, rounds)| test(rounds)).map(|(&dim, _)| dim).collect()
    };
    let measured = |rounds: &Rounds<'_>| rounds.processes.rounds() > 0;
    let planned = study.run.settings.rounds;
    let checks: [(&str, Vec<usize>); 8] = [
        (
            "the gradient failed its check, so these cells have no valid time",
            dims_where(&|c| c.records.iter().any(|r| check_failed(r))),
        ),
        (
            "a process failed although others of the same cell were measured",
            dims_where(&|c| measured(c) && c.records.iter().any(|r| r.outcome == Outcome::Failed)),
        ),
        (
            "fewer processes than planned, so intervals are wide or leave out the differences between processes",
            dims_where(&|c| measured(c) && c.processes.rounds() < planned),
        ),
        (
            "fewer than 5 samples, so intervals say little",
            dims_where(&|c| measured(c) && c.processes.samples() < MIN_SAMPLES),
        ),
        (
            "times drifted by more than 2 % from the first to the second half of a process's samples",
            dims_where(&|c| c.valid().any(|r| drift(&r.seconds).is_some())),
        ),
        ("more than a tenth of the samples are slow outliers", dims_where(&many_outliers)),
        ("the GPU held its clocks back; the records say why", dims_where(&|c| c.valid().any(throttled))),
        (
            "the driver's free memory fell by something else than what our buffers took",
            dims_where(&|c| c.valid().any(books_disagree)),
        ),
    ];
    checks
        .into_iter()
        .filter(|(_, dims)| !dims.is_empty())
        .map(|(what, dims)| format!("{} on {}, D = {}: {what}.", group.method, group.device, list(&dims)))
        .collect()
}

fn many_outliers(rounds: &Rounds<'_>) -> bool {
    let valid = rounds.records.iter().filter(|r| is_valid(r));
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
