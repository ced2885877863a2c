//! Which cell comes next, how long it may take, and which cells are not tried at all.
//!
//! Every round holds each point of the sweep once, in an order shuffled from the seed. The schedule departs from that
//! order for one reason: a cell that is expensive *and* far from anything measured waits until smaller cells of its
//! method have calibrated the prediction. So the first round runs its cheap cells shuffled and climbs through the rest,
//! and later rounds, by then calibrated, are shuffled throughout.
//!
//! The budget is shared so that every feasible point gets its first round before any gets its second. Within a round the
//! time left is divided between the methods max–min fairly: a method that needs less than an equal share leaves the rest
//! to the others, and a method that needs more is cut at its largest dimensions, never because another was greedy. What
//! remains when every cell has its minimum buys further samples where the median has not settled.

use std::collections::{BTreeMap, HashSet};

use relgrad_reports::record::{Cell, Outcome, Prediction, Record};

use super::Planned;
use super::forecast::{Calibration, Forecast};
use crate::units;
use crate::workload::DeviceKind;

/// A cell predicted to end within this many seconds runs at its shuffled place even if its prediction is a guess.
const CHEAP_SECONDS: f64 = 2.0;
/// An uncertain prediction must exceed a limit by this factor before it rules a cell out: trying is how one finds out,
/// and the time limit bounds the attempt.
const DOUBT: f64 = 4.0;
/// Sampling goes on at least this long, so that the median is not one lucky moment of the machine.
const MIN_SAMPLING_SECONDS: f64 = 0.25;
/// A median that has not settled after this long will not; the interval is reported as it is.
const MAX_SAMPLING_SECONDS: f64 = 10.0;
/// Evaluations may take this many times the cell limit, and the rest this many times its prediction and a little more,
/// before the process is killed: the child stops by itself at its limit, unless one evaluation is far slower than predicted.
const KILL_FACTOR: f64 = 1.5;
const KILL_OVERHEAD_FACTOR: f64 = 3.0;
const KILL_OVERHEAD_SECONDS: f64 = 30.0;
/// Part of the budget kept for the last cell's overrun and the report.
const RESERVED_SHARE: f64 = 0.02;

/// How the reason of a cell begins that was killed because its time was up.
pub(crate) const TIMED_OUT: &str = "timed out";

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

impl Limits {
    /// Bytes that this cell may take of the memory that its problem lives in.
    fn memory_of(&self, cell: &Cell) -> f64 {
        let device = self.device_memory_bytes.filter(|_| cell.device == DeviceKind::Cuda.name());
        device.unwrap_or(self.memory_bytes)
    }
}

/// One cell to run, with the time it may take.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignment {
    /// The cell.
    pub(crate) planned: Planned,
    /// What it is expected to cost.
    pub(crate) forecast: Forecast,
    /// Seconds set aside for it.
    pub(crate) expected_seconds: f64,
    /// Seconds of sampling after which an unsettled median is accepted.
    pub(crate) sampling_seconds: f64,
    /// Seconds of evaluations after which sampling ends, once there is a sample.
    pub(crate) cell_seconds: Option<f64>,
    /// Seconds from the start of the process at which sampling ends, once there is a sample, to leave the others theirs.
    pub(crate) deadline_seconds: Option<f64>,
    /// Seconds from its start after which the process is killed.
    pub(crate) kill_seconds: Option<f64>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Run this cell.
    Run(Box<Assignment>),
    /// Record this cell as skipped.
    Skip {
        /// The cell.
        planned: Box<Planned>,
        /// What it would have cost.
        prediction: Prediction,
        /// Why it is not tried.
        reason: String,
    },
    /// Every cell has its record.
    Done,
}

/// The cells of a sweep, those that have a record, and what was learnt from them.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    plan: Vec<Planned>,
    recorded: HashSet<Cell>,
    calibration: Calibration,
    limits: Limits,
}

/// A cell that could run in this round.
struct Candidate<'a> {
    planned: &'a Planned,
    forecast: Forecast,
    /// Seconds to set aside for it.
    need: f64,
}

impl Schedule {
    /// A schedule of `plan`, whose order within a round is kept where possible.
    pub(crate) fn new(plan: Vec<Planned>, limits: Limits) -> Self {
        Self { plan, recorded: HashSet::new(), calibration: Calibration::default(), limits }
    }

    /// Marks the record's cell as done and learns from it.
    pub(crate) fn observe(&mut self, record: &Record) {
        let Some(planned) = self.plan.iter().find(|planned| planned.cell == record.cell) else { return };
        self.calibration.observe(record, planned.expected_bytes);
        let timed_out = record.reason.as_deref().is_some_and(|reason| reason.starts_with(TIMED_OUT));
        if record.outcome == Outcome::Failed && timed_out {
            self.calibration.observe_timeout(&record.cell);
        }
        self.mark(record.cell.clone());
    }

