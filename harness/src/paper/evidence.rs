//! The results of a part: read from its folder, or from that of an earlier run.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use relgrad_kernels::{DeviceKind, Method};
use relgrad_reports::experiment::Table;
use relgrad_reports::record::Outcome;
use relgrad_reports::run::Settings;
use relgrad_reports::study::Study;
use relgrad_reports::summary::Summary;
use relgrad_reports::units::grouped;
use serde::Deserialize;
use serde_json::Value;

use super::parts::{Part, Source};
use crate::cmd::distinct;
use crate::error::{Error, Result};
use crate::experiment::Effort;
use crate::measure::run::folder;
use crate::train::sealed;

/// What there is to judge claims by.
pub(crate) enum Evidence {
    Sweep(Box<(Study, Summary)>),
    Experiment(Box<Kept>),
    /// Nothing, for a reason.
    Nothing(String),
}

/// An experiment as it is kept: an archive has no pixels.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Kept {
    schema: u32,
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    pub(crate) started: String,
    pub(crate) seconds: f64,
    pub(crate) machine: relgrad_reports::run::Machine,
    pub(crate) numbers: Value,
    pub(crate) table: Table,
    pub(crate) notes: Vec<String>,
    /// The drawing, from a file of its own.
    #[serde(skip)]
    pub(crate) svg: Option<String>,
}

/// The most bytes of an experiment's files: densities of a hundred rows.
const MOST_BYTES: u64 = 256 << 20;

impl Evidence {
    /// Reads the part's results in `dir`.
    ///
    /// # Errors
    /// When there are none, or they cannot be read.
    pub(crate) fn read(part: &Part, dir: &Path) -> Result<Self> {
        match part.source {
            Source::Sweep { .. } => {
                let study = folder::read(dir)?;
                let summary = Summary::of(&study);
                Ok(Self::Sweep(Box::new((study, summary))))
            }
            Source::Experiment => Kept::read(part.name, dir).map(|kept| Self::Experiment(Box::new(kept))),
        }
    }

    pub(crate) fn sweep(&self) -> Result<&(Study, Summary), String> {
        match self {
            Self::Sweep(sweep) => Ok(sweep),
            Self::Experiment(_) => Err("not a sweep".to_string()),
            Self::Nothing(reason) => Err(reason.clone()),
        }
    }

    pub(crate) fn numbers(&self) -> Result<&Value, String> {
        match self {
            Self::Experiment(kept) => Ok(&kept.numbers),
            Self::Sweep(_) => Err("not an experiment".to_string()),
            Self::Nothing(reason) => Err(reason.clone()),
        }
    }
}

impl Kept {
    fn read(name: &str, dir: &Path) -> Result<Self> {
        let (plain, packed) = (dir.join(format!("{name}.json")), dir.join(format!("{name}.json.gz")));
        let (path, bytes) = if packed.exists() && !plain.exists() {
            let failed = |cause| Error::input(&packed, cause);
            let mut bytes = Vec::new();
            let file = sealed::read(&packed, MOST_BYTES)?;
            GzDecoder::new(file.as_slice()).take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed)?;
            (packed, bytes)
        } else {
            let bytes = sealed::read(&plain, MOST_BYTES)?;
            (plain, bytes)
        };
        let mut kept: Self = serde_json::from_slice(&bytes).map_err(|cause| Error::input(&path, cause))?;
        if kept.name != name || kept.schema != relgrad_reports::experiment::EXPERIMENT_SCHEMA {
            return Err(Error::Input(format!("{} is not of the experiment {name}", path.display())));
        }
        kept.svg = sealed::read(&dir.join(format!("{name}.svg")), MOST_BYTES).ok().and_then(harmless);
        Ok(kept)
    }

    /// The effort that its command names, `relgrad experiment --effort NAME`.
    fn effort(&self) -> Effort {
        let mut words = self.command.iter().skip_while(|word| *word != "--effort").skip(1);
        words.next().and_then(|word| word.parse().ok()).unwrap_or(Effort::Quick)
    }
}

/// A drawing without anything that acts: it comes from a file.
fn harmless(svg: Vec<u8>) -> Option<String> {
    let svg = String::from_utf8(svg).ok()?;
    let lower = svg.to_ascii_lowercase();
    let acts = ["<script", "<foreignobject", "javascript:", "onload", "onclick", "<!entity"];
    (!acts.iter().any(|part| lower.contains(part))).then_some(svg)
}

