//! The command line: help that people read, errors that name what is wrong, exit codes.

mod common;

use common::{run, stderr, stdout};

#[test]
fn help_of_the_program() {
    insta::assert_snapshot!(stdout(&run(&["--help"])));
}

#[test]
fn help_of_sweep() {
    insta::assert_snapshot!(stdout(&run(&["sweep", "--help"])));
}

#[test]
fn help_of_report() {
    insta::assert_snapshot!(stdout(&run(&["report", "--help"])));
}

#[test]
fn help_of_plot() {
    insta::assert_snapshot!(stdout(&run(&["plot", "--help"])));
}

#[test]
fn help_of_verify() {
    insta::assert_snapshot!(stdout(&run(&["verify", "--help"])));
}

#[test]
fn help_of_roofline() {
    insta::assert_snapshot!(stdout(&run(&["roofline", "--help"])));
}

#[test]
fn help_of_compare() {
    insta::assert_snapshot!(stdout(&run(&["compare", "--help"])));
}

#[test]
fn help_of_gate() {
    insta::assert_snapshot!(stdout(&run(&["gate", "--help"])));
}

#[test]
fn help_of_calibrate() {
    insta::assert_snapshot!(stdout(&run(&["calibrate", "--help"])));
}

#[test]
fn help_of_history() {
    insta::assert_snapshot!(stdout(&run(&["history", "--help"])));
    insta::assert_snapshot!(stdout(&run(&["history", "show", "--help"])));
}

#[test]
fn help_of_export() {
    insta::assert_snapshot!(stdout(&run(&["export", "--help"])));
}

#[test]
fn help_of_doctor() {
    insta::assert_snapshot!(stdout(&run(&["doctor", "--help"])));
}

