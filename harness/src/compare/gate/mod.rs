//! The gate: measures contenders in turn, compares, looks again where something is suspicious, and decides.
//!
//! What a change is worth is decided in `relgrad_reports::compare`; here are the processes and the order of rounds.

pub(crate) mod bench;
pub(crate) mod build;

use std::path::{Path, PathBuf};

use relgrad_reports::baseline;
use relgrad_reports::compare::trials::Plan;
use relgrad_reports::compare::{Comparison, Rules, Sides};
use relgrad_reports::record::{Cell, Outcome as Ended, Point};
use relgrad_reports::run::Run;
use relgrad_reports::study::Study;
use relgrad_reports::units;
use relgrad_vocabulary::Kernel;

use self::bench::{Contender, Timing};
use crate::error::{Error, Result};
use crate::machine;
use crate::measure::plan::{Planned, order};
use crate::measure::workload::DeviceKind;

/// The cells to measure, all rounds of them alike.
pub(crate) struct Cells {
    /// By point: the cells of round 0 there, methods first, then calibration kernels.
    points: Vec<Vec<Cell>>,
    seed: u64,
}

impl Cells {
    /// Groups cells by point, with the calibration kernels beside them where `calibrated`.
    pub(crate) fn new(cells: impl IntoIterator<Item = Cell>, calibrated: bool) -> Self {
        let mut points: Vec<Vec<Cell>> = Vec::new();
        let mut seed = 0;
        for cell in cells.into_iter().map(|cell| Cell { round: 0, ..cell }) {
            seed = cell.point.seed;
            match points.iter_mut().find(|cells| cells[0].point == cell.point) {
                Some(cells) if cells.contains(&cell) => {}
                Some(cells) => cells.push(cell),
                None => points.push(vec![cell]),
            }
        }
        points.sort_by_key(|cells| cells[0].point);
        for cells in points.iter_mut().filter(|_| calibrated) {
            let kernels = Kernel::ALL.map(|kernel| Cell { method: kernel.into(), ..cells[0] });
            cells.extend(kernels);
        }
        Self { points, seed }
    }

    /// The cells of a study that were measured on the CPU, which is where the gate measures.
    pub(crate) fn measured_in(study: &Study, calibrated: bool) -> Self {
        let measured = study.records.iter().filter(|r| r.outcome == Ended::Measured).map(|r| r.cell);
        let on_cpu = |cell: &Cell| cell.point.device == DeviceKind::Cpu && !cell.method.is_kernel();
        let mut cells: Vec<Cell> = measured.filter(on_cpu).collect();
        let rank = |cell: &Cell| study.run.settings.methods.iter().position(|m| cell.method == *m);
        cells.sort_by_key(|cell| (cell.point.dim, rank(cell)));
        Self::new(cells, calibrated)
    }

    /// Fails when all processes of a point would not fit into memory together; names the point.
    pub(crate) fn require_memory(&self, contenders: usize) -> Result<()> {
        let available = machine::available_bytes() as f64;
        for cells in &self.points {
            let of_gradients = cells.iter().filter(|cell| !cell.method.is_kernel());
            let bytes = of_gradients.map(|cell| Ok(contenders as f64 * Planned::of(*cell)?.expected_bytes));
            let bytes = bytes.sum::<relgrad_kernels::Result<f64>>().map_err(|cause| Error::Usage(cause.to_string()))?;
            if bytes > 0.8 * available {
                let (dim, needed, available) =
                    (units::grouped(cells[0].point.dim), units::bytes(bytes), units::bytes(available));
                return Err(Error::Usage(format!(
                    "D = {dim} requires {needed} for all its processes; {available} are available: choose smaller \
                     --dims or fewer --methods"
                )));
            }
        }
        Ok(())
    }
}

/// One study per contender, filled round by round.
pub(crate) struct Session<'a> {
    pub(crate) cells: &'a Cells,
    pub(crate) contenders: &'a [Contender],
    pub(crate) timing: Timing,
    pub(crate) studies: Vec<Study>,
    /// Where the records of the last contender go after every round.
    pub(crate) save: Option<&'a Path>,
    pub(crate) quiet: bool,
}

