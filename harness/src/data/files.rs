//! Files: idx (gzip), NumPy's npz, comma- or space-separated text (plain or gzip).

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::{Samples, npy};
use crate::error::{Error, Result};

/// A file, unpacked when its name ends in .gz.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Read>> {
    let file = BufReader::new(File::open(path).map_err(|cause| Error::input(path, cause))?);
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    Ok(if packed { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) })
}

/// The pictures of an idx file: bytes, each picture's rows one after another, and the pictures' rows and columns.
pub(crate) fn idx_pictures(path: &Path) -> Result<(Vec<u8>, (usize, usize))> {
    const PICTURES: u32 = 2051;
    let damaged = |what: &str| Error::input(path, format!("{what}; fetch the file again"));
    let mut reader = open(path)?;
    let mut header = [0; 16];
    reader.read_exact(&mut header).map_err(|cause| damaged(&cause.to_string()))?;
    let word = |i: usize| u32::from_be_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
    if word(0) != PICTURES {
        return Err(damaged(&format!("its magic number is {}, that of idx pictures is {PICTURES}", word(0))));
    }
    let [count, rows, columns] = [4, 8, 12].map(|i| word(i) as usize);
    let expected = count.saturating_mul(rows).saturating_mul(columns);
    let mut pixels = Vec::new();
    let limit = expected as u64 + 1;
    reader.take(limit).read_to_end(&mut pixels).map_err(|cause| damaged(&cause.to_string()))?;
    if pixels.len() != expected {
        return Err(damaged(&format!(
            "it does not hold the {count} pictures of {rows}×{columns} it announces"
        )));
    }
    Ok((pixels, (rows, columns)))
}

/// A two-dimensional array, one sample a row.
pub(crate) fn npy_file(path: &Path) -> Result<Samples> {
    let file = BufReader::new(File::open(path).map_err(|cause| Error::input(path, cause))?);
    array(path, file)
}

/// The named arrays of an npz file, each the first of its names that is there.
pub(crate) fn npz(path: &Path, parts: &[&[&str]]) -> Result<Vec<Samples>> {
    let mut archive = open_npz(path)?;
    let mut part = |names: &&[&str]| {
        let name = names
            .iter()
            .map(|name| format!("{name}.npy"))
            .find(|name| archive.index_for_name(name).is_some());
        let name =
            name.ok_or_else(|| Error::input(path, format!("it has no array named {}", names.join(" or "))))?;
        let entry = archive.by_name(&name).map_err(|cause| Error::input(path, cause))?;
        array(path, entry)
    };
    parts.iter().map(&mut part).collect()
}

/// Names of the arrays of an npz file.
pub(crate) fn npz_names(path: &Path) -> Result<Vec<String>> {
    let archive = open_npz(path)?;
    Ok(archive.file_names().map(|name| name.trim_end_matches(".npy").to_string()).collect())
}

fn open_npz(path: &Path) -> Result<zip::ZipArchive<impl Read + Seek>> {
    let file = File::open(path).map_err(|cause| Error::input(path, cause))?;
    zip::ZipArchive::new(BufReader::new(file)).map_err(|cause| Error::input(path, cause))
}

fn array(path: &Path, reader: impl Read) -> Result<Samples> {
    npy::read(reader).map_err(|cause| Error::input(path, cause))
}

/// How a line of text becomes numbers.
pub(crate) enum Row {
    /// Numbers, as many in every row.
    Numbers(Vec<f64>),
    /// A row to leave out.
    Skipped,
}

/// Rows of text fields; `row` makes numbers of each line's fields. A first line that is no row is taken for a header.
///
/// # Errors
/// Names the line.
pub(crate) fn text(
    path: &Path,
    delimiter: u8,
    row: impl Fn(&[&str]) -> std::result::Result<Row, String>,
) -> Result<Samples> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .from_reader(open(path)?);
    let (mut values, mut dim) = (Vec::new(), 0);
    for (i, record) in reader.records().enumerate() {
        let line = i + 1;
        let record = record.map_err(|cause| Error::input(path, format!("line {line}: {cause}")))?;
        let fields: Vec<&str> =
            record.iter().filter(|field| delimiter != b' ' || !field.is_empty()).collect();
        match row(&fields) {
            Ok(Row::Skipped) => {}
            Ok(Row::Numbers(numbers)) if dim == 0 || numbers.len() == dim => {
                dim = numbers.len();
                values.extend(numbers);
            }
            Ok(Row::Numbers(numbers)) => {
                let found = numbers.len();
                return Err(Error::input(
                    path,
                    format!("line {line} has {found} numbers, those before it {dim}"),
                ));
            }
            Err(_) if line == 1 => {}
            Err(cause) => return Err(Error::input(path, format!("line {line}: {cause}"))),
        }
    }
    if values.is_empty() {
        return Err(Error::input(path, "it has no row of numbers"));
    }
    Ok(Samples { dim, values })
}

/// Every field as a number.
pub(crate) fn numbers(fields: &[&str]) -> std::result::Result<Row, String> {
    let number = |field: &&str| field.parse::<f64>().map_err(|_| format!("`{field}` is not a number"));
    fields.iter().map(number).collect::<std::result::Result<_, _>>().map(Row::Numbers)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".gz").tempfile().unwrap();
        let mut encoder = GzEncoder::new(file.reopen().unwrap(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap();
        file
    }

    fn idx(count: u32, pixels: &[u8]) -> Vec<u8> {
        [2051, count, 2, 3]
            .iter()
            .flat_map(|word: &u32| word.to_be_bytes())
            .chain(pixels.iter().copied())
            .collect()
    }

    #[test]
    fn pictures_come_out_as_they_went_in_or_not_at_all() {
        let pixels: Vec<u8> = (0..12).collect();
        let file = packed(&idx(2, &pixels));
        assert_eq!(idx_pictures(file.path()).unwrap(), (pixels.clone(), (2, 3)));
        for damaged in [idx(3, &pixels), idx(1, &pixels), pixels, Vec::new()] {
            let file = packed(&damaged);
            let error = idx_pictures(file.path()).unwrap_err().to_string();
            assert!(error.contains("fetch the file again"), "{error}");
        }
        // A gzip stream that was cut off.
        let whole = std::fs::read(packed(&idx(2, &(0..12).collect::<Vec<_>>())).path()).unwrap();
        let file = tempfile::Builder::new().suffix(".gz").tempfile().unwrap();
        std::fs::write(file.path(), &whole[..whole.len() - 9]).unwrap();
        assert!(idx_pictures(file.path()).is_err());
    }

    #[test]
    fn text_may_have_a_header_and_must_be_a_rectangle() {
        let read = |content: &str, delimiter| {
            let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
            std::fs::write(file.path(), content).unwrap();
            text(file.path(), delimiter, numbers).map_err(|error| error.to_string())
        };
        let expected = Samples { dim: 2, values: vec![1.0, 2.0, 3.0, -4e-1] };
        assert_eq!(read("a,b\n1,2\n3, -4e-1\n", b','), Ok(expected.clone()));
        assert_eq!(read("1  2\n 3 -0.4\n", b' '), Ok(expected));
        assert!(read("1,2\n3\n", b',').unwrap_err().contains("line 2 has 1 numbers"));
        assert!(read("a,b\n", b',').unwrap_err().contains("no row of numbers"));
    }
}
