//! From blocks of D×N to what is sent, and back: a rank's rows of a block are not contiguous, its numbers are.

use super::Split;
use crate::device::{Device, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// out ← the rows of each rank in turn, a matrix each.
pub(super) fn pack<D: Device<T>, T: Scalar>(
    device: &D,
    block: MatrixRef<'_, D, T>,
    split: Split,
    out: &mut [T],
) -> Result<()> {
    let mut rest = out;
    for rank in 0..split.ranks() {
        let (part, behind) = rest.split_at_mut(split.count(rank) * block.cols());
        pack_rows(device, block.shorten(), (split, rank), part)?;
        rest = behind;
    }
    Ok(())
}

/// out ← the rows of one rank.
fn pack_rows<D: Device<T>, T: Scalar>(
    device: &D,
    block: MatrixRef<'_, D, T>,
    (split, rank): (Split, usize),
    out: &mut [T],
) -> Result<()> {
    let count = split.count(rank);
    for (j, column) in out.chunks_exact_mut(count).enumerate() {
        let (_, tail) = D::split(block.slice(), j * block.rows() + split.start(rank));
        device.download(D::split(tail, count).0, column)?;
    }
    Ok(())
}

/// The reverse of [`pack`].
pub(super) fn unpack<D: Device<T>, T: Scalar>(
    device: &D,
    parts: &[T],
    split: Split,
    mut block: MatrixMut<'_, D, T>,
) -> Result<()> {
    let (rows, cols) = block.shape();
    let mut rest = parts;
    for rank in 0..split.ranks() {
        let (start, count) = (split.start(rank), split.count(rank));
        let (part, behind) = rest.split_at(count * cols);
        for (j, column) in part.chunks_exact(count).enumerate() {
            let (_, tail) = D::split_mut(block.reborrow().into_slice(), j * rows + start);
            device.upload(column, D::split_mut(tail, count).0)?;
        }
        rest = behind;
    }
    Ok(())
}

/// A rank's rows of a block, as a matrix of its own.
pub(super) fn rows<D: Device<T>, T: Scalar>(
    device: &D,
    block: MatrixRef<'_, D, T>,
    (split, rank): (Split, usize),
) -> Result<Matrix<D, T>> {
    if block.rows() != split.total() {
        return Err(Error::shape("rows of a rank", format!("{} rows", split.total()), block.rows()));
    }
    let count = split.count(rank);
    let mut host = vec![T::default(); count * block.cols()];
    pack_rows(device, block.shorten(), (split, rank), &mut host)?;
    Matrix::from_column_major(device, &host, count, block.cols(), "rows of a rank")
}

/// A rank's numbers of a column.
pub(super) fn part_of_column<'a, D: Device<T>, T: Scalar>(
    column: MatrixRef<'a, D, T>,
    (split, rank): (Split, usize),
) -> MatrixRef<'a, D, T> {
    let count = split.count(rank);
    let (_, tail) = D::split(column.slice(), split.start(rank));
    MatrixRef::of_slice(D::split(tail, count).0, count, 1)
}
