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
        (
            vec!["sweep", "--device", "cuda", "--math", "tf32", "--dtype", "f64"],
            "multiplies f32 numbers, not f64",
        ),
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
fn a_folder_with_a_sweep_is_not_overwritten() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    std::fs::write(dir.path().join("records.jsonl"), "").expect("a file");
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
