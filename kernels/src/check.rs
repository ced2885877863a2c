//! Is a gradient right? An independent computation that a backend must agree with before it is timed.
//!
//! Small networks are compared, array by array, with the nalgebra [`crate::reference`]. Large ones, where a reference
//! of O(D³) in plain loops would take longer than the measurement, are probed: along one direction per layer the
//! derivative of the log-likelihood is computed by forward mode through the network in O(ND²), with the
//! log-determinant's share in closed form, and must equal the inner product with the gradient.

use nalgebra::{DMatrix, DVector};

use crate::backend::{GradientBackend, Relative, Transposed};
use crate::device::{Addend, Device, Matrix, MatrixRef};
use crate::elementwise::reference as scalar;
use crate::error::Result;
use crate::init;
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
pub fn gradient<D: Device<T>, T: Scalar>(
    device: &D,
    kind: Kind,
    parameters: &Parameters<D, T>,
    x: &Matrix<D, T>,
    gradient: &Gradient<D, T>,
) -> Result<Check> {
    let (kind, max_rel_err) = if parameters.architecture().dim <= REFERENCE_DIM {
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
pub fn step<D: Device<T>, T: Scalar>(
    device: &D,
    step: &InPlaceStep,
    parameters: &mut Parameters<D, T>,
    x: &Matrix<D, T>,
    mu: f64,
    workspace: &mut Workspace<D, T>,
) -> Result<Check> {
    let architecture = *parameters.architecture();
    let mut direction = Gradient::zeros(device, &architecture, "direction of the check")?;
    if step.transposed {
        let mut work = Transposed.workspace(device, &architecture, x.cols())?;
        Transposed.gradient(device, parameters, x.view(), &mut work, &mut direction)?;
    } else {
        let backend = Relative { bias_mode: step.bias_mode };
        let mut work = backend.workspace(device, &architecture, x.cols())?;
        backend.gradient(device, parameters, x.view(), &mut work, &mut direction)?;
    }
    let host = |device: &D, m: &Matrix<D, T>| m.to_column_major(device);
    let arrays = |p: &Parameters<D, T>| -> Result<Vec<Vec<T>>> {
        p.arrays().weights.iter().chain(&p.arrays().biases).map(|m| host(device, m)).collect()
    };
    let before = arrays(parameters)?;
    let sizes = step.step(device, parameters, x.view(), mu, workspace, None)?.step_sizes.clone();
    let after = arrays(parameters)?;
    let tolerance = tolerance(device.math());
    let mut errors = Vec::new();
    let directions = direction.weights.iter().chain(&direction.biases);
    for (i, ((before, after), direction)) in before.iter().zip(&after).zip(directions).enumerate() {
        let mu = sizes[i % architecture.layers];
        let expected: Vec<f64> = host(device, direction)?.iter().map(|d| mu * d.widen()).collect();
        let moved = after.iter().zip(before).map(|(a, b)| a.widen() - b.widen());
        // The parameters are rounded when they move, and their own size cancels in both directions.
        let size = after.iter().fold(0.0, |most, a| f64::max(most, a.widen().abs()));
        let rounding = T::EPS * size + 2.0 * mu * rounding::<T>(x.cols(), size);
        errors.push(error_beyond(rounding / tolerance, moved, expected.iter().copied()));
    }
    Ok(Check { kind: "stored-gradient", max_rel_err: worst(errors), tolerance })
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

fn against_reference<D: Device<T>, T: Scalar>(
    device: &D,
    kind: Kind,
    parameters: &Parameters<D, T>,
    x: &Matrix<D, T>,
    gradient: &Gradient<D, T>,
) -> Result<f64> {
    let wide = |m: &Matrix<D, T>| -> Result<Vec<f64>> {
        Ok(m.to_column_major(device)?.into_iter().map(Scalar::widen).collect())
    };
    let reference = Reference::from_parameters(device, parameters)?;
    let x = DMatrix::from_vec(x.rows(), x.cols(), wide(x)?);
    let Direction { weights, biases } = match kind {
        Kind::Ordinary => reference.ordinary(&x)?,
        Kind::Relative => reference.relative(&x)?,
        Kind::Transposed => reference.transposed(&x)?,
    };
    let terms = reference.largest_terms(kind, &x)?;
    let slack = |terms: f64| rounding::<T>(x.ncols(), terms) / tolerance(device.math());
    let mut errors = Vec::new();
    for ((ours, theirs), terms) in gradient.weights.iter().zip(&weights).zip(&terms.weights) {
        errors.push(error_beyond(slack(*terms), wide(ours)?, theirs.iter().copied()));
    }
    for ((ours, theirs), terms) in gradient.biases.iter().zip(&biases).zip(&terms.biases) {
        errors.push(error_beyond(slack(*terms), wide(ours)?, theirs.iter().copied()));
    }
    Ok(worst(errors))
}

/// The largest relative error of the directional derivatives of all layers.
fn along_directions<D: Device<T>, T: Scalar>(
    device: &D,
    kind: Kind,
    parameters: &Parameters<D, T>,
    x: &Matrix<D, T>,
    gradient: &Gradient<D, T>,
) -> Result<f64> {
    let mut probe = Probe::new(device, parameters, x)?;
    let mut worst = 0.0;
    for k in 0..parameters.architecture().layers {
        let error = probe.layer(kind, k, gradient)?;
        if error > worst || f64::is_nan(error) {
            worst = error;
        }
    }
    Ok(worst)
}

/// A direction in layer k is rank one: W_k moves by p qᵀ and b_k by γ p, so that Y_k moves by p wᵀ with one number per
/// sample in w. The probe picks a random left factor a, reads the gradient's response c = Aᵀa, γ = aᵀΔb off the
/// gradient A under test, and compares ‖c‖² + γ², the inner product of the gradient with that direction, with the
/// derivative of the log-likelihood along it:
///
/// | gradient | moves | p | w | log-determinant's share |
/// | --- | --- | --- | --- | --- |
/// | ordinary | W ← W + t a cᵀ, b ← b + tγ a, a = W e | a | Zᵀc + γ | cᵀe |
/// | relative | \[W, b\] ← (I + t a hᵀ)\[W, b\], b ← b + tγ a, h = W c + γ b | a | Yᵀh + γ | aᵀh |
/// | transposed | W ← W(I + t d cᵀ), b ← b + tγ W d, d = Wᵀ a | W d | Zᵀc + γ | dᵀc |
struct Probe<'a, D: Device<T>, T: Scalar> {
    device: &'a D,
    parameters: &'a Parameters<D, T>,
    x: &'a Matrix<D, T>,
    /// Y_1 … Y_L on the host.
    y: Vec<DMatrix<f64>>,
    /// One D×N block and one D×1 vector on the device, for products with the weights.
    block: [Matrix<D, T>; 2],
    vector: [Matrix<D, T>; 2],
}

impl<'a, D: Device<T>, T: Scalar> Probe<'a, D, T> {
    fn new(device: &'a D, parameters: &'a Parameters<D, T>, x: &'a Matrix<D, T>) -> Result<Self> {
        let dim = x.rows();
        let zeros = |cols| Matrix::zeros(device, dim, cols, "probe of the gradient");
        let block = [zeros(x.cols())?, zeros(x.cols())?];
        let mut probe = Self { device, parameters, x, y: Vec::new(), block, vector: [zeros(1)?, zeros(1)?] };
        let mut z = wide_matrix(device, x)?;
        for k in 0..parameters.architecture().layers {
            let mut y = probe.push(k, &z)?;
            if let Some(bias) = parameters.arrays().biases.get(k) {
                let bias = wide_matrix(device, bias)?.column(0).into_owned();
                y.column_iter_mut().for_each(|mut column| column += &bias);
            }
            z = probe.activate(k, &y);
            probe.y.push(y);
        }
        Ok(probe)
    }

    fn architecture(&self) -> &'a Architecture {
        self.parameters.architecture()
    }

    fn activate(&self, k: usize, y: &DMatrix<f64>) -> DMatrix<f64> {
        let Architecture { activation, .. } = *self.architecture();
        if self.architecture().is_nonlinear(k) { y.map(|y| scalar::sigma(activation, y)) } else { y.clone() }
    }

    /// W_k z for a D×N block.
    fn push(&mut self, k: usize, z: &DMatrix<f64>) -> Result<DMatrix<f64>> {
        let [from, to] = &mut self.block;
        multiply(self.device, self.parameters.weight(k), false, z.as_slice(), from, to)
            .map(|data| DMatrix::from_vec(z.nrows(), z.ncols(), data))
    }

    /// M v, or Mᵀv, for a D×D matrix.
    fn apply(&mut self, matrix: MatrixRef<'_, D, T>, transposed: bool, v: &DVector<f64>) -> Result<DVector<f64>> {
        let [from, to] = &mut self.vector;
        multiply(self.device, matrix, transposed, v.as_slice(), from, to).map(DVector::from_vec)
    }

    fn layer(&mut self, kind: Kind, k: usize, gradient: &Gradient<D, T>) -> Result<f64> {
        let dim = self.x.rows();
        let weight = self.parameters.weight(k);
        let random = DVector::from_vec(init::normals(PROBE_SEED + k as u64, dim));
        let a = match kind {
            Kind::Ordinary => self.apply(weight, false, &random)?,
            Kind::Relative | Kind::Transposed => random.clone(),
        };
        let c = self.apply(gradient.weights[k].view(), true, &a)?;
        let bias = |arrays: &[Matrix<D, T>]| -> Result<DVector<f64>> {
            match arrays.get(k) {
                Some(b) => Ok(wide_matrix(self.device, b)?.column(0).into_owned()),
                None => Ok(DVector::zeros(dim)),
            }
        };
        let gamma = a.dot(&bias(&gradient.biases)?);
        let b = bias(&self.parameters.arrays().biases)?;
        let carried = if k == 0 { wide_matrix(self.device, self.x)? } else { self.activate(k - 1, &self.y[k - 1]) };
        let (p, w, share) = match kind {
            Kind::Ordinary => (a, carried.tr_mul(&c).add_scalar(gamma), c.dot(&random)),
            Kind::Relative => {
                let h = self.apply(weight, false, &c)? + gamma * b;
                let w = self.y[k].tr_mul(&h).add_scalar(gamma);
                let share = a.dot(&h);
                (a, w, share)
            }
            Kind::Transposed => {
                let d = self.apply(weight, true, &a)?;
                let w = carried.tr_mul(&c).add_scalar(gamma);
                (self.apply(weight, false, &d)?, w, d.dot(&c))
            }
        };
        let derivative = self.forward_derivative(k, &p * w.transpose())? + share;
        let expected = c.norm_squared() + gamma * gamma;
        Ok((derivative - expected).abs() / expected)
    }

    /// The derivative of the mean of Lp + L1J when Y_k moves along `tangent`, by forward mode.
    fn forward_derivative(&mut self, k: usize, mut tangent: DMatrix<f64>) -> Result<f64> {
        let Architecture { activation, base, layers, .. } = *self.architecture();
        let mut sum = 0.0;
        for j in k..layers {
            if j > k {
                tangent = self.push(j, &tangent)?;
            }
            if self.architecture().is_nonlinear(j) {
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

fn wide_matrix<D: Device<T>, T: Scalar>(device: &D, m: &Matrix<D, T>) -> Result<DMatrix<f64>> {
    let data = m.to_column_major(device)?.into_iter().map(Scalar::widen).collect();
    Ok(DMatrix::from_vec(m.rows(), m.cols(), data))
}

fn multiply<D: Device<T>, T: Scalar>(
    device: &D,
    matrix: MatrixRef<'_, D, T>,
    transposed: bool,
    v: &[f64],
    from: &mut Matrix<D, T>,
    to: &mut Matrix<D, T>,
) -> Result<Vec<f64>> {
    let narrow: Vec<T> = v.iter().map(|&v| T::of(v)).collect();
    device.upload(&narrow, from.view_mut().into_slice())?;
    let factor = if transposed { matrix.transposed() } else { matrix.plain() };
    device.multiply(T::of(1.0), factor, from.view().plain(), Addend::Zero, to.view_mut())?;
    Ok(to.to_column_major(device)?.into_iter().map(Scalar::widen).collect())
}
