//! The machine while something was measured, which state is a disturbed one, and which record of a cell counts.

use std::collections::{HashMap, HashSet};
use std::fmt;

use relgrad_vocabulary::Subject;
use serde::{Deserialize, Serialize};

use crate::record::{Cell, Point, Record};
use crate::units;

/// Share of the cores' time, or of the time of sampling, that others may take from a cell.
const MOST_LOST: f64 = 0.05;
/// Seconds by which the system's accounts may err: it counts in ticks of 10 ms, on each core.
const TICKS_SECONDS: f64 = 0.03;
/// The clock of a process over the fastest of its cell, from which it is another clock.
const SLOW_CLOCK: f64 = 0.9;

/// What the machine did while a cell or the ceilings were measured. A number is absent where the system does not report
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Seconds that the times below cover: warm-up and sampling.
    pub seconds: f64,
    /// Cores that the process may run on; the times of others are those on these cores.
    pub cores: usize,
    /// CPU seconds of the process: half of what its threads could have, where one of two slept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_seconds: Option<f64>,
    /// CPU seconds of other programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_seconds: Option<f64>,
    /// Seconds that a hypervisor gave to other machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stolen_seconds: Option<f64>,
    /// Seconds in which threads of the process were ready and had no core, the sum over its threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_seconds: Option<f64>,
    /// How often a thread of the process gave up its core to wait for something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voluntary_switches: Option<u64>,
    /// How often a thread of the process lost its core to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub involuntary_switches: Option<u64>,
    /// Clock of the core before and after sampling, by a loop of dependent instructions of known length.
    pub clock_hz: [f64; 2],
    /// Seconds of an empty parallel region after sampling; absent on one thread and on a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region_seconds: Option<f64>,
}

/// What disturbed a measurement, with the share that it took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Disturbance {
    /// Other programs used the cores.
    Foreign(f64),
    /// The hypervisor gave the cores to other machines.
    Stolen(f64),
    /// Threads of the process waited for a core.
    Waited(f64),
    /// The clock was lower than in another process of the same cell.
    Clock(f64),
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (share, what) = match self {
            Self::Foreign(share) => (share, "of the cores' time went to other programs"),
            Self::Stolen(share) => (share, "of the cores' time went to other virtual machines"),
            Self::Waited(share) => (share, "of the time a thread had no core"),
            Self::Clock(share) => (share, "lower clock than in the fastest process"),
        };
        write!(f, "{} {what}", units::percent(*share))
    }
}

impl State {
    /// The cores' time that the process took, as a share.
    pub fn own_share(&self) -> Option<f64> {
        Some(self.own_seconds? / self.core_seconds())
    }

    /// The cores' time that other programs took, as a share.
    pub fn foreign_share(&self) -> Option<f64> {
        Some(self.foreign_seconds? / self.core_seconds())
    }

    /// The cores' time that a hypervisor took, as a share.
    pub fn stolen_share(&self) -> Option<f64> {
        Some(self.stolen_seconds? / self.core_seconds())
    }

    /// The lower clock of both ends.
    pub fn lowest_hz(&self) -> f64 {
        self.clock_hz[0].min(self.clock_hz[1])
    }

    fn core_seconds(&self) -> f64 {
        (self.seconds * self.cores as f64).max(f64::MIN_POSITIVE)
    }

    /// What disturbed it, as far as one process can tell. `threads` are those that it measures with: more than there
    /// are cores wait for each other.
    pub fn disturbance(&self, threads: usize) -> Option<Disturbance> {
        let (foreign, stolen) = (self.foreign_seconds.unwrap_or(0.0), self.stolen_seconds.unwrap_or(0.0));
        let lost = |seconds: f64, of: f64| seconds > MOST_LOST * of && seconds > TICKS_SECONDS;
        if lost(foreign + stolen, self.core_seconds()) {
            let kind = if foreign >= stolen { Disturbance::Foreign } else { Disturbance::Stolen };
            return Some(kind(foreign.max(stolen) / self.core_seconds()));
        }
        let waited = self.waited_seconds.filter(|_| threads <= self.cores)?;
        lost(waited, self.seconds).then(|| Disturbance::Waited(waited / self.seconds))
    }
}

/// The fastest clock of each method at each point, over its processes. The clock may differ between methods and sizes,
/// whose vector instructions differ, without a disturbance.
#[derive(Debug, Clone, Default)]
pub struct Clocks(HashMap<(Subject, Point), f64>);

impl Clocks {
    /// Those of cells with their states.
    pub fn of<'a>(states: impl IntoIterator<Item = (&'a Cell, &'a State)>) -> Self {
        let mut fastest = HashMap::new();
        for (cell, state) in states {
            let known: &mut f64 = fastest.entry((cell.method, cell.point)).or_default();
            *known = known.max(state.lowest_hz());
        }
        Self(fastest)
    }

    /// What disturbed a cell.
    pub fn disturbance(&self, cell: &Cell, state: &State) -> Option<Disturbance> {
        let of_clock = || {
            let ratio = state.lowest_hz() / self.0.get(&(cell.method, cell.point))?;
            (ratio < SLOW_CLOCK).then_some(Disturbance::Clock(1.0 - ratio))
        };
        state.disturbance(cell.point.threads).or_else(of_clock)
    }

    /// What disturbed a measured record.
    pub fn of_record(&self, record: &Record) -> Option<Disturbance> {
        self.disturbance(&record.cell, record.state.as_ref().filter(|_| record.is_valid())?)
    }
}

