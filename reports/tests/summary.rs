//! What a summary says of a study.

use relgrad_reports::fit::{Crossover, asymptotic_range};
use relgrad_reports::fixture::{self, power_law};
use relgrad_reports::record::{Outcome, Record, State};
use relgrad_reports::study::Study;
use relgrad_reports::summary::{Axis, Overtaking, Series, Summary};
use relgrad_vocabulary::DeviceKind::{self, Cpu};
use relgrad_vocabulary::Method::{self, Autodiff, Ordinary, Relative};

fn series(summary: &Summary, method: Method, device: DeviceKind) -> &Series {
    summary.series.iter().find(|s| s.method == method && s.device == device).expect("the fixture has this series")
}

/// Changes every record that `which` selects.
fn edit(study: &mut Study, which: impl Fn(&Record) -> bool, change: impl Fn(&mut Record)) {
    let mut found = 0;
    for record in study.records.iter_mut().filter(|r| which(r)) {
        change(record);
        found += 1;
    }
    assert!(found > 0, "nothing to change");
}

fn warning<'a>(summary: &'a Summary, what: &str) -> &'a str {
    let found = summary.warnings.iter().find(|w| w.contains(what));
    found.unwrap_or_else(|| panic!("no warning says {what:?}: {:?}", summary.warnings))
}

#[test]
fn series_follow_the_settings_whatever_the_order_of_records() {
    let mut study = fixture::study_with_gpu();
    let summary = Summary::of(&study);
    let names: Vec<_> = summary.series.iter().map(|s| (s.device.name(), s.method.name())).collect();
    let expected = [
        ("cpu", "relative"),
        ("cpu", "ordinary"),
        ("cpu", "autodiff"),
        ("cuda", "relative"),
        ("cuda", "ordinary"),
        ("cuda", "autodiff"),
    ];
    assert_eq!(names, expected);
    study.records.reverse();
    assert_eq!(Summary::of(&study), summary);
}

#[test]
fn every_dimension_is_a_point_or_a_stop() {
    let study = fixture::study();
    let summary = Summary::of(&study);
    for series in &summary.series {
        let mut dims: Vec<_> = series.points.iter().map(|p| p.dim).collect();
        dims.extend(series.stops.iter().map(|s| s.dim));
        assert_eq!(dims, study.run.settings.dims, "{}", series.method);
    }
    let autodiff = series(&summary, Autodiff, Cpu);
    let stop = &autodiff.stops[0];
    assert_eq!((stop.dim, stop.outcome, stop.reason.as_str()), (1000, Outcome::Failed, "killed: out of memory"));
    assert!(stop.predicted_seconds.is_some() && stop.predicted_bytes.is_some());
    assert!(summary.warnings.is_empty(), "{:?}", summary.warnings);
}

#[test]
fn a_point_counts_what_is_behind_it() {
    let study = fixture::study();
    let summary = Summary::of(&study);
    let point = series(&summary, Relative, Cpu).points.iter().find(|p| p.dim == 1000).unwrap();
    let cell = |r: &&Record| r.cell.method == Relative && r.cell.point.dim == 1000;
    assert_eq!(point.rounds, 3);
    assert_eq!(point.samples, study.records.iter().filter(cell).map(|r| r.seconds.len()).sum::<usize>());
    assert_eq!(point.peak_bytes, study.records.iter().filter(cell).filter_map(|r| r.peak_bytes).max());
    assert!((point.gflops * 1e9 * point.seconds.value - point.model.flops).abs() < 1e-6 * point.model.flops);
    assert!(point.seconds.low <= point.seconds.value && point.seconds.value <= point.seconds.high);
    assert!(point.speedup_over_ordinary.unwrap().value > 1.0);
    assert!(point.speedup_over_autodiff.is_none(), "autodiff failed at 1,000");
}

#[test]
fn a_baseline_has_no_speed_up_over_itself() {
    let summary = Summary::of(&fixture::study());
    assert!(series(&summary, Ordinary, Cpu).points.iter().all(|p| p.speedup_over_ordinary.is_none()));
}

