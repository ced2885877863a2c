//! Whole sweeps by the built program: what they leave behind, whatever ends them.
#![cfg(unix)]

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{cells, lines, records, relgrad, stderr, stdout, tiny_cells, tiny_sweep};
use serde_json::Value;

#[test]
fn a_sweep_measures_every_cell_and_leaves_a_report() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let output = tiny_sweep(dir.path(), 1).output().expect("relgrad starts");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("12 cells measured, 0 skipped, 0 failed"), "{}", stdout(&output));
    assert_eq!(stderr(&output).lines().count(), 12, "one line a cell: {}", stderr(&output));

    let records = records(dir.path());
    assert_eq!(cells(&records), tiny_cells());
    for record in &records {
        let cell = &record["cell"];
        assert_eq!((cell["device"].as_str(), cell["dtype"].as_str()), (Some("cpu"), Some("f32")));
        assert_eq!((cell["batch"].as_u64(), cell["layers"].as_u64()), (Some(4), Some(2)));
        assert_eq!(record["outcome"], "measured");
        let seconds = record["seconds"].as_array().expect("raw samples");
        assert!(seconds.len() >= 3 && seconds.iter().all(|one| one.as_f64().is_some_and(|one| one > 0.0)));
        assert!(record["model"]["flops"].as_f64().is_some_and(|flops| flops > 0.0));
        assert!(record["model"]["min_bytes"].as_f64().is_some_and(|bytes| bytes > 0.0));
        assert!(record["check"]["max_rel_err"].as_f64() <= record["check"]["tolerance"].as_f64());
        if cfg!(target_os = "linux") {
            assert!(record["peak_bytes"].is_u64());
            assert!(record["memory_trace"].as_array().is_some_and(|trace| !trace.is_empty() && trace.len() <= 500));
        }
    }
    for file in
        ["run.json", "report.md", "report.html", "summary.json", "summary.csv", "figures/fig3.svg", "figures/fig3.png"]
    {
        assert!(dir.path().join(file).is_file(), "{file} is missing");
    }
    let run = run_json(dir.path());
    assert!(run["ended"].is_string());
    assert_eq!(run["settings"]["seed"], 1);
    assert!(run["machine"]["cpu"].as_str().is_some_and(|cpu| !cpu.is_empty()));
}

/// Grids of one and two dimensions, both sides of the largest D that is checked against the reference.
#[test]
fn a_sweep_over_convolutions_has_the_grid_as_its_axis() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let mut command = relgrad();
    command.args(["sweep", "--coupling", "conv", "--channels", "2", "--grids", "5,4x4,100", "--bias"]);
    command.args(["--methods", "relative,ordinary,autodiff", "--batch", "3", "--threads", "1", "--rounds", "1"]);
    let output = command.args(["--min-samples", "3", "--out"]).arg(dir.path()).output().expect("relgrad starts");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("9 cells measured, 0 skipped, 0 failed"), "{}", stdout(&output));

    let records = records(dir.path());
    let mut kinds = std::collections::BTreeSet::new();
    for record in &records {
        let convolution = &record["cell"]["convolution"];
        let grid = [0, 1].map(|axis| convolution["grid"][axis].as_u64().expect("a count"));
        assert_eq!(convolution["kernel"], convolution["grid"]);
        assert_eq!(record["cell"]["dim"].as_u64(), Some(2 * grid[0] * grid[1]));
        kinds.insert(record["check"]["kind"].as_str().expect("a kind").to_string());
        assert!(record["check"]["max_rel_err"].as_f64() <= record["check"]["tolerance"].as_f64());
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["directional-derivative", "reference"]);
    let report = std::fs::read_to_string(dir.path().join("report.md")).expect("a report");
    assert!(report.contains("convolutions of 2 channels on 5 to 100 points, kernels with every tap"), "{report}");
    assert!(report.contains("exponent of the number n of grid points"), "{report}");

    // The folder is whole: nothing is left to run.
    let again = relgrad().arg("sweep").arg("--resume").arg(dir.path()).output().expect("relgrad starts");
    assert!(stdout(&again).contains("9 cells measured"), "{}", stdout(&again));
}

