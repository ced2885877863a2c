//! Planted answers: in synthetic records, in timed kernels, in memory.

mod allocations;
mod spin;

use rayon::prelude::*;
use relgrad_reports::selftest::{Covered, DESIGNS, Design, accepted, covered, recoveries};

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) planted: String,
    pub(crate) found: String,
    pub(crate) accepted: String,
    pub(crate) passed: bool,
}

/// How much to try.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trials {
    designs: Vec<Design>,
    studies: usize,
    allocations_mebibytes: Vec<usize>,
}

impl Trials {
    /// Everything.
    pub(crate) fn full(studies: usize) -> Self {
        Self { designs: DESIGNS.into(), studies, allocations_mebibytes: vec![64, 256, 512] }
    }

    /// What takes seconds.
    pub(crate) fn quick() -> Self {
        Self { designs: DESIGNS[..2].into(), studies: 150, allocations_mebibytes: vec![64, 256] }
    }
}

/// Tries everything and tells each row as soon as it is known.
pub(crate) fn run(trials: &Trials, mut tell: impl FnMut(&Row)) {
    // Kernels first: they are timed, and the studies keep every core busy.
    spin::rows().iter().for_each(&mut tell);
    allocations::rows(&trials.allocations_mebibytes).iter().for_each(&mut tell);
    recoveries().iter().map(recovered).for_each(|row| tell(&row));
    for design in &trials.designs {
        shares(design, trials.studies).iter().for_each(&mut tell);
    }
}

fn recovered(recovery: &relgrad_reports::selftest::Recovery) -> Row {
    let yes_or_no = recovery.tolerance == 0.0;
    let found = match recovery.found {
        Some(_) if yes_or_no => "yes".to_string(),
        Some(e) => format!("{:.4} [{:.4}, {:.4}]", e.value, e.low, e.high),
        None => "no".to_string(),
    };
    Row {
        what: format!("records: {}", recovery.what),
        planted: if yes_or_no { "yes".to_string() } else { recovery.planted.to_string() },
        found,
        accepted: if yes_or_no { "yes".to_string() } else { format!("± {} %", 100.0 * recovery.tolerance) },
        passed: recovery.passed(),
    }
}

/// How often each interval of a design's studies holds what was planted.
fn shares(design: &Design, studies: usize) -> Vec<Row> {
    let counts = (0..studies as u64)
        .into_par_iter()
        .map(|seed| covered(design, seed).all().map(usize::from))
        .reduce(|| [0; 5], |a, b| std::array::from_fn(|i| a[i] + b[i]));
    let (low, high) = accepted(studies);
    Covered::NAMES
        .iter()
        .zip(counts)
        .map(|(name, count)| {
            let share = count as f64 / studies as f64;
            Row {
                what: format!("intervals of {studies} studies: {name}, {}", design.name),
                planted: "95 %".to_string(),
                found: format!("{:.1} %", 100.0 * share),
                accepted: format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high),
                passed: (low..=high).contains(&share),
            }
        })
        .collect()
}
