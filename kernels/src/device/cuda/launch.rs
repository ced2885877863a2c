//! Every kernel in one table: its parameters, and how many threads it gets. A GPU and the emulation of the tests both
//! follow from it.

use std::ffi::c_void;
use std::marker::PhantomData;

use crate::elementwise::{DensityParameters, SigmaParameters};
use crate::error::{Error, Result};
use crate::scalar::{Dtype, Scalar};

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

/// Blocks of a grid and threads of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launched {
    pub(super) grid: (u32, u32, u32),
    pub(super) block: (u32, u32, u32),
}

impl Launched {
    /// A thread for each of `len` numbers, as far as a grid of at most `most` blocks goes.
    fn flat(len: usize, most: u64) -> Option<Self> {
        Self::blocks((len as u64).div_ceil(u64::from(BLOCK)).clamp(1, most) as usize, BLOCK)
    }

    /// `count` blocks of `threads` threads, one for each column or matrix.
    fn blocks(count: usize, threads: u32) -> Option<Self> {
        Self::grid(count as u64, 1, (threads, 1))
    }

    /// A thread for each of `cols` columns of `count` matrices.
    fn thread_a_column(cols: usize, count: usize) -> Option<Self> {
        Self::grid((cols as u64).div_ceil(u64::from(BLOCK)).clamp(1, i32::MAX as u64), count as u64, (BLOCK, 1))
    }

    /// A thread for each entry of a matrix, in tiles.
    fn tiles(rows: usize, cols: usize) -> Option<Self> {
        let down = (rows as u64).div_ceil(u64::from(TILE.0)).clamp(1, MOST_BLOCKS_Y);
        Self::grid((cols as u64).div_ceil(u64::from(TILE.1)).max(1), down, TILE)
    }

    /// `None` for more than a grid can have.
    fn grid(across: u64, down: u64, block: (u32, u32)) -> Option<Self> {
        let fits = across <= i32::MAX as u64 && down <= MOST_BLOCKS_Y;
        fits.then_some(Self { grid: (across as u32, down as u32, 1), block: (block.0, block.1, 1) })
    }
}

/// Something that runs kernels in the order in which it is asked to: a stream of a GPU, or the emulation of the tests.
pub trait Launcher {
    /// Runs `kernel` on the arguments that the pointers point to.
    ///
    /// # Safety
    /// The arguments have the number, types and order of the kernel's parameters, and the addresses among them are of
    /// memory that is as large as the kernel takes it to be until the kernel has run.
    unsafe fn launch(&self, kernel: Kernel, geometry: Launched, arguments: &mut [*mut c_void]) -> Result<()>;
}

/// The kernels on numbers of type `T`.
pub struct Kernels<L, T> {
    launcher: L,
    numbers: PhantomData<T>,
}

impl<L: Launcher, T: Scalar> Kernels<L, T> {
    /// The kernels that `launcher` has for `T`.
    pub(super) fn new(launcher: L) -> Self {
        Self { launcher, numbers: PhantomData }
    }
}

/// The type of a kernel's parameter of a kind, and the value that is passed for it.
macro_rules! parameter {
    (size) => { usize };
    (real) => { T };
    (sigma) => { SigmaParameters<T> };
    (density) => { DensityParameters<T> };
    (address) => { u64 };
    (size $value:ident) => { $value as u64 };
    ($kind:ident $value:ident) => { $value };
}

/// Each kernel of the `.cu` sources as a function with the names, order and kinds of the parameters there, and its
/// geometry; what that needs besides comes first, in brackets.
///
/// The functions are unsafe to call with addresses of less memory than the kernel takes it to be.
macro_rules! kernels {
    ($($name:ident $([$($more:ident),+])? ($($parameter:ident: $kind:ident),+) over $geometry:expr;)+) => {
        /// A kernel of the `.cu` sources, by its name there.
        #[allow(non_camel_case_types, reason = "the names are those of the sources")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kernel { $($name),+ }

        impl Kernel {
            /// Every kernel.
            pub(super) const ALL: &'static [Self] = &[$(Self::$name),+];

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            /// Names and kinds of its parameters.
            #[cfg(test)]
            pub(super) const fn parameters(self) -> &'static [(&'static str, &'static str)] {
                match self { $(Self::$name => &[$((stringify!($parameter), stringify!($kind))),+]),+ }
            }
        }

        impl<L: Launcher, T: Scalar> Kernels<L, T> {
            $(
                #[allow(clippy::too_many_arguments, reason = "they are those of the kernel")]
                pub(super) unsafe fn $name(
                    &self,
                    $($($more: usize,)+)?
                    $($parameter: parameter!($kind)),+
                ) -> Result<()> {
                    let (operation, geometry) = (stringify!($name), $geometry);
                    let status = || "more columns than a grid of thread blocks can have".to_owned();
                    let geometry = geometry.ok_or_else(|| Error::Device { operation, status: status() })?;
                    $(let mut $parameter = parameter!($kind $parameter);)+
                    // SAFETY: the values have the types and the order of the parameters in the .cu file, which a test
                    // compares with this table; the caller vouches for the addresses.
                    unsafe {
                        let arguments = &mut [$((&raw mut $parameter).cast::<c_void>()),+];
                        self.launcher.launch(Kernel::$name, geometry, arguments)
                    }
                }
            )+
        }
    };
}

