//! Couplings that are closed under products, and work that needs to know.

use super::{Coupling, Extent};
use crate::Tuned;
use crate::device::{Device, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::parameters::{Layer, Parameters};
use crate::scalar::Scalar;
use crate::stateful::Stateful;

/// A coupling that is closed under products and transposes. The steps W ← (I + E)W with E in the set stay in the set,
/// so it has a relative gradient: S(G WᵀW) / [`super::Geometry::multiplicity`]. This is the orthogonal projection,
/// which commutes with products by members.
pub trait Group<D: Device<T>, T: Scalar>: Coupling<D, T> {
    /// \[U | V\] ← Wᵀ\[Y | δ\], N columns each; for the first layer U ← WᵀY alone. U is asked for in
    /// [`Coupling::outer`] and [`Coupling::norm`] only, as [`super::Seen::Written`].
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

    /// The steps of a method that keeps numbers beside the weights ([`crate::Method::keeps_state`]), begun at
    /// `parameters` for batches of a size, with a seed.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for other layers than dense ones; [`Error::OutOfMemory`], [`Error::Singular`].
    fn stateful(
        _device: &D,
        tuned: Tuned,
        parameters: &Parameters<D, T, Self>,
        _batch_and_seed: (usize, u64),
    ) -> Result<Box<dyn Stateful<D, T, Self>>>
    where
        D: 'static,
    {
        Err(Error::shape(tuned.method.name(), "dense layers", format!("{:?}", parameters.architecture().coupling)))
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
