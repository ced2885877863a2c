//! Comparing and gating by the built program: exit codes, and what is said.
#![cfg(unix)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{ends, relgrad, scratch, tiny_sweep, words};
use relgrad_reports::baseline;
use relgrad_reports::fixture::power_law;
use relgrad_reports::study::Study;
use relgrad_vocabulary::Method;
use serde_json::Value;

/// `relative` over four dimensions, every time `factor` times what it is in [`synthetic`] of 1, and `ordinary`.
fn synthetic(factor: f64, rounds: usize, seed: u64) -> Study {
    let of = |scale, seed| power_law(&[100, 200, 500, 1000], (scale, 2.0), (rounds, 8), (0.005, 0.005), seed);
    let (mut both, mut ordinary) = (of(1e-8 * factor, seed), of(3e-8, seed + 100));
    ordinary.records.iter_mut().for_each(|record| record.cell.method = Method::Ordinary.into());
    both.records.append(&mut ordinary.records);
    both
}

/// The same in an hour in which all takes 20 % longer.
fn in_a_slow_hour(seed: u64) -> Study {
    let mut study = synthetic(1.0, 6, seed);
    study.records.iter_mut().flat_map(|record| &mut record.seconds).for_each(|seconds| *seconds *= 1.2);
    study
}

/// Standard output of a comparison that must end with `code`.
#[track_caller]
fn compare(base: &Study, new: &Study, more: &[&str], code: i32) -> String {
    let dir = scratch();
    let paths = ["base.jsonl", "new.jsonl"].map(|name| dir.path().join(name));
    for (path, study) in paths.iter().zip([base, new]) {
        baseline::write(path, study).expect("a baseline is written");
    }
    ends(relgrad().arg("compare").args(&paths).args(more), code).0
}

/// The gate with cells and rounds so small that it takes seconds; verdicts on such times are left to a wide tolerance.
fn small_gate(cells: &str) -> Command {
    words(&format!("gate --rounds 3 --more-rounds 3 --max-rounds 6 --round-time 20ms --quiet {cells}"))
}

const SMALL_CELLS: &str = "--dims 4,8 --methods relative,ordinary --batch 4 --threads 1";

#[test]
fn the_exit_code_of_compare_says_how_it_ends() {
    let base = synthetic(1.0, 6, 1);
    for (new, code, said) in [
        (synthetic(1.0, 6, 2), 0, "held"),
        (synthetic(1.2, 6, 2), 1, "regression: relative is slower at D = 100, 200, 500, 1,000: a factor, 1.2"),
        (in_a_slow_hour(2), 5, "inconclusive: all methods are slower together"),
        (Study { records: Vec::new(), ..synthetic(1.0, 1, 2) }, 4, "nothing was measured"),
    ] {
        let out = compare(&base, &new, &[], code);
        assert!(out.contains(said), "{out}");
    }
    compare(&base, &synthetic(1.2, 6, 2), &["--max-slowdown", "30%"], 0);
}

#[test]
fn compare_prints_markdown_and_json() {
    let (base, new) = (synthetic(1.0, 6, 1), synthetic(1.2, 6, 2));
    let markdown = compare(&base, &new, &["--markdown"], 1);
    assert!(markdown.starts_with("### relgrad: regression") && markdown.contains("| **worse** |"), "{markdown}");
    let value: Value = serde_json::from_str(&compare(&base, &new, &["--json"], 1)).expect("JSON");
    assert_eq!(value["outcome"]["outcome"], "regression");
    assert_eq!(value["series"][0]["shift"]["kind"], "factor");
}

