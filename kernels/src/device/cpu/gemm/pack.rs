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

/// What packed factors are made of: slots of a number's size, each with [`Packing::DEPTH`] steps of depth.
///
/// # Safety
/// As for [`Vector`], whose registers they fill; what is read and written is valid for it.
pub(super) trait Packing<V: Vector> {
    /// Steps of depth in a slot.
    const DEPTH: usize;
    /// 1, to accumulate.
    const ONE: V::Number;
    /// Side, in slots, of the square that is transposed in registers.
    const BLOCK: usize;

    /// The slots of LANES rows from `from` on, for DEPTH columns that are `stride` numbers apart.
    unsafe fn gather(from: *const V::Number, stride: usize) -> V;
    /// The same for the first `count` rows and `depth` ≤ DEPTH columns; what is beyond is 0.
    unsafe fn gather_first(from: *const V::Number, stride: usize, depth: usize, count: usize) -> V;
    /// The slot of one row.
    unsafe fn slot(from: *const V::Number, stride: usize, depth: usize) -> V::Number;
    /// to\[j·to_stride + i\] ← slot j of row i for i, j < BLOCK, where a row's numbers are contiguous and rows
    /// `from_stride` apart.
    unsafe fn transpose(from: *const V::Number, from_stride: usize, to: *mut V::Number, to_stride: usize);
    /// The same for squares of side 4.
    unsafe fn transpose_4(from: *const V::Number, from_stride: usize, to: *mut V::Number, to_stride: usize);
    /// sum + Σ ab over the steps of a slot.
    unsafe fn add(sum: V, a: V, b: V) -> V;
}

/// The numbers as they are, one a slot.
pub(super) struct Plain;

impl<V: Vector> Packing<V> for Plain
where
    V::Number: Pack,
{
    const DEPTH: usize = 1;
    const ONE: V::Number = V::Number::ONE;
    const BLOCK: usize = V::Number::BLOCK;

    #[inline(always)]
    unsafe fn gather(from: *const V::Number, _stride: usize) -> V {
        // SAFETY: the caller's promise, here and below.
        unsafe { V::load(from) }
    }

    #[inline(always)]
    unsafe fn gather_first(from: *const V::Number, _stride: usize, _depth: usize, count: usize) -> V {
        // SAFETY: as above.
        unsafe { V::load_first(from, count) }
    }

    #[inline(always)]
    unsafe fn slot(from: *const V::Number, _stride: usize, _depth: usize) -> V::Number {
        // SAFETY: as above.
        unsafe { *from }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const V::Number, from_stride: usize, to: *mut V::Number, to_stride: usize) {
        // SAFETY: as above.
        unsafe { V::Number::transpose(from, from_stride, to, to_stride) }
    }

    #[inline(always)]
    unsafe fn transpose_4(from: *const V::Number, from_stride: usize, to: *mut V::Number, to_stride: usize) {
        // SAFETY: as above.
        unsafe { V::Number::transpose_4(from, from_stride, to, to_stride) }
    }

    #[inline(always)]
    unsafe fn add(sum: V, a: V, b: V) -> V {
        // SAFETY: as above.
        unsafe { sum.add_mul(a, b) }
    }
}

impl Pack for f32 {
    const ONE: Self = 1.0;
    const BLOCK: usize = 8;

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller's promise.
        unsafe { transpose_8::<Self>(from, from_stride, to, to_stride) }
    }

    #[inline(always)]
    unsafe fn transpose_4(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller's promise.
        unsafe { transpose_4::<Self>(from, from_stride, to, to_stride) }
    }
}

/// Slots of 32 bits.
pub(super) trait Fours {
    /// Slots `first` to `first` + 3 of the row at `row`.
    ///
    /// # Safety
    /// The processor has what the slots need, the caller enables it, and the row is readable so far.
    unsafe fn four(row: *const f32, first: usize) -> __m128;
}

impl Fours for f32 {
    #[inline(always)]
    unsafe fn four(row: *const f32, first: usize) -> __m128 {
        // SAFETY: the caller's promise.
        unsafe { _mm_loadu_ps(row.add(first)) }
    }
}

