//! `relgrad train` as a user meets it: resuming, stopping, damage, divergence, and the user's own files.

mod common;
#[path = "common/training.rs"]
mod training;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use common::{relgrad, run, stderr, stdout};
use training::{assert_same_end, epochs, json, resume, success, tensors, training, wait_for_checkpoint};

/// Stops a training wherever it happens to be with SIGINT, resumes, and compares with one that ran through: parameters,
/// moments and log must be the same, bit for bit.
#[test]
fn a_resumed_training_ends_bit_for_bit_where_an_undisturbed_one_does() {
    for optimizer in ["adam", "sgd"] {
        let folder = tempfile::tempdir().unwrap();
        let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
        success(&mut training(&whole, optimizer));
        let mut child = training(&parts, optimizer).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        wait_for_checkpoint(&parts);
        // SAFETY: the process is a child that has not been waited for, so its number is still its own.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        let code = child.wait().unwrap().code();
        // A fast machine may have finished first; then there is nothing to resume, and the rest must still hold.
        assert!(code == Some(130) || code == Some(0), "{code:?}");
        success(&mut resume(&parts));
        assert_same_end(&whole, &parts);
        let outcome = |dir: &Path| json(&dir.join("training.json"))["outcome"]["test"].clone();
        assert_eq!(outcome(&whole), outcome(&parts));
    }
}

/// A time limit of nothing stops before the first step, and every resumption goes one step of time further.
#[test]
fn a_time_limit_leaves_a_checkpoint_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    let output = training(&dir, "sgd").args(["--time-limit", "1ms"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("--resume"), "{}", stderr(&output));
    assert_eq!(json(&dir.join("training.json"))["outcome"]["stop"], "time-limit");
    assert_eq!(epochs(&dir).len(), 1, "only the untrained network");
    success(&mut resume(&dir));
    assert_eq!(epochs(&dir).len(), 9);
}

#[test]
fn training_raises_the_likelihood_and_the_log_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    success(&mut training(&dir, "sgd"));
    let epochs = epochs(&dir);
    let nats = |i: usize| epochs[i]["validation_nats"].as_f64().unwrap();
    assert!(nats(8) > nats(0) + 0.5, "{} after {}", nats(8), nats(0));
    // Carried log-determinants: a training likelihood, and a drift that f32 weights allow.
    assert!(epochs[8]["training_nats"].as_f64().unwrap() > nats(0));
    assert!(epochs[8]["log_det_drift"].as_f64().unwrap() < 1e-4);
    for file in ["figures/training.svg", "figures/training.png", "best.json", "last.json"] {
        assert!(dir.join(file).exists(), "{file}");
    }
    let again = training(&dir, "sgd").output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("--resume"), "{}", stderr(&again));
}

#[test]
fn a_damaged_checkpoint_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    success(&mut training(&dir, "adam"));
    let path = tensors(&dir, "last");
    let whole = fs::read(&path).unwrap();
    let resume = || resume(&dir).output().unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (bytes, reason) in [(flipped, "checksum"), (whole[..whole.len() - 1].to_vec(), "bytes instead of")] {
        fs::write(&path, bytes).unwrap();
        let output = resume();
        assert_eq!(output.status.code(), Some(2));
        let text = stderr(&output);
        assert!(text.contains("damaged") && text.contains(reason) && text.lines().count() == 1, "{text}");
    }
    fs::write(&path, whole).unwrap();
    assert!(resume().status.success());
    fs::write(dir.join("last.json"), "{").unwrap();
    assert_eq!(resume().status.code(), Some(2));
    fs::remove_file(dir.join("training.json")).unwrap();
    assert!(stderr(&resume()).contains("not the folder of a training"));
}

