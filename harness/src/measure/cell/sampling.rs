//! When to warm up, how to time, when to stop.

use std::time::Instant;

use relgrad_reports::statistics::{median, relative_half_width_of_median};
use serde::{Deserialize, Serialize};

/// Shortest time that one sample may take. `clock_gettime` resolves some 25 ns, a thousandth of this.
const SHORTEST_SAMPLE_SECONDS: f64 = 20e-6;
/// Warm-up goes on this long unless one evaluation already took longer: frequency and caches have settled by then.
pub(crate) const WARMUP_SECONDS: f64 = 0.1;
/// Seconds of untimed evaluations before a sample out of turn: what ran since the last one has emptied the caches and
/// let the other threads sleep.
const REHEARSAL_SECONDS: f64 = 0.5e-3;
/// Warm-up times kept, the first ones; short evaluations take many more.
const MAX_WARMUPS: usize = 50;
/// Samples kept, and so taken: the interval of the median of a thousand is not improved by more of the same process.
const MAX_SAMPLES: usize = 1000;
/// Fewest seconds of sampling, so that the samples of a fast cell are not all from one moment.
const LEAST_SAMPLING_SECONDS: f64 = 0.05;
/// Sampling ends when half the 95 % confidence interval of the median is below this fraction of the median.
const PRECISION: f64 = 0.02;
const CONFIDENCE: f64 = 0.95;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rules {
    /// Fewest samples, unless the deadline comes first. With 0 the first evaluation is the only one, and the sample:
    /// what it took of memory is what is asked for.
    pub(crate) min_samples: usize,
    /// Seconds of sampling after which an unsettled median is accepted.
    pub(crate) sampling_seconds: f64,
    /// Seconds that the evaluations, warm-up included, may take; no further one begins, once there is a sample.
    pub(crate) cell_seconds: Option<f64>,
    /// Seconds since the start of the process after which no further evaluation begins, once there is a sample.
    pub(crate) deadline_seconds: Option<f64>,
}

/// What a warm-up leaves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Warm {
    /// Seconds of one evaluation: the first few.
    pub(crate) seconds: Vec<f64>,
    /// Evaluations that a sample averages so that the clock resolves it.
    pub(crate) evaluations_per_sample: u64,
    /// Seconds of the fastest evaluation.
    pub(crate) evaluation_seconds: f64,
    /// When the first evaluation began.
    begin: f64,
}

/// Seconds of one evaluation, as the mean of some.
fn timed<E>(evaluate: &mut impl FnMut() -> Result<(), E>, now: impl Fn() -> f64, evaluations: u64) -> Result<f64, E> {
    let start = now();
    for _ in 0..evaluations {
        evaluate()?;
    }
    Ok((now() - start) / evaluations as f64)
}

/// Evaluates until frequency and caches have settled.
///
/// `now` is the clock, in seconds since the start of the process. `first_seconds` is the time of an evaluation that was
/// already made (the first one, which touched fresh memory); it counts as warm-up.
pub(crate) fn warm_up<E>(
    mut evaluate: impl FnMut() -> Result<(), E>,
    now: impl Fn() -> f64,
    first_seconds: f64,
) -> Result<Warm, E> {
    let begin = now() - first_seconds;
    let mut seconds = Vec::with_capacity(MAX_WARMUPS);
    seconds.push(first_seconds);
    let (mut evaluations_per_sample, mut fastest, mut warmed) = (1, f64::INFINITY, first_seconds);
    while warmed < WARMUP_SECONDS {
        let one = timed(&mut evaluate, &now, evaluations_per_sample)?;
        if seconds.len() < MAX_WARMUPS {
            seconds.push(one);
        }
        fastest = one.min(fastest);
        warmed += one * evaluations_per_sample as f64;
        evaluations_per_sample = (SHORTEST_SAMPLE_SECONDS / one.max(1e-9)).ceil().max(1.0) as u64;
    }
    let evaluation_seconds = if fastest.is_finite() { fastest } else { first_seconds };
    Ok(Warm { seconds, evaluations_per_sample, evaluation_seconds, begin })
}

/// What an evaluation that stays the only one leaves.
pub(crate) fn only(first_seconds: f64, now: impl Fn() -> f64) -> Warm {
    let begin = now() - first_seconds;
    Warm { seconds: vec![first_seconds], evaluations_per_sample: 1, evaluation_seconds: first_seconds, begin }
}

