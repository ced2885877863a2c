//! Do 95 % intervals cover what was planted? Over seeded synthetic studies with noise on both levels.
//!
//! With 200 studies the share that a true 95 % interval covers has a standard deviation of 1.5 %, so 90 to 99 % allows
//! three of them and a little conservatism. When the samples of a process vary more than processes do, resampling both
//! levels counts the samples' variance twice, and intervals may cover all.

use relgrad_reports::fixture::{PowerLaw, power_law};
use relgrad_reports::record::Record;
use relgrad_reports::stats::{Processes, median_estimate, ratio_estimate};
use relgrad_reports::summary::{Estimate, Summary};

const STUDIES: u64 = 200;
const EXPONENT: f64 = 2.5;
const SCALE: f64 = 1e-6;

fn plan(rounds: usize, between_processes: f64, within_process: f64, seed: u64) -> PowerLaw {
    PowerLaw {
        dims: vec![100, 200, 500, 1000, 2000],
        exponent: EXPONENT,
        scale: SCALE,
        rounds,
        samples: 9,
        between_processes,
        within_process,
        seed,
    }
}

fn covers(estimate: &Estimate, truth: f64) -> bool {
    estimate.low <= truth && truth <= estimate.high
}

/// Share of studies for which `test` holds.
fn share(test: impl Fn(u64) -> bool) -> f64 {
    (0..STUDIES).filter(|&seed| test(seed)).count() as f64 / STUDIES as f64
}

fn at(records: &[Record], dim: usize) -> Processes {
    let cell = records.iter().filter(|r| r.cell.dim == dim);
    Processes::new(cell.map(|r| (r.cell.round, r.seconds.as_slice())))
}

fn exponent_coverage(rounds: usize, between: f64, within: f64) -> f64 {
    share(|seed| {
        let study = power_law(&plan(rounds, between, within, seed));
        let fit = Summary::of(&study).series[0].fit.expect("five dimensions allow a fit");
        covers(&fit.exponent, EXPONENT)
    })
}

#[test]
fn exponents_with_noise_between_processes() {
    for rounds in [2, 3, 5] {
        let share = exponent_coverage(rounds, 0.03, 0.01);
        assert!((0.90..=0.99).contains(&share), "{rounds} rounds: {share}");
    }
}

#[test]
fn exponents_with_noise_within_processes() {
    for rounds in [1, 3] {
        let share = exponent_coverage(rounds, 0.0, 0.03);
        assert!((0.90..=1.0).contains(&share), "{rounds} rounds: {share}");
    }
}

#[test]
fn medians_and_ratios_with_noise_between_processes() {
    for rounds in [3, 5, 10] {
        let records = |seed| power_law(&plan(rounds, 0.03, 0.01, seed)).records;
        let medians = share(|seed| {
            covers(&median_estimate(&at(&records(seed), 1000)).unwrap(), SCALE * 1000_f64.powf(EXPONENT))
        });
        assert!((0.90..=0.99).contains(&medians), "medians of {rounds} rounds: {medians}");
        let ratios = share(|seed| {
            let records = records(seed);
            covers(&ratio_estimate(&at(&records, 2000), &at(&records, 1000)).unwrap(), 2_f64.powf(EXPONENT))
        });
        assert!((0.90..=0.99).contains(&ratios), "ratios of {rounds} rounds: {ratios}");
    }
}

/// Rounds pair: a machine that is slower in one round is slower for both methods, which the ratio must not see.
#[test]
fn a_ratio_is_free_of_what_its_round_shares() {
    let this: Vec<Vec<f64>> = (0..4).map(|round| vec![1.0 + f64::from(round); 5]).collect();
    let base: Vec<Vec<f64>> = this.iter().map(|s| s.iter().map(|x| 7.0 * x).collect()).collect();
    let processes = |rounds: &[Vec<f64>]| {
        Processes::new(rounds.iter().enumerate().map(|(round, samples)| (round, samples.as_slice())))
    };
    let ratio = ratio_estimate(&processes(&base), &processes(&this)).unwrap();
    // Exact up to the rounding of the logarithm and back.
    for end in [ratio.value, ratio.low, ratio.high] {
        assert!((end - 7.0).abs() < 1e-13, "{ratio:?}");
    }
    let unshared = Processes::new([(9, [1.0].as_slice())]);
    assert!(ratio_estimate(&unshared, &processes(&this)).is_none());
}
