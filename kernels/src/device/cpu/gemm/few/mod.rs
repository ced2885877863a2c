//! Passes over a weight for a batch of few samples, where memory is the limit and not arithmetic.
//!
//! With N samples an entry of W is good for 2N operations a product. Below some twenty samples it takes longer to get
//! it from memory, and what a product gains by packing W costs more than it saves. So here W is read where it lies,
//! column by column, and as seldom as it can be:
//!
//! * [`push`]: Y = W Z, one read;
//! * [`pull`]: \[U | V\] = Wᵀ\[Y | δ\], and while a block of columns is still in the second cache, its update
//!   ΔW = (1/N) δ Uᵀ + W or W ← βW + α δ Uᵀ: U_c = W_cᵀY needs the columns c alone, and so does the update. One read
//!   and one write.
//!
//! That is 3D²w bytes a layer for the 4D²w of one product after the other (MATH.md §15), and a stored gradient goes
//! past the caches, which would read each line of it first.

mod outer;
mod pull;
mod push;

use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
use std::ops::Range;

use super::Level;
use crate::scalar::{Dtype, Scalar};

/// A weight of more bytes comes from memory, and what is stored apart from it goes past the caches: none would hold
/// both.
pub(in crate::device::cpu) const STREAMED_BYTES: usize = 8 << 20;
/// Most samples of a pass.
const MOST_SAMPLES: usize = 24;

/// Y ← W Z for the rows of a share: `cols` columns of W, `samples` of Z and Y.
#[derive(Clone, Copy)]
pub(in crate::device::cpu) struct Push<N> {
    pub(in crate::device::cpu) rows: usize,
    pub(in crate::device::cpu) cols: usize,
    pub(in crate::device::cpu) samples: usize,
    pub(in crate::device::cpu) weight: *const N,
    pub(in crate::device::cpu) z: *const N,
    /// Numbers from a column of `z` to the next.
    pub(in crate::device::cpu) z_stride: usize,
    pub(in crate::device::cpu) y: *mut N,
}

/// \[U | V\] ← Wᵀ errors, then out ← βW + α left Uᵀ. All matrices are column-major with `rows` rows but for `pulled`,
/// which has a row for each column of W. `weight` and `out` may be the same.
#[derive(Clone, Copy)]
pub(in crate::device::cpu) struct Pull<N> {
    pub(in crate::device::cpu) rows: usize,
    pub(in crate::device::cpu) cols: usize,
    /// Columns of `left`, of U.
    pub(in crate::device::cpu) samples: usize,
    /// Columns of `errors` and `pulled`: those of U, and of V if that is wanted.
    pub(in crate::device::cpu) width: usize,
    pub(in crate::device::cpu) weight: *const N,
    pub(in crate::device::cpu) errors: *const N,
    pub(in crate::device::cpu) pulled: *mut N,
    /// What becomes of the weight; without it U and V are all.
    pub(in crate::device::cpu) update: Option<WeightUpdate<N>>,
}

/// out ← βW + α left Uᵀ.
#[derive(Clone, Copy)]
pub(in crate::device::cpu) struct WeightUpdate<N> {
    pub(in crate::device::cpu) left: *const N,
    pub(in crate::device::cpu) out: *mut N,
    pub(in crate::device::cpu) alpha: N,
    pub(in crate::device::cpu) beta: N,
    /// A row of U with a larger norm, or none, ends the pass before its block of columns is written.
    pub(in crate::device::cpu) most: Option<f64>,
    /// Whether `out` is written past the caches.
    pub(in crate::device::cpu) past_caches: bool,
}

// SAFETY: the addresses are read and written by ranges of rows or columns that are the caller's to share out.
unsafe impl<N: Sync> Sync for Push<N> {}
// SAFETY: as above.
unsafe impl<N: Sync> Sync for Pull<N> {}

