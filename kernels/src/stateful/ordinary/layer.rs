//! One layer's sketched step, and what follows it.

use crate::device::{Addend, Device, Lines, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::parameters::Parameters;
use crate::scalar::Scalar;
use crate::stateful::guard::Guard;
use crate::stateful::inverses::CarriedInverses;
use crate::stateful::sketch::{Control, Sketch};
use crate::stateful::system::System;

/// τ that a guarded step has at most: below 1 no determinant changes its sign, and cond(W') ≤ 3 cond(W diag(a)).
const LARGEST_TAU: f64 = 0.5;

/// The factors of one layer's step: W' = W diag(a) + μ A diag(s) Bᵀ with A = \[δ | ΔV | Δe_I − ΔV(Vᵀe_I)\] and B = \[Z
/// | V | e_I\], and Δ = R_kᵀ − C.
pub(super) struct SketchFactors<D: Device<T>, T: Scalar> {
    /// A, later R A S⁻¹.
    left: Matrix<D, T>,
    /// P = R A.
    p: Matrix<D, T>,
    /// Q = RᵀB.
    q: Matrix<D, T>,
    /// The first columns of B: Z, V.
    right: Matrix<D, T>,
    system: System<D, T>,
    guard: Guard<D, T>,
    /// Ones, one a sample.
    ones: Matrix<D, T>,
    /// The number 1.
    one: Matrix<D, T>,
    /// 1 + μe or its inverse, for C = W diag(e).
    scales: Matrix<D, T>,
    /// Vᵀe_I.
    picks: Matrix<D, T>,
    host: SketchHost<T>,
}

/// Numbers of a layer on the host.
struct SketchHost<T> {
    column: Vec<T>,
    /// Rows I of P, and of the first columns of B.
    rows_of_p: Vec<f64>,
    rows_of_right: Vec<f64>,
    /// e of C = W diag(e), and 1 + μe.
    norms: Vec<f64>,
    scales: Vec<T>,
    picks: Vec<T>,
}

/// The step of one layer.
pub(super) struct LayerStep<'a, D: Device<T>, T: Scalar> {
    pub(super) k: usize,
    pub(super) mu: f64,
    pub(super) sketch: Sketch,
    /// I.
    pub(super) chosen: &'a [usize],
    /// π.
    pub(super) probability: f64,
    pub(super) inverses: &'a mut CarriedInverses<D, T>,
    pub(super) direction: Option<&'a mut Matrix<D, T>>,
}

