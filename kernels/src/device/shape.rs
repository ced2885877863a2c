//! The checks in front of a device.

use crate::error::{Error, Result};

/// Checks the shape of an operand, rows×columns.
pub(crate) fn require(operation: &'static str, found: (usize, usize), expected: (usize, usize)) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let text = |(rows, cols): (usize, usize)| format!("{rows}×{cols}");
    Err(Error::shape(operation, text(expected), text(found)))
}

/// Checks a number of numbers.
pub(super) fn require_length(operation: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::shape(operation, expected, found)) }
}

/// Checks for `count` blocks of dim×dim side by side.
pub(super) fn require_blocks(
    operation: &'static str,
    (dim, count): (usize, usize),
    found: (usize, usize),
) -> Result<()> {
    require(operation, found, (dim, dim * count))
}

/// Checks for either `count` blocks of dim×dim or a single one for all.
pub(super) fn require_block_or_blocks(
    operation: &'static str,
    (dim, count): (usize, usize),
    found: (usize, usize),
) -> Result<()> {
    if found == (dim, dim) || found == (dim, dim * count) {
        return Ok(());
    }
    let expected = format!("1 or {count} blocks of {dim}×{dim}");
    Err(Error::shape(operation, expected, format!("{}×{}", found.0, found.1)))
}
