//! Comparing and gating by the built program: exit codes, and what is said.
#![cfg(unix)]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{relgrad, run, stderr, stdout, tiny_sweep};
use relgrad_reports::baseline;
use relgrad_reports::fixture::power_law;
use relgrad_reports::study::Study;

/// `relative` over four dimensions, every time `factor` times what it is in [`synthetic`] of 1.
fn synthetic(factor: f64, rounds: usize, seed: u64) -> Study {
    power_law(&[100, 200, 500, 1000], (1e-8 * factor, 2.0), (rounds, 8), (0.005, 0.005), seed)
}

fn compare(dir: &Path, base: &Study, new: &Study, more: &[&str]) -> Output {
    let paths = ["base.jsonl", "new.jsonl"].map(|name| dir.join(name));
    for (path, study) in paths.iter().zip([base, new]) {
        baseline::write(path, study).expect("a baseline is written");
    }
    relgrad().arg("compare").args(&paths).args(more).output().expect("relgrad starts")
}

/// The gate with cells and rounds so small that it takes seconds; verdicts on such times are left to a wide tolerance.
fn small_gate() -> Command {
    let mut command = relgrad();
    command.args(["gate", "--rounds", "3", "--more-rounds", "3", "--max-rounds", "6", "--round-time", "20ms"]);
    command.arg("--quiet");
    command
}

const SMALL_CELLS: [&str; 8] = ["--dims", "4,8", "--methods", "relative,ordinary", "--batch", "4", "--threads", "1"];

#[test]
fn the_exit_code_of_compare_says_how_it_ends() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let base = synthetic(1.0, 6, 1);
    for (new, code, said) in [
        (synthetic(1.0, 6, 2), 0, "held"),
        (synthetic(1.2, 6, 2), 1, "regression: relative is slower at D = 100, 200, 500, 1,000: a factor, 1.2"),
        (synthetic(1.0, 1, 2), 5, "inconclusive"),
        (Study { records: Vec::new(), ..synthetic(1.0, 1, 2) }, 4, "nothing was measured"),
    ] {
        let output = compare(dir.path(), &base, &new, &[]);
        assert_eq!(output.status.code(), Some(code), "{said}: {}{}", stdout(&output), stderr(&output));
        assert!(stdout(&output).contains(said), "{}", stdout(&output));
    }
    let tolerant = compare(dir.path(), &base, &synthetic(1.2, 6, 2), &["--max-slowdown", "30%"]);
    assert_eq!(tolerant.status.code(), Some(0), "{}", stdout(&tolerant));
}

#[test]
fn compare_prints_markdown_and_json() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let (base, new) = (synthetic(1.0, 6, 1), synthetic(1.2, 6, 2));
    let markdown = stdout(&compare(dir.path(), &base, &new, &["--markdown"]));
    assert!(markdown.starts_with("### relgrad: regression"), "{markdown}");
    assert!(markdown.contains("| **worse** |"), "{markdown}");
    let json = stdout(&compare(dir.path(), &base, &new, &["--json"]));
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["outcome"]["outcome"], "regression");
    assert_eq!(value["series"][0]["shift"]["kind"], "factor");
}

