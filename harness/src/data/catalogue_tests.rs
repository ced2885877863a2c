use relgrad_adversary::judge;

use super::super::files::tests::{gzip, idx, npy, npz_of};
use super::super::own::tests::rewrite;
use super::super::usable;
use super::*;

/// `count` rows of `width` fields, all the same or not.
fn text(count: usize, width: usize, separator: &str, varies: bool) -> Vec<u8> {
    let field = |i: usize, j: usize| match j {
        // A label, or a date and a time of day.
        0 => "1.0".to_string(),
        1 if separator == ";" || width == 9 => format!("0{}:00:00", i % 10),
        _ => format!("{}.5", if varies { i * i * j % 31 } else { j }),
    };
    let row = |i| (0..width).map(|j| field(i, j)).collect::<Vec<_>>().join(separator) + "\n";
    (0..count).map(row).collect::<String>().into_bytes()
}

/// Contents that a file of this name could have, none as published.
fn contents(name: &str) -> Vec<Vec<u8>> {
    let array = |rows: usize, columns: usize| npy("|u1", rows, columns, &vec![7; rows * columns]);
    if name.ends_with(".npz") {
        let sizes = [(1, 1), (1, 64), (2, 64), (20, 63)];
        let whole = |(rows, columns)| npz_of(&["train", "val", "test"].map(|part| (part, array(rows, columns))), true);
        return sizes.map(whole).to_vec();
    }
    if name.ends_with(".npy") {
        return vec![array(1, 1), array(1, 43), array(2, 43), array(30, 43), array(30, 2)];
    }
    if name.contains("idx3") {
        return vec![gzip(&idx(0, &[])), gzip(&idx(2, &[1; 12])), gzip(&idx(3, &[1; 12])), gzip(b"")];
    }
    let separator = match name {
        "ethylene_CO.txt" => " ",
        "household_power_consumption.txt" => ";",
        _ => ",",
    };
    let mut all = vec![Vec::new(), b"a,b\n".to_vec(), b"\x00\xff\n".to_vec()];
    for width in [1, 2, 9, 19, 22, 23, 29, 65] {
        for count in [1, 2, 30, 600] {
            all.extend([true, false].map(|varies| text(count, width, separator, varies)));
        }
    }
    if name.ends_with(".gz") { all.iter().map(|content| gzip(content)).collect() } else { all }
}

/// Whatever the files of a published set hold, its loader reads them or says why not.
#[test]
fn files_unlike_the_published_ones_are_read_or_refused() {
    for entry in ENTRIES.iter() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<Vec<Vec<u8>>> = entry.files.iter().map(|(name, _)| contents(name)).collect();
        let nothing = vec![Vec::new()];
        let (mut read, mut refused) = (0, 0);
        for first in &all[0] {
            for second in all.get(1).unwrap_or(&nothing) {
                for ((name, _), content) in entry.files.iter().zip([first, second]) {
                    rewrite(&folder.path().join(name), content);
                }
                // Unpacked, no content has more than a mebibyte.
                judge(1 << 20, || {
                    let set = entry.load(folder.path()).and_then(usable);
                    *if set.is_ok() { &mut read } else { &mut refused } += 1;
                    set.map_err(|error| error.to_string())
                });
            }
        }
        assert!(refused > 1, "{}: {read} read, {refused} refused", entry.name);
    }
}

#[test]
fn a_set_of_other_sizes_is_refused_and_one_of_other_numbers_is_not_the_published_one() {
    let entry = find("optdigits").unwrap();
    let samples = |count: usize, at: usize| {
        let values = (0..count * 64).map(|i| ((i + at) % 37) as f64).collect();
        super::super::Samples { dim: 64, values }
    };
    let set = |[train, validation, test]: [usize; 3]| {
        let parts = Parts::of([samples(train, 0), samples(validation, 1), samples(test, 2)]);
        DataSet::new("optdigits", parts, entry.provenance)
    };
    for sizes in [[3322, 500, 1797], [1297, 500, 3823], [3323, 500, 1]] {
        let told = entry.verify(&mut set(sizes)).unwrap_err().to_string();
        assert!(told.contains("3323, 500 and 1797") && told.contains("fetch it again"), "{told}");
    }
    let mut other = set(entry.parts);
    entry.verify(&mut other).unwrap();
    assert_eq!(other.provenance, Provenance::Subset);
    assert!(!entry.is_as_published(&other) && other.told.join("").contains("not the published ones"));
    // What is drawn anew may have other sizes, and is said to.
    let patches = find("bsds300").unwrap();
    let mut drawn = DataSet { provenance: patches.provenance, ..set([10, 10, 10]) };
    patches.verify(&mut drawn).unwrap();
    assert!(!patches.is_as_published(&drawn) && drawn.told.join("").contains("another draw"));
}
