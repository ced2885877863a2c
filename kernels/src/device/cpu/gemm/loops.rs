//! The loops around the microkernels: blocks of the left factor, panels of the right one, tiles of the destination.

use super::ahead::Ahead;
use super::pack::{self, Packing, Source};
use super::thin::Thin;
use super::tile::{Left, Right, Target, tile};
use super::vector::Vector;
use super::{PANEL_BYTES, Product};

/// Slots of depth that are multiplied before the destination is visited again.
const DEPTH: usize = 256;
/// Bytes of a packed block of a left factor that streams through the caches, or at most those of
/// [`Vector::BLOCK_BYTES`]: a part of the second cache, which the batch and what comes next share.
const STREAMED_BLOCK_BYTES: usize = 96 << 10;
/// The loops over blocks. No closures: they would not inherit the instruction set.
///
/// # Safety
/// As for [`Product::run`]; `block` and `panel` have room for V::BLOCK_BYTES and PANEL_BYTES.
#[inline(always)]
pub(super) unsafe fn blocked<V: Thin, P: Packing<V>>(
    p: &Product<V::Number>,
    block: *mut V::Number,
    panel: *mut V::Number,
) {
    let width = size_of::<V::Number>();
    // Equal shares of the depth, so that the last one is not too short to be worth a visit to the destination.
    let depth_step = p.depth.div_ceil(p.depth.div_ceil(DEPTH * P::DEPTH).max(1)).next_multiple_of(P::DEPTH).max(1);
    let slot_bytes = depth_step.div_ceil(P::DEPTH) * width;
    let in_place = p.b.row_stride == 1 && V::READS_COLUMNS && P::DEPTH == 1;
    let col_step = if in_place { p.cols } else { (PANEL_BYTES / slot_bytes).max(V::COLS) };
    let streamed = p.a.is_contiguous() && p.rows * p.depth * width > V::STREAMED_BYTES;
    let block_bytes = if streamed { STREAMED_BLOCK_BYTES } else { V::BLOCK_BYTES };
    let row_step = (block_bytes / slot_bytes / V::ROWS * V::ROWS).max(V::ROWS);
    for col in (0..p.cols).step_by(col_step.max(1)) {
        let cols = col_step.min(p.cols - col);
        // A product of no depth still scales or copies its addend.
        for step in (0..p.depth.max(1)).step_by(depth_step) {
            let depth = depth_step.min(p.depth - step);
            let b = p.b.part(step, col);
            if !in_place {
                // SAFETY: the slots of these columns fit the panel by the choice of `col_step`.
                unsafe { pack_panels::<V, P>(b, depth, cols, panel) };
            }
            let target = if step == 0 {
                p.target
            } else {
                let Target { c, c_stride, .. } = p.target;
                Target { beta: P::ONE, addend: c, addend_stride: c_stride, ..p.target }
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
                    one_block::<V, P>(shape, p.a.part(row, step), right, in_place, target.at(row, col), block, ahead)
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

/// Rows of the next tile when `left` are left: as many as fit, unless a register more would be for a few of them alone.
#[inline(always)]
fn next_height<V: Thin>(left: usize) -> usize {
    if left > V::LANES && left <= V::LANES + V::MOST_ROWS { V::LANES } else { left.min(V::ROWS) }
}

/// Packs a row of panels, each as wide as its tiles.
///
/// # Safety
/// `b` has depth×cols elements, `panel` room for their slots.
#[inline(always)]
unsafe fn pack_panels<V: Vector, P: Packing<V>>(
    b: Source<V::Number>,
    depth: usize,
    cols: usize,
    panel: *mut V::Number,
) {
    let mut col = 0;
    while col < cols {
        let width = next_width::<V>(cols - col);
        let (from, to) = (b.part(0, col), panel.wrapping_add(col * depth.div_ceil(P::DEPTH)));
        // SAFETY: the panels stand side by side.
        unsafe {
            match width {
                1 => pack::panel::<V, P, 1>(from, depth, to),
                2 => pack::panel::<V, P, 2>(from, depth, to),
                4 => pack::panel::<V, P, 4>(from, depth, to),
                6 => pack::panel::<V, P, 6>(from, depth, to),
                8 => pack::panel::<V, P, 8>(from, depth, to),
                _ => pack::panel::<V, P, 12>(from, depth, to),
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
unsafe fn one_block<V: Thin, P: Packing<V>>(
    shape: Shape,
    a: Source<V::Number>,
    b: Source<V::Number>,
    in_place: bool,
    target: Target<V::Number>,
    block: *mut V::Number,
    mut ahead: Ahead,
) {
    let Shape { rows, cols, depth } = shape;
    let slots = depth.div_ceil(P::DEPTH);
    let fresh = a.row_stride == 1 && depth.is_multiple_of(P::DEPTH);
    // SAFETY: slivers and panels lie where `blocked` and `pack_panels` put them.
    unsafe {
        let mut row = 0;
        while row < rows {
            let height = next_height::<V>(rows - row);
            if !(fresh && height == V::ROWS) {
                let width = height.div_ceil(V::LANES) * V::LANES;
                pack::sliver::<V, P>(a.part(row, 0), height, depth, width, block.add(row * slots));
            }
            row += height;
        }
        let mut col = 0;
        while col < cols {
            let width = next_width::<V>(cols - col);
            let right = if in_place {
                Right::Columns { start: b.at(0, col), stride: b.col_stride }
            } else {
                Right::Packed(b.start.add(col * slots))
            };
            let mut row = 0;
            while row < rows {
                let height = next_height::<V>(rows - row);
                let packed = block.add(row * slots);
                let left = if col == 0 && fresh && height == V::ROWS {
                    Left::Fresh { start: a.at(row, 0), stride: a.col_stride, packed }
                } else {
                    Left::Packed(packed)
                };
                ahead.ask();
                any_tile::<V, P>(slots, left, right, (height, width), target.at(row, col));
                row += height;
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
unsafe fn any_tile<V: Thin, P: Packing<V>>(
    slots: usize,
    left: Left<V::Number>,
    right: Right<V::Number>,
    (rows, cols): (usize, usize),
    target: Target<V::Number>,
) {
    if P::DEPTH == 1
        && let (Left::Packed(a), Right::Packed(b)) = (left, right)
    {
        // SAFETY: as for this function; a sliver of so few rows has one register a step.
        if unsafe { V::thin_tile(slots, a, b, (rows, cols), target) } {
            return;
        }
    }
    macro_rules! choose {
        ($($cols:literal)*) => {
            match (rows > V::LANES, cols) {
                $(
                    // SAFETY: as for this function.
                    (true, $cols) if $cols <= V::COLS => unsafe {
                        tile::<V, P, 2, $cols>(slots, left, right, rows, target)
                    },
                    // SAFETY: as for this function.
                    (false, $cols) if $cols <= V::COLS => unsafe {
                        tile::<V, P, 1, $cols>(slots, left, right, rows, target)
                    },
                )*
                _ => unreachable!("no microkernel of {cols} columns"),
            }
        };
    }
    choose!(1 2 4 6 8 12)
}
