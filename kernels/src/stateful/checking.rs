//! What the checks of steps with a state share: their own pass over a network, and the moves of arrays.

use nalgebra::DMatrix;

use crate::check::{error_beyond, rounding, tolerance};
use crate::device::{Addend, Device, Matrix};
use crate::elementwise::reference as scalar;
use crate::error::Result;
use crate::init;
use crate::network::Architecture;
use crate::parameters::Arrays;
use crate::scalar::Scalar;

/// Up to this dimension arrays are compared number by number, on the host; above it by their products with a vector.
const ENTRIES_DIM: usize = 128;

/// Any seed that the networks of a study do not use.
const SEED: u64 = 0x6b65_7074_0000;

/// The vectors by which moves are compared: all unit vectors, or one of independent normals.
pub(super) fn probe(dim: usize) -> DMatrix<f64> {
    if dim <= ENTRIES_DIM { DMatrix::identity(dim, dim) } else { DMatrix::from_vec(dim, 1, init::normals(SEED, dim)) }
}

/// A D×D matrix that blocks are multiplied with, in f64 on the host where it is small.
pub(super) enum Multiplier<'a, D: Device<T>, T: Scalar> {
    Host(DMatrix<f64>),
    OnDevice(&'a D, &'a Matrix<D, T>),
}

impl<'a, D: Device<T>, T: Scalar> Multiplier<'a, D, T> {
    pub(super) fn new(device: &'a D, matrix: &'a Matrix<D, T>) -> Result<Self> {
        Ok(if matrix.rows() <= ENTRIES_DIM {
            Self::Host(wide(device, matrix)?)
        } else {
            Self::OnDevice(device, matrix)
        })
    }

    /// A z.
    pub(super) fn push(&self, z: &DMatrix<f64>) -> Result<DMatrix<f64>> {
        self.multiply(false, z)
    }

    /// Aᵀ z.
    pub(super) fn pull(&self, z: &DMatrix<f64>) -> Result<DMatrix<f64>> {
        self.multiply(true, z)
    }

    fn multiply(&self, transposed: bool, z: &DMatrix<f64>) -> Result<DMatrix<f64>> {
        let (device, matrix) = match self {
            Self::Host(matrix) => return Ok(if transposed { matrix.tr_mul(z) } else { matrix * z }),
            Self::OnDevice(device, matrix) => (*device, matrix.view()),
        };
        let narrow: Vec<T> = z.iter().map(|&z| T::of(z)).collect();
        let from = Matrix::from_column_major(device, &narrow, z.nrows(), z.ncols(), "block of the check")?;
        let mut to = Matrix::zeros(device, z.nrows(), z.ncols(), "block of the check")?;
        let factor = if transposed { matrix.transposed() } else { matrix.plain() };
        let product =
            |device: &D| device.multiply(T::of(1.0), factor, from.view().plain(), Addend::Zero, to.view_mut());
        device.in_full_precision(product)?;
        wide(device, &to)
    }
}

pub(super) fn wide<D: Device<T>, T: Scalar>(device: &D, matrix: &Matrix<D, T>) -> Result<DMatrix<f64>> {
    let numbers = matrix.to_column_major(device)?.into_iter().map(Scalar::widen).collect();
    Ok(DMatrix::from_vec(matrix.rows(), matrix.cols(), numbers))
}

/// σ(y_k), or y_k behind a linear layer; with σ' and σ''/σ', which are 1 and 0 there.
pub(super) struct Activated {
    pub(super) z: DMatrix<f64>,
    pub(super) slope: DMatrix<f64>,
    pub(super) ratio: DMatrix<f64>,
}

