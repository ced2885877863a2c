//! A network's numbers as training sees them: the likelihood of samples, and the arrays one after another.
//!
//! What training asks of the kernels' parameters stands here, in `learner` and in `start`.

use relgrad_kernels::device::{Device, Matrix};
use relgrad_kernels::likelihood::{Evaluator, log_abs_dets};
use relgrad_kernels::parameters::{Arrays, Parameters};
use relgrad_kernels::{Cpu, Result, Scalar};

use crate::data::Samples;

/// Samples evaluated at a time.
pub(super) const CHUNK: usize = 500;

/// ℓ(x_n) of every sample, D numbers each, one after another; determinants by one LU a layer, in f64. Fails where a
/// sample or parameter is not finite, or a weight singular.
pub(crate) fn log_likelihoods<T: Scalar>(
    device: &Cpu,
    parameters: &Parameters<Cpu, T>,
    samples: &[T],
) -> Result<Vec<f64>> {
    let architecture = parameters.architecture();
    let dim = architecture.dim;
    let l2j: f64 = log_abs_dets(device, parameters)?.iter().sum();
    let mut result = Vec::with_capacity(samples.len() / dim);
    let mut evaluator: Option<(usize, Evaluator<Cpu, T>)> = None;
    for chunk in samples.chunks(dim * CHUNK) {
        let count = chunk.len() / dim;
        let evaluator = match &mut evaluator {
            Some((size, evaluator)) if *size == count => evaluator,
            other => &mut other.insert((count, Evaluator::new(device, architecture, count)?)).1,
        };
        let x = Matrix::from_column_major(device, chunk, dim, count, "samples to evaluate")?;
        let terms = evaluator.data_terms(device, parameters, x.view())?;
        result.extend(terms.lp.iter().zip(&terms.l1j).map(|(lp, l1j)| lp + l1j + l2j));
    }
    Ok(result)
}

/// The numbers of samples in the precision of training.
pub(crate) fn converted<T: Scalar>(samples: &Samples) -> Vec<T> {
    samples.values.iter().map(|&x| T::of(x)).collect()
}

/// Every array with its kind and the number of its layer, which counts from 1: weights, then biases.
pub(super) fn each<T: Scalar>(arrays: &Arrays<Cpu, T>) -> impl Iterator<Item = (&'static str, usize, &Matrix<Cpu, T>)> {
    let weights = (1..).zip(&arrays.weights).map(|(k, weight)| ("weight", k, weight));
    weights.chain((1..).zip(&arrays.biases).map(|(k, bias)| ("bias", k, bias)))
}

/// The same, to be changed.
pub(super) fn each_mut<T: Scalar>(
    arrays: &mut Arrays<Cpu, T>,
) -> impl Iterator<Item = (&'static str, usize, &mut Matrix<Cpu, T>)> {
    let weights = (1..).zip(&mut arrays.weights).map(|(k, weight)| ("weight", k, weight));
    weights.chain((1..).zip(&mut arrays.biases).map(|(k, bias)| ("bias", k, bias)))
}

/// Makes sure that every number is finite; `of` says whose arrays these are.
pub(super) fn require_finite<T: Scalar>(device: &Cpu, of: &str, arrays: &Arrays<Cpu, T>) -> Result<()> {
    each(arrays)
        .try_for_each(|(kind, k, array)| device.require_finite(&format!("{of}{kind} of layer {k}"), array.view()))
}
