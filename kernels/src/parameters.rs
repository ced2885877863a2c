//! The numbers of a network on a device: weights, biases and output density, and directions of the same shape.

use crate::device::{Device, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::layer::{Dense, Geometry};
use crate::network::{Activation, Architecture};
use crate::scalar::Scalar;

/// One weight a layer and, when the layers have biases, one bias a layer; what a conditional density has besides.
pub struct Arrays<D: Device<T>, T: Scalar> {
    /// W_k or its direction, first layer first; D×D for dense layers, else as the coupling keeps it.
    pub weights: Vec<Matrix<D, T>>,
    /// b_k or its direction, one column; empty without biases.
    pub biases: Vec<Matrix<D, T>>,
    /// Location and scale of the output, where it has a condition.
    pub head: Option<LocationScale<D, T>>,
}

/// An ascent direction of the mean log-likelihood, shaped like the parameters.
pub type Gradient<D, T> = Arrays<D, T>;

/// m(u) = A u + a and log τ(u) = B u + c for u of dimension d \[M6\]; or a direction in their space.
///
/// A discrete u is one-hot.
pub struct LocationScale<D: Device<T>, T: Scalar> {
    /// A, D×d.
    pub location: Matrix<D, T>,
    /// a, D×1.
    pub location_offset: Matrix<D, T>,
    /// B, D×d.
    pub log_scale: Matrix<D, T>,
    /// c, D×1.
    pub log_scale_offset: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar> LocationScale<D, T> {
    /// All zeros: m = 0, τ = 1, the density without a condition.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn zeros(device: &D, dim: usize, conditions: usize, what: &str) -> Result<Self> {
        let matrix = |cols| Matrix::zeros(device, dim, cols, what);
        Ok(Self {
            location: matrix(conditions)?,
            location_offset: matrix(1)?,
            log_scale: matrix(conditions)?,
            log_scale_offset: matrix(1)?,
        })
    }

    /// A, a, B, c.
    pub fn matrices(&self) -> [&Matrix<D, T>; 4] {
        [&self.location, &self.location_offset, &self.log_scale, &self.log_scale_offset]
    }

    /// A, a, B, c, to be changed in place.
    pub fn matrices_mut(&mut self) -> [&mut Matrix<D, T>; 4] {
        [&mut self.location, &mut self.location_offset, &mut self.log_scale, &mut self.log_scale_offset]
    }
}

impl<D: Device<T>, T: Scalar> Arrays<D, T> {
    /// All zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::InvalidParameter`], [`Error::ShapeMismatch`] for an architecture that is not
    /// valid.
    pub fn zeros<C: Geometry>(device: &D, architecture: &Architecture<C>, what: &str) -> Result<Self> {
        architecture.validate()?;
        let (layers, dim, conditions) = (architecture.layers, architecture.dim, architecture.conditions);
        let many = |count, [rows, cols]: [usize; 2], kind| {
            (0..count)
                .map(|k| Matrix::zeros(device, rows, cols, &format!("{what}: {kind} of layer {}", k + 1)))
                .collect::<Result<Vec<_>>>()
        };
        let head = || LocationScale::zeros(device, dim, conditions, &format!("{what}: conditional density"));
        Ok(Self {
            weights: many(layers, architecture.coupling.weight_shape(dim), "weight")?,
            biases: many(if architecture.bias { layers } else { 0 }, [architecture.coupling.bias_len(dim), 1], "bias")?,
            head: (conditions > 0).then(head).transpose()?,
        })
    }

    /// No array at all.
    pub(crate) fn none() -> Self {
        Self { weights: Vec::new(), biases: Vec::new(), head: None }
    }

    /// Every array: weights, biases, A, a, B, c.
    pub fn iter(&self) -> impl Iterator<Item = &Matrix<D, T>> {
        let head = self.head.iter().flat_map(LocationScale::matrices);
        self.weights.iter().chain(&self.biases).chain(head)
    }

    /// Every array in the same order, to be changed in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Matrix<D, T>> {
        let head = self.head.iter_mut().flat_map(LocationScale::matrices_mut);
        self.weights.iter_mut().chain(&mut self.biases).chain(head)
    }

    /// Whether these arrays have an architecture's shapes.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when they don't.
    pub fn require_fit<C: Geometry>(&self, operation: &'static str, architecture: &Architecture<C>) -> Result<()> {
        let Architecture { dim, layers, bias, conditions, .. } = *architecture;
        let counts = |weights, biases, head| format!("{weights} weights, {biases} biases, {head} arrays of a density");
        let head = |wanted| if wanted { 4 } else { 0 };
        let expected = (layers, if bias { layers } else { 0 }, head(conditions > 0));
        let found = (self.weights.len(), self.biases.len(), head(self.head.is_some()));
        if expected != found {
            let tell = |(weights, biases, head)| counts(weights, biases, head);
            return Err(Error::shape(operation, tell(expected), tell(found)));
        }
        let weights = std::iter::repeat_n(architecture.coupling.weight_shape(dim), layers);
        let biases = std::iter::repeat_n([architecture.coupling.bias_len(dim), 1], expected.1);
        let shapes = weights.chain(biases).chain([[dim, conditions], [dim, 1], [dim, conditions], [dim, 1]]);
        for (matrix, [rows, cols]) in self.iter().zip(shapes) {
            if (matrix.rows(), matrix.cols()) != (rows, cols) {
                let found = format!("{}×{}", matrix.rows(), matrix.cols());
                return Err(Error::shape(operation, format!("{rows}×{cols}"), found));
            }
        }
        Ok(())
    }
}

