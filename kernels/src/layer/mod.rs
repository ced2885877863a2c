//! What couples the D components inside one layer.
//!
//! A coupling is a set of D×D matrices W with fewer numbers than D²: all of them ([`Dense`]), circular convolutions
//! ([`Window`], [`EveryTap`], [`Pointwise`]), or one of a caller's own. [`Coupling`] is what the passes need of it;
//! the forward pass, the backends, the likelihood, the inversion and the check are written once over it. A set that is
//! closed under products and transposes is a [`Group`], and only a group has a relative gradient.

mod circular;
mod convolution;
mod dense;
mod kind;
mod pending;
mod pointwise;

use std::fmt::Debug;

pub use circular::{Circular, EveryTap, Spectral, Window};
pub use convolution::Convolution;
pub use dense::Dense;
pub(crate) use dense::LuFactors;
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
use crate::parameters::{Arrays, Layer, Parameters};
use crate::scalar::Scalar;
use crate::stateful::Stateful;

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

    /// S of a D×D matrix: for each number the sum over the entries in which it stands.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    fn sum_entries(&self, device: &D, dense: MatrixRef<'_, D, T>, out: MatrixMut<'_, D, T>) -> Result<()>;

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

/// A coupling that is closed under products and transposes. The steps W ← (I + E)W with E in the set stay in the set,
/// so it has a relative gradient: S(G WᵀW) / [`Geometry::multiplicity`]. This is the orthogonal projection, which
/// commutes with products by members.
pub trait Group<D: Device<T>, T: Scalar>: Coupling<D, T> {
    /// \[U | V\] ← Wᵀ\[Y | δ\], N columns each; for the first layer U ← WᵀY alone. U is asked for in
    /// [`Coupling::outer`] and [`Coupling::norm`] only, as [`Seen::Written`].
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    fn pull_pair(
        &self,
        device: &D,
        layer: &Layer<'_, D, T>,
        errors: MatrixRef<'_, D, T>,
        pulled: MatrixMut<'_, D, T>,
        work: &mut Self::Work,
    ) -> Result<()> {
        self.pull(device, layer, errors, pulled, work)
    }

    /// Takes memory for the factors of `steps` updates, 1 for none. With more, updates are to go to [`Group::append`],
    /// and W is what it stands for only after [`Group::settle`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::ShapeMismatch`] for a coupling that cannot.
    fn delay(&self, _device: &D, _extent: Extent, steps: usize, _work: &mut Self::Work) -> Result<()> {
        if steps <= 1 {
            return Ok(());
        }
        Err(Error::shape("delayed updates", "dense layers (use `relative-inplace`)", format!("{self:?}")))
    }

    /// W ← keep W + gain left rightᵀ for what the weight stands for that was last multiplied, with neither number
    /// rounded to `T`.
    ///
    /// # Errors
    /// Those of the device; [`Error::ShapeMismatch`] where updates are not delayed.
    fn append(
        &self,
        _device: &D,
        _gain_and_keep: (f64, f64),
        _factors: (MatrixRef<'_, D, T>, MatrixRef<'_, D, T>),
        _weight: MatrixMut<'_, D, T>,
        _work: &mut Self::Work,
    ) -> Result<()> {
        Err(Error::shape("delayed updates", "dense layers (use `relative-inplace`)", format!("{self:?}")))
    }

    /// Whether updates are delayed.
    fn is_delayed(_work: &Self::Work) -> bool {
        false
    }

    /// W_k ← what it stands for, with no update pending.
    ///
    /// # Errors
    /// Those of the device.
    fn settle(&self, _: &D, _k: usize, _weight: MatrixMut<'_, D, T>, _work: &mut Self::Work) -> Result<()> {
        Ok(())
    }
}

/// Whether a coupling is a [`Group`], for methods that are known only by name. A group passes itself to the visitor.
/// Other couplings use the provided method.
pub trait MaybeGroup<D: Device<T>, T: Scalar>: Coupling<D, T> {
    /// Calls `visitor`, with the knowledge that this coupling is a group.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for a coupling that is none; those of the visitor.
    fn if_group<V: ForGroup<D, T, Self>>(&self, visitor: V) -> Result<V::Out> {
        let _ = visitor;
        let expected = "layers closed under products (these have no relative gradient: use `ordinary`)";
        Err(Error::shape("relative gradient", expected, format!("{self:?}")))
    }

    /// The steps of a method that keeps numbers beside the weights ([`Method::keeps_state`]), begun at `parameters` for
    /// batches of a size, with a seed.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for other layers than dense ones; [`Error::OutOfMemory`], [`Error::Singular`].
    fn stateful(
        _device: &D,
        method: Method,
        parameters: &Parameters<D, T, Self>,
        _batch_and_seed: (usize, u64),
    ) -> Result<Box<dyn Stateful<D, T, Self>>>
    where
        D: 'static,
    {
        Err(Error::shape(method.name(), "dense layers", format!("{:?}", parameters.architecture().coupling)))
    }
}

/// Work that only a group allows.
pub trait ForGroup<D: Device<T>, T: Scalar, C> {
    /// What comes of it.
    type Out;
    /// Does the work.
    ///
    /// # Errors
    /// Its own.
    fn call(self, group: C) -> Result<Self::Out>
    where
        C: Group<D, T>;
}
