//! Muon: steps of equal length in every direction of a weight.

use super::{Update, all_mut, pairs};
use crate::device::{Addend, Matrix};
use crate::error::{Error, Result};
use crate::layer::Geometry;
use crate::network::Architecture;
use crate::parameters::{Arrays, Gradient, Parameters};
use crate::scalar::Scalar;

/// Muon (Jordan and others, "Muon: an optimizer for hidden layers in neural networks", 2024), for dense weights:
///
/// B ← βB + Δ,  X ← B/‖B‖_F,  five times X ← aX + (bA + cA²)X with A = XXᵀ,  W ← W + μX.
///
/// The polynomial takes the singular values of B to about 1 (0.7 to 1.2). 30 D³ operations a weight. Biases take plain
/// steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Muon {
    /// Decay β of the momentum.
    pub momentum: f64,
}

/// a, b and c of the authors.
const POLYNOMIAL: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// Iterations of the authors.
pub(super) const ITERATIONS: usize = 5;

impl Default for Muon {
    fn default() -> Self {
        Self { momentum: 0.95 }
    }
}

/// The momentum B of every array, and four D×D matrices.
pub struct Momentum<D: Update<T>, T: Scalar> {
    momentum: Arrays<D, T>,
    /// X, the next X, A, and bA + cA².
    work: [Matrix<D, T>; 4],
}

impl<D: Update<T>, T: Scalar> Momentum<D, T> {
    /// No step yet: all zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::ShapeMismatch`] for weights that are not D×D.
    pub fn zeros<C: Geometry>(device: &D, architecture: &Architecture<C>) -> Result<Self> {
        let dim = architecture.dim;
        let shape = architecture.coupling.weight_shape(dim);
        if shape != [dim, dim] {
            let found = format!("weights of {}×{} numbers", shape[0], shape[1]);
            return Err(Error::shape("Muon", "dense layers (for others use `plain` or `adam`)", found));
        }
        let square = || Matrix::zeros(device, dim, dim, "powers of the momentum");
        let work = [square()?, square()?, square()?, square()?];
        Ok(Self { momentum: Arrays::zeros(device, architecture, "momentum")?, work })
    }
}

impl Muon {
    /// One step of size μ along `direction`; allocates nothing.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::NonFinite`] for a direction that is not finite.
    pub fn step<D: Update<T>, T: Scalar, C>(
        &self,
        device: &D,
        parameters: &mut Parameters<D, T, C>,
        direction: &Gradient<D, T>,
        mu: f64,
        state: &mut Momentum<D, T>,
    ) -> Result<()> {
        let weights = direction.weights.len();
        let Momentum { momentum, work } = state;
        let targets = pairs(parameters.arrays_mut(), direction)?;
        if momentum.iter().count() != targets.len() {
            return Err(Error::shape("Muon", format!("{} arrays of momentum", targets.len()), momentum.iter().count()));
        }
        for (k, ((to, from), kept)) in targets.into_iter().zip(all_mut(momentum)).enumerate() {
            if k >= weights {
                device.add_scaled(T::of(mu), from.view(), to.view_mut())?;
                continue;
            }
            // β − 1 of itself by a copy, since operands may not share memory.
            device.copy(kept.view(), work[0].view_mut())?;
            device.add_scaled(T::of(self.momentum - 1.0), work[0].view(), kept.view_mut())?;
            device.add_scaled(T::of(1.0), from.view(), kept.view_mut())?;
            orthogonalize(device, kept, work)?;
            device.add_scaled(T::of(mu), work[0].view(), to.view_mut())?;
        }
        Ok(())
    }
}

