//! Steps with a second network that learns to invert the first: a free-form flow (MATH.md §27).
//!
//! Draxler et al., *Free-form Flows: Make Any Architecture a Normalizing Flow*, AISTATS 2024.

use super::Stateful;
use crate::Tuning;
use crate::check::Check;
use crate::device::{Addend, Device, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::forward::{ValuesWorkspace, activate};
use crate::init::Signs;
use crate::layer::{Dense, LuFactors};
use crate::network::Architecture;
use crate::parameters::{Arrays, Batch, Parameters};
use crate::scalar::Scalar;
use crate::step::StepReport;

mod check;
mod probes;

use probes::Probes;

/// K, β and the seed of the probes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FreeFormSettings {
    /// K, probes a sample: orthogonal, of length √D.
    pub probes: usize,
    /// β, the weight of ‖x − h(f(x))‖².
    pub beta: f64,
    /// Of the probes.
    pub seed: u64,
}

impl Default for FreeFormSettings {
    fn default() -> Self {
        Self { probes: PROBES, beta: 10.0, seed: 0 }
    }
}

impl FreeFormSettings {
    /// With the numbers that `tuning` has.
    pub fn tuned(tuning: Tuning) -> Self {
        let default = Self::default();
        let Tuning { probes, beta, .. } = tuning;
        Self { probes: probes.unwrap_or(default.probes), beta: beta.unwrap_or(default.beta), ..default }
    }
}

/// K by default.
const PROBES: usize = 1;

/// Ascends log p(f(x)) + (1/K) Σ vᵀf'(x) stop\[h'(z)v\] − β‖x − h(f(x))‖² \[M58\] in the network f and in a decoder h:
/// as many dense layers, with the same σ between them and a linear last one.
///
/// Blocks that are multiplied with the same weight stand side by side, so that it is read once for all of them.
pub struct FreeForm<D: Device<T>, T: Scalar> {
    settings: FreeFormSettings,
    values: ValuesWorkspace<D, T, Dense>,
    /// C_d and c_d.
    decoder: Arrays<D, T>,
    /// The decoder's pre-activations, D×LN; the last one becomes 2β(x − h(z)).
    inner: Matrix<D, T>,
    /// \[z_k | t_k\] for k = 0 … L: values and the probes' tangents, D×N(1+K) each.
    carried: Matrix<D, T>,
    /// \[z̄_k | t̄_k\] or \[ȳ_k | τ̄_k\], twice, D×N(1+K); first the values and tangents of the decoder.
    adjoint: [Matrix<D, T>; 2],
    /// v/√K, D×NK.
    probes: Matrix<D, T>,
    /// Where probes come from, unless they were given.
    source: Option<Probes<T>>,
    blocks: SideBlocks<D, T>,
    /// N×1.
    ones: Matrix<D, T>,
    /// ‖f'h'v − v‖/‖v‖ of the last step.
    error: Option<f64>,
    report: StepReport,
}

/// Blocks of D×N.
struct SideBlocks<D: Device<T>, T: Scalar> {
    slope: Matrix<D, T>,
    ratio: Matrix<D, T>,
    /// Σ t ⊙ t̄, twice.
    share: [Matrix<D, T>; 2],
}

