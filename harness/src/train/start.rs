//! The network that training starts from.

use relgrad_kernels::device::{Addend, Device, Matrix};
use relgrad_kernels::gaussian::Gaussian;
use relgrad_kernels::layer::{Coupling, Dense};
use relgrad_kernels::parameters::{Arrays, Parameters};
use relgrad_kernels::{Architecture, Cpu, Init, Scalar, init};
use relgrad_vocabulary::names;

use super::columns::{self, Columns};
use crate::data::Samples;
use crate::error::{Error, Result};

names! {
    /// How the first network is made; those that look at the training data have orthogonal weights.
    Start, "start", {
        /// Drawn from the seed alone, as the next.
        Orthogonal = "orthogonal",
        Gaussian = "gaussian",
        /// The first layer also centres and scales every column of the training data.
        Standardise = "standardise",
        /// The first layer also whitens the training data.
        Whiten = "whiten",
        /// Every layer first standardises what it receives of the training data.
        ///
        /// An activation of slope below 1 shrinks what goes through it: a hundred layers of s_L with α = 0.3 leave
        /// 0.65¹⁰⁰ = 10⁻¹⁹ of the differences between samples, so that the last ones receive the same numbers for all.
        /// The same was done for weight normalisation (Salimans & Kingma 2016) and in Glow's actnorm (Kingma &
        /// Dhariwal 2018).
        StandardiseLayers = "standardise-layers",
        /// The same, but whitens.
        WhitenLayers = "whiten-layers",
    }
}

/// Samples that the layers behind the first are normalised by: a mean and a standard deviation to one per cent.
const SAMPLES: usize = 10_000;

impl Start {
    /// Whether it looks at the training data.
    pub(crate) fn is_from_data(self) -> bool {
        !matches!(self, Self::Orthogonal | Self::Gaussian)
    }

    /// Whether it makes data white, which they must vary in every direction for.
    pub(crate) fn whitens(self) -> bool {
        matches!(self, Self::Whiten | Self::WhitenLayers)
    }

    /// The network. Fails on data, or what a layer receives of them, that cannot be whitened or scaled.
    pub(crate) fn network<T: Scalar, C: Coupling<Cpu, T>>(
        self,
        device: &Cpu,
        architecture: &Architecture<C>,
        seed: u64,
        training: &Samples,
    ) -> Result<Parameters<Cpu, T, C>> {
        let kernel = |cause: relgrad_kernels::Error| not_started(&cause.to_string());
        let init = if self == Self::Gaussian { Init::ScaledGaussian } else { Init::Orthogonal };
        if self.is_from_data() && !C::IS_DENSE {
            let dense = self.network(device, &architecture.with(Dense), seed, training)?;
            return factored(device, architecture, dense).map_err(kernel);
        }
        let mut parameters = init::network(device, architecture, init, seed).map_err(kernel)?;
        if self.is_from_data() {
            self.normalise(device, &mut parameters, training)?;
        }
        Ok(parameters)
    }

    /// Composes the layers, dense ones, with the affine maps that normalise what they receive.
    fn normalise<T: Scalar, C: Coupling<Cpu, T>>(
        self,
        device: &Cpu,
        parameters: &mut Parameters<Cpu, T, C>,
        training: &Samples,
    ) -> Result<()> {
        let kernel = |cause: relgrad_kernels::Error| not_started(&cause.to_string());
        let mut received = None;
        let layers = match self {
            Self::Orthogonal | Self::Gaussian => 0,
            Self::Standardise | Self::Whiten => 1,
            Self::StandardiseLayers | Self::WhitenLayers => parameters.architecture().layers,
        };
        for k in 0..layers {
            if k > 0 {
                let few = || evenly_spaced(training, SAMPLES);
                let before = received.unwrap_or_else(few);
                received = Some(layer_output(device, parameters, k - 1, &before).map_err(kernel)?);
            }
            let samples = received.as_ref().unwrap_or(training);
            // The data are in f64; what comes out of a layer is as exact as the layer.
            let eps = if k == 0 { f64::EPSILON } else { T::EPS };
            let map =
                if self.whitens() { whitening::<T>(samples) } else { standardising::<T>(samples, eps).map(diagonal) };
            let (weight, bias) = map.map_err(|cause| not_started(&format!("layer {}: {cause}", k + 1)))?;
            compose_layer(device, parameters, k, &weight, &bias).map_err(kernel)?;
        }
        Ok(())
    }
}

