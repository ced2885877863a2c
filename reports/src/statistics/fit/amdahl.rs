//! The share of a time that more threads do not shorten.

use super::Observation;
use super::law::ACCEPTED;
use super::line::Weighted;
use super::panel::Panel;
use super::terms::{Terms, point};
use crate::statistics::bootstrap::{SEARCHES, interval_of, stretch};
use crate::statistics::resample::Resampler;
use crate::statistics::student::Parts;
use crate::statistics::summary::Estimate;

/// Fewest numbers of threads: two parameters, and a place to contradict them.
const FEWEST_PLACES: usize = 3;
/// Powers of 1/p.
const POWERS: [usize; 2] = [0, 1];

/// Amdahl's law t(p) = t(1)·(s + (1 − s)/p): the serial share s of observations against the number p of threads, with
/// its 95 % interval.
///
/// The fit is that of [`two_term`](super::two_term) in 1/p: s is its constant over the time on one thread. `None` with
/// fewer than three places, with one process everywhere, and where the times contradict the law: its misfit, judged by
/// the scatter of the processes, has a probability below 5 %.
pub fn serial_share(observations: &[Observation<'_>]) -> Option<Estimate> {
    let panel = Panel::of(observations);
    if panel.places.len() < FEWEST_PLACES {
        return None;
    }
    let means: Vec<Weighted> = panel.places.iter().map(|(x, y, w)| ((-x).exp(), y.exp(), *w)).collect();
    let terms = Terms::fit(&means, &POWERS)?;
    let residual: f64 = means.iter().map(|(x, seconds, w)| w * (seconds / terms.at(*x)).ln().powi(2)).sum();
    panel.misfit(residual, (means.len() - POWERS.len()) as f64).filter(|chance| *chance > ACCEPTED)?;

    let inverse = |(p, seconds, weight): Weighted| (1.0 / p, seconds, weight);
    let places: Vec<(Weighted, Resampler<'_>)> =
        observations.iter().filter_map(|o| Some((inverse(point(o)?), o.processes.resampler()?))).collect();
    let value = share(&places.iter().map(|(point, _)| *point).collect::<Vec<_>>())?;
    let shares = places.iter().map(|(_, resampler)| (resampler.variance, resampler));
    let interval = interval_of(SEARCHES, value, stretch(shares, Parts::Independent), |random| {
        let drawn = places.iter().map(|((x, _, w), resampler)| (*x, resampler.draw(random).exp(), *w));
        share(&drawn.collect::<Vec<_>>()).unwrap_or(value)
    });
    Some(interval.map(|s| s.clamp(0.0, 1.0)))
}

/// The constant over the time at 1.
fn share(points: &[Weighted]) -> Option<f64> {
    let terms = Terms::fit(points, &POWERS)?;
    Some(terms.0[0] / terms.at(1.0)).filter(|share| share.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Processes;
    use crate::statistics::fit::observe;
    use crate::statistics::random::Random;

    /// Five processes at each number of threads, which scatter by 1 %.
    fn cells(counts: &[usize], law: impl Fn(f64) -> f64, seed: u64) -> Vec<(usize, Processes)> {
        let mut random = Random::new(seed);
        let mut process = |p: usize| vec![law(p as f64) * (0.01 * random.normal()).exp(); 5];
        counts.iter().map(|&p| (p, Processes::of_rounds(&[0; 5].map(|_| process(p))))).collect()
    }

    #[test]
    fn a_planted_share_is_in_its_interval() {
        let mut covered = 0;
        for seed in 0..40 {
            let planted = [0.0, 0.05, 0.3, 1.0][seed as usize % 4];
            let cells = cells(&[1, 2, 4, 8], |p| 2.0 * (planted + (1.0 - planted) / p), seed);
            let Some(found) = serial_share(&observe(&cells)) else { continue };
            assert!((found.value - planted).abs() < 0.03, "{found:?} for {planted}");
            covered += u32::from((found.low..=found.high).contains(&planted));
        }
        assert!(covered >= 33, "{covered} of 40");
    }

    #[test]
    fn a_share_is_not_told_of_two_places_of_one_process_or_of_another_law() {
        let amdahl = |p: f64| 0.1 + 0.9 / p;
        assert_eq!(serial_share(&observe(&cells(&[1, 2], amdahl, 1))), None);
        let single = [1, 2, 4].map(|p| (p, Processes::of_rounds(&[vec![amdahl(p as f64); 5]])));
        assert_eq!(serial_share(&observe(&single)), None);
        // Memory is the limit from two threads on.
        assert_eq!(serial_share(&observe(&cells(&[1, 2, 4, 8], |p| (1.0 / p).max(0.5), 1))), None);
    }
}
