//! The library as other programs use it.

mod common;

use std::path::Path;
use std::process::Command;

use common::stderr;
use relgrad_harness::compare::{self, Invalid, Rules};
use relgrad_harness::learn;
use relgrad_harness::measure::Sweep;
use relgrad_kernels::Method;
use relgrad_reports::fixture;

/// `cargo test` builds the examples beside the program.
#[test]
fn the_example_prints_the_exponents_of_a_small_sweep() {
    let programs = Path::new(env!("CARGO_BIN_EXE_relgrad")).parent().expect("a folder");
    let example = programs.join("examples").join(format!("small_sweep{}", std::env::consts::EXE_SUFFIX));
    let output = Command::new(example).output().expect("cargo build --examples makes it");
    assert!(output.status.success(), "{}", stderr(&output));
    let text = common::stdout(&output);
    for method in ["relative", "ordinary"] {
        let line = text.lines().find(|line| line.starts_with(method)).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains("time ∝ D^"), "{line}");
    }
}

#[test]
fn a_program_that_serves_no_cells_cannot_sweep() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let told = Sweep::new(&[2], &[Method::Relative]).run(dir.path()).unwrap_err().to_string();
    assert!(told.contains("must begin with relgrad_harness::measure::serve_child()"), "{told}");
}

#[test]
fn studies_are_compared_and_what_is_none_is_an_error() {
    let study = fixture::study();
    let comparison = compare::studies(&study, &study, &Rules::default());
    assert!(!comparison.table().is_empty());
    assert!(compare::read("no/such/folder", Invalid::Refuse).unwrap_err().to_string().contains("no/such/folder"));
}

#[test]
fn a_training_leaves_its_model_and_its_outcome() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let mut settings = learn::settings("toy:moons").expect("a toy");
    (settings.toy_samples, settings.epochs, settings.threads) = (200, 2, 1);
    let training = learn::train(&settings, None, dir.path().join("model")).expect("a training");
    assert_eq!(training.outcome.map(|outcome| outcome.epochs), Some(2));
    assert!(dir.path().join("model/training.json").is_file());
}
