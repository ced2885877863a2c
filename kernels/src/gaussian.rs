//! The full-covariance Gaussian of maximum likelihood: what a linear network can reach at best, and a check of data.

use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Accum, Mat, MatMut, MatRef, Side};

use crate::error::{Error, Result};

/// N(m, Σ) with Σ = LLᵀ, in f64.
pub struct Gaussian {
    mean: Vec<f64>,
    /// L, D×D lower triangular.
    factor: Mat<f64>,
}

/// Samples centred at a time, so that the work memory does not grow with their number.
const CHUNK: usize = 1024;

impl Gaussian {
    /// m = (1/N) Σ x_n and Σ = (1/N) Σ (x_n − m)(x_n − m)ᵀ of `samples`, D×N column-major, one sample per column.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless there is a sample and the length is a multiple of D; [`Error::NonFinite`];
    /// [`Error::Singular`] when Σ is not positive definite: a constant column, duplicate columns, or N ≤ D.
    pub fn fit(dim: usize, samples: &[f64]) -> Result<Self> {
        require_samples(dim, samples)?;
        if samples.is_empty() {
            return Err(Error::shape("Gaussian fit", "at least one sample", "none"));
        }
        let count = (samples.len() / dim) as f64;
        let mut mean = vec![0.0; dim];
        for sample in samples.chunks_exact(dim) {
            mean.iter_mut().zip(sample).for_each(|(mean, x)| *mean += x);
        }
        mean.iter_mut().for_each(|mean| *mean /= count);
        if !mean.iter().all(|mean| mean.is_finite()) {
            return Err(Error::NonFinite { what: "data".to_owned() });
        }
        let mut covariance = Mat::<f64>::zeros(dim, dim);
        let mut centred = Vec::with_capacity(dim * CHUNK);
        for chunk in samples.chunks(dim * CHUNK) {
            centre(chunk, &mean, &mut centred);
            let block = MatRef::from_column_major_slice(&centred, dim, centred.len() / dim);
            let par = faer::get_global_parallelism();
            matmul(covariance.as_mut(), Accum::Add, block, block.transpose(), 1.0 / count, par);
        }
        let singular = || Error::Singular { matrix: "covariance of the data".to_owned(), condition: f64::INFINITY };
        let factor = covariance.llt(Side::Lower).map_err(|_| singular())?.L().to_owned();
        // A pivot that is rounding noise beside its variance says nothing about the data.
        let lost = |i: usize| factor[(i, i)].powi(2) <= dim as f64 * f64::EPSILON * covariance[(i, i)];
        if (0..dim).any(lost) { Err(singular()) } else { Ok(Self { mean, factor }) }
    }

    /// m, D numbers.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// log N(x_n; m, Σ) = −½‖L⁻¹(x_n − m)‖² − Σ_i log L_ii − (D/2) log 2π of every sample, in nats.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless the length is a multiple of D.
    pub fn log_likelihoods(&self, samples: &[f64]) -> Result<Vec<f64>> {
        let dim = self.mean.len();
        require_samples(dim, samples)?;
        let log_det: f64 = (0..dim).map(|i| self.factor[(i, i)].ln()).sum();
        let constant = -log_det - 0.5 * dim as f64 * std::f64::consts::TAU.ln();
        let mut centred = Vec::with_capacity(dim * CHUNK);
        let mut result = Vec::with_capacity(samples.len() / dim);
        for chunk in samples.chunks(dim * CHUNK) {
            centre(chunk, &self.mean, &mut centred);
            let columns = centred.len() / dim;
            let block = MatMut::from_column_major_slice_mut(&mut centred, dim, columns);
            solve_lower_triangular_in_place(self.factor.as_ref(), block, faer::get_global_parallelism());
            let squares = centred.chunks_exact(dim).map(|z| z.iter().map(|z| z * z).sum::<f64>());
            result.extend(squares.map(|square| constant - 0.5 * square));
        }
        Ok(result)
    }

