//! Zeroed host memory on cache-line boundaries, resident from the start.

use std::alloc::{Layout, alloc, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// A vector register of AVX-512 and a cache line: a load from an aligned column never straddles two lines.
const ALIGNMENT: usize = 64;

/// A page that one entry of the address-translation cache covers whole: a product walks through hundreds of columns of
/// a weight at the same time, each of them in a page of its own when pages have 4 KiB.
const HUGE_PAGE: usize = 2 << 20;

/// Bytes from which on memory is asked for in huge pages.
const HUGE_FROM: usize = HUGE_PAGE;

/// Of a buffer: what may be added to it so that huge pages cover its end too.
const MOST_PADDING: usize = 16;

/// A fixed-size array of numbers that dereferences to a slice.
pub struct Buffer<T: Scalar> {
    start: NonNull<T>,
    len: usize,
    /// Whether the memory is somebody else's, who frees it.
    lent: bool,
}

impl<T: Scalar> Buffer<T> {
    pub(super) fn zeroed(len: usize, what: &str) -> Result<Self> {
        let out_of_memory =
            || Error::OutOfMemory { bytes: len as u128 * size_of::<T>() as u128, what: what.to_owned() };
        if len == 0 {
            return Ok(Self { start: NonNull::dangling(), len, lent: false });
        }
        let layout = Self::layout(len).ok_or_else(out_of_memory)?;
        // SAFETY: the layout has a nonzero size, since len > 0 and T (f32 or f64) is not zero-sized.
        let start = NonNull::new(unsafe { alloc(layout) }).ok_or_else(out_of_memory)?;
        ask_for_huge_pages(start, layout.size());
        // SAFETY: the memory is `layout.size()` bytes long. All-zero bits are 0.0.
        unsafe { start.write_bytes(0, layout.size()) };
        let start = start.cast::<T>();
        Ok(Self { start, len, lent: false })
    }

    /// Memory that a caller keeps and frees.
    ///
    /// # Safety
    /// As [`crate::device::Matrix::lent`], for `len` numbers.
    pub(in crate::device) unsafe fn lent(start: NonNull<T>, len: usize) -> Self {
        Self { start, len, lent: true }
    }

    fn layout(len: usize) -> Option<Layout> {
        let layout = Layout::array::<T>(len).ok()?;
        if layout.size() < HUGE_FROM {
            return layout.align_to(ALIGNMENT).ok();
        }
        let layout = layout.align_to(HUGE_PAGE).ok()?;
        let padded = layout.pad_to_align();
        Some(if padded.size() - layout.size() <= layout.size() / MOST_PADDING { padded } else { layout })
    }
}

/// Tells the kernel to back the whole huge pages of fresh memory by such. It may decline; nothing depends on it.
fn ask_for_huge_pages(start: NonNull<u8>, bytes: usize) {
    #[cfg(target_os = "linux")]
    if bytes >= HUGE_FROM {
        // SAFETY: the range lies within an allocation of ours, and the advice changes no contents.
        unsafe { libc::madvise(start.as_ptr().cast(), bytes / HUGE_PAGE * HUGE_PAGE, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}

impl<T: Scalar> Drop for Buffer<T> {
    fn drop(&mut self) {
        if let (Some(layout), true) = (Self::layout(self.len), self.len > 0 && !self.lent) {
            // SAFETY: `start` came from `alloc_zeroed` with this very layout, and is freed once, here.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) }
        }
    }
}

impl<T: Scalar> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `start` points to `len` initialised numbers (all-zero bits are 0.0) that this buffer owns, or that
        // are lent to it for as long as it lives.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Scalar> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

// SAFETY: nobody else writes to its memory and T is plain data, so it may move to, and be read from, any thread.
unsafe impl<T: Scalar> Send for Buffer<T> {}
// SAFETY: as above; shared access is read-only.
unsafe impl<T: Scalar> Sync for Buffer<T> {}
