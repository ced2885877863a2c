//! The numbers of a figure, for a page whose script draws it again. `relgrad-plots` makes them of what it draws, with
//! its colours, so that both drawings show the same.

use serde::Serialize;

use crate::record::Held;
use crate::statistics::summary::{Estimate, Series};

/// A figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    /// Colours of what belongs to no curve.
    pub style: ChartStyle,
    /// Its panels, side by side. They have one legend.
    pub panels: Vec<ChartPanel>,
}

/// Colours as `#rrggbb`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChartStyle {
    /// Of text and axes.
    pub ink: String,
    /// Of references and notes.
    pub grey: String,
    /// Of the grid.
    pub faint: String,
    /// Of the ground.
    pub paper: String,
}

/// A rectangle with two axes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChartPanel {
    /// The horizontal axis.
    pub x: ChartAxis,
    /// The vertical axis.
    pub y: ChartAxis,
    /// Whether lines join the points of a curve.
    pub joined: bool,
    /// The curves; the first lies on top.
    pub curves: Vec<ChartCurve>,
    /// Horizontal lines with their names.
    pub levels: Vec<(f64, String)>,
    /// Powers of x to compare slopes with, and their names.
    pub slopes: Vec<(f64, String)>,
    /// Vertical lines with their names.
    pub marks: Vec<(f64, String)>,
}

/// An axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChartAxis {
    /// What stands next to it.
    pub title: String,
    /// What its numbers are: `seconds`, `bytes`, `ratio` (times), `change` (a ratio shown as a change in percent),
    /// `run` (an index, always linear) or `count`.
    pub unit: &'static str,
    /// Whether it is logarithmic at first.
    pub log: bool,
    /// What a linear axis holds at least; zero and the values where absent.
    pub least: Option<(f64, f64)>,
}

/// A curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChartCurve {
    /// Its name in the legend.
    pub name: String,
    /// Its colour as `#rrggbb`.
    pub color: String,
    /// Its sign, such as `triangle-down`.
    pub marker: &'static str,
    /// Lengths of dashes and gaps.
    pub dash: Vec<f64>,
    /// Its points, ascending.
    pub points: Vec<ChartPoint>,
    /// Small points: x and y.
    pub processes: Vec<(f64, f64)>,
    /// The first place without a measurement.
    pub stop: Option<ChartPoint>,
    /// A thin dashed line: x and y.
    pub model: Vec<(f64, f64)>,
}

/// A point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChartPoint {
    /// Its place.
    pub x: f64,
    /// Value, lower and upper end of the interval; the value thrice without one. Absent where nothing is expected.
    pub y: Option<[f64; 3]>,
    /// The place in words: `D = 1,000`.
    pub at: String,
    /// The value in words.
    pub text: String,
    /// [`cell_key`] of each cell behind it.
    pub cells: Vec<String>,
    /// More about it; empty where there is none.
    pub note: String,
    /// Whether a ring marks it.
    pub ringed: bool,
}

impl ChartPoint {
    /// A point at `x`, which reads as `at`.
    pub fn new(x: f64, at: String, y: Option<Estimate>, text: String) -> Self {
        let y = y.map(|e| [e.value, e.low, e.high]);
        Self { x, y, at, text, cells: Vec::new(), note: String::new(), ringed: false }
    }
}

/// The name of a cell within a page.
pub fn cell_key(series: &Series, dim: usize) -> String {
    format!("{}/{dim}", series_key(series))
}

/// The name of a series within a page.
pub(super) fn series_key(series: &Series) -> String {
    let Held { batch, layers, threads, ranks } = series.held();
    let ranks = if ranks == 1 { String::new() } else { format!("/{ranks}") };
    format!("{}/{}/{batch}/{layers}/{threads}{ranks}", series.method, series.device)
}