impl<D: Device<T>, T: Scalar> FreeForm<D, T> {
    /// With a decoder whose layers are the inverses of the network's, last one first.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Singular`], [`Error::InvalidParameter`].
    pub fn new(device: &D, parameters: &Parameters<D, T>, batch: usize, settings: FreeFormSettings) -> Result<Self> {
        let architecture = parameters.architecture();
        let values = ValuesWorkspace::new(device, architecture, batch)?;
        let Architecture { dim, layers, .. } = *architecture;
        let FreeFormSettings { probes: count, beta, seed } = settings;
        if count == 0 || count > dim {
            return Err(Error::invalid("probes", count as f64, "must be at least 1 and at most D"));
        }
        if !(beta > 0.0 && beta.is_finite()) {
            return Err(Error::invalid("beta", beta, "must be positive and finite"));
        }
        let blocks = |count: usize, what| Matrix::zeros(device, dim, count.saturating_mul(batch), what);
        let mut ones = Matrix::zeros(device, batch, 1, "ones")?;
        device.fill(T::of(1.0), ones.view_mut())?;
        let zeros = vec![0.0; layers];
        let plain = Architecture { conditions: 0, ..*architecture };
        let mut this = Self {
            settings,
            values,
            decoder: Arrays::zeros(device, &plain, "decoder")?,
            inner: blocks(layers, "pre-activations of the decoder")?,
            carried: blocks((layers + 1) * (1 + count), "values and tangents")?,
            adjoint: [blocks(1 + count, "adjoints")?, blocks(1 + count, "adjoints")?],
            probes: blocks(count, "probes")?,
            source: Some(Probes::new(Signs::new(seed), dim, batch, count)),
            blocks: SideBlocks {
                slope: blocks(1, "slopes")?,
                ratio: blocks(1, "slopes")?,
                share: [blocks(1, "shares of the probes")?, blocks(1, "shares of the probes")?],
            },
            ones,
            error: None,
            report: StepReport { step_sizes: zeros.clone(), rho: zeros },
        };
        this.restart(device, parameters)?;
        Ok(this)
    }

    /// C_d and c_d, first layer first.
    pub fn decoder(&self) -> &Arrays<D, T> {
        &self.decoder
    }

    /// The same, to be set.
    pub fn decoder_mut(&mut self) -> &mut Arrays<D, T> {
        &mut self.decoder
    }

