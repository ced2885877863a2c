//! What a cell will cost: the cost model, calibrated with the cells already measured.
//!
//! The model counts floating-point operations exactly, so what is unknown is the rate at which a method performs them.
//! It rises with D (overheads shrink, caches fill) and then levels off. A rate is interpolated between the measured
//! dimensions of the method at the same N, L and number of threads. Above the largest of them, and not far, the
//! report's own prediction says the time, so that plan and report agree. Farther, or with fewer than three dimensions,
//! the rate moves towards the best one seen on this machine, over one decade of D: a method measured only at D = 10
//! must not be judged at D = 10,000 by the overheads of D = 10.

use std::collections::BTreeMap;

use relgrad_reports::record::{Cell, Held, Outcome, Point, Prediction, Record};
use relgrad_reports::statistics::fit::{Observation, Unmeasured, predict};
use relgrad_reports::statistics::{Processes, median};
use relgrad_reports::summary::Estimate;

use super::Planned;
use crate::measure::cell::sampling::WARMUP_SECONDS;
use crate::measure::workload::DeviceKind;

/// Operations a second before anything was measured: what one modest core sustains in a matrix product, and a modest
/// GPU.
const BUILT_IN_FLOPS_PER_SECOND: f64 = 2e10;
const BUILT_IN_GPU_FLOPS_PER_SECOND: f64 = 2e12;
/// Seconds to start a process, before anything was measured; on a GPU libraries are loaded and kernels compiled.
const BUILT_IN_START_SECONDS: f64 = 0.05;
const BUILT_IN_GPU_START_SECONDS: f64 = 3.0;
/// Seconds to draw and check one weight, before anything was measured.
const BUILT_IN_SECONDS_PER_WEIGHT: f64 = 3e-8;
/// A method measured at D is trusted to predict dimensions up to this many times D.
const TRUSTED_FACTOR: f64 = 4.0;
/// A prediction of an atlas is trusted where its interval ends at this many times it, or before.
const TRUSTED_INTERVAL: f64 = 2.0;
/// Measured peaks below this say more about the allocator than about the method.
const SMALLEST_TELLING_PEAK: u64 = 32 << 20;

/// What the driver expects of one cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Forecast {
    pub(crate) evaluation_seconds: f64,
    /// Seconds of the rest: process start, building the problem, the check, and what warm-up takes beyond one
    /// evaluation.
    pub(crate) overhead_seconds: f64,
    pub(crate) peak_bytes: f64,
    /// Whether the method was measured near enough to trust this.
    pub(crate) trusted: bool,
}

impl Forecast {
    /// The same with the time that an atlas expects, where the method was not measured near enough.
    pub(crate) fn or(self, expected: Option<Estimate>) -> Self {
        let Some(Estimate { value, high, .. }) = expected.filter(|_| !self.trusted) else { return self };
        let warmup = |seconds: f64| (WARMUP_SECONDS - seconds).max(0.0);
        let overhead_seconds = self.overhead_seconds - warmup(self.evaluation_seconds) + warmup(value);
        Self { evaluation_seconds: value, overhead_seconds, trusted: high <= TRUSTED_INTERVAL * value, ..self }
    }

    /// The part that records keep.
    pub(crate) fn prediction(&self) -> Prediction {
        Prediction { seconds: self.evaluation_seconds, peak_bytes: self.peak_bytes }
    }
}

