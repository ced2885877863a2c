//! The D×D block-circulant matrix of a layer, written out, and the way back from D×D directions to kernels.

use super::{Parameters, Spectral};
use crate::device::{Cpu, Matrix};
use crate::error::{Error, Result};
use crate::network::{Architecture, Convolution, Coupling};
use crate::parameters as dense;
use crate::scalar::Scalar;

/// The same network with dense layers: W\[(o,p),(i,q)\] = K\[o,i,p−q\], b\[(o,p)\] = b\[o\]. O(LD²) memory.
///
/// # Errors
/// [`crate::Error::OutOfMemory`].
pub fn dense_parameters<T: Spectral>(device: &Cpu, parameters: &Parameters<T>) -> Result<dense::Parameters<Cpu, T>> {
    let architecture = dense_architecture(parameters.architecture());
    let mut dense =
        dense::Parameters::new(architecture, dense::Arrays::zeros(device, &architecture, "dense network")?)?;
    Circulant::new(parameters.convolution()).write(parameters, dense.arrays_mut());
    Ok(dense)
}

/// The dense network of the same shape.
pub(super) fn dense_architecture(architecture: &Architecture) -> Architecture {
    Architecture { coupling: Coupling::Dense, ..*architecture }
}

/// The kernel whose taps are the sums over the entries of a D×D matrix that they stand in: the chain rule, from the
/// derivative in W to the derivative in K. `dense` is D×D column-major; the result as in [`super::Arrays::kernels`].
///
/// # Errors
/// [`Error::ShapeMismatch`] unless `dense` is D×D.
pub fn project_sum(convolution: &Convolution, dense: &[f64]) -> Result<Vec<f64>> {
    if Some(dense.len()) != convolution.dim().checked_mul(convolution.dim()) {
        return Err(Error::shape("projection", format!("D = {}", convolution.dim()), dense.len()));
    }
    let mut kernel = vec![0.0; convolution.channels * convolution.channels * convolution.taps()];
    Circulant::new(convolution).gather(dense, 1.0, &mut kernel);
    Ok(kernel)
}

/// The kernel whose taps are the means over the entries of a D×D matrix that they stand in: P of MATH.md §14, the
/// orthogonal projection on block-circulant matrices.
///
/// # Errors
/// As [`project_sum`].
pub fn project_mean(convolution: &Convolution, dense: &[f64]) -> Result<Vec<f64>> {
    let mut kernel = project_sum(convolution, dense)?;
    kernel.iter_mut().for_each(|k| *k /= convolution.points() as f64);
    Ok(kernel)
}

/// Where the taps of a kernel stand in the block-circulant matrix.
pub(super) struct Circulant {
    convolution: Convolution,
    taps: Vec<usize>,
}

impl Circulant {
    pub(super) fn new(convolution: &Convolution) -> Self {
        Self { convolution: *convolution, taps: convolution.tap_positions() }
    }

    pub(super) fn is_of<T: Spectral>(&self, parameters: &Parameters<T>) -> bool {
        self.convolution == *parameters.convolution()
    }

    /// Writes W_k and b_k of every layer; what stood there does not matter.
    pub(super) fn write<T: Spectral>(&self, parameters: &Parameters<T>, out: &mut dense::Arrays<Cpu, T>) {
        for (k, weight) in out.weights.iter_mut().enumerate() {
            self.write_weight(parameters.kernel(k), weight);
        }
        for (k, out) in out.biases.iter_mut().enumerate() {
            let points = self.convolution.points();
            let bias = parameters.bias(k).unwrap_or_default();
            let channels = out.view_mut().into_slice().chunks_exact_mut(points);
            channels.zip(bias).for_each(|(out, &b)| out.fill(b));
        }
    }

    fn write_weight<T: Scalar>(&self, kernel: &[T], weight: &mut Matrix<Cpu, T>) {
        let (points, taps) = (self.convolution.points(), self.taps.len());
        let weight = weight.view_mut().into_slice();
        weight.fill(T::of(0.0));
        for (column, weight) in weight.chunks_exact_mut(self.convolution.dim()).enumerate() {
            let (i, q) = (column / points, column % points);
            let kernel = &kernel[i * self.convolution.channels * taps..];
            for (values, weight) in kernel.chunks_exact(taps).zip(weight.chunks_exact_mut(points)) {
                for (&value, &tap) in values.iter().zip(&self.taps) {
                    weight[self.shift(q, tap)] = value;
                }
            }
        }
    }

    /// kernel ← factor times the sum over the entries of `dense` (D×D) that each tap stands in.
    pub(super) fn gather<T: Scalar>(&self, dense: &[T], factor: f64, kernel: &mut [T]) {
        let (points, dim, taps) = (self.convolution.points(), self.convolution.dim(), self.taps.len());
        for (i, column) in kernel.chunks_exact_mut(self.convolution.channels * taps).enumerate() {
            for (o, values) in column.chunks_exact_mut(taps).enumerate() {
                for (value, &tap) in values.iter_mut().zip(&self.taps) {
                    let entry = |q: usize| dense[(i * points + q) * dim + o * points + self.shift(q, tap)];
                    *value = T::of(factor * (0..points).map(|q| entry(q).widen()).sum::<f64>());
                }
            }
        }
    }

    /// The point `by` further than `from`, around the grid.
    fn shift(&self, from: usize, by: usize) -> usize {
        let [rows, cols] = self.convolution.grid;
        let (row, col) = (from / cols + by / cols, from % cols + by % cols);
        (row % rows) * cols + col % cols
    }
}
