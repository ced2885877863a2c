//! Bandwidth of memory and the cost of a parallel region.

use std::hint::black_box;

use rayon::prelude::*;
use relgrad_kernels::device::{Device, Matrix};
use relgrad_kernels::{Cpu, Result};
use relgrad_reports::roofline::{Bandwidth, Region, Stream};

use super::Bench;
use super::timing::{Timing, time};

/// Numbers of an array: 256 MiB, beyond the caches of today's processors.
const COLUMNS: usize = 1 << 10;
const ROWS: usize = 1 << 16;

pub(super) fn reading(bench: &Bench<Cpu>) -> Result<Bandwidth> {
    let Bench { device, effort, threads, .. } = bench;
    let source = resident(device)?;
    let timing = time(effort, || -> Result<()> {
        // The kernels have no operation that only reads at full speed.
        black_box(sum(*threads, black_box(source.view().slice())));
        Ok(())
    })?;
    Ok(bandwidth(*threads, Stream::Read, 1.0, timing))
}

/// Copying one array to another that is resident.
pub(super) fn copying<D: Device<f32>>(bench: &Bench<D>) -> Result<Bandwidth> {
    let Bench { device, effort, threads, .. } = bench;
    let source = resident(device)?;
    let mut copy = resident(device)?;
    let timing = time(effort, || {
        device.copy(source.view(), copy.view_mut())?;
        device.synchronize()
    })?;
    Ok(bandwidth(*threads, Stream::Copy, 2.0, timing))
}

/// A region in which each of the device's threads is called, does nothing, and is waited for.
pub(super) fn region(bench: &Bench<Cpu>) -> Result<Region> {
    let timing = time(&bench.effort, || -> Result<()> {
        bench.device.empty_region();
        Ok(())
    })?;
    let median_seconds = timing.median_seconds();
    let Timing { seconds, evaluations_per_sample } = timing;
    Ok(Region { threads: bench.threads, seconds, evaluations_per_sample, median_seconds })
}

fn bandwidth(threads: usize, stream: Stream, arrays: f64, timing: Timing) -> Bandwidth {
    let array_bytes = (ROWS * COLUMNS * size_of::<f32>()) as f64;
    let bytes = arrays * array_bytes;
    let bytes_per_second = bytes / timing.median_seconds();
    let Timing { seconds, evaluations_per_sample } = timing;
    Bandwidth { stream, threads, array_bytes, bytes, seconds, evaluations_per_sample, bytes_per_second }
}

/// An array whose every page was written once: a fresh page would be zeroed by the system in the timed region, or,
/// never written, be one shared page of zeros that stays in the cache.
fn resident<D: Device<f32>>(device: &D) -> Result<Matrix<D, f32>> {
    let mut array = Matrix::zeros(device, ROWS, COLUMNS, "array to stream")?;
    device.fill(1.0, array.view_mut())?;
    Ok(array)
}

fn sum(threads: usize, numbers: &[f32]) -> f32 {
    numbers.par_chunks(numbers.len().div_ceil(threads)).map(sum_of_part).sum()
}

/// As many independent sums as registers hold: the loop waits for memory, not for additions.
fn sum_of_part(numbers: &[f32]) -> f32 {
    const LANES: usize = 32;
    let mut sums = [0.0; LANES];
    for chunk in numbers.as_chunks::<LANES>().0 {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x;
        }
    }
    sums.iter().sum()
}
