//! Whole sweeps by the built program: what they leave behind, whatever ends them.
#![cfg(unix)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{
    cells, ends, limited, lines, records, relgrad, resume, run_json, scratch, tiny_cells, tiny_sweep, wait_until, words,
};
use serde_json::Value;

#[test]
fn a_sweep_measures_every_cell_and_leaves_a_report() {
    let dir = scratch();
    let (out, err) = ends(&mut tiny_sweep(dir.path(), 1), 0);
    assert!(out.contains("12 cells measured, 0 skipped, 0 failed"), "{out}");
    assert_eq!(err.lines().count(), 3 + 12, "what comes, and one line a cell: {err}");
    assert!(
        err.starts_with("measuring 12 cells of relative, ordinary on cpu, D = 2 to 9, in 2 rounds\ntime: "),
        "{err}"
    );
    assert!(err.contains(" UTC; ") && err.contains(&format!("\nresults: {}; ", dir.path().display())), "{err}");

    let records = records(dir.path());
    assert_eq!(cells(&records), tiny_cells());
    for record in &records {
        let cell = &record["cell"];
        assert_eq!((cell["device"].as_str(), cell["dtype"].as_str()), (Some("cpu"), Some("f32")));
        assert_eq!((cell["batch"].as_u64(), cell["layers"].as_u64()), (Some(4), Some(2)));
        assert_eq!(record["outcome"], "measured");
        let seconds = record["seconds"].as_array().expect("raw samples");
        assert!(seconds.len() >= 3 && seconds.iter().all(|one| one.as_f64().is_some_and(|one| one > 0.0)));
        for number in ["flops", "min_bytes"] {
            assert!(record["model"][number].as_f64().is_some_and(|number| number > 0.0), "{number}");
        }
        assert!(record["check"]["max_rel_err"].as_f64() <= record["check"]["tolerance"].as_f64());
        if cfg!(target_os = "linux") {
            assert!(record["peak_bytes"].is_u64());
            assert!(record["memory_trace"].as_array().is_some_and(|trace| (1..=500).contains(&trace.len())));
        }
    }
    let files = "run.json report.md report.html summary.json summary.csv figures/fig3.svg figures/fig3.png";
    for file in files.split(' ') {
        assert!(dir.path().join(file).is_file(), "{file} is missing");
    }
    let run = run_json(dir.path());
    assert!(run["ended"].is_string());
    assert_eq!(run["settings"]["seed"], 1);
    assert!(run["machine"]["cpu"].as_str().is_some_and(|cpu| !cpu.is_empty()));
}

/// The work of a whole update is that of the gradient and of the rule: of Muon 30D³ a layer.
#[test]
fn a_sweep_of_whole_updates_says_so_and_counts_their_work() {
    let scratch = scratch();
    let mut work = Vec::new();
    for step in [None, Some("plain"), Some("adam"), Some("muon")] {
        let dir = scratch.path().join(step.unwrap_or("gradient"));
        let mut sweep = tiny_sweep(&dir, 1);
        sweep.args(step.map(|rule| ["--step", rule]).iter().flatten());
        ends(&mut sweep, 0);
        assert_eq!(run_json(&dir)["settings"]["update"].as_str(), step);
        for record in records(&dir) {
            assert_eq!(record["cell"]["update"].as_str(), step);
            assert!(record["check"]["max_rel_err"].as_f64().expect("an error") < 1e-3);
        }
        let first = &records(&dir)[0];
        let dim = first["cell"]["dim"].as_f64().expect("a dimension");
        work.push((dim, first["model"]["flops"].as_f64().expect("operations")));
        let report = fs::read_to_string(dir.join("report.md")).expect("a report");
        assert_eq!(report.contains("a gradient and a step by"), step.is_some(), "{report}");
    }
    let dim = work[0].0;
    let beyond: Vec<f64> = work.iter().map(|(_, flops)| flops - work[0].1).collect();
    assert_eq!(beyond, [0.0, 4.0 * dim * dim, 24.0 * dim * dim, 60.0 * dim.powi(3)]);
}