#[test]
fn what_cannot_be_read_or_makes_no_sense_ends_with_code_2() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let broken = dir.path().join("broken.jsonl");
    std::fs::write(&broken, "{\"schema\":1}\n").expect("written");
    let broken = broken.to_str().expect("UTF-8");
    for (arguments, named) in [
        (vec!["compare", "nowhere", "nowhere"], "nowhere"),
        (vec!["compare", broken, broken], "does not describe a run"),
        (vec!["gate", "--baseline", broken], "does not describe a run"),
        (vec!["gate"], "--baseline"),
        (vec!["gate", "--baseline", broken, "--dims", "10"], "--dims"),
        (vec!["gate", "--against-program", "/nowhere/relgrad"], "/nowhere/relgrad"),
        (vec!["gate", "--against-program", "/bin/false"], "no relgrad that runs here"),
        (vec!["gate", "--max-slowdown", "much"], "`much`"),
        (vec!["history", "show", "--store", "nowhere.jsonl"], "nowhere.jsonl"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(named), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_baseline_is_saved_and_held_by_the_same_build() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let path = dir.path().join("baseline.jsonl");
    let saved = small_gate().args(SMALL_CELLS).arg("--save").arg(&path).output().expect("relgrad starts");
    assert_eq!(saved.status.code(), Some(0), "{}", stderr(&saved));
    let study = baseline::read(&path).expect("a baseline");
    // Two dimensions, two methods and two calibration kernels, three rounds.
    assert_eq!(study.records.len(), 2 * 4 * 3);
    assert!(study.records.iter().all(|r| r.seconds.len() >= 10 && r.seconds.len() % 2 == 0));

    let again = dir.path().join("again.jsonl");
    let held = small_gate()
        .args(["--max-slowdown", "1000000%", "--max-growth", "1000%", "--baseline"])
        .arg(&path)
        .arg("--save")
        .arg(&again)
        .output()
        .expect("relgrad starts");
    assert_eq!(held.status.code(), Some(0), "{}{}", stdout(&held), stderr(&held));
    assert!(stdout(&held).contains("speed-up over ordinary"), "{}", stdout(&held));
    assert!(stdout(&held).contains("(same)") || stdout(&held).contains("(inconclusive)"), "time is not judged");
    assert!(again.is_file(), "the records of the gate are kept");
}

#[test]
fn this_build_is_held_against_itself() {
    let program = env!("CARGO_BIN_EXE_relgrad");
    let output = small_gate()
        .args(SMALL_CELLS)
        .args(["--max-slowdown", "1000000%", "--against-program", program])
        .output()
        .expect("relgrad starts");
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
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
    let dir = tempfile::tempdir().expect("a scratch folder");
    let old = "#!/bin/sh\n[ \"$1\" = --version ] && echo relgrad-harness 0.0.1\n";
    for (name, text, why) in [
        ("silent", "#!/bin/sh\n", "it says ``"),
        ("other", "#!/bin/sh\nprintf '\\033[2Jhello\\n'\n", "it says `\\x1b[2Jhello`"),
        ("plain.txt", "no program", "ermission denied"),
        ("old", old, "older than the gate"),
    ] {
        let program = script(dir.path(), name, text);
        let output = run(&["gate", "--against-program", &program]);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", stderr(&output));
        let told = stderr(&output);
        assert!(told.contains(&program) && told.contains(why), "{told}");
        assert_eq!(told.lines().count(), 1, "nothing was measured: {told}");
    }
}

/// Also one that keeps its pipes open by what it has started, and one that never stops to print.
#[test]
fn a_program_that_does_not_answer_is_given_up() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    for (name, text) in [("hangs", "#!/bin/sh\nsleep 600; true\n"), ("prints", "#!/bin/sh\nyes; true\n")] {
        let program = script(dir.path(), name, text);
        let output = run(&["gate", "--against-program", &program]);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", stderr(&output));
        assert!(stderr(&output).contains("says nothing for 10 s"), "{}", stderr(&output));
    }
}

/// The version of a relgrad, and then words without end in place of answers.
#[test]
fn a_worker_that_talks_nonsense_fails_its_cells() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let text = "#!/bin/sh\n[ \"$1\" = worker ] && [ \"$2\" != --help ] && yes 'no answer'\necho relgrad 9\n";
    let program = script(dir.path(), "flood", text);
    let output = small_gate().args(SMALL_CELLS).args(["--against-program", &program]).output().expect("relgrad starts");
    assert_eq!(output.status.code(), Some(4), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn a_result_that_cannot_be_kept_ends_with_code_3() {
    let output = small_gate().args(SMALL_CELLS).args(["--save", "/nowhere/new.jsonl"]).output().expect("starts");
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("/nowhere/new.jsonl"), "{}", stderr(&output));
}

