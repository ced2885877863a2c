//! An in-place step by its products with a random vector, in memory for some blocks of D×N.

use super::{Check, WithFollower, error_beyond, tolerance, worst};
use crate::backend::relative::{Form, RankUpdate, RightFactor, Sink, sweep};
use crate::device::{Addend, Device, Matrix, MatrixRef};
use crate::error::Result;
use crate::init;
use crate::layer::Group;
use crate::output::Head;
use crate::parameters::{Batch, Parameters};
use crate::scalar::Scalar;
use crate::step::{InPlaceStep, Workspace};

/// Any seed that the networks of a study do not use.
const SEED: u64 = 0x7665_6374_6f72;

/// W_new v − W v must be μ ΔW v for a normal v, which every entry of W moves, and b_new − b must be μ Δb. ΔW v is
/// (1/N) left (rightᵀ v) + W v, for which no D×D direction is needed. A step that is lost in the rounding of W passes:
/// μ must be far above it.
pub(super) fn step<D: Device<T>, T: Scalar, C: Group<D, T>>(
    device: &D,
    form: Form,
    step: &InPlaceStep,
    parameters: &mut Parameters<D, T, C>,
    x: &Matrix<D, T>,
    mu: f64,
    (workspace, follower): WithFollower<'_, D, T, C>,
) -> Result<Check> {
    let dim = parameters.architecture().dim;
    let v: Vec<T> = init::normals(SEED, dim).into_iter().map(T::of).collect();
    let v = Matrix::from_column_major(device, &v, dim, 1, "vector of the check")?;
    if step.delay > 1 {
        // So that the step to be checked finds updates that are pending.
        InPlaceStep { guard: true, ..*step }.step(device, parameters, x.view(), mu, workspace, None)?;
    }
    let before = device.in_full_precision(|device| products(device, parameters, &v, workspace))?;
    let mut applied = Applied { parameters, v: &v, weights: &before.0, moves: Vec::new() };
    sweep(device, form, x.view().into(), &mut workspace.sweep, &mut applied)?;
    let mut moves = applied.moves;
    // From the last layer to the first.
    moves.reverse();
    let sizes = step.follow(device, parameters, x.view().into(), mu, workspace, (None, follower))?.step_sizes.clone();
    step.settle(device, parameters, workspace)?;
    let after = device.in_full_precision(|device| products(device, parameters, &v, workspace))?;
    let tolerance = tolerance(device.math());
    let mut errors = Vec::new();
    for (k, (of_weight, of_bias)) in moves.into_iter().enumerate() {
        let mut judge = |before: &[f64], after: &[f64], moves: Vec<f64>| {
            let size = after.iter().fold(0.0, |most, a| f64::max(most, a.abs()));
            // Both products are rounded, each a sum of D terms, and so was W when it moved.
            let rounding = 8.0 * T::EPS * size;
            let moved = after.iter().zip(before).map(|(a, b)| a - b);
            let expected = moves.iter().map(|d| sizes[k] * d);
            errors.push(error_beyond(rounding / tolerance, moved, expected));
        };
        judge(&before.0[k], &after.0[k], of_weight);
        if let Some(of_bias) = of_bias {
            judge(&before.1[k], &after.1[k], of_bias);
        }
    }
    Ok(Check { kind: "random-vector", max_rel_err: worst(errors), tolerance })
}

/// W_k v and b_k of every layer, with what is pending.
type Products = (Vec<Vec<f64>>, Vec<Vec<f64>>);

fn products<D: Device<T>, T: Scalar, C: Group<D, T>>(
    device: &D,
    parameters: &Parameters<D, T, C>,
    v: &Matrix<D, T>,
    workspace: &mut Workspace<D, T, C>,
) -> Result<Products> {
    let coupling = parameters.architecture().coupling;
    let mut out = Matrix::zeros(device, v.rows(), 1, "vector of the check")?;
    let mut weights = Vec::new();
    for k in 0..parameters.architecture().layers {
        let (layer, work) = (parameters.network().layer(k), &mut workspace.sweep.values.work);
        coupling.push(device, &layer, v.view(), out.view_mut(), work)?;
        weights.push(wide(device, out.view())?);
    }
    let biases = parameters.arrays().biases.iter().map(|b| wide(device, b.view())).collect::<Result<_>>()?;
    Ok((weights, biases))
}

fn wide<D: Device<T>, T: Scalar>(device: &D, m: MatrixRef<'_, D, T>) -> Result<Vec<f64>> {
    Ok(device.to_host(m)?.into_iter().map(Scalar::widen).collect())
}

/// Multiplies every direction with the vector, and stores none.
struct Applied<'a, D: Device<T>, T: Scalar, C: Group<D, T>> {
    parameters: &'a Parameters<D, T, C>,
    v: &'a Matrix<D, T>,
    /// W_k v.
    weights: &'a [Vec<f64>],
    /// ΔW_k v and Δb_k, from the last layer on.
    moves: Vec<(Vec<f64>, Option<Vec<f64>>)>,
}