#[test]
fn a_wrong_gradient_makes_a_cell_invalid() {
    for error in [1.0, f64::NAN] {
        let mut study = fixture::study();
        let which = |r: &Record| r.cell.method == Relative && r.cell.point.dim == 320;
        edit(&mut study, which, |r| r.check.as_mut().unwrap().max_rel_err = error);
        let summary = Summary::of(&study);
        let relative = series(&summary, Relative, Cpu);
        assert!(relative.points.iter().all(|p| p.dim != 320));
        assert_eq!(relative.stops[0].outcome, Outcome::Failed);
        assert_eq!(relative.stops[0].reason, "the gradient failed its check");
        assert!(warning(&summary, "failed its check").starts_with("relative on cpu, D = 320:"));
    }
}

#[test]
fn a_cell_measured_in_some_rounds_is_a_point_with_a_warning() {
    let mut study = fixture::study();
    let which = |r: &Record| r.cell.method == Ordinary && r.cell.point.dim == 1000 && r.cell.round == 1;
    edit(&mut study, which, |r| {
        r.outcome = Outcome::Failed;
        r.seconds.clear();
    });
    let summary = Summary::of(&study);
    let ordinary = series(&summary, Ordinary, Cpu);
    assert_eq!(ordinary.points.iter().find(|p| p.dim == 1000).unwrap().rounds, 2);
    assert!(warning(&summary, "a process failed").starts_with("ordinary on cpu, D = 1,000:"));
    assert!(warning(&summary, "one or two processes, so").starts_with("ordinary on cpu, D = 1,000:"));
}

/// A process that other programs slowed down is left out while two of its cell were quiet, however long it took, and
/// the interval of the two has the scatter of other dimensions; with one quiet process all three count.
#[test]
fn a_disturbed_process_counts_only_where_fewer_than_two_were_quiet() {
    let mut study = fixture::study();
    let quiet = Summary::of(&study);
    let busy = State { foreign_seconds: Some(0.5), ..fixture::state() };
    let of_cell = |r: &Record| r.cell.method == Relative && r.cell.point.dim == 1000;
    edit(&mut study, |r| r.is_valid(), |r| r.state = Some(fixture::state()));
    let disturb = |study: &mut Study, round: usize| {
        edit(
            study,
            |r| of_cell(r) && r.cell.round == round,
            |r| {
                r.state = Some(busy);
                r.seconds.iter_mut().for_each(|seconds| *seconds *= 3.0);
            },
        );
    };
    let point = |summary: &Summary| {
        series(summary, Relative, Cpu).points.iter().find(|p| p.dim == 1000).expect("it was measured").clone()
    };
    disturb(&mut study, 2);
    let summary = Summary::of(&study);
    let (found, before) = (point(&summary), point(&quiet));
    assert!(
        found.rounds == 2
            && found.scatter_from.is_some()
            && (found.seconds.value / before.seconds.value - 1.0).abs() < 0.1
    );
    assert!(found.seconds.high < 1.5 * found.seconds.low, "{:?}", found.seconds);
    warning(&summary, "no quiet machine and is left out");

    disturb(&mut study, 1);
    let summary = Summary::of(&study);
    assert!(point(&summary).rounds == 3 && point(&summary).seconds.value > 2.0 * before.seconds.value);
    warning(&summary, "no quiet machine and counts");
}

/// The load average contains what relgrad itself did before; the state of a record does not.
#[test]
fn a_cell_above_its_ceiling_is_told_and_a_load_average_only_where_nothing_better_is_known() {
    let mut study = fixture::study();
    study.run.machine.load_average = Some(1.5);
    assert!(Summary::of(&study).warnings.iter().any(|told| told.contains("load average")));
    study.records[0].state = Some(fixture::state());
    assert_eq!(Summary::of(&study).warnings, Vec::<String>::new());
    edit(
        &mut study,
        |r| r.cell.method == Relative && r.cell.point.dim == 1000,
        |r| {
            r.seconds.iter_mut().for_each(|seconds| *seconds /= 1.5);
        },
    );
    warning(&Summary::of(&study), "relative on cpu, D = 1,000: faster than the measured ceiling");
}

