//! The microkernel: one tile of the destination, held in registers.

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

use super::LINE;
use super::pack::Packing;
use super::vector::Vector;

/// Where a tile's result goes and what it is added to: c ← βm + α·(a b), all column-major.
#[derive(Clone, Copy)]
pub(super) struct Target<N> {
    pub(super) alpha: N,
    pub(super) beta: N,
    /// m; null when the destination is overwritten.
    pub(super) addend: *const N,
    pub(super) addend_stride: usize,
    pub(super) c: *mut N,
    pub(super) c_stride: usize,
}

impl<N> Target<N> {
    /// The part that begins at `row` and `col`.
    #[inline(always)]
    pub(super) fn at(self, row: usize, col: usize) -> Self {
        let addend =
            if self.addend.is_null() { self.addend } else { self.addend.wrapping_add(row + col * self.addend_stride) };
        Self { addend, c: self.c.wrapping_add(row + col * self.c_stride), ..self }
    }
}

/// The left factor's sliver of a tile: MV·LANES rows, one group of their slots a step.
#[derive(Clone, Copy)]
pub(super) enum Left<N> {
    /// Packed: the groups one behind the other.
    Packed(*const N),
    /// In the matrix, `stride` numbers from one column to the next, in whole slots. The tile also packs it into
    /// `packed`, so that the first of many tiles saves the others a pass over the matrix.
    Fresh { start: *const N, stride: usize, packed: *mut N },
}

/// The right factor's panel of a tile: NR columns.
#[derive(Clone, Copy)]
pub(super) enum Right<N> {
    /// Packed: NR slots a step.
    Packed(*const N),
    /// In the matrix: columns `stride` numbers apart, one number a step; not where a slot has several.
    Columns { start: *const N, stride: usize },
}

/// c ← βm + α Σ_k a\[:,k\] b\[k,:\] for the first `rows` ≤ MV·LANES rows of a tile with NR columns.
///
/// # Safety
/// The processor has V's instruction set and P's, and the caller enables them. The factors are readable for `slots`
/// steps, the target for `rows` rows and NR columns; a [`Left::Fresh`] sliver has all its MV·LANES rows.
#[inline(always)]
pub(super) unsafe fn tile<V: Vector, P: Packing<V>, const MV: usize, const NR: usize>(
    slots: usize,
    a: Left<V::Number>,
    b: Right<V::Number>,
    rows: usize,
    target: Target<V::Number>,
) {
    // SAFETY: the caller's promise; the const arguments say which of the pointers are used, and how.
    unsafe {
        prefetch::<V, MV, NR>(rows, &target);
        let (packed, stride) = match b {
            Right::Packed(start) => (start, 0),
            Right::Columns { start, stride } => (start, stride),
        };
        let sums = match (a, b) {
            (Left::Packed(a), Right::Packed(_)) => {
                sums::<V, P, MV, NR, false, false>(slots, (a.cast_mut(), a, 0), packed, stride)
            }
            (Left::Packed(a), Right::Columns { .. }) => {
                sums::<V, P, MV, NR, false, true>(slots, (a.cast_mut(), a, 0), packed, stride)
            }
            (Left::Fresh { start, stride: step, packed: to }, Right::Packed(_)) => {
                sums::<V, P, MV, NR, true, false>(slots, (to, start, step), packed, stride)
            }
            (Left::Fresh { start, stride: step, packed: to }, Right::Columns { .. }) => {
                sums::<V, P, MV, NR, true, true>(slots, (to, start, step), packed, stride)
            }
        };
        if rows == MV * V::LANES {
            write::<V, MV, NR>(sums, target);
        } else {
            write_first::<V, MV, NR>(sums, rows, target);
        }
    }
}

/// Σ_k a\[:,k\] b\[k,:\].
#[inline(always)]
unsafe fn sums<V: Vector, P: Packing<V>, const MV: usize, const NR: usize, const FRESH: bool, const COLUMNS: bool>(
    slots: usize,
    a: (*mut V::Number, *const V::Number, usize),
    b: *const V::Number,
    b_stride: usize,
) -> [[V; MV]; NR] {
    // SAFETY: the steps are those of `tile`.
    unsafe {
        let mut sums = [[V::zero(); MV]; NR];
        let mut k = 0;
        while k + 4 <= slots {
            step::<V, P, MV, NR, FRESH, COLUMNS>(&mut sums, a, b, b_stride, k);
            step::<V, P, MV, NR, FRESH, COLUMNS>(&mut sums, a, b, b_stride, k + 1);
            step::<V, P, MV, NR, FRESH, COLUMNS>(&mut sums, a, b, b_stride, k + 2);
            step::<V, P, MV, NR, FRESH, COLUMNS>(&mut sums, a, b, b_stride, k + 3);
            k += 4;
        }
        while k < slots {
            step::<V, P, MV, NR, FRESH, COLUMNS>(&mut sums, a, b, b_stride, k);
            k += 1;
        }
        sums
    }
}

