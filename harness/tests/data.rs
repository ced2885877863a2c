//! What `relgrad train` says of a user's files, and how it finds them again.

mod common;
#[path = "common/training.rs"]
mod training;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{relgrad, stderr, stdout};
use serde_json::Value;
use training::{json, refused, success, train};

/// `count` rows of three columns: two that vary, and what `third` makes of the row's number and the two.
fn rows(count: u32, third: impl Fn(f64, f64, f64) -> f64) -> String {
    let row = |i: u32| {
        let (x, y) = (f64::from(i * i % 23) - 11.0, f64::from(i * 7 % 17) / 8.0);
        format!("{x},{y},{}\n", third(f64::from(i), x, y))
    };
    (0..count).map(row).collect()
}

/// Two epochs on a file of a folder; what they leave is removed.
fn learn(folder: &Path, file: &str, more: &[&str]) -> Output {
    let mut command = train(folder, &[file, "--epochs", "2", "--out", "out"]);
    let output = command.args(more).output().unwrap();
    assert!(output.status.code() == Some(0) || !folder.join("out").exists(), "what is refused leaves nothing");
    let _ = fs::remove_dir_all(folder.join("out"));
    output
}

/// The test likelihood that a training printed, without its error.
fn nats(output: &Output) -> f64 {
    let text = stdout(output);
    let line = text.lines().find(|line| line.starts_with("test")).unwrap_or_else(|| panic!("{}", stderr(output)));
    line.split_whitespace().nth(1).unwrap().replace('−', "-").parse().unwrap()
}

/// However a column does without information, no start makes a likelihood of the rounding of its numbers.
#[test]
fn degenerate_columns_are_named_and_never_scaled() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("d.csv");
    let noise = |i: f64, scale: f64| scale * (1.0 + f64::EPSILON * ((i * 7.0) % 3.0));
    type Third = Box<dyn Fn(f64, f64, f64) -> f64>;
    let cases: [(&str, &str, Third); 8] = [
        ("5", "column 3 (c) is constant", Box::new(|_, _, _| 5.0)),
        ("1e9", "column 3 (c) is constant", Box::new(|_, _, _| 1e9)),
        ("1e-30", "column 3 (c) is constant", Box::new(|_, _, _| 1e-30)),
        ("rounding", "column 3 (c) is constant", Box::new(move |i, _, _| noise(i, 0.3))),
        ("rounding of 1e9", "column 3 (c) is constant", Box::new(move |i, _, _| noise(i, 1e9))),
        ("equal", "column 3 (c) repeats column 1 (a)", Box::new(|_, x, _| x)),
        ("scaled", "column 3 (c) follows from column 1 (a)", Box::new(|_, x, _| 7.0 - 2.0 * x)),
        ("combination", "column 3 (c) follows from columns 1 (a), 2 (b)", Box::new(|_, x, y| 2.0 * x - y + 1.0)),
    ];
    for (name, words, third) in &cases {
        fs::write(&file, format!("a,b,c\n{}", rows(60, third))).unwrap();
        for dtype in ["f32", "f64"] {
            for start in ["standardise", "standardise-layers"] {
                let output = learn(folder.path(), "d.csv", &["--init", start, "--dtype", dtype]);
                let told = stderr(&output);
                assert!(told.contains(words) && told.contains("no density"), "{name} {start} {dtype}: {told}");
                assert!(nats(&output).abs() < 12.0, "{name} {start} {dtype}: {}", nats(&output));
            }
            for start in ["whiten", "whiten-layers"] {
                let output = learn(folder.path(), "d.csv", &["--init", start, "--dtype", dtype]);
                assert_eq!(output.status.code(), Some(2), "{name} {start} {dtype}");
                let told = stderr(&output);
                assert!(told.contains(words) && told.contains("cannot be whitened"), "{name} {start}: {told}");
                assert_eq!(told.lines().count(), 1, "{told}");
            }
        }
        assert!(stderr(&learn(folder.path(), "d.csv", &[])).contains(words), "{name}");
    }
}

