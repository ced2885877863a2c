//! When to warm up, how to time, when to stop.

use relgrad_reports::statistics::{median, relative_half_width_of_median};
use serde::{Deserialize, Serialize};

/// Shortest time that one sample may take. `clock_gettime` resolves some 25 ns, a thousandth of this.
const SHORTEST_SAMPLE_SECONDS: f64 = 20e-6;
/// Warm-up goes on this long unless one evaluation already took longer: frequency and caches have settled by then.
pub(crate) const WARMUP_SECONDS: f64 = 0.1;
/// Warm-up times kept, the first ones; short evaluations take many more.
const MAX_WARMUPS: usize = 50;
/// Samples kept, and so taken: the interval of the median of a thousand is not improved by more of the same process.
const MAX_SAMPLES: usize = 1000;
/// Fewest seconds of sampling, so that the samples of a fast cell are not all from one moment.
const LEAST_SAMPLING_SECONDS: f64 = 0.05;
/// Sampling ends when half the 95 % confidence interval of the median is below this fraction of the median.
const PRECISION: f64 = 0.02;
const CONFIDENCE: f64 = 0.95;

/// When sampling ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rules {
    /// Fewest samples, unless the deadline comes first.
    pub(crate) min_samples: usize,
    /// Seconds of sampling after which an unsettled median is accepted.
    pub(crate) sampling_seconds: f64,
    /// Seconds that the evaluations, warm-up included, may take; no further one begins, once there is a sample.
    pub(crate) cell_seconds: Option<f64>,
    /// Seconds since the start of the process after which no further evaluation begins, once there is a sample.
    pub(crate) deadline_seconds: Option<f64>,
}

/// What was timed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Samples {
    /// Seconds of one evaluation, per sample, in the order taken.
    pub(crate) seconds: Vec<f64>,
    /// Evaluations that each sample averages.
    pub(crate) evaluations_per_sample: u64,
    /// Seconds of one evaluation before sampling began: the first few.
    pub(crate) warmup_seconds: Vec<f64>,
}

/// Warms up and samples `evaluate`.
///
/// `now` is the clock, in seconds since the start of the process. `first_seconds` is the time of an evaluation that was
/// already made (the first one, which touched fresh memory); it counts as warm-up. `after_sample` looks at what the
/// evaluation left behind; its time belongs to no sample.
///
/// # Errors
/// The first error of `evaluate`.
pub(crate) fn sample<E>(
    mut evaluate: impl FnMut() -> Result<(), E>,
    now: impl Fn() -> f64,
    first_seconds: f64,
    rules: &Rules,
    mut after_sample: impl FnMut() -> Result<(), E>,
) -> Result<Samples, E> {
    // All memory of the timed loop is taken here.
    let mut warmup_seconds = Vec::with_capacity(MAX_WARMUPS);
    let mut seconds: Vec<f64> = Vec::with_capacity(MAX_SAMPLES);
    let mut timed = |evaluations: u64| -> Result<f64, E> {
        let start = now();
        for _ in 0..evaluations {
            evaluate()?;
        }
        Ok((now() - start) / evaluations as f64)
    };

    let begin = now() - first_seconds;
    warmup_seconds.push(first_seconds);
    let mut evaluations_per_sample = 1;
    let mut warmed = first_seconds;
    while warmed < WARMUP_SECONDS {
        let one = timed(evaluations_per_sample)?;
        if warmup_seconds.len() < MAX_WARMUPS {
            warmup_seconds.push(one);
        }
        warmed += one * evaluations_per_sample as f64;
        evaluations_per_sample = (SHORTEST_SAMPLE_SECONDS / one.max(1e-9)).ceil().max(1.0) as u64;
    }

    let start = now();
    let limit = begin + rules.cell_seconds.unwrap_or(f64::INFINITY);
    let deadline = rules.deadline_seconds.unwrap_or(f64::INFINITY).min(limit);
    let mut next_look = rules.min_samples.max(1);
    while seconds.len() < MAX_SAMPLES {
        let one = timed(evaluations_per_sample)?;
        seconds.push(one);
        after_sample()?;
        if now() + one * evaluations_per_sample as f64 > deadline {
            break;
        }
        if seconds.len() < next_look {
            continue;
        }
        // Looking costs a sort, so the looks spread out as the samples grow.
        next_look = seconds.len() + 1 + seconds.len() / 8;
        let sampled = now() - start;
        if sampled >= rules.sampling_seconds || (sampled >= LEAST_SAMPLING_SECONDS && settled(&seconds)) {
            break;
        }
    }
    Ok(Samples { seconds, evaluations_per_sample, warmup_seconds })
}

