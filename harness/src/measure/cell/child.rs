//! What a cell's process does, phase by phase: build, trace, check, warm up, sample.

use std::cell::RefCell;
use std::io::{self, BufRead, Write};
use std::rc::Rc;
use std::time::Instant;

use relgrad_kernels::backend as kernels;
use relgrad_kernels::evaluation::{Evaluation, Workload};
use relgrad_kernels::{Architecture, Convolution, CouplingKind, Error};
use relgrad_reports::record::{Check, MemoryPoint, Reason, Refresh, Solved};
use serde::Serialize;

use super::gpu::{self, OnGpu};
use super::memory::{self, Tracer};
use super::sampling::{self, Rules, Warm};
use super::{Answer, Failed, Measurement, Ready, Reply, Request, Spec, calibration, inject, ranks};
use crate::machine::load::Watch;
use crate::measure::workload::{Target, Task};

/// Something to time: allocates nothing and waits for its result.
pub(super) type Timed = Box<dyn FnMut() -> Result<(), Error>>;
/// As [`Evaluation::inverse_error`].
type InverseError = Box<dyn FnOnce() -> Result<Option<f64>, Error>>;
/// The seconds since the process began.
type Clock<'a> = &'a dyn Fn() -> f64;

/// Measures one cell as a driver asks for it on the command line and, without rules, on standard input. What goes wrong
/// with the cell is part of the reply.
pub(crate) fn serve(spec: &Spec) -> io::Result<()> {
    memory::be_first_to_go();
    let start = Instant::now();
    let now = || start.elapsed().as_secs_f64();
    if spec.cell.point.ranks > 1 {
        return ranks::serve(spec, start).map_or(Ok(()), |reply| say(&reply));
    }
    // On a thread of the pool: a parallel call from outside would hand its work over and sleep, some 10 µs a call.
    rayon::scope(|_| match (Subject::prepare(spec, &now), &spec.rules) {
        (Err(failed), _) => say(&Reply::Failed(failed)),
        (Ok(subject), Some(rules)) => {
            say(&subject.sample(rules, &now).map_or_else(|error| Reply::Failed(error.into()), Reply::Measured))
        }
        (Ok(subject), None) => subject.answer(),
    })
}

/// A problem that may be timed: its gradient passed the check, and it is warm.
struct Subject {
    evaluate: Timed,
    warm: Warm,
    /// Watches the machine from the warm-up on.
    watch: Watch,
    /// Threads of the CPU that the problem may use.
    threads: usize,
    check: Option<Check>,
    refresh: Option<Refresh>,
    /// What it says of its inverses, to be asked after the last sample.
    inverse_error: Option<InverseError>,
    solved: Option<Solved>,
    taken: Taken,
    gpu: Option<OnGpu>,
}

/// The memory that a problem and its first evaluation took.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) peak_bytes: Option<u64>,
    pub(super) trace: Vec<MemoryPoint>,
    /// By what the driver's free memory fell, on a GPU.
    pub(super) driver_bytes: u64,
}

