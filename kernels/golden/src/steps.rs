//! What needs a step: the sweep in place, and inverses that are refreshed after one.

use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::bound::bind;
use relgrad_kernels::device::{Device, Matrix};
use relgrad_kernels::layer::{ForGroup, Group, MaybeGroup};
use relgrad_kernels::parameters::{Gradient, Parameters};
use relgrad_kernels::step::InPlaceStep;
use relgrad_kernels::{Method, Result, Scalar};

use crate::array::Direction;
use crate::compare::{Comparison, distance, parameters, wide};

/// Step length of the in-place sweep. A power of two, so that (W_new − W)/μ scales without rounding, and large, so that
/// the difference loses nothing where ΔW is small beside W.
const STEP: f64 = 64.0;

/// The first step, which is shortened until the refresh needs no LU, and by how much each time.
const FIRST_STEP: f64 = 1e-3;
const SHORTER: f64 = 0.1;
/// Shorter ones are lost in the weights' rounding.
const SHORTEST: f64 = 1e-9;

impl<D: Device<T> + 'static, T: Scalar, C: MaybeGroup<D, T>> Comparison<'_, D, T, C> {
    /// (W_new − W)/μ of one in-place step.
    pub(crate) fn in_place_errors(&self, expected: &Direction) -> Result<Vec<f64>> {
        let device = self.device;
        let after = self.parameters.architecture().coupling.if_group(Stepped { comparison: self })?;
        let pairs = after.arrays().iter().zip(self.parameters.arrays().iter());
        let mut errors = Vec::new();
        for ((after, before), expected) in pairs.zip(expected.weights.iter().chain(&expected.biases)) {
            let (after, before) = (wide(device, after.view())?, wide(device, before.view())?);
            let direction: Vec<f64> = after.iter().zip(before).map(|(after, before)| (after - before) / STEP).collect();
            errors.push(distance(&direction, expected));
        }
        Ok(errors)
    }

    /// The errors of the gradient at the file's weights, from inverses of those before a plain step to them. Where even
    /// the shortest step is too long for the precision, the method takes an LU, and so does this.
    pub(crate) fn refreshed_errors(&self, expected: &Direction) -> Result<Vec<f64>> {
        let (device, architecture) = (self.device, self.parameters.architecture());
        let mut step = FIRST_STEP;
        loop {
            let mut bound = bind(device, Method::NewtonSchulz, BiasMode::Exact, architecture, self.batch().x.cols())?;
            let mut out = Gradient::zeros(device, architecture, "gradient")?;
            bound.gradient(device, &self.before(step, expected)?, self.batch(), &mut out)?;
            bound.gradient(device, &self.parameters, self.batch(), &mut out)?;
            device.synchronize()?;
            if step < SHORTEST || bound.refresh().is_some_and(|refresh| refresh.factored == 0) {
                return self.errors(&out, expected);
            }
            step *= SHORTER;
        }
    }

    /// The network before a step along the file's gradient.
    fn before(&self, step: f64, gradient: &Direction) -> Result<Parameters<D, T, C>> {
        let mut parameters = parameters(self.device, *self.parameters.architecture(), self.golden)?;
        for (weight, gradient) in parameters.arrays_mut().weights.iter_mut().zip(&gradient.weights) {
            let before = weight.to_column_major(self.device)?;
            let before = before.iter().zip(&gradient.data).map(|(w, g)| T::of(w.widen() - step * g));
            let before: Vec<T> = before.collect();
            *weight = Matrix::from_column_major(self.device, &before, weight.rows(), weight.cols(), "weight before")?;
        }
        Ok(parameters)
    }
}

/// Steps a copy of the network, which needs a group.
struct Stepped<'a, 'b, D: Device<T>, T: Scalar, C: MaybeGroup<D, T>> {
    comparison: &'a Comparison<'b, D, T, C>,
}

impl<D: Device<T> + 'static, T: Scalar, C: MaybeGroup<D, T>> ForGroup<D, T, C> for Stepped<'_, '_, D, T, C> {
    type Out = Parameters<D, T, C>;

    fn call(self, _group: C) -> Result<Self::Out>
    where
        C: Group<D, T>,
    {
        let Comparison { device, golden, parameters: before, .. } = self.comparison;
        let architecture = *before.architecture();
        let mut parameters = parameters(*device, architecture, golden)?;
        let step = InPlaceStep { guard: false, ..InPlaceStep::default() };
        let batch = self.comparison.batch();
        let mut workspace = step.workspace(*device, &architecture, batch.x.cols())?;
        step.step(*device, &mut parameters, batch, STEP, &mut workspace, None)?;
        device.synchronize()?;
        Ok(parameters)
    }
}
