//! Complexity fits: how a cost grows along an axis.
//!
//! A fit takes [`Observation`]s, which know nothing of dimensions or methods, so the same code serves any axis (D, N, L).
//! [`exponent`] is the log–log exponent that reports state.

mod exponent;
mod line;

pub use exponent::{asymptotic_range, exponent};

use crate::stats::Processes;

/// The samples of one cell at its place on an axis.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The axis: a dimension, a batch size, a number of layers.
    pub x: usize,
    /// What was measured there.
    pub processes: &'a Processes,
}
