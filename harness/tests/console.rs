//! Output that nobody reads, or that a full device refuses: measurements go on, and their files are whole.
#![cfg(unix)]

mod common;
#[path = "common/training.rs"]
mod training;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{ends, relgrad, scratch, stderr, tiny_cells, tiny_sweep, words};
use serde_json::Value;

/// The program with nobody at the other end of its pipes, from the first word on.
fn unread(command: &mut Command) -> Option<i32> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("relgrad starts");
    drop((child.stdout.take(), child.stderr.take()));
    child.wait().expect("relgrad ends").code()
}

/// The outcome of every cell.
fn outcomes(dir: &Path) -> BTreeMap<String, String> {
    let records = common::records(dir);
    records.iter().map(|r| (r["cell"].to_string(), r["outcome"].to_string())).collect()
}

/// What was learned in every epoch, without the time that it took.
fn epochs(dir: &Path) -> Vec<Value> {
    let mut epochs = training::epochs(dir);
    epochs.iter_mut().for_each(|epoch| epoch["seconds"] = Value::Null);
    epochs
}

fn train(out: &Path) -> Command {
    let mut command = words("train toy:moons --toy-samples 100 --epochs 20 --patience 0 --threads 1 --out");
    command.arg(out);
    command
}

fn on(folder: &Path, words: &str) -> Command {
    let mut words = words.split(' ');
    let mut command = relgrad();
    command.args(words.next()).arg(folder).args(words);
    command
}

#[test]
fn a_reader_that_leaves_changes_nothing_of_a_measurement() {
    let dir = scratch();
    let [watched, alone] = ["watched", "alone"].map(|name| dir.path().join(name));
    ends(&mut tiny_sweep(&watched, 1), 0);
    assert_eq!(unread(&mut tiny_sweep(&alone, 1)), Some(0));
    assert_eq!(outcomes(&alone), outcomes(&watched));
    assert_eq!(outcomes(&alone).len(), tiny_cells().len());
    assert!(alone.join("report.html").is_file());

    let figure = alone.join("figures/fig3.svg");
    std::fs::remove_file(&figure).expect("a figure");
    assert_eq!(unread(&mut on(&alone, "report")), Some(0));
    assert!(figure.is_file());
    assert_eq!(unread(&mut on(&alone, "export --format csv")), Some(0));
    assert_eq!(unread(&mut words("--help")), Some(0));
    assert_eq!(unread(&mut words("sweep --dims nonsense")), Some(2));

    let [watched, alone] = ["learned", "learned-alone"].map(|name| dir.path().join(name));
    ends(&mut train(&watched), 0);
    assert_eq!(unread(&mut train(&alone)), Some(0));
    assert_eq!(epochs(&alone), epochs(&watched));
}

/// Runs a command whose standard output, or standard error, is a device without space.
#[cfg(target_os = "linux")]
fn on_full_device(command: &mut Command, errors_too: bool) -> Output {
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("a device");
    command.stdout(full());
    command.stderr(if errors_too { Stdio::from(full()) } else { Stdio::piped() });
    command.spawn().and_then(std::process::Child::wait_with_output).expect("relgrad starts")
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_device_ends_with_code_3_and_the_records_are_whole() {
    let dir = scratch();
    let out = dir.path().join("sweep");
    let output = on_full_device(tiny_sweep(&out, 1).arg("--quiet"), false);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("relgrad: cannot write to standard output: "), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert_eq!(outcomes(&out).len(), tiny_cells().len());
    assert!(out.join("report.html").is_file());

    let learned = dir.path().join("learned");
    assert_eq!(on_full_device(&mut train(&learned), true).status.code(), Some(3));
    assert_eq!(epochs(&learned).len(), 21);
    let mut compare = words("compare --json");
    compare.args([&out, &out]);
    let of_folder = ["report", "plot", "export --format csv"].map(|words| on(&out, words));
    let others = ["--help", "--version", "sweep --help", "doctor"].map(words);
    for mut command in of_folder.into_iter().chain(others).chain([compare]) {
        let output = on_full_device(&mut command, false);
        assert_eq!(output.status.code(), Some(3), "{command:?}: {}", stderr(&output));
    }
}
