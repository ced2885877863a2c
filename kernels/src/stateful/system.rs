//! The small systems of [M28]: as many unknowns as a step has samples, in f64 whatever the precision of the weights.

use crate::device::{Cpu, Device, Matrix, MatrixRef, ROWS_WIDENED};
use crate::error::Result;
use crate::layer::LuFactors;
use crate::scalar::Scalar;

/// S (n×n), on the host, and its inverse.
pub(super) struct System<D: Device<T>, T: Scalar> {
    host: Cpu,
    lu: LuFactors<Cpu, f64>,
    /// S^{-T}.
    inverse: Matrix<Cpu, f64>,
    /// Of inner products.
    room: Vec<f64>,
    /// S^{-T} diag(s) on the device, and on its way there.
    coefficients: Matrix<D, T>,
    narrow: Vec<T>,
}

impl<D: Device<T>, T: Scalar> System<D, T> {
    /// Takes the memory of a system of `size` unknowns.
    pub(super) fn new(device: &D, size: usize) -> Result<Self> {
        let host = Cpu::new(device.lanes());
        Ok(Self {
            host,
            lu: LuFactors::new(&host, size)?,
            inverse: Matrix::zeros(&host, size, size, "inverse of a step's system")?,
            room: vec![0.0; ROWS_WIDENED * 2 * size],
            coefficients: Matrix::zeros(device, size, size, "coefficients of a step")?,
            narrow: vec![T::default(); size * size],
        })
    }

    /// S ← aᵀb.
    pub(super) fn form(&mut self, device: &D, a: MatrixRef<'_, D, T>, b: MatrixRef<'_, D, T>) -> Result<()> {
        device.inner_products(a, b, &mut self.room, self.lu.factors.view_mut().into_slice())
    }

    /// S ← \[a, E\]ᵀb, where a has fewer columns than S and `rest` the numbers of Eᵀb, by row and column.
    pub(super) fn form_rows(
        &mut self,
        device: &D,
        a: MatrixRef<'_, D, T>,
        b: MatrixRef<'_, D, T>,
        rest: impl Fn(usize, usize) -> f64,
    ) -> Result<()> {
        let (dense, size) = (a.cols(), b.cols());
        let (room, matrix) = (&mut self.room[..ROWS_WIDENED * (dense + size)], self.lu.factors.view_mut().into_slice());
        device.inner_products(a, b, room, &mut matrix[..dense * size])?;
        // From short columns to whole ones, the last first.
        for j in (0..size).rev() {
            matrix.copy_within(j * dense..(j + 1) * dense, j * size);
            let tail = &mut matrix[j * size + dense..(j + 1) * size];
            tail.iter_mut().enumerate().for_each(|(row, entry)| *entry = rest(row, j));
        }
        Ok(())
    }

    /// S ← I + S diag(s), then its inverse; returns log|det S|.
    ///
    /// # Errors
    /// [`crate::Error::Singular`] names the step of layer k.
    pub(super) fn invert(&mut self, k: usize, scale: impl Fn(usize) -> f64) -> Result<f64> {
        let Self { host, lu, inverse, .. } = self;
        let size = inverse.rows();
        for (j, column) in lu.factors.view_mut().into_slice().chunks_exact_mut(size).enumerate() {
            column.iter_mut().for_each(|entry| *entry *= scale(j));
            column[j] += 1.0;
        }
        let report = lu.invert_own(host, inverse.view_mut(), || format!("step of layer {}", k + 1))?;
        Ok(report.log_abs_det)
    }

    /// S^{-T} diag(s) on the device, so that P diag(s) S⁻¹ is P times its transpose.
    pub(super) fn coefficients(&mut self, device: &D, scale: impl Fn(usize) -> f64) -> Result<MatrixRef<'_, D, T>> {
        let size = self.inverse.rows();
        let columns = self.narrow.chunks_exact_mut(size).zip(self.inverse.view().slice().chunks_exact(size));
        for (j, (to, from)) in columns.enumerate() {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = T::of(scale(j) * from));
        }
        device.upload(&self.narrow, self.coefficients.view_mut().into_slice())?;
        Ok(self.coefficients.view())
    }
}