/// What the measured cells of one method and device say.
#[derive(Debug, Clone, Default)]
struct Track {
    /// Operations a second, by D.
    rate: BTreeMap<usize, f64>,
    /// The median seconds of each process, by D, and the operations of one evaluation.
    seconds: BTreeMap<usize, (Vec<f64>, f64)>,
    /// Seconds outside the evaluations, by D, and the least of them.
    overhead: BTreeMap<usize, f64>,
    least_overhead: f64,
    /// Largest ratio of measured to expected peak memory.
    memory_excess: f64,
    /// Smallest D at which a cell was killed for its time.
    timed_out_at: Option<usize>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Calibration {
    tracks: BTreeMap<Key, Track>,
    devices: BTreeMap<DeviceKind, OfDevice>,
}

/// What all methods say of a device, kept up to date so that a forecast needs no look at all of them.
#[derive(Debug, Clone)]
struct OfDevice {
    /// The best rate of any cell.
    best_rate: f64,
    /// The method that was measured at the largest D, and that D.
    widest: (Key, usize),
}

/// The device, and the method with what else the time along D depends on.
type Key = (DeviceKind, String);

impl Calibration {
    /// Learns from a record; `expected_bytes` is what the cost model said of its memory.
    pub(crate) fn observe(&mut self, record: &Record, expected_bytes: f64) {
        if record.outcome != Outcome::Measured || record.seconds.is_empty() {
            return;
        }
        let key = key(&record.cell);
        let track = self.tracks.entry(key.clone()).or_default();
        let dim = record.cell.point.dim;
        let seconds = median(&record.seconds).unwrap_or(f64::NAN).max(1e-9);
        let rate = record.model.flops / seconds;
        track.seconds.entry(dim).or_insert((Vec::new(), record.model.flops)).0.push(seconds);
        let earlier = track.rate.insert(dim, rate);
        let sampled: f64 = record.seconds.iter().sum::<f64>() * record.evaluations_per_sample as f64;
        // Of short evaluations the record keeps the first warm-ups alone.
        let warmup = record.warmup_seconds.first().map_or(0.0, |first| first.max(WARMUP_SECONDS));
        track.overhead.insert(dim, (record.wall_seconds - sampled - warmup).max(1e-3));
        track.least_overhead = track.overhead.values().copied().fold(f64::INFINITY, f64::min);
        if let Some(peak) = record.peak_bytes.filter(|peak| *peak >= SMALLEST_TELLING_PEAK) {
            track.memory_excess = track.memory_excess.max(peak as f64 / expected_bytes);
        }
        self.observe_device(key, dim, rate, earlier);
    }

    /// Keeps the best and the widest of a device; `earlier` is the rate that `rate` replaced.
    fn observe_device(&mut self, key: Key, dim: usize, rate: f64, earlier: Option<f64>) {
        let device = key.0;
        let first = OfDevice { best_rate: rate, widest: (key.clone(), dim) };
        let known = self.devices.entry(device).or_insert(first);
        if dim >= known.widest.1 {
            known.widest = (key, dim);
        }
        let was_best = earlier.is_some_and(|earlier| earlier >= known.best_rate);
        known.best_rate = known.best_rate.max(rate);
        if was_best {
            let rates =
                self.tracks.iter().filter(|((on, _), _)| *on == device).flat_map(|(_, track)| track.rate.values());
            known.best_rate = rates.copied().fold(rate, f64::max);
        }
    }

    /// Notes that a cell was killed because its time was up.
    pub(crate) fn observe_timeout(&mut self, cell: &Cell) {
        let track = self.tracks.entry(key(cell)).or_default();
        track.timed_out_at = Some(track.timed_out_at.map_or(cell.point.dim, |known| known.min(cell.point.dim)));
    }

    /// The smallest dimension at which this method ran out of time, if any.
    pub(crate) fn timed_out_at(&self, planned: &Planned) -> Option<usize> {
        self.track(planned)?.timed_out_at
    }

    pub(crate) fn forecast(&self, planned: &Planned) -> Forecast {
        let unknown = Track::default();
        let track = self.track(planned).unwrap_or(&unknown);
        let dim = planned.cell.point.dim;
        let reached = track.rate.keys().next_back().copied();
        let by_rate = || planned.model.flops / self.rate(track, &planned.cell);
        let evaluation_seconds = track.extrapolated(planned).unwrap_or_else(by_rate);
        // Whoever adds up a cell's evaluations counts one of them as warm-up.
        let warmup_seconds = (WARMUP_SECONDS - evaluation_seconds).max(0.0);
        Forecast {
            evaluation_seconds,
            overhead_seconds: self.overhead(track, planned) + warmup_seconds,
            peak_bytes: planned.expected_bytes * track.memory_excess.max(1.0),
            trusted: reached.is_some_and(|reached| is_near(dim, reached)),
        }
    }

