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
    let told = |name: &str, bytes: &[u8]| loaded(name, bytes).unwrap().told.join("\n");
    let text = rows(24, ",");
    assert!(
        told("a.csv", format!("a,b,c\n{text}").as_bytes()).ends_with("a.csv: 24 samples of 3 columns, header a, b, c")
    );
    assert!(told("a.csv", text.as_bytes()).ends_with("24 samples of 3 columns, no header"));
    assert!(told("a.csv", format!("# x\n{text}").as_bytes()).ends_with("no header; a comment (#) left out"));
    assert!(told("a.npy", &npy_rows(24)).ends_with("a.npy: 24 samples of 3 columns"));
    let arrays = [("train", npy_rows(20)), ("val", npy_rows(3)), ("test", npy_rows(4))];
    assert!(
        told("a.npz", &npz_of(&arrays, false)).ends_with("20 training, 3 validation and 4 test samples of 3 columns")
    );
    assert!(told("a.csv", format!("0,1,2\n{text}").as_bytes()).contains("the first row counts the columns"));
    let commas: String =
        (0..24).map(|i| format!("{}0,{:03}\n", if i % 2 == 0 { "-" } else { "" }, i * 37 % 1000)).collect();
    assert!(told("a.csv", commas.as_bytes()).contains("2 columns, no header\nnumbers like 1,05"));
    assert!(told("a.csv", "1,05\n0,38\n".repeat(8).as_bytes()).contains("write them with decimal points"));
    assert!(!told("a.csv", "1,5\n10,38\n".repeat(8).as_bytes()).contains("decimal"));
    for years in ["2018,2019,2020", "2020,2019,2018"] {
        assert!(told("a.csv", format!("{years}\n{text}").as_bytes()).contains("the first row counts"));
    }
    assert!(told("a.csv", format!("2001,1984,-1969\n{text}").as_bytes()).contains("lies far from all others"));
    assert!(!told("a.csv", text.as_bytes()).contains("first row"));
    let kept: String = text.lines().enumerate().map(|(i, line)| format!("{},{line}\n", i * i + 4)).collect();
    assert!(told("a.csv", format!(",a,b,c\n{kept}").as_bytes()).contains("column 1 counts the rows"));
    let indexed: String = text.lines().enumerate().map(|(i, line)| format!("{i},{line}\n")).collect();
    assert!(told("a.csv", format!(",a,b,c\n{indexed}").as_bytes()).contains("column 1 counts the rows"));
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
fn survives(name: &str, whole: &[u8], unpacked: Option<usize>) {
    let (_folder, path) = write(name, whole);
    super::super::load_file(&path, Header::Auto).unwrap();
    let config = ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&damage(), |damage| {
        let bytes = damaged(whole, &damage);
        rewrite(&path, &bytes);
        judge(bytes.len().max(unpacked.unwrap_or(0)), || {
            let read = super::super::load_file(&path, Header::Auto).map_err(|error| error.to_string());
            if let Err(cause) = &read {
                assert!(cause.contains(name), "{cause}");
            }
            read
        });
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn damaged_text_is_read_or_refused() {
    survives("a.csv", format!("# comment\na,\"b\"\"\",c\n{}", rows(16, ",")).as_bytes(), None);
    survives("b.txt", rows(14, " ").as_bytes(), None);
}

#[test]
fn damaged_packed_text_is_read_or_refused() {
    let text = rows(40, "\t");
    survives("a.tsv.gz", &gzip(text.as_bytes()), Some(text.len()));
}

#[test]
fn a_damaged_npy_is_read_or_refused() {
    survives("a.npy", &npy_rows(14), None);
}

#[test]
fn a_damaged_npz_is_read_or_refused() {
    let arrays = [("train", npy_rows(12)), ("validation", npy_rows(2)), ("test", npy_rows(2))];
    survives("stored.npz", &npz_of(&arrays, false), None);
    survives("packed.npz", &npz_of(&arrays, true), Some(16 * 3 * 8));
}

#[test]
fn a_damaged_idx_is_read_or_refused() {
    let pixels: Vec<u8> = (0..60).collect();
    let plain = idx(10, &pixels);
    for (name, whole) in [("a.idx", plain.clone()), ("a.gz", gzip(&plain))] {
        let (_folder, path) = write(name, &whole);
        let config = ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() };
        let mut runner = proptest::test_runner::TestRunner::new(config);
        let outcome = runner.run(&damage(), |damage| {
            let bytes = damaged(&whole, &damage);
            rewrite(&path, &bytes);
            judge(bytes.len().max(plain.len()), || files::idx_pictures(&path).map_err(|error| error.to_string()));
            Ok(())
        });
        outcome.unwrap();
    }
}