/// As [`Packing::transpose`] for slots of 32 bits, with BLOCK = 8.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn transpose_8<F: Fours>(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        for offset in [0, 4] {
            // Rows i and i+4 share a register, so that no shuffle has to cross its halves.
            macro_rules! row {
                ($i:literal) => {{
                    let low = F::four(from.add($i * from_stride), offset);
                    let high = F::four(from.add(($i + 4) * from_stride), offset);
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

/// As [`Packing::transpose_4`] for slots of 32 bits.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn transpose_4<F: Fours>(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        macro_rules! row {
            ($i:literal) => {
                F::four(from.add($i * from_stride), 0)
            };
        }
        let (r0, r1, r2, r3) = (row!(0), row!(1), row!(2), row!(3));
        let (a, b) = (_mm_unpacklo_ps(r0, r1), _mm_unpackhi_ps(r0, r1));
        let (c, d) = (_mm_unpacklo_ps(r2, r3), _mm_unpackhi_ps(r2, r3));
        _mm_storeu_ps(to, _mm_movelh_ps(a, c));
        _mm_storeu_ps(to.add(to_stride), _mm_movehl_ps(c, a));
        _mm_storeu_ps(to.add(2 * to_stride), _mm_movelh_ps(b, d));
        _mm_storeu_ps(to.add(3 * to_stride), _mm_movehl_ps(d, b));
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

/// to\[s·width + i\] ← slot s of row i for i < rows, 0 for rows ≤ i < width; `depth` steps. `width` is one or two
/// registers.
///
/// # Safety
/// The processor has V's instruction set and AVX2, and the caller enables them; `from` has rows×depth elements, `to`
/// room for width slots a step.
#[inline(always)]
pub(super) unsafe fn sliver<V: Vector, P: Packing<V>>(
    from: Source<V::Number>,
    rows: usize,
    depth: usize,
    width: usize,
    to: *mut V::Number,
) {
    let slots = depth.div_ceil(P::DEPTH);
    // SAFETY: the parts written are pieces of the width·slots numbers.
    unsafe {
        if from.row_stride == 1 {
            for slot in 0..slots {
                let (column, to) = (from.at(0, slot * P::DEPTH), to.add(slot * width));
                let steps = (depth - slot * P::DEPTH).min(P::DEPTH);
                for start in (0..width).step_by(V::LANES) {
                    let count = (rows - start).min(V::LANES);
                    P::gather_first(column.add(start), from.col_stride, steps, count).store(to.add(start));
                }
            }
            return;
        }
        let (mut rows_done, mut slots_done) = (0, 0);
        if from.col_stride == 1 {
            let side = P::BLOCK;
            (rows_done, slots_done) = (rows / side * side, depth / (side * P::DEPTH) * side);
            for slot in (0..slots_done).step_by(side) {
                for i in (0..rows_done).step_by(side) {
                    P::transpose(from.at(i, slot * P::DEPTH), from.row_stride, to.add(slot * width + i), width);
                }
            }
        }
        strided::<V, P>(from, 0..rows_done, slots_done..slots, depth, (to, width));
        strided::<V, P>(from, rows_done..rows, 0..slots, depth, (to, width));
        for slot in 0..slots {
            for i in rows..width {
                *to.add(slot * width + i) = V::Number::default();
            }
        }
    }
}

/// to\[s·WIDTH + j\] ← slot s of column j: a panel of the right factor, WIDTH ≤ LANES where slots have several steps.
///
/// # Safety
/// The processor has V's instruction set and AVX2, and the caller enables them; `from` has depth×WIDTH elements, `to`
/// room for WIDTH slots a step.
#[inline(always)]
pub(super) unsafe fn panel<V: Vector, P: Packing<V>, const WIDTH: usize>(
    from: Source<V::Number>,
    depth: usize,
    to: *mut V::Number,
) {
    let slots = depth.div_ceil(P::DEPTH);
    // A panel is a sliver of the transpose: its columns are the lanes.
    let from = Source { start: from.start, row_stride: from.col_stride, col_stride: from.row_stride };
    // SAFETY: the caller's promise.
    unsafe {
        let mut done = 0;
        if from.row_stride == 1 {
            for slot in 0..slots {
                let (first, to) = (from.at(0, slot * P::DEPTH), to.add(slot * WIDTH));
                if P::DEPTH == 1 {
                    *to.cast::<[V::Number; WIDTH]>() = *first.cast::<[V::Number; WIDTH]>();
                } else {
                    let steps = (depth - slot * P::DEPTH).min(P::DEPTH);
                    P::gather_first(first, from.col_stride, steps, WIDTH).store_first(to, WIDTH);
                }
            }
            return;
        }
        if from.col_stride == 1 && WIDTH.is_multiple_of(4) {
            done = depth / (P::BLOCK * P::DEPTH) * P::BLOCK;
            for slot in (0..done).step_by(P::BLOCK) {
                let mut col = 0;
                while col + P::BLOCK <= WIDTH {
                    let (from_row, to) = (from.at(col, slot * P::DEPTH), to.add(slot * WIDTH + col));
                    P::transpose(from_row, from.row_stride, to, WIDTH);
                    col += P::BLOCK;
                }
                // Half a block of columns is left, as two squares.
                while col < WIDTH {
                    for slot in [slot, slot + 4] {
                        let (from_row, to) = (from.at(col, slot * P::DEPTH), to.add(slot * WIDTH + col));
                        P::transpose_4(from_row, from.row_stride, to, WIDTH);
                    }
                    col += 4;
                }
            }
        }
        strided::<V, P>(from, 0..WIDTH, done..slots, depth, (to, WIDTH));
    }
}

#[inline(always)]
unsafe fn strided<V: Vector, P: Packing<V>>(
    from: Source<V::Number>,
    rows: Range<usize>,
    slots: Range<usize>,
    depth: usize,
    (to, width): (*mut V::Number, usize),
) {
    for slot in slots {
        let k = slot * P::DEPTH;
        for i in rows.clone() {
            // SAFETY: the caller's ranges are those of the matrix.
            unsafe { *to.add(slot * width + i) = P::slot(from.at(i, k), from.col_stride, (depth - k).min(P::DEPTH)) };
        }
    }
}
