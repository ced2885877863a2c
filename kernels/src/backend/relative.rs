//! The relative gradient and its transposed form: no inverse, no D×D·D×D product.

use std::fmt;
use std::str::FromStr;

use super::GradientBackend;
use crate::device::{Addend, Device, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::forward::ValuesWorkspace;
use crate::network::Architecture;
use crate::parameters::{Gradient, Parameters};
use crate::scalar::Scalar;

mod division;

pub use division::Divided;

/// What becomes of the biases (MATH.md §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BiasMode {
    /// The relative gradient of the affine group, \[M13\]–\[M14\].
    #[default]
    Exact,
    /// As printed in the paper: without the log-determinant's share + b_k (erratum E7). For comparison only: it need
    /// not ascend.
    Paper,
    /// Ordinary gradient for the biases, relative gradient for the weights alone.
    Plain,
}

impl BiasMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Exact, Self::Paper, Self::Plain];

    /// Name on the command line and in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Paper => "paper",
            Self::Plain => "plain",
        }
    }
}

impl fmt::Display for BiasMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BiasMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| Error::unknown("bias mode", text, "exact, paper, plain"))
    }
}

/// ΔW_k = G_k W_kᵀ W_k = (1/N) δ_k U_kᵀ + W_k, U_k = W_kᵀ Y_k \[M11\]–\[M14\].
#[derive(Debug, Clone, Copy, Default)]
pub struct Relative {
    /// Treatment of the biases.
    pub bias_mode: BiasMode,
}

/// ΔW_k = W_k W_kᵀ G_k = (1/N) (W_k V_k) Z_{k-1}ᵀ + W_k, V_k = W_kᵀ δ_k \[M12\], \[M15\].
#[derive(Debug, Clone, Copy, Default)]
pub struct Transposed;

/// Work memory of a sweep: L+3 blocks of D×N, and two vectors for the biases.
pub struct Workspace<D: Device<T>, T: Scalar> {
    pub(crate) values: ValuesWorkspace<D, T>,
    /// c_k = 1 + Y_kᵀ b_k of \[M14\], or ones (N×1).
    pub(crate) weights_of_samples: Matrix<D, T>,
    /// W_kᵀ b_k (D×1), for [`BiasMode::Plain`].
    pub(crate) pulled_bias: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar> Workspace<D, T> {
    pub(crate) fn new(device: &D, architecture: &Architecture, batch: usize) -> Result<Self> {
        let values = ValuesWorkspace::new(device, architecture, batch)?;
        let (samples, dim) = if architecture.bias { (batch, architecture.dim) } else { (0, 0) };
        Ok(Self {
            values,
            weights_of_samples: Matrix::zeros(device, samples, 1, "sample weights of the bias")?,
            pulled_bias: Matrix::zeros(device, dim, 1, "back-propagated bias")?,
        })
    }
}

/// The direction of one layer as an outer product: ΔW = (1/N) left rightᵀ + W, Δb = (1/N) left c (+ b).
pub(crate) struct RankUpdate<'a, D: Device<T>, T: Scalar> {
    /// δ_k, or W_k V_k for the transposed form (D×N).
    pub(crate) left: MatrixRef<'a, D, T>,
    /// U_k, or Z_{k-1} (D×N).
    pub(crate) right: MatrixRef<'a, D, T>,
    /// c (N×1), when there is a bias.
    pub(crate) samples: Option<MatrixRef<'a, D, T>>,
    /// Whether Δb has the log-determinant's share + b_k.
    pub(crate) bias_share: bool,
    /// Of the relative step's E = (1/N) a bᵀ + I \[M10\], for the guard and the determinant.
    pub(crate) relative: Factors<'a, D, T>,
}