/// One slot of depth: an update of the sums by each of its steps. They are handed over by reference: by value, the
/// compiler keeps those of the widest tile on the stack where nothing optimises the crate again at link time.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Plain indices unroll into registers; iterators over two arrays do not.
unsafe fn step<V: Vector, P: Packing<V>, const MV: usize, const NR: usize, const FRESH: bool, const COLUMNS: bool>(
    sums: &mut [[V; MV]; NR],
    (packed, fresh, fresh_stride): (*mut V::Number, *const V::Number, usize),
    b: *const V::Number,
    b_stride: usize,
    k: usize,
) {
    // SAFETY: k is one of the steps of `tile`.
    unsafe {
        let mut left = [V::zero(); MV];
        for i in 0..MV {
            let place = packed.add((k * MV + i) * V::LANES);
            if FRESH {
                left[i] = P::gather(fresh.add(k * P::DEPTH * fresh_stride + i * V::LANES), fresh_stride);
                left[i].store(place);
            } else {
                left[i] = V::load(place);
            }
        }
        for j in 0..NR {
            let right = V::splat(*if COLUMNS { b.add(j * b_stride + k) } else { b.add(k * NR + j) });
            for i in 0..MV {
                sums[j][i] = P::add(sums[j][i], left[i], right);
            }
        }
    }
}

/// Writes a whole tile.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // As in `step`.
unsafe fn write<V: Vector, const MV: usize, const NR: usize>(sums: [[V; MV]; NR], target: Target<V::Number>) {
    // SAFETY: the target is the tile's.
    unsafe {
        let (alpha, beta) = (V::splat(target.alpha), V::splat(target.beta));
        for j in 0..NR {
            let c = target.c.add(j * target.c_stride);
            if target.addend.is_null() {
                for i in 0..MV {
                    sums[j][i].mul(alpha).store(c.add(i * V::LANES));
                }
            } else {
                let addend = target.addend.add(j * target.addend_stride);
                for i in 0..MV {
                    let scaled = V::load(addend.add(i * V::LANES)).mul(beta);
                    scaled.add_mul(sums[j][i], alpha).store(c.add(i * V::LANES));
                }
            }
        }
    }
}

/// Writes the first `rows` rows of a tile.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // As in `step`.
unsafe fn write_first<V: Vector, const MV: usize, const NR: usize>(
    sums: [[V; MV]; NR],
    rows: usize,
    target: Target<V::Number>,
) {
    // SAFETY: the target is the tile's, and no row from `rows` on is touched.
    unsafe {
        let (alpha, beta) = (V::splat(target.alpha), V::splat(target.beta));
        for j in 0..NR {
            let c = target.c.add(j * target.c_stride);
            for i in 0..MV {
                let start = i * V::LANES;
                if start >= rows {
                    break;
                }
                let count = (rows - start).min(V::LANES);
                if target.addend.is_null() {
                    sums[j][i].mul(alpha).store_first(c.add(start), count);
                } else {
                    let addend = target.addend.add(j * target.addend_stride + start);
                    let scaled = V::load_first(addend, count).mul(beta);
                    scaled.add_mul(sums[j][i], alpha).store_first(c.add(start), count);
                }
            }
        }
    }
}

/// Asks for the lines that the tile will be written to, and those of its addend, while the sums are being formed.
#[inline(always)]
unsafe fn prefetch<V: Vector, const MV: usize, const NR: usize>(rows: usize, target: &Target<V::Number>) {
    // SAFETY: a prefetch reads nothing; the addresses are within the target all the same.
    unsafe {
        for j in 0..NR {
            prefetch_column::<V, MV>(rows, target.c.wrapping_add(j * target.c_stride));
            if !target.addend.is_null() && !std::ptr::eq(target.addend, target.c) {
                prefetch_column::<V, MV>(rows, target.addend.wrapping_add(j * target.addend_stride));
            }
        }
    }
}

/// Every line of a column of `rows` numbers. It need not begin on one: 5,000 rows of f32 end in the middle of a line,
/// and 32 rows of the next column lie in three.
#[inline(always)]
unsafe fn prefetch_column<V: Vector, const MV: usize>(rows: usize, column: *const V::Number) {
    let a_line = (LINE / size_of::<V::Number>()).max(V::LANES);
    // SAFETY: as for `prefetch`.
    unsafe {
        for start in (0..MV * V::LANES).step_by(a_line) {
            _mm_prefetch::<_MM_HINT_T0>(column.wrapping_add(start).cast());
        }
        _mm_prefetch::<_MM_HINT_T0>(column.wrapping_add(rows - 1).cast());
    }
}
