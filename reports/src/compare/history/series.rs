//! One cell's number over the runs.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use relgrad_vocabulary::{Subject, names};

use crate::units;

use super::{ChangePoint, Entry, EntryCell, change_points};

names! {
    /// Which number of a cell.
    Metric, "metric", {
        /// Median seconds.
        Time = "time",
        /// Time over that of the matrix product of the same shape.
        TimeOverGemm = "time-over-gemm",
        /// Time of `ordinary` over this one's.
        SpeedupOverOrdinary = "speedup-over-ordinary",
        /// Time of `autodiff` over this one's.
        SpeedupOverAutodiff = "speedup-over-autodiff",
        /// Peak memory in bytes.
        PeakMemory = "peak-memory",
    }
}

impl Metric {
    /// A value as people read it.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Time => units::seconds(value),
            Self::PeakMemory => units::bytes(value),
            _ => format!("{value:.3}×"),
        }
    }

    fn of(self, cell: &EntryCell) -> Option<f64> {
        match self {
            Self::Time => Some(cell.seconds.value),
            Self::TimeOverGemm => cell.over_gemm,
            Self::SpeedupOverOrdinary => cell.speedup_over_ordinary,
            Self::SpeedupOverAutodiff => cell.speedup_over_autodiff,
            Self::PeakMemory => cell.peak_bytes.map(|b| b as f64),
        }
    }
}

/// One cell's metric over the runs of one machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Fingerprint of the machine.
    pub machine: String,
    /// The cell in words: method, device, type and every other setting that changes its time, N, L, D.
    pub name: String,
    /// The method.
    pub method: Subject,
    /// Data dimension D.
    pub dim: usize,
    /// Index of the run among all entries, and the value there.
    pub values: Vec<(usize, f64)>,
    /// Changes of level; their index is that of a run among all entries.
    pub changes: Vec<ChangePoint>,
}

/// The series of a metric, by machine and cell. Ratios that hold across machines still stand apart by machine: a change
/// of the machine is no change of the code.
pub fn series(entries: &[Entry], metric: Metric) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    for (run, entry) in entries.iter().enumerate() {
        for cell in &entry.cells {
            let Some(value) = metric.of(cell).filter(|v| v.is_finite() && *v > 0.0) else { continue };
            let name = cell.name();
            match places.entry((entry.machine.clone(), name.clone())) {
                Slot::Occupied(place) => all[*place.get()].values.push((run, value)),
                Slot::Vacant(place) => {
                    place.insert(all.len());
                    all.push(Series {
                        machine: entry.machine.clone(),
                        name,
                        method: cell.method,
                        dim: cell.dim,
                        values: vec![(run, value)],
                        changes: Vec::new(),
                    });
                }
            }
        }
    }
    for series in &mut all {
        let values: Vec<f64> = series.values.iter().map(|(_, v)| *v).collect();
        let at_run = |change: ChangePoint| ChangePoint { index: series.values[change.index].0, ..change };
        series.changes = change_points(&values).into_iter().map(at_run).collect();
    }
    all
}
