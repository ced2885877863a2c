//! The atlas: one hierarchical model of the times on several machines, and what it says of a further one.
//!
//! The cost model and the ceilings of a machine give a cell the time t₀ = flops / rate + bytes / bandwidth. The atlas
//! models y = ln(t / t₀) of a cell c on a machine m,
//!
//! ```text
//! y = f(c) + g_m(c) + cell + process
//! ```
//!
//! where f is common to all machines with one kind of device and g_m is a machine's own. Both are an intercept and a
//! smooth function of (ln D, ln N, ln L, ln threads, ln bits), once for all methods and once for each. All terms are
//! Gaussian, so a prediction is a conditional expectation, also of a machine of which nothing but its ceilings is known
//! (Rasmussen and Williams, *Gaussian Processes for Machine Learning*, 2006, chapter 2).

mod cell;
mod cholesky;
mod collect;
mod covariance;
mod file;
mod fit;
mod page;
mod peers;
mod predict;
mod trial;

use serde::{Deserialize, Serialize};

pub use cell::{AtlasCell, AtlasSeries, machine_name};
pub use collect::{Data, Datum, Folder};
pub use covariance::Variances;
pub use page::{left_out_table, machines_table, variances_table};
pub use predict::{Anchor, Predictor};
pub use trial::{ANCHOR_ROUNDS, LeftOut, Score, choose_anchors, leave_one_out};

use crate::record::error::Result;

/// Version of the file of an atlas.
pub const ATLAS_SCHEMA: u32 = 1;
/// Most cells of an atlas: a prediction takes a Cholesky factor of their covariances.
pub(crate) const MOST_CELLS: usize = 2000;

/// A fitted model, with the cells that it was fitted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Atlas {
    /// [`ATLAS_SCHEMA`] of the writer.
    pub schema: u32,
    /// Version of relgrad.
    pub version: String,
    /// Machines, by [`machine_name`].
    pub machines: Vec<String>,
    /// The components of the variance of y.
    pub variances: Variances,
    /// The cells.
    pub lines: Vec<AtlasLine>,
}

/// The cells of a series on one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AtlasLine {
    /// Place of the machine in [`Atlas::machines`].
    pub machine: usize,
    /// What they share.
    #[serde(flatten)]
    pub series: AtlasSeries,
    /// D, y and the number of processes behind it, cell by cell.
    pub points: Vec<(usize, f64, usize)>,
}

impl Atlas {
    /// The model of some measurements. More than 2,000 cells are thinned, evenly on every machine.
    ///
    /// # Errors
    /// Without two machines that have one kind of device: nothing tells the variance between machines.
    pub fn fit(data: &Data) -> std::result::Result<Self, String> {
        fit::require_two_machines(&data.data)?;
        let kept = fit::thinned(&data.data, MOST_CELLS);
        let variances = fit::variances(&kept, data.process_variance(None));
        let mut lines: Vec<AtlasLine> = Vec::new();
        for Datum { machine, cell, log_ratio, processes, .. } in kept {
            let point = (cell.dim, log_ratio, processes);
            let is_its = |line: &&mut AtlasLine| line.machine == machine && line.series == cell.series;
            match lines.iter_mut().find(is_its) {
                Some(line) => line.points.push(point),
                None => lines.push(AtlasLine { machine, series: cell.series, points: vec![point] }),
            }
        }
        lines.iter_mut().for_each(|line| line.points.sort_by_key(|(dim, ..)| *dim));
        let version = env!("CARGO_PKG_VERSION").to_string();
        Ok(Self { schema: ATLAS_SCHEMA, version, machines: data.machines.clone(), variances, lines })
    }

    /// The atlas that this program carries, of the machines of the archive.
    ///
    /// # Errors
    /// Never, but for a file that the build got wrong.
    pub fn built_in() -> Result<Self> {
        file::parse("the built-in atlas".as_ref(), include_bytes!("../../archive/atlas.json"))
    }

    /// Cells with their y and their processes.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (usize, AtlasCell, f64, usize)> {
        let of_line = |line: &'_ AtlasLine| {
            let (machine, series) = (line.machine, line.series);
            let points = line.points.clone().into_iter();
            points.map(move |(dim, log_ratio, processes)| (machine, AtlasCell { series, dim }, log_ratio, processes))
        };
        self.lines.iter().flat_map(of_line)
    }
}

#[cfg(test)]
mod tests;
