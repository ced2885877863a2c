//! What may happen to a training: kills, a full disk, another process, links, files that were changed, absurd settings.

mod common;
#[path = "common/training.rs"]
mod training;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{ends, limited, relgrad, stderr, stdout};
use serde_json::Value;
use training::{
    assert_finite, assert_same_end, epochs, json, refused, resume, success, tensors, train, trained, training,
    training_of, wait_for_checkpoint,
};

/// Kills without warning at many moments: after so many changes of the folder, twice, from its first file to its last.
#[test]
fn a_training_killed_at_any_moment_ends_where_an_undisturbed_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    success(&mut training(&whole, "adam"));
    let mut cut_off = 0;
    for moment in 0..12 {
        let dir = folder.path().join(format!("killed-{moment}"));
        for changes in [1 + 8 * moment, 2 + 3 * moment] {
            let begun = dir.join("training.json").exists();
            let mut command = if begun { resume(&dir) } else { training(&dir, "adam") };
            cut_off += usize::from(killed_after(changes, &dir, &mut command));
        }
        let begun = dir.join("training.json").exists();
        success(&mut if begun { resume(&dir) } else { training(&dir, "adam") });
        assert_same_end(&whole, &dir);
    }
    assert!(cut_off > 0, "every training had ended before its kill");
}

/// Runs until the folder was seen to change so often; whether that was before the end.
fn killed_after(changes: usize, dir: &Path, command: &mut Command) -> bool {
    let mut child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let state = || fs::metadata(dir).and_then(|facts| facts.modified()).ok();
    let (mut seen, mut last) = (0, state());
    while seen < changes {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let now = state();
        seen += usize::from(now != last);
        last = now;
        std::thread::sleep(Duration::from_micros(200));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    true
}

#[test]
fn two_trainings_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    let mut first = training_of(&dir, "adam", "1000000").spawn().unwrap();
    wait_for_checkpoint(&dir);
    refused(&mut resume(&dir), &["epochs.jsonl is being written by another relgrad"]);
    refused(&mut training(&dir, "adam"), &["holds a training already"]);
    first.kill().unwrap();
    first.wait().unwrap();
}

/// The log and the best model of a training that is moved, or whose log is removed, stay as its last checkpoint knows
/// them.
#[cfg(unix)]
#[test]
fn a_training_that_loses_its_folder_ends_and_takes_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, moved) = (folder.path().join("t"), folder.path().join("moved"));
    let first = training_of(&dir, "adam", "1000000").stderr(Stdio::piped()).spawn().unwrap();
    wait_for_checkpoint(&dir);
    fs::rename(&dir, &moved).unwrap();
    let output = first.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).lines().count() == 1 && !epochs(&moved).is_empty(), "{}", stderr(&output));
    success(resume(&moved).args(["--time-limit", "1ms"]));
    let kept = moved.join("epochs.jsonl");
    let running = resume(&moved).stderr(Stdio::piped()).spawn().unwrap();
    let before = fs::metadata(&kept).unwrap().len();
    while fs::metadata(&kept).unwrap().len() == before {
        std::thread::sleep(Duration::from_millis(1));
    }
    fs::remove_file(&kept).unwrap();
    refused(&mut resume(&moved), &["epochs.jsonl is missing"]);
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("removed or replaced"), "{}", stderr(&output));
}

/// Without its last checkpoint a training that had got further is not begun anew over what is left of it.
#[test]
fn a_training_without_its_last_checkpoint_is_refused_unless_it_had_none() {
    let (_folder, dir) = trained("adam");
    let whole = epochs(&dir);
    fs::remove_file(dir.join("last.json")).unwrap();
    refused(&mut resume(&dir), &["last.json is missing: restore it, or start in another folder"]);
    assert_eq!((epochs(&dir), dir.join("best.json").exists()), (whole, true));
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    use std::os::unix::fs::symlink;
    let (folder, dir) = trained("adam");
    let outside = folder.path().join("outside");
    for path in [tensors(&dir, "last"), tensors(&dir, "best"), dir.join("training.json"), dir.join("epochs.jsonl")] {
        fs::rename(&path, &outside).unwrap();
        symlink(&outside, &path).unwrap();
        let before = fs::read(&outside).unwrap();
        ends(&mut resume(&dir), 2);
        assert_eq!(fs::read(&outside).unwrap(), before);
        fs::remove_file(&path).unwrap();
        fs::rename(&outside, &path).unwrap();
    }
    // What is written anew replaces a link.
    fs::write(&outside, "mine").unwrap();
    let picture = dir.join("figures/training.svg");
    fs::remove_file(&picture).unwrap();
    symlink(&outside, &picture).unwrap();
    success(&mut resume(&dir));
    assert!(!picture.is_symlink() && picture.exists());
    assert_eq!(fs::read(&outside).unwrap(), b"mine");
}

