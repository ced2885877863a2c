//! The log-likelihood in its three parts \[M2\], in nats, accumulated in f64 whatever the working precision.

use crate::device::{Device, Matrix, MatrixRef};
use crate::error::{Error, Result};
use crate::forward::ValuesWorkspace;
use crate::network::Architecture;
use crate::parameters::Parameters;
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
pub struct Evaluator<D: Device<T>, T: Scalar> {
    values: ValuesWorkspace<D, T>,
    latents: Matrix<D, T>,
}

impl<D: Device<T>, T: Scalar> Evaluator<D, T> {
    /// Takes the work memory for batches of `batch` samples.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::InvalidParameter`].
    pub fn new(device: &D, architecture: &Architecture, batch: usize) -> Result<Self> {
        let values = ValuesWorkspace::new(device, architecture, batch)?;
        let latents = Matrix::zeros(device, architecture.dim, batch, "latents")?;
        Ok(Self { values, latents })
    }

    /// The whole log-likelihood; one LU of every weight, in f64.
    ///
    /// # Errors
    /// As [`Self::data_terms`], and [`Error::Singular`] when a weight has no logarithm of its determinant.
    pub fn log_likelihood(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
    ) -> Result<LogLikelihood> {
        let mut result = self.data_terms(device, parameters, x)?;
        result.l2j_per_layer = log_abs_dets(device, parameters)?;
        Ok(result)
    }

    /// Lp and L1J alone, for callers that carry the log-determinants themselves; `l2j_per_layer` stays empty.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], [`Error::NonFinite`].
    pub fn data_terms(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
    ) -> Result<LogLikelihood> {
        let samples = x.cols();
        let mut result = LogLikelihood { lp: vec![0.0; samples], l1j: vec![0.0; samples], l2j_per_layer: Vec::new() };
        self.values.forward(device, parameters, x)?;
        let architecture = parameters.architecture();
        for k in (0..architecture.layers).filter(|&k| architecture.is_nonlinear(k)) {
            let y = self.values.pre_activation(k);
            device.log_slope_sums(architecture.activation, y, &mut result.l1j)?;
        }
        self.write_latents(device, architecture)?;
        device.log_density_sums(architecture.base, self.latents.view(), &mut result.lp)?;
        Ok(result)
    }

    /// Pre-activations Y_k (k from 0) of the last batch.
    pub fn pre_activation(&self, k: usize) -> MatrixRef<'_, D, T> {
        self.values.pre_activation(k)
    }

    /// Z_L = g(X) of the last batch.
    pub fn latents(&self) -> MatrixRef<'_, D, T> {
        self.latents.view()
    }

    fn write_latents(&mut self, device: &D, architecture: &Architecture) -> Result<()> {
        let (last, batch) = (architecture.layers - 1, self.values.batch);
        if architecture.is_nonlinear(last) {
            let y = self.values.trail.view_mut().columns(last * batch, batch);
            device.bias_activate(architecture.activation, None, y, self.latents.view_mut())
        } else {
            device.copy(self.values.pre_activation(last), self.latents.view_mut())
        }
    }
}

/// log|det W_k| of every layer, by LU in f64.
///
/// # Errors
/// [`Error::Singular`] for a weight whose determinant is zero or not a number.
pub fn log_abs_dets<D: Device<T>, T: Scalar>(device: &D, parameters: &Parameters<D, T>) -> Result<Vec<f64>> {
    (0..parameters.architecture().layers)
        .map(|k| match device.log_abs_det(parameters.weight(k))? {
            value if value.is_finite() => Ok(value),
            _ => Err(Error::Singular { matrix: format!("weight of layer {}", k + 1), condition: f64::INFINITY }),
        })
        .collect()
}
