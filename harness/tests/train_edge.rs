//! Steps that `relgrad train` keeps stable: the edge of stability, the line search, and returns to the best network.

mod common;
#[path = "common/training.rs"]
mod training;

use std::path::Path;
use std::process::{Command, Stdio};

use common::{ends, relgrad};
use training::{assert_same_end, epochs, json, refused, resume, success, tensors, train, wait_for_checkpoint};

const MOONS: [&str; 5] = ["toy:moons", "--toy-samples", "1000", "--patience", "0"];

fn of(folder: &Path, words: &[&str], dir: &Path) -> Command {
    let mut command = train(folder, &[&MOONS, words].concat());
    command.arg("--out").arg(dir);
    command
}

/// A checkpoint has the vector of the estimates, and the halvings of a line search or of returns.
#[test]
fn estimates_and_undone_steps_resume_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let small = ["--batch", "10", "--epochs", "30", "--layers", "3"];
    let full = ["--batch", "1000", "--epochs", "300", "--optimizer", "sgd", "--learning-rate", "2", "--line-search"];
    let cases: [Vec<&str>; 8] = [
        [&small[..], &["--learning-rate", "0.01"]].concat(),
        [&small[..], &["--learning-rate", "0.01", "--optimizer", "equivariant-adam", "--edge", "0.5"]].concat(),
        [&small[..], &["--learning-rate", "0.1", "--optimizer", "sgd"]].concat(),
        [&small[..], &["--learning-rate", "0.02", "--optimizer", "sgd", "--method", "ordinary", "--edge", "off"]]
            .concat(),
        full.to_vec(),
        [&full[..], &["--method", "transposed", "--schedule", "constant", "--edge", "none"]].concat(),
        [&small[..], &["--learning-rate", "0.3", "--rewind", "0.2"]].concat(),
        [&small[..], &["--learning-rate", "1", "--rewind", "0.2", "--optimizer", "sgd", "--no-guard"]].concat(),
    ];
    for words in cases {
        let out = tempfile::tempdir().unwrap();
        let (whole, parts) = (out.path().join("whole"), out.path().join("parts"));
        success(&mut of(folder.path(), &words, &whole));
        let mut child = of(folder.path(), &words, &parts).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        wait_for_checkpoint(&parts);
        // SAFETY: the process is a child that has not been waited for, so its number is still its own.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        let code = child.wait().unwrap().code();
        assert!(code == Some(130) || code == Some(0), "{code:?}");
        success(&mut resume(&parts));
        assert_same_end(&whole, &parts);
        let has_vector = |name: &str| {
            let bytes = std::fs::read(tensors(&whole, name)).unwrap();
            safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor("sharpness.layer1.weight").is_ok()
        };
        assert_eq!((has_vector("last"), has_vector("best")), (!words.contains(&"none"), false), "{words:?}");
        let of_log = |dir: &Path, what: &str| epochs(dir).iter().map(|epoch| epoch[what].clone()).collect::<Vec<_>>();
        for what in ["sharpness", "edge_share", "rejected_steps"] {
            assert_eq!(of_log(&whole, what), of_log(&parts, what), "{words:?}");
        }
    }
}

/// Without a share to keep below it is only told, once.
#[test]
fn steps_at_the_edge_are_told_or_made_smaller() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["--batch", "1000", "--epochs", "900", "--optimizer", "sgd", "--learning-rate", "1"];
    let shares = |dir: &Path| epochs(dir).iter().filter_map(|epoch| epoch["edge_share"].as_f64()).collect::<Vec<_>>();
    let told = |edge: &str| {
        let mut command = relgrad();
        command.current_dir(folder.path()).arg("train").args(MOONS).args(words).args(["--schedule", "constant"]);
        let (_, told) = ends(command.args(["--edge", edge, "--threads", "1", "--out", edge]), 0);
        (told, shares(&folder.path().join(edge)))
    };
    let (text, off) = told("off");
    assert!(off.iter().any(|share| *share > 0.9), "{off:?}");
    assert_eq!(text.matches("keeps the step size below half").count(), 1, "{text}");
    let (text, kept) = told("0.5");
    assert!(!text.contains("keeps the step size below half"), "{text}");
    // The last estimate, where the step size follows the middle one of three.
    assert!(kept.iter().filter(|share| **share > 0.6).count() < kept.len() / 4, "{kept:?}");
    let (text, none) = told("none");
    assert!(none.is_empty() && !text.contains("μλ"), "{text}");
    assert_eq!(json(&folder.path().join("none/training.json"))["settings"].get("edge"), None);
}

