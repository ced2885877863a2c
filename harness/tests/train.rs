//! `relgrad train` as a user meets it: resuming, stopping, damage, divergence, and the user's own files.

mod common;
#[path = "common/training.rs"]
mod training;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{ends, relgrad, words};
use training::{
    assert_finite, assert_same_end, epochs, json, npy, npz, refused, resume, success, tensors, train, trained,
    training, wait_for_checkpoint,
};

/// Stops a training wherever it happens to be with SIGINT, resumes, and compares with one that ran through: parameters,
/// moments and log must be the same, bit for bit.
#[test]
fn a_resumed_training_ends_bit_for_bit_where_an_undisturbed_one_does() {
    for optimizer in ["adam", "sgd", "equivariant-adam"] {
        let folder = tempfile::tempdir().unwrap();
        stopped_and_resumed(folder.path(), |dir| training(dir, optimizer));
    }
}

/// The epoch of Adam's corrections follows from what a checkpoint has.
#[test]
fn a_correction_by_the_epoch_is_another_training_and_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    stopped_and_resumed(folder.path(), |dir| {
        let mut command = training(dir, "adam");
        command.args(["--adam-correction", "epoch"]);
        command
    });
    let (whole, by_step) = (folder.path().join("whole"), folder.path().join("step"));
    success(training(&by_step, "adam").args(["--adam-correction", "step"]));
    assert_ne!(validation(&whole)[1..], validation(&by_step)[1..]);
    let word = |dir: &Path| json(&dir.join("training.json"))["settings"]["adam_correction"].clone();
    assert_eq!((word(&whole).as_str(), word(&by_step).is_null()), (Some("epoch"), true));
    let mut sgd = training(&folder.path().join("sgd"), "sgd");
    refused(sgd.args(["--adam-correction", "epoch"]), &["--adam-correction is for --optimizer adam"]);
}

/// The noise of a step follows from the seed and the step.
#[test]
fn noise_makes_another_training_and_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    stopped_and_resumed(folder.path(), |dir| {
        let mut command = training(dir, "adam");
        command.args(["--noise", "0.5"]);
        command
    });
    let (noisy, plain) = (folder.path().join("whole"), folder.path().join("plain"));
    success(&mut training(&plain, "adam"));
    assert_ne!(validation(&noisy)[1..], validation(&plain)[1..]);
    let sigma = |dir: &Path| json(&dir.join("training.json"))["settings"]["noise"].as_f64();
    assert_eq!((sigma(&noisy), sigma(&plain)), (Some(0.5), None));
}

/// Each method that has numbers of its own learns something else with other ones.
#[test]
fn a_training_has_the_numbers_that_tune_gave() {
    let folder = tempfile::tempdir().unwrap();
    // At an orthogonal W every tolerance is kept.
    for (method, tuning, init) in [
        ("ordinary-carried", "probes=1", "orthogonal"),
        ("hutchinson", "probes=1", "orthogonal"),
        ("hutchinson", "tolerance=0.3", "gaussian"),
        ("self-normalizing", "tolerance=0.5", "gaussian"),
        ("free-form", "beta=0.5", "orthogonal"),
    ] {
        let of = |name: &str, more: &[&str]| {
            let (dir, common) = (folder.path().join(format!("{method}-{tuning}-{name}")), ["train", "toy:moons"]);
            let mut command = relgrad();
            command.args(common).args(["--method", method, "--toy-samples", "500", "--epochs", "2", "--layers", "2"]);
            command.args(["--optimizer", "sgd", "--learning-rate", "0.01", "--edge", "none", "--threads", "1"]);
            command.args(["--init", init]);
            success(command.args(more).args(["--quiet", "--out"]).arg(&dir));
            validation(&dir)
        };
        let (default, again, tuned) = (of("default", &[]), of("again", &[]), of("tuned", &["--tune", tuning]));
        assert_eq!(default, again, "{method}");
        assert_ne!(default, tuned, "{method} {tuning}");
    }
}

