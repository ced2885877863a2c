//! A shortened one of every experiment, on toy data and on made-up digits of the size of optdigits.

mod common;
#[path = "common/training.rs"]
mod training;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use common::{ends, relgrad, wait_until, words};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use training::{json, npy, npz, refused};

fn experiment(name: &str, out: &Path, data: Option<&Path>, effort: &str) -> Value {
    let mut command = relgrad();
    command.args(["experiment", name, "--effort", effort, "--quiet", "--threads", "2", "--images", "optdigits"]);
    command.env_remove("RELGRAD_DATA").arg("--out").arg(out);
    if let Some(data) = data {
        command.arg("--data").arg(data);
    }
    ends(&mut command, 0);
    for extension in ["json", "md", "svg", "png"] {
        assert!(fs::metadata(out.join(format!("{name}.{extension}"))).unwrap().len() > 0, "{name}.{extension}");
    }
    json(&out.join(format!("{name}.json")))
}

/// Digits that no one wrote: columns of different, dependent brightness, in optdigits' format.
fn made_up_digits(folder: &Path) {
    let dir = folder.join("optdigits");
    fs::create_dir_all(&dir).unwrap();
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 24
    };
    for (file, rows) in [("optdigits.tra.gz", 3823), ("optdigits.tes.gz", 1797)] {
        let mut packed = GzEncoder::new(fs::File::create(dir.join(file)).unwrap(), Compression::fast());
        for row in 0..rows {
            let shared = next() % 9;
            for pixel in 0..64 {
                let level = if pixel % 8 < 4 { shared } else { 4 };
                write!(packed, "{},", level + next() % 8).unwrap();
            }
            writeln!(packed, "{}", row % 10).unwrap();
        }
        packed.finish().unwrap();
    }
}

/// E7, one dimension: w, b and the log-likelihood that each rule ends at (MATH.md §17).
#[test]
fn the_papers_bias_rule_stops_short_of_the_maximum() {
    let folder = tempfile::tempdir().unwrap();
    let found = experiment("bias-mode", folder.path(), None, "smoke");
    let end = |i: usize, what: &str| found["numbers"]["ends"][i][what].as_f64().unwrap();
    for (i, [weight, bias, nats]) in [(0, [1.0, -3.0, -1.4189]), (1, [0.5547, -0.8321, -2.0083])] {
        for (what, expected) in [("weight", weight), ("bias", bias), ("nats", nats)] {
            assert!((end(i, what) - expected).abs() < 1e-4, "{i} {what}: {}", end(i, what));
        }
    }
}

#[test]
fn both_gradients_learn_from_the_same_starts() {
    let folder = tempfile::tempdir().unwrap();
    let found = experiment("fig1-right", folder.path(), None, "smoke");
    let shown = found["numbers"]["sets"][1]["shown"].as_array().unwrap();
    assert_eq!(shown.iter().map(|run| run["method"].as_str().unwrap()).collect::<Vec<_>>(), ["relative", "ordinary"]);
    let curves = found["figure"]["panels"][0]["curves"].as_array().unwrap();
    let first = |curve: &Value| curve["points"][0][1].as_f64().unwrap();
    // The same start at the same place of both methods, and a likelihood that rises.
    let half = curves.len() / 2;
    assert_eq!(
        curves[..half].iter().map(first).collect::<Vec<_>>(),
        curves[half..].iter().map(first).collect::<Vec<_>>()
    );
    for curve in curves {
        let last = curve["points"].as_array().unwrap().last().unwrap()[1].as_f64().unwrap();
        assert!(last < first(curve));
    }
}

