//! Updates of a dense weight that are kept as factors for some steps \[M80\].
//!
//! With few samples a step in place is as slow as its passes over W. One of them reads and writes W for an update of
//! rank N. Here W_eff = c (W + A Bᵀ) stands for the weight, and a step appends N columns to A and B and scales c. Of k
//! steps' columns the oldest are overwritten; to have them in W by then, each step merges all factors into another k-th
//! of W's columns and forgets them there, so that every step costs the same.

use crate::device::{Addend, AppendOuter, Device, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::layer::Extent;
use crate::scalar::Scalar;

/// Steps for which factors are best kept: √(D/2N), where another k-th of W costs as much memory traffic as reading the
/// factors of one more step.
pub fn best_delay(dim: usize, batch: usize) -> usize {
    const MOST: f64 = 64.0;
    (dim as f64 / (2.0 * batch as f64)).sqrt().round().clamp(1.0, MOST) as usize
}

/// The factors of all layers; by default there are none, and W is W.
pub struct Pending<D: Device<T>, T: Scalar> {
    /// N.
    samples: usize,
    /// The layer whose weight was last multiplied: the one that is updated next.
    current: usize,
    layers: Vec<Factors<D, T>>,
    /// Bᵀz or Aᵀ\[Y | δ\].
    inner: Option<Matrix<D, T>>,
}

struct Factors<D: Device<T>, T: Scalar> {
    /// A, D×kN.
    left: Matrix<D, T>,
    /// B, D×kN; its rows are zero where A Bᵀ has been merged.
    right: Matrix<D, T>,
    /// c, in f64: it is a product of as many factors as there were steps.
    scale: f64,
    /// The columns of A and B that are written next, and the share of W's columns that is merged then.
    turn: usize,
    /// Whether anything is pending.
    live: bool,
}

impl<D: Device<T>, T: Scalar> Default for Pending<D, T> {
    fn default() -> Self {
        Self { samples: 0, current: 0, layers: Vec::new(), inner: None }
    }
}

impl<D: Device<T>, T: Scalar> Pending<D, T> {
    /// Room for the factors of `steps` steps, 2kLDN numbers.
    pub(super) fn new(device: &D, Extent { dim, layers, batch, .. }: Extent, steps: usize) -> Result<Self> {
        let rank = steps.saturating_mul(batch);
        let factors = |_| -> Result<_> {
            let left = Matrix::zeros(device, dim, rank, "factors of pending updates")?;
            let right = Matrix::zeros(device, dim, rank, "factors of pending updates")?;
            Ok(Factors { left, right, scale: 1.0, turn: 0, live: false })
        };
        let layers = (0..layers).map(factors).collect::<Result<_>>()?;
        let inner = Matrix::zeros(device, rank, 2 * batch, "products with pending updates")?;
        Ok(Self { samples: batch, current: 0, layers, inner: Some(inner) })
    }

    /// Whether updates are kept at all.
    pub(super) fn is_on(&self) -> bool {
        !self.layers.is_empty()
    }

    /// From out = W z to c (W + A Bᵀ) z, or from Wᵀ z to c (W + A Bᵀ)ᵀ z.
    pub(super) fn add_product(
        &mut self,
        device: &D,
        k: usize,
        transposed: bool,
        z: MatrixRef<'_, D, T>,
        out: MatrixMut<'_, D, T>,
    ) -> Result<()> {
        self.current = k;
        let (Some(factors), Some(inner)) = (self.layers.get(k).filter(|f| f.live), &mut self.inner) else {
            return Ok(());
        };
        let (outer, with) = if transposed { (&factors.right, &factors.left) } else { (&factors.left, &factors.right) };
        let mut inner = inner.view_mut().columns(0, z.cols());
        device.multiply(T::of(1.0), with.view().transposed(), z.plain(), Addend::Zero, inner.reborrow())?;
        let scale = T::of(factors.scale);
        device.multiply(scale, outer.view().plain(), inner.view().plain(), Addend::Scaled(scale), out)
    }

    /// W_eff ← keep W_eff + gain left rightᵀ, for the weight of the layer that was last multiplied.
    pub(super) fn append(
        &mut self,
        device: &D,
        (gain, keep): (f64, f64),
        (left, right): (MatrixRef<'_, D, T>, MatrixRef<'_, D, T>),
        mut weight: MatrixMut<'_, D, T>,
    ) -> Result<()> {
        let Some(Factors { left: a, right: b, scale, turn, live }) = self.layers.get_mut(self.current) else {
            return Err(Error::shape("delayed updates", "memory for them", "none"));
        };
        *scale *= keep;
        let (gain, steps) = (T::of(gain / *scale), a.cols() / self.samples);
        device.append_outer(AppendOuter {
            gain,
            left: left.shorten(),
            right: right.shorten(),
            a: a.view_mut(),
            b: b.view_mut(),
            turn: *turn,
            weight: weight.reborrow(),
        })?;
        (*turn, *live) = ((*turn + 1) % steps, true);
        Ok(())
    }

    /// W ← W_eff, with nothing pending.
    pub(super) fn settle(&mut self, device: &D, k: usize, weight: MatrixMut<'_, D, T>) -> Result<()> {
        let Some(Factors { left, right, scale, live, .. }) = self.layers.get_mut(k).filter(|f| f.live) else {
            return Ok(());
        };
        let c = T::of(*scale);
        device.multiply(c, left.view().plain(), right.view().transposed(), Addend::Scaled(c), weight)?;
        device.fill(T::default(), right.view_mut())?;
        (*scale, *live) = (1.0, false);
        Ok(())
    }
}
