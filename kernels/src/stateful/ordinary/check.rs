//! A sketched step against an independent computation.

use nalgebra::{DMatrix, DVector};

use super::OrdinaryCarried;
use crate::check::{Check, REFERENCE_DIM, error_beyond, tolerance, wide, worst};
use crate::device::{Addend, Device, Matrix};
use crate::elementwise::reference::sigma;
use crate::error::{Error, Result};
use crate::init;
use crate::likelihood::Evaluator;
use crate::parameters::Parameters;
use crate::reference::Reference;
use crate::scalar::Scalar;
use crate::stateful::Stateful;
use crate::stateful::sketch::Control;

/// Any seed that the networks of a study do not use.
const SEED: u64 = 0x736b_6574_6368_0001;

/// The data's share of a step, applied to a vector: ((1/N)δZᵀ)v, and (1/N)δ1.
struct DataShare {
    applied: DVector<f64>,
    bias: DVector<f64>,
}

impl<D: Device<T>, T: Scalar> OrdinaryCarried<D, T> {
    /// W_new v − W v must be μ((1/N)δZᵀ + W̃)v for a normal v, and b_new − b must be (μ/N)δ1; then R and log|det W|
    /// must be those of the new weights. W̃v is Rᵀu + C(v − u), where u = V(Vᵀv) + (1/π)Σ_I (e_i − V(Vᵀe_i))v_i.
    pub(super) fn checked_step(
        &mut self,
        device: &D,
        parameters: &mut Parameters<D, T>,
        x: &Matrix<D, T>,
        mu: f64,
    ) -> Result<Check> {
        let dim = parameters.architecture().dim;
        let v = DVector::from_vec(init::normals(SEED, dim));
        let data = data_shares(device, parameters, x, &v)?;
        let mut moves = Vec::new();
        for (k, data) in data.iter().enumerate() {
            moves.push(&data.applied + self.share(device, parameters, k, &v)?);
        }
        let before = products(device, parameters, &v)?;
        let sizes = self.step(device, parameters, x.view().into(), mu)?.step_sizes.clone();
        let after = products(device, parameters, &v)?;
        let tolerance = tolerance(device.math());
        let mut errors = vec![self.inverses.compare(device, parameters)?];
        for (k, (moved, data)) in moves.iter().zip(&data).enumerate() {
            let mut judge = |before: &DVector<f64>, after: &DVector<f64>, expected: &DVector<f64>| {
                // Both products are rounded, each a sum of D terms, and so was W when it moved.
                let slack = 8.0 * T::EPS * after.amax() / tolerance;
                let expected = expected.iter().map(|d| sizes[k] * d);
                errors.push(error_beyond(slack, (after - before).iter().copied(), expected));
            };
            judge(&before[k].0, &after[k].0, moved);
            if let (Some(before), Some(after)) = (&before[k].1, &after[k].1) {
                judge(before, after, &data.bias);
            }
        }
        Ok(Check { kind: "random-vector", max_rel_err: worst(errors), tolerance })
    }

    /// W̃v for the coordinates of the next step.
    fn share(&self, device: &D, parameters: &Parameters<D, T>, k: usize, v: &DVector<f64>) -> Result<DVector<f64>> {
        let mut draws = self.draws[k].clone();
        let (chosen, probability) = draws.draw();
        let mut sketched = DVector::zeros(v.len());
        chosen.iter().for_each(|&i| sketched[i] = v[i] / probability);
        if let Some(direction) = self.directions.get(k) {
            let direction = wide(device, direction.view())?.column(0).into_owned();
            let along = direction.dot(&(v - &sketched));
            sketched += direction * along;
        }
        let share = multiply(device, self.inverses.transposed(k), &sketched)?;
        if self.sketch.control != Control::Columns {
            return Ok(share);
        }
        let weight = wide(device, parameters.weight(k))?;
        let mut rest = v - sketched;
        rest.iter_mut().zip(weight.column_iter()).for_each(|(rest, column)| *rest /= column.norm_squared());
        Ok(share + weight * rest)
    }
}

/// Those of every layer, at the old parameters: by nalgebra, or where that takes too long from the errors of a pass.
fn data_shares<D: Device<T>, T: Scalar>(
    device: &D,
    parameters: &Parameters<D, T>,
    x: &Matrix<D, T>,
    v: &DVector<f64>,
) -> Result<Vec<DataShare>> {
    let architecture = *parameters.architecture();
    let mut shares = Vec::new();
    if architecture.dim <= REFERENCE_DIM {
        let direction = Reference::from_parameters(device, parameters)?.ordinary(&wide(device, x.view())?)?;
        for (k, gradient) in direction.weights.iter().enumerate() {
            let Some(inverse) = wide(device, parameters.weight(k))?.try_inverse() else {
                return Err(Error::Singular { matrix: "weight of a check".into(), condition: f64::INFINITY });
            };
            let bias = direction.biases.get(k).cloned().unwrap_or_else(|| DVector::zeros(v.len()));
            shares.push(DataShare { applied: gradient * v - inverse.transpose() * v, bias });
        }
        return Ok(shares);
    }
    let mut evaluator = Evaluator::new(device, &architecture, x.cols())?;
    evaluator.data_terms(device, parameters, x.view())?;
    let mut carried = vec![wide(device, x.view())?];
    for k in 1..architecture.layers {
        let y = wide(device, evaluator.pre_activation(k - 1))?;
        let is_linear = !architecture.is_nonlinear(k - 1);
        carried.push(if is_linear { y } else { y.map(|y| sigma(architecture.activation, y)) });
    }
    let errors = evaluator.backward_errors(device, parameters, x.view())?;
    for (delta, z) in errors.into_iter().zip(carried) {
        let delta = DMatrix::from_iterator(z.nrows(), z.ncols(), delta.into_iter().map(Scalar::widen));
        let mean = 1.0 / z.ncols() as f64;
        shares.push(DataShare { applied: &delta * z.tr_mul(v) * mean, bias: delta.column_sum() * mean });
    }
    Ok(shares)
}

/// W_k v and b_k of every layer.
type Products = Vec<(DVector<f64>, Option<DVector<f64>>)>;

fn products<D: Device<T>, T: Scalar>(device: &D, parameters: &Parameters<D, T>, v: &DVector<f64>) -> Result<Products> {
    let of_layer = |k| {
        let bias = parameters.bias(k).map(|bias| wide(device, bias)).transpose()?;
        Ok((multiply(device, parameters.weight(k), v)?, bias.map(|bias| bias.column(0).into_owned())))
    };
    (0..parameters.architecture().layers).map(of_layer).collect()
}

/// A v in full precision.
fn multiply<D: Device<T>, T: Scalar>(
    device: &D,
    a: crate::device::MatrixRef<'_, D, T>,
    v: &DVector<f64>,
) -> Result<DVector<f64>> {
    let narrow: Vec<T> = v.iter().map(|&v| T::of(v)).collect();
    let v = Matrix::from_column_major(device, &narrow, v.len(), 1, "vector of the check")?;
    let mut out = Matrix::zeros(device, a.rows(), 1, "product of the check")?;
    device.in_full_precision(|device| {
        device.multiply(T::of(1.0), a.plain(), v.view().plain(), Addend::Zero, out.view_mut())
    })?;
    Ok(wide(device, out.view())?.column(0).into_owned())
}
