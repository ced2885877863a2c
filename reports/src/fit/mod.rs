//! Complexity fits: how a cost grows along an axis.
//!
//! A fit takes [`Observation`]s, which know nothing of dimensions or methods, so the same code serves any axis (D, N, L).
//! [`exponent`] is the log–log exponent that reports state; [`local_exponents`] show where it bends; [`two_term`] and
//! [`choose_law`] explain it; [`crossover`] says where one method overtakes another.

mod crossover;
mod exponent;
mod line;
mod local;
mod terms;

pub use crossover::{Crossover, crossover};
pub use exponent::{asymptotic_range, exponent};
pub use local::{LocalExponent, local_exponents};
pub use terms::{Choice, Law, TwoTerm, choose_law, two_term};

use crate::stats::Processes;

/// The samples of one cell at its place on an axis.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The axis: a dimension, a batch size, a number of layers.
    pub x: usize,
    /// What was measured there.
    pub processes: &'a Processes,
}