    /// Sets the probes of all further steps: K blocks of D×N side by side, column by column.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    pub fn set_probes(&mut self, device: &D, probes: &[T]) -> Result<()> {
        self.source = None;
        let scale = 1.0 / (self.settings.probes as f64).sqrt();
        let scaled: Vec<T> = probes.iter().map(|v| T::of(scale * v.widen())).collect();
        device.upload(&scaled, self.probes.view_mut().into_slice())
    }

    /// Of the last step and every sample: the mean of vᵀf'h'v over the probes, and ‖x − h(f(x))‖².
    ///
    /// # Errors
    /// Those of the device.
    pub fn surrogate_and_loss(&self, device: &D) -> Result<[Vec<f64>; 2]> {
        let (layers, samples) = (self.values_layers(), self.values.batch());
        let (dim, count) = (self.probes.rows(), self.settings.probes);
        let ends = device.to_host(self.slot(layers).columns(samples, samples * count))?;
        let probes = self.probes.to_column_major(device)?;
        let mut surrogate = vec![0.0; samples];
        for (column, (end, v)) in ends.chunks_exact(dim).zip(probes.chunks_exact(dim)).enumerate() {
            surrogate[column % samples] += end.iter().zip(v).map(|(a, b)| a.widen() * b.widen()).sum::<f64>();
        }
        let last = self.inner.view().columns((layers - 1) * samples, samples);
        let scale = 0.25 / self.settings.beta.powi(2);
        let square = |column: &[T]| scale * column.iter().map(|x| x.widen().powi(2)).sum::<f64>();
        Ok([surrogate, device.to_host(last)?.chunks_exact(dim).map(square).collect()])
    }

    fn draw(&mut self, device: &D) -> Result<()> {
        let Some(source) = &mut self.source else { return Ok(()) };
        source.draw();
        device.upload(source.numbers(), self.probes.view_mut().into_slice())
    }

    fn values_layers(&self) -> usize {
        self.inner.cols() / self.values.batch()
    }

    /// \[z_k | t_k\].
    fn slot(&self, k: usize) -> MatrixRef<'_, D, T> {
        let width = self.values.batch() * (1 + self.settings.probes);
        self.carried.view().columns(k * width, width)
    }

    /// z_k to their places, and t_0 = h'(z)v: values and tangents through the decoder in one.
    fn decode(&mut self, device: &D, architecture: &Architecture, batch: &Batch<'_, D, T>) -> Result<()> {
        let (layers, samples, count) = (architecture.layers, self.values.batch(), self.settings.probes);
        let width = samples * (1 + count);
        let Self { values, decoder, inner, carried, adjoint, probes, blocks, .. } = self;
        device.copy(batch.x.shorten(), carried.view_mut().columns(0, samples))?;
        for k in 0..layers {
            let y = values.trail.view_mut().columns(k * samples, samples);
            activate(device, architecture, k, y, carried.view_mut().columns((k + 1) * width, samples))?;
        }
        let [from, to] = adjoint;
        device.copy(carried.view().columns(layers * width, samples), from.view_mut().columns(0, samples))?;
        device.copy(probes.view(), from.view_mut().columns(samples, samples * count))?;
        for d in 0..layers {
            let weight = decoder.weights[d].view();
            device.multiply(T::of(1.0), weight.plain(), from.view().plain(), Addend::Zero, to.view_mut())?;
            let mut w = inner.view_mut().columns(d * samples, samples);
            device.copy(to.view().columns(0, samples), w.reborrow())?;
            let bias = decoder.biases.get(d).map(Matrix::view);
            if d + 1 < layers {
                let u = to.view_mut().columns(0, samples);
                device.bias_activate(architecture.activation, bias, w.reborrow(), u)?;
                let [slope, ratio] = [&mut blocks.slope, &mut blocks.ratio];
                device.slope_and_ratio(architecture.activation, w.view(), slope.view_mut(), ratio.view_mut())?;
                scale_each(device, slope.view(), to.view_mut().columns(samples, samples * count))?;
            } else if let Some(bias) = bias {
                device.add_bias(bias, w)?;
            }
            std::mem::swap(from, to);
        }
        let tangents = from.view().columns(samples, samples * count);
        device.copy(tangents, carried.view_mut().columns(samples, samples * count))
    }

    /// t_k = σ'(y_k) ⊙ (W_k t_{k-1}), and how far t_L = f'h'v is from v.
    fn push_tangents(&mut self, device: &D, parameters: &Parameters<D, T>) -> Result<()> {
        let architecture = parameters.architecture();
        let (layers, samples, count) = (architecture.layers, self.values.batch(), self.settings.probes);
        let width = samples * (1 + count);
        let Self { values, carried, adjoint: [spare, _], probes, blocks, .. } = self;
        for k in 0..layers {
            let (below, above) = carried.view_mut().split_columns((k + 1) * width);
            let from = below.view().columns(k * width + samples, samples * count);
            let mut to = above.columns(samples, samples * count);
            let weight = parameters.weight(k);
            device.multiply(T::of(1.0), weight.plain(), from.plain(), Addend::Zero, to.reborrow())?;
            if architecture.is_nonlinear(k) {
                let [slope, ratio] = [&mut blocks.slope, &mut blocks.ratio];
                let y = values.pre_activation(k);
                device.slope_and_ratio(architecture.activation, y, slope.view_mut(), ratio.view_mut())?;
                scale_each(device, slope.view(), to)?;
            }
        }
        let mut difference = spare.view_mut().columns(0, samples * count);
        device.copy(carried.view().columns(layers * width + samples, samples * count), difference.reborrow())?;
        device.blend(T::of(-1.0), probes.view(), T::of(1.0), difference.reborrow())?;
        let size = device.frobenius_norm(probes.view())?;
        let error = device.frobenius_norm(difference.view())? / size;
        if !error.is_finite() {
            return Err(Error::NonFinite { what: "tangent of a probe".into() });
        }
        self.error = Some(error);
        Ok(())
    }

    /// Steps the decoder along −β∂‖x − h(z)‖² and leaves the share of z̄_L in the first block of `adjoint[0]`.
    fn step_decoder(&mut self, device: &D, architecture: &Architecture, x: MatrixRef<'_, D, T>, mu: f64) -> Result<()> {
        let (layers, samples) = (architecture.layers, self.values.batch());
        let width = samples * (1 + self.settings.probes);
        let (one, gain, twice) = (T::of(1.0), T::of(mu / samples as f64), 2.0 * self.settings.beta);
        let Self { values, decoder, inner, carried, adjoint: [bar, below], blocks, ones, .. } = self;
        let mut last = inner.view_mut().columns((layers - 1) * samples, samples);
        device.blend(T::of(twice), x, T::of(-twice), last.reborrow())?;
        let loss = device.frobenius_norm(last.view())?;
        if !loss.is_finite() {
            return Err(Error::NonFinite { what: "reconstruction by the decoder".into() });
        }
        device.copy(last.view(), bar.view_mut().columns(0, samples))?;
        drop(last);
        for d in (0..layers).rev() {
            let adjoint = bar.view().columns(0, samples);
            let weight = &mut decoder.weights[d];
            let pulled = below.view_mut().columns(0, samples);
            device.multiply(one, weight.view().transposed(), adjoint.plain(), Addend::Zero, pulled)?;
            let input = if d == 0 {
                carried.view().columns(layers * width, samples)
            } else {
                let w = inner.view_mut().columns((d - 1) * samples, samples);
                let [slope, ratio] = [&mut blocks.slope, &mut blocks.ratio];
                device.slope_and_ratio(architecture.activation, w.view(), slope.view_mut(), ratio.view_mut())?;
                let u = values.pair.view_mut().columns(0, samples);
                device.bias_activate(architecture.activation, None, w, u)?;
                device.scale_and_add(slope.view(), None, below.view_mut().columns(0, samples))?;
                values.pair.view().columns(0, samples)
            };
            device.multiply(gain, adjoint.plain(), input.transposed(), Addend::Scaled(one), weight.view_mut())?;
            if let Some(bias) = decoder.biases.get_mut(d) {
                device.multiply(gain, adjoint.plain(), ones.view().plain(), Addend::Scaled(one), bias.view_mut())?;
            }
            std::mem::swap(bar, below);
        }
        Ok(())
    }

    /// \[z̄_k | t̄_k\] in `adjoint[0]` becomes \[ȳ_k | τ̄_k\].
    fn through_activation(&mut self, device: &D, architecture: &Architecture, k: usize) -> Result<()> {
        if !architecture.is_nonlinear(k) {
            return Ok(());
        }
        let (samples, count) = (self.values.batch(), self.settings.probes);
        let width = samples * (1 + count);
        let Self {
            values, carried, adjoint: [bar, _], blocks: SideBlocks { slope, ratio, share: [share, other] }, ..
        } = self;
        let y = values.pre_activation(k);
        device.slope_and_ratio(architecture.activation, y, slope.view_mut(), ratio.view_mut())?;
        for probe in 0..count {
            let start = (1 + probe) * samples;
            let tangent = carried.view().columns((k + 1) * width + start, samples);
            device.copy(bar.view().columns(start, samples), other.view_mut())?;
            let addend = (probe > 0).then(|| share.view());
            device.scale_and_add(tangent, addend, other.view_mut())?;
            std::mem::swap(share, other);
        }
        // σ'' ⊙ τ ⊙ t̄ = r ⊙ t ⊙ t̄.
        device.scale_and_add(ratio.view(), None, share.view_mut())?;
        let (values, tangents) = bar.view_mut().split_columns(samples);
        device.scale_and_add(slope.view(), Some(share.view()), values)?;
        scale_each(device, slope.view(), tangents)
    }
}