#[test]
fn a_device_that_is_not_there_is_named_before_anything_is_written() {
    let doctor = run(&["doctor"]);
    if stdout(&doctor).contains("GPU 0") {
        return;
    }
    let dir = tempfile::tempdir().expect("a scratch folder");
    let out = dir.path().join("sweep");
    for devices in ["cuda", "cpu,cuda"] {
        let output = run(&["sweep", "--device", devices, "--out", out.to_str().expect("a plain path")]);
        assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
        let text = stderr(&output);
        assert!(text.starts_with("relgrad: no CUDA device: ") && text.contains("install"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!out.exists());
    }
    for verb in [["verify", "--sizes", "3"], ["roofline", "--dtype", "f32"]] {
        let output = run(&[&verb[..], &["--device", "cuda"]].concat());
        assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
        assert!(stderr(&output).starts_with("relgrad: no CUDA device: "), "{}", stderr(&output));
    }
}

#[test]
fn the_doctor_names_every_library_and_what_to_do() {
    let output = run(&["doctor"]);
    let text = stdout(&output);
    for part in ["cpu", "SIMD", "memory", "libcuda", "libnvrtc", "libcublas", "libcusolver", "NVML"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn wrong_usage_ends_with_code_2_and_names_the_item() {
    for (arguments, named) in [
        (vec!["sweep", "--dims", "10,abc"], "`abc`"),
        (vec!["sweep", "--methods", "relative,magic"], "magic"),
        (vec!["sweep", "--budget", "soon"], "`soon`"),
        (vec!["sweep", "--mem-limit", "much"], "`much`"),
        (vec!["sweep", "--batch", "0"], "`0`"),
        (vec!["sweep", "--activation", "relu"], "relu"),
        (vec!["sweep", "--coupling", "sparse"], "sparse"),
        (vec!["sweep", "--grids", "8x8"], "--coupling conv"),
        (vec!["sweep", "--coupling", "conv", "--dims", "10"], "--grids"),
        (vec!["sweep", "--coupling", "conv", "--grids", "8x"], "`8x`"),
        (vec!["sweep", "--coupling", "conv", "--grids", "64,8x8"], "same number of points"),
        (vec!["sweep", "--coupling", "conv", "--kernel", "large"], "`large`"),
        (vec!["sweep", "--coupling", "conv", "--kernel", "3", "--grids", "10"], "ordinary gradient"),
        (vec!["sweep", "--coupling", "conv", "--methods", "transposed"], "transposed"),
        (vec!["sweep", "--device", "tpu"], "cpu, cuda"),
        (vec!["sweep", "--math", "tf32"], "--device cuda"),
        (vec!["sweep", "--device", "cuda", "--math", "tf32", "--dtype", "f64"], "multiplies f32 numbers, not f64"),
        (vec!["sweep", "--resume", "somewhere", "--dims", "10"], "--dims"),
        (vec!["roofline", "--dtype", "f16"], "f16"),
        (vec!["roofline", "--threads", "1,0"], "`0`"),
        (vec!["roofline", "--math", "tf32"], "--device cuda"),
        (vec!["sweep", "--device", "cuda", "--coupling", "conv"], "--device cpu"),
        (vec!["report", "no/such/folder"], "no/such/folder"),
        (vec!["plot", "no/such/folder", "--figure", "fig9"], "fig9"),
        (vec!["verify", "no/such/file.json"], "no/such/file.json"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(named), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn the_version_names_the_program_and_its_revision() {
    let text = stdout(&run(&["--version"]));
    assert!(text.starts_with(concat!("relgrad ", env!("CARGO_PKG_VERSION"))), "{text}");
    assert_eq!(text.contains("(revision "), option_env!("RELGRAD_GIT_REVISION").is_some(), "{text}");
}

/// A bare 10 may be ten percent or ten times, seconds or minutes, bytes or gibibytes.
#[test]
fn a_number_without_its_unit_is_refused_by_every_option_that_has_one() {
    for (verb, option, hint) in [
        ("compare", "--max-slowdown", "write 10% or 1.1x"),
        ("compare", "--max-slowdown-elsewhere", "write 10% or 1.1x"),
        ("compare", "--max-growth", "write 10% or 1.1x"),
        ("gate", "--max-slowdown", "write 10% or 1.1x"),
        ("gate", "--round-time", "write 10s or 10m"),
        ("gate", "--cell-limit", "write 10s or 10m"),
        ("calibrate", "--max-growth", "write 10% or 1.1x"),
        ("sweep", "--budget", "write 10s or 10m"),
        ("sweep", "--cell-limit", "write 10s or 10m"),
        ("sweep", "--mem-limit", "write 10GiB"),
        ("train", "--time-limit", "write 10s or 10m"),
    ] {
        let output = run(&[verb, option, "10"]);
        assert_eq!(output.status.code(), Some(2), "{verb} {option}");
        let told = stderr(&output);
        assert!(told.contains("`10` has no unit") && told.contains(hint), "{verb} {option}: {told}");
    }
}

#[test]
fn numbers_beyond_all_measure_are_refused() {
    let most = u64::MAX.to_string();
    let long = "99999999999999999999s";
    let of_cells = ["--threads", "--batch", "--layers", "--dims"];
    let of_rounds = ["--rounds", "--max-rounds", "--more-rounds"];
    for verb in ["gate", "calibrate"] {
        for option in of_cells.iter().chain(&of_rounds) {
            assert_refused(&[verb, option, &most], &most);
        }
        for option in ["--round-time", "--cell-limit"] {
            assert_refused(&[verb, option, long], "3650d");
        }
    }
    for words in ["calibrate --aa", "roofline --threads", "roofline --batch", "peer-case --dim", "verify --sizes"] {
        let mut words: Vec<&str> = words.split(' ').collect();
        words.push(&most);
        assert_refused(&words, &most);
    }
    for words in ["evaluate --count 1 --dim", "evaluate --dim 1 --count", "peer-case --dim 1 --layers"] {
        let mut words: Vec<&str> = words.split(' ').collect();
        words.push(&most);
        assert_refused(&words, &most);
    }
}

#[test]
fn what_does_not_fit_into_memory_is_refused_before_it_is_begun() {
    for words in [
        "evaluate --count 1 --dim 1000000",
        "evaluate --count 1 --dim 10 --batch 1000000000",
        "peer-case --dim 1000000",
        "peer-case --dim 2 --layers 2 --batch 1000000000",
        "verify --sizes 1000000",
        "roofline --batch 1000000000",
        "gate --save never.jsonl --dims 10000000",
    ] {
        assert_refused(&words.split(' ').collect::<Vec<_>>(), "available");
    }
}

fn assert_refused(arguments: &[&str], named: &str) {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
    assert!(stderr(&output).contains(named), "{arguments:?}: {}", stderr(&output));
}

#[test]
fn more_threads_than_cores_are_told_of() {
    let cores = std::thread::available_parallelism().expect("a count").get();
    let told = |threads: usize| {
        let threads = threads.to_string();
        stderr(&run(&["evaluate", "--dim", "3", "--count", "1", "--threads", &threads]))
    };
    assert_eq!(told(cores), "");
    let warning = told(cores + 1);
    assert!(warning.contains(&format!("{} threads on {cores} core", cores + 1)), "{warning}");
}

/// What a terminal would obey is shown, not sent.
#[test]
fn control_characters_of_an_argument_are_made_visible() {
    for arguments in [["sweep", "--dims", "\u{1b}[2J"], ["plot", "x", "--\u{1b}[2J"]] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(!stderr(&output).contains('\u{1b}'), "{:?}", stderr(&output));
    }
}

#[test]
fn a_folder_with_a_sweep_is_not_overwritten() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    std::fs::write(dir.path().join("records.jsonl"), "{}\n").expect("a file");
    let output = run(&["sweep", "--dims", "2", "--out", dir.path().to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--resume"), "{}", stderr(&output));
}

#[test]
fn a_folder_of_a_newer_relgrad_is_refused() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    std::fs::write(dir.path().join("run.json"), r#"{"schema": 999}"#).expect("a file");
    let output = run(&["report", dir.path().to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("schema version 999"), "{}", stderr(&output));
}

#[test]
fn list_prints_the_plan_and_runs_nothing() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let out = dir.path().join("sweep");
    let plan = ["sweep", "--list", "--dims", "10,20000", "--methods", "relative,autodiff", "--rounds", "1"];
    let limits = ["--mem-limit", "16GiB", "--budget", "none", "--out", out.to_str().expect("a plain path")];
    let output = run(&[plan.as_slice(), limits.as_slice()].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    insta::assert_snapshot!(stdout(&output));
    assert!(!out.exists());
}
