//! The two elementwise operations that optimisers need of a device.

use faer::traits::math_utils::sqrt;
use rayon::prelude::*;

use super::AdamCoefficients;
use crate::device::{Cpu, Device, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
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
}

/// Numbers that one task updates; a smaller array stays on the calling thread.
const PIECE: usize = 1 << 15;

impl<T: Scalar> Update<T> for Cpu {
    fn add_scaled(&self, alpha: T, a: MatrixRef<'_, Self, T>, out: MatrixMut<'_, Self, T>) -> Result<()> {
        require("scaled sum", &a, &out.view())?;
        let add = |(out, a): (&mut [T], &[T])| {
            out.iter_mut().zip(a).for_each(|(out, &a)| *out += alpha * a);
        };
        let (a, out) = (a.slice(), out.into_slice());
        if self.threads() == 1 || out.len() <= PIECE {
            add((out, a));
        } else {
            out.par_chunks_mut(PIECE).zip(a.par_chunks(PIECE)).for_each(add);
        }
        Ok(())
    }

    fn adam(
        &self,
        coefficients: AdamCoefficients<T>,
        direction: MatrixRef<'_, Self, T>,
        first: MatrixMut<'_, Self, T>,
        second: MatrixMut<'_, Self, T>,
        parameters: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        for other in [first.view(), second.view(), parameters.view()] {
            require("Adam", &other, &direction)?;
        }
        let (g, m, v) = (direction.slice(), first.into_slice(), second.into_slice());
        let theta = parameters.into_slice();
        if self.threads() == 1 || theta.len() <= PIECE {
            adam(coefficients, g, m, v, theta);
        } else {
            g.par_chunks(PIECE)
                .zip(m.par_chunks_mut(PIECE))
                .zip(v.par_chunks_mut(PIECE))
                .zip(theta.par_chunks_mut(PIECE))
                .for_each(|(((g, m), v), theta)| adam(coefficients, g, m, v, theta));
        }
        Ok(())
    }
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

fn require<T: Scalar>(
    operation: &'static str,
    found: &MatrixRef<'_, Cpu, T>,
    expected: &MatrixRef<'_, Cpu, T>,
) -> Result<()> {
    let shape = |m: &MatrixRef<'_, Cpu, T>| format!("{}×{}", m.rows(), m.cols());
    if (found.rows(), found.cols()) == (expected.rows(), expected.cols()) {
        Ok(())
    } else {
        Err(Error::shape(operation, shape(expected), shape(found)))
    }
}
