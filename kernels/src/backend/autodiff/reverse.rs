//! Reverse accumulation through the recorded tangent computation \[M21\].

use super::{Record, Scratch, Share, spread};
use crate::device::{Addend, Device, Inversion, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::forward::ValuesWorkspace;
use crate::layer::Dense;
use crate::parameters::{Batch, Gradient, Network};
use crate::scalar::Scalar;

/// The way back of one chunk.
pub(super) struct Reverse<'a, D: Device<T>, T: Scalar> {
    pub(super) device: &'a D,
    pub(super) network: Network<'a, D, T, Dense>,
    pub(super) batch: Batch<'a, D, T>,
    pub(super) record: &'a mut Record<D, T>,
    pub(super) scratch: &'a mut Scratch<D, T>,
    pub(super) share: Share,
}

impl<D: Device<T>, T: Scalar> Reverse<'_, D, T> {
    /// Adds the chunk's part of the mean gradient to `out`, and writes log|det J_L| of its samples.
    ///
    /// Invariant of the loop: at its head `panels[0]` holds J̄_k and `adjoint[0]` holds z̄_k.
    pub(super) fn run(&mut self, mean: f64, log_dets: &mut [f64], out: &mut Gradient<D, T>) -> Result<()> {
        self.seed(log_dets)?;
        self.score()?;
        self.record.values.head.add_gradient(self.device, (mean, 1.0), self.batch.u, out.head.as_mut())?;
        let mean = T::of(mean);
        for k in (0..self.network.architecture.layers).rev() {
            self.through_activation(k)?;
            self.accumulate_values(k, mean, out)?;
            self.accumulate_tangents(k, mean, out)?;
        }
        Ok(())
    }

    /// J̄_L = J_L^{-T} with log|det J_L|.
    fn seed(&mut self, log_dets: &mut [f64]) -> Result<()> {
        let Self { device, network, record, scratch, share, .. } = self;
        let architecture = network.architecture;
        let last = architecture.layers - 1;
        let panel = architecture.dim * share.count;
        let [bar, work] = &mut scratch.panels;
        // The LU overwrites its matrix. J_L itself is needed again if a nonlinearity follows: then a copy is factored.
        let layer = network.layer(last);
        let factored = if last == 0 {
            slopes(*device, *network, last, &record.values, &mut scratch.slope, &mut scratch.ratio)?;
            let slope = scratch.slope.view().columns(0, share.count);
            spread(*device, &layer, slope, work.view_mut().columns(0, panel))?;
            work.view_mut().columns(0, panel)
        } else if layer.activation.is_some() {
            device.copy(record.jacobians[last - 1].view(), work.view_mut().columns(0, panel))?;
            work.view_mut().columns(0, panel)
        } else {
            record.jacobians[last - 1].view_mut()
        };
        let report = &mut scratch.report[..share.count];
        let bar = bar.view_mut().columns(0, panel);
        device.invert_transposed(factored, bar, &mut scratch.factorization, report)?;
        log_determinants::<T>((architecture.dim, share.start), report, log_dets)
    }

    /// `adjoint[0]`: z̄_L = ψ(z_L).
    pub(super) fn score(&mut self) -> Result<()> {
        let Self { device, network, batch, record, scratch, share } = self;
        let last = network.architecture.layers - 1;
        let layer = network.layer(last);
        let score = scratch.adjoint[0].view_mut().columns(0, share.count);
        let ValuesWorkspace { trail, pair, head, .. } = &mut record.values;
        let mut y = trail.view_mut().columns(last * share.count, share.count);
        if let Some(activation) = layer.activation {
            device.bias_activate(activation, None, y.reborrow(), pair.view_mut().columns(0, share.count))?;
        }
        let s = if layer.activation.is_some() { pair.view().columns(0, share.count) } else { y.view() };
        head.prepare(*device, network.arrays.head.as_ref(), batch.u)?;
        head.score(*device, s, score)
    }

    /// `panels[0]`: J̄_k → M̄_k = diag(σ') J̄_k. `adjoint[0]`: z̄_k → ȳ_k = σ' ⊙ z̄_k + σ'' ⊙ rowsum(J̄_k ⊙ M_k).
    ///
    /// The second term is formed as r ⊙ rowsum(J̄_k ⊙ J_k), since J_k = diag(σ') M_k is what was recorded; in the first
    /// layer, where M_1 = W_1 is at hand, as r ⊙ rowsum(M̄_1 ⊙ W_1).
    fn through_activation(&mut self, k: usize) -> Result<()> {
        let Self { device, network, record, scratch, share, .. } = self;
        if network.layer(k).activation.is_none() {
            return Ok(());
        }
        let count = share.count;
        let panel = network.architecture.dim * count;
        slopes(*device, *network, k, &record.values, &mut scratch.slope, &mut scratch.ratio)?;
        let (slope, ratio) = (scratch.slope.view().columns(0, count), scratch.ratio.view().columns(0, count));
        let bar = &mut scratch.panels[0];
        let adjoint = scratch.adjoint[0].view_mut().columns(0, count);
        if k == 0 {
            device.scale_rows_in_place(slope, bar.view_mut().columns(0, panel))?;
            let scaled = bar.view().columns(0, panel);
            device.curvature_adjoint(slope, ratio, scaled, network.layer(0).weight, adjoint)
        } else {
            let recorded = record.jacobians[k - 1].view();
            device.curvature_adjoint(slope, ratio, bar.view().columns(0, panel), recorded, adjoint)?;
            device.scale_rows_in_place(slope, bar.view_mut().columns(0, panel))
        }
    }

    /// W̄_k += ȳ_k z_{k-1}ᵀ, b̄_k += ȳ_k, and z̄_{k-1} = W_kᵀ ȳ_k.
    pub(super) fn accumulate_values(&mut self, k: usize, mean: T, out: &mut Gradient<D, T>) -> Result<()> {
        let Self { device, network, batch, record, scratch, share } = self;
        let count = share.count;
        let one = T::of(1.0);
        let [adjoint, below] = &mut scratch.adjoint;
        let adjoint_view = adjoint.view().columns(0, count);
        if let Some(bias) = out.biases.get_mut(k) {
            let ones = scratch.ones.view().columns(0, count);
            device.multiply(mean, adjoint_view.plain(), ones.transposed(), Addend::Scaled(one), bias.view_mut())?;
        }
        let weight = out.weights[k].view_mut();
        if k == 0 {
            return device.multiply(mean, adjoint_view.plain(), batch.x.transposed(), Addend::Scaled(one), weight);
        }
        let (mut carried, _) = record.values.pair.view_mut().split_columns(count);
        let y = record.values.trail.view_mut().columns((k - 1) * count, count);
        device.bias_activate(network.architecture.activation, None, y, carried.reborrow())?;
        let carried = carried.view().transposed();
        device.multiply(mean, adjoint_view.plain(), carried, Addend::Scaled(one), weight)?;
        let below_view = below.view_mut().columns(0, count);
        let pull = network.layer(k).weight.transposed();
        device.multiply(one, pull, adjoint_view.plain(), Addend::Zero, below_view)?;
        std::mem::swap(adjoint, below);
        Ok(())
    }

    /// W̄_k += M̄_k J_{k-1}ᵀ and J̄_{k-1} = W_kᵀ M̄_k, panels as wide matrices so that each is one product.
    fn accumulate_tangents(&mut self, k: usize, mean: T, out: &mut Gradient<D, T>) -> Result<()> {
        let Self { device, network, record, scratch, share, .. } = self;
        let one = T::of(1.0);
        let panel = network.architecture.dim * share.count;
        let [bar, other] = &mut scratch.panels;
        let bar_view = bar.view().columns(0, panel);
        if k == 0 {
            // J_0 = I, so that M̄_1 J_0ᵀ is a sum of blocks.
            return device.add_blocks(mean, bar_view, out.weights[0].view_mut());
        }
        let mut other_view = other.view_mut().columns(0, panel);
        let carried: MatrixRef<'_, D, T> = if k == 1 {
            slopes(*device, *network, 0, &record.values, &mut scratch.slope, &mut scratch.ratio)?;
            let slope = scratch.slope.view().columns(0, share.count);
            spread(*device, &network.layer(0), slope, other_view.reborrow())?;
            other_view.view()
        } else {
            record.jacobians[k - 2].view()
        };
        let weight = out.weights[k].view_mut();
        device.multiply(mean, bar_view.plain(), carried.transposed(), Addend::Scaled(one), weight)?;
        let pull = network.layer(k).weight.transposed();
        device.multiply(one, pull, bar_view.plain(), Addend::Zero, other_view)?;
        std::mem::swap(bar, other);
        Ok(())
    }
}

/// σ'(y_k), r(y_k) of the recorded pre-activations; ones are not needed for a linear layer.
pub(super) fn slopes<D: Device<T>, T: Scalar>(
    device: &D,
    network: Network<'_, D, T, Dense>,
    k: usize,
    values: &ValuesWorkspace<D, T, Dense>,
    slope: &mut Matrix<D, T>,
    ratio: &mut Matrix<D, T>,
) -> Result<()> {
    let Some(activation) = network.layer(k).activation else { return Ok(()) };
    let count = values.batch();
    let y = values.pre_activation(k);
    device.slope_and_ratio(activation, y, slope.view_mut().columns(0, count), ratio.view_mut().columns(0, count))
}

/// The log-determinants of the Jacobians from sample `first` on.
pub(super) fn log_determinants<T: Scalar>(
    (dim, first): (usize, usize),
    report: &[Inversion],
    log_dets: &mut [f64],
) -> Result<()> {
    for (n, (report, log_det)) in report.iter().zip(log_dets).enumerate() {
        if report.is_singular::<T>(dim) {
            let matrix = format!("Jacobian of sample {}", first + n + 1);
            return Err(Error::Singular { matrix, condition: report.condition });
        }
        *log_det = report.log_abs_det;
    }
    Ok(())
}
