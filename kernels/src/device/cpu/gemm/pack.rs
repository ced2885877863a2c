//! Packing: operands rearranged so that the microkernel reads them in sequence.

use std::arch::x86_64::*;
use std::ops::Range;

use super::vector::Vector;

/// A strided matrix in memory; exactly one of the strides is usually 1.
#[derive(Clone, Copy)]
pub(super) struct Source<N> {
    pub(super) start: *const N,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl<N> Source<N> {
    /// The address of an element.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, col: usize) -> *const N {
        self.start.wrapping_add(row * self.row_stride + col * self.col_stride)
    }

    /// Whether its columns or its rows are contiguous.
    #[inline(always)]
    pub(super) fn is_contiguous(&self) -> bool {
        self.row_stride == 1 || self.col_stride == 1
    }

    /// The part that begins at `row` and `col`.
    #[inline(always)]
    pub(super) fn part(self, row: usize, col: usize) -> Self {
        Self { start: self.at(row, col), ..self }
    }
}

/// A number type that can be packed.
pub(super) trait Pack: Copy + Default {
    /// 1, to accumulate.
    const ONE: Self;
    /// Side of the square that is transposed in registers.
    const BLOCK: usize;
    /// to\[j·to_stride + i\] ← from\[i·from_stride + j\] for i, j < BLOCK.
    ///
    /// # Safety
    /// AVX2 is there and enabled by the caller; the squares are readable and writable.
    unsafe fn transpose(from: *const Self, from_stride: usize, to: *mut Self, to_stride: usize);
    /// The same for squares of side 4.
    ///
    /// # Safety
    /// As [`Self::transpose`].
    unsafe fn transpose_4(from: *const Self, from_stride: usize, to: *mut Self, to_stride: usize);
}

impl Pack for f32 {
    const ONE: Self = 1.0;
    const BLOCK: usize = 8;

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            for offset in [0, 4] {
                // Rows i and i+4 share a register, so that no shuffle has to cross its halves.
                macro_rules! row {
                    ($i:literal) => {{
                        let low = _mm_loadu_ps(from.add($i * from_stride + offset));
                        let high = _mm_loadu_ps(from.add(($i + 4) * from_stride + offset));
                        _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
                    }};
                }
                let (r0, r1, r2, r3) = (row!(0), row!(1), row!(2), row!(3));
                let (a, b) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
                let (c, d) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
                let to = to.add(offset * to_stride);
                _mm256_storeu_ps(to, _mm256_shuffle_ps::<0x44>(a, c));
                _mm256_storeu_ps(to.add(to_stride), _mm256_shuffle_ps::<0xee>(a, c));
                _mm256_storeu_ps(to.add(2 * to_stride), _mm256_shuffle_ps::<0x44>(b, d));
                _mm256_storeu_ps(to.add(3 * to_stride), _mm256_shuffle_ps::<0xee>(b, d));
            }
        }
    }

    #[inline(always)]
    unsafe fn transpose_4(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let row = |i: usize| _mm_loadu_ps(from.add(i * from_stride));
            let (r0, r1, r2, r3) = (row(0), row(1), row(2), row(3));
            let (a, b) = (_mm_unpacklo_ps(r0, r1), _mm_unpackhi_ps(r0, r1));
            let (c, d) = (_mm_unpacklo_ps(r2, r3), _mm_unpackhi_ps(r2, r3));
            _mm_storeu_ps(to, _mm_movelh_ps(a, c));
            _mm_storeu_ps(to.add(to_stride), _mm_movehl_ps(c, a));
            _mm_storeu_ps(to.add(2 * to_stride), _mm_movelh_ps(b, d));
            _mm_storeu_ps(to.add(3 * to_stride), _mm_movehl_ps(d, b));
        }
    }
}

impl Pack for f64 {
    const ONE: Self = 1.0;
    const BLOCK: usize = 4;

