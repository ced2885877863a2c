//! Full-Jacobian automatic differentiation: forward mode through the same forward pass, reverse mode through the
//! recorded tangents, \[M20\]–\[M21\]; or the Jacobians by reverse mode too ([`Mode::Reverse`]).
//!
//! Layers that are not dense enter as the D×D matrices that they stand for; the chain rule takes the derivative in each
//! entry to the number that stands in it. Nothing here knows that the determinant of the Jacobian factors over the
//! layers, nor that J̄_k J_kᵀ = I: a baseline that did would be [`super::Ordinary`] in disguise. The one shortcut taken
//! is J_0 = I, or A_L = I.

mod pulled;
mod reverse;

use super::GradientBackend;
use crate::device::{Addend, Device, Inversion, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::forward::{Carrier, Values, ValuesWorkspace, forward};
use crate::layer::{Coupling, Dense};
use crate::network::Architecture;
use crate::parameters::{Arrays, Batch, Gradient, Layer, Network, Parameters};
use crate::scalar::{Dtype, Scalar};
use reverse::Reverse;

/// How many Jacobians are in memory at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Jacobians {
    /// Those of the whole batch, as in the paper: about N·D² numbers (L−1 of them per sample are recorded).
    #[default]
    Batched,
    /// Those of a few samples at a time.
    Streamed,
}

/// How the Jacobians are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// From D tangents a sample, J_k = diag(σ') W_k J_{k-1} \[M20\].
    #[default]
    Forward,
    /// From D adjoints a sample, A_{k-1} = A_k diag(σ') W_k \[M66\]: as many flops, as much memory.
    Reverse,
}

/// ℓ = Σ log p(z_L) + log|det J_L| per sample, and its gradient.
#[derive(Debug, Clone, Copy, Default)]
pub struct Autodiff {
    /// Which way the Jacobians are computed.
    pub mode: Mode,
    /// Memory mode.
    pub jacobians: Jacobians,
}

/// Bytes of Jacobians that are worked on at a time: about what stays in a core's cache, and small beside what
/// [`Jacobians::Batched`] records.
const CHUNK_BYTES: usize = 1 << 20;

/// Work memory.
///
/// Samples are worked on in chunks. Each chunk of c samples records J_2 … J_L side by side (J_1 = diag(σ'(y_1)) W_1 is
/// cheap and rebuilt when wanted); [`Jacobians::Batched`] keeps the records of all chunks, [`Jacobians::Streamed`] of
/// one. Two panels of c blocks are scratch, shared by all chunks.
pub struct Workspace<D: Device<T>, T: Scalar, C = Dense> {
    mode: Mode,
    jacobians: Jacobians,
    architecture: Architecture<C>,
    /// Where each chunk's samples start in the batch, how many they are, and which record is theirs.
    plan: Vec<Share>,
    records: Vec<Record<D, T>>,
    scratch: Scratch<D, T>,
    log_abs_det_jacobian: Vec<f64>,
    /// The dense network and its gradient, for layers that are not dense.
    copy: Option<[Arrays<D, T>; 2]>,
}

/// A chunk of the batch.
#[derive(Clone, Copy)]
struct Share {
    start: usize,
    count: usize,
    record: usize,
}

/// What forward mode records of c samples.
struct Record<D: Device<T>, T: Scalar> {
    values: ValuesWorkspace<D, T, Dense>,
    /// J_2 … J_L, each D×Dc; in reverse mode S_1 … S_{L-1}.
    jacobians: Vec<Matrix<D, T>>,
}

