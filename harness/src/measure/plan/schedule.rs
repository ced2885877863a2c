//! Which cell comes next, how long it may take, and which cells are not tried at all.
//!
//! Every round holds each point of the sweep once, in an order shuffled from the seed. The schedule departs from that
//! order for one reason: a cell that is expensive *and* far from anything measured waits until smaller cells of its
//! method have calibrated the prediction. So the first round runs its cheap cells shuffled and climbs through the rest,
//! and later rounds, by then calibrated, are shuffled throughout.
//!
//! The budget is shared so that every feasible point gets its first round before any gets its second. Within a round
//! the time left is divided between the methods max–min fairly: a method that needs less than an equal share leaves the
//! rest to the others, and a method that needs more is cut at its largest dimensions, never because another was greedy.
//! What remains when every cell has its minimum buys further samples where the median has not settled.

use std::collections::VecDeque;

use relgrad_reports::atlas::Predictor;
use relgrad_reports::record::{Cell, Failure, KILL_FACTOR, Outcome, Prediction, Reason, Record};
use relgrad_reports::run::Settings;
use relgrad_reports::summary::Estimate;

use super::again::Machines;
use super::agenda::{Agenda, Candidate, Obstacle};
use super::forecast::{Calibration, Forecast};
use super::limits::{Limits, RESERVED_SHARE};
use super::{Plan, Planned};
use crate::error::{Error, Result};
use crate::measure::cell::sampling::Rules;

/// Sampling goes on at least this long, so that the median is not one lucky moment of the machine.
const MIN_SAMPLING_SECONDS: f64 = 0.25;
/// A median that has not settled after this long will not; the interval is reported as it is.
const MAX_SAMPLING_SECONDS: f64 = 10.0;
/// What is not an evaluation may take this many times its prediction, and a little more, before the process is killed.
const KILL_OVERHEAD_FACTOR: f64 = 3.0;
const KILL_OVERHEAD_SECONDS: f64 = 30.0;

/// One cell to run, with the time it may take.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignment {
    pub(crate) planned: Planned,
    pub(crate) forecast: Forecast,
    pub(crate) expected_seconds: f64,
    /// When sampling ends: what the cell may take, to leave the others theirs.
    pub(crate) rules: Rules,
    /// Seconds from its start after which the process is killed.
    pub(crate) kill_seconds: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Run(Box<Assignment>),
    Skip { planned: Box<Planned>, prediction: Prediction, reason: Reason },
    Done,
}

/// The cells of a sweep, those that have a record, and what was learnt from them.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    plan: Plan,
    /// Whether a cell has its record: round after round, and in each the points as the plan has them.
    done: Vec<bool>,
    recorded: usize,
    /// Rounds in which a point has no record yet, by point.
    pending: Vec<usize>,
    /// Points that have no record yet, by round.
    open: Vec<usize>,
    calibration: Calibration,
    /// What an atlas expects of the points; empty without one.
    expected: Vec<Option<Estimate>>,
    machines: Machines,
    limits: Limits,
    /// What follows from the calibration; made when it is asked for, and dropped when something new is learnt.
    outlook: Option<Outlook>,
    agenda: Option<Agenda>,
}

/// What is expected of every point.
#[derive(Debug, Clone)]
struct Outlook {
    candidates: Vec<Candidate>,
    /// Seconds and number of the cells without a record that no limit but the budget stands against.
    wanted_seconds: f64,
    wanted_cells: usize,
}

impl Schedule {
    /// The same plan whenever the settings are the same.
    pub(crate) fn of(settings: &Settings) -> Result<Self> {
        let limits = Limits {
            budget_seconds: settings.budget_seconds,
            cell_seconds: settings.cell_limit_seconds,
            memory_bytes: settings.memory_limit_bytes as f64,
            device_memory_bytes: settings.device_memory_limit_bytes.map(|bytes| bytes as f64),
            min_samples: settings.min_samples,
        };
        Ok(Self::new(Plan::of(settings).map_err(Error::Usage)?, limits))
    }

