//! What many runs say over time: an append-only store, one line a run, and the points where a series changed.

mod changes;
mod series;

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use relgrad_vocabulary::{Activation, DeviceKind, Kernel, Math, Subject, visible};
use serde::{Deserialize, Serialize};

pub use changes::{ChangePoint, change_points};
pub use series::{Metric, Series, series};

use crate::compare::OverKernels;
use crate::record::SCHEMA_VERSION;
use crate::record::contents;
use crate::record::error::{Error, Result};
use crate::record::log;
use crate::record::run;
use crate::record::study::Study;
use crate::record::validity;
use crate::record::writer::{open_locked, to_readable_json};
use crate::record::{is_one_rank, one_rank};
use crate::statistics::summary::{Estimate, Summary};

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
    pub method: Subject,
    /// The device.
    pub device: DeviceKind,
    /// Data dimension D.
    pub dim: usize,
    /// Batch size N.
    pub batch: usize,
    /// Number of layers L.
    pub layers: usize,
    /// What the layers convolve, in words; absent for dense layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convolution: Option<String>,
    /// Arithmetic of products: the number type, `tf32` or `bf16`.
    pub dtype: Math,
    /// Threads; absent in lines of before it was kept, as the two below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Ranks over which the weights are split; absent for 1.
    #[serde(default = "one_rank", skip_serializing_if = "is_one_rank")]
    pub ranks: usize,
    /// Whether the layers have biases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<bool>,
    /// Nonlinearity, as the command line spells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
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
        let kernels = OverKernels::of(study);
        let mut cells = Vec::new();
        for series in summary.series.iter().filter(|s| !s.method.is_kernel()) {
            cells.extend(series.points.iter().map(|point| EntryCell {
                method: series.method,
                device: series.device,
                dim: point.dim,
                batch: series.batch,
                layers: series.layers,
                convolution: settings.convolution.as_ref().map(|c| c.describe_layers_at(point.dim)),
                dtype: settings.arithmetic(series.device),
                threads: Some(series.threads),
                ranks: series.ranks,
                bias: Some(settings.bias),
                activation: Some(settings.activation),
                seconds: point.seconds,
                over_gemm: kernels.as_ref().and_then(|k| k.ratio(series, point.dim, Kernel::Gemm)),
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
}

impl Entry {
    /// The run in a few letters: its revision, or its start where there is none.
    pub fn name(&self) -> String {
        match &self.git_revision {
            Some(revision) => {
                let dirty = if revision.ends_with("-dirty") { "+" } else { "" };
                format!("{}{dirty}", visible(&revision.chars().take(9).collect::<String>()))
            }
            None => self.started.clone(),
        }
    }
}

impl EntryCell {
    /// The cell in words, with every setting that changes its time. Stores of before some settings were kept lack them.
    pub(crate) fn name(&self) -> String {
        let of = (self.method, self.device, self.dtype);
        let name = run::name(of, (self.threads, self.ranks, self.bias), self.activation, self.convolution.as_deref());
        run::at(&name, self.batch, self.layers, self.dim)
    }
}

/// Appends a run to the store, which is made if there is none. `false` when the same line is there already.
///
/// # Errors
/// When the store cannot be read or written, holds a line that is no run, or is being written by another process.
pub fn add(path: &Path, entry: &Entry) -> Result<bool> {
    let mut file = open_locked(path)?;
    let text = contents::of_file(&mut file, path)?;
    let mut line = to_readable_json(path, entry, validity::entry, serde_json::to_string)?;
    let (entries, whole) = parse(path, &text)?;
    if entries.contains(entry) {
        return Ok(false);
    }
    line.push('\n');
    let length = whole as u64;
    // What a kill cut off.
    file.set_len(length).map_err(Error::io("repair", path))?;
    if !text[..whole].is_empty() && !text[..whole].ends_with(b"\n") {
        line.insert(0, '\n');
    }
    if let Err(source) = file.write_all(line.as_bytes()).and_then(|()| file.sync_data()) {
        // Best effort: a part of a line would be in the way of every reader.
        let _ = file.set_len(length);
        return Err(Error::io("append to", path)(source));
    }
    Ok(true)
}

/// The runs of a store, oldest first, each once: merging two branches of a store may repeat lines and change their
/// order. Two runs are the same when all that was measured is: two may begin in one second.
///
/// # Errors
/// When the store cannot be read, holds a line that is no run, or was written by a newer relgrad.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let (mut entries, _) = parse(path, &contents::of(path)?)?;
    entries.sort_by(|a, b| a.started.cmp(&b.started));
    Ok(entries)
}

/// The entries of a store in its order, each once, and the bytes up to the end of the last one. A last line without its
/// newline that does not parse was cut off in the middle of a write.
fn parse(path: &Path, text: &[u8]) -> Result<(Vec<Entry>, usize)> {
    let remedy = "remove that line, or restore the store";
    let invalid = |line, reason| Error::Invalid(path.into(), line, reason, remedy);
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen = HashSet::new();
    let mut end = 0;
    for (index, line) in text.split_inclusive(|&b| b == b'\n').enumerate() {
        end += line.len();
        if line.trim_ascii().is_empty() {
            continue;
        }
        log::check_schema(path, line)?;
        let entry: Entry = match log::parse_json(line) {
            Ok(entry) => entry,
            Err(_) if !line.ends_with(b"\n") => return Ok((entries, end - line.len())),
            Err(cause) => return Err(invalid(index + 1, format!("it is not a run ({cause})"))),
        };
        validity::entry(&entry).map_err(|reason| invalid(index + 1, reason))?;
        // The same run may have been written with its fields in another order.
        if seen.insert(serde_json::to_string(&entry).unwrap_or_default()) {
            entries.push(entry);
        }
    }
    Ok((entries, end))
}