    /// Marks a cell as done without learning from it.
    pub(crate) fn mark(&mut self, cell: Cell) {
        self.recorded.insert(cell);
    }

    /// Number of cells, and of those that have a record.
    pub(crate) fn progress(&self) -> (usize, usize) {
        (self.plan.len(), self.plan.iter().filter(|planned| self.recorded.contains(&planned.cell)).count())
    }

    /// Seconds that the cells without a record will take, as far as the budget lets them.
    pub(crate) fn remaining_seconds(&self, elapsed_seconds: f64) -> f64 {
        let wanted: f64 = self.runnable().map(|candidate| candidate.need).sum();
        self.left(elapsed_seconds).map_or(wanted, |left| wanted.min(left))
    }

    /// Decides the next step, `elapsed_seconds` into the budget.
    pub(crate) fn next(&self, elapsed_seconds: f64) -> Step {
        let Some(round) = self.pending().map(|planned| planned.cell.round).min() else { return Step::Done };
        let pending: Vec<Candidate> =
            self.pending_of_round(round).map(|planned| self.candidate(planned)).collect();

        if let Some((candidate, reason)) =
            pending.iter().find_map(|candidate| Some((candidate, self.ruled_out(candidate, &pending)?)))
        {
            return skip(candidate, reason);
        }

        let left = self.left(elapsed_seconds);
        let within_limit = |candidate: &&Candidate| self.over_cell_limit(&candidate.forecast).is_none();
        let feasible: Vec<&Candidate> = pending.iter().filter(within_limit).collect();
        let admitted = match left {
            None => feasible,
            Some(left) => fair_share(&feasible, left),
        };
        let ready = |candidate: &&&Candidate| candidate.forecast.trusted || candidate.need <= CHEAP_SECONDS;
        let cheapest = || admitted.iter().min_by(|a, b| a.need.total_cmp(&b.need));
        match admitted.iter().find(ready).or_else(cheapest) {
            Some(chosen) => Step::Run(Box::new(self.assign(chosen, &admitted, left))),
            None => {
                let candidate = &pending[0];
                let reason = format!(
                    "predicted {} for this cell exceeds the {} left of the budget of {}",
                    units::seconds(candidate.need),
                    units::seconds(left.unwrap_or(0.0)),
                    units::seconds(self.limits.budget_seconds.unwrap_or(0.0)),
                );
                skip(candidate, reason)
            }
        }
    }

    fn pending(&self) -> impl Iterator<Item = &Planned> {
        self.plan.iter().filter(|planned| !self.recorded.contains(&planned.cell))
    }

    fn pending_of_round(&self, round: usize) -> impl Iterator<Item = &Planned> {
        self.pending().filter(move |planned| planned.cell.round == round)
    }

