//! The relative step with a carried inverse (MATH.md §20).

use super::Stateful;
use super::inverses::CarriedInverses;
use super::system::System;
use crate::backend::BiasMode;
use crate::check::{self, Check, error_beyond, wide, worst};
use crate::device::{Addend, Device, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::parameters::{Batch, Parameters};
use crate::scalar::Scalar;
use crate::step::{Follower, InPlaceStep, StepReport, Workspace};

/// The steps of [`InPlaceStep`], with R_k = W_k⁻¹, q_k = R_k b_k and log|det W_k| carried along \[M29\]–\[M31\]:
/// without an LU the ordinary gradient, the likelihood and samples of the model are at hand after every step.
pub struct RelativeCarried<D: Device<T>, T: Scalar> {
    step: InPlaceStep,
    work: Workspace<D, T>,
    carried: Carried<D, T>,
}

/// What follows the weights.
struct Carried<D: Device<T>, T: Scalar> {
    transposed: bool,
    inverses: CarriedInverses<D, T>,
    /// q, where the biases step along with the weights.
    shifts: Vec<Matrix<D, T>>,
    system: System<D, T>,
    /// R a (or Rᵀb for the transposed form), and R a S⁻¹ (or a S⁻¹), times κ.
    blocks: [Matrix<D, T>; 2],
    /// Ones, and what q's samples weigh.
    samples: [Matrix<D, T>; 2],
}

impl<D: Device<T>, T: Scalar> RelativeCarried<D, T> {
    /// The state at `parameters` for batches of `batch` samples, by an LU of every layer.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Singular`]; [`Error::InvalidParameter`] for steps that are delayed.
    pub fn new(device: &D, parameters: &Parameters<D, T>, batch: usize, step: InPlaceStep) -> Result<Self> {
        if step.delay != 1 {
            return Err(Error::invalid("delay", step.delay as f64, "must be 1 where an inverse is carried"));
        }
        let architecture = parameters.architecture();
        let block = || Matrix::zeros(device, architecture.dim, batch, "factors of an inverse's step");
        let mut ones = Matrix::zeros(device, batch, 1, "ones")?;
        device.fill(T::of(1.0), ones.view_mut())?;
        let has_shifts = step.transposed || step.bias_mode == BiasMode::Exact;
        let shifts = if has_shifts { parameters.arrays().biases.len() } else { 0 };
        let mut carried = Carried {
            transposed: step.transposed,
            inverses: CarriedInverses::new(device, parameters)?,
            shifts: (0..shifts).map(|_| Matrix::zeros(device, architecture.dim, 1, "R b")).collect::<Result<_>>()?,
            system: System::new(device, batch)?,
            blocks: [block()?, block()?],
            samples: [ones, Matrix::zeros(device, batch, 1, "samples of R b")?],
        };
        carried.shift(device, parameters)?;
        Ok(Self { step, work: step.workspace(device, architecture, batch)?, carried })
    }

    /// R_kᵀ = W_k^{-T}, k from 0: the log-determinant's share of the ordinary gradient.
    pub fn inverse_transposed(&self, k: usize) -> MatrixRef<'_, D, T> {
        self.carried.inverses.transposed(k)
    }

    /// q_k = R_k b_k, k from 0, so that z = R_k y − q_k inverts the layer; `None` without biases, and in the modes
    /// whose biases do not step along with the weights.
    pub fn shift(&self, k: usize) -> Option<MatrixRef<'_, D, T>> {
        self.carried.shifts.get(k).map(Matrix::view)
    }

    /// How often an inverse was refreshed.
    pub fn refreshes(&self) -> usize {
        self.carried.inverses.refreshes()
    }
}

impl<D: Device<T>, T: Scalar> Carried<D, T> {
    /// q_k ← R_k b_k.
    fn shift(&mut self, device: &D, parameters: &Parameters<D, T>) -> Result<()> {
        for (k, shift) in self.shifts.iter_mut().enumerate() {
            let Some(bias) = parameters.bias(k) else { continue };
            let inverse = self.inverses.transposed(k).transposed();
            device.multiply(T::of(1.0), inverse, bias.plain(), Addend::Zero, shift.view_mut())?;
        }
        Ok(())
    }

    /// How far q is from R b.
    fn compare_shifts(&self, device: &D, parameters: &Parameters<D, T>) -> Result<f64> {
        let mut expected = Matrix::zeros(device, parameters.architecture().dim, 1, "R b")?;
        let mut errors = Vec::new();
        for (k, shift) in self.shifts.iter().enumerate() {
            let Some(bias) = parameters.bias(k) else { continue };
            let inverse = self.inverses.transposed(k).transposed();
            device.multiply(T::of(1.0), inverse, bias.plain(), Addend::Zero, expected.view_mut())?;
            let [found, expected] = [wide(device, shift.view())?, wide(device, expected.view())?];
            errors.push(error_beyond(0.0, found.iter().copied(), expected.iter().copied()));
        }
        Ok(worst(errors))
    }
}

