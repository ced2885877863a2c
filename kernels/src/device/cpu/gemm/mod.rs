//! Matrix products on one core, for x86-64 with AVX2 or AVX-512.
//!
//! The algorithm is that of Goto and van de Geijn (*Anatomy of high-performance matrix multiplication*, 2008): a packed
//! block of the left factor stays in the second cache, a panel of the right one in the first, and a microkernel keeps
//! one tile of the destination in registers. Three things are as the relative gradient wants them, where its factors
//! are a huge weight and a batch of N samples, and are not to be had from a general library:
//!
//! * another matrix is added as a tile is written: ΔW = (1/N) δ Uᵀ + W reads W and writes ΔW once;
//! * a batch is read where it lies, where the registers suffice for the addresses of a tile's columns: one pass over W
//!   is too short to make up for packing its partner;
//! * W is packed by the first tile that reads it, and the lines of its next block are asked for meanwhile, since with a
//!   hundred columns to multiply a pass of its own costs an eighth of the product.

mod ahead;
pub(super) mod bf16;
pub(super) mod few;
mod loops;
mod pack;
mod thin;
mod tile;
mod vector;

use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use faer::{MatMut, MatRef};

use super::product::Onto;
use crate::math::Math;
use crate::scalar::{Dtype, Scalar};
use bf16::Pairs;
use loops::blocked;
use pack::{Plain, Source};
use tile::Target;
use vector::Vector;

/// Bytes of a packed panel of the right factor.
const PANEL_BYTES: usize = 384 << 10;
/// Bytes that a cache fetches at a time.
const LINE: usize = 64;

/// An instruction set that the microkernel is written for; each has those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Level {
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors.
    Avx512,
}

impl Level {
    /// Every level, the widest first.
    const ALL: [Self; 2] = [Self::Avx512, Self::Avx2];

    /// Whether this processor has it.
    fn is_available(self) -> bool {
        Self::best().is_some_and(|best| self <= best)
    }

    /// The widest level that this processor has. It is asked once: each question is a call into the standard library,
    /// and small products have several.
    pub(super) fn best() -> Option<Self> {
        static BEST: AtomicUsize = AtomicUsize::new(UNKNOWN);
        const UNKNOWN: usize = usize::MAX;
        let mut place = BEST.load(Ordering::Relaxed);
        if place == UNKNOWN {
            place = Self::ALL.iter().position(|level| level.is_detected()).unwrap_or(Self::ALL.len());
            BEST.store(place, Ordering::Relaxed);
        }
        Self::ALL.get(place).copied()
    }

    fn is_detected(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        match self {
            Self::Avx2 => avx2,
            Self::Avx512 => avx2 && is_x86_feature_detected!("avx512f"),
        }
    }
}

/// How a product is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProductKernel {
    /// In the precision of its numbers.
    Exact(Level),
    /// With f32 numbers, factors rounded to bf16.
    Bf16,
}

impl ProductKernel {
    /// That of an arithmetic, where this processor has one.
    pub(super) fn of(math: Math) -> Option<Self> {
        match math {
            Math::Bf16 => bf16::is_detected().then_some(Self::Bf16),
            Math::F32 | Math::Tf32 | Math::F64 => Level::best().map(Self::Exact),
        }
    }

    /// Whether this processor has it for a type of numbers.
    fn is_available(self, dtype: Dtype) -> bool {
        match self {
            Self::Exact(level) => level.is_available(),
            Self::Bf16 => dtype == Dtype::F32 && bf16::is_detected(),
        }
    }
}

/// c ← addend + αab on the calling thread, for a column-major c.
///
/// Returns whether it did: not when a stride is negative, c or the addend is not column-major, or memory for packing is
/// not to be had. Shapes fit: the caller has checked.
pub(super) fn multiply<T: Scalar>(
    kernel: ProductKernel,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    onto: Onto<'_, T>,
    c: MatMut<'_, T>,
) -> bool {
    assert!(kernel.is_available(T::DTYPE), "{kernel:?} is not there");
    let (beta, m) = match onto {
        Onto::Overwrite => (T::of(0.0), None),
        Onto::Scaled(beta) => (beta, Some(c.as_ref())),
        Onto::Matrix(m) => (T::of(1.0), Some(m)),
    };
    let column_major = |m: MatRef<'_, T>| m.row_stride() == 1 && m.col_stride() >= 0;
    let forward = |m: MatRef<'_, T>| m.row_stride() >= 0 && m.col_stride() >= 0;
    if !(forward(a) && forward(b) && column_major(c.as_ref()) && m.is_none_or(column_major)) {
        return false;
    }
    let product = Product {
        rows: c.nrows(),
        cols: c.ncols(),
        depth: a.ncols(),
        a: source(a),
        b: source(b),
        target: Target {
            alpha,
            beta,
            addend: m.map_or(std::ptr::null(), |m| m.as_ptr()),
            addend_stride: m.map_or(0, |m| m.col_stride().unsigned_abs()),
            c_stride: c.col_stride().unsigned_abs(),
            c: c.as_ptr_mut(),
        },
    };
    PACKED.with_borrow_mut(|packed| {
        if packed.is_none() {
            *packed = Packed::new();
        }
        let Some(packed) = packed else { return false };
        // SAFETY: the kernel is there; the views are valid for their shapes, which fit, and c is exclusive.
        unsafe { product.run(kernel, packed) };
        true
    })
}

