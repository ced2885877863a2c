//! The forward pass \[M1\], written once over what it carries.

use crate::conditional::Condition;
use crate::device::{Addend, Device, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::network::Architecture;
use crate::parameters::{Layer, Parameters};
use crate::scalar::Scalar;

/// What runs through the network: plain values ([`Values`]), or values with D tangents a sample
/// ([`crate::backend::autodiff`]).
pub(crate) trait Carrier<D: Device<T>, T: Scalar> {
    /// carried ← σ(W_k · carried + b_k), keeping whatever the backward pass will want.
    fn layer(&mut self, device: &D, k: usize, layer: &Layer<'_, D, T>) -> Result<()>;
}

/// Sends `carrier` through all layers.
pub(crate) fn forward<D: Device<T>, T: Scalar>(
    device: &D,
    parameters: &Parameters<D, T>,
    carrier: &mut impl Carrier<D, T>,
) -> Result<()> {
    (0..parameters.architecture().layers).try_for_each(|k| carrier.layer(device, k, &parameters.layer(k)))
}

/// Work memory of a pass with plain values: L+3 blocks of D×N, \[M16\].
///
/// `trail` holds Y_1 … Y_L and one spare block. On the way back δ_k goes to the block behind Y_k (Y_{k+1} is spent by
/// then), so that \[Y_k | δ_k\] is one contiguous D×2N matrix. `pair` receives \[U | V\] = W_kᵀ\[Y_k | δ_k\]; on the
/// way forward its first block holds Z_k.
pub struct ValuesWorkspace<D: Device<T>, T: Scalar> {
    pub(crate) batch: usize,
    pub(crate) trail: Matrix<D, T>,
    pub(crate) pair: Matrix<D, T>,
    /// The density of the outputs, where it is not the architecture's own.
    pub(crate) condition: Option<Condition<D, T>>,
}

impl<D: Device<T>, T: Scalar> ValuesWorkspace<D, T> {
    pub(crate) fn new(device: &D, architecture: &Architecture, batch: usize) -> Result<Self> {
        architecture.validate()?;
        if batch == 0 {
            return Err(Error::invalid("batch", 0.0, "must be at least 1"));
        }
        let blocks = |count: usize, what| {
            let cols = count.saturating_mul(batch);
            Matrix::zeros(device, architecture.dim, cols, what)
        };
        Ok(Self {
            batch,
            trail: blocks(architecture.layers + 1, "pre-activations")?,
            pair: blocks(2, "back-propagated blocks")?,
            condition: None,
        })
    }

    /// Y_k, k from 0.
    pub(crate) fn pre_activation(&self, k: usize) -> MatrixRef<'_, D, T> {
        self.trail.view().columns(k * self.batch, self.batch)
    }

    /// Runs the forward pass on `x` (D×N).
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless `x` is D×N; [`Error::NonFinite`] when Y_L is not finite, which is so whenever
    /// the input or a parameter is not.
    pub(crate) fn forward(&mut self, device: &D, parameters: &Parameters<D, T>, x: MatrixRef<'_, D, T>) -> Result<()> {
        let Architecture { dim, layers, .. } = *parameters.architecture();
        if (x.rows(), x.cols()) != (dim, self.batch) || self.trail.cols() != (layers + 1) * self.batch {
            return Err(Error::shape(
                "forward pass",
                format!("a batch of {dim}×{} for {layers} layers", self.batch),
                format!("{}×{}", x.rows(), x.cols()),
            ));
        }
        forward(device, parameters, &mut Values { input: x.shorten(), work: self })?;
        device.require_finite("output of the network (or its input or parameters)", self.pre_activation(layers - 1))
    }
}

/// Plain values on their way through the network.
pub(crate) struct Values<'a, D: Device<T>, T: Scalar> {
    pub(crate) input: MatrixRef<'a, D, T>,
    pub(crate) work: &'a mut ValuesWorkspace<D, T>,
}

impl<D: Device<T>, T: Scalar> Carrier<D, T> for Values<'_, D, T> {
    fn layer(&mut self, device: &D, k: usize, layer: &Layer<'_, D, T>) -> Result<()> {
        let batch = self.work.batch;
        let mut y = self.work.trail.view_mut().columns(k * batch, batch);
        let carried = if k == 0 { self.input.shorten() } else { self.work.pair.view().columns(0, batch) };
        let one = T::of(1.0);
        device.multiply(one, layer.weight.plain(), carried.plain(), Addend::Zero, y.reborrow())?;
        match (layer.activation, layer.bias) {
            (Some(activation), bias) => {
                let z = self.work.pair.view_mut().columns(0, batch);
                device.bias_activate(activation, bias, y, z)
            }
            (None, Some(bias)) => device.add_bias(bias, y),
            (None, None) => Ok(()),
        }
    }
}
