use relgrad_vocabulary::{DeviceKind, Method};

use super::*;
use crate::fixture;
use crate::record::{Outcome, Refresh, Solved};

/// Applies a change to the fixture's first record; what the checks say of it.
fn changed(change: impl Fn(&mut crate::record::Record)) -> Checked {
    let study = fixture::study();
    let mut changed = study.records[0].clone();
    changed.state = Some(fixture::state());
    change(&mut changed);
    record(&changed).and_then(|()| of_run(&changed, &study.run.settings))
}

#[test]
fn every_number_of_a_record_has_a_range() {
    assert_eq!(changed(|_| ()), Ok(()));
    type Change = fn(&mut crate::record::Record);
    let wrong: [(Change, &str); 32] = [
        (|r| r.seconds[1] = 5e-324, "seconds of sample 2"),
        (|r| r.seconds[0] = 0.0, "seconds of sample 1"),
        (|r| r.seconds[0] = -1.0, "seconds of sample 1"),
        (|r| r.seconds[0] = 1.7e308, "seconds of sample 1"),
        (|r| r.seconds[0] = f64::NAN, "seconds of sample 1"),
        (|r| r.seconds.clear(), "no sample"),
        (|r| r.evaluations_per_sample = 0, "evaluations_per_sample"),
        (|r| r.warmup_seconds[0] = -1.0, "warm-up"),
        (|r| r.peak_bytes = Some(u64::MAX), "peak_bytes"),
        (|r| r.memory_trace[3].bytes = 1e300, "memory_trace 4"),
        (|r| r.memory_trace[3].seconds = 1e-9, "earlier"),
        (|r| r.model.flops = f64::INFINITY, "flops"),
        (|r| r.model.min_bytes = 0.0, "min_bytes"),
        (|r| r.cell.point.dim = 0, "dim"),
        (|r| r.cell.point.batch = usize::MAX, "batch"),
        (|r| r.cell.round = usize::MAX, "round"),
        (|r| r.cell.point.threads = 3, "threads"),
        (|r| r.cell.point.ranks = 0, "ranks"),
        (|r| r.cell.point.ranks = 2, "number of ranks"),
        (|r| r.cell.point.seed = 3, "seed"),
        (|r| r.cell.point.dtype = Dtype::F64, "dtype"),
        (|r| r.cell.point.math = Some(Math::Tf32), "arithmetic"),
        (|r| r.cell.point.activation = "tanh:1:0.1".parse().unwrap(), "activation"),
        (|r| r.cell.point.activation = "smooth:2".parse().unwrap(), "alpha"),
        (|r| r.inverse_error = Some(-1.0), "inverse_error"),
        (|r| r.refresh = Some(Refresh { products: 6, factored: 0, residual: -1.0 }), "residual of the refresh"),
        (|r| r.solved = Some(Solved { iterations: 12, error: f64::NAN }), "error of the solves"),
        (|r| r.started_unix_seconds = -1.0, "started_unix_seconds"),
        (|r| r.attempt = usize::MAX, "attempt"),
        (|r| r.state.as_mut().unwrap().cores = 0, "cores of the state"),
        (|r| r.state.as_mut().unwrap().stolen_seconds = Some(-1.0), "a time of the state"),
        (|r| r.state.as_mut().unwrap().clock_hz[1] = 0.0, "clock_hz"),
    ];
    for (change, named) in wrong {
        let told = changed(change).expect_err(named);
        assert!(told.contains(named), "{told}");
    }
}

#[test]
fn a_skipped_cell_needs_no_sample_and_a_prediction_may_be_null() {
    assert_eq!(
        changed(|r| {
            r.outcome = Outcome::Skipped;
            r.seconds.clear();
            r.prediction.as_mut().unwrap().seconds = f64::NAN;
        }),
        Ok(())
    );
}

#[test]
fn settings_that_no_sweep_can_have_are_named() {
    let settings = fixture::study().run.settings;
    assert_eq!(settings.validate(), Ok(()));
    type Change = fn(&mut crate::record::run::Settings);
    let wrong: [(Change, &str); 18] = [
        (|s| s.other_threads = vec![1, 2], "numbers of threads: a value occurs twice"),
        (
            |s| (s.other_threads, s.devices) = (vec![1], DeviceKind::ALL.into()),
            "several numbers of threads require --device cpu",
        ),
        (|s| s.other_ranks = vec![1], "numbers of ranks: a value occurs twice"),
        (|s| s.other_ranks = vec![2], "has no form over ranks"),
        (|s| (s.other_ranks, s.methods) = (vec![4000], vec![Method::Relative]), "4000 ranks cannot share"),
        (|s| s.devices.clear(), "devices"),
        (|s| s.methods.clear(), "methods"),
        (|s| s.methods.push(Method::Relative), "twice"),
        (|s| s.dims.clear(), "dims"),
        (|s| s.dims = vec![20, 10], "ascend"),
        (|s| s.rounds = 0, "rounds"),
        (|s| s.rounds = 1_000_000_000_000, "rounds"),
        (|s| s.rounds = 1_000_000, "1000000 cells"),
        (|s| s.threads = usize::MAX, "threads"),
        (|s| s.budget_seconds = Some(1e300), "budget_seconds"),
        (|s| s.cell_limit_seconds = Some(f64::NAN), "cell_limit_seconds"),
        (|s| s.memory_limit_bytes = u64::MAX, "memory_limit_bytes"),
        (|s| s.math = Some(Math::F64), "f64"),
    ];
    for (change, named) in wrong {
        let mut settings = settings.clone();
        change(&mut settings);
        let told = settings.validate().expect_err(named);
        assert!(told.contains(named), "{told}");
    }
}

#[test]
fn a_moment_is_a_date_and_a_time() {
    for text in ["2026-11-24T02:21:23Z", "2026-11-24T02:21:23.5+01:00"] {
        assert_eq!(moment("started", text), Ok(()));
    }
    for text in ["", "yesterday", "2026-11-24T02:21:23", "2026-11-24T02:21:23Z\u{1b}[2J", "2026-11-24 02:21:23Z"] {
        assert!(moment("started", text).is_err(), "{text}");
    }
}