/// Scales every block of D×N by the same one.
fn scale_each<D: Device<T>, T: Scalar>(
    device: &D,
    slope: MatrixRef<'_, D, T>,
    mut blocks: MatrixMut<'_, D, T>,
) -> Result<()> {
    let samples = slope.cols();
    for start in (0..blocks.cols()).step_by(samples) {
        device.scale_and_add(slope.shorten(), None, blocks.reborrow().columns(start, samples))?;
    }
    Ok(())
}

impl<D: Device<T>, T: Scalar> Stateful<D, T> for FreeForm<D, T> {
    fn step(
        &mut self,
        device: &D,
        parameters: &mut Parameters<D, T>,
        batch: Batch<'_, D, T>,
        mu: f64,
    ) -> Result<&StepReport> {
        if !(mu > 0.0 && mu.is_finite()) {
            return Err(Error::invalid("mu", mu, "must be positive and finite"));
        }
        self.draw(device)?;
        let architecture = *parameters.architecture();
        let (layers, samples) = (architecture.layers, self.values.batch());
        let width = samples * (1 + self.settings.probes);
        let (one, gain) = (T::of(1.0), mu / samples as f64);
        self.values.forward(device, parameters.network(), batch.shorten())?;
        self.decode(device, &architecture, &batch)?;
        self.push_tangents(device, parameters)?;
        self.step_decoder(device, &architecture, batch.x.shorten(), mu)?;
        let (z, score) = (self.carried.view().columns(layers * width, samples), &mut self.blocks.share[0]);
        self.values.head.score(device, z, score.view_mut())?;
        self.values.head.add_gradient(device, (gain, 1.0), batch.u, parameters.arrays.head.as_mut())?;
        let (bar, tangents) = self.adjoint[0].view_mut().split_columns(samples);
        device.blend(one, score.view(), one, bar)?;
        device.copy(self.probes.view(), tangents)?;
        for k in (0..layers).rev() {
            self.through_activation(device, &architecture, k)?;
            let Self { carried, adjoint: [bar, below], ones, .. } = self;
            let weight = &mut parameters.arrays.weights[k];
            if k > 0 {
                let pull = weight.view().transposed();
                device.multiply(one, pull, bar.view().plain(), Addend::Zero, below.view_mut())?;
            }
            if let Some(bias) = parameters.arrays.biases.get_mut(k) {
                let errors = bar.view().columns(0, samples).plain();
                device.multiply(T::of(gain), errors, ones.view().plain(), Addend::Scaled(one), bias.view_mut())?;
            }
            let right = carried.view().columns(k * width, width).transposed();
            device.multiply(T::of(gain), bar.view().plain(), right, Addend::Scaled(one), weight.view_mut())?;
            std::mem::swap(bar, below);
        }
        self.report.step_sizes.fill(mu);
        Ok(&self.report)
    }

