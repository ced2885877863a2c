//! The log-likelihood in its three parts \[M2\], in nats, accumulated in f64 whatever the working precision.

use crate::device::{Device, Matrix, MatrixRef};
use crate::error::Result;
use crate::forward::{ValuesWorkspace, activate};
use crate::layer::{Coupling, Dense};
use crate::network::Architecture;
use crate::parameters::{Batch, Parameters};
use crate::scalar::Scalar;

/// ℓ(x_n) = Lp + L1J + L2J of every sample of a batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogLikelihood {
    /// Σ_i log p_i(z_L,i), one per sample.
    pub lp: Vec<f64>,
    /// Σ_k Σ_i log σ'(y_k,i) over the nonlinear layers, one per sample.
    pub l1j: Vec<f64>,
    /// log|det W_k|, one per layer; they do not depend on the sample.
    pub l2j_per_layer: Vec<f64>,
}

impl LogLikelihood {
    /// L2J = Σ_k log|det W_k|.
    pub fn l2j(&self) -> f64 {
        self.l2j_per_layer.iter().sum()
    }

    /// ℓ(x_n) of every sample.
    pub fn per_sample(&self) -> Vec<f64> {
        let l2j = self.l2j();
        self.lp.iter().zip(&self.l1j).map(|(lp, l1j)| lp + l1j + l2j).collect()
    }

    /// (1/N) Σ_n ℓ(x_n), the objective.
    pub fn mean(&self) -> f64 {
        let sum: f64 = self.lp.iter().zip(&self.l1j).map(|(lp, l1j)| lp + l1j).sum();
        sum / self.lp.len() as f64 + self.l2j()
    }
}

/// Work memory of [`Evaluator::data_terms`].
pub struct Evaluator<D: Device<T>, T: Scalar, C: Coupling<D, T> = Dense> {
    values: ValuesWorkspace<D, T, C>,
    latents: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar, C: Coupling<D, T>> Evaluator<D, T, C> {
    /// Takes the work memory for batches of `batch` samples.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`], [`crate::Error::InvalidParameter`].
    pub fn new(device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self> {
        let values = ValuesWorkspace::new(device, architecture, batch)?;
        let latents = Matrix::zeros(device, architecture.dim, batch, "latents")?;
        Ok(Self { values, latents })
    }

    /// The whole log-likelihood, of x or of x given u; one LU of every weight, in f64.
    ///
    /// # Errors
    /// As [`Self::data_terms`], and [`crate::Error::Singular`] when a weight has no logarithm of its determinant.
    pub fn log_likelihood<'a>(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: impl Into<Batch<'a, D, T>>,
    ) -> Result<LogLikelihood>
    where
        D: 'a,
    {
        let mut result = self.data_terms(device, parameters, batch)?;
        result.l2j_per_layer = log_abs_dets(device, parameters)?;
        Ok(result)
    }

    /// Lp and L1J alone, for callers that carry the log-determinants themselves; `l2j_per_layer` stays empty.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`], [`crate::Error::NonFinite`].
    pub fn data_terms<'a>(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: impl Into<Batch<'a, D, T>>,
    ) -> Result<LogLikelihood>
    where
        D: 'a,
    {
        let batch = batch.into();
        let samples = batch.x.cols();
        let mut result = LogLikelihood { lp: vec![0.0; samples], l1j: vec![0.0; samples], l2j_per_layer: Vec::new() };
        self.values.forward(device, parameters.network(), batch)?;
        let architecture = parameters.architecture();
        for k in (0..architecture.layers).filter(|&k| architecture.is_nonlinear(k)) {
            let y = self.values.pre_activation(k);
            device.log_slope_sums(architecture.activation, y, &mut result.l1j)?;
        }
        let last = architecture.layers - 1;
        let y = self.values.trail.view_mut().columns(last * samples, samples);
        activate(device, architecture, last, y, self.latents.view_mut())?;
        self.values.head.log_density_sums(device, self.latents.view(), &mut result.lp)?;
        Ok(result)
    }

    /// δ_1 … δ_L \[M7\]–\[M8\] of a batch, per sample, D×N column-major each.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`], [`crate::Error::NonFinite`].
    pub fn backward_errors<'a>(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: impl Into<Batch<'a, D, T>>,
    ) -> Result<Vec<Vec<T>>>
    where
        D: 'a,
    {
        let architecture = parameters.architecture();
        self.values.forward(device, parameters.network(), batch.into())?;
        let mut errors = vec![Vec::new(); architecture.layers];
        for (k, error) in errors.iter_mut().enumerate().rev() {
            self.values.write_error(device, architecture, k)?;
            *error = device.to_host(self.values.delta(k))?;
            let samples = self.values.batch();
            let ValuesWorkspace { trail, pair, work, .. } = &mut self.values;
            let delta = trail.view().columns((k + 1) * samples, samples);
            let v = pair.view_mut().columns(samples, samples);
            architecture.coupling.pull(device, &parameters.network().layer(k), delta, v, work)?;
        }
        Ok(errors)
    }

    /// Pre-activations Y_k (k from 0) of the last batch.
    pub fn pre_activation(&self, k: usize) -> MatrixRef<'_, D, T> {
        self.values.pre_activation(k)
    }

    /// Z_L = g(X) of the last batch.
    pub fn latents(&self) -> MatrixRef<'_, D, T> {
        self.latents.view()
    }
}

/// log|det W_k| of every layer, in f64.
///
/// # Errors
/// [`crate::Error::Singular`] for a weight whose determinant is zero or not a number.
pub fn log_abs_dets<D: Device<T>, T: Scalar, C: Coupling<D, T>>(
    device: &D,
    parameters: &Parameters<D, T, C>,
) -> Result<Vec<f64>> {
    let Architecture { dim, layers, coupling, .. } = *parameters.architecture();
    (0..layers).map(|k| coupling.log_abs_det(device, dim, &parameters.network().layer(k))).collect()
}