/// Twice the probes are twice the work of a solve, and a method without probes keeps its name: a cell says what it was
/// measured with.
#[test]
fn a_tuning_is_of_the_methods_that_have_it() {
    let scratch = scratch();
    let solved = |tuning: &str| {
        let dir = scratch.path().join(tuning);
        let mut sweep = words("sweep --dims 40 --methods relative,hutchinson --batch 20 --threads 1 --rounds 1");
        sweep.args(["--min-samples", "3", "--no-roofline", "--attempts", "1", "--tune", tuning, "--out"]).arg(&dir);
        ends(&mut sweep, 0);
        assert_eq!(run_json(&dir)["settings"]["tuning"], tuning);
        let all = records(&dir);
        let record = |method: &str| all.iter().find(|record| record["cell"]["method"] == method).expect("a record");
        assert!(record("relative")["cell"]["tuning"].is_null());
        let of_solve = record("hutchinson");
        assert_eq!(of_solve["cell"]["tuning"], tuning);
        let report = fs::read_to_string(dir.join("report.md")).expect("a report");
        assert!(report.contains(&format!("{tuning}, of the methods that have these numbers")), "{report}");
        let iterations = of_solve["solved"]["iterations"].as_f64().expect("a count");
        (of_solve["model"]["flops"].as_f64().expect("operations"), iterations)
    };
    let [(few, steps), (many, same_steps)] = ["probes=4,tolerance=0.1", "probes=8,tolerance=0.1"].map(solved);
    let of_steps = |probes: f64, steps: f64| 4.0 * steps * probes * 1600.0;
    assert_eq!(many - few, of_steps(8.0, same_steps) - of_steps(4.0, steps));
    let (_, closer) = solved("probes=4,tolerance=0.001");
    assert!(closer > steps, "{closer} steps of a tolerance of 0.001, {steps} of 0.1");
}

/// What a CPU without the instructions is told.
const NO_BF16: &str = "bf16 products require a CPU with AVX512-BF16, which this one lacks";

/// A number that an arithmetic left its mark on has the arithmetic's name; a CPU without it leaves no folder.
#[test]
fn a_sweep_in_bf16_is_labelled_or_refused() {
    let scratch = scratch();
    let dir = scratch.path().join("bf16");
    #[cfg(target_arch = "x86_64")]
    let is_there = std::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let is_there = false;
    let mut sweep = tiny_sweep(&dir, 1);
    sweep.args(["--math", "bf16"]);
    if !is_there {
        assert!(ends(&mut sweep, 7).1.contains(NO_BF16) && !dir.exists());
        return;
    }
    ends(&mut sweep, 0);
    assert_eq!(run_json(&dir)["settings"]["math"], "bf16");
    let mut worst = 0.0_f64;
    for record in records(&dir) {
        assert_eq!((&record["cell"]["dtype"], &record["cell"]["math"]), (&"f32".into(), &"bf16".into()));
        assert_eq!(record["check"]["tolerance"], 0.16);
        worst = worst.max(record["check"]["max_rel_err"].as_f64().expect("an error"));
    }
    assert!((1e-4..0.05).contains(&worst), "{worst:e}");
    let report = fs::read_to_string(dir.join("report.md")).expect("a report");
    assert!(report.contains("CPU arithmetic: bf16: factors of matrix products rounded to 8 bits"), "{report}");
}

#[cfg(feature = "inject")]
#[test]
fn a_cpu_without_bf16_refuses_it_in_one_line() {
    let dir = scratch();
    let out = dir.path().join("none");
    for line in
        ["sweep --dims 10 --math bf16 --out", "roofline --math bf16 --json", "evaluate --dim 10 --count 1 --math bf16"]
    {
        let mut command = words(line);
        if line.ends_with("--out") {
            command.arg(&out);
        }
        let (told, err) = ends(command.env("RELGRAD_WITHOUT_BF16", "1"), 7);
        assert_eq!((told.as_str(), err.trim_end()), ("", format!("relgrad: {NO_BF16}").as_str()), "{line}");
    }
    assert!(!out.exists());
}

