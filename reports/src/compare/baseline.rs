//! A baseline: one file that holds a run and its records, to be committed and gated against.
//!
//! JSON lines, like `records.jsonl`: the first line is the run, each further line a record, so that nothing measured is
//! summarised away. [`read`] also takes the folder of a sweep. A name that ends in `.gz` means a file packed by gzip.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::record::contents;
use crate::record::counting;
use crate::record::error::{Error, Result};
use crate::record::log::{self, Invalid, Reading};
use crate::record::study::Study;
use crate::record::validity;
use crate::record::writer::{to_readable_json, write_atomically};

/// Reads a baseline file, or the folder of a sweep.
///
/// # Errors
/// When it cannot be read, unpacked or parsed, when it says what cannot be, or when a newer relgrad wrote it.
pub fn read(path: &Path) -> Result<Study> {
    read_with(path, Invalid::Refuse)
}

/// The same; lines that are no valid records are refused or left out.
///
/// # Errors
/// As [`read`].
pub fn read_with(path: &Path, invalid: Invalid) -> Result<Study> {
    if path.is_dir() {
        return Study::read_with(path, invalid);
    }
    let bytes = contents::unpacked(path)?;
    let end = bytes.iter().position(|&b| b == b'\n').map_or(bytes.len(), |end| end + 1);
    let (head, lines) = bytes.split_at(end);
    let run = log::parse_run(path, head)?;
    let reading = Reading { settings: Some(&run.settings), invalid, may_be_torn: false, first_line: 2 };
    let log = log::parse(path, lines, &reading)?;
    let warnings = log.told(path).into_iter().chain(run.mixtures()).collect();
    let (records, replaced) = counting(log.records);
    Ok(Study { run, records, replaced, warnings })
}

/// Writes a baseline file: whole, or not at all.
///
/// # Errors
/// When it could not be read back, or when writing fails; a file that was there stays as it was.
pub fn write(path: &Path, study: &Study) -> Result<()> {
    let mut text = to_readable_json(path, &study.run, validity::run, serde_json::to_string)?;
    text.push('\n');
    for record in &study.records {
        text += &to_readable_json(path, record, validity::record, serde_json::to_string)?;
        text.push('\n');
    }
    if !contents::is_packed(path) {
        return write_atomically(path, text.as_bytes());
    }
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    let packed = packer.write_all(text.as_bytes()).and_then(|()| packer.finish());
    write_atomically(path, &packed.map_err(Error::io("write", path))?)
}