/// Kernels of small support have no relative gradient, and 1×1 kernels have one on pixels.
#[test]
fn small_kernels_are_swept_with_the_methods_that_they_have() {
    for (kernel, methods, cells) in [("3x3", "ordinary,autodiff-streamed", 2), ("1x1", "relative,ordinary", 2)] {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let mut command = relgrad();
        command.args(["sweep", "--coupling", "conv", "--channels", "3", "--grids", "4x5", "--kernel", kernel]);
        command.args(["--methods", methods, "--batch", "3", "--threads", "1", "--rounds", "1", "--quiet"]);
        let output = command.args(["--min-samples", "3", "--out"]).arg(dir.path()).output();
        let output = output.expect("relgrad starts");
        let expected = format!("{cells} cells measured, 0 skipped, 0 failed");
        assert!(stdout(&output).contains(&expected), "{kernel}: {}{}", stdout(&output), stderr(&output));
    }
}

#[test]
fn a_sweep_measures_the_ceilings_once_and_reports_fractions_of_them() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let mut command = relgrad();
    command.args(["sweep", "--dims", "2,5", "--methods", "relative", "--batch", "4", "--threads", "1"]);
    let output = command.args(["--rounds", "1", "--out"]).arg(dir.path()).output().expect("relgrad starts");
    assert!(output.status.success(), "{}", stderr(&output));
    let measured = run_json(dir.path())["rooflines"].clone();
    assert_eq!(measured[0]["device"], "cpu");
    let rates = measured[0]["rates"].as_array().expect("rates");
    assert!(rates.iter().all(|rate| rate["threads"] == 1 && rate["dtype"] == "f32"));
    assert!(rates.iter().all(|rate| rate["flops_per_second"].as_f64().is_some_and(|rate| rate > 0.0)));
    let report = std::fs::read_to_string(dir.path().join("report.md")).expect("a report");
    assert!(report.contains("## Ceilings") && report.contains("of ceiling"), "{report}");

    // A cell is missing, and the ceilings are there.
    let path = dir.path().join("records.jsonl");
    let first = lines(dir.path()).remove(0);
    std::fs::write(&path, first + "\n").expect("the shortened file is written");
    let mut command = relgrad();
    let output = command.args(["sweep", "--resume"]).arg(dir.path()).output().expect("relgrad starts");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(lines(dir.path()).len(), 2);
    assert_eq!(run_json(dir.path())["rooflines"], measured);
}

#[test]
fn a_sweep_killed_at_random_moments_resumes_to_the_same_cells() {
    for seed in 0..3 {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let mut command = tiny_sweep(dir.path(), seed);
        for attempt in 0..3 {
            let delay = Duration::from_millis(80 + (seed * 7919 + attempt * 104_729) % 900);
            let mut sweep = quiet(&mut command).spawn().expect("relgrad starts");
            std::thread::sleep(delay);
            sweep.kill().expect("SIGKILL is delivered");
            sweep.wait().expect("the sweep is reaped");
            if !dir.path().join("run.json").exists() {
                // Killed before the folder stood: there is nothing to resume, and nothing in the way of a new start.
                continue;
            }
            command = resume(dir.path());
        }
        let before = lines(dir.path());
        let output = command.output().expect("relgrad starts");
        assert!(output.status.success(), "seed {seed}: {}", stderr(&output));
        assert_eq!(cells(&records(dir.path())), tiny_cells(), "seed {seed}");
        let whole: Vec<&String> = before.iter().filter(|line| serde_json::from_str::<Value>(line).is_ok()).collect();
        let after = lines(dir.path());
        assert!(after.iter().take(whole.len()).eq(whole), "seed {seed}: a record was changed or measured again");
    }
}

