//! The Cholesky factor of a covariance matrix.

/// L with L Lᵀ = K, row after row of the lower triangle.
#[derive(Debug, Clone)]
pub(super) struct Cholesky {
    size: usize,
    rows: Vec<f64>,
}

impl Cholesky {
    /// Of the symmetric matrix whose entries (i, j), j ≤ i, are `entry`; `None` where it is not positive definite.
    pub(super) fn of(size: usize, entry: impl Fn(usize, usize) -> f64) -> Option<Self> {
        let mut rows: Vec<f64> = Vec::with_capacity(start(size));
        for i in 0..size {
            for j in 0..=i {
                let (this, other) = (&rows[start(i)..], &rows[start(j)..start(j) + j]);
                let rest = entry(i, j) - dot(&this[..j], other);
                let value = if i == j { rest.sqrt() } else { rest / rows[start(j) + j] };
                // The root of a negative number is NaN.
                if !value.is_finite() || (i == j && value <= 0.0) {
                    return None;
                }
                rows.push(value);
            }
        }
        Some(Self { size, rows })
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.rows[start(i)..start(i + 1)]
    }

    /// ln det K.
    pub(super) fn log_det(&self) -> f64 {
        2.0 * (0..self.size).map(|i| self.row(i)[i].ln()).sum::<f64>()
    }

    /// L z: numbers with the covariances K, of independent normal ones.
    #[cfg(test)]
    pub(super) fn times(&self, z: &[f64]) -> Vec<f64> {
        (0..self.size).map(|i| dot(self.row(i), &z[..=i])).collect()
    }

    /// L⁻¹ b.
    pub(super) fn forward(&self, mut b: Vec<f64>) -> Vec<f64> {
        for i in 0..self.size {
            let row = self.row(i);
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
        b
    }

    /// K⁻¹ b.
    pub(super) fn solve(&self, b: Vec<f64>) -> Vec<f64> {
        let mut x = self.forward(b);
        for i in (0..self.size).rev() {
            let row = self.row(i);
            x[i] /= row[i];
            let solved = x[i];
            x[..i].iter_mut().zip(row).for_each(|(rest, l)| *rest -= l * solved);
        }
        x
    }
}

/// Entries of the rows before row `i`.
const fn start(i: usize) -> usize {
    i * (i + 1) / 2
}

/// Four sums, which need not wait for each other.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (a_chunks, b_chunks) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        sums.iter_mut().zip(x.iter().zip(y)).for_each(|(sum, (x, y))| *sum += x * y);
    }
    sums.iter().sum::<f64>() + rest
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
