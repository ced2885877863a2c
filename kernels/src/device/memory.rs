//! Where a device keeps numbers.

use crate::error::Result;
use crate::scalar::Scalar;

/// Memory of one kind and the slices of it that matrices are made of.
pub trait Memory<T: Scalar>: Sized {
    /// Owned, zero-initialised storage.
    type Buffer: Send + Sync;
    /// Shared slice of a buffer.
    type Slice<'a>: Copy + Send + Sync;
    /// Exclusive slice of a buffer.
    type SliceMut<'a>;

    /// Takes zero-filled storage for `len` numbers, resident from now on. `what` names it in an error.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    fn allocate(&self, len: usize, what: &str) -> Result<Self::Buffer>;

    /// The whole buffer.
    fn slice(buffer: &Self::Buffer) -> Self::Slice<'_>;
    /// The whole buffer, exclusively.
    fn slice_mut(buffer: &mut Self::Buffer) -> Self::SliceMut<'_>;
    /// How many numbers a slice has.
    fn len(slice: &Self::Slice<'_>) -> usize;
    /// Splits a slice in two at `mid`.
    fn split<'a>(slice: Self::Slice<'a>, mid: usize) -> (Self::Slice<'a>, Self::Slice<'a>);
    /// Splits an exclusive slice in two at `mid`.
    fn split_mut<'a>(slice: Self::SliceMut<'a>, mid: usize) -> (Self::SliceMut<'a>, Self::SliceMut<'a>);
    /// Lends an exclusive slice for a shorter time.
    fn reborrow_mut<'b>(slice: &'b mut Self::SliceMut<'_>) -> Self::SliceMut<'b>;
    /// The same shared slice for a shorter time (the compiler cannot see that an associated type is covariant).
    fn shorten<'b>(slice: &'b Self::Slice<'_>) -> Self::Slice<'b>;
    /// Lends an exclusive slice as a shared one.
    fn reborrow<'b>(slice: &'b Self::SliceMut<'_>) -> Self::Slice<'b>;
}
