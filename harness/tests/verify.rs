//! `relgrad verify` on the golden vectors, whole and altered.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{ends, golden, relgrad, scratch};
use serde_json::{Value, json};

fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(golden()).expect("the kernels carry golden vectors");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
    files.sort();
    files
}

/// What a verification that must end with `code` writes.
#[track_caller]
fn verify(paths: &[impl AsRef<Path>], code: i32) -> (String, String) {
    ends(relgrad().arg("verify").args(paths.iter().map(AsRef::as_ref)), code)
}

/// The same as JSON.
fn verified(paths: &[PathBuf]) -> Value {
    let (out, _) = ends(relgrad().args(["verify", "--json"]).args(paths), 0);
    serde_json::from_str(&out).expect("--json prints JSON")
}

/// A copy of the first dense file with biases, altered.
fn altered(dir: &Path, alter: impl FnOnce(&mut Value)) -> PathBuf {
    let read = |path: &PathBuf| -> Value {
        serde_json::from_str(&fs::read_to_string(path).expect("a readable file")).expect("JSON")
    };
    let mut value = files().iter().map(read).find(|value| value["config"]["bias"] == true).expect("a case with biases");
    alter(&mut value);
    let path = dir.join("altered.json");
    fs::write(&path, value.to_string()).expect("a scratch file");
    path
}

#[test]
fn every_committed_file_passes_with_every_backend_in_both_precisions() {
    let result = verified(&files());
    assert_eq!(result["failed"], 0);
    assert_eq!(result["unsupported"], json!([]));
    let rows = result["files"].as_array().expect("a list of comparisons");
    for dtype in ["f32", "f64"] {
        for (backend, group) in [
            ("likelihood", "loglik"),
            ("likelihood", "parts"),
            ("likelihood", "forward"),
            ("inversion", "inverse"),
            ("inversion", "roundtrip"),
            ("relative", "relative"),
            ("relative", "delta"),
            ("relative-paper", "relative"),
            ("relative-plain", "relative"),
            ("relative-inplace", "relative"),
            ("transposed", "transposed"),
            ("ordinary", "ordinary"),
            ("newton-schulz", "ordinary"),
            ("autodiff", "ordinary"),
            ("autodiff", "loglik"),
            ("autodiff-streamed", "ordinary"),
            ("relative", "conditional"),
            ("ordinary", "conditional"),
            ("autodiff", "conditional"),
            ("likelihood", "delta"),
        ] {
            let here = |row: &&Value| row["dtype"] == dtype && row["backend"] == backend && row["group"] == group;
            assert!(rows.iter().any(|row| here(&row) && row["pass"] == true), "{dtype} {backend} {group}");
        }
    }
}

#[test]
fn a_wrong_number_fails_and_a_malformed_file_ends_with_code_2_and_its_field() {
    let dir = scratch();
    let wrong = altered(dir.path(), |value| {
        let number = &mut value["outputs"]["relative"]["dW"][0]["data"][0];
        *number = json!(number.as_f64().expect("a number") * 1.01 + 0.01);
    });
    let (out, _) = verify(&[wrong], 1);
    assert!(out.contains("Over tolerance"), "{out}");

    let (_, told) = verify(&[altered(dir.path(), |value| value["outputs"]["ordinary"]["dW"] = json!([]))], 2);
    assert!(told.contains("altered.json") && told.contains("outputs.ordinary.dW"), "{told}");
    let cut = dir.path().join("cut.json");
    fs::write(&cut, r#"{"schema": "relgrad-gol"#).expect("a scratch file");
    assert!(verify(&[cut], 2).1.contains("cut.json"));
}

#[test]
fn a_null_tolerance_is_not_applicable_and_an_unsupported_kind_is_not_a_pass() {
    let dir = scratch();
    let lenient = altered(dir.path(), |value| value["tol"]["f32"]["ordinary"] = Value::Null);
    let conv = dir.path().join("conv.json");
    // Two taps that are no window around the first.
    let config = json!({"conv": {"channels": 1, "grid": [1, 6], "support": [[0, 0], [0, 3]]}});
    let text = json!({"schema": "relgrad-golden-1", "id": "conv", "kind": "conv", "config": config}).to_string();
    fs::write(&conv, text).expect("a scratch file");
    let result = verified(&[lenient, conv]);
    assert_eq!(result["unsupported"][0]["id"], "conv");
    let rows = result["files"].as_array().expect("a list of comparisons");
    assert!(rows.iter().all(|row| row["id"] != "conv"));
    let ordinary =
        rows.iter().find(|row| row["dtype"] == "f32" && row["backend"] == "ordinary" && row["group"] == "ordinary");
    assert!(ordinary.expect("the comparison is reported").get("pass").is_some_and(Value::is_null));
}

#[test]
fn where_nothing_is_compared_the_code_is_4() {
    let dir = scratch();
    let index = dir.path().join("index.json");
    fs::write(&index, r#"{"schema": "relgrad-golden-1", "files": []}"#).expect("a scratch file");
    let lenient = altered(dir.path(), |value| {
        for dtype in ["f64", "f64_autodiff", "f32"] {
            let groups = value["tol"][dtype].as_object_mut().expect("groups");
            groups.values_mut().for_each(|tolerance| *tolerance = Value::Null);
        }
    });
    let unsupported = dir.path().join("mixture.json");
    let config = json!({"conditional": {"kind": "mixture", "d": 2}});
    let text = json!({"schema": "relgrad-golden-1", "id": "m", "kind": "dense", "config": config}).to_string();
    fs::write(&unsupported, text).expect("a scratch file");
    for path in [index, lenient, unsupported] {
        let (_, told) = verify(&[path], 4);
        assert!(told.contains("nothing was compared"), "{told}");
    }
}

#[test]
fn what_is_no_file_or_too_large_is_refused_at_once() {
    let dir = scratch();
    let huge = dir.path().join("huge.json");
    let file = fs::File::create(&huge).expect("a scratch file");
    file.set_len(1 << 40).expect("a file with a hole");
    for (path, why) in [(dir.path(), "regular file"), (Path::new("/dev/zero"), "regular file"), (&huge, "64 MiB")] {
        let (_, told) = verify(&[path], 2);
        assert!(told.contains(why) && told.contains(&path.display().to_string()), "{told}");
    }
}