    /// A schedule of `plan`, whose order within a round is kept where possible.
    pub(crate) fn new(plan: Plan, limits: Limits) -> Self {
        let done = vec![false; plan.len()];
        let pending = vec![plan.rounds(); plan.points().len()];
        let open = vec![plan.points().len(); plan.rounds()];
        let (calibration, machines) = (Calibration::default(), Machines::default());
        let (expected, outlook, agenda) = (Vec::new(), None, None);
        Self { plan, done, recorded: 0, pending, open, calibration, expected, machines, limits, outlook, agenda }
    }

    /// Takes the times of an atlas for the points that nothing near was measured of.
    pub(crate) fn expect(&mut self, predictor: &Predictor) {
        let seconds = |point: &Planned| predictor.seconds(&point.cell, &point.model, self.plan.rounds());
        self.expected = self.plan.points().iter().map(seconds).collect();
        (self.outlook, self.agenda) = (None, None);
    }

    /// Whether an atlas said what to expect.
    pub(crate) fn is_expected(&self) -> bool {
        self.expected.iter().any(Option::is_some)
    }

    pub(crate) fn points(&self) -> &[Planned] {
        self.plan.points()
    }

    /// Marks the record's cell as done and learns from it.
    pub(crate) fn observe(&mut self, record: &Record) {
        let Some(place) = self.plan.place_of(&record.cell) else { return };
        if record.outcome != Outcome::Skipped {
            self.calibration.observe(record, self.plan.points()[place].expected_bytes);
            if record.failure() == Some(Failure::TimedOut) {
                self.calibration.observe_timeout(&record.cell);
            }
            self.machines.observe(record);
            (self.outlook, self.agenda) = (None, None);
        }
        self.mark(&record.cell);
    }

    /// Marks a cell as done without learning from it.
    pub(crate) fn mark(&mut self, cell: &Cell) {
        let Some(place) = self.plan.place_of(cell) else { return };
        let at = cell.round.saturating_mul(self.plan.points().len()).saturating_add(place);
        match self.done.get_mut(at) {
            Some(done) if !*done => *done = true,
            _ => return,
        }
        self.recorded += 1;
        self.pending[place] -= 1;
        self.open[cell.round] -= 1;
        if let Some(outlook) = &mut self.outlook {
            let candidate = &outlook.candidates[place];
            if candidate.obstacle == Obstacle::None {
                outlook.wanted_seconds -= candidate.need;
                outlook.wanted_cells -= 1;
            }
        }
    }

    /// Number of cells, and of those that have a record.
    pub(crate) fn progress(&self) -> (usize, usize) {
        (self.plan.len(), self.recorded)
    }

    /// Seconds that the cells without a record will take, as far as the budget lets them.
    pub(crate) fn remaining_seconds(&mut self, elapsed_seconds: f64) -> f64 {
        let wanted = self.outlook().wanted_seconds.max(0.0);
        self.limits.left(elapsed_seconds).map_or(wanted, |left| wanted.min(left))
    }

    /// Seconds that they take where no median settles before its sampling ends.
    pub(crate) fn most_seconds(&mut self, elapsed_seconds: f64) -> f64 {
        let Outlook { wanted_seconds, wanted_cells, .. } = *self.outlook();
        let most = wanted_seconds.max(0.0) + wanted_cells as f64 * (MAX_SAMPLING_SECONDS - MIN_SAMPLING_SECONDS);
        self.limits.left(elapsed_seconds).map_or(most, |left| most.min(left))
    }

    /// Seconds of the budget that the cells without a record leave.
    pub(crate) fn spare_seconds(&mut self, elapsed_seconds: f64) -> f64 {
        let wanted = self.outlook().wanted_seconds.max(0.0);
        self.limits.left(elapsed_seconds).map_or(f64::INFINITY, |left| left - wanted)
    }

    /// Processes that a cell has had.
    pub(crate) fn attempts(&self, cell: &Cell) -> usize {
        self.machines.attempts(cell)
    }

