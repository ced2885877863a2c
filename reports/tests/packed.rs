//! Records packed by gzip: they read as the plain ones do, and nothing is appended to them.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use relgrad_reports::error::Error;
use relgrad_reports::study::{Invalid, Study};
use relgrad_reports::writer::RecordWriter;
use relgrad_reports::{baseline, fixture};
use tempfile::TempDir;

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// The folder of a sweep, and the bytes of its records.
fn sweep() -> (TempDir, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    fixture::write(dir.path(), &fixture::study()).unwrap();
    let plain = fs::read(dir.path().join("records.jsonl")).unwrap();
    (dir, plain)
}

/// Puts packed bytes in the place of the plain records.
fn replace(dir: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(dir.join("records.jsonl"));
    fs::write(dir.join("records.jsonl.gz"), bytes).unwrap();
}

#[test]
fn packed_records_read_as_the_plain_ones_in_one_member_or_several() {
    let (dir, plain) = sweep();
    let expected = Study::read(dir.path()).unwrap();
    let (front, back) = plain.split_at(plain.len() / 3);
    for bytes in [packed(&plain), [packed(front), packed(back)].concat()] {
        replace(dir.path(), &bytes);
        assert_eq!(Study::read(dir.path()).unwrap(), expected);
        assert_eq!(baseline::read(dir.path()).unwrap(), expected);
    }
}

#[test]
fn plain_records_come_before_packed_ones() {
    let (dir, plain) = sweep();
    fs::write(dir.path().join("records.jsonl.gz"), "no gzip").unwrap();
    assert_eq!(Study::read(dir.path()).unwrap().records, fixture::study().records);
    fs::write(dir.path().join("records.jsonl"), &plain[..plain.len() - 9]).unwrap();
    assert!(RecordWriter::open(dir.path()).unwrap().told().is_some());
}

#[test]
fn packed_lines_are_judged_like_plain_ones() {
    let (dir, plain) = sweep();
    let text = String::from_utf8(plain.clone()).unwrap();
    let wrong = text.replacen("\"device\":\"cpu\"", "\"device\":\"tpu\"", 1);
    replace(dir.path(), &packed(wrong.as_bytes()));
    let told = Study::read(dir.path()).unwrap_err().to_string();
    assert!(told.contains("records.jsonl.gz, line 1 is not a record (unknown device `tpu`"), "{told}");
    let read = Study::read_with(dir.path(), Invalid::Skip).unwrap();
    assert!(read.warnings[0].starts_with("1 line of records.jsonl.gz skipped"), "{:?}", read.warnings);

    replace(dir.path(), &packed(&plain[..plain.len() - 9]));
    let read = Study::read(dir.path()).unwrap();
    assert_eq!(read.records.len(), fixture::study().records.len() - 1);
    assert!(read.warnings[0].contains("records.jsonl.gz was cut off") && !read.warnings[0].contains("resume"));
}

#[test]
fn damaged_packed_files_are_refused_by_name_and_reason() {
    let (dir, plain) = sweep();
    let whole = packed(&plain);
    let mut wrong_sum = whole.clone();
    let sum = whole.len() - 8;
    wrong_sum[sum] ^= 1;
    let cut = whole[..whole.len() / 2].to_vec();
    let followed = [&whole[..], b"something else"].concat();
    let cases = [
        (Vec::new(), "ends too early"),
        (cut, "ends too early"),
        (wrong_sum, "checksum"),
        (followed, "gzip"),
        (plain, "gzip"),
        (packed(&vec![b' '; 64 << 20]), "unpack it first"),
    ];
    for (bytes, reason) in cases {
        replace(dir.path(), &bytes);
        let told = Study::read(dir.path()).unwrap_err().to_string();
        assert!(told.starts_with("cannot unpack ") && told.contains("records.jsonl.gz: "), "{told}");
        assert!(told.contains(reason) && told.lines().count() == 1, "{told}");
    }
}

#[test]
fn nothing_is_appended_to_a_folder_of_packed_records() {
    let (dir, plain) = sweep();
    replace(dir.path(), &packed(&plain));
    let error = RecordWriter::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::NotAppendable { .. }) && error.to_string().contains("gunzip"), "{error}");
    assert!(!dir.path().join("records.jsonl").exists(), "an empty file would hide the packed records");
}

#[test]
fn a_baseline_is_packed_where_its_name_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let study = fixture::study();
    let (plain, packed) = (dir.path().join("base.jsonl"), dir.path().join("base.jsonl.gz"));
    for path in [&plain, &packed] {
        baseline::write(path, &study).unwrap();
        assert_eq!(baseline::read(path).unwrap(), study);
    }
    let size = |path| fs::metadata(path).unwrap().len();
    assert!(size(&packed) * 2 < size(&plain));
    fs::write(&packed, "no gzip").unwrap();
    assert!(baseline::read(&packed).unwrap_err().to_string().contains("base.jsonl.gz"));
}
