//! Vector registers: the few instructions that the microkernel is made of, one implementation per instruction set.

#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "every method is one instruction, under the contract of the trait"
)]

use std::arch::x86_64::*;

/// A register of [`Vector::LANES`] numbers.
///
/// # Safety
/// Every method may be called only on a processor that has the instruction set of the implementing type, inside a
/// function that enables it; pointers must be valid for the numbers read or written (no alignment is asked for).
pub(super) trait Vector: Copy {
    /// A number of one lane.
    type Number: Copy + Default;
    /// Numbers in a register.
    const LANES: usize;
    /// Rows of a tile: two registers.
    const ROWS: usize = 2 * Self::LANES;
    /// Columns of a tile: with its sums, a sliver and one number of the panel the registers are just filled.
    const COLS: usize;

    /// Whether a tile's columns of the right factor are read where they lie: with twelve of them the addresses no
    /// longer fit the general registers, and packing them first is faster by half.
    const READS_COLUMNS: bool;
    /// Bytes of a packed block of the left factor, a part of the second cache: 512 KiB on processors with AVX2 alone,
    /// 1 MiB or more on those with AVX-512.
    const BLOCK_BYTES: usize;
    /// A left factor of fewer bytes is taken to be in a cache that is near enough, where asking for lines ahead of time
    /// costs more than it saves.
    const STREAMED_BYTES: usize;

    /// All lanes 0.
    unsafe fn zero() -> Self;
    /// All lanes `x`.
    unsafe fn splat(x: Self::Number) -> Self;
    /// The numbers at `from`.
    unsafe fn load(from: *const Self::Number) -> Self;
    /// Writes all lanes.
    unsafe fn store(self, to: *mut Self::Number);
    /// The same past the caches, to an address that is a multiple of the register's size.
    unsafe fn stream(self, to: *mut Self::Number);
    /// The sum of all lanes.
    unsafe fn sum(self) -> Self::Number;
    /// The first `count` ≤ LANES numbers at `from`; the other lanes are 0.
    unsafe fn load_first(from: *const Self::Number, count: usize) -> Self;
    /// Writes the first `count` ≤ LANES lanes.
    unsafe fn store_first(self, to: *mut Self::Number, count: usize);
    /// self·factor.
    unsafe fn mul(self, factor: Self) -> Self;
    /// self + a·b, rounded once.
    unsafe fn add_mul(self, a: Self, b: Self) -> Self;
}

/// What a register of four quarters can do besides.
///
/// # Safety
/// As for [`Vector`].
pub(super) trait Quarters: Vector {
    /// 1, to add up.
    const ONE: Self::Number;
    /// The LANES/4 numbers at `from`, in every quarter.
    unsafe fn repeat(from: *const Self::Number) -> Self;
    /// The four numbers at `from`, each filling a quarter.
    unsafe fn spread(from: *const Self::Number) -> Self;
    /// The quarter of an `index` below 4 in the lowest quarter; the others hold whatever.
    unsafe fn quarter(self, index: usize) -> Self;
}

/// A register by its sizes, and instructions in the order of the methods of [`Vector`]; those for the first lanes are
/// expressions.
macro_rules! implement {
    ($register:ty, $number:ty, $lanes:literal {
        $cols:literal, $reads_columns:literal, $block_bytes:expr, $streamed_bytes:expr;
        $zero:ident $splat:ident $load:ident $store:ident $stream:ident $mul:ident $fma:ident;
        |$all:ident| $sum:expr;
        |$from:ident, $n:ident| $load_first:expr;
        |$this:ident, $to:ident, $count:ident| $store_first:expr;
    }) => {
        impl Vector for $register {
            type Number = $number;
            const LANES: usize = $lanes;
            const COLS: usize = $cols;
            const READS_COLUMNS: bool = $reads_columns;
            const BLOCK_BYTES: usize = $block_bytes;
            const STREAMED_BYTES: usize = $streamed_bytes;

            #[inline(always)]
            unsafe fn zero() -> Self {
                unsafe { $zero() }
            }

            #[inline(always)]
            unsafe fn splat(x: $number) -> Self {
                unsafe { $splat(x) }
            }

            #[inline(always)]
            unsafe fn load(from: *const $number) -> Self {
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $number) {
                unsafe { $store(to, self) }
            }

            #[inline(always)]
            unsafe fn stream(self, to: *mut $number) {
                unsafe { $stream(to, self) }
            }

            #[inline(always)]
            unsafe fn sum(self) -> $number {
                let $all = self;
                unsafe { $sum }
            }

            #[inline(always)]
            unsafe fn load_first($from: *const $number, $n: usize) -> Self {
                unsafe { $load_first }
            }

            #[inline(always)]
            unsafe fn store_first(self, $to: *mut $number, $count: usize) {
                let $this = self;
                unsafe { $store_first }
            }

            #[inline(always)]
            unsafe fn mul(self, factor: Self) -> Self {
                unsafe { $mul(self, factor) }
            }

            #[inline(always)]
            unsafe fn add_mul(self, a: Self, b: Self) -> Self {
                unsafe { $fma(a, b, self) }
            }
        }
    };
}

