//! The files of a real small training, damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use relgrad_adversary::{damage, damaged, judge};
use relgrad_kernels::{Dense, Dtype, Scalar};
use relgrad_reports::training::{ConvolutionLayers, TrainingSettings};

use super::checkpoint;
use super::learner::{Learner, Tracking};
use super::log;
use super::recipe::Recipe;
use super::recipe::tests::settings;
use super::standing::Progress;
use super::store::{self, Store};
use super::trainer::{self, Job};
use crate::data::{Samples, toy};
use crate::error::Result;
use crate::run::interrupt::Events;

fn train(dir: &Path, settings: &TrainingSettings) {
    let set = toy::data_set(toy::Toy::Moons, settings.toy_samples, settings.seed).unwrap();
    let store = Store::create(dir, &store::begun(vec!["relgrad".to_string()], settings.clone(), &set)).unwrap();
    let recipe = Recipe::of(settings, 2).unwrap();
    let job = Job { store: Some(&store), ..Job::new(&recipe, &set.parts, Tracking::On) };
    trainer::train(&job, &mut Events::without_signals()).unwrap();
}

fn learner<T: Scalar>(settings: &TrainingSettings) -> Learner<T> {
    let recipe = Recipe::of(&TrainingSettings { seed: 9, ..settings.clone() }, 2).unwrap();
    Learner::begin(&recipe, Dense, &toy::Toy::Moons.sample(200, 9), Tracking::Off).unwrap()
}

/// Restores the last checkpoint of a folder into a network of these settings.
fn resume<T: Scalar>(dir: &Path, settings: &TrainingSettings) -> Result<Option<Progress>> {
    let (store, _) = Store::open(dir)?;
    let restored = store.restore(&mut learner::<T>(settings), &Recipe::of(settings, 2)?, 4)?;
    Ok(restored.map(|restored| restored.progress))
}

/// The files of one training, by name.
static FILES: LazyLock<BTreeMap<&str, Vec<u8>>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    train(&dir, &settings());
    let names = ["training.json", "last.json", "best.json", "epochs.jsonl", "last-12.safetensors"];
    names.into_iter().map(|name| (name, fs::read(dir.join(name)).unwrap())).collect()
});

