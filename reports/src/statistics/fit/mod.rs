//! Complexity fits: how a cost grows along an axis.
//!
//! A fit takes [`Observation`]s, which know nothing of dimensions or methods, so the same code serves any axis (D, N,
//! L, threads). [`exponent`] is the log–log exponent that reports state; [`local_exponents`], [`breakpoint`] and
//! [`step`] show where it changes; [`two_term`] and [`choose_law`] explain it; [`predict`] says what to expect where
//! nothing was measured; [`crossover`] says where one method overtakes another; [`serial_share`] what more threads do
//! not shorten.

mod amdahl;
mod breakpoint;
mod crossover;
mod exponent;
mod law;
mod line;
mod local;
mod panel;
mod predict;
mod terms;

pub use amdahl::serial_share;
pub use breakpoint::{Breakpoint, Jump, breakpoint, step};
pub use crossover::{Crossover, crossover};
pub use exponent::{asymptotic_range, bounded_exponent, exponent, residuals};
pub use law::{Choice, Law, choose_law};
pub(crate) use line::Line;
pub use local::{LocalExponent, local_exponents};
pub use predict::{Unmeasured, predict};
pub use terms::{TwoTerm, two_term};

use crate::statistics::Processes;

/// AICc by which a model must be ahead of the next to be told (Burnham & Anderson, *Model Selection and Multimodel
/// Inference*, 2002, section 2.6: "considerably less support").
const DECISIVE_MARGIN: f64 = 4.0;

/// The samples of one cell at its place on an axis.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The axis: a dimension, a batch size, a number of layers or of threads.
    pub x: usize,
    /// What was measured there.
    pub processes: &'a Processes,
}

/// Cells, by their places, as observations.
pub fn observe(cells: &[(usize, Processes)]) -> Vec<Observation<'_>> {
    cells.iter().map(|(x, processes)| Observation { x: *x, processes }).collect()
}

/// A censored observation: what is known of a place where a measurement ran out of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// The place on the axis.
    pub x: usize,
    /// One evaluation takes at least so long.
    pub at_least_seconds: f64,
}
