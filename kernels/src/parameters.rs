//! The numbers of a network on a device: weights and biases, and directions of the same shape.

use crate::device::{Device, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::network::{Activation, Architecture};
use crate::scalar::Scalar;

/// One weight matrix (D×D) a layer and, when the layers have biases, one bias (D×1) a layer.
pub struct Arrays<D: Device<T>, T: Scalar> {
    /// W_k or its direction, D×D, first layer first.
    pub weights: Vec<Matrix<D, T>>,
    /// b_k or its direction, D×1; empty without biases.
    pub biases: Vec<Matrix<D, T>>,
}

/// An ascent direction of the mean log-likelihood, shaped like the parameters.
pub type Gradient<D, T> = Arrays<D, T>;

impl<D: Device<T>, T: Scalar> Arrays<D, T> {
    /// All zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::InvalidParameter`] for an architecture that is not valid.
    pub fn zeros(device: &D, architecture: &Architecture, what: &str) -> Result<Self> {
        architecture.validate()?;
        architecture.require_dense()?;
        let dim = architecture.dim;
        let many = |count, cols, kind| {
            (0..count)
                .map(|k| Matrix::zeros(device, dim, cols, &format!("{what}: {kind} of layer {}", k + 1)))
                .collect::<Result<Vec<_>>>()
        };
        let biases = if architecture.bias { architecture.layers } else { 0 };
        Ok(Self { weights: many(architecture.layers, dim, "weight")?, biases: many(biases, 1, "bias")? })
    }
}

/// A network: its architecture and its arrays on a device.
pub struct Parameters<D: Device<T>, T: Scalar> {
    architecture: Architecture,
    pub(crate) arrays: Arrays<D, T>,
}

/// One layer of the forward pass: z ← σ(W z + b).
pub(crate) struct Layer<'a, D: Device<T>, T: Scalar> {
    pub(crate) weight: MatrixRef<'a, D, T>,
    pub(crate) bias: Option<MatrixRef<'a, D, T>>,
    pub(crate) activation: Option<Activation>,
}

impl<D: Device<T>, T: Scalar> Parameters<D, T> {
    /// Takes arrays that fit an architecture.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when they don't; [`Error::InvalidParameter`] for an invalid architecture.
    pub fn new(architecture: Architecture, arrays: Arrays<D, T>) -> Result<Self> {
        architecture.validate()?;
        architecture.require_dense()?;
        let expected = format!("{} weights", architecture.layers);
        if arrays.weights.len() != architecture.layers {
            return Err(Error::shape("parameters", expected, arrays.weights.len()));
        }
        let biases = if architecture.bias { architecture.layers } else { 0 };
        if arrays.biases.len() != biases {
            return Err(Error::shape("parameters", format!("{biases} biases"), arrays.biases.len()));
        }
        let weights = arrays.weights.iter().map(|w| (w, architecture.dim));
        for (matrix, cols) in weights.chain(arrays.biases.iter().map(|b| (b, 1))) {
            if (matrix.rows(), matrix.cols()) != (architecture.dim, cols) {
                return Err(Error::shape(
                    "parameters",
                    format!("{}×{cols}", architecture.dim),
                    format!("{}×{}", matrix.rows(), matrix.cols()),
                ));
            }
        }
        Ok(Self { architecture, arrays })
    }

    /// Shape and ingredients of the network.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// W_k, k from 0.
    pub fn weight(&self, k: usize) -> MatrixRef<'_, D, T> {
        self.arrays.weights[k].view()
    }

    /// b_k, k from 0; `None` without biases.
    pub fn bias(&self, k: usize) -> Option<MatrixRef<'_, D, T>> {
        self.arrays.biases.get(k).map(Matrix::view)
    }

    /// The arrays, for optimisers and for copying out.
    pub fn arrays(&self) -> &Arrays<D, T> {
        &self.arrays
    }

    /// The arrays, to be changed in place.
    pub fn arrays_mut(&mut self) -> &mut Arrays<D, T> {
        &mut self.arrays
    }

    pub(crate) fn layer(&self, k: usize) -> Layer<'_, D, T> {
        let activation = self.architecture.is_nonlinear(k).then_some(self.architecture.activation);
        Layer { weight: self.weight(k), bias: self.bias(k), activation }
    }
}
