//! Formulas of the paper as they are printed, and corrected: MATH.md §17, in numbers.
//!
//! Both are compared with the gradient by automatic differentiation through the full Jacobian, which knows none of the
//! formulas. The network has y = Wz + b, three layers, biases, and weights far from orthogonal.

use nalgebra::DMatrix;

use super::{Direction, Reference};
use crate::backend::GradientBackend;
use crate::backend::autodiff::{Autodiff, Jacobians};
use crate::device::{Cpu, Device, Matrix};
use crate::elementwise::reference as scalar;
use crate::error::Result;
use crate::init::{self, Init};
use crate::network::Architecture;
use crate::parameters::Gradient;

/// An erratum that numbers show: the size of an error, or for E4 the change of the log-likelihood in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Erratum {
    /// Its label in MATH.md §17.
    pub label: &'static str,
    /// With the formula as it is printed.
    pub printed: f64,
    /// With the corrected one.
    pub corrected: f64,
}

/// D, L, N.
const SIZES: (usize, usize, usize) = (6, 3, 20);

/// Step size of E4.
const STEP: f64 = 0.01;

/// Evaluates every formula on a network drawn from `seed`; errors are ‖a − b‖/‖b‖ (Frobenius), the largest of all
/// layers.
///
/// # Errors
/// [`crate::Error::Singular`] for a seed that draws a singular weight.
pub fn measure(seed: u64) -> Result<Vec<Erratum>> {
    let (dim, layers, samples) = SIZES;
    let device = Cpu::new(1);
    let architecture = Architecture { bias: true, ..Architecture::new(dim, layers) };
    let parameters = init::network::<_, f64, _>(&device, &architecture, Init::ScaledGaussian, seed)?;
    let batch = init::batch(&device, dim, samples, seed)?;
    let backend = Autodiff { jacobians: Jacobians::Batched, ..Autodiff::default() };
    let mut work = backend.workspace(&device, &architecture, samples)?;
    let mut gradient = Gradient::zeros(&device, &architecture, "gradient")?;
    backend.gradient(&device, &parameters, batch.view(), &mut work, &mut gradient)?;
    let dense = |matrix: &Matrix<Cpu, f64>| -> Result<DMatrix<f64>> {
        Ok(DMatrix::from_vec(matrix.rows(), matrix.cols(), device.to_host(matrix.view())?))
    };
    let weights = gradient.weights.iter().map(dense).collect::<Result<_>>()?;
    let biases = gradient.biases.iter().map(dense).collect::<Result<_>>()?;
    Formulas { of: Reference::from_parameters(&device, &parameters)?, x: dense(&batch)?, weights, biases }.errata()
}

/// The formulas at one network and batch, with the gradients that automatic differentiation finds.
struct Formulas {
    of: Reference,
    x: DMatrix<f64>,
    weights: Vec<DMatrix<f64>>,
    biases: Vec<DMatrix<f64>>,
}

impl Formulas {
    fn errata(&self) -> Result<Vec<Erratum>> {
        let Self { of, x, weights, .. } = self;
        let (pass, deltas, wrong) = (of.forward(x), of.errors(x), self.errors_without_transpose());
        let inverse = |w: &DMatrix<f64>| w.clone().try_inverse().ok_or_else(|| of.singular(0));
        let shares = of.weights.iter().map(|w| Ok(inverse(w)?.transpose())).collect::<Result<Vec<_>>>()?;
        // Of z δᵀ and δ zᵀ, one is the other's transpose.
        let outer = |deltas: &[DMatrix<f64>], k: usize| &deltas[k] * pass.z[k].transpose() / x.ncols() as f64;
        let relative = |g: &DMatrix<f64>, k: usize| g * of.weights[k].transpose() * &of.weights[k];
        let worst = |error: &dyn Fn(usize) -> f64| (0..weights.len()).map(error).fold(0.0, f64::max);
        let of_gradient = |data: &dyn Fn(usize) -> DMatrix<f64>| {
            worst(&|k| (data(k) + &shares[k] - &weights[k]).norm() / weights[k].norm())
        };
        let of_direction = |data: &dyn Fn(usize) -> DMatrix<f64>| {
            let truth = |k| relative(&weights[k], k);
            worst(&|k| (relative(&data(k), k) + &of.weights[k] - truth(k)).norm() / truth(k).norm())
        };
        let erratum = |label, printed, corrected| Erratum { label, printed, corrected };
        let corrected = of_gradient(&|k| outer(&deltas, k));
        Ok(vec![
            erratum("E1", of_gradient(&|k| outer(&deltas, k).transpose()), corrected),
            erratum("E2", of_gradient(&|k| outer(&wrong, k)), corrected),
            erratum("E3", of_direction(&|k| outer(&deltas, k).transpose()), of_direction(&|k| outer(&deltas, k))),
            erratum("E4", self.gain(-STEP)?, self.gain(STEP)?),
            erratum("E6", self.last_row()?, 0.0),
            erratum("E7", self.bias_error(0.0), self.bias_error(1.0)),
        ])
    }