impl<D: Device<T>, T: Scalar> LayerStep<'_, D, T> {
    /// Takes the step; returns its length and τ at a step of 1.
    pub(super) fn take(
        mut self,
        device: &D,
        parameters: &mut Parameters<D, T>,
        (delta, z): (MatrixRef<'_, D, T>, MatrixRef<'_, D, T>),
        factors: &mut SketchFactors<D, T>,
    ) -> Result<(f64, f64)> {
        let samples = delta.cols();
        self.form_left(device, parameters.weight(self.k), delta, factors)?;
        self.form_right(device, z, factors)?;
        let inverse = self.inverses.transposed(self.k);
        let left = factors.left.view().plain();
        device.multiply(T::of(1.0), inverse.transposed(), left, Addend::Zero, factors.p.view_mut())?;
        factors.pick_rows(device, self.chosen)?;
        let dense = factors.right.cols();
        let probability = self.probability;
        let scale = |j: usize| match j {
            _ if j < samples => 1.0 / samples as f64,
            _ if j < dense => 1.0,
            _ => 1.0 / probability,
        };
        let tau = factors.tau(device, scale, self.chosen.len())?;
        if !tau.is_finite() {
            return Err(Error::NonFinite { what: format!("direction of layer {}", self.k + 1) });
        }
        let mu = if self.sketch.guard && self.mu * tau > LARGEST_TAU { LARGEST_TAU / tau } else { self.mu };
        // The coefficients of the weight as they are used.
        let scale = |j: usize| T::of(mu * scale(j)).widen();
        self.move_weight(device, parameters, mu, scale, factors)?;
        self.follow(device, scale, factors)?;
        if let Some(direction) = self.direction.as_mut() {
            factors.turn(device, samples, direction)?;
        }
        Ok((mu, tau))
    }

    /// A = \[δ | ΔV | Δe_I − ΔV(Vᵀe_I)\].
    fn form_left(
        &self,
        device: &D,
        weight: MatrixRef<'_, D, T>,
        delta: MatrixRef<'_, D, T>,
        factors: &mut SketchFactors<D, T>,
    ) -> Result<()> {
        let (samples, one) = (delta.cols(), T::of(1.0));
        let dense = factors.right.cols();
        let SketchFactors { left, picks, host, one: unit, .. } = factors;
        let inverse = self.inverses.transposed(self.k);
        device.copy(delta, left.view_mut().columns(0, samples))?;
        let (mut data, mut sketched) = left.view_mut().split_columns(dense);
        for (j, &i) in self.chosen.iter().enumerate() {
            let mut column = sketched.reborrow().columns(j, 1);
            let source = inverse.columns(i, 1);
            if self.sketch.control != Control::Columns {
                device.copy(source, column)?;
                continue;
            }
            // Without C e_i = W_{:i}/‖W_{:i}‖².
            let of_weight = weight.columns(i, 1);
            let share = T::of(-1.0 / device.frobenius_norm(of_weight)?.powi(2));
            device.multiply(
                share,
                of_weight.plain(),
                unit.view().plain(),
                Addend::Matrix(source),
                column.reborrow(),
            )?;
        }
        let unused = sketched.cols() - self.chosen.len();
        device.fill(T::default(), sketched.reborrow().columns(self.chosen.len(), unused))?;
        let Some(direction) = &self.direction else { return Ok(()) };
        let mut image = data.reborrow().columns(samples, 1);
        device.multiply(one, inverse.plain(), direction.view().plain(), Addend::Zero, image.reborrow())?;
        device.download(direction.view().slice(), &mut host.column)?;
        host.picks.fill(T::default());
        host.picks.iter_mut().zip(self.chosen).for_each(|(pick, &i)| *pick = host.column[i]);
        device.upload(&host.picks, picks.view_mut().into_slice())?;
        let minus = T::of(-1.0);
        device.multiply(minus, image.view().plain(), picks.view().plain(), Addend::Scaled(one), sketched)
    }

    /// The first columns of B = \[Z | V | e_I\].
    fn form_right(&self, device: &D, z: MatrixRef<'_, D, T>, factors: &mut SketchFactors<D, T>) -> Result<()> {
        let samples = z.cols();
        device.copy(z, factors.right.view_mut().columns(0, samples))?;
        let Some(direction) = &self.direction else { return Ok(()) };
        device.copy(direction.view(), factors.right.view_mut().columns(samples, 1))
    }

    /// W ← W diag(a) + μ A diag(s) Bᵀ and b ← b + (μ/N)δ1, with scale(j) = μ s_j; leaves a in the factors, and the
    /// first columns of diag(a)⁻¹B.
    fn move_weight(
        &self,
        device: &D,
        parameters: &mut Parameters<D, T>,
        mu: f64,
        scale: impl Fn(usize) -> f64,
        factors: &mut SketchFactors<D, T>,
    ) -> Result<()> {
        let one = T::of(1.0);
        let dense = factors.right.cols();
        let samples = factors.ones.rows();
        let arrays = &mut parameters.arrays;
        if let Some(bias) = arrays.biases.get_mut(self.k) {
            let delta = factors.left.view().columns(0, samples);
            let ones = factors.ones.view();
            device.multiply(T::of(scale(0)), delta.plain(), ones.plain(), Addend::Scaled(one), bias.view_mut())?;
        }
        let weight = &mut arrays.weights[self.k];
        if self.sketch.control == Control::Columns {
            factors.scale_columns(device, mu, weight)?;
        }
        let SketchFactors { left, right, one: unit, scales, .. } = factors;
        let mut first = 0;
        // δ, and ΔV, whose coefficients differ.
        for count in [samples, dense - samples] {
            if count > 0 {
                let (a, b) = (left.view().columns(first, count), right.view().columns(first, count));
                let weight = weight.view_mut();
                device.multiply(T::of(scale(first)), a.plain(), b.transposed(), Addend::Scaled(one), weight)?;
            }
            first += count;
        }
        for (j, &i) in self.chosen.iter().enumerate() {
            let (column, weight) = (left.view().columns(dense + j, 1), weight.view_mut().columns(i, 1));
            let gain = T::of(scale(dense + j));
            device.multiply(gain, column.plain(), unit.view().plain(), Addend::Scaled(one), weight)?;
        }
        if self.sketch.control == Control::Columns {
            device.scale_lines(Lines::RowsOver, scales.view(), right.view_mut())?;
        }
        Ok(())
    }

    /// R and log|det W| after the weight \[M28\].
    fn follow(&mut self, device: &D, scale: impl Fn(usize) -> f64, factors: &mut SketchFactors<D, T>) -> Result<()> {
        let is_scaled = self.sketch.control == Control::Columns;
        let Self { k, chosen, .. } = *self;
        let dense = factors.right.cols();
        let SketchFactors { left, p, q, right, system, one: unit, host, .. } = factors;
        let (one, inverse) = (T::of(1.0), self.inverses.transposed(k));
        let (of_right, mut of_units) = q.view_mut().split_columns(dense);
        device.multiply(one, inverse.plain(), right.view().plain(), Addend::Zero, of_right)?;
        let over = |i: usize| if is_scaled { 1.0 / host.scales[i].widen() } else { 1.0 };
        for (j, &i) in chosen.iter().enumerate() {
            let (source, to) = (inverse.columns(i, 1), of_units.reborrow().columns(j, 1));
            if is_scaled {
                device.multiply(T::of(over(i)), source.plain(), unit.view().plain(), Addend::Zero, to)?;
            } else {
                device.copy(source, to)?;
            }
        }
        let unused = of_units.cols() - chosen.len();
        device.fill(T::default(), of_units.columns(chosen.len(), unused))?;
        system.form_rows(device, right.view(), p.view(), |row, j| {
            // Row I of P; one that is not used has the row of I alone.
            chosen.get(row).map_or(0.0, |&i| over(i) * host.rows_of_p[row + j * chosen.len()])
        })?;
        let mut log_abs_det = system.invert(k, &scale)?;
        if is_scaled {
            log_abs_det += host.scales.iter().map(|a| a.widen().ln()).sum::<f64>();
        }
        let coefficients = system.coefficients(device, &scale)?;
        device.multiply(one, p.view().plain(), coefficients.transposed(), Addend::Zero, left.view_mut())?;
        self.inverses.log_abs_dets[k] += log_abs_det;
        self.inverses.advance(device, k, 1.0, (left.view(), q.view()))?;
        if is_scaled {
            self.inverses.scale_rows_over(device, k, factors.scales.view())?;
        }
        Ok(())
    }
}

