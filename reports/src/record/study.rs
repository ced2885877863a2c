//! One run with its records.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::record::contents;
use crate::record::error::{Error, Result};
pub use crate::record::log::Invalid;
use crate::record::log::{self, Reading};
use crate::record::run::Run;
use crate::record::{Cell, Clocks, Record, counting};

/// Processes with a quiet machine that can do without the others of their cell.
const QUIET: usize = 2;

/// A folder that a sweep wrote, read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// The contents of `run.json`.
    pub run: Run,
    /// The lines of `records.jsonl`, or of `records.jsonl.gz`, that count: one per cell.
    pub records: Vec<Record>,
    /// The others: what was measured on a disturbed machine, and again.
    pub replaced: Vec<Record>,
    /// What reading the folder had to repair or leave out, one sentence each; empty when nothing.
    pub warnings: Vec<String>,
}

impl Study {
    /// The fastest clocks, with which a disturbed record is told from a quiet one.
    pub fn clocks(&self) -> Clocks {
        let states = self.records.iter().chain(&self.replaced).filter_map(|r| Some((&r.cell, r.state.as_ref()?)));
        Clocks::of(states)
    }

    /// The cells whose records the statistics leave out: a disturbed machine, where at least two other processes
    /// of the same method and point had a quiet one. What disturbed a process is not judged by its time, so leaving it
    /// out favours neither fast nor slow ones.
    pub fn left_out(&self) -> HashSet<Cell> {
        let clocks = self.clocks();
        let mut places: HashMap<_, (usize, Vec<Cell>)> = HashMap::new();
        for record in self.records.iter().filter(|record| record.is_valid()) {
            let (quiet, disturbed) = places.entry((record.cell.method, record.cell.point)).or_default();
            match clocks.of_record(record) {
                Some(_) => disturbed.push(record.cell),
                None => *quiet += 1,
            }
        }
        let enough = places.into_values().filter(|(quiet, _)| *quiet >= QUIET);
        enough.flat_map(|(_, disturbed)| disturbed).collect()
    }

    /// Reads `run.json` and `records.jsonl` of a sweep's folder; a sweep may be writing to it meanwhile.
    ///
    /// A last line that was cut off by a kill is left out and told in [`Study::warnings`]. Where there is no
    /// `records.jsonl`, `records.jsonl.gz` is read; neither means no record yet.
    ///
    /// # Errors
    /// When a file cannot be read, unpacked or parsed, when it says what cannot be (a number out of range, an unknown
    /// name, a cell with two records or with other settings than the run's), or when a newer relgrad wrote it.
    pub fn read(dir: &Path) -> Result<Self> {
        Self::read_with(dir, Invalid::Refuse)
    }

    /// The same; lines that are no valid records are refused or left out.
    ///
    /// # Errors
    /// As [`Study::read`].
    pub fn read_with(dir: &Path, invalid: Invalid) -> Result<Self> {
        let run = read_run(dir)?;
        let (path, bytes) = read_records(dir)?;
        let reading = Reading { settings: Some(&run.settings), invalid, may_be_torn: true, first_line: 1 };
        let log = log::parse(&path, &bytes, &reading)?;
        let mut warnings: Vec<String> = log.told(&path).into_iter().chain(run.mixtures()).collect();
        if log.is_torn(&bytes) {
            let (name, remedy) = if contents::is_packed(&path) {
                (log::PACKED_RECORDS, "")
            } else {
                (log::RECORDS, "; relgrad sweep --resume measures its cell again")
            };
            warnings.push(format!("The last line of {name} was cut off during a write and is skipped{remedy}."));
        }
        let (records, replaced) = counting(log.records);
        Ok(Self { run, records, replaced, warnings })
    }
}

/// The bytes of a folder's records, and the file they come from; none when there is no such file yet.
fn read_records(dir: &Path) -> Result<(PathBuf, Vec<u8>)> {
    let is_missing = |cause: &Error| matches!(cause, Error::Io(.., source) if source.kind() == ErrorKind::NotFound);
    for name in [log::RECORDS, log::PACKED_RECORDS] {
        let path = dir.join(name);
        match contents::unpacked(&path) {
            Err(cause) if is_missing(&cause) => {}
            bytes => return Ok((path, bytes?)),
        }
    }
    Ok((dir.join(log::RECORDS), Vec::new()))
}

/// Reads `run.json` of a sweep's folder.
///
/// # Errors
/// When the file cannot be read or parsed, when it says what cannot be, or when a newer relgrad wrote it.
pub fn read_run(dir: &Path) -> Result<Run> {
    let path = dir.join(log::RUN);
    log::parse_run(&path, &contents::of(&path)?)
}
