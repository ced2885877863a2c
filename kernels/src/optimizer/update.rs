//! The elementwise operations that optimisers need of a device.

use faer::traits::math_utils::sqrt;

use super::AdamCoefficients;
use crate::device::{Cpu, Device, MatrixMut, MatrixRef, require};
use crate::error::Result;
use crate::scalar::Scalar;

/// A device that can also update parameters. Measuring gradients does not need it, so it is no part of [`Device`].
///
/// The contract is that of [`Device`]: shapes are checked on entry, nothing is allocated, work may be asynchronous.
pub trait Update<T: Scalar>: Device<T> {
    /// out ← out + α a.
    fn add_scaled(&self, alpha: T, a: MatrixRef<'_, Self, T>, out: MatrixMut<'_, Self, T>) -> Result<()>;

    /// One Adam step on one array, elementwise: m ← β₁m + (1−β₁)Δ, v ← β₂v + (1−β₂)Δ², then
    /// θ ← θ + rate · m / (√(second_scale · v) + ε).
    fn adam(
        &self,
        coefficients: AdamCoefficients<T>,
        direction: MatrixRef<'_, Self, T>,
        first: MatrixMut<'_, Self, T>,
        second: MatrixMut<'_, Self, T>,
        parameters: MatrixMut<'_, Self, T>,
    ) -> Result<()>;

    /// out ← α out.
    fn scale(&self, alpha: T, out: MatrixMut<'_, Self, T>) -> Result<()>;

    /// out ← out / √(√(scale · v) + ε), elementwise: by the root of what [`Self::adam`] divides by.
    fn scale_by_root(
        &self,
        scale: T,
        epsilon: T,
        second: MatrixRef<'_, Self, T>,
        out: MatrixMut<'_, Self, T>,
    ) -> Result<()>;

    /// Σ_ij a_ij b_ij, in f64.
    fn inner_product(&self, a: MatrixRef<'_, Self, T>, b: MatrixRef<'_, Self, T>) -> Result<f64>;
}

impl<T: Scalar> Update<T> for Cpu {
    fn add_scaled(&self, alpha: T, a: MatrixRef<'_, Self, T>, out: MatrixMut<'_, Self, T>) -> Result<()> {
        require("scaled sum", a.shape(), out.shape())?;
        self.on_columns(1, [out.into_slice()], [a.slice()], |[out], [a]| {
            out.iter_mut().zip(a).for_each(|(out, &a)| *out += alpha * a);
            Ok(())
        })
    }

    fn adam(
        &self,
        coefficients: AdamCoefficients<T>,
        direction: MatrixRef<'_, Self, T>,
        first: MatrixMut<'_, Self, T>,
        second: MatrixMut<'_, Self, T>,
        parameters: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        for shape in [first.shape(), second.shape(), parameters.shape()] {
            require("Adam", shape, direction.shape())?;
        }
        let changed = [first.into_slice(), second.into_slice(), parameters.into_slice()];
        self.on_columns(1, changed, [direction.slice()], |[m, v, theta], [g]| {
            adam(coefficients, g, m, v, theta);
            Ok(())
        })
    }

    fn scale(&self, alpha: T, out: MatrixMut<'_, Self, T>) -> Result<()> {
        self.on_columns(1, [out.into_slice()], [], |[out], []| {
            out.iter_mut().for_each(|out| *out = alpha * *out);
            Ok(())
        })
    }

    fn scale_by_root(
        &self,
        scale: T,
        epsilon: T,
        second: MatrixRef<'_, Self, T>,
        out: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("root of a preconditioner", second.shape(), out.shape())?;
        self.on_columns(1, [out.into_slice()], [second.slice()], |[out], [v]| {
            out.iter_mut().zip(v).for_each(|(out, &v)| *out /= sqrt(&(sqrt(&(scale * v)) + epsilon)));
            Ok(())
        })
    }

    fn inner_product(&self, a: MatrixRef<'_, Self, T>, b: MatrixRef<'_, Self, T>) -> Result<f64> {
        require("inner product", a.shape(), b.shape())?;
        Ok(inner_product(a.slice(), b.slice()))
    }
}

/// In eight sums, which the compiler can keep in one register: the order does not depend on the threads.
fn inner_product<T: Scalar>(a: &[T], b: &[T]) -> f64 {
    let mut sums = [0.0; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a.widen() * b.widen();
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a.widen() * b.widen()).sum();
    sums.iter().sum::<f64>() + rest
}

fn adam<T: Scalar>(c: AdamCoefficients<T>, g: &[T], m: &mut [T], v: &mut [T], theta: &mut [T]) {
    let one = T::of(1.0);
    let (rest1, rest2) = (one - c.beta1, one - c.beta2);
    for (((&g, m), v), theta) in g.iter().zip(m).zip(v).zip(theta) {
        *m = c.beta1 * *m + rest1 * g;
        *v = c.beta2 * *v + rest2 * g * g;
        *theta += c.rate * *m / (sqrt(&(c.second_scale * *v)) + c.epsilon);
    }
}
