//! A sweep's folder: what is written reads back, and a kill at any byte costs at most the record in flight.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use relgrad_reports::baseline;
use relgrad_reports::error::Error;
use relgrad_reports::export::{REPORT, Report};
use relgrad_reports::fixture;
use relgrad_reports::history::{self, Entry};
use relgrad_reports::record::{Gpu, GpuState, Outcome, Record, SCHEMA_VERSION, State};
use relgrad_reports::study::{Invalid, Study};
use relgrad_reports::summary::Summary;
use relgrad_reports::writer::{RecordWriter, write_atomically, write_run};
use relgrad_vocabulary::{DeviceKind, Math, Method};
use tempfile::TempDir;

/// A folder with the fixture in it, the fixture, and the path of its records.
fn written() -> (TempDir, Study, PathBuf) {
    let (dir, study) = (tempfile::tempdir().unwrap(), fixture::study());
    fixture::write(dir.path(), &study).unwrap();
    let path = dir.path().join("records.jsonl");
    (dir, study, path)
}

/// A run from before there were GPUs and several batch sizes.
fn archived() -> Study {
    Study::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("archive/2026-11-24-zen3-2-cores")).unwrap()
}

#[test]
fn reads_back_what_was_written() {
    let (dir, study, _) = written();
    assert_eq!(Study::read(dir.path()).unwrap(), study);
    let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["records.jsonl", "run.json"], "no temporary file may stay behind");
}

#[test]
fn a_folder_without_records_is_an_empty_study() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), &fixture::study().run).unwrap();
    assert!(Study::read(dir.path()).unwrap().records.is_empty());
}

/// Sweeps over one batch size write what they always wrote, and what they wrote before there were others still reads.
#[test]
fn one_batch_size_is_a_number_and_several_are_read_back() {
    let (dir, mut study, _) = written();
    let text = fs::read_to_string(dir.path().join("run.json")).unwrap();
    assert!(text.contains("\"batch\": 100") && !text.contains("other_"), "{text}");
    let settings = archived().run.settings;
    assert_eq!((settings.batches().collect(), settings.layer_counts().collect()), (vec![100], vec![2]));
    assert_eq!(settings.thread_counts().count(), 1);

    study.run.settings.other_batches = vec![10, 1000];
    study.run.settings.other_layers = vec![4];
    study.run.settings.other_threads = vec![1];
    write_run(dir.path(), &study.run).unwrap();
    assert_eq!(Study::read(dir.path()).unwrap(), study);
}

/// Sweeps from before there were GPUs still read, and one on a CPU writes what it always wrote.
#[test]
fn what_only_a_gpu_tells_is_absent_elsewhere_and_read_back() {
    let (dir, mut study, _) = written();
    for file in ["run.json", "records.jsonl"] {
        let text = fs::read_to_string(dir.path().join(file)).unwrap();
        assert!(!text.contains("\"math\"") && !text.contains("\"gpu\"") && !text.contains("device_memory"));
    }
    let old = archived();
    assert!(old.records.len() > 30 && old.run.settings.math.is_none());
    assert!(old.records.iter().all(|r| r.gpu.is_none() && r.cell.point.math.is_none()));

    let state = GpuState { sm_mhz: Some(1980.0), throttled_by: vec!["sw_power_cap".into()], ..GpuState::default() };
    study.run.settings.math = Some(Math::Tf32);
    write_run(dir.path(), &study.run).unwrap();
    let record = &mut study.records[0];
    record.cell.point.device = DeviceKind::Cuda;
    record.cell.point.math = Some(Math::Tf32);
    record.gpu = Some(Gpu { before: None, after: Some(state), ..fixture::gpu(record) });
    let record = record.clone();
    RecordWriter::open(dir.path()).unwrap().append(&record).unwrap();
    assert!(Study::read(dir.path()).unwrap().records.contains(&record));
}