#[test]
fn what_cannot_be_read_or_makes_no_sense_ends_with_code_2() {
    let dir = scratch();
    let broken = dir.path().join("broken.jsonl");
    fs::write(&broken, "{\"schema\":1}\n").expect("written");
    for (line, named) in [
        ("compare nowhere nowhere", "nowhere"),
        ("compare BROKEN BROKEN", "does not describe a run"),
        ("gate --baseline BROKEN", "does not describe a run"),
        ("gate", "--baseline"),
        ("gate --baseline BROKEN --dims 10", "--dims"),
        ("gate --against-program /nowhere/relgrad", "/nowhere/relgrad"),
        ("gate --against-program /bin/false", "not a working relgrad"),
        ("gate --max-slowdown much", "`much`"),
        ("history show --store nowhere.jsonl", "nowhere.jsonl"),
    ] {
        let (_, told) = ends(&mut words(&line.replace("BROKEN", broken.to_str().expect("UTF-8"))), 2);
        assert!(told.contains(named), "{line}: {told}");
    }
}

#[test]
fn a_baseline_is_saved_and_held_by_the_same_build() {
    let dir = scratch();
    let [path, again] = ["baseline.jsonl", "again.jsonl"].map(|name| dir.path().join(name));
    ends(small_gate(SMALL_CELLS).arg("--save").arg(&path), 0);
    let study = baseline::read(&path).expect("a baseline");
    // Two dimensions, two methods and two calibration kernels, three rounds.
    assert_eq!(study.records.len(), 2 * 4 * 3);
    assert!(study.records.iter().all(|r| r.seconds.len() >= 10 && r.seconds.len() % 2 == 0));

    let mut gate = small_gate("--max-slowdown 1000000% --max-growth 1000%");
    let (out, _) = ends(gate.arg("--baseline").arg(&path).arg("--save").arg(&again), 0);
    assert!(out.contains("speed-up over ordinary"), "{out}");
    assert!(out.contains("(same)") || out.contains("(inconclusive)"), "time is not judged");
    assert!(again.is_file(), "the records of the gate are kept");
}

#[test]
fn this_build_is_held_against_itself() {
    let program = env!("CARGO_BIN_EXE_relgrad");
    ends(small_gate(SMALL_CELLS).args(["--max-slowdown", "1000000%", "--against-program", program]), 0);
}

/// A script of the name, or a file that none can run.
fn script(dir: &Path, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;

    let path = dir.join(name);
    std::fs::write(&path, text).expect("written");
    let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("permissions");
    path.to_str().expect("UTF-8").to_string()
}

#[test]
fn a_program_that_is_no_relgrad_is_told_before_anything_is_measured() {
    let dir = scratch();
    let old = "#!/bin/sh\n[ \"$1\" = --version ] && echo relgrad-harness 0.0.1\n";
    for (name, text, why) in [
        ("silent", "#!/bin/sh\n", "printed ``"),
        ("other", "#!/bin/sh\nprintf '\\033[2Jhello\\n'\n", "printed `\\x1b[2Jhello`"),
        ("plain.txt", "no program", "ermission denied"),
        ("old", old, "too old for the gate"),
        // One keeps its pipes open by what it has started, and one never stops to print.
        ("hangs", "#!/bin/sh\nsleep 600; true\n", "did not answer within 10 s"),
        ("prints", "#!/bin/sh\nyes; true\n", "did not answer within 10 s"),
    ] {
        let program = script(dir.path(), name, text);
        let (_, told) = ends(relgrad().args(["gate", "--against-program", &program]), 2);
        assert!(told.contains(&program) && told.contains(why), "{name}: {told}");
        assert_eq!(told.lines().count(), 1, "nothing was measured: {told}");
    }
}

/// The version of a relgrad, and then words without end in place of answers.
#[test]
fn a_worker_that_talks_nonsense_fails_its_cells() {
    let dir = scratch();
    let text = "#!/bin/sh\n[ \"$1\" = worker ] && [ \"$2\" != --help ] && yes 'no answer'\necho relgrad 9\n";
    let program = script(dir.path(), "flood", text);
    ends(small_gate(SMALL_CELLS).args(["--against-program", &program]), 4);
}

#[test]
fn a_result_that_cannot_be_kept_ends_with_code_3_and_an_empty_baseline_with_4() {
    let (_, told) = ends(small_gate(SMALL_CELLS).args(["--save", "/nowhere/new.jsonl"]), 3);
    assert!(told.contains("/nowhere/new.jsonl"), "{told}");
    let dir = scratch();
    let path = dir.path().join("empty.jsonl");
    baseline::write(&path, &Study { records: Vec::new(), ..synthetic(1.0, 1, 1) }).expect("written");
    ends(small_gate("--baseline").arg(&path), 4);
}