/// X ← the matrix near the orthogonal one that is nearest to B; zero for B = 0.
fn orthogonalize<D: Update<T>, T: Scalar>(device: &D, b: &Matrix<D, T>, work: &mut [Matrix<D, T>; 4]) -> Result<()> {
    let [x, next, gram, polynomial] = work;
    let norm = device.frobenius_norm(b.view())?;
    if !norm.is_finite() {
        return Err(Error::NonFinite { what: "momentum".to_string() });
    }
    device.fill(T::of(0.0), x.view_mut())?;
    if norm > 0.0 {
        device.add_scaled(T::of(1.0 / norm), b.view(), x.view_mut())?;
    }
    let [of_x, of_gram, of_square] = POLYNOMIAL.map(T::of);
    for _ in 0..ITERATIONS {
        device.multiply(T::of(1.0), x.view().plain(), x.view().transposed(), Addend::Zero, gram.view_mut())?;
        device.copy(gram.view(), polynomial.view_mut())?;
        let addend = Addend::Scaled(of_gram);
        device.multiply(of_square, gram.view().plain(), gram.view().plain(), addend, polynomial.view_mut())?;
        device.copy(x.view(), next.view_mut())?;
        let addend = Addend::Scaled(of_x);
        device.multiply(T::of(1.0), polynomial.view().plain(), x.view().plain(), addend, next.view_mut())?;
        std::mem::swap(x, next);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Cpu, Device};
    use crate::init::{self, Init};

    /// The step is μX with XᵀX near I, and X in the direction of the gradient: ⟨X, Δ⟩ is near the sum of the singular
    /// values. Precondition: a direction whose singular values are within a factor of 30.
    #[test]
    fn a_step_is_nearly_orthogonal_and_ascends() {
        let (device, dim) = (Cpu::new(2), 37);
        let architecture = Architecture { bias: true, ..Architecture::new(dim, 2) };
        let mut parameters = init::network::<_, f64, _>(&device, &architecture, Init::Orthogonal, 3).unwrap();
        let direction = init::network::<_, f64, _>(&device, &architecture, Init::Conditioned, 4).unwrap();
        let mut state = Momentum::zeros(&device, &architecture).unwrap();
        let before = parameters.arrays().weights[1].to_column_major(&device).unwrap();
        Muon::default().step(&device, &mut parameters, direction.arrays(), 0.5, &mut state).unwrap();
        let after = parameters.arrays().weights[1].to_column_major(&device).unwrap();
        let x: Vec<f64> = after.iter().zip(&before).map(|(after, before)| (after - before) / 0.5).collect();
        let x = nalgebra::DMatrix::from_vec(dim, dim, x);
        let values = x.singular_values();
        assert!(values.iter().all(|value| (0.6..1.25).contains(value)), "{values}");
        let delta = nalgebra::DMatrix::from_vec(dim, dim, direction.weight(1).slice().to_vec());
        let nuclear = delta.singular_values().sum();
        assert!((x.dot(&delta) / nuclear - 1.0).abs() < 0.3, "{} for {nuclear}", x.dot(&delta));
    }

    #[test]
    fn what_does_not_fit_and_what_is_not_finite_is_refused() {
        let device = Cpu::new(1);
        let architecture = Architecture::new(3, 1);
        let mut parameters = init::network::<_, f32, _>(&device, &architecture, Init::Orthogonal, 0).unwrap();
        let mut direction = Arrays::zeros(&device, &architecture, "direction").unwrap();
        let mut state = Momentum::zeros(&device, &architecture).unwrap();
        // Nowhere to go is no error.
        Muon::default().step(&device, &mut parameters, &direction, 0.1, &mut state).unwrap();
        device.fill(f32::NAN, direction.weights[0].view_mut()).unwrap();
        let error = Muon::default().step(&device, &mut parameters, &direction, 0.1, &mut state);
        assert!(matches!(error, Err(Error::NonFinite { .. })), "{error:?}");
        let convolution = crate::Convolution { channels: 2, grid: [1, 4], kernel: [1, 4] };
        let layers = Architecture::new(8, 1).with(convolution);
        assert!(matches!(Momentum::<Cpu, f32>::zeros(&device, &layers), Err(Error::ShapeMismatch { .. })));
    }
}
