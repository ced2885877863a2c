//! What a cell's process does, phase by phase: build, trace, check, warm up, sample.

use std::time::Instant;

use relgrad_kernels::evaluation::{self, Evaluation, Workload as Evaluated};
use relgrad_kernels::{Architecture, Error, Init};
use relgrad_reports::record::{Cell, Check, MemoryPoint};

use super::memory::{self, Tracer};
use super::sampling::{self, Samples};
use super::{Measurement, Reply, Spec, inject};
use crate::workload::Workload;

/// Measures one cell. What goes wrong is part of the reply.
pub(crate) fn measure(spec: &Spec) -> Reply {
    memory::be_first_to_go();
    let start = Instant::now();
    // On a thread of the pool: a parallel call from outside would hand its work over and sleep, some 10 µs a call.
    rayon::scope(|_| attempt(spec, start))
        .unwrap_or_else(|error| Reply::Failed { reason: error.to_string(), check: None })
}

fn attempt(spec: &Spec, start: Instant) -> Result<Reply, Error> {
    let now = || start.elapsed().as_secs_f64();
    let (mut built, check) = match prepare(&spec.cell, None, now)? {
        Prepared::Sound { built, check } => (built, check),
        Prepared::Wrong { reason, check } => return Ok(Reply::Failed { reason, check }),
    };

    let evaluate = || built.evaluation.evaluate();
    let Samples { seconds, evaluations_per_sample, warmup_seconds } =
        sampling::sample(evaluate, now, built.first_seconds, &spec.rules)?;
    let Built { peak_bytes, memory_trace, .. } = built;
    Ok(Reply::Measured(Measurement {
        seconds,
        evaluations_per_sample,
        warmup_seconds,
        peak_bytes,
        memory_trace,
        check,
    }))
}

/// A problem whose gradient has been checked.
pub(crate) enum Prepared {
    /// It may be timed.
    Sound { built: Built, check: Check },
    /// It has no speed.
    Wrong { reason: String, check: Option<Check> },
}

/// Builds a cell's problem, with a planted fault in tests of the gate, evaluates it once and checks its gradient.
///
/// # Errors
/// Those of the kernels, and words of the cell that are not known.
pub(crate) fn prepare(
    cell: &Cell,
    fault: Option<&inject::Fault>,
    now: impl Fn() -> f64,
) -> Result<Prepared, Error> {
    let mut built = build(&evaluated(cell)?, fault, now)?;
    let check = built.evaluation.check()?;
    let passed = check.passed();
    let (max_rel_err, tolerance) = (check.max_rel_err, check.tolerance);
    let check = Check { kind: check.kind.to_string(), max_rel_err, tolerance };
    if passed {
        return Ok(Prepared::Sound { built, check });
    }
    let reason =
        format!("wrong gradient: relative error {max_rel_err:.1e} exceeds {tolerance:.0e} ({})", check.kind);
    Ok(Prepared::Wrong { reason, check: writable(check) })
}

fn evaluated(cell: &Cell) -> Result<Evaluated, Error> {
    let Workload { method, architecture, dtype } = Workload::of(cell)?;
    let Cell { batch, threads, seed, .. } = *cell;
    Ok(Evaluated { method, architecture, init: Init::Orthogonal, batch, dtype, threads, seed })
}

/// A prepared problem and the memory that it and its first evaluation took.
pub(crate) struct Built {
    pub(crate) evaluation: Box<dyn Evaluation>,
    /// Seconds of the first evaluation, which touches fresh memory.
    pub(crate) first_seconds: f64,
    pub(crate) peak_bytes: Option<u64>,
    pub(crate) memory_trace: Vec<MemoryPoint>,
}

/// Allocates the problem and evaluates it once, under the eyes of the memory trace. Nothing here is timed for a statistic.
fn build(workload: &Evaluated, fault: Option<&inject::Fault>, now: impl Fn() -> f64) -> Result<Built, Error> {
    rehearse(workload)?;
    memory::reset_high_water();
    let baseline = memory::resident();
    let tracer = baseline.and_then(Tracer::start);

    let mut evaluation = inject::prepare(workload, fault)?;
    let start = now();
    evaluation.evaluate()?;
    let first_seconds = now() - start;

    let high_water = memory::high_water();
    let memory_trace = tracer.map(Tracer::finish).unwrap_or_default();
    let peak_bytes = high_water.zip(baseline).map(|(high, base)| high.saturating_sub(base));
    Ok(Built { evaluation, first_seconds, peak_bytes, memory_trace })
}

/// Evaluates a tiny problem of the same kind: the pages of the program and the threads' stacks that an evaluation touches
/// are then resident, and belong to the process instead of the problem.
fn rehearse(workload: &Evaluated) -> Result<(), Error> {
    const DIM: usize = 16;
    rayon::broadcast(|_| ());
    let architecture = Architecture { dim: workload.architecture.dim.min(DIM), ..workload.architecture };
    let batch = workload.batch.min(DIM);
    evaluation::prepare(&Evaluated { architecture, batch, ..*workload })?.evaluate()
}

/// A check whose numbers JSON can hold; a NaN is told by the reason alone.
fn writable(check: Check) -> Option<Check> {
    (check.max_rel_err.is_finite() && check.tolerance.is_finite()).then_some(check)
}