#[test]
fn a_cell_with_two_records_is_an_error_or_its_second_one_is_left_out() {
    let (dir, study, _) = written();
    let mut again = study.records[0].clone();
    again.seconds = vec![42.0];
    RecordWriter::open(dir.path()).unwrap().append(&again).unwrap();
    let told = Study::read(dir.path()).unwrap_err().to_string();
    let line = study.records.len() + 1;
    assert!(told.contains(&format!("line {line} ")) && told.contains("relative on cpu at dim 10"), "{told}");
    let read = Study::read_with(dir.path(), Invalid::Skip).unwrap();
    assert_eq!(read.records, study.records);
    assert!(read.warnings[0].contains(&format!("line {line}")), "{:?}", read.warnings);
}

/// Both of its records are kept, and one counts.
#[test]
fn a_second_attempt_replaces_a_disturbed_one() {
    let (dir, study, _) = written();
    let disturbed = State { foreign_seconds: Some(1.0), ..fixture::state() };
    let mut first = study.records[0].clone();
    first.state = Some(disturbed);
    let again = Record { attempt: 1, state: Some(fixture::state()), ..first.clone() };
    let mut written = study.clone();
    written.records[0] = again.clone();
    written.replaced = vec![first.clone()];
    std::fs::remove_file(dir.path().join("records.jsonl")).unwrap();
    fixture::write(dir.path(), &written).unwrap();
    assert_eq!(Study::read(dir.path()).unwrap(), written);
    RecordWriter::open(dir.path()).unwrap().append(&again).unwrap();
    let told = Study::read(dir.path()).unwrap_err().to_string();
    assert!(told.contains("round 0, has two records"), "{told}");

    let text = (REPORT[0].render)(&Report { study: &written, summary: &Summary::of(&written), figures: &[] });
    for part in [
        "Cells with a quiet machine: 1 of 1. Further attempts at disturbed cells: 1, of which 1 count.",
        "50 % of the cores' time went to other programs",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("had no quiet machine"), "{text}");
    written.records[0].state = Some(disturbed);
    let text = Summary::of(&written).warnings.join("\n");
    assert!(text.contains("relative on cpu, D = 10: a process had no quiet machine"), "{text}");
}

/// Records that were made with other settings would be pooled with those of the run.
#[test]
fn lines_that_cannot_be_are_refused_by_line_or_left_out_and_told() {
    let (dir, study, path) = written();
    let text = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"dtype\":\"f32\"", "\"dtype\":\"f64\""),
        ("\"seconds\":[", "\"seconds\":[-1.0,"),
        ("\"device\":\"cpu\"", "\"device\":\"tpu\""),
        ("\"method\":\"relative\"", "\"method\":7"),
    ] {
        let mut lines: Vec<String> = text.lines().map(String::from).collect();
        lines[3] = lines[3].replacen(from, to, 1);
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let told = Study::read(dir.path()).unwrap_err().to_string();
        assert!(told.contains("records.jsonl, line 4 is"), "{told}");
        let read = Study::read_with(dir.path(), Invalid::Skip).unwrap();
        assert_eq!(read.records.len(), study.records.len() - 1);
        assert!(read.warnings.len() == 1 && read.warnings[0].contains("line 4"), "{:?}", read.warnings);
    }
}

