//! How near a step is to the size from which it no longer contracts: the sharpness λ of the loss in the metric of the
//! step \[M84\]–\[M87\], \[M96\].

use super::{Adam, Moments, Update};
use crate::device::{Addend, Device, Matrix};
use crate::error::{Error, Result};
use crate::init;
use crate::layer::Geometry;
use crate::parameters::{Arrays, Gradient, Parameters};
use crate::scalar::Scalar;

/// P of the step θ ← θ + μ P Δ(θ), and the rule that it belongs to.
pub enum Preconditioner<'a, D: Device<T>, T: Scalar> {
    /// A plain step: P is the identity.
    Identity,
    /// P = diag(√v̂ + ε)⁻¹/(1 − β₁ᵗ) with the second moments that Adam holds, v̂ = v/(1 − β₂ᵗ), and the t of its last
    /// step.
    Adam(Adam, &'a Moments<D, T>),
    /// The same P with the moments of E and e: vectors are coordinates, which move W_k to (I + V)W_k and b_k to
    /// b_k + Vb_k + v \[M96\], and directions are those of [`super::Equivariant::coordinates`].
    Coordinates(Adam, &'a Moments<D, T>),
}

impl<D: Device<T>, T: Scalar> Preconditioner<'_, D, T> {
    /// The value of μλ from which steps of the rule grow along the sharpest direction of a quadratic loss \[M86\]:
    /// (2 + 2β₁)/(1 − β₁), which is 2 for a plain step and 38 for Adam with β₁ = 0.9.
    pub fn limit(&self) -> f64 {
        let beta = self.adam().map_or(0.0, |(adam, _)| adam.beta1);
        (2.0 + 2.0 * beta) / (1.0 - beta)
    }

    /// Whether there is a P yet.
    fn is_known(&self) -> bool {
        self.adam().is_none_or(|(_, moments)| moments.steps > 0)
    }

    fn adam(&self) -> Option<(&Adam, &Moments<D, T>)> {
        match self {
            Self::Identity => None,
            Self::Adam(adam, moments) | Self::Coordinates(adam, moments) => Some((adam, *moments)),
        }
    }

    /// a ← P^{1/2} a.
    fn scale_by_root(&self, device: &D, a: &mut Arrays<D, T>) -> Result<()>
    where
        D: Update<T>,
    {
        let Some((adam, moments)) = self.adam() else { return Ok(()) };
        let t = adam.correction.time(moments.steps.saturating_sub(1)) as f64;
        let second_scale = T::of(1.0 / (1.0 - adam.beta2.powf(t)));
        for (a, v) in a.iter_mut().zip(moments.second.iter()) {
            device.scale_by_root(second_scale, T::of(adam.epsilon), v.view(), a.view_mut())?;
        }
        scale(device, (1.0 - adam.beta1.powf(t)).powf(-0.5), a)
    }
}

/// The direction Δ at given parameters, on a batch of the caller's, into arrays whose contents do not matter.
pub type DirectionAt<'a, D, T, C> = dyn FnMut(&Parameters<D, T, C>, &mut Gradient<D, T>) -> Result<()> + 'a;

/// The largest eigenvalue λ of −P^{1/2} DΔ(θ) P^{1/2}, the same as that of −P DΔ(θ), by power iteration \[M85\].
///
/// An iteration takes two products with the operator, each a central difference of two directions. It finds the larger
/// Ritz value λ of the Krylov space {u, Bu} and its vector y, and goes on from (B + s)y; the shift s = max(0, −λ'), λ'
/// the smaller Ritz value, keeps a large negative eigenvalue from taking over. The vector is kept, so that the next
/// estimate, at parameters and on a batch near by, starts from it.
///
/// B is self-adjoint only in the metric of the step, and for a relative gradient only where that is 0. The products of
/// vectors here are Euclidean all the same: a Ritz value of a space that holds an eigenvector is its eigenvalue in any
/// metric. What the metric would bring is an error of second instead of first order in that of the vector.
pub struct Sharpness<D: Device<T>, T: Scalar, C> {
    /// θ ± h P^{1/2} u.
    probe: Parameters<D, T, C>,
    /// u, the part of Bu that is orthogonal to it, and B of that.
    basis: [Arrays<D, T>; 3],
    /// Whether u has been through the operator: the first one is noise.
    is_begun: bool,
    /// The last λ.
    value: f64,
}

