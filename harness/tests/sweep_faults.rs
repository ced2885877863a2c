//! Sweeps that are disturbed, started twice, resumed elsewhere, or asked for the absurd.
#![cfg(unix)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{
    cells, ends, lines, records, resume, run_json, scratch, stderr, stdout, tiny_cells, tiny_sweep, wait_until, words,
};
use serde_json::{Value, json};

#[test]
fn of_two_sweeps_started_together_in_one_folder_one_has_it() {
    let scratch = scratch();
    for attempt in 0..20 {
        let dir = scratch.path().join(attempt.to_string());
        let start = |seed: u64| {
            let mut command = words("sweep --dims 2 --methods relative --batch 4 --threads 1 --rounds 2 --no-roofline");
            command.args(["--attempts", "1", "--seed", &seed.to_string(), "--out"]).arg(&dir);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("relgrad starts")
        };
        let outputs = [start(1), start(2)].map(|child| child.wait_with_output().expect("relgrad ends"));
        let mut codes = outputs.each_ref().map(|output| output.status.code());
        codes.sort_unstable();
        let told = outputs.each_ref().map(stderr).concat();
        assert_eq!(codes, [Some(0), Some(2)], "attempt {attempt}: {told}");
        let seed = run_json(&dir)["settings"]["seed"].clone();
        let records = records(&dir);
        assert_eq!(cells(&records).len(), 2, "attempt {attempt}: {told}");
        assert!(records.iter().all(|record| record["cell"]["seed"] == seed), "attempt {attempt}: two sweeps mixed");
    }
}

