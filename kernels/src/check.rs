//! Is a gradient right? An independent computation that a backend must agree with before it is timed.
//!
//! Small networks are compared, array by array, with the nalgebra [`crate::reference`] of the D×D matrices that their
//! layers stand for. Large ones, where a reference of O(D³) in plain loops would take longer than the measurement, are
//! probed: along one direction per layer the derivative of the log-likelihood is computed by forward mode through the
//! network, with the log-determinant's share in closed form, and must equal the inner product with the gradient.

use nalgebra::DMatrix;

use crate::backend::{GradientBackend, Relative, Transposed};
use crate::device::{Device, Matrix, MatrixRef};
use crate::elementwise::reference as scalar;
use crate::error::Result;
use crate::forward::ValuesWorkspace;
use crate::init;
use crate::layer::{Coupling, Extent, Group};
use crate::math::Math;
use crate::network::Architecture;
use crate::parameters::{Gradient, Parameters};
use crate::reference::{Direction, Reference};
use crate::scalar::Scalar;
use crate::step::{InPlaceStep, Workspace};

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// `reference`, `directional-derivative` or `stored-gradient`.
    pub kind: &'static str,
    /// Largest relative error: norm-wise per array, or of the derivative.
    pub max_rel_err: f64,
    /// Bound it must stay under.
    pub tolerance: f64,
}

impl Check {
    /// Whether the error is within the tolerance; NaN is not.
    pub fn passed(&self) -> bool {
        self.max_rel_err <= self.tolerance
    }
}

/// Which gradient is being checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// \[M9\], also what autodiff computes.
    Ordinary,
    /// \[M13\]–\[M14\].
    Relative,
    /// \[M12\], \[M15\].
    Transposed,
}

/// Up to this dimension the reference is quick.
const REFERENCE_DIM: usize = 128;

/// The one place for the tolerance of a check: rounding of sums over thousands of terms, and the inverse of an
/// orthogonal weight, stay below; a wrong factor, sign or missing term is of the order of 1.
///
/// TF32 rounds the factors of a product to 11 bits, 5·10⁻⁴ each: sums over many terms stay near that, and so does a
/// chain of four products; the bound leaves a factor of ten.
pub const fn tolerance(math: Math) -> f64 {
    match math {
        Math::F32 => 1e-3,
        Math::Tf32 => 2e-2,
        Math::F64 => 1e-10,
    }
}

/// Checks a gradient just computed at `parameters` for the batch `x`.
///
/// # Errors
/// [`crate::Error::Singular`] from the reference; device errors.
pub fn gradient<D: Device<T>, T: Scalar, C: Coupling<D, T>>(
    device: &D,
    kind: Kind,
    parameters: &Parameters<D, T, C>,
    x: &Matrix<D, T>,
    gradient: &Gradient<D, T>,
) -> Result<Check> {
    let Architecture { dim, bias, coupling, .. } = *parameters.architecture();
    // Where a sample has several weights, the group is not that of the D×D matrices, whose affine step the reference
    // has.
    let is_other_group = kind == Kind::Relative && bias && coupling.weights_per_sample() > 1;
    let (kind, max_rel_err) = if dim <= REFERENCE_DIM && !is_other_group {
        ("reference", against_reference(device, kind, parameters, x, gradient)?)
    } else {
        // The probe multiplies on the device too: it must not round more than the gradient's own precision does.
        let probe = || along_directions(device, kind, parameters, x, gradient);
        ("directional-derivative", device.in_full_precision(probe)?)
    };
    Ok(Check { kind, max_rel_err, tolerance: tolerance(device.math()) })
}