#[test]
fn calibrate_counts_its_trials() {
    let cells = "--aa 2 --dims 4 --methods relative --batch 4 --threads 1";
    let rounds = "--rounds 3 --more-rounds 3 --max-rounds 3 --round-time 10ms --quiet --json";
    let (out, _) = ends(&mut words(&format!("calibrate {cells} {rounds}")), 0);
    let value: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(value["equal"]["trials"], 2);
    assert_eq!(value["cells"][0]["equal"]["trials"], 2);
    assert!(value["cells"][0]["scatter"].as_f64().is_some_and(|s| s >= 0.0));
    // Six rounds of two trials are enough to resample decisions of three.
    assert!(value["cells"][0]["resampled_alarms"].is_number());
}

#[test]
fn a_history_is_kept_shown_and_drawn() {
    let dir = scratch();
    let [store, file, figure] = ["history.jsonl", "run.jsonl", "trend.svg"].map(|name| dir.path().join(name));
    for day in 1..=14 {
        let mut study = synthetic(if day < 8 { 1.0 } else { 1.2 }, 3, day);
        study.records.retain(|record| record.cell.method == Method::Relative);
        study.run.started = format!("2026-01-{day:02}T00:00:00Z");
        study.run.git_revision = Some(format!("{:0<40x}", day * 0x1234567));
        baseline::write(&file, &study).expect("written");
        ends(relgrad().args(["history", "add"]).arg(&file).arg("--store").arg(&store), 0);
    }
    let mut show = words("history show --dim 1000 --store");
    let (text, _) = ends(show.arg(&store).arg("--out").arg(&figure), 0);
    let (list, path) = text.trim_end().rsplit_once('\n').expect("the list, then the figure");
    assert_eq!(path, figure.display().to_string());
    insta::assert_snapshot!("history_show", list);
    assert!(fs::read_to_string(&figure).expect("a figure").contains("<svg"));
}

#[test]
fn a_sweep_is_exported_in_every_format() {
    let dir = scratch();
    ends(&mut tiny_sweep(dir.path(), 3), 0);
    let export = |format| {
        let mut command = relgrad();
        command.arg("export").arg(dir.path()).args(["--format", format]);
        command
    };
    for name in relgrad_reports::export::FORMATS.map(|format| format.name) {
        let (out, _) = ends(&mut export(name), 0);
        assert!(out.contains("relative"), "{name}: {out}");
    }
    let file = dir.path().join("bencher.json");
    assert_eq!(ends(export("bencher").arg("--out").arg(&file), 0).0, "");
    assert!(file.is_file());
}

/// Faults planted in real processes, each of which the gate must name.
#[cfg(feature = "inject")]
#[test]
fn planted_faults_are_found_and_named() {
    let rounds = "--rounds 4 --more-rounds 4 --max-rounds 16 --round-time 60ms --quiet";
    let line = format!("gate --dims 16,40,100 --methods relative --batch 20 --threads 1 {rounds} --against-program");
    for (fault, named) in [
        ("relative:factor=2", "relative: a factor, "),
        ("relative:constant=200us", "relative: a constant offset, "),
        ("relative:slope=0.5", "relative: the exponent, +"),
        ("relative:wrong-gradient", "wrong gradient: relative error"),
        ("relative:leak", "memory leak of "),
        ("relative:magic", "cannot inject `relative:magic`"),
    ] {
        let (out, err) = ends(words(&line).args([env!("CARGO_BIN_EXE_relgrad"), "--inject", fault]), 1);
        let text = out + &err;
        assert!(text.contains(named), "{fault}: {text}");
        if named.starts_with("wrong gradient") {
            assert!(!text.contains("better") && !text.contains("same"), "it has no speed: {text}");
        }
    }
}
