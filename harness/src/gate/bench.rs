//! One round at one point: the processes of all contenders side by side, sampled in turn A B … B A.
//!
//! A shared machine changes its speed by tens of percent within seconds. Taken in turn, some milliseconds each, all
//! contenders see the same machine, and the order A B … B A cancels what changes steadily during a turn. The processes
//! are new in every round, so that the luck of one memory placement does not decide.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use relgrad_reports::record::{Cell, Check, MemoryPoint, Model, Outcome, Reason, Record};
use relgrad_vocabulary::{Kernel, Subject};

use super::worker::Worker;
use crate::cell::worker::{Answer, Hello, Request, WorkerSpec};
use crate::error::{Error, Result};
use crate::machine::time::unix_seconds;
use crate::workload::Workload;

/// Shortest time of one sample: the scheduler's and the clock's grain are small beside it.
const SAMPLE_SECONDS: f64 = 2e-3;
/// Turns of a round: fewer make a poor median, more say nothing new of the same processes.
const FEWEST_TURNS: usize = 5;
const MOST_TURNS: usize = 25;

/// A build of the program that takes part.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Contender {
    /// The program.
    pub(crate) program: PathBuf,
    /// A fault to plant in it.
    pub(crate) inject: Option<String>,
}

/// How to measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Timing {
    /// Seconds of sampling of one round at one point.
    pub(crate) round_seconds: f64,
    /// Seconds after which a process without an answer is given up.
    pub(crate) limit_seconds: f64,
}

/// What one process measures: a cell by one contender.
struct Lane {
    contender: usize,
    cell: Cell,
    worker: Worker,
    state: State,
}

enum State {
    Ready { check: Option<Check>, peak_bytes: Option<u64>, evaluation_seconds: f64, taken: Taken },
    Failed { reason: Reason, check: Option<Check> },
}

#[derive(Default)]
struct Taken {
    evaluations: u64,
    seconds: Vec<f64>,
    memory: Vec<MemoryPoint>,
}

/// Measures `cells` (all at one point, all of one round; calibration kernels are cells too) by every contender.
///
/// Returns the records with the index of their contender. A process that fails leaves a failed record; the others go
/// on.
///
/// # Errors
/// When a process cannot be started.
pub(crate) fn round(cells: &[Cell], contenders: &[Contender], timing: Timing) -> Result<Vec<(usize, Record)>> {
    let (start, started_unix_seconds) = (Instant::now(), unix_seconds());
    let mut lanes = Vec::new();
    for cell in cells {
        for contender in in_turn(contenders.len(), cell.round) {
            let Contender { program, inject } = &contenders[contender];
            let inject = inject.clone().filter(|_| !cell.method.is_kernel());
            let worker = Worker::start(program, &WorkerSpec { cell: *cell, inject })?;
            let state = State::Failed { reason: String::new().into(), check: None };
            lanes.push(Lane { contender, cell: *cell, worker, state });
        }
    }
    // All build and check at the same time: nothing of that is timed.
    let limit = Duration::from_secs_f64(timing.limit_seconds);
    lanes.iter_mut().for_each(|lane| lane.greet(limit));
    balance(&mut lanes);
    lanes.iter_mut().for_each(|lane| lane.read_memory(start, limit));
    for _ in 0..turns(&lanes, timing.round_seconds) {
        lanes.iter_mut().for_each(|lane| lane.sample(limit));
        lanes.iter_mut().rev().for_each(|lane| lane.sample(limit));
    }
    lanes.iter_mut().for_each(|lane| lane.read_memory(start, limit));
    let finish = |lane: Lane| {
        let contender = lane.contender;
        let record = lane.record()?;
        let wall_seconds = start.elapsed().as_secs_f64();
        Ok((contender, Record { wall_seconds, started_unix_seconds, ..record }))
    };
    lanes.into_iter().map(finish).collect()
}

/// The contenders in the order of a round, which begins with another one every time: who is asked first finds other
/// caches than who comes after, and over the rounds that must favour nobody.
fn in_turn(contenders: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..contenders).map(move |place| (place + round) % contenders)
}

