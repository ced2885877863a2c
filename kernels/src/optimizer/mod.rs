//! What becomes of a direction: plain steps of a given size, Adam, or Muon; and how large a step may be.
//!
//! Every direction is one of ascent (MATH.md §0), so parameters move along it, θ ← θ + …. A plain step along the
//! relative gradient needs no stored direction: that is [`crate::step::InPlaceStep`].

mod equivariant;
mod muon;
mod rule;
mod sharpness;
mod update;

pub use equivariant::{Equivariant, equivariant};
pub use muon::{Momentum, Muon};
pub use rule::{Updater, cost_of_update};
pub use sharpness::{DirectionAt, Preconditioner, Sharpness};
pub use update::Update;

use crate::device::{Device, Matrix};
use crate::error::{Error, Result};
use crate::layer::Geometry;
use crate::network::Architecture;
use crate::parameters::{Arrays, Gradient, Parameters};
use crate::scalar::Scalar;

/// How the step size follows the number of steps taken.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Schedule {
    /// μ_t = μ.
    #[default]
    Constant,
    /// μ_t = μ / (1 + t/τ), the decreasing step of stochastic approximation (Σ μ_t = ∞, Σ μ_t² < ∞).
    Inverse {
        /// τ: steps after which the size has halved.
        halving_steps: f64,
    },
    /// μ_t = μ (1 + cos(πt/T))/2 up to t = T, and 0 from there (Loshchilov & Hutter, "SGDR", ICLR 2017, without
    /// restarts).
    Cosine {
        /// T: steps of the whole training.
        total_steps: f64,
    },
}

impl Schedule {
    /// μ_t/μ before step t, counted from 0.
    pub fn factor(self, step: u64) -> f64 {
        let t = step as f64;
        match self {
            Self::Constant => 1.0,
            Self::Inverse { halving_steps } => 1.0 / (1.0 + t / halving_steps),
            Self::Cosine { total_steps } => 0.5 * (1.0 + (std::f64::consts::PI * (t / total_steps).min(1.0)).cos()),
        }
    }
}

/// θ ← θ + μ Δθ for every array.
///
/// # Errors
/// [`Error::ShapeMismatch`] unless the direction has the parameters' shapes.
pub fn plain_step<D: Update<T>, T: Scalar, C>(
    device: &D,
    parameters: &mut Parameters<D, T, C>,
    direction: &Gradient<D, T>,
    mu: f64,
) -> Result<()> {
    let arrays = parameters.arrays_mut();
    for (to, from) in pairs(arrays, direction)? {
        device.add_scaled(T::of(mu), from.view(), to.view_mut())?;
    }
    Ok(())
}

/// Adam (Kingma & Ba, ICLR 2015), with the paper's default parameters:
///
/// m ← β₁m + (1−β₁)Δ,  v ← β₂v + (1−β₂)Δ²,  θ ← θ + μ · (m/(1−β₁ᵗ)) / (√(v/(1−β₂ᵗ)) + ε), elementwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Decay β₁ of the first moment.
    pub beta1: f64,
    /// Decay β₂ of the second moment.
    pub beta2: f64,
    /// ε, added to the root of the second moment.
    pub epsilon: f64,
    /// t in the corrections 1 − βᵗ.
    pub correction: Correction,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, correction: Correction::Steps }
    }
}

/// Which t stands in the bias corrections of [`Adam`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Correction {
    /// The number of the step, from 1, as published.
    #[default]
    Steps,
    /// The number of the epoch, from 1, plus 1: the paper's authors pass the epoch to an Adam that adds 1 to it.
    /// Moments that have settled (m = Δ, v = Δ²) make a step of √(1−β₂ᵗ)/(1−β₁ᵗ) times the nominal one.
    Epochs {
        /// Steps of an epoch, at least 1.
        steps: u64,
    },
}

impl Correction {
    /// t of the step after so many.
    pub fn time(self, taken: u64) -> u64 {
        match self {
            Self::Steps => taken + 1,
            Self::Epochs { steps } => taken / steps.max(1) + 2,
        }
    }
}

/// The running moments of [`Adam`], shaped like the parameters.
pub struct Moments<D: Device<T>, T: Scalar> {
    /// m.
    pub first: Arrays<D, T>,
    /// v.
    pub second: Arrays<D, T>,
    /// t, the number of steps they hold.
    pub steps: u64,
}

impl<D: Device<T>, T: Scalar> Moments<D, T> {
    /// No step yet: all zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::InvalidParameter`].
    pub fn zeros<C: Geometry>(device: &D, architecture: &Architecture<C>) -> Result<Self> {
        Ok(Self {
            first: Arrays::zeros(device, architecture, "first moments")?,
            second: Arrays::zeros(device, architecture, "second moments")?,
            steps: 0,
        })
    }
}

