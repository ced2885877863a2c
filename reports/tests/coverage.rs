//! Do 95 % intervals cover what was planted? A short form of what `relgrad selftest` tries with 1,000 studies.

mod common;

use common::{files, root};
use relgrad_reports::selftest::{Backtest, DESIGNS, LAWS, TRIED, Told, accepted, backtest, covered, told};
use relgrad_reports::statistics::{Processes, ratio_estimate};
use relgrad_reports::study::Study;

const STUDIES: u64 = 60;

/// Every interval of the design's studies. See [`accepted`] for the range.
fn shares_are_accepted(design: usize) {
    let mut counts = [0_u64; 5];
    for seed in 0..STUDIES {
        let held = covered(&DESIGNS[design], 1_000_000 + seed);
        counts.iter_mut().zip(held).for_each(|(count, held)| *count += u64::from(held));
    }
    let accepted = accepted(&DESIGNS[design], STUDIES as usize);
    for ((name, count), (low, high)) in TRIED.iter().zip(counts).zip(accepted) {
        let share = count as f64 / STUDIES as f64;
        assert!((low..=high).contains(&share), "{}, {name}: {share}", DESIGNS[design].name);
    }
}

#[test]
fn three_processes_and_two() {
    [0, 2].into_iter().for_each(shares_are_accepted);
}

#[test]
fn three_processes_whose_samples_alone_vary() {
    shares_are_accepted(1);
}

#[test]
fn troubled_machines() {
    (6..DESIGNS.len()).for_each(shares_are_accepted);
}

#[test]
fn laws_are_told_and_none_that_is_not_true() {
    for law in LAWS {
        let wrong = (0..STUDIES).filter(|seed| told(&law, 1_000_000 + seed) == Told::Wrong).count() as u64;
        let most = if law.law.is_some() { STUDIES / 10 } else { STUDIES / 4 };
        assert!(wrong <= most, "{}: {wrong} of {STUDIES} wrong", law.name);
    }
}

/// The sweeps of the archive, with their largest dimensions hidden.
#[test]
fn the_archive_is_predicted_from_its_smaller_dimensions() {
    let folders = files(&root().join("reports/archive"), "records.jsonl.gz");
    let studies = folders.iter().map(|path| Study::read(path.parent().unwrap()).unwrap());
    let all = Backtest(studies.flat_map(|study| backtest(&study).0).collect());
    let error = all.median_error().unwrap();
    assert!(all.0.len() > 80 && all.covered() >= 0.85 && error <= 0.15, "{} held, {error} off", all.covered());
}

/// Rounds pair: a machine that is slower in one round is slower for both methods, which the ratio must not see.
#[test]
fn a_ratio_is_free_of_what_its_round_shares() {
    let this: Vec<Vec<f64>> = (0..4).map(|round| vec![1.0 + f64::from(round); 5]).collect();
    let base: Vec<Vec<f64>> = this.iter().map(|s| s.iter().map(|x| 7.0 * x).collect()).collect();
    let [base, this] = [&base, &this].map(|rounds| Processes::of_rounds(rounds));
    let ratio = ratio_estimate(&base, &this).unwrap();
    // Exact up to the rounding of the logarithm and back.
    for end in [ratio.value, ratio.low, ratio.high] {
        assert!((end - 7.0).abs() < 1e-13, "{ratio:?}");
    }
    let unshared = Processes::new([(9, [1.0].as_slice())]);
    assert!(ratio_estimate(&unshared, &this).is_none());
}
