//! What a fused pull and update of a weight, and an update that is kept as factors, work on.

use super::{MatrixMut, MatrixRef, Memory};
use crate::error::Error;
use crate::scalar::Scalar;

/// The operands of [`Device::pull_outer`](super::Device::pull_outer), for W of D×D.
pub struct PullOuter<'a, D: Memory<T>, T: Scalar> {
    /// Y, or \[Y | δ\]: N or 2N columns.
    pub errors: MatrixRef<'a, D, T>,
    /// U, or \[U | V\].
    pub pulled: MatrixMut<'a, D, T>,
    /// The left factor of the update, N columns.
    pub left: MatrixRef<'a, D, T>,
    /// α.
    pub alpha: T,
    /// A row of U whose norm is larger, or not finite, is an error; a device may ask it of all of U.
    pub most: Option<f64>,
    /// W, and what becomes of it.
    pub weight: Updated<'a, D, T>,
}

/// A weight, and where its update goes.
pub enum Updated<'a, D: Memory<T>, T: Scalar> {
    /// W ← βW + α left Uᵀ.
    InPlace(MatrixMut<'a, D, T>, T),
    /// out ← W + α left Uᵀ.
    Apart(MatrixRef<'a, D, T>, MatrixMut<'a, D, T>),
}

impl<D: Memory<T>, T: Scalar> Updated<'_, D, T> {
    /// W as it was.
    pub(super) fn weight(&self) -> MatrixRef<'_, D, T> {
        match self {
            Self::InPlace(weight, _) => weight.view(),
            Self::Apart(weight, _) => weight.shorten(),
        }
    }
}

/// What [`PullOuter::most`] is for.
pub(super) fn too_large() -> Error {
    Error::NonFinite { what: "a layer's direction".into() }
}

/// The operands of [`Device::append_outer`](super::Device::append_outer), for W of D×D and k steps of N samples.
pub struct AppendOuter<'a, D: Memory<T>, T: Scalar> {
    /// What the left factor is multiplied by.
    pub gain: T,
    /// D×N.
    pub left: MatrixRef<'a, D, T>,
    /// D×N.
    pub right: MatrixRef<'a, D, T>,
    /// A, D×kN.
    pub a: MatrixMut<'a, D, T>,
    /// B, D×kN.
    pub b: MatrixMut<'a, D, T>,
    /// The step, from 0 to k−1: which columns of A and B are overwritten, and which k-th of W's is merged.
    pub turn: usize,
    /// W.
    pub weight: MatrixMut<'a, D, T>,
}
