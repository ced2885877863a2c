//! The user's own files.

use std::cell::Cell;
use std::ffi::OsStr;
use std::path::Path;

use relgrad_reports::training::Provenance;
use relgrad_reports::units::counted;

use super::text::{self, Delimiter, Header, Table, TextFormat};
use super::{DataSet, Parts, Samples, files, open, preprocess};
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
pub(crate) fn load(path: &Path, header: Header) -> Result<DataSet> {
    match kind(path, header)? {
        Kind::Npz => npz(path),
        Kind::Npy => single(path, unnamed(files::npy_file(path)?), ""),
        Kind::Text(delimiter) => {
            let commas = Cell::new(Commas::default());
            let table = text::read(path, TextFormat { delimiter, header, loose: false }, |fields, out| {
                commas.set(commas.get().and(fields.clone()));
                text::numbers(fields, out)
            })?;
            let told = header_told(&table.names);
            let mut set = single(path, table, &told)?;
            set.told.extend(commas.get().is_likely().then(|| COMMAS.to_string()));
            Ok(set)
        }
    }
}

/// The name of standard input.
pub(crate) const STANDARD_INPUT: &str = "-";

/// Every row of a file in its order, one sample or more, as the training part of a set whose other parts are empty;
/// those of an npz file part after part. Text comes from standard input too.
pub(crate) fn every_row(path: &Path, header: Header) -> Result<DataSet> {
    let of_text = |delimiter| TextFormat { delimiter, header, loose: false };
    let (name, table) = if path == Path::new(STANDARD_INPUT) {
        let name = Path::new("standard input");
        let read = |_: &Path| {
            text::read_from(std::io::stdin().lock(), of_text(Delimiter::Guessed), |fields, out| {
                text::numbers(fields, out)
            })
        };
        (name, open::reading(name, read)?)
    } else {
        let table = match kind(path, header)? {
            Kind::Npz => unnamed(all_of_npz(path)?),
            Kind::Npy => unnamed(files::npy_file(path)?),
            Kind::Text(delimiter) => text::read(path, of_text(delimiter), |fields, out| text::numbers(fields, out))?,
        };
        (path, table)
    };
    let Table { samples, names, .. } = table;
    if let Some(at) = samples.values.iter().position(|x| !x.is_finite()) {
        let (row, column) = (at / samples.dim + 1, at % samples.dim + 1);
        let cause = format!("row {row}, column {column}, is not a finite number; remove or replace it");
        return Err(Error::input(name, cause));
    }
    let none = Samples { dim: samples.dim, values: Vec::new() };
    let parts = Parts::of([samples, none.clone(), none]);
    Ok(DataSet { names, ..DataSet::new(name.display().to_string(), parts, Provenance::Own) })
}

fn kind(path: &Path, header: Header) -> Result<Kind> {
    let kind = Kind::of(path.as_os_str());
    let kind = kind.ok_or_else(|| Error::input(path, format!("its name does not end in {ENDINGS}")))?;
    if header != Header::Auto && !matches!(kind, Kind::Text(_)) {
        return Err(Error::Usage(format!("--header is for files of text, and {} is none", path.display())));
    }
    Ok(kind)
}

fn all_of_npz(path: &Path) -> Result<Samples> {
    if let [only] = &files::npz_names(path)?[..] {
        let [samples] = files::npz(path, [&[only]])?;
        return Ok(samples);
    }
    let parts = files::npz(path, SPLIT)?;
    let dim = parts[0].dim;
    if parts.iter().any(|part| part.dim != dim) {
        return Err(Error::input(path, "its parts have other numbers of columns"));
    }
    Ok(Samples { dim, values: parts.into_iter().flat_map(|part| part.values).collect() })
}

fn npz(path: &Path) -> Result<DataSet> {
    if let [only] = &files::npz_names(path)?[..] {
        let [samples] = files::npz(path, [&[only]])?;
        return single(path, unnamed(samples), "");
    }
    let parts = Parts::of(files::npz(path, SPLIT)?);
    let [train, validation, test] = parts.each().map(|(_, part)| part.count());
    let (name, columns) = (path.display(), counted(parts.dim(), "column"));
    let told = format!("{name}: {train} training, {validation} validation and {test} test samples of {columns}");
    Ok(DataSet { told: vec![told], ..DataSet::new(path.display().to_string(), parts, Provenance::Own) })
}

