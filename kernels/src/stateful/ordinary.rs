//! The ordinary step at quadratic cost, by a sketch of every W^{-T} (MATH.md §21).

use super::Stateful;
use super::inverses::CarriedInverses;
use super::sketch::{Control, Draws, Sketch};
use crate::check::Check;
use crate::device::{Device, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::forward::ValuesWorkspace;
use crate::init;
use crate::layer::{Coupling, Dense};
use crate::network::Architecture;
use crate::parameters::{Batch, Parameters};
use crate::scalar::Scalar;
use crate::step::StepReport;

mod check;
mod layer;

use layer::{LayerStep, SketchFactors};

/// Plain steps W ← W + μ((1/N)δZᵀ + W̃), where W̃ is a sketch of W^{-T} on m coordinates: unbiased \[M35\], \[M37\].
/// R_k = W_k⁻¹ and log|det W_k| are carried along \[M28\].
pub struct OrdinaryCarried<D: Device<T>, T: Scalar> {
    sketch: Sketch,
    values: ValuesWorkspace<D, T, Dense>,
    inverses: CarriedInverses<D, T>,
    draws: Vec<Draws>,
    /// The last direction V of every layer, where the sketch is deflated.
    directions: Vec<Matrix<D, T>>,
    factors: SketchFactors<D, T>,
    report: StepReport,
}

impl<D: Device<T>, T: Scalar> OrdinaryCarried<D, T> {
    /// The state at `parameters` for batches of `batch` samples, by an LU of every layer; the coordinates follow from
    /// `seed`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Singular`].
    pub fn new(device: &D, parameters: &Parameters<D, T>, (batch, seed): (usize, u64), sketch: Sketch) -> Result<Self> {
        let architecture = parameters.architecture();
        let Architecture { dim, layers, .. } = *architecture;
        let width = sketch.width(dim, batch);
        let inverses = CarriedInverses::new(device, parameters)?;
        let draws = |k| Draws::new(sketch.design, dim, width, seed ^ (k as u64 + 1).wrapping_mul(SEED));
        let deflated = usize::from(sketch.control == Control::Deflated);
        let direction = |k: usize| {
            let numbers = init::normals(seed ^ SEED ^ k as u64, dim);
            let norm = numbers.iter().map(|x| x * x).sum::<f64>().sqrt();
            let unit: Vec<T> = numbers.into_iter().map(|x| T::of(x / norm)).collect();
            Matrix::from_column_major(device, &unit, dim, 1, "direction of a sketch")
        };
        let zeros = vec![0.0; layers];
        Ok(Self {
            sketch,
            values: ValuesWorkspace::new(device, architecture, batch)?,
            inverses,
            draws: (0..layers).map(draws).collect(),
            directions: (0..layers * deflated).map(direction).collect::<Result<_>>()?,
            factors: SketchFactors::new(device, dim, [batch, deflated, width])?,
            report: StepReport { step_sizes: zeros.clone(), rho: zeros },
        })
    }

    /// R_kᵀ = W_k^{-T}, k from 0.
    pub fn inverse_transposed(&self, k: usize) -> MatrixRef<'_, D, T> {
        self.inverses.transposed(k)
    }

    /// How often an inverse was refreshed.
    pub fn refreshes(&self) -> usize {
        self.inverses.refreshes()
    }

    /// Sets the direction V of layer k (from 0), of unit length, where the sketch is deflated.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    pub fn set_direction(&mut self, device: &D, k: usize, v: MatrixRef<'_, D, T>) -> Result<()> {
        match self.directions.get_mut(k) {
            Some(direction) => device.copy(v, direction.view_mut()),
            None => Err(Error::shape("direction of a sketch", "a deflated one", "another")),
        }
    }

    /// As [`Stateful::step`], at given coordinates for each layer, all with probability m/D.
    ///
    /// # Errors
    /// As there; [`Error::ShapeMismatch`] for other than m different coordinates a layer, each below D.
    pub fn step_at(
        &mut self,
        device: &D,
        parameters: &mut Parameters<D, T>,
        batch: Batch<'_, D, T>,
        mu: f64,
        coordinates: &[Vec<usize>],
    ) -> Result<&StepReport> {
        let (dim, width) = (parameters.architecture().dim, self.factors.width());
        let fits =
            |of: &Vec<usize>| of.len() == width && of.iter().enumerate().all(|(j, i)| *i < dim && !of[..j].contains(i));
        if coordinates.len() != parameters.architecture().layers || !coordinates.iter().all(fits) {
            let expected = format!("{width} different coordinates below {dim} for every layer");
            return Err(Error::shape("sketch", expected, format!("{coordinates:?}")));
        }
        self.advance(device, parameters, batch, mu, Some(coordinates))?;
        Ok(&self.report)
    }

    fn advance(
        &mut self,
        device: &D,
        parameters: &mut Parameters<D, T>,
        batch: Batch<'_, D, T>,
        mu: f64,
        given: Option<&[Vec<usize>]>,
    ) -> Result<()> {
        if !(mu > 0.0 && mu.is_finite()) {
            return Err(Error::invalid("mu", mu, "must be positive and finite"));
        }
        let architecture = *parameters.architecture();
        self.values.forward(device, parameters.network(), batch.shorten())?;
        for k in (0..architecture.layers).rev() {
            self.values.write_error(device, &architecture, k)?;
            if k + 1 == architecture.layers {
                let gain = mu / batch.x.cols() as f64;
                self.values.head.add_gradient(device, (gain, 1.0), batch.u, parameters.arrays.head.as_mut())?;
            }
            let samples = self.values.batch();
            if k > 0 {
                // V for the layer below, by the old weight; then Z_{k-1}.
                let ValuesWorkspace { trail, pair, work, .. } = &mut self.values;
                let delta = trail.view().columns((k + 1) * samples, samples);
                let v = pair.view_mut().columns(samples, samples);
                Dense.pull(device, &parameters.network().layer(k), delta, v, work)?;
                self.values.carry(device, &architecture, k - 1)?;
            }
            let z = if k > 0 { self.values.pair.view().columns(0, samples) } else { batch.x.shorten() };
            let (chosen, probability) = match given {
                Some(given) => (given[k].as_slice(), given[k].len() as f64 / architecture.dim as f64),
                None => self.draws[k].draw(),
            };
            let layer = LayerStep {
                k,
                mu,
                sketch: self.sketch,
                chosen,
                probability,
                inverses: &mut self.inverses,
                direction: self.directions.get_mut(k),
            };
            let (taken, tau) = layer.take(device, parameters, (self.values.delta(k), z), &mut self.factors)?;
            (self.report.step_sizes[k], self.report.rho[k]) = (taken, tau);
        }
        Ok(())
    }
}

/// Seed of what is drawn, away from those of networks.
const SEED: u64 = 0x736b_6574_6368;

impl<D: Device<T>, T: Scalar> Stateful<D, T> for OrdinaryCarried<D, T> {
    fn step(
        &mut self,
        device: &D,
        parameters: &mut Parameters<D, T>,
        batch: Batch<'_, D, T>,
        mu: f64,
    ) -> Result<&StepReport> {
        self.advance(device, parameters, batch, mu, None)?;
        self.inverses.look_after(device, parameters, self.factors.blocks())?;
        Ok(&self.report)
    }

    fn restart(&mut self, device: &D, parameters: &Parameters<D, T>) -> Result<()> {
        self.inverses.restart(device, parameters)
    }

    fn check(&mut self, device: &D, parameters: &mut Parameters<D, T>, x: &Matrix<D, T>, mu: f64) -> Result<Check> {
        self.checked_step(device, parameters, x, mu)
    }

    fn inverse_error(&mut self, device: &D, parameters: &Parameters<D, T>) -> Result<Option<f64>> {
        self.inverses.largest_error(device, parameters).map(Some)
    }

    fn log_abs_dets(&self) -> Option<&[f64]> {
        Some(&self.inverses.log_abs_dets)
    }
}
