//! The inverse of every weight, carried from step to step, and what keeps it one (MATH.md §20).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::check::{self, REFERENCE_DIM, error_beyond, wide, worst};
use crate::device::{Addend, Device, Lines, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::init;
use crate::layer::LuFactors;
use crate::likelihood::log_abs_dets;
use crate::parameters::Parameters;
use crate::scalar::Scalar;

/// R_k = W_k⁻¹ of every layer, each kept as its transpose W_k^{-T}, the share of the ordinary gradient; with
/// log|det W_k|.
pub(super) struct CarriedInverses<D: Device<T>, T: Scalar> {
    transposed: Vec<Matrix<D, T>>,
    pub(super) log_abs_dets: Vec<f64>,
    /// What rounded scales have made of each inverse: R is so many times what it should be.
    excess: Vec<f64>,
    /// Random signs, and products with them.
    probes: [Matrix<D, T>; 2],
    signs: Vec<T>,
    random: ChaCha8Rng,
    steps: usize,
    refreshes: usize,
}

/// Columns of a probe \[M34\]: the estimate of a norm is then off by a quarter at most times, by half hardly ever.
const PROBES: usize = 8;

/// Seed of the probes, away from those of networks.
const SEED: u64 = 0x6361_7272_6965_6400;

/// Steps between two probes. One costs 32D² operations, a step at least 10ND².
const PROBE_EVERY: usize = 32;

/// Refreshes of a layer in a row until an LU takes over; two are enough from a residual of ½ on that is not rounding.
const MOST_REFRESHES: usize = 4;

/// ‖RW − I‖_F/√D from which on an inverse is refreshed: a refresh squares it, so that ε is left. Rounding leaves
/// several ε times the condition of W, which no refresh removes.
pub(super) fn tolerated<T: Scalar>() -> f64 {
    T::EPS.sqrt()
}

impl<D: Device<T>, T: Scalar> CarriedInverses<D, T> {
    /// Those of `parameters`, by an LU of every layer.
    ///
    /// # Errors
    /// [`Error::Singular`], [`Error::OutOfMemory`].
    pub(super) fn new(device: &D, parameters: &Parameters<D, T>) -> Result<Self> {
        let (dim, layers) = (parameters.architecture().dim, parameters.architecture().layers);
        let inverse = |_| Matrix::zeros(device, dim, dim, "inverse of a weight");
        let probe = || Matrix::zeros(device, dim, PROBES, "probes of an inverse");
        let mut inverses = Self {
            transposed: (0..layers).map(inverse).collect::<Result<_>>()?,
            log_abs_dets: Vec::new(),
            excess: vec![1.0; layers],
            probes: [probe()?, probe()?],
            signs: vec![T::default(); dim * PROBES],
            random: ChaCha8Rng::seed_from_u64(SEED),
            steps: 0,
            refreshes: 0,
        };
        inverses.restart(device, parameters)?;
        Ok(inverses)
    }

    /// All anew by LU, which takes memory for D² numbers meanwhile.
    pub(super) fn restart(&mut self, device: &D, parameters: &Parameters<D, T>) -> Result<()> {
        // These take memory of their own, which is free again before the next.
        self.log_abs_dets = log_abs_dets(device, parameters)?;
        let mut lu = LuFactors::new(device, parameters.architecture().dim)?;
        for (k, inverse) in self.transposed.iter_mut().enumerate() {
            lu.invert(device, &parameters.network().layer(k), inverse.view_mut())?;
        }
        self.excess.fill(1.0);
        Ok(())
    }

    /// R_kᵀ.
    pub(super) fn transposed(&self, k: usize) -> MatrixRef<'_, D, T> {
        self.transposed[k].view()
    }

    /// How many refreshes there were.
    pub(super) fn refreshes(&self) -> usize {
        self.refreshes
    }

    /// R_k ← (R_k − left rightᵀ)/keep \[M28\], each factor being of D rows. Returns the number that 1/keep was rounded
    /// to: so that the errors of all steps do not add up, it makes good for those of the steps before.
    pub(super) fn advance(
        &mut self,
        device: &D,
        k: usize,
        keep: f64,
        (left, right): (MatrixRef<'_, D, T>, MatrixRef<'_, D, T>),
    ) -> Result<T> {
        let scale = T::of(1.0 / (keep * self.excess[k]));
        self.excess[k] *= scale.widen() * keep;
        let (minus, inverse) = (T::of(-scale.widen()), self.transposed[k].view_mut());
        device.multiply(minus, right.plain(), left.transposed(), Addend::Scaled(scale), inverse)?;
        Ok(scale)
    }

    /// R_k ← diag(by)⁻¹ R_k.
    pub(super) fn scale_rows_over(&mut self, device: &D, k: usize, by: MatrixRef<'_, D, T>) -> Result<()> {
        device.scale_lines(Lines::ColumnsOver, by, self.transposed[k].view_mut())
    }

    /// Rows `first..first + count` of R ← R + (I − RW)R \[M33\]: those rows of the residual become those of its square.
    pub(super) fn refresh_rows(
        &mut self,
        device: &D,
        (k, weight): (usize, MatrixRef<'_, D, T>),
        (first, count): (usize, usize),
        [residual, refreshed]: [&mut Matrix<D, T>; 2],
    ) -> Result<()> {
        let (one, inverse) = (T::of(1.0), &mut self.transposed[k]);
        let mut residual = residual.view_mut().columns(0, count);
        let mut refreshed = refreshed.view_mut().columns(0, count);
        device.fill(T::default(), residual.reborrow())?;
        for j in 0..count {
            let (_, tail) = D::split_mut(residual.reborrow().columns(j, 1).into_slice(), first + j);
            device.upload(&[one], D::split_mut(tail, 1).0)?;
        }
        let rows = inverse.view().columns(first, count);
        let minus = T::of(-1.0);
        device.multiply(minus, weight.transposed(), rows.plain(), Addend::Scaled(one), residual.reborrow())?;
        let product = (inverse.view().plain(), residual.view().plain());
        device.multiply(one, product.0, product.1, Addend::Matrix(rows), refreshed.reborrow())?;
        device.copy(refreshed.view(), inverse.view_mut().columns(first, count))
    }

    /// Looks after the inverses now and then: one that is off by more than [`tolerated`] is refreshed, or taken by LU
    /// where that does not help. `true` where one has changed. `blocks` are two of D rows.
    pub(super) fn look_after(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T>,
        mut blocks: [&mut Matrix<D, T>; 2],
    ) -> Result<bool> {
        self.steps += 1;
        if !self.steps.is_multiple_of(PROBE_EVERY) {
            return Ok(false);
        }
        device.in_full_precision(|device| {
            let mut has_changed = false;
            for k in 0..self.transposed.len() {
                has_changed |= self.look_after_layer(device, k, parameters, &mut blocks)?;
            }
            Ok(has_changed)
        })
    }

    fn look_after_layer(
        &mut self,
        device: &D,
        k: usize,
        parameters: &Parameters<D, T>,
        [residual, refreshed]: &mut [&mut Matrix<D, T>; 2],
    ) -> Result<bool> {
        let (dim, width) = (parameters.architecture().dim, residual.cols());
        let mut error = self.error(device, k, parameters.weight(k))?;
        for done in 0..MOST_REFRESHES {
            if error <= tolerated::<T>() {
                return Ok(done > 0);
            }
            self.refreshes += 1;
            for first in (0..dim).step_by(width) {
                let rows = (first, width.min(dim - first));
                self.refresh_rows(device, (k, parameters.weight(k)), rows, [residual, refreshed])?;
            }
            self.excess[k] = 1.0;
            let next = self.error(device, k, parameters.weight(k))?;
            // What is left is rounding where a refresh no longer halves it.
            if next <= 1.0 / 16.0 && next > 0.5 * error {
                return Ok(true);
            }
            if next.is_nan() || next > error {
                break;
            }
            error = next;
        }
        self.restart(device, parameters)?;
        Ok(true)
    }

    /// ‖R_kW_k − I‖_F/√D, by products with random signs \[M34\].
    pub(super) fn error(&mut self, device: &D, k: usize, weight: MatrixRef<'_, D, T>) -> Result<f64> {
        let (one, [signs, product]) = (T::of(1.0), &mut self.probes);
        for chunk in self.signs.chunks_mut(64) {
            let bits = self.random.next_u64();
            for (i, sign) in chunk.iter_mut().enumerate() {
                *sign = if bits >> i & 1 == 0 { one } else { T::of(-1.0) };
            }
        }
        device.upload(&self.signs, signs.view_mut().into_slice())?;
        device.multiply(one, weight.plain(), signs.view().plain(), Addend::Zero, product.view_mut())?;
        let (inverse, minus) = (self.transposed[k].view(), Addend::Scaled(T::of(-1.0)));
        device.multiply(one, inverse.transposed(), product.view().plain(), minus, signs.view_mut())?;
        Ok(device.frobenius_norm(signs.view())? / ((weight.rows() * PROBES) as f64).sqrt())
    }

    /// [`Self::error`] of the layer where it is largest.
    pub(super) fn largest_error(&mut self, device: &D, parameters: &Parameters<D, T>) -> Result<f64> {
        let error = |device: &D| {
            let layers = 0..self.transposed.len();
            layers.map(|k| self.error(device, k, parameters.weight(k))).collect::<Result<Vec<_>>>()
        };
        Ok(worst(device.in_full_precision(error)?))
    }

    /// How far the inverses and log-determinants are from those of `parameters`: against nalgebra's inverse, or for a
    /// large D by products with a random vector; log|det| by LU up to the size at which that is quick.
    pub(super) fn compare(&self, device: &D, parameters: &Parameters<D, T>) -> Result<f64> {
        device.in_full_precision(|device| {
            let mut errors = Vec::new();
            for (k, inverse) in self.transposed.iter().enumerate() {
                errors.push(self.compare_layer(device, parameters.weight(k), inverse.view())?);
            }
            if parameters.architecture().dim <= check::ENTRIES_DIM {
                let found = log_abs_dets(device, parameters)?;
                errors.extend(found.iter().zip(&self.log_abs_dets).map(|(a, b)| (a - b).abs() / a.abs().max(1.0)));
            }
            Ok(worst(errors))
        })
    }

    fn compare_layer(&self, device: &D, weight: MatrixRef<'_, D, T>, inverse: MatrixRef<'_, D, T>) -> Result<f64> {
        let dim = weight.rows();
        if dim <= REFERENCE_DIM {
            let Some(expected) = wide(device, weight)?.try_inverse() else {
                return Err(Error::Singular { matrix: "weight of a check".into(), condition: f64::INFINITY });
            };
            let found = wide(device, inverse)?.transpose();
            return Ok(error_beyond(0.0, found.iter().copied(), expected.iter().copied()));
        }
        let v: Vec<T> = init::normals(SEED, dim).into_iter().map(T::of).collect();
        let v = Matrix::from_column_major(device, &v, dim, 1, "vector of the check")?;
        let mut products = [Matrix::zeros(device, dim, 1, "product")?, Matrix::zeros(device, dim, 1, "product")?];
        let [image, back] = &mut products;
        device.multiply(T::of(1.0), weight.plain(), v.view().plain(), Addend::Zero, image.view_mut())?;
        device.multiply(T::of(1.0), inverse.transposed(), image.view().plain(), Addend::Zero, back.view_mut())?;
        let [back, v] = [wide(device, back.view())?, wide(device, v.view())?];
        Ok(error_beyond(0.0, back.iter().copied(), v.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;

    use super::*;
    use crate::device::Cpu;
    use crate::init::Init;
    use crate::network::Architecture;

    const DIM: usize = 12;

    fn begin<T: Scalar>(device: &Cpu) -> (Parameters<Cpu, T>, CarriedInverses<Cpu, T>) {
        let parameters = init::network(device, &Architecture::new(DIM, 2), Init::Conditioned, 4).unwrap();
        let inverses = CarriedInverses::new(device, &parameters).unwrap();
        (parameters, inverses)
    }

    /// Adds independent normals of a size.
    fn damage<T: Scalar>(inverses: &mut CarriedInverses<Cpu, T>, k: usize, size: f64) {
        let noise = init::normals(9, DIM * DIM);
        let numbers = inverses.transposed[k].view_mut().into_slice();
        numbers.iter_mut().zip(noise).for_each(|(x, noise)| *x = T::of(x.widen() + size * noise));
    }

    fn blocks<T: Scalar>(device: &Cpu, width: usize) -> [Matrix<Cpu, T>; 2] {
        [(); 2].map(|()| Matrix::zeros(device, DIM, width, "block").unwrap())
    }

    #[test]
    fn a_refresh_makes_rows_of_the_residual_those_of_its_square() {
        let device = Cpu::new(1);
        let (parameters, mut inverses) = begin::<f64>(&device);
        damage(&mut inverses, 1, 1e-2);
        let weight = wide(&device, parameters.weight(1)).unwrap();
        let residual = |inverses: &CarriedInverses<Cpu, f64>| {
            let inverse = wide(&device, inverses.transposed(1)).unwrap().transpose();
            DMatrix::identity(DIM, DIM) - inverse * &weight
        };
        let before = residual(&inverses);
        let [mut first, mut second] = blocks(&device, 7);
        let layer = (1, parameters.weight(1));
        inverses.refresh_rows(&device, layer, (3, 5), [&mut first, &mut second]).unwrap();
        let (after, square) = (residual(&inverses), &before * &before);
        for i in 0..DIM {
            let expected = if (3..8).contains(&i) { square.row(i) } else { before.row(i) };
            assert!((after.row(i) - expected).abs().max() < 1e-14, "row {i}");
        }
    }

    #[test]
    fn the_estimate_of_a_residual_is_its_norm() {
        let device = Cpu::new(1);
        let (parameters, mut inverses) = begin::<f64>(&device);
        inverses.transposed[0].view_mut().into_slice().iter_mut().for_each(|x| *x *= 1.25);
        let found = inverses.largest_error(&device, &parameters).unwrap();
        assert!((found - 0.25).abs() < 1e-12, "R = 1.25 W⁻¹ is off by ¼, not {found}");
        // In the mean, for a residual of any form.
        damage(&mut inverses, 1, 1e-3);
        let inverse = wide(&device, inverses.transposed(1)).unwrap().transpose();
        let residual = inverse * wide(&device, parameters.weight(1)).unwrap() - DMatrix::identity(DIM, DIM);
        let squares = (0..500).map(|_| inverses.error(&device, 1, parameters.weight(1)).unwrap().powi(2));
        let ratio = squares.sum::<f64>() / 500.0 / (residual.norm_squared() / DIM as f64);
        assert!((ratio - 1.0).abs() < 0.05, "{ratio}");
    }

    /// Small damage is refreshed, block by block; where products cannot help an LU takes over.
    fn what_is_off_is_looked_after<T: Scalar>() {
        let device = Cpu::new(2);
        for (size, width) in [(0.0, 5), (1e-3, 5), (1e-2, 12), (1e-2, 1), (1e3, 5)] {
            let (parameters, mut inverses) = begin::<T>(&device);
            let exact = inverses.log_abs_dets.clone();
            damage(&mut inverses, 1, size);
            if size > 1.0 {
                inverses.log_abs_dets.fill(7.0);
            }
            let [mut first, mut second] = blocks(&device, width);
            for step in 1..=PROBE_EVERY {
                let changed = inverses.look_after(&device, &parameters, [&mut first, &mut second]).unwrap();
                assert_eq!(changed, size > 0.0 && step == PROBE_EVERY, "damage {size}, step {step}");
            }
            let left = inverses.largest_error(&device, &parameters).unwrap();
            let most = if size == 0.0 { 20.0 * T::EPS } else { tolerated::<T>() };
            assert!(left <= most, "damage {size}, width {width}: {left:e} is left");
            assert_eq!(inverses.refreshes() > 0, size > 0.0);
            assert_eq!(inverses.log_abs_dets, exact);
        }
    }

    #[test]
    fn what_is_off_is_looked_after_in_both_precisions() {
        what_is_off_is_looked_after::<f32>();
        what_is_off_is_looked_after::<f64>();
    }
}