    fn restart(&mut self, device: &D, parameters: &Parameters<D, T>) -> Result<()> {
        let Architecture { dim, layers, .. } = *parameters.architecture();
        let mut lu = LuFactors::new(device, dim)?;
        let mut transposed = Matrix::zeros(device, dim, dim, "inverse of a weight")?;
        for d in 0..layers {
            let layer = parameters.network().layer(layers - 1 - d);
            lu.invert(device, &layer, transposed.view_mut())?;
            device.transpose_blocks(transposed.view(), self.decoder.weights[d].view_mut())?;
            let weight = self.decoder.weights[d].view().plain();
            if let (Some(bias), Some(to)) = (layer.bias, self.decoder.biases.get_mut(d)) {
                device.multiply(T::of(-1.0), weight, bias.plain(), Addend::Zero, to.view_mut())?;
            }
        }
        self.error = None;
        Ok(())
    }

    fn check(&mut self, device: &D, parameters: &mut Parameters<D, T>, x: &Matrix<D, T>, mu: f64) -> Result<Check> {
        check::step(self, device, parameters, x, mu)
    }

    /// ‖f'(x)h'(z)v − v‖/‖v‖ over the samples and probes of the last step.
    fn inverse_error(&mut self, _device: &D, _parameters: &Parameters<D, T>) -> Result<Option<f64>> {
        Ok(self.error)
    }
}

#[cfg(test)]
mod tests;
