//! The text of files of records, shared by their readers and their writer.

use std::collections::HashSet;
use std::path::Path;

use relgrad_vocabulary::excerpt;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::record::error::{Error, Result};
use crate::record::run::{Run, Settings};
use crate::record::validity;
use crate::record::{Cell, Point, Record, SCHEMA_VERSION};

/// File of the records in a sweep's folder.
pub(crate) const RECORDS: &str = "records.jsonl";
/// The same file packed by gzip, read where the plain one is not there.
pub(crate) const PACKED_RECORDS: &str = "records.jsonl.gz";
/// File of the run's facts in a sweep's folder.
pub(crate) const RUN: &str = "run.json";

/// How a line that is no valid record is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// Reading fails, with the line and what is wrong with it.
    Refuse,
    /// The line is skipped, with a warning.
    Skip,
}

/// How the lines of a file are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// The settings of the run that the records belong to, where they are known.
    pub(crate) settings: Option<&'a Settings>,
    pub(crate) invalid: Invalid,
    /// Whether the file grows line by line, so that its last one may have been cut off.
    pub(crate) may_be_torn: bool,
    /// Number of the first line.
    pub(crate) first_line: usize,
}

/// The records of a file, in its order.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) records: Vec<Record>,
    /// Bytes up to the end of the last whole record.
    pub(crate) whole_bytes: usize,
    /// Whether the last record lacks only its newline.
    pub(crate) unended: bool,
    /// Lines that were left out, with the reason.
    pub(crate) left_out: Vec<(usize, String)>,
    /// The line of each record.
    lines: Vec<usize>,
}

impl Log {
    /// Whether bytes that no record accounts for follow the last whole one.
    pub(crate) fn is_torn(&self, bytes: &[u8]) -> bool {
        self.whole_bytes < bytes.len()
    }

    /// Which lines were left out, in a sentence.
    pub(crate) fn told(&self, path: &Path) -> Option<String> {
        /// Reasons that are told in full.
        const TOLD: usize = 3;
        let reasons: Vec<String> =
            self.left_out.iter().take(TOLD).map(|(line, reason)| format!("line {line}: {reason}")).collect();
        let further: Vec<String> = self.left_out.iter().skip(TOLD).map(|(line, _)| line.to_string()).collect();
        let further = match further.as_slice() {
            [] => String::new(),
            lines => format!("; and lines {}", excerpt(&lines.join(", "), 200)),
        };
        let count = match self.left_out.len() {
            0 => return None,
            1 => "1 line".to_string(),
            n => format!("{n} lines"),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = excerpt(&name, 60);
        Some(format!("{count} of {name} skipped as invalid ({}{further}).", reasons.join("; ")))
    }

    /// Leaves a line out, or fails for it.
    fn reject(&mut self, path: &Path, line: usize, reason: String, invalid: Invalid) -> Result<()> {
        if invalid == Invalid::Refuse {
            return Err(Error::Invalid(path.into(), line, reason, SKIP));
        }
        self.left_out.push((line, reason));
        Ok(())
    }

    /// A process of a cell has one record; a second one would count as a process more.
    fn reject_repeated(&mut self, path: &Path, invalid: Invalid) -> Result<()> {
        // Arithmetic may be left out where it is that of the numbers.
        let key = |Record { cell, attempt, .. }: &Record| {
            let math = Some(cell.point.arithmetic());
            (Cell { point: Point { math, ..cell.point }, ..*cell }, *attempt)
        };
        let mut seen = HashSet::with_capacity(self.records.len());
        let repeated: Vec<bool> = self.records.iter().map(|record| !seen.insert(key(record))).collect();
        for (index, _) in repeated.iter().enumerate().filter(|(_, repeated)| **repeated) {
            let Cell { method, point: Point { device, dim, .. }, round } = self.records[index].cell;
            let reason = format!("{method} on {device} at dim {dim}, round {round}, has two records");
            self.reject(path, self.lines[index], reason, invalid)?;
        }
        let mut repeated = repeated.into_iter();
        self.records.retain(|_| !repeated.next().unwrap_or(false));
        Ok(())
    }
}

/// Whether a last line that is no record was cut off in a write: its last byte is missing, or a power cut left zeros.
/// Else the file was changed, and removing the line would lose what was measured.
fn is_cut_off(line: &[u8]) -> bool {
    /// No record is longer.
    const LONGEST: usize = 16 << 20;
    let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
    (!line.ends_with(b"\n") && line.len() < LONGEST && !is_json()) || line.contains(&0)
}

/// What to do about an invalid record.
pub(super) const SKIP: &str =
    "restore the file, or skip such lines with --skip-invalid (report, compare, plot, export)";

/// Parses all lines. In a file that grows, a last line without its newline that does not parse was cut off in the
/// middle of a write: it is left to the caller ([`Log::whole_bytes`] ends before it). A last line that lacks only its
/// newline counts ([`Log::unended`]).
///
/// # Errors
/// Any other line that does not parse, that says what cannot be, or that repeats a cell, unless such lines are skipped.
pub(crate) fn parse(path: &Path, bytes: &[u8], reading: &Reading<'_>) -> Result<Log> {
    let mut log = Log::default();
    let mut end = 0;
    for (index, line) in bytes.split_inclusive(|&b| b == b'\n').enumerate() {
        end += line.len();
        let (is_last, number) = (end == bytes.len(), index + reading.first_line);
        if line.iter().all(u8::is_ascii_whitespace) {
            log.whole_bytes = end;
            continue;
        }
        check_schema(path, line)?;
        match parse_json::<Record>(line) {
            Ok(record) => match check(&record, reading) {
                Ok(()) => {
                    log.records.push(record);
                    log.lines.push(number);
                    log.unended = !line.ends_with(b"\n");
                }
                Err(reason) => log.reject(path, number, reason, reading.invalid)?,
            },
            Err(_) if is_last && reading.may_be_torn && is_cut_off(line) => break,
            Err(reason) if reading.invalid == Invalid::Refuse => {
                return Err(Error::Record(path.into(), number, reason));
            }
            Err(reason) => log.left_out.push((number, reason)),
        }
        log.whole_bytes = end;
    }
    log.reject_repeated(path, reading.invalid)?;
    Ok(log)
}

fn check(record: &Record, reading: &Reading<'_>) -> std::result::Result<(), String> {
    validity::record(record)?;
    reading.settings.map_or(Ok(()), |settings| validity::of_run(record, settings))
}

/// Parses and checks the facts of a run.
///
/// # Errors
/// When a newer relgrad wrote them, or when they do not describe a run.
pub(crate) fn parse_run(path: &Path, text: &[u8]) -> Result<Run> {
    check_schema(path, text)?;
    let invalid = |reason| Error::Run(path.into(), reason);
    let run = parse_json::<Run>(text).map_err(invalid)?;
    validity::run(&run).map_err(invalid)?;
    Ok(run)
}

/// Parses JSON; the reason why not is short and on one line, whatever the text holds.
pub(crate) fn parse_json<T: DeserializeOwned>(text: &[u8]) -> std::result::Result<T, String> {
    serde_json::from_slice(text).map_err(|cause| excerpt(&cause.to_string(), 200))
}

/// Rejects text that a newer relgrad wrote, even where the rest of it is not what this one expects. Text whose version
/// cannot be told passes: parsing it says more.
pub(crate) fn check_schema(path: &Path, text: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    match serde_json::from_slice::<Version>(text) {
        Ok(Version { schema }) if schema > SCHEMA_VERSION => Err(Error::NewerSchema(path.into(), schema)),
        _ => Ok(()),
    }
}