/// Checks an in-place step against the stored direction of the same kind: W_new − W must be μ ΔW.
///
/// Takes memory for the direction and one more copy of the parameters.
///
/// # Errors
/// Those of the step and of the backend; device errors.
pub fn step<D: Device<T>, T: Scalar, C: Group<D, T>>(
    device: &D,
    step: &InPlaceStep,
    parameters: &mut Parameters<D, T, C>,
    x: &Matrix<D, T>,
    mu: f64,
    workspace: &mut Workspace<D, T, C>,
) -> Result<Check> {
    let direction = if step.transposed {
        stored(device, &Transposed, parameters, x)?
    } else {
        stored(device, &Relative { bias_mode: step.bias_mode }, parameters, x)?
    };
    let arrays = |p: &Parameters<D, T, C>| -> Result<Vec<Vec<T>>> {
        p.arrays().iter().map(|m| m.to_column_major(device)).collect()
    };
    let before = arrays(parameters)?;
    let sizes = step.step(device, parameters, x.view(), mu, workspace, None)?.step_sizes.clone();
    let after = arrays(parameters)?;
    let tolerance = tolerance(device.math());
    let mut errors = Vec::new();
    for (i, ((before, after), direction)) in before.iter().zip(&after).zip(direction.iter()).enumerate() {
        let mu = sizes[i % sizes.len()];
        let expected: Vec<f64> = direction.to_column_major(device)?.iter().map(|d| mu * d.widen()).collect();
        let moved = after.iter().zip(before).map(|(a, b)| a.widen() - b.widen());
        // The parameters are rounded when they move, and their own size cancels in both directions.
        let size = after.iter().fold(0.0, |most, a| f64::max(most, a.widen().abs()));
        let rounding = T::EPS * size + 2.0 * mu * rounding::<T>(x.cols(), size);
        errors.push(error_beyond(rounding / tolerance, moved, expected.iter().copied()));
    }
    Ok(Check { kind: "stored-gradient", max_rel_err: worst(errors), tolerance })
}

fn stored<D: Device<T>, T: Scalar, C: Coupling<D, T>, B: GradientBackend<D, T, C>>(
    device: &D,
    backend: &B,
    parameters: &Parameters<D, T, C>,
    x: &Matrix<D, T>,
) -> Result<Gradient<D, T>> {
    let mut direction = Gradient::zeros(device, parameters.architecture(), "direction of the check")?;
    let mut work = backend.workspace(device, parameters.architecture(), x.cols())?;
    backend.gradient(device, parameters, x.view(), &mut work, &mut direction)?;
    Ok(direction)
}

/// The largest of errors, NaN if any is: `f64::max` would drop it.
pub(crate) fn worst(errors: impl IntoIterator<Item = f64>) -> f64 {
    errors.into_iter().fold(0.0, |worst, e| if e > worst || e.is_nan() { e } else { worst })
}

/// Error that rounding explains in a mean over `samples` terms in which terms as large as `terms` cancel: each is
/// rounded, and so is every partial sum.
///
/// A tolerance relative to what is left would refuse right gradients where little is left: near a maximum of the
/// likelihood, and the more so the more samples there are, since their means are exact to 1/√N.
pub(crate) fn rounding<T: Scalar>(samples: usize, terms: f64) -> f64 {
    const ROUNDINGS: f64 = 4.0;
    ROUNDINGS * T::EPS * (samples as f64).sqrt() * terms
}

/// max|a − b| / max|b|, absolute where b is all zero; NaN if anything is.
pub fn relative_error(a: impl IntoIterator<Item = f64>, b: impl IntoIterator<Item = f64>) -> f64 {
    error_beyond(0.0, a, b)
}

/// max|a − b| / (max|b| + `slack`): with a slack of r / tolerance, errors of r and of the tolerance times b add up to
/// what passes.
pub(crate) fn error_beyond(slack: f64, a: impl IntoIterator<Item = f64>, b: impl IntoIterator<Item = f64>) -> f64 {
    let (mut difference, mut scale) = (0.0_f64, 0.0_f64);
    for (a, b) in a.into_iter().zip(b) {
        if !(a - b).is_finite() {
            return f64::NAN;
        }
        difference = difference.max((a - b).abs());
        scale = scale.max(b.abs());
    }
    let scale = scale + slack;
    if scale > 0.0 { difference / scale } else { difference }
}

