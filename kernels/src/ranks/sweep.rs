//! Forward pass and relative gradient or step of a network whose weights are split by columns \[M88\].
//!
//! A rank has the columns B of every W and the rows B of every block of D×N. Y_k is a sum over ranks, of which each
//! takes its rows: a reduce-scatter. Backward, \[Y_k | δ_k\] is gathered whole, and all else is local: V_B, U_B and the
//! update of W_{:,B} need W_{:,B} alone; biases, guard and log-determinants need \[Y_k | δ_k\] alone, so that every
//! rank computes the same.

use super::columns::ColumnBlock;
use super::transport::{Parcel, Transport, on_host};
use super::{Split, exchange};
use crate::backend::BiasMode;
use crate::device::{Addend, Device, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::forward::{Carrier, ValuesWorkspace, forward};
use crate::network::Architecture;
use crate::parameters::{Gradient, Layer};
use crate::scalar::Scalar;
use crate::step::{InPlaceStep, LogDets, StepReport, guarded, require_representable, require_step_size};

/// Work memory of a rank: (L+3)N|B| numbers of its own rows, and 5ND to exchange \[M90\].
pub struct ColumnWorkspace<D: Device<T>, T: Scalar> {
    pub(super) split: Split,
    pub(super) rank: usize,
    bias: bool,
    /// The rank's rows of every block.
    values: ValuesWorkspace<D, T, crate::layer::Dense>,
    /// Two blocks of D×N: on the way forward the first is the rank's share of Y_k, on the way back they are Y_k, δ_k.
    whole: Matrix<D, T>,
    /// c_k = 1 + Y_kᵀ b_k of \[M14\], or ones; one column.
    sample_weights: Matrix<D, T>,
    pub(super) sent: Parcel<T>,
    pub(super) received: Vec<T>,
    /// Numbers of each rank in one block of D×N, and in two.
    once: Vec<usize>,
    twice: Vec<usize>,
    report: StepReport,
}

impl<D: Device<T>, T: Scalar> ColumnWorkspace<D, T> {
    /// Takes all memory for batches of `batch` samples.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::InvalidParameter`].
    pub fn new(device: &D, block: &ColumnBlock<D, T>, batch: usize) -> Result<Self> {
        let (split, rank) = (block.split(), block.rank());
        let Architecture { dim, layers, bias, .. } = *block.architecture();
        let own = Architecture { dim: split.count(rank), ..*block.architecture() };
        let values = ValuesWorkspace::new(device, &own, batch)?;
        let numbers = dim.saturating_mul(batch);
        let twice = split.counts(batch.saturating_mul(2));
        let zeros = vec![0.0; layers];
        Ok(Self {
            split,
            rank,
            bias,
            values,
            whole: Matrix::zeros(device, dim, batch.saturating_mul(2), "gathered blocks")?,
            sample_weights: Matrix::zeros(device, if bias { batch } else { 0 }, 1, "sample weights of the bias")?,
            sent: Parcel::zeros(numbers.max(twice[rank]))?,
            received: on_host(numbers.saturating_mul(2))?,
            once: split.counts(batch),
            twice,
            report: StepReport { step_sizes: zeros.clone(), rho: zeros },
        })
    }

    /// This rank's columns of the relative gradient \[M11\]–\[M14\], and the biases' whole, for its rows `x` of a batch
    /// ([`ColumnBlock::rows_of`]). Allocates nothing.
    ///
    /// # Errors
    /// As [`crate::backend::GradientBackend::gradient`], and [`Error::Transport`]. After an error the other ranks have
    /// stopped, or will with their next operation.
    pub fn gradient(
        &mut self,
        device: &D,
        block: &ColumnBlock<D, T>,
        x: MatrixRef<'_, D, T>,
        mode: BiasMode,
        transport: &mut (impl Transport<T> + ?Sized),
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        self.forward(device, block, x, transport)?;
        let mean = T::of(1.0 / self.samples() as f64);
        for k in (0..block.architecture().layers).rev() {
            self.gather(device, block, k, mode, transport)?;
            self.pull(device, block, k)?;
            let (_, delta) = self.factors();
            let u = self.pulled();
            let Some(weight) = out.weights.get_mut(k) else {
                return Err(Error::shape("gradient", "a weight for every layer", out.weights.len()));
            };
            let old = Addend::Matrix(block.arrays.weights[k].view());
            device.multiply(mean, delta.plain(), u.transposed(), old, weight.view_mut())?;
            if let (Some(bias), Some(out)) = (block.arrays.biases.get(k), out.biases.get_mut(k)) {
                let addend = if mode == BiasMode::Exact { Addend::Matrix(bias.view()) } else { Addend::Zero };
                let c = self.sample_weights.view().plain();
                device.multiply(mean, self.factors().1.plain(), c, addend, out.view_mut())?;
            }
        }
        Ok(())
    }

    /// One in-place step μ along it \[M16\], with the guard \[M19\]; with `log_dets` they are carried along \[M18\],
    /// the same on every rank. Allocates nothing but what [`LogDets`] does.
    ///
    /// # Errors
    /// As [`Self::gradient`]; [`Error::InvalidParameter`] unless μ is positive and finite; [`Error::ShapeMismatch`] for
    /// transposed or delayed steps, which have no form here.
    pub fn step(
        &mut self,
        device: &D,
        block: &mut ColumnBlock<D, T>,
        x: MatrixRef<'_, D, T>,
        (rule, mu): (&InPlaceStep, f64),
        transport: &mut (impl Transport<T> + ?Sized),
        mut log_dets: Option<&mut LogDets<T>>,
    ) -> Result<&StepReport> {
        require_step_size(mu)?;
        if rule.transposed || rule.delay > 1 {
            return Err(Error::shape("steps over ranks", "relative steps, each written at once", format!("{rule:?}")));
        }
        if let Some(log_dets) = &log_dets {
            log_dets.require_fit(block.architecture(), self.samples())?;
        }
        self.forward(device, block, x, transport)?;
        for k in (0..block.architecture().layers).rev() {
            self.gather(device, block, k, rule.bias_mode, transport)?;
            let (keep, gain) = self.advance(device, block, k, (rule, mu))?;
            let (y, delta) = self.factors();
            if let Some(log_dets) = &mut log_dets {
                log_dets.advance(device, k, (T::of(keep).widen(), T::of(gain).widen()), delta, y)?;
            }
            if let Some(bias) = block.arrays.biases.get_mut(k) {
                let keep = if rule.bias_mode == BiasMode::Exact { keep } else { 1.0 };
                let (c, addend) = (self.sample_weights.view().plain(), Addend::Scaled(T::of(keep)));
                device.multiply(T::of(gain), delta.plain(), c, addend, bias.view_mut())?;
            }
        }
        Ok(&self.report)
    }

    /// W_{:,B} ← keep W_{:,B} + gain δ U_Bᵀ; returns keep and gain.
    fn advance(
        &mut self,
        device: &D,
        block: &mut ColumnBlock<D, T>,
        k: usize,
        (rule, mu): (&InPlaceStep, f64),
    ) -> Result<(f64, f64)> {
        let samples = self.samples() as f64;
        let (y, delta) = self.factors();
        let (left, norm_y) = (device.frobenius_norm(delta)?, device.frobenius_norm(y)?);
        let (mu, rho) = guarded(k, (mu, rule.guard), (left, norm_y), samples)?;
        if self.bias {
            require_representable::<T>(k, left, device.frobenius_norm(self.sample_weights.view())?)?;
        }
        self.pull(device, block, k)?;
        require_representable::<T>(k, left, device.frobenius_norm(self.pulled())?)?;
        (self.report.step_sizes[k], self.report.rho[k]) = (mu, rho);
        let (keep, gain) = (1.0 + mu, mu / samples);
        let (_, delta) = self.factors();
        let weight = block.arrays.weights[k].view_mut();
        let right = self.pulled().transposed();
        device.multiply(T::of(gain), delta.plain(), right, Addend::Scaled(T::of(keep)), weight)?;
        Ok((keep, gain))
    }

    /// ℓ of every sample of a batch \[M92\], the same on every rank, for this rank's rows `x` of it; `l2j` is Σ_k
    /// log|det W_k|, of which the first rank's counts. Allocates a number a sample.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], [`Error::NonFinite`], [`Error::Transport`].
    pub fn log_likelihoods(
        &mut self,
        device: &D,
        block: &ColumnBlock<D, T>,
        x: MatrixRef<'_, D, T>,
        l2j: f64,
        transport: &mut (impl Transport<T> + ?Sized),
    ) -> Result<Vec<f64>> {
        self.forward(device, block, x, transport)?;
        let (architecture, samples) = (block.architecture(), self.samples());
        let mut sums = vec![if self.rank == 0 { l2j } else { 0.0 }; samples];
        for k in (0..architecture.layers).filter(|&k| architecture.is_nonlinear(k)) {
            device.log_slope_sums(architecture.activation, self.values.pre_activation(k), &mut sums)?;
        }
        let ValuesWorkspace { trail, pair, head, .. } = &mut self.values;
        let last = architecture.layers - 1;
        // Where σ follows the last layer, the forward pass left Z_L in the pair's first block.
        let z = if architecture.is_nonlinear(last) {
            pair.view().columns(0, samples)
        } else {
            trail.view().columns(last * samples, samples)
        };
        head.log_density_sums(device, z, &mut sums)?;
        transport.all_reduce(&mut sums)?;
        Ok(sums)
    }

    /// N.
    pub(super) fn samples(&self) -> usize {
        self.values.batch()
    }

    /// Y_k (or Y_k − b_k 1ᵀ) and δ_k, whole.
    pub(super) fn factors(&self) -> (MatrixRef<'_, D, T>, MatrixRef<'_, D, T>) {
        let samples = self.samples();
        (self.whole.view().columns(0, samples), self.whole.view().columns(samples, samples))
    }

    /// The rank's rows of U_k, after [`Self::pull`].
    fn pulled(&self) -> MatrixRef<'_, D, T> {
        self.values.pair.view().columns(0, self.samples())
    }

    /// The rank's rows of Y_1 … Y_L.
    fn forward(
        &mut self,
        device: &D,
        block: &ColumnBlock<D, T>,
        x: MatrixRef<'_, D, T>,
        transport: &mut (impl Transport<T> + ?Sized),
    ) -> Result<()> {
        let (rows, samples) = (self.split.count(self.rank), self.samples());
        let Architecture { layers, bias, .. } = *block.architecture();
        let fits = (block.split(), block.rank()) == (self.split, self.rank) && bias == self.bias;
        let of_transport = (transport.ranks(), transport.rank()) == (self.split.ranks(), self.rank);
        let trail = (layers + 1) * samples == self.values.trail.cols();
        if !(fits && of_transport && trail && x.shape() == (rows, samples)) {
            let expected = format!("the {rows}×{samples} numbers, weights and work memory of rank {}", self.rank);
            let found = format!("{}×{} on rank {}", x.rows(), x.cols(), transport.rank());
            return Err(Error::shape("pass over ranks", expected, found));
        }
        forward(device, block.network(), &mut Summed { x: x.shorten(), work: &mut *self, transport })?;
        let last = self.values.pre_activation(layers - 1);
        device.require_finite("output of the network (or its input or parameters)", last)
    }

    /// δ_k of the rank's rows, then \[Y_k | δ_k\] whole, and c_k.
    fn gather(
        &mut self,
        device: &D,
        block: &ColumnBlock<D, T>,
        k: usize,
        mode: BiasMode,
        transport: &mut (impl Transport<T> + ?Sized),
    ) -> Result<()> {
        let samples = self.samples();
        let Self { split, rank, values, whole, sample_weights, sent, received, twice, .. } = self;
        values.write_error(device, block.architecture(), k)?;
        let own = values.trail.view().columns(k * samples, 2 * samples);
        device.download(own.slice(), &mut sent.numbers_mut()[..twice[*rank]])?;
        transport.all_gather(twice, sent, received)?;
        exchange::unpack(device, received, *split, whole.view_mut())?;
        let Some(bias) = block.arrays.biases.get(k) else { return Ok(()) };
        device.fill(T::of(1.0), sample_weights.view_mut())?;
        let (one, mut y) = (T::of(1.0), whole.view_mut().columns(0, samples));
        if mode == BiasMode::Plain {
            let ones = sample_weights.view().transposed();
            return device.multiply(T::of(-1.0), bias.view().plain(), ones, Addend::Scaled(one), y.reborrow());
        }
        let (y, bias) = (y.view().transposed(), bias.view().plain());
        device.multiply(one, y, bias, Addend::Scaled(one), sample_weights.view_mut())
    }

    /// \[U | V\]_B ← W_{:,B}ᵀ\[Y_k | δ_k\], U_B alone for the first layer.
    fn pull(&mut self, device: &D, block: &ColumnBlock<D, T>, k: usize) -> Result<()> {
        let samples = self.samples();
        let wanted = if k == 0 { samples } else { 2 * samples };
        let errors = self.whole.view().columns(0, wanted).plain();
        let into = self.values.pair.view_mut().columns(0, wanted);
        device.multiply(T::of(1.0), block.arrays.weights[k].view().transposed(), errors, Addend::Zero, into)
    }
}