impl<D: Device<T>, T: Scalar> SketchFactors<D, T> {
    /// For N samples, t directions and m coordinates.
    pub(super) fn new(device: &D, dim: usize, [samples, directions, width]: [usize; 3]) -> Result<Self> {
        let size = samples + directions + width;
        let block = |cols, what| Matrix::zeros(device, dim, cols, what);
        let filled = |rows, what| -> Result<Matrix<D, T>> {
            let mut ones = Matrix::zeros(device, rows, 1, what)?;
            device.fill(T::of(1.0), ones.view_mut())?;
            Ok(ones)
        };
        Ok(Self {
            left: block(size, "left factor of a step")?,
            p: block(size, "R A of a step")?,
            q: block(size, "Rᵀ B of a step")?,
            right: block(samples + directions, "right factor of a step")?,
            system: System::new(device, size)?,
            guard: Guard::new(device, size)?,
            ones: filled(samples, "ones")?,
            one: filled(1, "one")?,
            scales: filled(dim, "scales of columns")?,
            picks: Matrix::zeros(device, 1, width, "entries of a direction")?,
            host: SketchHost {
                column: vec![T::default(); dim],
                rows_of_p: vec![0.0; width * size],
                rows_of_right: vec![0.0; width * (samples + directions)],
                norms: vec![0.0; dim],
                scales: vec![T::of(1.0); dim],
                picks: vec![T::default(); width],
            },
        })
    }

    /// m.
    pub(super) fn width(&self) -> usize {
        self.left.cols() - self.right.cols()
    }

    /// Two blocks that nobody needs between two layers.
    pub(super) fn blocks(&mut self) -> [&mut Matrix<D, T>; 2] {
        [&mut self.left, &mut self.p]
    }

    /// Rows I of P and of the first columns of B, on the host.
    fn pick_rows(&mut self, device: &D, chosen: &[usize]) -> Result<()> {
        let SketchHost { column, rows_of_p, rows_of_right, .. } = &mut self.host;
        for (matrix, rows) in [(&self.p, rows_of_p), (&self.right, rows_of_right)] {
            for (j, rows) in rows.chunks_exact_mut(chosen.len()).enumerate().take(matrix.cols()) {
                device.download(matrix.view().columns(j, 1).slice(), column)?;
                rows.iter_mut().zip(chosen).for_each(|(to, &i)| *to = column[i].widen());
            }
        }
        Ok(())
    }

    /// τ of a step of 1 \[M39\].
    fn tau(&mut self, device: &D, scale: impl Fn(usize) -> f64, chosen: usize) -> Result<f64> {
        let Self { p, right, guard, host, .. } = self;
        guard.norm(device, (p.view(), scale), right.view(), (&host.rows_of_right, chosen))
    }

    /// W ← W diag(a), a = 1 + μ/‖W_{:j}‖².
    fn scale_columns(&mut self, device: &D, mu: f64, weight: &mut Matrix<D, T>) -> Result<()> {
        let Self { scales, host, .. } = self;
        device.column_norms(weight.view(), &mut host.norms)?;
        host.scales.iter_mut().zip(&host.norms).for_each(|(to, norm)| *to = T::of(1.0 + mu / (norm * norm)));
        device.upload(&host.scales, scales.view_mut().into_slice())?;
        device.scale_lines(Lines::ColumnsTimes, scales.view(), weight.view_mut())
    }

    /// V ← RΔV/‖RΔV‖.
    fn turn(&mut self, device: &D, samples: usize, direction: &mut Matrix<D, T>) -> Result<()> {
        let next = self.p.view().columns(samples, 1);
        let norm = device.frobenius_norm(next)?;
        device.multiply(T::of(1.0 / norm), next.plain(), self.one.view().plain(), Addend::Zero, direction.view_mut())
    }
}
