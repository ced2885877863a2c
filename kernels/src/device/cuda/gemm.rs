//! A matrix product in BLAS's terms. Our matrices are column-major without padding, as BLAS has them, so that factors
//! go over as they are: no swapping of operands, and a leading dimension is the number of stored rows.

/// c (m×n) ← α op(a) op(b) + β c, op(a) m×k and op(b) k×n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gemm {
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
    /// The product of two factors, each of them rows and columns as stored and whether its transpose is used. They fit.
    pub(super) fn new((a, transposed_a): ((usize, usize), bool), (b, transposed_b): ((usize, usize), bool)) -> Self {
        let (m, k) = if transposed_a { (a.1, a.0) } else { a };
        let n = if transposed_b { b.0 } else { b.1 };
        // BLAS wants a leading dimension of at least one, also of an empty matrix.
        let leading = |rows: usize| rows.max(1) as i64;
        let (lda, ldb, ldc) = (leading(a.0), leading(b.0), leading(m));
        Self { transposed_a, transposed_b, m: m as i64, n: n as i64, k: k as i64, lda, ldb, ldc }
    }
}

/// The definition of GEMM in the BLAS standard, on plain arrays.
#[cfg(test)]
pub(super) fn blas<T: crate::Scalar>(gemm: &Gemm, (alpha, beta): (T, T), a: &[T], b: &[T], c: &mut [T]) {
    let at = |data: &[T], transposed: bool, ld: i64, i: i64, j: i64| {
        let (row, col) = if transposed { (j, i) } else { (i, j) };
        data[(row + col * ld) as usize].widen()
    };
    for j in 0..gemm.n {
        for i in 0..gemm.m {
            let term = |l| at(a, gemm.transposed_a, gemm.lda, i, l) * at(b, gemm.transposed_b, gemm.ldb, l, j);
            let sum: f64 = (0..gemm.k).map(term).sum();
            let c = &mut c[(i + j * gemm.ldc) as usize];
            let old = if beta == T::of(0.0) { 0.0 } else { beta.widen() * c.widen() };
            *c = T::of(alpha.widen() * sum + old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Addend, Cpu, Device, Factor, Matrix};

    fn factor(matrix: &Matrix<Cpu, f64>, transposed: bool) -> Factor<'_, Cpu, f64> {
        Factor { matrix: matrix.view(), transposed }
    }

    #[test]
    fn blas_on_these_arguments_gives_the_products_of_the_cpu() {
        let device = Cpu::new(1);
        for (m, k, n) in [(1, 1, 1), (3, 5, 2), (4, 4, 7), (5, 1, 3), (2, 6, 1)] {
            for (transposed_a, transposed_b) in [(false, false), (true, false), (false, true), (true, true)] {
                let matrix = |seed, rows, cols, transposed| {
                    let (rows, cols) = if transposed { (cols, rows) } else { (rows, cols) };
                    let numbers = crate::init::normals(seed, rows * cols);
                    Matrix::<Cpu, f64>::from_column_major(&device, &numbers, rows, cols, "").unwrap()
                };
                let (a, b) = (matrix(1, m, k, transposed_a), matrix(2, k, n, transposed_b));
                let mut c = matrix(3, m, n, false);
                let mut expected = c.to_column_major(&device).unwrap();
                let (left, right) = (factor(&a, transposed_a), factor(&b, transposed_b));
                device.multiply(0.5, left, right, Addend::Scaled(-2.0), c.view_mut()).unwrap();
                let gemm = Gemm::new((a.view().shape(), transposed_a), (b.view().shape(), transposed_b));
                blas(&gemm, (0.5, -2.0), a.view().slice(), b.view().slice(), &mut expected);
                let ours = c.to_column_major(&device).unwrap();
                assert!(crate::check::relative_error(ours, expected) < 1e-13, "{gemm:?}");
            }
        }
    }
}
