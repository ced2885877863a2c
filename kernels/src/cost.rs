//! The cost model: what one gradient must take, and what this implementation takes (MATH.md §15).

use crate::error::Result;
use crate::layer::Geometry;
use crate::network::Architecture;
use crate::scalar::Dtype;
use crate::{Tuned, Tuning};

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
pub struct Sizes {
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
    /// Numbers of the method.
    pub tuning: Tuning,
}

/// The model of one evaluation of `method` on batches of `batch` samples, on a few CPU threads.
///
/// # Errors
/// [`crate::Error::ShapeMismatch`] for a method that has no form for the network's layers.
pub fn cost<C: Geometry>(
    method: impl Into<Tuned>,
    architecture: &Architecture<C>,
    batch: usize,
    dtype: Dtype,
) -> Result<Cost> {
    cost_on(TYPICAL_LANES, method, architecture, batch, dtype)
}

/// The same on a device with so many [`crate::device::Device::lanes`].
///
/// # Errors
/// As [`cost`].
pub fn cost_on<C: Geometry>(
    lanes: usize,
    method: impl Into<Tuned>,
    architecture: &Architecture<C>,
    batch: usize,
    dtype: Dtype,
) -> Result<Cost> {
    let Tuned { method, tuning } = method.into();
    let shape = Sizes { dim: architecture.dim, layers: architecture.layers, batch, dtype, lanes, tuning };
    architecture.coupling.cost(method, &shape)
}

/// Threads of a small machine; only the width of a chunk at large D depends on it.
const TYPICAL_LANES: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Method;

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