#[test]
fn trouble_is_told() {
    let mut study = fixture::study();
    study.run.machine.load_average = Some(1.5);
    study.run.git_revision = Some("abc-dirty".into());
    study.warnings.push("The last line was cut off.".into());
    edit(&mut study, |r| r.cell.method == Autodiff && r.cell.point.dim == 320, |r| r.seconds.truncate(1));
    edit(
        &mut study,
        |r| r.cell.method == Relative && r.cell.point.dim == 10,
        |r| {
            for (i, seconds) in r.seconds.iter_mut().enumerate() {
                *seconds *= 1.0 + 0.02 * i as f64;
            }
        },
    );
    edit(
        &mut study,
        |r| r.cell.method == Ordinary && r.cell.point.dim == 100,
        |r| {
            for seconds in r.seconds.iter_mut().step_by(5) {
                *seconds *= 2.0;
            }
        },
    );
    study.records.pop();
    insta::assert_snapshot!(Summary::of(&study).warnings.join("\n"));
}

#[test]
fn one_process_has_no_interval_of_its_own() {
    let mut study = fixture::study();
    study.records.retain(|r| r.cell.round == 0 || r.cell.point.dim < 1000);
    let summary = Summary::of(&study);
    let point = series(&summary, Relative, Cpu).points.iter().find(|p| p.dim == 3200).unwrap();
    assert_eq!((point.rounds, point.scatter_from), (1, Some((32, 320))));
    for borrowed in [point.seconds, point.speedup_over_ordinary.unwrap()] {
        assert!(borrowed.low < borrowed.value && borrowed.value < borrowed.high);
    }
    warning(&summary, "the scatter between processes of the nearest dimensions");

    study.run.settings.rounds = 1;
    study.records.retain(|r| r.cell.round == 0);
    let summary = Summary::of(&study);
    warning(&summary, "in one process only");
    let relative = series(&summary, Relative, Cpu);
    let point = &relative.points[0];
    assert!(point.rounds == 1 && point.seconds.high == point.seconds.low && point.scatter_from.is_none());
    let exponent = relative.fit.unwrap().exponent;
    assert!(exponent.low < exponent.high, "the residuals tell: {exponent:?}");
}

#[test]
fn two_speeds_of_the_machine_are_named_and_spanned() {
    let mut study = fixture::study();
    // The clock changes in the middle of round 1.
    let slow = |r: &Record| r.cell.round == 2 || (r.cell.round == 1 && r.cell.point.dim > 320);
    edit(&mut study, slow, |r| r.seconds.iter_mut().for_each(|s| *s *= 1.3));
    let summary = Summary::of(&study);
    let [states] = summary.states.as_slice() else { panic!("{:?}", summary.states) };
    assert!(states.factor.low < 1.3 && states.factor.high > 1.3 && states.slow < states.processes, "{states:?}");
    warning(&summary, "two states that lasted for a while (cpu)");
    for point in &series(&summary, Relative, Cpu).points {
        let [fast, slow] = point.states.as_slice() else { panic!("{:?}", point.states) };
        assert_eq!(fast.processes + slow.processes, point.rounds);
        assert!(point.seconds.low <= fast.seconds.low && point.seconds.high >= slow.seconds.high, "{point:?}");
    }
    assert!(Summary::of(&fixture::study()).states.is_empty());
}

