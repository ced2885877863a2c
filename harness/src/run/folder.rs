//! The folder of a sweep: made once, never overwritten by accident, picked up again by `--resume`.

use std::fs;
use std::path::Path;

use relgrad_reports::record::SCHEMA_VERSION;
use relgrad_reports::run::{Run, Settings};
use relgrad_reports::study::{Invalid, Study};
use relgrad_reports::writer::write_run;

use crate::console;
use crate::error::{Error, Result};
use crate::machine;
use crate::machine::time::{rfc3339, unix_seconds};

/// Makes the folder of a new sweep and writes its `run.json`, before any cell runs.
///
/// # Errors
/// When the folder holds a sweep already, or cannot be written.
pub(crate) fn create(dir: &Path, settings: Settings) -> Result<Run> {
    if dir.join("records.jsonl").exists() || dir.join("run.json").exists() {
        let dir = dir.display();
        return Err(Error::Usage(format!(
            "{dir} holds a sweep already; continue it with --resume {dir}, or choose another --out"
        )));
    }
    fs::create_dir_all(dir).map_err(|cause| Error::output(dir, cause))?;
    let run = describe(settings);
    write(dir, &run)?;
    Ok(run)
}

/// This program, on this machine, starting now.
pub(crate) fn describe(settings: Settings) -> Run {
    Run {
        schema: SCHEMA_VERSION,
        command: console::command_line(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        git_revision: option_env!("RELGRAD_GIT_REVISION").map(str::to_string),
        rustc: env!("RELGRAD_RUSTC_VERSION").to_string(),
        started: rfc3339(unix_seconds()),
        ended: None,
        settings,
        machine: machine::facts(),
        rooflines: Vec::new(),
    }
}

/// Writes `run.json`.
///
/// # Errors
/// When it cannot be written; the one that was there stays.
pub(crate) fn write(dir: &Path, run: &Run) -> Result<()> {
    write_run(dir, run).map_err(|cause| Error::Output(cause.to_string()))
}

/// Reads a folder back.
///
/// # Errors
/// When it is not a sweep's folder, is damaged, or was written by a newer relgrad.
pub(crate) fn read(dir: &Path) -> Result<Study> {
    read_with(dir, Invalid::Refuse)
}

/// The same; lines that are no valid records are refused or left out.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_with(dir: &Path, invalid: Invalid) -> Result<Study> {
    if dir.is_dir() && !dir.join("run.json").exists() {
        let dir = dir.display();
        return Err(Error::Input(format!("{dir} is not the folder of a sweep: it has no run.json")));
    }
    Study::read_with(dir, invalid).map_err(|cause| Error::Input(cause.to_string()))
}
