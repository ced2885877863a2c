//! The limits of a sweep, and which of them kept a cell from a measurement.

use relgrad_reports::record::{Cell, Failure, Reason, Record};

use super::Planned;
use super::forecast::Forecast;
use crate::measure::workload::DeviceKind;

/// An uncertain prediction must exceed a limit by this factor before it rules a cell out: trying is how one finds out,
/// and the time limit bounds the attempt.
const DOUBT: f64 = 4.0;
/// Part of the budget kept for the last cell's overrun and the report.
pub(super) const RESERVED_SHARE: f64 = 0.02;

/// The limits of a sweep; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    /// Seconds for the whole sweep.
    pub(crate) budget_seconds: Option<f64>,
    /// Seconds for the evaluations of one cell, warm-up included; building and checking the problem come on top.
    pub(crate) cell_seconds: Option<f64>,
    /// Bytes of host memory for one cell.
    pub(crate) memory_bytes: f64,
    /// Bytes of device memory for one cell on a GPU; the host's limit where there is none.
    pub(crate) device_memory_bytes: Option<f64>,
    /// Samples that a measured cell should have at least.
    pub(crate) min_samples: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Budget,
    Cell,
    Memory,
}

impl Limit {
    /// Whether this limit kept the record's cell from a measurement, so that a higher one may allow it. A cell that was
    /// killed for its time, and those not tried for that, had too little of both times.
    pub(crate) fn held_back(self, record: &Record) -> bool {
        match record.failure() {
            Some(Failure::TimedOut | Failure::OutOfTime) => matches!(self, Self::Budget | Self::Cell),
            Some(Failure::OverBudget) => self == Self::Budget,
            Some(Failure::OverCellLimit) => self == Self::Cell,
            Some(Failure::OverMemory) => self == Self::Memory,
            _ => false,
        }
    }
}

impl Limits {
    /// Bytes that this cell may take of the memory that its problem lives in.
    fn memory_of(&self, cell: &Cell) -> f64 {
        let device = self.device_memory_bytes.filter(|_| cell.point.device == DeviceKind::Cuda);
        device.unwrap_or(self.memory_bytes)
    }

    /// Seconds of the budget that are left for cells.
    pub(super) fn left(&self, elapsed_seconds: f64) -> Option<f64> {
        let budget = self.budget_seconds?;
        Some((budget * (1.0 - RESERVED_SHARE) - elapsed_seconds).max(0.0))
    }

    /// Why a cell takes more memory than it may, if it does.
    pub(super) fn over_memory(&self, planned: &Planned, forecast: &Forecast) -> Option<Reason> {
        let limit = self.memory_of(&planned.cell);
        // All ranks of a cell are on this machine.
        let wanted = forecast.peak_bytes * planned.cell.point.ranks as f64;
        (wanted > limit).then(|| Reason::over_memory(wanted, limit))
    }

    /// Why even one sample takes longer than the cell limit, if it does.
    pub(super) fn over_cell(&self, forecast: &Forecast) -> Option<Reason> {
        let limit = self.cell_seconds?;
        let doubt = if forecast.trusted { 1.0 } else { DOUBT };
        let evaluations = if self.min_samples == 0 { 1.0 } else { 2.0 };
        let least = evaluations * forecast.evaluation_seconds;
        if least <= doubt * limit {
            return None;
        }
        let alone = forecast.evaluation_seconds > limit;
        Some(Reason::over_cell_limit(if alone { "one evaluation" } else { "a warm-up with one sample" }, limit))
    }

    /// Why a cell that needs `need` seconds is not tried with `left` seconds of the budget.
    pub(super) fn over_budget(&self, need: f64, left: Option<f64>) -> Reason {
        Reason::over_budget(need, left.unwrap_or(0.0), self.budget_seconds.unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use relgrad_kernels::Method;
    use relgrad_reports::record::Outcome;

    use super::super::testing::{failed, measured, planned};
    use super::*;

    #[test]
    fn a_record_tells_which_limit_to_raise() {
        let limits = Limits {
            budget_seconds: Some(600.0),
            cell_seconds: Some(60.0),
            memory_bytes: 1e9,
            device_memory_bytes: None,
            min_samples: 5,
        };
        let cell = planned(Method::Ordinary, 5000, 0);
        let forecast = Forecast { evaluation_seconds: 1e6, overhead_seconds: 1.0, peak_bytes: 1e12, trusted: true };
        let skipped = |reason| Record { outcome: Outcome::Skipped, reason, ..failed(&cell, 0.0) };
        let holding = |record: &Record| {
            [Limit::Budget, Limit::Cell, Limit::Memory]
                .into_iter()
                .filter(|limit| limit.held_back(record))
                .collect::<Vec<_>>()
        };
        assert_eq!(holding(&skipped(limits.over_memory(&cell, &forecast))), [Limit::Memory]);
        assert_eq!(holding(&skipped(limits.over_cell(&forecast))), [Limit::Cell]);
        assert_eq!(holding(&skipped(Some(limits.over_budget(30.0, limits.left(580.0))))), [Limit::Budget]);
        assert_eq!(holding(&skipped(Some(Reason::out_of_time(Method::Ordinary, 500)))), [Limit::Budget, Limit::Cell]);
        assert_eq!(holding(&failed(&cell, 15.0)), [Limit::Budget, Limit::Cell]);
        let crashed = Record { reason: Some("killed by SIGSEGV".into()), ..failed(&cell, 1.0) };
        assert_eq!(holding(&crashed), []);
        assert_eq!(holding(&measured(&cell, 1.0, 9.0)), []);
    }
}
