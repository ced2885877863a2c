//! Records that cannot be, and what the verbs that read them do.

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;

use common::{ends, limited, relgrad, run, stderr, stdout};
use flate2::Compression;
use flate2::write::GzEncoder;
use relgrad_reports::fixture;

/// A sweep that reads, of 24 records.
fn sweep(dir: &Path) {
    let mut study = fixture::study();
    study.records.truncate(24);
    fixture::write(dir, &study).unwrap();
}

/// Replaces words in one line of a file.
fn edit(path: &Path, line: usize, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    assert!(lines[line - 1].contains(from));
    lines[line - 1] = lines[line - 1].replacen(from, to, 1);
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// Times of 1e-320 and 1.7e308 seconds panicked in the statistics, 5e-324 asked for four gibibytes while drawing, a
/// budget that is no duration panicked, and 10¹² rounds took all memory.
#[test]
fn what_cannot_be_is_refused_in_one_line_that_names_file_and_value() {
    let cases = [
        ("records.jsonl", "\"seconds\":[", "\"seconds\":[5e-324,", "line 1 is invalid: seconds of sample 1 is 5e-324"),
        (
            "records.jsonl",
            "\"seconds\":[",
            "\"seconds\":[1.7e308,",
            "line 1 is invalid: seconds of sample 1 is 1.7e308",
        ),
        (
            "records.jsonl",
            "\"device\":\"cpu\"",
            "\"device\":\"tpu\"",
            "line 1 is not a record (unknown device `tpu`: expected cpu, cuda",
        ),
        ("run.json", "\"cell_limit_seconds\": 60.0", "\"cell_limit_seconds\": 1e300", "cell_limit_seconds is 1e300"),
        ("run.json", "\"rounds\": 3", "\"rounds\": 1000000000000", "rounds is 1000000000000"),
    ];
    for (file, from, to, told) in cases {
        let dir = tempfile::tempdir().unwrap();
        sweep(dir.path());
        let path = dir.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let folder = dir.path().to_str().unwrap();
        for verb in
            [&["report", folder][..], &["plot", folder], &["sweep", "--resume", folder], &["compare", folder, folder]]
        {
            let (_, words) = ends(relgrad().args(verb), 2);
            assert!(words.contains(file) && words.contains(told) && words.lines().count() == 1, "{verb:?}: {words}");
        }
    }
}

#[test]
fn invalid_lines_are_left_out_when_asked_for_and_told() {
    let dir = tempfile::tempdir().unwrap();
    sweep(dir.path());
    edit(&dir.path().join("records.jsonl"), 3, "\"dtype\":\"f32\"", "\"dtype\":\"f64\"");
    let folder = dir.path().to_str().unwrap();
    let store = dir.path().join("store.jsonl");
    let verbs = [
        &["report", folder][..],
        &["plot", folder, "--figure", "fig3"],
        &["export", folder, "--format", "csv"],
        &["history", "add", folder, "--store", store.to_str().unwrap()],
    ];
    for verb in verbs {
        ends(relgrad().args(verb), 2);
        let (_, told) = ends(relgrad().args(verb).arg("--skip-invalid"), 0);
        assert!(told.contains("1 line of records.jsonl skipped as invalid (line 3"), "{told}");
    }
    let report = fs::read_to_string(dir.path().join("report.md")).unwrap();
    assert!(report.contains("skipped as invalid (line 3"), "{report}");
    let output = run(&["compare", folder, folder, "--skip-invalid"]);
    assert!(stderr(&output).contains("line 3") && stdout(&output).contains("relative"), "{output:?}");
}

#[test]
fn every_verb_reads_packed_records_and_no_sweep_goes_on_in_them() {
    let (plain, packed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sweep(plain.path());
    sweep(packed.path());
    let records = packed.path().join("records.jsonl");
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&fs::read(&records).unwrap()).unwrap();
    fs::remove_file(&records).unwrap();
    fs::write(packed.path().join("records.jsonl.gz"), packer.finish().unwrap()).unwrap();
    let folder = packed.path().to_str().unwrap();
    let store = packed.path().join("store.jsonl");
    for verb in [
        &["report", folder][..],
        &["plot", folder, "--figure", "fig3"],
        &["export", folder, "--format", "csv"],
        &["history", "add", folder, "--store", store.to_str().unwrap()],
    ] {
        ends(relgrad().args(verb), 0);
    }
    assert!(run(&["report", plain.path().to_str().unwrap()]).status.success());
    for file in ["summary.json", "report.md", "figures/fig3.svg", "figures/fig3.png"] {
        let [one, other] = [&plain, &packed].map(|dir| fs::read(dir.path().join(file)).unwrap());
        assert!(one == other, "{file} differs");
    }
    let output = run(&["compare", plain.path().to_str().unwrap(), folder]);
    assert!(stdout(&output).contains("relative"), "{}", stderr(&output));

    let (_, words) = ends(relgrad().args(["sweep", "--resume", folder]), 2);
    assert!(words.contains("records.jsonl.gz is packed") && words.lines().count() == 1, "{words}");
    assert!(!records.exists(), "an empty file would hide the packed records");
}

/// A device never ends, and a pipe waits for its other end.
#[cfg(target_os = "linux")]
#[test]
fn devices_and_pipes_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in ["/dev/zero", "/dev/full", pipe.to_str().unwrap()] {
        for verb in
            [&["history", "show", "--store", path][..], &["compare", path, path], &["export", path, "--format", "csv"]]
        {
            let (_, told) = ends(relgrad().args(verb), 2);
            assert!(told.contains("not a regular file"), "{told}");
        }
    }
}

/// Where memory is short, text and numbers are there, and a figure that finds no room is an error.
#[cfg(target_os = "linux")]
#[test]
fn a_report_in_little_memory_has_its_text_and_does_not_abort() {
    let dir = tempfile::tempdir().unwrap();
    for kibibytes in [60_000, 75_000, 90_000, 120_000, 200_000] {
        sweep(dir.path());
        let limit = format!("ulimit -v {kibibytes}");
        let output = limited(&limit, relgrad().arg("report").arg(dir.path())).output().unwrap();
        // 127: so little memory that the program is not even loaded.
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 3 | 127)), "{kibibytes}: {code:?} {}", stderr(&output));
        fs::remove_file(dir.path().join("records.jsonl")).unwrap();
        if code == Some(127) {
            continue;
        }
        for file in ["report.md", "report.html", "summary.json", "summary.csv"] {
            fs::remove_file(dir.path().join(file)).unwrap();
        }
    }
}