#[test]
fn a_folder_with_something_in_it_is_refused_untouched_and_what_a_kill_left_is_used() {
    let dir = scratch();
    fs::write(dir.path().join("thesis.tex"), "years").expect("a file");
    let (_, err) = ends(&mut tiny_sweep(dir.path(), 1), 2);
    assert!(err.contains("not empty (it has thesis.tex)"), "{err}");
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1, "the folder was touched");

    let dir = scratch();
    fs::write(dir.path().join("records.jsonl"), "").expect("a file");
    fs::write(dir.path().join("run.json.partial"), "{").expect("a file");
    ends(&mut tiny_sweep(dir.path(), 1), 0);
    let (_, err) = ends(&mut tiny_sweep(dir.path(), 1), 2);
    assert!(err.contains("already has a sweep"), "{err}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_is_replaced_meanwhile_goes_on_measuring() {
    let dir = scratch();
    let (copy, out) = (dir.path().join("copy"), dir.path().join("out"));
    fs::copy(env!("CARGO_BIN_EXE_relgrad"), &copy).expect("room for a copy");
    let mut sweep = Command::new(&copy);
    sweep.args(tiny_sweep(&out, 3).get_args()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut sweep = sweep.spawn().expect("the copy starts");
    wait_until("a record", || !lines(&out).is_empty());
    fs::remove_file(&copy).expect("the file can go");
    fs::write(&copy, "#!/bin/sh\nexit 1\n").expect("another program");
    assert!(sweep.wait().expect("the sweep ends").success());
    let records = records(&out);
    assert_eq!(cells(&records), tiny_cells());
    assert!(records.iter().all(|record| record["outcome"] == "measured"), "a cell was measured by another program");
    assert!(out.join("report.html").is_file());
}

#[test]
fn another_program_or_machine_is_refused_unless_it_is_asked_for() {
    let dir = scratch();
    ends(&mut tiny_sweep(dir.path(), 4), 0);
    assert!(run_json(dir.path())["program"].as_str().is_some_and(|text| text.contains("CRC-32")));
    change_run(dir.path(), |run| {
        run["program"] = json!("17 bytes, CRC-32 00000000");
        run["machine"]["cpu"] = json!("abacus");
    });
    // With no cell to measure nothing can mix.
    ends(&mut resume(dir.path()), 0);
    let kept = keep_lines(dir.path(), 7);
    let (_, told) = ends(&mut resume(dir.path()), 2);
    for part in ["executable: 17 bytes", "CPU: abacus, now ", "--allow-mixed"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(lines(dir.path()), kept);

    ends(resume(dir.path()).arg("--allow-mixed"), 0);
    assert_eq!(cells(&records(dir.path())), tiny_cells());
    let report = fs::read_to_string(dir.path().join("report.md")).expect("a report");
    assert!(report.contains("After 7 records the sweep continued with another program"), "{report}");
    assert_eq!(run_json(dir.path())["changes"][0]["records"], 7);
}

#[test]
fn a_raised_limit_tries_again_what_it_held_back_and_nothing_else() {
    let dir = scratch();
    let mut command = words("sweep --dims 5,300,600 --methods relative --batch 4 --threads 1 --rounds 2 --no-roofline");
    command.args(["--attempts", "1"]);
    ends(command.args(["--mem-limit", "1MiB", "--out"]).arg(dir.path()), 0);
    let outcomes = |outcome: &str| records(dir.path()).iter().filter(|record| record["outcome"] == outcome).count();
    assert_eq!((outcomes("measured"), outcomes("skipped")), (2, 4));
    let measured: Vec<String> = lines(dir.path()).into_iter().filter(|line| line.contains("measured")).collect();

    // D = 300 takes some 1.5 MB, D = 600 some 6.
    let (_, told) = ends(resume(dir.path()).args(["--mem-limit", "3MiB"]), 0);
    assert!(told.contains("4 cells run again"), "{told}");
    assert_eq!((outcomes("measured"), outcomes("skipped"), cells(&records(dir.path())).len()), (4, 2, 6));
    assert!(measured.iter().all(|line| lines(dir.path()).contains(line)), "a measured record was changed");
    let run = run_json(dir.path());
    assert_eq!(run["changes"][0]["limits"], json!(["memory limit: 1 MiB, now 3 MiB"]));
    assert_eq!(run["settings"]["memory_limit_bytes"], 3 << 20);

    let before = lines(dir.path());
    ends(resume(dir.path()).args(["--mem-limit", "2MiB", "--cell-limit", "90s"]), 0);
    assert_eq!(lines(dir.path()), before, "a lower limit takes nothing away");
}

#[test]
fn a_budget_that_ran_out_can_be_raised() {
    let dir = scratch();
    ends(tiny_sweep(dir.path(), 5).args(["--budget", "1ms"]), 4);
    assert_eq!(cells(&records(dir.path())), tiny_cells());
    let (listed, _) = ends(resume(dir.path()).args(["--list", "--budget", "1m"]), 0);
    assert!(listed.contains("12 cells: 0 recorded, 12 to run"), "{listed}");
    ends(resume(dir.path()).args(["--budget", "1m"]), 0);
    let records = records(dir.path());
    assert_eq!(cells(&records), tiny_cells());
    assert!(records.iter().all(|record| record["outcome"] == "measured"));
    assert_eq!(run_json(dir.path())["changes"][0]["limits"], json!(["budget: 1 ms, now 60 s"]));
}

#[test]
fn absurd_numbers_on_the_command_line_are_refused_in_a_line() {
    let most = "18446744073709551615";
    let flags = "--cell-limit 99999999999999999999s|--budget 1e300h|--batch 9223372036854775808|--batch MOST|\
                 --layers MOST|--threads MOST|--rounds 10000000|--rounds MOST|--min-samples MOST|--device tpu|\
                 --device=|--dims MOST|--mem-limit 1e300GiB|\
                 --coupling conv --grids 9223372036854775807x9223372036854775807 --channels MOST";
    for flags in flags.replace("MOST", most).split('|') {
        let (_, told) = ends(&mut words(&format!("sweep --list {flags}")), 2);
        assert!(!told.contains("internal error") && told.len() < 500, "{flags}: {told}");
    }
    ends(&mut words(&format!("sweep --list --dims 10 --seed {most}")), 0);
}

#[test]
fn a_damaged_run_is_refused_in_a_line_before_anything_is_planned() {
    let dir = scratch();
    ends(&mut tiny_sweep(dir.path(), 6), 0);
    let whole = run_json(dir.path());
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
        change_run(dir.path(), |run| {
            run.clone_from(&whole);
            run["settings"][field] = value.clone();
        });
        let (_, told) = ends(&mut resume(dir.path()), 2);
        assert!(told.lines().count() == 1 && told.contains("run.json"), "{field} = {value}: {told}");
    }
}

#[test]
fn the_list_tells_one_time_and_many_rounds_are_listed() {
    let (text, _) = ends(&mut words("sweep --list --dims 10 --methods relative --rounds 1"), 0);
    assert!(text.contains("run, about 400 ms") && text.contains("1 to run in about 400 ms"), "{text}");
    let (text, _) = ends(&mut words("sweep --list --rounds 200 --mem-limit 8GiB"), 0);
    let is_cell = |line: &&str| line.contains("  run, about") || line.contains("  skip: ");
    assert_eq!(text.lines().filter(is_cell).count(), 8400);
}

#[test]
fn a_report_that_cannot_be_drawn_leaves_the_records_and_says_how_to_draw_it() {
    let dir = scratch();
    ends(&mut tiny_sweep(dir.path(), 8), 0);
    let before = lines(dir.path());
    fs::remove_dir_all(dir.path().join("figures")).expect("figures");
    fs::write(dir.path().join("figures"), "in the way").expect("a file");
    let (out, told) = ends(&mut resume(dir.path()), 3);
    assert!(out.contains("12 cells measured"), "{out}");
    assert!(told.contains("the records are kept") && told.contains("relgrad report "), "{told}");
    assert_eq!(lines(dir.path()), before);
}

/// In turn the driver and its child are killed; what an undisturbed sweep has, this one has in the end.
#[test]
#[cfg(target_os = "linux")]
fn whoever_is_killed_every_cell_has_its_record() {
    for seed in 0..2 {
        let dir = scratch();
        let mut command = tiny_sweep(dir.path(), seed);
        for attempt in 0..8_u64 {
            let mut sweep = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("relgrad starts");
            std::thread::sleep(Duration::from_millis(40 + (seed * 7919 + attempt * 104_729) % 500));
            if attempt % 2 == 0 {
                let children = format!("/proc/{0}/task/{0}/children", sweep.id());
                for child in fs::read_to_string(children).unwrap_or_default().split_whitespace() {
                    // It may have ended by itself meanwhile.
                    let _ = Command::new("kill").args(["-KILL", child]).stderr(Stdio::null()).status();
                }
                std::thread::sleep(Duration::from_millis(30));
            }
            sweep.kill().expect("SIGKILL is delivered");
            sweep.wait().expect("the sweep is reaped");
            // Killed before the folder stood, the sweep starts anew in it.
            if dir.path().join("run.json").exists() {
                command = resume(dir.path());
            }
        }
        ends(command.stdout(Stdio::piped()).stderr(Stdio::piped()), 0);
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

fn change_run(dir: &Path, change: impl FnOnce(&mut Value)) {
    let mut run = run_json(dir);
    change(&mut run);
    fs::write(dir.join("run.json"), run.to_string()).expect("run.json is written");
}

/// Shortens the records to the first ones.
fn keep_lines(dir: &Path, count: usize) -> Vec<String> {
    let kept: Vec<String> = lines(dir).into_iter().take(count).collect();
    fs::write(dir.join("records.jsonl"), kept.join("\n") + "\n").expect("records are written");
    kept
}