/// Work memory that no record keeps.
struct Scratch<D: Device<T>, T: Scalar> {
    /// J̄_k or M̄_k, and the panel that it is computed from; D×Dc.
    panels: [Matrix<D, T>; 2],
    /// σ'(y_k), r(y_k), D×c.
    slope: Matrix<D, T>,
    ratio: Matrix<D, T>,
    /// What ȳ_k has of the Jacobians, D×c a layer, in reverse mode.
    shares: Vec<Matrix<D, T>>,
    /// z̄_k or ȳ_k, D×c, twice.
    adjoint: [Matrix<D, T>; 2],
    factorization: D::Factorization,
    report: Vec<Inversion>,
    /// 1×c.
    ones: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar, C> Workspace<D, T, C> {
    /// log|det J_g(x_n)| of every sample of the last batch, from the LU factors of the full Jacobians.
    pub fn log_abs_det_jacobian(&self) -> &[f64] {
        &self.log_abs_det_jacobian
    }
}

impl<D: Device<T>, T: Scalar> Workspace<D, T, Dense> {
    /// out ← J_g(x_n) of every sample, side by side (D×DN).
    ///
    /// # Errors
    /// Those of [`GradientBackend::gradient`].
    pub fn jacobians<'a>(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T>,
        batch: impl Into<Batch<'a, D, T>>,
        out: &mut Matrix<D, T>,
    ) -> Result<()>
    where
        D: 'a,
    {
        let (batch, network) = (batch.into(), parameters.network());
        self.require_fit(parameters.architecture(), &batch)?;
        let Self { mode, plan, records, scratch, .. } = self;
        let dim = network.architecture.dim;
        for share in &*plan {
            let record = &mut records[share.record];
            record.forward(device, network, batch.shorten().columns(share.start, share.count), (*mode, scratch))?;
            let out = out.view_mut().columns(share.start * dim, share.count * dim);
            let Scratch { panels: [panel, transposed], slope, ratio, .. } = &mut *scratch;
            match (*mode, record.jacobians.last()) {
                (Mode::Reverse, _) => {
                    let mut transposed = transposed.view_mut().columns(0, out.cols());
                    record.transposed_jacobian(device, network, ([slope, ratio], panel), transposed.reborrow())?;
                    device.transpose_blocks(transposed.view(), out)?;
                }
                (Mode::Forward, Some(last)) => device.copy(last.view(), out)?,
                // J_1 is what the forward pass left there.
                (Mode::Forward, None) => device.copy(panel.view().columns(0, out.cols()), out)?,
            }
        }
        Ok(())
    }
}

/// Samples in a chunk: as many as [`CHUNK_BYTES`] hold, but at least `lanes`, and a small part of the batch so that the
/// scratch panels stay small beside the record of the whole batch.
pub(crate) fn chunk_size(dtype: Dtype, dim: usize, batch: usize, lanes: usize) -> usize {
    let block = dim.saturating_mul(dim).saturating_mul(dtype.bytes());
    (CHUNK_BYTES / block.max(1)).max(lanes).clamp(1, batch.max(1))
}

impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> GradientBackend<D, T, C> for Autodiff {
    type Workspace = Workspace<D, T, C>;

    fn workspace(&self, device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self::Workspace> {
        architecture.validate()?;
        if batch == 0 {
            return Err(Error::invalid("batch", 0.0, "must be at least 1"));
        }
        let log_abs_det_jacobian = zeros_per_sample(batch)?;
        let dense = architecture.with(Dense);
        let chunk = chunk_size(T::DTYPE, dense.dim, batch, device.lanes());
        let mut plan = Vec::new();
        let mut records: Vec<Record<D, T>> = Vec::new();
        for start in (0..batch).step_by(chunk) {
            let count = chunk.min(batch - start);
            let reusable = records.iter().position(|r| r.values.batch() == count);
            let record = match (self.jacobians, reusable) {
                (Jacobians::Streamed, Some(record)) => record,
                _ => {
                    records.push(Record::new(device, &dense, count)?);
                    records.len() - 1
                }
            };
            plan.push(Share { start, count, record });
        }
        let zeros = |what| Arrays::zeros(device, &dense, what);
        Ok(Workspace {
            mode: self.mode,
            jacobians: self.jacobians,
            architecture: *architecture,
            plan,
            records,
            scratch: Scratch::new(device, &dense, chunk, self.mode)?,
            log_abs_det_jacobian,
            copy: if C::IS_DENSE { None } else { Some([zeros("dense network")?, zeros("dense gradient")?]) },
        })
    }

    fn gradient<'a>(
        &self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: impl Into<Batch<'a, D, T>>,
        workspace: &mut Self::Workspace,
        out: &mut Gradient<D, T>,
    ) -> Result<()>
    where
        D: 'a,
    {
        let batch = batch.into();
        let architecture = parameters.architecture();
        workspace.require_fit(architecture, &batch)?;
        out.require_fit("gradient", architecture)?;
        let dense = architecture.with(Dense);
        let Workspace { copy, .. } = workspace;
        let Some([mut arrays, mut direction]) = copy.take() else {
            let network = Network { architecture: &dense, arrays: parameters.arrays() };
            return workspace.run(device, network, batch, out);
        };
        let outcome = write_dense(device, parameters, &mut arrays).and_then(|()| {
            let network = Network { architecture: &dense, arrays: &arrays };
            workspace.run(device, network, batch, &mut direction)
        });
        let outcome = outcome.and_then(|()| sum_entries(device, parameters, &mut direction, out));
        workspace.copy = Some([arrays, direction]);
        outcome
    }
}

