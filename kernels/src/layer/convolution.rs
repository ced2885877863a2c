//! Circular convolutions: their arrays, the matrices that they stand for, and what they cost.

use super::{DENSE_ONLY, Extent, Geometry};
use crate::bound::cost_of_dense;
use crate::cost::{Cost, Sizes};
use crate::device::{Addend, Cpu, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::init::{self, Init};
use crate::method::Method;
use crate::parameters::Arrays;
use crate::scalar::Scalar;

/// A circular convolution: c channels in and out, on a grid of n = n₁·n₂ points, D = c·n, flattened channel-major and
/// then row by row.
///
/// The array of a layer is (c·|S|)×c: column i holds K\[o, i, τ\], channel o by channel, taps in the order of
/// [`Self::kernel`], row by row. For a full kernel it is what the layer answers to an impulse in channel i. The layer
/// stands for W\[(o,p),(i,q)\] = K\[o,i,p−q\], b\[(o,p)\] = b\[o\] \[M24\].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Channels c.
    pub channels: usize,
    /// n₁ rows and n₂ columns; a 1-D grid has one row.
    pub grid: [usize; 2],
    /// Taps of the kernel along each axis, r₁ and r₂. Along an axis they are 0, 1, …, ⌊r/2⌋ and then the negative ones
    /// up to −1, modulo the grid: all of them for r = n, a centred window for an odd r.
    pub kernel: [usize; 2],
}

impl Convolution {
    /// Every tap on the grid, the support of an exact relative gradient \[M27\].
    pub fn full(channels: usize, grid: [usize; 2]) -> Self {
        Self { channels, grid, kernel: grid }
    }

    /// Grid points n.
    pub fn points(&self) -> usize {
        self.grid[0].saturating_mul(self.grid[1])
    }

    /// Taps |S| of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel[0].saturating_mul(self.kernel[1])
    }

    /// D = c·n.
    pub fn dim(&self) -> usize {
        self.channels.saturating_mul(self.points())
    }

    /// Whether the kernel has every tap.
    pub fn is_full(&self) -> bool {
        self.kernel == self.grid
    }

    /// Whether the kernel mixes channels only.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1]
    }

    /// Where each tap lies on the grid, n₂·row + column, in the order of [`Self::kernel`].
    pub fn tap_positions(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        let Self { grid, kernel, .. } = *self;
        let along = move |axis: usize| {
            let (n, r) = (grid[axis], kernel[axis]);
            (0..r).map(move |j| if j <= r / 2 { j % n } else { n - (r - j) })
        };
        along(0).flat_map(move |row| along(1).map(move |col| row * grid[1] + col))
    }
}

impl Geometry for Convolution {
    fn validate(&self, dim: usize) -> Result<()> {
        let positive = self.channels > 0 && self.grid[0] > 0 && self.grid[1] > 0;
        let fits = |axis: usize| (1..=self.grid[axis]).contains(&self.kernel[axis]);
        if !positive {
            return Err(Error::shape("convolution", "a channel and a grid point at least", format!("{self:?}")));
        }
        if !(fits(0) && fits(1)) {
            let expected = format!("a kernel from 1×1 to {}×{} taps", self.grid[0], self.grid[1]);
            return Err(Error::shape("convolution", expected, format!("{}×{}", self.kernel[0], self.kernel[1])));
        }
        if self.dim() != dim {
            let [rows, cols] = self.grid;
            let expected = format!("D = {} channels on {rows}×{cols} points", self.channels);
            return Err(Error::shape("convolution", expected, format!("D = {dim}")));
        }
        Ok(())
    }

    fn weight_shape(&self, _dim: usize) -> [usize; 2] {
        [self.channels.saturating_mul(self.taps()), self.channels]
    }

    fn bias_len(&self, _dim: usize) -> usize {
        self.channels
    }

    fn multiplicity(&self) -> f64 {
        self.points() as f64
    }

