//! Factors rounded to bf16: eight bits of each number, two of them in the place of one, and products that are summed in
//! f32.
//!
//! `VDPBF16PS` adds a₂ᵢb₂ᵢ + a₂ᵢ₊₁b₂ᵢ₊₁ to each f32 of a register, twice the work of a multiply-add. A slot is
//! therefore a pair of neighbours in depth, and an odd depth ends with a 0.
//!
//! Rounding is to nearest, ties to even, whatever the processor's state says. A factor below the normal numbers, of
//! less than 2⁻¹²⁶, counts as 0, and so does a sum: neither is of any size beside the rounding of a factor of 1. A NaN
//! stays one, and what is too large becomes infinite.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::pack::{Fours, Packing, transpose_4, transpose_8};
use super::vector::Vector;

/// Whether this processor has the instructions.
pub(in crate::device::cpu) fn is_detected() -> bool {
    super::Level::Avx512.is_available()
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16")
}

/// Two f32 in a slot, the one of less depth in its lower half.
pub(super) struct Pairs;

impl Fours for Pairs {
    #[inline(always)]
    unsafe fn four(row: *const f32, first: usize) -> __m128 {
        // SAFETY: eight numbers are four slots; all types are of 128 bits.
        unsafe { transmute::<__m128bh, __m128>(_mm256_cvtneps_pbh(_mm256_loadu_ps(row.add(2 * first)))) }
    }
}

/// Lane i becomes the pair of number i of `lower` and number i of `upper`.
#[inline(always)]
unsafe fn pairs(lower: __m512, upper: __m512) -> __m512 {
    // SAFETY: the caller has the instructions; all types are of 512 bits.
    unsafe {
        let rounded = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(upper, lower));
        // Number i of the lower half, then of the upper one, in 16 bits each.
        let places = _mm512_setr_epi32(
            0x10_0000, 0x11_0001, 0x12_0002, 0x13_0003, 0x14_0004, 0x15_0005, 0x16_0006, 0x17_0007, 0x18_0008,
            0x19_0009, 0x1a_000a, 0x1b_000b, 0x1c_000c, 0x1d_000d, 0x1e_000e, 0x1f_000f,
        );
        _mm512_castsi512_ps(_mm512_permutexvar_epi16(places, rounded))
    }
}

impl Packing<__m512> for Pairs {
    const DEPTH: usize = 2;
    const ONE: f32 = 1.0;
    const BLOCK: usize = 8;

    #[inline(always)]
    unsafe fn gather(from: *const f32, stride: usize) -> __m512 {
        // SAFETY: the caller's promise, here and below.
        unsafe { pairs(__m512::load(from), __m512::load(from.add(stride))) }
    }

    #[inline(always)]
    unsafe fn gather_first(from: *const f32, stride: usize, depth: usize, count: usize) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let upper = if depth < 2 { __m512::zero() } else { __m512::load_first(from.add(stride), count) };
            pairs(__m512::load_first(from, count), upper)
        }
    }

    #[inline(always)]
    unsafe fn slot(from: *const f32, stride: usize, depth: usize) -> f32 {
        // SAFETY: as above; all types are of 128 bits.
        unsafe {
            let upper = if depth < 2 { 0.0 } else { *from.add(stride) };
            _mm_cvtss_f32(transmute::<__m128bh, __m128>(_mm_cvtneps_pbh(_mm_setr_ps(*from, upper, 0.0, 0.0))))
        }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: as above.
        unsafe { transpose_8::<Self>(from, from_stride, to, to_stride) }
    }

    #[inline(always)]
    unsafe fn transpose_4(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: as above.
        unsafe { transpose_4::<Self>(from, from_stride, to, to_stride) }
    }

    #[inline(always)]
    unsafe fn add(sum: __m512, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above; all types are of 512 bits.
        unsafe { _mm512_dpbf16_ps(sum, transmute::<__m512, __m512bh>(a), transmute::<__m512, __m512bh>(b)) }
    }
}

#[cfg(test)]
pub(super) mod tests;