/// Methods without probes and without a learned state compute the exact direction of their metric.
#[test]
fn exact_methods_have_neither_bias_nor_noise() {
    let folder = tempfile::tempdir().unwrap();
    let found = experiment("bias-noise", folder.path(), None, "smoke");
    let found = found["numbers"]["found"].as_array().unwrap();
    for method in ["relative", "transposed", "ordinary", "relative-inplace", "newton-schulz"] {
        let of_method: Vec<_> = found.iter().filter(|of| of["method"] == method).collect();
        assert_eq!(of_method.len(), 4, "{method}: two dimensions, two checkpoints");
        for of in of_method {
            let number = |what: &str| of["distance"][what].as_f64().unwrap();
            assert!(number("bias") < 1e-4 && number("noise") < 1e-4 && number("cosine") > 1.0 - 1e-6, "{of}");
            assert!(of["time_ratio"].as_f64().unwrap() > 0.0);
        }
    }
}

/// Every method learns, and a second run trains nothing again.
#[test]
fn rivals_learn_by_one_rule_and_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let found = experiment("rivals", folder.path(), None, "smoke");
    let entries = found["numbers"]["entries"].as_array().unwrap();
    // Others may diverge at every step size of so short an experiment.
    let exact = ["relative", "transposed", "ordinary", "newton-schulz", "relative-carried"];
    let of_exact = |entry: &&Value| exact.contains(&entry["method"].as_str().unwrap());
    assert_eq!(entries.iter().filter(of_exact).count(), 2 * exact.len());
    for entry in entries.iter().filter(of_exact) {
        let model = &entry["chosen"]["models"][0];
        let nats = |epoch: usize| model["epochs"][epoch]["validation_nats"].as_f64().unwrap();
        assert!(nats(2) > nats(0), "{entry}");
        // A grid of five, and further ones while the best is at an end.
        let tried = entry["tried"].as_array().unwrap();
        let ends = [tried.first(), tried.last()].map(|tried| tried.unwrap()[0].clone());
        let is_at_end = ends.contains(&entry["chosen"]["step_size"]);
        assert!(tried.len() == 8 || (5..8).contains(&tried.len()) && !is_at_end, "{entry}");
    }
    let relative = |set: &str| {
        entries.iter().find(|entry| entry["data"] == set && entry["method"] == "relative").unwrap()["chosen"].clone()
    };
    let again = experiment("rivals", folder.path(), None, "smoke");
    let seconds = |chosen: &Value| chosen["models"][0]["outcome"]["seconds"].as_f64().unwrap();
    let of_again = again["numbers"]["entries"].as_array().unwrap();
    assert_eq!(seconds(&relative("toy:moons")), seconds(&of_again[0]["chosen"]), "read, not trained");
}

/// Linear mixtures come apart, networks of segments learn, and a recording becomes maps.
#[test]
fn sources_are_recovered_and_a_recording_is_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    let found = experiment("ica", &out, None, "smoke");
    assert_eq!(found["numbers"]["eeg"], Value::Null);
    assert_eq!(found["figure"]["parts"].as_array().unwrap().len(), 1, "no maps without the recording");
    let number = |sight: &Value, what: &str| sight[what].as_f64().unwrap();
    for kind in found["numbers"]["linear"]["kinds"].as_array().unwrap() {
        for solver in kind["solvers"].as_array().unwrap() {
            let sights = solver["trainings"][0].as_array().unwrap();
            let (first, last) = (&sights[0], sights.last().unwrap());
            assert!(number(last, "validation_nats") > number(first, "validation_nats"), "{kind}");
            assert!(number(last, "score") < 0.3, "{kind}");
        }
    }
    for kind in found["numbers"]["segments"]["kinds"].as_array().unwrap() {
        let solvers = kind["solvers"].as_array().unwrap();
        for solver in solvers.iter().chain([&kind["one_layer"]]) {
            let sights = solver["trainings"][0].as_array().unwrap();
            let (first, last) = (&sights[0], sights.last().unwrap());
            assert!(number(last, "validation_nats") > number(first, "validation_nats"), "{kind}");
            assert!((0.0..=1.0).contains(&number(last, "score")));
        }
    }

    made_up_recording(&data);
    let found = experiment("ica", &out, Some(&data), "smoke");
    let maps = &found["figure"]["parts"][1];
    assert_eq!(maps["maps"].as_array().unwrap().len(), 16);
    assert_eq!(maps["electrodes"].as_array().unwrap().len(), 30, "those beside the eyes are left out");
    let components = found["numbers"]["eeg"]["components"].as_array().unwrap();
    let shares: Vec<f64> = components.iter().map(|of| number(of, "variance_share")).collect();
    assert!(shares.is_sorted_by(|a, b| a >= b) && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
}

