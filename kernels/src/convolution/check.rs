//! Is a gradient of a network of convolutions right? See [`crate::check`].

use faer::linalg::solvers::DenseSolveCore;
use faer::{Mat, MatRef};
use nalgebra::DMatrix;
use realfft::num_complex::Complex;

use super::dense::{dense_architecture, dense_parameters, project_mean, project_sum};
use super::product::Side;
use super::transform::zeros;
use super::values::Values;
use super::{Arrays, Gradient, Parameters, Spectral};
use crate::check::{Check, Kind, error_beyond, rounding, tolerance, worst};
use crate::device::{Cpu, Matrix};
use crate::elementwise::reference as scalar;
use crate::error::Result;
use crate::init;
use crate::math::Math;
use crate::network::Architecture;
use crate::parameters as dense;
use crate::reference::{Direction, Reference};
use crate::scalar::Scalar;

/// Up to this dimension the reference on the block-circulant matrix is quick.
const REFERENCE_DIM: usize = 128;

/// Any seed that the networks of a study do not use.
const PROBE_SEED: u64 = 0x7072_6f62_6500;

/// Checks a gradient just computed at `parameters` for the batch `x`. [`Kind::Transposed`] has no form here and is
/// compared with the relative gradient.
///
/// Small networks are compared, array by array, with the dense [`Reference`] and the projections of MATH.md §14; 1×1
/// kernels with the reference on pixels. For the rest the derivative of the log-likelihood along a direction that the
/// gradient itself suggests, by forward mode, must be the inner product of the two.
///
/// # Errors
/// [`crate::Error::Singular`] from the reference; [`crate::Error::OutOfMemory`].
pub(super) fn gradient<T: Spectral>(
    device: &Cpu,
    kind: Kind,
    parameters: &Parameters<T>,
    x: &Matrix<Cpu, T>,
    gradient: &Gradient<T>,
) -> Result<Check> {
    let wide = widen(device, parameters)?;
    let gradient = widen_arrays(device, gradient)?;
    let x = widen_matrix(device, x)?;
    let tolerance = tolerance(Math::of(T::DTYPE));
    let terms = x.cols() * parameters.convolution().points();
    let slack = |size: f64| rounding::<T>(terms, size) / tolerance;
    let (kind, max_rel_err) = if parameters.convolution().is_pointwise() {
        ("reference", on_pixels(device, kind, &wide, &x, &gradient, slack)?)
    } else if parameters.architecture().dim <= REFERENCE_DIM {
        ("reference", on_circulant(device, kind, &wide, &x, &gradient, slack)?)
    } else {
        ("directional-derivative", along_directions(device, kind, &wide, &x, &gradient)?)
    };
    Ok(Check { kind, max_rel_err, tolerance })
}

fn widen_matrix<T: Scalar>(device: &Cpu, matrix: &Matrix<Cpu, T>) -> Result<Matrix<Cpu, f64>> {
    let data: Vec<f64> = matrix.to_column_major(device)?.into_iter().map(Scalar::widen).collect();
    Matrix::from_column_major(device, &data, matrix.rows(), matrix.cols(), "wide copy")
}

fn widen_arrays<T: Scalar>(device: &Cpu, arrays: &Arrays<T>) -> Result<Arrays<f64>> {
    let all =
        |matrices: &[Matrix<Cpu, T>]| -> Result<Vec<_>> { matrices.iter().map(|m| widen_matrix(device, m)).collect() };
    Ok(Arrays { kernels: all(&arrays.kernels)?, biases: all(&arrays.biases)? })
}

fn widen<T: Scalar>(device: &Cpu, parameters: &Parameters<T>) -> Result<Parameters<f64>> {
    Parameters::new(*parameters.architecture(), widen_arrays(device, parameters.arrays())?)
}

fn matrix(matrix: &Matrix<Cpu, f64>) -> DMatrix<f64> {
    DMatrix::from_column_slice(matrix.rows(), matrix.cols(), matrix.view().slice())
}