/// Entries of the reference's direction add up, or are averaged, to the numbers that stand in them.
fn against_reference<D: Device<T>, T: Scalar, C: Coupling<D, T>>(
    device: &D,
    kind: Kind,
    parameters: &Parameters<D, T, C>,
    x: &Matrix<D, T>,
    gradient: &Gradient<D, T>,
) -> Result<f64> {
    let Architecture { coupling, .. } = *parameters.architecture();
    let reference = Reference::from_parameters(device, parameters)?;
    let x = wide(device, x.view())?;
    let Direction { weights, biases } = match kind {
        Kind::Ordinary => reference.ordinary(&x)?,
        Kind::Relative => reference.relative(&x)?,
        Kind::Transposed => reference.transposed(&x)?,
    };
    let terms = reference.largest_terms(kind, &x)?;
    let entries = coupling.multiplicity();
    let (share, summed) = if kind == Kind::Ordinary { (1.0, entries) } else { (1.0 / entries, 1.0) };
    let samples = x.ncols() * entries as usize;
    let slack = |terms: f64| rounding::<T>(samples, summed * terms) / tolerance(device.math());
    let sum = |theirs: &[f64], ours: &Matrix<D, T>, is_bias: bool| -> Result<Vec<f64>> {
        if C::IS_DENSE {
            return Ok(theirs.to_vec());
        }
        let narrow: Vec<T> = theirs.iter().map(|&entry| T::of(entry)).collect();
        let rows = parameters.architecture().dim;
        let entries = Matrix::from_column_major(device, &narrow, rows, narrow.len() / rows, "entries")?;
        let mut sums = Matrix::zeros(device, ours.rows(), ours.cols(), "sums of entries")?;
        if is_bias {
            coupling.sum_bias(device, entries.view(), sums.view_mut())?;
        } else {
            coupling.sum_entries(device, entries.view(), sums.view_mut())?;
        }
        Ok(sums.to_column_major(device)?.into_iter().map(|sum| share * sum.widen()).collect())
    };
    let weights = gradient.weights.iter().zip(weights.iter().map(|w| w.as_slice())).zip(terms.weights);
    let biases = gradient.biases.iter().zip(biases.iter().map(|b| b.as_slice())).zip(terms.biases);
    let pairs = weights.map(|pair| (pair, false)).chain(biases.map(|pair| (pair, true)));
    let error = |(((ours, theirs), terms), is_bias)| -> Result<f64> {
        let found = wide(device, MatrixRef::shorten(&Matrix::view(ours)))?;
        Ok(error_beyond(slack(terms), found.iter().copied(), sum(theirs, ours, is_bias)?))
    };
    Ok(worst(pairs.map(error).collect::<Result<Vec<_>>>()?))
}

/// The largest relative error of the directional derivatives of all layers.
fn along_directions<D: Device<T>, T: Scalar, C: Coupling<D, T>>(
    device: &D,
    kind: Kind,
    parameters: &Parameters<D, T, C>,
    x: &Matrix<D, T>,
    gradient: &Gradient<D, T>,
) -> Result<f64> {
    let mut probe = Probe::new(device, parameters, x, gradient)?;
    let layers = 0..parameters.architecture().layers;
    Ok(worst(layers.map(|k| probe.layer(kind, k)).collect::<Result<Vec<_>>>()?))
}

/// The derivative of the log-likelihood when one layer moves by R, b by r, so that Y moves by R Z + r. R is chosen from
/// the gradient A, a under test so that its inner product with the derivative G, g and its share of the
/// log-determinant, tr(W⁻¹R), are both known. u holds a random number of (½, 3/2) for each row, the same for all rows
/// that share a bias; H = u ⊙ A, h = u ⊙ a.
///
/// | gradient | R, r | Y moves by | tr(W⁻¹R) | inner product |
/// | --- | --- | --- | --- | --- |
/// | ordinary | d ⊙ W, u ⊙ g; d = row sums of G ⊙ W | d ⊙ (Y − b) + r | Σ d | Σ d² + ⟨g, r⟩ |
/// | relative | H̄ W̄ᵀW̄, W̄ = \[W, b; 0, 1\] | H U + h cᵀ, U = WᵀY, c = 1 + Yᵀb | ⟨H, W⟩ + ⟨h, b⟩ | ⟨A, H⟩ + ⟨a, h⟩ |
/// | transposed | W WᵀH, W Wᵀh | W Wᵀ(H Z + h 1ᵀ) | ⟨H, W⟩ | ⟨A, H⟩ + ⟨a, h⟩ |
struct Probe<'a, D: Device<T>, T: Scalar, C: Coupling<D, T>> {
    device: &'a D,
    parameters: &'a Parameters<D, T, C>,
    /// The gradient as a network, so that its arrays can be multiplied with.
    gradient: &'a Gradient<D, T>,
    x: &'a Matrix<D, T>,
    /// Y_1 … Y_L on the host.
    y: Vec<DMatrix<f64>>,
    values: ValuesWorkspace<D, T, C>,
    /// Of products with the gradient's arrays.
    work: C::Work,
    block: [Matrix<D, T>; 2],
}

/// What a product multiplies with.
#[derive(Clone, Copy)]
enum Multiplied {
    Weight,
    WeightTransposed,
    Gradient,
}

