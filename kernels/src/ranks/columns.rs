//! The columns of every weight that one rank has.

use super::{Split, exchange};
use crate::device::{Device, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::init::{self, Init};
use crate::network::Architecture;
use crate::parameters::{Arrays, Gradient, Network, Parameters};
use crate::scalar::Scalar;

/// W_{:,B} of every layer (D×|B|), B being the components of a rank, and every b_k whole.
pub struct ColumnBlock<D: Device<T>, T: Scalar> {
    architecture: Architecture,
    split: Split,
    rank: usize,
    pub(super) arrays: Arrays<D, T>,
}

impl<D: Device<T>, T: Scalar> ColumnBlock<D, T> {
    /// The columns that a rank has of the seeded network that [`init::network`] draws, without the others.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::InvalidParameter`]; [`Error::ShapeMismatch`] for a density with a condition.
    pub fn draw(
        device: &D,
        architecture: &Architecture,
        (init, seed): (Init, u64),
        (ranks, rank): (usize, usize),
    ) -> Result<Self> {
        let split = Split::new(architecture.dim, ranks)?;
        let mut arrays = zeros(device, architecture, (split, rank), "parameters")?;
        for (k, weight) in arrays.weights.iter_mut().enumerate() {
            init::columns_of_square(device, (init, seed, k), split.start(rank), weight)?;
        }
        for (k, bias) in arrays.biases.iter_mut().enumerate() {
            init::bias(device, seed, k, bias)?;
        }
        Ok(Self { architecture: *architecture, split, rank, arrays })
    }

    /// The columns that a rank has of a network that is here whole.
    ///
    /// # Errors
    /// As [`Self::draw`].
    pub fn of(device: &D, parameters: &Parameters<D, T>, (ranks, rank): (usize, usize)) -> Result<Self> {
        let architecture = *parameters.architecture();
        let split = Split::new(architecture.dim, ranks)?;
        let mut arrays = zeros(device, &architecture, (split, rank), "parameters")?;
        for (k, weight) in arrays.weights.iter_mut().enumerate() {
            let columns = parameters.weight(k).columns(split.start(rank), split.count(rank));
            device.copy(columns, weight.view_mut())?;
        }
        for (k, bias) in arrays.biases.iter_mut().enumerate() {
            device.copy(parameters.arrays().biases[k].view(), bias.view_mut())?;
        }
        Ok(Self { architecture, split, rank, arrays })
    }

    /// A gradient of the same shape, to be filled.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn zero_gradient(&self, device: &D) -> Result<Gradient<D, T>> {
        zeros(device, &self.architecture, (self.split, self.rank), "gradient")
    }

    /// This rank's rows of a batch (D×N): what the passes take.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], [`Error::OutOfMemory`].
    pub fn rows_of(&self, device: &D, batch: MatrixRef<'_, D, T>) -> Result<Matrix<D, T>> {
        exchange::rows(device, batch, (self.split, self.rank))
    }

    /// Weights (D×|B|) and biases (D×1).
    pub fn arrays(&self) -> &Arrays<D, T> {
        &self.arrays
    }

    /// The same, to be changed; biases must stay the same on every rank.
    pub fn arrays_mut(&mut self) -> &mut Arrays<D, T> {
        &mut self.arrays
    }

    /// The whole network's.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// How the D components are split.
    pub fn split(&self) -> Split {
        self.split
    }

    /// Which rank this is.
    pub fn rank(&self) -> usize {
        self.rank
    }

    pub(super) fn network(&self) -> Network<'_, D, T, crate::layer::Dense> {
        Network { architecture: &self.architecture, arrays: &self.arrays }
    }
}

fn zeros<D: Device<T>, T: Scalar>(
    device: &D,
    architecture: &Architecture,
    (split, rank): (Split, usize),
    what: &str,
) -> Result<Arrays<D, T>> {
    architecture.validate()?;
    if architecture.conditions > 0 {
        return Err(Error::shape("layers over ranks", "a density without a condition", "one with a condition"));
    }
    if rank >= split.ranks() {
        return Err(Error::shape("layers over ranks", format!("a rank below {}", split.ranks()), rank));
    }
    let Architecture { dim, layers, bias, .. } = *architecture;
    let many = |count: usize, cols: usize| -> Result<Vec<_>> {
        (0..count).map(|k| Matrix::zeros(device, dim, cols, &format!("{what} of layer {}", k + 1))).collect()
    };
    let (weights, biases) = (many(layers, split.count(rank))?, many(if bias { layers } else { 0 }, 1)?);
    Ok(Arrays { weights, biases, head: None })
}
