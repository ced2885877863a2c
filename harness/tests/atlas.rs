//! Models of several machines: fitting, predicting, checking.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{ends, relgrad, resume, scratch, tiny_sweep, words};
use relgrad_reports::fixture;
use relgrad_reports::study::Study;
use serde_json::Value;

/// Folders of sweeps of some machines, which differ in their names.
fn machines(dir: &Path, names: &[&str]) -> Vec<std::path::PathBuf> {
    let write = |name: &&str| {
        let mut study = fixture::study();
        study.run.machine.cpu = name.to_string();
        let folder = dir.join(name);
        fixture::write(&folder, &study).unwrap();
        folder
    };
    names.iter().map(write).collect()
}

fn atlas(studies: &[std::path::PathBuf]) -> Command {
    let mut command = relgrad();
    command.arg("atlas").args(studies);
    command
}

#[test]
fn an_atlas_is_fitted_and_predicts_machines_that_it_does_not_know() {
    let scratch = scratch();
    let studies = machines(scratch.path(), &["first", "second", "third"]);
    let out = scratch.path().join("atlas.json");
    let (told, _) = ends(atlas(&studies).arg("--leave-one-out").arg("--out").arg(&out), 0);
    for part in ["between machines", "median error", "first, avx512, 2 cores", "all"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let written: Value = serde_json::from_str(&fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(written["machines"].as_array().unwrap().len(), 3);
    let (_, told) = ends(&mut atlas(&studies[..1]), 2);
    assert!(told.contains("two machines"), "{told}");
    let (_, told) = ends(&mut atlas(&[scratch.path().join("nothing")]), 2);
    assert!(told.contains("nothing"), "{told}");
}

#[test]
fn a_prediction_is_checked_against_the_sweep_after_it() {
    let scratch = scratch();
    let out = scratch.path().join("atlas.json");
    ends(atlas(&machines(scratch.path(), &["first", "second"])).arg("--out").arg(&out), 0);
    let mut predict = words("predict --roofline --json --dims 2,5,9 --methods relative,ordinary --batch 4 --threads 1");
    let (json, _) = ends(predict.arg("--atlas").arg(&out), 0);
    let predicted: Value = serde_json::from_str(&json).unwrap();
    let cells = predicted["cells"].as_array().unwrap();
    assert_eq!((cells.len(), predicted["anchors"].as_u64()), (6, Some(6)));
    for cell in cells {
        let [low, value, high] = ["low", "value", "high"].map(|end| cell["seconds"][end].as_f64().unwrap());
        assert!(0.0 < low && low < value && value < high && value < 1.0, "{cell}");
        assert!(cell["peak_bytes"].as_f64().unwrap() > 0.0, "{cell}");
    }
    let before = scratch.path().join("before.json");
    fs::write(&before, json).unwrap();
    let sweep = scratch.path().join("sweep");
    ends(&mut tiny_sweep(&sweep, 3), 0);
    let check = |study: &Path, before: &Path| {
        let mut command = words("predict --check");
        command.arg(study).arg("--before").arg(before);
        command
    };
    let (told, _) = ends(&mut check(&sweep, &before), 0);
    assert!(told.contains("of 6 cells within their intervals") && told.contains("median error"), "{told}");
    let (_, told) = ends(&mut check(&sweep, &out), 2);
    assert!(told.contains("is no prediction") && told.lines().count() == 1, "{told}");
    let nothing = scratch.path().join("first");
    let (_, told) = ends(&mut check(&nothing, &before), 4);
    assert!(told.contains("no cell was both"), "{told}");
}

#[test]
fn the_plan_of_a_sweep_asks_the_atlas() {
    let scratch = scratch();
    let out = scratch.path().join("atlas.json");
    ends(atlas(&machines(scratch.path(), &["first", "second"])).arg("--out").arg(&out), 0);
    let plan = "sweep --list --dims 20000 --methods relative --threads 1 --rounds 1 --budget none";
    let (without, _) = ends(&mut words(plan), 0);
    let (with, _) = ends(words(plan).arg("--atlas").arg(&out), 0);
    assert!(without.contains("modest machine") && without != with, "{without}{with}");
    let sweep = scratch.path().join("sweep");
    let mut tiny = words("sweep --dims 2,5 --methods relative --batch 4 --threads 1 --rounds 1 --attempts 1 --out");
    ends(tiny.arg(&sweep).arg("--atlas").arg(&out), 0);
    let study = Study::read(&sweep).unwrap();
    assert!(study.records.len() == 2 && study.records.iter().all(|record| record.is_valid()), "{study:?}");
    let (_, told) = ends(resume(&sweep).arg("--atlas").arg(&out), 2);
    assert!(told.contains("--no-roofline"), "{told}");
    let (_, told) = ends(&mut words("sweep --list --atlas no/such/atlas.json"), 2);
    assert!(told.contains("no/such/atlas.json"), "{told}");
}
