//! Parts of a sweep, and several machines, in one report.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{cells, ends, records, relgrad, scratch, tiny_cells, tiny_sweep};
use relgrad_reports::fixture;
use relgrad_reports::study::Study;

fn merge(studies: &[&Path], out: &Path) -> Command {
    let mut command = relgrad();
    command.arg("merge").args(studies).arg("--out").arg(out);
    command
}

#[test]
fn the_parts_of_a_sweep_become_the_sweep_and_a_missing_one_is_named() {
    let scratch = scratch();
    let parts = ["1/2", "2/2"].map(|shard| {
        let dir = scratch.path().join(format!("part-{}", &shard[..1]));
        ends(tiny_sweep(&dir, 3).args(["--shard", shard]), 0);
        dir
    });
    assert!(parts.iter().all(|part| !records(part).is_empty()));
    let whole = scratch.path().join("whole");
    let (_, told) = ends(&mut merge(&[&parts[0], &parts[1]], &whole), 0);
    assert!(!told.contains("missing"), "{told}");
    assert_eq!(cells(&records(&whole.join("machines/A"))), tiny_cells());
    for file in ["report.md", "report.html", "merged.json", "figures/machines.svg", "machines/A/report.md"] {
        assert!(whole.join(file).exists(), "{file}");
    }
    let half = scratch.path().join("half");
    let (_, told) = ends(&mut merge(&[&parts[1]], &half), 0);
    assert!(told.contains("these parts are missing: 1/2"), "{told}");
    // What was merged can be merged again.
    ends(&mut merge(&[&whole.join("machines/A")], &scratch.path().join("again")), 0);
}

#[test]
fn machines_have_columns_of_their_own() {
    let scratch = scratch();
    let [fast, slow] = ["fast", "slow"].map(|name| scratch.path().join(name));
    let study = fixture::study();
    fixture::write(&fast, &study).unwrap();
    let mut run = study.run.clone();
    run.machine.cpu = "Another CPU".to_string();
    fixture::write(&slow, &Study { run, ..study }).unwrap();
    let out = scratch.path().join("both");
    ends(&mut merge(&[&fast, &slow], &out), 0);
    let page = fs::read_to_string(out.join("report.md")).unwrap();
    assert!(page.contains("Another") && page.contains("  B |"), "{page}");
    let numbers: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(out.join("merged.json")).unwrap()).unwrap();
    assert_eq!(numbers["machines"].as_array().unwrap().len(), 2);
    let common = &numbers["exponents"][0]["common"];
    assert_eq!(common["machines"], 2, "{common}");
}

#[test]
fn what_is_no_study_and_a_folder_in_use_are_refused() {
    let scratch = scratch();
    let study = scratch.path().join("study");
    fixture::write(&study, &fixture::study()).unwrap();
    let nothing = scratch.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    let out = scratch.path().join("out");
    let (_, told) = ends(&mut merge(&[&study, &nothing], &out), 2);
    assert!(told.contains("is not the folder of a sweep") && !out.exists(), "{told}");
    let (_, told) = ends(&mut merge(&[&study], &study), 2);
    assert!(told.contains("is not empty"), "{told}");
    let (_, told) = ends(relgrad().args(["sweep", "--shard", "3/2"]), 2);
    assert!(told.contains("2/5"), "{told}");
}