/// Samples up to which a pass is faster than products that pack their factors: more where W comes from memory, fewer
/// where arithmetic is slower.
pub(in crate::device::cpu) fn most_samples(level: Level, weight_bytes: usize) -> usize {
    match level {
        Level::Avx2 => 8,
        Level::Avx512 if weight_bytes <= STREAMED_BYTES => 16,
        Level::Avx512 => MOST_SAMPLES,
    }
}

/// The rows `rows` of Y ← W Z.
///
/// # Safety
/// The level is there; the matrices are readable, and these rows of `y` writable and nobody else's.
pub(in crate::device::cpu) unsafe fn push<T: Scalar>(level: Level, pass: &Push<T>, rows: Range<usize>) {
    assert!(pass.samples <= MOST_SAMPLES, "{} samples", pass.samples);
    let pass: *const Push<T> = pass;
    // SAFETY: T is f32 or f64 as DTYPE says, so that each cast is to the type it already is; the rest is the caller's.
    unsafe {
        match (T::DTYPE, level) {
            (Dtype::F32, Level::Avx2) => push_avx2_f32(&*pass.cast(), rows),
            (Dtype::F64, Level::Avx2) => push_avx2_f64(&*pass.cast(), rows),
            (Dtype::F32, Level::Avx512) => push_avx512_f32(&*pass.cast(), rows),
            (Dtype::F64, Level::Avx512) => push_avx512_f64(&*pass.cast(), rows),
        }
    }
}

/// The columns `cols` of a pull. Returns whether no row of U was too large.
///
/// # Safety
/// The level is there; the matrices are readable, and these columns of `out` and rows of `pulled` writable and nobody
/// else's.
pub(in crate::device::cpu) unsafe fn pull<T: Scalar>(level: Level, pass: &Pull<T>, cols: Range<usize>) -> bool {
    assert!(pass.samples <= MOST_SAMPLES && pass.width <= 2 * MOST_SAMPLES, "{} errors", pass.width);
    assert!(pass.rows > 0 && pass.width >= pass.samples);
    let pass: *const Pull<T> = pass;
    // SAFETY: as in `push`.
    unsafe {
        match (T::DTYPE, level) {
            (Dtype::F32, Level::Avx2) => pull_avx2_f32(&*pass.cast(), cols),
            (Dtype::F64, Level::Avx2) => pull_avx2_f64(&*pass.cast(), cols),
            (Dtype::F32, Level::Avx512) => pull_avx512_f32(&*pass.cast(), cols),
            (Dtype::F64, Level::Avx512) => pull_avx512_f64(&*pass.cast(), cols),
        }
    }
}

/// The passes compiled for an instruction set; so many columns of W at a time, and so many that are updated
/// together.
macro_rules! compile {
    ($($push:ident $pull:ident: $features:literal, $register:ty, $number:ty, $columns:literal $group:literal;)+) => {
        $(
            #[target_feature(enable = $features)]
            unsafe fn $push(pass: &Push<$number>, rows: Range<usize>) {
                // SAFETY: the features are enabled, the rest is the caller's promise.
                unsafe { push::rows::<$register>(pass, rows) }
            }

            #[target_feature(enable = $features)]
            unsafe fn $pull(pass: &Pull<$number>, cols: Range<usize>) -> bool {
                // SAFETY: the features are enabled, the rest is the caller's promise.
                unsafe { pull::columns::<$register, $columns, $group>(pass, cols) }
            }
        )+
    };
}

compile! {
    push_avx2_f32 pull_avx2_f32: "avx2,fma", __m256, f32, 4 2;
    push_avx2_f64 pull_avx2_f64: "avx2,fma", __m256d, f64, 4 2;
    push_avx512_f32 pull_avx512_f32: "avx2,fma,avx512f", __m512, f32, 8 4;
    push_avx512_f64 pull_avx512_f64: "avx2,fma,avx512f", __m512d, f64, 8 4;
}

#[cfg(test)]
mod tests;
