//! Matrix products on one core, for x86-64 with AVX2 or AVX-512.
//!
//! The algorithm is that of Goto and van de Geijn (*Anatomy of high-performance matrix multiplication*, 2008): a packed block of
//! the left factor stays in the second cache, a panel of the right one in the first, and a microkernel keeps one tile of
//! the destination in registers. Three things are as the relative gradient wants them, where its factors are a huge weight
//! and a batch of N samples, and are not to be had from a general library:
//!
//! * another matrix is added as a tile is written: ΔW = (1/N) δ Uᵀ + W reads W and writes ΔW once;
//! * a batch is read where it lies, where the registers suffice for the addresses of a tile's columns: one pass over W is
//!   too short to make up for packing its partner;
//! * W is packed by the first tile that reads it, and the lines of its next block are asked for meanwhile, since with a
//!   hundred columns to multiply a pass of its own costs an eighth of the product.

mod ahead;
mod pack;
mod tile;
mod vector;

use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
use std::cell::RefCell;

use faer::{MatMut, MatRef};

use super::product::Onto;
use crate::scalar::{Dtype, Scalar};
use ahead::Ahead;
use pack::{Pack, Source};
use tile::{Left, Right, Target, tile};
use vector::Vector;

/// Steps of depth that are multiplied before the destination is visited again.
const DEPTH: usize = 256;
/// Bytes of a packed block of a left factor that streams through the caches, or at most those of [`Vector::BLOCK_BYTES`]:
/// a part of the second cache, which the batch and what comes next share.
const STREAMED_BLOCK_BYTES: usize = 96 << 10;
/// Bytes of a packed panel of the right factor.
const PANEL_BYTES: usize = 384 << 10;
/// Bytes that a cache fetches at a time.
const LINE: usize = 64;

/// An instruction set that the microkernel is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        match self {
            Self::Avx2 => avx2,
            Self::Avx512 => avx2 && is_x86_feature_detected!("avx512f"),
        }
    }

    /// The widest level that this processor has.
    pub(super) fn best() -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.is_available())
    }
}