/// Numbers of the size of the recording, noise of its own and a common one in each channel.
fn made_up_recording(folder: &Path) {
    let dir = folder.join("eeg");
    fs::create_dir_all(&dir).unwrap();
    let mut state = 3_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as f32 / 32768.0 - 1.0
    };
    let mut packed = GzEncoder::new(fs::File::create(dir.join("eeglab_data.fdt.gz")).unwrap(), Compression::fast());
    for _ in 0..30_504 {
        let common = next();
        for channel in 0..32 {
            packed.write_all(&(common + (1 + channel) as f32 * next()).to_le_bytes()).unwrap();
        }
    }
    packed.finish().unwrap();
    let name = |i: usize| if i < 2 { format!("EOG{i}") } else { format!("E{i}") };
    let line = |i: usize| format!("{i} {} {} {}\n", 11 * i, 0.015 * i as f64, name(i));
    fs::write(dir.join("eeglab_chan32.locs"), (0..32).map(line).collect::<String>()).unwrap();
}

#[test]
fn toy_densities_are_learned_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["fig2", "fig5"] {
        let found = experiment(name, folder.path(), None, "smoke");
        let row = &found["figure"]["rows"][0];
        assert_eq!(row["densities"].as_array().unwrap().len(), 2);
        let values = row["densities"][0]["values"].as_array().unwrap();
        assert!(values.iter().any(|value| value.as_f64().unwrap() > 0.0));
    }
    // Its trainings are kept, so that a second run draws the same and trains nothing.
    let kept = folder.path().join("models/mixture-sgd-0.005/epochs.jsonl");
    let (first, trained) = (fs::read(folder.path().join("fig2.svg")).unwrap(), fs::metadata(&kept).unwrap());
    experiment("fig2", folder.path(), None, "smoke");
    assert_eq!(fs::read(folder.path().join("fig2.svg")).unwrap(), first);
    assert_eq!(fs::metadata(&kept).unwrap().modified().unwrap(), trained.modified().unwrap());
}

/// The image experiments share one model, which the second of them does not train again.
#[test]
fn images_are_learned_timed_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    made_up_digits(&data);
    let curves = experiment("fig6", &out, Some(&data), "smoke");
    let model = &curves["numbers"]["models"][0];
    let nats = |i: usize| model["epochs"][i]["validation_nats"].as_f64().unwrap();
    assert!(nats(3) > nats(0));
    let trained = fs::read(out.join("models/optdigits-adam/last.json")).unwrap();
    let drawn = experiment("sample", &out, Some(&data), "smoke");
    assert_eq!(fs::read(out.join("models/optdigits-adam/last.json")).unwrap(), trained);
    assert_eq!(drawn["figure"]["pictures"].as_array().unwrap().len(), 56);
    assert!(drawn["numbers"]["round_trip_error"].as_f64().unwrap() < 1e-2);
    let timed = experiment("mnist-epoch", &out, Some(&data), "smoke");
    let timings = timed["numbers"]["timings"].as_array().unwrap();
    assert_eq!(timings.len(), 8);
    assert!(timings.iter().all(|timing| timing["epoch_seconds"].as_f64().unwrap() > 0.0));
}

/// A shortened search of a grid of eight settings for each set.
fn search(line: &str, out: &Path) -> Command {
    let mut command = words(&format!("experiment table1 --search --effort smoke --threads 1 {line} --out"));
    command.env_remove("RELGRAD_DATA").arg(out);
    command
}