/// The network of the same function whose layers keep factors of the weights.
fn factored<T: Scalar, C: Coupling<Cpu, T>>(
    device: &Cpu,
    architecture: &Architecture<C>,
    dense: Parameters<Cpu, T>,
) -> relgrad_kernels::Result<Parameters<Cpu, T, C>> {
    let mut arrays = Arrays::zeros(device, architecture, "start from the data")?;
    for (k, array) in arrays.weights.iter_mut().enumerate() {
        architecture.coupling.take_dense(device, k, dense.weight(k), array.view_mut())?;
    }
    for (k, array) in arrays.biases.iter_mut().enumerate() {
        dense.bias(k).map_or(Ok(()), |bias| device.copy(bias, array.view_mut()))?;
    }
    Parameters::new(*architecture, arrays)
}

pub(super) fn not_started(cause: &str) -> Error {
    Error::Input(format!("cannot start the network: {cause}"))
}

/// An affine map (W, b), W column-major.
pub(super) type Affine = (Vec<f64>, Vec<f64>);

/// The diagonal of W, and b, of x ↦ Wx + b = (x − mean)/deviation; a constant column is only centred.
pub(super) fn standardising<T: Scalar>(samples: &Samples, eps: f64) -> Result<Affine, String> {
    let columns = Columns::of(samples);
    let scale = |i: usize| if columns.is_constant(i, eps) { 1.0 } else { 1.0 / columns.deviation[i] };
    let scales: Vec<f64> = (0..samples.dim).map(scale).collect();
    let bias = scales.iter().zip(&columns.mean).map(|(scale, mean)| -scale * mean).collect();
    require_range::<T>((scales, bias))
}

/// The same with W whole.
fn diagonal((scales, bias): Affine) -> Affine {
    let dim = scales.len();
    let mut weight = vec![0.0; dim * dim];
    scales.iter().enumerate().for_each(|(i, scale)| weight[i * (dim + 1)] = *scale);
    (weight, bias)
}

/// The map that makes samples white.
fn whitening<T: Scalar>(samples: &Samples) -> Result<Affine, String> {
    let (dim, count) = (samples.dim, samples.count());
    let whitened = "whitening needs columns that vary, each in its own way";
    if count <= dim {
        return Err(format!("{count} samples of {dim} columns; {whitened}"));
    }
    let columns = Columns::of(samples);
    if let Some(&j) = columns.constant(T::EPS).first() {
        return Err(format!("column {} of what it receives is constant; {whitened}", j + 1));
    }
    if let Some(one) = columns::dependent(samples, &columns, T::EPS).first() {
        return Err(format!("column {} of what it receives follows from others; {whitened}", one.column + 1));
    }
    let fit = Gaussian::fit(dim, &samples.values).map_err(|cause| format!("{cause}; {whitened}"))?;
    require_range::<T>(fit.whitening())
}

/// Refuses what is not finite, or beyond the precision of training.
fn require_range<T: Scalar>(map: Affine) -> Result<Affine, String> {
    let fits = |x: &f64| T::of(*x).widen().is_finite();
    // Of a whole matrix, or of a diagonal one.
    let step = if map.0.len() == map.1.len() { 1 } else { map.1.len() + 1 };
    if map.0.iter().chain(&map.1).all(fits) && map.0.iter().step_by(step).all(|scale| T::of(*scale).widen() != 0.0) {
        return Ok(map);
    }
    Err(format!("the data are too large or too small to be scaled in {}: rescale them, or take --dtype f64", T::DTYPE))
}

/// At most `most` of the samples, from all over the set.
pub(super) fn evenly_spaced(samples: &Samples, most: usize) -> Samples {
    let step = samples.count().div_ceil(most).max(1);
    let values = samples.iter().step_by(step).flatten().copied().collect();
    Samples { dim: samples.dim, values }
}

/// σ(W_k x + b_k) of every sample.
fn layer_output<T: Scalar, C>(
    device: &Cpu,
    parameters: &Parameters<Cpu, T, C>,
    k: usize,
    samples: &Samples,
) -> relgrad_kernels::Result<Samples> {
    let (dim, count) = (samples.dim, samples.count());
    let x = matrix::<T>(device, &samples.values, dim)?;
    let (mut y, mut z) = (Matrix::zeros(device, dim, count, "layer")?, Matrix::zeros(device, dim, count, "layer")?);
    let weight = parameters.weight(k).plain();
    device.multiply(T::of(1.0), weight, x.view().plain(), Addend::Zero, y.view_mut())?;
    let activation = parameters.architecture().activation;
    device.bias_activate(activation, parameters.bias(k), y.view_mut(), z.view_mut())?;
    let values = device.to_host(z.view())?.into_iter().map(Scalar::widen).collect();
    Ok(Samples { dim, values })
}