#[test]
fn batch_sizes_are_series_of_their_own_with_exponents_and_crossovers_along_n() {
    let study = fixture::study_with_batches();
    let summary = Summary::of(&study);
    let batches: Vec<_> = summary.series.iter().filter(|s| s.method == Relative).map(|s| (s.batch, s.layers)).collect();
    assert_eq!(batches, [(100, 2), (10, 2), (1000, 2)], "that of the figures first");
    // What one batch size says is not changed by the others.
    let alone = Summary::of(&fixture::study());
    assert_eq!(series(&summary, Relative, Cpu), series(&alone, Relative, Cpu));

    let relative = summary.scaling.iter().find(|s| s.method == Relative).expect("three batch sizes");
    // Beyond D = 3,200 the fixture skips N = 1,000 for its time.
    assert_eq!((relative.axis, relative.dim, relative.fit.points), (Axis::Batch, 3200, 3));
    assert!((relative.fit.exponent.value - 1.0).abs() < 0.02, "{relative:?}");
    let pair = |o: &&Overtaking| [o.method, o.over].iter().all(|m| [Relative, Ordinary].contains(m));
    let along_n: Vec<_> = summary.overtakings.iter().filter(|o| o.axis == Axis::Batch).filter(pair).collect();
    let (largest, others) = along_n.split_last().expect("both methods have all batch sizes");
    assert_eq!((largest.dim, largest.range), (Some(3200), (10, 1000)));
    assert_eq!((largest.over, &largest.crossover), (Ordinary, &Crossover::BelowRange));
    // Where `ordinary` is the slower one of small batches and the faster one of large ones, N* lies between the batch
    // sizes whose speed-ups say so.
    let speedup = |batch: usize, dim: usize| {
        let at_batch = summary.series.iter().find(|s| s.method == Relative && s.batch == batch)?;
        let point = at_batch.points.iter().find(|p| p.dim == dim)?;
        Some(point.speedup_over_ordinary.as_ref()?.value)
    };
    let dims = series(&summary, Relative, Cpu).points.iter().map(|p| p.dim);
    let slower_then_faster = |&dim: &usize| {
        speedup(10, dim).is_some_and(|ratio| ratio > 1.0) && speedup(1000, dim).is_some_and(|ratio| ratio < 1.0)
    };
    let expected: Vec<usize> = dims.filter(slower_then_faster).collect();
    assert!(expected.len() > 1, "the fixture has such dimensions: {expected:?}");
    for other in others.iter().filter_map(|o| o.dim).filter(|dim| !expected.contains(dim)) {
        // A pair's medians and its paired speed-up may disagree where both are about the same.
        assert!((speedup(10, other).unwrap() - 1.0).abs() < 0.05, "N* at D = {other}");
    }
    for dim in expected {
        let found = others.iter().find(|o| o.dim == Some(dim)).expect("N* is told");
        let Crossover::At(place) = &found.crossover else { panic!("{found:?}") };
        assert_eq!((found.method, found.over), (Ordinary, Relative), "{found:?}");
        let (below, above) = if place.value < 100.0 { (10, 100) } else { (100, 1000) };
        let ratio = |batch| speedup(batch, dim).unwrap();
        assert!(ratio(below) > 1.0 && ratio(above) < 1.0, "{found:?}");
    }
}