#[test]
fn a_torn_last_line_is_measured_again() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let output = tiny_sweep(dir.path(), 5).output().expect("relgrad starts");
    assert!(output.status.success(), "{}", stderr(&output));
    let path = dir.path().join("records.jsonl");
    let text = std::fs::read_to_string(&path).expect("records");
    let kept: usize = text.split_inclusive('\n').take(7).map(str::len).sum();
    std::fs::write(&path, &text[..kept + 100]).expect("the torn file is written");

    let output = resume(dir.path()).output().expect("relgrad starts");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1 + 5, "only the missing cells run: {}", stderr(&output));
    assert!(stderr(&output).contains("was cut off"), "{}", stderr(&output));
    assert_eq!(cells(&records(dir.path())), tiny_cells());
    assert_eq!(lines(dir.path())[..7], text.lines().take(7).map(str::to_string).collect::<Vec<_>>());
}

#[test]
fn resuming_a_complete_sweep_runs_nothing() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    assert!(tiny_sweep(dir.path(), 6).output().expect("relgrad starts").status.success());
    let before = lines(dir.path());
    let output = resume(dir.path()).output().expect("relgrad starts");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(lines(dir.path()), before);
}

#[test]
fn ctrl_c_keeps_the_records_and_says_how_to_go_on() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let mut sweep =
        tiny_sweep(dir.path(), 7).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("relgrad starts");
    wait_until("two records", || lines(dir.path()).len() >= 2);
    // Twice, as `timeout` and some shells do.
    signal(&sweep, "INT");
    signal(&sweep, "INT");
    let output = finish(&mut sweep);
    assert_eq!(output.0, Some(130));
    assert!(output.1.contains(&format!("relgrad sweep --resume {}", dir.path().display())), "{}", output.1);
    let kept = records(dir.path()).len();
    assert!((2..12).contains(&kept), "{kept} records");
    assert!(dir.path().join("report.md").is_file());
    assert!(run_json(dir.path())["ended"].is_null());

    assert!(resume(dir.path()).output().expect("relgrad starts").status.success());
    assert_eq!(cells(&records(dir.path())), tiny_cells());
}

#[test]
#[cfg(target_os = "linux")]
fn a_killed_sweep_leaves_no_process_behind() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    // One cell of many seconds.
    let mut command = relgrad();
    command.args([
        "sweep",
        "--dims",
        "150",
        "--methods",
        "autodiff",
        "--dtype",
        "f64",
        "--threads",
        "1",
        "--rounds",
        "1",
        "--no-roofline",
    ]);
    let mut sweep = quiet(command.arg("--out").arg(dir.path())).spawn().expect("relgrad starts");
    let children = format!("/proc/{0}/task/{0}/children", sweep.id());
    let mut child = String::new();
    wait_until("the cell's process", || {
        child = std::fs::read_to_string(&children).unwrap_or_default().trim().to_string();
        !child.is_empty()
    });
    sweep.kill().expect("SIGKILL is delivered");
    sweep.wait().expect("the sweep is reaped");
    wait_until("the end of the cell's process", || !is_running(&child));
}

/// A process that ended but that nobody reaped (in a container without an init) is a zombie, not running.
#[cfg(target_os = "linux")]
fn is_running(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn a_full_disk_ends_the_sweep_with_the_earlier_records_whole() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    // The limit on the size of a file stands for the disk: room for run.json and some records, not for all. The program
    // ignores its signal, so that a write over the limit fails as one on a full disk does.
    let script = format!("ulimit -f 64; exec {}", shell_words(&tiny_sweep(dir.path(), 8)));
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh starts");
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("records.jsonl"), "{}", stderr(&output));
    assert!(stderr(&output).contains("go on with: relgrad sweep --resume"), "{}", stderr(&output));
    let kept = records(dir.path()).len();
    assert!(kept < 12, "{kept} records");

    assert!(resume(dir.path()).output().expect("relgrad starts").status.success());
    assert_eq!(cells(&records(dir.path())), tiny_cells());
}

