//! What a cell on a GPU has beside others: the GPU's own clock, memory and state, and recordings of its work.

use relgrad_kernels::evaluation::Evaluation;
use relgrad_kernels::{Cuda, Error, Method};
use relgrad_reports::record::{Gpu, GpuState};
use relgrad_reports::statistics::median;

use super::child::Taken;
use super::memory::Tracer;
use crate::machine::gpu::Sensors;

/// Longest evaluation that is tried as a recorded graph: launching kernels one by one costs some tens of microseconds.
const LAUNCH_BOUND_SECONDS: f64 = 2e-3;
/// Evaluations by which the two ways are compared, each.
const TRIALS: usize = 11;

/// The GPU of a cell, as it was before the warm-up.
pub(super) struct OnGpu {
    device: Cuda,
    sensors: Sensors,
    first_call_seconds: f64,
    graph: bool,
    before: Option<GpuState>,
}

impl OnGpu {
    pub(super) fn new(device: Cuda, first_call_seconds: f64, graph: bool) -> Result<Self, Error> {
        let sensors = Sensors::of(&device.facts()?);
        let before = sensors.read();
        Ok(Self { device, sensors, first_call_seconds, graph, before })
    }

    /// Seconds of the last evaluation by the GPU's clock.
    pub(super) fn span_seconds(&self) -> Result<f64, Error> {
        self.device.span_seconds()
    }

    /// What the record keeps, with the state after sampling.
    pub(super) fn finish(self, event_seconds: Vec<f64>, driver_bytes: u64) -> Gpu {
        let Self { sensors, first_call_seconds, graph, before, .. } = self;
        Gpu { event_seconds, first_call_seconds, graph, driver_bytes, before, after: sensors.read() }
    }
}

/// Watches the memory of the device; the answer says what was taken.
pub(super) fn watch(device: Cuda) -> Result<Box<dyn FnOnce() -> Result<Taken, Error>>, Error> {
    device.reset_peak();
    let baseline = device.memory()?;
    let live_bytes = device.live_bytes();
    let tracer = Tracer::watch(move || Some(live_bytes()), baseline.live_bytes);
    Ok(Box::new(move || {
        let memory = device.memory()?;
        Ok(Taken {
            peak_bytes: Some(memory.peak_bytes - baseline.live_bytes),
            driver_bytes: baseline.free_bytes.saturating_sub(memory.free_bytes),
            trace: tracer.map(Tracer::finish).unwrap_or_default(),
        })
    }))
}

/// Lets the device replay a recording of the evaluation where that is faster; whether it does.
pub(super) fn record_if_faster(
    evaluation: &mut dyn Evaluation,
    method: Method,
    now: &dyn Fn() -> f64,
) -> Result<bool, Error> {
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