/// The files of a search with what they say but for seconds.
fn trainings(out: &Path) -> BTreeMap<String, Value> {
    let entries = fs::read_dir(out.join("table1-search")).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    let read = |path: PathBuf| {
        let mut training = json(&path);
        for name in ["seconds", "threads"] {
            training["model"].as_object_mut().unwrap().remove(name);
        }
        training.as_object_mut().unwrap().remove("checksum");
        (path.file_name().unwrap().to_string_lossy().into_owned(), training)
    };
    files.map(read).collect()
}

fn written(out: &Path) -> Vec<SystemTime> {
    let path = |name: &String| out.join("table1-search").join(name);
    trainings(out).keys().map(|name| fs::metadata(path(name)).unwrap().modified().unwrap()).collect()
}

/// The best by validation is tested and no other; nothing is trained twice but what is damaged.
#[test]
fn a_search_tests_the_best_by_validation_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let (_, told) = ends(&mut search("--sets toy:moons", out), 0);
    assert!(told.contains("toy:moons, 8 of 8: tanh:1:0.1, 3 layers, "), "{told}");
    let all = trainings(out);
    assert_eq!(all.len(), 8);
    assert!(all.values().all(|training| !training["model"].to_string().contains("test")), "{all:?}");
    let found = json(&out.join("table1-search.json"));
    let set = &found["numbers"]["sets"][0];
    let mean = |nats: &Value| nats["mean"].as_f64().unwrap();
    let best = all.values().map(|training| mean(&training["model"]["validation"])).fold(f64::NEG_INFINITY, f64::max);
    let winner = &set["winner"];
    assert_eq!((mean(&winner["validation_in_search"]), mean(&winner["validation"])), (best, best));
    assert_eq!((set["settings"].as_u64(), set["diverged"].as_u64()), (Some(8), Some(0)));
    assert!(set["tried"].as_array().unwrap().iter().all(|tried| !tried.to_string().contains("\"test\"")));
    let model = json(&out.join("models").join(winner["model"].as_str().unwrap()).join("training.json"));
    assert_eq!(mean(&model["outcome"]["test"]), mean(&winner["test"]));
    // Only every second of the four epochs is looked at.
    assert_eq!(model["settings"]["validate_every"], 2);
    assert!(all.values().all(|training| training["model"]["best_epoch"].as_u64().unwrap().is_multiple_of(2)));

    let before = written(out);
    let damaged = out.join("table1-search").join(all.keys().nth(3).unwrap());
    let text = fs::read_to_string(&damaged).unwrap();
    fs::write(&damaged, &text[..text.len() / 2]).unwrap();
    let (_, told) = ends(&mut search("--sets toy:moons", out), 0);
    assert!(told.contains("is damaged") && told.contains("it is trained again"), "{told}");
    assert_eq!(trainings(out), all);
    let changed = before.iter().zip(written(out)).filter(|(before, after)| **before != *after).count();
    assert_eq!(changed, 1, "one was trained again");
    // Another number of threads changes likelihoods by rounding alone: nothing is trained again.
    let before = written(out);
    let mut again = words("experiment table1 --search --effort smoke --threads 2 --sets toy:moons --out");
    ends(again.env_remove("RELGRAD_DATA").arg(out), 0);
    assert_eq!(written(out), before);
    assert_eq!(json(&out.join("table1-search.json"))["table"], found["table"]);
    let format = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../FORMAT.md")).unwrap();
    let (_, section) = format.split_once("\n### Trainings of a search\n").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("another section");
    let whole = json(&damaged);
    let inner = whole["model"].as_object().unwrap().keys().map(|name| format!("model.{name}"));
    for field in whole.as_object().unwrap().keys().cloned().chain(inner) {
        assert!(section.contains(&format!("| `{field}` |")), "FORMAT.md does not describe {field}");
    }
}

