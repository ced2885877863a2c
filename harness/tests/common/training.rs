//! What the tests of `relgrad train` share: a training that takes a moment, and what its folder holds.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use tempfile::TempDir;

use crate::common::{ends, relgrad, wait_until};

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

/// A training of eight epochs that is done.
pub(crate) fn trained(optimizer: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    success(&mut training(&dir, optimizer));
    (folder, dir)
}

/// `relgrad train` with these words in a folder, on one thread and quiet.
pub(crate) fn train(folder: &Path, words: &[&str]) -> Command {
    let mut command = relgrad();
    command.arg("train").args(words).args(["--threads", "1", "--quiet"]);
    command.env_remove("RELGRAD_DATA").current_dir(folder);
    command
}

/// A matrix in version 1.0 of NumPy's format; its header ends at a multiple of 64 bytes, as NumPy's does.
pub(crate) fn npy(kind: &str, rows: usize, columns: usize, numbers: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 11;
    let start = ((length + 1) as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &start[..], format!("{header:length$}\n").as_bytes(), numbers].concat()
}

/// An npz of the arrays `train`, `val` and `test`.
pub(crate) fn npz(path: &Path, arrays: [Vec<u8>; 3]) {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in ["train", "val", "test"].into_iter().zip(arrays) {
        archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(&bytes).unwrap();
    }
    archive.finish().unwrap();
}

/// Whether every number of a checkpoint in f32 is finite.
pub(crate) fn assert_finite(dir: &Path, name: &str) {
    let bytes = fs::read(tensors(dir, name)).unwrap();
    for (name, tensor) in safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let mut numbers = tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
        assert!(numbers.all(f32::is_finite), "{name}");
    }
}

pub(crate) fn success(command: &mut Command) {
    ends(command, 0);
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
    let count = |e: &Value, what: &str| e[what].as_u64().unwrap();
    let number = |e: &Value, what: &str| e[what].as_f64().unwrap();
    let of =
        |e: &Value| (count(e, "epoch"), count(e, "step"), number(e, "validation_nats"), number(e, "learning_rate"));
    epochs(dir).iter().map(of).collect()
}

pub(crate) fn resume(dir: &Path) -> Command {
    let mut command = relgrad();
    command.args(["train", "--quiet", "--resume"]).arg(dir);
    command
}

/// Refused with code 2 and one line that has these parts.
pub(crate) fn refused(command: &mut Command, parts: &[&str]) {
    let (_, text) = ends(command, 2);
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
        names.collect::<BTreeSet<_>>()
    };
    assert_eq!(files(whole), files(parts));
}

/// Waits until a training has a checkpoint.
pub(crate) fn wait_for_checkpoint(dir: &Path) {
    wait_until("a checkpoint", || dir.join("last.json").exists());
}
