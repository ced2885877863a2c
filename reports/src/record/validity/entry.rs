//! A line of the history's store.

use std::collections::HashSet;

use super::{BATCH, Checked, DIM, LAYERS, RANKS, SECONDS, THREADS, activation, at_most, bytes, count, moment, number};
use crate::compare::history::{Entry, EntryCell};
use crate::record::run::Settings;

/// Checks every number and name of an entry, and that no cell stands in it twice.
pub(crate) fn entry(entry: &Entry) -> Checked {
    moment("started", &entry.started)?;
    at_most("cells", entry.cells.len(), Settings::MOST_CELLS)?;
    entry.cells.iter().try_for_each(cell)?;
    let mut names = HashSet::new();
    match entry.cells.iter().map(EntryCell::name).find(|name| !names.insert(name.clone())) {
        Some(name) => Err(format!("the cell {name} occurs twice")),
        None => Ok(()),
    }
}

fn cell(cell: &EntryCell) -> Checked {
    count("dim", cell.dim, &DIM)?;
    count("batch", cell.batch, &BATCH)?;
    count("layers", cell.layers, &LAYERS)?;
    count("threads", cell.threads.unwrap_or(1), &THREADS)?;
    count("ranks", cell.ranks, &RANKS)?;
    cell.activation.map_or(Ok(()), activation)?;
    at_most("characters of convolution", cell.convolution.as_ref().map_or(0, String::len), 200)?;
    number("seconds", cell.seconds.value, &SECONDS)?;
    // Ends of an interval are exponentials of what a few processes tell, and may lie far out.
    number("the lower end of seconds", cell.seconds.low, &(0.0..=f64::MAX))?;
    number("the upper end of seconds", cell.seconds.high, &(0.0..=f64::MAX))?;
    let ratios = [cell.over_gemm, cell.speedup_over_ordinary, cell.speedup_over_autodiff];
    ratios.into_iter().flatten().try_for_each(|ratio| number("a ratio of times", ratio, &(1e-21..=1e21)))?;
    bytes("peak_bytes", cell.peak_bytes.unwrap_or(0))
}