    /// The errors of (P.19), which has W_{k+1} δ_{k+1} for W_{k+1}ᵀ δ_{k+1}.
    fn errors_without_transpose(&self) -> Vec<DMatrix<f64>> {
        let Reference { architecture, weights, .. } = &self.of;
        let (pass, mut deltas) = (self.of.forward(&self.x), self.of.errors(&self.x));
        for k in (0..weights.len() - 1).rev() {
            let v = &weights[k + 1] * &deltas[k + 1];
            let slope = pass.y[k].map(|y| scalar::slope(architecture.activation, y));
            deltas[k] = v.component_mul(&slope) + pass.y[k].map(|y| scalar::ratio(architecture.activation, y));
        }
        deltas
    }

    /// By what the mean log-likelihood rises with a step along the relative gradient.
    fn gain(&self, step: f64) -> Result<f64> {
        let mean = |of: &Reference| -> Result<f64> {
            let parts = of.log_likelihood(&self.x)?;
            let sum: f64 = parts.lp.iter().chain(&parts.l1j).sum();
            Ok(sum / self.x.ncols() as f64 + parts.l2j_per_layer.iter().sum::<f64>())
        };
        let Direction { weights, biases } = self.of.relative(&self.x)?;
        let mut moved = self.of.clone();
        moved.weights.iter_mut().zip(weights).for_each(|(w, direction)| *w += step * direction);
        moved.biases.iter_mut().zip(biases).for_each(|(b, direction)| *b += step * direction);
        Ok(mean(&moved)? - mean(&self.of)?)
    }

    /// The largest entry of the last row of W̄^{-T}, W̄ = \[\[W, b\], \[0, 1\]\], but for the 1 at its end: −bᵀW^{-T}.
    fn last_row(&self) -> Result<f64> {
        let mut largest = 0.0_f64;
        for (k, w) in self.of.weights.iter().enumerate() {
            let dim = w.nrows();
            let mut affine = DMatrix::identity(dim + 1, dim + 1);
            affine.view_mut((0, 0), (dim, dim)).copy_from(w);
            affine.view_mut((0, dim), (dim, 1)).copy_from(&self.of.bias(k));
            let inverse = affine.try_inverse().ok_or_else(|| self.of.singular(k))?.transpose();
            largest = largest.max(inverse.view((dim, 0), (1, dim)).amax());
        }
        Ok(largest)
    }

    /// The error of (P.33) with a `share` of the + b that it lacks, against the direction of the affine group at the
    /// gradients of automatic differentiation.
    fn bias_error(&self, share: f64) -> f64 {
        let samples = self.x.ncols() as f64;
        let (pass, deltas) = (self.of.forward(&self.x), self.of.errors(&self.x));
        let error = |k: usize| {
            let (w, b) = (&self.of.weights[k], self.of.bias(k));
            let truth = &self.weights[k] * w.transpose() * &b + self.biases[k].column(0) * (1.0 + b.dot(&b));
            let c = (pass.y[k].transpose() * &b).add_scalar(1.0);
            let formula = &deltas[k] * c / samples + share * &b;
            (formula - &truth).norm() / truth.norm()
        };
        (0..deltas.len()).map(error).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_formulas_err_and_corrected_ones_do_not() {
        for seed in 0..5 {
            let errata = measure(seed).unwrap();
            let of = |label| *errata.iter().find(|erratum| erratum.label == label).unwrap();
            for label in ["E1", "E2", "E3", "E7"] {
                let Erratum { printed, corrected, .. } = of(label);
                assert!(printed > 0.01 && corrected < 1e-9, "{label}: {printed:e} {corrected:e}");
            }
            let Erratum { printed: descent, corrected: ascent, .. } = of("E4");
            assert!(descent < 0.0 && ascent > 0.0, "{descent} {ascent}");
            assert!(of("E6").printed > 1e-3);
        }
    }
}