#[test]
fn an_empty_baseline_measures_nothing() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let path = dir.path().join("empty.jsonl");
    baseline::write(&path, &Study { records: Vec::new(), ..synthetic(1.0, 1, 1) }).expect("written");
    let output = small_gate().arg("--baseline").arg(&path).output().expect("relgrad starts");
    assert_eq!(output.status.code(), Some(4), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn calibrate_counts_its_trials() {
    let output = relgrad()
        .args(["calibrate", "--aa", "2", "--dims", "4", "--methods", "relative", "--batch", "4", "--threads", "1"])
        .args(["--rounds", "3", "--more-rounds", "3", "--max-rounds", "3", "--round-time", "10ms", "--quiet", "--json"])
        .output()
        .expect("relgrad starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let value: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(value["equal"]["trials"], 2);
    assert_eq!(value["cells"][0]["equal"]["trials"], 2);
    assert!(value["cells"][0]["scatter"].as_f64().is_some_and(|s| s >= 0.0));
    // Six rounds of two trials are enough to resample decisions of three.
    assert!(value["cells"][0]["resampled_alarms"].is_number());
}

#[test]
fn a_history_is_kept_shown_and_drawn() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let store = dir.path().join("history.jsonl");
    let file = dir.path().join("run.jsonl");
    for day in 1..=14 {
        let mut study = synthetic(if day < 8 { 1.0 } else { 1.2 }, 3, day);
        study.run.started = format!("2026-01-{day:02}T00:00:00Z");
        study.run.git_revision = Some(format!("{:0<40x}", day * 0x1234567));
        baseline::write(&file, &study).expect("written");
        let added = relgrad().args(["history", "add"]).arg(&file).arg("--store").arg(&store).output();
        assert!(added.expect("relgrad starts").status.success());
    }
    let figure = dir.path().join("trend.svg");
    let shown = relgrad()
        .args(["history", "show", "--store"])
        .arg(&store)
        .args(["--dim", "1000", "--out"])
        .arg(&figure)
        .output()
        .expect("relgrad starts");
    assert!(shown.status.success(), "{}", stderr(&shown));
    let text = stdout(&shown);
    let (list, path) = text.trim_end().rsplit_once('\n').expect("the list, then the figure");
    assert_eq!(path, figure.display().to_string());
    insta::assert_snapshot!("history_show", list);
    assert!(std::fs::read_to_string(&figure).expect("a figure").contains("<svg"));
}

#[test]
fn a_sweep_is_exported_in_every_format() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    assert!(tiny_sweep(dir.path(), 3).output().expect("relgrad starts").status.success());
    for name in relgrad_reports::export::FORMATS.map(|format| format.name) {
        let output = relgrad().arg("export").arg(dir.path()).args(["--format", name]).output().expect("starts");
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        assert!(stdout(&output).contains("relative"), "{name}: {}", stdout(&output));
    }
    let out = dir.path().join("bencher.json");
    let output = relgrad()
        .arg("export")
        .arg(dir.path())
        .args(["--format", "bencher", "--out"])
        .arg(&out)
        .output()
        .expect("relgrad starts");
    assert!(output.status.success() && stdout(&output).is_empty());
    assert!(out.is_file());
}

/// Faults planted in real processes, each of which the gate must name.
#[cfg(feature = "inject")]
mod injected {
    use super::*;

    fn gate(fault: &str) -> (Option<i32>, String) {
        let program = env!("CARGO_BIN_EXE_relgrad");
        let output = relgrad()
            .args(["gate", "--dims", "16,40,100", "--methods", "relative", "--batch", "20", "--threads", "1"])
            .args(["--rounds", "4", "--more-rounds", "4", "--max-rounds", "16", "--round-time", "60ms", "--quiet"])
            .args(["--against-program", program, "--inject", fault])
            .output()
            .expect("relgrad starts");
        (output.status.code(), stdout(&output) + &stderr(&output))
    }

    #[test]
    fn a_factor_is_named() {
        let (code, text) = gate("relative:factor=2");
        assert!(code == Some(1) && text.contains("relative: a factor, "), "{code:?} {text}");
    }

    #[test]
    fn an_offset_is_named() {
        let (code, text) = gate("relative:constant=200us");
        assert!(code == Some(1) && text.contains("relative: a constant offset, "), "{code:?} {text}");
    }

    #[test]
    fn an_exponent_is_named() {
        let (code, text) = gate("relative:slope=0.5");
        assert!(code == Some(1) && text.contains("relative: the exponent, +"), "{code:?} {text}");
    }

    #[test]
    fn a_wrong_gradient_is_invalid() {
        let (code, text) = gate("relative:wrong-gradient");
        assert!(code == Some(1) && text.contains("wrong gradient: relative error"), "{code:?} {text}");
        assert!(!text.contains("better") && !text.contains("same"), "it has no speed: {text}");
    }

    #[test]
    fn a_leak_is_named() {
        let (code, text) = gate("relative:leak");
        assert!(code == Some(1) && text.contains("memory leak of "), "{code:?} {text}");
    }

    #[test]
    fn a_fault_that_makes_no_sense_fails_every_cell() {
        let (code, text) = gate("relative:magic");
        assert!(code == Some(1) && text.contains("cannot inject `relative:magic`"), "{code:?} {text}");
    }
}
