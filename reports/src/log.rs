//! The text of `records.jsonl`, shared by its reader and its writer.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::record::{Record, SCHEMA_VERSION};

/// File of the records in a sweep's folder.
pub(crate) const RECORDS: &str = "records.jsonl";
/// File of the run's facts in a sweep's folder.
pub(crate) const RUN: &str = "run.json";

/// The records of a file, in its order.
pub(crate) struct Log {
    pub(crate) records: Vec<Record>,
    /// Bytes up to and including the newline of the last whole record.
    pub(crate) whole_bytes: usize,
}

impl Log {
    /// Whether bytes that no record accounts for follow the last whole one.
    pub(crate) fn is_torn(&self, bytes: &[u8]) -> bool {
        self.whole_bytes < bytes.len()
    }
}

/// Parses all lines. A last line without its newline, or one that does not parse, was cut off in the middle of a write:
/// it is left to the caller ([`Log::whole_bytes`] ends before it). Any other line that does not parse is an error.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Log> {
    let mut log = Log { records: Vec::new(), whole_bytes: 0 };
    let mut end = 0;
    for (index, line) in bytes.split_inclusive(|&b| b == b'\n').enumerate() {
        end += line.len();
        check_schema(path, line)?;
        let is_blank = line.iter().all(u8::is_ascii_whitespace);
        match serde_json::from_slice::<Record>(line) {
            _ if !line.ends_with(b"\n") => break,
            _ if is_blank => {}
            Ok(record) => log.records.push(record),
            Err(_) if end == bytes.len() => break,
            Err(source) => return Err(Error::Record { path: path.into(), line: index + 1, source }),
        }
        log.whole_bytes = end;
    }
    Ok(log)
}

/// Rejects text that a newer relgrad wrote, even where the rest of it is not what this one expects. Text whose version
/// cannot be told passes: parsing it says more.
pub(crate) fn check_schema(path: &Path, text: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    match serde_json::from_slice::<Version>(text) {
        Ok(Version { schema }) if schema > SCHEMA_VERSION => {
            Err(Error::NewerSchema { path: path.into(), found: schema })
        }
        _ => Ok(()),
    }
}