    /// With F = 2.5 cNn log₂n flops for the real transforms of a batch, F_K = 2.5 c²n log₂n for those of a kernel, and
    /// P = 8 c²Nm for a product with c×c complex matrices at the m ≈ n/2 frequencies that stand for all:
    ///
    /// | method | flops per gradient |
    /// | --- | --- |
    /// | relative, every tap \[M27\] | (5L−1) F + (4L−1) P + 2L F_K |
    /// | transposed, every tap | 7L F + 4L P + 2L F_K |
    /// | ordinary \[M26\] | (5L−1) F + (3L−1) P + 3L F_K + 8Lmc³ |
    /// | 1×1 kernels | those of dense layers with D = c and nN samples |
    /// | autodiff | N(6L−4) D³, as for dense layers |
    ///
    /// On a growing grid with fixed c all but autodiff are linear in n, but for the logarithm: the determinant is cheap
    /// here, and the relative gradient saves c³ against c²N, not an order of D.
    fn cost(&self, method: Method, shape: &Sizes) -> Result<Cost> {
        if method.needs_dense() && method != Method::RelativeDelayed {
            return Err(Error::shape(method.name(), DENSE_ONLY, "convolutions"));
        }
        if method.needs_group() && !self.is_full() && !self.is_pointwise() {
            return Err(Error::shape(
                "relative gradient of convolutions",
                "a kernel with every tap or with one (other kernels have no relative gradient: use `ordinary`)",
                format!("{}×{} taps", self.kernel[0], self.kernel[1]),
            ));
        }
        if method == Method::RelativeDelayed {
            return Err(Error::shape("delayed updates", "dense layers (use `relative-inplace`)", "convolutions"));
        }
        Ok(match method {
            Method::Autodiff | Method::AutodiffReverse | Method::AutodiffStreamed => {
                let cost = cost_of_dense(method, shape);
                // The dense network and its gradient stand next to the kernels and theirs.
                let kernels = (shape.layers * self.taps() * shape.dtype.bytes()) as f64;
                let kernels = 2.0 * kernels * (self.channels as f64).powi(2);
                Cost { expected_bytes: cost.expected_bytes + kernels, ..cost }
            }
            _ if self.is_pointwise() => {
                let samples = self.points().saturating_mul(shape.batch);
                cost_of_dense(method, &Sizes { dim: self.channels, batch: samples, ..*shape })
            }
            _ => self.spectral_cost(method, shape),
        })
    }
}

impl Convolution {
    fn spectral_cost(&self, method: Method, shape: &Sizes) -> Cost {
        let (c, n, samples) = (self.channels as f64, self.points() as f64, shape.batch as f64);
        let (l, w) = (shape.layers as f64, shape.dtype.bytes() as f64);
        let [rows, cols] = self.grid;
        let (rows, cols) = if cols == 1 { (1, rows) } else { (rows, cols) };
        let m = (rows * (cols / 2 + 1)) as f64;
        let transform = 2.5 * n * n.log2().max(1.0);
        let (batches, kernels, product) = (c * samples * transform, c * c * transform, 8.0 * c * c * samples * m);
        let flops = match method {
            Method::Ordinary => {
                (5.0 * l - 1.0) * batches + (3.0 * l - 1.0) * product + 3.0 * l * kernels + 8.0 * l * m * c.powi(3)
            }
            Method::Transposed => 7.0 * l * batches + 4.0 * l * product + 2.0 * l * kernels,
            _ => (5.0 * l - 1.0) * batches + (4.0 * l - 1.0) * product + 2.0 * l * kernels,
        };
        let parameters = l * c * c * self.taps() as f64 * w;
        let stored = if method.is_step() { 1.0 } else { 2.0 };
        let block = c * n * samples * w;
        let spectrum = 2.0 * m * c * w;
        // L+3 blocks and the batch; three spectra of a batch; those of the kernels, of one direction and its inverse.
        let kernel_spectra = l + if method == Method::Ordinary { 2.0 } else { 1.0 };
        Cost {
            flops,
            min_bytes: stored * parameters + (l + 3.0) * block,
            min_traffic_bytes: 4.0 * parameters,
            expected_bytes: stored * parameters + (l + 4.0) * block + spectrum * (3.0 * samples + kernel_spectra * c),
        }
    }

