//! One run with its records.

use crate::record::Record;
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