/// The name of a file, and what reads it.
type Reader = (&'static str, fn(&Path, &[u8]) -> Result<String>);

const READERS: [Reader; 4] = [
    ("training.json", |path, bytes| store::parse_header(path, bytes).map(|read| format!("{read:?}"))),
    ("last.json", |path, bytes| checkpoint::parse_state(path, "last", bytes).map(|read| format!("{read:?}"))),
    ("best.json", |path, bytes| checkpoint::parse_state(path, "best", bytes).map(|read| format!("{read:?}"))),
    ("epochs.jsonl", |path, bytes| {
        // Logs of before were read without what the checkpoint knows.
        let _ = log::parse(path, bytes, 4, None);
        let known = log::Prefix::of(&FILES["epochs.jsonl"]);
        log::parse(path, bytes, 4, Some(known)).map(|read| format!("{read:?}"))
    }),
];

#[test]
fn every_flipped_bit_of_a_training_is_refused_by_name() {
    for (name, read) in READERS {
        let (path, file) = (Path::new(name), &FILES[name]);
        read(path, file).unwrap();
        for bit in 0..8 * file.len() {
            let mut bytes = file.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let told = read(path, &bytes).expect_err(name).to_string();
            assert!(told.starts_with(name) && told.lines().count() == 1, "{told}");
        }
    }
}

/// The checksum keeps out chance; a file made on purpose has the right one.
fn resealed(bytes: &[u8]) -> Vec<u8> {
    let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_slice(bytes) else {
        return bytes.to_vec();
    };
    fields.remove("checksum");
    super::sealed::seal(&serde_json::Value::Object(fields).to_string()).into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_json_of_a_training_is_refused_or_as_it_was(
        which in 0..READERS.len(), damage in damage(), reseal in any::<bool>()
    ) {
        let (name, read) = READERS[which];
        let bytes = damaged(&FILES[name], &damage);
        let bytes = if reseal { resealed(&bytes) } else { bytes };
        judge(bytes.len(), || {
            let found = read(Path::new(name), &bytes);
            // What says that it is older than checksums, and has none, can only be held to what makes sense.
            let is_old = name.ends_with(".json") && !bytes.windows(8).any(|window| window == b"checksum");
            if !reseal && !is_old && let Ok(found) = &found {
                assert_eq!(found, &read(Path::new(name), &FILES[name]).unwrap());
            }
            found.map_err(|cause| cause.to_string())
        });
    }

    /// With the right checksum and length, so that what lies behind them is reached.
    #[test]
    fn damaged_tensors_are_refused_or_finite(damage in damage()) {
        let (bytes, settings) = (damaged(&FILES["last-12.safetensors"], &damage), settings());
        let mut learner = learner::<f32>(&settings);
        judge(bytes.len(), || {
            let told = |cause| super::sealed::damaged(Path::new("last-12.safetensors"), cause).to_string();
            let beside = checkpoint::Beside { adam_steps: Some(1), sharpness: None };
            checkpoint::restore_all(&bytes, beside, &mut learner).map_err(told)?;
            let arrays = learner.parameters.arrays();
            assert!(arrays.weights.iter().all(|weight| weight.view().slice().iter().all(|x| x.is_finite())));
            learner.require_finite_moments().map_err(|cause| cause.to_string())
        });
    }
}

#[test]
fn a_checkpoint_of_another_network_or_training_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours");
    train(&ours, &settings());
    assert_eq!(resume::<f32>(&ours, &settings()).unwrap().unwrap().epoch, 3);
    type Change = fn(&mut TrainingSettings);
    let cases: [(Change, &str); 5] = [
        (|s| s.layers = 3, "12 arrays instead of 18"),
        (|s| s.bias = false, "12 arrays instead of 6"),
        (|s| s.dtype = Dtype::F64, "type F32"),
        (|s| s.optimizer = "sgd".to_string(), "another optimiser"),
        (|s| s.batch = 40, "step 12 is not what its epoch and batches make"),
    ];
    for (change, part) in cases {
        let mut other = settings();
        change(&mut other);
        let read = if other.dtype == Dtype::F64 {
            resume::<f64>(&ours, &other)
        } else {
            let (store, _) = Store::open(&ours).unwrap();
            let (recipe, batches) = (Recipe::of(&other, 2).unwrap(), 200 / other.batch);
            store.restore(&mut learner::<f32>(&other), &recipe, batches).map(|_| None)
        };
        let told = read.unwrap_err().to_string();
        assert!(told.contains(part), "{told}");
    }
    // The same network, learning from other samples.
    let other = folder.path().join("other");
    train(&other, &TrainingSettings { seed: 1, ..settings() });
    for name in ["last.json", "last-12.safetensors"] {
        fs::copy(other.join(name), ours.join(name)).unwrap();
    }
    let told = resume::<f32>(&ours, &settings()).unwrap_err().to_string();
    assert!(told.contains("last.json") && told.contains("belongs to another training"), "{told}");
}

/// Every array of a network whose density has a condition, and of one of convolutions, comes back from its file.
#[test]
fn checkpoints_hold_what_conditions_and_convolutions_have() {
    let folder = tempfile::tempdir().unwrap();
    let convolution = Some(ConvolutionLayers { channels: 1, grid: [1, 2], kernel: None });
    for (name, settings) in [("dense", settings()), ("conv", TrainingSettings { convolution, ..settings() })] {
        let mut set = toy::data_set(toy::Toy::Moons, settings.toy_samples, settings.seed).unwrap();
        let side = |part: &Samples| Samples { dim: 1, values: part.iter().map(|x| x[0].signum()).collect() };
        set.parts.given = Some(set.parts.each().map(|(_, part)| side(part)));
        let (dir, recipe) = (folder.path().join(name), Recipe::for_data(&settings, &set.parts).unwrap());
        let store = Store::create(&dir, &store::begun(Vec::new(), settings.clone(), &set)).unwrap();
        let job = Job { store: Some(&store), ..Job::new(&recipe, &set.parts, Tracking::On) };
        let trained = trainer::train(&job, &mut Events::without_signals()).unwrap();
        let bytes = fs::read(dir.join("best-12.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let shape = |name: &str| tensors.tensor(name).unwrap().shape().to_vec();
        assert_eq!((shape("head.location"), shape("head.log_scale")), (vec![2, 1], vec![2, 1]));
        assert_eq!((shape("head.location_offset"), shape("adam.first.head.log_scale_offset")), (vec![2], vec![2]));
        assert_eq!(shape("layer1.weight"), if name == "conv" { vec![2, 1] } else { vec![2, 2] });
        assert_eq!(shape("layer2.bias"), vec![if name == "conv" { 1 } else { 2 }]);
        // From the folder again, where nothing is left to train.
        assert_eq!(trainer::train(&job, &mut Events::without_signals()).unwrap().outcome.test, trained.outcome.test);
        drop(store);
        // Without its condition it is another network.
        let told = resume::<f32>(&dir, &settings).unwrap_err().to_string();
        assert!(told.contains("24 arrays instead of 12"), "{name}: {told}");
    }
}

#[test]
fn a_log_that_was_changed_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    train(&dir, &settings());
    let path = dir.join("epochs.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"epoch\":2", "\"epoch\":3", 1)).unwrap();
    let told = resume::<f32>(&dir, &settings()).unwrap_err().to_string();
    assert!(told.contains("epochs.jsonl is damaged or was changed"), "{told}");
}

