//! Which cells had a disturbed machine in all of their processes, and so should have another.

use std::collections::{HashMap, HashSet};

use relgrad_reports::record::{Cell, Clocks, Outcome, Record, State};

/// The machines of all measured cells, in the order of measuring.
#[derive(Debug, Clone, Default)]
pub(super) struct Machines {
    states: Vec<(Cell, State)>,
    attempts: HashMap<Cell, usize>,
}

impl Machines {
    pub(super) fn observe(&mut self, record: &Record) {
        if record.outcome == Outcome::Skipped {
            return;
        }
        let attempts = self.attempts.entry(record.cell).or_default();
        *attempts = (*attempts).max(record.attempt.saturating_add(1));
        self.states.extend(record.state.filter(|_| record.is_valid()).map(|state| (record.cell, state)));
    }

    /// Processes that a cell has had.
    pub(super) fn attempts(&self, cell: &Cell) -> usize {
        self.attempts.get(cell).copied().unwrap_or(0)
    }

    /// The cells without a quiet process, of those that had fewer than `most`.
    pub(super) fn disturbed(&self, most: usize) -> Vec<Cell> {
        let clocks = Clocks::of(self.states.iter().map(|(cell, state)| (cell, state)));
        let is_quiet = |(cell, state): &&(Cell, State)| clocks.disturbance(cell, state).is_none();
        let mut passed: HashSet<Cell> = self.states.iter().filter(is_quiet).map(|(cell, _)| *cell).collect();
        let cells = self.states.iter().map(|(cell, _)| *cell);
        cells.filter(|cell| self.attempts(cell) < most && passed.insert(*cell)).collect()
    }
}

#[cfg(test)]
mod tests {
    use relgrad_kernels::Method;
    use relgrad_reports::fixture;

    use super::super::testing::{failed, measured, planned};
    use super::*;

    #[test]
    fn a_cell_is_measured_again_until_it_was_quiet_or_had_its_attempts() {
        let cells = [10, 20, 30, 50].map(|dim| planned(Method::Relative, dim, 0));
        let mut machines = Machines::default();
        let mut observe = |place: usize, attempt, foreign| {
            let state = Some(State { foreign_seconds: Some(foreign), ..fixture::state() });
            machines.observe(&Record { attempt, state, ..measured(&cells[place], 0.1, 1.0) });
            machines.clone()
        };
        observe(1, 0, 1.0);
        observe(0, 0, 1.0);
        let first = observe(2, 0, 0.0);
        assert_eq!(first.disturbed(3), [cells[1].cell, cells[0].cell]);
        assert!(first.disturbed(1).is_empty());
        assert_eq!((first.attempts(&cells[0].cell), first.attempts(&cells[3].cell)), (1, 0));
        observe(0, 1, 1.0);
        let mut second = observe(1, 1, 0.0);
        assert_eq!(second.disturbed(3), [cells[0].cell]);
        assert!(second.disturbed(2).is_empty());
        // A process that ended without a measurement was one.
        second.observe(&Record { attempt: 2, ..failed(&cells[0], 1.0) });
        assert!(second.disturbed(3).is_empty());
    }
}
