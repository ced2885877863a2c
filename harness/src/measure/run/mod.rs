//! The driver: takes cells from the schedule, runs each in a process of its own, and keeps a record of each at once.

pub(crate) mod folder;
pub(crate) mod identity;
pub(crate) mod interrupt;
pub(crate) mod process;
pub(crate) mod progress;
pub(crate) mod quiet;
pub(crate) mod worker;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use relgrad_kernels::Math;
use relgrad_kernels::bound::{cost_of_refresh, cost_of_solve};
use relgrad_kernels::cost::{Cost, Sizes};
use relgrad_reports::atlas::Atlas;
use relgrad_reports::record::{Model, Outcome, Point, Prediction, Reason, Record, TransportKind};
use relgrad_reports::run::Run;
use relgrad_reports::units;
use relgrad_reports::writer::RecordWriter;

use self::interrupt::Events;
use self::process::ChildLimits;
use self::progress::{Position, Progress};
use self::quiet::Budget;
use crate::error::{Error, Result};
use crate::machine::mpi;
use crate::machine::time::{rfc3339, unix_seconds};
use crate::measure::cell::{Failed, Measurement, Reply, Spec};
use crate::measure::plan::Planned;
use crate::measure::plan::schedule::{Assignment, Schedule, Step};
use crate::measure::roofline;
use crate::measure::workload::DeviceKind;

/// Address space that a process reserves apart from its problem: the program itself, and per thread a stack and an
/// allocator arena (64 MiB in glibc), most of it never resident.
const BASE_ADDRESS_SPACE: u64 = 256 << 20;
const ADDRESS_SPACE_PER_THREAD: u64 = 96 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Complete,
    /// A signal stopped it; the records so far are kept.
    Interrupted,
}

/// A sweep that goes on in a folder that this process holds.
pub(crate) struct Session<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) run: Run,
    pub(crate) writer: RecordWriter,
    pub(crate) schedule: Schedule,
    pub(crate) events: Events,
    pub(crate) budget: Budget,
    pub(crate) options: Options,
    /// What predicts the cells that nothing near was measured of.
    pub(crate) atlas: Option<Atlas>,
    /// Round of the last cell.
    pub(crate) round: usize,
    /// Whether a cell was measured.
    pub(crate) has_measured: bool,
    /// Whether the last cell had a quiet machine.
    pub(crate) is_quiet: bool,
}

