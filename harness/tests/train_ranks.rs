//! Trainings whose weights are split over ranks: by threads of one process, and by MPI where it is installed.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/training.rs"]
mod training;

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{ends, has_mpi, scratch, stderr, wait_until};
use safetensors::SafeTensors;
use training::{epochs, json, refused, resume, tensors, train, wait_for_checkpoint};

/// A folder with 300 samples of five columns that depend on each other: no two ranks of two or three have as many.
fn data() -> tempfile::TempDir {
    let folder = scratch();
    let mut text = String::new();
    for i in 0..300 {
        let wave = |k: f64| (f64::from(i) * k).sin() + 0.3 * (f64::from(i * i) * 0.7 * k).cos();
        let [a, b, c] = [wave(1.3), wave(2.1), wave(0.37)];
        let row = [a, 2.0 * b, a * a + 0.1 * b, 0.5 * c + 1.0, b - c * a];
        writeln!(text, "{}", row.map(|x| x.to_string()).join(",")).unwrap();
    }
    fs::write(folder.path().join("data.csv"), text).unwrap();
    folder
}

/// A training by plain relative steps into `out` of that folder.
fn sgd(folder: &Path, out: &str, more: &str) -> Command {
    let mut command = train(folder, &["data.csv", "--optimizer", "sgd", "--layers", "3", "--patience", "0"]);
    command.args(["--edge", "none", "--out", out]).args(more.split_whitespace());
    for (flag, value) in [("--learning-rate", "0.05"), ("--batch", "16")] {
        if !more.contains(flag) {
            command.args([flag, value]);
        }
    }
    command
}

/// The same where nothing of MPI is found.
fn in_threads(mut command: Command) -> Command {
    command.env("PATH", "");
    command
}

