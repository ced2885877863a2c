//! One run with its records.

use std::path::Path;

use crate::contents;
use crate::error::{Error, Result};
pub use crate::log::Invalid;
use crate::log::{self, Rules};
use crate::record::Record;
use crate::run::Run;

/// A folder that a sweep wrote, read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// The contents of `run.json`.
    pub run: Run,
    /// The lines of `records.jsonl`, one per cell.
    pub records: Vec<Record>,
    /// What reading the folder had to repair or leave out, one sentence each; empty when nothing.
    pub warnings: Vec<String>,
}

impl Study {
    /// Reads `run.json` and `records.jsonl` of a sweep's folder; a sweep may be writing to it meanwhile.
    ///
    /// A last line that was cut off by a kill is left out and told in [`Study::warnings`]. No `records.jsonl` means no
    /// record yet.
    ///
    /// # Errors
    /// When a file cannot be read or parsed, when it says what cannot be (a number out of range, an unknown name, a
    /// cell with two records or with other settings than the run's), or when a newer relgrad wrote it.
    pub fn read(dir: &Path) -> Result<Self> {
        Self::read_with(dir, Invalid::Refuse)
    }

    /// The same; lines that are no valid records are refused or left out.
    ///
    /// # Errors
    /// As [`Study::read`].
    pub fn read_with(dir: &Path, invalid: Invalid) -> Result<Self> {
        let run = read_run(dir)?;
        let path = dir.join(log::RECORDS);
        let bytes = match contents::of(&path) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            bytes => bytes?,
        };
        let rules = Rules { settings: Some(&run.settings), invalid, may_be_torn: true, first_line: 1 };
        let log = log::parse(&path, &bytes, &rules)?;
        let mut warnings: Vec<String> = log.told(&path).into_iter().collect();
        if log.is_torn(&bytes) {
            warnings.push(format!(
                "The last line of {} was cut off in the middle of a write and is left out; \
                 relgrad sweep --resume measures its cell again.",
                log::RECORDS
            ));
        }
        Ok(Self { run, records: log.records, warnings })
    }
}

/// Reads `run.json` of a sweep's folder.
///
/// # Errors
/// When the file cannot be read or parsed, when it says what cannot be, or when a newer relgrad wrote it.
pub fn read_run(dir: &Path) -> Result<Run> {
    let path = dir.join(log::RUN);
    log::parse_run(&path, &contents::of(&path)?)
}