/// Gives all contenders of a cell the same number of evaluations a sample.
fn balance(lanes: &mut [Lane]) {
    let slowest: Vec<f64> = lanes
        .iter()
        .map(|lane| {
            let same = lanes.iter().filter(|other| other.cell == lane.cell);
            same.filter_map(Lane::evaluation_seconds).fold(0.0, f64::max)
        })
        .collect();
    for (lane, slowest) in lanes.iter_mut().zip(slowest) {
        if let State::Ready { taken, .. } = &mut lane.state {
            taken.evaluations = (SAMPLE_SECONDS / slowest.max(1e-9)).ceil().clamp(1.0, 1e6) as u64;
        }
    }
}

/// Turns that fill `seconds`, from the evaluations that a turn makes (one untimed each).
fn turns(lanes: &[Lane], seconds: f64) -> usize {
    let of_lane = |lane: &Lane| match &lane.state {
        State::Ready { evaluation_seconds, taken, .. } => 2.0 * evaluation_seconds * (1 + taken.evaluations) as f64,
        State::Failed { .. } => 0.0,
    };
    let turn: f64 = lanes.iter().map(of_lane).sum();
    if turn == 0.0 { 0 } else { ((seconds / turn) as usize).clamp(FEWEST_TURNS, MOST_TURNS) }
}

impl Lane {
    fn greet(&mut self, limit: Duration) {
        self.state = match self.worker.hello(limit) {
            Ok(Hello::Ready { check, peak_bytes, evaluation_seconds }) => {
                State::Ready { check, peak_bytes, evaluation_seconds, taken: Taken::default() }
            }
            Ok(Hello::Failed { reason, check }) => State::Failed { reason, check },
            Err(reason) => State::Failed { reason, check: None },
        };
    }

    fn evaluation_seconds(&self) -> Option<f64> {
        match self.state {
            State::Ready { evaluation_seconds, .. } => Some(evaluation_seconds),
            State::Failed { .. } => None,
        }
    }

    fn sample(&mut self, limit: Duration) {
        let State::Ready { taken, .. } = &mut self.state else { return };
        match self.worker.ask(Request::Sample(taken.evaluations), limit) {
            Ok(Answer::Seconds(seconds)) => taken.seconds.push(seconds),
            Ok(Answer::Failed(reason)) | Err(reason) => self.fail(reason),
            Ok(other) => self.fail(format!("not a sample: {other:?}").into()),
        }
    }

    fn read_memory(&mut self, start: Instant, limit: Duration) {
        let State::Ready { taken, .. } = &mut self.state else { return };
        match self.worker.ask(Request::Memory, limit) {
            Ok(Answer::Bytes(bytes)) => taken
                .memory
                .extend(bytes.map(|b| MemoryPoint { seconds: start.elapsed().as_secs_f64(), bytes: b as f64 })),
            Ok(Answer::Failed(reason)) | Err(reason) => self.fail(reason),
            Ok(other) => self.fail(format!("not a size: {other:?}").into()),
        }
    }

    fn fail(&mut self, reason: Reason) {
        self.state = State::Failed { reason, check: None };
    }

    fn record(self) -> Result<Record> {
        let blank = blank(self.cell)?;
        Ok(match self.state {
            State::Failed { reason, check } => {
                Record { outcome: Outcome::Failed, reason: Some(reason), check, ..blank }
            }
            State::Ready { check, peak_bytes, taken, .. } => Record {
                outcome: Outcome::Measured,
                seconds: taken.seconds,
                evaluations_per_sample: taken.evaluations,
                memory_trace: taken.memory,
                check,
                peak_bytes,
                ..blank
            },
        })
    }
}

/// A record without a measurement.
fn blank(cell: Cell) -> Result<Record> {
    let model = if cell.method.is_kernel() {
        let (d, n) = (cell.point.dim as f64, cell.point.batch as f64);
        let product = cell.method == Subject::Kernel(Kernel::Gemm);
        Model { flops: if product { 2.0 * d * d * n } else { 0.0 }, min_bytes: 0.0, min_traffic_bytes: 0.0 }
    } else {
        let cost = Workload::of(&cell).and_then(|workload| workload.cost(cell.point.batch));
        let cost = cost.map_err(|cause| Error::Usage(cause.to_string()))?;
        Model { flops: cost.flops, min_bytes: cost.min_bytes, min_traffic_bytes: cost.min_traffic_bytes }
    };
    Ok(Record::blank(cell, model))
}
