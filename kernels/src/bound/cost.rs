//! What each method costs.

use super::STEP_RESIDUAL;
use crate::Tuning;
use crate::backend::newton_schulz::products;
use crate::backend::{Hutchinson, autodiff};
use crate::cost::{Cost, Sizes};
use crate::layer::{BLOCK, best_delay};
use crate::method::Method;
use crate::scalar::{Dtype, Scalar};
use crate::stateful::{FreeFormSettings, Sketch};

/// What a method costs with dense layers.
pub(crate) fn cost_of_dense(method: Method, shape: &Sizes) -> Cost {
    let Sizes { dtype, lanes, tuning, .. } = *shape;
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
            min_traffic_bytes: 3.0 * parameters,
            expected_bytes: 2.0 * parameters + blocks + input,
        },
        Method::RelativeInPlace => Cost {
            flops: (4.0 * l - 1.0) * product,
            min_bytes: parameters + blocks,
            // With one layer its one pass reads and writes; else the first and the last layer have no second one.
            min_traffic_bytes: (3.0 * l - 2.0).max(2.0) * square,
            expected_bytes: parameters + blocks + input,
        },
        Method::RelativeDelayed => {
            let k = best_delay(shape.dim, shape.batch) as f64;
            // On the average half of the steps' factors are pending.
            let (pending, factors) = (3.0 * l * (k - 1.0) * n * d, 2.0 * k * l * n * d * w);
            let passes = if l > 1.0 { 2.0 * l - 2.0 + l / k } else { 1.0 + 1.0 / k };
            Cost {
                flops: (4.0 * l - 1.0) * product + 2.0 * n * pending,
                min_bytes: parameters + blocks + if k > 1.0 { factors } else { 0.0 },
                min_traffic_bytes: passes * square + pending * w,
                expected_bytes: parameters + blocks + input + if k > 1.0 { factors + 2.0 * k * n * n * w } else { 0.0 },
            }
        }
        Method::RelativeCarried => Cost {
            // S and the product with its inverse; S is n×n, in f64.
            flops: (6.0 * l - 1.0) * product + l * (4.0 * n * n * d + 2.0 * n.powi(3)),
            min_bytes: 2.0 * parameters + blocks + 2.0 * input,
            min_traffic_bytes: (5.0 * l - 2.0).max(4.0) * square,
            expected_bytes: 2.0 * parameters + blocks + 3.0 * input + (16.0 + 2.0 * w) * n * n + 16.0 * d * w,
        },
        Method::OrdinaryCarried => {
            let m = Sketch::tuned(tuning).width(shape.dim, shape.batch) as f64;
            let size = n + m;
            // Two Gram matrices of the guard, S, the product with its inverse, and the inverse.
            let small = 2.0 * d * (2.0 * size * size + n * n + n * size) + 2.0 * size.powi(3);
            Cost {
                flops: (6.0 * l - 1.0 + 2.0 * l * m / n) * product + l * small,
                min_bytes: 2.0 * parameters + blocks + (3.0 + 3.0 * m / n) * input,
                min_traffic_bytes: (5.0 * l - 2.0).max(4.0) * square + l * m * d * w,
                expected_bytes: 2.0 * parameters
                    + blocks
                    + (5.0 + 3.0 * m / n) * input
                    + (32.0 + 3.0 * w) * size * size,
            }
        }
        Method::Transposed => Cost {
            flops: 4.0 * l * product,
            min_bytes: 2.0 * parameters + blocks,
            min_traffic_bytes: (4.0 * l - 1.0) * square,
            expected_bytes: 2.0 * parameters + blocks + input,
        },
        Method::Ordinary => Cost {
            flops: (3.0 * l - 1.0) * product + 2.0 * l * d.powi(3),
            min_bytes: 2.0 * parameters + blocks,
            min_traffic_bytes: (4.0 * l - 1.0) * square,
            expected_bytes: 2.0 * parameters + square + blocks + input,
        },
        Method::Autodiff | Method::AutodiffReverse => Cost {
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
        // Half of a product less in the first layer, and each half of a weight is read with the other.
        Method::Plu => Cost {
            flops: (3.0 * l - 0.5) * product,
            min_bytes: 2.0 * parameters + (2.0 * l + 3.0) * input,
            min_traffic_bytes: 3.0 * parameters,
            // Two blocks more than must be: Pᵀδ and LᵀPᵀδ.
            expected_bytes: 2.0 * l * (square + 2.0 * d * w) + (2.0 * l + 6.0) * input,
        },
        // Blocks of n reflections add their Gram matrices and H(M + Mᵀ): 3n/4N of a product.
        Method::Qr => {
            let block = (BLOCK as f64).min(d);
            Cost {
                flops: (5.0 * l - 0.5 + 0.75 * l * block / n) * product,
                min_bytes: 2.0 * parameters + (2.0 * l + 3.0) * input,
                min_traffic_bytes: 3.0 * parameters,
                // Outputs of layers are kept beside the trail; squares on the diagonal and T of all blocks.
                expected_bytes: 2.0 * l * (square + 2.0 * d * w) + (3.0 * l + 6.0) * input + 2.0 * l * d * block * w,
            }
        }
        Method::NewtonSchulz => {
            let epsilon = if dtype == Dtype::F32 { f32::EPS } else { f64::EPS };
            let products = shape.layers.saturating_mul(products(STEP_RESIDUAL, epsilon));
            Cost {
                min_bytes: 3.0 * parameters + square + blocks,
                expected_bytes: 3.0 * parameters + 3.0 * square + blocks + input,
                ..cost_of_refresh(shape, products, 0)
            }
        }
        Method::SelfNormalizing => Cost {
            flops: 6.0 * l * product,
            min_bytes: 2.0 * parameters + blocks + input,
            min_traffic_bytes: 7.0 * l * square,
            expected_bytes: 2.0 * parameters + blocks + 2.0 * input,
        },
        Method::FreeForm => {
            let k = FreeFormSettings::tuned(tuning).probes as f64;
            // Pre-activations of both networks, tangents, two blocks of adjoints; taken are values, copies and slopes
            // too.
            let (least, taken) = (2.0 * l + k * l + 2.0 * (1.0 + k), 2.0 * l + 8.0 + (l + 3.0) * (1.0 + k) + 2.0 * k);
            Cost {
                flops: ((6.0 * l - 1.0) + k * (4.0 * l - 1.0)) * product,
                min_bytes: 2.0 * parameters + least * input,
                min_traffic_bytes: 7.0 * l * square,
                expected_bytes: 2.0 * parameters + taken * input,
            }
        }
        Method::Hutchinson => {
            let probes = Hutchinson::tuned(tuning).probes as f64 * d * w;
            Cost {
                min_bytes: 2.0 * parameters + blocks + 4.0 * probes,
                expected_bytes: 2.0 * parameters + blocks + input + 7.0 * probes,
                ..cost_of_solve(shape, shape.layers.saturating_mul(expected_steps(tuning)))
            }
        }
    }
}

