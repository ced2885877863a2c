//! Kernels, and how many threads each gets.

use std::ffi::c_void;

use crate::error::Result;
use crate::scalar::Dtype;

/// Threads of a block of the one-dimensional kernels; `BLOCK` of `prelude.cu`.
const BLOCK: u32 = 256;

/// Rows and columns of a block of the two-dimensional kernels: a warp reads 32 neighbouring rows of a column.
const TILE: (u32, u32) = (32, 8);

/// Blocks of a one-dimensional grid at most: kernels loop over what is left. Enough to fill any GPU many times over.
const MOST_BLOCKS: u64 = 1 << 20;

/// Blocks along the second axis of a grid at most, CUDA's own limit.
const MOST_BLOCKS_Y: u64 = 65_535;

/// Columns of a panel of an LU of many matrices; `PANEL` of `lu.cu`.
pub(super) const PANEL: usize = 32;

/// Threads of a block that factors a panel; `PANEL_THREADS` of `lu.cu`.
const PANEL_THREADS: u32 = 512;

/// Most rows of a short panel, a thread each; `SHORT_ROWS` of `lu.cu`.
pub(super) const fn short_rows(dtype: Dtype) -> usize {
    match dtype {
        Dtype::F32 => 1024,
        Dtype::F64 => 512,
    }
}

/// Blocks of a sum whose partial sums another kernel adds up.
pub(super) const PARTIAL_SUMS: u64 = 1024;