impl Adam {
    /// One step of size μ along `direction`; allocates nothing of the arrays' size.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::InvalidParameter`] for decays outside [0, 1) or an ε that is not positive.
    pub fn step<D: Update<T>, T: Scalar, C>(
        &self,
        device: &D,
        parameters: &mut Parameters<D, T, C>,
        direction: &Gradient<D, T>,
        mu: f64,
        moments: &mut Moments<D, T>,
    ) -> Result<()> {
        let coefficients = self.coefficients(moments.steps, mu)?;
        let arrays = parameters.arrays_mut();
        let firsts = all_mut(&mut moments.first);
        let seconds = all_mut(&mut moments.second);
        let targets = pairs(arrays, direction)?;
        if (firsts.len(), seconds.len()) != (targets.len(), targets.len()) {
            return Err(Error::shape("Adam", format!("{} arrays of moments", targets.len()), firsts.len()));
        }
        for (((to, from), m), v) in targets.into_iter().zip(firsts).zip(seconds) {
            device.adam(coefficients, from.view(), m.view_mut(), v.view_mut(), to.view_mut())?;
        }
        moments.steps += 1;
        Ok(())
    }

    /// The numbers of a step of size μ after so many.
    fn coefficients<T: Scalar>(&self, taken: u64, mu: f64) -> Result<AdamCoefficients<T>> {
        self.validate()?;
        let t = self.correction.time(taken) as f64;
        Ok(AdamCoefficients {
            beta1: T::of(self.beta1),
            beta2: T::of(self.beta2),
            rate: T::of(mu / (1.0 - self.beta1.powf(t))),
            second_scale: T::of(1.0 / (1.0 - self.beta2.powf(t))),
            epsilon: T::of(self.epsilon),
        })
    }

    fn validate(&self) -> Result<()> {
        for (name, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(Error::invalid(name, beta, "must be in [0, 1)"));
            }
        }
        let fine = self.epsilon > 0.0 && self.epsilon.is_finite();
        fine.then_some(()).ok_or_else(|| Error::invalid("epsilon", self.epsilon, "must be positive and finite"))
    }
}

/// The numbers of one [`Adam`] step, rounded to the working precision; the bias corrections are in `rate` and
/// `second_scale`.
#[derive(Debug, Clone, Copy)]
pub struct AdamCoefficients<T> {
    /// β₁.
    pub beta1: T,
    /// β₂.
    pub beta2: T,
    /// μ / (1 − β₁ᵗ).
    pub rate: T,
    /// 1 / (1 − β₂ᵗ).
    pub second_scale: T,
    /// ε.
    pub epsilon: T,
}

/// Every array, weights first.
fn all_mut<D: Device<T>, T: Scalar>(arrays: &mut Arrays<D, T>) -> Vec<&mut Matrix<D, T>> {
    arrays.iter_mut().collect()
}

/// Each array with its direction.
type Pairs<'a, D, T> = Vec<(&'a mut Matrix<D, T>, &'a Matrix<D, T>)>;

