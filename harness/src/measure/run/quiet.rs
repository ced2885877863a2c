//! What a sweep does about a disturbed machine: it waits, measures cells again, and the ceilings several times.

use std::time::{Duration, Instant};

use relgrad_reports::atlas::Predictor;
use relgrad_reports::record::Record;
use relgrad_reports::units;

use super::interrupt::Event;
use super::progress::Progress;
use super::{Ending, Session};
use crate::error::{Error, Result};
use crate::machine::load::Watch;
use crate::machine::time::{rfc3339, unix_seconds};
use crate::measure::plan::schedule::Assignment;
use crate::measure::run::folder;
use crate::measure::workload::DeviceKind;

/// How long the machine is looked at to see whether it is quiet: fifty ticks of the system's accounts on each core.
pub(crate) const LOOK: Duration = Duration::from_millis(500);
/// Further attempts in a row that were disturbed too, after which the others are left out: the machine stays as it is.
const IN_VAIN: usize = 5;

/// Seconds of the budget that are spent.
pub(crate) struct Budget {
    /// By earlier sessions, and set aside for what is to come.
    seconds: f64,
    start: Instant,
    /// Time since the start that does not count.
    paused: Duration,
}

impl Budget {
    /// From now on, after earlier sessions spent so many seconds.
    pub(crate) fn after(seconds: f64) -> Self {
        Self { seconds, start: Instant::now(), paused: Duration::ZERO }
    }

    pub(super) fn elapsed(&self) -> f64 {
        self.seconds + self.start.elapsed().saturating_sub(self.paused).as_secs_f64()
    }
}

impl Session<'_> {
    /// Waits until other programs leave the cores alone for a moment, at most for what is left of `--wait-quiet`. Not
    /// after a quiet cell.
    pub(super) fn wait_for_quiet(&mut self, progress: &Progress) {
        let start = Instant::now();
        let threads = self.run.settings.most_threads();
        let mut told = false;
        while !self.is_quiet && start.elapsed() < self.options.wait {
            let watch = Watch::start();
            let deadline = Some(Instant::now() + LOOK);
            while self.events.wait(deadline) == Event::Heard {}
            if self.events.interrupted() {
                break;
            }
            let Some(disturbance) = watch.finish(1).disturbance(threads) else {
                self.is_quiet = true;
                break;
            };
            if !told {
                let most = match self.options.wait {
                    // None was asked for, less what was waited before.
                    most if most > Duration::MAX / 2 => String::new(),
                    most => format!(", {} at most", units::seconds(most.as_secs_f64().ceil())),
                };
                progress.say(&format!("waiting for a quiet machine{most}: {disturbance}"));
                told = true;
            }
        }
        let waited = start.elapsed();
        if told {
            let state = if self.is_quiet { "quiet" } else { "not quiet" };
            progress.say(&format!("the machine is {state} after {}", units::seconds(waited.as_secs_f64().round())));
        }
        self.options.wait = self.options.wait.saturating_sub(waited);
        self.budget.paused += waited;
    }

    /// After the last cell: measures disturbed cells again, and the ceilings once more.
    pub(super) fn complete(&mut self, progress: &Progress) -> Result<Ending> {
        if !self.measure_again(progress)? {
            return Ok(Ending::Interrupted);
        }
        if self.has_measured {
            self.measure_ceilings(progress, |session, device| session.run.roofline(device).is_some())?;
        }
        self.run.ended = Some(rfc3339(unix_seconds()));
        folder::write(self.dir, &self.run)?;
        Ok(Ending::Complete)
    }

    /// Measures cells again that had a disturbed machine, while the budget lasts; whether no signal cut it off.
    fn measure_again(&mut self, progress: &Progress) -> Result<bool> {
        let mut in_vain = 0;
        for _ in 1..self.options.attempts {
            let cells = self.schedule.disturbed(self.options.attempts);
            if !cells.is_empty() {
                let count = units::counted(cells.len(), "cell");
                progress.say(&format!("{count} had a disturbed machine: measuring again as far as the budget lasts"));
            }
            for (done, cell) in cells.iter().enumerate() {
                let elapsed = self.budget.elapsed();
                let Some(assignment) = self.schedule.again(cell, cells.len() - done, elapsed) else { continue };
                let Some(record) = self.measure(&assignment, progress)? else { return Ok(false) };
                self.keep(&record, progress)?;
                in_vain = if self.is_quiet { 0 } else { in_vain + 1 };
                if in_vain == IN_VAIN {
                    progress
                        .say(&format!("{IN_VAIN} attempts in a row were disturbed again: the machine stays as it is"));
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    /// Measures the ceilings before the first cell of a further round, where the remaining cells leave the time.
    pub(super) fn between_rounds(&mut self, assignment: &Assignment, progress: &Progress) -> Result<()> {
        let round = assignment.planned.cell.round;
        if round <= self.round {
            return Ok(());
        }
        self.round = round;
        let spare_seconds = self.schedule.spare_seconds(self.budget.elapsed());
        if self.has_measured && spare_seconds > self.ceilings_seconds() {
            self.measure_ceilings(progress, |session, device| session.run.roofline(device).is_some())?;
        }
        Ok(())
    }

    /// Before the first cell: measures the ceilings that are not known, keeps the time for measuring them at the end,
    /// and lets an atlas predict.
    pub(super) fn begin(&mut self, progress: &Progress) -> Result<()> {
        self.wait_for_quiet(progress);
        self.measure_ceilings(progress, |session, device| session.run.roofline(device).is_none())?;
        self.budget.seconds += self.ceilings_seconds();
        if let Some(atlas) = &self.atlas {
            let predictor = Predictor::new(atlas, &self.run.machine, self.run.rooflines.clone(), &[]);
            self.schedule.expect(&predictor.map_err(Error::Input)?);
        }
        Ok(())
    }

    /// Seconds that the ceilings took when they were last measured.
    fn ceilings_seconds(&self) -> f64 {
        let last = |device| self.run.rooflines.iter().rev().find(|roofline| roofline.device == device);
        let of_devices = self.run.settings.devices.iter().filter_map(|&device| last(device));
        of_devices.map(|roofline| roofline.wall_seconds).sum()
    }

    fn measure_ceilings(&mut self, progress: &Progress, wanted: fn(&Self, DeviceKind) -> bool) -> Result<()> {
        for device in DeviceKind::ALL {
            let is_meant = self.options.roofline && self.run.settings.devices.contains(&device);
            if is_meant && wanted(self, device) && !self.events.interrupted() {
                progress.say("measuring the machine's ceilings (see relgrad roofline)");
                self.measure_ceilings_of(device, progress)?;
            }
        }
        Ok(())
    }
}

/// Whether a record tells of a machine that was quiet, as far as it tells.
pub(super) fn was_quiet(record: &Record) -> bool {
    record.state.is_none_or(|state| state.disturbance(record.cell.point.threads).is_none())
}
