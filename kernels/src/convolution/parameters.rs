//! The numbers of a network of convolutions.

use crate::device::{Cpu, Matrix};
use crate::error::{Error, Result};
use crate::network::{Architecture, Convolution};
use crate::scalar::Scalar;

/// One kernel a layer and, when the layers have biases, one bias a channel and layer; or a direction of that shape.
pub struct Arrays<T: Scalar> {
    /// K_k, (c·|S|)×c, first layer first: column i holds K\[o, i, τ\], channel o by channel, taps in the order of
    /// [`Convolution::kernel`], row by row. For a full kernel it is what the layer answers to an impulse in channel i.
    pub kernels: Vec<Matrix<Cpu, T>>,
    /// b_k, c×1; empty without biases.
    pub biases: Vec<Matrix<Cpu, T>>,
}

/// An ascent direction of the mean log-likelihood, shaped like the parameters.
pub type Gradient<T> = Arrays<T>;

impl<T: Scalar> Arrays<T> {
    /// All zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::InvalidParameter`], [`Error::ShapeMismatch`] for an architecture that is not
    /// valid or not convolutional.
    pub fn zeros(device: &Cpu, architecture: &Architecture, what: &str) -> Result<Self> {
        architecture.validate()?;
        let convolution = architecture.convolution()?;
        let (rows, channels) = (rows(&convolution), convolution.channels);
        let many = |count, rows, cols, kind| {
            (0..count)
                .map(|k| Matrix::zeros(device, rows, cols, &format!("{what}: {kind} of layer {}", k + 1)))
                .collect::<Result<Vec<_>>>()
        };
        let biases = if architecture.bias { architecture.layers } else { 0 };
        Ok(Self {
            kernels: many(architecture.layers, rows, channels, "kernel")?,
            biases: many(biases, channels, 1, "bias")?,
        })
    }

    /// Whether these arrays fit an architecture.
    pub(super) fn require_fit(&self, architecture: &Architecture) -> Result<()> {
        let convolution = architecture.convolution()?;
        let biases = if architecture.bias { architecture.layers } else { 0 };
        if (self.kernels.len(), self.biases.len()) != (architecture.layers, biases) {
            return Err(Error::shape(
                "convolution",
                format!("{} kernels and {biases} biases", architecture.layers),
                format!("{} and {}", self.kernels.len(), self.biases.len()),
            ));
        }
        let kernels = self.kernels.iter().map(|k| (k, rows(&convolution), convolution.channels));
        for (matrix, rows, cols) in kernels.chain(self.biases.iter().map(|b| (b, convolution.channels, 1))) {
            if (matrix.rows(), matrix.cols()) != (rows, cols) {
                let found = format!("{}×{}", matrix.rows(), matrix.cols());
                return Err(Error::shape("convolution", format!("{rows}×{cols}"), found));
            }
        }
        Ok(())
    }
}

/// c·|S|.
fn rows(convolution: &Convolution) -> usize {
    convolution.channels.saturating_mul(convolution.taps())
}

/// A network of convolutions: its architecture and its arrays.
pub struct Parameters<T: Scalar> {
    architecture: Architecture,
    convolution: Convolution,
    arrays: Arrays<T>,
}

impl<T: Scalar> Parameters<T> {
    /// Takes arrays that fit an architecture.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when they don't; [`Error::InvalidParameter`] for an invalid architecture.
    pub fn new(architecture: Architecture, arrays: Arrays<T>) -> Result<Self> {
        architecture.validate()?;
        let convolution = architecture.convolution()?;
        arrays.require_fit(&architecture)?;
        Ok(Self { architecture, convolution, arrays })
    }

    /// Shape and ingredients of the network.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// What its layers convolve.
    pub fn convolution(&self) -> &Convolution {
        &self.convolution
    }

    /// The arrays, for optimisers and for copying out.
    pub fn arrays(&self) -> &Arrays<T> {
        &self.arrays
    }

    /// The arrays, to be changed in place.
    pub fn arrays_mut(&mut self) -> &mut Arrays<T> {
        &mut self.arrays
    }

    /// K_k, k from 0, column by column.
    pub(super) fn kernel(&self, k: usize) -> &[T] {
        self.arrays.kernels[k].view().slice()
    }

    /// b_k, k from 0; `None` without biases.
    pub(super) fn bias(&self, k: usize) -> Option<&[T]> {
        self.arrays.biases.get(k).map(|bias| bias.view().slice())
    }
}
