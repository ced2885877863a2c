//! Sweeps whose weights are split over ranks: by threads of one process, and by MPI where it is installed.
#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::{ends, has_mpi, records, run_json, scratch, stderr, wait_until, words};
use serde_json::Value;

/// A sweep of `relative` and `relative-inplace` at D = 13 and 37 over 1, 2 and 3 ranks.
fn sweep(dir: &Path) -> Command {
    let mut command = words("sweep --dims 13,37 --methods relative,relative-inplace --batch 4 --threads 2 --bias");
    command.args("--ranks 1,2,3 --rounds 1 --min-samples 3 --attempts 1 --no-roofline --out".split(' ')).arg(dir);
    command
}

/// Fails unless every cell was measured and has moved what the formula says, by `transport`.
fn require_measured(dir: &Path, transport: &str) {
    let records = records(dir);
    assert_eq!(records.len(), 2 * 2 * 3);
    for record in &records {
        assert_eq!(record["outcome"], "measured", "{record}");
        let (cell, exchanged) = (&record["cell"], &record["exchanged"]);
        let Some(ranks) = cell["ranks"].as_u64() else {
            assert!(exchanged.is_null(), "{record}");
            continue;
        };
        let dim = cell["dim"].as_u64().expect("a dimension");
        assert_eq!(exchanged["transport"], transport, "{record}");
        // Two layers of three blocks of D×4 numbers of 4 bytes, which come to every rank but one.
        assert_eq!(exchanged["received_bytes"], 2 * 3 * dim * 4 * 4 * (ranks - 1), "{record}");
        assert_eq!((&exchanged["collectives"], &record["check"]["kind"]), (&4.into(), &"one-rank".into()));
        assert!(record["peak_bytes"].is_u64() && record["state"].is_null(), "{record}");
    }
    let run = run_json(dir);
    assert_eq!((&run["settings"]["ranks"], &run["settings"]["other_ranks"]), (&Value::Null, &[2, 3].as_slice().into()));
    let report = std::fs::read_to_string(dir.join("report.md")).expect("a report");
    assert!(report.contains("How time changes with ranks") && report.contains("faster than on 1 rank"), "{report}");
}

#[test]
fn a_sweep_over_ranks_in_threads_measures_each_and_moves_what_the_formula_says() {
    let dir = scratch();
    let (list, _) = ends(sweep(dir.path()).arg("--list"), 0);
    assert!(list.contains("12 cells: 0 recorded, 12 to run") && list.contains(" 2 in 3 "), "{list}");
    let (out, err) = ends(sweep(dir.path()).env("PATH", ""), 0);
    assert!(out.contains("12 cells measured, 0 skipped, 0 failed"), "{out}{err}");
    assert!(err.contains("2 threads, 3 ranks, round 1"), "{err}");
    require_measured(dir.path(), "threads");
}

#[test]
fn what_ranks_cannot_share_is_refused() {
    for (line, told) in [
        ("sweep --dims 10 --ranks 2 --methods ordinary", "ordinary has no form over ranks"),
        ("sweep --dims 3,10 --ranks 1,4 --methods relative", "4 ranks cannot share the 3 columns"),
        ("sweep --dims 10 --ranks 2 --methods relative --step adam", "several ranks require"),
        ("sweep --dims 10 --ranks 0 --methods relative", "`0`"),
    ] {
        let (_, err) = ends(&mut words(line), 2);
        assert!(err.contains(told), "{line}: {err}");
    }
}

#[test]
fn a_sweep_over_ranks_by_mpi_measures_each_and_moves_what_the_formula_says() {
    if !has_mpi() {
        return;
    }
    let dir = scratch();
    let (out, err) = ends(&mut sweep(dir.path()), 0);
    assert!(out.contains("12 cells measured, 0 skipped, 0 failed"), "{out}{err}");
    require_measured(dir.path(), "mpi");
}

/// The processes of a cell with this seed that are ranks.
fn ranks_of(seed: &str) -> Vec<u32> {
    let is_rank = |pid: &u32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&str> = line.split('\0').collect();
        words.get(1) == Some(&"worker") && line.contains(seed)
    };
    let entries = std::fs::read_dir("/proc").expect("processes").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(is_rank).collect()
}

#[test]
fn a_rank_that_is_killed_ends_the_others_and_leaves_a_record() {
    if !has_mpi() {
        return;
    }
    let dir = scratch();
    let seed = "867530912345";
    let mut sweep = words("sweep --dims 1500 --methods relative --batch 50 --threads 2 --ranks 3 --rounds 1");
    sweep.args("--min-samples 100000 --budget none --cell-limit 10m --attempts 1 --no-roofline --seed".split(' '));
    let child = sweep.arg(seed).arg("--out").arg(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("relgrad starts");
    wait_until("three ranks", || ranks_of(seed).len() == 3);
    std::thread::sleep(std::time::Duration::from_secs(2));
    let start = Instant::now();
    // SAFETY: kill touches no memory; the process is a rank that this test started.
    unsafe { libc::kill(ranks_of(seed)[1] as libc::pid_t, libc::SIGKILL) };
    let output = child.wait_with_output().expect("relgrad ends");
    assert!(start.elapsed().as_secs() < 20, "{:?}: {}", start.elapsed(), stderr(&output));
    assert_eq!(ranks_of(seed), Vec::<u32>::new(), "ranks live on");
    let records = records(dir.path());
    assert_eq!((records.len(), &records[0]["outcome"]), (1, &"failed".into()), "{}", stderr(&output));
    let reason = records[0]["reason"].as_str().expect("a reason");
    // A rank that was reading the other's memory may be ended by MPI before mpiexec sees the kill.
    let ends = ["a rank was ended: Killed (signal 9)", "process_vm_readv failed (errno 3)"];
    assert!(ends.iter().any(|end| reason.ends_with(end)), "{reason}");
}
