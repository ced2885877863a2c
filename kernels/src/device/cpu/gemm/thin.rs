//! Tiles of few rows: what is left below the last whole register.
//!
//! 50 rows are three registers of 16 and two rows more, for which a register of their own is an eighth full. In a thin
//! tile a register holds up to LANES/4 rows of four columns instead, so that the rest costs a third of that.

use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};

use super::tile::Target;
use super::vector::{Quarters, Vector};

/// Columns that share a register.
const COLUMNS: usize = 4;
/// Steps whose sums are kept apart, since the few sums of a step would wait for one another.
const STEPS: usize = 4;

/// Instruction sets that may have a way of their own for tiles of few rows.
pub(super) trait Thin: Vector {
    /// Most rows of a thin tile; 0 where there is none.
    const MOST_ROWS: usize = 0;

    /// c ← βm + α Σ_k a\[:,k\] b\[k,:\], as [`super::tile::tile`], for packed factors whose sliver has one register a
    /// step. Returns whether it did: only for up to MOST_ROWS rows, and columns in fours up to twelve.
    ///
    /// # Safety
    /// As for [`super::tile::tile`].
    #[inline(always)]
    unsafe fn thin_tile(
        depth: usize,
        a: *const Self::Number,
        b: *const Self::Number,
        shape: (usize, usize),
        target: Target<Self::Number>,
    ) -> bool {
        let _ = (depth, a, b, shape, target);
        false
    }
}

// A register of AVX2 has two quarters of 128 bits: too little is gained.
impl Thin for __m256 {}
impl Thin for __m256d {}

macro_rules! implement {
    ($register:ty) => {
        impl Thin for $register {
            const MOST_ROWS: usize = Self::LANES / 2;

            #[inline(always)]
            unsafe fn thin_tile(
                depth: usize,
                a: *const Self::Number,
                b: *const Self::Number,
                (rows, cols): (usize, usize),
                target: Target<Self::Number>,
            ) -> bool {
                if rows > Self::MOST_ROWS {
                    return false;
                }
                for row in (0..rows).step_by(Self::LANES / 4) {
                    let (a, target) = (a.wrapping_add(row), target.at(row, 0));
                    let rows = (rows - row).min(Self::LANES / 4);
                    // SAFETY: the caller's promise.
                    unsafe {
                        match cols {
                            4 => tile::<Self, 1>(depth, a, b, rows, target),
                            8 => tile::<Self, 2>(depth, a, b, rows, target),
                            12 => tile::<Self, 3>(depth, a, b, rows, target),
                            _ => return false,
                        }
                    }
                }
                true
            }
        }
    };
}

implement!(__m512);
implement!(__m512d);

/// The tile for 4·FOURS columns.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Plain indices unroll into registers; iterators do not.
unsafe fn tile<V: Quarters, const FOURS: usize>(
    depth: usize,
    a: *const V::Number,
    b: *const V::Number,
    rows: usize,
    target: Target<V::Number>,
) {
    // SAFETY: the factors are readable for `depth` steps, the target writable for `rows` rows and 4·FOURS columns.
    unsafe {
        let mut sums = [[V::zero(); FOURS]; STEPS];
        let mut k = 0;
        while k + STEPS <= depth {
            for step in 0..STEPS {
                sums[step] = add_step::<V, FOURS>(sums[step], a, b, k + step);
            }
            k += STEPS;
        }
        while k < depth {
            sums[0] = add_step::<V, FOURS>(sums[0], a, b, k);
            k += 1;
        }
        let one = V::splat(V::ONE);
        for four in 0..FOURS {
            let low = sums[0][four].add_mul(sums[1][four], one);
            let sum = sums[2][four].add_mul(sums[3][four], one).add_mul(low, one);
            write::<V>(sum, rows, target.at(0, four * COLUMNS));
        }
    }
}

/// A step of depth: a rank-one update of the sums.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // As in `tile`.
unsafe fn add_step<V: Quarters, const FOURS: usize>(
    mut sums: [V; FOURS],
    a: *const V::Number,
    b: *const V::Number,
    k: usize,
) -> [V; FOURS] {
    // SAFETY: k is one of the steps of `tile`.
    unsafe {
        let left = V::repeat(a.add(k * V::LANES));
        for four in 0..FOURS {
            let right = V::spread(b.add((k * FOURS + four) * COLUMNS));
            sums[four] = sums[four].add_mul(left, right);
        }
        sums
    }
}

/// Writes the first `rows` rows of the four columns in `sum`.
#[inline(always)]
unsafe fn write<V: Quarters>(sum: V, rows: usize, target: Target<V::Number>) {
    // SAFETY: the target is the tile's, and no row from `rows` on is touched.
    unsafe {
        let (alpha, beta) = (V::splat(target.alpha), V::splat(target.beta));
        for j in 0..COLUMNS {
            let (column, target) = (sum.quarter(j), target.at(0, j));
            if target.addend.is_null() {
                column.mul(alpha).store_first(target.c, rows);
            } else {
                let scaled = V::load_first(target.addend, rows).mul(beta);
                scaled.add_mul(column, alpha).store_first(target.c, rows);
            }
        }
    }
}