/// A record that a write left without its newline is whole: it stays, and the next one starts on a line of its own.
#[test]
fn a_last_record_without_its_newline_is_kept() {
    let (dir, study, path) = written();
    let text = fs::read_to_string(&path).unwrap();
    let (last, others) = study.records.split_last().unwrap();
    fs::write(&path, text.trim_end().rsplit_once('\n').unwrap().0).unwrap();
    assert_eq!(Study::read(dir.path()).unwrap().records, others);
    let mut writer = RecordWriter::open(dir.path()).unwrap();
    assert!(writer.told().unwrap().contains("no line end"));
    writer.append(last).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

/// A pipe or a device may never end; a folder is none of the files.
#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_not_read() {
    let (dir, ..) = written();
    for file in ["records.jsonl", "run.json"] {
        let path = dir.path().join(file);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let told = Study::read(dir.path()).unwrap_err().to_string();
        assert!(told.contains(file) && told.contains("not a regular file"), "{told}");
    }
    for device in ["/dev/zero", "/dev/full"] {
        let told = baseline::read(Path::new(device)).unwrap_err().to_string();
        assert!(told.contains("not a regular file"), "{told}");
        let entry = Entry::of(&fixture::study());
        assert!(matches!(history::add(Path::new(device), &entry), Err(Error::NotAFile { .. })));
        assert!(matches!(history::read(Path::new(device)), Err(Error::NotAFile { .. })));
    }
}

/// What the archive holds is older than the checks.
#[test]
fn every_folder_of_the_archive_reads() {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("archive");
    let mut folders = vec![archive];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        if folder.join("records.jsonl.gz").is_file() {
            let study = Study::read(&folder).unwrap_or_else(|cause| panic!("{cause}"));
            assert!(!study.records.is_empty() && study.warnings.is_empty());
            read += 1;
        }
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(entries.filter(|path| path.is_dir()));
    }
    assert!(read >= 7, "{read} folders");
    let baseline = Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines/ci.jsonl");
    assert!(baseline::read(&baseline).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Cut the file at any byte: all records before the cut are read, and one appended afterwards is too.
    #[test]
    fn a_file_cut_anywhere_loses_only_its_last_line(share in 0.0..1.0_f64) {
        let dir = tempfile::tempdir().unwrap();
        let study = fixture::study();
        let path = dir.path().join("records.jsonl");
        let text: String =
            study.records.iter().take(6).map(|r| serde_json::to_string(r).unwrap() + "\n").collect();
        let cut = (share * text.len() as f64) as usize;
        fs::write(&path, &text[..cut]).unwrap();
        write_run(dir.path(), &study.run).unwrap();
        // A record that lacks only its newline is whole.
        let lacks_newline = text[cut..].starts_with('\n');
        let whole = text[..cut].matches('\n').count() + usize::from(lacks_newline);
        let is_torn = !text[..cut].is_empty() && !text[..cut].ends_with('\n') && !lacks_newline;

        let read = Study::read(dir.path()).unwrap();
        prop_assert_eq!(&read.records[..], &study.records[..whole]);
        prop_assert_eq!(read.warnings.len(), usize::from(is_torn));

        let mut writer = RecordWriter::open(dir.path()).unwrap();
        prop_assert_eq!(writer.told().is_some(), is_torn || lacks_newline);
        writer.append(&study.records[10]).unwrap();
        let read = Study::read(dir.path()).unwrap();
        prop_assert_eq!(read.records.len(), whole + 1);
        prop_assert_eq!(&read.records[whole], &study.records[10]);
        prop_assert!(read.warnings.is_empty());
    }
}

/// A power cut can leave a whole line of zeros, newline included.
#[test]
fn an_unparsable_last_line_is_dropped() {
    let (dir, study, path) = written();
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"\0\0\0\0\xff\n");
    fs::write(&path, bytes).unwrap();
    let read = Study::read(dir.path()).unwrap();
    assert_eq!(read.records, study.records);
    assert_eq!(read.warnings.len(), 1);
    assert!(RecordWriter::open(dir.path()).unwrap().told().unwrap().contains("removed"));
    assert!(Study::read(dir.path()).unwrap().warnings.is_empty());
}

#[test]
fn an_unparsable_line_in_the_middle_is_an_error_that_names_it() {
    let (dir, _, path) = written();
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[2] = "{\"schema\": 1, \"cell\"";
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    let error = Study::read(dir.path()).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::Record(_, 3, _)), "{message}");
    assert!(message.contains("records.jsonl, line 3 is not a record"), "{message}");
    assert!(!message.contains('\n'));
    assert!(matches!(RecordWriter::open(dir.path()), Err(Error::Record(_, 3, _))));
}