/// `nohup` makes a program that ignores SIGHUP before it begins.
#[cfg(target_os = "linux")]
#[test]
fn a_hang_up_that_is_ignored_does_not_stop_a_training() {
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().unwrap();
    for (ignored, code) in [(true, 0), (false, 130)] {
        let dir = folder.path().join(ignored.to_string());
        let mut command = training_of(&dir, "adam", "1000000");
        let handler = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: the call is one that a process may make between fork and exec.
        unsafe {
            command.pre_exec(move || {
                libc::signal(libc::SIGHUP, handler);
                Ok(())
            });
        }
        // What the signal does not stop ends by itself.
        command.args(["--time-limit", "3s"]);
        let mut child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        wait_for_checkpoint(&dir);
        // SAFETY: the process is a child that has not been waited for, so its number is still its own.
        unsafe { libc::kill(child.id() as i32, libc::SIGHUP) };
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

/// A largest size of files stands for a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_a_training_with_its_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, full) = (folder.path().join("whole"), folder.path().join("full"));
    let of = |out: &str| {
        let words = ["toy:moons", "--toy-samples", "200", "--epochs", "60", "--patience", "0", "--out", out];
        train(folder.path(), &words)
    };
    success(&mut of("whole"));
    let (_, text) = ends(&mut limited("ulimit -f 12", &of("full")), 3);
    assert!(text.contains("epochs.jsonl") && text.lines().count() == 1, "{text}");
    let done = epochs(&full).len();
    assert!((10..60).contains(&done), "{done} whole lines");
    success(&mut resume(&full));
    assert_same_end(&whole, &full);
}

/// `d.csv`: rows of two numbers around `scale`.
fn table(folder: &Path, scale: f64, rows: usize) {
    let row = |i: usize| format!("{:e},{:e}\n", scale * (i % 7) as f64, scale * ((i * i) % 11) as f64);
    fs::write(folder.join("d.csv"), (0..rows).map(row).collect::<String>()).unwrap();
}

/// Squares of a gradient of data this large are beyond f32: nothing would move.
#[test]
fn moments_beyond_f32_are_a_divergence_and_never_written() {
    let folder = tempfile::tempdir().unwrap();
    table(folder.path(), 1e14, 60);
    let of = |dtype: &str| {
        train(folder.path(), &["d.csv", "--epochs", "2", "--batch", "10", "--dtype", dtype, "--out", dtype])
    };
    let (_, text) = ends(&mut of("f32"), 6);
    assert!(text.contains("second moment") && text.contains("--dtype f64") && text.contains("kept in"), "{text}");
    assert!(!text.contains("--learning-rate"), "{text}");
    assert_finite(&folder.path().join("f32"), "last");
    success(&mut of("f64"));
}

/// What was done already, or would not help, is not advised.
#[test]
fn data_of_an_extreme_scale_are_to_be_rescaled_in_their_file() {
    let folder = tempfile::tempdir().unwrap();
    table(folder.path(), 1e30, 60);
    for start in ["standardise", "orthogonal"] {
        let words = ["d.csv", "--epochs", "3", "--batch", "10", "--init", start, "--out", start];
        let output = train(folder.path(), &words).output().unwrap();
        let text = stderr(&output);
        assert!(!output.status.success(), "{start}: {text}");
        assert!(text.contains("in their file") && !text.contains("--init"), "{start}: {text}");
    }
}

/// Nothing was trained, so no step was too large and no checkpoint is kept.
#[test]
fn data_that_the_first_network_cannot_take_are_an_error_of_the_data() {
    let folder = tempfile::tempdir().unwrap();
    table(folder.path(), 1e25, 60);
    let mut command = train(folder.path(), &["d.csv", "--epochs", "1", "--out", "t"]);
    let (_, text) = ends(&mut command, 2);
    assert!(text.contains("--dtype f64") && !text.contains("--learning-rate") && !text.contains("kept"), "{text}");
    // The folder is free for the data as they should have been.
    table(folder.path(), 1.0, 60);
    success(&mut command);
}

#[test]
fn a_part_of_one_sample_has_no_error() {
    let folder = tempfile::tempdir().unwrap();
    table(folder.path(), 0.1, 12);
    let text = stdout(&train(folder.path(), &["d.csv", "--epochs", "1", "--out", "t"]).output().unwrap());
    assert!(text.starts_with("1 epoch in ") && !text.contains('±'), "{text}");
    let outcome = &json(&folder.path().join("t/training.json"))["outcome"];
    assert_eq!(outcome["test"]["two_standard_errors"], Value::Null);
}

#[test]
fn absurd_settings_are_refused_with_their_range() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("wide.csv"), (vec!["1"; 2000].join(",") + "\n").repeat(12)).unwrap();
    let most = "18446744073709551615";
    let mut threads = relgrad();
    threads.args(["train", "toy:moons", "--threads", "4294967295"]).current_dir(&folder);
    refused(&mut threads, &["--threads is 4294967295, and must be from 1 to 1024"]);
    for (words, part) in [
        (["toy:moons", "--epochs", most, "--dtype", "f32"], "--epochs"),
        (["toy:moons", "--layers", "4294967295", "--dtype", "f32"], "--layers"),
        (["wide.csv", "--layers", "100000", "--dtype", "f64"], "of memory"),
    ] {
        refused(&mut train(folder.path(), &words), &[part]);
    }
    assert!(!folder.path().join("trainings").exists());
    let words = ["toy:moons", "--toy-samples", "100", "--epochs", "4", "--learning-rate", "3", "--patience", most];
    success(train(folder.path(), &words).args(["--out", "patient"]));
    assert_eq!(epochs(&folder.path().join("patient")).len(), 5);
}