/// The same data near 0 and far from it: a start from the data sees no difference but rounding (two decimals are
/// printed), in f32 as in f64, and without one f32 warns.
#[test]
fn an_offset_beyond_f32_costs_no_likelihood() {
    let folder = tempfile::tempdir().unwrap();
    let near = rows(60, |i, _, _| (i * 5.0) % 7.0);
    let far: String = near
        .lines()
        .map(|line| {
            line.split(',').map(|x| format!("{}", 1.7e9 + x.parse::<f64>().unwrap())).collect::<Vec<_>>().join(",")
                + "\n"
        })
        .collect();
    fs::write(folder.path().join("near.csv"), near).unwrap();
    fs::write(folder.path().join("far.csv"), far).unwrap();
    for start in ["standardise", "whiten", "standardise-layers", "whiten-layers"] {
        for dtype in ["f32", "f64"] {
            let of = |file| nats(&learn(folder.path(), file, &["--init", start, "--dtype", dtype]));
            let (near, far) = (of("near.csv"), of("far.csv"));
            assert!((near - far).abs() < 0.03, "{start} {dtype}: {near} and {far}");
        }
    }
    let told = stderr(&learn(folder.path(), "far.csv", &["--init", "standardise"]));
    assert!(told.contains("columns 1, 2, 3 lie far from 0"), "{told}");
    let told = stderr(&learn(folder.path(), "far.csv", &[]));
    assert!(told.contains("f32 hardly tells the values of columns 1, 2, 3 apart"), "{told}");
}

/// Two columns far from 0, by f32's measure not very, whose difference is thin: what is left of it after a mean was
/// taken away.
#[test]
fn a_thin_direction_of_offset_columns_is_whitened_in_f32_as_in_f64() {
    let folder = tempfile::tempdir().unwrap();
    let unit = |i: u32, k: u32| f64::from(i.wrapping_mul(k).wrapping_mul(i + 7) % 1009) / 291.0 - 1.73;
    let row = |i: u32| format!("{},{}\n", 230.0 + unit(i, 37), 230.0 + unit(i, 37) + 3e-6 * unit(i, 101));
    fs::write(folder.path().join("thin.csv"), (0..400).map(row).collect::<String>()).unwrap();
    let of = |dtype| nats(&learn(folder.path(), "thin.csv", &["--init", "whiten", "--dtype", dtype]));
    let (single, double) = (of("f32"), of("f64"));
    assert!((single - double).abs() < 0.1 && double > 7.0, "{single} and {double}");
}

/// Values and exit code, words for what is not as it should be; what is refused is so before anything is written.
#[test]
fn what_is_wrong_with_samples_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let wide = |i: u32| (0..20).map(|j| format!("{},", (i * j * j + i) % 13)).collect::<String>() + "1\n";
    let same = ("1,2.5,-3\n".repeat(30), "columns 1, 2, 3 are constant");
    let wide = ((0..14).map(wide).collect::<String>(), "12 training samples of 21 columns");
    let two_values = (rows(198, |i, _, _| i % 2.0), "column 3 has 2 different values");
    let prevails = (rows(198, |i, x, _| if i % 4.0 < 3.0 { 0.5 } else { x + i }), "column 3 has one value in 75");
    let beyond = "sample 5 of the training part, column 3, is -1.2e39, beyond f32 (3.4e38): take --dtype f64";
    let beyond = (rows(60, |i, x, _| if i == 4.0 { -1.2e39 } else { x }), beyond);
    let mut cases = vec![
        (&same, ["standardise", "f32"], 0),
        (&same, ["whiten", "f32"], 2),
        (&wide, ["standardise", "f32"], 0),
        (&wide, ["whiten", "f32"], 2),
        (&two_values, ["standardise", "f32"], 0),
        (&prevails, ["standardise", "f32"], 0),
        (&beyond, ["orthogonal", "f32"], 2),
        (&beyond, ["standardise", "f32"], 2),
    ];
    let spread = |scale: f64| rows(60, move |i, _, _| scale * ((i * 5.0) % 7.0));
    let spreads = [(1e200, "f64"), (1e-170, "f64"), (1e-170, "f32"), (1e-40, "f32")];
    let spreads = spreads.map(|(scale, dtype)| ((spread(scale), "column 3 varies too little or too much"), dtype));
    for (case, dtype) in &spreads {
        cases.extend(["standardise", "whiten-layers"].map(|start| (case, [start, *dtype], 2)));
    }
    for ((content, words), [start, dtype], code) in cases {
        fs::write(folder.path().join("d.csv"), content).unwrap();
        let output = learn(folder.path(), "d.csv", &["--init", start, "--dtype", dtype]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{start} {dtype}: {told}");
        assert!(told.contains(words) && !told.contains("checkpoint"), "{start} {dtype}: {told}");
        assert!(code != 0 || told.contains("no density"), "{told}");
        assert!(code != 0 || content != &same.0 || nats(&output).abs() < 12.0, "{told}");
    }
}

