//! What a fused pull and update of a weight, and an update that is kept as factors, work on.

use super::{Addend, Device, MatrixMut, MatrixRef, Memory, require};
use crate::error::{Error, Result};
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

/// As [`Device::pull_outer`].
pub(super) fn pull_outer<D: Device<T>, T: Scalar>(device: &D, mut pass: PullOuter<'_, D, T>) -> Result<()> {
    let (dim, samples) = pass.left.shape();
    let weight = pass.weight.weight().shape();
    require("update", weight, (dim, dim))?;
    if let Updated::Apart(_, out) = &pass.weight {
        require("update", out.shape(), weight)?;
    }
    let width = if pass.errors.cols() == samples { samples } else { 2 * samples };
    require("pull", pass.errors.shape(), (dim, width))?;
    require("pull", pass.pulled.shape(), (dim, width))?;
    // SAFETY: the shapes fit.
    if pass.pulled.is_empty() || !unsafe { device.raw_pull_outer(&mut pass)? } {
        let PullOuter { errors, mut pulled, left, alpha, most, weight } = pass;
        let one = T::of(1.0);
        device.multiply(one, weight.weight().transposed(), errors.plain(), Addend::Zero, pulled.reborrow())?;
        let u = pulled.view().columns(0, samples);
        if let Some(most) = most {
            let norm = device.frobenius_norm(u)?;
            if !norm.is_finite() || norm > most {
                return Err(too_large());
            }
        }
        let (addend, out) = match weight {
            Updated::InPlace(weight, beta) => (Addend::Scaled(beta), weight),
            Updated::Apart(weight, out) => (Addend::Matrix(weight), out),
        };
        device.multiply(alpha, left.plain(), u.transposed(), addend, out)?;
    }
    Ok(())
}

/// As [`Device::append_outer`].
pub(super) fn append_outer<D: Device<T>, T: Scalar>(device: &D, pass: AppendOuter<'_, D, T>) -> Result<()> {
    let (dim, samples) = pass.left.shape();
    require("pending update", pass.right.shape(), (dim, samples))?;
    require("pending update", pass.weight.shape(), (dim, dim))?;
    require("pending update", pass.a.shape(), pass.b.shape())?;
    let rank = pass.a.cols();
    if pass.a.rows() != dim || samples == 0 || !rank.is_multiple_of(samples) || pass.turn >= rank / samples {
        let expected = format!("{dim} rows, and columns for step {} of {samples} samples", pass.turn);
        return Err(Error::shape("pending update", expected, format!("{}×{rank}", pass.a.rows())));
    }
    // SAFETY: the shapes fit.
    if unsafe { device.raw_append_outer(pass)? } {
        return Ok(());
    }
    Err(Error::shape("delayed updates", "a CPU (on this device use `relative-inplace`)", "another device"))
}
