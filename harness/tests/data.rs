//! What `relgrad train` says of a user's files, and how it finds them again.

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use common::{relgrad, stderr, stdout};
use serde_json::Value;

/// `count` rows of three columns: two that vary, and what `third` makes of the row's number and the two.
fn rows(count: u32, third: impl Fn(f64, f64, f64) -> f64) -> String {
    let row = |i: u32| {
        let (x, y) = (f64::from(i * i % 23) - 11.0, f64::from(i * 7 % 17) / 8.0);
        format!("{x},{y},{}\n", third(f64::from(i), x, y))
    };
    (0..count).map(row).collect()
}

fn train(folder: &Path, file: &str, more: &[&str]) -> Output {
    let mut command = relgrad();
    command.arg("train").arg(file).args(["--epochs", "2", "--threads", "1", "--out", "out"]).args(more);
    let output = command.current_dir(folder).output().unwrap();
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
    let cases: [(&str, &str, Third); 7] = [
        ("5", "column 3 (c) is constant", Box::new(|_, _, _| 5.0)),
        ("1e9", "column 3 (c) is constant", Box::new(|_, _, _| 1e9)),
        ("1e-30", "column 3 (c) is constant", Box::new(|_, _, _| 1e-30)),
        ("rounding", "column 3 (c) is constant", Box::new(move |i, _, _| noise(i, 0.3))),
        ("rounding of 1e9", "column 3 (c) is constant", Box::new(move |i, _, _| noise(i, 1e9))),
        ("equal", "column 3 (c) follows from column 1 (a)", Box::new(|_, x, _| x)),
        ("combination", "column 3 (c) follows from columns 1 (a), 2 (b)", Box::new(|_, x, y| 2.0 * x - y + 1.0)),
    ];
    for (name, words, third) in &cases {
        fs::write(&file, format!("a,b,c\n{}", rows(60, third))).unwrap();
        for dtype in ["f32", "f64"] {
            for start in ["standardise", "standardise-layers"] {
                let output = train(folder.path(), "d.csv", &["-q", "--init", start, "--dtype", dtype]);
                let told = stderr(&output);
                assert!(told.contains(words) && told.contains("no density"), "{name} {start} {dtype}: {told}");
                assert!(nats(&output).abs() < 12.0, "{name} {start} {dtype}: {}", nats(&output));
            }
            for start in ["whiten", "whiten-layers"] {
                let output = train(folder.path(), "d.csv", &["-q", "--init", start, "--dtype", dtype]);
                assert_eq!(output.status.code(), Some(2), "{name} {start} {dtype}");
                let told = stderr(&output);
                assert!(told.contains(words) && told.contains("cannot be whitened"), "{name} {start}: {told}");
                assert_eq!(told.lines().count(), 1, "{told}");
            }
        }
        assert!(stderr(&train(folder.path(), "d.csv", &["-q"])).contains(words), "{name}");
    }
}

#[test]
fn samples_that_are_all_the_same_or_too_few_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("same.csv"), "1,2.5,-3\n".repeat(30)).unwrap();
    let wide: String =
        (0..14).map(|i| (0..20).map(|j| format!("{},", (i * j * j + i) % 13)).collect::<String>() + "1\n").collect();
    fs::write(folder.path().join("wide.csv"), wide).unwrap();
    let same = train(folder.path(), "same.csv", &["-q", "--init", "standardise"]);
    assert!(stderr(&same).contains("columns 1, 2, 3 are constant") && nats(&same).abs() < 12.0, "{}", stderr(&same));
    for (file, part) in
        [("same.csv", "columns 1, 2, 3 are constant"), ("wide.csv", "12 training samples of 21 columns")]
    {
        let output = train(folder.path(), file, &["-q", "--init", "whiten"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    let wide = train(folder.path(), "wide.csv", &["-q", "--init", "standardise"]);
    assert!(stderr(&wide).contains("12 training samples of 21 columns"), "{}", stderr(&wide));
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
            let of = |file| nats(&train(folder.path(), file, &["-q", "--init", start, "--dtype", dtype]));
            let (near, far) = (of("near.csv"), of("far.csv"));
            assert!((near - far).abs() < 0.03, "{start} {dtype}: {near} and {far}");
        }
    }
    let told = stderr(&train(folder.path(), "far.csv", &["-q", "--init", "standardise"]));
    assert!(told.contains("columns 1, 2, 3 lie far from 0"), "{told}");
    let told = stderr(&train(folder.path(), "far.csv", &["-q"]));
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
    let of = |dtype| nats(&train(folder.path(), "thin.csv", &["-q", "--init", "whiten", "--dtype", dtype]));
    let (single, double) = (of("f32"), of("f64"));
    assert!((single - double).abs() < 0.1 && double > 7.0, "{single} and {double}");
}

