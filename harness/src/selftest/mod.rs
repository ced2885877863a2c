//! Planted answers: in synthetic records, in timed kernels, in memory.

mod allocations;
mod spin;

use std::ops::Range;

use rayon::prelude::*;
use relgrad_reports::selftest::{DESIGNS, Design, Recovery, TRIED, accepted, covered, recoveries, undecided};
use relgrad_reports::summary::Estimate;

use crate::error::Result;

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) planted: String,
    pub(crate) found: String,
    pub(crate) accepted: String,
    pub(crate) passed: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trials {
    designs: Vec<Design>,
    studies: usize,
    allocations_mebibytes: Vec<usize>,
}

impl Trials {
    pub(crate) fn full(studies: usize) -> Self {
        Self { designs: DESIGNS.into(), studies, allocations_mebibytes: vec![64, 256, 512] }
    }

    /// What takes seconds.
    pub(crate) fn quick() -> Self {
        Self { designs: DESIGNS[..2].into(), studies: 300, allocations_mebibytes: vec![64, 256] }
    }
}

/// Tries everything and tells each row as soon as it is known.
pub(crate) fn run(trials: &Trials, mut tell: impl FnMut(&Row)) -> Result<()> {
    // Kernels first: they are timed, and the studies keep every core busy.
    spin::recoveries().iter().for_each(|found| tell(&recovered("timed kernels", found)));
    allocations::rows(&trials.allocations_mebibytes)?.iter().for_each(&mut tell);
    recoveries().iter().for_each(|found| tell(&recovered("records", found)));
    for design in &trials.designs {
        shares(design, trials.studies).iter().for_each(&mut tell);
    }
    Ok(())
}

fn recovered(place: &str, recovery: &Recovery) -> Row {
    let yes_or_no = recovery.tolerance == 0.0;
    let unless_yes = |number: String| if yes_or_no { "yes".to_string() } else { number };
    let interval = |e: Estimate| unless_yes(format!("{:.4} [{:.4}, {:.4}]", e.value, e.low, e.high));
    Row {
        what: format!("{place}: {}", recovery.what),
        planted: unless_yes(recovery.planted.to_string()),
        found: recovery.found.map_or("no".to_string(), interval),
        accepted: unless_yes(format!("± {} %", 100.0 * recovery.tolerance)),
        passed: recovery.passed(),
    }
}

/// How many times the studies a design gets in all where a share of the first is near to an edge of what is accepted.
/// Of 1,000 studies a true 96 % is beyond 97 % one time in twenty, of 4,000 one in a thousand.
const MORE: usize = 4;

/// How often each interval of a design's studies holds what was planted.
fn shares(design: &Design, studies: usize) -> Vec<Row> {
    let mut counts = count(design, 0..studies);
    let mut all = studies;
    if counts.iter().any(|count| undecided(*count as f64 / studies as f64, studies)) {
        all = MORE * studies;
        let more = count(design, studies..all);
        counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
    }
    let (low, high) = accepted(all);
    let row = |(name, count)| {
        let share = count as f64 / all as f64;
        Row {
            what: format!("intervals of {all} studies: {name}, {}", design.name),
            planted: "95 %".to_string(),
            found: format!("{:.1} %", 100.0 * share),
            accepted: format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high),
            passed: (low..=high).contains(&share),
        }
    };
    TRIED.iter().zip(counts).map(row).collect()
}

/// How many of the studies with these seeds each interval holds.
fn count(design: &Design, seeds: Range<usize>) -> [usize; 5] {
    seeds
        .into_par_iter()
        .map(|seed| covered(design, seed as u64).map(usize::from))
        .reduce(|| [0; 5], |a, b| std::array::from_fn(|i| a[i] + b[i]))
}