/// All numbers of a tensor file in f64, by the names of arrays.
fn numbers(path: &Path) -> Vec<(String, Vec<f64>)> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let wide = |tensor: safetensors::tensor::TensorView<'_>| match tensor.dtype() {
        safetensors::Dtype::F32 => {
            tensor.data().as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
        }
        _ => tensor.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
    };
    let mut all: Vec<_> = file.tensors().into_iter().map(|(name, tensor)| (name, wide(tensor))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// Fails unless two trainings have the same epochs and models, to a difference of `tolerance` in every number.
#[track_caller]
fn assert_same(one: &Path, other: &Path, tolerance: f64) {
    let (a, b) = (epochs(one), epochs(other));
    assert_eq!(a.len(), b.len());
    let is_near = |a: f64, b: f64| (a - b).abs() <= tolerance * a.abs().max(1.0);
    for (a, b) in a.iter().zip(&b) {
        assert_eq!((&a["epoch"], &a["step"], &a["learning_rate"]), (&b["epoch"], &b["step"], &b["learning_rate"]));
        for field in ["training_nats", "validation_nats", "guarded_share"] {
            let [a, b] = [a, b].map(|epoch| epoch[field].as_f64());
            assert_eq!(a.is_some(), b.is_some(), "{field}");
            assert!(a.zip(b).is_none_or(|(a, b)| is_near(a, b)), "{field}: {a:?} {b:?}");
        }
    }
    for name in ["last", "best"] {
        let [a, b] = [one, other].map(|dir| numbers(&tensors(dir, name)));
        assert_eq!(a.len(), b.len());
        for ((name, a), (other, b)) in a.iter().zip(&b) {
            assert_eq!((name, a.len()), (other, b.len()));
            let worst = a.iter().zip(b).find(|(a, b)| !is_near(**a, **b));
            assert_eq!(worst, None, "{name}");
        }
    }
    let nats = |dir: &Path| json(&dir.join("training.json"))["outcome"]["test"]["mean"].as_f64().unwrap();
    assert!(is_near(nats(one), nats(other)), "{} {}", nats(one), nats(other));
}

/// Six epochs in f64 and f32. The tolerances are those of sums in another order: 1e-10, and 1e-4.
#[test]
fn ranks_train_as_one_and_their_model_is_an_ordinary_one() {
    let folder = data();
    for (dtype, more, tolerance) in [
        ("f64", "--init standardise --schedule inverse:2", 1e-10),
        ("f32", "--init standardise --base sech --last-nonlinear", 1e-4),
        ("f64", "--no-bias --schedule constant --method relative-inplace --batch 7", 1e-10),
    ] {
        let more = format!("--epochs 6 --dtype {dtype} {more}");
        let out = |ranks: usize| format!("{dtype}-{}-{ranks}", more.len());
        for ranks in [1, 2, 3] {
            let command = sgd(folder.path(), &out(ranks), &format!("{more} --ranks {ranks}"));
            ends(&mut in_threads(command), 0);
        }
        let [one, two, three] = [1, 2, 3].map(|ranks| folder.path().join(out(ranks)));
        assert_same(&one, &two, tolerance);
        assert_same(&one, &three, tolerance);
        // What ranks carry is what an LU finds.
        let carried = json(&three.join("training.json"))["outcome"]["test"]["mean"].as_f64().unwrap();
        let mut score = common::relgrad();
        score.args(["score"]).arg(&three).arg(folder.path().join("data.csv")).args(["--out", "scores.csv"]);
        ends(score.current_dir(folder.path()), 0);
        let text = fs::read_to_string(folder.path().join("scores.csv")).unwrap();
        let of_row = |row: &str| row.split(',').next().unwrap().parse::<f64>().unwrap();
        let exact = text.lines().skip(1 + 270).map(of_row).sum::<f64>() / 30.0;
        assert!((exact - carried).abs() < tolerance * 10.0, "{exact} {carried}");
        fs::remove_file(folder.path().join("scores.csv")).unwrap();
    }
}

/// Cut off again and again, and continued on another number of ranks each time, one among them. The time of a part is
/// so short that no machine ends in two, and is doubled where that was less than twenty steps.
#[test]
fn a_training_goes_on_over_another_number_of_ranks() {
    let folder = data();
    let more = "--epochs 60 --dtype f64";
    ends(&mut in_threads(sgd(folder.path(), "whole", more)), 0);
    let dir = folder.path().join("parts");
    let (mut parts, mut step, mut limit) = (0, 0, 1);
    for ranks in ["2", "3", "1"].into_iter().cycle().take(300) {
        let command = if parts == 0 { sgd(folder.path(), "parts", more) } else { resume(&dir) };
        ends(in_threads(command).args(["--ranks", ranks, "--time-limit", &format!("{limit}ms")]), 0);
        parts += 1;
        if json(&dir.join("training.json"))["outcome"]["stop"] == "complete" {
            break;
        }
        let reached = json(&dir.join("last.json"))["progress"]["step"].as_u64().unwrap();
        limit *= if reached < step + 20 { 2 } else { 1 };
        step = reached;
    }
    assert!(parts > 2, "{parts}");
    assert_same(&folder.path().join("whole"), &dir, 1e-9);
}

#[test]
fn what_ranks_cannot_train_is_refused() {
    let folder = data();
    for (more, told) in [
        ("--ranks 2", "relative with adam has no form over ranks"),
        ("--optimizer sgd --ranks 2 --method ordinary", "ordinary with sgd has no form over ranks"),
        ("--optimizer sgd --ranks 2 --method transposed", "transposed with sgd has no form over ranks"),
        ("--optimizer sgd --ranks 2 --coupling conv --grid 1x5", "convolutions have no form over ranks"),
        ("--optimizer sgd --ranks 2 --conditional 5", "densities with a condition have no form over ranks"),
        ("--optimizer sgd --ranks 2 --batch 300 --line-search", "a line search keeps a second copy"),
        ("--optimizer sgd --ranks 2 --edge 0.5", "the sharpness is not estimated over ranks"),
        ("--optimizer sgd --ranks 2 --init whiten", "log-determinants of a network that begins as whiten"),
        ("--optimizer sgd --ranks 6", "6 ranks cannot share the 5 columns of W"),
    ] {
        let command = train(folder.path(), &["data.csv", "--out", "refused"]);
        refused(in_threads(command).args(more.split_whitespace()), &[told]);
        assert!(!folder.path().join("refused/training.json").exists(), "{more}");
    }
    ends(&mut train(folder.path(), &["data.csv", "--epochs", "1", "--out", "adam"]), 0);
    refused(
        in_threads(resume(&folder.path().join("adam"))).args(["--ranks", "2"]),
        &["relative with adam has no form"],
    );
}

/// A step size beyond all reason, by threads and by processes: one line, and the code of a divergence.
#[test]
fn a_divergence_ends_all_ranks_with_one_line() {
    let folder = data();
    let more = "--epochs 9 --ranks 3 --learning-rate 1e30 --no-guard --schedule constant";
    let command = |out: &str| sgd(folder.path(), out, more);
    let mut commands = vec![in_threads(command("threads"))];
    if has_mpi() {
        commands.push(command("mpi"));
    }
    for mut command in commands {
        let (_, told) = ends(&mut command, 6);
        let parts = ["training stopped at step", "not finite", "try a smaller --learning-rate"];
        assert!(told.lines().count() == 1 && parts.iter().all(|part| told.contains(part)), "{told}");
    }
}

#[test]
fn ranks_by_mpi_train_as_those_by_threads() {
    if !has_mpi() {
        return;
    }
    let folder = data();
    let more = "--epochs 4 --dtype f64 --init standardise --ranks 3";
    ends(&mut in_threads(sgd(folder.path(), "threads", more)), 0);
    let (out, _) = ends(&mut sgd(folder.path(), "mpi", more), 0);
    assert!(out.contains("best validation at epoch") && out.contains("model: mpi"), "{out}");
    assert_same(&folder.path().join("threads"), &folder.path().join("mpi"), 1e-10);
    // Started by a launcher, as on several machines.
    let inner = sgd(folder.path(), "launched", &more.replace("--ranks 3", ""));
    let mut launched = Command::new("mpiexec");
    launched.args(["-n", "3"]).arg(inner.get_program()).args(inner.get_args()).current_dir(folder.path());
    ends(&mut launched, 0);
    assert_same(&folder.path().join("threads"), &folder.path().join("launched"), 1e-10);
}

/// The ranks of a training with this seed.
fn ranks_of(seed: &str) -> Vec<u32> {
    let is_rank = |pid: &u32| {
        let of = |what: &str| fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
        of("cmdline").contains(seed) && of("environ").contains("PMI_RANK=")
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_rank).collect()
}

#[test]
fn a_rank_that_is_killed_ends_the_others_and_the_training_goes_on() {
    if !has_mpi() {
        return;
    }
    let folder = data();
    let seed = "867530912346";
    let mut command = sgd(folder.path(), "killed", &format!("--epochs 1000000 --seed {seed} --ranks 3"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let dir = folder.path().join("killed");
    wait_for_checkpoint(&dir);
    wait_until("three ranks", || ranks_of(seed).len() == 3);
    let start = Instant::now();
    // SAFETY: kill touches no memory; the process is a rank that this test started.
    unsafe { libc::kill(ranks_of(seed)[1] as libc::pid_t, libc::SIGKILL) };
    let output = child.wait_with_output().unwrap();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!((output.status.code(), ranks_of(seed)), (Some(7), Vec::new()), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(told.lines().count() == 1 && told.contains("a rank was ended"), "{told}");
    let before = json(&dir.join("last.json"))["progress"]["step"].as_u64().unwrap();
    ends(resume(&dir).args(["--ranks", "2", "--time-limit", "1s"]), 0);
    assert!(json(&dir.join("last.json"))["progress"]["step"].as_u64().unwrap() > before);
}
