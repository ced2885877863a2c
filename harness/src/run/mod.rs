//! The driver: takes cells from the schedule, runs each in a process of its own, and keeps a record of each at once.

pub(crate) mod folder;
pub(crate) mod identity;
pub(crate) mod interrupt;
pub(crate) mod process;
pub(crate) mod progress;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use relgrad_kernels::Math;
use relgrad_reports::record::{Cell, Check, Outcome, Prediction, Reason, Record};
use relgrad_reports::writer::RecordWriter;

use self::interrupt::Events;
use self::process::{ChildLimits, End};
use self::progress::{Position, Progress};
use crate::cell::sampling::Rules;
use crate::cell::{Measurement, Reply, Spec};
use crate::error::{Error, Result};
use crate::machine::time::unix_seconds;
use crate::plan::Planned;
use crate::plan::schedule::{Assignment, Schedule, Step};
use crate::workload::DeviceKind;

/// Address space that a process reserves apart from its problem: the program itself, and per thread a stack and an
/// allocator arena (64 MiB in glibc), most of it never resident.
const BASE_ADDRESS_SPACE: u64 = 256 << 20;
const ADDRESS_SPACE_PER_THREAD: u64 = 96 << 20;

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every cell has its record.
    Complete,
    /// A signal stopped it; the records so far are kept.
    Interrupted,
}

/// One session of a sweep.
pub(crate) struct Driver {
    /// The cells.
    pub(crate) schedule: Schedule,
    /// Where records go.
    pub(crate) writer: RecordWriter,
    /// Where progress goes.
    pub(crate) progress: Progress,
    /// Signals.
    pub(crate) events: Events,
    /// The program that children run, with the hidden verb `cell`.
    pub(crate) program: PathBuf,
    /// Samples that a cell should have at least.
    pub(crate) min_samples: usize,
    /// Bytes that one cell may take.
    pub(crate) memory_limit_bytes: u64,
    /// Seconds of the budget that earlier sessions spent.
    pub(crate) spent_seconds: f64,
}

/// What a cell came to.
enum Outcomes {
    Measured(Box<Measurement>),
    Failed { reason: Reason, check: Option<Check> },
    Interrupted,
}

impl Driver {
    /// Runs until every cell has a record or a signal comes.
    ///
    /// # Errors
    /// When a record cannot be written or no process can be started. A cell that fails is a record, not an error.
    pub(crate) fn run(&mut self) -> Result<Ending> {
        let start = Instant::now();
        let ending = loop {
            if self.events.interrupted() {
                break Ending::Interrupted;
            }
            let elapsed = self.spent_seconds + start.elapsed().as_secs_f64();
            match self.schedule.next(elapsed) {
                Step::Done => break Ending::Complete,
                Step::Skip { planned, prediction, reason } => {
                    let record = Record { reason: Some(reason), ..blank(&planned, prediction) };
                    self.keep(record, elapsed)?;
                }
                Step::Run(assignment) => {
                    let position = self.position(elapsed);
                    let Some(record) = self.measure(&assignment, position)? else {
                        break Ending::Interrupted;
                    };
                    self.keep(record, self.spent_seconds + start.elapsed().as_secs_f64())?;
                }
            }
        };
        Ok(ending)
    }

    /// Writes a record and learns from it.
    fn keep(&mut self, record: Record, elapsed_seconds: f64) -> Result<()> {
        self.writer.append(&record).map_err(|cause| Error::Output(cause.to_string()))?;
        self.schedule.observe(&record);
        let position = self.position(elapsed_seconds);
        self.progress.end(&record, position);
        Ok(())
    }

    fn position(&mut self, elapsed_seconds: f64) -> Position {
        let (cells, recorded) = self.schedule.progress();
        Position { cells, recorded, remaining_seconds: self.schedule.remaining_seconds(elapsed_seconds) }
    }

    /// Runs one cell; no record when a signal cut it off.
    fn measure(&mut self, assignment: &Assignment, position: Position) -> Result<Option<Record>> {
        let started_unix_seconds = unix_seconds();
        let start = Instant::now();
        let outcome = self.run_child(assignment, position)?;
        let record = Record {
            wall_seconds: start.elapsed().as_secs_f64(),
            started_unix_seconds,
            ..blank(&assignment.planned, assignment.forecast.prediction())
        };
        Ok(match outcome {
            Outcomes::Interrupted => None,
            Outcomes::Failed { reason, check } => {
                Some(Record { outcome: Outcome::Failed, reason: Some(reason), check, ..record })
            }
            Outcomes::Measured(measurement) => Some(Record {
                outcome: Outcome::Measured,
                seconds: measurement.seconds,
                evaluations_per_sample: measurement.evaluations_per_sample,
                warmup_seconds: measurement.warmup_seconds,
                peak_bytes: measurement.peak_bytes,
                memory_trace: measurement.memory_trace,
                check: Some(measurement.check),
                gpu: measurement.gpu,
                ..record
            }),
        })
    }

    fn run_child(&mut self, assignment: &Assignment, position: Position) -> Result<Outcomes> {
        let cell = &assignment.planned.cell;
        let command = child_command(&self.program, cell, self.rules(assignment))?;
        let limits = ChildLimits {
            address_space_bytes: address_space(cell.point.device, self.memory_limit_bytes, cell.point.threads),
            // Seconds that are no duration are those of a limit that is none.
            kill_after: assignment.kill_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        };
        let Self { progress, events, .. } = self;
        let tick = |elapsed| progress.tick(cell, assignment.expected_seconds, position, elapsed);
        let end = process::run_watched(command, limits, events, tick);
        let end = end.map_err(|cause| Error::Output(format!("cannot run the process of a cell: {cause}")))?;
        Ok(match end {
            End::Interrupted => Outcomes::Interrupted,
            End::TimedOut => {
                let reason = Reason::timed_out(assignment.kill_seconds.unwrap_or(f64::NAN));
                Outcomes::Failed { reason, check: None }
            }
            End::Exited { status, stdout, stderr } => match serde_json::from_str(stdout.trim()) {
                Ok(Reply::Measured(measurement)) => Outcomes::Measured(measurement),
                Ok(Reply::Failed { reason, check }) => Outcomes::Failed { reason, check },
                // A signal reached the whole process tree: the cell did not fail by itself.
                Err(_) if self.events.interrupted() => Outcomes::Interrupted,
                Err(_) => Outcomes::Failed { reason: process::cause_of_death(status, &stderr).into(), check: None },
            },
        })
    }

    fn rules(&self, assignment: &Assignment) -> Rules {
        Rules {
            min_samples: self.min_samples,
            sampling_seconds: assignment.sampling_seconds,
            cell_seconds: assignment.cell_seconds,
            deadline_seconds: assignment.deadline_seconds,
        }
    }
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

/// The command of one cell's process.
fn child_command(program: &PathBuf, cell: &Cell, rules: Rules) -> Result<Command> {
    let spec = serde_json::to_string(&Spec { cell: *cell, rules });
    let spec = spec.map_err(|cause| Error::Usage(format!("a cell cannot be described: {cause}")))?;
    let mut command = Command::new(program);
    identity::name(&mut command);
    command.arg("cell").arg(spec).env("RAYON_NUM_THREADS", cell.point.threads.to_string());
    keep_arithmetic(&mut command, cell.point.math);
    Ok(command)
}

/// A skipped record, which the other outcomes start from.
fn blank(planned: &Planned, prediction: Prediction) -> Record {
    Record {
        prediction: Some(prediction),
        started_unix_seconds: unix_seconds(),
        ..Record::blank(planned.cell, planned.model)
    }
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