    /// W of a kernel, D×D.
    pub(super) fn write_dense<T: Scalar>(&self, kernel: &[T], weight: &mut [T]) {
        let (points, taps) = (self.points(), self.taps());
        weight.fill(T::of(0.0));
        for (column, weight) in weight.chunks_exact_mut(self.dim()).enumerate() {
            let (i, q) = (column / points, column % points);
            let kernel = &kernel[i * self.channels * taps..];
            for (values, weight) in kernel.chunks_exact(taps).zip(weight.chunks_exact_mut(points)) {
                for (&value, tap) in values.iter().zip(self.tap_positions()) {
                    weight[self.shift(q, tap)] = value;
                }
            }
        }
    }

    /// kernel ← the sum over the entries of `dense` (D×D) that each tap stands in.
    pub(super) fn sum_entries<T: Scalar>(&self, dense: MatrixRef<'_, Cpu, T>, kernel: MatrixMut<'_, Cpu, T>) {
        let (points, dim) = (self.points(), self.dim());
        let dense = dense.slice();
        for (j, values) in kernel.into_slice().chunks_exact_mut(self.taps()).enumerate() {
            let (i, o) = (j / self.channels, j % self.channels);
            for (value, tap) in values.iter_mut().zip(self.tap_positions()) {
                let entry = |q: usize| dense[(i * points + q) * dim + o * points + self.shift(q, tap)];
                *value = T::of((0..points).map(|q| entry(q).widen()).sum::<f64>());
            }
        }
    }

    /// The point `by` further than `from`, around the grid.
    fn shift(&self, from: usize, by: usize) -> usize {
        let [rows, cols] = self.grid;
        let (row, col) = (from / cols + by / cols, from % cols + by % cols);
        (row % rows) * cols + col % cols
    }

    /// A kernel that is well-conditioned at every frequency.
    ///
    /// [`Init::Orthogonal`], [`Init::Conditioned`]: such a c×c matrix at the tap τ = 0, plus independent normals at
    /// every tap that add up to an eighth of its size at each frequency, so that K̂(ω) = Q + G(ω)/8 stays far from
    /// singular.
    /// [`Init::ScaledGaussian`]: independent normals of variance 1/(c·|S|).
    pub(super) fn draw<T: Scalar>(
        &self,
        device: &Cpu,
        (init, seed, k): (Init, u64, usize),
        kernel: MatrixMut<'_, Cpu, T>,
    ) -> Result<()> {
        /// Away from the seeds of batches and probes.
        const KERNEL_SEED: u64 = 0x6b65_726e_656c;
        let (channels, taps) = (self.channels, self.taps());
        let mut pixel = Matrix::<Cpu, T>::zeros(device, channels, channels, "weight of a pixel")?;
        init::square(device, init, seed, k, &mut pixel)?;
        let (offset, spread) = match init {
            Init::Orthogonal | Init::Conditioned => (1.0, 0.125),
            Init::ScaledGaussian => (0.0, 1.0),
        };
        let scale = spread / ((channels * taps) as f64).sqrt();
        let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(KERNEL_SEED + k as u64);
        let normals = init::normals(seed, channels * channels * taps);
        let kernel = kernel.into_slice();
        kernel.iter_mut().zip(normals).for_each(|(k, normal)| *k = T::of(scale * normal));
        for (first, weight) in kernel.iter_mut().step_by(taps).zip(pixel.view().slice()) {
            *first = T::of(first.widen() + offset * weight.widen());
        }
        Ok(())
    }
}

/// Biases on all points of their channels, b_1 … b_L, D×1.
pub(super) struct Channels<T: Scalar> {
    pub(super) biases: Vec<Matrix<Cpu, T>>,
}

impl<T: Scalar> Channels<T> {
    pub(super) fn new(device: &Cpu, extent: Extent) -> Result<Self> {
        let bias = |_| Matrix::zeros(device, extent.dim, 1, "bias on every point");
        Ok(Self { biases: (0..if extent.bias { extent.layers } else { 0 }).map(bias).collect::<Result<_>>()? })
    }