/// Parts on machines of their own are the search; a kill loses the training under way.
#[test]
fn parts_of_a_search_and_a_killed_search_go_on_where_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, parts, killed] = ["whole", "parts", "killed"].map(|name| folder.path().join(name));
    let sets = "--quiet --sets toy:moons,toy:rings,toy:sine";
    ends(&mut search(sets, &whole), 0);
    ends(&mut search(&format!("{sets} --shard 1/2"), &parts), 0);
    let first = trainings(&parts);
    assert!(!first.is_empty() && first.len() < 24, "{}", first.len());
    ends(&mut search(&format!("{sets} --shard 2/2"), &parts), 0);
    assert_eq!(trainings(&parts), trainings(&whole));
    let before = written(&parts);
    ends(&mut search(sets, &parts), 0);
    assert_eq!(written(&parts), before);
    let table = |out: &Path| json(&out.join("table1-search.json"))["table"].clone();
    assert_eq!(table(&parts), table(&whole));

    let mut child = search(sets, &killed).stdout(Stdio::null()).spawn().unwrap();
    wait_until("a training", || killed.join("table1-search").exists() && !trainings(&killed).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let before = trainings(&killed).into_keys().zip(written(&killed)).collect::<BTreeMap<_, _>>();
    ends(&mut search(sets, &killed), 0);
    let after = trainings(&killed).into_keys().zip(written(&killed)).collect::<BTreeMap<_, _>>();
    assert!(before.iter().all(|(name, time)| after[name] == *time), "a training was repeated");
    assert_eq!(trainings(&killed), trainings(&whole));
}

#[test]
fn what_cannot_be_searched_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for (line, named) in [
        ("--shard 1/2", "no set of Table 1 was found: set their folder with --data or RELGRAD_DATA"),
        ("--sets power", "where is power? Name the folder of the data with --data or RELGRAD_DATA"),
        ("--sets power-subset --shard 1/2 --data missing", "is missing; its owners publish the set at"),
        ("--sets toy:moon", "unknown toy density `moon`"),
        ("--sets toy:moons --shard 1/9", "8 trainings, too few for 9 parts"),
    ] {
        refused(&mut search(line, folder.path()), &[named]);
    }
    let mut command = words("experiment fig2 --search --out");
    refused(command.arg(folder.path()), &["--search is for table1"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn sets_that_are_not_at_hand_are_named_so() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    // One small set of its own format: rows of a patch file.
    made_up_patches(&data);
    let found = experiment("table1", &out, Some(&data), "smoke");
    let rows = found["table"]["rows"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row[0] == name).unwrap()[4].as_str().unwrap().to_string();
    assert_eq!((row("GAS"), row("BSDS300")), ("data unavailable".to_string(), "bsds300 (fresh draw)".to_string()));
}

/// 8×8 patches of bytes as an npz with train, val and test.
fn made_up_patches(folder: &Path) {
    let dir = folder.join("bsds300");
    fs::create_dir_all(&dir).unwrap();
    let mut state = 7_u32;
    let mut patches = |rows: usize| {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 25) as u8
        };
        npy("|u1", rows, 64, &(0..64 * rows).map(|_| next()).collect::<Vec<_>>())
    };
    npz(&dir.join("bsds300-patches-u8.npz"), [600, 150, 150].map(&mut patches));
}

#[test]
fn without_data_the_folder_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for (name, words) in [("gaussian", "no data set was found"), ("table1", "no set of Table 1 was found")] {
        let mut command = relgrad();
        command.args(["experiment", name, "--quiet", "--out"]).arg(folder.path()).env_remove("RELGRAD_DATA");
        refused(&mut command, &[words, "--data or RELGRAD_DATA"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

/// The results of a run before are replaced; files of the same names that are something else are not.
#[test]
fn files_that_no_experiment_wrote_are_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    experiment("bias-mode", &out, None, "smoke");
    experiment("bias-mode", &out, None, "smoke");
    for (name, text) in [("bias-mode.md", "notes"), ("bias-mode.json", "{\"schema\":1,\"name\":\"fig2\"}")] {
        let dir = folder.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(name), text).unwrap();
        let mut command = relgrad();
        command.args(["experiment", "bias-mode", "--quiet", "--out"]).arg(&dir);
        refused(&mut command, &[&format!("{name} was not written by the experiment")]);
        assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), text);
    }
}
