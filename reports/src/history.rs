//! What many runs say over time: an append-only store, one line a run, and the points where a series changed.

mod changes;
mod series;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use changes::{ChangePoint, change_points};
pub use series::{Metric, Series, series};

use crate::error::{Error, Result};
use crate::log;
use crate::method::{GEMM, is_calibration};
use crate::record::SCHEMA_VERSION;
use crate::regress::over_kernel;
use crate::run::Convolution;
use crate::study::Study;
use crate::summary::{Estimate, Summary};
use crate::writer::open_locked;

/// One run: a line of the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// Start of the run, RFC 3339 in UTC; entries are ordered by it.
    pub started: String,
    /// Git revision of what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_revision: Option<String>,
    /// Fingerprint of the machine.
    pub machine: String,
    /// What was measured.
    pub cells: Vec<EntryCell>,
}

/// One cell of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryCell {
    /// The method.
    pub method: String,
    /// The device.
    pub device: String,
    /// Data dimension D.
    pub dim: usize,
    /// Batch size N.
    pub batch: usize,
    /// Number of layers L.
    pub layers: usize,
    /// What the layers convolve, in words; absent for dense layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convolution: Option<String>,
    /// Number type; on a GPU the arithmetic of products (`tf32`).
    pub dtype: String,
    /// Median seconds of one gradient.
    pub seconds: Estimate,
    /// Time over that of the matrix product of the same shape, where it was measured in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_gemm: Option<f64>,
    /// Time of `ordinary` over this one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speedup_over_ordinary: Option<f64>,
    /// Time of `autodiff` over this one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speedup_over_autodiff: Option<f64>,
    /// Peak memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
}

impl Entry {
    /// What the store keeps of a run.
    pub fn of(study: &Study) -> Self {
        let settings = &study.run.settings;
        let summary = Summary::of(study);
        let mut cells = Vec::new();
        for series in summary.series.iter().filter(|s| !is_calibration(&s.method)) {
            cells.extend(series.points.iter().map(|point| EntryCell {
                method: series.method.clone(),
                device: series.device.clone(),
                dim: point.dim,
                batch: series.batch,
                layers: series.layers,
                convolution: settings.convolution.as_ref().map(Convolution::describe_layers),
                dtype: settings.arithmetic(&series.device).to_string(),
                seconds: point.seconds,
                over_gemm: over_kernel(study, series, point.dim, GEMM),
                speedup_over_ordinary: point.speedup_over_ordinary.map(|e| e.value),
                speedup_over_autodiff: point.speedup_over_autodiff.map(|e| e.value),
                peak_bytes: point.peak_bytes,
            }));
        }
        Self {
            schema: SCHEMA_VERSION,
            started: study.run.started.clone(),
            git_revision: study.run.git_revision.clone(),
            machine: study.run.machine.fingerprint(),
            cells,
        }
    }

    /// Whether two lines are about the same run.
    fn is_same_run(&self, other: &Self) -> bool {
        (&self.started, &self.git_revision, &self.machine)
            == (&other.started, &other.git_revision, &other.machine)
    }
}

/// Appends a run to the store, which is made if there is none. `false` when the run is there already.
///
/// # Errors
/// When the store cannot be read or written, holds a line that is no run, or is being written by another process.
pub fn add(path: &Path, entry: &Entry) -> Result<bool> {
    let mut file = open_locked(path)?;
    let text = contents(&mut file, path)?;
    if parse(path, &text)?.iter().any(|there| there.is_same_run(entry)) {
        return Ok(false);
    }
    let unreadable = |source| Error::Unreadable { path: path.into(), source };
    let mut line = serde_json::to_string(entry).map_err(unreadable)?;
    serde_json::from_str::<Entry>(&line).map_err(unreadable)?;
    line.push('\n');
    if !text.is_empty() && !text.ends_with(b"\n") {
        line.insert(0, '\n');
    }
    let length = text.len() as u64;
    if let Err(source) = file.write_all(line.as_bytes()).and_then(|()| file.sync_data()) {
        // Best effort: a part of a line would be in the way of every reader.
        let _ = file.set_len(length);
        return Err(Error::Io { action: "append to", path: path.into(), source });
    }
    Ok(true)
}

/// The runs of a store, oldest first, each once: merging two branches of a store may repeat lines and change their order.
///
/// # Errors
/// When the store cannot be read, holds a line that is no run, or was written by a newer relgrad.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let text = contents(&mut file, path)?;
    let mut entries: Vec<Entry> = Vec::new();
    for entry in parse(path, &text)? {
        if !entries.iter().any(|there| there.is_same_run(&entry)) {
            entries.push(entry);
        }
    }
    entries.sort_by(|a, b| a.started.cmp(&b.started));
    Ok(entries)
}

fn contents(file: &mut File, path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut text))
        .map_err(Error::io("read", path))?;
    Ok(text)
}

fn parse(path: &Path, text: &[u8]) -> Result<Vec<Entry>> {
    let lines = text.split(|&b| b == b'\n').enumerate();
    let mut entries = Vec::new();
    for (index, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        log::check_schema(path, line)?;
        let parsed = serde_json::from_slice(line);
        entries.push(parsed.map_err(|source| Error::Record {
            path: path.into(),
            line: index + 1,
            source,
        })?);
    }
    Ok(entries)
}
