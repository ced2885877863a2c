//! The committed golden vectors: every quantity of every file, through every backend, in f64 and f32.

use std::path::Path;

use relgrad_golden::{Case, File, Row, compare, compare_rivals, parse};
use relgrad_kernels::{Cpu, Dtype};

/// Every comparison in one precision, and the number of files.
#[allow(clippy::disallowed_methods, reason = "golden vectors are files")]
fn rows(dtype: Dtype) -> (usize, Vec<Row>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let (device, mut files, mut rows) = (Cpu::new(2), 0, Vec::new());
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let File::Case(case) = parse(&std::fs::read(&path).unwrap()).unwrap() else { continue };
        files += 1;
        let compared = match case {
            Case::Network(golden) => compare(&device, dtype, &golden),
            Case::Rivals(rivals) => Ok(compare_rivals(&device, dtype, &rivals)),
            Case::Unsupported { id, reason } => panic!("{id}: {reason}"),
        };
        rows.extend(compared.unwrap());
    }
    (files, rows)
}

fn agree(dtype: Dtype) {
    let (files, rows) = rows(dtype);
    assert_eq!(files, 29);
    let failures: Vec<&Row> = rows.iter().filter(|row| row.pass == Some(false)).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    // Only autodiff, and inverses in f32, have files that expect nothing.
    let compared = rows.iter().filter(|row| row.pass.is_some()).count();
    assert!(compared * 10 >= rows.len() * 9, "{compared} of {} comparisons have a tolerance", rows.len());
}

#[test]
fn f64_agrees_with_every_committed_file() {
    agree(Dtype::F64);
}

#[test]
fn f32_agrees_with_every_committed_file() {
    agree(Dtype::F32);
}