/// Divides records into those that count, one a cell, and those that others replace, both in their order.
///
/// Of the records of a cell the first that stands highest in this list counts: a wrong gradient, which no repetition
/// mends; a measurement on a quiet machine; one on a disturbed machine; any other. Times do not matter, since the
/// fastest of several would be too fast.
pub(crate) fn counting(records: Vec<Record>) -> (Vec<Record>, Vec<Record>) {
    if records.iter().all(|record| record.attempt == 0) {
        return (records, Vec::new());
    }
    let clocks = Clocks::of(records.iter().filter_map(|record| Some((&record.cell, record.state.as_ref()?))));
    let rank = |record: &Record| match record {
        record if record.check_failed() => 0,
        record if !record.is_valid() => 3,
        record => 1 + usize::from(clocks.of_record(record).is_some()),
    };
    let mut best: HashMap<Cell, (usize, usize)> = HashMap::new();
    for (place, record) in records.iter().enumerate() {
        let this = (rank(record), place);
        let known = best.entry(record.cell).or_insert(this);
        *known = this.min(*known);
    }
    let best: HashSet<usize> = best.into_values().map(|(_, place)| place).collect();
    let mut places = 0..;
    records.into_iter().partition(|_| places.next().is_some_and(|place| best.contains(&place)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn lasting(seconds: f64, foreign: f64, stolen: f64) -> State {
        let [foreign, stolen] = [foreign, stolen].map(|share| Some(share * 2.0 * seconds));
        State { seconds, foreign_seconds: foreign, stolen_seconds: stolen, ..fixture::state() }
    }

    #[test]
    fn a_state_is_disturbed_by_a_twentieth_of_the_cores_and_more_than_ticks_can_say() {
        assert_eq!(fixture::state().disturbance(2), None);
        assert_eq!(lasting(1.0, 0.04, 0.0).disturbance(2), None);
        assert_eq!(lasting(1.0, 0.5, 0.1).disturbance(2), Some(Disturbance::Foreign(0.5)));
        assert_eq!(lasting(1.0, 0.02, 0.04).disturbance(2), Some(Disturbance::Stolen(0.04)));
        // Three ticks of two cores in 150 ms are a tenth.
        assert_eq!(lasting(0.15, 0.1, 0.0).disturbance(2), None);
        let waiting = State { waited_seconds: Some(0.2), ..fixture::state() };
        assert_eq!(waiting.disturbance(2), Some(Disturbance::Waited(0.2)));
        assert_eq!(waiting.disturbance(3), None, "three threads on two cores wait for each other");
        let unknown = State { foreign_seconds: None, stolen_seconds: None, waited_seconds: None, ..fixture::state() };
        assert_eq!(unknown.disturbance(2), None);
    }

    #[test]
    fn a_clock_is_compared_with_other_processes_of_the_same_cell_alone() {
        let cells: Vec<Cell> = fixture::study().records.iter().map(|record| record.cell).collect();
        let of = |hz| State { clock_hz: [hz, 1.1 * hz], ..fixture::state() };
        let again = Cell { round: 1, ..cells[0] };
        let clocks = Clocks::of([(&cells[0], &of(3e9)), (&again, &of(2e9)), (&cells[1], &of(2e9))]);
        assert_eq!(clocks.disturbance(&cells[0], &of(3e9)), None);
        assert!(matches!(clocks.disturbance(&again, &of(2e9)), Some(Disturbance::Clock(share)) if share > 0.3));
        assert_eq!(clocks.disturbance(&cells[1], &of(2e9)), None);
    }

    #[test]
    fn a_quiet_record_counts_before_a_disturbed_one_and_a_wrong_gradient_before_both() {
        let all = fixture::study().records;
        let mut first = all[0].clone();
        first.state = Some(lasting(1.0, 0.5, 0.0));
        let again = |attempt, share| Record { attempt, state: Some(lasting(1.0, share, 0.0)), ..first.clone() };
        let attempts = |records: &[Record]| records.iter().map(|record| record.attempt).collect::<Vec<_>>();
        let counted = |records: &[&Record]| {
            let (counting, replaced) = counting(records.iter().copied().cloned().collect());
            (attempts(&counting), attempts(&replaced))
        };
        let (disturbed, quiet, later) = (again(1, 0.3), again(2, 0.0), again(3, 0.0));
        assert_eq!(counted(&[&first, &disturbed]), (vec![0], vec![1]));
        assert_eq!(counted(&[&first, &all[1], &disturbed, &quiet, &later]), (vec![0, 2], vec![0, 1, 3]));
        let mut failed = disturbed.clone();
        failed.outcome = crate::record::Outcome::Failed;
        assert_eq!(counted(&[&first, &failed]), (vec![0], vec![1]));
        let mut wrong = disturbed;
        wrong.check.as_mut().unwrap().max_rel_err = 1.0;
        assert_eq!(counted(&[&first, &wrong, &quiet]), (vec![1], vec![0, 2]));
    }
}
