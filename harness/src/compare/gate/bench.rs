//! One round at one point: the processes of all contenders side by side, sampled in turn A B … B A.
//!
//! A shared machine changes its speed by tens of percent within seconds. Taken in turn, some milliseconds each, all
//! contenders see the same machine, and the order A B … B A cancels what changes steadily during a turn. The processes
//! are new in every round, so that the luck of one memory placement does not decide.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use relgrad_reports::record::{Cell, MemoryPoint, Model, Outcome, Reason, Record};
use relgrad_vocabulary::{Kernel, Subject};

use crate::error::{Error, Result};
use crate::machine::time::unix_seconds;
use crate::measure::cell::{Answer, Failed, Ready, Reply, Request, Spec};
use crate::measure::plan::Planned;
use crate::measure::run::failed_record;
use crate::measure::run::worker::Worker;

/// Shortest time of one sample: the scheduler's and the clock's grain are small beside it.
const SAMPLE_SECONDS: f64 = 2e-3;
/// Turns of a round: fewer make a poor median, more say nothing new of the same processes.
const FEWEST_TURNS: usize = 5;
const MOST_TURNS: usize = 25;

/// A build of the program that takes part.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Contender {
    pub(crate) program: PathBuf,
    pub(crate) inject: Option<String>,
}

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
    /// What it said when it was prepared, or why it is not used any more.
    state: Result<Ready, Failed>,
    /// Evaluations that a sample averages.
    evaluations: u64,
    seconds: Vec<f64>,
    memory: Vec<MemoryPoint>,
}

/// Measures `cells` (all at one point, all of one round; calibration kernels are cells too) by every contender.
///
/// Returns the records with the index of their contender. A process that fails leaves a failed record; the others go
/// on.
pub(crate) fn round(cells: &[Cell], contenders: &[Contender], timing: Timing) -> Result<Vec<(usize, Record)>> {
    let (start, started_unix_seconds) = (Instant::now(), unix_seconds());
    let limit = Duration::from_secs_f64(timing.limit_seconds);
    let mut lanes = Vec::new();
    for cell in cells {
        for contender in in_turn(contenders.len(), cell.round) {
            lanes.push(Lane::start(cell, contender, &contenders[contender])?);
        }
    }
    // All build and check at the same time: nothing of that is timed.
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
    let slowest = |lane: &Lane| {
        let same = lanes.iter().filter(|other| other.cell == lane.cell);
        same.filter_map(Lane::evaluation_seconds).fold(0.0, f64::max)
    };
    let slowest: Vec<f64> = lanes.iter().map(slowest).collect();
    for (lane, slowest) in lanes.iter_mut().zip(slowest) {
        lane.evaluations = (SAMPLE_SECONDS / slowest.max(1e-9)).ceil().clamp(1.0, 1e6) as u64;
    }
}

/// Turns that fill `seconds`, from the evaluations that a turn makes (one untimed each).
fn turns(lanes: &[Lane], seconds: f64) -> usize {
    let of_lane = |lane: &Lane| Some(2.0 * lane.evaluation_seconds()? * (1 + lane.evaluations) as f64);
    let turn: f64 = lanes.iter().filter_map(of_lane).sum();
    if turn == 0.0 { 0 } else { ((seconds / turn) as usize).clamp(FEWEST_TURNS, MOST_TURNS) }
}

impl Lane {
    fn start(cell: &Cell, contender: usize, Contender { program, inject }: &Contender) -> Result<Self> {
        let inject = inject.clone().filter(|_| !cell.method.is_kernel());
        let worker = Worker::start(program, &Spec { cell: *cell, rules: None, inject, transport: None })?;
        let (cell, state) = (*cell, Err(Reason::from("").into()));
        Ok(Self { contender, cell, worker, state, evaluations: 1, seconds: Vec::new(), memory: Vec::new() })
    }

    fn greet(&mut self, limit: Duration) {
        self.state = match self.worker.hear(limit) {
            Ok(Reply::Ready(ready)) => Ok(ready),
            Ok(Reply::Failed(failed)) => Err(failed),
            Ok(Reply::Measured(_)) => Err(Reason::from("an unrequested measurement").into()),
            Err(reason) => Err(reason.into()),
        };
    }

    fn evaluation_seconds(&self) -> Option<f64> {
        self.state.as_ref().ok().map(|ready| ready.evaluation_seconds)
    }

    /// The answer to a request; one that is not there ends the use of this process.
    fn ask(&mut self, request: Request, limit: Duration) -> Option<Answer> {
        self.state.as_ref().ok()?;
        match self.worker.ask(request, limit) {
            Ok(Answer::Failed(reason)) | Err(reason) => {
                self.state = Err(reason.into());
                None
            }
            Ok(answer) => Some(answer),
        }
    }

    fn sample(&mut self, limit: Duration) {
        if let Some(Answer::Seconds(seconds)) = self.ask(Request::Sample(self.evaluations), limit) {
            self.seconds.push(seconds);
        }
    }

    fn read_memory(&mut self, start: Instant, limit: Duration) {
        if let Some(Answer::Bytes(Some(bytes))) = self.ask(Request::Memory, limit) {
            self.memory.push(MemoryPoint { seconds: start.elapsed().as_secs_f64(), bytes: bytes as f64 });
        }
    }

    fn record(self) -> Result<Record> {
        let model = model(&self.cell)?;
        let blank = Record::blank(self.cell, model);
        Ok(match self.state {
            Err(failed) => failed_record(blank, failed),
            Ok(Ready { check, peak_bytes, .. }) => Record {
                outcome: Outcome::Measured,
                seconds: self.seconds,
                evaluations_per_sample: self.evaluations,
                memory_trace: self.memory,
                check,
                peak_bytes,
                ..blank
            },
        })
    }
}

fn model(cell: &Cell) -> Result<Model> {
    if cell.method.is_kernel() {
        let (d, n) = (cell.point.dim as f64, cell.point.batch as f64);
        let flops = if cell.method == Subject::Kernel(Kernel::Gemm) { 2.0 * d * d * n } else { 0.0 };
        return Ok(Model { flops, min_bytes: 0.0, min_traffic_bytes: 0.0 });
    }
    Ok(Planned::of(*cell).map_err(|cause| Error::Usage(cause.to_string()))?.model)
}