    /// The affine map that makes the data white: (W, b) with W = L⁻¹ (D×D column-major) and b = −L⁻¹m.
    pub fn whitening(&self) -> (Vec<f64>, Vec<f64>) {
        let dim = self.mean.len();
        let par = faer::get_global_parallelism();
        let mut weight = vec![0.0; dim * dim];
        (0..dim).for_each(|i| weight[i * (dim + 1)] = 1.0);
        let block = MatMut::from_column_major_slice_mut(&mut weight, dim, dim);
        solve_lower_triangular_in_place(self.factor.as_ref(), block, par);
        let mut bias: Vec<f64> = self.mean.iter().map(|mean| -mean).collect();
        let block = MatMut::from_column_major_slice_mut(&mut bias, dim, 1);
        solve_lower_triangular_in_place(self.factor.as_ref(), block, par);
        (weight, bias)
    }
}

fn require_samples(dim: usize, samples: &[f64]) -> Result<()> {
    if dim > 0 && samples.len().is_multiple_of(dim) {
        return Ok(());
    }
    Err(Error::shape("Gaussian", format!("a multiple of {dim} numbers"), samples.len()))
}

fn centre(samples: &[f64], mean: &[f64], out: &mut Vec<f64>) {
    out.clear();
    out.extend(samples.iter().zip(mean.iter().cycle()).map(|(x, mean)| x - mean));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init;

    /// The mean log-likelihood of a fit on its own data is −(D/2)(1 + log 2π) − ½ log|Σ|, exactly; more samples than a
    /// chunk. Tolerance: rounding of 3 000 sums.
    #[test]
    fn a_fit_on_its_own_data_has_the_closed_form() {
        let (dim, count) = (3, 3000);
        let z = init::normals(7, dim * count);
        let map = [[2.0, 0.0, 0.0], [0.5, 1.0, 0.0], [-1.0, 0.3, 0.1]];
        let sample = |z: &[f64]| map.map(|row| 5.0 + row.iter().zip(z).map(|(a, z)| a * z).sum::<f64>());
        let x: Vec<f64> = z.chunks_exact(dim).flat_map(sample).collect();
        let fit = Gaussian::fit(dim, &x).unwrap();
        let mean = fit.log_likelihoods(&x).unwrap().iter().sum::<f64>() / count as f64;
        let log_det: f64 = (0..dim).map(|i| 2.0 * fit.factor[(i, i)].ln()).sum();
        let expected = -0.5 * (dim as f64 * (1.0 + std::f64::consts::TAU.ln()) + log_det);
        assert!((mean - expected).abs() < 1e-10, "{mean} for {expected}");
        // det of the map is 0.2, the sample's own covariance is near the identity.
        assert!((log_det - 2.0 * 0.2_f64.ln()).abs() < 0.2, "{log_det}");
        let (w, b) = fit.whitening();
        let white = |x: &[f64]| -> Vec<f64> {
            (0..dim).map(|i| b[i] + (0..dim).map(|j| w[i + j * dim] * x[j]).sum::<f64>()).collect()
        };
        let white: Vec<f64> = x.chunks_exact(dim).flat_map(white).collect();
        let refit = Gaussian::fit(dim, &white).unwrap();
        for i in 0..dim {
            assert!(refit.mean[i].abs() < 1e-9);
            for j in 0..=i {
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((refit.factor[(i, j)] - expected).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn degenerate_data_are_named() {
        let constant: Vec<f64> = init::normals(1, 100).into_iter().flat_map(|x| [x, 2.0]).collect();
        assert!(matches!(Gaussian::fit(2, &constant), Err(Error::Singular { .. })));
        let twins: Vec<f64> = init::normals(1, 100).into_iter().flat_map(|x| [x, 3.0 * x]).collect();
        assert!(matches!(Gaussian::fit(2, &twins), Err(Error::Singular { .. })));
        assert!(matches!(Gaussian::fit(2, &[1.0, f64::NAN]), Err(Error::NonFinite { .. })));
        assert!(matches!(Gaussian::fit(2, &[1.0]), Err(Error::ShapeMismatch { .. })));
        assert!(Gaussian::fit(2, &[]).is_err());
    }
}