/// W_k ← W_k W, b_k ← W_k b, so that the layer first maps x to Wx + b.
fn compose_layer<T: Scalar, C>(
    device: &Cpu,
    parameters: &mut Parameters<Cpu, T, C>,
    k: usize,
    weight: &[f64],
    bias: &[f64],
) -> relgrad_kernels::Result<()> {
    let dim = bias.len();
    let (weight, bias) = (matrix(device, weight, dim)?, matrix(device, bias, dim)?);
    let mut old = Matrix::zeros(device, dim, dim, "start from the data")?;
    device.copy(parameters.weight(k), old.view_mut())?;
    let arrays = parameters.arrays_mut();
    for (factor, out) in [(&weight, &mut arrays.weights[k]), (&bias, &mut arrays.biases[k])] {
        let one = T::of(1.0);
        device.multiply(one, old.view().plain(), factor.view().plain(), Addend::Zero, out.view_mut())?;
    }
    Ok(())
}

/// Columns of `dim` numbers.
fn matrix<T: Scalar>(device: &Cpu, values: &[f64], dim: usize) -> relgrad_kernels::Result<Matrix<Cpu, T>> {
    let values: Vec<T> = values.iter().map(|&x| T::of(x)).collect();
    Matrix::from_column_major(device, &values, dim, values.len() / dim, "start from the data")
}

#[cfg(test)]
mod tests {
    use relgrad_kernels::likelihood::Evaluator;

    use super::*;
    use crate::data::toy::Toy;

    /// Means and standard deviations of the last layer's output, of training samples and in f64.
    fn latents(start: Start, layers: usize) -> Vec<(f64, f64)> {
        let device = Cpu::new(1);
        let architecture = Architecture { bias: true, ..Architecture::new(2, layers) };
        let samples = Toy::Spirals.sample(2000, 1);
        let parameters: Parameters<Cpu, f64> = start.network(&device, &architecture, 3, &samples).unwrap();
        let x = matrix(&device, &samples.values, 2).unwrap();
        let mut evaluator = Evaluator::new(&device, &architecture, samples.count()).unwrap();
        evaluator.data_terms(&device, &parameters, x.view()).unwrap();
        let z = device.to_host(evaluator.latents()).unwrap();
        let moments = |i: usize| {
            let values = || z.iter().skip(i).step_by(2);
            let mean = values().sum::<f64>() / samples.count() as f64;
            let square = values().map(|z| (z - mean).powi(2)).sum::<f64>() / samples.count() as f64;
            (mean, square.sqrt())
        };
        vec![moments(0), moments(1)]
    }

    /// A first layer that normalises is not enough: forty layers of slopes in (0.3, 1) leave nothing of the spread.
    #[test]
    fn every_layer_normalised_keeps_the_spread_of_the_data() {
        for start in [Start::Standardise, Start::Whiten] {
            assert!(latents(start, 40).iter().all(|(_, deviation)| *deviation < 1e-4), "{start}");
            assert!(latents(start, 1).iter().all(|(mean, deviation)| mean.abs() < 1e-9 && *deviation > 0.5));
        }
        for layers in [1, 2, 40] {
            // Whitened, then rotated: exactly white. Standardised, then rotated: a correlation shifts variance between
            // units.
            for (mean, deviation) in latents(Start::WhitenLayers, layers) {
                assert!(mean.abs() < 1e-9 && (deviation - 1.0).abs() < 1e-9, "{layers}: {mean} {deviation}");
            }
            let [a, b] = *latents(Start::StandardiseLayers, layers) else { panic!("two units") };
            assert!(a.0.abs() < 1e-9 && b.0.abs() < 1e-9);
            assert!((a.1.powi(2) + b.1.powi(2) - 2.0).abs() < 1e-9, "{layers}: {a:?} {b:?}");
        }
    }

    #[test]
    fn normalising_samples_come_from_all_over_the_set() {
        let samples = Samples { dim: 2, values: (0..14).map(f64::from).collect() };
        assert_eq!(evenly_spaced(&samples, 7), samples);
        assert_eq!(evenly_spaced(&samples, 3).values, [0.0, 1.0, 6.0, 7.0, 12.0, 13.0]);
    }
}
