//! What couples the D components inside one layer.
//!
//! A coupling is a set of D×D matrices W with fewer numbers than D²: all of them ([`Dense`]), circular convolutions
//! ([`Window`], [`EveryTap`], [`Pointwise`]), or one of a caller's own. [`Plu`] and [`Qr`] are all matrices, by their
//! factors. [`Coupling`] is what the passes need of it;
//! the forward pass, the backends, the likelihood, the inversion and the check are written once over it. A set that is
//! closed under products and transposes is a [`Group`], and only a group has a relative gradient.

mod circular;
mod convolution;
mod dense;
mod factored;
mod group;
mod kind;
mod pending;
mod pointwise;

use std::fmt::Debug;

use nalgebra::DMatrix;

pub use circular::{Circular, EveryTap, Spectral, Window};
pub use convolution::Convolution;
pub use dense::Dense;
pub(crate) use dense::LuFactors;
pub(crate) use factored::BLOCK;
pub use factored::{Plu, Qr};
pub use group::{ForGroup, Group, MaybeGroup};
pub use kind::{CouplingKind, Visitor};
pub use pending::{Pending, best_delay};
pub use pointwise::Pointwise;

use crate::cost::{Cost, Sizes};
use crate::device::{Addend, Device, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::init::Init;
use crate::inversion::{DenseFactors, Solve};
use crate::method::Method;
use crate::network::Architecture;
use crate::parameters::{Arrays, Layer};
use crate::scalar::Scalar;

/// What a method for dense layers alone expects.
pub(crate) const DENSE_ONLY: &str = "dense layers (others have cheaper inverses: use `ordinary`)";

/// The arrays of a coupling's layer, and their cost model.
pub trait Geometry: Debug {
    /// Rejects a coupling that has no layers of dimension `dim`; most have layers of any.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] says what would fit.
    fn validate(&self, _dim: usize) -> Result<()> {
        Ok(())
    }

    /// Rows and columns of the array that stands for W.
    fn weight_shape(&self, dim: usize) -> [usize; 2];

    /// Numbers in a bias.
    fn bias_len(&self, dim: usize) -> usize {
        dim
    }

    /// In how many entries of W each number of the array occurs.
    fn multiplicity(&self) -> f64 {
        1.0
    }

    /// The method that has these layers to itself, where one does.
    fn own_method(&self) -> Option<Method> {
        None
    }

    /// The model of one evaluation of `method`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for a method that has no form for this coupling, or where there is no model.
    fn cost(&self, method: Method, _shape: &Sizes) -> Result<Cost> {
        Err(Error::shape("cost", "a coupling with a cost model", method))
    }
}

/// The sizes of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// D.
    pub dim: usize,
    /// L.
    pub layers: usize,
    /// N.
    pub batch: usize,
    /// Whether the layers have biases.
    pub bias: bool,
}

/// A block of D×N, and whether the coupling's work memory knows it.
pub struct SeenBlock<'a, D: Device<T>, T: Scalar> {
    /// The numbers; for [`Seen::Written`] by [`Group::pull_pair`] only where the coupling is dense.
    pub matrix: MatrixRef<'a, D, T>,
    /// What was last done with it.
    pub seen: Seen,
}

/// What a coupling has just done with a block: it may have kept a transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    No,
    /// It was the last block that a pull read.
    Read,
    /// It was the first block that a pull wrote.
    Written,
}

impl<D: Device<T>, T: Scalar> Clone for SeenBlock<'_, D, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Device<T>, T: Scalar> Copy for SeenBlock<'_, D, T> {}

impl<'a, D: Device<T>, T: Scalar> SeenBlock<'a, D, T> {
    pub(crate) fn new(matrix: MatrixRef<'a, D, T>, seen: Seen) -> Self {
        Self { matrix, seen }
    }

    /// Lends the block for a shorter time.
    pub(crate) fn shorten(&self) -> SeenBlock<'_, D, T> {
        SeenBlock::new(self.matrix.shorten(), self.seen)
    }
}