    fn track(&self, planned: &Planned) -> Option<&Track> {
        self.tracks.get(&key(&planned.cell))
    }

    /// Operations a second of a cell.
    fn rate(&self, track: &Track, cell: &Cell) -> f64 {
        let dim = cell.point.dim;
        let built_in = if is_gpu(cell) { BUILT_IN_GPU_FLOPS_PER_SECOND } else { BUILT_IN_FLOPS_PER_SECOND };
        let best = self.devices.get(&cell.point.device).map_or(built_in, |device| device.best_rate.max(built_in));
        let Some((&reached, &last)) = track.rate.last_key_value() else { return best };
        if dim <= reached {
            return interpolate(&track.rate, dim);
        }
        let decades = (dim as f64 / reached as f64).log10().min(1.0);
        last * (best.max(last) / last).powf(decades)
    }

    /// Seconds outside the evaluations. Above the largest measured D they grow like the number of weights: D², or for
    /// convolutions, whose batch outweighs their kernels, D times channels and samples.
    fn overhead(&self, track: &Track, planned: &Planned) -> f64 {
        let dim = planned.cell.point.dim;
        let Point { layers, batch, convolution, .. } = planned.cell.point;
        let row = |dim: usize| convolution.map_or(dim as f64, |convolution| convolution.channels as f64 + batch as f64);
        let weights = |dim: usize| layers as f64 * row(dim) * dim as f64;
        let start_seconds = if is_gpu(&planned.cell) { BUILT_IN_GPU_START_SECONDS } else { BUILT_IN_START_SECONDS };
        let widest = || self.tracks.get(&self.devices.get(&planned.cell.point.device)?.widest.0);
        let known = if track.overhead.is_empty() { widest() } else { Some(track) };
        let Some((track, (&reached, &last))) = known.and_then(|track| Some((track, track.overhead.last_key_value()?)))
        else {
            return start_seconds + BUILT_IN_SECONDS_PER_WEIGHT * weights(dim);
        };
        if dim <= reached {
            return interpolate(&track.overhead, dim);
        }
        let start = track.least_overhead.min(start_seconds);
        let measured = start + (last - start) * weights(dim) / weights(reached);
        let built_in = start_seconds + BUILT_IN_SECONDS_PER_WEIGHT * weights(dim);
        // Where starting the process took most of the time, what was measured says nothing about the weights.
        let telling = BUILT_IN_SECONDS_PER_WEIGHT * weights(reached) > start_seconds;
        if telling { measured } else { built_in.max(last) }
    }
}

impl Track {
    /// What the report would predict of a cell not far above the measured ones.
    fn extrapolated(&self, planned: &Planned) -> Option<f64> {
        let dim = planned.cell.point.dim;
        let (&reached, (_, flops)) = self.seconds.last_key_value()?;
        if dim <= reached || !is_near(dim, reached) {
            return None;
        }
        let slope = (planned.model.flops / flops).ln() / (dim as f64 / reached as f64).ln();
        let wanted = Unmeasured { x: dim, highest: slope.round().clamp(1.0, 3.0) as usize, least_seconds: 0.0 };
        let processes = |seconds: &[f64]| Processes::new(seconds.iter().map(std::slice::from_ref).enumerate());
        let places: Vec<_> = self.seconds.iter().map(|(dim, (seconds, _))| (*dim, processes(seconds))).collect();
        let observations: Vec<_> = places.iter().map(|(x, processes)| Observation { x: *x, processes }).collect();
        predict(&observations, &[], &wanted).map(|expected| expected.value)
    }
}

/// Whether what was measured up to `reached` says something of `dim`.
fn is_near(dim: usize, reached: usize) -> bool {
    dim as f64 <= TRUSTED_FACTOR * reached as f64
}

fn key(cell: &Cell) -> Key {
    let Held { batch, layers, threads, ranks } = cell.point.held();
    (cell.point.device, format!("{} N={batch} L={layers} on {threads} over {ranks}", cell.method))
}

fn is_gpu(cell: &Cell) -> bool {
    cell.point.device == DeviceKind::Cuda
}

/// Log–log interpolation in a non-empty table; the nearest entry outside it.
fn interpolate(table: &BTreeMap<usize, f64>, dim: usize) -> f64 {
    let below = table.range(..=dim).next_back();
    let above = table.range(dim..).next();
    match (below, above) {
        (Some((d0, v0)), Some((d1, v1))) if d0 != d1 => {
            let position = (dim as f64 / *d0 as f64).ln() / (*d1 as f64 / *d0 as f64).ln();
            v0 * (v1 / v0).powf(position)
        }
        (Some((_, value)), _) | (None, Some((_, value))) => *value,
        (None, None) => BUILT_IN_FLOPS_PER_SECOND,
    }
}

#[cfg(test)]
mod tests {
    use relgrad_kernels::Method;