/// Seed of the first vector.
const SEED: u64 = 0x5a_a2;
/// h²λ/2 of a difference, at most: what the loss moves by, in nats, where the metric is that of the numbers.
const NATS: f64 = 1e-3;

impl<D: Update<T>, T: Scalar, C: Geometry + Copy> Sharpness<D, T, C> {
    /// Takes all memory: four times that of the parameters.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(device: &D, parameters: &Parameters<D, T, C>) -> Result<Self> {
        let architecture = *parameters.architecture();
        let zeros = |what| Arrays::zeros(device, &architecture, what);
        let basis = [zeros("sharpest direction")?, zeros("its image")?, zeros("the image of that")?];
        let probe = Parameters::new(architecture, zeros("parameters beside the others")?)?;
        let mut new = Self { probe, basis, is_begun: false, value: 0.0 };
        new.restart(device)?;
        Ok(new)
    }

    /// Forgets what was found: the next estimate begins with noise.
    ///
    /// # Errors
    /// Those of the device.
    pub fn restart(&mut self, device: &D) -> Result<()> {
        (self.is_begun, self.value) = (false, 0.0);
        for (i, array) in self.basis[0].iter_mut().enumerate() {
            let noise = init::normals(SEED.wrapping_add(i as u64), array.rows() * array.cols());
            let noise: Vec<T> = noise.into_iter().map(T::of).collect();
            device.upload(&noise, array.view_mut().into_slice())?;
        }
        Ok(())
    }

    /// The vector from which the next estimate goes on, and the last λ; `None` before the first estimate.
    pub fn state(&self) -> Option<(&Arrays<D, T>, f64)> {
        self.is_begun.then_some((&self.basis[0], self.value))
    }

    /// Goes on from the vector that `fill` writes and from a λ: those of [`Self::state`].
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn resume<E>(&mut self, value: f64, fill: impl FnOnce(&mut Arrays<D, T>) -> Result<(), E>) -> Result<(), E> {
        fill(&mut self.basis[0])?;
        (self.is_begun, self.value) = (true, value);
        Ok(())
    }

    /// λ at `parameters` for `direction` by so many iterations of two products: four directions each, and one more for
    /// the first estimate. `scratch` has the shape of the parameters. Allocates nothing.
    ///
    /// `None` where there is no P yet, or where the direction is zero throughout.
    ///
    /// # Errors
    /// Those of `direction`; [`Error::NonFinite`]. It then begins anew.
    pub fn estimate(
        &mut self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        preconditioner: &Preconditioner<'_, D, T>,
        scratch: &mut Gradient<D, T>,
        direction: &mut DirectionAt<'_, D, T, C>,
        iterations: usize,
    ) -> Result<Option<f64>> {
        if !preconditioner.is_known() {
            return Ok(None);
        }
        let mut step = StepAt { device, parameters, preconditioner, scratch, direction, size: 0.0 };
        let found = self.iterate(&mut step, iterations);
        if found.is_err() {
            self.restart(device)?;
        }
        found
    }

    fn iterate(&mut self, step: &mut StepAt<'_, '_, D, T, C>, iterations: usize) -> Result<Option<f64>> {
        let device = step.device;
        step.size = match step.preconditioner {
            // That of the identities, which coordinates are added to.
            Preconditioner::Coordinates(..) => {
                let architecture = step.parameters.architecture();
                ((architecture.layers * architecture.dim) as f64).sqrt()
            }
            _ => norm(device, step.parameters.arrays())?,
        };
        if !self.is_begun {
            // Numbers that never move, such as the permutation of a factored layer, have a direction of 0, and stay.
            (step.direction)(step.parameters, step.scratch)?;
            for (u, delta) in self.basis[0].iter_mut().zip(step.scratch.iter()) {
                device.scale_and_add(delta.view(), None, u.view_mut())?;
            }
        }
        for _ in 0..iterations {
            let length = norm(device, &self.basis[0])?;
            if length == 0.0 {
                return Ok(None);
            }
            if !length.is_finite() {
                return Err(Error::NonFinite { what: "estimate of the sharpness".to_owned() });
            }
            scale(device, 1.0 / length, &mut self.basis[0])?;
            self.value = self.iteration(step)?;
            self.is_begun = true;
        }
        if self.value.is_finite() {
            return Ok(Some(self.value));
        }
        Err(Error::NonFinite { what: "sharpness".to_owned() })
    }

    /// From u of norm 1 to the next u, of any norm; returns λ.
    fn iteration(&mut self, step: &mut StepAt<'_, '_, D, T, C>) -> Result<f64> {
        let device = step.device;
        let Self { probe, basis: [u, w, z], value, .. } = self;
        step.product(probe, (u, w), *value)?;
        let mut first = 0.0;
        // Twice: near an eigenvector little is left of w, and rounding of what is taken away weighs in it.
        for _ in 0..2 {
            let along = inner(device, u, w)?;
            add(device, -along, u, w)?;
            first += along;
        }
        let across = norm(device, w)?;
        // An eigenvector to the last digit.
        if across <= T::EPS * first.abs() || across == 0.0 {
            return Ok(first);
        }
        scale(device, 1.0 / across, w)?;
        step.product(probe, (w, z), first)?;
        let Ritz { larger, smaller, vector: [a, b] } =
            Ritz::of([[first, inner(device, u, z)?], [across, inner(device, w, z)?]]);
        // (B + s)(a u + b w), with B u = first u + across w.
        let shift = (-smaller).max(0.0);
        scale(device, a * (first + shift), u)?;
        add(device, a * across + b * shift, w, u)?;
        add(device, b, z, u)?;
        Ok(larger)
    }
}