impl Subject {
    fn prepare(spec: &Spec, now: Clock<'_>) -> Result<Self, Failed> {
        let threads = spec.cell.point.threads;
        if spec.cell.method.is_kernel() {
            let evaluate = calibration::prepare(&spec.cell)?;
            return Ok(Self { threads, ..Self::warm(evaluate, now, 0.0)? });
        }
        let Task { workload, device, math, update, .. } = Task::of(&spec.cell)?;
        let begin = now();
        let target = Target::open(device, math, workload.threads)?;
        rehearse(&target, &workload)?;
        let first_call_seconds = now() - begin;

        // Nothing here is timed for a statistic.
        let watched = watch(&target)?;
        let mut evaluation = match &spec.inject {
            Some(fault) => inject::plant(fault, spec.cell.method, &workload)?,
            None => target.prepare_updating(&workload, update)?,
        };
        let start = now();
        evaluation.evaluate()?;
        let first_seconds = now() - start;
        let taken = watched()?;

        let once = spec.rules.is_some_and(|rules| rules.min_samples == 0);
        let check = Some(checked(evaluation.as_mut(), once)?);
        let refresh = evaluation.refresh().map(|kernels::Refresh { products, factored, residual }| Refresh {
            products,
            factored,
            residual,
        });
        let solved = evaluation.solved().filter(|solved| solved.error.is_finite());
        let solved = solved.map(|kernels::Solved { iterations, error }| Solved { iterations, error });
        let (evaluate, inverse_error, gpu): (Timed, Option<InverseError>, _) = match target {
            Target::Cpu(_) => {
                let shared = Rc::new(RefCell::new(evaluation));
                let evaluation = Rc::clone(&shared);
                let inverse_error: InverseError = Box::new(move || shared.borrow_mut().inverse_error());
                (Box::new(move || evaluation.borrow_mut().evaluate()), Some(inverse_error), None)
            }
            Target::Cuda(device) => {
                let graph = gpu::record_if_faster(evaluation.as_mut(), workload.method, now)?;
                let on_gpu = OnGpu::new(device.clone(), first_call_seconds, graph)?;
                let evaluate = move || {
                    device.begin_span()?;
                    evaluation.evaluate()
                };
                (Box::new(evaluate), None, Some(on_gpu))
            }
        };
        let warm = |evaluate| {
            if once { Ok(Self::only(evaluate, now, first_seconds)) } else { Self::warm(evaluate, now, first_seconds) }
        };
        Ok(Self { threads, check, refresh, solved, inverse_error, taken, gpu, ..warm(evaluate)? })
    }

    /// Warms up. What it does not know of the problem is absent.
    fn warm(mut evaluate: Timed, now: Clock<'_>, first_seconds: f64) -> Result<Self, Error> {
        let mut watch = Watch::start();
        let warm = sampling::warm_up(&mut evaluate, now, first_seconds)?;
        watch.warmed_up();
        Ok(Self::bare(evaluate, warm, watch))
    }

    /// Leaves it at the first evaluation.
    fn only(evaluate: Timed, now: Clock<'_>, first_seconds: f64) -> Self {
        let (watch, warm) = (Watch::start(), sampling::only(first_seconds, now));
        Self::bare(evaluate, warm, watch)
    }

    fn bare(evaluate: Timed, warm: Warm, watch: Watch) -> Self {
        let (check, refresh, solved, inverse_error, taken) = (None, None, None, None, Taken::default());
        Self { evaluate, warm, watch, threads: 1, check, refresh, solved, inverse_error, taken, gpu: None }
    }

    /// Samples until the rules end it.
    fn sample(mut self, rules: &Rules, now: Clock<'_>) -> Result<Box<Measurement>, Error> {
        let events = RefCell::new(Vec::new());
        let read_event = || match &self.gpu {
            None => Ok(()),
            Some(gpu) => gpu.span_seconds().map(|seconds| events.borrow_mut().push(seconds)),
        };
        let seconds = sampling::sample(&mut self.evaluate, now, &self.warm, rules, read_event)?;
        let state = Some(self.watch.finish(if self.gpu.is_some() { 1 } else { self.threads }));
        let inverse_error = self.inverse_error.map_or(Ok(None), |ask| ask())?;
        if inverse_error.is_some_and(|error| !error.is_finite()) {
            return Err(Error::NonFinite { what: "inverse that the steps carry".into() });
        }
        let Taken { peak_bytes, trace: memory_trace, driver_bytes } = self.taken;
        let gpu = self.gpu.map(|gpu| gpu.finish(events.take(), driver_bytes));
        let Warm { seconds: warmup_seconds, evaluations_per_sample, .. } = self.warm;
        let (check, refresh, solved) = (self.check, self.refresh, self.solved);
        let measurement = Measurement {
            seconds,
            evaluations_per_sample,
            warmup_seconds,
            peak_bytes,
            memory_trace,
            check,
            refresh,
            inverse_error,
            solved,
            exchanged: None,
            gpu,
            state,
        };
        Ok(Box::new(measurement))
    }

