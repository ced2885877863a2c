//! Workloads on which every device and every method must agree with independent computations: the one list, for the
//! tests and for machines that have no compiler.

use crate::evaluation::Workload;
use crate::init::Init;
use crate::method::Method;
use crate::network::{Activation, Architecture, Base};
use crate::scalar::Dtype;

/// Every method at every dimension, in one precision.
pub fn sizes(dims: &[usize], dtype: Dtype) -> Vec<Workload> {
    let at = |method| dims.iter().map(move |&dim| workload(method, dim, dtype));
    Method::ALL.into_iter().flat_map(at).collect()
}

/// Every method on networks of every kind, each at a size for the reference and at one for the probe, in one precision.
pub fn architectures(dtype: Dtype) -> Vec<Workload> {
    let activations = [
        Activation::SmoothLeaky { alpha: 0.3 },
        Activation::SmoothLeaky { alpha: 1.0 },
        Activation::TanhLinear { alpha: 1.0, beta: 0.1 },
    ];
    let bases = [Base::Normal, Base::SECH, Base::Sech { c: 1.0 }, Base::Logistic, Base::Laplace];
    let mut workloads = Vec::new();
    for method in Method::ALL {
        for (i, activation) in activations.into_iter().enumerate() {
            for (j, base) in bases.into_iter().enumerate() {
                for layers in [1, 2, 3, 4] {
                    for dim in [9, 130] {
                        let last_nonlinear = (i + j + layers) % 2 == 0;
                        let bias = (j + layers) % 2 == 0;
                        let mut workload = workload(method, dim, dtype);
                        let shape = workload.architecture;
                        workload.architecture =
                            Architecture { layers, activation, base, last_nonlinear, bias, ..shape };
                        workloads.push(workload);
                    }
                }
            }
        }
    }
    workloads
}

/// Every method on weights of condition ~ D. Where W Wᵀ = I the relative, the transposed and the ordinary gradient are
/// the same, and a missing factor W does not show. In f64, whose sixteen digits leave more than the ten of the check.
pub fn ill_conditioned(dims: &[usize]) -> Vec<Workload> {
    let mut workloads = Vec::new();
    for mut workload in sizes(dims, Dtype::F64) {
        for bias in [false, true] {
            workload.architecture.bias = bias;
            workloads.push(Workload { init: Init::ScaledGaussian, ..workload });
        }
    }
    workloads
}

/// A network of two layers and a batch of ten samples.
pub fn workload(method: Method, dim: usize, dtype: Dtype) -> Workload {
    Workload {
        method,
        architecture: Architecture::new(dim, 2),
        init: Init::Orthogonal,
        batch: 10,
        dtype,
        threads: 2,
        seed: 7,
    }
}
