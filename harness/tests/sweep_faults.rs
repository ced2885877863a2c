//! Sweeps that are disturbed, started twice, resumed elsewhere, or asked for the absurd.
#![cfg(unix)]

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{cells, lines, records, relgrad, stderr, stdout, tiny_cells, tiny_sweep};
use serde_json::{Value, json};

#[test]
fn of_two_sweeps_started_together_in_one_folder_one_has_it() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    for attempt in 0..20 {
        let dir = scratch.path().join(attempt.to_string());
        let start = |seed: u64| {
            let mut command = relgrad();
            command.args([
                "sweep",
                "--dims",
                "2",
                "--methods",
                "relative",
                "--batch",
                "4",
                "--threads",
                "1",
                "--rounds",
                "2",
            ]);
            command.args(["--no-roofline", "--seed", &seed.to_string(), "--out"]).arg(&dir);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("relgrad starts")
        };
        let outputs = [start(1), start(2)].map(|child| child.wait_with_output().expect("relgrad ends"));
        let mut codes = outputs.each_ref().map(|output| output.status.code());
        codes.sort_unstable();
        let told = || outputs.each_ref().map(stderr).concat();
        assert_eq!(codes, [Some(0), Some(2)], "attempt {attempt}: {}", told());
        let seed = run_json(&dir)["settings"]["seed"].clone();
        let records = records(&dir);
        assert_eq!(cells(&records).len(), 2, "attempt {attempt}: {}", told());
        assert!(records.iter().all(|record| record["cell"]["seed"] == seed), "attempt {attempt}: two sweeps mixed");
    }
}