    /// Takes a sample, or reads the memory, for every line of the input.
    fn answer(self) -> io::Result<()> {
        let Self { mut evaluate, warm, check, taken, .. } = self;
        let evaluation_seconds = warm.evaluation_seconds;
        say(&Reply::Ready(Ready { check, peak_bytes: taken.peak_bytes, evaluation_seconds }))?;
        for line in io::stdin().lock().lines() {
            say(&match serde_json::from_str(&line?)? {
                Request::Memory => Answer::Bytes(memory::resident()),
                Request::Sample(evaluations) => sampling::one(&mut evaluate, evaluations)
                    .map_or_else(|error| Answer::Failed(error.to_string().into()), Answer::Seconds),
            })?;
        }
        Ok(())
    }
}

fn say(words: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_string(words)?;
    line.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

/// Watches the memory of what follows; the answer says what it took.
fn watch(target: &Target) -> Result<Box<dyn FnOnce() -> Result<Taken, Error>>, Error> {
    if let Target::Cuda(device) = target {
        return gpu::watch(device.clone());
    }
    memory::reset_high_water();
    let baseline = memory::resident();
    let tracer = baseline.and_then(Tracer::start);
    Ok(Box::new(move || {
        let peak_bytes = memory::high_water().zip(baseline).map(|(high, base)| high.saturating_sub(base));
        Ok(Taken { peak_bytes, trace: tracer.map(Tracer::finish).unwrap_or_default(), driver_bytes: 0 })
    }))
}

/// The check as a record keeps it, or what is wrong; of another evaluation than the last one unless there is to be only
/// `once`.
fn checked(evaluation: &mut dyn Evaluation, once: bool) -> Result<Check, Failed> {
    judged(if once { evaluation.check_last()? } else { evaluation.check()? })
}

/// A check as a record keeps it, or what is wrong.
pub(super) fn judged(check: relgrad_kernels::check::Check) -> Result<Check, Failed> {
    let (kind, max_rel_err, tolerance) = (check.kind, check.max_rel_err, check.tolerance);
    let kept = Check { kind: kind.to_string(), max_rel_err, tolerance };
    if check.passed() {
        return Ok(kept);
    }
    let reason = Reason::wrong_gradient(max_rel_err, tolerance, kind);
    // JSON holds no NaN; the reason alone tells of it.
    let is_writable = max_rel_err.is_finite() && tolerance.is_finite();
    Err(Failed { reason, check: is_writable.then_some(kept) })
}

/// Evaluates a tiny problem of the same kind: the pages of the program and the threads' stacks that an evaluation
/// touches are then resident, and belong to the process instead of the problem.
fn rehearse(target: &Target, workload: &Workload) -> Result<(), Error> {
    const BATCH: usize = 16;
    rayon::broadcast(|_| ());
    let architecture = smaller(&workload.architecture);
    target.prepare(&Workload { architecture, batch: workload.batch.min(BATCH), ..*workload })?.evaluate()
}

/// The same kind of network with a dimension, or a grid, of few points.
fn smaller(architecture: &Architecture<CouplingKind>) -> Architecture<CouplingKind> {
    const DIM: usize = 16;
    /// Along an axis.
    const POINTS: usize = 4;
    match architecture.coupling {
        CouplingKind::Convolution(convolution) => {
            let grid = convolution.grid.map(|points| points.min(POINTS));
            let kernel = [0, 1].map(|axis| convolution.kernel[axis].min(grid[axis]));
            let small = Convolution { grid, kernel, ..convolution };
            Architecture { dim: small.dim(), coupling: CouplingKind::Convolution(small), ..*architecture }
        }
        CouplingKind::Dense | CouplingKind::Plu | CouplingKind::Qr(_) => {
            Architecture { dim: architecture.dim.min(DIM), ..*architecture }
        }
    }
}
