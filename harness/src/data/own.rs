//! The user's own files.

use std::ffi::OsStr;
use std::path::Path;

use relgrad_reports::training::Provenance;

use super::text::{self, Delimiter, Header, Table};
use super::{DataSet, Parts, Samples, files, preprocess};
use crate::console::quoted;
use crate::error::{Error, Result};

/// Names of the three arrays of an npz file that brings its own split.
const SPLIT: [&[&str]; 3] = [&["train"], &["validation", "val"], &["test"]];

/// Endings that are read, in capitals too.
pub(crate) const ENDINGS: &str = ".npy, .npz, .csv, .tsv, .txt, .csv.gz, .tsv.gz or .txt.gz";

/// What a file is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Npy,
    Npz,
    Text(Delimiter),
}

impl Kind {
    fn of(name: &OsStr) -> Option<Self> {
        let name = name.to_string_lossy().to_lowercase();
        let unpacked = name.strip_suffix(".gz").unwrap_or(&name);
        match unpacked.rsplit_once('.')?.1 {
            "csv" => Some(Self::Text(Delimiter::Is(b','))),
            "tsv" => Some(Self::Text(Delimiter::Is(b'\t'))),
            "txt" => Some(Self::Text(Delimiter::Guessed)),
            "npy" if unpacked == name => Some(Self::Npy),
            "npz" if unpacked == name => Some(Self::Npz),
            _ => None,
        }
    }
}

/// Whether a data set's name is that of a file.
pub(crate) fn is_file_name(name: &OsStr) -> bool {
    Kind::of(name).is_some()
}

/// Reads a file. An npz file may hold `train`, `validation` (or `val`) and `test`; a single array, or text, is split in
/// its order: the last tenth is the test, the last tenth of the rest the validation part. Nothing is rescaled.
///
/// # Errors
/// When the file cannot be read or has no usable samples.
pub(crate) fn load(path: &Path, header: Header) -> Result<DataSet> {
    let kind = Kind::of(path.as_os_str());
    let Some(kind) = kind else {
        return Err(Error::input(path, format!("its name does not end in {ENDINGS}")));
    };
    if header != Header::Auto && !matches!(kind, Kind::Text(_)) {
        return Err(Error::Usage(format!("--header is for files of text, and {} is none", path.display())));
    }
    let (parts, names, told) = match kind {
        Kind::Npz => npz(path)?,
        Kind::Npy => {
            single(path, Table { samples: files::npy_file(path)?, names: Vec::new(), comments: 0 }, "")?
        }
        Kind::Text(delimiter) => {
            let table = text::read(path, delimiter, header, |fields, out| text::numbers(fields, out))?;
            let told = header_told(&table.names);
            single(path, table, &told)?
        }
    };
    let mut set = DataSet::new(path.display().to_string(), parts, Provenance::Own);
    (set.names, set.told) = (names, told);
    Ok(set)
}

/// Parts, names of the columns, and what is to be told of them.
type Loaded = (Parts, Vec<String>, Vec<String>);

fn npz(path: &Path) -> Result<Loaded> {
    let names = files::npz_names(path)?;
    if let [only] = &names[..] {
        let samples = files::npz(path, &[&[only.as_str()]])?.remove(0);
        return single(path, Table { samples, names: Vec::new(), comments: 0 }, "");
    }
    let mut parts = files::npz(path, &SPLIT)?.into_iter();
    let (Some(train), Some(validation), Some(test)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::input(path, "it has no arrays named train, validation and test"));
    };
    let parts = Parts { train, validation, test };
    let [train, validation, test] = parts.each().map(|(_, part)| part.count());
    let told = format!(
        "{}: {train} training, {validation} validation and {test} test samples of {}",
        path.display(),
        columns(parts.dim())
    );
    Ok((parts, Vec::new(), vec![told]))
}

fn single(path: &Path, table: Table, header: &str) -> Result<Loaded> {
    let Table { samples, names, comments } = table;
    let count = samples.count();
    if count < 12 {
        return Err(Error::input(
            path,
            format!("{count} samples are too few for three parts; 12 are the fewest"),
        ));
    }
    let left_out = match comments {
        0 => String::new(),
        1 => "; a comment (#) left out".to_string(),
        comments => format!("; {comments} comments (#) left out"),
    };
    let read = format!("{}: {count} samples of {}{header}{left_out}", path.display(), columns(samples.dim));
    let told = [vec![read], suspicions(&samples, &names)].concat();
    Ok((preprocess::split_in_order(samples), names, told))
}

fn columns(dim: usize) -> String {
    format!("{dim} column{}", if dim == 1 { "" } else { "s" })
}

fn header_told(names: &[String]) -> String {
    match names {
        [] => ", no header".to_string(),
        names => {
            let named = |name: &String| if name.is_empty() { "(no name)".to_string() } else { name.clone() };
            format!(", header {}", quoted(&names.iter().map(named).collect::<Vec<_>>().join(", ")))
        }
    }
}

/// What looks as if it were no data: a first row that counts the columns, a column that counts the rows.
fn suspicions(samples: &Samples, names: &[String]) -> Vec<String> {
    let mut told = Vec::new();
    let counts = |values: &mut dyn Iterator<Item = f64>| {
        let first = values.next().unwrap_or(f64::NAN);
        (first == 0.0 || first == 1.0) && values.zip(1..).all(|(x, i)| x == first + f64::from(i))
    };
    if names.is_empty() && samples.dim > 1 && counts(&mut samples.values[..samples.dim].iter().copied()) {
        told.push(
            "the first row counts the columns, and is taken for a sample: if it is a header, say --header \
                   yes"
            .to_string(),
        );
    }
    let pairs = || samples.values.chunks_exact(2);
    let halves =
        pairs().all(|pair| pair[0].fract() == 0.0 && pair[1].fract() == 0.0 && pair[1].is_sign_positive());
    if samples.dim.is_multiple_of(2)
        && halves
        && pairs().any(|pair| pair[0].to_bits() == (-0.0_f64).to_bits())
    {
        told.push(
            "numbers like -0,5 may have become two columns each: write them with decimal points".to_string(),
        );
    }
    for j in 0..samples.dim {
        if counts(&mut samples.iter().map(|row| row[j])) {
            told.push(format!(
                "column {} counts the rows, and is learned like any other: leave it out if it is an index",
                j + 1
            ));
        }
    }
    told
}

#[cfg(test)]
#[path = "own_tests.rs"]
pub(super) mod tests;