/// A network: its architecture and its arrays on a device.
pub struct Parameters<D: Device<T>, T: Scalar, C = Dense> {
    architecture: Architecture<C>,
    pub(crate) arrays: Arrays<D, T>,
}

impl<D: Device<T>, T: Scalar, C: Geometry> Parameters<D, T, C> {
    /// Takes arrays that fit an architecture.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when they don't; [`Error::InvalidParameter`] for an invalid architecture.
    pub fn new(architecture: Architecture<C>, arrays: Arrays<D, T>) -> Result<Self> {
        architecture.validate()?;
        arrays.require_fit("parameters", &architecture)?;
        Ok(Self { architecture, arrays })
    }
}

impl<D: Device<T>, T: Scalar, C> Parameters<D, T, C> {
    /// Shape and ingredients of the network.
    pub fn architecture(&self) -> &Architecture<C> {
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

    /// The network as a pass sees it.
    pub(crate) fn network(&self) -> Network<'_, D, T, C> {
        Network { architecture: &self.architecture, arrays: &self.arrays }
    }
}

/// A network as a pass sees it; its arrays may be the dense copy of another's.
pub(crate) struct Network<'a, D: Device<T>, T: Scalar, C> {
    pub(crate) architecture: &'a Architecture<C>,
    pub(crate) arrays: &'a Arrays<D, T>,
}

impl<D: Device<T>, T: Scalar, C> Clone for Network<'_, D, T, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Device<T>, T: Scalar, C> Copy for Network<'_, D, T, C> {}

/// One layer of the forward pass: z ← σ(W z + b).
pub struct Layer<'a, D: Device<T>, T: Scalar> {
    /// k, from 0.
    pub index: usize,
    /// W_k as the coupling keeps it.
    pub weight: MatrixRef<'a, D, T>,
    /// b_k as the coupling keeps it.
    pub bias: Option<MatrixRef<'a, D, T>>,
    /// σ, unless the layer is linear.
    pub activation: Option<Activation>,
}

impl<'a, D: Device<T>, T: Scalar, C> Network<'a, D, T, C> {
    pub(crate) fn layer(&self, k: usize) -> Layer<'a, D, T> {
        Layer {
            index: k,
            weight: self.arrays.weights[k].view(),
            bias: self.arrays.biases.get(k).map(Matrix::view),
            activation: self.architecture.is_nonlinear(k).then_some(self.architecture.activation),
        }
    }
}

/// Samples, one a column, with their conditions.
pub struct Batch<'a, D: Device<T>, T: Scalar> {
    /// X, D×N.
    pub x: MatrixRef<'a, D, T>,
    /// u, d×N, where the density has a condition.
    pub u: Option<MatrixRef<'a, D, T>>,
}

impl<D: Device<T>, T: Scalar> Clone for Batch<'_, D, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Device<T>, T: Scalar> Copy for Batch<'_, D, T> {}

impl<'a, D: Device<T>, T: Scalar> From<MatrixRef<'a, D, T>> for Batch<'a, D, T> {
    fn from(x: MatrixRef<'a, D, T>) -> Self {
        Self { x, u: None }
    }
}

impl<'a, D: Device<T>, T: Scalar> Batch<'a, D, T> {
    /// The same batch for a shorter time.
    pub(crate) fn shorten(&self) -> Batch<'_, D, T> {
        Batch { x: self.x.shorten(), u: self.u.as_ref().map(MatrixRef::shorten) }
    }

    /// The samples `start..start + count`.
    pub(crate) fn columns(self, start: usize, count: usize) -> Self {
        Self { x: self.x.columns(start, count), u: self.u.map(|u| u.columns(start, count)) }
    }
}