/// Files of version 1, without checksums and identity.
#[test]
fn a_training_from_before_there_were_checksums_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    train(&dir, &settings());
    for (name, lost) in [("training.json", "identity"), ("last.json", "of"), ("best.json", "of")] {
        let mut json: serde_json::Value = serde_json::from_slice(&fs::read(dir.join(name)).unwrap()).unwrap();
        json["schema"] = 1.into();
        for field in [lost, "checksum"] {
            json.as_object_mut().unwrap().remove(field).unwrap();
        }
        fs::write(dir.join(name), json.to_string()).unwrap();
    }
    assert_eq!(resume::<f32>(&dir, &settings()).unwrap().unwrap().step, 12);
    // What has an identity has a checksum.
    let header = fs::read(dir.join("training.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&header).unwrap();
    json["identity"] = 7.into();
    let told = store::parse_header(Path::new("training.json"), json.to_string().as_bytes()).unwrap_err();
    assert!(told.to_string().contains("version 1 had no identity"), "{told}");
    // Even those must make sense.
    let state: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("last.json")).unwrap()).unwrap();
    for (pointer, value) in [
        ("/progress/epoch", 2.into()),
        ("/progress/step", 13.into()),
        ("/progress/batches", 1.into()),
        ("/progress/running/tracked", 1.into()),
        ("/progress/best", serde_json::Value::Null),
        ("/adam_steps", 99.into()),
        ("/tensors/file", "../last-12.safetensors".into()),
        ("/tensors/file", "training.json".into()),
        ("/tensors/file", dir.join("last-12.safetensors").to_str().unwrap().into()),
    ] {
        let mut changed = state.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        fs::write(dir.join("last.json"), changed.to_string()).unwrap();
        let told = resume::<f32>(&dir, &settings()).unwrap_err().to_string();
        assert!(told.contains("last.json is damaged"), "{told}");
    }
}

#[test]
fn what_a_kill_left_behind_goes_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    train(&dir, &settings());
    let leftovers = ["last-7.safetensors", "last-8.safetensors.partial", "last.json.partial", "training.json.partial"];
    let others = ["last-model.safetensors", "last-.safetensors", "my-7.safetensors", "notes.partial"];
    leftovers.iter().chain(&others).for_each(|name| fs::write(dir.join(name), "x").unwrap());
    resume::<f32>(&dir, &settings()).unwrap();
    assert!(leftovers.iter().all(|name| !dir.join(name).exists()));
    assert!(others.iter().chain(&["last-12.safetensors"]).all(|name| dir.join(name).exists()));
}

#[test]
fn a_folder_is_taken_where_only_a_killed_start_was() {
    let folder = tempfile::tempdir().unwrap();
    let set = toy::data_set(toy::Toy::Moons, 200, 0).unwrap();
    let create = |dir: &Path| Store::create(dir, &store::begun(Vec::new(), settings(), &set)).map(|_| ());
    let dir = folder.path().join("failed");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("epochs.jsonl"), "").unwrap();
    fs::write(dir.join("training.json.partial"), "{").unwrap();
    create(&dir).unwrap();
    assert!(create(&dir).unwrap_err().to_string().contains("--resume"));
    for file in ["epochs.jsonl", "thesis.tex"] {
        let dir = folder.path().join(file).join("dir");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(file), "text").unwrap();
        let told = create(&dir).unwrap_err();
        assert!(told.code() == 2 && told.to_string().contains(&format!("not empty (it has {file})")), "{told}");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    }
}

#[test]
fn every_archived_training_still_reads() {
    fn trainings(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                trainings(&path, found);
            } else if path.ends_with("training.json") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    trainings(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/archive"), &mut found);
    assert!(found.len() > 50);
    for path in found {
        let bytes = fs::read(&path).unwrap();
        let training = store::parse_header(&path, &bytes).unwrap();
        // Written again it is the same: what came later stays out.
        let mut before: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        before.as_object_mut().unwrap().remove("checksum");
        assert_eq!(serde_json::to_value(&training).unwrap(), before, "{}", path.display());
    }
}
