//! A baseline: one file that holds a run and its records, to be committed and gated against.
//!
//! JSON lines, like `records.jsonl`: the first line is the run, each further line a record, so that nothing measured is
//! summarised away. [`read`] also takes the folder of a sweep.

use std::path::Path;

use crate::error::{Error, Result};
use crate::log;
use crate::record::Record;
use crate::run::Run;
use crate::study::Study;
use crate::writer::write_atomically;

/// Reads a baseline file, or the folder of a sweep.
///
/// # Errors
/// When it cannot be read or parsed, or when a newer relgrad wrote it.
pub fn read(path: &Path) -> Result<Study> {
    if path.is_dir() {
        return Study::read(path);
    }
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let mut lines = bytes.split(|&b| b == b'\n');
    let head = lines.next().unwrap_or_default();
    log::check_schema(path, head)?;
    let run: Run = serde_json::from_slice(head).map_err(|source| Error::Run { path: path.into(), source })?;
    let mut records = Vec::new();
    for (index, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
        log::check_schema(path, line)?;
        let parsed = serde_json::from_slice::<Record>(line);
        records.push(parsed.map_err(|source| Error::Record {
            path: path.into(),
            line: index + 2,
            source,
        })?);
    }
    Ok(Study { run, records, warnings: Vec::new() })
}

/// Writes a baseline file: whole, or not at all.
///
/// # Errors
/// When a value is not finite, or when writing fails; a file that was there stays as it was.
pub fn write(path: &Path, study: &Study) -> Result<()> {
    let unreadable = |source| Error::Unreadable { path: path.into(), source };
    let mut text = serde_json::to_string(&study.run).map_err(unreadable)?;
    text.push('\n');
    for record in &study.records {
        let line = serde_json::to_string(record).map_err(unreadable)?;
        serde_json::from_str::<Record>(&line).map_err(unreadable)?;
        text += &line;
        text.push('\n');
    }
    write_atomically(path, text.as_bytes())
}