#[test]
fn what_a_file_holds_is_told_unless_quiet() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("d.csv"), format!("a,b,c\n{}", rows(24, |i, x, _| x + i % 5.0))).unwrap();
    let words = ["train", "d.csv", "--epochs", "2", "--threads", "1"];
    let told = stderr(&relgrad().args(words).current_dir(&folder).output().unwrap());
    assert!(told.contains("d.csv: 24 samples of 3 columns, header a, b, c\n"), "{told}");
    assert!(!stderr(&learn(folder.path(), "d.csv", &[])).contains("24 samples"));
    fs::copy(folder.path().join("d.csv"), folder.path().join("d.dat")).unwrap();
    for (file, header, part) in [
        ("d.csv", "no", "line 1: `a` is not a number"),
        ("d.dat", "auto", "there is a file of that name, but its ending is none of these"),
        ("e.csv", "auto", "cannot read e.csv: No such file"),
        ("toy:moons", "yes", "--header is for files of text"),
    ] {
        refused(&mut train(folder.path(), &[file, "--header", header]), &[part]);
    }
}

/// Begins a training in `m` that stops at once.
fn start(folder: &Path, file: impl AsRef<std::ffi::OsStr>) {
    let words = ["--epochs", "2000", "--patience", "0", "--time-limit", "1ms", "--init", "standardise", "--out", "m"];
    success(train(folder, &words).arg(file));
}

fn resumed(folder: &Path, training: &str) -> Command {
    let mut command = relgrad();
    command.args(["train", "--time-limit", "1ms", "-q", "--resume", training]).current_dir(folder);
    command
}

#[test]
fn a_training_goes_on_with_the_same_numbers_only_and_from_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let (at, elsewhere) = (folder.path(), folder.path().join("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    let data = rows(60, |i, x, _| 1e7 + x + i % 5.0);
    fs::write(at.join("d.csv"), &data).unwrap();
    start(at, "d.csv");
    let facts = json(&at.join("m/training.json"));
    assert!(facts["data"]["shift"][2].as_f64().unwrap() > 9.9e6, "{facts}");
    success(&mut resumed(&elsewhere, "../m"));
    fs::write(at.join("d.csv"), data.replacen("10000005", "10000006", 1)).unwrap();
    refused(&mut resumed(at, "m"), &["other numbers", "restore the data"]);
    fs::write(at.join("d.csv"), rows(61, |_, x, _| x)).unwrap();
    refused(&mut resumed(at, "m"), &["restore the data"]);
    fs::remove_file(at.join("d.csv")).unwrap();
    refused(&mut resumed(&elsewhere, "../m"), &["d.csv", "put it back"]);
    // Beside the training in another place: found by the name that it had.
    fs::write(elsewhere.join("d.csv"), &data).unwrap();
    success(&mut resumed(&elsewhere, "../m"));
}

/// Before there were digests, paths and shifts.
#[test]
fn a_training_of_before_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("d.csv"), rows(60, |i, x, _| x + i % 5.0)).unwrap();
    start(at, "d.csv");
    for (name, own) in [("training.json", "identity"), ("last.json", "of"), ("best.json", "of")] {
        let path = at.join("m").join(name);
        let mut json = json(&path);
        json["schema"] = 1.into();
        for field in [own, "checksum"] {
            json.as_object_mut().unwrap().remove(field);
        }
        for field in ["digest", "file", "header", "shift"] {
            json.get_mut("data").and_then(Value::as_object_mut).and_then(|data| data.remove(field));
        }
        fs::write(&path, json.to_string()).unwrap();
    }
    success(&mut resumed(at, "m"));
    fs::create_dir(at.join("elsewhere")).unwrap();
    refused(&mut resumed(&at.join("elsewhere"), "../m"), &["the folder in which the training was started"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_path_that_is_not_utf8_is_a_path() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"d\xff.data");
    fs::create_dir(folder.path().join(name)).unwrap();
    fs::write(folder.path().join(name).join("x.csv"), rows(30, |i, x, _| x + i % 5.0)).unwrap();
    start(folder.path(), Path::new(name).join("x.csv"));
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    success(&mut resumed(&elsewhere, "../m"));
}
