//! Column-major matrices over a device's memory.

use std::ptr::NonNull;

use super::cpu::{Buffer, Cpu};
use super::{Device, Factor, Memory};
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// What every kind of matrix knows.
macro_rules! shaped {
    ($($matrix:ty),+) => {
        $(
            impl<D: Memory<T>, T: Scalar> $matrix {
                /// Number of rows.
                pub fn rows(&self) -> usize {
                    self.rows
                }

                /// Number of columns.
                pub fn cols(&self) -> usize {
                    self.cols
                }

                /// Rows and columns.
                pub fn shape(&self) -> (usize, usize) {
                    (self.rows, self.cols)
                }

                /// Whether there are no numbers in it.
                pub fn is_empty(&self) -> bool {
                    self.rows == 0 || self.cols == 0
                }
            }
        )+
    };
}
shaped!(Matrix<D, T>, MatrixRef<'_, D, T>, MatrixMut<'_, D, T>);

/// An owned rows×cols matrix, column-major, without padding.
pub struct Matrix<D: Memory<T>, T: Scalar> {
    buffer: D::Buffer,
    rows: usize,
    cols: usize,
}

impl<D: Memory<T>, T: Scalar> Matrix<D, T> {
    /// A zero matrix; `what` names it when memory runs out.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], also when rows×cols exceeds the address space.
    pub fn zeros(device: &D, rows: usize, cols: usize, what: &str) -> Result<Self> {
        let len = rows.checked_mul(cols).ok_or_else(|| Error::OutOfMemory {
            bytes: (rows as u128 * cols as u128).saturating_mul(T::DTYPE.bytes() as u128),
            what: what.to_owned(),
        })?;
        Ok(Self { buffer: device.allocate(len, what)?, rows, cols })
    }

    /// A copy of host data, column-major.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless `data` has rows×cols numbers; [`Error::OutOfMemory`].
    pub fn from_column_major(device: &D, data: &[T], rows: usize, cols: usize, what: &str) -> Result<Self>
    where
        D: Device<T>,
    {
        if rows.checked_mul(cols) != Some(data.len()) {
            return Err(Error::shape(
                "upload",
                format!("{rows}×{cols} numbers for {what}"),
                format!("{} numbers", data.len()),
            ));
        }
        let mut matrix = Self::zeros(device, rows, cols, what)?;
        device.upload(data, D::slice_mut(&mut matrix.buffer))?;
        Ok(matrix)
    }

    /// I, dim×dim.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn identity(device: &D, dim: usize) -> Result<Self>
    where
        D: Device<T>,
    {
        let mut identity = Self::zeros(device, dim, dim, "identity")?;
        let mut unit = vec![T::of(0.0); dim];
        for i in 0..dim {
            unit[i] = T::of(1.0);
            device.upload(&unit, identity.view_mut().columns(i, 1).into_slice())?;
            unit[i] = T::of(0.0);
        }
        Ok(identity)
    }

    /// Copies to host memory, column-major.
    pub fn to_column_major(&self, device: &D) -> Result<Vec<T>>
    where
        D: Device<T>,
    {
        device.to_host(self.view())
    }

    /// Shared view.
    pub fn view(&self) -> MatrixRef<'_, D, T> {
        MatrixRef { slice: D::slice(&self.buffer), rows: self.rows, cols: self.cols }
    }

    /// Exclusive view.
    pub fn view_mut(&mut self) -> MatrixMut<'_, D, T> {
        MatrixMut { slice: D::slice_mut(&mut self.buffer), rows: self.rows, cols: self.cols }
    }
}

impl<T: Scalar> Matrix<Cpu, T> {
    /// A matrix in memory that a caller keeps and frees, such as an array of another language.
    ///
    /// # Safety
    /// `start` is aligned and points to rows·cols initialised numbers, which live as long as the matrix. Meanwhile
    /// nobody writes to them but through it; where it is borrowed exclusively, nobody reads them but through it.
    pub unsafe fn lent(start: NonNull<T>, rows: usize, cols: usize) -> Self {
        // SAFETY: the caller's promise.
        Self { buffer: unsafe { Buffer::lent(start, rows * cols) }, rows, cols }
    }
}

/// A shared view of contiguous columns.
pub struct MatrixRef<'a, D: Memory<T>, T: Scalar> {
    slice: D::Slice<'a>,
    rows: usize,
    cols: usize,
}

