//! The guard of a sketched step: the norm of what it multiplies a weight by [M39].

use crate::device::{Addend, Device, Matrix, MatrixMut, MatrixRef};
use crate::error::Result;
use crate::scalar::Scalar;

/// Steps of power iteration: over a few hundred dimensions it is then some percent below at most, and the guard leaves
/// a factor of two.
const ITERATIONS: usize = 16;

/// Work memory for ‖P diag(s) Bᵀ‖, P and B being D×n.
pub(super) struct Guard<D: Device<T>, T: Scalar> {
    /// PᵀP and BᵀB.
    of_p: Matrix<D, T>,
    of_b: Matrix<D, T>,
    /// Either on its way over the host.
    narrow: [Vec<T>; 2],
    /// c, BᵀB c, and PᵀP of that; on the device and on the host.
    vectors: [Matrix<D, T>; 3],
    on_host: [Vec<T>; 3],
}

impl<D: Device<T>, T: Scalar> Guard<D, T> {
    pub(super) fn new(device: &D, size: usize) -> Result<Self> {
        let square = || Matrix::zeros(device, size, size, "products of a guard");
        let vector = || Matrix::zeros(device, size, 1, "vectors of a guard");
        let numbers = |count| vec![T::default(); count];
        Ok(Self {
            of_p: square()?,
            of_b: square()?,
            narrow: [numbers(size * size), numbers(size * size)],
            vectors: [vector()?, vector()?, vector()?],
            on_host: [numbers(size), numbers(size), numbers(size)],
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
        device.in_full_precision(|device| {
            self.form_of_b(device, right, (rows, units))?;
            let [narrow, _] = &mut self.narrow;
            let one = T::of(1.0);
            device.multiply(one, p.transposed(), p.plain(), Addend::Zero, self.of_p.view_mut())?;
            device.download(self.of_p.view().slice(), narrow)?;
            for (j, column) in narrow.chunks_exact_mut(p.cols()).enumerate() {
                let of_column = scale(j);
                column.iter_mut().enumerate().for_each(|(i, x)| *x = T::of(x.widen() * scale(i) * of_column));
            }
            device.upload(narrow, self.of_p.view_mut().into_slice())?;
            self.power_iteration(device)
        })
    }

    /// BᵀB.
    fn form_of_b(&mut self, device: &D, right: MatrixRef<'_, D, T>, (rows, units): (&[f64], usize)) -> Result<()> {
        let (size, dense) = (self.of_b.rows(), right.cols());
        let Self { of_b, narrow: [narrow, whole], .. } = self;
        let (slice, _) = D::split_mut(of_b.view_mut().into_slice(), dense * dense);
        let products = MatrixMut::of_slice(slice, dense, dense);
        device.multiply(T::of(1.0), right.transposed(), right.plain(), Addend::Zero, products)?;
        let (slice, _) = D::split(of_b.view().slice(), dense * dense);
        device.download(slice, &mut narrow[..dense * dense])?;
        whole.fill(T::default());
        for j in 0..dense {
            whole[j * size..][..dense].copy_from_slice(&narrow[j * dense..][..dense]);
            for i in 0..units {
                let entry = T::of(rows[i + j * units]);
                whole[dense + i + j * size] = entry;
                whole[j + (dense + i) * size] = entry;
            }
        }
        (dense..dense + units).for_each(|i| whole[i + i * size] = T::of(1.0));
        device.upload(whole, of_b.view_mut().into_slice())
    }

    /// u = B c goes to B (PᵀP)(BᵀB) c; the estimate ‖P Bᵀu‖/‖u‖ grows from step to step.
    fn power_iteration(&mut self, device: &D) -> Result<f64> {
        let Self { of_p, of_b, vectors: [c, d, e], on_host: [host_c, host_d, host_e], .. } = self;
        // Any vector that is not orthogonal to the one that is sought.
        host_c.iter_mut().enumerate().for_each(|(i, c)| *c = T::of(1.0 + 0.5 * (i as f64).sin()));
        let dot = |a: &[T], b: &[T]| a.iter().zip(b).map(|(a, b)| a.widen() * b.widen()).sum::<f64>();
        let (one, mut square) = (T::of(1.0), 0.0);
        for _ in 0..ITERATIONS {
            device.upload(host_c, c.view_mut().into_slice())?;
            device.multiply(one, of_b.view().plain(), c.view().plain(), Addend::Zero, d.view_mut())?;
            device.multiply(one, of_p.view().plain(), d.view().plain(), Addend::Zero, e.view_mut())?;
            device.download(d.view().slice(), host_d)?;
            device.download(e.view().slice(), host_e)?;
            let (image, length, norm) = (dot(host_d, host_e), dot(host_c, host_d), dot(host_e, host_e).sqrt());
            if image.is_nan() || length.is_nan() {
                return Ok(f64::NAN);
            }
            // Where P or B is zero, so is the product; below zero is rounding of zero.
            if image <= 0.0 || length <= 0.0 {
                break;
            }
            square = image / length;
            host_c.iter_mut().zip(&*host_e).for_each(|(c, e)| *c = T::of(e.widen() / norm));
        }
        Ok(square.sqrt())
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