/// Each number of threads has its cells, in processes of its own, its ceilings, and its place in report and figure.
#[test]
fn a_sweep_over_threads_measures_each_and_reports_the_speedup() {
    let dir = scratch();
    let command = "sweep --dims 4,9,20 --methods relative --batch 4 --threads 2,1 --rounds 2 --attempts 1";
    let (list, _) = ends(words(command).arg("--list"), 0);
    assert!(list.contains("12 cells: 0 recorded, 12 to run") && list.contains(" threads "), "{list}");
    let (out, err) = ends(words(command).args(["--min-samples", "3", "--out"]).arg(dir.path()), 0);
    assert!(out.contains("12 cells measured, 0 skipped, 0 failed"), "{out}");
    assert!(
        err.contains("D = 4 to 20, on 2, 1 threads, in 2 rounds") && err.contains("L = 2, 1 thread, round "),
        "{err}"
    );

    let of = |threads| records(dir.path()).iter().filter(|record| record["cell"]["threads"] == threads).count();
    assert_eq!((of(1), of(2)), (6, 6));
    let run = run_json(dir.path());
    assert_eq!((&run["settings"]["threads"], &run["settings"]["other_threads"][0]), (&2.into(), &1.into()));
    let rates = run["rooflines"][0]["rates"].as_array().expect("rates");
    assert!([1, 2].iter().all(|threads| rates.iter().any(|rate| rate["threads"] == *threads)));
    let report = fs::read_to_string(dir.path().join("report.md")).expect("a report");
    assert!(report.contains("faster than on 1 thread [95 %]") && report.contains("strong-scaling.svg"), "{report}");

    // Without its last line the folder is completed by its own settings.
    let mut kept = lines(dir.path());
    let last = kept.pop().expect("a record");
    fs::write(dir.path().join("records.jsonl"), kept.join("\n") + "\n").expect("the shortened file is written");
    ends(&mut resume(dir.path()), 0);
    let cell = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("a record")["cell"].clone();
    assert_eq!(lines(dir.path()).last().map(|line| cell(line)), Some(cell(&last)));
    let folder = dir.path().to_str().expect("a path");
    let (compared, _) = ends(relgrad().args(["compare", folder, folder]), 0);
    assert!(compared.contains(", 1 thread, f32)") && compared.contains(", 2 threads, f32)"), "{compared}");
}

/// Grids of one and two dimensions, both sides of the largest D that is checked against the reference.
#[test]
fn a_sweep_over_convolutions_has_the_grid_as_its_axis() {
    let dir = scratch();
    let mut command = words(
        "sweep --coupling conv --channels 2 --grids 5,4x4,100 --bias --methods relative,ordinary,autodiff --batch 3 \
         --threads 1 --rounds 1 --min-samples 3 --attempts 1 --out",
    );
    let (out, _) = ends(command.arg(dir.path()), 0);
    assert!(out.contains("9 cells measured, 0 skipped, 0 failed"), "{out}");

    let mut kinds = BTreeSet::new();
    for record in &records(dir.path()) {
        let convolution = &record["cell"]["convolution"];
        let grid = [0, 1].map(|axis| convolution["grid"][axis].as_u64().expect("a count"));
        assert_eq!(convolution["kernel"], convolution["grid"]);
        assert_eq!(record["cell"]["dim"].as_u64(), Some(2 * grid[0] * grid[1]));
        kinds.insert(record["check"]["kind"].as_str().expect("a kind").to_string());
        assert!(record["check"]["max_rel_err"].as_f64() <= record["check"]["tolerance"].as_f64());
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["directional-derivative", "reference"]);
    let report = fs::read_to_string(dir.path().join("report.md")).expect("a report");
    assert!(report.contains("convolutions of 2 channels on 5 to 100 points, kernels with every tap"), "{report}");
    assert!(report.contains("exponent of the number n of grid points"), "{report}");

    // The folder is whole: nothing is left to run.
    let (again, _) = ends(relgrad().args(["sweep", "--resume"]).arg(dir.path()), 0);
    assert!(again.contains("9 cells measured"), "{again}");
}

