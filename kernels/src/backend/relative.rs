//! The relative gradient and its transposed form: no inverse, no D×D·D×D product.

use relgrad_vocabulary::names;

use super::GradientBackend;
use crate::device::{Addend, Device, Matrix, MatrixMut, MatrixRef};
use crate::error::Result;
use crate::forward::ValuesWorkspace;
use crate::layer::{Group, Seen, SeenBlock};
use crate::network::Architecture;
use crate::output::Head;
use crate::parameters::{Batch, Gradient, Layer, Parameters};
use crate::scalar::Scalar;

mod division;

pub use division::Divided;

names! {
    /// What becomes of the biases (MATH.md §9).
    #[derive(Default)]
    BiasMode, "bias mode", {
        /// The relative gradient of the affine group, \[M13\]–\[M14\].
        #[default]
        Exact = "exact",
        /// As printed in the paper: without the log-determinant's share + b_k (erratum E7). For comparison only: it
        /// need not ascend.
        Paper = "paper",
        /// Ordinary gradient for the biases, relative gradient for the weights alone.
        Plain = "plain",
    }
}

/// ΔW_k = G_k W_kᵀ W_k = (1/N) δ_k U_kᵀ + W_k, U_k = W_kᵀ Y_k \[M11\]–\[M14\]; for circular convolutions \[M27\].
#[derive(Debug, Clone, Copy, Default)]
pub struct Relative {
    /// Treatment of the biases.
    pub bias_mode: BiasMode,
}

/// ΔW_k = W_k W_kᵀ G_k = (1/N) (W_k V_k) Z_{k-1}ᵀ + W_k, V_k = W_kᵀ δ_k \[M12\], \[M15\].
#[derive(Debug, Clone, Copy, Default)]
pub struct Transposed;

/// Work memory of a sweep: L+3 blocks of D×N, and a vector for the biases.
pub struct Workspace<D: Device<T>, T: Scalar, C: Group<D, T>> {
    pub(crate) values: ValuesWorkspace<D, T, C>,
    /// c_k = 1 + Y_kᵀ b_k of \[M14\], or ones; one column.
    weights_of_samples: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar, C: Group<D, T>> Workspace<D, T, C> {
    pub(crate) fn new(device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self> {
        let values = ValuesWorkspace::new(device, architecture, batch)?;
        let samples = if architecture.bias { batch * architecture.coupling.weights_per_sample() } else { 0 };
        Ok(Self { values, weights_of_samples: Matrix::zeros(device, samples, 1, "sample weights of the bias")? })
    }
}

/// The direction of one layer as an outer product: ΔW = (1/N) left rightᵀ + W, Δb = (1/N) left c (+ b).
pub(crate) struct RankUpdate<'a, D: Device<T>, T: Scalar> {
    /// δ_k, or W_k V_k for the transposed form (D×N).
    pub(crate) left: SeenBlock<'a, D, T>,
    pub(crate) right: RightFactor<'a, D, T>,
    /// c, when there is a bias.
    pub(crate) samples: Option<MatrixRef<'a, D, T>>,
    /// Whether Δb has the log-determinant's share + b_k.
    pub(crate) bias_share: bool,
}

/// The right factor of an update, and the other of the factors a, b (D×N) of the relative step E = (1/N) a bᵀ + I
/// \[M10\], for the guard and the determinant.
pub(crate) enum RightFactor<'a, D: Device<T>, T: Scalar> {
    /// U_k = W_kᵀ b, yet to be pulled; a is the left factor. The sink pulls \[U_k | V_k\], so that one pass over W_k
    /// may do for that and for the update.
    Pulled {
        /// \[Y_k | δ_k\], or Y_k for the first layer.
        errors: MatrixRef<'a, D, T>,
        /// As many columns for \[U_k | V_k\].
        into: MatrixMut<'a, D, T>,
    },
    /// Z_{k-1} = b, and a.
    Known(MatrixRef<'a, D, T>, MatrixRef<'a, D, T>),
}

impl<D: Device<T>, T: Scalar> RankUpdate<'_, D, T> {
    /// a and b.
    pub(crate) fn factors(&self) -> (MatrixRef<'_, D, T>, MatrixRef<'_, D, T>) {
        match &self.right {
            RightFactor::Pulled { errors, .. } => {
                let left = self.left.matrix.shorten();
                (left, errors.shorten().columns(0, left.cols()))
            }
            RightFactor::Known(right, a) => (a.shorten(), right.shorten()),
        }
    }
}

