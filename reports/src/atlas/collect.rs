//! From folders to cells with their y = ln(t / t₀).

use std::collections::BTreeMap;
use std::path::Path;

use super::AtlasCell;
use super::cell::{machine_name, model_seconds};
use super::peers;
use super::trial::ANCHOR_ROUNDS;
use crate::record::error::Result;
use crate::record::roofline::Roofline;
use crate::record::run::Machine;
use crate::record::study::Study;
use crate::record::{Model, contents, log};
use crate::statistics::median;
use crate::units::counted;

/// Variance between processes where no cell had two.
const BUILT_IN_PROCESS: f64 = 1e-4;

/// What a folder says.
#[derive(Debug, Clone)]
pub struct Folder {
    /// The folder, as it was named.
    pub name: String,
    pub(super) machine: Machine,
    pub(super) rooflines: Vec<Roofline>,
    /// Cells with their model and, process by process, the logarithm of the median seconds.
    pub(super) cells: BTreeMap<AtlasCell, (Model, Vec<f64>)>,
    /// Records of cells that the atlas leaves out.
    pub(super) others: usize,
}

/// One cell of one machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Datum {
    /// Place of the machine in [`Data::machines`].
    pub machine: usize,
    /// The cell.
    pub cell: AtlasCell,
    /// y, the mean over its processes.
    pub log_ratio: f64,
    /// Processes behind it.
    pub processes: usize,
    /// y of its first [`ANCHOR_ROUNDS`] processes, and their number: what an anchor would be.
    pub(super) early: (f64, usize),
    /// t₀.
    pub(super) model_seconds: f64,
}

/// What several folders say.
#[derive(Debug, Clone, Default)]
pub struct Data {
    /// Machines, in the order of their first folder, by [`machine_name`].
    pub machines: Vec<String>,
    /// Cells. One that stands in two folders is there twice.
    pub data: Vec<Datum>,
    /// What a reader must know of the folders, a sentence each.
    pub told: Vec<String>,
    /// Machine by machine, the sum of squares between the processes of a cell, and its degrees of freedom.
    pub(super) scatter: Vec<(f64, usize)>,
}

impl Folder {
    /// Reads the folder of a sweep, or of a comparison with peers, of which relgrad's own times count.
    ///
    /// # Errors
    /// When it is neither, cannot be read or says what cannot be.
    pub fn read(dir: &Path) -> Result<Self> {
        let name = dir.display().to_string();
        let path = dir.join(log::RUN);
        match peers::run(&contents::of(&path)?) {
            Some(run) => peers::read(dir, name, run),
            None => Ok(Self::of(name, &Study::read(dir)?)),
        }
    }

    /// A study: its valid records but for those of a disturbed machine, as in a report.
    pub fn of(name: String, study: &Study) -> Self {
        let left_out = study.left_out();
        let (machine, rooflines) = (study.run.machine.clone(), study.run.rooflines.clone());
        let mut folder = Self { name, machine, rooflines, cells: BTreeMap::new(), others: 0 };
        for record in study.records.iter().filter(|record| record.is_valid() && !left_out.contains(&record.cell)) {
            match (AtlasCell::of(&record.cell), median(&record.seconds)) {
                (Some(cell), Some(seconds)) => folder.add(cell, record.model, seconds),
                _ => folder.others += 1,
            }
        }
        folder
    }

    /// Adds the median of a process.
    pub(super) fn add(&mut self, cell: AtlasCell, model: Model, seconds: f64) {
        self.cells.entry(cell).or_insert((model, Vec::new())).1.push(seconds.ln());
    }

    /// Cells with the geometric mean of their processes, in seconds, and the number of these.
    pub fn measured(&self) -> impl Iterator<Item = (AtlasCell, f64, usize)> {
        self.cells.iter().map(|(cell, (_, logs))| (*cell, mean(logs).exp(), logs.len()))
    }
}

impl Data {
    /// Puts folders together. The ceilings of a machine are the best of all its folders, since whatever disturbs a
    /// machine only lowers them.
    pub fn of(folders: &[Folder]) -> Self {
        let mut rooflines: BTreeMap<String, Vec<Roofline>> = BTreeMap::new();
        for folder in folders {
            for roofline in &folder.rooflines {
                let name = machine_name(&folder.machine, roofline.device);
                rooflines.entry(name).or_default().push(roofline.clone());
            }
        }
        let mut data = Self::default();
        folders.iter().for_each(|folder| data.add(folder, &rooflines));
        data
    }

    fn add(&mut self, folder: &Folder, rooflines: &BTreeMap<String, Vec<Roofline>>) {
        let mut without_ceiling = 0;
        for (cell, (model, logs)) in &folder.cells {
            let name = machine_name(&folder.machine, cell.series.device);
            let seconds = rooflines.get(&name).and_then(|known| model_seconds(known, cell, model));
            let Some(model_seconds) = seconds.filter(|_| !logs.is_empty()) else {
                without_ceiling += 1;
                continue;
            };
            let log_ratio = mean(logs) - model_seconds.ln();
            let squares: f64 = logs.iter().map(|y| (y - mean(logs)).powi(2)).sum();
            let (machine, processes) = (self.place_of(name), logs.len());
            let first = &logs[..processes.min(ANCHOR_ROUNDS)];
            let early = (mean(first) - model_seconds.ln(), first.len());
            let scatter = &mut self.scatter[machine];
            *scatter = (scatter.0 + squares, scatter.1 + processes - 1);
            self.data.push(Datum { machine, cell: *cell, log_ratio, processes, early, model_seconds });
        }
        let Folder { name, others, .. } = folder;
        if without_ceiling > 0 {
            self.told.push(format!(
                "{name}: {} left out: no folder has the ceilings of that machine at their arithmetic and number of \
                 threads",
                counted(without_ceiling, "cell")
            ));
        }
        if *others > 0 {
            let others = counted(*others, "record");
            self.told.push(format!(
                "{name}: {others} of convolutions, whole updates, ranks, tuned methods or calibration kernels left out"
            ));
        }
    }

    fn place_of(&mut self, name: String) -> usize {
        let known = self.machines.iter().position(|machine| *machine == name);
        known.unwrap_or_else(|| {
            self.machines.push(name);
            self.scatter.push((0.0, 0));
            self.machines.len() - 1
        })
    }

    /// Variance of y between the processes of a cell, pooled over all cells but those of one machine.
    pub(super) fn process_variance(&self, without: Option<usize>) -> f64 {
        let of_others = self.scatter.iter().enumerate().filter(|(machine, _)| Some(*machine) != without);
        let add = |(a, b): (f64, usize), (_, (squares, degrees)): (usize, &(f64, usize))| (a + squares, b + degrees);
        let (squares, degrees) = of_others.fold((0.0, 0), add);
        if degrees == 0 { BUILT_IN_PROCESS } else { (squares / degrees as f64).clamp(1e-8, 1.0) }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
