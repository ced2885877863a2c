//! Fits recover what was planted.

use relgrad_reports::fit::{
    Bound, Crossover, Law, Unmeasured, bounded_exponent, breakpoint, choose_law, crossover, exponent, local_exponents,
    observe, predict, residuals, step, two_term,
};
use relgrad_reports::fixture::power_law;
use relgrad_reports::statistics::Processes;

const XS: [usize; 7] = [20, 50, 100, 200, 500, 1000, 2000];

/// Exact times `f(x)` in three rounds of five samples.
fn exact(f: impl Fn(f64) -> f64) -> Vec<(usize, Processes)> {
    XS.iter().map(|&x| (x, Processes::of_rounds(&vec![vec![f(x as f64); 5]; 3]))).collect()
}

/// Times ∝ xᵖ with 3 % noise between processes.
fn noisy(exponent: f64, scale: f64, seed: u64) -> Vec<(usize, Processes)> {
    let study = power_law(&XS, (scale, exponent), (5, 9), (0.03, 0.01), seed);
    let at = |dim| study.records.iter().filter(move |r| r.cell.point.dim == dim);
    XS.iter().map(|&x| (x, Processes::new(at(x).map(|r| (r.cell.round, r.seconds.as_slice()))))).collect()
}

#[test]
fn local_exponents_of_a_power_law_are_its_exponent() {
    let cells = exact(|x| 1e-9 * x.powf(2.5));
    let local = local_exponents(&observe(&cells));
    assert_eq!(local.len(), XS.len() - 1);
    for (exponent, pair) in local.iter().zip(XS.windows(2)) {
        assert_eq!((exponent.from, exponent.to), (pair[0], pair[1]));
        assert!((exponent.exponent.value - 2.5).abs() < 1e-12, "{exponent:?}");
    }
    // A break from slope 1 to slope 3 at x = 200 shows between the neighbours on either side.
    let cells = exact(|x| if x <= 200.0 { x / 200.0 } else { (x / 200.0).powi(3) });
    let local: Vec<f64> = local_exponents(&observe(&cells)).iter().map(|l| l.exponent.value.round()).collect();
    assert_eq!(local, [1.0, 1.0, 1.0, 3.0, 3.0, 3.0]);
}

#[test]
fn two_terms_are_recovered_and_none_is_negative() {
    let cells = exact(|x| 3e-6 + 4e-9 * x.powi(2) + 8e-12 * x.powi(3));
    let fit = two_term(&observe(&cells), 3).unwrap();
    for (found, planted) in [(fit.constant, 3e-6), (fit.quadratic, 4e-9), (fit.cubic, 8e-12)] {
        assert!((found / planted - 1.0).abs() < 1e-8, "{fit:?}");
    }
    let place = fit.crossover.unwrap();
    for end in [place.value, place.low, place.high] {
        assert!((end - 500.0).abs() < 1e-5, "{place:?}");
    }
    assert!(fit.relative_residual < 1e-10);

    // Free least squares would give these times a negative constant.
    let cells = exact(|x| 1e-9 * x.powi(2) * (1.0 - 10.0 / x));
    let fit = two_term(&observe(&cells), 3).unwrap();
    assert!(fit.constant >= 0.0 && fit.quadratic > 0.0 && fit.cubic >= 0.0, "{fit:?}");
    assert!(two_term(&observe(&cells)[..3], 3).is_none(), "three places cannot judge three terms");
}

#[test]
fn a_break_between_two_power_laws_is_found_and_one_law_has_none() {
    let cells = exact(|x| if x <= 200.0 { x / 200.0 } else { (x / 200.0).powi(3) });
    let bend = breakpoint(&observe(&cells), 3).expect("the break is plain");
    assert!((bend.at.value - 200.0).abs() < 0.5, "{bend:?}");
    assert!((bend.below - 1.0).abs() < 0.01 && (bend.above - 3.0).abs() < 0.01, "{bend:?}");
    assert_eq!(breakpoint(&observe(&noisy(2.5, 1e-9, 4)), 3), None);
    assert_eq!(breakpoint(&observe(&cells)[..4], 3), None, "four places cannot show a break");
}

#[test]
fn a_cell_out_of_time_lifts_a_fit_below_it_and_leaves_one_above_alone() {
    let cells = exact(|x| 1e-9 * x.powi(2));
    let (observations, range) = (observe(&cells), 200..=2000);
    let fitted = |seconds: f64| {
        let bound = Bound { x: 5000, at_least_seconds: seconds };
        bounded_exponent(&observations, &[bound], range.clone()).unwrap().exponent
    };
    let free = exponent(&observations, range.clone()).unwrap().exponent;
    let on_the_line = 1e-9 * 5000_f64.powi(2);
    assert_eq!(fitted(0.9 * on_the_line), free);
    let lifted = fitted(3.0 * on_the_line);
    assert!(lifted.value > 2.0 && lifted.low <= lifted.value && lifted.value <= lifted.high, "{lifted:?}");
}

