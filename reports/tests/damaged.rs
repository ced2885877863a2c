//! Damaged files: every reader refuses them with a reason, and whatever it accepts can be summed up and written out.

use std::fs;
use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use relgrad_adversary::{Counting, damage, damaged, judge};
use relgrad_reports::atlas::{Atlas, Data, Folder};
use relgrad_reports::compare::{Comparison, Rules, Sides};
use relgrad_reports::export::{FORMATS, REPORT, Report};
use relgrad_reports::history::{Entry, Metric, series};
use relgrad_reports::study::{Invalid, Study};
use relgrad_reports::summary::Summary;
use relgrad_reports::{baseline, fixture, history};
use relgrad_vocabulary::{DeviceKind, Math};
use tempfile::TempDir;

#[global_allocator]
static COUNTING: Counting = Counting;

/// Three sweeps that readers accept: on the CPU, on a GPU, of convolutions.
static SWEEPS: LazyLock<[TempDir; 3]> = LazyLock::new(|| {
    [small(), on_a_gpu(), of_convolutions()].map(|study| {
        let dir = tempfile::tempdir().unwrap();
        fixture::write(dir.path(), &study).unwrap();
        dir
    })
});

/// A few records of every kind.
fn small() -> Study {
    let mut study = fixture::study();
    study.run.settings.dims = vec![10, 32, 100, 1000];
    study.records.retain(|r| r.cell.round < 2 && study.run.settings.dims.contains(&r.cell.point.dim));
    study.records.iter_mut().for_each(|r| r.seconds.truncate(4));
    study.records.iter_mut().for_each(|r| r.memory_trace.truncate(4));
    study
}

fn on_a_gpu() -> Study {
    let mut study = small();
    study.run.settings.devices = vec![DeviceKind::Cuda];
    study.run.settings.math = Some(Math::Tf32);
    for record in &mut study.records {
        record.cell.point.device = DeviceKind::Cuda;
        record.cell.point.math = Some(Math::Tf32);
        record.gpu = Some(fixture::gpu(record));
    }
    study
}

fn of_convolutions() -> Study {
    let mut study = small();
    let grids = study.run.settings.dims.iter().map(|dim| [1, dim / 2]).collect();
    study.run.settings.convolution = Some(relgrad_reports::run::Convolution { channels: 2, kernel: None, grids });
    for record in &mut study.records {
        let grid = [1, record.cell.point.dim / 2];
        record.cell.point.convolution = Some(relgrad_reports::record::Convolution { channels: 2, grid, kernel: grid });
    }
    study
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A folder with a copy of one sweep in which `file` is damaged, and the size of that file.
fn damaged_sweep(which: usize, file: &str, harm: &[relgrad_adversary::Damage]) -> (TempDir, usize) {
    let from = SWEEPS[which].path();
    let dir = tempfile::tempdir().unwrap();
    for name in ["run.json", "records.jsonl"].into_iter().filter(|name| *name != file) {
        fs::hard_link(from.join(name), dir.path().join(name)).unwrap();
    }
    let bytes = damaged(&fs::read(from.join(file)).unwrap(), harm);
    fs::write(dir.path().join(file), &bytes).unwrap();
    let others: u64 = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    (dir, others as usize)
}

/// `bytes` as gzip packs them.
fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// A folder whose records are `bytes`, packed.
fn packed_sweep(which: usize, bytes: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::hard_link(SWEEPS[which].path().join("run.json"), dir.path().join("run.json")).unwrap();
    fs::write(dir.path().join("records.jsonl.gz"), bytes).unwrap();
    dir
}

/// A mebibyte of each of four bytes, packed into a thousandth.
static FILLERS: LazyLock<[Vec<u8>; 4]> =
    LazyLock::new(|| [b' ', b'\n', b'0', 0].map(|byte| packed(&vec![byte; 1 << 20])));

/// Records, plain and packed.
static PACKED: LazyLock<[(Vec<u8>, Vec<u8>); 3]> = LazyLock::new(|| {
    [0, 1, 2].map(|which: usize| {
        let plain = fs::read(SWEEPS[which].path().join("records.jsonl")).unwrap();
        let packed = packed(&plain);
        (plain, packed)
    })
});

/// The words of a refusal, which must name the file.
fn named<T>(read: relgrad_reports::error::Result<T>, file: &str) -> Result<T, String> {
    read.map_err(|cause| {
        let words = cause.to_string();
        assert!(words.contains(file), "{words}");
        words
    })
}

proptest! {
    #![proptest_config(config(10_000))]

    #[test]
    fn damaged_records_are_read_or_refused(which in 0..3_usize, harm in damage()) {
        let (dir, size) = damaged_sweep(which, "records.jsonl", &harm);
        judge(size, || named(Study::read(dir.path()), "records.jsonl"));
        judge(size, || named(Study::read_with(dir.path(), Invalid::Skip), "records.jsonl"));
    }

    #[test]
    fn damaged_packed_records_are_read_or_refused(which in 0..3_usize, inside in any::<bool>(), harm in damage()) {
        let (plain, whole) = &PACKED[which];
        let bytes = if inside { packed(&damaged(plain, &harm)) } else { damaged(whole, &harm) };
        let dir = packed_sweep(which, &bytes);
        let size = 2 * plain.len();
        judge(size, || named(Study::read(dir.path()), "records.jsonl.gz"));
        judge(size, || named(Study::read_with(dir.path(), Invalid::Skip), "records.jsonl.gz"));
    }

    #[test]
    fn a_packed_file_that_would_fill_the_memory_is_refused(
        which in 0..3_usize,
        starts_well in any::<bool>(),
        fillers in proptest::collection::vec(0..4_usize, 2..5),
    ) {
        let mut bytes = if starts_well { PACKED[which].1.clone() } else { Vec::new() };
        let limit = (100 * (bytes.len() + fillers.len() * FILLERS[0].len())).max(1 << 20);
        // Enough to pass the limit, whatever it is: members cost a thousandth of what they become.
        let enough = limit / (9 << 17) + fillers.len();
        fillers.iter().cycle().take(enough).for_each(|&filler| bytes.extend(&FILLERS[filler]));
        let dir = packed_sweep(which, &bytes);
        judge(limit, || {
            let read = named(Study::read_with(dir.path(), Invalid::Skip), "records.jsonl.gz");
            let told = read.expect_err("what it becomes is over the limit");
            assert!(told.contains("unpack it first"), "{told}");
            Err::<(), _>(told)
        });
    }

    #[test]
    fn a_damaged_run_is_read_or_refused(which in 0..3_usize, harm in damage()) {
        let (dir, size) = damaged_sweep(which, "run.json", &harm);
        // A run that changed its settings disagrees with the records beside it.
        judge(size, || named(Study::read(dir.path()), ""));
    }

    #[test]
    fn a_damaged_baseline_is_read_or_refused(which in 0..3_usize, harm in damage()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("baseline.jsonl");
        let bytes = damaged(&BASELINES[which], &harm);
        fs::write(&path, &bytes).unwrap();
        judge(bytes.len(), || named(baseline::read(&path), "baseline.jsonl"));
    }

    #[test]
    fn a_damaged_atlas_is_read_or_refused(harm in damage()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("atlas.json");
        let bytes = damaged(&ATLAS, &harm);
        fs::write(&path, &bytes).unwrap();
        judge(bytes.len(), || named(Atlas::read(&path), "atlas.json"));
    }

    #[test]
    fn a_damaged_store_is_read_or_refused(harm in damage()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let bytes = damaged(&STORE, &harm);
        fs::write(&path, &bytes).unwrap();
        judge(bytes.len(), || {
            let entries = named(history::read(&path), "history.jsonl")?;
            Metric::ALL.iter().for_each(|metric| drop(series(&entries, *metric)));
            Ok::<_, String>(())
        });
    }
}

static BASELINES: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("baseline.jsonl");
    [0, 1, 2].map(|which: usize| {
        baseline::write(&path, &Study::read(SWEEPS[which].path()).unwrap()).unwrap();
        fs::read(&path).unwrap()
    })
});