    /// Cells without a record that no limit but the budget stands against.
    fn runnable(&self) -> impl Iterator<Item = Candidate<'_>> {
        self.pending().map(|planned| self.candidate(planned)).filter(|candidate| {
            candidate.forecast.peak_bytes <= self.limits.memory_of(&candidate.planned.cell)
                && self.over_cell_limit(&candidate.forecast).is_none()
        })
    }

    fn candidate<'a>(&self, planned: &'a Planned) -> Candidate<'a> {
        let forecast = self.calibration.forecast(planned);
        let wanted =
            forecast.evaluation_seconds * (1.0 + self.limits.min_samples as f64) + MIN_SAMPLING_SECONDS;
        let most = self.limits.cell_seconds.unwrap_or(f64::INFINITY).max(2.0 * forecast.evaluation_seconds);
        let need = forecast.overhead_seconds + wanted.min(most);
        Candidate { planned, forecast, need }
    }

    fn left(&self, elapsed_seconds: f64) -> Option<f64> {
        let budget = self.limits.budget_seconds?;
        Some((budget * (1.0 - RESERVED_SHARE) - elapsed_seconds).max(0.0))
    }

    /// Why this cell will never run, whatever is left of the budget.
    fn ruled_out(&self, candidate: &Candidate, round: &[Candidate]) -> Option<String> {
        let planned = candidate.planned;
        let memory_bytes = self.limits.memory_of(&planned.cell);
        if candidate.forecast.peak_bytes > memory_bytes {
            return Some(format!(
                "predicted {} exceeds the memory limit of {}",
                units::bytes(candidate.forecast.peak_bytes),
                units::bytes(memory_bytes),
            ));
        }
        if let Some(dim) = self.calibration.timed_out_at(planned).filter(|dim| *dim <= planned.cell.dim) {
            return Some(format!("{} ran out of time at D = {dim}", planned.cell.method));
        }
        let reason = self.over_cell_limit(&candidate.forecast)?;
        // A guess is not held against a cell while a smaller one of its method can still improve the guess.
        let will_improve = !candidate.forecast.trusted
            && round.iter().any(|other| {
                let (a, b) = (&other.planned.cell, &planned.cell);
                let same_line = (a.batch, a.layers) == (b.batch, b.layers);
                a.method == b.method && a.device == b.device && same_line && a.dim < b.dim
            });
        (!will_improve).then_some(reason)
    }

    /// Why even one sample takes longer than the cell limit, if it does.
    fn over_cell_limit(&self, forecast: &Forecast) -> Option<String> {
        let limit = self.limits.cell_seconds?;
        let doubt = if forecast.trusted { 1.0 } else { DOUBT };
        let least = 2.0 * forecast.evaluation_seconds;
        if least <= doubt * limit {
            return None;
        }
        let (seconds, what) = if forecast.evaluation_seconds > limit {
            (forecast.evaluation_seconds, "one evaluation")
        } else {
            (least, "a warm-up and one sample")
        };
        let (seconds, limit) = (units::seconds(seconds), units::seconds(limit));
        Some(format!("predicted {seconds} for {what} exceeds the cell limit of {limit}"))
    }

    /// Gives the chosen cell its times.
    fn assign(&self, chosen: &Candidate, admitted: &[&Candidate], left: Option<f64>) -> Assignment {
        let limit = self.limits.cell_seconds.unwrap_or(f64::INFINITY);
        let left = left.unwrap_or(f64::INFINITY);
        let budget = self.limits.budget_seconds.unwrap_or(f64::INFINITY);

        // What the round can spare for this cell when the others get what they need.
        let needed: f64 = admitted.iter().map(|candidate| candidate.need).sum();
        let deadline = (left - needed + chosen.need).max(chosen.need);
        let overhead = KILL_OVERHEAD_FACTOR * chosen.forecast.overhead_seconds + KILL_OVERHEAD_SECONDS;
        let grace = (RESERVED_SHARE * budget).max(1.0);
        let kill = (KILL_FACTOR * limit + overhead).min(left + grace);

        let (needed, cells) = self.runnable().fold((0.0, 0.0), |(s, n), c| (s + c.need, n + 1.0));
        let spare =
            if left.is_finite() { (left - needed) / f64::max(cells, 1.0) } else { MAX_SAMPLING_SECONDS };
        Assignment {
            planned: chosen.planned.clone(),
            forecast: chosen.forecast,
            expected_seconds: chosen.need,
            sampling_seconds: spare.clamp(MIN_SAMPLING_SECONDS, MAX_SAMPLING_SECONDS),
            cell_seconds: self.limits.cell_seconds,
            deadline_seconds: Some(deadline).filter(|seconds| seconds.is_finite()),
            kill_seconds: Some(kill).filter(|seconds| seconds.is_finite()),
        }
    }
}

fn skip(candidate: &Candidate, reason: String) -> Step {
    let prediction = candidate.forecast.prediction();
    Step::Skip { planned: Box::new(candidate.planned.clone()), prediction, reason }
}

/// The candidates that fit into `left` seconds when the methods share it max–min fairly, in the order given.
///
/// Methods are served from the least demanding on, each with an equal share of what is then left; a method's cells are
/// admitted by ascending D until its share is spent. What the shares leave over goes to the cheapest cells not yet in.
fn fair_share<'a, 'b>(candidates: &[&'b Candidate<'a>], left: f64) -> Vec<&'b Candidate<'a>> {
    let mut by_method: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        let cell = &candidate.planned.cell;
        by_method.entry((&cell.device, &cell.method)).or_default().push(index);
    }
    let mut methods: Vec<(f64, Vec<usize>)> = by_method
        .into_values()
        .map(|mut cells| {
            cells.sort_by_key(|&index| {
                let cell = &candidates[index].planned.cell;
                (cell.dim, cell.batch, cell.layers)
            });
            (cells.iter().map(|&index| candidates[index].need).sum(), cells)
        })
        .collect();
    methods.sort_by(|a, b| a.0.total_cmp(&b.0));

    let mut admitted = vec![false; candidates.len()];
    let mut left = left;
    let waiting = methods.len();
    for (served, (_, cells)) in methods.iter().enumerate() {
        let mut share = left / (waiting - served) as f64;
        for &index in cells {
            if candidates[index].need > share {
                break;
            }
            share -= candidates[index].need;
            left -= candidates[index].need;
            admitted[index] = true;
        }
    }
    let mut rest: Vec<usize> = (0..candidates.len()).filter(|&index| !admitted[index]).collect();
    rest.sort_by(|&a, &b| candidates[a].need.total_cmp(&candidates[b].need));
    for index in rest {
        if candidates[index].need <= left {
            left -= candidates[index].need;
            admitted[index] = true;
        }
    }
    (0..candidates.len()).filter(|&index| admitted[index]).map(|index| candidates[index]).collect()
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