/// Even when a newer schema changed every other field.
#[test]
fn a_newer_schema_is_rejected_by_name() {
    let newer = SCHEMA_VERSION + 1;
    let (dir, ..) = written();
    let records = dir.path().join("records.jsonl");
    fs::write(&records, format!("{{\"schema\": {newer}, \"point\": []}}\n")).unwrap();
    for result in [Study::read(dir.path()).map(|_| ()), RecordWriter::open(dir.path()).map(|_| ())] {
        let message = result.unwrap_err().to_string();
        let expected = format!(
            "{} has schema version {newer}; this relgrad reads up to {SCHEMA_VERSION}: \
             use the relgrad that wrote it, or a newer one",
            records.display()
        );
        assert_eq!(message, expected);
    }
    fs::write(dir.path().join("run.json"), format!("{{\"schema\": {newer}}}")).unwrap();
    assert!(Study::read(dir.path()).unwrap_err().to_string().contains("run.json has schema version"));
}

#[test]
fn unknown_fields_of_the_same_schema_are_ignored() {
    let (dir, study, path) = written();
    let text = fs::read_to_string(&path).unwrap().replace("{\"schema\":1,", "{\"schema\":1,\"later\":[1,2],");
    fs::write(&path, text).unwrap();
    assert_eq!(Study::read(dir.path()).unwrap().records, study.records);
}

#[test]
fn a_wrong_gradient_may_have_an_infinite_error() {
    let (dir, study, _) = written();
    let mut record = study.records[0].clone();
    record.outcome = Outcome::Failed;
    record.check.as_mut().unwrap().max_rel_err = f64::INFINITY;
    fs::write(dir.path().join("records.jsonl"), "").unwrap();
    RecordWriter::open(dir.path()).unwrap().append(&record).unwrap();
    let read = Study::read(dir.path()).unwrap();
    assert!(read.records[0].check.as_ref().unwrap().max_rel_err.is_nan());
}

#[test]
fn a_record_that_could_not_be_read_back_is_not_written() {
    let (dir, study, _) = written();
    let mut record = study.records[0].clone();
    record.seconds = vec![f64::NAN];
    let error = RecordWriter::open(dir.path()).unwrap().append(&record).unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }), "{error}");
    assert_eq!(Study::read(dir.path()).unwrap(), study);
}

#[test]
fn two_writers_do_not_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let first = RecordWriter::open(dir.path()).unwrap();
    assert!(matches!(RecordWriter::open(dir.path()), Err(Error::Busy { .. })));
    drop(first);
    assert!(RecordWriter::open(dir.path()).is_ok());
}

#[test]
fn errors_name_the_path_and_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nowhere");
    let message = Study::read(&missing).unwrap_err().to_string();
    assert!(message.starts_with("cannot read ") && message.contains("nowhere"), "{message}");
    assert!(message.contains("No such file"), "{message}");
    let message = write_run(&missing, &fixture::study().run).unwrap_err().to_string();
    assert!(message.starts_with("cannot write "), "{message}");
}

/// A folder stands in for a full disk: the temporary file of `run.json` cannot be made where it is.
#[test]
fn a_write_that_fails_is_told_and_leaves_the_old_file() {
    let (dir, study, _) = written();
    fs::create_dir(dir.path().join("run.json.partial")).unwrap();
    let message = write_run(dir.path(), &study.run).unwrap_err().to_string();
    assert!(message.starts_with("cannot write "), "{message}");
    assert_eq!(Study::read(dir.path()).unwrap(), study);
}

