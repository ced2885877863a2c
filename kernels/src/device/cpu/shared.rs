//! What parts that run at the same time share out among themselves: a slice, or a matrix.

use std::marker::PhantomData;
use std::ops::Range;

use faer::{MatMut, MatRef};

use crate::scalar::Scalar;

/// An exclusively borrowed slice that parts running at the same time share out among themselves.
pub(super) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: `range` leaves it to its caller that no two parts hold the same element.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(super) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), borrow: PhantomData }
    }

    /// A part of the slice.
    ///
    /// # Safety
    /// The ranges that are alive at the same time are disjoint.
    ///
    /// # Panics
    /// When the range leaves the slice.
    #[allow(clippy::mut_from_ref, reason = "that is what it is for")]
    pub(super) unsafe fn range(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: within the slice, and disjoint from every other range by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// A part of the slice, to read.
    ///
    /// # Safety
    /// No range that is alive at the same time has an element of it.
    ///
    /// # Panics
    /// When the range leaves the slice.
    pub(super) unsafe fn read(&self, range: Range<usize>) -> &[T] {
        // SAFETY: nobody changes it, by the caller's promise.
        unsafe { self.range(range) }
    }
}

/// A destination that parts running at the same time share out among themselves.
pub(super) struct SharedMatrix<'a, T: Scalar>(MatMut<'a, T>);

// SAFETY: `part` leaves it to its caller that no two parts hold the same element.
unsafe impl<T: Scalar> Sync for SharedMatrix<'_, T> {}

impl<'a, T: Scalar> SharedMatrix<'a, T> {
    pub(super) fn new(matrix: MatMut<'a, T>) -> Self {
        Self(matrix)
    }

    /// # Safety
    /// Parts that are alive at the same time are disjoint.
    pub(super) unsafe fn part(&self, rows: Range<usize>, cols: Range<usize>) -> MatMut<'_, T> {
        let part = self.0.as_ref().get(rows, cols);
        // SAFETY: the matrix is exclusively borrowed, and this part of it the caller's alone.
        unsafe {
            MatMut::from_raw_parts_mut(
                part.as_ptr().cast_mut(),
                part.nrows(),
                part.ncols(),
                part.row_stride(),
                part.col_stride(),
            )
        }
    }

    /// # Safety
    /// No part that is alive at the same time has an element of it.
    pub(super) unsafe fn read(&self, rows: Range<usize>, cols: Range<usize>) -> MatRef<'_, T> {
        self.0.as_ref().get(rows, cols)
    }
}
