//! The checks of shapes at a device's door, the same on every device.

use super::{Device, MatrixRef};
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// Checks that `view` is rows×cols.
pub(super) fn require<D: Device<T>, T: Scalar>(
    operation: &'static str,
    view: &MatrixRef<'_, D, T>,
    rows: usize,
    cols: usize,
) -> Result<()> {
    if (view.rows(), view.cols()) == (rows, cols) {
        Ok(())
    } else {
        Err(Error::shape(operation, format!("{rows}×{cols}"), format!("{}×{}", view.rows(), view.cols())))
    }
}

/// Checks a number of numbers.
pub(super) fn require_length(operation: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::shape(operation, expected, found)) }
}

/// Checks that `a` holds either `count` D×D blocks or a single one for all.
pub(super) fn require_blocks<D: Device<T>, T: Scalar>(
    operation: &'static str,
    dim: usize,
    count: usize,
    a: &MatrixRef<'_, D, T>,
) -> Result<()> {
    if a.rows() == dim && (a.cols() == dim * count || a.cols() == dim) {
        Ok(())
    } else {
        let found = format!("{}×{}", a.rows(), a.cols());
        Err(Error::shape(operation, format!("1 or {count} blocks of {dim}×{dim}"), found))
    }
}