fn pairs<'a, D: Device<T>, T: Scalar>(
    arrays: &'a mut Arrays<D, T>,
    direction: &'a Gradient<D, T>,
) -> Result<Pairs<'a, D, T>> {
    let counts = |of: &Arrays<D, T>| (of.weights.len(), of.biases.len(), of.head.is_some());
    let (expected, found) = (counts(arrays), counts(direction));
    if expected != found {
        let tell = |(weights, biases, density)| format!("{weights} weights, {biases} biases, a density: {density}");
        return Err(Error::shape("step", tell(expected), tell(found)));
    }
    Ok(all_mut(arrays).into_iter().zip(direction.iter()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Cpu;
    use crate::init::{self, Init};

    /// Precondition: f64, so that the plain loop's rounding differs in the last bits only. Tolerance 8 ε over ten
    /// steps.
    #[test]
    fn adam_is_its_published_recursion() {
        let device = Cpu::new(2);
        let architecture = Architecture { bias: true, ..Architecture::new(5, 2) };
        let mut parameters = init::network::<_, f64, _>(&device, &architecture, Init::Orthogonal, 3).unwrap();
        let mut moments = Moments::zeros(&device, &architecture).unwrap();
        let adam = Adam::default();
        let start = parameters.arrays().biases[1].to_column_major(&device).unwrap();
        let (mut theta, mut m, mut v) = (start.clone(), vec![0.0; 5], vec![0.0; 5]);
        for t in 1..=10 {
            let mut direction = Arrays::zeros(&device, &architecture, "direction").unwrap();
            let values = init::normals(t, 5);
            direction.biases[1] = Matrix::from_column_major(&device, &values, 5, 1, "direction").unwrap();
            adam.step(&device, &mut parameters, &direction, 0.01, &mut moments).unwrap();
            for i in 0..5 {
                m[i] = 0.9 * m[i] + 0.1 * values[i];
                v[i] = 0.999 * v[i] + 0.001 * values[i] * values[i];
                let (m, v) = (m[i] / (1.0 - 0.9_f64.powf(t as f64)), v[i] / (1.0 - 0.999_f64.powf(t as f64)));
                theta[i] += 0.01 * m / (v.sqrt() + 1e-8);
            }
        }
        let found = parameters.arrays().biases[1].to_column_major(&device).unwrap();
        assert_ne!(found, start);
        for (found, expected) in found.iter().zip(&theta) {
            assert!((found - expected).abs() <= 8.0 * f64::EPSILON, "{found} for {expected}");
        }
        assert_eq!(moments.steps, 10);
    }

    /// In epochs 1, 10, 100 and 4000 of ten steps, settled moments make 0.24, 0.15, 0.31 and 0.99 of the nominal step;
    /// t = epoch instead of epoch + 1 would begin with 0.32. Tolerance: f64, and two digits as quoted.
    #[test]
    fn a_correction_by_the_epoch_shortens_settled_steps() {
        let device = Cpu::new(1);
        let architecture = Architecture::new(2, 1);
        let mut parameters = init::network::<_, f64, _>(&device, &architecture, Init::Orthogonal, 3).unwrap();
        let ones = || {
            let mut arrays = Arrays::zeros(&device, &architecture, "ones").unwrap();
            device.fill(1.0, arrays.weights[0].view_mut()).unwrap();
            arrays
        };
        let direction = ones();
        let adam = Adam { epsilon: 1e-300, correction: Correction::Epochs { steps: 10 }, ..Adam::default() };
        for (epoch, quoted) in [(1, 0.24), (10, 0.15), (100, 0.31), (4000, 0.99)] {
            for taken in [10 * (epoch - 1), 10 * epoch - 1] {
                let mut moments = Moments { first: ones(), second: ones(), steps: taken };
                let before = parameters.weight(0).slice()[0];
                adam.step(&device, &mut parameters, &direction, 0.01, &mut moments).unwrap();
                let share = (parameters.weight(0).slice()[0] - before) / 0.01;
                let t = epoch as f64 + 1.0;
                let expected = (1.0 - 0.999_f64.powf(t)).sqrt() / (1.0 - 0.9_f64.powf(t));
                assert!((share - expected).abs() < 1e-12, "{epoch}: {share} for {expected}");
                assert!((share - quoted).abs() < 0.005, "{epoch}: {share} for {quoted}");
            }
        }
        assert_eq!((Correction::Steps.time(0), Correction::Epochs { steps: 10 }.time(0)), (1, 2));
    }

    #[test]
    fn a_large_array_is_updated_like_a_small_one() {
        let device = Cpu::new(2);
        let n = 300; // 90 000 numbers: shared among threads.
        let values: Vec<f32> = init::normals(1, n * n).into_iter().map(|x| x as f32).collect();
        let squares: Vec<f32> = values.iter().map(|x| x * x).collect();
        let matrix = |x: &[f32]| Matrix::<Cpu, f32>::from_column_major(&device, x, n, n, "a").unwrap();
        let (direction, mut m, mut v, mut theta) =
            (matrix(&values), matrix(&values), matrix(&squares), matrix(&values));
        device.add_scaled(0.5, direction.view(), theta.view_mut()).unwrap();
        let sums = theta.to_column_major(&device).unwrap();
        assert!(sums.iter().zip(&values).all(|(s, x)| *s == x + 0.5 * x));
        let c = AdamCoefficients { beta1: 0.9, beta2: 0.99, rate: 0.1, second_scale: 2.0, epsilon: 1e-8 };
        device.adam(c, direction.view(), m.view_mut(), v.view_mut(), theta.view_mut()).unwrap();
        let [m, v, after] = [m, v, theta].map(|matrix| matrix.to_column_major(&device).unwrap());
        for i in (0..n * n).step_by(997).chain([n * n - 1]) {
            let expected = sums[i] + 0.1 * m[i] / ((2.0 * v[i]).sqrt() + 1e-8);
            assert!((after[i] - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{i}");
        }
    }

    #[test]
    fn schedules_start_at_one_and_fall_as_they_say() {
        assert_eq!(Schedule::Constant.factor(1_000_000), 1.0);
        let inverse = Schedule::Inverse { halving_steps: 200.0 };
        assert_eq!((inverse.factor(0), inverse.factor(200), inverse.factor(600)), (1.0, 0.5, 0.25));
        let cosine = Schedule::Cosine { total_steps: 100.0 };
        assert_eq!((cosine.factor(0), cosine.factor(100), cosine.factor(200)), (1.0, 0.0, 0.0));
        assert!((cosine.factor(50) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let device = Cpu::new(1);
        let with = Architecture { bias: true, ..Architecture::new(3, 2) };
        let without = Architecture::new(3, 2);
        let mut parameters = init::network::<_, f64, _>(&device, &with, Init::Orthogonal, 0).unwrap();
        let direction = Arrays::zeros(&device, &without, "direction").unwrap();
        assert!(plain_step(&device, &mut parameters, &direction, 0.1).is_err());
        let direction = Arrays::zeros(&device, &with, "direction").unwrap();
        let mut moments = Moments::zeros(&device, &without).unwrap();
        let error = Adam::default().step(&device, &mut parameters, &direction, 0.1, &mut moments);
        assert!(matches!(error, Err(Error::ShapeMismatch { .. })), "{error:?}");
        let mut moments = Moments::zeros(&device, &with).unwrap();
        let adam = Adam { beta2: 1.0, ..Adam::default() };
        assert!(adam.step(&device, &mut parameters, &direction, 0.1, &mut moments).is_err());
    }
}
