//! Comparisons: of two measurements, of builds measured in turn, and of a build with itself.

pub(crate) mod gate;

use std::path::Path;

use relgrad_reports::baseline;
use relgrad_reports::compare::Sides;
pub use relgrad_reports::compare::{Comparison, Outcome, Rules};
pub use relgrad_reports::study::Invalid;
use relgrad_reports::study::Study;

use crate::error::{Error, Result};

/// Reads the folder of a sweep, or a baseline file that `relgrad gate` saved.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: impl AsRef<Path>, invalid: Invalid) -> Result<Study> {
    baseline::read_with(path.as_ref(), invalid).map_err(|cause| Error::Input(cause.to_string()))
}

/// Compares two measurements cell by cell, as `relgrad compare` does.
pub fn studies(base: &Study, new: &Study, rules: &Rules) -> Comparison {
    Comparison::of(&Sides { base, new, paired: false, absolute: false, first_round: 0 }, rules)
}
