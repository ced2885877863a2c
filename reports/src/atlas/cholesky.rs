//! The Cholesky factor of a covariance matrix.

use nalgebra::{DMatrix, DVector, Dyn};

/// L with L Lᵀ = K.
#[derive(Debug, Clone)]
pub(super) struct Cholesky(nalgebra::Cholesky<f64, Dyn>);

impl Cholesky {
    /// Of the symmetric matrix whose entries (i, j), j ≤ i, are `entry`; `None` where it is not positive definite.
    pub(super) fn of(size: usize, entry: impl Fn(usize, usize) -> f64) -> Option<Self> {
        // Entries above the diagonal are not read.
        let covariances = DMatrix::from_fn(size, size, |i, j| if j <= i { entry(i, j) } else { 0.0 });
        covariances.cholesky().map(Self)
    }

    /// ln det K.
    pub(super) fn log_det(&self) -> f64 {
        2.0 * self.0.l_dirty().diagonal().map(f64::ln).sum()
    }

    /// L z: numbers with the covariances K, of independent normal ones.
    #[cfg(test)]
    pub(super) fn times(&self, z: &[f64]) -> Vec<f64> {
        (self.0.l() * DVector::from_column_slice(z)).data.into()
    }

    /// L⁻¹ b.
    pub(super) fn forward(&self, b: Vec<f64>) -> Vec<f64> {
        let mut b = DVector::from_vec(b);
        // No number on the diagonal is 0.
        let _ = self.0.l_dirty().solve_lower_triangular_mut(&mut b);
        b.data.into()
    }

    /// K⁻¹ b.
    pub(super) fn solve(&self, b: Vec<f64>) -> Vec<f64> {
        self.0.solve(&DVector::from_vec(b)).data.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_solves_and_knows_the_determinant() {
        // K = A Aᵀ + I of a 6×6 matrix A.
        let a = |i: usize, j: usize| ((3 * i + 5 * j) % 7) as f64 - 3.0;
        let k = |i: usize, j: usize| (0..6).map(|l| a(i, l) * a(j, l)).sum::<f64>() + f64::from(u8::from(i == j));
        let factor = Cholesky::of(6, k).unwrap();
        let x = factor.solve((0..6).map(|i| i as f64).collect());
        for i in 0..6 {
            let product: f64 = (0..6).map(|j| k(i, j) * x[j]).sum();
            assert!((product - i as f64).abs() < 1e-9, "{i}: {product}");
        }
        let two = Cholesky::of(2, |i, j| if i == j { 3.0 } else { 1.0 }).unwrap();
        assert!((two.log_det() - 8f64.ln()).abs() < 1e-12);
        assert!(Cholesky::of(2, |_, _| 1.0).is_none(), "a singular matrix has none");
    }
}
