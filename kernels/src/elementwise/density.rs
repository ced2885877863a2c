//! The base densities \[M5\] of one element.

use crate::error::Result;

use super::functions::{exp_and_expm1, exp_minus, log1p_unit, mul_add, unless_lost};
use super::real::Real;

/// log p and its derivative ψ, at one element.
///
/// A result that would be finite at an infinite argument is NaN there, so that a lost number stays visible.
pub(super) trait Density<T: Real>: Copy {
    /// log p(s).
    fn log_density<const FMA: bool>(self, s: T) -> T;
    /// ψ(s) = (log p)'(s).
    fn score<const FMA: bool>(self, s: T) -> T;
}

/// Standard normal.
#[derive(Clone, Copy)]
pub(super) struct Normal;

impl<T: Real> Density<T> for Normal {
    #[inline(always)]
    fn log_density<const FMA: bool>(self, s: T) -> T {
        const HALF_LOG_2_PI: f64 = 0.918_938_533_204_672_7;
        mul_add::<T, FMA>(-(s * T::HALF), s, T::from_f64(-HALF_LOG_2_PI))
    }

    #[inline(always)]
    fn score<const FMA: bool>(self, s: T) -> T {
        -s
    }
}

/// Hyperbolic secant (c/π) sech(cs).
#[derive(Clone, Copy)]
pub(super) struct Sech<T> {
    pub(super) c: T,
    /// log(2c/π), 0 for unit variance.
    pub(super) log_scale: T,
}

impl<T: Real> Sech<T> {
    pub(super) fn new(c: f64) -> Result<Self> {
        let log_scale = T::from_f64((c / std::f64::consts::FRAC_PI_2).ln());
        Ok(Self { c: T::representable("c", c)?, log_scale })
    }
}

impl<T: Real> Density<T> for Sech<T> {
    #[inline(always)]
    fn log_density<const FMA: bool>(self, s: T) -> T {
        let a = self.c * s.magnitude();
        (self.log_scale - a) - log1p_unit::<T, FMA>(exp_minus::<T, FMA>(a + a))
    }

    #[inline(always)]
    fn score<const FMA: bool>(self, s: T) -> T {
        let a = self.c * s.magnitude();
        self.c * minus_tanh_half::<T, FMA>(a + a, s)
    }
}

/// Logistic.
#[derive(Clone, Copy)]
pub(super) struct Logistic;

impl<T: Real> Density<T> for Logistic {
    #[inline(always)]
    fn log_density<const FMA: bool>(self, s: T) -> T {
        let log1p = log1p_unit::<T, FMA>(exp_minus::<T, FMA>(s.magnitude()));
        -s.magnitude() - (log1p + log1p)
    }

    #[inline(always)]
    fn score<const FMA: bool>(self, s: T) -> T {
        minus_tanh_half::<T, FMA>(s.magnitude(), s)
    }
}

/// Laplace.
#[derive(Clone, Copy)]
pub(super) struct Laplace;

impl<T: Real> Density<T> for Laplace {
    #[inline(always)]
    fn log_density<const FMA: bool>(self, s: T) -> T {
        -s.magnitude() - T::LN_2
    }

    #[inline(always)]
    fn score<const FMA: bool>(self, s: T) -> T {
        let upper = if s > T::ZERO { -T::ONE } else { T::ZERO };
        let sign = if s < T::ZERO { T::ONE } else { upper };
        unless_lost::<T, FMA>(s, sign)
    }
}

/// −tanh(a/2) with the sign of s, for a ≥ 0; NaN unless s is finite.
#[inline(always)]
fn minus_tanh_half<T: Real, const FMA: bool>(a: T, s: T) -> T {
    let (exp, expm1) = exp_and_expm1::<T, FMA>(-a);
    unless_lost::<T, FMA>(s, (expm1 / (T::ONE + exp)).with_sign_of(-s))
}
