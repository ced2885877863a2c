//! The states of a machine in the cells of a study.

use std::collections::BTreeMap;

use super::Group;
use crate::statistics::Processes;
use crate::statistics::bootstrap::median_estimate_in;
use crate::statistics::resample::Blocks;
use crate::statistics::states::{self, Ran};
use crate::statistics::summary::{Estimate, MachineStates, TimeInState};

/// The states that the processes of a cell ran in.
pub(super) struct Spells {
    /// Logarithm of the slow state's times over the fast one's.
    gap: Estimate,
    /// For each round whether the process ran in the slow state.
    slow: BTreeMap<usize, bool>,
}

impl Spells {
    /// The time in either state, the fast one first: the cell's processes as if all had run in the fast state, and that
    /// times the factor.
    pub(super) fn states(&self, processes: &Processes) -> Vec<TimeInState> {
        let rounds = || processes.medians().map(|(round, _)| (round, self.slow.get(&round) == Some(&true)));
        let effects = rounds().map(|(round, slow)| (round, if slow { self.gap.value } else { 0.0 }));
        let Some(fast) = median_estimate_in(processes, &Blocks::known(effects)) else { return Vec::new() };
        let gap = self.gap.map(f64::exp);
        let slow = Estimate { value: fast.value * gap.value, low: fast.low * gap.low, high: fast.high * gap.high };
        let count = |state: bool| rounds().filter(|(_, slow)| *slow == state).count();
        [(fast, false), (slow, true)].map(|(seconds, slow)| TimeInState { seconds, processes: count(slow) }).into()
    }
}

/// Looks for two states on each device and leaves them in the cells.
pub(super) fn find(groups: &mut [Group<'_>]) -> Vec<MachineStates> {
    let mut devices: Vec<_> = groups.iter().map(|group| group.device).collect();
    devices.dedup();
    devices.into_iter().filter_map(|device| on(device, groups)).collect()
}

fn on(device: relgrad_vocabulary::DeviceKind, groups: &mut [Group<'_>]) -> Option<MachineStates> {
    let mut cells = Vec::new();
    let mut ran = Vec::new();
    for (index, group) in groups.iter().enumerate().filter(|(_, group)| group.device == device) {
        for (&dim, rounds) in &group.cells {
            let start = |round: usize| rounds.valid().find(|r| r.cell.round == round).map(|r| r.started_unix_seconds);
            let medians = rounds.processes.medians();
            ran.extend(medians.map(|(round, median)| {
                let order = (start(round).unwrap_or(0.0), round, dim, index);
                (order, Ran { cell: cells.len(), log_median: median.ln() })
            }));
            cells.push((index, dim));
        }
    }
    // Rounds follow each other; within one the clock tells.
    ran.sort_by(|(a, _), (b, _)| a.0.total_cmp(&b.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
    let in_order: Vec<Ran> = ran.iter().map(|(_, process)| *process).collect();
    let levels = states::find(&in_order)?;
    let slow = levels.slow.iter().filter(|slow| **slow).count();
    for (((_, round, ..), process), slow) in ran.iter().zip(&levels.slow) {
        let (group, dim) = cells[process.cell];
        let rounds = groups[group].cells.get_mut(&dim)?;
        let spells = rounds.spells.get_or_insert_with(|| Spells { gap: levels.gap, slow: BTreeMap::new() });
        spells.slow.insert(*round, *slow);
    }
    Some(MachineStates { device, factor: levels.gap.map(f64::exp), slow, processes: in_order.len() })
}
