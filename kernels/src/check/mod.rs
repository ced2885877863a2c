//! Is a gradient right? An independent computation that a backend must agree with before it is timed.
//!
//! Small networks are compared, array by array, with the nalgebra [`crate::reference`] of the D×D matrices that their
//! layers stand for. Large ones, where a reference of O(D³) in plain loops would take longer than the measurement, are
//! probed: along one direction per layer the derivative of the log-likelihood is computed by forward mode through the
//! network, with the log-determinant's share in closed form, and must equal the inner product with the gradient.

mod probe;
mod sketched;
mod vectors;

use nalgebra::DMatrix;

use crate::backend::{GradientBackend, Relative, Sketched, Transposed};
use crate::device::{Device, Matrix, MatrixRef};
use crate::error::Result;
use crate::layer::{Coupling, Group};
use crate::math::Math;
use crate::network::Architecture;
use crate::parameters::{Gradient, Parameters};
use crate::reference::{Direction, Reference};
use crate::scalar::Scalar;
use crate::step::{Follower, InPlaceStep, Workspace};
use probe::Probe;

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// `reference`, `directional-derivative`, `stored-gradient`, `random-vector` or `one-rank`.
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
pub(crate) const REFERENCE_DIM: usize = 128;

/// Up to this dimension copies of the parameters are small.
pub(crate) const ENTRIES_DIM: usize = 1000;

/// The one place for the tolerance of a check: rounding of sums over thousands of terms, and the inverse of a
/// well-conditioned weight, stay below; a wrong factor, sign or missing term is of the order of 1.
///
/// TF32 rounds the factors of a product to 11 bits, 5·10⁻⁴ each: sums over many terms stay near that, and so does a
/// chain of four products; the bound leaves a factor of ten. bf16 rounds them to 8 bits, eight times as much.
pub const fn tolerance(math: Math) -> f64 {
    match math {
        Math::F32 => 1e-3,
        Math::Tf32 => 2e-2,
        Math::Bf16 => 1.6e-1,
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
    of_kind(device, (kind, None), parameters, x, gradient)
}

/// Checks an ordinary gradient of dense layers whose inverses were sketched: it must be what the same probes make of
/// the inverses themselves, but for the tolerance of the solve.
///
/// # Errors
/// As [`gradient`].
pub fn sketched<D: Device<T>, T: Scalar, C: Coupling<D, T>>(
    device: &D,
    sketched: &Sketched,
    parameters: &Parameters<D, T, C>,
    x: &Matrix<D, T>,
    gradient: &Gradient<D, T>,
) -> Result<Check> {
    of_kind(device, (Kind::Ordinary, Some(sketched)), parameters, x, gradient)
}

/// A kind of gradient, and the probes by which it knows its inverses.
type Wanted<'a> = (Kind, Option<&'a Sketched>);

fn of_kind<D: Device<T>, T: Scalar, C: Coupling<D, T>>(
    device: &D,
    expected: Wanted<'_>,
    parameters: &Parameters<D, T, C>,
    x: &Matrix<D, T>,
    gradient: &Gradient<D, T>,
) -> Result<Check> {
    let Architecture { dim, bias, coupling, .. } = *parameters.architecture();
    // Where a sample has several weights, the group is not that of the D×D matrices, whose affine step the reference
    // has.
    let is_other_group = expected.0 == Kind::Relative && bias && coupling.weights_per_sample() > 1;
    let (kind, max_rel_err) = if dim <= REFERENCE_DIM && !is_other_group {
        ("reference", against_reference(device, expected, parameters, x, gradient)?)
    } else {
        // The probe multiplies on the device too: it must not round more than the gradient's own precision does.
        let probe = |device: &D| along_directions(device, expected, parameters, x, gradient);
        ("directional-derivative", device.in_full_precision(probe)?)
    };
    Ok(Check { kind, max_rel_err, tolerance: tolerance(device.math()) })
}

/// Work memory of a step, and who follows it.
pub(crate) type WithFollower<'a, D, T, C> = (&'a mut Workspace<D, T, C>, Option<&'a mut dyn Follower<D, T>>);

/// Checks an in-place step against the direction of the same kind: W_new − W must be μ ΔW, by every entry, or for a
/// large dense network, where that takes memory for three more sets of parameters, by its product with a random vector;
/// so too a step among others whose updates are pending.
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
    followed_step(device, step, parameters, x, mu, (workspace, None))
}