/// What is no setting of the cells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Whether the ceilings are measured.
    pub(crate) roofline: bool,
    pub(crate) quiet: bool,
    /// Most processes for a cell that has a disturbed machine.
    pub(crate) attempts: usize,
    /// How long to wait for a quiet machine, in all.
    pub(crate) wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { roofline: true, quiet: false, attempts: 3, wait: Duration::ZERO }
    }
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        dir: &'a Path,
        (run, writer): (Run, RecordWriter),
        schedule: Schedule,
        events: Events,
        budget: Budget,
        options: Options,
    ) -> Self {
        let (atlas, has_measured, is_quiet) = (None, false, false);
        Self { dir, run, writer, schedule, events, budget, options, atlas, round: 0, has_measured, is_quiet }
    }

    /// Runs until every cell has a record or a signal comes. A cell that fails is a record, not an error.
    pub(crate) fn run(mut self) -> Result<Ending> {
        let position = self.position();
        let progress = Progress::new(self.options.quiet, &self.run.settings, position);
        let ending = self.go_through(&progress, position);
        progress.finish();
        ending.map_err(|error| match error {
            Error::Output(cause) => Error::Output(format!(
                "{cause}; the records are kept; continue with: relgrad sweep --resume {}",
                self.dir.display()
            )),
            other => other,
        })
    }

    fn go_through(&mut self, progress: &Progress, position: Position) -> Result<Ending> {
        if position.recorded < position.cells {
            if self.atlas.is_some() {
                // With the ceilings the atlas says how long it takes.
                self.begin(progress)?;
                let position = self.position();
                progress.announce(&self.intention(position));
            } else {
                progress.announce(&self.intention(position));
                self.begin(progress)?;
            }
        }
        while !self.events.interrupted() {
            let record = match self.schedule.next(self.budget.elapsed()) {
                Step::Done => return self.complete(progress),
                Step::Skip { planned, prediction, reason } => {
                    Record { reason: Some(reason), ..skipped(&planned, prediction) }
                }
                Step::Run(assignment) => {
                    self.between_rounds(&assignment, progress)?;
                    match self.measure(&assignment, progress)? {
                        Some(record) => record,
                        None => break,
                    }
                }
            };
            self.keep(&record, progress)?;
        }
        Ok(Ending::Interrupted)
    }

    /// What a sweep is about to do, how long that takes, and where the results will be.
    fn intention(&mut self, Position { cells, recorded, remaining_seconds }: Position) -> String {
        let settings = &self.run.settings;
        let list = |names: &mut dyn Iterator<Item = &str>| names.collect::<Vec<_>>().join(", ");
        let methods = list(&mut settings.methods.iter().map(|method| method.name()));
        let devices = list(&mut settings.devices.iter().map(|device| device.name()));
        let dims = match *settings.dims {
            [only] => units::grouped(only),
            [first, .., last] => format!("{} to {}", units::grouped(first), units::grouped(last)),
            [] => "none".to_string(),
        };
        let rounds = units::counted(settings.rounds, "round");
        let threads = match settings.other_threads.as_slice() {
            [] => String::new(),
            _ => format!(", on {}", settings.threads_in_words()),
        };
        let most = self.schedule.most_seconds(self.budget.elapsed());
        let ends = rfc3339(unix_seconds() + most)[..16].replace('T', " ");
        format!(
            "measuring {} of {methods} on {devices}, D = {dims}{threads}, in {rounds}\n\
             time: {} to {}, so until {ends} UTC; --budget changes it\n\
             results: {}; Ctrl-C keeps them, and --resume continues",
            units::counted(cells - recorded, "cell"),
            units::seconds(remaining_seconds),
            units::seconds(most),
            self.dir.display()
        )
    }

    /// Writes a record down and learns from it.
    fn keep(&mut self, record: &Record, progress: &Progress) -> Result<()> {
        self.writer.append(record).map_err(|cause| Error::Output(cause.to_string()))?;
        self.schedule.observe(record);
        let position = self.position();
        progress.end(record, position);
        Ok(())
    }

    fn position(&mut self) -> Position {
        let (cells, recorded) = self.schedule.progress();
        Position { cells, recorded, remaining_seconds: self.schedule.remaining_seconds(self.budget.elapsed()) }
    }

    /// Adds the ceilings to `run.json`. A sweep continues without them where they cannot be measured.
    fn measure_ceilings_of(&mut self, device: DeviceKind, progress: &Progress) -> Result<()> {
        let tick = |elapsed| progress.keep_time(elapsed);
        match roofline::measure_isolated(device, &self.run.settings, &mut self.events, tick)? {
            Some(Ok(roofline)) => {
                self.run.rooflines.push(roofline);
                folder::write(self.dir, &self.run)?;
            }
            Some(Err(reason)) => note!("relgrad: ceilings were not measured: {reason}"),
            // The same signal is seen before the next cell.
            None => {}
        }
        Ok(())
    }

    /// Runs one cell; no record when a signal cut it off.
    fn measure(&mut self, assignment: &Assignment, progress: &Progress) -> Result<Option<Record>> {
        self.wait_for_quiet(progress);
        let position = self.position();
        let (start, started_unix_seconds) = (Instant::now(), unix_seconds());
        let Some(reply) = self.run_child(assignment, progress, position)? else { return Ok(None) };
        let record = Record {
            attempt: self.schedule.attempts(&assignment.planned.cell),
            wall_seconds: start.elapsed().as_secs_f64(),
            started_unix_seconds,
            ..skipped(&assignment.planned, assignment.forecast.prediction())
        };
        let record = match reply {
            Reply::Failed(failed) => failed_record(record, failed),
            Reply::Ready(_) => failed_record(record, Reason::from("it took no samples").into()),
            Reply::Measured(measurement) => {
                let Measurement { seconds, evaluations_per_sample, warmup_seconds, .. } = *measurement;
                let Measurement { peak_bytes, memory_trace, check, refresh, solved, inverse_error, .. } = *measurement;
                let Measurement { exchanged, gpu, state, .. } = *measurement;
                let outcome = Outcome::Measured;
                let Point { dim, layers, batch, dtype, tuning, .. } = record.cell.point;
                let sizes = Sizes { dim, layers, batch, dtype, lanes: 1, tuning };
                let cost = refresh.map(|refresh| cost_of_refresh(&sizes, refresh.products, refresh.factored));
                let cost = cost.or_else(|| solved.map(|solved| cost_of_solve(&sizes, solved.iterations)));
                let model = cost.map_or(record.model, |cost| with_work(record.model, &cost));
                let timed = Record { outcome, model, seconds, evaluations_per_sample, warmup_seconds, ..record };
                let timed = Record { exchanged, gpu, state, ..timed };
                Record { peak_bytes, memory_trace, check, refresh, solved, inverse_error, ..timed }
            }
        };
        self.has_measured = true;
        self.is_quiet = quiet::was_quiet(&record);
        Ok(Some(record))
    }

    /// What the process of a cell answers; nothing when a signal cut it off.
    fn run_child(&mut self, assignment: &Assignment, progress: &Progress, position: Position) -> Result<Option<Reply>> {
        let cell = &assignment.planned.cell;
        let transport = (cell.point.ranks > 1).then(mpi::transport);
        let spec = Spec { cell: *cell, rules: Some(assignment.rules), inject: None, transport };
        // MPI reserves addresses for the memory that processes share.
        let is_alone = transport != Some(TransportKind::Mpi);
        let (device, limit) = (cell.point.device, self.run.settings.memory_limit_bytes);
        let limits = ChildLimits {
            address_space_bytes: address_space(device, limit, cell.point.threads).filter(|_| is_alone),
            // Seconds that are no duration are those of a limit that is none.
            kill_after: assignment.kill_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        };
        let tick = |elapsed| progress.tick(cell, assignment.expected_seconds, position, elapsed);
        let reply = process::reply(spec.command(&identity::program()?)?, limits, &mut self.events, tick);
        let reply = reply.map_err(|cause| Error::Output(format!("cannot start the process of a cell: {cause}")))?;
        Ok(reply.map(|reply| reply.unwrap_or_else(|reason| Reply::Failed(reason.into()))))
    }
}