kernels! {
    fill(len: size, value: real, x: address) over Launched::flat(len, MOST_BLOCKS);
    add_bias(rows: size, cols: size, bias: address, y: address) over Launched::tiles(rows, cols);
    bias_activate(rows: size, cols: size, sigma: sigma, bias: address, y: address, z: address)
        over Launched::tiles(rows, cols);
    activate(len: size, sigma: sigma, y: address, z: address) over Launched::flat(len, MOST_BLOCKS);
    backward_error(len: size, sigma: sigma, v: address, y: address, delta: address)
        over Launched::flat(len, MOST_BLOCKS);
    output_score(len: size, density: density, y: address, delta: address) over Launched::flat(len, MOST_BLOCKS);
    output_error(len: size, sigma: sigma, density: density, y: address, delta: address)
        over Launched::flat(len, MOST_BLOCKS);
    slope_and_ratio(len: size, sigma: sigma, y: address, slope: address, ratio: address)
        over Launched::flat(len, MOST_BLOCKS);
    widen(len: size, x: address, wide: address) over Launched::flat(len, MOST_BLOCKS);

    flag_not_finite(len: size, x: address, flag: address) over Launched::flat(len, MOST_BLOCKS);
    sum_of_squares(len: size, x: address, partial: address) over Launched::flat(len, PARTIAL_SUMS);
    sum_partials(count: size, partial: address, total: address) over Launched::blocks(1, BLOCK);
    log_slope_sums[cols](rows: size, sigma: sigma, y: address, sums: address) over Launched::blocks(cols, BLOCK);
    log_density_sums[cols](rows: size, density: density, z: address, sums: address) over Launched::blocks(cols, BLOCK);

    scale_rows(dim: size, count: size, scale: address, a: address, stride: size, out: address)
        over Launched::tiles(dim, dim * count);
    curvature_adjoint(dim: size, count: size, slope: address, weight: address, a: address, b: address, stride: size,
        out: address) over Launched::flat(dim * count, MOST_BLOCKS);
    add_blocks(len: size, count: size, alpha: real, a: address, out: address) over Launched::flat(len, MOST_BLOCKS);

    identities(dim: size, count: size, out: address) over Launched::flat(dim * dim * count, MOST_BLOCKS);
    block_pointers(len: size, count: size, blocks: address, pointers: address) over Launched::flat(count, MOST_BLOCKS);
    row_abs_sums(dim: size, count: size, a: address, sums: address) over Launched::flat(dim * count, MOST_BLOCKS);
    skeel_terms[count](dim: size, inverse: address, row_sums: address, terms: address)
        over Launched::blocks(dim * count, BLOCK);
    log_abs_dets[count](dim: size, lu: address, report: address) over Launched::blocks(count, BLOCK);
    condition_numbers[count](dim: size, terms: address, report: address) over Launched::blocks(count, BLOCK);
    log_abs_diagonal(dim: size, lu: address, total: address) over Launched::blocks(1, BLOCK);

    lu_panel[count](dim: size, first: size, width: size, a: address, pivots: address)
        over Launched::blocks(count, PANEL_THREADS);
    lu_short_panel[count](dim: size, first: size, width: size, a: address, pivots: address)
        over Launched::blocks(count, short_rows(T::DTYPE) as u32);
    lu_rows[count](dim: size, first: size, width: size, a: address, pivots: address)
        over Launched::thread_a_column(dim - width, count);
    row_orders[count](dim: size, pivots: address, stride: size, orders: address) over Launched::blocks(count, BLOCK);
    permute_rows(dim: size, count: size, orders: address, y: address, out: address)
        over Launched::tiles(dim, dim * count);
}