/// Plain ordinary steps far too large: something stops being finite, and nothing that is not finite is kept.
#[test]
fn divergence_is_told_with_its_place_and_the_last_good_checkpoint_stays() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    let mut command = relgrad();
    command.args(["train", "toy:8gaussians", "--toy-samples", "500", "--method", "ordinary", "--optimizer", "sgd"]);
    command.args(["--learning-rate", "1e6", "--epochs", "50", "--quiet", "--threads", "1", "--out"]).arg(&dir);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    let text = stderr(&output);
    for part in ["step", "epoch", "layer", "--learning-rate", "last good checkpoint"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(tensors(&dir, "last").exists());
    let bytes = fs::read(tensors(&dir, "last")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    for (name, tensor) in tensors.tensors() {
        let finite = tensor.data().chunks_exact(4).all(|b| f32::from_le_bytes(b.try_into().unwrap()).is_finite());
        assert!(finite, "{name}");
    }
}

#[test]
fn own_files_are_read_whatever_their_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let rows = |count: u32| (0..count).map(|i| [f64::from(i % 7), f64::from(i * i % 11)]).collect::<Vec<_>>();
    let csv: String = rows(60).iter().map(|row| format!("{},{}\n", row[0], row[1])).collect();
    fs::write(path("a.csv"), format!("x,y\n{csv}")).unwrap();
    fs::write(path("a.npy"), npy(&rows(60))).unwrap();
    let file = fs::File::create(path("a.npz")).unwrap();
    let mut archive = zip::ZipWriter::new(file);
    for (name, count) in [("train", 40), ("val", 8), ("test", 9)] {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(format!("{name}.npy"), options).unwrap();
        std::io::Write::write_all(&mut archive, &npy(&rows(count))).unwrap();
    }
    archive.finish().unwrap();
    for (file, sizes) in [("a.csv", [49, 5, 6]), ("a.npy", [49, 5, 6]), ("a.npz", [40, 8, 9])] {
        let dir = path(&format!("out-{file}"));
        success(
            relgrad()
                .arg("train")
                .arg(path(file))
                .args(["--epochs", "1", "--batch", "10", "--quiet", "--threads", "1", "--out"])
                .arg(&dir),
        );
        let data = &json(&dir.join("training.json"))["data"];
        let found = ["training", "validation", "test"].map(|part| data[part].as_u64().unwrap());
        assert_eq!((data["dim"].as_u64(), found), (Some(2), sizes), "{file}");
    }
    fs::write(path("bad.csv"), "1,2\n3,x\n").unwrap();
    let output = relgrad().arg("train").arg(path("bad.csv")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("line 2: `x` is not a number"), "{}", stderr(&output));
    fs::write(path("nan.csv"), "1,2\n".repeat(20) + "3,nan\n").unwrap();
    let output = relgrad().arg("train").arg(path("nan.csv")).output().unwrap();
    assert!(stderr(&output).contains("not a finite number"), "{}", stderr(&output));
}

/// Version 1.0 of NumPy's format, float64 in C order.
fn npy(rows: &[[f64; 2]]) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({}, 2), }}", rows.len());
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(rows.iter().flatten().flat_map(|x| x.to_le_bytes()));
    bytes
}

#[test]
fn what_is_missing_or_impossible_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let cases: [(&[&str], &str); 8] = [
        (&["train", "mnist", "--data", data], "train-images-idx3-ubyte.gz (9.9 MB) is missing"),
        (&["train", "mnist", "--data", data], "yann.lecun.com"),
        (&["train", "mnist"], "--data or RELGRAD_DATA"),
        (&["train", "cifar"], "unknown data set `cifar`"),
        (&["train", "toy:cat"], "unknown toy density `cat`"),
        (&["train", "toy:moons", "--learning-rate", "0"], "--learning-rate"),
        (&["train", "toy:moons", "--activation", "smooth:2"], "alpha"),
        (&["train", "toy:moons", "--method", "relative-inplace"], "choose --method relative"),
    ];
    for (arguments, part) in cases {
        let output = relgrad().args(arguments).env_remove("RELGRAD_DATA").current_dir(&folder).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        let text = stderr(&output);
        assert!(text.contains(part), "{arguments:?}: {text}");
    }
    assert!(!folder.path().join("trainings").exists(), "nothing is written for what cannot begin");
}

#[test]
fn help_names_the_data_sets_and_exit_codes() {
    let output = run(&["train", "--help"]);
    let text = stdout(&output);
    for part in ["mnist", "toy:NAME", "RELGRAD_DATA", "--resume", "diverged"] {
        assert!(text.contains(part), "{part}");
    }
}
