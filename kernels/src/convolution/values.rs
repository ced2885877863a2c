//! The forward pass \[M1\] through convolutions, and the backward errors \[M7\]–\[M8\].

use realfft::num_complex::Complex;

use super::product::{Side, Spectra};
use super::transform::{Transform, zeros};
use super::{Parameters, Spectral};
use crate::device::{Cpu, Device, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::network::{Architecture, Convolution};

/// Work memory of a pass: L+2 blocks of D×N, three spectra of such blocks, and the spectra of the kernels.
pub(super) struct Values<T: Spectral> {
    pub(super) convolution: Convolution,
    pub(super) batch: usize,
    pub(super) transform: Transform<T>,
    pub(super) spectra: Spectra,
    /// Y_1 … Y_L, D×LN.
    pub(super) trail: Matrix<Cpu, T>,
    /// Z_k on the way forward, V_k or Z_{k-1} on the way back; D×N.
    pub(super) carried: Matrix<Cpu, T>,
    /// δ_k, D×N.
    pub(super) delta: Matrix<Cpu, T>,
    /// K̂_1 … K̂_L.
    pub(super) kernels: Vec<Vec<Complex<T>>>,
    /// Of batches.
    pub(super) work: [Vec<Complex<T>>; 3],
}

impl<T: Spectral> Values<T> {
    pub(super) fn new(device: &Cpu, architecture: &Architecture, batch: usize) -> Result<Self> {
        architecture.validate()?;
        let convolution = architecture.convolution()?;
        if batch == 0 {
            return Err(Error::invalid("batch", 0.0, "must be at least 1"));
        }
        let dim = architecture.dim;
        let trail = Matrix::zeros(device, dim, architecture.layers.saturating_mul(batch), "pre-activations")?;
        let transform = Transform::new(device, &convolution)?;
        let (channels, frequencies) = (convolution.channels, transform.frequencies());
        let spectra = Spectra { channels, frequencies, threads: device.threads() };
        let block = |samples: usize, what| zeros(spectra.block().saturating_mul(samples), what);
        let work = || block(batch, "spectra");
        Ok(Self {
            convolution,
            batch,
            transform,
            spectra,
            trail,
            carried: Matrix::zeros(device, dim, batch, "values")?,
            delta: Matrix::zeros(device, dim, batch, "backward errors")?,
            kernels: (0..architecture.layers)
                .map(|_| block(channels, "spectra of the kernels"))
                .collect::<Result<_>>()?,
            work: [work()?, work()?, work()?],
        })
    }

    /// Y_k, k from 0.
    pub(super) fn pre_activation(&self, k: usize) -> MatrixRef<'_, Cpu, T> {
        self.trail.view().columns(k * self.batch, self.batch)
    }

    /// Transforms the kernels and runs the forward pass on `x` (D×N).
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::NonFinite`] when Y_L is not finite, which is so whenever the input or a
    /// parameter is not.
    pub(super) fn forward(&mut self, device: &Cpu, parameters: &Parameters<T>, x: MatrixRef<'_, Cpu, T>) -> Result<()> {
        let architecture = *parameters.architecture();
        self.require_fit(parameters, &x)?;
        for k in 0..architecture.layers {
            self.transform.kernel(self.convolution.channels, parameters.kernel(k), &mut self.kernels[k]);
        }
        for k in 0..architecture.layers {
            let z = if k == 0 { x.slice() } else { self.carried.view().slice() };
            let [input, output, _] = &mut self.work;
            self.transform.fields(self.convolution.channels, z, input);
            self.spectra.apply(Side::Plain, &self.kernels[k], input, output);
            if let Some(bias) = parameters.bias(k) {
                add_constant(&self.spectra, self.convolution.points(), bias, output);
            }
            let y = self.trail.view_mut().columns(k * self.batch, self.batch);
            self.transform.inverse_fields(self.convolution.channels, output, y.into_slice());
            if k + 1 < architecture.layers {
                self.activate(device, &architecture, k)?;
            }
        }
        device.require_finite(
            "output of the network (or its input or parameters)",
            self.pre_activation(architecture.layers - 1),
        )
    }

    fn require_fit(&self, parameters: &Parameters<T>, x: &MatrixRef<'_, Cpu, T>) -> Result<()> {
        let architecture = parameters.architecture();
        parameters.arrays().require_fit(architecture)?;
        let (dim, layers) = (architecture.dim, architecture.layers);
        let fits = (x.rows(), x.cols()) == (dim, self.batch)
            && (self.convolution, self.kernels.len()) == (*parameters.convolution(), layers);
        if fits {
            return Ok(());
        }
        Err(Error::shape(
            "forward pass",
            format!("a workspace and a batch of {dim}×{} for {layers} convolutions", self.batch),
            format!("{}×{}", x.rows(), x.cols()),
        ))
    }

    /// `carried` ← Z_k = σ(Y_k), k from 0; Y_k itself behind a linear layer.
    pub(super) fn activate(&mut self, device: &Cpu, architecture: &Architecture, k: usize) -> Result<()> {
        let y = self.trail.view_mut().columns(k * self.batch, self.batch);
        if architecture.is_nonlinear(k) {
            device.bias_activate(architecture.activation, None, y, self.carried.view_mut())
        } else {
            device.copy(y.view(), self.carried.view_mut())
        }
    }

    /// `delta` ← δ_k, k from 0, and its spectrum to the first of `work`; V_{k+1} is in `carried`.
    pub(super) fn write_error(&mut self, device: &Cpu, architecture: &Architecture, k: usize) -> Result<()> {
        let y = self.trail.view().columns(k * self.batch, self.batch);
        let activation = architecture.is_nonlinear(k).then_some(architecture.activation);
        if k + 1 == architecture.layers {
            device.output_error(architecture.base, activation, y, self.delta.view_mut())?;
        } else {
            // Every layer but the last is nonlinear.
            device.backward_error(architecture.activation, self.carried.view(), y, self.delta.view_mut())?;
        }
        let channels = self.convolution.channels;
        self.transform.fields(channels, self.delta.view().slice(), &mut self.work[0]);
        Ok(())
    }

    /// `carried` ← V_k = W_kᵀ δ_k from the spectrum of δ_k; the third of `work` is overwritten.
    pub(super) fn pull(&mut self, k: usize) {
        let [delta, _, v] = &mut self.work;
        self.spectra.apply(Side::Adjoint, &self.kernels[k], delta, v);
        self.transform.inverse_fields(self.convolution.channels, v, self.carried.view_mut().into_slice());
    }
}

/// Adds the field that is b_o all over channel o: at frequency zero, n b.
pub(super) fn add_constant<T: Spectral>(spectra: &Spectra, points: usize, bias: &[T], batch: &mut [Complex<T>]) {
    let points = T::of(points as f64);
    for sample in batch.chunks_exact_mut(spectra.block()) {
        sample.iter_mut().zip(bias).for_each(|(y, &b)| y.re += points * b);
    }
}
