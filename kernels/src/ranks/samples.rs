//! Samples split over ranks that all have the whole network: what is exchanged are the factors (δ, U) of a gradient,
//! D/N times fewer numbers than the gradient \[M91\].

use super::Split;
use super::transport::{Parcel, Transport, on_host};
use crate::backend::BiasMode;
use crate::backend::relative::{Form, RankUpdate, RightFactor, Sink, Workspace as SweepWorkspace, sweep};
use crate::device::{Addend, Device, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::layer::{Dense, Group, Pending};
use crate::network::Architecture;
use crate::output::Head;
use crate::parameters::{Batch, Gradient, Parameters};
use crate::scalar::Scalar;

/// Work memory of a rank that has some of N samples: a sweep's for them, and 4ND numbers to exchange.
pub struct SampleShare<D: Device<T>, T: Scalar> {
    sweep: SweepWorkspace<D, T, Dense>,
    whole: Whole<D, T>,
}

/// The factors of all samples, and what is exchanged for them.
struct Whole<D: Device<T>, T: Scalar> {
    split: Split,
    /// δ and U, D×N.
    left: Matrix<D, T>,
    right: Matrix<D, T>,
    /// c, one column.
    sample_weights: Matrix<D, T>,
    sent: Parcel<T>,
    received: Vec<T>,
    /// Numbers of each rank in a block of D×N, and in a column of N.
    of_block: Vec<usize>,
    of_column: Vec<usize>,
}

impl<D: Device<T>, T: Scalar> SampleShare<D, T> {
    /// Takes all memory for a rank's samples of a batch of `batch`: those of [`Split`]'s block, which is returned.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::InvalidParameter`]; [`Error::ShapeMismatch`] for a density with a condition.
    pub fn new(
        device: &D,
        architecture: &Architecture,
        batch: usize,
        (ranks, rank): (usize, usize),
    ) -> Result<(Self, Split)> {
        if architecture.conditions > 0 {
            return Err(Error::shape("samples over ranks", "a density without a condition", "one with a condition"));
        }
        let split = Split::new(batch, ranks)?;
        let own = split.count(rank);
        let dim = architecture.dim;
        let factor = || Matrix::zeros(device, dim, batch, "factors of all samples");
        let column = if architecture.bias { batch } else { 0 };
        let whole = Whole {
            split,
            left: factor()?,
            right: factor()?,
            sample_weights: Matrix::zeros(device, column, 1, "sample weights of the bias")?,
            sent: Parcel::zeros(dim.saturating_mul(own))?,
            received: on_host(dim.saturating_mul(batch))?,
            of_block: split.counts(dim),
            of_column: split.counts(1),
        };
        Ok((Self { sweep: SweepWorkspace::new(device, architecture, own)?, whole }, split))
    }

    /// The relative gradient of the whole batch, the same on every rank, from this rank's samples `x` (D×n). Allocates
    /// nothing.
    ///
    /// # Errors
    /// As [`crate::backend::GradientBackend::gradient`], and [`Error::Transport`].
    pub fn gradient(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        mode: BiasMode,
        transport: &mut (impl Transport<T> + ?Sized),
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        out.require_fit("gradient", parameters.architecture())?;
        let Self { sweep: work, whole } = self;
        let mut sink = Gathering { parameters, whole, transport, out };
        sweep(device, Form::Relative(mode), Batch::from(x), work, &mut sink)
    }
}

/// Stores the direction of all samples from the factors of each rank's.
struct Gathering<'a, D: Device<T>, T: Scalar, X: ?Sized> {
    parameters: &'a Parameters<D, T>,
    whole: &'a mut Whole<D, T>,
    transport: &'a mut X,
    out: &'a mut Gradient<D, T>,
}

impl<D: Device<T>, T: Scalar, X: Transport<T> + ?Sized> Sink<D, T, Dense> for Gathering<'_, D, T, X> {
    fn parameters(&self) -> &Parameters<D, T> {
        self.parameters
    }

    fn absorb_head(&mut self, _device: &D, _head: &Head<D, T>, _batch: Batch<'_, D, T>) -> Result<()> {
        Ok(())
    }

    fn absorb(&mut self, device: &D, k: usize, update: RankUpdate<'_, D, T>, work: &mut Pending<D, T>) -> Result<()> {
        let RankUpdate { left, right: RightFactor::Pulled { errors, mut into }, samples, bias_share } = update else {
            return Err(Error::shape("samples over ranks", "the relative gradient", "its transposed form"));
        };
        let layer = self.parameters.network().layer(k);
        Dense.pull_pair(device, &layer, errors, into.reborrow(), work)?;
        let u = into.view().columns(0, left.matrix.cols());
        let Whole { split, left: all_left, right: all_right, sample_weights, sent, received, of_block, of_column } =
            &mut *self.whole;
        let mut gather = |counts: &[usize], block: MatrixRef<'_, D, T>, all: MatrixMut<'_, D, T>| -> Result<()> {
            let (own, total): (usize, usize) = (block.rows() * block.cols(), counts.iter().sum());
            device.download(block.slice(), &mut sent.numbers_mut()[..own])?;
            self.transport.all_gather(counts, sent, &mut received[..total])?;
            device.upload(&received[..total], all.into_slice())
        };
        gather(of_block, left.matrix, all_left.view_mut())?;
        gather(of_block, u, all_right.view_mut())?;
        if let Some(samples) = samples {
            gather(of_column, samples, sample_weights.view_mut())?;
        }
        let mean = T::of(1.0 / split.total() as f64);
        let (delta, old) = (all_left.view(), Addend::Matrix(self.parameters.weight(k)));
        let out = self.out.weights[k].view_mut();
        device.multiply(mean, delta.plain(), all_right.view().transposed(), old, out)?;
        let (Some(bias), Some(out)) = (self.parameters.bias(k), self.out.biases.get_mut(k)) else { return Ok(()) };
        let addend = if bias_share { Addend::Matrix(bias) } else { Addend::Zero };
        device.multiply(mean, delta.plain(), sample_weights.view().plain(), addend, out.view_mut())
    }
}
