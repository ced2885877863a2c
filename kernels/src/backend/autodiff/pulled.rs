//! The Jacobians by reverse mode, and the adjoint of that computation \[M66\]–\[M67\].
//!
//! D unit vectors are pulled back at a time: A_{k-1} = A_k diag(σ'(y_k)) W_k from A_L = I down to J = A_0. Panels hold
//! the transposes, so that the block of every sample is multiplied from the left by what all share: with
//! S_k = diag(σ'(y_k)) A_kᵀ recorded, A_{k-1}ᵀ = W_kᵀ S_k is one product. The way back runs upward, from Ā_0 = J^{-T}.

use super::reverse::{Reverse, log_determinants, slopes};
use super::{Record, Scratch, spread};
use crate::device::{Addend, Device, Matrix, MatrixMut};
use crate::error::Result;
use crate::forward::ValuesWorkspace;
use crate::layer::Dense;
use crate::parameters::{Gradient, Network};
use crate::scalar::Scalar;

/// Scratch of what follows: slopes and ratios (D×c), and a panel.
type Spare<'a, D, T> = ([&'a mut Matrix<D, T>; 2], &'a mut Matrix<D, T>);

impl<D: Device<T>, T: Scalar> Record<D, T> {
    /// Records S_1 … S_{L-1}. S_L is diagonal and A_{L-1} = diag(σ'(y_L)) W_L, since A_L = I.
    pub(super) fn pull(
        &mut self,
        device: &D,
        network: Network<'_, D, T, Dense>,
        ([slope, ratio], panel): Spare<'_, D, T>,
    ) -> Result<()> {
        let Self { values, jacobians } = self;
        let last = network.architecture.layers - 1;
        for k in (0..last).rev() {
            let (recorded, above) = jacobians.split_at_mut(k + 1);
            let mut out = recorded[k].view_mut();
            if k + 1 == last {
                transposed_top(device, network, values, ([slope, ratio], panel), out.reborrow())?;
            } else {
                let pull = network.layer(k + 1).weight.transposed();
                device.multiply(T::of(1.0), pull, above[0].view().plain(), Addend::Zero, out.reborrow())?;
            }
            slopes(device, network, k, values, slope, ratio)?;
            device.scale_rows_in_place(slope.view().columns(0, values.batch()), out)?;
        }
        Ok(())
    }

    /// out ← Jᵀ of every sample.
    pub(super) fn transposed_jacobian(
        &self,
        device: &D,
        network: Network<'_, D, T, Dense>,
        spare: Spare<'_, D, T>,
        out: MatrixMut<'_, D, T>,
    ) -> Result<()> {
        match self.jacobians.first() {
            None => transposed_top(device, network, &self.values, spare, out),
            Some(recorded) => {
                let pull = network.layer(0).weight.transposed();
                device.multiply(T::of(1.0), pull, recorded.view().plain(), Addend::Zero, out)
            }
        }
    }
}

/// out ← A_{L-1}ᵀ = (diag(σ'(y_L)) W_L)ᵀ of every sample.
fn transposed_top<D: Device<T>, T: Scalar>(
    device: &D,
    network: Network<'_, D, T, Dense>,
    values: &ValuesWorkspace<D, T, Dense>,
    ([slope, ratio], panel): Spare<'_, D, T>,
    out: MatrixMut<'_, D, T>,
) -> Result<()> {
    let layer = network.layer(network.architecture.layers - 1);
    if layer.activation.is_none() {
        return device.transpose_blocks(layer.weight, out);
    }
    slopes(device, network, layer.index, values, slope, ratio)?;
    let mut panel = panel.view_mut().columns(0, out.cols());
    spread(device, &layer, slope.view().columns(0, values.batch()), panel.reborrow())?;
    device.transpose_blocks(panel.view(), out)
}