/// Two trainings in `folder/whole` and `folder/parts`, the second one stopped and resumed; both end the same.
fn stopped_and_resumed(folder: &Path, training: impl Fn(&Path) -> Command) {
    let (whole, parts) = (folder.join("whole"), folder.join("parts"));
    success(&mut training(&whole));
    let mut child = training(&parts).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
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

/// The validation likelihood of each epoch.
fn validation(dir: &Path) -> Vec<f64> {
    epochs(dir).iter().map(|epoch| epoch["validation_nats"].as_f64().unwrap()).collect()
}

/// Numbers in (−1, 1) that look like noise.
fn noise(at: usize) -> f64 {
    let mut word = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    f64::from((word >> 32) as u32) / f64::from(u32::MAX / 2) - 1.0
}

fn line(row: impl IntoIterator<Item = f64>) -> String {
    row.into_iter().map(|x| x.to_string()).collect::<Vec<_>>().join(",") + "\n"
}

/// Pictures of 4×4 points, each the sum of what noise has there and to the right and below, around the grid: what
/// convolutions learn.
#[test]
fn convolutions_learn_pictures_and_resume_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let picture = |i: usize| {
        let at = move |row: usize, column: usize| noise(16 * i + row % 4 * 4 + column % 4);
        line((0..16).map(|p| 2.0 * at(p / 4, p % 4) + at(p / 4, p % 4 + 1) + at(p / 4 + 1, p % 4) + 3.0))
    };
    fs::write(folder.path().join("p.csv"), (0..600).map(picture).collect::<String>()).unwrap();
    let words = ["p.csv", "--coupling", "conv", "--epochs", "8", "--batch", "50", "--patience", "0"];
    let cases: [&[&str]; 4] = [
        &["--grid", "4x4", "--optimizer", "sgd", "--learning-rate", "0.05"],
        &["--grid", "4x4", "--learning-rate", "0.02"],
        &["--grid", "4x4", "--learning-rate", "0.02", "--kernel", "3x3", "--method", "ordinary"],
        &["--grid", "1x8", "--learning-rate", "0.02", "--channels", "2", "--kernel", "1"],
    ];
    for more in cases {
        let words = [&words, more].concat();
        let out = tempfile::tempdir().unwrap();
        stopped_and_resumed(out.path(), |dir| {
            let mut command = train(folder.path(), &words);
            command.arg("--out").arg(dir);
            command
        });
        let whole = out.path().join("whole");
        let nats = validation(&whole);
        assert!(nats[8] > nats[0] + 2.0, "{more:?}: {nats:?}");
        assert!(json(&whole.join("training.json"))["settings"]["convolution"].is_object());
    }
}

/// Layers that keep factors of their weights start from the function of dense ones, and what is kept has their numbers.
#[test]
fn factors_learn_from_where_dense_layers_start_and_resume_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for method in ["plu", "qr"] {
        for (optimizer, init) in [("adam", "orthogonal"), ("sgd", "orthogonal"), ("adam", "whiten-layers")] {
            let out = tempfile::tempdir().unwrap();
            let words = ["toy:moons", "--toy-samples", "1000", "--epochs", "8", "--patience", "0", "--init", init];
            let words = [&words[..], &["--optimizer", optimizer, "--learning-rate", "0.02"]].concat();
            let of = |method: &str, dir: &Path| {
                let mut command = train(folder.path(), &[&words[..], &["--method", method]].concat());
                command.arg("--out").arg(dir);
                command
            };
            stopped_and_resumed(out.path(), |dir| of(method, dir));
            let (whole, dense) = (out.path().join("whole"), out.path().join("dense"));
            success(&mut of("ordinary", &dense));
            let (ours, theirs) = (validation(&whole), validation(&dense));
            assert!((ours[0] - theirs[0]).abs() < 1e-4, "{method} {init}: {} and {}", ours[0], theirs[0]);
            // From whitened layers little is left to learn.
            let least = if init == "orthogonal" { 0.05 } else { 0.005 };
            assert!(ours[8] > ours[0] + least, "{method} {optimizer} {init}: {ours:?}");
            let bytes = fs::read(tensors(&whole, "last")).unwrap();
            let arrays = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            assert_eq!(arrays.tensor("layer2.weight").unwrap().shape(), [2, 4]);
        }
    }
}

