//! The log-likelihood of a network of convolutions in its three parts \[M2\], \[M25\].

use dyn_stack::{MemBuffer, MemStack};
use faer::linalg::lu::partial_pivoting::factor::{lu_in_place, lu_in_place_scratch};
use faer::{MatMut, Par};

use super::transform::{Transform, zeros};
use super::values::Values;
use super::{Parameters, Spectral};
use crate::device::{Cpu, Device, MatrixRef};
use crate::error::{Error, Result};
use crate::likelihood::LogLikelihood;
use crate::network::Architecture;
use crate::scalar::Scalar;

/// Work memory of [`Evaluator::log_likelihood`].
pub struct Evaluator<T: Spectral> {
    values: Values<T>,
}

impl<T: Spectral> Evaluator<T> {
    /// Takes the work memory for batches of `batch` samples.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::InvalidParameter`], [`Error::ShapeMismatch`].
    pub fn new(device: &Cpu, architecture: &Architecture, batch: usize) -> Result<Self> {
        Ok(Self { values: Values::new(device, architecture, batch)? })
    }

    /// The whole log-likelihood.
    ///
    /// # Errors
    /// As [`Self::data_terms`], and [`Error::Singular`] when a kernel has no logarithm of its determinant.
    pub fn log_likelihood(
        &mut self,
        device: &Cpu,
        parameters: &Parameters<T>,
        x: MatrixRef<'_, Cpu, T>,
    ) -> Result<LogLikelihood> {
        let mut result = self.data_terms(device, parameters, x)?;
        result.l2j_per_layer = log_abs_dets(parameters)?;
        Ok(result)
    }

    /// Lp and L1J alone; `l2j_per_layer` stays empty.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], [`Error::NonFinite`].
    pub fn data_terms(
        &mut self,
        device: &Cpu,
        parameters: &Parameters<T>,
        x: MatrixRef<'_, Cpu, T>,
    ) -> Result<LogLikelihood> {
        let samples = x.cols();
        let mut result = LogLikelihood { lp: vec![0.0; samples], l1j: vec![0.0; samples], l2j_per_layer: Vec::new() };
        self.values.forward(device, parameters, x)?;
        let architecture = parameters.architecture();
        for k in (0..architecture.layers).filter(|&k| architecture.is_nonlinear(k)) {
            let y = self.values.pre_activation(k);
            device.log_slope_sums(architecture.activation, y, &mut result.l1j)?;
        }
        self.values.activate(device, architecture, architecture.layers - 1)?;
        device.log_density_sums(architecture.base, self.latents(), &mut result.lp)?;
        Ok(result)
    }

    /// δ_1 … δ_L \[M7\]–\[M8\] of a batch, per sample, D×N column-major each.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], [`Error::NonFinite`].
    pub fn backward_errors(
        &mut self,
        device: &Cpu,
        parameters: &Parameters<T>,
        x: MatrixRef<'_, Cpu, T>,
    ) -> Result<Vec<Vec<T>>> {
        self.values.forward(device, parameters, x)?;
        let architecture = parameters.architecture();
        let mut errors = vec![Vec::new(); architecture.layers];
        for (k, error) in errors.iter_mut().enumerate().rev() {
            self.values.write_error(device, architecture, k)?;
            *error = self.values.delta.view().slice().to_vec();
            self.values.pull(k);
        }
        Ok(errors)
    }

    /// Pre-activations Y_k (k from 0) of the last batch.
    pub fn pre_activation(&self, k: usize) -> MatrixRef<'_, Cpu, T> {
        self.values.pre_activation(k)
    }

    /// Z_L = g(X) of the last batch.
    pub fn latents(&self) -> MatrixRef<'_, Cpu, T> {
        self.values.carried.view()
    }
}

/// log|det W_k| = Σ_ω log|det K̂(ω)| of every layer \[M25\], in f64 whatever the working precision.
///
/// # Errors
/// [`Error::Singular`] names a frequency whose determinant is zero or not a number.
pub(super) fn log_abs_dets<T: Scalar>(parameters: &Parameters<T>) -> Result<Vec<f64>> {
    let convolution = parameters.convolution();
    let c = convolution.channels;
    let mut transform = Transform::<f64>::new(&Cpu::new(1), convolution)?;
    let block = transform.frequencies() * c;
    let mut spectrum = zeros(block * c, "spectrum of a kernel")?;
    let mut factors = zeros(c * c, "LU factors")?;
    let (mut forward, mut backward) = (vec![0_usize; c], vec![0_usize; c]);
    let scratch = lu_in_place_scratch::<usize, realfft::num_complex::Complex<f64>>(c, c, Par::Seq, Default::default());
    let mut scratch = MemBuffer::new(scratch);
    let mut result = Vec::new();
    for k in 0..parameters.architecture().layers {
        let wide: Vec<f64> = parameters.kernel(k).iter().map(|x| x.widen()).collect();
        transform.kernel(c, &wide, &mut spectrum);
        let mut sum = 0.0;
        for f in 0..transform.frequencies() {
            for (i, factors) in factors.chunks_exact_mut(c).enumerate() {
                factors.copy_from_slice(&spectrum[i * block + f * c..][..c]);
            }
            let mut lu = MatMut::from_column_major_slice_mut(&mut factors, c, c);
            let stack = MemStack::new(&mut scratch);
            lu_in_place(lu.as_mut(), &mut forward, &mut backward, Par::Seq, stack, Default::default());
            let log_det: f64 = (0..c).map(|i| lu[(i, i)].re.hypot(lu[(i, i)].im).ln()).sum();
            if !log_det.is_finite() {
                let (row, col) = transform.frequency(f);
                let matrix = format!("kernel of layer {} at frequency ({row}, {col})", k + 1);
                return Err(Error::Singular { matrix, condition: f64::INFINITY });
            }
            sum += transform.multiplicity(f) * log_det;
        }
        result.push(sum);
    }
    Ok(result)
}
