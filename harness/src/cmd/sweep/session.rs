//! What is left to do once the folder stands and the records so far are known.

use std::path::Path;
use std::process::{Command, Stdio};

use relgrad_reports::record::{Check, Outcome};
use relgrad_reports::run::Run;
use relgrad_reports::units;
use relgrad_reports::writer::RecordWriter;

use crate::error::{Error, Result, code};
use crate::machine::time::{rfc3339, unix_seconds};
use crate::plan::schedule::Schedule;
use crate::roofline::isolated::{self, Ceilings};
use crate::run::interrupt::Events;
use crate::run::progress::{Position, Progress};
use crate::run::{Driver, Ending, folder, identity, process};
use crate::workload::DeviceKind;

/// A sweep that goes on in a folder that this process holds.
pub(super) struct Session<'a> {
    pub(super) dir: &'a Path,
    pub(super) run: Run,
    pub(super) writer: RecordWriter,
    pub(super) schedule: Schedule,
    pub(super) events: Events,
    pub(super) spent_seconds: f64,
    /// Whether the ceilings are to be measured where `run` has none.
    pub(super) roofline: bool,
    pub(super) quiet: bool,
}

impl Session<'_> {
    /// Runs the missing cells, writes the report and says how it went.
    pub(super) fn finish(mut self) -> Result<u8> {
        let program = identity::program()?;
        let (cells, recorded) = self.schedule.progress();
        let remaining_seconds = self.schedule.remaining_seconds(self.spent_seconds);
        let position = Position { cells, recorded, remaining_seconds };
        let progress = Progress::new(self.quiet, self.run.settings.rounds, position);
        for device in DeviceKind::ALL {
            let wanted = self.run.settings.devices.contains(&device);
            if self.roofline && wanted && recorded < cells && self.run.roofline(device).is_none() {
                progress.say("measuring the machine's ceilings (see relgrad roofline)");
                self.measure_ceilings(&program, device, &progress).map_err(|error| resumable(self.dir, error))?;
            }
        }
        let mut driver = Driver {
            schedule: self.schedule,
            writer: self.writer,
            progress,
            events: self.events,
            program: program.clone(),
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
        report_on(self.dir, &program, ending)
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

/// Says how the sweep went, writes the report of what is there and returns the exit code.
fn report_on(dir: &Path, program: &Path, ending: Ending) -> Result<u8> {
    let study = folder::read(dir)?;
    let count = |outcome| study.records.iter().filter(|record| record.outcome == outcome).count();
    let (measured, skipped, failed) = (count(Outcome::Measured), count(Outcome::Skipped), count(Outcome::Failed));
    say!("{} measured, {skipped} skipped, {failed} failed", units::counted(measured, "cell"));
    let drawn = draw(dir, program);
    if drawn.is_ok() {
        say!("report: {}", dir.join("report.html").display());
    }

    if ending == Ending::Interrupted {
        if let Err(error) = drawn {
            note!("relgrad: {error}");
        }
        note!("relgrad: interrupted; continue with: relgrad sweep --resume {}", dir.display());
        return Ok(code::INTERRUPTED);
    }
    let check_failed =
        |check: &Check| !check.max_rel_err.partial_cmp(&check.tolerance).is_some_and(std::cmp::Ordering::is_le);
    let wrong = study.records.iter().filter_map(|record| record.check.as_ref()).any(check_failed);
    if wrong {
        note!("relgrad: a gradient failed its check; the report says which");
    } else if measured == 0 {
        note!("relgrad: nothing was measured; the records say why");
    }
    drawn?;
    Ok(match (wrong, measured) {
        (true, _) => code::CHECK_FAILED,
        (false, 0) => code::NOTHING_MEASURED,
        (false, _) => 0,
    })
}

/// Writes the report in a process of its own: a picture that takes more memory than there is must not take the sweep
/// along. Signals of the terminal do not reach it.
fn draw(dir: &Path, program: &Path) -> Result<()> {
    let mut command = Command::new(program);
    identity::name(&mut command);
    command.args(["report", "--"]).arg(dir).stdin(Stdio::null());
    process::confine(&mut command, None);
    let cause = match command.output() {
        Ok(output) if [0, code::NOTHING_MEASURED].map(i32::from).map(Some).contains(&output.status.code()) => {
            return Ok(());
        }
        Ok(output) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let told = stderr.lines().last().and_then(|line| line.strip_prefix("relgrad: "));
            told.map_or_else(|| process::cause_of_death(output.status, &stderr), str::to_string)
        }
        Err(cause) => cause.to_string(),
    };
    let dir = dir.display();
    Err(Error::Output(format!(
        "the report could not be drawn ({cause}); the records are kept, draw it again with: relgrad report {dir}"
    )))
}
