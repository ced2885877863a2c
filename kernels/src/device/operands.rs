//! What operations of a device take besides matrices, and what they find out.

use super::{MatrixRef, Memory};
use crate::error::Result;
use crate::scalar::Scalar;

/// A factor of a product: a matrix or its transpose.
pub struct Factor<'a, D: Memory<T>, T: Scalar> {
    /// The stored matrix.
    pub matrix: MatrixRef<'a, D, T>,
    /// Whether the product uses the transpose of what is stored.
    pub transposed: bool,
}

impl<D: Memory<T>, T: Scalar> Factor<'_, D, T> {
    /// Rows of the factor as the product sees it.
    pub fn rows(&self) -> usize {
        if self.transposed { self.matrix.cols() } else { self.matrix.rows() }
    }

    /// Columns of the factor as the product sees it.
    pub fn cols(&self) -> usize {
        if self.transposed { self.matrix.rows() } else { self.matrix.cols() }
    }
}

/// What a product is added to.
pub enum Addend<'a, D: Memory<T>, T: Scalar> {
    /// Nothing: the destination is overwritten and may hold anything, NaN included.
    Zero,
    /// The destination itself, scaled: c ← βc + αab.
    Scaled(T),
    /// Another matrix of the destination's shape: c ← m + αab.
    Matrix(MatrixRef<'a, D, T>),
}

/// What [`super::Device::scale_lines`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// a ← diag(by)⁻¹ a.
    RowsOver,
    /// a ← a diag(by).
    ColumnsTimes,
    /// a ← a diag(by)⁻¹.
    ColumnsOver,
}

/// Rows of two matrices that [`super::Device::inner_products`] widens at a time.
pub const ROWS_WIDENED: usize = 512;

/// What an inversion finds out on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Inversion {
    /// log|det| of the inverted matrix, from the pivots, in f64.
    pub log_abs_det: f64,
    /// Skeel's condition number ‖|A⁻¹||A|‖_∞, which bounds the relative error of the inverse's rows and is blind to the
    /// scaling of A's rows; infinite after a zero pivot.
    pub condition: f64,
}

impl Inversion {
    /// Whether no digit of the inverse can be trusted: its condition number is above D/ε, or not a number.
    pub fn is_singular<T: Scalar>(&self, dim: usize) -> bool {
        self.condition > dim as f64 / T::EPS || self.condition.is_nan()
    }
}

/// Work that a device recorded once and can ask for again, all of it in one call.
pub trait Replay {
    /// Asks for the work again, on the same buffers.
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    fn replay(&self) -> Result<()>;
}
