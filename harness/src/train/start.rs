//! The network that training starts from.

use std::fmt;
use std::str::FromStr;

use relgrad_kernels::device::{Addend, Device, Matrix};
use relgrad_kernels::gaussian::Gaussian;
use relgrad_kernels::parameters::Parameters;
use relgrad_kernels::{Architecture, Cpu, Init, Scalar, init};

use crate::data::Samples;
use crate::error::{Error, Result};

/// How the first network is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Drawn from the seed alone.
    Drawn(Init),
    /// Orthogonal weights; the first layer also centres and scales every column of the training data.
    Standardise,
    /// Orthogonal weights; the first layer also whitens the training data.
    Whiten,
}

impl Start {
    /// Names on the command line.
    pub(crate) const NAMES: [&str; 4] = ["orthogonal", "gaussian", "standardise", "whiten"];

    /// Whether it looks at the training data.
    pub(crate) fn is_from_data(self) -> bool {
        !matches!(self, Self::Drawn(_))
    }

    /// The network.
    ///
    /// # Errors
    /// Not enough memory, or data whose covariance has no Cholesky factor.
    pub(crate) fn network<T: Scalar>(
        self,
        device: &Cpu,
        architecture: &Architecture,
        seed: u64,
        training: &Samples,
    ) -> Result<Parameters<Cpu, T>> {
        let kernel =
            |cause: relgrad_kernels::Error| Error::Input(format!("cannot start the network: {cause}"));
        let init = if let Self::Drawn(init) = self { init } else { Init::Orthogonal };
        let mut parameters = init::network(device, architecture, init, seed).map_err(kernel)?;
        let (weight, bias) = match self {
            Self::Drawn(_) => return Ok(parameters),
            Self::Standardise => standardising(training),
            Self::Whiten => Gaussian::fit(training.dim, &training.values).map_err(kernel)?.whitening(),
        };
        compose_first_layer(device, &mut parameters, &weight, &bias).map_err(kernel)?;
        Ok(parameters)
    }
}

/// x ↦ (x − mean)/deviation as (W, b); a constant column is only centred.
fn standardising(samples: &Samples) -> (Vec<f64>, Vec<f64>) {
    let (dim, count) = (samples.dim, samples.count() as f64);
    let (mut mean, mut square) = (vec![0.0; dim], vec![0.0; dim]);
    for sample in samples.iter() {
        mean.iter_mut().zip(sample).for_each(|(mean, x)| *mean += x / count);
    }
    for sample in samples.iter() {
        for (square, (x, mean)) in square.iter_mut().zip(sample.iter().zip(&mean)) {
            *square += (x - mean).powi(2) / count;
        }
    }
    let (mut weight, mut bias) = (vec![0.0; dim * dim], vec![0.0; dim]);
    for i in 0..dim {
        let scale = if square[i] > 0.0 { 1.0 / square[i].sqrt() } else { 1.0 };
        weight[i * (dim + 1)] = scale;
        bias[i] = -scale * mean[i];
    }
    (weight, bias)
}

/// W_1 ← W_1 W, b_1 ← W_1 b.
fn compose_first_layer<T: Scalar>(
    device: &Cpu,
    parameters: &mut Parameters<Cpu, T>,
    weight: &[f64],
    bias: &[f64],
) -> relgrad_kernels::Result<()> {
    let dim = bias.len();
    let matrix = |values: &[f64], columns| {
        let values: Vec<T> = values.iter().map(|&x| T::of(x)).collect();
        Matrix::<Cpu, T>::from_column_major(device, &values, dim, columns, "start from the data")
    };
    let (weight, bias) = (matrix(weight, dim)?, matrix(bias, 1)?);
    let old = matrix(&[0.0].repeat(dim * dim), dim)?;
    let mut old = old;
    device.copy(parameters.weight(0), old.view_mut())?;
    let arrays = parameters.arrays_mut();
    for (factor, out) in [(&weight, &mut arrays.weights[0]), (&bias, &mut arrays.biases[0])] {
        let one = T::of(1.0);
        device.multiply(one, old.view().plain(), factor.view().plain(), Addend::Zero, out.view_mut())?;
    }
    Ok(())
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drawn(init) => f.pad(init.name()),
            Self::Standardise => f.pad("standardise"),
            Self::Whiten => f.pad("whiten"),
        }
    }
}

impl FromStr for Start {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "standardise" => Ok(Self::Standardise),
            "whiten" => Ok(Self::Whiten),
            _ => text.parse().map(Self::Drawn).map_err(|_| {
                Error::Usage(format!("unknown start `{text}`: the starts are {}", Self::NAMES.join(", ")))
            }),
        }
    }
}