/// Two classes apart: their likelihood given the class is above that without, for stored and for plain steps.
#[test]
fn a_condition_is_learned_and_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let row = |i: usize| {
        let class = f64::from(noise(3 * i) > 0.0);
        [noise(3 * i + 1) + 6.0 * class, noise(3 * i + 2) - 4.0 * class, class]
    };
    let with_class = (0..600).map(|i| line(row(i))).collect::<String>();
    fs::write(folder.path().join("both.csv"), format!("x,y,class\n{with_class}")).unwrap();
    fs::write(folder.path().join("x.csv"), (0..600).map(|i| line(row(i).into_iter().take(2))).collect::<String>())
        .unwrap();
    let words = ["--epochs", "12", "--batch", "50", "--learning-rate", "0.05"];
    for optimizer in ["adam", "sgd", "equivariant-adam"] {
        let out = tempfile::tempdir().unwrap();
        let of = |file: &[&str], dir: &Path| {
            let mut command = train(folder.path(), &[file, &words, &["--optimizer", optimizer]].concat());
            command.arg("--out").arg(dir);
            command
        };
        stopped_and_resumed(out.path(), |dir| of(&["both.csv", "--conditional", "class"], dir));
        let (whole, by_number, without) = (out.path().join("whole"), out.path().join("n"), out.path().join("x"));
        success(&mut of(&["both.csv", "--conditional", "3"], &by_number));
        success(&mut of(&["x.csv"], &without));
        let best = |dir: &Path| validation(dir).into_iter().fold(f64::NEG_INFINITY, f64::max);
        assert!(best(&whole) > best(&without) + 0.3, "{optimizer}: {} and {}", best(&whole), best(&without));
        assert_eq!(validation(&whole), validation(&by_number));
        let training = json(&whole.join("training.json"));
        assert_eq!((training["data"]["dim"].as_u64(), training["data"]["conditions"].as_u64()), (Some(2), Some(1)));
    }
}

/// A time limit of nothing stops before the first step, and every resumption goes one step of time further.
#[test]
fn a_time_limit_leaves_a_checkpoint_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    let (_, told) = ends(training(&dir, "sgd").args(["--time-limit", "1ms"]), 0);
    assert!(told.contains("--resume"), "{told}");
    assert_eq!(json(&dir.join("training.json"))["outcome"]["stop"], "time-limit");
    assert_eq!(epochs(&dir).len(), 1, "only the untrained network");
    success(&mut resume(&dir));
    assert_eq!(epochs(&dir).len(), 9);
}

#[test]
fn training_raises_the_likelihood_and_the_log_says_so() {
    let (_folder, dir) = trained("sgd");
    let epochs = epochs(&dir);
    let nats = |i: usize| epochs[i]["validation_nats"].as_f64().unwrap();
    assert!(nats(8) > nats(0) + 0.5, "{} after {}", nats(8), nats(0));
    // Carried log-determinants: a training likelihood, and a drift that f32 weights allow.
    assert!(epochs[8]["training_nats"].as_f64().unwrap() > nats(0));
    assert!(epochs[8]["log_det_drift"].as_f64().unwrap() < 1e-4);
    for file in ["figures/training.svg", "figures/training.png", "best.json", "last.json"] {
        assert!(dir.join(file).exists(), "{file}");
    }
    refused(&mut training(&dir, "sgd"), &["--resume"]);
}

#[test]
fn a_damaged_checkpoint_is_refused_by_name() {
    let (_folder, dir) = trained("adam");
    let path = tensors(&dir, "last");
    let whole = fs::read(&path).unwrap();
    let mut resume = resume(&dir);
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (bytes, reason) in [(flipped, "checksum"), (whole[..whole.len() - 1].to_vec(), "bytes instead of")] {
        fs::write(&path, bytes).unwrap();
        refused(&mut resume, &["damaged", reason]);
    }
    fs::write(&path, whole).unwrap();
    success(&mut resume);
    fs::write(dir.join("last.json"), "{").unwrap();
    refused(&mut resume, &["last.json is damaged"]);
    fs::remove_file(dir.join("training.json")).unwrap();
    refused(&mut resume, &["not the folder of a training"]);
}

/// Plain ordinary steps far too large: something stops being finite, and nothing that is not finite is kept.
#[test]
fn divergence_is_told_with_its_place_and_the_last_good_checkpoint_stays() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    let words = ["toy:8gaussians", "--toy-samples", "500", "--method", "ordinary", "--optimizer", "sgd", "--out", "t"];
    let mut command = train(folder.path(), &words);
    let (_, text) = ends(command.args(["--learning-rate", "1e6", "--epochs", "50"]), 6);
    for part in ["step", "epoch", "layer", "--learning-rate", "last good checkpoint"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_finite(&dir, "last");
}