/// c ← addend + αab on the calling thread, for a column-major c.
///
/// Returns whether it did: not when a stride is negative, c or the addend is not column-major, or memory for packing is
/// not to be had. Shapes fit: the caller has checked.
pub(super) fn multiply<T: Scalar>(
    level: Level,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    onto: Onto<'_, T>,
    c: MatMut<'_, T>,
) -> bool {
    assert!(level.is_available(), "{level:?} is not there");
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
        // SAFETY: the level is there; the views are valid for their shapes, which fit, and c is exclusive.
        unsafe { product.run(level, packed) };
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
    /// The processor has `level`; the factors are readable and the target writable for the shapes.
    unsafe fn run(&self, level: Level, packed: &mut Packed) {
        let (block, panel) = packed.starts();
        // SAFETY: the caller's promise. T is f32 or f64 as DTYPE says, so that each cast is to the type it already is.
        unsafe {
            match (T::DTYPE, level) {
                (Dtype::F32, Level::Avx2) => avx2_f32(self.cast(), block.cast(), panel.cast()),
                (Dtype::F64, Level::Avx2) => avx2_f64(self.cast(), block, panel),
                (Dtype::F32, Level::Avx512) => avx512_f32(self.cast(), block.cast(), panel.cast()),
                (Dtype::F64, Level::Avx512) => avx512_f64(self.cast(), block, panel),
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

#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_f32(product: &Product<f32>, block: *mut f32, panel: *mut f32) {
    // SAFETY: the features are enabled, the rest is the caller's promise.
    unsafe { blocked::<__m256>(product, block, panel) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_f64(product: &Product<f64>, block: *mut f64, panel: *mut f64) {
    // SAFETY: as above.
    unsafe { blocked::<__m256d>(product, block, panel) }
}

#[target_feature(enable = "avx2,fma,avx512f")]
unsafe fn avx512_f32(product: &Product<f32>, block: *mut f32, panel: *mut f32) {
    // SAFETY: as above.
    unsafe { blocked::<__m512>(product, block, panel) }
}

#[target_feature(enable = "avx2,fma,avx512f")]
unsafe fn avx512_f64(product: &Product<f64>, block: *mut f64, panel: *mut f64) {
    // SAFETY: as above.
    unsafe { blocked::<__m512d>(product, block, panel) }
}

/// The loops over blocks. No closures: they would not inherit the instruction set.
///
/// # Safety
/// As for [`Product::run`]; `block` and `panel` have room for V::BLOCK_BYTES and PANEL_BYTES.
#[inline(always)]
unsafe fn blocked<V: Vector>(p: &Product<V::Number>, block: *mut V::Number, panel: *mut V::Number)
where
    V::Number: Pack,
{
    let width = size_of::<V::Number>();
    // Equal shares of the depth, so that the last one is not too short to be worth a visit to the destination.
    let depth_step = p.depth.div_ceil(p.depth.div_ceil(DEPTH).max(1)).max(1);
    let in_place = p.b.row_stride == 1 && V::READS_COLUMNS;
    let col_step = if in_place { p.cols } else { (PANEL_BYTES / (depth_step * width)).max(V::COLS) };
    let streamed = p.a.is_contiguous() && p.rows * p.depth * width > V::STREAMED_BYTES;
    let block_bytes = if streamed { STREAMED_BLOCK_BYTES } else { V::BLOCK_BYTES };
    let row_step = (block_bytes / (depth_step * width) / V::ROWS * V::ROWS).max(V::ROWS);
    for col in (0..p.cols).step_by(col_step.max(1)) {
        let cols = col_step.min(p.cols - col);
        // A product of no depth still scales or copies its addend.
        for step in (0..p.depth.max(1)).step_by(depth_step) {
            let depth = depth_step.min(p.depth - step);
            let b = p.b.part(step, col);
            if !in_place {
                // SAFETY: depth·cols numbers fit the panel by the choice of `col_step`.
                unsafe { pack_panels::<V>(b, depth, cols, panel) };
            }
            let target = if step == 0 {
                p.target
            } else {
                let Target { c, c_stride, .. } = p.target;
                Target { beta: V::Number::ONE, addend: c, addend_stride: c_stride, ..p.target }
            };
            for row in (0..p.rows).step_by(row_step) {
                let rows = row_step.min(p.rows - row);
                let shape = Shape { rows, cols, depth };
                let tiles = rows.div_ceil(V::ROWS) * cols.div_ceil(V::COLS);
                let ahead = if !streamed {
                    Ahead::nothing()
                } else if row + rows < p.rows {
                    let next = row_step.min(p.rows - row - rows);
                    Ahead::new(p.a.part(row + rows, step), (next, depth), tiles)
                } else {
                    let next = depth_step.min(p.depth - step - depth);
                    Ahead::new(p.a.part(0, step + depth), (row_step.min(p.rows), next), tiles)
                };
                let right = if in_place { b } else { Source { start: panel, row_stride: 0, col_stride: 0 } };
                // SAFETY: the parts lie within the matrices.
                unsafe {
                    one_block::<V>(
                        shape,
                        p.a.part(row, step),
                        right,
                        in_place,
                        target.at(row, col),
                        block,
                        ahead,
                    )
                };
            }
        }
    }
}

/// What one packed block is multiplied with.
#[derive(Clone, Copy)]
struct Shape {
    rows: usize,
    cols: usize,
    depth: usize,
}

/// Columns of the next tile when `left` are left: as many as there is a microkernel for, unless a tile of two would
/// remain, whose sums are too few to hide how long a multiply-add takes.
#[inline(always)]
fn next_width<V: Vector>(left: usize) -> usize {
    match left {
        8 if V::COLS == 6 => 4,
        14 if V::COLS == 12 => 8,
        10 if V::COLS == 12 => 6,
        _ if left >= V::COLS => V::COLS,
        8.. => 8,
        6.. => 6,
        4.. => 4,
        2.. => 2,
        _ => 1,
    }
}

/// Packs a row of panels, each as wide as its tiles.
///
/// # Safety
/// `b` has depth×cols elements, `panel` room for as many.
#[inline(always)]
unsafe fn pack_panels<V: Vector>(b: Source<V::Number>, depth: usize, cols: usize, panel: *mut V::Number)
where
    V::Number: Pack,
{
    let mut col = 0;
    while col < cols {
        let width = next_width::<V>(cols - col);
        let (from, to) = (b.part(0, col), panel.wrapping_add(col * depth));
        // SAFETY: the panels stand side by side.
        unsafe {
            match width {
                1 => pack::panel::<_, 1>(from, depth, to),
                2 => pack::panel::<_, 2>(from, depth, to),
                4 => pack::panel::<_, 4>(from, depth, to),
                6 => pack::panel::<_, 6>(from, depth, to),
                8 => pack::panel::<_, 8>(from, depth, to),
                _ => pack::panel::<_, 12>(from, depth, to),
            }
        }
        col += width;
    }
}

/// A block of the left factor times a panel of the right one.
///
/// # Safety
/// As for [`blocked`].
#[inline(always)]
unsafe fn one_block<V: Vector>(
    shape: Shape,
    a: Source<V::Number>,
    b: Source<V::Number>,
    in_place: bool,
    target: Target<V::Number>,
    block: *mut V::Number,
    mut ahead: Ahead,
) where
    V::Number: Pack,
{
    let Shape { rows, cols, depth } = shape;
    let fresh = a.row_stride == 1;
    // SAFETY: slivers and panels lie where `blocked` and `pack_panels` put them.
    unsafe {
        for row in (0..rows).step_by(V::ROWS) {
            let height = V::ROWS.min(rows - row);
            if !(fresh && height == V::ROWS) {
                let width = height.div_ceil(V::LANES) * V::LANES;
                pack::sliver::<V>(a.part(row, 0), height, depth, width, block.add(row * depth));
            }
        }
        let mut col = 0;
        while col < cols {
            let width = next_width::<V>(cols - col);
            let right = if in_place {
                Right::Columns { start: b.at(0, col), stride: b.col_stride }
            } else {
                Right::Packed(b.start.add(col * depth))
            };
            for row in (0..rows).step_by(V::ROWS) {
                let height = V::ROWS.min(rows - row);
                let packed = block.add(row * depth);
                let left = if col == 0 && fresh && height == V::ROWS {
                    Left::Fresh { start: a.at(row, 0), stride: a.col_stride, packed }
                } else {
                    Left::Packed(packed)
                };
                ahead.ask();
                any_tile::<V>(depth, left, right, (height, width), target.at(row, col));
            }
            col += width;
        }
    }
}

/// The microkernel for a tile's height and width.
///
/// # Safety
/// As for [`tile()`].
#[inline(always)]
unsafe fn any_tile<V: Vector>(
    depth: usize,
    left: Left<V::Number>,
    right: Right<V::Number>,
    (rows, cols): (usize, usize),
    target: Target<V::Number>,
) {
    macro_rules! choose {
        ($($cols:literal)*) => {
            match (rows > V::LANES, cols) {
                $(
                    // SAFETY: as for this function.
                    (true, $cols) if $cols <= V::COLS => unsafe {
                        tile::<V, 2, $cols>(depth, left, right, rows, target)
                    },
                    // SAFETY: as for this function.
                    (false, $cols) if $cols <= V::COLS => unsafe {
                        tile::<V, 1, $cols>(depth, left, right, rows, target)
                    },
                )*
                _ => unreachable!("no microkernel of {cols} columns"),
            }
        };
    }
    choose!(1 2 4 6 8 12)
}

#[cfg(test)]
mod tests;
