//! Paths that are no UTF-8, which Linux allows: every verb takes them.
#![cfg(target_os = "linux")]

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use common::{golden, relgrad, stderr};
use relgrad_reports::fixture;

/// A folder with a made-up sweep in it, under a name that is no UTF-8.
fn odd_folder(scratch: &Path) -> PathBuf {
    let folder = scratch.join(OsStr::from_bytes(b"d\xff"));
    let sweep = folder.join("sweep");
    std::fs::create_dir_all(&sweep).expect("a folder");
    fixture::write(&sweep, &fixture::study()).expect("a writable folder");
    std::fs::copy(golden().join("p01_d1_l1_linear.json"), folder.join("golden.json")).expect("a copy");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_relgrad"), folder.join("relgrad")).expect("a link");
    folder
}

#[test]
fn every_verb_takes_a_path_that_is_no_utf8() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let folder = odd_folder(scratch.path());
    let gate = "--max-slowdown 1000000% --max-growth 1000% --rounds 2 --max-rounds 2 --round-time 10ms --quiet";
    let cells = "--dims 3 --methods relative --batch 3 --threads 1";
    // What begins with @ is a file of the folder.
    for words in [
        "sweep --dims 2 --methods relative --batch 4 --threads 1 --rounds 1 --no-roofline --out @new".to_string(),
        "sweep --no-roofline --resume @new".to_string(),
        "report @new".to_string(),
        "train toy:moons --toy-samples 100 --epochs 8 --threads 1 --time-limit 1ms --out @learned".to_string(),
        "train --resume @learned".to_string(),
        "experiment bias-mode --effort smoke --quiet --out @experiments".to_string(),
        "report @sweep".to_string(),
        "plot @sweep --figure fig3 --out @x.svg".to_string(),
        "export @sweep --format csv --out @x.csv".to_string(),
        "history add @sweep --store @history.jsonl".to_string(),
        "history show --store @history.jsonl".to_string(),
        "compare @sweep @sweep".to_string(),
        "verify @golden.json".to_string(),
        format!("gate --save @gate.jsonl {cells} {gate}"),
        format!("gate --baseline @gate.jsonl {gate}"),
        format!("gate --against-program @relgrad {cells} {gate}"),
    ] {
        let mut command = relgrad();
        for word in words.split(' ') {
            match word.strip_prefix('@') {
                Some(name) => command.arg(folder.join(name)),
                None => command.arg(word),
            };
        }
        let output = command.output().expect("relgrad starts");
        // So few and short rounds may leave a comparison undecided.
        let compares = words.starts_with("gate") || words.starts_with("compare");
        let ended = output.status.success() || (compares && output.status.code() == Some(5));
        assert!(ended, "{words}: {:?} {}", output.status, stderr(&output));
    }
    let files = "x.svg x.csv history.jsonl gate.jsonl sweep/report.html new/report.html learned/figures/training.png \
                 experiments/bias-mode.md";
    for name in files.split(' ') {
        assert!(folder.join(name).is_file(), "{name}");
    }
    let epochs = std::fs::read_to_string(folder.join("learned/epochs.jsonl")).expect("a log");
    assert_eq!(epochs.lines().count(), 9);
}

#[test]
fn a_path_that_is_no_utf8_is_told_in_one_line() {
    let output = relgrad().arg("report").arg(OsStr::from_bytes(b"no\xff\x1b[2J")).output().expect("relgrad starts");
    assert_eq!(output.status.code(), Some(2));
    let told = stderr(&output);
    assert!(told.lines().count() == 1 && told.contains("\\x1b[2J") && !told.contains('\u{1b}'), "{told:?}");
}