    pub(super) fn prepare(&mut self, arrays: &Arrays<Cpu, T>) {
        for (bias, out) in arrays.biases.iter().zip(&mut self.biases) {
            expand(bias.view(), out.view_mut());
        }
    }
}

/// Every bias on all points of its channel.
pub(super) fn expand<T: Scalar>(bias: MatrixRef<'_, Cpu, T>, out: MatrixMut<'_, Cpu, T>) {
    let points = out.rows() / bias.rows();
    out.into_slice().chunks_exact_mut(points).zip(bias.slice()).for_each(|(out, &b)| out.fill(b));
}

/// out ← addend + factor times the sums over the points of every channel; in f64, since one after the other many points
/// would lose digits.
pub(super) fn sum<T: Scalar>(
    factor: f64,
    expanded: MatrixRef<'_, Cpu, T>,
    addend: &Addend<'_, Cpu, T>,
    out: MatrixMut<'_, Cpu, T>,
) {
    let sums = expanded.slice().chunks_exact(expanded.rows() / out.rows());
    add_to(addend, sums.map(|of| factor * of.iter().map(|b| b.widen()).sum::<f64>()), out);
}

/// What every coupling by a convolution has of it, for the impls of two traits.
macro_rules! geometry_of_convolution {
    () => {
        fn weight_shape(&self, dim: usize) -> [usize; 2] {
            self.0.weight_shape(dim)
        }

        fn bias_len(&self, dim: usize) -> usize {
            self.0.bias_len(dim)
        }

        fn multiplicity(&self) -> f64 {
            self.0.multiplicity()
        }

        fn cost(&self, method: Method, shape: &Sizes) -> Result<Cost> {
            self.0.cost(method, shape)
        }
    };
}

macro_rules! entries_of_convolution {
    () => {
        fn bias<'a>(&self, layer: &'a Layer<'_, Cpu, T>, work: &'a Work<T>) -> Option<Ref<'a, T>> {
            layer.bias.is_some().then(|| work.channels.biases[layer.index].view())
        }

        fn to_dense(&self, _: &Cpu, weight: Ref<'_, T>, out: Mut<'_, T>) -> Result<()> {
            self.0.write_dense(weight.slice(), out.into_slice());
            Ok(())
        }

        fn sum_entries(&self, _: &Cpu, _: Ref<'_, T>, dense: Ref<'_, T>, out: Mut<'_, T>) -> Result<()> {
            self.0.sum_entries(dense, out);
            Ok(())
        }

        fn expand_bias(&self, _: &Cpu, bias: Ref<'_, T>, out: Mut<'_, T>) -> Result<()> {
            convolution::expand(bias, out);
            Ok(())
        }

        fn sum_bias(&self, _: &Cpu, expanded: Ref<'_, T>, out: Mut<'_, T>) -> Result<()> {
            convolution::sum(1.0, expanded, &Addend::Zero, out);
            Ok(())
        }

        fn draw(&self, device: &Cpu, _: usize, of: (Init, u64, usize), weight: &mut Matrix<Cpu, T>) -> Result<()> {
            self.0.draw(device, of, weight.view_mut())
        }
    };
}

pub(super) use {entries_of_convolution, geometry_of_convolution};

/// out ← addend + values.
pub(super) fn add_to<T: Scalar>(
    addend: &Addend<'_, Cpu, T>,
    values: impl Iterator<Item = f64>,
    out: MatrixMut<'_, Cpu, T>,
) {
    let out = out.into_slice().iter_mut().zip(values);
    match addend {
        Addend::Zero => out.for_each(|(out, value)| *out = T::of(value)),
        Addend::Scaled(keep) => out.for_each(|(out, value)| *out = T::of(keep.widen() * out.widen() + value)),
        Addend::Matrix(addend) => {
            let addend = addend.slice().iter();
            out.zip(addend).for_each(|((out, value), addend)| *out = T::of(addend.widen() + value));
        }
    }
}
