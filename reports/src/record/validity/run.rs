//! `run.json`.

use super::{
    AMOUNT, BATCH, Checked, DIM, DURATION, EVALUATIONS, SECONDS, THREADS, at_most, bytes, count, moment, number,
    numbers,
};
use crate::record::roofline::{Bandwidth, Rate, Region, Roofline};
use crate::record::run::{Machine, Run};

/// Most lines of a list of facts, arguments or measurements.
const MOST_FACTS: usize = 100_000;

/// Checks every number and name of a run.
pub(crate) fn run(run: &Run) -> Checked {
    moment("started", &run.started)?;
    run.ended.as_deref().map_or(Ok(()), |ended| moment("ended", ended))?;
    at_most("arguments of the command", run.command.len(), MOST_FACTS)?;
    run.settings.validate()?;
    at_most("changes", run.changes.len(), MOST_FACTS)?;
    run.changes.iter().try_for_each(|change| moment("at of a change", &change.at))?;
    machine(&run.machine)?;
    at_most("rooflines", run.rooflines.len(), MOST_FACTS)?;
    run.rooflines.iter().try_for_each(roofline)
}

fn machine(machine: &Machine) -> Checked {
    let cores = 0..=*THREADS.end();
    count("logical_cores", machine.logical_cores, &cores)?;
    count("physical_cores", machine.physical_cores.unwrap_or(0), &cores)?;
    bytes("memory_bytes", machine.memory_bytes)?;
    bytes("available_bytes", machine.available_bytes)?;
    number("frequency_mhz", machine.frequency_mhz.unwrap_or(0.0), &(0.0..=1e9))?;
    number("load_average", machine.load_average.unwrap_or(0.0), &(0.0..=1e9))?;
    at_most("caches", machine.caches.len(), 100)?;
    at_most("gpus", machine.gpus.len(), 100)
}

fn roofline(roofline: &Roofline) -> Checked {
    moment("started of a roofline", &roofline.started)?;
    number("wall_seconds of a roofline", roofline.wall_seconds, &DURATION)?;
    roofline.state.as_ref().map_or(Ok(()), super::record::machine_state)?;
    let entries = roofline.rates.len() + roofline.bandwidths.len() + roofline.regions.len();
    at_most("ceilings", entries, MOST_FACTS)?;
    roofline.rates.iter().try_for_each(rate)?;
    roofline.bandwidths.iter().try_for_each(bandwidth)?;
    roofline.regions.iter().try_for_each(region)
}

fn rate(rate: &Rate) -> Checked {
    count("dim of a rate", rate.dim, &DIM)?;
    count("batch of a rate", rate.batch.unwrap_or(1), &BATCH)?;
    timed(&rate.seconds, &SECONDS, rate.threads, rate.evaluations_per_sample)?;
    positive("flops of a rate", rate.flops)?;
    positive("flops_per_second", rate.flops_per_second)
}

fn bandwidth(bandwidth: &Bandwidth) -> Checked {
    timed(&bandwidth.seconds, &SECONDS, bandwidth.threads, bandwidth.evaluations_per_sample)?;
    positive("array_bytes", bandwidth.array_bytes)?;
    positive("bytes of a stream", bandwidth.bytes)?;
    positive("bytes_per_second", bandwidth.bytes_per_second)
}

fn region(region: &Region) -> Checked {
    timed(&region.seconds, &DURATION, region.threads, region.evaluations_per_sample)?;
    number("median_seconds", region.median_seconds, &DURATION)
}

fn timed(seconds: &[f64], range: &std::ops::RangeInclusive<f64>, threads: usize, evaluations: u64) -> Checked {
    numbers("seconds of a ceiling's sample", seconds, range)?;
    count("threads of a ceiling", threads, &THREADS)?;
    count("evaluations_per_sample of a ceiling", evaluations, &EVALUATIONS)
}

fn positive(what: &str, value: f64) -> Checked {
    number(what, value, &AMOUNT)?;
    if value > 0.0 { Ok(()) } else { Err(format!("{what} is 0")) }
}
