//! What trials on this machine say about the gate: how often it raises a false alarm, and what it finds.

use std::fmt::Write;

use relgrad_vocabulary::Method;
use serde::Serialize;

use super::judge::Limits;
use super::rounds::{self, Points, Threads};
use super::trials::{Plan, regression_rate, smallest_found, upper_bound};
use super::{CellComparison, Comparison, Outcome, Rules, Verdict};
use crate::record::Point;
use crate::record::study::Study;
use crate::table::Table;
use crate::units::{self, NONE, grouped};

/// Seeded decisions behind a resampled rate.
const DRAWS: usize = 2000;

/// One run of the gate: equal sides, and perhaps a side with a planted fault, measured in the same rounds.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// The base against an equal side.
    pub equal: &'a Comparison,
    /// The base against a side with a planted fault.
    pub planted: Option<&'a Comparison>,
    /// Records of the base.
    pub base: &'a Study,
    /// Records of the equal side.
    pub new: &'a Study,
}

/// How often something happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Trials.
    pub trials: usize,
    /// Of these, those that ended in a regression.
    pub regressions: usize,
    /// Of these, those that stayed open.
    pub inconclusive: usize,
}

/// What the trials say of one cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellCalibration {
    /// The method.
    pub method: Method,
    /// The point; its threads and seed mean nothing.
    pub point: Point,
    /// Decisions on equal sides.
    pub equal: Counted,
    /// Decisions on the planted fault.
    pub planted: Counted,
    /// Standard deviation of the log-ratio of a round.
    pub scatter: f64,
    /// Share of false alarms among decisions on resampled rounds, when there are enough.
    pub resampled_alarms: Option<f64>,
    /// Smallest slowdown that decisions on resampled rounds find with probability 95 %.
    pub smallest_found: Option<f64>,
    #[serde(skip)]
    log_ratios: Vec<f64>,
}

/// What the trials say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// What was tolerated.
    pub rules: Rules,
    /// How many rounds a decision could take.
    pub plan: Plan,
    /// Whole gates on equal sides.
    pub equal: Counted,
    /// Whole gates on the planted fault.
    pub planted: Counted,
    /// By cell.
    pub cells: Vec<CellCalibration>,
    #[serde(skip)]
    alpha: f64,
}

impl Calibration {
    /// Nothing known yet.
    pub fn new(rules: &Rules, plan: &Plan) -> Self {
        let none = Counted::default();
        Self { rules: *rules, plan: *plan, equal: none, planted: none, cells: Vec::new(), alpha: rules.cell_alarm }
    }

    /// Counts a trial in.
    pub fn add(&mut self, trial: &Trial<'_>) {
        self.alpha = trial.equal.alpha;
        self.equal.count_outcome(trial.equal.outcome);
        if let Some(planted) = trial.planted {
            self.planted.count_outcome(planted.outcome);
        }
        let (base, new) =
            (Points::new(trial.base, 0, true, Threads::Alike), Points::new(trial.new, 0, true, Threads::Alike));
        for cell in &trial.equal.cells {
            let place = match self.cells.iter().position(|c| c.method == cell.method && c.point == cell.point) {
                Some(place) => place,
                None => {
                    self.cells.push(CellCalibration {
                        method: cell.method,
                        point: cell.point,
                        equal: Counted::default(),
                        planted: Counted::default(),
                        scatter: f64::NAN,
                        resampled_alarms: None,
                        smallest_found: None,
                        log_ratios: Vec::new(),
                    });
                    self.cells.len() - 1
                }
            };
            let entry = &mut self.cells[place];
            entry.equal.count(cell);
            let same = |c: &&CellComparison| c.method == cell.method && c.point == cell.point;
            if let Some(planted) = trial.planted.and_then(|p| p.cells.iter().find(same)) {
                entry.planted.count(planted);
            }
            let sides = (base.rounds(&cell.point, cell.method), new.rounds(&cell.point, cell.method));
            if let (Some(base), Some(new)) = sides {
                entry.log_ratios.extend(rounds::between(new, base, true));
            }
        }
    }

    /// Resamples what the trials gathered. Call it once, after the last trial.
    pub fn finish(mut self) -> Self {
        let limits = Limits::new(self.rules.max_slowdown.ln_1p(), self.alpha, true);
        for cell in &mut self.cells {
            let pool = &cell.log_ratios;
            let n = pool.len() as f64;
            let mean = pool.iter().sum::<f64>() / n;
            cell.scatter = (pool.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)).sqrt();
            cell.resampled_alarms = regression_rate(pool, 0.0, &self.plan, &limits, DRAWS);
            cell.smallest_found = smallest_found(pool, &self.plan, &limits, DRAWS);
        }
        self
    }

    /// The table that people read.
    pub fn table(&self) -> String {
        let columns =
            "method | >D | >trials | >rounds | >scatter | >false alarms [≤ at 95 %] | >resampled | >finds with 95 %";
        let row = |cell: &CellCalibration| {
            vec![
                cell.method.to_string(),
                grouped(cell.point.dim),
                cell.equal.trials.to_string(),
                cell.log_ratios.len().to_string(),
                units::percent(cell.scatter),
                format!("{} [{}]", cell.equal.regressions, units::percent(cell.equal.bound())),
                percent(cell.resampled_alarms),
                cell.smallest_found.map_or(NONE.into(), |s| format!("slower by {}", units::percent(s))),
            ]
        };
        let mut text = Table::new(columns, self.cells.iter().map(row)).text();
        let all = self.cells.iter().fold(Counted::default(), |sum, c| sum.plus(&c.equal));
        let _ = writeln!(text, "\ncells of equal sides: {}", all.sentence("false alarms"));
        let _ = writeln!(text, "whole gates of equal sides: {}", self.equal.sentence("false alarms"));
        if self.planted.trials > 0 {
            for cell in self.cells.iter().filter(|c| c.planted.trials > 0) {
                let Counted { trials, regressions, inconclusive } = cell.planted;
                let _ = writeln!(
                    text,
                    "planted fault, {} at D = {}: found in {regressions} of {trials} trials, {inconclusive} \
                     inconclusive",
                    cell.method,
                    grouped(cell.point.dim)
                );
            }
        }
        text
    }
}

impl Counted {
    /// The 95 % upper bound of the probability of a regression.
    pub fn bound(&self) -> f64 {
        upper_bound(self.regressions, self.trials)
    }

    fn count_outcome(&mut self, outcome: Outcome) {
        self.trials += 1;
        self.regressions += usize::from(outcome == Outcome::Regression);
        self.inconclusive += usize::from(matches!(outcome, Outcome::Inconclusive { .. }));
    }

    fn count(&mut self, cell: &CellComparison) {
        let any = |verdict| cell.quantities.iter().any(|q| q.judged && q.verdict == verdict);
        let regression = cell.fault.is_some() || any(Verdict::Worse);
        self.trials += 1;
        self.regressions += usize::from(regression);
        self.inconclusive += usize::from(any(Verdict::Inconclusive) && !regression);
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            trials: self.trials + other.trials,
            regressions: self.regressions + other.regressions,
            inconclusive: self.inconclusive + other.inconclusive,
        }
    }

    fn sentence(&self, what: &str) -> String {
        format!(
            "{} {what} in {} trials (at most {} with 95 % confidence), {} inconclusive",
            self.regressions,
            self.trials,
            units::percent(self.bound()),
            self.inconclusive
        )
    }
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or(NONE.into(), units::percent)
}