macro_rules! kernels {
    ($($name:ident),+ $(,)?) => {
        /// A kernel of the `.cu` sources, by its name there.
        #[allow(non_camel_case_types, reason = "the names are those of the sources")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Kernel { $($name),+ }

        impl Kernel {
            /// Every kernel.
            pub(super) const ALL: &'static [Self] = &[$(Self::$name),+];

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

kernels!(
    fill,
    add_bias,
    bias_activate,
    activate,
    backward_error,
    output_score,
    output_error,
    slope_and_ratio,
    widen,
    flag_not_finite,
    sum_of_squares,
    sum_partials,
    log_slope_sums,
    log_density_sums,
    scale_rows,
    curvature_adjoint,
    add_blocks,
    identities,
    block_pointers,
    row_abs_sums,
    skeel_terms,
    log_abs_dets,
    condition_numbers,
    log_abs_diagonal,
    lu_panel,
    lu_short_panel,
    lu_rows,
    row_orders,
    permute_rows,
);

/// Blocks of a grid and threads of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) grid: (u32, u32, u32),
    pub(super) block: (u32, u32, u32),
}

impl Geometry {
    /// A thread for each of `len` numbers, as far as a grid goes.
    pub(super) fn flat(len: usize) -> Self {
        Self::blocks((len as u64).div_ceil(u64::from(BLOCK)).clamp(1, MOST_BLOCKS))
    }

    /// As [`Self::flat`], with at most [`PARTIAL_SUMS`] blocks.
    pub(super) fn partial_sums(len: usize) -> Self {
        Self::blocks((len as u64).div_ceil(u64::from(BLOCK)).clamp(1, PARTIAL_SUMS))
    }

    /// A block for each of `count` columns or matrices; `None` for more than a grid can have.
    pub(super) fn one_block_each(count: usize) -> Option<Self> {
        let blocks = u32::try_from(count).ok().filter(|&blocks| blocks <= i32::MAX as u32)?;
        Some(Self::blocks(u64::from(blocks)))
    }

    /// A block for each of `count` panels; `None` for more than a grid can have.
    pub(super) fn panels(count: usize) -> Option<Self> {
        Some(Self { block: (PANEL_THREADS, 1, 1), ..Self::one_block_each(count)? })
    }

    /// A block for each of `count` short panels; `None` for more than a grid can have.
    pub(super) fn short_panels(dtype: Dtype, count: usize) -> Option<Self> {
        Some(Self { block: (short_rows(dtype) as u32, 1, 1), ..Self::one_block_each(count)? })
    }

    /// A thread for each of `cols` columns of `count` matrices; `None` for more matrices than a grid can have.
    pub(super) fn thread_a_column(cols: usize, count: usize) -> Option<Self> {
        let across = (cols as u64).div_ceil(u64::from(BLOCK)).clamp(1, i32::MAX as u64);
        if count as u64 > MOST_BLOCKS_Y {
            return None;
        }
        Some(Self { grid: (across as u32, count as u32, 1), block: (BLOCK, 1, 1) })
    }

    /// A single block.
    pub(super) fn one_block() -> Self {
        Self::blocks(1)
    }

    /// A thread for each entry of a matrix, in tiles; `None` for more columns than a grid can have.
    pub(super) fn tiles(rows: usize, cols: usize) -> Option<Self> {
        let across = (cols as u64).div_ceil(u64::from(TILE.1)).max(1);
        let down = (rows as u64).div_ceil(u64::from(TILE.0)).clamp(1, MOST_BLOCKS_Y);
        if across > i32::MAX as u64 {
            return None;
        }
        Some(Self { grid: (across as u32, down as u32, 1), block: (TILE.0, TILE.1, 1) })
    }

    /// `count` is at most 2³¹ − 1.
    fn blocks(count: u64) -> Self {
        Self { grid: (count as u32, 1, 1), block: (BLOCK, 1, 1) }
    }
}

/// Something that runs kernels in the order in which it is asked to: a stream of a GPU, or the emulation of the tests.
pub(super) trait Launcher {
    /// Runs `kernel` on the arguments that the pointers point to.
    ///
    /// # Safety
    /// The arguments have the number, types and order of the kernel's parameters, and the addresses among them are of
    /// memory that is as large as the kernel takes it to be until the kernel has run.
    unsafe fn launch(&self, kernel: Kernel, geometry: Geometry, arguments: &mut [*mut c_void]) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_grid_covers_its_numbers_or_is_as_large_as_allowed() {
        for (len, blocks) in [(0, 1), (1, 1), (256, 1), (257, 2), (1 << 28, 1 << 20), (10_000_000_000, 1 << 20)] {
            assert_eq!(Geometry::flat(len).grid, (blocks, 1, 1), "{len}");
        }
        assert_eq!(Geometry::partial_sums(1 << 30).grid, (1024, 1, 1));
        assert_eq!(Geometry::partial_sums(300).grid, (2, 1, 1));
    }

    #[test]
    fn tiles_cover_a_matrix_within_the_limits_of_a_grid() {
        for (rows, cols) in [(1, 1), (31, 7), (32, 8), (33, 9), (20_000, 100), (1000, 100_000)] {
            let Geometry { grid, block } = Geometry::tiles(rows, cols).unwrap();
            assert!(grid.0 as usize * block.1 as usize >= cols, "{rows}×{cols}");
            assert!(grid.1 as usize * block.0 as usize >= rows, "{rows}×{cols}");
            assert!((grid.0 as usize - 1) * (block.1 as usize) < cols, "{rows}×{cols}");
        }
        // More rows than the second axis takes at once: the kernels loop.
        assert_eq!(Geometry::tiles(1 << 30, 1).unwrap().grid, (1, 65_535, 1));
        assert_eq!(Geometry::tiles(1, 1 << 40), None);
        assert_eq!(Geometry::one_block_each(1 << 31), None);
        assert_eq!(Geometry::one_block_each(7).unwrap().grid, (7, 1, 1));
        assert_eq!(Geometry::panels(7).unwrap().block, (512, 1, 1));
        assert_eq!(Geometry::short_panels(Dtype::F32, 7).unwrap().block, (1024, 1, 1));
        assert_eq!(Geometry::thread_a_column(257, 50).unwrap().grid, (2, 50, 1));
        assert_eq!(Geometry::thread_a_column(1, 1 << 16), None);
    }
}