/// Samples a warm `evaluate` until the rules end it: seconds of one evaluation, per sample, in the order taken.
/// `after_sample` looks at what the evaluation left behind; its time belongs to no sample.
pub(crate) fn sample<E>(
    mut evaluate: impl FnMut() -> Result<(), E>,
    now: impl Fn() -> f64,
    warm: &Warm,
    rules: &Rules,
    mut after_sample: impl FnMut() -> Result<(), E>,
) -> Result<Vec<f64>, E> {
    if rules.min_samples == 0 {
        return Ok(warm.seconds.iter().take(1).copied().collect());
    }
    // All memory of the timed loop is taken here.
    let mut seconds: Vec<f64> = Vec::with_capacity(MAX_SAMPLES);
    let start = now();
    let limit = warm.begin + rules.cell_seconds.unwrap_or(f64::INFINITY);
    let deadline = rules.deadline_seconds.unwrap_or(f64::INFINITY).min(limit);
    let mut next_look = rules.min_samples.max(1);
    while seconds.len() < MAX_SAMPLES {
        let one = timed(&mut evaluate, &now, warm.evaluations_per_sample)?;
        seconds.push(one);
        after_sample()?;
        if now() + one * warm.evaluations_per_sample as f64 > deadline {
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
    Ok(seconds)
}

/// One sample out of turn, the mean of `evaluations`, after untimed ones.
pub(crate) fn one<E>(mut evaluate: impl FnMut() -> Result<(), E>, evaluations: u64) -> Result<f64, E> {
    let start = Instant::now();
    let now = || start.elapsed().as_secs_f64();
    loop {
        evaluate()?;
        if now() >= REHEARSAL_SECONDS {
            return timed(&mut evaluate, now, evaluations.max(1));
        }
    }
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

    /// The warm-up and the samples of a simulated evaluation whose n-th run takes `duration(n)` seconds, from a moment
    /// of the process on.
    fn simulate_from(start: f64, duration: impl Fn(usize) -> f64, rules: &Rules) -> (Warm, Vec<f64>) {
        let (clock, runs) = (Cell::new(start), Cell::new(0));
        let evaluate = || -> Result<(), Infallible> {
            clock.set(clock.get() + duration(runs.get()));
            runs.set(runs.get() + 1);
            Ok(())
        };
        let Ok(warm) = warm_up(evaluate, || clock.get(), duration(0));
        let Ok(samples) = sample(evaluate, || clock.get(), &warm, rules, || Ok(()));
        (warm, samples)
    }

    fn simulate(duration: impl Fn(usize) -> f64, rules: &Rules) -> (Warm, Vec<f64>) {
        simulate_from(0.0, duration, rules)
    }

    #[test]
    fn a_steady_evaluation_settles_with_few_samples() {
        let (warm, samples) = simulate(|_| 0.02, &RULES);
        // Six samples are the fewest with a 95 % interval.
        assert_eq!((samples.len(), warm.evaluations_per_sample), (6, 1));
        assert!(warm.seconds.len() >= 5 && (warm.evaluation_seconds - 0.02).abs() < 1e-9);
    }

    #[test]
    fn a_noisy_evaluation_is_sampled_until_its_time_is_up() {
        // Alternating 10 and 30 ms: the median's interval never gets narrow.
        let (_, samples) = simulate(|run| if run % 2 == 0 { 0.01 } else { 0.03 }, &RULES);
        let total: f64 = samples.iter().sum();
        assert!((1.0..1.3).contains(&total), "{total}");
    }

    #[test]
    fn short_evaluations_are_batched_to_what_the_clock_resolves() {
        let (warm, samples) = simulate(|_| 1e-6, &RULES);
        assert_eq!((warm.evaluations_per_sample, samples.len()), (20, MAX_SAMPLES));
        assert!(samples.iter().all(|one| (one / 1e-6 - 1.0).abs() < 1e-6));
    }

    #[test]
    fn short_evaluations_warm_up_as_long_as_others() {
        // Until 70 ms have passed another thread of the process has no core of its own: seen at D = 10, where an
        // evaluation took 100 µs before it took 3.
        let (warm, samples) = simulate(|run| if run < 700 { 1e-4 } else { 4e-6 }, &RULES);
        assert_eq!((warm.seconds.len(), warm.evaluations_per_sample), (MAX_WARMUPS, 5));
        assert!(samples.iter().all(|one| (one / 4e-6 - 1.0).abs() < 1e-6));
    }

    #[test]
    fn limits_end_sampling_but_there_is_always_one_sample() {
        let until = |deadline| Rules { deadline_seconds: Some(deadline), ..RULES };
        let (warm, samples) = simulate(|_| 10.0, &until(25.0));
        assert_eq!((warm.seconds, samples), (vec![10.0], vec![10.0; 2]));
        assert_eq!(simulate(|_| 3.0, &until(0.0)).1, [3.0]);
        // The process is 100 s old when sampling begins, since building and checking the problem took that long: the
        // limit of a cell counts one warm-up and three samples, 40 s; a fourth would exceed 45 s.
        let rules = Rules { cell_seconds: Some(45.0), ..RULES };
        assert_eq!(simulate_from(100.0, |_| 10.0, &rules).1, [10.0; 3]);
    }

    #[test]
    fn an_error_ends_sampling() {
        let looks = Cell::new(0.0);
        // Ten milliseconds from look to look.
        let clock = || {
            looks.set(looks.get() + 0.01);
            looks.get()
        };
        assert_eq!(warm_up(|| Err("singular"), clock, 0.0), Err("singular"));
        let warm = warm_up(|| Ok::<(), &str>(()), clock, 0.0).unwrap();
        assert_eq!(sample(|| Err("singular"), clock, &warm, &RULES, || Ok(())), Err("singular"));
        assert_eq!(sample(|| Ok(()), clock, &warm, &RULES, || Err("no event")), Err("no event"));
        assert_eq!(one(|| Err("singular"), 1), Err("singular"));
    }
}