/// What an estimate is of.
struct StepAt<'a, 'd, D: Device<T>, T: Scalar, C> {
    device: &'a D,
    parameters: &'a Parameters<D, T, C>,
    preconditioner: &'a Preconditioner<'a, D, T>,
    scratch: &'a mut Gradient<D, T>,
    direction: &'a mut DirectionAt<'d, D, T, C>,
    /// ‖θ‖, or that of the identities.
    size: f64,
}

impl<D: Update<T>, T: Scalar, C> StepAt<'_, '_, D, T, C> {
    /// out ← B u = P^{1/2} (Δ(θ − hP^{1/2}u) − Δ(θ + hP^{1/2}u)) / 2h for u of norm 1, where λ is known to be about
    /// `value`.
    fn product(
        &mut self,
        probe: &mut Parameters<D, T, C>,
        (u, out): (&Arrays<D, T>, &mut Arrays<D, T>),
        value: f64,
    ) -> Result<()> {
        let Self { device, parameters, preconditioner, scratch, direction, size } = self;
        let device = *device;
        copy(device, u, scratch)?;
        preconditioner.scale_by_root(device, scratch)?;
        let h = difference::<T>(*size, norm(device, scratch)?, value.abs());
        let displace = match preconditioner {
            Preconditioner::Coordinates(..) => displace_by_coordinates,
            _ => displace,
        };
        displace(device, parameters, h, scratch, probe)?;
        direction(probe, out)?;
        displace(device, parameters, -h, scratch, probe)?;
        direction(probe, scratch)?;
        let half = T::of(0.5 / h);
        for (out, behind) in out.iter_mut().zip(scratch.iter()) {
            device.blend(half, behind.view(), -half, out.view_mut())?;
        }
        preconditioner.scale_by_root(device, out)
    }
}

/// h for a displacement h·d of parameters of norm `size`, d of norm `length`: where the error of a central difference,
/// h², is about that of rounding, ε/h, but no more than what moves the loss by [`NATS`], and no less than what rounding
/// leaves a twentieth of.
fn difference<T: Scalar>(size: f64, length: f64, sharpness: f64) -> f64 {
    // Parameters of zero have digits too.
    let size = size.max(T::EPS);
    let balanced = T::EPS.cbrt() * size / length;
    let gentle = (2.0 * NATS / sharpness).sqrt();
    balanced.min(gentle).max(20.0 * T::EPS * size / length)
}

/// Eigenvalues of a 2×2 matrix, and the eigenvector of the larger one.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ritz {
    larger: f64,
    smaller: f64,
    vector: [f64; 2],
}

impl Ritz {
    /// Of a matrix by rows. A complex pair, which only the part that is not self-adjoint can make, counts by its real
    /// part.
    fn of([[a, b], [c, d]]: [[f64; 2]; 2]) -> Self {
        let (mean, half) = (0.5 * (a + d), 0.5 * (a - d));
        let root = (half * half + b * c).max(0.0).sqrt();
        // The form of (A − λ)y = 0 that cancels nothing.
        let vector = if half >= 0.0 { [half + root, c] } else { [b, root - half] };
        Self { larger: mean + root, smaller: mean - root, vector }
    }
}

