//! Complexity fits: how a cost grows along an axis.
//!
//! A fit takes [`Observation`]s, which know nothing of dimensions or methods, so the same code serves any axis (D, N,
//! L). [`exponent`] is the log–log exponent that reports state; [`local_exponents`] and [`breakpoint`] show where it
//! bends; [`two_term`] and [`choose_law`] explain it; [`extrapolate`] says what it expects where nothing was measured;
//! [`crossover`] says where one method overtakes another.

mod breakpoint;
mod crossover;
mod exponent;
mod line;
mod local;
mod terms;

pub use breakpoint::{Breakpoint, breakpoint};
pub use crossover::{Crossover, crossover};
pub use exponent::{asymptotic_range, bounded_exponent, exponent, extrapolate, residuals};
pub(crate) use line::Line;
pub use local::{LocalExponent, local_exponents};
pub use terms::{Choice, Law, TwoTerm, choose_law, two_term};

use crate::statistics::Processes;

/// The samples of one cell at its place on an axis.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The axis: a dimension, a batch size, a number of layers.
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
