//! Folders of comparisons with peers: `run.json` with the ceilings, and `samples.jsonl` with a process a line.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use relgrad_vocabulary::{DeviceKind, Dtype, Math, Method};
use serde::Deserialize;

use super::collect::Folder;
use super::{AtlasCell, AtlasSeries};
use crate::record::error::{Error, Result};
use crate::record::roofline::Roofline;
use crate::record::run::Machine;
use crate::record::{Check, Model, contents, log};
use crate::statistics::median;

const SAMPLES: [&str; 2] = ["samples.jsonl", "samples.jsonl.gz"];
/// What every case of a comparison has, and the batch of those that name none.
const LAYERS: usize = 2;
const BATCH: usize = 100;

/// What is used of `run.json`.
#[derive(Deserialize)]
pub(super) struct PeersRun {
    options: PeersOptions,
    roofline: PeersRoofline,
}

#[derive(Deserialize)]
struct PeersOptions {
    device: DeviceKind,
    dtype: Dtype,
    #[serde(default)]
    math: Option<Math>,
}

/// What `relgrad roofline --json` printed.
#[derive(Deserialize)]
struct PeersRoofline {
    machine: Machine,
    roofline: Roofline,
}

/// What is used of a line.
#[derive(Deserialize)]
struct Sampled {
    who: String,
    method: String,
    dim: usize,
    #[serde(default)]
    batch: Option<usize>,
    threads: usize,
    #[serde(default)]
    seconds: Vec<f64>,
    #[serde(default)]
    check: Option<Check>,
    #[serde(default)]
    model: Option<Model>,
}

/// The facts of a comparison; `None` where the text is something else.
pub(super) fn run(text: &[u8]) -> Option<PeersRun> {
    serde_json::from_slice(text).ok()
}

/// Reads relgrad's own times.
pub(super) fn read(dir: &Path, name: String, run: PeersRun) -> Result<Folder> {
    let is_missing = |cause: &Error| matches!(cause, Error::Io(.., source) if source.kind() == ErrorKind::NotFound);
    let [path, packed] = SAMPLES.map(|name| dir.join(name));
    let (path, text) = match contents::unpacked(&path) {
        Err(cause) if is_missing(&cause) => (packed.clone(), contents::unpacked(&packed)?),
        text => (path, text?),
    };
    let PeersRun { options, roofline: PeersRoofline { machine, roofline } } = run;
    let mut folder = Folder { name, machine, rooflines: vec![roofline], cells: BTreeMap::new(), others: 0 };
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let sampled: Sampled =
            log::parse_json(line).map_err(|reason| Error::Invalid(path.clone(), at + 1, reason, "restore the file"))?;
        if let Some((cell, model, seconds)) = used(&sampled, &options) {
            folder.add(cell, model, seconds);
        }
    }
    Ok(folder)
}

/// The cell of a line with the median of its process; `None` for a peer, a wrong gradient and a process without
/// samples.
fn used(sampled: &Sampled, options: &PeersOptions) -> Option<(AtlasCell, Model, f64)> {
    let Sampled { who, method, dim, batch, threads, seconds, check, model } = sampled;
    let is_right = check.as_ref().is_none_or(|check| check.max_rel_err <= check.tolerance);
    let method: Method = method.parse().ok().filter(|_| who == "relgrad" && is_right)?;
    let &PeersOptions { device, dtype, math } = options;
    let (batch, math) = (batch.unwrap_or(BATCH), math.unwrap_or(Math::of(dtype)));
    let series = AtlasSeries { method, device, math, threads: *threads, batch, layers: LAYERS };
    let cell = AtlasCell { series, dim: *dim };
    let seconds = median(seconds).filter(|seconds| seconds.is_finite() && *seconds > 0.0)?;
    Some((cell, (*model)?, seconds))
}