/// A set of D×D matrices with the operations of the passes: products with blocks of D×N, on the device, without
/// allocation. `work` is the memory that [`Coupling::work`] allocated for blocks of the pass's size.
pub trait Coupling<D: Device<T>, T: Scalar>: Geometry + Copy + PartialEq + Send + Sync + 'static {
    /// Whether the array that stands for W is W itself.
    const IS_DENSE: bool = false;
    /// Whether W is linear in the numbers of the array. Where it is not, S depends on the array, and
    /// [`Self::differentiate`] and [`Self::tangent`] are the coupling's own.
    const IS_LINEAR: bool = true;
    /// Memory of the products.
    type Work: Send;
    /// Memory of an inverse.
    type Inverse: Send;

    /// Takes the memory of the products.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    fn work(&self, device: &D, extent: Extent) -> Result<Self::Work>;

    /// Takes the memory of [`Self::invert_transposed`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    fn inverse(&self, device: &D, dim: usize) -> Result<Self::Inverse>;

    /// Into how many parts the samples of a batch are best divided for a sweep, each part to go through the network on
    /// its own.
    fn parts(&self, _device: &D, _architecture: &Architecture<Self>, _batch: usize) -> usize {
        1
    }

    /// Reads the parameters once, before the first product of a pass.
    ///
    /// # Errors
    /// Those of the device.
    fn prepare(&self, _device: &D, _arrays: &Arrays<D, T>, _work: &mut Self::Work) -> Result<()> {
        Ok(())
    }

    /// b_k with one number a component (D×1).
    fn bias<'a>(&self, layer: &'a Layer<'_, D, T>, _work: &'a Self::Work) -> Option<MatrixRef<'a, D, T>> {
        layer.bias.as_ref().map(MatrixRef::shorten)
    }

    /// y ← W z.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    fn push(
        &self,
        device: &D,
        layer: &Layer<'_, D, T>,
        z: MatrixRef<'_, D, T>,
        y: MatrixMut<'_, D, T>,
        work: &mut Self::Work,
    ) -> Result<()>;

    /// v ← Wᵀ δ.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    fn pull(
        &self,
        device: &D,
        layer: &Layer<'_, D, T>,
        delta: MatrixRef<'_, D, T>,
        v: MatrixMut<'_, D, T>,
        work: &mut Self::Work,
    ) -> Result<()>;

    /// out ← addend + α S(left rightᵀ): S gives each number of the array the sum over the entries of W in which it
    /// stands, the chain rule.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    fn outer(
        &self,
        device: &D,
        alpha: T,
        factors: (SeenBlock<'_, D, T>, SeenBlock<'_, D, T>),
        addend: Addend<'_, D, T>,
        out: MatrixMut<'_, D, T>,
        work: &mut Self::Work,
    ) -> Result<()>;

    /// The ordinary gradient \[M9\] of a layer's array: out ← α S(δ Zᵀ) + S(W^{-T}), where
    /// [`Self::invert_transposed`] has just been called for this layer and `out`; and v ← Wᵀ δ, where it is wanted.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    fn differentiate(
        &self,
        device: &D,
        layer: &Layer<'_, D, T>,
        alpha: T,
        (delta, carried): (MatrixRef<'_, D, T>, MatrixRef<'_, D, T>),
        (v, out): (Option<MatrixMut<'_, D, T>>, MatrixMut<'_, D, T>),
        work: &mut Self::Work,
    ) -> Result<()> {
        let mut seen = Seen::No;
        if let Some(v) = v {
            self.pull(device, layer, delta.shorten(), v, work)?;
            seen = Seen::Read;
        }
        let factors = (SeenBlock::new(delta, seen), SeenBlock::new(carried, Seen::No));
        self.outer(device, alpha, factors, Addend::Scaled(T::of(self.multiplicity())), out, work)
    }

    /// Weights that a sample has in the direction of a bias, as [`Self::weigh`] makes them.
    fn weights_per_sample(&self) -> usize {
        1
    }

    /// c ← c + Yᵀ b, one number a sample, for the bias of a relative gradient \[M14\].
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    fn weigh(
        &self,
        device: &D,
        y: MatrixRef<'_, D, T>,
        layer: &Layer<'_, D, T>,
        c: MatrixMut<'_, D, T>,
        work: &Self::Work,
    ) -> Result<()> {
        let Some(bias) = self.bias(layer, work) else { return Ok(()) };
        device.multiply(T::of(1.0), y.transposed(), bias.plain(), Addend::Scaled(T::of(1.0)), c)
    }

    /// The same for a bias: out ← addend + α S(left c), with one number c for each of [`Self::weights_per_sample`].
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    fn outer_bias(
        &self,
        device: &D,
        alpha: T,
        (left, samples): (MatrixRef<'_, D, T>, MatrixRef<'_, D, T>),
        addend: Addend<'_, D, T>,
        out: MatrixMut<'_, D, T>,
        _work: &mut Self::Work,
    ) -> Result<()> {
        device.multiply(alpha, left.plain(), samples.plain(), addend, out)
    }

    /// ‖block‖_F, in f64.
    ///
    /// # Errors
    /// Those of the device.
    fn norm(&self, device: &D, block: &SeenBlock<'_, D, T>, _work: &Self::Work) -> Result<f64> {
        device.frobenius_norm(block.matrix)
    }

    /// out ← S(W^{-T}) / [`Geometry::multiplicity`], the derivative of log|det W| but for that factor.
    ///
    /// # Errors
    /// [`Error::Singular`] names the layer.
    fn invert_transposed(
        &self,
        device: &D,
        layer: &Layer<'_, D, T>,
        out: MatrixMut<'_, D, T>,
        inverse: &mut Self::Inverse,
        work: &mut Self::Work,
    ) -> Result<()>;

    /// W itself, D×D.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    fn to_dense(&self, device: &D, weight: MatrixRef<'_, D, T>, out: MatrixMut<'_, D, T>) -> Result<()>;

    /// S of a D×D matrix, at an array: for each number the sum over the entries of W in which it stands, or, where W is
    /// not linear, the chain rule.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    fn sum_entries(
        &self,
        device: &D,
        weight: MatrixRef<'_, D, T>,
        dense: MatrixRef<'_, D, T>,
        out: MatrixMut<'_, D, T>,
    ) -> Result<()>;

    /// What W z and log|det W| move by when the array moves by r cᵀ, for a check: in f64 on the host, by other means
    /// than those of the passes. Only for a coupling that is not linear.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    fn tangent(
        &self,
        _device: &D,
        _weight: MatrixRef<'_, D, T>,
        _rank_one: (&[f64], &[f64]),
        _z: &DMatrix<f64>,
    ) -> Result<(DMatrix<f64>, f64)> {
        Err(Error::shape("tangent", "layers that are not linear in their numbers", format!("{self:?}")))
    }

    /// Fills an array that stands for a given D×D matrix. `k` counts layers from 0, for an error.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for a coupling that is not all matrices; [`Error::Singular`].
    fn take_dense(
        &self,
        _device: &D,
        _k: usize,
        _dense: MatrixRef<'_, D, T>,
        _weight: MatrixMut<'_, D, T>,
    ) -> Result<()> {
        Err(Error::shape("layer of a matrix", "layers that stand for any matrix", format!("{self:?}")))
    }

    /// Brings the numbers of an array whose W has other numbers too back to where they are of use, without a change of
    /// W, between two steps of a training. `moments` are those of an optimiser, of the same shape: they follow, or are
    /// forgotten. Returns whether anything was changed.
    ///
    /// # Errors
    /// [`Error::Singular`]; those of the device.
    fn recondition(
        &self,
        _device: &D,
        _k: usize,
        _weight: MatrixMut<'_, D, T>,
        _moments: Option<[MatrixMut<'_, D, T>; 2]>,
    ) -> Result<bool> {
        Ok(false)
    }

    /// A bias with one number a component (D×1).
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    fn expand_bias(&self, device: &D, bias: MatrixRef<'_, D, T>, out: MatrixMut<'_, D, T>) -> Result<()> {
        device.copy(bias, out)
    }

    /// S of a D×1 bias.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    fn sum_bias(&self, device: &D, expanded: MatrixRef<'_, D, T>, out: MatrixMut<'_, D, T>) -> Result<()> {
        device.copy(expanded, out)
    }

    /// Draws W_k for a network of dimension `dim`, away from singular, from (kind, seed, k from 0).
    ///
    /// # Errors
    /// Those of the device.
    fn draw(&self, device: &D, dim: usize, drawn: (Init, u64, usize), weight: &mut Matrix<D, T>) -> Result<()>;

    /// log|det W|, in f64 whatever `T` is; by an LU of the dense matrix unless the coupling knows better.
    ///
    /// # Errors
    /// [`Error::Singular`] where it is not a number.
    fn log_abs_det(&self, device: &D, dim: usize, layer: &Layer<'_, D, T>) -> Result<f64> {
        let mut dense = Matrix::zeros(device, dim, dim, "dense weight")?;
        self.to_dense(device, layer.weight, dense.view_mut())?;
        finite_log_det(layer.index, device.log_abs_det(dense.view())?)
    }

    /// The factors that solve W y = b on the host; an LU of the dense matrix unless the coupling knows better.
    ///
    /// # Errors
    /// [`Error::Singular`] names the layer.
    fn factor(&self, device: &D, dim: usize, layer: &Layer<'_, D, T>) -> Result<Box<dyn Solve<T>>> {
        let mut dense = Matrix::zeros(device, dim, dim, "dense weight")?;
        self.to_dense(device, layer.weight, dense.view_mut())?;
        Ok(Box::new(DenseFactors::new(layer.index, dim, &dense.to_column_major(device)?)?))
    }
}

/// log|det W_k|, unless it is not a number.
pub(crate) fn finite_log_det(k: usize, value: f64) -> Result<f64> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::Singular { matrix: format!("weight of layer {}", k + 1), condition: f64::INFINITY })
}