#[test]
fn a_folder_with_something_in_it_is_refused_untouched_and_what_a_kill_left_is_used() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    std::fs::write(dir.path().join("thesis.tex"), "years").expect("a file");
    let output = tiny_sweep(dir.path(), 1).output().expect("relgrad starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("not empty (it has thesis.tex)"), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 1, "the folder was touched");

    let dir = tempfile::tempdir().expect("a scratch folder");
    std::fs::write(dir.path().join("records.jsonl"), "").expect("a file");
    std::fs::write(dir.path().join("run.json.partial"), "{").expect("a file");
    let output = tiny_sweep(dir.path(), 1).output().expect("relgrad starts");
    assert!(output.status.success(), "{}", stderr(&output));
    let output = tiny_sweep(dir.path(), 1).output().expect("relgrad starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("holds a sweep already"), "{}", stderr(&output));
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_is_replaced_meanwhile_goes_on_measuring() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let copy = dir.path().join("copy");
    std::fs::copy(env!("CARGO_BIN_EXE_relgrad"), &copy).expect("room for a copy");
    let out = dir.path().join("out");
    let tiny = tiny_sweep(&out, 3);
    let mut sweep = Command::new(&copy)
        .args(tiny.get_args())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the copy starts");
    wait_until("a record", || !lines(&out).is_empty());
    std::fs::remove_file(&copy).expect("the file can go");
    std::fs::write(&copy, "#!/bin/sh\nexit 1\n").expect("another program");
    let ended = sweep.wait().expect("the sweep ends");
    assert!(ended.success());
    let records = records(&out);
    assert_eq!(cells(&records), tiny_cells());
    assert!(records.iter().all(|record| record["outcome"] == "measured"), "a cell was measured by another program");
    assert!(out.join("report.html").is_file());
}

#[test]
fn another_program_or_machine_is_refused_unless_it_is_asked_for() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    assert!(tiny_sweep(dir.path(), 4).output().expect("relgrad starts").status.success());
    assert!(run_json(dir.path())["program"].as_str().is_some_and(|text| text.contains("CRC-32")));
    change_run(dir.path(), |run| {
        run["program"] = json!("17 bytes, CRC-32 00000000");
        run["machine"]["cpu"] = json!("abacus");
    });
    // With no cell to measure nothing can mix.
    assert!(resume(dir.path(), &[]).status.success());
    let kept = keep_lines(dir.path(), 7);
    let output = resume(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(2));
    let told = stderr(&output);
    assert!(
        told.contains("executable: 17 bytes") && told.contains("CPU: abacus, now ") && told.contains("--allow-mixed"),
        "{told}"
    );
    assert_eq!(lines(dir.path()), kept);

    let output = resume(dir.path(), &["--allow-mixed"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(cells(&records(dir.path())), tiny_cells());
    let report = std::fs::read_to_string(dir.path().join("report.md")).expect("a report");
    assert!(report.contains("After 7 records the sweep went on with another program"), "{report}");
    assert_eq!(run_json(dir.path())["changes"][0]["records"], 7);
}

#[test]
fn a_raised_limit_tries_again_what_it_held_back_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let mut command = relgrad();
    command.args([
        "sweep",
        "--dims",
        "5,300,600",
        "--methods",
        "relative",
        "--batch",
        "4",
        "--threads",
        "1",
        "--rounds",
        "2",
    ]);
    let output = command
        .args(["--no-roofline", "--mem-limit", "1MiB", "--out"])
        .arg(dir.path())
        .output()
        .expect("relgrad starts");
    assert!(output.status.success(), "{}", stderr(&output));
    let outcomes = |outcome: &str| records(dir.path()).iter().filter(|record| record["outcome"] == outcome).count();
    assert_eq!((outcomes("measured"), outcomes("skipped")), (2, 4));
    let measured: Vec<String> = lines(dir.path()).into_iter().filter(|line| line.contains("measured")).collect();

    // D = 300 takes some 1.5 MB, D = 600 some 6.
    let output = resume(dir.path(), &["--mem-limit", "3MiB"]);
    assert!(output.status.success() && stderr(&output).contains("4 cells held back by a limit"), "{}", stderr(&output));
    assert_eq!((outcomes("measured"), outcomes("skipped"), cells(&records(dir.path())).len()), (4, 2, 6));
    assert!(measured.iter().all(|line| lines(dir.path()).contains(line)), "a measured record was changed");
    let change = run_json(dir.path())["changes"][0].clone();
    assert_eq!(change["limits"], json!(["memory limit: 1 MiB, now 3 MiB"]));
    assert_eq!(run_json(dir.path())["settings"]["memory_limit_bytes"], 3 << 20);

    let before = lines(dir.path());
    assert!(resume(dir.path(), &["--mem-limit", "2MiB", "--cell-limit", "90s"]).status.success());
    assert_eq!(lines(dir.path()), before, "a lower limit takes nothing away");
}

#[test]
fn a_budget_that_ran_out_can_be_raised() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let output = tiny_sweep(dir.path(), 5).args(["--budget", "1ms"]).output().expect("relgrad starts");
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert_eq!(cells(&records(dir.path())), tiny_cells());
    let listed = resume(dir.path(), &["--list", "--budget", "1m"]);
    assert!(stdout(&listed).contains("12 cells: 0 recorded, 12 to run"), "{}", stdout(&listed));
    let output = resume(dir.path(), &["--budget", "1m"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let records = records(dir.path());
    assert_eq!(cells(&records), tiny_cells());
    assert!(records.iter().all(|record| record["outcome"] == "measured"));
    assert_eq!(run_json(dir.path())["changes"][0]["limits"], json!(["budget: 1 ms, now 60 s"]));
}

#[test]
fn absurd_numbers_on_the_command_line_are_refused_in_a_line() {
    let most = "18446744073709551615";
    for (flag, value) in [
        ("--cell-limit", "99999999999999999999s"),
        ("--budget", "1e300h"),
        ("--batch", "9223372036854775808"),
        ("--batch", most),
        ("--layers", most),
        ("--threads", most),
        ("--rounds", "10000000"),
        ("--rounds", most),
        ("--min-samples", most),
        ("--device", "tpu"),
        ("--device", ""),
        ("--dims", most),
        ("--mem-limit", "1e300GiB"),
    ] {
        let output = common::run(&["sweep", "--list", flag, value]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{flag} {value}: {told}");
        assert!(!told.contains("internal error") && told.len() < 500, "{flag} {value}: {told}");
    }
    let output = common::run(&["sweep", "--list", "--dims", "10", "--seed", most]);
    assert!(output.status.success(), "{}", stderr(&output));
    let conv = [
        "sweep",
        "--list",
        "--coupling",
        "conv",
        "--grids",
        "9223372036854775807x9223372036854775807",
        "--channels",
        most,
    ];
    assert_eq!(common::run(&conv).status.code(), Some(2));
}

#[test]
fn a_damaged_run_is_refused_in_a_line_before_anything_is_planned() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    assert!(tiny_sweep(dir.path(), 6).output().expect("relgrad starts").status.success());
    let whole = std::fs::read_to_string(dir.path().join("run.json")).expect("run.json");
    for (field, value) in [
        ("rounds", json!(1_000_000_000_000_u64)),
        ("threads", json!(u64::MAX)),
        ("devices", json!([])),
        ("devices", json!(["tpu"])),
        ("budget_seconds", json!(1e300)),
        ("cell_limit_seconds", json!(-1.0)),
        ("dims", json!([])),
        ("dims", json!([5, 5, 9])),
    ] {
        std::fs::write(dir.path().join("run.json"), &whole).expect("the whole file");
        change_run(dir.path(), |run| run["settings"][field] = value.clone());
        let output = resume(dir.path(), &[]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{field} = {value}: {told}");
        assert!(told.lines().count() == 1 && told.contains("run.json"), "{field} = {value}: {told}");
    }
}

#[test]
fn the_list_tells_one_time_and_many_rounds_are_listed() {
    let output = common::run(&["sweep", "--list", "--dims", "10", "--methods", "relative", "--rounds", "1"]);
    let text = stdout(&output);
    assert!(text.contains("run, about 400 ms") && text.contains("1 to run in about 400 ms"), "{text}");
    let output = common::run(&["sweep", "--list", "--rounds", "200", "--mem-limit", "8GiB"]);
    assert_eq!(
        stdout(&output).lines().filter(|line| line.contains("  run, about") || line.contains("  skip: ")).count(),
        8400
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_folder_whose_name_is_not_unicode_is_swept_resumed_and_reported() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let dir = scratch.path().join(OsStr::from_bytes(b"d\xff"));
    let output = tiny_sweep(&dir, 7).output().expect("relgrad starts");
    assert!(output.status.success(), "{}", stderr(&output));
    keep_lines(&dir, 5);
    let output = resume(&dir, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(cells(&records(&dir)), tiny_cells());
    std::fs::remove_file(dir.join("report.html")).expect("a report");
    assert!(relgrad().arg("report").arg(&dir).output().expect("relgrad starts").status.success());
    assert!(dir.join("report.html").is_file());
}

#[test]
fn a_report_that_cannot_be_drawn_leaves_the_records_and_says_how_to_draw_it() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    assert!(tiny_sweep(dir.path(), 8).output().expect("relgrad starts").status.success());
    let before = lines(dir.path());
    std::fs::remove_dir_all(dir.path().join("figures")).expect("figures");
    std::fs::write(dir.path().join("figures"), "in the way").expect("a file");
    let output = resume(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stdout(&output).contains("12 cells measured"), "{}", stdout(&output));
    let told = stderr(&output);
    assert!(told.contains("the records are kept") && told.contains("relgrad report "), "{told}");
    assert_eq!(lines(dir.path()), before);
}

/// In turn the driver and its child are killed; what an undisturbed sweep has, this one has in the end.
#[test]
#[cfg(target_os = "linux")]
fn whoever_is_killed_every_cell_has_its_record() {
    for seed in 0..2 {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let mut command = tiny_sweep(dir.path(), seed);
        for attempt in 0..8_u64 {
            let mut sweep = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("relgrad starts");
            std::thread::sleep(Duration::from_millis(40 + (seed * 7919 + attempt * 104_729) % 500));
            if attempt % 2 == 0 {
                let children = format!("/proc/{0}/task/{0}/children", sweep.id());
                for child in std::fs::read_to_string(children).unwrap_or_default().split_whitespace() {
                    // It may have ended by itself meanwhile.
                    let _ = Command::new("kill").args(["-KILL", child]).stderr(Stdio::null()).status();
                }
                std::thread::sleep(Duration::from_millis(30));
            }
            sweep.kill().expect("SIGKILL is delivered");
            sweep.wait().expect("the sweep is reaped");
            // Killed before the folder stood, the sweep starts anew in it.
            if dir.path().join("run.json").exists() {
                command = relgrad();
                command.args(["sweep", "--no-roofline", "--resume"]).arg(dir.path());
            }
        }
        let output = command.output().expect("relgrad starts");
        assert!(output.status.success(), "seed {seed}: {}", stderr(&output));
        let records = records(dir.path());
        assert_eq!(cells(&records), tiny_cells(), "seed {seed}");
        for record in records.iter().filter(|record| record["outcome"] != "measured") {
            let reason = record["reason"].as_str().unwrap_or_default();
            assert!(reason.contains("SIGKILL"), "seed {seed}: {reason}");
        }
    }
}

/// As root: elsewhere the system shows its own control groups, and there is nothing to test.
#[test]
#[cfg(target_os = "linux")]
fn a_job_below_the_root_of_the_control_groups_is_planned_within_its_limit() {
    let script = "mount --make-rprivate / && mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/job || exit 99
        echo $((300 << 20)) > /sys/fs/cgroup/job/memory.max; echo $((20 << 20)) > /sys/fs/cgroup/job/memory.current
        echo 'inactive_file 0' > /sys/fs/cgroup/job/memory.stat; echo '0::/job' > /sys/fs/cgroup/own
        mount --bind /sys/fs/cgroup/own /proc/$$/cgroup || exit 99
        exec \"$0\" sweep --dims 5000 --methods relative --rounds 1 --list";
    let output = Command::new("unshare").args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_relgrad")]).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else { return };
    assert!(stdout(&output).contains("exceeds the memory limit of 224 MiB"), "{}", stdout(&output));
}

fn resume(dir: &Path, flags: &[&str]) -> Output {
    let mut command = relgrad();
    command.args(["sweep", "--no-roofline", "--resume"]).arg(dir).args(flags);
    command.output().expect("relgrad starts")
}

fn run_json(dir: &Path) -> Value {
    let text = std::fs::read_to_string(dir.join("run.json")).expect("run.json is there from the start");
    serde_json::from_str(&text).expect("run.json is whole")
}

fn change_run(dir: &Path, change: impl FnOnce(&mut Value)) {
    let mut run = run_json(dir);
    change(&mut run);
    std::fs::write(dir.join("run.json"), run.to_string()).expect("run.json is written");
}

/// Shortens the records to the first ones.
fn keep_lines(dir: &Path, count: usize) -> Vec<String> {
    let kept: Vec<String> = lines(dir).into_iter().take(count).collect();
    std::fs::write(dir.join("records.jsonl"), kept.join("\n") + "\n").expect("records are written");
    kept
}

/// Waits for something that must happen within a minute on any machine.
fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