/// Kernels of small support have no relative gradient, and 1×1 kernels have one on pixels.
#[test]
fn small_kernels_are_swept_with_the_methods_that_they_have() {
    for (kernel, methods) in [("3x3", "ordinary,autodiff-streamed"), ("1x1", "relative,ordinary")] {
        let dir = scratch();
        let mut command = words("sweep --coupling conv --channels 3 --grids 4x5 --batch 3 --threads 1 --rounds 1");
        command.args(["--kernel", kernel, "--methods", methods, "--quiet", "--min-samples", "3", "--out"]);
        let (out, _) = ends(command.arg(dir.path()), 0);
        assert!(out.contains("2 cells measured, 0 skipped, 0 failed"), "{kernel}: {out}");
    }
}

#[test]
fn a_sweep_measures_the_ceilings_before_and_after_and_reports_fractions_of_them() {
    let dir = scratch();
    let mut command = words("sweep --dims 2,5 --methods relative --batch 4 --threads 1 --rounds 1 --attempts 1 --out");
    ends(command.arg(dir.path()), 0);
    let measured = run_json(dir.path())["rooflines"].clone();
    let measured = measured.as_array().expect("a list");
    assert_eq!(measured.len(), 2);
    for roofline in measured {
        assert_eq!(roofline["device"], "cpu");
        assert!(roofline["state"]["clock_hz"][1].as_f64().is_some_and(|hz| hz > 1e7));
        let rates = roofline["rates"].as_array().expect("rates");
        assert!(rates.iter().all(|rate| rate["threads"] == 1 && rate["dtype"] == "f32"));
        assert!(rates.iter().all(|rate| rate["flops_per_second"].as_f64().is_some_and(|rate| rate > 0.0)));
    }
    let report = fs::read_to_string(dir.path().join("report.md")).expect("a report");
    assert!(report.contains("## Ceilings") && report.contains("of ceiling"), "{report}");
    assert!(report.contains("## The machine while measuring"), "{report}");

    // A cell is missing, and the ceilings are there.
    let first = lines(dir.path()).remove(0);
    fs::write(dir.path().join("records.jsonl"), first + "\n").expect("the shortened file is written");
    ends(relgrad().args(["sweep", "--attempts", "1", "--resume"]).arg(dir.path()), 0);
    assert_eq!(lines(dir.path()).len(), 2);
    let after = run_json(dir.path())["rooflines"].clone();
    let after = after.as_array().expect("a list");
    assert!(after.len() == 3 && after[..2] == measured[..]);
}

/// A cell whose record tells of other programs is measured again where the budget allows, and both records stay.
#[test]
fn a_disturbed_cell_is_measured_again_and_its_first_record_is_kept() {
    let dir = scratch();
    ends(&mut tiny_sweep(dir.path(), 6), 0);
    let path = dir.path().join("records.jsonl");
    let mut before = records(dir.path());
    for (place, record) in before.iter_mut().enumerate() {
        assert!(record["state"]["seconds"].as_f64() > Some(0.05), "{record}");
        let cores = record["state"]["cores"].as_u64().expect("a count");
        // The machine of this test may be a busy one. Of its records only one tells of it.
        record["state"] = serde_json::json!({ "seconds": 1.0, "cores": cores, "clock_hz": [1.0, 1.0] });
        record["state"]["foreign_seconds"] = (if place == 3 { 0.5 * cores as f64 } else { 0.0 }).into();
    }
    let text: String = before.iter().map(|record| format!("{record}\n")).collect();
    fs::write(&path, text).expect("the changed file is written");

    let again = |attempts: &str| {
        let mut command = words("sweep --no-roofline --quiet --attempts");
        ends(command.args([attempts, "--resume"]).arg(dir.path()), 0);
        records(dir.path())
    };
    assert_eq!(again("1").len(), 12);
    let after = again("2");
    assert!(after.len() == 13 && after[..12] == before[..], "the records are kept");
    assert_eq!((&after[12]["cell"], &after[12]["attempt"]), (&before[3]["cell"], &1.into()));
    let report = fs::read_to_string(dir.path().join("report.md")).expect("a report");
    assert!(report.contains("Further attempts at disturbed cells: 1"), "{report}");
}