#[test]
fn records_are_taken_out_as_a_whole_and_the_lock_holds() {
    let (dir, study, _) = written();
    let mut writer = RecordWriter::open(dir.path()).unwrap();
    let gone = |record: &Record| record.cell.method == Method::Ordinary;
    let expected = study.records.iter().filter(|record| gone(record)).count();
    assert!(expected > 0);
    std::fs::write(dir.path().join("records.jsonl.partial"), "of an earlier kill").unwrap();
    assert_eq!(writer.retain(|record| !gone(record)).unwrap(), expected);
    assert!(matches!(RecordWriter::open(dir.path()), Err(Error::Busy { .. })));
    assert_eq!(writer.retain(|record| !gone(record)).unwrap(), 0);
    let again = study.records.iter().find(|record| gone(record)).unwrap();
    writer.append(again).unwrap();
    let mut kept: Vec<Record> = study.records.iter().filter(|record| !gone(record)).cloned().collect();
    kept.push(again.clone());
    assert_eq!(Study::read(dir.path()).unwrap().records, kept);
    assert!(!dir.path().join("records.jsonl.partial").exists());
    drop(writer);
    assert!(RecordWriter::open(dir.path()).is_ok());
}

/// Somebody edited or converted it: nothing of it may be removed.
#[test]
fn a_last_line_that_was_changed_is_refused_and_kept() {
    let (dir, _, path) = written();
    let text = fs::read_to_string(&path).unwrap();
    let (others, last) = text.trim_end().rsplit_once('\n').unwrap();
    let edited = format!("{others}\n{}\n", last.replace("\"outcome\":\"", "\"outcome\":\"X"));
    // Whole, but for its newline, and of a device that nobody knows: it was not cut off.
    let unknown = format!("{others}\n{}", last.replace("\"cpu\"", "\"tpu\""));
    for changed in [edited, text.replace('\n', " ") + "\n", unknown] {
        fs::write(&path, &changed).unwrap();
        let told = Study::read(dir.path()).unwrap_err().to_string();
        assert!(told.contains("is not a record"), "{told}");
        assert!(RecordWriter::open(dir.path()).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), changed);
    }
}

/// The arithmetic may be left out where it is that of the numbers: the cell is the same.
#[test]
fn a_cell_that_is_spelt_in_another_way_is_the_same_cell() {
    let (dir, study, _) = written();
    let mut again = study.records[0].clone();
    again.cell.point.math = Some(again.cell.point.arithmetic());
    RecordWriter::open(dir.path()).unwrap().append(&again).unwrap();
    let told = Study::read(dir.path()).unwrap_err().to_string();
    assert!(told.contains("has two records"), "{told}");
}

#[test]
fn several_writers_of_one_file_leave_a_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.md");
    let texts: Vec<String> = (0..4).map(|n| n.to_string().repeat(100_000)).collect();
    std::thread::scope(|scope| {
        for text in &texts {
            let path = &path;
            scope.spawn(move || (0..20).for_each(|_| write_atomically(path, text.as_bytes()).unwrap()));
        }
    });
    assert!(texts.contains(&fs::read_to_string(&path).unwrap()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// `--out >(gzip > x)` and `--out /dev/null` are written to, not replaced.
#[cfg(unix)]
#[test]
fn a_pipe_is_written_to() {
    use std::os::unix::fs::FileTypeExt;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let reader = std::thread::spawn({
        let path = path.clone();
        move || fs::read_to_string(path).unwrap()
    });
    write_atomically(&path, b"text").unwrap();
    assert_eq!(reader.join().unwrap(), "text");
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_fifo());
}

#[test]
fn a_byte_order_mark_is_named() {
    let (dir, ..) = written();
    for name in ["run.json", "records.jsonl"] {
        let path = dir.path().join(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, [b"\xef\xbb\xbf".as_slice(), &bytes].concat()).unwrap();
        let told = Study::read(dir.path()).unwrap_err().to_string();
        assert!(told.contains(name) && told.contains("byte-order mark"), "{told}");
        fs::write(&path, bytes).unwrap();
    }
}