impl<L: Launcher, T: Scalar> Kernels<L, T> {
    /// total (f64) ← the sum of the squares of `len` numbers, through [`PARTIAL_SUMS`] f64 of `partial`.
    ///
    /// # Safety
    /// As for a kernel.
    pub(super) unsafe fn total_of_squares(&self, len: usize, x: u64, partial: u64, total: u64) -> Result<()> {
        let blocks = Launched::flat(len, PARTIAL_SUMS).map_or(0, |geometry| geometry.grid.0 as usize);
        // SAFETY: the caller's promise.
        unsafe {
            self.sum_of_squares(len, x, partial)?;
            self.sum_partials(blocks, partial, total)
        }
    }

    /// report (f64, two a block): the second of each pair ← Skeel's condition number from the inverse-transposes and
    /// |A_n| 1; `terms` (dim×count, f64) is work memory.
    ///
    /// # Safety
    /// As for a kernel.
    pub(super) unsafe fn skeel_conditions(
        &self,
        (dim, count): (usize, usize),
        [inverse, row_sums, terms, report]: [u64; 4],
    ) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe {
            self.skeel_terms(count, dim, inverse, row_sums, terms)?;
            self.condition_numbers(count, dim, terms, report)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn a_flat_grid_covers_its_numbers_or_is_as_large_as_allowed() {
        for (len, blocks) in [(0, 1), (1, 1), (256, 1), (257, 2), (1 << 28, 1 << 20), (10_000_000_000, 1 << 20)] {
            assert_eq!(Launched::flat(len, MOST_BLOCKS).unwrap().grid, (blocks, 1, 1), "{len}");
        }
        assert_eq!(Launched::flat(1 << 30, PARTIAL_SUMS).unwrap().grid, (1024, 1, 1));
    }

    #[test]
    fn tiles_cover_a_matrix_within_the_limits_of_a_grid() {
        for (rows, cols) in [(1, 1), (31, 7), (32, 8), (33, 9), (20_000, 100), (1000, 100_000)] {
            let Launched { grid, block } = Launched::tiles(rows, cols).unwrap();
            assert!(grid.0 as usize * block.1 as usize >= cols, "{rows}×{cols}");
            assert!(grid.1 as usize * block.0 as usize >= rows, "{rows}×{cols}");
            assert!((grid.0 as usize - 1) * (block.1 as usize) < cols, "{rows}×{cols}");
        }
        // More rows than the second axis takes at once: the kernels loop.
        assert_eq!(Launched::tiles(1 << 30, 1).unwrap().grid, (1, 65_535, 1));
        assert_eq!(Launched::tiles(1, 1 << 40), None);
        assert_eq!(Launched::blocks(1 << 31, BLOCK), None);
        assert_eq!(Launched::blocks(7, 512), Some(Launched { grid: (7, 1, 1), block: (512, 1, 1) }));
        assert_eq!(Launched::thread_a_column(257, 50).unwrap().grid, (2, 50, 1));
        assert_eq!(Launched::thread_a_column(1, 1 << 16), None);
    }

    /// The table against the sources: every kernel, and its parameters by name, type and order.
    #[test]
    fn kernels_have_the_parameters_of_the_sources() {
        let text = source::source();
        let mut found = 0;
        for definition in text.split("extern \"C\" __global__ void").skip(1) {
            let definition = definition.trim_start().trim_start_matches("__launch_bounds__(SHORT_ROWS)").trim_start();
            let (name, rest) = definition.split_once('(').unwrap();
            let kernel = Kernel::ALL.iter().find(|kernel| kernel.name() == name).expect(name);
            let parameters = rest.split_once(')').unwrap().0.split(',').map(|parameter| {
                let (kind, name) = parameter.trim().rsplit_once([' ', '*']).unwrap();
                let kind = match kind {
                    "Size" => "size",
                    "Real" => "real",
                    "Sigma" => "sigma",
                    "Density" => "density",
                    _ => "address",
                };
                assert_eq!(kind == "address", parameter.contains('*'), "{parameter}");
                (name, kind)
            });
            assert_eq!(kernel.parameters(), parameters.collect::<Vec<_>>(), "{name}");
            found += 1;
        }
        assert_eq!(found, Kernel::ALL.len());
    }
}