/// Of two machines, one of which is the other by another name.
static ATLAS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut other = small();
    other.run.machine.cpu = "Another CPU".to_string();
    let folders = [Folder::of("a".to_string(), &small()), Folder::of("b".to_string(), &other)];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("atlas.json");
    Atlas::fit(&Data::of(&folders)).unwrap().write(&path).unwrap();
    fs::read(&path).unwrap()
});

static STORE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    for day in 1..=9 {
        let mut study = Study::read(SWEEPS[day % 3].path()).unwrap();
        study.run.started = format!("2026-01-{day:02}T00:00:00Z");
        assert!(history::add(&path, &Entry::of(&study)).unwrap());
    }
    fs::read(&path).unwrap()
});

/// Sums a study up and writes it in every format; text must be fit for a terminal and a browser.
fn written_out(study: &Study) -> Result<(), String> {
    let summary = Summary::of(study);
    let report = Report { study, summary: &summary, figures: &[] };
    for format in REPORT.into_iter().chain(FORMATS) {
        let (text, file) = ((format.render)(&report), format.file_name);
        let is_bad = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(is_bad), "{file} has control characters");
        if file.ends_with(".md") || file.ends_with(".html") || file.ends_with(".csv") {
            assert!(text.len() < 400_000, "{file} has {} bytes", text.len());
        }
        if file.ends_with(".html") {
            // The page's own two: its numbers, and its script.
            assert_eq!(text.matches("<script").count(), 2, "an element came from a file");
        }
    }
    let entry = Entry::of(study);
    drop(series(&[entry.clone(), entry], Metric::Time));
    let base = small();
    let sides = Sides { base: &base, new: study, paired: false, absolute: true, first_round: 0 };
    let comparison = Comparison::of(&sides, &Rules::default());
    drop((comparison.table(), comparison.markdown()));
    Ok(())
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn whatever_reads_can_be_written_out(which in 0..3_usize, records in any::<bool>(), harm in damage()) {
        let file = if records { "records.jsonl" } else { "run.json" };
        let (dir, size) = damaged_sweep(which, file, &harm);
        if let Ok(study) = Study::read_with(dir.path(), Invalid::Skip) {
            judge(64 * size, || written_out(&study));
        }
    }

    #[test]
    fn the_edge_of_what_reads_can_be_written_out(seed in any::<u64>()) {
        let study = fixture::extreme(seed);
        judge(1 << 20, || written_out(&study));
    }
}

/// What the extreme studies hold is what readers accept, or the tests above test nothing.
#[test]
fn extreme_studies_read_back() {
    for seed in 0..20 {
        let study = fixture::extreme(seed);
        let dir = tempfile::tempdir().unwrap();
        fixture::write(dir.path(), &study).unwrap();
        assert_eq!(Study::read(dir.path()).unwrap().records.len(), study.records.len());
    }
}