fn reference_direction(kind: Kind, reference: &Reference, x: &DMatrix<f64>) -> Result<Direction> {
    match kind {
        Kind::Ordinary => reference.ordinary(x),
        Kind::Relative | Kind::Transposed => reference.relative(x),
    }
}

/// The dense reference, projected: sums over the entries of a tap for a derivative, means for the relative gradient.
fn on_circulant(
    device: &Cpu,
    kind: Kind,
    parameters: &Parameters<f64>,
    x: &Matrix<Cpu, f64>,
    gradient: &Gradient<f64>,
    slack: impl Fn(f64) -> f64,
) -> Result<f64> {
    let reference = Reference::from_parameters(device, &dense_parameters(device, parameters)?)?;
    let direction = reference_direction(kind, &reference, &matrix(x))?;
    let terms = reference.largest_terms(kind, &matrix(x))?;
    let convolution = parameters.convolution();
    let points = convolution.points();
    let summed = if kind == Kind::Ordinary { points as f64 } else { 1.0 };
    let mut errors = Vec::new();
    for ((ours, theirs), terms) in gradient.kernels.iter().zip(&direction.weights).zip(&terms.weights) {
        let project = if kind == Kind::Ordinary { project_sum } else { project_mean };
        let theirs = project(convolution, theirs.as_slice())?;
        errors.push(error_beyond(slack(summed * terms), ours.view().slice().iter().copied(), theirs));
    }
    for ((ours, theirs), terms) in gradient.biases.iter().zip(&direction.biases).zip(&terms.biases) {
        let share = points as f64 / summed;
        let theirs = theirs.as_slice().chunks_exact(points).map(|channel| channel.iter().sum::<f64>() / share);
        errors.push(error_beyond(slack(summed * terms), ours.view().slice().iter().copied(), theirs));
    }
    Ok(worst(errors))
}

/// The dense reference of 1×1 kernels with the pixels as samples.
fn on_pixels(
    device: &Cpu,
    kind: Kind,
    parameters: &Parameters<f64>,
    x: &Matrix<Cpu, f64>,
    gradient: &Gradient<f64>,
    slack: impl Fn(f64) -> f64,
) -> Result<f64> {
    let (channels, points) = (parameters.convolution().channels, parameters.convolution().points());
    let architecture = Architecture { dim: channels, ..dense_architecture(parameters.architecture()) };
    let copies = widen_arrays(device, parameters.arrays())?;
    let arrays = dense::Arrays { weights: copies.kernels, biases: copies.biases };
    let reference = Reference::from_parameters(device, &dense::Parameters::new(architecture, arrays)?)?;
    let x = x.view().slice();
    let pixels = DMatrix::from_fn(channels, x.len() / channels, |i, pixel| {
        let (sample, p) = (pixel / points, pixel % points);
        x[(sample * channels + i) * points + p]
    });
    let direction = reference_direction(kind, &reference, &pixels)?;
    let terms = reference.largest_terms(kind, &pixels)?;
    let factor = if kind == Kind::Ordinary { points as f64 } else { 1.0 };
    let error = |ours: &Matrix<Cpu, f64>, theirs: &[f64], terms: f64| {
        let ours = ours.view().slice().iter().copied();
        error_beyond(slack(factor * terms), ours, theirs.iter().map(|x| factor * x))
    };
    let kernels = gradient.kernels.iter().zip(&direction.weights).zip(terms.weights);
    let biases = gradient.biases.iter().zip(&direction.biases).zip(terms.biases);
    let kernels = kernels.map(|((a, b), terms)| error(a, b.as_slice(), terms));
    let biases = biases.map(|((a, b), terms)| error(a, b.as_slice(), terms));
    Ok(worst(kernels.chain(biases)))
}

fn along_directions(
    device: &Cpu,
    kind: Kind,
    parameters: &Parameters<f64>,
    x: &Matrix<Cpu, f64>,
    gradient: &Gradient<f64>,
) -> Result<f64> {
    let mut values = Values::new(device, parameters.architecture(), x.cols())?;
    values.forward(device, parameters, x.view())?;
    let spectrum = zeros(values.kernels[0].len(), "spectrum of a direction")?;
    let mut probe = Probe { device, parameters, x, values, direction: spectrum };
    let layers = 0..parameters.architecture().layers;
    Ok(worst(layers.map(|k| probe.layer(kind, k, gradient)).collect::<Result<Vec<_>>>()?))
}