/// out ← θ + h d.
fn displace<D: Update<T>, T: Scalar, C>(
    device: &D,
    parameters: &Parameters<D, T, C>,
    h: f64,
    d: &Arrays<D, T>,
    out: &mut Parameters<D, T, C>,
) -> Result<()> {
    copy(device, parameters.arrays(), out.arrays_mut())?;
    add(device, h, d, out.arrays_mut())
}

/// W_k ← W_k + hV_kW_k, b_k ← b_k + h(V_kb_k + v_k), and the output as in [`displace`].
fn displace_by_coordinates<D: Update<T>, T: Scalar, C>(
    device: &D,
    parameters: &Parameters<D, T, C>,
    h: f64,
    d: &Arrays<D, T>,
    out: &mut Parameters<D, T, C>,
) -> Result<()> {
    displace(device, parameters, h, d, out)?;
    let (from, out, step) = (parameters.arrays(), out.arrays_mut(), T::of(h));
    for ((by, from), out) in d.weights.iter().zip(&from.weights).zip(&mut out.weights) {
        device.multiply(step, by.view().plain(), from.view().plain(), Addend::Matrix(from.view()), out.view_mut())?;
    }
    for ((by, from), out) in d.weights.iter().zip(&from.biases).zip(&mut out.biases) {
        let moved = Addend::Scaled(T::of(1.0));
        device.multiply(step, by.view().plain(), from.view().plain(), moved, out.view_mut())?;
    }
    Ok(())
}

fn copy<D: Update<T>, T: Scalar>(device: &D, from: &Arrays<D, T>, to: &mut Arrays<D, T>) -> Result<()> {
    from.iter().zip(to.iter_mut()).try_for_each(|(from, to)| device.copy(from.view(), to.view_mut()))
}

/// out ← out + α a.
fn add<D: Update<T>, T: Scalar>(device: &D, alpha: f64, a: &Arrays<D, T>, out: &mut Arrays<D, T>) -> Result<()> {
    let mut pairs = a.iter().zip(out.iter_mut());
    pairs.try_for_each(|(a, out)| device.add_scaled(T::of(alpha), a.view(), out.view_mut()))
}

/// a ← α a.
fn scale<D: Update<T>, T: Scalar>(device: &D, alpha: f64, a: &mut Arrays<D, T>) -> Result<()> {
    a.iter_mut().try_for_each(|a| device.scale(T::of(alpha), a.view_mut()))
}

fn inner<D: Update<T>, T: Scalar>(device: &D, a: &Arrays<D, T>, b: &Arrays<D, T>) -> Result<f64> {
    let of = |(a, b): (&Matrix<D, T>, &Matrix<D, T>)| device.inner_product(a.view(), b.view());
    a.iter().zip(b.iter()).map(of).sum()
}

fn norm<D: Update<T>, T: Scalar>(device: &D, a: &Arrays<D, T>) -> Result<f64> {
    inner(device, a, a).map(f64::sqrt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ritz_pairs_are_eigenpairs() {
        for matrix in
            [[[2.0, 1.0], [1.0, -3.0]], [[-3.0, 0.5], [2.0, 2.0]], [[1.0, 0.0], [3.0, 2.0]], [[4.0, 0.0], [1e-9, 4.0]]]
        {
            let Ritz { larger, smaller, vector: [x, y] } = Ritz::of(matrix);
            let [[a, b], [c, d]] = matrix;
            let length = x.hypot(y);
            assert!(length > 0.0 && larger >= smaller, "{matrix:?}");
            assert!((a * x + b * y - larger * x).abs() < 1e-12 * length, "{matrix:?}");
            assert!((c * x + d * y - larger * y).abs() < 1e-8 * length, "{matrix:?}");
            assert!((larger + smaller - a - d).abs() < 1e-12);
        }
        // A turn: the real part.
        assert_eq!(Ritz::of([[1.0, -2.0], [2.0, 1.0]]).larger, 1.0);
    }

    #[test]
    fn a_difference_is_neither_lost_in_rounding_nor_far() {
        let h = |sharpness| difference::<f32>(10.0, 1.0, sharpness);
        assert!((h(1.0) - 0.0446).abs() < 1e-3);
        assert_eq!(h(0.0), h(0.1));
        assert!(0.5 * h(4000.0).powi(2) * 4000.0 <= 1.001 * NATS);
        assert_eq!(h(1e30), 20.0 * f64::from(f32::EPSILON) * 10.0);
    }
}
