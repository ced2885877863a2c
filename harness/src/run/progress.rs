//! What the user sees while a sweep runs: a bar on a terminal, plain lines elsewhere, nothing with `--quiet`.
//!
//! Everything goes to standard error; standard output is for results.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use relgrad_reports::record::{Cell, Outcome, Record};

use crate::cell::sampling;
use crate::{console, units};

/// Where progress goes.
pub(crate) enum Progress {
    /// Nowhere.
    Quiet,
    /// One line a cell.
    Lines,
    /// A bar, with one line a cell above it.
    Bar(ProgressBar),
}

/// How far the sweep is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    /// All cells.
    pub(crate) cells: usize,
    /// Those with a record.
    pub(crate) recorded: usize,
    /// Predicted seconds until the end.
    pub(crate) remaining_seconds: f64,
}

impl Progress {
    /// A bar when standard error is a terminal, lines otherwise.
    pub(crate) fn new(quiet: bool, position: Position) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let bar = ProgressBar::new(position.cells as u64).with_position(position.recorded as u64);
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} cells  {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        console::keep_moving(&bar);
        Self::Bar(bar)
    }

    /// Something other than a cell begins.
    pub(crate) fn say(&self, what: &str) {
        match self {
            Self::Quiet => {}
            Self::Lines => note!("{what}"),
            Self::Bar(bar) => bar.set_message(what.to_string()),
        }
    }

    /// A cell begins.
    pub(crate) fn begin(&self, cell: &Cell, position: Position) {
        if let Self::Bar(bar) = self {
            bar.set_position(position.recorded as u64);
            let left = position.cells - position.recorded;
            let time = units::seconds(position.remaining_seconds.round());
            bar.set_message(format!("{}, {left} left, about {time}", name(cell)));
        }
    }

    /// A cell has its record.
    pub(crate) fn end(&self, record: &Record, position: Position) {
        let width = position.cells.to_string().len();
        let line = format!("{:>width$}/{}  {}", position.recorded, position.cells, describe(record));
        match self {
            Self::Quiet => {}
            Self::Lines => note!("{line}"),
            Self::Bar(bar) => {
                bar.set_position(position.recorded as u64);
                bar.println(line);
            }
        }
    }

    /// The sweep is over.
    pub(crate) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn name(cell: &Cell) -> String {
    let Cell { method, dim, batch, layers, round, .. } = cell;
    format!("{method} D = {dim}, N = {batch}, L = {layers}, round {}", round + 1)
}

/// One line about a record: what came out, or why nothing did.
fn describe(record: &Record) -> String {
    let name = format!("{:<52}", name(&record.cell));
    let reason = record.reason.as_deref().unwrap_or("no reason given");
    match record.outcome {
        Outcome::Skipped => format!("{name} skipped: {reason}"),
        Outcome::Failed => format!("{name} FAILED: {reason}"),
        Outcome::Measured => {
            let (median, half_width) = sampling::describe(&record.seconds);
            let width = half_width.map_or(String::new(), |width| format!(" ± {:.1} %", 100.0 * width));
            let peak = record
                .peak_bytes
                .map_or(String::new(), |peak| format!(", peak {}", units::bytes(peak as f64)));
            let samples = record.seconds.len();
            format!("{name} {}{width} ({samples} samples{peak})", units::seconds(median))
        }
    }
}
