//! Adam in the coordinates of the relative step: W ← (I + μÂ)W, with the moments of E and not of EW \[M93\]–\[M95\].

use super::{Adam, AdamCoefficients, Moments, Update};
use crate::backend::RelativeCoordinates;
use crate::device::{Addend, Device, Matrix};
use crate::error::{Error, Result};
use crate::layer::{ForGroup, Group, MaybeGroup};
use crate::network::Architecture;
use crate::parameters::{Arrays, Batch, Gradient, Parameters};
use crate::scalar::Scalar;

/// Steps of Adam in relative coordinates, with their work memory.
pub trait Equivariant<D: Device<T>, T: Scalar, C> {
    /// One step of size μ on a batch \[M94\]; allocates nothing. The moments are those of E and e, and of the plain
    /// direction of a conditional density.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::InvalidParameter`] for numbers of Adam out of range; [`Error::NonFinite`].
    fn step(
        &mut self,
        device: &D,
        parameters: &mut Parameters<D, T, C>,
        batch: Batch<'_, D, T>,
        mu: f64,
        adam: (&Adam, &mut Moments<D, T>),
    ) -> Result<()>;

    /// Writes E_k \[M93\] in the place of W_k, e_k in that of b_k, and the ordinary gradient of a conditional density;
    /// allocates nothing.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::NonFinite`].
    fn coordinates(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: Batch<'_, D, T>,
        out: &mut Gradient<D, T>,
    ) -> Result<()>;
}

/// Takes the memory of steps on batches of `batch` samples: that of a stored relative gradient, and a weight's twice.
///
/// # Errors
/// [`Error::ShapeMismatch`] for layers that are not dense; [`Error::OutOfMemory`].
pub fn equivariant<D: Update<T> + 'static, T: Scalar, C: MaybeGroup<D, T>>(
    device: &D,
    architecture: &Architecture<C>,
    batch: usize,
) -> Result<Box<dyn Equivariant<D, T, C>>> {
    if !C::IS_DENSE {
        return Err(Error::shape("relative coordinates", "dense layers", format!("{:?}", architecture.coupling)));
    }
    architecture.coupling.if_group(TakeMemory { device, architecture, batch })
}

struct TakeMemory<'a, D, C> {
    device: &'a D,
    architecture: &'a Architecture<C>,
    batch: usize,
}

impl<D: Update<T> + 'static, T: Scalar, C: MaybeGroup<D, T>> ForGroup<D, T, C> for TakeMemory<'_, D, C> {
    type Out = Box<dyn Equivariant<D, T, C>>;

    fn call(self, _group: C) -> Result<Self::Out>
    where
        C: Group<D, T>,
    {
        let Self { device, architecture, batch } = self;
        Ok(Box::new(Steps {
            coordinates: RelativeCoordinates::new(device, architecture, batch)?,
            direction: Gradient::zeros(device, architecture, "relative coordinates")?,
            weight: Matrix::zeros(device, architecture.dim, architecture.dim, "weight before the step")?,
            bias: Matrix::zeros(device, architecture.dim, 1, "bias before the step")?,
        }))
    }
}

struct Steps<D: Device<T>, T: Scalar, C: Group<D, T>> {
    coordinates: RelativeCoordinates<D, T, C>,
    /// E_k and e_k, then what becomes of W_k.
    direction: Gradient<D, T>,
    weight: Matrix<D, T>,
    bias: Matrix<D, T>,
}

impl<D: Update<T>, T: Scalar, C: Group<D, T>> Equivariant<D, T, C> for Steps<D, T, C> {
    fn step(
        &mut self,
        device: &D,
        parameters: &mut Parameters<D, T, C>,
        batch: Batch<'_, D, T>,
        mu: f64,
        (adam, moments): (&Adam, &mut Moments<D, T>),
    ) -> Result<()> {
        let coefficients = adam.coefficients(moments.steps, mu)?;
        moments.first.require_fit("first moments", parameters.architecture())?;
        moments.second.require_fit("second moments", parameters.architecture())?;
        self.coordinates.write(device, parameters, batch, &mut self.direction)?;
        for k in 0..parameters.architecture().layers {
            self.move_layer(device, k, parameters.arrays_mut(), coefficients, moments)?;
        }
        // The density of a condition is in no group: its step is plain Adam's.
        let directions = self.direction.head.iter().flat_map(|head| head.matrices());
        let [first, second, head] = [&mut moments.first, &mut moments.second, parameters.arrays_mut()]
            .map(|arrays| arrays.head.iter_mut().flat_map(|head| head.matrices_mut()));
        for (((from, m), v), to) in directions.zip(first).zip(second).zip(head) {
            device.adam(coefficients, from.view(), m.view_mut(), v.view_mut(), to.view_mut())?;
        }
        moments.steps += 1;
        Ok(())
    }