/// Moves layer k along the gradient A under test, each entry weighted by a random number from (0, 1): a direction with
/// which A has an inner product of the size of ‖A‖².
///
/// | gradient | moves | Y moves by | share of log-determinant | inner product |
/// | --- | --- | --- | --- | --- |
/// | ordinary | K by R = A ⊙ u, b by r | R ∗ Z + r | Σ_ω Re tr(K̂⁻¹ R̂) | ⟨A, R⟩ |
/// | relative | K by F ∗ K, F = E ⊙ u, b by F b + f | F ∗ Y + f | n tr F\[0\] | n(⟨E, F⟩ + ⟨e, f⟩) |
///
/// The relative gradient is A = E ∗ K, Δb = E b + e.
struct Probe<'a> {
    device: &'a Cpu,
    parameters: &'a Parameters<f64>,
    x: &'a Matrix<Cpu, f64>,
    /// Y_1 … Y_L and K̂_1 … K̂_L.
    values: Values<f64>,
    /// Of a kernel.
    direction: Vec<Complex<f64>>,
}

/// A direction of one layer: what moves, and what the likelihood must answer.
struct Move {
    /// R or F; its spectrum is in [`Probe::direction`].
    bias: Vec<f64>,
    log_det: f64,
    inner_product: f64,
}

