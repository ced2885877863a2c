//! A cell's process that stays: it builds and checks once, then takes a sample whenever the driver asks for one.
//!
//! Several such processes, asked in turn, measure side by side what a run of one after the other would measure at
//! different moments of the machine. The driver writes one request a line; the process answers with one line each.

use std::io::{self, BufRead, Write};
use std::time::Instant;

use relgrad_kernels::Error;
use relgrad_reports::record::{Cell, Check, Reason};
use serde::{Deserialize, Serialize};

use super::calibration::{self, Timed};
use super::child::{self, Prepared, Wrong};
use super::{inject, memory};

/// Seconds of evaluations before the process says that it is ready: frequency and caches have settled by then.
const WARMUP_SECONDS: f64 = 0.05;
/// Seconds of untimed evaluations before a sample: what ran since the last one has emptied the caches and let the other
/// threads sleep.
const REHEARSAL_SECONDS: f64 = 0.5e-3;

/// What to prepare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkerSpec {
    /// The cell; its method may be a calibration kernel.
    pub(crate) cell: Cell,
    /// A fault to plant, for tests of the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inject: Option<String>,
}

/// What the process says first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(crate) enum Hello {
    /// The gradient passed its check and samples can be taken.
    Ready {
        /// The check; a calibration kernel has none.
        check: Option<Check>,
        /// As in records.
        peak_bytes: Option<u64>,
        /// Seconds of an evaluation after warm-up.
        evaluation_seconds: f64,
    },
    /// There will be no sample.
    Failed {
        /// Why.
        reason: Reason,
        /// The check, when it was reached.
        check: Option<Check>,
    },
}

/// What the driver asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Request {
    /// Seconds of one evaluation, as the mean of this many.
    Sample(u64),
    /// Bytes that are resident now.
    Memory,
}

/// What the process answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// To [`Request::Sample`].
    Seconds(f64),
    /// To [`Request::Memory`]; absent where the system does not tell.
    Bytes(Option<u64>),
    /// An evaluation failed.
    Failed(Reason),
}

/// Prepares and answers until the driver closes the input.
///
/// # Errors
/// When the driver is gone.
pub(crate) fn serve(spec: &WorkerSpec) -> io::Result<()> {
    memory::be_first_to_go();
    // On a thread of the pool: a parallel call from outside would hand its work over and sleep, some 10 µs a call.
    rayon::scope(|_| match prepare(spec) {
        Ok((hello, evaluate)) => {
            say(&hello)?;
            answer(evaluate)
        }
        Err(hello) => say(&*hello),
    })
}

/// The first words and what to time, or the first words alone when there is nothing.
fn prepare(spec: &WorkerSpec) -> Result<(Hello, Timed), Box<Hello>> {
    let failed = |error: Error| Box::new(Hello::Failed { reason: error.to_string().into(), check: None });
    if spec.cell.method.is_kernel() {
        let evaluate = calibration::prepare(&spec.cell).map_err(failed)?;
        return ready(evaluate, None, None).map_err(failed);
    }
    let injection = spec.inject.as_deref().map(inject::Injection::parse).transpose();
    let injection = injection.map_err(|reason| Box::new(Hello::Failed { reason: reason.into(), check: None }))?;
    let fault = injection.as_ref().and_then(|injection| injection.of(spec.cell.method));
    let start = Instant::now();
    match child::prepare(&spec.cell, fault, || start.elapsed().as_secs_f64()).map_err(failed)? {
        Prepared::Sound { mut built, check } => {
            let peak_bytes = built.peak_bytes;
            ready(Box::new(move || built.evaluation.evaluate()), Some(check), peak_bytes).map_err(failed)
        }
        Prepared::Wrong(Wrong { reason, check }) => Err(Box::new(Hello::Failed { reason, check })),
    }
}

/// Warms up and finds out how long an evaluation takes.
fn ready(mut evaluate: Timed, check: Option<Check>, peak_bytes: Option<u64>) -> Result<(Hello, Timed), Error> {
    let start = Instant::now();
    let mut evaluation_seconds = f64::INFINITY;
    loop {
        let before = start.elapsed().as_secs_f64();
        evaluate()?;
        let after = start.elapsed().as_secs_f64();
        evaluation_seconds = evaluation_seconds.min(after - before);
        if after >= WARMUP_SECONDS {
            break;
        }
    }
    Ok((Hello::Ready { check, peak_bytes, evaluation_seconds }, evaluate))
}

/// Takes a sample, or reads the memory, for every line of the input.
fn answer(mut evaluate: Timed) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Request::Memory => Answer::Bytes(memory::resident()),
            Request::Sample(evaluations) => match sample(&mut evaluate, evaluations) {
                Ok(seconds) => Answer::Seconds(seconds),
                Err(error) => Answer::Failed(error.to_string().into()),
            },
        };
        say(&answer)?;
    }
    Ok(())
}

/// Mean seconds of `evaluations` evaluations, after untimed ones.
fn sample(evaluate: &mut Timed, evaluations: u64) -> Result<f64, Error> {
    let start = Instant::now();
    loop {
        evaluate()?;
        if start.elapsed().as_secs_f64() >= REHEARSAL_SECONDS {
            break;
        }
    }
    let start = Instant::now();
    for _ in 0..evaluations {
        evaluate()?;
    }
    Ok(start.elapsed().as_secs_f64() / evaluations.max(1) as f64)
}

fn say(words: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_string(words)?;
    line.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}