/// The D×D matrices and D×1 biases of a network; its density as it is.
pub(crate) fn write_dense<D: Device<T>, T: Scalar, C: Coupling<D, T>>(
    device: &D,
    parameters: &Parameters<D, T, C>,
    out: &mut Arrays<D, T>,
) -> Result<()> {
    let (coupling, arrays) = (parameters.architecture().coupling, parameters.arrays());
    for (from, to) in arrays.weights.iter().zip(&mut out.weights) {
        coupling.to_dense(device, from.view(), to.view_mut())?;
    }
    for (from, to) in arrays.biases.iter().zip(&mut out.biases) {
        coupling.expand_bias(device, from.view(), to.view_mut())?;
    }
    copy_head(device, arrays, out)
}

fn sum_entries<D: Device<T>, T: Scalar, C: Coupling<D, T>>(
    device: &D,
    parameters: &Parameters<D, T, C>,
    dense: &mut Gradient<D, T>,
    out: &mut Gradient<D, T>,
) -> Result<()> {
    let (coupling, arrays) = (parameters.architecture().coupling, parameters.arrays());
    for ((at, from), to) in arrays.weights.iter().zip(&dense.weights).zip(&mut out.weights) {
        coupling.sum_entries(device, at.view(), from.view(), to.view_mut())?;
    }
    for (from, to) in dense.biases.iter().zip(&mut out.biases) {
        coupling.sum_bias(device, from.view(), to.view_mut())?;
    }
    copy_head(device, dense, out)
}

fn copy_head<D: Device<T>, T: Scalar>(device: &D, from: &Arrays<D, T>, to: &mut Arrays<D, T>) -> Result<()> {
    let (Some(from), Some(to)) = (&from.head, &mut to.head) else { return Ok(()) };
    let mut pairs = from.matrices().into_iter().zip(to.matrices_mut());
    pairs.try_for_each(|(from, to)| device.copy(from.view(), to.view_mut()))
}

impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> Workspace<D, T, C> {
    fn require_fit(&self, architecture: &Architecture<C>, batch: &Batch<'_, D, T>) -> Result<()> {
        let (dim, samples) = (architecture.dim, self.log_abs_det_jacobian.len());
        let columns = batch.u.map_or(samples, |u| u.cols());
        if (batch.x.rows(), batch.x.cols(), columns) != (dim, samples, samples) {
            let found = format!("{}×{}", batch.x.rows(), batch.x.cols());
            return Err(Error::shape("autodiff", format!("a batch of {dim}×{samples}"), found));
        }
        let own = &self.architecture;
        let fits = |of: &Architecture<C>| (of.coupling, of.dim, of.layers, of.conditions);
        if fits(own) != fits(architecture) || architecture.bias && !own.bias && !C::IS_DENSE {
            let tell = |of: &Architecture<C>| format!("{} layers of dimension {}", of.layers, of.dim);
            return Err(Error::shape("autodiff", format!("a workspace for {}", tell(architecture)), tell(own)));
        }
        Ok(())
    }

    /// The gradient of a network whose layers are D×D matrices.
    fn run(
        &mut self,
        device: &D,
        network: Network<'_, D, T, Dense>,
        batch: Batch<'_, D, T>,
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        let Self { mode, jacobians, plan, records, scratch, log_abs_det_jacobian, .. } = self;
        let mean = 1.0 / batch.x.cols() as f64;
        for array in out.iter_mut() {
            device.fill(T::of(0.0), array.view_mut())?;
        }
        if *jacobians == Jacobians::Batched {
            for share in &*plan {
                records[share.record].forward(
                    device,
                    network,
                    batch.shorten().columns(share.start, share.count),
                    (*mode, scratch),
                )?;
            }
        }
        for share in &*plan {
            let record = &mut records[share.record];
            let batch = batch.shorten().columns(share.start, share.count);
            if *jacobians == Jacobians::Streamed {
                record.forward(device, network, batch.shorten(), (*mode, scratch))?;
            }
            let log_dets = &mut log_abs_det_jacobian[share.start..][..share.count];
            let mut pass = Reverse { device, network, batch: batch.shorten(), record, scratch, share: *share };
            match mode {
                Mode::Forward => pass.run(mean, log_dets, out)?,
                Mode::Reverse => pass.run_upward(mean, log_dets, out)?,
            }
        }
        Ok(())
    }
}

/// Asked for first, so that a batch beyond memory is an error before it is cut into countless chunks.
fn zeros_per_sample(batch: usize) -> Result<Vec<f64>> {
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(batch).map_err(|_| Error::OutOfMemory {
        bytes: batch as u128 * size_of::<f64>() as u128,
        what: "log-determinants of the Jacobians".to_owned(),
    })?;
    zeros.resize(batch, 0.0);
    Ok(zeros)
}