/// What is done with a direction as soon as it is known: store it, or step along it.
///
/// The output density comes first, then the layers from the last to the first. When layer k is absorbed its old weight
/// is no longer needed.
pub(crate) trait Sink<D: Device<T>, T: Scalar, C: Group<D, T>> {
    fn parameters(&self) -> &Parameters<D, T, C>;
    fn absorb_head(&mut self, device: &D, head: &Head<D, T>, batch: Batch<'_, D, T>) -> Result<()>;
    fn absorb(&mut self, device: &D, k: usize, update: RankUpdate<'_, D, T>, work: &mut C::Work) -> Result<()>;
}

/// What a reverse sweep computes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    Relative(BiasMode),
    Transposed,
    /// E_k − I and e_k of \[M93\].
    Coordinates,
}

/// Forward pass, then every layer's direction from the last to the first, \[M16\].
pub(crate) fn sweep<D: Device<T>, T: Scalar, C: Group<D, T>>(
    device: &D,
    form: Form,
    batch: Batch<'_, D, T>,
    workspace: &mut Workspace<D, T, C>,
    sink: &mut impl Sink<D, T, C>,
) -> Result<()> {
    workspace.values.forward(device, sink.parameters().network(), batch)?;
    for k in (0..sink.parameters().architecture().layers).rev() {
        workspace.values.write_error(device, sink.parameters().architecture(), k)?;
        if k + 1 == sink.parameters().architecture().layers {
            sink.absorb_head(device, &workspace.values.head, batch)?;
        }
        match form {
            Form::Relative(mode) => relative_layer(device, mode, k, workspace, sink)?,
            Form::Transposed => transposed_layer(device, k, batch.x, workspace, sink)?,
            Form::Coordinates => coordinates_of_layer(device, k, workspace, sink)?,
        }
    }
    Ok(())
}

/// The direction by \[U | V\] = W_kᵀ\[Y_k | δ_k\], U alone for the first layer.
fn relative_layer<D: Device<T>, T: Scalar, C: Group<D, T>>(
    device: &D,
    mode: BiasMode,
    k: usize,
    workspace: &mut Workspace<D, T, C>,
    sink: &mut impl Sink<D, T, C>,
) -> Result<()> {
    let Workspace { values, weights_of_samples } = workspace;
    let samples = values.batch();
    let ValuesWorkspace { trail, pair, work, .. } = values;
    let coupling = sink.parameters().architecture().coupling;
    let layer = sink.parameters().network().layer(k);
    if let Some(bias) = coupling.bias(&layer, work) {
        device.fill(T::of(1.0), weights_of_samples.view_mut())?;
        if mode == BiasMode::Plain {
            // Y − b1ᵀ in place of Y, so that U is Wᵀ(Y − b1ᵀ).
            let y = trail.view_mut().columns(k * samples, samples);
            let ones = weights_of_samples.view().first(samples).transposed();
            device.multiply(T::of(-1.0), bias.plain(), ones, Addend::Scaled(T::of(1.0)), y)?;
        } else {
            let y = trail.view().columns(k * samples, samples);
            coupling.weigh(device, y, &layer, weights_of_samples.view_mut(), work)?;
        }
    }
    let wanted = if k == 0 { samples } else { 2 * samples };
    let delta = trail.view().columns((k + 1) * samples, samples);
    let update = RankUpdate {
        left: SeenBlock::new(delta, if k == 0 { Seen::No } else { Seen::Read }),
        right: RightFactor::Pulled {
            errors: trail.view().columns(k * samples, wanted),
            into: pair.view_mut().columns(0, wanted),
        },
        samples: layer.bias.is_some().then(|| weights_of_samples.view()),
        bias_share: mode == BiasMode::Exact,
    };
    sink.absorb(device, k, update, work)
}

/// V_k = W_kᵀ δ_k, W_k V_k, and Z_{k-1} recomputed into δ_k's block (spent by then), then the direction.
fn transposed_layer<D: Device<T>, T: Scalar, C: Group<D, T>>(
    device: &D,
    k: usize,
    x: MatrixRef<'_, D, T>,
    workspace: &mut Workspace<D, T, C>,
    sink: &mut impl Sink<D, T, C>,
) -> Result<()> {
    let Workspace { values, weights_of_samples } = workspace;
    let samples = values.batch();
    let ValuesWorkspace { trail, pair, work, .. } = values;
    let Architecture { coupling, activation, bias, .. } = *sink.parameters().architecture();
    {
        let layer: Layer<'_, D, T> = sink.parameters().network().layer(k);
        let (pushed, mut pulled) = pair.view_mut().split_columns(samples);
        let delta = trail.view().columns((k + 1) * samples, samples);
        coupling.pull(device, &layer, delta, pulled.reborrow(), work)?;
        coupling.push(device, &layer, pulled.view(), pushed, work)?;
    }
    if k > 0 {
        let (head, tail) = trail.view_mut().split_columns((k + 1) * samples);
        let y = head.columns((k - 1) * samples, samples);
        device.bias_activate(activation, None, y, tail.columns(0, samples))?;
    }
    let carried = if k == 0 { x.shorten() } else { trail.view().columns((k + 1) * samples, samples) };
    if bias {
        device.fill(T::of(1.0), weights_of_samples.view_mut())?;
    }
    let update = RankUpdate {
        left: SeenBlock::new(pair.view().columns(0, samples), Seen::No),
        right: RightFactor::Known(carried, pair.view().columns(samples, samples)),
        samples: bias.then(|| weights_of_samples.view()),
        bias_share: false,
    };
    sink.absorb(device, k, update, work)
}

/// V_k = W_kᵀ δ_k for the layer below, then (1/N) δ_k Y_kᵀ and (1/N) δ_k 1.
fn coordinates_of_layer<D: Device<T>, T: Scalar, C: Group<D, T>>(
    device: &D,
    k: usize,
    workspace: &mut Workspace<D, T, C>,
    sink: &mut impl Sink<D, T, C>,
) -> Result<()> {
    let Workspace { values, weights_of_samples } = workspace;
    let samples = values.batch();
    let ValuesWorkspace { trail, pair, work, .. } = values;
    let Architecture { coupling, bias, .. } = *sink.parameters().architecture();
    let delta = trail.view().columns((k + 1) * samples, samples);
    if k > 0 {
        let (_, pulled) = pair.view_mut().split_columns(samples);
        coupling.pull(device, &sink.parameters().network().layer(k), delta.shorten(), pulled, work)?;
    }
    if bias {
        device.fill(T::of(1.0), weights_of_samples.view_mut())?;
    }
    let update = RankUpdate {
        left: SeenBlock::new(delta.shorten(), Seen::No),
        right: RightFactor::Known(trail.view().columns(k * samples, samples), delta),
        samples: bias.then(|| weights_of_samples.view()),
        bias_share: false,
    };
    sink.absorb(device, k, update, work)
}

/// E_k = (1/N) δ_k Y_kᵀ + I and e_k = (1/N) δ_k 1 of dense layers \[M93\]: the relative step
/// (ΔW_k, Δb_k) = (E_k W_k, E_k b_k + e_k) by its coordinates.
pub(crate) struct RelativeCoordinates<D: Device<T>, T: Scalar, C: Group<D, T>> {
    divided: Divided<D, T, C>,
    identity: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar, C: Group<D, T>> RelativeCoordinates<D, T, C> {
    pub(crate) fn new(device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self> {
        let identity = Matrix::identity(device, architecture.dim)?;
        Ok(Self { divided: Divided::new(device, architecture, batch)?, identity })
    }

    /// Writes E_k in the place of W_k, e_k in that of b_k, and the ordinary gradient of a conditional density.
    pub(crate) fn write(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: Batch<'_, D, T>,
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        self.divided.gradient(device, Form::Coordinates, parameters, batch, out)?;
        out.weights.iter_mut().try_for_each(|e| device.add_blocks(T::of(1.0), self.identity.view(), e.view_mut()))
    }
}

impl<D: Device<T>, T: Scalar, C: Group<D, T>> GradientBackend<D, T, C> for Relative {
    type Workspace = Divided<D, T, C>;

    fn workspace(&self, device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self::Workspace> {
        Divided::new(device, architecture, batch)
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
        workspace.gradient(device, Form::Relative(self.bias_mode), parameters, batch.into(), out)
    }
}

impl<D: Device<T>, T: Scalar, C: Group<D, T>> GradientBackend<D, T, C> for Transposed {
    type Workspace = Divided<D, T, C>;

    fn workspace(&self, device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self::Workspace> {
        Divided::new(device, architecture, batch)
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
        workspace.gradient(device, Form::Transposed, parameters, batch.into(), out)
    }
}