    use super::super::testing::{measured, planned};
    use super::*;

    /// What is expected after these were measured: the cells, with seconds of an evaluation and of the process.
    fn after(known: &[(&Planned, f64, f64)]) -> Calibration {
        let mut calibration = Calibration::default();
        for (cell, seconds, wall) in known {
            calibration.observe(&measured(cell, *seconds, *wall), cell.expected_bytes);
        }
        calibration
    }

    #[test]
    fn a_measured_cell_predicts_itself_and_what_lies_between_two() {
        let cell = planned(Method::Relative, 1000, 0);
        let forecast = after(&[]).forecast(&cell);
        assert_eq!(forecast.evaluation_seconds, cell.model.flops / BUILT_IN_FLOPS_PER_SECOND);
        assert!(!forecast.trusted);
        let forecast = after(&[(&cell, 0.125, 2.0)]).forecast(&cell);
        assert!((forecast.evaluation_seconds / 0.125 - 1.0).abs() < 1e-12 && forecast.trusted);
        // wall 2 s, less 5 samples and one warm-up of 0.125 s.
        assert!((forecast.overhead_seconds - 1.25).abs() < 1e-12);
        let [small, large] = [100, 10_000].map(|dim| planned(Method::Relative, dim, 0));
        let forecast = after(&[(&small, 1e-4, 10.0), (&large, 2.0, 10.0)]).forecast(&cell);
        assert!(forecast.evaluation_seconds > 1e-4 && forecast.evaluation_seconds < 2.0);
    }

    #[test]
    fn an_atlas_speaks_for_what_was_not_measured() {
        let [near, far] = [1000, 20_000].map(|dim| planned(Method::Relative, dim, 0));
        let narrow = Some(Estimate { value: 3.0, low: 2.0, high: 4.5 });
        let wide = Some(Estimate { value: 3.0, low: 0.1, high: 90.0 });
        let known = after(&[(&near, 0.125, 2.0)]);
        assert_eq!(known.forecast(&near).or(narrow), known.forecast(&near));
        let told = known.forecast(&far).or(narrow);
        assert_eq!((told.evaluation_seconds, told.trusted), (3.0, true));
        assert!(!known.forecast(&far).or(wide).trusted && known.forecast(&far).or(None) == known.forecast(&far));
    }

    #[test]
    fn overheads_at_small_dimensions_do_not_condemn_large_ones() {
        // At D = 10 the method does 1 Mflop/s because of overheads; another method shows that the machine can do 100
        // Gflop/s.
        let (small, fast, large) = (
            planned(Method::Relative, 10, 0),
            planned(Method::Ordinary, 1000, 0),
            planned(Method::Relative, 10_000, 0),
        );
        let known = after(&[(&small, small.model.flops / 1e6, 0.1), (&fast, fast.model.flops / 1e11, 1.0)]);
        let far = known.forecast(&large);
        assert!(known.forecast(&planned(Method::Relative, 20, 0)).trusted && !far.trusted);
        let rate = large.model.flops / far.evaluation_seconds;
        assert!((rate / 1e11 - 1.0).abs() < 1e-9, "{rate:e}");
        // 0.2 s for 10 µs of work, most of it start and warm-up: 50 weights did not take it.
        let small = planned(Method::Relative, 5, 0);
        let overhead = |cell| after(&[(&small, 1e-5, 0.2)]).forecast(cell).overhead_seconds;
        assert!((overhead(&small) - 0.2).abs() < 1e-3, "{}", overhead(&small));
        assert!((1.0..10.0).contains(&overhead(&planned(Method::Relative, 6000, 0))));
    }

