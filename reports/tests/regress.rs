//! Comparisons of synthetic studies in which the answer is known.

use relgrad_reports::compare::{
    CellComparison, Comparison, Fault, Kind, Limits, Outcome, Rules, Shift, Sides, Verdict, judge, rounds_to_decide,
};
use relgrad_reports::fixture::{self, power_law};
use relgrad_reports::record::{Check, MemoryPoint, Outcome as Ended, Record, State};
use relgrad_reports::study::Study;
use relgrad_reports::summary::{Series, Summary};
use relgrad_vocabulary::{Kernel, Method};

const DIMS: [usize; 4] = [100, 200, 500, 1000];

/// `relative` with 10 ns·D² and an overhead of 20 µs, 1 % noise between and within processes.
fn base(seed: u64) -> Study {
    planted(seed, |_, t| t)
}

/// The same with other times.
fn planted(seed: u64, change: impl Fn(f64, f64) -> f64) -> Study {
    let mut study = power_law(&DIMS, (1e-8, 2.0), (8, 10), (0.01, 0.01), seed);
    for record in &mut study.records {
        let dim = record.cell.point.dim as f64;
        let noise = |t: &f64| t / (1e-8 * dim * dim);
        record.seconds = record.seconds.iter().map(|t| noise(t) * change(dim, 2e-5 + 1e-8 * dim * dim)).collect();
        record.peak_bytes = Some(10_000_000 + 16 * (record.cell.point.dim * record.cell.point.dim) as u64);
    }
    study
}

/// Compares separate runs. Where only `relative` was measured, `ordinary` joins it, which never changes: it says what
/// the hour did.
fn compare(base: &Study, new: &Study) -> Comparison {
    compare_alone(&with_ordinary(base, 71), &with_ordinary(new, 72))
}

fn compare_alone(base: &Study, new: &Study) -> Comparison {
    let sides = Sides { base, new, paired: false, absolute: false, first_round: 0 };
    Comparison::of(&sides, &Rules::default())
}

fn with_ordinary(study: &Study, seed: u64) -> Study {
    let mut both = study.clone();
    if study.records.iter().all(|r| r.cell.method == Method::Relative) {
        let mut ordinary = base(seed).records;
        ordinary.iter_mut().for_each(|r| r.cell.method = Method::Ordinary.into());
        both.records.extend(ordinary);
    }
    both
}

fn verdict(cell: &CellComparison) -> Verdict {
    cell.quantities.iter().find(|q| q.judged).expect("a judged time").verdict
}

fn shift_of(comparison: &Comparison) -> Option<Shift> {
    comparison.series[0].shift
}

/// Adds calibration kernels whose speed is `speed` times that of the reference machine.
fn calibrated(mut study: Study, speed: f64) -> Study {
    let mut kernels: Vec<Record> = Vec::new();
    for record in &study.records {
        for kernel in Kernel::ALL {
            let mut calibration = record.clone();
            calibration.cell.method = kernel.into();
            let seconds = 1e-9 * (record.cell.point.dim * record.cell.point.dim) as f64 / speed;
            calibration.seconds = vec![seconds; record.seconds.len()];
            kernels.push(calibration);
        }
    }
    for record in &mut study.records {
        record.seconds.iter_mut().for_each(|t| *t /= speed);
    }
    study.records.extend(kernels);
    study
}

