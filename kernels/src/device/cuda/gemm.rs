//! A matrix product in BLAS's terms. Our matrices are column-major without padding, as BLAS has them, so that factors
//! go over as they are: no swapping of operands, and a leading dimension is the number of stored rows.

use crate::error::{Error, Result};

/// A factor as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Whether the product uses the transpose.
    pub(super) transposed: bool,
}

/// c (m×n) ← α op(a) op(b) + β c, op(a) m×k and op(b) k×n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Gemm {
    pub(super) transposed_a: bool,
    pub(super) transposed_b: bool,
    pub(super) m: i64,
    pub(super) n: i64,
    pub(super) k: i64,
    pub(super) lda: i64,
    pub(super) ldb: i64,
    pub(super) ldc: i64,
}

impl Gemm {
    /// The product of `a` and `b` into a matrix of `rows`×`cols`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    pub(super) fn new(a: Stored, b: Stored, (rows, cols): (usize, usize)) -> Result<Self> {
        let (m, k) = if a.transposed { (a.cols, a.rows) } else { (a.rows, a.cols) };
        let (inner, n) = if b.transposed { (b.cols, b.rows) } else { (b.rows, b.cols) };
        if inner != k {
            return Err(Error::shape("product", format!("{k} rows of the right factor"), inner));
        }
        if (m, n) != (rows, cols) {
            return Err(Error::shape("product", format!("{m}×{n}"), format!("{rows}×{cols}")));
        }
        // BLAS wants a leading dimension of at least one, also of an empty matrix.
        let leading = |rows: usize| rows.max(1) as i64;
        Ok(Self {
            transposed_a: a.transposed,
            transposed_b: b.transposed,
            m: m as i64,
            n: n as i64,
            k: k as i64,
            lda: leading(a.rows),
            ldb: leading(b.rows),
            ldc: leading(m),
        })
    }

    /// Whether the result has no entries.
    pub(super) fn is_empty(&self) -> bool {
        self.m == 0 || self.n == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Addend, Cpu, Device, Factor, Matrix};

    /// The definition of GEMM in the BLAS standard, on plain arrays.
    fn blas(gemm: &Gemm, alpha: f64, a: &[f64], b: &[f64], beta: f64, c: &mut [f64]) {
        let at = |data: &[f64], transposed: bool, ld: i64, i: i64, j: i64| {
            let (row, col) = if transposed { (j, i) } else { (i, j) };
            data[(row + col * ld) as usize]
        };
        for j in 0..gemm.n {
            for i in 0..gemm.m {
                let sum: f64 = (0..gemm.k)
                    .map(|l| at(a, gemm.transposed_a, gemm.lda, i, l) * at(b, gemm.transposed_b, gemm.ldb, l, j))
                    .sum();
                let c = &mut c[(i + j * gemm.ldc) as usize];
                *c = alpha * sum + beta * *c;
            }
        }
    }

    fn factor(matrix: &Matrix<Cpu, f64>, transposed: bool) -> Factor<'_, Cpu, f64> {
        if transposed { matrix.view().transposed() } else { matrix.view().plain() }
    }

    #[test]
    fn blas_on_these_arguments_gives_the_products_of_the_cpu() {
        let device = Cpu::new(1);
        for (m, k, n) in [(1, 1, 1), (3, 5, 2), (4, 4, 7), (5, 1, 3), (2, 6, 1)] {
            for (transposed_a, transposed_b) in [(false, false), (true, false), (false, true), (true, true)] {
                let stored = |rows, cols, transposed| {
                    let (rows, cols) = if transposed { (cols, rows) } else { (rows, cols) };
                    Stored { rows, cols, transposed }
                };
                let (a, b) = (stored(m, k, transposed_a), stored(k, n, transposed_b));
                let numbers = |seed, s: Stored| crate::init::normals(seed, s.rows * s.cols);
                let (x, y) = (numbers(1, a), numbers(2, b));
                let mut expected = crate::init::normals(3, m * n);
                let matrix = |x: &[f64], r, c| Matrix::<Cpu, f64>::from_column_major(&device, x, r, c, "").unwrap();
                let mut c = matrix(&expected, m, n);
                let (left, right) = (matrix(&x, a.rows, a.cols), matrix(&y, b.rows, b.cols));
                device
                    .multiply(
                        0.5,
                        factor(&left, transposed_a),
                        factor(&right, transposed_b),
                        Addend::Scaled(-2.0),
                        c.view_mut(),
                    )
                    .unwrap();
                let gemm = Gemm::new(a, b, (m, n)).unwrap();
                blas(&gemm, 0.5, &x, &y, -2.0, &mut expected);
                let ours = c.to_column_major(&device).unwrap();
                assert!(crate::check::relative_error(ours, expected) < 1e-13, "{gemm:?}");
            }
        }
    }

    #[test]
    fn factors_that_do_not_fit_are_refused() {
        let plain = |rows, cols| Stored { rows, cols, transposed: false };
        assert!(Gemm::new(plain(2, 3), plain(4, 5), (2, 5)).is_err());
        assert!(Gemm::new(plain(2, 3), plain(3, 5), (5, 2)).is_err());
        assert!(Gemm::new(plain(0, 3), plain(3, 5), (0, 5)).unwrap().is_empty());
    }
}