/// Where an earlier folder has the part, with its results; or why it has not.
pub(crate) fn find(part: &Part, effort: Effort, wanted: Option<&Settings>, from: &Path) -> Result<PathBuf, String> {
    // A page's folder has a folder for each sweep, and those of experiments.
    let below = match part.source {
        Source::Sweep { .. } => vec![PathBuf::new(), part.name.into()],
        Source::Experiment => vec![PathBuf::new(), "experiments".into(), format!("taken/{}", part.name).into()],
    };
    let exists = |dir: &PathBuf| match part.source {
        Source::Sweep { .. } => dir.join("run.json").exists(),
        Source::Experiment => ["json", "json.gz"].iter().any(|e| dir.join(format!("{}.{e}", part.name)).exists()),
    };
    let dir = below.iter().map(|below| from.join(below)).find(exists).ok_or("it is not there")?;
    let difference = match part.source {
        Source::Sweep { .. } => {
            let study = folder::read(&dir).map_err(|cause| cause.to_string())?;
            differences(part, effort, &study, wanted.ok_or("its settings are unknown")?)
        }
        Source::Experiment => {
            let has = Kept::read(part.name, &dir).map_err(|cause| cause.to_string())?.effort();
            let is_enough = has == effort || has == Effort::Full;
            (!is_enough).then(|| format!("it has --effort {}, the part {}", has.name(), effort.name()))
        }
    };
    difference.map_or(Ok(dir), Err)
}

/// Why a sweep is not the part; nothing where it is. Rounds, samples and limits may be others: the page states them.
fn differences(part: &Part, effort: Effort, study: &Study, wanted: &Settings) -> Option<String> {
    let has = &study.run.settings;
    let mut told = Vec::new();
    let mut differ = |what: &str, has: String, wanted: String| {
        if has != wanted {
            told.push(format!("{what} {has} instead of {wanted}"));
        }
    };
    let names = |devices: &[DeviceKind]| devices.iter().map(|device| device.name()).collect::<Vec<_>>().join(",");
    differ("device", names(&has.devices), names(&wanted.devices));
    differ("N =", grouped(has.batch), grouped(wanted.batch));
    differ("L =", grouped(has.layers), grouped(wanted.layers));
    differ("type", has.dtype.to_string(), wanted.dtype.to_string());
    differ("activation", has.activation.to_string(), wanted.activation.to_string());
    differ("bias", has.bias.to_string(), wanted.bias.to_string());
    differ("convolutions", has.convolution.is_some().to_string(), wanted.convolution.is_some().to_string());
    // Between its ends a sweep may have other dimensions.
    let ends = distinct(wanted.dims.first().into_iter().chain(wanted.dims.last()));
    let lacking: Vec<String> =
        ends.into_iter().filter(|dim| !has.dims.contains(dim)).map(|dim| grouped(*dim)).collect();
    if !lacking.is_empty() {
        told.push(format!("no D = {}", lacking.join(", ")));
    }
    let lacking = wanted.methods.iter().filter(|method| !has.methods.contains(method));
    told.extend(lacking.map(|method| format!("no {method}")));
    if told.is_empty() {
        let lacking = part.required_cells(effort).iter().filter(|cell| !is_measured(study, **cell));
        told.extend(lacking.map(|(method, dim)| format!("no measurement of {method} at D = {}", grouped(*dim))));
    }
    (!told.is_empty()).then(|| told.join(", "))
}

fn is_measured(study: &Study, (method, dim): (Method, usize)) -> bool {
    let is_cell = |r: &&relgrad_reports::record::Record| r.cell.method == method && r.cell.point.dim == dim;
    study.records.iter().filter(is_cell).any(|record| record.outcome == Outcome::Measured)
}

/// Copies what the page needs of a part.
pub(crate) fn take(part: &Part, from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(|cause| Error::output(to, cause))?;
    let names = match part.source {
        Source::Sweep { .. } => ["run.json", "records.jsonl", "records.jsonl.gz"].map(str::to_string),
        Source::Experiment => ["json", "json.gz", "svg"].map(|ending| format!("{}.{ending}", part.name)),
    };
    for name in names {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_file() {
            fs::copy(&from, &to).map_err(|cause| Error::output(&to, cause))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_that_acts_is_not_shown() {
        assert!(harmless(b"<svg><path d=\"M0 0\"/></svg>".to_vec()).is_some());
        for svg in ["<svg><SCRIPT>x</SCRIPT></svg>", "<svg onload=\"x\">", "<svg><a href=\"javascript:x\"/></svg>"] {
            assert_eq!(harmless(svg.as_bytes().to_vec()), None, "{svg}");
        }
    }

    #[test]
    fn a_sweep_with_other_settings_is_told_by_them() {
        let part = &super::super::parts::PARTS[0];
        let study = relgrad_reports::fixture::study();
        let same = &study.run.settings;
        assert_eq!(differences(part, Effort::Quick, &study, same), None);
        let wanted = Settings { batch: same.batch + 1, dims: vec![7], methods: Method::ALL.to_vec(), ..same.clone() };
        let told = differences(part, Effort::Quick, &study, &wanted).unwrap();
        for words in ["N = 100 instead of 101", "no D = 7", "no transposed"] {
            assert!(told.contains(words), "{words}: {told}");
        }
        // A full page requires what the paper shows.
        let told = differences(part, Effort::Full, &study, same).unwrap();
        assert!(told.contains("no measurement of ordinary at D = 5,000"), "{told}");
    }
}