#[test]
fn threads_are_series_of_their_own_with_speedups_and_the_planted_share() {
    let study = fixture::study_with_threads();
    let summary = Summary::of(&study);
    let threads: Vec<_> = summary.series.iter().filter(|s| s.method == Relative).map(|s| s.threads).collect();
    assert_eq!(threads, [1, 2, 4], "that of the figures first");
    let ordinary = summary.series.iter().find(|s| s.method == Ordinary && s.threads == 4).unwrap();
    assert!(
        ordinary.fit.is_some() && ordinary.points.iter().all(|p| p.speedup_over_autodiff.is_none() == (p.dim > 320))
    );
    for scaling in summary.thread_scaling.iter().filter(|s| s.method == Relative) {
        let counts: Vec<_> = scaling.points.iter().map(|on| on.threads).collect();
        assert_eq!((scaling.from, counts), (1, vec![1, 2, 4]));
        let serial = (0.05 + 20.0 / scaling.dim as f64).min(1.0);
        for on in &scaling.points {
            let p = on.threads as f64;
            let law = 1.0 / (serial + (1.0 - serial) / p);
            assert!((on.speedup.value / law - 1.0).abs() < 0.06, "{on:?} at D = {}", scaling.dim);
            assert!((on.efficiency.value * p / on.speedup.value - 1.0).abs() < 1e-12);
            assert!(on.threads == 1 || on.speedup.low < on.speedup.high);
        }
        if let Some(share) = scaling.serial_share {
            assert!((share.value - serial).abs() < 0.06, "{share:?} at D = {}", scaling.dim);
        }
    }
    assert_eq!(summary.thread_scaling.iter().filter(|s| s.method == Relative).count(), 8);
    assert!(summary.thread_scaling.iter().filter(|s| s.serial_share.is_some()).count() > 12);
    assert!(Summary::of(&fixture::study()).thread_scaling.is_empty());

    // What one number of threads says is not changed by the others.
    let mut alone = study.clone();
    alone.run.settings.other_threads.clear();
    alone.records.retain(|r| r.cell.point.threads == 1);
    assert_eq!(Summary::of(&alone).series, summary.series[..3]);

    // More threads than cores take turns, and two numbers of threads fit any law.
    let mut few = study.clone();
    few.run.machine.logical_cores = 2;
    let summary = Summary::of(&few);
    assert!(summary.thread_scaling.iter().all(|s| s.serial_share.is_none()));
    warning(&summary, "4 threads ran on 2 logical cores");
    // What was not measured on the fewest threads has nothing to be compared with.
    few.records.retain(|r| r.cell.point.threads > 1);
    assert!(Summary::of(&few).thread_scaling.is_empty());
}

#[test]
fn ranks_are_series_of_their_own_with_what_they_exchanged() {
    let study = fixture::study_with_ranks();
    let summary = Summary::of(&study);
    let ranks: Vec<_> = summary.series.iter().map(|s| s.ranks).collect();
    assert_eq!(ranks, [1, 2, 4], "that of the figures first");
    assert!(!summary.rank_scaling.is_empty());
    for scaling in &summary.rank_scaling {
        assert_eq!((scaling.method.name(), scaling.from), ("relative", 1));
        assert_eq!(scaling.points.iter().map(|on| on.ranks).collect::<Vec<_>>(), [1, 2, 4]);
        for on in &scaling.points {
            let p = on.ranks as f64;
            let law = 1.05 / (1.0 / p + 0.05 * p);
            assert!((on.speedup.value / law - 1.0).abs() < 0.06, "{on:?} at D = {}", scaling.dim);
            let is_of = |r: &&Record| (r.cell.point.dim, r.cell.point.ranks) == (scaling.dim, on.ranks);
            let exchanged = study.records.iter().find(is_of);
            assert_eq!(on.received_bytes, exchanged.unwrap().exchanged.map(|exchanged| exchanged.received_bytes));
            assert_eq!(on.transport.is_some(), on.ranks > 1);
        }
    }
    assert!(Summary::of(&fixture::study()).rank_scaling.is_empty());
}

/// The fixture's `ordinary` is the faster one at N = 1000 and small D, and `relative` from about D = 200 on.
#[test]
fn a_crossover_is_told_with_its_interval() {
    let mut study = fixture::study_with_batches();
    study.run.settings.batch = 1000;
    study.run.settings.other_batches = vec![10, 100];
    let summary = Summary::of(&study);
    let found = summary.overtakings.iter().find(|o| o.axis == Axis::Dim && o.over == Ordinary).unwrap();
    let Crossover::At(place) = found.crossover else { panic!("{found:?}") };
    assert_eq!((found.method, found.range), (Relative, (10, 3200)));
    assert!((100.0..=320.0).contains(&place.value), "{place:?}");
    assert!(place.low < place.value && place.value < place.high, "{place:?}");
}

