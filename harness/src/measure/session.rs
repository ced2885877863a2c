//! What is left to do once the folder stands and the records so far are known.

use std::path::Path;

use relgrad_reports::run::Run;
use relgrad_reports::writer::RecordWriter;

use crate::error::{Error, Result};
use crate::machine::time::{rfc3339, unix_seconds};
use crate::measure::plan::schedule::Schedule;
use crate::measure::roofline::isolated::{self, Ceilings};
use crate::measure::run::interrupt::Events;
use crate::measure::run::progress::{Position, Progress};
use crate::measure::run::{Driver, Ending, folder, identity};
use crate::measure::workload::DeviceKind;

/// A sweep that goes on in a folder that this process holds.
pub(crate) struct Session<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) run: Run,
    pub(crate) writer: RecordWriter,
    pub(crate) schedule: Schedule,
    pub(crate) events: Events,
    pub(crate) spent_seconds: f64,
    /// Whether the ceilings are to be measured where `run` has none.
    pub(crate) roofline: bool,
    pub(crate) quiet: bool,
}

impl Session<'_> {
    pub(crate) fn run(mut self) -> Result<Ending> {
        let program = identity::program()?;
        let (cells, recorded) = self.schedule.progress();
        let remaining_seconds = self.schedule.remaining_seconds(self.spent_seconds);
        let position = Position { cells, recorded, remaining_seconds };
        let progress = Progress::new(self.quiet, self.run.settings.rounds, position);
        for device in DeviceKind::ALL {
            let wanted = self.run.settings.devices.iter().any(|name| name == device.name());
            if self.roofline && wanted && recorded < cells && self.run.roofline(device.name()).is_none() {
                progress.say("measuring the machine's ceilings (see relgrad roofline)");
                self.measure_ceilings(&program, device, &progress).map_err(|error| resumable(self.dir, error))?;
            }
        }
        let mut driver = Driver {
            schedule: self.schedule,
            writer: self.writer,
            progress,
            events: self.events,
            program,
            min_samples: self.run.settings.min_samples,
            memory_limit_bytes: self.run.settings.memory_limit_bytes,
            spent_seconds: self.spent_seconds,
        };
        let ending = driver.run();
        driver.progress.finish();
        let ending = ending.map_err(|error| resumable(self.dir, error))?;
        if ending == Ending::Complete {
            self.run.ended = Some(rfc3339(unix_seconds()));
            folder::write(self.dir, &self.run).map_err(|error| resumable(self.dir, error))?;
        }
        Ok(ending)
    }

    /// Adds the ceilings to `run.json`. A sweep goes on without them where they cannot be had.
    fn measure_ceilings(&mut self, program: &Path, device: DeviceKind, progress: &Progress) -> Result<()> {
        let tick = |elapsed| progress.keep_time(elapsed);
        match isolated::measure(program, device, &self.run.settings, &mut self.events, tick)? {
            Ceilings::Measured(roofline) => {
                self.spent_seconds += roofline.wall_seconds;
                self.run.rooflines.push(*roofline);
                folder::write(self.dir, &self.run)
            }
            Ceilings::Failed(reason) => {
                note!("relgrad: the report will have no fractions of ceilings: {reason}");
                Ok(())
            }
            // The driver sees the same signal before its first cell.
            Ceilings::Interrupted => Ok(()),
        }
    }
}

/// The same error, with what becomes of the records.
fn resumable(dir: &Path, error: Error) -> Error {
    match error {
        Error::Output(cause) => {
            let dir = dir.display();
            Error::Output(format!("{cause}; the records so far are kept, go on with: relgrad sweep --resume {dir}"))
        }
        other => other,
    }
}