impl<'a, D: Device<T>, T: Scalar, C: Coupling<D, T>> Probe<'a, D, T, C> {
    fn new(
        device: &'a D,
        parameters: &'a Parameters<D, T, C>,
        x: &'a Matrix<D, T>,
        gradient: &'a Gradient<D, T>,
    ) -> Result<Self> {
        let Architecture { dim, layers, bias, coupling, .. } = *parameters.architecture();
        // Without a condition: it changes the scores, and the probe has those of the base.
        let mut values = ValuesWorkspace::new(device, parameters.architecture(), x.cols())?;
        values.forward(device, parameters.network(), x.view().into())?;
        let y = (0..layers).map(|k| wide(device, values.pre_activation(k))).collect::<Result<_>>()?;
        let mut work = coupling.work(device, Extent { dim, layers, batch: x.cols(), bias })?;
        coupling.prepare(device, gradient, &mut work)?;
        let block = || Matrix::zeros(device, dim, x.cols(), "probe of the gradient");
        Ok(Self { device, parameters, gradient, x, y, values, work, block: [block()?, block()?] })
    }

    fn activate(&self, k: usize, y: &DMatrix<f64>) -> DMatrix<f64> {
        let architecture = self.parameters.architecture();
        let sigma = |y| scalar::sigma(architecture.activation, y);
        if architecture.is_nonlinear(k) { y.map(sigma) } else { y.clone() }
    }

    /// The product of one of layer k's matrices with a D×N block.
    fn multiply(&mut self, factor: Multiplied, k: usize, z: &DMatrix<f64>) -> Result<DMatrix<f64>> {
        let (device, coupling) = (self.device, self.parameters.architecture().coupling);
        let mut layer = self.parameters.network().layer(k);
        let [from, to] = &mut self.block;
        let narrow: Vec<T> = z.iter().map(|&z| T::of(z)).collect();
        device.upload(&narrow, from.view_mut().into_slice())?;
        let (from, out) = (from.view(), to.view_mut());
        match factor {
            Multiplied::Weight => coupling.push(device, &layer, from, out, &mut self.values.work)?,
            Multiplied::WeightTransposed => coupling.pull(device, &layer, from, out, &mut self.values.work)?,
            Multiplied::Gradient => {
                layer.weight = self.gradient.weights[k].view();
                coupling.push(device, &layer, from, out, &mut self.work)?;
            }
        }
        wide(device, to.view())
    }

    /// For each number of a bias the inner product of the rows of two weights that it belongs to.
    fn row_products(&self, a: MatrixRef<'_, D, T>, b: MatrixRef<'_, D, T>) -> Result<Vec<f64>> {
        let architecture = self.parameters.architecture();
        let [rows, cols] = architecture.coupling.weight_shape(architecture.dim);
        let len = architecture.coupling.bias_len(architecture.dim);
        let (a, b) = (self.device.to_host(a)?, self.device.to_host(b)?);
        let mut sums = vec![0.0; len];
        for (i, (a, b)) in a.iter().zip(&b).enumerate() {
            // A coupling keeps the rows of one bias side by side; a single column is a row a number.
            let row = if cols == 1 && rows == len { i } else { i % rows / (rows / len) };
            sums[row] += a.widen() * b.widen();
        }
        Ok(sums)
    }

    /// One number a component from one a bias.
    fn expand(&self, bias: &[f64]) -> Result<Vec<f64>> {
        let architecture = self.parameters.architecture();
        let narrow: Vec<T> = bias.iter().map(|&b| T::of(b)).collect();
        let narrow = Matrix::from_column_major(self.device, &narrow, bias.len(), 1, "probe of the gradient")?;
        let mut out = Matrix::zeros(self.device, architecture.dim, 1, "probe of the gradient")?;
        architecture.coupling.expand_bias(self.device, narrow.view(), out.view_mut())?;
        Ok(wide(self.device, out.view())?.as_slice().to_vec())
    }

    /// c = 1 + Y_kᵀ b_k.
    fn weights(&self, k: usize) -> Result<Vec<f64>> {
        let (device, coupling) = (self.device, self.parameters.architecture().coupling);
        let count = self.x.cols() * coupling.weights_per_sample();
        let mut c = Matrix::zeros(device, count, 1, "probe of the gradient")?;
        device.fill(T::of(1.0), c.view_mut())?;
        let layer = self.parameters.network().layer(k);
        coupling.weigh(device, self.values.pre_activation(k), &layer, c.view_mut(), &self.values.work)?;
        Ok(wide(device, c.view())?.as_slice().to_vec())
    }

