//! The cost model of networks of convolutions.

use super::dense::dense_architecture;
use crate::cost::Cost;
use crate::error::{Error, Result};
use crate::method::Method;
use crate::network::{Architecture, Convolution};
use crate::scalar::Dtype;

/// The model of one evaluation of `method` on batches of `batch` samples.
///
/// With F = 2.5 cNn log₂n flops for the real transforms of a batch, F_K = 2.5 c²n log₂n for those of a kernel, and
/// P = 8 c²Nm for a product with c×c complex matrices at the m ≈ n/2 frequencies that stand for all:
///
/// | method | flops per gradient |
/// | --- | --- |
/// | relative, every tap \[M27\] | (5L−1) F + (4L−1) P + 2L F_K |
/// | ordinary \[M26\] | (5L−1) F + (3L−1) P + 2L F_K + 8Lmc³ |
/// | 1×1 kernels | those of dense layers with D = c and nN samples |
/// | autodiff | N(6L−4) D³, as for dense layers |
///
/// On a growing grid with fixed c all but autodiff are linear in n, but for the logarithm: the determinant is cheap
/// here, and the relative gradient saves c³ against c²N, not an order of D.
///
/// # Errors
/// [`Error::ShapeMismatch`] for a method that has no form for these kernels.
pub fn cost(method: Method, architecture: &Architecture, batch: usize, dtype: Dtype) -> Result<Cost> {
    let convolution = architecture.convolution()?;
    require(method, &convolution)?;
    let dense = dense_architecture(architecture);
    Ok(match method {
        Method::Autodiff | Method::AutodiffStreamed => with_dense_copies(method, &dense, &convolution, batch, dtype),
        _ if convolution.is_pointwise() => {
            let pixels = Architecture { dim: convolution.channels, ..dense };
            let samples = convolution.points().saturating_mul(batch);
            let cost = crate::cost::cost(method, &pixels, samples, dtype);
            // The batch once more, as pixels.
            let copy = (architecture.dim * batch * dtype.bytes()) as f64;
            Cost { expected_bytes: cost.expected_bytes + copy, ..cost }
        }
        _ => spectral(method == Method::Ordinary, architecture.layers, &convolution, batch, dtype),
    })
}

/// Whether `method` has a form for these kernels.
pub(super) fn require(method: Method, convolution: &Convolution) -> Result<()> {
    let exact = convolution.is_full() || convolution.is_pointwise();
    match method {
        Method::Ordinary | Method::Autodiff | Method::AutodiffStreamed => Ok(()),
        Method::Relative if exact => Ok(()),
        Method::Relative => Err(Error::shape(
            "relative gradient of convolutions",
            "a kernel with every tap or with one (others are no group: take the ordinary gradient)",
            format!("{}×{} taps", convolution.kernel[0], convolution.kernel[1]),
        )),
        Method::Transposed | Method::RelativeInPlace => {
            Err(Error::shape("convolution", "the method relative, ordinary, autodiff or autodiff-streamed", method))
        }
    }
}

fn spectral(ordinary: bool, layers: usize, convolution: &Convolution, batch: usize, dtype: Dtype) -> Cost {
    let (c, n, samples) = (convolution.channels as f64, convolution.points() as f64, batch as f64);
    let (l, w) = (layers as f64, dtype.bytes() as f64);
    let [rows, cols] = convolution.grid;
    let (rows, cols) = if cols == 1 { (1, rows) } else { (rows, cols) };
    let m = (rows * (cols / 2 + 1)) as f64;
    let transform = 2.5 * n * n.log2().max(1.0);
    let (batches, kernels, product) = (c * samples * transform, c * c * transform, 8.0 * c * c * samples * m);
    let shared = (5.0 * l - 1.0) * batches + 2.0 * l * kernels;
    let flops =
        shared + if ordinary { (3.0 * l - 1.0) * product + 8.0 * l * m * c.powi(3) } else { (4.0 * l - 1.0) * product };
    let parameters = l * c * c * convolution.taps() as f64 * w;
    let block = c * n * samples * w;
    let spectrum = 2.0 * m * c * w;
    // Y_1 … Y_L, δ, V and the batch; three spectra of a batch; those of the kernels, of one direction and its inverse.
    let kernel_spectra = l + if ordinary { 2.0 } else { 1.0 };
    Cost {
        flops,
        min_bytes: 2.0 * parameters + (l + 3.0) * block,
        min_traffic_bytes: 4.0 * parameters,
        expected_bytes: 2.0 * parameters + (l + 3.0) * block + spectrum * (3.0 * samples + kernel_spectra * c),
    }
}

/// Autodiff on the dense network, beside the kernels and their gradient.
fn with_dense_copies(
    method: Method,
    dense: &Architecture,
    convolution: &Convolution,
    batch: usize,
    dtype: Dtype,
) -> Cost {
    let cost = crate::cost::cost(method, dense, batch, dtype);
    let kernels = (dense.layers * convolution.taps() * dtype.bytes()) as f64;
    let kernels = 2.0 * kernels * (convolution.channels as f64).powi(2);
    Cost { expected_bytes: cost.expected_bytes + kernels, ..cost }
}
