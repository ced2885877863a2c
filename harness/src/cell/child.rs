//! What a cell's process does, phase by phase: build, trace, check, warm up, sample.

use std::time::Instant;

use relgrad_kernels::evaluation::{self, Evaluation, Workload as Evaluated};
use relgrad_kernels::{Architecture, Convolution, Coupling, Error, Init};
use relgrad_reports::record::{Cell, Check, MemoryPoint};

use super::gpu;
use super::memory::{self, Tracer};
use super::sampling::{self, Samples};
use super::{Measurement, Reply, Spec};
use crate::workload::{DeviceKind, Workload};

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
    let words = Workload::of(&spec.cell)?;
    let workload = evaluated(&spec.cell, &words);
    if words.device == DeviceKind::Cuda {
        return gpu::attempt(spec, &workload, words.math, &now);
    }

    let mut built = build(&workload, now)?;
    let check = match checked(built.evaluation.as_mut())? {
        Ok(check) => check,
        Err(failed) => return Ok(failed),
    };
    let evaluate = || built.evaluation.evaluate();
    let Samples { seconds, evaluations_per_sample, warmup_seconds } =
        sampling::sample(evaluate, now, built.first_seconds, &spec.rules, || Ok(()))?;
    let Built { peak_bytes, memory_trace, .. } = built;
    Ok(Reply::Measured(Box::new(Measurement {
        seconds,
        evaluations_per_sample,
        warmup_seconds,
        peak_bytes,
        memory_trace,
        check,
        gpu: None,
    })))
}

/// The check as a record keeps it, or the reply of a cell whose gradient is wrong.
pub(super) fn checked(evaluation: &mut dyn Evaluation) -> Result<Result<Check, Reply>, Error> {
    let check = evaluation.check()?;
    let passed = check.passed();
    let (max_rel_err, tolerance) = (check.max_rel_err, check.tolerance);
    let check = Check { kind: check.kind.to_string(), max_rel_err, tolerance };
    if passed {
        return Ok(Ok(check));
    }
    let reason =
        format!("wrong gradient: relative error {max_rel_err:.1e} exceeds {tolerance:.0e} ({})", check.kind);
    Ok(Err(Reply::Failed { reason, check: writable(check) }))
}

fn evaluated(cell: &Cell, words: &Workload) -> Evaluated {
    let Workload { method, architecture, dtype, .. } = *words;
    let Cell { batch, threads, seed, .. } = *cell;
    Evaluated { method, architecture, init: Init::Orthogonal, batch, dtype, threads, seed }
}

/// A prepared problem and the memory that it and its first evaluation took.
struct Built {
    evaluation: Box<dyn Evaluation>,
    /// Seconds of the first evaluation, which touches fresh memory.
    first_seconds: f64,
    peak_bytes: Option<u64>,
    memory_trace: Vec<MemoryPoint>,
}

/// Allocates the problem and evaluates it once, under the eyes of the memory trace. Nothing here is timed for a statistic.
fn build(workload: &Evaluated, now: impl Fn() -> f64) -> Result<Built, Error> {
    rehearse(workload)?;
    memory::reset_high_water();
    let baseline = memory::resident();
    let tracer = baseline.and_then(Tracer::start);

    let mut evaluation = evaluation::prepare(workload)?;
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
    rayon::broadcast(|_| ());
    evaluation::prepare(&tiny(workload))?.evaluate()
}

/// A problem of the same kind that takes next to no time and memory.
pub(super) fn tiny(workload: &Evaluated) -> Evaluated {
    const BATCH: usize = 16;
    let architecture = smaller(&workload.architecture);
    Evaluated { architecture, batch: workload.batch.min(BATCH), ..*workload }
}

/// The same kind of network with a dimension, or a grid, of few points.
fn smaller(architecture: &Architecture) -> Architecture {
    const DIM: usize = 16;
    /// Along an axis.
    const POINTS: usize = 4;
    match architecture.coupling {
        Coupling::Convolution(convolution) => {
            let grid = convolution.grid.map(|points| points.min(POINTS));
            let kernel = [0, 1].map(|axis| convolution.kernel[axis].min(grid[axis]));
            let small = Convolution { grid, kernel, ..convolution };
            Architecture { dim: small.dim(), coupling: Coupling::Convolution(small), ..*architecture }
        }
        _ => Architecture { dim: architecture.dim.min(DIM), ..*architecture },
    }
}

/// A check whose numbers JSON can hold; a NaN is told by the reason alone.
fn writable(check: Check) -> Option<Check> {
    (check.max_rel_err.is_finite() && check.tolerance.is_finite()).then_some(check)
}