impl<D: Device<T>, T: Scalar> Record<D, T> {
    fn new(device: &D, architecture: &Architecture, count: usize) -> Result<Self> {
        let dim = architecture.dim;
        let panel = || Matrix::zeros(device, dim, dim.saturating_mul(count), "Jacobians");
        Ok(Self {
            values: ValuesWorkspace::new(device, architecture, count)?,
            jacobians: (1..architecture.layers).map(|_| panel()).collect::<Result<_>>()?,
        })
    }

    fn forward(
        &mut self,
        device: &D,
        network: Network<'_, D, T, Dense>,
        batch: Batch<'_, D, T>,
        (mode, scratch): (Mode, &mut Scratch<D, T>),
    ) -> Result<()> {
        let layers = network.architecture.layers;
        let mut values = Values::new(batch.x.shorten(), &mut self.values);
        match mode {
            Mode::Forward => {
                forward(device, network, &mut Tangents { values, jacobians: &mut self.jacobians, scratch })?;
            }
            Mode::Reverse => {
                forward(device, network, &mut values)?;
                let Scratch { panels: [panel, _], slope, ratio, .. } = scratch;
                self.pull(device, network, ([slope, ratio], panel))?;
            }
        }
        device.require_finite(
            "output of the network (or its input or parameters)",
            self.values.pre_activation(layers - 1),
        )
    }
}

impl<D: Device<T>, T: Scalar> Scratch<D, T> {
    fn new(device: &D, architecture: &Architecture, chunk: usize, mode: Mode) -> Result<Self> {
        let dim = architecture.dim;
        let panel = || Matrix::zeros(device, dim, dim.saturating_mul(chunk), "adjoint Jacobians");
        let block = || Matrix::zeros(device, dim, chunk, "adjoints");
        let mut ones = Matrix::zeros(device, 1, chunk, "ones")?;
        device.fill(T::of(1.0), ones.view_mut())?;
        Ok(Self {
            panels: [panel()?, panel()?],
            slope: block()?,
            ratio: block()?,
            shares: match mode {
                Mode::Forward => Vec::new(),
                Mode::Reverse => (0..architecture.layers).map(|_| block()).collect::<Result<_>>()?,
            },
            adjoint: [block()?, block()?],
            factorization: device.factorization(dim, chunk)?,
            report: vec![Inversion { log_abs_det: 0.0, condition: 0.0 }; chunk],
            ones,
        })
    }
}

/// Values with D tangents a sample: J_k = diag(σ'(y_k)) W_k J_{k-1} beside y_k \[M20\].
struct Tangents<'a, D: Device<T>, T: Scalar> {
    values: Values<'a, D, T, Dense>,
    jacobians: &'a mut [Matrix<D, T>],
    scratch: &'a mut Scratch<D, T>,
}

impl<D: Device<T>, T: Scalar> Carrier<D, T> for Tangents<'_, D, T> {
    fn layer(&mut self, device: &D, layer: &Layer<'_, D, T>) -> Result<()> {
        let k = layer.index;
        self.values.layer(device, layer)?;
        let count = self.values.work.batch();
        let dim = layer.weight.rows();
        let one = T::of(1.0);
        let Scratch { panels, slope, ratio, .. } = &mut *self.scratch;
        if let Some(activation) = layer.activation {
            let y = self.values.work.pre_activation(k);
            let slope = slope.view_mut().columns(0, count);
            device.slope_and_ratio(activation, y, slope, ratio.view_mut().columns(0, count))?;
        }
        let slope = slope.view().columns(0, count);
        if k == 0 {
            // J_1 = diag(σ'(y_1)) W_1, since J_0 = I; it is rebuilt on the way back, so it needs no record.
            return spread(device, layer, slope, panels[0].view_mut().columns(0, dim * count));
        }
        let (below, recorded) = self.jacobians.split_at_mut(k - 1);
        let carried = below.last().map_or_else(|| panels[0].view().columns(0, dim * count), Matrix::view);
        let jacobian = &mut recorded[0];
        device.multiply(one, layer.weight.plain(), carried.plain(), Addend::Zero, jacobian.view_mut())?;
        match layer.activation {
            Some(_) => device.scale_rows_in_place(slope, jacobian.view_mut()),
            None => Ok(()),
        }
    }
}

/// J_1 of every sample: diag(σ'(y_1)) W_1, or W_1 itself when the layer is linear.
fn spread<D: Device<T>, T: Scalar>(
    device: &D,
    layer: &Layer<'_, D, T>,
    slope: MatrixRef<'_, D, T>,
    mut out: MatrixMut<'_, D, T>,
) -> Result<()> {
    if layer.activation.is_some() {
        return device.scale_rows(slope, layer.weight, out);
    }
    let dim = layer.weight.rows();
    (0..slope.cols()).try_for_each(|n| device.copy(layer.weight, out.reborrow().columns(n * dim, dim)))
}