impl<D: Memory<T>, T: Scalar> Clone for MatrixRef<'_, D, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Memory<T>, T: Scalar> Copy for MatrixRef<'_, D, T> {}

impl<'a, D: Memory<T>, T: Scalar> MatrixRef<'a, D, T> {
    /// The numbers of a slice, which has rows·cols of them, as columns.
    pub(crate) fn of_slice(slice: D::Slice<'a>, rows: usize, cols: usize) -> Self {
        Self { slice, rows, cols }
    }

    /// The numbers of a slice as columns.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless it has rows·cols of them.
    pub fn from_slice(slice: D::Slice<'a>, rows: usize, cols: usize) -> Result<Self> {
        let len = D::len(&slice);
        if rows.checked_mul(cols) != Some(len) {
            return Err(Error::shape("view", format!("{rows}×{cols} numbers"), len));
        }
        Ok(Self::of_slice(slice, rows, cols))
    }

    /// The same view for a shorter time.
    pub fn shorten(&self) -> MatrixRef<'_, D, T> {
        MatrixRef { slice: D::shorten(&self.slice), rows: self.rows, cols: self.cols }
    }

    /// The numbers, column by column.
    pub fn slice(&self) -> D::Slice<'a> {
        self.slice
    }

    /// Columns `start..start + count`.
    ///
    /// # Panics
    /// When the range leaves the matrix: ranges are computed by this crate, never taken from a caller.
    pub fn columns(self, start: usize, count: usize) -> Self {
        assert!(start + count <= self.cols, "columns {start}+{count} of {}", self.cols);
        let (_, tail) = D::split(self.slice, start * self.rows);
        let (slice, _) = D::split(tail, count * self.rows);
        Self { slice, rows: self.rows, cols: count }
    }

    /// The first numbers of a single column.
    ///
    /// # Panics
    /// When the column has fewer.
    pub(crate) fn first(self, count: usize) -> Self {
        assert!(self.cols <= 1 && count <= self.rows, "{count} of {}×{}", self.rows, self.cols);
        Self { slice: D::split(self.slice, count).0, rows: count, cols: self.cols }
    }

    /// This matrix as a factor of a product.
    pub fn plain(self) -> Factor<'a, D, T> {
        Factor { matrix: self, transposed: false }
    }

    /// Its transpose as a factor of a product.
    pub fn transposed(self) -> Factor<'a, D, T> {
        Factor { matrix: self, transposed: true }
    }
}

/// An exclusive view of contiguous columns.
pub struct MatrixMut<'a, D: Memory<T>, T: Scalar> {
    slice: D::SliceMut<'a>,
    rows: usize,
    cols: usize,
}

impl<'a, D: Memory<T>, T: Scalar> MatrixMut<'a, D, T> {
    /// The numbers of a slice, which has rows·cols of them, as columns.
    pub(crate) fn of_slice(slice: D::SliceMut<'a>, rows: usize, cols: usize) -> Self {
        Self { slice, rows, cols }
    }

    /// The numbers, column by column.
    pub fn into_slice(self) -> D::SliceMut<'a> {
        self.slice
    }

    /// Lends the view for a shorter time.
    pub fn reborrow(&mut self) -> MatrixMut<'_, D, T> {
        MatrixMut { slice: D::reborrow_mut(&mut self.slice), rows: self.rows, cols: self.cols }
    }

    /// Lends the view as a shared one.
    pub fn view(&self) -> MatrixRef<'_, D, T> {
        MatrixRef { slice: D::reborrow(&self.slice), rows: self.rows, cols: self.cols }
    }

    /// Columns `..mid` and `mid..`.
    ///
    /// # Panics
    /// When `mid` is past the last column.
    pub fn split_columns(self, mid: usize) -> (Self, Self) {
        assert!(mid <= self.cols, "column {mid} of {}", self.cols);
        let (left, right) = D::split_mut(self.slice, mid * self.rows);
        let part = |slice, cols| Self { slice, rows: self.rows, cols };
        (part(left, mid), part(right, self.cols - mid))
    }

    /// Columns `start..start + count`.
    ///
    /// # Panics
    /// When the range leaves the matrix.
    pub fn columns(self, start: usize, count: usize) -> Self {
        self.split_columns(start).1.split_columns(count).0
    }
}
