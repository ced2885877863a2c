//! The forward pass \[M1\], written once over what it carries, and the backward errors \[M7\]–\[M8\].

use crate::device::{Device, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::layer::{Coupling, Extent};
use crate::network::Architecture;
use crate::output::Head;
use crate::parameters::{Batch, Layer, Network};
use crate::scalar::Scalar;

/// What runs through the network: plain values ([`Values`]), or values with D tangents a sample
/// ([`crate::backend::autodiff`]).
pub(crate) trait Carrier<D: Device<T>, T: Scalar> {
    /// carried ← σ(W_k · carried + b_k), keeping whatever the backward pass will want.
    fn layer(&mut self, device: &D, layer: &Layer<'_, D, T>) -> Result<()>;
}

/// Sends `carrier` through all layers.
pub(crate) fn forward<D: Device<T>, T: Scalar, C>(
    device: &D,
    network: Network<'_, D, T, C>,
    carrier: &mut impl Carrier<D, T>,
) -> Result<()> {
    (0..network.architecture.layers).try_for_each(|k| carrier.layer(device, &network.layer(k)))
}

/// Work memory of a pass with plain values: L+3 blocks of D×N, \[M16\], and what coupling and output density want.
///
/// On the way back δ_k goes to the block behind Y_k (Y_{k+1} is spent by then), so that \[Y_k | δ_k\] is one contiguous
/// D×2N matrix, as is \[U | V\] = W_kᵀ\[Y_k | δ_k\].
pub struct ValuesWorkspace<D: Device<T>, T: Scalar, C: Coupling<D, T>> {
    coupling: C,
    extent: Extent,
    /// Y_1 … Y_L and one spare block.
    pub(crate) trail: Matrix<D, T>,
    /// Two blocks: on the way forward the first holds Z_k, on the way back they are U and V.
    pub(crate) pair: Matrix<D, T>,
    pub(crate) work: C::Work,
    pub(crate) head: Head<D, T>,
}

impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> ValuesWorkspace<D, T, C> {
    pub(crate) fn new(device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self> {
        architecture.validate()?;
        if batch == 0 {
            return Err(Error::invalid("batch", 0.0, "must be at least 1"));
        }
        let Architecture { dim, layers, bias, coupling, .. } = *architecture;
        let extent = Extent { dim, layers, batch, bias };
        let blocks = |count: usize, what| Matrix::zeros(device, dim, count.saturating_mul(batch), what);
        Ok(Self {
            coupling,
            extent,
            trail: blocks(layers + 1, "pre-activations")?,
            pair: blocks(2, "back-propagated blocks")?,
            work: coupling.work(device, extent)?,
            head: Head::new(device, architecture, batch)?,
        })
    }

    /// N.
    pub(crate) fn batch(&self) -> usize {
        self.extent.batch
    }

    /// Y_k, k from 0.
    pub(crate) fn pre_activation(&self, k: usize) -> MatrixRef<'_, D, T> {
        self.trail.view().columns(k * self.batch(), self.batch())
    }

    /// δ_k, k from 0, after [`Self::write_error`].
    pub(crate) fn delta(&self, k: usize) -> MatrixRef<'_, D, T> {
        self.pre_activation(k + 1)
    }

    /// Runs the forward pass on a batch.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless `x` is D×N; [`Error::NonFinite`] when Y_L is not finite, which is so whenever
    /// the input or a parameter is not.
    pub(crate) fn forward(&mut self, device: &D, network: Network<'_, D, T, C>, batch: Batch<'_, D, T>) -> Result<()> {
        let Architecture { dim, layers, bias, coupling, .. } = *network.architecture;
        let Extent { batch: samples, bias: room, .. } = self.extent;
        let fits = (coupling, dim, layers) == (self.coupling, self.extent.dim, self.extent.layers) && bias <= room;
        if !fits || (batch.x.rows(), batch.x.cols()) != (dim, samples) {
            return Err(Error::shape(
                "forward pass",
                format!("a batch of {dim}×{samples} for {layers} layers, and a workspace for them"),
                format!("{}×{}", batch.x.rows(), batch.x.cols()),
            ));
        }
        if batch.u.as_ref().is_some_and(|u| u.cols() != samples) {
            let found = batch.u.map_or(0, |u| u.cols());
            return Err(Error::shape("conditional density", format!("{samples} columns of u, one a sample"), found));
        }
        coupling.prepare(device, network.arrays, &mut self.work)?;
        forward(device, network, &mut Values::new(batch.x.shorten(), self))?;
        device.require_finite("output of the network (or its input or parameters)", self.pre_activation(layers - 1))?;
        self.head.prepare(device, network.arrays.head.as_ref(), batch.u)
    }

    /// The first block of the pair ← Z_k, k from 0.
    pub(crate) fn carry(&mut self, device: &D, architecture: &Architecture<C>, k: usize) -> Result<()> {
        let samples = self.batch();
        let y = self.trail.view_mut().columns(k * samples, samples);
        activate(device, architecture, k, y, self.pair.view_mut().columns(0, samples))
    }

    /// δ_k into the block behind Y_k \[M7\]–\[M8\]; V_{k+1} is in the second block of the pair.
    pub(crate) fn write_error(&mut self, device: &D, architecture: &Architecture<C>, k: usize) -> Result<()> {
        let samples = self.batch();
        let activation = architecture.is_nonlinear(k).then_some(architecture.activation);
        let (head, tail) = self.trail.view_mut().split_columns((k + 1) * samples);
        let y = head.view().columns(k * samples, samples);
        let delta = tail.columns(0, samples);
        if k + 1 == architecture.layers {
            // The forward pass left Z_L in the pair's first block, where σ follows the last layer.
            let s = if activation.is_some() { self.pair.view().columns(0, samples) } else { y };
            return self.head.output_error(device, activation, y, s, delta);
        }
        let v = self.pair.view().columns(samples, samples);
        match activation {
            Some(activation) => device.backward_error(activation, v, y, delta),
            None => device.copy(v, delta),
        }
    }
}

/// `out` ← Z_k = σ(Y_k), k from 0; Y_k itself behind a linear layer.
pub(crate) fn activate<D: Device<T>, T: Scalar, C>(
    device: &D,
    architecture: &Architecture<C>,
    k: usize,
    y: MatrixMut<'_, D, T>,
    out: MatrixMut<'_, D, T>,
) -> Result<()> {
    if architecture.is_nonlinear(k) {
        device.bias_activate(architecture.activation, None, y, out)
    } else {
        device.copy(y.view(), out)
    }
}

/// Plain values on their way through the network.
pub(crate) struct Values<'a, D: Device<T>, T: Scalar, C: Coupling<D, T>> {
    coupling: C,
    input: MatrixRef<'a, D, T>,
    pub(crate) work: &'a mut ValuesWorkspace<D, T, C>,
}

impl<'a, D: Device<T>, T: Scalar, C: Coupling<D, T>> Values<'a, D, T, C> {
    pub(crate) fn new(input: MatrixRef<'a, D, T>, work: &'a mut ValuesWorkspace<D, T, C>) -> Self {
        Self { coupling: work.coupling, input, work }
    }
}

impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> Carrier<D, T> for Values<'_, D, T, C> {
    fn layer(&mut self, device: &D, layer: &Layer<'_, D, T>) -> Result<()> {
        let k = layer.index;
        let ValuesWorkspace { extent, trail, pair, work, .. } = &mut *self.work;
        let samples = extent.batch;
        let mut y = trail.view_mut().columns(k * samples, samples);
        let carried = if k == 0 { self.input.shorten() } else { pair.view().columns(0, samples) };
        self.coupling.push(device, layer, carried, y.reborrow(), work)?;
        let bias = self.coupling.bias(layer, work);
        match (layer.activation, bias) {
            (Some(activation), bias) => device.bias_activate(activation, bias, y, pair.view_mut().columns(0, samples)),
            (None, Some(bias)) => device.add_bias(bias, y),
            (None, None) => Ok(()),
        }
    }
}