/// Plain values on their way through layers that are split by columns.
struct Summed<'a, D: Device<T>, T: Scalar, X: ?Sized> {
    x: MatrixRef<'a, D, T>,
    work: &'a mut ColumnWorkspace<D, T>,
    transport: &'a mut X,
}

impl<D: Device<T>, T: Scalar, X: Transport<T> + ?Sized> Carrier<D, T> for Summed<'_, D, T, X> {
    /// The rank's rows of Y_k ← Σ over ranks of W_{:,B}Z_B.
    fn layer(&mut self, device: &D, layer: &Layer<'_, D, T>) -> Result<()> {
        let k = layer.index;
        let ColumnWorkspace { split, rank, values, whole, sent, received, once, .. } = &mut *self.work;
        let samples = values.batch();
        let carried = if k == 0 { self.x.shorten() } else { values.pair.view().columns(0, samples) };
        let mut share = whole.view_mut().columns(0, samples);
        device.multiply(T::of(1.0), layer.weight.plain(), carried.plain(), Addend::Zero, share.reborrow())?;
        exchange::pack(device, share.view(), *split, sent.numbers_mut())?;
        let own = &mut received[..once[*rank]];
        self.transport.reduce_scatter(once, sent, own)?;
        let mut y = values.trail.view_mut().columns(k * samples, samples);
        device.upload(own, y.reborrow().into_slice())?;
        let bias = layer.bias.as_ref().map(|bias| exchange::part_of_column(bias.shorten(), (*split, *rank)));
        match (layer.activation, bias) {
            (Some(activation), bias) => {
                device.bias_activate(activation, bias, y, values.pair.view_mut().columns(0, samples))
            }
            (None, Some(bias)) => device.add_bias(bias, y),
            (None, None) => Ok(()),
        }
    }
}