#[test]
fn a_sweep_killed_at_random_moments_resumes_to_the_same_cells() {
    for seed in 0..3 {
        let dir = scratch();
        let mut command = tiny_sweep(dir.path(), seed);
        for attempt in 0..3 {
            let mut sweep = quiet(&mut command).spawn().expect("relgrad starts");
            std::thread::sleep(Duration::from_millis(80 + (seed * 7919 + attempt * 104_729) % 900));
            sweep.kill().expect("SIGKILL is delivered");
            sweep.wait().expect("the sweep is reaped");
            // Killed before the folder stood: there is nothing to resume, and nothing in the way of a new start.
            if dir.path().join("run.json").exists() {
                command = resume(dir.path());
            }
        }
        let before = lines(dir.path());
        ends(command.stdout(Stdio::piped()).stderr(Stdio::piped()), 0);
        assert_eq!(cells(&records(dir.path())), tiny_cells(), "seed {seed}");
        let whole: Vec<&String> = before.iter().filter(|line| serde_json::from_str::<Value>(line).is_ok()).collect();
        let after = lines(dir.path());
        assert!(after.iter().take(whole.len()).eq(whole), "seed {seed}: a record was changed or measured again");
    }
}

#[test]
fn a_torn_last_line_is_measured_again_and_a_complete_sweep_runs_nothing() {
    let dir = scratch();
    ends(&mut tiny_sweep(dir.path(), 5), 0);
    let path = dir.path().join("records.jsonl");
    let text = fs::read_to_string(&path).expect("records");
    let kept: usize = text.split_inclusive('\n').take(7).map(str::len).sum();
    fs::write(&path, &text[..kept + 100]).expect("the torn file is written");

    let (_, err) = ends(&mut resume(dir.path()), 0);
    assert_eq!(err.lines().count(), 3 + 1 + 5, "only the missing cells run: {err}");
    assert!(err.contains("was cut off"), "{err}");
    assert_eq!(cells(&records(dir.path())), tiny_cells());
    let complete = lines(dir.path());
    assert!(complete[..7].iter().eq(text.lines().take(7)));
    ends(&mut resume(dir.path()), 0);
    assert_eq!(lines(dir.path()), complete);
}

#[test]
fn ctrl_c_keeps_the_records_and_says_how_to_go_on() {
    let dir = scratch();
    let mut command = tiny_sweep(dir.path(), 7);
    let mut sweep = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("relgrad starts");
    wait_until("two records", || lines(dir.path()).len() >= 2);
    interrupt(&sweep);
    let mut told = String::new();
    sweep.stderr.take().expect("a pipe").read_to_string(&mut told).expect("standard error is text");
    assert_eq!(sweep.wait().expect("the process is reaped").code(), Some(130));
    assert!(told.contains(&format!("relgrad sweep --resume {}", dir.path().display())), "{told}");
    let kept = records(dir.path()).len();
    assert!((2..12).contains(&kept), "{kept} records");
    assert!(dir.path().join("report.md").is_file());
    assert!(run_json(dir.path())["ended"].is_null());

    ends(&mut resume(dir.path()), 0);
    assert_eq!(cells(&records(dir.path())), tiny_cells());
}

#[test]
#[cfg(target_os = "linux")]
fn a_killed_sweep_leaves_no_process_behind() {
    let dir = scratch();
    // One cell of many seconds.
    let mut command = words("sweep --dims 150 --methods autodiff --dtype f64 --threads 1 --rounds 1 --no-roofline");
    let mut sweep = quiet(command.arg("--out").arg(dir.path())).spawn().expect("relgrad starts");
    let children = format!("/proc/{0}/task/{0}/children", sweep.id());
    let mut child = String::new();
    wait_until("the cell's process", || {
        child = fs::read_to_string(&children).unwrap_or_default().trim().to_string();
        !child.is_empty()
    });
    sweep.kill().expect("SIGKILL is delivered");
    sweep.wait().expect("the sweep is reaped");
    // A process that ended but that nobody reaped (in a container without an init) is a zombie, not running.
    wait_until("the end of the cell's process", || {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
    });
}