impl<D: Device<T>, T: Scalar, C: Group<D, T>> Sink<D, T, C> for Applied<'_, D, T, C> {
    fn parameters(&self) -> &Parameters<D, T, C> {
        self.parameters
    }

    fn absorb_head(&mut self, _: &D, _: &Head<D, T>, _: Batch<'_, D, T>) -> Result<()> {
        Ok(())
    }

    fn absorb(&mut self, device: &D, k: usize, update: RankUpdate<'_, D, T>, work: &mut C::Work) -> Result<()> {
        let RankUpdate { left, mut right, samples, bias_share } = update;
        let coupling = self.parameters.architecture().coupling;
        let (dim, count) = left.matrix.shape();
        let right = match &mut right {
            RightFactor::Pulled { errors, into } => {
                let layer = self.parameters.network().layer(k);
                coupling.pull_pair(device, &layer, errors.shorten(), into.reborrow(), work)?;
                into.view().columns(0, count)
            }
            RightFactor::Known(right, _) => right.shorten(),
        };
        let mean = T::of(1.0 / count as f64);
        let mut inner = Matrix::zeros(device, count, 1, "vector of the check")?;
        device.multiply(mean, right.transposed(), self.v.view().plain(), Addend::Zero, inner.view_mut())?;
        let mut out = Matrix::zeros(device, dim, 1, "vector of the check")?;
        let one = T::of(1.0);
        device.multiply(one, left.matrix.shorten().plain(), inner.view().plain(), Addend::Zero, out.view_mut())?;
        let moved = wide(device, out.view())?.into_iter().zip(&self.weights[k]).map(|(a, w)| a + w).collect();
        let (Some(samples), Some(bias)) = (samples, self.parameters.bias(k)) else {
            self.moves.push((moved, None));
            return Ok(());
        };
        let addend = if bias_share { Addend::Matrix(bias) } else { Addend::Zero };
        let factors = (left.matrix.shorten(), samples.shorten());
        coupling.outer_bias(device, mean, factors, addend, out.view_mut(), work)?;
        self.moves.push((moved, Some(wide(device, out.view())?)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::BiasMode;
    use crate::device::Cpu;
    use crate::init::Init;
    use crate::network::Architecture;

    fn check<T: Scalar>(form: Form, step: InPlaceStep, samples: usize) -> Check {
        let device = Cpu::new(2);
        let architecture = Architecture { bias: true, ..Architecture::new(130, 3) };
        let mut parameters = init::network::<_, T, _>(&device, &architecture, Init::Conditioned, 1).unwrap();
        let x = init::batch(&device, 130, samples, 1).unwrap();
        let mut workspace = step.workspace(&device, &architecture, samples).unwrap();
        super::step(&device, form, &step, &mut parameters, &x, 0.01, (&mut workspace, None)).unwrap()
    }

    fn right_steps_pass_and_others_do_not<T: Scalar>() {
        for samples in [2, 40] {
            for bias_mode in BiasMode::ALL {
                let relative = InPlaceStep { bias_mode, guard: false, ..InPlaceStep::default() };
                let right = check::<T>(Form::Relative(bias_mode), relative, samples);
                assert!(right.passed(), "{bias_mode}, N = {samples}: {right:?}");
                let wrong = check::<T>(Form::Transposed, relative, samples);
                assert!(!wrong.passed(), "{bias_mode}, N = {samples}: {wrong:?}");
            }
            let transposed = InPlaceStep { transposed: true, guard: false, ..InPlaceStep::default() };
            assert!(check::<T>(Form::Transposed, transposed, samples).passed());
            assert!(!check::<T>(Form::Relative(BiasMode::Exact), transposed, samples).passed());
            let other_bias = InPlaceStep { bias_mode: BiasMode::Plain, guard: false, ..InPlaceStep::default() };
            assert!(!check::<T>(Form::Relative(BiasMode::Exact), other_bias, samples).passed());
        }
    }

    /// Beyond the dimension of copies, where few samples take passes of their own.
    #[test]
    fn a_large_step_is_checked_by_a_vector() {
        let device = Cpu::new(2);
        let architecture = Architecture { bias: true, ..Architecture::new(1001, 2) };
        for samples in [2, 30] {
            let mut parameters = init::network::<_, f32, _>(&device, &architecture, Init::Conditioned, 1).unwrap();
            let x = init::batch(&device, 1001, samples, 1).unwrap();
            let step = InPlaceStep { guard: false, ..InPlaceStep::default() };
            let mut workspace = step.workspace(&device, &architecture, samples).unwrap();
            let check = crate::check::step(&device, &step, &mut parameters, &x, 0.01, &mut workspace).unwrap();
            assert!(check.passed() && check.kind == "random-vector", "N = {samples}: {check:?}");
        }
    }

    /// A step that nothing holds back may leave a network whose next direction cannot be represented: that before the
    /// checked one must not.
    #[test]
    fn a_delayed_step_of_one_large_sample_passes() {
        let device = Cpu::new(2);
        let architecture = Architecture::new(200, 2);
        let mut parameters = init::network::<_, f32, _>(&device, &architecture, Init::Conditioned, 1).unwrap();
        let numbers: Vec<f32> = init::normals(1, 200).into_iter().map(|x| 1e4 * x as f32).collect();
        let x = Matrix::from_column_major(&device, &numbers, 200, 1, "batch").unwrap();
        let step = InPlaceStep { guard: false, delay: 8, ..InPlaceStep::default() };
        let mut workspace = step.workspace(&device, &architecture, 1).unwrap();
        let check = crate::check::step(&device, &step, &mut parameters, &x, 0.01, &mut workspace).unwrap();
        assert!(check.passed(), "{check:?}");
    }

    #[test]
    fn right_steps_pass_and_others_do_not_in_both_precisions() {
        right_steps_pass_and_others_do_not::<f32>();
        right_steps_pass_and_others_do_not::<f64>();
    }
}