    /// The cells that had a disturbed machine in each of their processes, of those that had fewer than `most`.
    pub(crate) fn disturbed(&self, most: usize) -> Vec<Cell> {
        self.machines.disturbed(most)
    }

    /// One of these cells to run again, if the budget lasts; `waiting` of them share what is left.
    pub(crate) fn again(&mut self, cell: &Cell, waiting: usize, elapsed_seconds: f64) -> Option<Assignment> {
        let left = self.limits.left(elapsed_seconds);
        let place = self.plan.place_of(cell)?;
        let need = self.outlook().candidates[place].need;
        if left.is_some_and(|left| need > left) {
            return None;
        }
        let mut assignment = self.assign(place, cell.round, need, left);
        let share = left.unwrap_or(f64::INFINITY) / waiting as f64 - need;
        assignment.rules.sampling_seconds = share.clamp(MIN_SAMPLING_SECONDS, MAX_SAMPLING_SECONDS);
        Some(assignment)
    }

    /// Decides the next step, `elapsed_seconds` into the budget. It stays the next until its cell is done.
    pub(crate) fn next(&mut self, elapsed_seconds: f64) -> Step {
        let left = self.limits.left(elapsed_seconds);
        let Some(mut agenda) = self.agenda(left) else { return Step::Done };
        let round = agenda.round;
        let step = if let Some(place) = self.first_pending(round, &mut agenda.skips, |_| ()) {
            self.skip(place, round, left)
        } else {
            let mut needed_seconds = agenda.needed_seconds;
            let run = self.first_pending(round, &mut agenda.runs, |need| needed_seconds -= need);
            agenda.needed_seconds = needed_seconds;
            match run {
                Some(place) => Step::Run(Box::new(self.assign(place, round, needed_seconds, left))),
                None => match self.first_pending(round, &mut agenda.rest, |_| ()) {
                    Some(place) => self.skip(place, round, left),
                    None => Step::Done,
                },
            }
        };
        self.agenda = Some(agenda);
        step
    }

    /// The agenda of the first round with a cell without a record; `None` when there is none.
    fn agenda(&mut self, left: Option<f64>) -> Option<Agenda> {
        let known = self.agenda.take();
        let from = known.as_ref().map_or(0, |agenda| agenda.round);
        let round = (from..self.open.len()).find(|&round| self.open[round] > 0)?;
        if let Some(agenda) = known.filter(|agenda| agenda.round == round) {
            return Some(agenda);
        }
        self.outlook();
        let candidates = &self.outlook.as_ref()?.candidates;
        let pending = self.plan.round(round).iter().copied().filter(|&place| !self.is_done(round, place)).collect();
        Some(Agenda::new(round, pending, self.plan.points(), candidates, left))
    }

    fn is_done(&self, round: usize, place: u32) -> bool {
        self.done[round * self.plan.points().len() + place as usize]
    }

    /// The first entry whose cell has no record; those before it are taken out, and their need told to `passed`.
    fn first_pending(&self, round: usize, queue: &mut VecDeque<u32>, mut passed: impl FnMut(f64)) -> Option<usize> {
        while let Some(&place) = queue.front() {
            if !self.is_done(round, place) {
                return Some(place as usize);
            }
            queue.pop_front();
            passed(self.outlook.as_ref()?.candidates[place as usize].need);
        }
        None
    }

    fn outlook(&mut self) -> &Outlook {
        let Self { plan, pending, calibration, expected, limits, outlook, .. } = self;
        outlook.get_or_insert_with(|| {
            let expected = expected.iter().copied().chain(std::iter::repeat(None));
            let points = plan.points().iter().zip(expected);
            let candidates: Vec<Candidate> =
                points.map(|(planned, expected)| candidate(planned, expected, calibration, limits)).collect();
            let (mut wanted_seconds, mut wanted_cells) = (0.0, 0);
            for (candidate, &rounds) in candidates.iter().zip(&*pending) {
                if candidate.obstacle == Obstacle::None {
                    wanted_seconds += candidate.need * rounds as f64;
                    wanted_cells += rounds;
                }
            }
            Outlook { candidates, wanted_seconds, wanted_cells }
        })
    }