impl Activated {
    pub(super) fn new<C>(architecture: &Architecture<C>, is_nonlinear: bool, y: &DMatrix<f64>) -> Self {
        let activation = architecture.activation;
        let of = |f: &dyn Fn(f64) -> f64, linear: f64| {
            if is_nonlinear { y.map(f) } else { DMatrix::from_element(y.nrows(), y.ncols(), linear) }
        };
        let z = if is_nonlinear { y.map(|y| scalar::sigma(activation, y)) } else { y.clone() };
        let slope = of(&|y| scalar::slope(activation, y), 1.0);
        Self { z, slope, ratio: of(&|y| scalar::ratio(activation, y), 0.0) }
    }
}

/// The pass of a batch through dense layers.
pub(super) struct Passed {
    /// Z_0 … Z_L.
    pub(super) inputs: Vec<DMatrix<f64>>,
    /// W_k Z_{k-1}, without biases.
    pub(super) plain: Vec<DMatrix<f64>>,
    pub(super) activated: Vec<Activated>,
}

impl Passed {
    /// Through `arrays`, with σ behind the layers of `is_nonlinear`.
    pub(super) fn new<D: Device<T>, T: Scalar>(
        device: &D,
        (architecture, arrays): (&Architecture, &Arrays<D, T>),
        is_nonlinear: impl Fn(usize) -> bool,
        x: DMatrix<f64>,
    ) -> Result<Self> {
        let mut passed = Self { inputs: vec![x], plain: Vec::new(), activated: Vec::new() };
        for (k, weight) in arrays.weights.iter().enumerate() {
            let plain = Multiplier::new(device, weight)?.push(&passed.inputs[k])?;
            let mut y = plain.clone();
            if let Some(bias) = arrays.biases.get(k) {
                let bias = wide(device, bias)?;
                y.column_iter_mut().for_each(|mut column| column += bias.column(0));
            }
            let activated = Activated::new(architecture, is_nonlinear(k), &y);
            passed.inputs.push(activated.z.clone());
            passed.plain.push(plain);
            passed.activated.push(activated);
        }
        Ok(passed)
    }
}

/// Σ_n δ_n/N, the direction of a bias.
pub(super) fn mean_column(delta: &DMatrix<f64>) -> DMatrix<f64> {
    let mean = delta.column_sum() / delta.ncols() as f64;
    DMatrix::from_column_slice(mean.len(), 1, mean.as_slice())
}

/// What an array was, times the probe, and by how much a step of length 1 moves that.
pub(super) struct Move {
    pub(super) before: DMatrix<f64>,
    pub(super) direction: DMatrix<f64>,
    /// The size of terms that cancel in the direction, where some do.
    pub(super) terms: f64,
}

/// Share of the terms that cancel by which a direction is judged where less of them is left.
const CANCELLED: f64 = 0.05;

/// The length of a step to be checked, at most `mu`, by which no weight changes by more than a hundredth: the network
/// is still to be timed. The weights come times the probe, with their directions.
pub(super) fn gentle<'a>(mu: f64, weights: impl IntoIterator<Item = (&'a DMatrix<f64>, &'a DMatrix<f64>)>) -> f64 {
    const MOST_CHANGE: f64 = 0.01;
    let changes = weights.into_iter().map(|(weight, direction)| direction.norm() / weight.norm());
    let most = MOST_CHANGE / changes.fold(0.0, f64::max);
    if most > 0.0 { mu.min(most) } else { mu }
}

impl Move {
    /// The error of what the array became, beyond rounding; `mu` and `samples` are those of the step.
    pub(super) fn error<D: Device<T>, T: Scalar>(
        &self,
        device: &D,
        after: &DMatrix<f64>,
        mu: f64,
        samples: usize,
    ) -> f64 {
        let size = after.amax();
        // The array is rounded when it moves, a product with the probe is a sum of D terms, and so are the terms of a
        // direction of which little may be left.
        let slack = 8.0 * T::EPS * size + mu * rounding::<T>(samples, 2.0 * size);
        let moved = after.iter().zip(&self.before).map(|(after, before)| after - before);
        let expected = self.direction.iter().map(|direction| mu * direction);
        error_beyond(slack / tolerance(device.math()) + CANCELLED * mu * self.terms, moved, expected)
    }
}
