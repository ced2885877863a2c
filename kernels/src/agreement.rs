//! Workloads on which every device and every method must agree with independent computations: the one list, for the
//! tests and for machines that have no compiler.

use crate::backend::BiasMode;
use crate::bound::bind;
use crate::check::{self, relative_error};
use crate::device::Device;
use crate::error::Result;
use crate::evaluation::Workload;
use crate::init::{self, Init};
use crate::inversion::Inverter;
use crate::layer::{Dense, MaybeGroup};
use crate::likelihood::Evaluator;
use crate::method::Method;
use crate::network::{Activation, Architecture, Base};
use crate::parameters::{Arrays, Gradient, Parameters};
use crate::scalar::{Dtype, Scalar};

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

/// Largest condition, about D, at which a reconstruction by a learned inverse keeps the digits of the check.
const MOST_RECONSTRUCTED: usize = 130;

/// Every method on weights of condition ~ D. Where W Wᵀ = I the relative, the transposed and the ordinary gradient are
/// the same, and a missing factor W does not show. In f64, whose sixteen digits leave more than the ten of the check.
pub fn ill_conditioned(dims: &[usize]) -> Vec<Workload> {
    let mut workloads = Vec::new();
    // Z − RWZ, which `self-normalizing` multiplies by R once more, leaves nine digits where the condition is 257; so
    // does x − h(f(x)) of `free-form`.
    let learns_inverse = |method| matches!(method, Method::SelfNormalizing | Method::FreeForm);
    let keeps_digits =
        |workload: &Workload| !learns_inverse(workload.method) || workload.architecture.dim <= MOST_RECONSTRUCTED;
    for mut workload in sizes(dims, Dtype::F64).into_iter().filter(keeps_digits) {
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
        init: Init::Orthogonal,
        threads: 2,
        seed: 7,
        ..Workload::new(method, Architecture::new(dim, 2), 10, dtype)
    }
}

/// What disagrees between networks of a coupling and the dense networks of the same functions: the gradient of every
/// method (with the reference and, beyond its dimensions, with derivatives along directions), the likelihood, and the
/// data after the network and its inverse. `network` makes an architecture of a dimension and a number of layers.
///
/// # Errors
/// Those of the coupling itself; the relative gradient of one that is no group is left out.
pub fn coupling_agrees<D: Device<T> + 'static, T: Scalar, C: MaybeGroup<D, T>>(
    device: &D,
    network: &dyn Fn(usize, usize) -> Architecture<C>,
) -> Result<Vec<String>> {
    let mut disagreements = Vec::new();
    for (dim, layers, bias, last_nonlinear) in [(12, 1, false, false), (12, 3, true, true), (144, 2, true, false)] {
        let architecture = Architecture { bias, last_nonlinear, ..network(dim, layers) };
        let parameters = init::network(device, &architecture, Init::Orthogonal, 3)?;
        let x = init::batch(device, dim, 5, 4)?;
        let mut told = |what: &str, error: f64, tolerance: f64| {
            if error > tolerance || error.is_nan() {
                disagreements.push(format!("{what} at D = {dim}, L = {layers}: {error:e} above {tolerance:e}"));
            }
        };
        for method in Method::ALL {
            let mut bound = match bind(device, method, BiasMode::Exact, &architecture, x.cols()) {
                Err(crate::Error::ShapeMismatch { .. }) if method.needs_group() || method.needs_dense() => continue,
                bound => bound?,
            };
            let mut gradient = Gradient::zeros(device, &architecture, "gradient")?;
            bound.gradient(device, &parameters, x.view(), &mut gradient)?;
            let check = bound.check(device, &parameters, &x, &gradient)?;
            told(method.name(), check.max_rel_err, check.tolerance);
        }
        let tolerance = check::tolerance(device.math());
        let dense = dense_copy(device, &parameters)?;
        let ours = Evaluator::new(device, &architecture, 5)?.log_likelihood(device, &parameters, x.view())?;
        let theirs = Evaluator::new(device, dense.architecture(), 5)?.log_likelihood(device, &dense, x.view())?;
        told("likelihood", relative_error(ours.per_sample(), theirs.per_sample()), tolerance);
        let mut evaluator = Evaluator::new(device, &architecture, 5)?;
        evaluator.data_terms(device, &parameters, x.view())?;
        let mut s = device.to_host(evaluator.latents())?;
        Inverter::new(device, &parameters)?.invert(&mut s)?;
        let expected = x.to_column_major(device)?;
        let wide = |of: Vec<T>| of.into_iter().map(Scalar::widen);
        told("inversion", relative_error(wide(s), wide(expected)), 100.0 * tolerance);
    }
    Ok(disagreements)
}

/// The network of D×D matrices of the same function.
fn dense_copy<D: Device<T>, T: Scalar, C: MaybeGroup<D, T>>(
    device: &D,
    parameters: &Parameters<D, T, C>,
) -> Result<Parameters<D, T>> {
    let architecture = parameters.architecture().with(Dense);
    let mut arrays = Arrays::zeros(device, &architecture, "dense network")?;
    crate::backend::autodiff::write_dense(device, parameters, &mut arrays)?;
    Parameters::new(architecture, arrays)
}