#[test]
fn columns_of_two_values_and_of_one_that_prevails_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    for (words, third) in [
        ("column 3 has 2 different values", (|i, _, _| i % 2.0) as fn(f64, f64, f64) -> f64),
        ("column 3 has one value in 75", |i, x, _| if i % 4.0 < 3.0 { 0.5 } else { x + i }),
    ] {
        fs::write(folder.path().join("d.csv"), rows(198, third)).unwrap();
        let output = train(folder.path(), "d.csv", &["-q", "--init", "standardise"]);
        let told = stderr(&output);
        assert!(output.status.success() && told.contains(words) && told.contains("no density"), "{told}");
    }
}

#[test]
fn a_number_beyond_f32_is_an_error_of_the_data() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("d.csv"), rows(60, |i, x, _| if i == 4.0 { -1.2e39 } else { x })).unwrap();
    for start in ["orthogonal", "standardise"] {
        let output = train(folder.path(), "d.csv", &["--init", start]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let told = stderr(&output);
        assert!(told.contains("sample 5 of the training part, column 3, is -1.2e39, beyond f32"), "{told}");
        assert!(told.contains("--dtype f64") && !told.contains("checkpoint"), "{told}");
    }
}

#[test]
fn a_spread_that_no_scale_undoes_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for (scale, dtype) in [(1e200, "f64"), (1e-170, "f64"), (1e-170, "f32"), (1e-40, "f32")] {
        fs::write(folder.path().join("d.csv"), rows(60, |i, _, _| scale * ((i * 5.0) % 7.0))).unwrap();
        for start in ["standardise", "whiten-layers"] {
            let mut command = relgrad();
            command.args(["train", "d.csv", "--init", start, "--dtype", dtype, "--out", "out"]);
            let output = command.current_dir(&folder).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{scale} {start}");
            let told = stderr(&output);
            assert!(told.contains("column 3 varies too little or too much"), "{scale} {start}: {told}");
            assert!(!folder.path().join("out").exists());
        }
    }
}

#[test]
fn what_a_file_holds_is_told_unless_quiet() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("d.csv"), format!("a,b,c\n{}", rows(24, |i, x, _| x + i % 5.0))).unwrap();
    let told = stderr(&train(folder.path(), "d.csv", &[]));
    assert!(told.contains("d.csv: 24 samples of 3 columns, header a, b, c\n"), "{told}");
    assert!(!stderr(&train(folder.path(), "d.csv", &["-q"])).contains("24 samples"));
    let told = stderr(&train(folder.path(), "d.csv", &["--header", "no"]));
    assert!(told.contains("line 1: `a` is not a number"), "{told}");
    fs::rename(folder.path().join("d.csv"), folder.path().join("d.dat")).unwrap();
    for (file, part) in [
        ("d.dat", "there is a file of that name, but its ending is none of these"),
        ("e.csv", "cannot read e.csv: No such file"),
        ("toy:moons", "--header is for files of text"),
    ] {
        let output = train(folder.path(), file, if file.starts_with("toy") { &["--header", "yes"] } else { &[] });
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}

