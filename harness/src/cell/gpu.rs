//! A cell on a GPU: the phases of [`super::child`], with the GPU's own clock, memory and state beside.

use std::cell::RefCell;

use relgrad_kernels::evaluation::{self, Evaluation, Workload as Evaluated};
use relgrad_kernels::{Cuda, Dtype, Error, Math, Method};
use relgrad_reports::record::{Gpu, MemoryPoint};
use relgrad_reports::statistics::median;

use super::child::{checked, tiny};
use super::memory::Tracer;
use super::sampling::{self, Samples};
use super::{Measurement, Reply, Spec};
use crate::machine::gpu::{self, Sensors};

/// Longest evaluation that is tried as a recorded graph: launching kernels one by one costs some tens of microseconds.
const LAUNCH_BOUND_SECONDS: f64 = 2e-3;
/// Evaluations by which the two ways are compared, each.
const TRIALS: usize = 11;

/// Measures one cell on the first GPU.
///
/// # Errors
/// Those of the device and of the gradient.
pub(super) fn attempt(spec: &Spec, workload: &Evaluated, math: Math, now: &dyn Fn() -> f64) -> Result<Reply, Error> {
    let begin = now();
    let device = gpu::open(math)?;
    prepare(&device, &tiny(workload))?.evaluate()?;
    let first_call_seconds = now() - begin;

    let mut built = build(&device, workload, now)?;
    let evaluation = built.evaluation.as_mut();
    let check = match checked(evaluation)? {
        Ok(check) => check,
        Err(wrong) => return Ok(wrong.into()),
    };
    let graph = record_if_faster(evaluation, workload.method, now)?;
    let sensors = Sensors::of(&device.facts()?);
    let before = sensors.read();
    let events = RefCell::new(Vec::new());
    let evaluate = || {
        device.begin_span()?;
        evaluation.evaluate()
    };
    let read_event = || {
        events.borrow_mut().push(device.span_seconds()?);
        Ok(())
    };
    let Samples { seconds, evaluations_per_sample, warmup_seconds } =
        sampling::sample(evaluate, now, built.first_seconds, &spec.rules, read_event)?;
    let after = sensors.read();

    let event_seconds = events.into_inner();
    let driver_bytes = built.driver_bytes;
    Ok(Reply::Measured(Box::new(Measurement {
        seconds,
        evaluations_per_sample,
        warmup_seconds,
        peak_bytes: Some(built.peak_bytes),
        memory_trace: built.memory_trace,
        check,
        gpu: Some(Gpu { event_seconds, first_call_seconds, graph, driver_bytes, before, after }),
    })))
}

/// A prepared problem and the device memory that it and its first evaluation took.
struct Built {
    evaluation: Box<dyn Evaluation>,
    first_seconds: f64,
    peak_bytes: u64,
    driver_bytes: u64,
    memory_trace: Vec<MemoryPoint>,
}

fn prepare(device: &Cuda, workload: &Evaluated) -> Result<Box<dyn Evaluation>, Error> {
    match workload.dtype {
        Dtype::F32 => evaluation::prepare_on::<_, f32>(device.clone(), workload),
        Dtype::F64 => evaluation::prepare_on::<_, f64>(device.clone(), workload),
    }
}

/// Allocates the problem and evaluates it once, under the eyes of the memory trace.
fn build(device: &Cuda, workload: &Evaluated, now: &dyn Fn() -> f64) -> Result<Built, Error> {
    device.reset_peak();
    let baseline = device.memory()?;
    let live_bytes = device.live_bytes();
    let tracer = Tracer::watch(move || Some(live_bytes()), baseline.live_bytes);

    let mut evaluation = prepare(device, workload)?;
    let start = now();
    evaluation.evaluate()?;
    let first_seconds = now() - start;

    let memory = device.memory()?;
    Ok(Built {
        evaluation,
        first_seconds,
        peak_bytes: memory.peak_bytes - baseline.live_bytes,
        driver_bytes: baseline.free_bytes.saturating_sub(memory.free_bytes),
        memory_trace: tracer.map(Tracer::finish).unwrap_or_default(),
    })
}

/// Lets the device replay a recording of the evaluation where that is faster; whether it does.
fn record_if_faster(evaluation: &mut dyn Evaluation, method: Method, now: &dyn Fn() -> f64) -> Result<bool, Error> {
    // The other methods wait for answers on their way.
    if !matches!(method, Method::Relative | Method::Transposed) {
        return Ok(false);
    }
    let call_by_call = trial(evaluation, now)?;
    if call_by_call > LAUNCH_BOUND_SECONDS || !evaluation.record()? {
        return Ok(false);
    }
    if trial(evaluation, now)? < call_by_call {
        return Ok(true);
    }
    evaluation.forget_recording();
    Ok(false)
}

/// Median seconds of a few evaluations, or of one that is long.
fn trial(evaluation: &mut dyn Evaluation, now: &dyn Fn() -> f64) -> Result<f64, Error> {
    let mut seconds = Vec::with_capacity(TRIALS);
    while seconds.len() < TRIALS && seconds.last().is_none_or(|last| *last < LAUNCH_BOUND_SECONDS) {
        let start = now();
        evaluation.evaluate()?;
        seconds.push(now() - start);
    }
    Ok(median(&seconds).unwrap_or(f64::INFINITY))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use relgrad_kernels::check::Check;

    use super::*;

    /// An evaluation on a clock of its own, faster or slower once recorded.
    struct Simulated<'a> {
        clock: &'a Cell<f64>,
        seconds: f64,
        recorded_seconds: Option<f64>,
        recorded: bool,
    }

    impl Evaluation for Simulated<'_> {
        fn evaluate(&mut self) -> Result<(), Error> {
            let seconds = if self.recorded { self.recorded_seconds } else { None };
            self.clock.set(self.clock.get() + seconds.unwrap_or(self.seconds));
            Ok(())
        }

        fn check(&mut self) -> Result<Check, Error> {
            Ok(Check { kind: "reference", max_rel_err: 0.0, tolerance: 1.0 })
        }

        fn record(&mut self) -> Result<bool, Error> {
            self.recorded = self.recorded_seconds.is_some();
            Ok(self.recorded)
        }

        fn forget_recording(&mut self) {
            self.recorded = false;
        }
    }

    #[test]
    fn a_recording_is_kept_only_where_it_is_faster() {
        for (method, seconds, recorded_seconds, kept) in [
            (Method::Relative, 5e-5, Some(2e-5), true),
            (Method::Transposed, 5e-5, Some(2e-5), true),
            (Method::Relative, 5e-5, Some(6e-5), false),
            (Method::Relative, 5e-5, None, false),
            (Method::Relative, 5e-2, Some(2e-5), false),
            (Method::Ordinary, 5e-5, Some(2e-5), false),
        ] {
            let clock = Cell::new(0.0);
            let mut evaluation = Simulated { clock: &clock, seconds, recorded_seconds, recorded: false };
            let now = || clock.get();
            assert_eq!(record_if_faster(&mut evaluation, method, &now), Ok(kept), "{method} {seconds}");
            assert_eq!(evaluation.recorded, kept);
        }
    }
}