impl<D: Device<T>, T: Scalar> Reverse<'_, D, T> {
    /// As [`Self::run`], through Jacobians that were pulled back.
    pub(super) fn run_upward(&mut self, mean: f64, log_dets: &mut [f64], out: &mut Gradient<D, T>) -> Result<()> {
        let layers = self.network.architecture.layers;
        self.invert_pulled(log_dets)?;
        self.score()?;
        self.record.values.head.add_gradient(self.device, (mean, 1.0), self.batch.u, out.head.as_mut())?;
        let mean = T::of(mean);
        for shares in &mut self.scratch.shares {
            self.device.fill(T::of(0.0), shares.view_mut())?;
        }
        for k in 0..layers - 1 {
            self.climb(k, mean, out)?;
        }
        self.arrive(mean, out)?;
        for k in (0..layers).rev() {
            self.add_share(k)?;
            self.accumulate_values(k, mean, out)?;
        }
        Ok(())
    }

    /// `panels[0]`: Ā_0ᵀ = J⁻¹.
    fn invert_pulled(&mut self, log_dets: &mut [f64]) -> Result<()> {
        let Self { device, network, record, scratch, share, .. } = self;
        let panel = network.architecture.dim * share.count;
        let Scratch { panels: [bar, work], slope, ratio, factorization, report, .. } = &mut **scratch;
        let mut work = work.view_mut().columns(0, panel);
        record.transposed_jacobian(*device, *network, ([slope, ratio], bar), work.reborrow())?;
        let report = &mut report[..share.count];
        device.invert_transposed(work, bar.view_mut().columns(0, panel), factorization, report)?;
        log_determinants::<T>((network.architecture.dim, share.start), report, log_dets)
    }

    /// With Ā_{k-1}ᵀ in `panels[0]`: W̄_k += S_k Ā_{k-1}, B̄_kᵀ = W_k Ā_{k-1}ᵀ, the share of ȳ_k, and Ā_kᵀ.
    fn climb(&mut self, k: usize, mean: T, out: &mut Gradient<D, T>) -> Result<()> {
        let Self { device, network, record, scratch, share, .. } = self;
        let (one, count) = (T::of(1.0), share.count);
        let panel = network.architecture.dim * count;
        slopes(*device, *network, k, &record.values, &mut scratch.slope, &mut scratch.ratio)?;
        let (slope, ratio) = (scratch.slope.view().columns(0, count), scratch.ratio.view().columns(0, count));
        let [bar, other] = &mut scratch.panels;
        let (below, recorded) = (bar.view().columns(0, panel), record.jacobians[k].view());
        let weight = out.weights[k].view_mut();
        device.multiply(mean, recorded.plain(), below.transposed(), Addend::Scaled(one), weight)?;
        let mut above = other.view_mut().columns(0, panel);
        device.multiply(one, network.layer(k).weight.plain(), below.plain(), Addend::Zero, above.reborrow())?;
        // σ'' ⊙ colsum(A_k ⊙ B̄_k) as r ⊙ rowsum(S_k ⊙ B̄_kᵀ).
        let shares = scratch.shares[k].view_mut().columns(0, count);
        device.curvature_adjoint(slope, ratio, recorded, above.view(), shares)?;
        device.scale_rows_in_place(slope, above)?;
        std::mem::swap(bar, other);
        Ok(())
    }

    /// The last layer, where A_L = I: W̄_L += diag(σ') Ā_{L-1}.
    fn arrive(&mut self, mean: T, out: &mut Gradient<D, T>) -> Result<()> {
        let Self { device, network, record, scratch, share, .. } = self;
        let (last, count) = (network.architecture.layers - 1, share.count);
        let panel = network.architecture.dim * count;
        let layer = network.layer(last);
        let [bar, other] = &mut scratch.panels;
        let mut plain = other.view_mut().columns(0, panel);
        device.transpose_blocks(bar.view().columns(0, panel), plain.reborrow())?;
        if layer.activation.is_some() {
            slopes(*device, *network, last, &record.values, &mut scratch.slope, &mut scratch.ratio)?;
            let (slope, ratio) = (scratch.slope.view().columns(0, count), scratch.ratio.view().columns(0, count));
            device.scale_rows_in_place(slope, plain.reborrow())?;
            let shares = scratch.shares[last].view_mut().columns(0, count);
            device.curvature_adjoint(slope, ratio, plain.view(), layer.weight, shares)?;
        }
        device.add_blocks(mean, plain.view(), out.weights[last].view_mut())
    }

    /// `adjoint[0]`: z̄_k → ȳ_k = σ' ⊙ z̄_k + share.
    fn add_share(&mut self, k: usize) -> Result<()> {
        let Self { device, network, record, scratch, share, .. } = self;
        if network.layer(k).activation.is_none() {
            return Ok(());
        }
        slopes(*device, *network, k, &record.values, &mut scratch.slope, &mut scratch.ratio)?;
        let (slope, shares) = (scratch.slope.view(), scratch.shares[k].view());
        let adjoint = scratch.adjoint[0].view_mut().columns(0, share.count);
        device.scale_and_add(slope.columns(0, share.count), Some(shares.columns(0, share.count)), adjoint)
    }
}
