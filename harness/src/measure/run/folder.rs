//! The folder of a sweep: made once, never overwritten by accident, picked up again by `--resume`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use relgrad_reports::error::Error as Cause;
use relgrad_reports::record::SCHEMA_VERSION;
use relgrad_reports::run::{Run, Settings};
use relgrad_reports::study::{Invalid, Study};
use relgrad_reports::writer::{RecordWriter, open_locked, write_run};

use super::identity;
use crate::error::{Error, Result};
use crate::machine::time::{rfc3339, unix_seconds};
use crate::{console, machine, outputs};

const RUN: &str = "run.json";
const RECORDS: &str = "records.jsonl";
/// What a kill in the middle of writing `run.json` leaves.
const PARTIAL_RUN: &str = "run.json.partial";

/// Makes the folder of a new sweep, holds it for this process, and writes its `run.json`, before any cell runs.
pub(crate) fn create(dir: &Path, settings: Settings) -> Result<(Run, RecordWriter)> {
    fs::create_dir_all(dir).map_err(|cause| Error::output(dir, cause))?;
    // Looked at twice: a folder that is somebody's must not get our lock, and one that was free may not be any more.
    require_free(dir)?;
    let writer = open(dir)?;
    require_free(dir)?;
    let leftover = dir.join(PARTIAL_RUN);
    if leftover.exists() {
        fs::remove_file(&leftover).map_err(|cause| Error::output(&leftover, cause))?;
    }
    outputs::require_empty(dir, RECORDS)?;
    let run = describe(settings);
    write(dir, &run)?;
    Ok((run, writer))
}

/// Fails unless the folder is empty, or has only what a sweep leaves that was killed before its first record.
fn require_free(dir: &Path) -> Result<()> {
    let size = |name: &str| fs::symlink_metadata(dir.join(name)).map_or(0, |file| file.len());
    if dir.join(RUN).exists() || size(RECORDS) > 0 {
        let dir = dir.display();
        return Err(Error::Usage(format!(
            "{dir} already has a sweep; continue it with --resume {dir}, or choose another --out"
        )));
    }
    let entries = fs::read_dir(dir).map_err(|cause| Error::output(dir, cause))?;
    let mut names = entries.map_while(|entry| Some(entry.ok()?.file_name()));
    match names.find(|name| *name != *RECORDS && *name != *PARTIAL_RUN) {
        // It says which.
        Some(_) => outputs::require_empty(dir, RECORDS),
        None => Ok(()),
    }
}

/// Holds the folder of a sweep for this process and reads it. What had to be repaired is told.
pub(crate) fn resume(dir: &Path) -> Result<(Study, RecordWriter)> {
    require_run(dir)?;
    let writer = open(dir)?;
    if let Some(told) = writer.told() {
        note!("relgrad: {told}");
    }
    Ok((read(dir)?, writer))
}

/// Waits until no other process writes the sweep in `dir`: a task that its engine has lost sight of may still run.
pub(crate) fn wait_until_free(dir: &Path) {
    let is_busy = || matches!(open_locked(&dir.join(RECORDS)), Err(Cause::Busy(_)));
    while is_busy() {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn open(dir: &Path) -> Result<RecordWriter> {
    RecordWriter::open(dir).map_err(|cause| match cause {
        Cause::Io { .. } => Error::Output(cause.to_string()),
        _ => Error::Input(cause.to_string()),
    })
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
        program: identity::fingerprint(),
        changes: Vec::new(),
    }
}

/// Gives a folder the first free name of `NAME-other-1`, `NAME-other-2` and so on beside it.
pub(crate) fn set_aside(dir: &Path) -> Result<PathBuf> {
    let mut serial = 1_u32;
    loop {
        let mut name = dir.file_name().unwrap_or_default().to_os_string();
        name.push(format!("-other-{serial}"));
        let aside = dir.with_file_name(name);
        if !aside.exists() {
            return fs::rename(dir, &aside).map(|()| aside).map_err(|cause| Error::output(dir, cause));
        }
        serial += 1;
    }
}

pub(crate) fn write(dir: &Path, run: &Run) -> Result<()> {
    write_run(dir, run).map_err(|cause| Error::Output(cause.to_string()))
}

pub(crate) fn read(dir: &Path) -> Result<Study> {
    read_with(dir, Invalid::Refuse)
}

/// The same; lines that are no valid records are refused or left out.
pub(crate) fn read_with(dir: &Path, invalid: Invalid) -> Result<Study> {
    require_run(dir)?;
    Study::read_with(dir, invalid).map_err(|cause| Error::Input(cause.to_string()))
}

fn require_run(dir: &Path) -> Result<()> {
    if dir.is_dir() && !dir.join(RUN).exists() {
        let dir = dir.display();
        return Err(Error::Input(format!("{dir} is not the folder of a sweep: it has no {RUN}")));
    }
    Ok(())
}
