//! Y = W Z: tiles of Y in registers, as many rows of W as they leave room for.

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
use std::ops::Range;

use super::super::LINE;
use super::super::pack::Pack;
use super::super::vector::Vector;
use super::{MOST_SAMPLES, Push};

/// Columns of W that are multiplied at a time; their sums are then added to Y. With [`ROWS`] as many as the second
/// cache holds twice.
const DEPTH: usize = 64;
/// Rows of a block of W: in memory a column's part of it is long enough that the next one may be elsewhere.
const ROWS: usize = 512;

/// The rows `rows` of Y ← W Z.
///
/// # Safety
/// As for [`super::push`], inside a function that enables V's instruction set.
#[inline(always)]
pub(super) unsafe fn rows<V: Vector>(p: &Push<V::Number>, rows: Range<usize>)
where
    V::Number: Pack,
{
    let mut packed = [V::Number::default(); DEPTH * MOST_SAMPLES];
    for from in (0..p.cols).step_by(DEPTH) {
        let depth = DEPTH.min(p.cols - from);
        let mut sample = 0;
        while sample < p.samples {
            let width = next_width::<V>(p.samples - sample);
            // SAFETY: `depth` numbers of `width` columns of Z; each tile has a part of its own.
            unsafe {
                let place = packed.as_mut_ptr().add(sample * DEPTH);
                pack(p.z.add(sample * p.z_stride + from), p.z_stride, (depth, width), place);
            }
            sample += width;
        }
        for start in rows.clone().step_by(ROWS) {
            let end = (start + ROWS).min(rows.end);
            // The next block: below this one, or at the top of the next columns.
            let (row, col) = if end < rows.end { (end, from) } else { (rows.start, from + DEPTH) };
            let ahead = if col < p.cols { p.weight.wrapping_add(col * p.rows + row) } else { std::ptr::null() };
            let mut sample = 0;
            while sample < p.samples {
                let width = next_width::<V>(p.samples - sample);
                let z = packed.as_ptr().wrapping_add(sample * DEPTH);
                let ahead = if sample == 0 { ahead } else { std::ptr::null() };
                let tile = Tile { from, depth, sample, rows: start..end, z, ahead };
                macro_rules! choose {
                    ($($width:literal: $tall:literal $short:literal;)*) => {
                        match (V::COLS == 12, width) {
                            $(
                                // SAFETY: as for this function.
                                (true, $width) => unsafe { tile.run::<V, $tall, $width>(p) },
                                // SAFETY: as for this function.
                                (false, $width) => unsafe { tile.run::<V, $short, $width>(p) },
                            )*
                            _ => unreachable!("no tile of {width} samples"),
                        }
                    };
                }
                choose!(1: 8 8; 2: 8 4; 3: 8 4; 4: 4 2; 5: 4 2; 6: 4 2; 8: 2 1; 10: 2 1; 12: 2 1; 16: 1 1;);
                sample += width;
            }
        }
    }
}

/// Samples of the next tile when `left` are left.
#[inline(always)]
fn next_width<V: Vector>(left: usize) -> usize {
    match left {
        16.. if V::COLS == 12 => 16,
        14 | 16 => 8,
        13 | 15 | 18 => 10,
        11 => 8,
        9 => 6,
        7 => 4,
        ..=12 => left,
        _ => 12,
    }
}

/// to\[k·width + n\] ← from\[n·stride + k\].
#[inline(always)]
unsafe fn pack<N: Copy>(from: *const N, stride: usize, (depth, width): (usize, usize), to: *mut N) {
    for k in 0..depth {
        for n in 0..width {
            // SAFETY: the caller's promise.
            unsafe { *to.add(k * width + n) = *from.add(n * stride + k) };
        }
    }
}

/// A block of W times some samples.
struct Tile<N> {
    from: usize,
    depth: usize,
    sample: usize,
    rows: Range<usize>,
    /// Packed: the samples of a step side by side.
    z: *const N,
    /// Where the block begins that is multiplied next, which is asked for meanwhile; null to ask for nothing.
    ahead: *const N,
}

impl<N: Pack> Tile<N> {
    #[inline(always)]
    unsafe fn run<V: Vector<Number = N>, const MV: usize, const NR: usize>(&self, p: &Push<N>) {
        let (weight, y) = (p.weight.wrapping_add(self.from * p.rows), p.y.wrapping_add(self.sample * p.rows));
        let tiles = self.rows.len() / (MV * V::LANES);
        let mut row = self.rows.start;
        // SAFETY: rows of the range alone.
        unsafe {
            for tile in 0..tiles {
                self.whole::<V, MV, NR>(weight.add(row), p.rows, y.add(row), (tile, tiles));
                row += MV * V::LANES;
            }
            while row < self.rows.end {
                self.few::<V, NR>(weight.add(row), p.rows, y.add(row), (self.rows.end - row).min(V::LANES));
                row += V::LANES;
            }
        }
    }

    /// MV registers of rows. The `tiles` of a block each ask for some columns of the next block, as many bytes a step
    /// as they read.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Plain indices unroll into registers; iterators do not.
    unsafe fn whole<V: Vector<Number = N>, const MV: usize, const NR: usize>(
        &self,
        weight: *const N,
        stride: usize,
        y: *mut N,
        (tile, tiles): (usize, usize),
    ) {
        let bytes = MV * V::LANES * size_of::<N>();
        // SAFETY: the caller's promise; a prefetch reads nothing.
        unsafe {
            let mut sums = [[V::zero(); MV]; NR];
            let mut k = 0;
            while k < self.depth {
                let end = (k + tiles).min(self.depth);
                let ahead: *const u8 = self.ahead.wrapping_add((tile * self.depth + k) / tiles * stride).cast();
                let start = k;
                while k < end {
                    let column = weight.add(k * stride);
                    if !self.ahead.is_null() {
                        for line in (0..bytes).step_by(LINE) {
                            _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add((k - start) * bytes + line).cast());
                        }
                    }
                    for i in 0..MV {
                        let left = V::load(column.add(i * V::LANES));
                        for j in 0..NR {
                            sums[j][i] = sums[j][i].add_mul(left, V::splat(*self.z.add(k * NR + j)));
                        }
                    }
                    k += 1;
                }
            }
            let one = V::splat(N::ONE);
            for j in 0..NR {
                for i in 0..MV {
                    let place = y.add(j * stride + i * V::LANES);
                    let sum = if self.from == 0 { sums[j][i] } else { V::load(place).add_mul(sums[j][i], one) };
                    sum.store(place);
                }
            }
        }
    }

    /// The first `rows` of a register.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // As in `whole`.
    unsafe fn few<V: Vector<Number = N>, const NR: usize>(
        &self,
        weight: *const N,
        stride: usize,
        y: *mut N,
        rows: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [V::zero(); NR];
            for k in 0..self.depth {
                let left = V::load_first(weight.add(k * stride), rows);
                for j in 0..NR {
                    sums[j] = sums[j].add_mul(left, V::splat(*self.z.add(k * NR + j)));
                }
            }
            let one = V::splat(N::ONE);
            for j in 0..NR {
                let place = y.add(j * stride);
                let sum = if self.from == 0 { sums[j] } else { V::load_first(place, rows).add_mul(sums[j], one) };
                sum.store_first(place, rows);
            }
        }
    }
}