/// The factors a, b (D×N) of a relative step; one of them is the update's own.
pub(crate) enum Factors<'a, D: Device<T>, T: Scalar> {
    /// (left, Y_k).
    LeftAnd(MatrixRef<'a, D, T>),
    /// (V_k, right).
    AndRight(MatrixRef<'a, D, T>),
}

impl<'a, D: Device<T>, T: Scalar> RankUpdate<'a, D, T> {
    /// a and b.
    pub(crate) fn factors(&self) -> (MatrixRef<'a, D, T>, MatrixRef<'a, D, T>) {
        match self.relative {
            Factors::LeftAnd(b) => (self.left, b),
            Factors::AndRight(a) => (a, self.right),
        }
    }
}

/// What is done with a layer's direction as soon as it is known: store it, or step along it.
///
/// Layers come from the last to the first. When layer k is absorbed its old weight is no longer needed.
pub(crate) trait Sink<D: Device<T>, T: Scalar> {
    fn parameters(&self) -> &Parameters<D, T>;
    fn absorb(&mut self, device: &D, k: usize, update: &RankUpdate<'_, D, T>) -> Result<()>;
}

/// Which of the two forms a reverse sweep computes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    Relative(BiasMode),
    Transposed,
}

/// Forward pass, then every layer's direction from the last to the first, \[M16\].
pub(crate) fn sweep<D: Device<T>, T: Scalar>(
    device: &D,
    form: Form,
    x: MatrixRef<'_, D, T>,
    workspace: &mut Workspace<D, T>,
    sink: &mut impl Sink<D, T>,
) -> Result<()> {
    workspace.values.forward(device, sink.parameters(), x)?;
    for k in (0..sink.parameters().architecture().layers).rev() {
        write_error(device, sink.parameters(), k, &mut workspace.values)?;
        match form {
            Form::Relative(mode) => relative_layer(device, mode, k, workspace, sink)?,
            Form::Transposed => transposed_layer(device, k, x, workspace, sink)?,
        }
    }
    Ok(())
}

/// δ_k into the block behind Y_k \[M7\]–\[M8\]; V_{k+1} is in the second block of `pair`.
pub(crate) fn write_error<D: Device<T>, T: Scalar>(
    device: &D,
    parameters: &Parameters<D, T>,
    k: usize,
    values: &mut ValuesWorkspace<D, T>,
) -> Result<()> {
    let batch = values.batch;
    let architecture = parameters.architecture();
    let activation = parameters.layer(k).activation;
    let (head, tail) = values.trail.view_mut().split_columns((k + 1) * batch);
    let y = head.view().columns(k * batch, batch);
    let delta = tail.columns(0, batch);
    if k + 1 == architecture.layers {
        if let Some(condition) = &mut values.condition {
            // The forward pass left Z_L in the pair's first block, where σ follows the last layer.
            let s = if activation.is_some() { values.pair.view().columns(0, batch) } else { y };
            return condition.output_error(device, (architecture.base, activation), y, s, delta);
        }
        return device.output_error(architecture.base, activation, y, delta);
    }
    let v = values.pair.view().columns(batch, batch);
    match activation {
        Some(activation) => device.backward_error(activation, v, y, delta),
        None => device.copy(v, delta),
    }
}

/// \[U | V\] = W_kᵀ\[Y_k | δ_k\] in one pass over W_k (U alone for the first layer), then the direction.
fn relative_layer<D: Device<T>, T: Scalar>(
    device: &D,
    mode: BiasMode,
    k: usize,
    workspace: &mut Workspace<D, T>,
    sink: &mut impl Sink<D, T>,
) -> Result<()> {
    let Workspace { values, weights_of_samples, pulled_bias } = workspace;
    let batch = values.batch;
    let (weight, bias) = (sink.parameters().weight(k), sink.parameters().bias(k));
    let one = T::of(1.0);
    let wanted = if k == 0 { batch } else { 2 * batch };
    let errors = values.trail.view().columns(k * batch, wanted);
    let pulled = values.pair.view_mut().columns(0, wanted);
    device.multiply(one, weight.transposed(), errors.plain(), Addend::Zero, pulled)?;
    if let Some(bias) = bias {
        device.fill(one, weights_of_samples.view_mut())?;
        if mode == BiasMode::Plain {
            // Y − b1ᵀ in place of Y: subtract the rank-one parts W_kᵀb 1ᵀ from U and b 1ᵀ from Y.
            let minus = T::of(-1.0);
            let ones = || weights_of_samples.view().transposed();
            let pulled = pulled_bias.view_mut();
            device.multiply(one, weight.transposed(), bias.plain(), Addend::Zero, pulled)?;
            let u = values.pair.view_mut().columns(0, batch);
            device.multiply(minus, pulled_bias.view().plain(), ones(), Addend::Scaled(one), u)?;
            let y = values.trail.view_mut().columns(k * batch, batch);
            device.multiply(minus, bias.plain(), ones(), Addend::Scaled(one), y)?;
        } else {
            let y = values.trail.view().columns(k * batch, batch);
            let c = weights_of_samples.view_mut();
            device.multiply(one, y.transposed(), bias.plain(), Addend::Scaled(one), c)?;
        }
    }
    let y = values.trail.view().columns(k * batch, batch);
    let delta = values.trail.view().columns((k + 1) * batch, batch);
    let update = RankUpdate {
        left: delta,
        right: values.pair.view().columns(0, batch),
        samples: bias.is_some().then(|| weights_of_samples.view()),
        bias_share: mode == BiasMode::Exact,
        relative: Factors::LeftAnd(y),
    };
    sink.absorb(device, k, &update)
}

/// V_k = W_kᵀ δ_k, W_k V_k, and Z_{k-1} recomputed into δ_k's block (spent by then), then the direction.
fn transposed_layer<D: Device<T>, T: Scalar>(
    device: &D,
    k: usize,
    x: MatrixRef<'_, D, T>,
    workspace: &mut Workspace<D, T>,
    sink: &mut impl Sink<D, T>,
) -> Result<()> {
    let Workspace { values, weights_of_samples, .. } = workspace;
    let batch = values.batch;
    let weight = sink.parameters().weight(k);
    let one = T::of(1.0);
    {
        let (pushed, mut pulled) = values.pair.view_mut().split_columns(batch);
        let delta = values.trail.view().columns((k + 1) * batch, batch);
        device.multiply(one, weight.transposed(), delta.plain(), Addend::Zero, pulled.reborrow())?;
        device.multiply(one, weight.plain(), pulled.view().plain(), Addend::Zero, pushed)?;
    }
    if k > 0 {
        let (head, tail) = values.trail.view_mut().split_columns((k + 1) * batch);
        let y = head.columns((k - 1) * batch, batch);
        let activation = sink.parameters().architecture().activation;
        device.bias_activate(activation, None, y, tail.columns(0, batch))?;
    }
    let carried = if k == 0 { x.shorten() } else { values.trail.view().columns((k + 1) * batch, batch) };
    if sink.parameters().architecture().bias {
        device.fill(one, weights_of_samples.view_mut())?;
    }
    let update = RankUpdate {
        left: values.pair.view().columns(0, batch),
        right: carried,
        samples: sink.parameters().architecture().bias.then(|| weights_of_samples.view()),
        bias_share: false,
        relative: Factors::AndRight(values.pair.view().columns(batch, batch)),
    };
    sink.absorb(device, k, &update)
}

pub(crate) fn require_gradient<D: Device<T>, T: Scalar>(
    architecture: &Architecture,
    out: &Gradient<D, T>,
) -> Result<()> {
    let biases = if architecture.bias { architecture.layers } else { 0 };
    let fits = out.weights.len() == architecture.layers && out.biases.len() == biases;
    if fits {
        return Ok(());
    }
    Err(Error::shape(
        "gradient",
        format!("{} weights and {biases} biases", architecture.layers),
        format!("{} and {}", out.weights.len(), out.biases.len()),
    ))
}

impl<D: Device<T>, T: Scalar> GradientBackend<D, T> for Relative {
    type Workspace = Divided<D, T>;

    fn workspace(&self, device: &D, architecture: &Architecture, batch: usize) -> Result<Self::Workspace> {
        Divided::new(device, architecture, batch)
    }

    fn gradient(
        &self,
        device: &D,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        workspace: &mut Self::Workspace,
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        require_gradient(parameters.architecture(), out)?;
        workspace.gradient(device, Form::Relative(self.bias_mode), parameters, x, out)
    }
}

impl<D: Device<T>, T: Scalar> GradientBackend<D, T> for Transposed {
    type Workspace = Divided<D, T>;

    fn workspace(&self, device: &D, architecture: &Architecture, batch: usize) -> Result<Self::Workspace> {
        Divided::new(device, architecture, batch)
    }

    fn gradient(
        &self,
        device: &D,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        workspace: &mut Self::Workspace,
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        require_gradient(parameters.architecture(), out)?;
        workspace.gradient(device, Form::Transposed, parameters, x, out)
    }
}