#[test]
fn a_line_search_never_lowers_the_likelihood() {
    let folder = tempfile::tempdir().unwrap();
    for method in ["relative", "transposed", "ordinary"] {
        let dir = folder.path().join(method);
        let words =
            ["--batch", "1000", "--epochs", "200", "--optimizer", "sgd", "--learning-rate", "8", "--line-search"];
        let more = ["--method", method, "--schedule", "constant", "--edge", "none", "--no-guard"];
        success(&mut of(folder.path(), &[&words[..], &more].concat(), &dir));
        let log = epochs(&dir);
        let nats: Vec<f64> = log.iter().filter_map(|epoch| epoch["training_nats"].as_f64()).collect();
        assert!(nats.len() > 20 && nats.is_sorted(), "{method}: {nats:?}");
        assert!(nats[nats.len() - 1] > nats[0] + 0.5, "{method}: {nats:?}");
        let undone: u64 = log.iter().filter_map(|epoch| epoch["rejected_steps"].as_u64()).sum();
        let last = json(&dir.join("last.json"));
        assert!(undone > 0 && last["progress"]["halvings"] == undone, "{method}: {undone}");
        let rate = log[log.len() - 1]["learning_rate"].as_f64().unwrap();
        assert!(rate <= 8.0 * 0.5_f64.powi(undone as i32), "{method}: {rate}");
    }
}

/// Steps so large that every one of these trainings loses what it had learned, or leaves the numbers, without it.
#[test]
fn a_training_that_falls_goes_back_to_its_best_network() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [("relative", "sgd", "3"), ("ordinary", "sgd", "3"), ("relative", "adam", "1"), ("plu", "adam", "1")];
    for (method, optimizer, size) in cases {
        let dir = folder.path().join(format!("{method}-{optimizer}"));
        let words = ["--batch", "10", "--epochs", "80", "--layers", "3", "--schedule", "constant", "--no-guard"];
        let words = [&words[..], &["--method", method, "--optimizer", optimizer, "--learning-rate", size]].concat();
        success(of(folder.path(), &words, &dir).args(["--rewind", "0.2"]));
        let log = epochs(&dir);
        let of_log = |what: &str| log.iter().map(|epoch| epoch[what].as_f64().unwrap_or(0.0)).collect::<Vec<_>>();
        let (nats, rates, undone) = (of_log("validation_nats"), of_log("learning_rate"), of_log("rejected_steps"));
        let times = undone.iter().filter(|steps| **steps > 0.0).count();
        assert!(times > 0 && json(&dir.join("last.json"))["progress"]["halvings"] == times, "{method}: {undone:?}");
        // Five epochs in a row below the best before them are followed by a return.
        let (mut best, mut rate, mut below) = (f64::NEG_INFINITY, rates[0], 0);
        for (i, steps) in undone.iter().enumerate() {
            rate *= if *steps > 0.0 { 0.5 } else { 1.0 };
            assert_eq!(rates[i], rate, "{method}: epoch {i}");
            below = if *steps == 0.0 && nats[i] < best - 0.2 { below + 1 } else { 0 };
            assert!(below < 5, "{method}: epoch {i} of {nats:?}");
            best = best.max(nats[i]);
        }
        assert!(best > nats[0] + 0.3, "{method}: {nats:?}");

        let alone = folder.path().join(format!("{method}-{optimizer}-alone"));
        let status = of(folder.path(), &words, &alone).output().unwrap().status;
        let has_fallen = || {
            let nats: Vec<f64> = epochs(&alone).iter().filter_map(|epoch| epoch["validation_nats"].as_f64()).collect();
            nats[nats.len() - 1] < nats.iter().copied().fold(f64::NEG_INFINITY, f64::max) - 0.2
        };
        assert!(status.code() == Some(6) || has_fallen(), "{method}: {status}");
    }
}

#[test]
fn what_cannot_be_undone_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &str); 8] = [
        (&["--line-search", "--optimizer", "sgd"], "take --batch 1000"),
        (&["--line-search", "--batch", "1000"], "add --optimizer sgd"),
        (&["--line-search", "--batch", "1000", "--optimizer", "sgd", "--noise", "0.1"], "leave out --noise"),
        (
            &["--line-search", "--batch", "1000", "--optimizer", "sgd", "--method", "relative-carried"],
            "choose --method relative",
        ),
        (&["--line-search", "--batch", "1000", "--optimizer", "sgd", "--rewind", "1"], "leave out --rewind"),
        (&["--rewind", "0"], "number of nats"),
        (&["--edge", "2"], "share of the limit"),
        (&["--method", "ordinary", "--optimizer", "equivariant-adam"], "leave out --method"),
    ];
    for (words, part) in cases {
        let words = [&MOONS[..], words].concat();
        let (_, told) = ends(&mut train(folder.path(), &words), 2);
        assert!(told.contains(part), "{told}");
    }
    refused(&mut train(folder.path(), &[&MOONS[..], cases[0].0].concat()), &["all training samples"]);
    assert!(!folder.path().join("trainings").exists(), "nothing is written for what cannot begin");
}
