//! The store of runs.

use relgrad_reports::fixture::{PowerLaw, power_law};
use relgrad_reports::history::{Entry, Metric, add, read, series};
use relgrad_reports::study::Study;

fn run(day: u32, scale: f64) -> Study {
    let plan = PowerLaw {
        dims: vec![100, 200, 500],
        exponent: 2.0,
        scale,
        rounds: 3,
        samples: 6,
        between_processes: 0.005,
        within_process: 0.005,
        seed: u64::from(day),
    };
    let mut study = power_law(&plan);
    study.run.started = format!("2026-01-{day:02}T00:00:00Z");
    study.run.git_revision = Some(format!("{day:040x}"));
    study
}

#[test]
fn runs_are_added_once_and_read_back_in_order() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let store = dir.path().join("history.jsonl");
    for day in [3, 1, 2] {
        assert!(add(&store, &Entry::of(&run(day, 1e-8))).expect("added"));
    }
    assert!(!add(&store, &Entry::of(&run(2, 1e-8))).expect("there already"));
    let text = std::fs::read_to_string(&store).expect("the store");
    assert_eq!(text.lines().count(), 3);
    let entries = read(&store).expect("the store");
    let days: Vec<&str> = entries.iter().map(|e| &e.started[8..10]).collect();
    assert_eq!(days, ["01", "02", "03"]);
    assert_eq!(entries[0].cells.len(), 3);
}

#[test]
fn a_union_merge_of_two_branches_is_a_store() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let paths = ["ours", "theirs", "merged"].map(|name| dir.path().join(name));
    for (path, days) in paths.iter().zip([[1, 2], [1, 3]]) {
        days.iter().for_each(|day| assert!(add(path, &Entry::of(&run(*day, 1e-8))).expect("added")));
    }
    let both = [&paths[0], &paths[1]].map(|path| std::fs::read_to_string(path).expect("a store")).concat();
    std::fs::write(&paths[2], both).expect("merged");
    assert_eq!(read(&paths[2]).expect("the store").len(), 3);
}

#[test]
fn a_line_that_is_no_run_is_named_and_nothing_is_added() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let store = dir.path().join("history.jsonl");
    add(&store, &Entry::of(&run(1, 1e-8))).expect("added");
    let mut text = std::fs::read_to_string(&store).expect("the store");
    text.push_str("<<<<<<< ours\n");
    std::fs::write(&store, &text).expect("written");
    for error in
        [read(&store).expect_err("damaged"), add(&store, &Entry::of(&run(2, 1e-8))).expect_err("damaged")]
    {
        assert!(error.to_string().contains("line 2"), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&store).expect("the store"), text);
}

#[test]
fn a_store_without_its_last_newline_goes_on_with_a_line_of_its_own() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let store = dir.path().join("history.jsonl");
    add(&store, &Entry::of(&run(1, 1e-8))).expect("added");
    let text = std::fs::read_to_string(&store).expect("the store");
    std::fs::write(&store, text.trim_end()).expect("written");
    add(&store, &Entry::of(&run(2, 1e-8))).expect("added");
    assert_eq!(read(&store).expect("the store").len(), 2);
}

#[test]
fn a_planted_slowdown_is_dated_to_its_commit() {
    let scale = |day: u32| if day < 9 { 1e-8 } else { 1.15e-8 };
    let entries: Vec<Entry> = (1..=16).map(|day| Entry::of(&run(day, scale(day)))).collect();
    let found = series(&entries, Metric::Time);
    assert_eq!(found.len(), 3);
    for series in found {
        let [change] = series.changes[..] else { panic!("{:?}", series.changes) };
        assert_eq!(entries[change.index].git_revision, Some(format!("{:040x}", 9)));
        assert!((change.factor - 1.15).abs() < 0.02, "{change:?}");
    }
    assert!(series(&entries, Metric::TimeOverGemm).is_empty());
}

#[test]
fn another_machine_is_a_series_of_its_own() {
    let mut entries: Vec<Entry> = (1..=12).map(|day| Entry::of(&run(day, 1e-8))).collect();
    for entry in &mut entries[6..] {
        entry.machine = "Another CPU".into();
        entry.cells.iter_mut().for_each(|c| c.seconds.value *= 2.0);
    }
    let found = series(&entries, Metric::Time);
    assert_eq!(found.len(), 6);
    assert!(found.iter().all(|s| s.changes.is_empty() && s.values.len() == 6));
}