    /// Leaves a cell out, for a limit that it exceeds by itself, or else for the budget.
    fn skip(&mut self, place: usize, round: usize, left: Option<f64>) -> Step {
        let Candidate { forecast, need, .. } = self.outlook().candidates[place];
        let planned = self.plan.planned(place, round);
        let reason = ruled_out(&planned, &forecast, &self.calibration, &self.limits)
            .or_else(|| self.limits.over_cell(&forecast))
            .unwrap_or_else(|| self.limits.over_budget(need, left));
        Step::Skip { planned: Box::new(planned), prediction: forecast.prediction(), reason }
    }

    /// Gives the chosen cell its times; `needed_seconds` is what the cells of its round need that the budget admits.
    fn assign(&mut self, place: usize, round: usize, needed_seconds: f64, left: Option<f64>) -> Assignment {
        let limit = self.limits.cell_seconds.unwrap_or(f64::INFINITY);
        let left = left.unwrap_or(f64::INFINITY);
        let budget = self.limits.budget_seconds.unwrap_or(f64::INFINITY);
        let cell_seconds = self.limits.cell_seconds;
        let outlook = self.outlook();
        let Candidate { forecast, need, .. } = outlook.candidates[place];

        // What the round can spare for this cell when the others get what they need.
        let deadline = (left - needed_seconds + need).max(need);
        let overhead = KILL_OVERHEAD_FACTOR * forecast.overhead_seconds + KILL_OVERHEAD_SECONDS;
        let grace = (RESERVED_SHARE * budget).max(1.0);
        let kill = (KILL_FACTOR * limit + overhead).min(left + grace);

        let spare = if left.is_finite() {
            (left - outlook.wanted_seconds) / outlook.wanted_cells.max(1) as f64
        } else {
            MAX_SAMPLING_SECONDS
        };
        let rules = Rules {
            min_samples: self.limits.min_samples,
            sampling_seconds: spare.clamp(MIN_SAMPLING_SECONDS, MAX_SAMPLING_SECONDS),
            cell_seconds,
            deadline_seconds: Some(deadline).filter(|seconds| seconds.is_finite()),
        };
        Assignment {
            planned: self.plan.planned(place, round),
            forecast,
            expected_seconds: need,
            rules,
            kill_seconds: Some(kill).filter(|seconds| seconds.is_finite()),
        }
    }
}

/// What is expected of a point.
fn candidate(planned: &Planned, expected: Option<Estimate>, calibration: &Calibration, limits: &Limits) -> Candidate {
    let forecast = calibration.forecast(planned).or(expected);
    let wanted = forecast.evaluation_seconds * (1.0 + limits.min_samples as f64) + MIN_SAMPLING_SECONDS;
    let most = limits.cell_seconds.unwrap_or(f64::INFINITY).max(2.0 * forecast.evaluation_seconds);
    let need = forecast.overhead_seconds + wanted.min(most);
    let obstacle = if ruled_out(planned, &forecast, calibration, limits).is_some() {
        Obstacle::Certain
    } else if limits.over_cell(&forecast).is_some() {
        // A guess is not held against a cell while a smaller one of its method can still improve the guess.
        if forecast.trusted { Obstacle::Certain } else { Obstacle::Guess }
    } else {
        Obstacle::None
    };
    Candidate { forecast, need, obstacle }
}

/// Why a cell will never run, whatever its time.
fn ruled_out(planned: &Planned, forecast: &Forecast, calibration: &Calibration, limits: &Limits) -> Option<Reason> {
    let timed_out = || {
        let dim = calibration.timed_out_at(planned).filter(|dim| *dim <= planned.cell.point.dim)?;
        Some(Reason::out_of_time(planned.cell.method.method()?, dim))
    };
    limits.over_memory(planned, forecast).or_else(timed_out)
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
