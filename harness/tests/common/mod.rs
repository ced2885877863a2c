//! What the tests of the program share: running it, and reading what it wrote.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The program under test.
pub(crate) fn relgrad() -> Command {
    Command::new(env!("CARGO_BIN_EXE_relgrad"))
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    relgrad().args(arguments).output().expect("relgrad starts")
}

/// A sweep of twelve quick cells into `dir`.
pub(crate) fn tiny_sweep(dir: &Path, seed: u64) -> Command {
    let mut command = relgrad();
    command.args(["sweep", "--dims", "2,5,9", "--methods", "relative,ordinary", "--batch", "4", "--threads", "1"]);
    command.args(["--rounds", "2", "--min-samples", "3", "--no-roofline", "--seed", &seed.to_string()]);
    command.arg("--out").arg(dir);
    command
}

/// The cells that [`tiny_sweep`] must leave a record of: method, D and round.
pub(crate) fn tiny_cells() -> BTreeSet<(String, u64, u64)> {
    let mut cells = BTreeSet::new();
    for method in ["relative", "ordinary"] {
        for dim in [2, 5, 9] {
            for round in [0, 1] {
                cells.insert((method.to_string(), dim, round));
            }
        }
    }
    cells
}

/// The lines of `records.jsonl`; none when there is no such file yet.
pub(crate) fn lines(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("records.jsonl")).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

/// The records of a folder, each of which must be whole.
pub(crate) fn records(dir: &Path) -> Vec<Value> {
    lines(dir).iter().map(|line| serde_json::from_str(line).expect("a whole line is a record")).collect()
}

/// The cells of records, each of which may be there once.
pub(crate) fn cells(records: &[Value]) -> BTreeSet<(String, u64, u64)> {
    let cell = |record: &Value| {
        let cell = &record["cell"];
        let method = cell["method"].as_str().expect("cell.method is a text").to_string();
        (
            method,
            cell["dim"].as_u64().expect("cell.dim is a count"),
            cell["round"].as_u64().expect("cell.round is a count"),
        )
    };
    let cells: BTreeSet<_> = records.iter().map(cell).collect();
    assert_eq!(cells.len(), records.len(), "a cell was recorded twice");
    cells
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The golden vectors that the kernels' tests carry.
pub(crate) fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/tests/golden")
}