#[test]
#[cfg(target_os = "linux")]
fn a_cell_without_address_space_is_a_failed_record_and_the_sweep_goes_on() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let mut command = relgrad();
    command.args([
        "sweep",
        "--dims",
        "5,6000",
        "--methods",
        "relative",
        "--threads",
        "1",
        "--rounds",
        "1",
        "--batch",
        "4",
    ]);
    command.args(["--mem-limit", "8GiB", "--out"]).arg(dir.path());
    // D = 6000 takes some 600 MB. The limit comes from outside, so that the sweep does not foresee it.
    let script = format!("ulimit -v 400000; exec {}", shell_words(&command));
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh starts");
    assert!(output.status.success(), "{}", stderr(&output));
    // Nor is there room for the arrays of the ceilings.
    assert!(stderr(&output).contains("no fractions of ceilings: "), "{}", stderr(&output));
    assert!(run_json(dir.path())["rooflines"].is_null());
    let records = records(dir.path());
    let of = |dim: u64| records.iter().find(|record| record["cell"]["dim"] == dim).expect("a record of each cell");
    assert_eq!(of(5)["outcome"], "measured");
    assert_eq!(of(6000)["outcome"], "failed");
    let reason = of(6000)["reason"].as_str().expect("a reason");
    assert!(reason.contains("alloc"), "{reason}");
}

#[test]
fn a_cell_that_exceeds_a_limit_is_a_skipped_record_with_its_prediction() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let mut command = relgrad();
    command.args([
        "sweep",
        "--dims",
        "20000",
        "--methods",
        "autodiff",
        "--rounds",
        "1",
        "--no-roofline",
        "--mem-limit",
        "1GiB",
        "--out",
    ]);
    let output = command.arg(dir.path()).output().expect("relgrad starts");
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let records = records(dir.path());
    assert_eq!(records[0]["outcome"], "skipped");
    assert!(records[0]["prediction"]["peak_bytes"].as_f64().is_some_and(|bytes| bytes > 1e11));
    let reason = records[0]["reason"].as_str().expect("a reason");
    assert!(reason.ends_with("exceeds the memory limit of 1 GiB"), "{reason}");
}

#[test]
fn report_and_plot_work_from_the_folder_alone() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    assert!(tiny_sweep(dir.path(), 9).output().expect("relgrad starts").status.success());
    let path = dir.path().to_str().expect("a plain path");
    std::fs::remove_file(dir.path().join("report.md")).expect("the report was there");
    let output = common::run(&["report", path]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(dir.path().join("report.md").is_file());

    let png = dir.path().join("one.png");
    let output = common::run(&["plot", path, "--figure", "fig3", "--out", png.to_str().expect("a plain path")]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(std::fs::read(&png).expect("the figure").starts_with(b"\x89PNG"));
}

fn resume(dir: &Path) -> Command {
    let mut command = relgrad();
    command.args(["sweep", "--no-roofline", "--resume"]).arg(dir);
    command
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::null()).stderr(Stdio::null())
}

fn run_json(dir: &Path) -> Value {
    let text = std::fs::read_to_string(dir.join("run.json")).expect("run.json is there from the start");
    serde_json::from_str(&text).expect("run.json is whole")
}

/// The command as words of a shell; none of them has a quote in it.
fn shell_words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn signal(process: &Child, name: &str) {
    let sent =
        Command::new("kill").args([&format!("-{name}"), &process.id().to_string()]).status().expect("kill starts");
    assert!(sent.success());
}

/// Exit code and standard error.
fn finish(process: &mut Child) -> (Option<i32>, String) {
    let mut text = String::new();
    let pipe = process.stderr.as_mut().expect("standard error is piped");
    std::io::Read::read_to_string(pipe, &mut text).expect("standard error is text");
    (process.wait().expect("the process is reaped").code(), text)
}

/// Waits for something that must happen within a minute on any machine.
fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
