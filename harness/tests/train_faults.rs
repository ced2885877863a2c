//! What may happen to a training: kills, a full disk, another process, links, files that were changed, absurd settings.

mod common;
#[path = "common/training.rs"]
mod training;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{relgrad, stderr, stdout};
use serde_json::Value;
use training::{
    assert_same_end, epochs, json, refused, resume, success, tensors, training, training_of, wait_for_checkpoint,
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
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    success(&mut training(&dir, "adam"));
    let whole = epochs(&dir);
    fs::remove_file(dir.join("last.json")).unwrap();
    refused(&mut resume(&dir), &["last.json is missing: restore it, or start in another folder"]);
    assert_eq!((epochs(&dir), dir.join("best.json").exists()), (whole, true));
}

#[test]
fn a_folder_with_something_in_it_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "text").unwrap();
    refused(&mut training(folder.path(), "adam"), &["not empty", "thesis.tex", "--out"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A checkpoint of version 1, which has no checksum, that names a file elsewhere.
#[test]
fn a_checkpoint_cannot_reach_a_file_outside_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    success(&mut training(&dir, "adam"));
    let victim = folder.path().join("victim.safetensors");
    fs::copy(tensors(&dir, "last"), &victim).unwrap();
    let path = dir.join("last.json");
    for name in [victim.to_str().unwrap(), "../victim.safetensors", "training.json"] {
        let mut state = json(&path);
        state["schema"] = 1.into();
        state["tensors"]["file"] = name.into();
        state.as_object_mut().unwrap().remove("checksum");
        fs::write(&path, state.to_string()).unwrap();
        refused(&mut resume(&dir), &["last.json is damaged", "names a file that is not its own"]);
        assert!(victim.exists() && dir.join("training.json").exists());
    }
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    success(&mut training(&dir, "adam"));
    let outside = folder.path().join("outside");
    for path in [tensors(&dir, "last"), tensors(&dir, "best"), dir.join("training.json"), dir.join("epochs.jsonl")] {
        fs::rename(&path, &outside).unwrap();
        symlink(&outside, &path).unwrap();
        let before = fs::read(&outside).unwrap();
        let output = resume(&dir).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}: {}", path.display(), stderr(&output));
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
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().unwrap();
    let (whole, full) = (folder.path().join("whole"), folder.path().join("full"));
    let of = |dir: &Path| {
        let mut command = relgrad();
        command.args(["train", "toy:moons", "--toy-samples", "200", "--epochs", "60", "--patience", "0"]);
        command.args(["--threads", "1", "--quiet", "--out"]).arg(dir);
        command
    };
    success(&mut of(&whole));
    let mut command = of(&full);
    // SAFETY: the calls are ones that a process may make between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            let most = libc::rlimit { rlim_cur: 6000, rlim_max: 6000 };
            libc::setrlimit(libc::RLIMIT_FSIZE, &most);
            Ok(())
        });
    }
    let output = command.output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("epochs.jsonl") && text.lines().count() == 1, "{text}");
    let done = epochs(&full).len();
    assert!((10..60).contains(&done), "{done} whole lines");
    success(&mut resume(&full));
    assert_same_end(&whole, &full);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_whose_name_is_not_utf_8_is_one_like_others() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join(OsStr::from_bytes(b"t\xff"));
    success(training(&dir, "sgd").args(["--time-limit", "1ms"]));
    success(&mut resume(&dir));
    assert_eq!(epochs(&dir).len(), 9);
    assert!(dir.join("figures/training.png").exists());
}

/// Rows of two numbers around `scale`.
fn table(scale: f64, rows: usize) -> String {
    (0..rows).map(|i| format!("{:e},{:e}\n", scale * (i % 7) as f64, scale * ((i * i) % 11) as f64)).collect()
}