#[test]
fn own_files_are_read_whatever_their_format() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    let rows = |count: u32| (0..count).map(|i| [f64::from(i % 7), f64::from(i * i % 11)]).collect::<Vec<_>>();
    let array = |count: u32| {
        let numbers = rows(count).iter().flatten().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
        npy("<f8", count as usize, 2, &numbers)
    };
    let csv: String = rows(60).iter().map(|row| format!("{},{}\n", row[0], row[1])).collect();
    write("a.csv", format!("x,y\n{csv}").as_bytes());
    write("a.npy", &array(60));
    npz(&folder.path().join("a.npz"), [40, 8, 9].map(array));
    for (file, sizes) in [("a.csv", [49, 5, 6]), ("a.npy", [49, 5, 6]), ("a.npz", [40, 8, 9])] {
        let out = format!("out-{file}");
        success(&mut train(folder.path(), &[file, "--epochs", "1", "--batch", "10", "--out", &out]));
        let data = &json(&folder.path().join(out).join("training.json"))["data"];
        let found = ["training", "validation", "test"].map(|part| data[part].as_u64().unwrap());
        assert_eq!((data["dim"].as_u64(), found), (Some(2), sizes), "{file}");
    }
    write("bad.csv", b"1,2\n3,x\n");
    refused(&mut train(folder.path(), &["bad.csv"]), &["line 2: `x` is not a number"]);
    write("nan.csv", ("1,2\n".repeat(20) + "3,nan\n").as_bytes());
    refused(&mut train(folder.path(), &["nan.csv"]), &["not a finite number"]);
}

#[test]
fn what_is_missing_or_impossible_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "1,2,3\n4,5,6\n".repeat(10)).unwrap();
    let cases: [(&[&str], &[&str]); 16] = [
        (&["toy:moons", "--coupling", "conv"], &["no pictures", "--grid 1x2"]),
        (&["a.csv", "--coupling", "conv", "--grid", "2x2"], &["1 channel on a grid of 2x2", "the 3 columns"]),
        (&["a.csv", "--coupling", "conv", "--grid", "3", "--kernel", "2"], &["--method ordinary"]),
        (&["a.csv", "--coupling", "conv", "--grid", "3", "--init", "whiten"], &["for dense layers"]),
        (&["a.csv", "--grid", "3"], &["for --coupling conv"]),
        (&["a.csv", "--conditional", "4"], &["no column `4`: they are 1 to 3"]),
        (&["a.csv", "--conditional", "1,2,3"], &["no column to learn"]),
        (&["toy:moons", "--conditional", "labels"], &["no classes"]),
        (&["mnist", "--data", ".", "--conditional", "labels"], &["is missing"]),
        (&["mnist", "--data", "."], &["train-images-idx3-ubyte.gz (9.9 MB) is missing", "yann.lecun.com"]),
        (&["mnist"], &["--data or RELGRAD_DATA"]),
        (&["cifar"], &["unknown data set `cifar`"]),
        (&["toy:cat"], &["unknown toy density `cat`"]),
        (&["toy:moons", "--learning-rate", "0"], &["--learning-rate"]),
        (&["toy:moons", "--method", "relative-inplace"], &["choose --method relative"]),
        (&["toy:moons", "--toy-samples", "4294967295"], &["--toy-samples"]),
    ];
    for (words, parts) in cases {
        refused(&mut train(folder.path(), words), parts);
    }
    let (_, alpha) = ends(&mut train(folder.path(), &["toy:moons", "--activation", "smooth:2"]), 2);
    assert!(alpha.contains("alpha"), "{alpha}");
    assert!(!folder.path().join("trainings").exists(), "nothing is written for what cannot begin");
}

#[test]
fn help_names_the_data_sets_and_exit_codes() {
    let (text, _) = ends(&mut words("train --help"), 0);
    for part in ["mnist", "toy:NAME", "RELGRAD_DATA", "--resume", "diverged"] {
        assert!(text.contains(part), "{part}");
    }
}
