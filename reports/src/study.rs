//! One run with its records.

use std::collections::HashMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::log;
use crate::record::{Cell, Record};
use crate::run::Run;

/// A folder that a sweep wrote, read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// The contents of `run.json`.
    pub run: Run,
    /// The lines of `records.jsonl`, at most one per cell.
    pub records: Vec<Record>,
    /// What reading the folder had to repair or leave out, one sentence each; empty when nothing.
    pub warnings: Vec<String>,
}

impl Study {
    /// Reads `run.json` and `records.jsonl` of a sweep's folder; a sweep may be writing to it meanwhile.
    ///
    /// Where a cell has several records the last one counts, at the place of the first. A last line that was cut off
    /// by a kill is left out and told in [`Study::warnings`]. No `records.jsonl` means no record yet.
    ///
    /// # Errors
    /// When a file cannot be read or parsed, or when a newer relgrad wrote it.
    pub fn read(dir: &Path) -> Result<Self> {
        let run = read_run(dir)?;
        let path = dir.join(log::RECORDS);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(Error::io("read", &path)(e)),
        };
        let log = log::parse(&path, &bytes)?;
        let mut warnings = Vec::new();
        if log.is_torn(&bytes) {
            warnings.push(format!(
                "The last line of {} was cut off in the middle of a write and is left out; \
                 relgrad sweep --resume measures its cell again.",
                log::RECORDS
            ));
        }
        Ok(Self { run, records: last_of_each_cell(log.records), warnings })
    }
}

/// Reads `run.json` of a sweep's folder.
///
/// # Errors
/// When the file cannot be read or parsed, or when a newer relgrad wrote it.
pub fn read_run(dir: &Path) -> Result<Run> {
    let path = dir.join(log::RUN);
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    log::check_schema(&path, &bytes)?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Run { path, source })
}

fn last_of_each_cell(records: Vec<Record>) -> Vec<Record> {
    let mut place: HashMap<Cell, usize> = HashMap::new();
    let mut kept: Vec<Record> = Vec::with_capacity(records.len());
    for record in records {
        match place.get(&record.cell) {
            Some(&at) => kept[at] = record,
            None => {
                place.insert(record.cell.clone(), kept.len());
                kept.push(record);
            }
        }
    }
    kept
}
