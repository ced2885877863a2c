//! What a cell's process does, phase by phase: build, trace, check, warm up, sample.

use std::time::Instant;

use relgrad_kernels::evaluation::{self, Evaluation, Workload as Evaluated};
use relgrad_kernels::{Architecture, Convolution, Coupling, Error, Init};
use relgrad_reports::record::{Cell, Check, MemoryPoint, Point, Reason};

use super::gpu;
use super::memory::{self, Tracer};
use super::sampling::{self, Samples};
use super::{Measurement, Reply, Spec, inject};
use crate::workload::{DeviceKind, Workload};

/// Measures one cell. What goes wrong is part of the reply.
pub(crate) fn measure(spec: &Spec) -> Reply {
    memory::be_first_to_go();
    let start = Instant::now();
    // On a thread of the pool: a parallel call from outside would hand its work over and sleep, some 10 µs a call.
    rayon::scope(|_| attempt(spec, start))
        .unwrap_or_else(|error| Reply::Failed { reason: error.to_string().into(), check: None })
}

fn attempt(spec: &Spec, start: Instant) -> Result<Reply, Error> {
    let now = || start.elapsed().as_secs_f64();
    let words = Workload::of(&spec.cell)?;
    let workload = evaluated(&spec.cell, &words);
    if words.device == DeviceKind::Cuda {
        return gpu::attempt(spec, &workload, words.math, &now);
    }

    let mut built = build(&workload, None, now)?;
    let check = match checked(built.evaluation.as_mut())? {
        Ok(check) => check,
        Err(wrong) => return Ok(wrong.into()),
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

/// A problem whose gradient has been checked.
pub(crate) enum Prepared {
    /// It may be timed.
    Sound { built: Built, check: Check },
    /// It has no speed.
    Wrong(Wrong),
}

/// A gradient that is wrong.
pub(crate) struct Wrong {
    pub(crate) reason: Reason,
    pub(crate) check: Option<Check>,
}

impl From<Wrong> for Reply {
    fn from(Wrong { reason, check }: Wrong) -> Self {
        Self::Failed { reason, check }
    }
}

/// Builds a cell's problem on the CPU, with a planted fault in tests of the gate, evaluates it once and checks its
/// gradient.
///
/// # Errors
/// Those of the kernels, and words of the cell that are not known.
pub(crate) fn prepare(cell: &Cell, fault: Option<&inject::Fault>, now: impl Fn() -> f64) -> Result<Prepared, Error> {
    let words = Workload::of(cell)?;
    let mut built = build(&evaluated(cell, &words), fault, now)?;
    Ok(match checked(built.evaluation.as_mut())? {
        Ok(check) => Prepared::Sound { built, check },
        Err(wrong) => Prepared::Wrong(wrong),
    })
}

/// The check as a record keeps it, or what is wrong.
pub(super) fn checked(evaluation: &mut dyn Evaluation) -> Result<Result<Check, Wrong>, Error> {
    let check = evaluation.check()?;
    let passed = check.passed();
    let (max_rel_err, tolerance) = (check.max_rel_err, check.tolerance);
    let check = Check { kind: check.kind.to_string(), max_rel_err, tolerance };
    if passed {
        return Ok(Ok(check));
    }
    let reason = Reason::wrong_gradient(max_rel_err, tolerance, &check.kind);
    Ok(Err(Wrong { reason, check: writable(check) }))
}

fn evaluated(cell: &Cell, words: &Workload) -> Evaluated {
    let Workload { method, architecture, dtype, .. } = *words;
    let Point { batch, threads, seed, .. } = cell.point;
    Evaluated { method, architecture, init: Init::Orthogonal, batch, dtype, threads, seed }
}

/// A prepared problem and the memory that it and its first evaluation took.
pub(crate) struct Built {
    pub(crate) evaluation: Box<dyn Evaluation>,
    /// Seconds of the first evaluation, which touches fresh memory.
    pub(crate) first_seconds: f64,
    pub(crate) peak_bytes: Option<u64>,
    pub(crate) memory_trace: Vec<MemoryPoint>,
}

/// Allocates the problem and evaluates it once, under the eyes of the memory trace. Nothing here is timed for a
/// statistic.
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

/// Evaluates a tiny problem of the same kind: the pages of the program and the threads' stacks that an evaluation
/// touches are then resident, and belong to the process instead of the problem.
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