fn settled(seconds: &[f64]) -> bool {
    relative_half_width_of_median(seconds, CONFIDENCE).is_some_and(|width| width <= PRECISION)
}

/// Median and relative half-width of its interval, for the progress line; the width is absent for few samples.
pub(crate) fn describe(seconds: &[f64]) -> (f64, Option<f64>) {
    (median(seconds).unwrap_or(f64::NAN), relative_half_width_of_median(seconds, CONFIDENCE))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;

    const RULES: Rules = Rules { min_samples: 5, sampling_seconds: 1.0, cell_seconds: None, deadline_seconds: None };

    /// Samples a simulated evaluation whose n-th run takes `duration(n)` seconds.
    fn simulate(duration: impl Fn(usize) -> f64, rules: &Rules) -> Samples {
        let (clock, runs) = (Cell::new(0.0), Cell::new(0));
        let evaluate = || -> Result<(), Infallible> {
            clock.set(clock.get() + duration(runs.get()));
            runs.set(runs.get() + 1);
            Ok(())
        };
        match sample(evaluate, || clock.get(), duration(0), rules, || Ok(())) {
            Ok(samples) => samples,
            Err(never) => match never {},
        }
    }

    #[test]
    fn a_steady_evaluation_settles_with_few_samples() {
        let samples = simulate(|_| 0.02, &RULES);
        // Six samples are the fewest with a 95 % interval.
        assert_eq!(samples.seconds.len(), 6);
        assert_eq!(samples.evaluations_per_sample, 1);
        assert!(samples.warmup_seconds.len() >= 5);
    }

    #[test]
    fn a_noisy_evaluation_is_sampled_until_its_time_is_up() {
        // Alternating 10 and 30 ms: the median's interval never gets narrow.
        let samples = simulate(|run| if run % 2 == 0 { 0.01 } else { 0.03 }, &RULES);
        let total: f64 = samples.seconds.iter().sum();
        assert!((1.0..1.3).contains(&total), "{total}");
    }

    #[test]
    fn short_evaluations_are_batched_to_what_the_clock_resolves() {
        let samples = simulate(|_| 1e-6, &RULES);
        assert_eq!(samples.evaluations_per_sample, 20);
        assert_eq!(samples.seconds.len(), MAX_SAMPLES);
        assert!(samples.seconds.iter().all(|one| (one / 1e-6 - 1.0).abs() < 1e-6));
    }

    #[test]
    fn short_evaluations_warm_up_as_long_as_others() {
        // Until 70 ms have passed another thread of the process has no core of its own: seen at D = 10, where an
        // evaluation took 100 µs before it took 3.
        let slow = 700;
        let samples = simulate(|run| if run < slow { 1e-4 } else { 4e-6 }, &RULES);
        assert_eq!(samples.warmup_seconds.len(), MAX_WARMUPS);
        assert_eq!(samples.evaluations_per_sample, 5);
        assert!(samples.seconds.iter().all(|one| (one / 4e-6 - 1.0).abs() < 1e-6));
    }

    #[test]
    fn a_long_evaluation_has_one_warmup_and_stops_at_the_deadline() {
        let rules = Rules { deadline_seconds: Some(25.0), ..RULES };
        let samples = simulate(|_| 10.0, &rules);
        assert_eq!(samples.warmup_seconds, [10.0]);
        assert_eq!(samples.seconds, [10.0, 10.0]);
    }

    #[test]
    fn the_limit_of_a_cell_counts_its_evaluations_alone() {
        // The process is 100 s old when sampling begins: building and checking the problem took that long.
        let clock = Cell::new(100.0);
        let evaluate = || -> Result<(), Infallible> {
            clock.set(clock.get() + 10.0);
            Ok(())
        };
        let rules = Rules { cell_seconds: Some(45.0), ..RULES };
        let Ok(samples) = sample(evaluate, || clock.get(), 10.0, &rules, || Ok(()));
        // One warm-up and three samples are 40 s; a fourth would exceed 45 s.
        assert_eq!(samples.seconds, [10.0; 3]);
    }

    #[test]
    fn there_is_always_one_sample() {
        let rules = Rules { deadline_seconds: Some(0.0), ..RULES };
        assert_eq!(simulate(|_| 3.0, &rules).seconds, [3.0]);
    }

    #[test]
    fn an_error_ends_sampling() {
        let failing = || Err("singular");
        let looks = Cell::new(0.0);
        // Ten milliseconds from look to look.
        let clock = || {
            looks.set(looks.get() + 0.01);
            looks.get()
        };
        assert_eq!(sample(failing, clock, 0.0, &RULES, || Ok(())), Err("singular"));
        assert_eq!(sample(|| Ok(()), clock, 0.0, &RULES, || Err("no event")), Err("no event"));
    }
}
