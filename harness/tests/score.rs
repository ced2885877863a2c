//! `relgrad score`, `draw` and `invert`: what a trained model says of data and makes of latents.

mod common;
#[path = "common/training.rs"]
mod training;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{ends, relgrad};
use training::{json, npy, refused, success, train};

/// A verb with these words in a folder.
fn verb(folder: &Path, words: &[&str]) -> Command {
    let mut command = relgrad();
    command.args(words).env_remove("RELGRAD_DATA").current_dir(folder);
    command
}

/// Rows of a matrix in NumPy's format, as this program writes it.
fn read_npy(path: PathBuf) -> Vec<Vec<f64>> {
    let bytes = fs::read(path).unwrap();
    let length = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(length.is_multiple_of(64) && bytes[length - 1] == b'\n');
    let header = String::from_utf8(bytes[10..length].to_vec()).unwrap();
    let shape = header.split(['(', ')']).nth(1).unwrap();
    let [rows, columns] = shape.split(", ").map(|n| n.parse::<usize>().unwrap()).collect::<Vec<_>>()[..] else {
        panic!("{header}")
    };
    let numbers: Vec<f64> = if header.contains("'<f4'") {
        bytes[length..].as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
    } else {
        bytes[length..].as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
    };
    assert_eq!(numbers.len(), rows * columns);
    numbers.chunks_exact(columns).map(<[f64]>::to_vec).collect()
}

fn write_npy(path: &Path, rows: &[Vec<f64>]) {
    let numbers: Vec<u8> = rows.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    fs::write(path, npy("<f8", rows.len(), rows[0].len(), &numbers)).unwrap();
}

/// `count` rows of 16 numbers and a class, far from 0.
fn table(count: u32) -> Vec<Vec<f64>> {
    let noise = |at: u32| f64::from(at.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 23) - 1.0;
    let row = |i: u32| {
        let class = f64::from(i.is_multiple_of(3));
        let mut row: Vec<f64> = (0..16).map(|j| 5000.0 + 2.0 * class + noise(17 * i + j)).collect();
        row.push(class);
        row
    };
    (0..count).map(row).collect()
}

/// Models of every kind of layer, condition and number type, in folders of their names: file, and more words.
const MODELS: [(&str, &str, &str); 6] = [
    ("dense", "x.npy", "--dtype f32 --layers 3 --init whiten"),
    ("double", "x.npy", "--dtype f64 --layers 2 --activation tanh:1:0.5 --base logistic --last-nonlinear"),
    ("conv", "x.npy", "--dtype f64 --coupling conv --grid 4x4"),
    ("plu", "x.npy", "--dtype f64 --method plu --base sech"),
    ("qr", "x.npy", "--dtype f64 --method qr --init standardise"),
    ("given", "xu.npy", "--dtype f64 --conditional 17 --init standardise"),
];

fn models() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows = table(1200);
    write_npy(&folder.path().join("xu.npy"), &rows);
    let x: Vec<Vec<f64>> = rows.iter().map(|row| row[..16].to_vec()).collect();
    write_npy(&folder.path().join("x.npy"), &x);
    for (name, file, more) in MODELS {
        let words = format!("{file} --epochs 2 --learning-rate 0.01 --out {name} {more}");
        success(&mut train(folder.path(), &words.split(' ').collect::<Vec<_>>()));
    }
    folder
}

/// Scores are those of the training, parts add up, and latents go back to the data. Tolerances: the same computation
/// in the same order; a shift by 5000 leaves f32 without it four digits, so that the model in f32 whitens.
#[test]
fn every_model_scores_as_its_training_did_and_inverts_its_latents() {
    let folder = models();
    let at = |file: &str| folder.path().join(file);
    for (name, file, _) in MODELS {
        let words = ["score", name, file, "--part", "test", "--threads", "1", "--out", "s.npy", "--latents", "z.npy"];
        let (told, _) = ends(&mut verb(folder.path(), &words), 0);
        assert!(told.starts_with("120 rows: ") && told.contains(" nats on average (base "), "{told}");
        let (scores, z) = (read_npy(at("s.npy")), read_npy(at("z.npy")));
        let mean = scores.iter().map(|row| row[0]).sum::<f64>() / 120.0;
        let outcome = json(&at(name).join("training.json"))["outcome"]["test"]["mean"].as_f64().unwrap();
        assert!((mean - outcome).abs() <= 1e-12 * outcome.abs(), "{name}: {mean} for {outcome}");
        let rest = |row: &Vec<f64>| (row[0] - row[1] - row[2] - row[3]).abs() / row[1].abs();
        assert!(scores.iter().all(|row| rest(row) < 1e-12), "{name}");
        success(&mut verb(folder.path(), &["invert", name, "z.npy", "--out", "back.npy"]));
        let back = read_npy(at("back.npy"));
        let x: Vec<Vec<f64>> = table(1200)[1080..].iter().map(|row| row[..16].to_vec()).collect();
        let (tolerance, of_latents) = if name == "dense" { (1e-3, 1e-2) } else { (1e-7, 1e-6) };
        assert!(distance(&back, &x) < tolerance, "{name}: {}", distance(&back, &x));
        // And the other way round.
        if name == "given" {
            continue;
        }
        success(&mut verb(folder.path(), &["score", name, "back.npy", "--out", "s.npy", "--latents", "again.npy"]));
        let again = read_npy(at("again.npy"));
        assert!(distance(&again, &z) < of_latents, "{name}: {}", distance(&again, &z));
    }
}

