//! Several machines in one figure: a curve a machine.

use relgrad_reports::study::Study;
use relgrad_reports::summary::{CellSummary, Estimate, Summary};
use relgrad_vocabulary::Method;

use crate::axis::Unit;
use crate::chart::{self, Curve, Plot, Reference};
use crate::data::{Along, Shown, measured, speedup};
use crate::error::{Error, Result};
use crate::paper::Paper;
use crate::style::by_place;
use crate::{Drawing, require_memory};

/// More machines than a figure can tell apart.
pub const MOST_MACHINES: usize = 8;

/// The study of one machine.
#[derive(Debug, Clone, Copy)]
pub struct OnMachine<'a> {
    /// What the legend calls it.
    pub name: &'a str,
    /// Its records.
    pub study: &'a Study,
    /// Their numbers.
    pub summary: &'a Summary,
}

/// The caption of [`draw_machines`].
pub const MACHINES_CAPTION: &str = "Time of one gradient, and speed-up of relative, against the data dimension D: a \
    curve a machine. Bands are 95 % confidence intervals.";

/// Draws the times of `relative` and `ordinary` and the speed-ups over `ordinary` and `autodiff`, a curve a machine,
/// 170 mm wide: those panels that some machine has values for.
///
/// # Errors
/// [`Error::Empty`] where no machine has a value; [`Error::Missing`] with more than [`MOST_MACHINES`].
pub fn draw_machines(machines: &[OnMachine<'_>]) -> Result<Drawing> {
    if machines.len() > MOST_MACHINES {
        return Err(Error::Missing(format!("a figure tells {MOST_MACHINES} machines apart, not {}", machines.len())));
    }
    let shown: Vec<Shown<'_>> =
        machines.iter().map(|machine| Shown::of(machine.study, machine.summary, None, Along::Dim)).collect();
    let times =
        [(Method::Relative, "time of relative"), (Method::Ordinary, "time of ordinary")].map(|(method, title)| {
            let curves = curves(machines, &shown, method, |point| Some(point.seconds));
            (curves, title, Unit::Seconds, Reference::Nothing)
        });
    let over = [(Method::Ordinary, "speed-up over ordinary"), (Method::Autodiff, "speed-up over autodiff")];
    let speedups = over.map(|(baseline, title)| {
        let curves = curves(machines, &shown, Method::Relative, |point| speedup(point, baseline));
        (curves, title, Unit::Ratio, Reference::One)
    });
    let panels: Vec<_> = times.into_iter().chain(speedups).filter(|(curves, ..)| !curves.is_empty()).collect();
    if panels.is_empty() {
        return Err(Error::Empty);
    }
    require_memory()?;
    let plot = |(curves, quantity, unit, reference)| Plot { reference, ..Plot::log(quantity, unit, curves) };
    let plots: Vec<Plot<'_>> = panels.into_iter().map(plot).collect();
    let scene = chart::draw(Paper::default(), &conditions(&shown), &plots);
    let chart = Some(chart::numbers(&plots));
    Ok(Drawing { chart, ..Drawing::of(scene, MACHINES_CAPTION.to_string(), 1.0)? })
}

/// A curve of each machine that has values of a method.
fn curves(
    machines: &[OnMachine<'_>],
    shown: &[Shown<'_>],
    method: Method,
    value: impl Fn(&CellSummary) -> Option<Estimate>,
) -> Vec<Curve> {
    let curve = |(i, (machine, shown)): (usize, (&OnMachine<'_>, &Shown<'_>))| {
        let series = shown.series().find(|series| series.method == method)?;
        let measured = measured(series, &value);
        let cells = vec![Vec::new(); measured.len()];
        Some(Curve { measured, cells, ..Curve::named(machine.name.to_string(), by_place(i)) })
    };
    let all = machines.iter().zip(shown).enumerate().filter_map(curve);
    all.filter(|curve| !curve.measured.is_empty()).collect()
}

/// What the measurements of all machines share.
fn conditions(shown: &[Shown<'_>]) -> Vec<String> {
    let mut all = shown.iter().map(Shown::conditions);
    let first = all.next().unwrap_or_default();
    all.fold(first, |shared, other| shared.into_iter().filter(|words| other.contains(words)).collect())
}