fn source<T: Scalar>(m: MatRef<'_, T>) -> Source<T> {
    // A single row or column may have any stride; 1 is the one that is read in place.
    let row_stride = if m.nrows() <= 1 { 1 } else { m.row_stride().unsigned_abs() };
    Source { start: m.as_ptr(), row_stride, col_stride: m.col_stride().unsigned_abs() }
}

thread_local! {
    static PACKED: RefCell<Option<Packed>> = const { RefCell::new(None) };
}

/// Memory for packed operands, taken by a thread's first product and kept: a few hundred KiB whatever the sizes.
struct Packed {
    block: Vec<f64>,
    panel: Vec<f64>,
}

impl Packed {
    /// As much as the widest level of this processor uses, which is not less than that of any other.
    fn new() -> Option<Self> {
        let block_bytes = match Level::best()? {
            Level::Avx2 => __m256::BLOCK_BYTES,
            Level::Avx512 => __m512::BLOCK_BYTES,
        };
        let take = |bytes: usize| {
            let mut numbers = Vec::new();
            numbers.try_reserve_exact((bytes + LINE) / size_of::<f64>()).ok()?;
            Some(numbers)
        };
        Some(Self { block: take(block_bytes)?, panel: take(PANEL_BYTES)? })
    }

    /// Where the block and the panel begin, each on a line of its own.
    fn starts(&mut self) -> (*mut f64, *mut f64) {
        let start = |numbers: &mut Vec<f64>| {
            let start = numbers.as_mut_ptr();
            start.wrapping_add(start.align_offset(LINE))
        };
        (start(&mut self.block), start(&mut self.panel))
    }
}

/// c ← βm + αab with the shapes of its factors.
struct Product<N> {
    rows: usize,
    cols: usize,
    depth: usize,
    a: Source<N>,
    b: Source<N>,
    target: Target<N>,
}

impl<T: Scalar> Product<T> {
    /// # Safety
    /// The processor has `kernel` for `T`; the factors are readable and the target writable for the shapes.
    unsafe fn run(&self, kernel: ProductKernel, packed: &mut Packed) {
        let (block, panel) = packed.starts();
        // SAFETY: the caller's promise. T is f32 or f64 as DTYPE says, so that each cast is to the type it already is.
        unsafe {
            match (T::DTYPE, kernel) {
                (Dtype::F32, ProductKernel::Exact(Level::Avx2)) => avx2_f32(self.cast(), block.cast(), panel.cast()),
                (Dtype::F64, ProductKernel::Exact(Level::Avx2)) => avx2_f64(self.cast(), block, panel),
                (Dtype::F32, ProductKernel::Exact(Level::Avx512)) => {
                    avx512_f32(self.cast(), block.cast(), panel.cast())
                }
                (Dtype::F64, ProductKernel::Exact(Level::Avx512)) => avx512_f64(self.cast(), block, panel),
                (_, ProductKernel::Bf16) => avx512_bf16(self.cast(), block.cast(), panel.cast()),
            }
        }
    }

    /// # Safety
    /// `N` is `T`.
    unsafe fn cast<N>(&self) -> &Product<N> {
        // SAFETY: the same type under another name.
        unsafe { &*std::ptr::from_ref(self).cast() }
    }
}

/// [`blocked`] compiled for an instruction set.
macro_rules! compile {
    ($($name:ident: $features:literal, $register:ty, $packing:ty, $number:ty;)+) => {
        $(
            #[target_feature(enable = $features)]
            unsafe fn $name(product: &Product<$number>, block: *mut $number, panel: *mut $number) {
                // SAFETY: the features are enabled, the rest is the caller's promise.
                unsafe { blocked::<$register, $packing>(product, block, panel) }
            }
        )+
    };
}

compile! {
    avx2_f32: "avx2,fma", __m256, Plain, f32;
    avx2_f64: "avx2,fma", __m256d, Plain, f64;
    avx512_f32: "avx2,fma,avx512f", __m512, Plain, f32;
    avx512_f64: "avx2,fma,avx512f", __m512d, Plain, f64;
    avx512_bf16: "avx2,fma,avx512f,avx512bw,avx512vl,avx512bf16", __m512, Pairs, f32;
}

#[cfg(test)]
mod tests;
