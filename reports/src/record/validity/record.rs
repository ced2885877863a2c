//! One record, and whether it belongs to the run beside it.

use super::{
    AMOUNT, BATCH, BYTES, Checked, DIM, DURATION, EVALUATIONS, LAYERS, MOST_ROUNDS, RANKS, SECONDS, THREADS,
    activation, arithmetic, at_most, bytes, count, number, numbers,
};
use relgrad_vocabulary::{Tuning, UpdateRule};

use crate::record::run::{self, Settings};
use crate::record::{
    Check, Convolution, Gpu, GpuState, MemoryPoint, Model, Outcome, Point, Prediction, Record, Refresh, Solved, State,
};

/// Most samples of a process, and most points of its trace.
const MOST_SAMPLES: usize = 1_000_000;
/// The end of the year 5138.
const LATEST: f64 = 1e11;

/// Checks every number and name of a record.
pub(crate) fn record(record: &Record) -> Checked {
    point(&record.cell.point)?;
    count("round", record.cell.round, &(0..=MOST_ROUNDS - 1))?;
    count("attempt", record.attempt, &(0..=MOST_ROUNDS))?;
    at_most("samples", record.seconds.len(), MOST_SAMPLES)?;
    numbers("seconds of sample", &record.seconds, &SECONDS)?;
    if record.outcome == Outcome::Measured && record.seconds.is_empty() {
        return Err("it is measured and has no sample".into());
    }
    count("evaluations_per_sample", record.evaluations_per_sample, &EVALUATIONS)?;
    at_most("warm-up evaluations", record.warmup_seconds.len(), MOST_SAMPLES)?;
    numbers("seconds of warm-up", &record.warmup_seconds, &DURATION)?;
    bytes("peak_bytes", record.peak_bytes.unwrap_or(0))?;
    trace(&record.memory_trace)?;
    model(&record.model, record.cell.method.is_kernel())?;
    record.prediction.as_ref().map_or(Ok(()), prediction)?;
    record.check.as_ref().map_or(Ok(()), check)?;
    record.refresh.as_ref().map_or(Ok(()), refresh)?;
    record.inverse_error.map_or(Ok(()), |error| number("inverse_error", error, &AMOUNT))?;
    record.solved.as_ref().map_or(Ok(()), solved)?;
    record.exchanged.map_or(Ok(()), |exchanged| bytes("received_bytes", exchanged.received_bytes))?;
    record.gpu.as_ref().map_or(Ok(()), |gpu| of_gpu(gpu, record.seconds.len()))?;
    record.state.as_ref().map_or(Ok(()), machine_state)?;
    number("wall_seconds", record.wall_seconds, &DURATION)?;
    number("started_unix_seconds", record.started_unix_seconds, &(0.0..=LATEST))
}

/// Checks that a record was made with the settings of its run, without which it would be pooled with others. What only
/// makes another series (method, device, D, N, L, threads, ranks) may differ, and further rounds may have been added.
pub(crate) fn of_run(record: &Record, settings: &Settings) -> Checked {
    let point = &record.cell.point;
    same("dtype", point.dtype, settings.dtype)?;
    same("arithmetic", point.arithmetic(), settings.arithmetic(point.device))?;
    same("activation", point.activation, settings.activation)?;
    if !settings.thread_counts().any(|threads| threads == point.threads) {
        same("number of threads", point.threads, settings.threads)?;
    }
    if !settings.rank_counts().any(|ranks| ranks == point.ranks) {
        same("number of ranks", point.ranks, settings.ranks)?;
    }
    same("bias", point.bias, settings.bias)?;
    let rule = |update: Option<UpdateRule>| update.map_or("none", UpdateRule::name);
    same("update", rule(point.update), rule(settings.update))?;
    let tuning = record.cell.method.method().map_or(Tuning::default(), |method| settings.tuning.of(method));
    same("tuning", point.tuning, tuning)?;
    same("seed", point.seed, settings.seed)?;
    layers(point.convolution.as_ref(), settings.convolution.as_ref())
}

fn same<T: PartialEq + std::fmt::Display>(what: &str, found: T, expected: T) -> Checked {
    if found == expected { Ok(()) } else { Err(format!("its {what} is {found}, that of run.json {expected}")) }
}

fn layers(cell: Option<&Convolution>, settings: Option<&run::Convolution>) -> Checked {
    let alike = match (cell, settings) {
        (None, None) => true,
        (Some(cell), Some(settings)) => {
            cell.channels == settings.channels
                && cell.kernel == settings.kernel.unwrap_or(cell.grid)
                && settings.grids.contains(&cell.grid)
        }
        _ => false,
    };
    if alike { Ok(()) } else { Err("its layers are not those of run.json".into()) }
}