// A masked store of AVX2 costs tens of cycles on some processors.
implement! { __m256, f32, 8 {
    6, true, 96 << 10, 8 << 20;
    _mm256_setzero_ps _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_stream_ps _mm256_mul_ps _mm256_fmadd_ps;
    |all| sum_ps(_mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps::<1>(all)));
    |from, count| _mm256_maskload_ps(from, lanes_below::<4>(count));
    |register, to, count| store_first_ps(register, to, count);
} }
implement! { __m256d, f64, 4 {
    6, true, 96 << 10, 8 << 20;
    _mm256_setzero_pd _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_stream_pd _mm256_mul_pd _mm256_fmadd_pd;
    |all| sum_pd(_mm_add_pd(_mm256_castpd256_pd128(all), _mm256_extractf128_pd::<1>(all)));
    |from, count| _mm256_maskload_pd(from, lanes_below::<8>(count));
    |register, to, count| store_first_pd(register, to, count);
} }
implement! { __m512, f32, 16 {
    12, false, 384 << 10, 2 << 20;
    _mm512_setzero_ps _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_stream_ps _mm512_mul_ps _mm512_fmadd_ps;
    |all| _mm512_reduce_add_ps(all);
    |from, count| _mm512_maskz_loadu_ps(first_lanes(count) as __mmask16, from);
    |register, to, count| _mm512_mask_storeu_ps(to, first_lanes(count) as __mmask16, register);
} }
implement! { __m512d, f64, 8 {
    12, false, 384 << 10, 2 << 20;
    _mm512_setzero_pd _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_stream_pd _mm512_mul_pd _mm512_fmadd_pd;
    |all| _mm512_reduce_add_pd(all);
    |from, count| _mm512_maskz_loadu_pd(first_lanes(count) as __mmask8, from);
    |register, to, count| _mm512_mask_storeu_pd(to, first_lanes(count) as __mmask8, register);
} }

#[inline(always)]
unsafe fn sum_ps(four: __m128) -> f32 {
    unsafe {
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

#[inline(always)]
unsafe fn sum_pd(two: __m128d) -> f64 {
    unsafe { _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two))) }
}

/// A mask of the lowest `count` lanes of WIDTH bytes each in a 256-bit register.
#[inline(always)]
unsafe fn lanes_below<const WIDTH: usize>(count: usize) -> __m256i {
    // A window on eight ones and eight zeros of 32 bits.
    const WINDOW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    let skipped = 8 - (count * WIDTH / 4).min(8);
    unsafe { _mm256_loadu_si256(WINDOW.as_ptr().add(skipped).cast()) }
}

#[inline(always)]
unsafe fn store_first_ps(register: __m256, mut to: *mut f32, count: usize) {
    unsafe {
        if count >= 8 {
            return _mm256_storeu_ps(to, register);
        }
        let mut rest = _mm256_castps256_ps128(register);
        if count & 4 != 0 {
            _mm_storeu_ps(to, rest);
            rest = _mm256_extractf128_ps::<1>(register);
            to = to.add(4);
        }
        if count & 2 != 0 {
            _mm_storel_pd(to.cast(), _mm_castps_pd(rest));
            rest = _mm_movehl_ps(rest, rest);
            to = to.add(2);
        }
        if count & 1 != 0 {
            _mm_store_ss(to, rest);
        }
    }
}

#[inline(always)]
unsafe fn store_first_pd(register: __m256d, mut to: *mut f64, count: usize) {
    unsafe {
        if count >= 4 {
            return _mm256_storeu_pd(to, register);
        }
        let mut rest = _mm256_castpd256_pd128(register);
        if count & 2 != 0 {
            _mm_storeu_pd(to, rest);
            rest = _mm256_extractf128_pd::<1>(register);
            to = to.add(2);
        }
        if count & 1 != 0 {
            _mm_store_sd(to, rest);
        }
    }
}

/// A mask of the lowest `count` ≤ 16 bits.
#[inline(always)]
fn first_lanes(count: usize) -> u32 {
    (1 << count) - 1
}

impl Quarters for __m512 {
    const ONE: f32 = 1.0;

    #[inline(always)]
    unsafe fn repeat(from: *const f32) -> Self {
        unsafe { _mm512_broadcast_f32x4(_mm_loadu_ps(from)) }
    }

    #[inline(always)]
    unsafe fn spread(from: *const f32) -> Self {
        unsafe {
            let places = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
            _mm512_permutevar_ps(Self::repeat(from), places)
        }
    }

    #[inline(always)]
    unsafe fn quarter(self, index: usize) -> Self {
        unsafe {
            match index {
                0 => self,
                1 => _mm512_shuffle_f32x4::<1>(self, self),
                2 => _mm512_shuffle_f32x4::<2>(self, self),
                _ => _mm512_shuffle_f32x4::<3>(self, self),
            }
        }
    }
}

impl Quarters for __m512d {
    const ONE: f64 = 1.0;

    #[inline(always)]
    unsafe fn repeat(from: *const f64) -> Self {
        unsafe { _mm512_castps_pd(_mm512_broadcast_f32x4(_mm_castpd_ps(_mm_loadu_pd(from)))) }
    }

    #[inline(always)]
    unsafe fn spread(from: *const f64) -> Self {
        unsafe {
            let places = _mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3);
            _mm512_permutexvar_pd(places, _mm512_castpd256_pd512(_mm256_loadu_pd(from)))
        }
    }

    #[inline(always)]
    unsafe fn quarter(self, index: usize) -> Self {
        unsafe {
            match index {
                0 => self,
                1 => _mm512_shuffle_f64x2::<1>(self, self),
                2 => _mm512_shuffle_f64x2::<2>(self, self),
                _ => _mm512_shuffle_f64x2::<3>(self, self),
            }
        }
    }
}