#[test]
fn a_prediction_continues_the_law_and_grows_less_certain() {
    let at = |x| Unmeasured { x, highest: 2, least_seconds: 0.0 };
    let cells = exact(|x| 1e-9 * x.powi(2) + 1e-6);
    let certain = predict(&observe(&cells), &[], &at(10_000)).unwrap();
    for end in [certain.value, certain.low, certain.high] {
        assert!((end / 0.100_001 - 1.0).abs() < 1e-6, "{certain:?}");
    }
    let noisy = noisy(2.0, 1e-9, 1);
    let predicted = |wanted: Unmeasured| predict(&observe(&noisy), &[], &wanted).unwrap();
    let width = |x| (predicted(at(x)).high / predicted(at(x)).low).ln();
    assert!(width(3000) < width(10_000) && width(10_000) < width(100_000));
    assert_eq!(predict(&observe(&noisy)[..2], &[], &at(1000)), None);
    // The ceilings of the machine bound it from below, and a cell out of time pulls it up.
    let least_seconds = 2.0 * predicted(at(10_000)).value;
    let bounded = predicted(Unmeasured { least_seconds, ..at(10_000) });
    assert!(bounded.value == least_seconds && bounded.low == least_seconds && bounded.high >= least_seconds);
    let bound = Bound { x: 5000, at_least_seconds: 5.0 * predicted(at(5000)).value };
    assert!(predict(&observe(&noisy), &[bound], &at(10_000)).unwrap().value > 1.2 * predicted(at(10_000)).value);
}

#[test]
fn a_step_is_a_step_and_not_a_bend() {
    let stepped = exact(|x| 1e-9 * x.powi(2) * if x < 150.0 { 1.0 } else { 1.5 });
    let found = step(&observe(&stepped), 3).expect("the step is plain");
    assert_eq!((found.from, found.to), (100, 200));
    assert!((found.factor.value - 1.5).abs() < 1e-9 && (found.exponent - 2.0).abs() < 1e-9, "{found:?}");
    assert_eq!(breakpoint(&observe(&stepped), 3), None);
    let summed = exact(|x| 3e-6 + 4e-9 * x.powi(2) + 8e-12 * x.powi(3));
    assert_eq!((step(&observe(&summed), 3), breakpoint(&observe(&summed), 3)), (None, None));
}

#[test]
fn residuals_are_zero_on_the_law_and_tell_what_is_off_it() {
    let cells = exact(|x| 1e-9 * x.powi(2) + 1e-6);
    let residuals = residuals(&observe(&cells), &[], 200..=2000).unwrap();
    assert_eq!(residuals.len(), XS.len());
    assert!(residuals[0].1 > 1.0, "a constant rules at the small end: {residuals:?}");
    assert!(residuals[4..].iter().all(|(_, log)| log.abs() < 0.02), "{residuals:?}");
}

#[test]
fn the_law_is_chosen_or_left_undecided() {
    let chosen = |f: fn(f64) -> f64| choose_law(&observe(&exact(f))).expect("seven places are enough");
    assert_eq!(chosen(|x| 1e-9 * x).law, Some(Law::Linear));
    assert_eq!(chosen(|x| 1e-9 * x * x).law, Some(Law::Quadratic));
    assert_eq!(chosen(|x| 1e-9 * x * x * x.ln()).law, Some(Law::QuadraticLog));
    assert_eq!(chosen(|x| 1e-9 * x.powi(3)).law, Some(Law::Cubic));
    // On the logarithmic scale x²·√(log x) is exactly as far from x² as from x² log x.
    let between = chosen(|x| 1e-9 * x * x * x.ln().sqrt());
    assert_eq!(between.law, None);
    assert!(between.margin < 1e-6 && between.none_of_these, "{between:?}");
    assert!(chosen(|x| 1e-9 * x.powf(2.1)).none_of_these && !chosen(|x| 1e-9 * x * x).none_of_these);
    assert_eq!(choose_law(&observe(&exact(|x| x)[..3])), None, "three places are too few");
}

#[test]
fn a_crossover_is_where_the_curves_meet() {
    let this = exact(|x| 1e-7 * x.powi(2));
    let base = exact(|x| 1e-7 / 300.0 * x.powi(3));
    let Some(Crossover::At(place)) = crossover(&observe(&base), &observe(&this)) else {
        panic!("the curves cross at 300, inside the range");
    };
    for end in [place.value, place.low, place.high] {
        assert!((end - 300.0).abs() < 1e-9, "{place:?}");
    }
    assert_eq!(crossover(&observe(&this[..4]), &observe(&base[..4])), Some(Crossover::BelowRange));
    assert_eq!(crossover(&observe(&base[..4]), &observe(&this[..4])), Some(Crossover::AboveRange));
    assert_eq!(crossover(&observe(&base[..1]), &observe(&this)), None);
}

/// 100 seeded pairs whose curves cross at x = 300; a true 95 % interval misses 5 ± 2.2 of them.
#[test]
fn crossovers_are_covered() {
    let covered = (0..100)
        .filter(|&seed| {
            let this = noisy(2.0, 1e-7, 2 * seed);
            let base = noisy(3.0, 1e-7 / 300.0, 2 * seed + 1);
            match crossover(&observe(&base), &observe(&this)) {
                Some(Crossover::At(place)) => {
                    assert!(place.high < 1.3 * place.low, "an interval this wide covers by saying nothing: {place:?}");
                    place.low <= 300.0 && 300.0 <= place.high
                }
                _ => false,
            }
        })
        .count();
    assert!(covered >= 88, "{covered} of 100");
}