/// The largest difference.
fn distance(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    assert_eq!((a.len(), a[0].len()), (b.len(), b[0].len()));
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Draws go forward to draws of the base density, whatever the condition; tolerance: six standard errors of 4,000.
#[test]
fn draws_are_of_the_model_and_of_their_seed() {
    let folder = models();
    let at = |file: &str| folder.path().join(file);
    let draw = |words: &str| {
        success(&mut verb(folder.path(), &format!("draw {words}").split(' ').collect::<Vec<_>>()));
        read_npy(at(words.split(' ').next_back().unwrap()))
    };
    let few = draw("qr --count 7 --out few.npy");
    let many = draw("qr --count 4000 --out many.npy");
    assert!((few.len(), many.len()) == (7, 4000) && many.starts_with(&few));
    assert_ne!(few, draw("qr --count 7 --seed 1 --out other.npy"));
    let cooler = draw("qr --count 4000 --temperature 0.5 --out cool.npy");
    for (file, scale) in [("many.npy", 1.0), ("cool.npy", 0.5)] {
        success(&mut verb(folder.path(), &["score", "qr", file, "--out", "s.npy", "--latents", "z.npy"]));
        let z = read_npy(at("z.npy"));
        let numbers = z.len() as f64 * 16.0;
        let mean = z.iter().flatten().sum::<f64>() / numbers;
        let square = z.iter().flatten().map(|z| z * z).sum::<f64>() / numbers;
        assert!(mean.abs() < scale * 6.0 / numbers.sqrt(), "{file}: {mean}");
        assert!((square / scale.powi(2) - 1.0).abs() < 6.0 * (2.0 / numbers).sqrt(), "{file}: {square}");
    }
    assert_ne!(cooler[..7], few[..]);
    // Rows of u in turn, or one u for all.
    fs::write(at("u.csv"), "1\n0\n1\n").unwrap();
    let in_turn = draw("given --given u.csv --count 600 --out g.npy");
    let first = draw("given --given 1 --count 600 --out one.npy");
    let second = draw("given --given 0 --count 600 --out zero.npy");
    assert!(in_turn[3] == first[3] && in_turn[4] == second[4] && in_turn[597] == first[597]);
    assert_ne!(first, second);
    assert_eq!(draw("given --given u.csv --out three.npy").len(), 3);
    // The rows of a file with their u in a file of its own.
    fs::write(at("ones.csv"), "1\n".repeat(600)).unwrap();
    let score = |words: &[&str]| {
        success(&mut verb(folder.path(), words));
        read_npy(at("s.npy"))
    };
    let apart = score(&["score", "given", "one.npy", "--given", "ones.csv", "--out", "s.npy"]);
    let joined: Vec<Vec<f64>> = first.iter().map(|row| [&row[..], &[1.0]].concat()).collect();
    write_npy(&at("joined.npy"), &joined);
    assert_eq!(apart, score(&["score", "given", "joined.npy", "--out", "s.npy"]));
}

#[test]
fn text_comes_in_and_goes_out() {
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file);
    let words = ["toy:moons", "--toy-samples", "500", "--epochs", "2", "--out", "m"];
    success(&mut train(folder.path(), &words));
    let (drawn, _) = ends(&mut verb(folder.path(), &["draw", "m", "--count", "3"]), 0);
    assert!(drawn.starts_with("x1,x2\n") && drawn.lines().count() == 4, "{drawn}");
    fs::write(at("d.csv"), &drawn).unwrap();
    let (scored, told) = ends(&mut verb(folder.path(), &["score", "m", "d.csv"]), 0);
    assert!(scored.starts_with("log_likelihood,log_base,log_slopes,log_det\n") && scored.lines().count() == 4);
    assert!(told.starts_with("3 rows: "), "{told}");
    let mut child = verb(folder.path(), &["score", "m", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let child = child.as_mut().unwrap();
    child.stdin.take().unwrap().write_all(drawn.as_bytes()).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(text, scored);
    // The default part of a set is its test part; a checkpoint is named by either of its files.
    let tensors = fs::read_dir(at("m")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let best = tensors.into_iter().find(|file| file.starts_with("best-")).unwrap();
    let of = |model: &str| ends(&mut verb(folder.path(), &["score", model, "toy:moons"]), 0).0;
    assert_eq!(of("m").lines().count(), 1001);
    assert_eq!(of("m"), of(&format!("m/{best}")));
    assert_eq!(of("m"), of("m/best.json"));
    let all = ends(&mut verb(folder.path(), &["score", "m", "toy:moons", "--part", "all"]), 0).0;
    assert_eq!(all.lines().count(), 2501);
}

#[test]
fn what_does_not_fit_is_said_in_one_line() {
    let folder = models();
    let at = |file: &str| folder.path().join(file);
    fs::write(at("narrow.csv"), "1,2,3\n").unwrap();
    fs::write(at("nan.csv"), format!("{}1\n{}nan\n", "1,".repeat(15), "1,".repeat(15))).unwrap();
    let nan: Vec<Vec<f64>> = vec![vec![1.0; 16], vec![f64::NAN; 16]];
    write_npy(&at("nan.npy"), &nan);
    write_npy(&at("far.npy"), &[vec![5000.0; 16], vec![1e300; 16]]);
    fs::write(at("two.csv"), "1,0\n").unwrap();
    let mut rows = table(1200);
    rows[3][3] += 1.0;
    let x: Vec<Vec<f64>> = rows.iter().map(|row| row[..16].to_vec()).collect();
    let cases: [(&str, &[&str]); 21] = [
        ("score dense narrow.csv", &["narrow.csv has 3 columns", "trained on 16"]),
        ("score dense nan.csv", &["line 2", "not a finite number"]),
        ("score dense nan.npy", &["nan.npy: row 2, column 1, is not a finite number"]),
        ("score dense far.npy", &["row 2:", "not finite"]),
        ("score dense nothing.npy", &["nothing.npy"]),
        ("score dense x.dat", &["unknown data set `x.dat`"]),
        ("score dense toy:moons", &["toy:moons has 2 columns"]),
        ("score dense x.npy --out s.txt", &["s.txt must end in .csv or .npy"]),
        ("score dense x.npy --header yes", &["--header is for files of text"]),
        ("score dense x.npy --given u.csv", &["u.csv"]),
        ("score dense x.npy --part test --given two.csv", &["--given is for all rows of a file"]),
        ("score given x.npy", &["no column `17`", "--given"]),
        ("score given x.npy --given two.csv", &["--given has 1 row", "1,200 rows"]),
        ("score nowhere x.npy", &["nowhere is no model"]),
        ("score . x.npy", &["is not the folder of a training"]),
        ("score dense/epochs.jsonl x.npy", &["is no model", "best.json"]),
        ("draw given", &["say which u with --given"]),
        ("draw dense --given 1", &["the model has no condition u"]),
        ("draw given --given 1,2", &["--given has 2 numbers, and u of the model 1"]),
        ("draw dense --out p.png", &["has no pictures", ".csv or .npy"]),
        ("invert dense narrow.csv", &["narrow.csv has 3 columns"]),
    ];
    for (words, parts) in cases {
        refused(&mut verb(folder.path(), &words.split(' ').collect::<Vec<_>>()), parts);
    }
    // Other numbers under the same name are no part of the training's data, but rows like others.
    write_npy(&at("x.npy"), &x);
    refused(&mut verb(folder.path(), &["score", "dense", "x.npy", "--part", "test"]), &["other numbers than when"]);
    success(&mut verb(folder.path(), &["score", "dense", "x.npy", "--out", "s.npy"]));
    // Nothing is left of what was not finished.
    assert!(fs::read_dir(folder.path()).unwrap().all(|e| !e.unwrap().path().to_string_lossy().ends_with(".partial")));
    let tensors = training::tensors(&at("dense"), "best");
    fs::copy(&tensors, at("dense/best-9999.safetensors")).unwrap();
    let other = ["score", "dense/best-9999.safetensors", "x.npy"];
    refused(&mut verb(folder.path(), &other), &["is not the file of best.json"]);
    fs::write(&tensors, b"").unwrap();
    refused(&mut verb(folder.path(), &["score", "dense", "x.npy"]), &["is damaged or was changed"]);
}
