//! The store of runs.

use std::path::PathBuf;

use relgrad_reports::fixture::power_law;
use relgrad_reports::history::{Entry, Metric, add, read, series};
use relgrad_reports::report::trend::{self, Trends};
use relgrad_reports::run::Convolution;
use relgrad_reports::study::Study;
use relgrad_vocabulary::Dtype;
use tempfile::TempDir;

fn run(day: u32, scale: f64) -> Study {
    let mut study = power_law(&[100, 200, 500], (scale, 2.0), (3, 6), (0.005, 0.005), u64::from(day));
    study.run.started = format!("2026-01-{day:02}T00:00:00Z");
    study.run.git_revision = Some(format!("{day:040x}"));
    study
}

/// A store of one run, with its folder and its text.
fn store_of_one() -> (TempDir, PathBuf, String) {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let store = dir.path().join("history.jsonl");
    add(&store, &Entry::of(&run(1, 1e-8))).expect("added");
    let text = std::fs::read_to_string(&store).expect("the store");
    (dir, store, text)
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
    let (_dir, store, mut text) = store_of_one();
    text.push_str("<<<<<<< ours\n");
    std::fs::write(&store, &text).expect("written");
    for error in [read(&store).expect_err("damaged"), add(&store, &Entry::of(&run(2, 1e-8))).expect_err("damaged")] {
        assert!(error.to_string().contains("line 2"), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&store).expect("the store"), text);
}

#[test]
fn a_store_without_its_last_newline_goes_on_with_a_line_of_its_own() {
    let (_dir, store, text) = store_of_one();
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
fn a_page_names_the_commit_of_a_change_and_no_text_of_it_runs() {
    let scale = |day: u32| if day < 9 { 1e-8 } else { 1.15e-8 };
    let mut entries: Vec<Entry> = (1..=16).map(|day| Entry::of(&run(day, scale(day)))).collect();
    entries[8].git_revision = Some("</script><b>'\"".into());
    let found = series(&entries, Metric::Time);
    let page = trend::render(&entries, Metric::Time, vec![Trends { series: &found, figure: None }]);
    assert!(page.contains("<td>&lt;/script&gt;&lt;b&gt;&#39;&quot;</td><td>2026-01-09T00:00:00Z</td>"), "{page}");
    assert_eq!(page.matches("</script>").count(), 2);
    let unchanged = series(&entries[..8], Metric::Time);
    let page = trend::render(&entries, Metric::Time, vec![Trends { series: &unchanged, figure: None }]);
    assert!(page.contains("No series changed its level."));
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

/// Six runs of one setting and six of another are two series, and no change.
#[test]
fn other_settings_are_series_of_their_own_with_a_name_of_their_own() {
    type Change = fn(&mut relgrad_reports::run::Settings);
    let changes: [Change; 5] = [
        |s| s.threads = 7,
        |s| s.bias = true,
        |s| s.activation = "tanh:1:0.1".parse().unwrap(),
        |s| s.dtype = Dtype::F64,
        |s| s.layers = 3,
    ];
    for change in changes {
        let mut entries = Vec::new();
        for day in 1..=12 {
            let mut study = run(day, if day > 6 { 2e-8 } else { 1e-8 });
            if day > 6 {
                change(&mut study.run.settings);
                let held = study.run.settings.held();
                let points = study.records.iter_mut().map(|r| &mut r.cell.point);
                points.for_each(|point| (point.layers, point.threads) = (held.layers, held.threads));
            }
            entries.push(Entry::of(&study));
        }
        let found = series(&entries, Metric::Time);
        assert_eq!(found.len(), 6, "{:?}", found[0].name);
        assert!(found.iter().all(|s| s.changes.is_empty() && s.values.len() == 6));
    }
}

/// Two runs may begin in one second; only a line that says the same is the same run.
#[test]
fn two_runs_of_one_second_are_two() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let store = dir.path().join("history.jsonl");
    let entries = [1.0, 1.1].map(|factor| Entry::of(&run(1, factor * 1e-8)));
    assert!(entries.iter().all(|entry| add(&store, entry).expect("added")));
    assert!(!add(&store, &entries[0]).expect("there already"));
    assert_eq!(read(&store).expect("the store").len(), 2);
}

/// Lines of before threads, bias and activation were kept.
#[test]
fn an_old_line_reads_and_is_a_series_of_its_own() {
    let (_dir, store, text) = store_of_one();
    let old =
        text.replace(r#""threads":2,"bias":false,"activation":"smooth:0.3","#, "").replace("2026-01-01", "2025-01-01");
    assert!(!old.contains("threads"), "{old}");
    std::fs::write(&store, old + &text).expect("written");
    let found = series(&read(&store).expect("the store"), Metric::Time);
    assert_eq!(found.len(), 6);
    assert_eq!(found[0].name, "relative/cpu/f32/N=100/L=2/D=100");
    assert_eq!(found[3].name, "relative/cpu/f32/threads=2/smooth:0.3/N=100/L=2/D=100");
}

#[test]
fn a_line_with_an_impossible_number_is_named() {
    let (_dir, store, text) = store_of_one();
    for (from, to) in
        [("\"dim\":100", "\"dim\":0"), ("\"value\":", "\"value\":-"), ("\"cpu\"", "\"tpu\""), ("2026-", "yesterday")]
    {
        std::fs::write(&store, text.clone() + &text.replace(from, to)).expect("written");
        let told = read(&store).expect_err("invalid").to_string();
        assert!(told.contains("history.jsonl, line 2 is invalid"), "{told}");
    }
}

/// A kill in the middle of an append costs that run, not the store.
#[test]
fn a_line_that_was_cut_off_is_left_out_and_removed_by_the_next_run() {
    let (_dir, store, whole) = store_of_one();
    std::fs::write(&store, format!("{whole}{}", &whole[..whole.len() / 2])).expect("written");
    assert_eq!(read(&store).expect("the store").len(), 1);
    assert!(add(&store, &Entry::of(&run(2, 1e-8))).expect("added"));
    assert_eq!(read(&store).expect("the store").len(), 2);
    assert!(std::fs::read_to_string(&store).expect("the store").starts_with(&whole));
}

#[test]
fn grids_of_other_shapes_are_series_of_their_own() {
    let entry = |grids: Vec<[usize; 2]>, day| {
        let mut study = run(day, 1e-8);
        study.run.settings.convolution = Some(Convolution { channels: 1, kernel: None, grids });
        Entry::of(&study)
    };
    let entries = [entry(vec![[1, 100], [1, 200], [1, 500]], 1), entry(vec![[10, 10], [10, 20], [20, 25]], 2)];
    let names: Vec<String> = series(&entries, Metric::Time).into_iter().map(|series| series.name).collect();
    assert_eq!(names.len(), 6);
    assert!(names.iter().any(|name| name.contains("/conv-c1/")), "{names:?}");
    assert!(names.iter().any(|name| name.contains("/conv-c1-20x25/")), "{names:?}");
}
