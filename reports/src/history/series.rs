//! One cell's number over the runs.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fmt;
use std::str::FromStr;

use relgrad_vocabulary::Subject;

use super::{ChangePoint, Entry, EntryCell, change_points};

/// Which number of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Median seconds.
    Time,
    /// Time over that of the matrix product of the same shape.
    TimeOverGemm,
    /// Time of `ordinary` over this one's.
    SpeedupOverOrdinary,
    /// Time of `autodiff` over this one's.
    SpeedupOverAutodiff,
    /// Peak memory in bytes.
    PeakMemory,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 5] =
        [Self::Time, Self::TimeOverGemm, Self::SpeedupOverOrdinary, Self::SpeedupOverAutodiff, Self::PeakMemory];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::TimeOverGemm => "time-over-gemm",
            Self::SpeedupOverOrdinary => "speedup-over-ordinary",
            Self::SpeedupOverAutodiff => "speedup-over-autodiff",
            Self::PeakMemory => "peak-memory",
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

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|m| m.name() == name).ok_or(format!("unknown metric `{name}`: one of {names}"))
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
