//! The guard of a sketched step: the norm of what it multiplies a weight by [M39].

use crate::device::{Addend, Device, Matrix, MatrixRef};
use crate::error::Result;
use crate::scalar::Scalar;

/// Steps of power iteration: over a few hundred dimensions it is then some percent below at most, and the guard leaves
/// a factor of two.
const ITERATIONS: usize = 16;

/// Work memory for ‖P diag(s) Bᵀ‖, P and B being D×n.
pub(super) struct Guard<D: Device<T>, T: Scalar> {
    gram: Matrix<D, T>,
    narrow: Vec<T>,
    /// PᵀP and BᵀB.
    of_p: Vec<f64>,
    of_b: Vec<f64>,
    vectors: [Vec<f64>; 3],
}

impl<D: Device<T>, T: Scalar> Guard<D, T> {
    pub(super) fn new(device: &D, size: usize) -> Result<Self> {
        Ok(Self {
            gram: Matrix::zeros(device, size * size, 1, "products of a guard")?,
            narrow: vec![T::default(); size * size],
            of_p: vec![0.0; size * size],
            of_b: vec![0.0; size * size],
            vectors: [vec![0.0; size], vec![0.0; size], vec![0.0; size]],
        })
    }

    /// √λ_max((PᵀP)(BᵀB)) for the scaled P, from below. B is `right` (fewer columns than P) and unit vectors e_i behind
    /// it, for which `rows` has rows i of `right`, column by column.
    pub(super) fn norm(
        &mut self,
        device: &D,
        (p, scale): (MatrixRef<'_, D, T>, impl Fn(usize) -> f64),
        right: MatrixRef<'_, D, T>,
        (rows, units): (&[f64], usize),
    ) -> Result<f64> {
        let (size, dense) = (p.cols(), right.cols());
        self.gram(device, p, size)?;
        self.of_p.iter_mut().zip(&self.narrow).for_each(|(to, from)| *to = from.widen());
        for (place, entry) in self.of_p.iter_mut().enumerate() {
            *entry *= scale(place % size) * scale(place / size);
        }
        self.gram(device, right, dense)?;
        self.of_b.fill(0.0);
        for j in 0..dense {
            for i in 0..dense {
                self.of_b[i + j * size] = self.narrow[i + j * dense].widen();
            }
            for i in 0..units {
                let entry = rows[i + j * units];
                self.of_b[dense + i + j * size] = entry;
                self.of_b[j + (dense + i) * size] = entry;
            }
        }
        for i in dense..dense + units {
            self.of_b[i + i * size] = 1.0;
        }
        Ok(self.power_iteration(size))
    }

    /// `narrow` ← aᵀa.
    fn gram(&mut self, device: &D, a: MatrixRef<'_, D, T>, size: usize) -> Result<()> {
        let Self { gram, narrow, .. } = self;
        let slice = D::split_mut(gram.view_mut().into_slice(), size * size).0;
        let out = crate::device::MatrixMut::of_slice(slice, size, size);
        device.in_full_precision(|device| device.multiply(T::of(1.0), a.transposed(), a.plain(), Addend::Zero, out))?;
        let slice = D::split(gram.view().slice(), size * size).0;
        device.download(slice, &mut narrow[..size * size])
    }

    /// u = B c goes to B (PᵀP)(BᵀB) c; the estimate ‖P Bᵀu‖/‖u‖ grows from step to step.
    fn power_iteration(&mut self, size: usize) -> f64 {
        let Self { of_p, of_b, vectors: [c, d, e], .. } = self;
        // Any vector that is not orthogonal to the one that is sought.
        c.iter_mut().enumerate().for_each(|(i, c)| *c = 1.0 + 0.5 * (i as f64).sin());
        let mut square = 0.0;
        for _ in 0..ITERATIONS {
            apply(of_b, c, d, size);
            apply(of_p, d, e, size);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let (image, length) = (dot(d, e), dot(c, d));
            if image.is_nan() || length.is_nan() {
                return f64::NAN;
            }
            // Where P or B is zero, so is the product; below zero is rounding of zero.
            if image <= 0.0 || length <= 0.0 {
                break;
            }
            square = image / length;
            let norm = dot(e, e).sqrt();
            c.iter_mut().zip(&*e).for_each(|(c, e)| *c = e / norm);
        }
        square.sqrt()
    }
}

/// out ← A v for a symmetric A.
fn apply(a: &[f64], v: &[f64], out: &mut [f64], size: usize) {
    out.fill(0.0);
    for (column, &v) in a.chunks_exact(size).zip(v) {
        out.iter_mut().zip(column).for_each(|(out, a)| *out += a * v);
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;

    use super::*;
    use crate::check::wide;
    use crate::device::Cpu;
    use crate::init;

    /// Against the largest singular value of the D×D matrix; from below, and not by much.
    fn norms_are_close<T: Scalar>() {
        let device = Cpu::new(1);
        for (dim, dense, units) in [(1, 1, 1), (6, 9, 2), (40, 7, 0), (50, 20, 5), (120, 30, 30)] {
            for seed in 0..5 {
                let size = dense + units;
                let p: Matrix<Cpu, T> = init::batch(&device, dim, size, seed).unwrap();
                let right: Matrix<Cpu, T> = init::batch(&device, dim, dense, seed + 50).unwrap();
                let scale = |j: usize| if j < dense { 0.1 } else { 2.0 };
                let [wide_p, mut b] = [&p, &right].map(|of| wide(&device, of.view()).unwrap());
                let chosen = |i: usize| (i * 7 + seed as usize) % dim.max(units);
                let rows = DMatrix::from_fn(units, dense, |i, j| b[(chosen(i), j)]);
                b = b.resize_horizontally(size, 0.0);
                (0..units).for_each(|i| b[(chosen(i), dense + i)] = 1.0);
                let scaled = DMatrix::from_fn(dim, size, |i, j| wide_p[(i, j)] * scale(j));
                let exact = (scaled * b.transpose()).singular_values().max();
                let mut guard = Guard::new(&device, size).unwrap();
                let found = guard.norm(&device, (p.view(), scale), right.view(), (rows.as_slice(), units)).unwrap();
                let ratio = found / exact;
                assert!(ratio > 0.9 && ratio < 1.0 + 20.0 * T::EPS.sqrt(), "{dim}, {dense}, {units}: {ratio}");
            }
        }
    }

    #[test]
    fn norms_are_close_in_both_precisions() {
        norms_are_close::<f64>();
        norms_are_close::<f32>();
    }

    #[test]
    fn what_is_zero_or_no_number_is_told() {
        let device = Cpu::new(1);
        let mut guard = Guard::<Cpu, f64>::new(&device, 2).unwrap();
        let mut p = Matrix::zeros(&device, 3, 2, "p").unwrap();
        let right: Matrix<Cpu, f64> = init::batch(&device, 3, 2, 1).unwrap();
        assert_eq!(guard.norm(&device, (p.view(), |_| 1.0), right.view(), (&[], 0)).unwrap(), 0.0);
        p.view_mut().into_slice()[1] = f64::NAN;
        assert!(guard.norm(&device, (p.view(), |_| 1.0), right.view(), (&[], 0)).unwrap().is_nan());
    }
}