    /// Three dimensions on a law of D²; another method shows a rate that would have it faster.
    #[test]
    fn a_cell_not_far_above_three_measured_ones_is_predicted_as_in_the_report() {
        let law = |dim: usize| 1e-7 * (dim as f64).powi(2);
        let cells = [500, 1000, 2000].map(|dim| planned(Method::Relative, dim, 0));
        let fast = planned(Method::Ordinary, 1000, 0);
        let known = cells.iter().map(|cell| (cell, law(cell.cell.point.dim), 10.0));
        let known: Vec<_> = known.chain([(&fast, fast.model.flops / 1e13, 10.0)]).collect();
        let seconds = |dim| after(&known).forecast(&planned(Method::Relative, dim, 0)).evaluation_seconds;
        assert!((seconds(8000) / law(8000) - 1.0).abs() < 1e-6, "{}", seconds(8000));
        assert!(seconds(20_000) < 0.9 * law(20_000), "{}", seconds(20_000));
        let two = after(&known[1..]).forecast(&planned(Method::Relative, 8000, 0)).evaluation_seconds;
        assert!(two < 0.9 * law(8000), "{two}");
    }

    #[test]
    fn a_method_that_takes_more_memory_than_expected_is_expected_to_again() {
        let cell = planned(Method::Relative, 5000, 0);
        let mut calibration = Calibration::default();
        let peak_bytes = Some((1.5 * cell.expected_bytes) as u64);
        calibration.observe(&Record { peak_bytes, ..measured(&cell, 0.1, 1.0) }, cell.expected_bytes);
        let larger = planned(Method::Relative, 10_000, 0);
        let ratio = calibration.forecast(&larger).peak_bytes / larger.expected_bytes;
        assert!((ratio - 1.5).abs() < 1e-6, "{ratio}");
    }

    #[test]
    fn what_one_device_does_says_nothing_of_another() {
        let on_cpu = planned(Method::Relative, 10_000, 0);
        let mut on_gpu = on_cpu.clone();
        on_gpu.cell.point.device = DeviceKind::Cuda;
        let forecast = after(&[(&on_gpu, on_gpu.model.flops / 5e13, 4.0)]).forecast(&on_cpu);
        assert_eq!(forecast.evaluation_seconds, on_cpu.model.flops / BUILT_IN_FLOPS_PER_SECOND);
        assert!(!forecast.trusted);
        let unmeasured = after(&[]).forecast(&on_gpu);
        assert_eq!(unmeasured.evaluation_seconds, on_gpu.model.flops / BUILT_IN_GPU_FLOPS_PER_SECOND);
        assert!(unmeasured.overhead_seconds >= BUILT_IN_GPU_START_SECONDS);
    }

    #[test]
    fn what_a_number_of_threads_does_says_nothing_of_another() {
        let on_two = planned(Method::Relative, 1000, 0);
        let mut on_one = on_two.clone();
        on_one.cell.point.threads = 1;
        let mut known = after(&[(&on_two, 0.1, 2.0)]);
        assert!(known.forecast(&on_two).trusted && !known.forecast(&on_one).trusted);
        known.observe_timeout(&on_one.cell);
        assert_eq!([&on_one, &on_two].map(|cell| known.timed_out_at(cell)), [Some(1000), None]);
    }

    #[test]
    fn the_smallest_timeout_is_remembered() {
        let mut calibration = Calibration::default();
        for dim in [500, 300, 1000] {
            calibration.observe_timeout(&planned(Method::Autodiff, dim, 0).cell);
        }
        let known =
            [Method::Autodiff, Method::Relative].map(|method| calibration.timed_out_at(&planned(method, 50, 0)));
        assert_eq!(known, [Some(300), None]);
    }
}
