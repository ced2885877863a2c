//! The file of an atlas: JSON, written whole or not at all, read strictly.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::{ATLAS_SCHEMA, Atlas, AtlasLine, MOST_CELLS, Variances};
use crate::record::error::{Error, Result};
use crate::record::writer::{to_readable_json, write_atomically};
use crate::record::{contents, log, validity};

/// Most machines.
const MOST_MACHINES: usize = 1000;
/// Largest |y|: e³⁰ is 10¹³.
const MOST_LOG_RATIO: f64 = 30.0;

impl Atlas {
    /// Reads the file of an atlas.
    ///
    /// # Errors
    /// When it cannot be read, is no atlas, says what cannot be, or when a newer relgrad wrote it.
    pub fn read(path: &Path) -> Result<Self> {
        parse(path, &contents::of(path)?)
    }

    /// Writes the file: whole, or not at all.
    ///
    /// # Errors
    /// When it could not be read back, or when writing fails; a file that was there stays as it was.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = to_readable_json(path, self, check, serde_json::to_string)?;
        // A line of the file for each line of the atlas.
        let text = text.replace("{\"machine\":", "\n{\"machine\":");
        write_atomically(path, format!("{text}\n").as_bytes())
    }
}

/// Parses and checks the text of a file.
pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Atlas> {
    #[derive(Deserialize)]
    struct Schema {
        schema: u32,
    }
    let invalid = |reason| Error::Atlas(path.into(), reason);
    if let Ok(Schema { schema }) = serde_json::from_slice(text)
        && schema > ATLAS_SCHEMA
    {
        return Err(invalid(format!("it has schema version {schema}, this relgrad reads up to {ATLAS_SCHEMA}")));
    }
    let atlas = log::parse_json::<Atlas>(text).map_err(invalid)?;
    check(&atlas).map_err(invalid)?;
    Ok(atlas)
}

type Checked = std::result::Result<(), String>;

fn check(atlas: &Atlas) -> Checked {
    let Atlas { schema, machines, variances, lines, .. } = atlas;
    let names: BTreeSet<&String> = machines.iter().collect();
    if *schema != ATLAS_SCHEMA || machines.is_empty() || machines.len() > MOST_MACHINES {
        return Err(format!("schema {schema} with {} machines", machines.len()));
    }
    if names.len() < machines.len() || machines.iter().any(|name| name.len() > 400) {
        return Err("a machine is named twice, or at too great a length".to_string());
    }
    check_variances(variances)?;
    let cells = lines.iter().fold(0_usize, |sum, line| sum.saturating_add(line.points.len()));
    if cells == 0 || cells > MOST_CELLS {
        return Err(format!("it has {cells} cells; it must have 1 to {MOST_CELLS}"));
    }
    lines.iter().try_for_each(|line| check_line(line, machines.len()))
}

fn check_variances(variances: &Variances) -> Checked {
    let Variances { length, shape, method_shape, machine, machine_shape, .. } = *variances;
    let Variances { machine_method, machine_method_shape, cell, process, .. } = *variances;
    let all = [shape, method_shape, machine, machine_shape, machine_method, machine_method_shape, cell, process];
    validity::number("length", length, &(0.01..=1000.0))?;
    all.iter().try_for_each(|variance| validity::number("a variance", *variance, &(1e-9..=1000.0)))
}

fn check_line(line: &AtlasLine, machines: usize) -> Checked {
    if line.machine >= machines {
        return Err(format!("machine {} of {machines}", line.machine));
    }
    if !line.series.math.is_known_to(line.series.device) {
        return Err(format!("{} does not know the arithmetic {}", line.series.device, line.series.math));
    }
    validity::count("batch", line.series.batch, &validity::BATCH)?;
    validity::count("layers", line.series.layers, &validity::LAYERS)?;
    validity::count("threads", line.series.threads, &validity::THREADS)?;
    for (dim, log_ratio, processes) in &line.points {
        validity::count("D", *dim, &validity::DIM)?;
        validity::number("a logarithm", *log_ratio, &(-MOST_LOG_RATIO..=MOST_LOG_RATIO))?;
        validity::count("processes", *processes, &(1..=1_000_000))?;
    }
    Ok(())
}