fn point(point: &Point) -> Checked {
    arithmetic(point.dtype, point.math)?;
    activation(point.activation)?;
    count("dim", point.dim, &DIM)?;
    count("batch", point.batch, &BATCH)?;
    count("layers", point.layers, &LAYERS)?;
    count("threads", point.threads, &THREADS)?;
    count("ranks", point.ranks, &RANKS)?;
    let Some(Convolution { channels, grid, kernel }) = point.convolution else { return Ok(()) };
    let dim = grid[0].checked_mul(grid[1]).and_then(|points| points.checked_mul(channels));
    if dim != Some(point.dim) {
        return Err(format!("channels × points of the grid are not dim {}", point.dim));
    }
    kernel.iter().zip(grid).try_for_each(|(taps, side)| count("a side of the kernel", *taps, &(1..=side)))
}

fn refresh(refresh: &Refresh) -> Checked {
    number("products of the refresh", refresh.products as f64, &AMOUNT)?;
    number("factored layers of the refresh", refresh.factored as f64, &AMOUNT)?;
    number("residual of the refresh", refresh.residual, &AMOUNT)
}

fn solved(solved: &Solved) -> Checked {
    number("iterations of the solves", solved.iterations as f64, &AMOUNT)?;
    number("error of the solves", solved.error, &AMOUNT)
}

fn trace(points: &[MemoryPoint]) -> Checked {
    at_most("points of memory_trace", points.len(), MOST_SAMPLES)?;
    let largest = *BYTES.end();
    let mut before = 0.0;
    for (index, MemoryPoint { seconds, bytes }) in points.iter().enumerate() {
        let place = index + 1;
        number(&format!("seconds of memory_trace {place}"), *seconds, &DURATION)?;
        number(&format!("bytes of memory_trace {place}"), *bytes, &(-largest..=largest))?;
        if *seconds < before {
            return Err(format!("memory_trace {place} is earlier than the one before it"));
        }
        before = *seconds;
    }
    Ok(())
}

fn model(model: &Model, may_be_none: bool) -> Checked {
    let Model { flops, min_bytes, min_traffic_bytes } = *model;
    let named = [("flops", flops), ("min_bytes", min_bytes), ("min_traffic_bytes", min_traffic_bytes)];
    for (name, amount) in named {
        number(&format!("{name} of the model"), amount, &AMOUNT)?;
        if amount <= 0.0 && !may_be_none {
            return Err(format!("{name} of the model is 0"));
        }
    }
    Ok(())
}

/// Numbers that were not finite are written as `null` and read as NaN.
fn unless_null(what: &str, value: f64) -> Checked {
    if value.is_nan() { Ok(()) } else { number(what, value, &AMOUNT) }
}

fn prediction(prediction: &Prediction) -> Checked {
    unless_null("seconds of the prediction", prediction.seconds)?;
    unless_null("peak_bytes of the prediction", prediction.peak_bytes)
}

fn check(check: &Check) -> Checked {
    unless_null("max_rel_err of the check", check.max_rel_err)?;
    number("tolerance of the check", check.tolerance, &(0.0..=1.0))
}

fn of_gpu(gpu: &Gpu, samples: usize) -> Checked {
    if gpu.event_seconds.len() != samples {
        return Err(format!("{} event_seconds for {samples} samples", gpu.event_seconds.len()));
    }
    numbers("event_seconds", &gpu.event_seconds, &DURATION)?;
    number("first_call_seconds", gpu.first_call_seconds, &DURATION)?;
    bytes("driver_bytes", gpu.driver_bytes)?;
    gpu.before.iter().chain(&gpu.after).try_for_each(state)
}

/// The state of the machine, of a cell or of the ceilings.
pub(super) fn machine_state(state: &State) -> Checked {
    number("seconds of the state", state.seconds, &DURATION)?;
    count("cores of the state", state.cores, &THREADS)?;
    let State { own_seconds, foreign_seconds, stolen_seconds, waited_seconds, region_seconds, .. } = *state;
    for seconds in [own_seconds, foreign_seconds, stolen_seconds, waited_seconds, region_seconds].into_iter().flatten()
    {
        number("a time of the state", seconds, &DURATION)?;
    }
    state.clock_hz.iter().try_for_each(|hz| number("clock_hz", *hz, &(1.0..=1e15)))
}

fn state(state: &GpuState) -> Checked {
    let GpuState { sm_mhz, memory_mhz, power_watts, temperature_celsius, throttled_by } = state;
    let told = [("sm_mhz", sm_mhz), ("memory_mhz", memory_mhz), ("power_watts", power_watts)];
    for (name, value) in told {
        value.map_or(Ok(()), |value| number(name, value, &(0.0..=1e9)))?;
    }
    temperature_celsius.map_or(Ok(()), |value| number("temperature_celsius", value, &(-274.0..=1e5)))?;
    at_most("reasons of throttled_by", throttled_by.len(), 100)
}