    fn layer(&mut self, kind: Kind, k: usize) -> Result<f64> {
        let device = self.device;
        let coupling = self.parameters.architecture().coupling;
        let (weight, direction) = (self.parameters.weight(k), self.gradient.weights[k].view());
        let len = coupling.bias_len(self.parameters.architecture().dim);
        let u: Vec<f64> = init::uniforms(PROBE_SEED + k as u64, len).into_iter().map(|u| 0.5 + u).collect();
        let bias = |arrays: &[Matrix<D, T>]| -> Result<Vec<f64>> {
            match arrays.get(k) {
                Some(b) => Ok(wide(device, b.view())?.as_slice().to_vec()),
                None => Ok(vec![0.0; len]),
            }
        };
        let (a, b) = (bias(&self.gradient.biases)?, bias(&self.parameters.arrays().biases)?);
        let h: Vec<f64> = a.iter().zip(&u).map(|(a, u)| a * u).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let carried = if k == 0 { wide(device, self.x.view())? } else { self.activate(k - 1, &self.y[k - 1]) };
        let entries = coupling.multiplicity();
        let (own, moved) = (self.row_products(direction, direction)?, self.row_products(direction, weight)?);
        let (tangent, share, expected) = match kind {
            Kind::Ordinary => {
                let (d, shift) = (self.expand(&moved)?, self.expand(&b)?);
                let shifted = by_rows(&self.y[k], |i, y| d[i] * (y - shift[i]));
                let r = self.expand(&h)?;
                let share = d.iter().sum::<f64>();
                (by_rows(&shifted, |i, t| t + r[i]), share, dot(&moved, &moved) + dot(&a, &h))
            }
            Kind::Relative => {
                let pulled = self.multiply(Multiplied::WeightTransposed, k, &self.y[k].clone())?;
                let product = self.multiply(Multiplied::Gradient, k, &pulled)?;
                let (rows, h_all) = (self.expand(&u)?, self.expand(&h)?);
                let mut tangent = by_rows(&product, |i, t| rows[i] * t);
                let (weights, per_sample) = (self.weights(k)?, coupling.weights_per_sample());
                for (mut t, c) in tangent.column_iter_mut().zip(weights.chunks_exact(per_sample)) {
                    t.iter_mut().zip(&h_all).enumerate().for_each(|(i, (t, h))| *t += h * c[i % per_sample]);
                }
                let share = entries * (dot(&u, &moved) + dot(&h, &b));
                (tangent, share, entries * (dot(&u, &own) + dot(&a, &h)))
            }
            Kind::Transposed => {
                let product = self.multiply(Multiplied::Gradient, k, &carried)?;
                let (rows, h_all) = (self.expand(&u)?, self.expand(&h)?);
                let tangent = by_rows(&product, |i, t| rows[i] * t + h_all[i]);
                let pulled = self.multiply(Multiplied::WeightTransposed, k, &tangent)?;
                let tangent = self.multiply(Multiplied::Weight, k, &pulled)?;
                (tangent, entries * dot(&u, &moved), entries * (dot(&u, &own) + dot(&a, &h)))
            }
        };
        let derivative = self.forward_derivative(k, tangent)? + share;
        Ok((derivative - expected).abs() / expected.abs())
    }

    /// The derivative of the mean of Lp + L1J when Y_k moves along `tangent`, by forward mode.
    fn forward_derivative(&mut self, k: usize, mut tangent: DMatrix<f64>) -> Result<f64> {
        let Architecture { activation, base, layers, .. } = *self.parameters.architecture();
        let mut sum = 0.0;
        for j in k..layers {
            if j > k {
                tangent = self.multiply(Multiplied::Weight, j, &tangent)?;
            }
            if self.parameters.architecture().is_nonlinear(j) {
                sum += tangent.zip_map(&self.y[j], |t, y| t * scalar::ratio(activation, y)).sum();
                tangent.zip_apply(&self.y[j], |t, y| *t *= scalar::slope(activation, y));
            }
        }
        let latents = self.activate(layers - 1, &self.y[layers - 1]);
        sum += tangent.zip_map(&latents, |t, z| t * scalar::score(base, z)).sum();
        Ok(sum / self.x.cols() as f64)
    }
}

/// Any seed that the networks of a study do not use.
const PROBE_SEED: u64 = 0x7072_6f62_6500;

fn wide<D: Device<T>, T: Scalar>(device: &D, m: MatrixRef<'_, D, T>) -> Result<DMatrix<f64>> {
    let (rows, cols) = (m.rows(), m.cols());
    Ok(DMatrix::from_vec(rows, cols, device.to_host(m)?.into_iter().map(Scalar::widen).collect()))
}

/// f of every entry and its row.
fn by_rows(m: &DMatrix<f64>, f: impl Fn(usize, f64) -> f64) -> DMatrix<f64> {
    DMatrix::from_fn(m.nrows(), m.ncols(), |i, j| f(i, m[(i, j)]))
}