impl<D: Device<T>, T: Scalar> Follower<D, T> for Carried<D, T> {
    fn advance(
        &mut self,
        device: &D,
        k: usize,
        (keep, gain): (f64, f64),
        a: MatrixRef<'_, D, T>,
        b: MatrixRef<'_, D, T>,
    ) -> Result<()> {
        let Self { inverses, system, blocks: [first, second], samples: [ones, weights], .. } = self;
        let (one, kappa) = (T::of(1.0), gain / keep);
        system.form(device, b, a)?;
        inverses.log_abs_dets[k] += a.rows() as f64 * keep.ln() + system.invert(k, |_| kappa)?;
        let coefficients = system.coefficients(device, |_| kappa)?;
        let inverse = inverses.transposed(k);
        let right = if self.transposed {
            device.multiply(one, inverse.plain(), b.plain(), Addend::Zero, first.view_mut())?;
            device.multiply(one, a.plain(), coefficients.transposed(), Addend::Zero, second.view_mut())?;
            first.view()
        } else {
            device.multiply(one, inverse.transposed(), a.plain(), Addend::Zero, first.view_mut())?;
            let product = (first.view().plain(), coefficients.transposed());
            device.multiply(one, product.0, product.1, Addend::Zero, second.view_mut())?;
            b.shorten()
        };
        let left = second.view();
        let scale = inverses.advance(device, k, keep, (left, right))?;
        let Some(shift) = self.shifts.get_mut(k) else { return Ok(()) };
        if !self.transposed {
            return device.multiply(one, left.plain(), ones.view().plain(), Addend::Scaled(one), shift.view_mut());
        }
        let (minus, addend) = (T::of(-scale.widen()), Addend::Matrix(ones.view()));
        device.multiply(minus, b.transposed(), shift.view().plain(), addend, weights.view_mut())?;
        device.multiply(one, left.plain(), weights.view().plain(), Addend::Scaled(scale), shift.view_mut())
    }
}

impl<D: Device<T>, T: Scalar> Stateful<D, T> for RelativeCarried<D, T> {
    fn step(
        &mut self,
        device: &D,
        parameters: &mut Parameters<D, T>,
        batch: Batch<'_, D, T>,
        mu: f64,
    ) -> Result<&StepReport> {
        let Self { step, work, carried } = self;
        let report = step.follow(device, parameters, batch, mu, work, (None, Some(&mut *carried)))?;
        let [first, second] = &mut carried.blocks;
        if carried.inverses.look_after(device, parameters, [first, second])? {
            carried.shift(device, parameters)?;
        }
        Ok(report)
    }

    fn restart(&mut self, device: &D, parameters: &Parameters<D, T>) -> Result<()> {
        self.carried.inverses.restart(device, parameters)?;
        self.carried.shift(device, parameters)
    }

    fn check(&mut self, device: &D, parameters: &mut Parameters<D, T>, x: &Matrix<D, T>, mu: f64) -> Result<Check> {
        let Self { step, work, carried } = self;
        let moved = check::followed_step(device, step, parameters, x, mu, (work, Some(&mut *carried)))?;
        let errors = [
            moved.max_rel_err,
            carried.inverses.compare(device, parameters)?,
            carried.compare_shifts(device, parameters)?,
        ];
        Ok(Check { max_rel_err: worst(errors), ..moved })
    }

    fn inverse_error(&mut self, device: &D, parameters: &Parameters<D, T>) -> Result<Option<f64>> {
        self.carried.inverses.largest_error(device, parameters).map(Some)
    }

    fn log_abs_dets(&self) -> Option<&[f64]> {
        Some(&self.carried.inverses.log_abs_dets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Cpu;
    use crate::init::{self, Init};
    use crate::network::Architecture;

    /// What a damage of the state makes of the check, below and above the size of the reference.
    fn checked(dim: usize, damage: impl Fn(&mut Carried<Cpu, f64>)) -> Check {
        let device = Cpu::new(1);
        let architecture = Architecture { bias: true, ..Architecture::new(dim, 2) };
        let mut parameters = init::network(&device, &architecture, Init::Conditioned, 1).unwrap();
        let x = init::batch(&device, dim, 6, 1).unwrap();
        let mut carried = RelativeCarried::new(&device, &parameters, 6, InPlaceStep::default()).unwrap();
        damage(&mut carried.carried);
        carried.check(&device, &mut parameters, &x, 0.01).unwrap()
    }

    #[test]
    fn the_check_notices_a_wrong_state() {
        for dim in [20, 140] {
            assert!(checked(dim, |_| {}).passed());
            let wrong = [
                checked(dim, |carried| carried.inverses.log_abs_dets[1] += 1e-6),
                checked(dim, |carried| {
                    let shift = carried.shifts[0].view_mut().into_slice();
                    shift[3] += 1e-6;
                }),
                checked(dim, |carried| {
                    // Another network's inverses.
                    let device = Cpu::new(1);
                    let other = init::network(&device, &Architecture::new(dim, 2), Init::Conditioned, 2).unwrap();
                    carried.inverses.restart(&device, &other).unwrap();
                }),
            ];
            for check in wrong {
                assert!(!check.passed(), "D = {dim}: {check:?}");
            }
        }
    }

    #[test]
    fn delayed_steps_are_refused() {
        let (device, architecture) = (Cpu::new(1), Architecture::new(4, 1));
        let parameters = init::network::<_, f32, _>(&device, &architecture, Init::Orthogonal, 1).unwrap();
        let step = InPlaceStep { delay: 2, ..InPlaceStep::default() };
        let told = RelativeCarried::new(&device, &parameters, 3, step).err().unwrap().to_string();
        assert!(told.contains("must be 1 where an inverse is carried"), "{told}");
    }
}
