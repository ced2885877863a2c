//! Rows of numbers on their way out: text with commas, or NumPy's npy; some rows at a time, so that no more is held.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use relgrad_kernels::Dtype;

use crate::console;
use crate::error::{Error, Result};

/// What a file of rows is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFormat {
    Csv,
    Npy,
}

impl RowFormat {
    /// The format of a file to be written.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_string_lossy().to_lowercase();
        match extension.as_str() {
            "csv" => Some(Self::Csv),
            "npy" => Some(Self::Npy),
            _ => None,
        }
    }
}

/// A table that is being written: to a file, which appears whole or not at all, or as text to standard output.
pub(crate) struct RowSink {
    format: RowFormat,
    /// Text has the fewest digits that tell its numbers apart, arrays have its numbers.
    dtype: Dtype,
    columns: usize,
    /// The unfinished file, and what it becomes; none for standard output.
    file: Option<(BufWriter<File>, PathBuf)>,
}

impl RowSink {
    /// Begins a table of so many rows of the columns with these names.
    ///
    /// # Errors
    /// A name that ends in neither .csv nor .npy; what the system refuses.
    pub(crate) fn begin(path: Option<&Path>, names: &[String], rows: usize, dtype: Dtype) -> Result<Self> {
        let format = match path {
            None => RowFormat::Csv,
            Some(path) => RowFormat::of(path)
                .ok_or_else(|| Error::Usage(format!("{} must end in .csv or .npy", path.display())))?,
        };
        let open = |path: &Path| {
            let file = File::create(unfinished(path)).map_err(|cause| Error::output(path, cause))?;
            Ok::<_, Error>((BufWriter::new(file), path.to_path_buf()))
        };
        let file = path.map(open).transpose()?;
        let mut sink = Self { format, dtype, columns: names.len(), file };
        match format {
            RowFormat::Csv => sink.put(format!("{}\n", names.join(",")).as_bytes())?,
            RowFormat::Npy => sink.put(&npy_header(dtype, rows, names.len()))?,
        }
        Ok(sink)
    }

    /// Writes whole rows.
    pub(crate) fn write(&mut self, values: &[f64]) -> Result<()> {
        let bytes = match (self.format, self.dtype) {
            (RowFormat::Csv, Dtype::F32) => csv(values.iter().map(|x| *x as f32), self.columns),
            (RowFormat::Csv, Dtype::F64) => csv(values.iter().copied(), self.columns),
            (RowFormat::Npy, Dtype::F32) => values.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect(),
            (RowFormat::Npy, Dtype::F64) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.file {
            Some((file, path)) => file.write_all(bytes).map_err(|cause| Error::output(path, cause)),
            None => {
                console::emit(&String::from_utf8_lossy(bytes));
                Ok(())
            }
        }
    }

    /// The file takes its name.
    pub(crate) fn finish(mut self) -> Result<()> {
        let Some((mut file, path)) = self.file.take() else { return Ok(()) };
        let written = file.flush().and_then(|()| file.get_ref().sync_all());
        let written = written.and_then(|()| fs::rename(unfinished(&path), &path));
        written.map_err(|cause| {
            let _ = fs::remove_file(unfinished(&path));
            Error::output(&path, cause)
        })
    }
}

impl Drop for RowSink {
    /// What was not finished goes. Best effort.
    fn drop(&mut self) {
        if let Some((_, path)) = &self.file {
            let _ = fs::remove_file(unfinished(path));
        }
    }
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

/// Lines of so many numbers.
fn csv(values: impl Iterator<Item = impl std::fmt::Display>, columns: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for (i, x) in values.enumerate() {
        let end = if (i + 1).is_multiple_of(columns) { '\n' } else { ',' };
        // Into memory, which takes all.
        let _ = write!(text, "{x}{end}");
    }
    text
}

/// Version 1.0; its end is at a multiple of 64 bytes, as NumPy's is.
fn npy_header(dtype: Dtype, rows: usize, columns: usize) -> Vec<u8> {
    const START: usize = 10;
    let kind = if dtype == Dtype::F32 { "<f4" } else { "<f8" };
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let length = (START + text.len() + 1).next_multiple_of(64) - START;
    let text = format!("{text:<width$}\n", width = length - 1);
    [b"\x93NUMPY\x01\x00", &(length as u16).to_le_bytes()[..], text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{every_row, text::Header};

    #[test]
    fn rows_read_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["z1", "z2"].map(str::to_string);
        let third = f64::from(1.0_f32 / 3.0);
        for (file, dtype, values) in [
            ("a.csv", Dtype::F64, [0.1, -1e-300, 1.0 / 3.0, 5.0]),
            ("a.npy", Dtype::F64, [0.1, -1e-300, 1.0 / 3.0, 5.0]),
            ("b.csv", Dtype::F32, [third, -2.5, 1e30_f32.into(), 0.0]),
            ("b.npy", Dtype::F32, [third, -2.5, 1e30_f32.into(), 0.0]),
        ] {
            let path = folder.path().join(file);
            let mut sink = RowSink::begin(Some(&path), &names, 2, dtype).unwrap();
            sink.write(&values[..2]).unwrap();
            sink.write(&values[2..]).unwrap();
            assert!(!path.exists());
            sink.finish().unwrap();
            let back = every_row(&path, Header::Auto).unwrap().parts.train;
            // Digits of an f32 are those of another f64.
            let same = |(x, y): (&f64, &f64)| if dtype == Dtype::F32 { *x as f32 == *y as f32 } else { x == y };
            assert!(back.dim == 2 && back.values.iter().zip(&values).all(same), "{file}: {back:?}");
        }
        assert_eq!(fs::read_to_string(folder.path().join("b.csv")).unwrap().lines().nth(1), Some("0.33333334,-2.5"));
    }

    #[test]
    fn what_is_not_finished_leaves_nothing_and_other_endings_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        drop(RowSink::begin(Some(&path), &["x".to_string()], 9, Dtype::F64).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let told = RowSink::begin(Some(Path::new("a.txt")), &[], 0, Dtype::F64).err().unwrap();
        assert!(told.to_string().contains("a.txt must end in .csv or .npy"), "{told}");
    }
}