/// A record of what went wrong.
pub(crate) fn failed_record(record: Record, failed: Failed) -> Record {
    Record { outcome: Outcome::Failed, reason: Some(failed.reason), check: failed.check, ..record }
}

/// The address space of a process on `threads` threads whose problem may take `memory_limit_bytes`. None on a GPU: CUDA
/// reserves addresses for all memory of the machine and its GPUs at its start, resident or not.
pub(crate) fn address_space(device: DeviceKind, memory_limit_bytes: u64, threads: usize) -> Option<u64> {
    let stacks = ADDRESS_SPACE_PER_THREAD.saturating_mul((threads as u64).saturating_add(1));
    let reserved = BASE_ADDRESS_SPACE.saturating_add(stacks);
    (device == DeviceKind::Cpu).then(|| memory_limit_bytes.saturating_add(reserved))
}

/// Takes the variables from a child's environment by which a user's could change the arithmetic behind the record's
/// back, and forbids TF32 but where it was asked for.
pub(crate) fn keep_arithmetic(command: &mut Command, math: Option<Math>) {
    command.env_remove("CUBLAS_EMULATE_SINGLE_PRECISION").env_remove("CUBLAS_EMULATE_DOUBLE_PRECISION");
    match math {
        Some(Math::Tf32) => command.env_remove("NVIDIA_TF32_OVERRIDE"),
        _ => command.env("NVIDIA_TF32_OVERRIDE", "0"),
    };
}

/// The model of a cell with the work that its refresh or its solves turned out to take.
fn with_work(model: Model, cost: &Cost) -> Model {
    Model { flops: cost.flops, min_traffic_bytes: cost.min_traffic_bytes, ..model }
}

/// A record of a cell that was not measured.
fn skipped(planned: &Planned, prediction: Prediction) -> Record {
    let started_unix_seconds = unix_seconds();
    Record { prediction: Some(prediction), started_unix_seconds, ..Record::blank(planned.cell, planned.model) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_space_of_absurd_numbers_is_the_largest() {
        assert_eq!(address_space(DeviceKind::Cpu, u64::MAX, usize::MAX), Some(u64::MAX));
        assert_eq!(address_space(DeviceKind::Cpu, 1 << 30, 1), Some((1 << 30) + (448 << 20)));
        assert_eq!(address_space(DeviceKind::Cuda, 1 << 30, 1), None);
    }
}