/// What a gradient of [`Method::NewtonSchulz`] costs whose refreshes took so many products and LUs over all layers; the
/// memory is that of `ordinary`.
pub fn cost_of_refresh(shape: &Sizes, products: usize, factored: usize) -> Cost {
    let cost = cost_of_dense(Method::Ordinary, shape);
    let (d, layers, products) = (shape.dim as f64, shape.layers as f64, products as f64);
    let square = d * d * shape.dtype.bytes() as f64;
    Cost {
        flops: cost.flops + 2.0 * (products + factored as f64 - layers) * d.powi(3),
        min_traffic_bytes: (5.0 * layers + 3.0 * products) * square,
        ..cost
    }
}

/// Steps of a solve at the condition of the weights that are timed, in both precisions: as many as were counted for the
/// default tolerance, and for others in proportion to ln(2/η) \[M63\].
fn expected_steps(tuning: Tuning) -> usize {
    const COUNTED: f64 = 6.0;
    let digits = |tuning| (2.0 / Hutchinson::tuned(tuning).tolerance).ln();
    (COUNTED * digits(tuning) / digits(Tuning::default())).ceil() as usize
}

/// What a gradient of [`Method::Hutchinson`] costs whose solves took so many steps over all layers (MATH.md §24): the
/// last step of a solve is half of one, and its half is that of the product of the solution with the probes.
pub fn cost_of_solve(shape: &Sizes, steps: usize) -> Cost {
    let cost = cost_of_dense(Method::Ordinary, shape);
    let (d, n, l, steps) = (shape.dim as f64, shape.batch as f64, shape.layers as f64, steps as f64);
    let square = d * d * shape.dtype.bytes() as f64;
    let probes = Hutchinson::tuned(shape.tuning).probes as f64;
    Cost {
        flops: (3.0 * l - 1.0) * 2.0 * n * d * d + 4.0 * steps * probes * d * d,
        // One pass over W a step is enough for W p and Wᵀ(W p).
        min_traffic_bytes: (3.0 * l - 2.0 + steps).max(2.0 * l) * square,
        ..cost
    }
}

/// Samples per chunk of Jacobians, as [`crate::backend::autodiff`] chooses them.
fn chunk(lanes: usize, dtype: Dtype, dim: f64, batch: f64) -> f64 {
    autodiff::chunk_size(dtype, dim as usize, batch as usize, lanes) as f64
}
