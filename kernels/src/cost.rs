//! The cost model: what one gradient must take, and what this implementation takes (MATH.md §15).

use crate::error::Result;
use crate::layer::Geometry;
use crate::method::Method;
use crate::network::Architecture;
use crate::scalar::Dtype;

/// Work and memory of one gradient evaluation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Floating-point operations, leading terms; a multiply-add counts 2.
    pub flops: f64,
    /// Lower bound of the resident bytes: parameters, gradient and what the method must keep.
    pub min_bytes: f64,
    /// Lower bound of the bytes between memory and cores, if nothing but the blocks of D×N stayed in cache.
    pub min_traffic_bytes: f64,
    /// Bytes that the workspace of this implementation takes together with parameters, batch and gradient.
    pub expected_bytes: f64,
}

/// What is evaluated, for a cost model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// D.
    pub dim: usize,
    /// L.
    pub layers: usize,
    /// N.
    pub batch: usize,
    /// Working precision.
    pub dtype: Dtype,
    /// [`crate::device::Device::lanes`] of the device.
    pub lanes: usize,
}

/// The model of one evaluation of `method` on batches of `batch` samples, on a few CPU threads.
///
/// # Errors
/// [`crate::Error::ShapeMismatch`] for a method that has no form for the network's layers.
pub fn cost<C: Geometry>(method: Method, architecture: &Architecture<C>, batch: usize, dtype: Dtype) -> Result<Cost> {
    cost_on(TYPICAL_LANES, method, architecture, batch, dtype)
}

/// The same on a device with so many [`crate::device::Device::lanes`].
///
/// # Errors
/// As [`cost`].
pub fn cost_on<C: Geometry>(
    lanes: usize,
    method: Method,
    architecture: &Architecture<C>,
    batch: usize,
    dtype: Dtype,
) -> Result<Cost> {
    let shape = Shape { dim: architecture.dim, layers: architecture.layers, batch, dtype, lanes };
    architecture.coupling.cost(method, &shape)
}

/// The model of dense layers.
pub(crate) fn dense(method: Method, shape: &Shape) -> Cost {
    let Shape { dtype, lanes, .. } = *shape;
    let (d, n, l) = (shape.dim as f64, shape.batch as f64, shape.layers as f64);
    let w = dtype.bytes() as f64;
    let product = 2.0 * n * d * d;
    let (square, parameters, blocks) = (d * d * w, l * d * d * w, (l + 3.0) * n * d * w);
    // The batch itself is the caller's; it is resident all the same.
    let input = n * d * w;
    match method {
        Method::Relative => Cost {
            flops: (4.0 * l - 1.0) * product,
            min_bytes: 2.0 * parameters + blocks,
            min_traffic_bytes: 4.0 * parameters,
            expected_bytes: 2.0 * parameters + blocks + input,
        },
        Method::RelativeInPlace => Cost {
            flops: (4.0 * l - 1.0) * product,
            min_bytes: parameters + blocks,
            min_traffic_bytes: 4.0 * parameters,
            expected_bytes: parameters + blocks + input,
        },
        Method::Transposed => Cost {
            flops: 4.0 * l * product,
            min_bytes: 2.0 * parameters + blocks,
            min_traffic_bytes: 5.0 * parameters,
            expected_bytes: 2.0 * parameters + blocks + input,
        },
        Method::Ordinary => Cost {
            flops: (3.0 * l - 1.0) * product + 2.0 * l * d.powi(3),
            min_bytes: 2.0 * parameters + blocks,
            min_traffic_bytes: (4.0 * l - 1.0) * square,
            expected_bytes: 2.0 * parameters + square + blocks + input,
        },
        Method::Autodiff => Cost {
            flops: n * (6.0 * l - 4.0) * d.powi(3),
            min_bytes: 2.0 * parameters + n * square,
            min_traffic_bytes: 2.0 * parameters + 2.0 * n * square,
            expected_bytes: 2.0 * parameters
                + ((l - 1.0) * n + 2.0 * chunk(lanes, dtype, d, n)) * square
                + blocks
                + input,
        },
        Method::AutodiffStreamed => Cost {
            flops: n * (6.0 * l - 4.0) * d.powi(3),
            min_bytes: 2.0 * parameters + parameters,
            min_traffic_bytes: 2.0 * parameters,
            expected_bytes: 2.0 * parameters + (l + 1.0) * chunk(lanes, dtype, d, n) * square + blocks + input,
        },
    }
}

/// Samples per chunk of Jacobians, as [`crate::backend::autodiff`] chooses them.
fn chunk(lanes: usize, dtype: Dtype, dim: f64, batch: f64) -> f64 {
    crate::backend::autodiff::chunk_size(dtype, dim as usize, batch as usize, lanes) as f64
}

/// Threads of a small machine; only the width of a chunk at large D depends on it.
const TYPICAL_LANES: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of MATH.md §15: N = 100, L = 2, f32.
    #[test]
    fn agrees_with_the_table() {
        let gigaflop = |method, dim| {
            let cost = cost(method, &Architecture::new(dim, 2), 100, Dtype::F32).unwrap();
            cost.flops / 1e9
        };
        let close = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.05;
        for (method, expected) in [
            (Method::Relative, [1.4, 35.0, 560.0]),
            (Method::Transposed, [1.6, 40.0, 640.0]),
            (Method::Ordinary, [5.0, 525.0, 32_400.0]),
            (Method::Autodiff, [800.0, 1.0e5, 6.4e6]),
        ] {
            for (dim, expected) in [1000, 5000, 20_000].into_iter().zip(expected) {
                let value = gigaflop(method, dim);
                assert!(close(value, expected), "{method} at {dim}: {value} is not {expected}");
            }
        }
    }

    #[test]
    fn lower_bounds_are_below_what_is_taken() {
        for method in Method::ALL {
            for dim in [1, 10, 1000, 20_000] {
                for layers in [1, 2, 5] {
                    let cost = cost(method, &Architecture::new(dim, layers), 100, Dtype::F32).unwrap();
                    // One Jacobian a sample is the bound also for one layer, where J_1 is rebuilt and none is recorded.
                    if layers > 1 {
                        assert!(cost.min_bytes <= cost.expected_bytes, "{method}, D = {dim}, L = {layers}");
                    }
                }
            }
        }
    }
}
