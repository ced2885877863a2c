use proptest::prelude::*;
use relgrad_adversary::{damage, damaged, judge};

use super::files::tests::{gzip, idx, npy, npz_of};
use super::*;

fn write(name: &str, bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn loaded(name: &str, bytes: impl AsRef<[u8]>) -> Result<DataSet, String> {
    let (_folder, path) = write(name, bytes.as_ref());
    super::super::load_file(&path, Header::Auto).map_err(|error| error.to_string())
}

fn rows(count: usize, separator: &str) -> String {
    (0..count).map(|i| format!("{}{separator}{}.5{separator}-{}e-1\n", i * i % 7, i % 5, i * 3 % 11)).collect()
}

fn npy_rows(count: usize) -> Vec<u8> {
    let numbers = (0..3 * count).flat_map(|i| (i as f64).sin().to_le_bytes()).collect::<Vec<u8>>();
    npy("<f8", count, 3, &numbers)
}

#[test]
fn a_file_is_read_by_its_ending_in_capitals_too() {
    let text = rows(24, ",");
    let expected = loaded("a.csv", &text).unwrap().parts;
    for (name, bytes) in [
        ("a.CSV", text.clone().into_bytes()),
        ("a.tsv", rows(24, "\t").into_bytes()),
        ("a.Txt", text.clone().into_bytes()),
        ("b.txt", rows(24, " ").into_bytes()),
        ("a.csv.gz", gzip(text.as_bytes())),
        ("a.TSV.GZ", gzip(rows(24, "\t").as_bytes())),
    ] {
        assert_eq!(loaded(name, bytes).unwrap().parts, expected, "{name}");
    }
    let arrays = [("train", npy_rows(20)), ("val", npy_rows(3)), ("test", npy_rows(4))];
    assert_eq!(loaded("a.NPZ", npz_of(&arrays, true)).unwrap().parts.test.count(), 4);
    assert_eq!(loaded("a.Npy", npy_rows(24)).unwrap().parts.train.count(), 20);
    for name in ["a.npy.gz", "a.dat", "csv", "a.gz", "a.parquet"] {
        assert!(!is_file_name(OsStr::new(name)), "{name}");
    }
}

#[test]
fn what_was_read_is_told() {
    let text = rows(24, ",");
    let arrays = [("train", npy_rows(20)), ("val", npy_rows(3)), ("test", npy_rows(4))];
    let sign = |i: u32| if i.is_multiple_of(2) { "-" } else { "" };
    let commas: String = (0..24).map(|i| format!("{}0,{:03}\n", sign(i), i * 37 % 1000)).collect();
    let numbered = |number: fn(usize) -> usize| {
        let lines = text.lines().enumerate().map(|(i, line)| format!("{},{line}\n", number(i)));
        format!(",a,b,c\n{}", lines.collect::<String>())
    };
    let above = |line: &str| format!("{line}\n{text}");
    for (content, part, is_told) in [
        (above("a,b,c"), "a.csv: 24 samples of 3 columns, header a, b, c", true),
        (text.clone(), "24 samples of 3 columns, no header", true),
        (above("# x"), "no header; a comment (#) left out", true),
        (above("0,1,2"), "the first row counts the columns", true),
        (commas, "2 columns, no header\nin its order 20 training", true),
        ("1,05\n0,38\n".repeat(8), "write them with decimal points", true),
        ("1,5\n10,38\n".repeat(8), "decimal", false),
        (above("2018,2019,2020"), "the first row counts", true),
        (above("2020,2019,2018"), "the first row counts", true),
        (above("2001,1984,-1969"), "lies far from all others", true),
        (text.clone(), "first row", false),
        (numbered(|i| i * i + 4), "column 1 counts the rows", true),
        (numbered(|i| i), "column 1 counts the rows", true),
    ] {
        let told = loaded("a.csv", &content).unwrap().told.join("\n");
        assert_eq!(told.contains(part), is_told, "{part}: {told}");
    }
    for (name, bytes, end) in [
        ("a.npy", npy_rows(24), "24 samples of 3 columns\nin its order 20 training, 2 validation and 2 test samples"),
        ("a.npz", npz_of(&arrays, false), "20 training, 3 validation and 4 test samples of 3 columns"),
    ] {
        assert!(loaded(name, bytes).unwrap().told.join("\n").ends_with(end), "{name}");
    }
}

#[test]
fn too_few_and_unequal_parts_are_refused_by_name() {
    assert!(loaded("a.csv", rows(11, ",")).unwrap_err().contains("11 samples are too few"));
    let narrow = [("train", npy_rows(20)), ("val", npy_rows(3)), ("test", npy("|u1", 2, 2, &[0; 4]))];
    assert!(loaded("a.npz", npz_of(&narrow, false)).unwrap_err().contains("test part has 2 samples of 2 columns"));
    assert!(loaded("a.npz", npz_of(&narrow[..2], false)).unwrap_err().contains("no array named test"));
    let both = [("train", npy_rows(20)), ("val", npy_rows(3)), ("validation", npy_rows(3)), ("test", npy_rows(4))];
    assert!(loaded("a.npz", npz_of(&both, false)).unwrap_err().contains("named validation and val: leave one"));
    let nan = npy("<f8", 20, 1, &[1.0, f64::NAN].repeat(10).iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    assert!(
        loaded("a.npy", nan).unwrap_err().contains("sample 2 of the training part, column 1, is not a finite number")
    );
}

/// Writes a file anew. Some file systems wait for the disk where a file that has bytes is cut short and written.
pub(in crate::data) fn rewrite(path: &Path, bytes: &[u8]) {
    let _ = std::fs::remove_file(path);
    std::fs::write(path, bytes).unwrap();
}

/// Damages a file 10,000 times; `unpacked` is what its size is where it is packed.
fn survives<T: std::fmt::Debug>(
    name: &str,
    whole: &[u8],
    unpacked: Option<usize>,
    load: impl Fn(&Path) -> crate::error::Result<T>,
) {
    let (_folder, path) = write(name, whole);
    load(&path).unwrap();
    let config = ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&damage(), |damage| {
        let bytes = damaged(whole, &damage);
        rewrite(&path, &bytes);
        judge(bytes.len().max(unpacked.unwrap_or(0)), || {
            let read = load(&path).map_err(|error| error.to_string());
            assert!(read.as_ref().err().is_none_or(|cause| cause.contains(name)), "{read:?}");
            read
        });
        Ok(())
    });
    outcome.unwrap();
}

fn load_file(path: &Path) -> crate::error::Result<DataSet> {
    super::super::load_file(path, Header::Auto)
}

#[test]
fn damaged_text_is_read_or_refused() {
    survives("a.csv", format!("# comment\na,\"b\"\"\",c\n{}", rows(16, ",")).as_bytes(), None, load_file);
    survives("b.txt", rows(14, " ").as_bytes(), None, load_file);
}

#[test]
fn damaged_packed_text_is_read_or_refused() {
    let text = rows(40, "\t");
    survives("a.tsv.gz", &gzip(text.as_bytes()), Some(text.len()), load_file);
}

#[test]
fn damaged_arrays_are_read_or_refused() {
    survives("a.npy", &npy_rows(14), None, load_file);
    let arrays = [("train", npy_rows(12)), ("validation", npy_rows(2)), ("test", npy_rows(2))];
    survives("stored.npz", &npz_of(&arrays, false), None, load_file);
    survives("packed.npz", &npz_of(&arrays, true), Some(16 * 3 * 8), load_file);
}

#[test]
fn a_damaged_idx_is_read_or_refused() {
    let plain = idx(10, &(0..60).collect::<Vec<u8>>());
    survives("a.idx", &plain, None, files::idx_pictures);
    survives("a.gz", &gzip(&plain), Some(plain.len()), files::idx_pictures);
}
