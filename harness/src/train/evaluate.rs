//! The log-likelihood of a whole part of a set.

use relgrad_kernels::device::Matrix;
use relgrad_kernels::likelihood::{Evaluator, log_abs_dets};
use relgrad_kernels::parameters::Parameters;
use relgrad_kernels::{Cpu, Result, Scalar};

/// Samples evaluated at a time.
pub(super) const CHUNK: usize = 500;

/// ℓ(x_n) of every sample, D numbers each, one after another; determinants by one LU a layer, in f64.
///
/// # Errors
/// A sample or parameter that is not finite, or a singular weight.
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
