//! Timing one operation: warm up, then a fixed number of samples, each long enough for the clock.

use std::time::Instant;

use relgrad_reports::statistics::median;

/// How many samples to take, and how long they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Effort {
    samples: usize,
    /// Samples taken even if the limit has passed.
    least_samples: usize,
    /// Shortest sample, made of as many evaluations as that takes.
    sample_seconds: f64,
    /// Warm-up, one evaluation at least.
    warmup_seconds: f64,
    /// No further sample begins after this long.
    limit_seconds: f64,
}

impl Effort {
    /// For a table of its own.
    pub(super) const FULL: Self =
        Self { samples: 11, least_samples: 3, sample_seconds: 0.02, warmup_seconds: 0.05, limit_seconds: 1.0 };
    /// For a sweep, which has better things to do.
    pub(super) const QUICK: Self =
        Self { samples: 7, least_samples: 3, sample_seconds: 0.01, warmup_seconds: 0.02, limit_seconds: 0.3 };
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Timing {
    pub(super) seconds: Vec<f64>,
    pub(super) evaluations_per_sample: u64,
}

impl Timing {
    /// Median of the samples, of which there is one at least.
    pub(super) fn median_seconds(&self) -> f64 {
        median(&self.seconds).unwrap_or(f64::NAN)
    }
}

pub(super) fn time<E>(effort: &Effort, mut evaluate: impl FnMut() -> Result<(), E>) -> Result<Timing, E> {
    let mut timed = |evaluations: u64| {
        let start = Instant::now();
        (0..evaluations).try_for_each(|_| evaluate())?;
        Ok(start.elapsed().as_secs_f64() / evaluations as f64)
    };
    let start = Instant::now();
    let mut evaluations_per_sample = 1;
    loop {
        let one: f64 = timed(evaluations_per_sample)?;
        evaluations_per_sample = (effort.sample_seconds / one.max(1e-9)).ceil().max(1.0) as u64;
        if start.elapsed().as_secs_f64() >= effort.warmup_seconds {
            break;
        }
    }
    let start = Instant::now();
    let mut seconds = Vec::with_capacity(effort.samples);
    while seconds.len() < effort.samples {
        if seconds.len() >= effort.least_samples && start.elapsed().as_secs_f64() > effort.limit_seconds {
            break;
        }
        seconds.push(timed(evaluations_per_sample)?);
    }
    Ok(Timing { seconds, evaluations_per_sample })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_short_operation_is_averaged_and_a_long_one_is_cut_short() {
        let mut count: u64 = 0;
        let Ok(short) = time(&Effort::QUICK, || -> Result<(), Infallible> {
            count += 1;
            Ok(())
        });
        assert!(short.seconds.len() >= 3 && short.evaluations_per_sample > 100, "{short:?}");
        assert!(count > short.seconds.len() as u64 * short.evaluations_per_sample);
        let Ok(long) = time(&Effort::QUICK, || -> Result<(), Infallible> {
            std::thread::sleep(Duration::from_millis(160));
            Ok(())
        });
        assert_eq!((long.seconds.len(), long.evaluations_per_sample), (3, 1));
        assert!(long.median_seconds() >= 0.16);
    }

    #[test]
    fn an_error_ends_the_timing() {
        assert_eq!(time(&Effort::QUICK, || Err("singular")), Err("singular"));
    }
}