/// Squares of a gradient of data this large are beyond f32: nothing would move.
#[test]
fn moments_beyond_f32_are_a_divergence_and_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let (data, dir) = (folder.path().join("large.csv"), folder.path().join("t"));
    fs::write(&data, table(1e14, 60)).unwrap();
    let of = |dir: &Path, dtype: &str| {
        let mut command = relgrad();
        command.arg("train").arg(&data).args(["--epochs", "2", "--batch", "10", "--threads", "1", "--quiet"]);
        command.args(["--dtype", dtype, "--out"]).arg(dir);
        command
    };
    let output = of(&dir, "f32").output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(6), "{text}");
    assert!(text.contains("second moment") && text.contains("--dtype f64") && text.contains("kept in"), "{text}");
    assert!(!text.contains("--learning-rate"), "{text}");
    let bytes = fs::read(tensors(&dir, "last")).unwrap();
    for (name, tensor) in safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let numbers = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        assert!(numbers.into_iter().all(f32::is_finite), "{name}");
    }
    success(&mut of(&folder.path().join("f64"), "f64"));
}

/// What was done already, or would not help, is not advised.
#[test]
fn data_of_an_extreme_scale_are_to_be_rescaled_in_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("d.csv");
    fs::write(&data, table(1e30, 60)).unwrap();
    for start in ["standardise", "orthogonal"] {
        let dir = folder.path().join(start);
        let mut command = relgrad();
        command.arg("train").arg(&data).args([
            "--epochs",
            "3",
            "--batch",
            "10",
            "--threads",
            "1",
            "--quiet",
            "--init",
            start,
        ]);
        let output = command.arg("--out").arg(&dir).output().unwrap();
        let text = stderr(&output);
        assert!(!output.status.success(), "{start}: {text}");
        assert!(text.contains("in their file") && !text.contains("--init"), "{start}: {text}");
    }
}

/// Nothing was trained, so no step was too large and no checkpoint is kept.
#[test]
fn data_that_the_first_network_cannot_take_are_an_error_of_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("huge.csv");
    fs::write(&data, table(1e25, 60)).unwrap();
    let dir = folder.path().join("t");
    let mut command = relgrad();
    command.arg("train").arg(&data).args(["--threads", "1", "--quiet", "--out"]).arg(&dir);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("--dtype f64") && !text.contains("--learning-rate") && !text.contains("kept"), "{text}");
    // The folder is free for the data as they should have been.
    fs::write(&data, table(1.0, 60)).unwrap();
    success(command.args(["--epochs", "1"]));
}

#[test]
fn a_part_of_one_sample_has_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let (data, dir) = (folder.path().join("few.csv"), folder.path().join("t"));
    fs::write(&data, table(0.1, 12)).unwrap();
    let mut command = relgrad();
    command.arg("train").arg(&data).args(["--epochs", "1", "--threads", "1", "--quiet", "--out"]).arg(&dir);
    let text = stdout(&command.output().unwrap());
    assert!(text.starts_with("1 epoch in ") && !text.contains('±'), "{text}");
    assert_eq!(json(&dir.join("training.json"))["outcome"]["test"]["two_standard_errors"], Value::Null);
}

#[test]
fn absurd_settings_are_refused_with_their_range() {
    let folder = tempfile::tempdir().unwrap();
    let wide = folder.path().join("wide.csv");
    fs::write(&wide, (vec!["1"; 2000].join(",") + "\n").repeat(12)).unwrap();
    let wide = wide.to_str().unwrap();
    let cases: [(&[&str], &str); 4] = [
        (&["toy:moons", "--threads", "4294967295"], "--threads is 4294967295, and must be from 1 to 1024"),
        (&["toy:moons", "--epochs", "18446744073709551615"], "--epochs"),
        (&["toy:moons", "--layers", "4294967295"], "--layers"),
        (&[wide, "--layers", "100000", "--dtype", "f64"], "of memory"),
    ];
    for (arguments, part) in cases {
        let mut command = relgrad();
        refused(command.arg("train").args(arguments).current_dir(&folder), &[part]);
    }
    assert!(!folder.path().join("trainings").exists());
    let dir = folder.path().join("patient");
    let mut command = relgrad();
    command.args(["train", "toy:moons", "--toy-samples", "100", "--epochs", "4", "--learning-rate", "3"]);
    command.args(["--patience", "18446744073709551615", "--threads", "1", "--quiet", "--out"]).arg(&dir);
    success(&mut command);
    assert_eq!(epochs(&dir).len(), 5);
}