impl Probe<'_> {
    fn layer(&mut self, kind: Kind, k: usize, gradient: &Gradient<f64>) -> Result<f64> {
        let kernel = gradient.kernels[k].view().slice();
        let bias = gradient.biases.get(k).map(|b| b.view().slice()).unwrap_or_default();
        let step = match kind {
            Kind::Ordinary => self.ordinary(k, kernel, bias),
            Kind::Relative | Kind::Transposed => self.relative(k, kernel, bias),
        };
        // The tangent of Y_k from what is convolved: Z_{k-1}, or Y_k itself.
        match (kind, k) {
            (Kind::Ordinary, 0) => self.push(self.x.view().slice().to_vec()),
            (Kind::Ordinary, _) => {
                self.values.activate(self.device, self.parameters.architecture(), k - 1)?;
                self.push(self.values.carried.view().slice().to_vec());
            }
            (Kind::Relative | Kind::Transposed, _) => {
                self.push(self.values.pre_activation(k).slice().to_vec());
            }
        }
        let derivative = self.forward_derivative(k, &step.bias) + step.log_det;
        Ok((derivative - step.inner_product).abs() / step.inner_product.abs())
    }

    fn weighted(values: &[f64], seed: u64) -> (Vec<f64>, f64) {
        let weights = init::uniforms(seed, values.len());
        let moved: Vec<f64> = values.iter().zip(weights).map(|(value, u)| value * u).collect();
        let product = moved.iter().zip(values).map(|(a, b)| a * b).sum();
        (moved, product)
    }

    fn ordinary(&mut self, k: usize, kernel: &[f64], bias: &[f64]) -> Move {
        let channels = self.values.convolution.channels;
        let (moved, kernel_product) = Self::weighted(kernel, PROBE_SEED + 2 * k as u64);
        let (bias, bias_product) = Self::weighted(bias, PROBE_SEED + 2 * k as u64 + 1);
        self.values.transform.kernel(channels, &moved, &mut self.direction);
        let Values { transform, spectra, kernels, .. } = &self.values;
        let share = |f: usize| {
            let inverse = owned(spectra.at(&kernels[k], f)).partial_piv_lu().inverse();
            let direction = spectra.at(&self.direction, f);
            let entry = |i: usize, j: usize| (inverse[(i, j)] * direction[(j, i)]).re;
            let trace: f64 =
                (0..channels).flat_map(|i| (0..channels).map(move |j| (i, j))).map(|(i, j)| entry(i, j)).sum();
            transform.multiplicity(f) * trace
        };
        let log_det = (0..transform.frequencies()).map(share).sum();
        Move { bias, log_det, inner_product: kernel_product + bias_product }
    }

    fn relative(&mut self, k: usize, kernel: &[f64], bias: &[f64]) -> Move {
        let Values { convolution, transform, spectra, kernels, .. } = &mut self.values;
        let (channels, points) = (convolution.channels, convolution.points() as f64);
        transform.kernel(channels, kernel, &mut self.direction);
        for f in 0..transform.frequencies() {
            // Ê = Â K̂⁻¹.
            let inverse = owned(spectra.at(&kernels[k], f)).partial_piv_lu().inverse();
            let product = owned(spectra.at(&self.direction, f)) * inverse;
            spectra.at_mut(&mut self.direction, f).copy_from(product);
        }
        let own = self.parameters.bias(k).unwrap_or_default();
        // e = Δb − Ê(0) b.
        let at_zero = spectra.at(&self.direction, 0);
        let pushed = |o: usize| own.iter().enumerate().map(|(i, b)| at_zero[(o, i)].re * b).sum::<f64>();
        let e: Vec<f64> = bias.iter().enumerate().map(|(o, bias)| bias - pushed(o)).collect();
        let mut taps = vec![0.0; kernel.len()];
        transform.inverse_kernel(channels, &self.direction, &mut taps);
        let (moved, kernel_product) = Self::weighted(&taps, PROBE_SEED + 2 * k as u64);
        let (bias, bias_product) = Self::weighted(&e, PROBE_SEED + 2 * k as u64 + 1);
        transform.kernel(channels, &moved, &mut self.direction);
        let row = channels * convolution.taps();
        let trace: f64 = (0..channels).map(|i| moved[i * row + i * convolution.taps()]).sum();
        Move { bias, log_det: points * trace, inner_product: points * (kernel_product + bias_product) }
    }

    /// `carried` ← the direction ∗ `field`.
    fn push(&mut self, field: Vec<f64>) {
        let Values { convolution, transform, spectra, work, carried, .. } = &mut self.values;
        let [input, output, _] = work;
        transform.fields(convolution.channels, &field, input);
        spectra.apply(Side::Plain, &self.direction, input, output);
        transform.inverse_fields(convolution.channels, output, carried.view_mut().into_slice());
    }

    /// The derivative of the mean of Lp + L1J when Y_k moves by `carried` and by `bias` all over each channel, by
    /// forward mode.
    fn forward_derivative(&mut self, k: usize, bias: &[f64]) -> f64 {
        let Architecture { activation, base, layers, dim, .. } = *self.parameters.architecture();
        let points = self.values.convolution.points();
        let nonlinear = |j| self.parameters.architecture().is_nonlinear(j);
        let mut tangent = self.values.carried.view().slice().to_vec();
        for sample in tangent.chunks_exact_mut(dim) {
            let channels = sample.chunks_exact_mut(points).zip(bias);
            channels.for_each(|(channel, bias)| channel.iter_mut().for_each(|t| *t += bias));
        }
        let mut sum = 0.0;
        for j in k..layers {
            if j > k {
                self.direction.copy_from_slice(&self.values.kernels[j]);
                self.push(tangent);
                tangent = self.values.carried.view().slice().to_vec();
            }
            if nonlinear(j) {
                for (t, &y) in tangent.iter_mut().zip(self.values.pre_activation(j).slice()) {
                    sum += *t * scalar::ratio(activation, y);
                    *t *= scalar::slope(activation, y);
                }
            }
        }
        for (t, &y) in tangent.iter().zip(self.values.pre_activation(layers - 1).slice()) {
            let z = if nonlinear(layers - 1) { scalar::sigma(activation, y) } else { y };
            sum += t * scalar::score(base, z);
        }
        sum / self.x.cols() as f64
    }
}

fn owned(matrix: MatRef<'_, Complex<f64>>) -> Mat<Complex<f64>> {
    Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)])
}