/// As [`step`], with somebody who learns of the step.
pub(crate) fn followed_step<D: Device<T>, T: Scalar, C: Group<D, T>>(
    device: &D,
    step: &InPlaceStep,
    parameters: &mut Parameters<D, T, C>,
    x: &Matrix<D, T>,
    mu: f64,
    (workspace, follower): WithFollower<'_, D, T, C>,
) -> Result<Check> {
    if C::IS_DENSE && (parameters.architecture().dim > ENTRIES_DIM || step.delay > 1) {
        return vectors::step(device, step.form(), step, parameters, x, mu, (workspace, follower));
    }
    let direction = if step.transposed {
        stored(device, &Transposed, parameters, x)?
    } else {
        stored(device, &Relative { bias_mode: step.bias_mode }, parameters, x)?
    };
    let arrays = |p: &Parameters<D, T, C>| -> Result<Vec<Vec<T>>> {
        p.arrays().iter().map(|m| m.to_column_major(device)).collect()
    };
    let before = arrays(parameters)?;
    let sizes = step.follow(device, parameters, x.view().into(), mu, workspace, (None, follower))?.step_sizes.clone();
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
    (kind, sketched): Wanted<'_>,
    parameters: &Parameters<D, T, C>,
    x: &Matrix<D, T>,
    gradient: &Gradient<D, T>,
) -> Result<f64> {
    let Architecture { coupling, .. } = *parameters.architecture();
    let reference = Reference::from_parameters(device, parameters)?;
    let x = wide(device, x.view())?;
    let mut direction = match kind {
        Kind::Ordinary => reference.ordinary(&x)?,
        Kind::Relative => reference.relative(&x)?,
        Kind::Transposed => reference.transposed(&x)?,
    };
    let allowed = sketched.map(|sketched| sketched::replace(sketched, &reference, &mut direction)).transpose()?;
    let allowed = allowed.into_iter().flatten().chain(std::iter::repeat(0.0));
    let Direction { weights, biases } = direction;
    let terms = reference.largest_terms(kind, &x)?;
    let entries = coupling.multiplicity();
    let (share, summed) = if kind == Kind::Ordinary { (1.0, entries) } else { (1.0 / entries, 1.0) };
    let samples = x.ncols() * entries as usize;
    let slack =
        |terms: f64, allowed: f64| (rounding::<T>(samples, summed * terms) + allowed) / tolerance(device.math());
    let sum = |at: usize, theirs: &[f64], ours: &Matrix<D, T>, is_bias: bool| -> Result<Vec<f64>> {
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
            coupling.sum_entries(device, parameters.weight(at), entries.view(), sums.view_mut())?;
        }
        Ok(sums.to_column_major(device)?.into_iter().map(|sum| share * sum.widen()).collect())
    };
    let weights =
        gradient.weights.iter().zip(weights.iter().map(|w| w.as_slice())).zip(terms.weights.into_iter().zip(allowed));
    let biases = gradient
        .biases
        .iter()
        .zip(biases.iter().map(|b| b.as_slice()))
        .zip(terms.biases.into_iter().map(|terms| (terms, 0.0)));
    let pairs = weights.map(|pair| (pair, false)).chain(biases.map(|pair| (pair, true)));
    let layers = parameters.architecture().layers;
    let error = |(i, (((ours, theirs), (terms, allowed)), is_bias))| -> Result<f64> {
        let found = wide(device, MatrixRef::shorten(&Matrix::view(ours)))?;
        Ok(error_beyond(slack(terms, allowed), found.iter().copied(), sum(i % layers, theirs, ours, is_bias)?))
    };
    Ok(worst(pairs.enumerate().map(error).collect::<Result<Vec<_>>>()?))
}

/// The largest relative error of the directional derivatives of all layers.
fn along_directions<D: Device<T>, T: Scalar, C: Coupling<D, T>>(
    device: &D,
    (kind, sketched): Wanted<'_>,
    parameters: &Parameters<D, T, C>,
    x: &Matrix<D, T>,
    gradient: &Gradient<D, T>,
) -> Result<f64> {
    let mut probe = Probe::new(device, (parameters, sketched), x, gradient)?;
    let layers = 0..parameters.architecture().layers;
    Ok(worst(layers.map(|k| probe.layer(kind, k)).collect::<Result<Vec<_>>>()?))
}

pub(crate) fn wide<D: Device<T>, T: Scalar>(device: &D, m: MatrixRef<'_, D, T>) -> Result<DMatrix<f64>> {
    let (rows, cols) = (m.rows(), m.cols());
    Ok(DMatrix::from_vec(rows, cols, device.to_host(m)?.into_iter().map(Scalar::widen).collect()))
}
