//! Independent components: linear mixtures, nonlinear ones with segments, and an EEG recording.

mod course;
mod eeg;
mod linear;
mod recovery;
mod segments;

use relgrad_kernels::Method;
use relgrad_reports::experiment::{Figure, LinePanel, ScalpMaps};
use relgrad_reports::units;
use serde_json::{Value, json};

use super::{Context, Findings, table};
use crate::error::Result;
use course::{Sight, Solver};

/// The gradients that are compared.
const METHODS: [Method; 2] = [Method::Relative, Method::Ordinary];

/// What one part found.
#[derive(Default)]
struct Section {
    numbers: Value,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
    panels: Vec<LinePanel>,
    maps: Option<ScalpMaps>,
}

pub(crate) fn run(context: &mut Context<'_>) -> Result<Findings> {
    let sections = [linear::run(context)?, segments::run(context)?, eeg::run(context)?];
    let columns = ["problem", "D", "gradient", "step size", "found", "steps to it", "seconds to it"];
    let numbers = json!({ "linear": sections[0].numbers, "segments": sections[1].numbers, "eeg": sections[2].numbers });
    let (mut rows, mut notes, mut panels, mut maps) = (Vec::new(), Vec::new(), Vec::new(), None);
    for section in sections {
        rows.extend(section.rows);
        notes.extend(section.notes);
        panels.extend(section.panels);
        maps = section.maps.or(maps);
    }
    notes.push(
        "Each gradient has the step size of a grid with the highest validation likelihood at the end of the first \
         mixture; ± is two standard errors over the mixtures. Seconds are those of the steps, on one thread."
            .to_string(),
    );
    let parts = [Figure::Lines { panels }].into_iter().chain(maps.map(Figure::Maps)).collect();
    Ok(Findings { numbers, table: table(columns, rows), notes, figure: Figure::Stack { parts } })
}

/// A line of the table: what was found of the sources by `measure`, and after how long.
fn row(
    problem: &str,
    dim: usize,
    solver: &Solver,
    measure: &str,
    decimals: usize,
    is_there: impl Fn(&Sight) -> bool,
) -> Vec<String> {
    let (steps, seconds) = solver.time_to(is_there).unzip();
    let lost = solver.trainings.iter().filter(|training| training.is_none()).count();
    let error = |error: Option<f64>| error.map_or(String::new(), |error| format!(" ± {error:.decimals$}"));
    let found = solver.score().map_or("diverged".to_string(), |(mean, of)| {
        let lost = if lost > 0 { format!(" ({lost} diverged)") } else { String::new() };
        format!("{measure} {mean:.decimals$}{}{lost}", error(of))
    });
    vec![
        problem.to_string(),
        dim.to_string(),
        solver.name(),
        solver.step_size.map_or("–".to_string(), |size| size.to_string()),
        found,
        steps.map_or("–".to_string(), |steps| units::grouped(steps as usize)),
        seconds.map_or("–".to_string(), units::seconds),
    ]
}