#[test]
fn a_full_disk_ends_the_sweep_with_the_earlier_records_whole() {
    let dir = scratch();
    // The limit on the size of a file stands for the disk: room for run.json and some records, not for all. The program
    // ignores its signal, so that a write over the limit fails as one on a full disk does.
    let (_, err) = ends(&mut limited("ulimit -f 64", &tiny_sweep(dir.path(), 8)), 3);
    assert!(err.contains("records.jsonl") && err.contains("continue with: relgrad sweep --resume"), "{err}");
    let kept = records(dir.path()).len();
    assert!(kept < 12, "{kept} records");
    ends(&mut resume(dir.path()), 0);
    assert_eq!(cells(&records(dir.path())), tiny_cells());
}

#[test]
#[cfg(target_os = "linux")]
fn a_cell_without_address_space_is_a_failed_record_and_the_sweep_goes_on() {
    let dir = scratch();
    let mut command = words("sweep --dims 5,6000 --methods relative --threads 1 --rounds 1 --batch 4 --mem-limit 8GiB");
    command.arg("--out").arg(dir.path());
    // D = 6000 takes some 600 MB. The limit comes from outside, so that the sweep does not foresee it.
    let (_, err) = ends(&mut limited("ulimit -v 400000", &command), 0);
    // Nor is there room for the arrays of the ceilings.
    assert!(err.contains("ceilings were not measured: "), "{err}");
    assert!(run_json(dir.path())["rooflines"].is_null());
    let records = records(dir.path());
    let of = |dim: u64| records.iter().find(|record| record["cell"]["dim"] == dim).expect("a record of each cell");
    assert_eq!((&of(5)["outcome"], &of(6000)["outcome"]), (&"measured".into(), &"failed".into()));
    let reason = of(6000)["reason"].as_str().expect("a reason");
    assert!(reason.contains("alloc"), "{reason}");
}

#[test]
fn a_cell_that_exceeds_a_limit_is_a_skipped_record_with_its_prediction() {
    let dir = scratch();
    let mut command = words("sweep --dims 20000 --methods autodiff --rounds 1 --no-roofline --mem-limit 1GiB --out");
    ends(command.arg(dir.path()), 4);
    let record = &records(dir.path())[0];
    assert_eq!(record["outcome"], "skipped");
    assert!(record["prediction"]["peak_bytes"].as_f64().is_some_and(|bytes| bytes > 1e11));
    let reason = record["reason"].as_str().expect("a reason");
    assert!(reason.ends_with("exceeds the memory limit of 1 GiB"), "{reason}");
}

#[test]
fn report_and_plot_work_from_the_folder_alone() {
    let dir = scratch();
    ends(&mut tiny_sweep(dir.path(), 9), 0);
    fs::remove_file(dir.path().join("report.md")).expect("the report was there");
    ends(relgrad().arg("report").arg(dir.path()), 0);
    assert!(dir.path().join("report.md").is_file());
    let png = dir.path().join("one.png");
    ends(relgrad().arg("plot").arg(dir.path()).args(["--figure", "fig3", "--out"]).arg(&png), 0);
    assert!(fs::read(&png).expect("the figure").starts_with(b"\x89PNG"));
    let size = ["--format", "pdf", "--width", "3.3in", "--font-size", "9pt"];
    let (paths, _) = ends(relgrad().arg("plot").arg(dir.path()).args(size), 0);
    let pdf = dir.path().join("figures/fig3.pdf");
    assert!(paths.contains("fig3.pdf") && !paths.contains("svg"), "{paths}");
    assert!(fs::read(&pdf).expect("the figure").starts_with(b"%PDF-"));
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::null()).stderr(Stdio::null())
}

/// Sends two signals at once, as `timeout` and some shells do.
fn interrupt(process: &Child) {
    let id = process.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id, &id]).status().expect("kill starts").success());
}