#[test]
fn sizes_without_memory_are_refused() {
    let output = relgrad().args(["train", "toy:moons", "--toy-samples", "4294967295"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("--toy-samples"), "{}", stderr(&output));
}

fn started(folder: &Path, file: impl AsRef<std::ffi::OsStr>) -> Output {
    let mut command = relgrad();
    command.arg("train").arg(file).args(["--epochs", "2000", "--patience", "0", "--threads", "1"]);
    command.args(["--time-limit", "1ms", "-q", "--init", "standardise", "--out", "m"]);
    command.current_dir(folder).output().unwrap()
}

fn resumed(folder: &Path, training: &str) -> Output {
    let mut command = relgrad();
    command.args(["train", "--time-limit", "1ms", "-q", "--resume", training]);
    command.current_dir(folder).output().unwrap()
}

#[test]
fn a_training_goes_on_with_the_same_numbers_only_and_from_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let (at, elsewhere) = (folder.path(), folder.path().join("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    let data = rows(60, |i, x, _| 1e7 + x + i % 5.0);
    fs::write(at.join("d.csv"), &data).unwrap();
    assert!(started(at, "d.csv").status.success());
    let facts: Value = serde_json::from_str(&fs::read_to_string(at.join("m/training.json")).unwrap()).unwrap();
    assert!(facts["data"]["shift"][2].as_f64().unwrap() > 9.9e6, "{facts}");
    assert!(resumed(&elsewhere, "../m").status.success());
    fs::write(at.join("d.csv"), data.replacen("10000005", "10000006", 1)).unwrap();
    let output = resumed(at, "m");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("other numbers") && stderr(&output).contains("restore the data"),
        "{}",
        stderr(&output)
    );
    fs::write(at.join("d.csv"), rows(61, |_, x, _| x)).unwrap();
    assert!(stderr(&resumed(at, "m")).contains("restore the data"));
    fs::remove_file(at.join("d.csv")).unwrap();
    let output = resumed(&elsewhere, "../m");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("d.csv") && stderr(&output).contains("put it back"), "{}", stderr(&output));
    // Beside the training in another place: found by the name that it had.
    fs::write(elsewhere.join("d.csv"), &data).unwrap();
    assert!(resumed(&elsewhere, "../m").status.success());
}

/// Before there were digests, paths and shifts.
#[test]
fn a_training_of_before_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("d.csv"), rows(60, |i, x, _| x + i % 5.0)).unwrap();
    assert!(started(at, "d.csv").status.success());
    for (name, own) in [("training.json", "identity"), ("last.json", "of"), ("best.json", "of")] {
        let path = at.join("m").join(name);
        let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        json["schema"] = 1.into();
        for field in [own, "checksum"] {
            json.as_object_mut().unwrap().remove(field);
        }
        for field in ["digest", "file", "header", "shift"] {
            json.get_mut("data").and_then(Value::as_object_mut).and_then(|data| data.remove(field));
        }
        fs::write(&path, json.to_string()).unwrap();
    }
    assert!(resumed(at, "m").status.success());
    fs::create_dir(at.join("elsewhere")).unwrap();
    let output = resumed(&at.join("elsewhere"), "../m");
    assert!(stderr(&output).contains("the folder in which the training was started"), "{}", stderr(&output));
}

#[test]
#[cfg(target_os = "linux")]
fn a_path_that_is_not_utf8_is_a_path() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"d\xff.data");
    fs::create_dir(folder.path().join(name)).unwrap();
    fs::write(folder.path().join(name).join("x.csv"), rows(30, |i, x, _| x + i % 5.0)).unwrap();
    let output = started(folder.path(), Path::new(name).join("x.csv"));
    assert!(output.status.success(), "{}", stderr(&output));
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let output = resumed(&elsewhere, "../m");
    assert!(output.status.success(), "{}", stderr(&output));
}