    #[inline(always)]
    unsafe fn transpose(from: *const f64, from_stride: usize, to: *mut f64, to_stride: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            for offset in [0, 2] {
                macro_rules! row {
                    ($i:literal) => {{
                        let low = _mm_loadu_pd(from.add($i * from_stride + offset));
                        let high = _mm_loadu_pd(from.add(($i + 2) * from_stride + offset));
                        _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(low), high)
                    }};
                }
                let (r0, r1) = (row!(0), row!(1));
                let to = to.add(offset * to_stride);
                _mm256_storeu_pd(to, _mm256_unpacklo_pd(r0, r1));
                _mm256_storeu_pd(to.add(to_stride), _mm256_unpackhi_pd(r0, r1));
            }
        }
    }

    #[inline(always)]
    unsafe fn transpose_4(from: *const f64, from_stride: usize, to: *mut f64, to_stride: usize) {
        // SAFETY: the caller's promise.
        unsafe { Self::transpose(from, from_stride, to, to_stride) }
    }
}

/// to\[k·width + i\] ← from(i, k) for i < rows, 0 for rows ≤ i < width; `depth` steps k. `width` is one or two
/// registers.
///
/// # Safety
/// The processor has V's instruction set and AVX2, and the caller enables them; `from` has rows×depth elements, `to`
/// room for width·depth.
#[inline(always)]
pub(super) unsafe fn sliver<V: Vector>(
    from: Source<V::Number>,
    rows: usize,
    depth: usize,
    width: usize,
    to: *mut V::Number,
) where
    V::Number: Pack,
{
    // SAFETY: the parts written are pieces of the width·depth numbers.
    unsafe {
        if from.row_stride == 1 {
            for k in 0..depth {
                let (column, to) = (from.at(0, k), to.add(k * width));
                for start in (0..width).step_by(V::LANES) {
                    V::load_first(column.add(start), (rows - start).min(V::LANES)).store(to.add(start));
                }
            }
            return;
        }
        let (mut rows_done, mut depth_done) = (0, 0);
        if from.col_stride == 1 {
            let side = V::Number::BLOCK;
            (rows_done, depth_done) = (rows / side * side, depth / side * side);
            for k in (0..depth_done).step_by(side) {
                for i in (0..rows_done).step_by(side) {
                    V::Number::transpose(from.at(i, k), from.row_stride, to.add(k * width + i), width);
                }
            }
        }
        strided(from, 0..rows_done, depth_done..depth, width, to);
        strided(from, rows_done..rows, 0..depth, width, to);
        for k in 0..depth {
            for i in rows..width {
                *to.add(k * width + i) = V::Number::default();
            }
        }
    }
}

/// to\[k·WIDTH + j\] ← from(k, j): a panel of the right factor.
///
/// # Safety
/// AVX2 is there and enabled by the caller; `from` has depth×WIDTH elements, `to` room for as many.
#[inline(always)]
pub(super) unsafe fn panel<N: Pack, const WIDTH: usize>(from: Source<N>, depth: usize, to: *mut N) {
    // SAFETY: the caller's promise.
    unsafe {
        if from.col_stride == 1 {
            for k in 0..depth {
                *to.add(k * WIDTH).cast::<[N; WIDTH]>() = *from.at(k, 0).cast::<[N; WIDTH]>();
            }
            return;
        }
        let mut done = 0;
        if from.row_stride == 1 && WIDTH.is_multiple_of(4) {
            done = depth / N::BLOCK * N::BLOCK;
            for k in (0..done).step_by(N::BLOCK) {
                let mut col = 0;
                while col + N::BLOCK <= WIDTH {
                    N::transpose(from.at(k, col), from.col_stride, to.add(k * WIDTH + col), WIDTH);
                    col += N::BLOCK;
                }
                // Half a block of columns is left, as two squares.
                while col < WIDTH {
                    for k in [k, k + 4] {
                        N::transpose_4(from.at(k, col), from.col_stride, to.add(k * WIDTH + col), WIDTH);
                    }
                    col += 4;
                }
            }
        }
        for k in done..depth {
            for j in 0..WIDTH {
                *to.add(k * WIDTH + j) = *from.at(k, j);
            }
        }
    }
}

#[inline(always)]
unsafe fn strided<N: Pack>(from: Source<N>, rows: Range<usize>, depth: Range<usize>, width: usize, to: *mut N) {
    for k in depth {
        for i in rows.clone() {
            // SAFETY: the caller's ranges are those of the matrix.
            unsafe { *to.add(k * width + i) = *from.at(i, k) };
        }
    }
}
