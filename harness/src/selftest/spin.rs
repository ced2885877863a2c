//! Kernels that spin for a planted number of operations, timed and fitted as cells are.

use std::hint::black_box;
use std::time::Instant;

use relgrad_reports::fit;
use relgrad_reports::selftest::Recovery;
use relgrad_reports::statistics::{Processes, ratio_estimate};
use relgrad_reports::summary::Estimate;

use crate::measure::cell::sampling::{self, Rules};

const PLACES: [usize; 5] = [32, 64, 128, 256, 512];
/// Planted exponent of the number of operations.
const EXPONENT: f64 = 1.5;
/// Planted ratio of the operations of two kernels.
const RATIO: u64 = 3;
/// Operations at place 1; some 20 µs at the smallest place.
const OPERATIONS: f64 = 120.0;
const ROUNDS: usize = 5;
/// Accepted error, for what another program takes of the machine meanwhile.
const TOLERANCE: f64 = 0.05;
/// A machine that is busy with something else gets this many attempts.
const ATTEMPTS: usize = 3;
const RULES: Rules = Rules { min_samples: 9, sampling_seconds: 0.02, cell_seconds: None, deadline_seconds: None };

/// The exponent along the places and the ratio at the largest.
pub(crate) fn recoveries() -> Vec<Recovery> {
    let attempt = || {
        let (exponent, ratio) = measure();
        [
            recovery("exponent of spinning ∝ x^1.5", EXPONENT, exponent),
            recovery("ratio of 3 : 1 operations", RATIO as f64, ratio),
        ]
    };
    let mut recoveries = attempt();
    for _ in 1..ATTEMPTS {
        if recoveries.iter().all(Recovery::passed) {
            break;
        }
        recoveries = attempt();
    }
    recoveries.into()
}

fn recovery(what: &'static str, planted: f64, found: Option<Estimate>) -> Recovery {
    Recovery { what, planted, found, tolerance: TOLERANCE }
}

/// Rounds over all places, so that a slow moment of the machine is not one place's.
fn measure() -> (Option<Estimate>, Option<Estimate>) {
    let mut times: Vec<Vec<Vec<f64>>> = vec![Vec::new(); PLACES.len()];
    let mut longer: Vec<Vec<f64>> = Vec::new();
    for _ in 0..ROUNDS {
        for (place, times) in PLACES.iter().zip(&mut times) {
            times.push(timed(operations(*place)));
        }
        longer.push(timed(RATIO * operations(PLACES[PLACES.len() - 1])));
    }
    let largest = PLACES.len() - 1;
    let cells: Vec<_> = PLACES.into_iter().zip(times.iter().map(|rounds| Processes::of_rounds(rounds))).collect();
    let exponent = fit::exponent(&fit::observe(&cells), PLACES[0]..=PLACES[largest]).map(|fit| fit.exponent);
    (exponent, ratio_estimate(&Processes::of_rounds(&longer), &cells[largest].1))
}

fn operations(place: usize) -> u64 {
    (OPERATIONS * (place as f64).powf(EXPONENT)) as u64
}

fn timed(operations: u64) -> Vec<f64> {
    let start = Instant::now();
    let now = || thread_seconds().unwrap_or_else(|| start.elapsed().as_secs_f64());
    let spin = || -> Result<(), std::convert::Infallible> {
        black_box(spin(black_box(operations)));
        Ok(())
    };
    let Ok(warm) = sampling::warm_up(spin, now, 0.0);
    let Ok(samples) = sampling::sample(spin, now, &warm, &RULES, || Ok(()));
    samples
}

/// Seconds that this thread has run on a core: what other programs take of the machine meanwhile is not the kernel's.
/// `None` where the system does not tell.
#[cfg(target_os = "linux")]
fn thread_seconds() -> Option<f64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time`, which is valid and exclusively borrowed, and keeps no pointer to it.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) } != 0;
    (!failed).then_some(time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64)
}

#[cfg(not(target_os = "linux"))]
fn thread_seconds() -> Option<f64> {
    None
}

/// A chain of dependent steps that no compiler shortens and no core overlaps.
fn spin(operations: u64) -> u64 {
    let mut state = operations | 1;
    for _ in 0..operations {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}