    fn coordinates(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        batch: Batch<'_, D, T>,
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        self.coordinates.write(device, parameters, batch, out)
    }
}

impl<D: Update<T>, T: Scalar, C: Group<D, T>> Steps<D, T, C> {
    /// S ← μÂ, s ← μâ;  b ← b + Sb + s,  W ← W + SW.
    fn move_layer(
        &mut self,
        device: &D,
        k: usize,
        arrays: &mut Arrays<D, T>,
        coefficients: AdamCoefficients<T>,
        moments: &mut Moments<D, T>,
    ) -> Result<()> {
        let Self { direction, weight: old, bias: old_bias, .. } = self;
        let Moments { first, second, .. } = moments;
        let weight = &mut arrays.weights[k];
        let (zero, one) = (T::of(0.0), T::of(1.0));
        device.copy(weight.view(), old.view_mut())?;
        device.fill(zero, weight.view_mut())?;
        let held = (first.weights[k].view_mut(), second.weights[k].view_mut());
        device.adam(coefficients, direction.weights[k].view(), held.0, held.1, weight.view_mut())?;
        if let Some(bias) = arrays.biases.get_mut(k) {
            device.copy(bias.view(), old_bias.view_mut())?;
            let held = (first.biases[k].view_mut(), second.biases[k].view_mut());
            device.adam(coefficients, direction.biases[k].view(), held.0, held.1, bias.view_mut())?;
            let moved = Addend::Scaled(one);
            device.multiply(one, weight.view().plain(), old_bias.view().plain(), moved, bias.view_mut())?;
        }
        let moved = direction.weights[k].view_mut();
        let (step, old) = (weight.view(), old.view());
        device.multiply(one, step.plain(), old.plain(), Addend::Matrix(old.shorten()), moved)?;
        device.copy(direction.weights[k].view(), weight.view_mut())
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;

    use super::*;
    use crate::backend::{BiasMode, GradientBackend, Relative};
    use crate::device::Cpu;
    use crate::init::{self, Init};
    use crate::layer::Dense;

    const BATCH: usize = 23;

    fn architecture(dim: usize) -> Architecture {
        Architecture { bias: true, ..Architecture::new(dim, 3) }
    }

    /// A network with weights of no special kind and biases that are not zero.
    fn network<T: Scalar>(device: &Cpu, dim: usize) -> Parameters<Cpu, T> {
        let mut parameters = init::network(device, &architecture(dim), Init::ScaledGaussian, 5).unwrap();
        for (k, bias) in parameters.arrays_mut().biases.iter_mut().enumerate() {
            let values: Vec<T> = (0..dim).map(|i| T::of(0.1 * (i + k) as f64 - 0.4)).collect();
            *bias = Matrix::from_column_major(device, &values, dim, 1, "bias").unwrap();
        }
        parameters
    }

    fn wide<T: Scalar>(device: &Cpu, matrix: &Matrix<Cpu, T>) -> DMatrix<f64> {
        let values = matrix.to_column_major(device).unwrap().into_iter().map(Scalar::widen);
        DMatrix::from_iterator(matrix.rows(), matrix.cols(), values)
    }

    fn narrow<T: Scalar>(device: &Cpu, values: &DMatrix<f64>) -> Matrix<Cpu, T> {
        let numbers: Vec<T> = values.iter().map(|x| T::of(*x)).collect();
        Matrix::from_column_major(device, &numbers, values.nrows(), values.ncols(), "numbers").unwrap()
    }

    /// E_k W_k is the relative gradient, and E_k b_k + e_k that of the bias: products of D terms of about 1.
    fn coordinates_times_the_parameters_are_the_relative_gradient<T: Scalar>(threads: usize) {
        let device = Cpu::new(threads);
        for dim in [1, 2, 9, 33] {
            let parameters = network::<T>(&device, dim);
            let x: Matrix<Cpu, T> = init::batch(&device, dim, BATCH, 6).unwrap();
            let zeros = || Gradient::zeros(&device, &architecture(dim), "direction").unwrap();
            let (mut direction, mut found) = (zeros(), zeros());
            let relative = Relative { bias_mode: BiasMode::Exact };
            let mut work =
                GradientBackend::<_, T, Dense>::workspace(&relative, &device, &architecture(dim), BATCH).unwrap();
            relative.gradient(&device, &parameters, x.view(), &mut work, &mut direction).unwrap();
            let mut coordinates = RelativeCoordinates::new(&device, &architecture(dim), BATCH).unwrap();
            // Twice: what was there before must not count.
            for _ in 0..2 {
                coordinates.write(&device, &parameters, x.view().into(), &mut found).unwrap();
            }
            for k in 0..3 {
                let [e, w, b] = [&found.weights[k], &parameters.arrays().weights[k], &parameters.arrays().biases[k]]
                    .map(|matrix| wide(&device, matrix));
                let expected = [wide(&device, &direction.weights[k]), wide(&device, &direction.biases[k])];
                let found = [&e * w, &e * b + wide(&device, &found.biases[k])];
                for (found, expected) in found.iter().zip(&expected) {
                    let error = (found - expected).norm() / (1.0 + expected.norm());
                    assert!(error <= 100.0 * T::EPS, "D = {dim}, layer {}: {error}", k + 1);
                }
            }
        }
    }

    #[test]
    fn coordinates_belong_to_the_relative_gradient_in_both_precisions() {
        for threads in [1, 2] {
            coordinates_times_the_parameters_are_the_relative_gradient::<f64>(threads);
            coordinates_times_the_parameters_are_the_relative_gradient::<f32>(threads);
        }
    }

    /// W₁A⁻¹ on Ax is W₁ on x. Steps in relative coordinates keep that, and Adam's own do not.
    #[test]
    fn a_linear_map_of_the_data_changes_no_step() {
        const DIM: usize = 9;
        let device = Cpu::new(1);
        let x = wide(&device, &init::batch::<_, f64>(&device, DIM, BATCH, 6).unwrap());
        let map =
            wide(&device, &init::batch::<_, f64>(&device, DIM, DIM, 7).unwrap()) + DMatrix::identity(DIM, DIM) * 4.0;
        let train = |map: &DMatrix<f64>, is_equivariant: bool| {
            let mut parameters = network::<f64>(&device, DIM);
            let first = wide(&device, &parameters.arrays().weights[0]) * map.clone().try_inverse().unwrap();
            parameters.arrays_mut().weights[0] = narrow(&device, &first);
            let x = narrow(&device, &(map * &x));
            let mut moments = Moments::zeros(&device, &architecture(DIM)).unwrap();
            let mut steps = equivariant(&device, &architecture(DIM), BATCH).unwrap();
            let relative = Relative::default();
            let mut work =
                GradientBackend::<_, f64, Dense>::workspace(&relative, &device, &architecture(DIM), BATCH).unwrap();
            let mut direction = Gradient::zeros(&device, &architecture(DIM), "direction").unwrap();
            for _ in 0..5 {
                let adam = Adam::default();
                if is_equivariant {
                    let batch = x.view().into();
                    steps.step(&device, &mut parameters, batch, 0.01, (&adam, &mut moments)).unwrap();
                } else {
                    relative.gradient(&device, &parameters, x.view(), &mut work, &mut direction).unwrap();
                    adam.step(&device, &mut parameters, &direction, 0.01, &mut moments).unwrap();
                }
            }
            assert_eq!(moments.steps, 5);
            let rest = (1..3).map(|k| wide(&device, &parameters.arrays().weights[k]));
            let biases = (0..3).map(|k| wide(&device, &parameters.arrays().biases[k]));
            [wide(&device, &parameters.arrays().weights[0]) * map]
                .into_iter()
                .chain(rest)
                .chain(biases)
                .collect::<Vec<_>>()
        };
        let furthest = |is_equivariant| {
            let [one, other] = [DMatrix::identity(DIM, DIM), map.clone()].map(|map| train(&map, is_equivariant));
            let away = one.iter().zip(&other).map(|(one, other)| (one - other).norm() / one.norm());
            away.fold(0.0, f64::max)
        };
        assert!(furthest(true) < 1e-10, "{}", furthest(true));
        assert!(furthest(false) > 1e-3, "{}", furthest(false));
    }

    #[test]
    fn layers_that_are_not_dense_are_refused() {
        let device = Cpu::new(1);
        let grid = crate::layer::Convolution { channels: 1, grid: [4, 4], kernel: [4, 4] };
        let architecture = Architecture::new(16, 2).with(crate::layer::Circular::<true>(grid));
        let refused = equivariant::<_, f64, _>(&device, &architecture, 3);
        assert!(matches!(refused.err(), Some(Error::ShapeMismatch { .. })));
    }
}
