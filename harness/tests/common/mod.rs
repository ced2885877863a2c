//! What the tests of the program share: running it, and reading what it wrote.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub(crate) fn relgrad() -> Command {
    Command::new(env!("CARGO_BIN_EXE_relgrad"))
}

/// The program with the words of a line.
pub(crate) fn words(line: &str) -> Command {
    let mut command = relgrad();
    command.args(line.split_whitespace());
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    relgrad().args(arguments).output().expect("relgrad starts")
}

/// Runs a command that must end with `code`; what it wrote to standard output and to standard error.
#[track_caller]
pub(crate) fn ends(command: &mut Command, code: i32) -> (String, String) {
    let output = command.output().expect("the program starts");
    let (out, err) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{out}{err}");
    (out, err)
}

/// The command under a limit of the shell; none of its words has a quote in it.
pub(crate) fn limited(limit: &str, command: &Command) -> Command {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let mut shell = Command::new("sh");
    shell.current_dir(command.get_current_dir().unwrap_or(Path::new(".")));
    shell.args(["-c", &format!("{limit}; exec {}", words.join(" "))]);
    shell
}

/// A folder that is gone after the test.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir().expect("a scratch folder")
}

/// A sweep of twelve quick cells into `dir`.
pub(crate) fn tiny_sweep(dir: &Path, seed: u64) -> Command {
    let mut command = words("sweep --dims 2,5,9 --methods relative,ordinary --batch 4 --threads 1 --rounds 2");
    command.args(["--min-samples", "3", "--no-roofline", "--attempts", "1", "--seed", &seed.to_string(), "--out"]);
    command.arg(dir);
    command
}

/// Goes on with the sweep in `dir`.
pub(crate) fn resume(dir: &Path) -> Command {
    let mut command = words("sweep --no-roofline --attempts 1 --resume");
    command.arg(dir);
    command
}

/// The cells that [`tiny_sweep`] must leave a record of: method, D and round.
pub(crate) fn tiny_cells() -> BTreeSet<(String, u64, u64)> {
    let points = ["relative", "ordinary"].into_iter().flat_map(|method| [2, 5, 9].map(|dim| (method, dim)));
    points.flat_map(|(method, dim)| [0, 1].map(|round| (method.to_string(), dim, round))).collect()
}

/// `run.json` of a folder.
pub(crate) fn run_json(dir: &Path) -> Value {
    let text = std::fs::read_to_string(dir.join("run.json")).expect("run.json is there from the start");
    serde_json::from_str(&text).expect("run.json is whole")
}

/// Waits for something that must happen within a minute on any machine.
pub(crate) fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
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
        let count = |field: &str| cell[field].as_u64().expect("a count");
        (cell["method"].as_str().expect("a text").to_string(), count("dim"), count("round"))
    };
    let cells: BTreeSet<_> = records.iter().map(cell).collect();
    assert_eq!(cells.len(), records.len(), "a cell was recorded twice");
    cells
}

/// Whether MPI is installed; without it tests of ranks by MPI pass unseen, and `.ci/run` says so.
pub(crate) fn has_mpi() -> bool {
    ends(&mut words("doctor"), 0).0.contains("sweep --ranks starts the ranks of a cell by mpiexec")
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