/// What a comparison shows of a side is what a report of that side says.
#[test]
fn a_comparison_and_a_report_say_the_same() {
    let (base, mut new) = (fixture::study_with_batches(), fixture::study_with_batches());
    new.records.iter_mut().flat_map(|r| &mut r.seconds).for_each(|t| *t *= 1.01);
    // A process on a disturbed machine, which both leave out.
    let is_busy = |r: &Record| r.cell.round == 1 && r.cell.point.dim == 1000;
    for record in new.records.iter_mut().filter(|r| r.is_valid()) {
        let foreign_seconds = Some(if is_busy(record) { 0.5 } else { 0.0 });
        record.state = Some(State { foreign_seconds, ..fixture::state() });
        let factor = if is_busy(record) { 3.0 } else { 1.0 };
        record.seconds.iter_mut().for_each(|t| *t *= factor);
    }
    assert!(!new.left_out().is_empty());
    let summaries = [Summary::of(&base), Summary::of(&new)];
    let comparison = compare(&base, &new);
    let mut compared = 0;
    for cell in &comparison.cells {
        for quantity in &cell.quantities {
            let said = |summary: &Summary| {
                let of = |s: &&Series| s.method == cell.method && s.batch == cell.point.batch;
                let points = &summary.series.iter().find(of)?.points;
                let point = points.iter().find(|point| point.dim == cell.point.dim)?;
                match quantity.kind {
                    Kind::Time => Some(point.seconds.value),
                    Kind::SpeedupOverOrdinary => Some(point.speedup_over_ordinary?.value),
                    Kind::SpeedupOverAutodiff => Some(point.speedup_over_autodiff?.value),
                    _ => None,
                }
            };
            let [Some(before), Some(after)] = [said(&summaries[0]), said(&summaries[1])] else { continue };
            assert_eq!((quantity.base, quantity.new), (before, after), "{cell:?}");
            assert_eq!(quantity.change.value, after / before);
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared} numbers");
}

#[test]
fn equal_sides_are_held_whatever_the_seed() {
    for seed in 0..10 {
        let comparison = compare(&base(seed), &base(seed + 100));
        assert_eq!(comparison.outcome, Outcome::Held, "seed {seed}: {}", comparison.table());
        assert_eq!(shift_of(&comparison), None);
    }
}

/// A planted change is named with its size; the verdicts are those on D = 100, on D = 1,000 and on the exponent.
#[test]
fn what_moved_is_a_regression_and_named() {
    use Verdict::{Better, Same, Worse};
    type Times = fn(f64, f64) -> f64;
    let cases: [(&str, Times, f64, f64, [Verdict; 3]); 3] = [
        ("factor", |_, t| 1.2 * t, 1.2, 0.02, [Worse, Worse, Same]),
        ("offset", |_, t| t + 100e-6, 100e-6, 10e-6, [Worse, Same, Better]),
        ("exponent", |d, t| t * d.powf(0.2), 0.2, 0.03, [Worse, Worse, Worse]),
    ];
    for (kind, times, size, tolerance, verdicts) in cases {
        let comparison = compare(&base(1), &planted(2, times));
        assert_eq!(comparison.outcome, Outcome::Regression, "{kind}");
        let [first, .., last] = &comparison.cells[..DIMS.len()] else { panic!("four dimensions") };
        let exponent = comparison.series[0].exponent.expect("four dimensions").verdict;
        assert_eq!([verdict(first), verdict(last), exponent], verdicts, "{kind}");
        let (named, moved) = match shift_of(&comparison) {
            Some(Shift::Factor { ratio }) => ("factor", ratio),
            Some(Shift::Offset { seconds }) => ("offset", seconds),
            Some(Shift::Exponent { difference }) => ("exponent", difference),
            other => panic!("{kind}: {other:?}"),
        };
        assert!(named == kind && (moved.value - size).abs() < tolerance, "{kind}: {named} {moved:?}");
    }
}

#[test]
fn an_improvement_is_better_and_held() {
    let comparison = compare(&base(1), &planted(2, |_, t| 0.7 * t));
    assert_eq!(comparison.outcome, Outcome::Held);
    assert!(comparison.cells[..DIMS.len()].iter().all(|c| verdict(c) == Verdict::Better));
}

#[test]
fn one_round_or_much_noise_is_inconclusive() {
    let one = |seed| {
        let mut one = base(seed);
        one.records.retain(|r| r.cell.round == 0);
        one
    };
    assert_eq!(compare_alone(&one(1), &one(2)).outcome, Outcome::Inconclusive { more_rounds: None });
    // Several rounds of the other cells say how much a round scatters.
    assert_eq!(compare(&base(1), &one(2)).outcome, Outcome::Held);

    let mut loud = base(3);
    for record in &mut loud.records {
        let factor = 1.0 + 0.6 * (record.cell.round % 2) as f64;
        record.seconds.iter_mut().for_each(|t| *t *= factor);
    }
    let mut again = loud.clone();
    again.records.iter_mut().flat_map(|r| &mut r.seconds).for_each(|t| *t *= 1.001);
    match compare(&loud, &again).outcome {
        Outcome::Inconclusive { .. } => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_gradient_is_invalid_however_fast() {
    let mut new = planted(2, |_, t| 0.1 * t);
    for record in new.records.iter_mut().filter(|r| r.cell.point.dim == 500) {
        record.check = Some(Check { kind: "reference".into(), max_rel_err: 0.5, tolerance: 1e-3 });
    }
    let comparison = compare(&base(1), &new);
    assert_eq!(comparison.outcome, Outcome::Regression);
    assert!(matches!(comparison.cells[2].fault, Some(Fault::WrongGradient { .. })));
    assert!(comparison.cells[2].quantities.is_empty(), "a wrong gradient has no speed");
    assert!(comparison.sentence().contains("relative at D = 500: wrong gradient"), "{}", comparison.sentence());
}

#[test]
fn a_cell_that_fails_now_is_a_regression() {
    let mut new = base(2);
    for record in new.records.iter_mut().filter(|r| r.cell.point.dim == 100) {
        record.outcome = Ended::Failed;
        record.reason = Some("killed by SIGSEGV".into());
        record.seconds.clear();
    }
    let comparison = compare(&base(1), &new);
    assert_eq!(comparison.outcome, Outcome::Regression);
    assert!(comparison.sentence().contains("killed by SIGSEGV"));
}

#[test]
fn memory_that_grows_while_sampling_is_a_leak_and_a_larger_peak_is_not() {
    let trace =
        |bytes: f64| vec![MemoryPoint { seconds: 0.0, bytes: 5e7 }, MemoryPoint { seconds: 1.0, bytes: 5e7 + bytes }];
    let with_trace = |mut study: Study, bytes: f64| {
        study.records.iter_mut().for_each(|r| r.memory_trace = trace(bytes));
        calibrated(study, 1.0)
    };
    let comparison = compare(&with_trace(base(1), 1e4), &with_trace(base(2), 1e4));
    assert_eq!(comparison.outcome, Outcome::Held, "{}", comparison.table());
    let comparison = compare(&with_trace(base(1), 1e4), &with_trace(base(2), 4e6));
    assert_eq!(comparison.outcome, Outcome::Regression);
    match comparison.cells[0].fault {
        // Ten samples of one evaluation each.
        Some(Fault::Leak { bytes_per_evaluation }) => assert_eq!(bytes_per_evaluation, 4e5),
        ref other => panic!("{other:?}"),
    }
    let mut larger = base(2);
    larger.records.iter_mut().for_each(|r| r.peak_bytes = r.peak_bytes.map(|b| b * 3 / 2));
    let comparison = compare(&base(1), &larger);
    assert_eq!(comparison.outcome, Outcome::Regression);
    assert!(comparison.sentence().contains("peak memory"), "{}", comparison.sentence());
}

#[test]
fn another_machine_is_judged_by_ratios_alone() {
    let mut other = calibrated(base(2), 3.0);
    other.run.machine.cpu = "Another CPU".into();
    let comparison = compare(&calibrated(base(1), 1.0), &other);
    assert!(!comparison.same_machine);
    assert_eq!(comparison.outcome, Outcome::Held, "{}", comparison.table());
    let time = comparison.cells[0].quantities.iter().find(|q| q.kind == Kind::Time).expect("shown");
    assert!(!time.judged && time.verdict == Verdict::Better, "{time:?}");

    let mut slower = calibrated(planted(2, |_, t| 1.3 * t), 3.0);
    slower.run.machine.cpu = "Another CPU".into();
    let comparison = compare(&calibrated(base(1), 1.0), &slower);
    assert_eq!(comparison.outcome, Outcome::Regression);

    // Ratios of two machines differ for reasons of their own, so there is a tolerance of its own; exponents are not
    // judged.
    let rules = Rules { max_slowdown_elsewhere: 0.5, ..Rules::default() };
    let base_side = calibrated(base(1), 1.0);
    let sides = Sides { base: &base_side, new: &slower, paired: false, absolute: false, first_round: 0 };
    let tolerant = Comparison::of(&sides, &rules);
    assert_eq!(tolerant.outcome, Outcome::Held, "{}", tolerant.table());
    assert!(tolerant.series.iter().all(|s| s.exponent.is_some_and(|q| !q.judged)));

    // Without calibration kernels nothing but memory can be judged.
    let mut bare = planted(2, |_, t| 1.3 * t);
    bare.run.machine.cpu = "Another CPU".into();
    assert_eq!(compare_alone(&base(1), &bare).outcome, Outcome::Held);
}

#[test]
fn nothing_in_common_is_nothing_measured() {
    let mut other = base(1);
    other.records.iter_mut().for_each(|r| r.cell.point.dim += 1);
    assert_eq!(compare_alone(&base(1), &other).outcome, Outcome::Nothing);
}

/// Drift of the machine that both sides see cancels when they were measured in turn.
#[test]
fn paired_sides_cancel_a_drift_that_separate_ones_do_not() {
    let drifting = |study: &Study| {
        let mut study = study.clone();
        for record in &mut study.records {
            let factor = 1.0 + 0.4 * record.cell.round as f64;
            record.seconds.iter_mut().for_each(|t| *t *= factor);
        }
        study
    };
    let (base, new) = (drifting(&base(1)), drifting(&planted(2, |_, t| 1.2 * t)));
    let rules = Rules::default();
    let sides = Sides { base: &base, new: &new, paired: true, absolute: false, first_round: 0 };
    assert_eq!(Comparison::of(&sides, &rules).outcome, Outcome::Regression);
    let separate = Comparison::of(&Sides { paired: false, ..sides }, &rules);
    assert!(matches!(separate.outcome, Outcome::Inconclusive { .. }), "{}", separate.table());
}

/// Separate runs in which every method moved alike: the hour or the code, which only measuring in turn tells.
#[test]
fn what_moves_all_methods_alike_is_no_regression() {
    let slower = |study: &Study| {
        let mut slower = study.clone();
        slower.records.iter_mut().flat_map(|r| &mut r.seconds).for_each(|t| *t *= 1.4);
        slower
    };
    let (before, after) = (with_ordinary(&base(1), 3), with_ordinary(&base(2), 4));
    let comparison = compare(&before, &slower(&after));
    assert_eq!(comparison.outcome, Outcome::Inconclusive { more_rounds: None }, "{}", comparison.table());
    let shared = comparison.shared.expect("two sweeps");
    assert!((shared - 1.4).abs() < 0.02 && comparison.sentence().contains("together"), "{shared}");

    let mut one = after;
    one.records
        .iter_mut()
        .filter(|r| r.cell.method == Method::Relative)
        .flat_map(|r| &mut r.seconds)
        .for_each(|t| *t *= 1.4);
    let comparison = compare(&before, &slower(&one));
    assert_eq!(comparison.outcome, Outcome::Regression);
    assert!(comparison.cells.iter().all(|c| c.method == Method::Relative || verdict(c) == Verdict::Same));
}

#[test]
fn a_study_against_itself_is_held() {
    for study in [base(1), with_ordinary(&base(1), 2), calibrated(base(1), 1.0), fixture::study_with_batches()] {
        let comparison = compare(&study, &study);
        assert_eq!(comparison.outcome, Outcome::Held, "{}", comparison.table());
    }
}

#[test]
fn rounds_that_do_not_confirm_a_suspicion_leave_it_open() {
    // The first four rounds are slower by 30 %, those after them are not.
    let mut new = base(2);
    for record in new.records.iter_mut().filter(|r| r.cell.round < 4) {
        record.seconds.iter_mut().for_each(|t| *t *= 1.3);
    }
    let old = base(1);
    let sides = Sides { base: &old, new: &new, paired: true, absolute: false, first_round: 0 };
    let confirmed = Comparison::confirmed(&sides, &Rules::default(), 4);
    assert!(matches!(confirmed.outcome, Outcome::Inconclusive { .. }));

    let slower = planted(2, |_, t| 1.3 * t);
    let sides = Sides { new: &slower, ..sides };
    assert_eq!(Comparison::confirmed(&sides, &Rules::default(), 4).outcome, Outcome::Regression);
}

#[test]
fn tables_of_a_regression() {
    let base = calibrated(base(1), 1.0);
    let comparison = compare(&base, &calibrated(planted(2, |_, t| 1.2 * t), 1.0));
    insta::assert_snapshot!("table", comparison.table());
    insta::assert_snapshot!("markdown", comparison.markdown());
}

#[test]
fn json_reads_back() {
    let comparison = compare(&base(1), &planted(2, |_, t| 1.2 * t));
    let text = serde_json::to_string(&comparison).expect("serialises");
    assert_eq!(serde_json::from_str::<Comparison>(&text).expect("parses"), comparison);
}

#[test]
fn what_decides_is_public_and_consistent() {
    let change = relgrad_reports::compare::Change::paired(&[0.02, -0.05, 0.08]).expect("rounds");
    let limits = Limits::new(0.0953, 0.01, true);
    assert_eq!(judge(&change, &limits), Verdict::Inconclusive);
    assert!(rounds_to_decide(&change, &limits).is_some());
}

/// One thread against 32 is no regression of the code; neither are other activations.
#[test]
fn sides_of_other_settings_are_shown_and_not_judged() {
    let one = base(1);
    let mut many = planted(2, |_, t| 20.0 * t);
    many.run.settings.threads = 32;
    many.records.iter_mut().for_each(|r| r.cell.point.threads = 32);
    let comparison = compare_alone(&one, &many);
    assert_eq!(comparison.outcome, Outcome::Nothing);
    assert!(!comparison.cells.is_empty() && comparison.judged().next().is_none());
    let text = comparison.table();
    assert!(text.contains("(worse)") && text.contains("2 and 32 threads"), "{text}");

    // With several numbers of threads on a side, cells of as many are compared, and judged.
    let mut both = one.clone();
    both.run.settings.other_threads = vec![32];
    both.records.extend(many.records.clone());
    let comparison = compare_alone(&one, &both);
    assert!(comparison.judged().next().is_some() && comparison.cells.iter().all(|cell| cell.point.threads == 2));
    let text = compare_alone(&both, &both).table();
    assert!(text.contains(", 2 threads, f32)") && text.contains(", 32 threads, f32)"), "{text}");

    let mut other = base(3);
    other.run.settings.activation = "tanh:1:0.1".parse().unwrap();
    other.records.iter_mut().for_each(|r| r.cell.point.activation = "tanh:1:0.1".parse().unwrap());
    let comparison = compare_alone(&one, &other);
    assert!(comparison.cells.is_empty() && comparison.outcome == Outcome::Nothing);
    let told = "differ in activation (smooth:0.3; tanh:1:0.1)";
    assert!(comparison.notes.iter().any(|note| note.contains(told)), "{:?}", comparison.notes);
}
