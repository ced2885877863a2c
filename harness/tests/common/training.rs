//! What the tests of `relgrad train` share: a training that takes a moment, and what its folder holds.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{relgrad, stderr};

/// A training of eight epochs of ten steps, with every part of the state in play.
pub(crate) fn training(dir: &Path, optimizer: &str) -> Command {
    training_of(dir, optimizer, "8")
}

/// The same, of so many epochs.
pub(crate) fn training_of(dir: &Path, optimizer: &str, epochs: &str) -> Command {
    let mut command = relgrad();
    command.args(["train", "toy:moons", "--toy-samples", "1000", "--epochs", epochs, "--patience", "0"]);
    command.args(["--optimizer", optimizer, "--learning-rate", "0.02", "--schedule", "inverse:3", "--layers", "3"]);
    command.args(["--threads", "1", "--seed", "5", "--quiet", "--out"]).arg(dir);
    command
}

pub(crate) fn success(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

pub(crate) fn epochs(dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("epochs.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The tensor file that a checkpoint names.
pub(crate) fn tensors(dir: &Path, name: &str) -> PathBuf {
    let state = json(&dir.join(format!("{name}.json")));
    dir.join(state["tensors"]["file"].as_str().unwrap())
}

/// Every number of a log but seconds and what log-determinants were carried from.
pub(crate) fn comparable(dir: &Path) -> Vec<(u64, u64, f64, f64)> {
    let number = |value: &Value| value.as_f64().unwrap();
    epochs(dir)
        .iter()
        .map(|e| {
            (
                e["epoch"].as_u64().unwrap(),
                e["step"].as_u64().unwrap(),
                number(&e["validation_nats"]),
                number(&e["learning_rate"]),
            )
        })
        .collect()
}

pub(crate) fn resume(dir: &Path) -> Command {
    let mut command = relgrad();
    command.args(["train", "--quiet", "--resume"]).arg(dir);
    command
}

/// Refused with code 2 and one line that has these parts.
pub(crate) fn refused(command: &mut Command, parts: &[&str]) {
    let output = command.output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.lines().count() == 1 && parts.iter().all(|part| text.contains(part)), "{parts:?}: {text}");
}

/// Whether two trainings hold the same parameters and moments, bit for bit, and nothing that was left over.
pub(crate) fn assert_same_end(whole: &Path, parts: &Path) {
    assert_eq!(comparable(whole), comparable(parts));
    for name in ["last", "best"] {
        let read = |dir: &Path| fs::read(tensors(dir, name)).unwrap();
        assert_eq!(read(whole), read(parts), "{name}");
    }
    let files = |dir: &Path| {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    assert_eq!(files(whole), files(parts));
}

/// Waits until a training has a checkpoint.
pub(crate) fn wait_for_checkpoint(dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !dir.join("last.json").exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}