impl<'a> Session<'a> {
    pub(crate) fn new(cells: &'a Cells, contenders: &'a [Contender], timing: Timing, run: &Run) -> Self {
        let study = || Study { run: run.clone(), records: Vec::new(), replaced: Vec::new(), warnings: Vec::new() };
        let studies = contenders.iter().map(|_| study()).collect();
        Self { cells, contenders, timing, studies, save: None, quiet: false }
    }

    /// Measures rounds `from..to` at the points that `wanted` picks.
    pub(crate) fn measure(&mut self, from: usize, to: usize, wanted: impl Fn(&Cell) -> bool) -> Result<()> {
        for round in from..to {
            let mut points: Vec<&Vec<Cell>> =
                self.cells.points.iter().filter(|cells| cells.iter().any(&wanted)).collect();
            order::shuffle(&mut points, self.cells.seed, round);
            for cells in points {
                if !self.quiet {
                    note!("round {} of {to}, D = {}", round + 1, units::grouped(cells[0].point.dim));
                }
                let cells: Vec<Cell> = cells.iter().map(|cell| Cell { round, ..*cell }).collect();
                for (contender, record) in bench::round(&cells, self.contenders, self.timing)? {
                    self.studies[contender].records.push(record);
                }
            }
            // Beside the file, which keeps what it had until all rounds are there.
            self.save.map_or(Ok(()), |path| self.write(&rounds_of(path)))?;
        }
        Ok(())
    }

    /// Writes all rounds of the last contender to its file, unless nothing was measured.
    pub(crate) fn keep(&self) -> Result<()> {
        let Some(path) = self.save else { return Ok(()) };
        if self.studies.last().is_some_and(|s| s.records.iter().any(|r| r.outcome == Ended::Measured)) {
            self.write(path)?;
        }
        // Best effort: the same rounds are in the file now, or there are none.
        let _ = std::fs::remove_file(rounds_of(path));
        Ok(())
    }

    fn write(&self, path: &Path) -> Result<()> {
        let Some(study) = self.studies.last() else { return Ok(()) };
        baseline::write(path, study).map_err(|cause| Error::Output(cause.to_string()))
    }
}

/// Where the rounds of a file are until all are there: they are kept when a gate is stopped.
fn rounds_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".rounds");
    path.with_file_name(name)
}

/// Measures and compares until everything is decided or the rounds are used up; one comparison a new side.
///
/// The base is `baseline`, and every contender a new side. Without a baseline the first contender is the base.
pub(crate) fn decide(
    session: &mut Session<'_>,
    baseline: Option<&Study>,
    Decision { rules, plan, absolute }: &Decision,
) -> Result<Vec<Comparison>> {
    let mut used = plan.first;
    session.measure(0, used, |_| true)?;
    loop {
        let (base, new) = match baseline {
            Some(baseline) => (baseline, &session.studies[..]),
            None => (&session.studies[0], &session.studies[1..]),
        };
        let compare = |new| {
            let sides = Sides { base, new, paired: baseline.is_none(), absolute: *absolute, first_round: 0 };
            Comparison::confirmed(&sides, rules, plan.first)
        };
        let comparisons: Vec<Comparison> = new.iter().map(compare).collect();
        let open: Vec<Point> = comparisons.iter().flat_map(Comparison::open_points).collect();
        let Some(next) = plan.next(used).filter(|_| !open.is_empty()) else { return Ok(comparisons) };
        if !session.quiet {
            let mut dims: Vec<usize> = open.iter().map(|point| point.dim).collect();
            dims.sort_unstable();
            dims.dedup();
            let dims: Vec<String> = dims.into_iter().map(units::grouped).collect();
            note!("undecided, measured again: D = {}", dims.join(", "));
        }
        session.measure(used, next, |cell| open.iter().any(|point| at(point, cell)))?;
        used = next;
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Decision {
    pub(crate) rules: Rules,
    pub(crate) plan: Plan,
    pub(crate) absolute: bool,
}

/// Whether a cell lies at a point of a comparison, which knows no seed, and threads only where there are several.
fn at(point: &Point, cell: &Cell) -> bool {
    let threads = if point.threads == 0 { 0 } else { cell.point.threads };
    *point == Point { threads, seed: point.seed, ..cell.point }
}