#[test]
fn a_cell_that_ran_out_of_time_bounds_its_time_and_others_are_extrapolated() {
    let mut study = fixture::study();
    let which = |r: &Record| r.cell.method == Autodiff && r.cell.point.dim == 1000;
    edit(&mut study, which, |r| {
        r.reason = Some("timed out: no result after 2 min 0 s".into());
        r.wall_seconds = 120.0;
    });
    let summary = Summary::of(&study);
    let autodiff = series(&summary, Autodiff, Cpu);
    let stop = &autodiff.stops[0];
    assert_eq!(stop.at_least_seconds, Some(45.0), "three quarters of the cell limit of 60 s");
    let free = Summary::of(&fixture::study());
    let free = series(&free, Autodiff, Cpu);
    assert!(autodiff.fit.unwrap().exponent.value > free.fit.unwrap().exponent.value + 0.02);
    for stop in &autodiff.stops {
        let expected = stop.extrapolated_seconds.expect("beyond the fit");
        assert!(stop.at_least_seconds.unwrap_or(0.0) <= expected.low, "{expected:?}");
        assert!(expected.low <= expected.value && expected.value < expected.high);
    }
    // The end of the budget kills earlier, and says nothing of the time.
    edit(&mut study, which, |r| r.wall_seconds = 40.0);
    assert_eq!(series(&Summary::of(&study), Autodiff, Cpu).stops[0].at_least_seconds, None);
}

#[test]
fn a_machine_that_was_not_the_same_throughout_is_told() {
    let mut study = fixture::study();
    // Three levels: two would be states.
    let factors = [0.92, 1.1, 1.0];
    edit(&mut study, |_| true, |r| r.seconds.iter_mut().for_each(|s| *s *= factors[r.cell.round]));
    let told = Summary::of(&study);
    assert!(warning(&told, "the machine changed between rounds").starts_with("Round 1 was faster"));
    assert!(!told.warnings.iter().any(|w| w.contains("over 25 % longer")));

    let which = |r: &Record| r.cell.method == Relative && r.cell.point.dim == 100 && r.cell.round == 2;
    edit(&mut study, which, |r| r.seconds.iter_mut().for_each(|s| *s *= 1.5));
    warning(&Summary::of(&study), "relative on cpu, D = 100: the slowest process took over 25 % longer");
}

#[test]
fn a_coarse_clock_and_few_rounds_are_told() {
    let mut study = fixture::study();
    edit(&mut study, |r| r.cell.point.dim == 320, |r| r.seconds.iter_mut().for_each(|s| *s = (*s * 1e4).ceil() / 1e4));
    warning(&Summary::of(&study), "ordinary on cpu, D = 320: the clock is too coarse");
    study.run.settings.rounds = 2;
    study.records.retain(|r| r.cell.round < 2);
    warning(&Summary::of(&study), "in two processes only");
}

#[test]
fn an_exact_power_law_is_recovered_exactly() {
    let law = |dims: &[usize]| power_law(dims, (1e-9, 2.5), (3, 5), (0.0, 0.0), 0);
    let fit = Summary::of(&law(&[10, 100, 200, 500, 1000])).series[0].fit.unwrap();
    assert_eq!((fit.from, fit.to, fit.points), (100, 1000, 4));
    for end in [fit.exponent.value, fit.exponent.low, fit.exponent.high] {
        assert!((end - 2.5).abs() < 1e-12, "{fit:?}");
    }
    assert!(Summary::of(&law(&[10, 100])).series[0].fit.is_none(), "two dimensions are not fitted");
}

#[test]
fn the_asymptotic_range_is_the_top_decade_or_three_points() {
    assert_eq!(asymptotic_range(&[10, 20, 50, 100, 200, 500, 1000]), Some(100..=1000));
    assert_eq!(asymptotic_range(&[1000, 1, 30, 40, 999]), Some(40..=1000));
    assert_eq!(asymptotic_range(&[10, 1000]), None);
    assert_eq!(asymptotic_range(&[7, 7, 7]), None);
}

#[test]
fn more_threads_than_cores_are_told() {
    let mut study = fixture::study();
    assert!(!Summary::of(&study).warnings.iter().any(|w| w.contains("logical cores")));
    study.run.settings.threads = 32;
    assert!(warning(&Summary::of(&study), "32 threads ran on 2 logical cores").contains("lengthens"));
}