fn unnamed(samples: Samples) -> Table {
    Table { samples, names: Vec::new(), comments: 0 }
}

fn single(path: &Path, table: Table, header: &str) -> Result<DataSet> {
    let Table { samples, names, comments } = table;
    let count = samples.count();
    if count < 12 {
        return Err(Error::input(path, format!("{count} samples are too few for three parts; 12 are the fewest")));
    }
    let left_out = match comments {
        0 => String::new(),
        1 => "; a comment (#) left out".to_string(),
        comments => format!("; {comments} comments (#) left out"),
    };
    let columns = counted(samples.dim, "column");
    let read = format!("{}: {count} samples of {columns}{header}{left_out}", path.display());
    let suspicions = suspicions(&samples, &names);
    let parts = preprocess::split_in_order(samples);
    let [train, validation, test] = parts.each().map(|(_, part)| part.count());
    let split = format!("in its order {train} training, {validation} validation and {test} test samples");
    let told = [vec![read, split], suspicions].concat();
    Ok(DataSet { names, told, ..DataSet::new(path.display().to_string(), parts, Provenance::Own) })
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
    // Years too, from the first on or from the last back.
    let row = &samples.values[..samples.dim];
    let is_series =
        |step: f64| row.len() > 2 && row.windows(2).all(|two| two[0].fract() == 0.0 && two[1] == two[0] + step);
    let counts_columns = samples.dim > 1 && counts(&mut row.iter().copied()) || is_series(1.0) || is_series(-1.0);
    for (what, is_so) in
        [("counts the columns", counts_columns), ("lies far from all others", is_unlike_the_rest(samples))]
    {
        if names.is_empty() && is_so {
            let header = "and is taken for a sample: if it is a header, say --header yes";
            told.push(format!("the first row {what}, {header}"));
        }
    }
    for j in 0..samples.dim {
        let rises = |(a, b): (&[f64], &[f64])| a[j] < b[j] && a[j].fract() == 0.0 && b[j].fract() == 0.0;
        let is_unnamed = j == 0 && names.first().is_some_and(String::is_empty);
        let is_index = || is_unnamed && samples.iter().zip(samples.iter().skip(1)).all(rises);
        if counts(&mut samples.iter().map(|row| row[j])) || is_index() {
            told.push(format!(
                "column {} counts the rows, and is learned like any other: leave it out if it is an index",
                j + 1
            ));
        }
    }
    told
}

/// Whether every number of the first row is many deviations from the others of its column.
fn is_unlike_the_rest(samples: &Samples) -> bool {
    const FAR: f64 = 30.0;
    let count = (samples.count() - 1) as f64;
    (0..samples.dim).all(|j| {
        let rest = || samples.iter().skip(1).map(|row| row[j]);
        let mean = rest().sum::<f64>() / count;
        let deviation = (rest().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
        (samples.values[j] - mean).abs() > FAR * deviation.max(1e-9 * mean.abs())
    })
}

const COMMAS: &str = "numbers like 1,05 may have become two columns each: write them with decimal points";

/// What speaks for decimal commas that were taken for separators: pairs of whole numbers, the second without a sign,
/// and some that no number is written like: -0, or 05.
#[derive(Debug, Clone, Copy)]
struct Commas {
    possible: bool,
    shown: bool,
}

impl Default for Commas {
    fn default() -> Self {
        Self { possible: true, shown: false }
    }
}

impl Commas {
    fn and<'a>(mut self, mut fields: impl Iterator<Item = &'a str>) -> Self {
        while self.possible
            && let Some(whole) = fields.next()
        {
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let after = fields.next().unwrap_or_default();
            self.possible = digits(whole.trim_start_matches(['-', '+'])) && digits(after);
            self.shown |= whole == "-0" || (after.len() > 1 && after.starts_with('0'));
        }
        self
    }

    fn is_likely(self) -> bool {
        self.possible && self.shown
    }
}

#[cfg(test)]
#[path = "own_tests.rs"]
pub(super) mod tests;
