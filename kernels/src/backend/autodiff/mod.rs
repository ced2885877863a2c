//! Full-Jacobian automatic differentiation: forward mode through the same forward pass, reverse mode through the
//! recorded tangents, \[M20\]–\[M21\].
//!
//! Nothing here knows that the determinant of the Jacobian factors over the layers, nor that J̄_k J_kᵀ = I: a baseline
//! that did would be [`super::Ordinary`] in disguise. The one shortcut taken is J_0 = I.

mod reverse;

use super::GradientBackend;
use super::relative::require_gradient;
use crate::conditional::Condition;
use crate::device::{Addend, Device, Inversion, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::forward::{Carrier, Values, ValuesWorkspace, forward};
use crate::network::Architecture;
use crate::parameters::{Gradient, Layer, Parameters};
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

/// ℓ = Σ log p(z_L) + log|det J_L| per sample, and its gradient.
#[derive(Debug, Clone, Copy, Default)]
pub struct Autodiff {
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
pub struct Workspace<D: Device<T>, T: Scalar> {
    jacobians: Jacobians,
    /// Where each chunk's samples start in the batch, how many they are, and which record is theirs.
    plan: Vec<Share>,
    records: Vec<Record<D, T>>,
    scratch: Scratch<D, T>,
    log_abs_det_jacobian: Vec<f64>,
    /// The density of the outputs, where it is not the architecture's own.
    condition: Option<Condition<D, T>>,
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
    values: ValuesWorkspace<D, T>,
    /// J_2 … J_L, each D×Dc.
    jacobians: Vec<Matrix<D, T>>,
}

/// Work memory that no record keeps.
struct Scratch<D: Device<T>, T: Scalar> {
    /// J̄_k or M̄_k, and the panel that it is computed from; D×Dc.
    panels: [Matrix<D, T>; 2],
    /// σ'(y_k), r(y_k), D×c.
    slope: Matrix<D, T>,
    ratio: Matrix<D, T>,
    /// z̄_k or ȳ_k, D×c, twice.
    adjoint: [Matrix<D, T>; 2],
    factorization: D::Factorization,
    report: Vec<Inversion>,
    /// 1×c.
    ones: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar> Workspace<D, T> {
    /// log|det J_g(x_n)| of every sample of the last batch, from the LU factors of the full Jacobians.
    pub fn log_abs_det_jacobian(&self) -> &[f64] {
        &self.log_abs_det_jacobian
    }

    /// The density of the outputs, where it is not the architecture's own.
    pub(crate) fn condition(&mut self) -> &mut Option<Condition<D, T>> {
        &mut self.condition
    }
}

/// Samples in a chunk: as many as [`CHUNK_BYTES`] hold, but at least `lanes`, and a small part of the batch so that the
/// scratch panels stay small beside the record of the whole batch.
pub(crate) fn chunk_size(dtype: Dtype, dim: usize, batch: usize, lanes: usize) -> usize {
    let block = dim.saturating_mul(dim).saturating_mul(dtype.bytes());
    (CHUNK_BYTES / block.max(1)).max(lanes).clamp(1, batch.max(1))
}

impl<D: Device<T>, T: Scalar> GradientBackend<D, T> for Autodiff {
    type Workspace = Workspace<D, T>;

    fn workspace(&self, device: &D, architecture: &Architecture, batch: usize) -> Result<Self::Workspace> {
        architecture.validate()?;
        if batch == 0 {
            return Err(Error::invalid("batch", 0.0, "must be at least 1"));
        }
        let log_abs_det_jacobian = zeros_per_sample(batch)?;
        let chunk = chunk_size(T::DTYPE, architecture.dim, batch, device.lanes());
        let mut plan = Vec::new();
        let mut records: Vec<Record<D, T>> = Vec::new();
        for start in (0..batch).step_by(chunk) {
            let count = chunk.min(batch - start);
            let reusable = records.iter().position(|r| r.values.batch == count);
            let record = match (self.jacobians, reusable) {
                (Jacobians::Streamed, Some(record)) => record,
                _ => {
                    records.push(Record::new(device, architecture, count)?);
                    records.len() - 1
                }
            };
            plan.push(Share { start, count, record });
        }
        let scratch = Scratch::new(device, architecture, chunk)?;
        Ok(Workspace { jacobians: self.jacobians, plan, records, scratch, log_abs_det_jacobian, condition: None })
    }

    fn gradient(
        &self,
        device: &D,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        workspace: &mut Self::Workspace,
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        let Workspace { jacobians, plan, records, scratch, log_abs_det_jacobian, condition } = workspace;
        let architecture = parameters.architecture();
        require_gradient(architecture, out)?;
        if (x.rows(), x.cols()) != (architecture.dim, log_abs_det_jacobian.len()) {
            let expected = format!("a batch of {}×{}", architecture.dim, log_abs_det_jacobian.len());
            return Err(Error::shape("autodiff", expected, format!("{}×{}", x.rows(), x.cols())));
        }
        let (dim, layers) = (scratch.slope.rows(), records[0].jacobians.len() + 1);
        if (dim, layers) != (architecture.dim, architecture.layers) {
            let expected = format!("a workspace for {} layers of dimension {}", architecture.layers, architecture.dim);
            return Err(Error::shape("autodiff", expected, format!("{layers} of {dim}")));
        }
        let zero = T::of(0.0);
        for array in out.weights.iter_mut().chain(&mut out.biases) {
            device.fill(zero, array.view_mut())?;
        }
        if *jacobians == Jacobians::Batched {
            for share in &*plan {
                records[share.record].forward(device, parameters, x.columns(share.start, share.count), scratch)?;
            }
        }
        for share in &*plan {
            let record = &mut records[share.record];
            let x = x.columns(share.start, share.count);
            if *jacobians == Jacobians::Streamed {
                record.forward(device, parameters, x, scratch)?;
            }
            let log_dets = &mut log_abs_det_jacobian[share.start..][..share.count];
            let condition = condition.as_mut();
            let x = x.shorten();
            let mut pass = Reverse { device, parameters, x, record, scratch, share: *share, condition };
            pass.run(T::of(1.0 / plan_samples(plan)), log_dets, out)?;
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

fn plan_samples(plan: &[Share]) -> f64 {
    plan.iter().map(|share| share.count).sum::<usize>() as f64
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
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        scratch: &mut Scratch<D, T>,
    ) -> Result<()> {
        let layers = parameters.architecture().layers;
        let values = Values { input: x.shorten(), work: &mut self.values };
        forward(device, parameters, &mut Tangents { values, jacobians: &mut self.jacobians, scratch })?;
        device.require_finite(
            "output of the network (or its input or parameters)",
            self.values.pre_activation(layers - 1),
        )
    }
}

impl<D: Device<T>, T: Scalar> Scratch<D, T> {
    fn new(device: &D, architecture: &Architecture, chunk: usize) -> Result<Self> {
        let dim = architecture.dim;
        let panel = || Matrix::zeros(device, dim, dim.saturating_mul(chunk), "adjoint Jacobians");
        let block = || Matrix::zeros(device, dim, chunk, "adjoints");
        let mut ones = Matrix::zeros(device, 1, chunk, "ones")?;
        device.fill(T::of(1.0), ones.view_mut())?;
        Ok(Self {
            panels: [panel()?, panel()?],
            slope: block()?,
            ratio: block()?,
            adjoint: [block()?, block()?],
            factorization: device.factorization(dim, chunk)?,
            report: vec![Inversion { log_abs_det: 0.0, condition: 0.0 }; chunk],
            ones,
        })
    }
}

/// Values with D tangents a sample: J_k = diag(σ'(y_k)) W_k J_{k-1} beside y_k \[M20\].
struct Tangents<'a, D: Device<T>, T: Scalar> {
    values: Values<'a, D, T>,
    jacobians: &'a mut [Matrix<D, T>],
    scratch: &'a mut Scratch<D, T>,
}

impl<D: Device<T>, T: Scalar> Carrier<D, T> for Tangents<'_, D, T> {
    fn layer(&mut self, device: &D, k: usize, layer: &Layer<'_, D, T>) -> Result<()> {
        self.values.layer(device, k, layer)?;
        let count = self.values.work.batch;
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
