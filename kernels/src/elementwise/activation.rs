//! The nonlinearities \[M3\], \[M4\] of one element.

use crate::error::{Error, Result};

use super::functions::{exp_and_expm1, exp_minus, log_of_sum, log1p_unit, mul_add, unless_lost};
use super::real::Real;

/// σ and what the gradients need of it, at one element. One exponential serves each method.
///
/// A result that would be finite at an infinite argument is NaN there, so that a lost number stays visible.
pub(super) trait Sigma<T: Real>: Copy {
    /// σ(x).
    fn value<const FMA: bool>(self, x: T) -> T;
    /// (σ'(x), σ''(x)/σ'(x)).
    fn slope_and_ratio<const FMA: bool>(self, x: T) -> (T, T);
    /// v σ'(y) + σ''(y)/σ'(y), with a single division.
    fn backward_error<const FMA: bool>(self, v: T, y: T) -> T;
    /// log σ'(x).
    fn log_slope<const FMA: bool>(self, x: T) -> T;
}

/// s_L \[M3\].
#[derive(Clone, Copy)]
pub(super) struct SmoothLeaky<T> {
    pub(super) alpha: T,
    /// 1 − α.
    pub(super) rest: T,
}

impl<T: Real> SmoothLeaky<T> {
    pub(super) fn new(alpha: f64) -> Result<Self> {
        let alpha = T::representable("alpha", alpha)?;
        if alpha > T::ONE {
            return Err(Error::invalid("alpha", alpha.to_f64(), "must be in (0, 1] for s_L"));
        }
        Ok(Self { alpha, rest: T::ONE - alpha })
    }

    /// (e, q) with e = exp(−|x|) and q = (1+e) σ'(x); NaN unless x is finite.
    #[inline(always)]
    fn exp_and_numerator<const FMA: bool>(self, x: T) -> (T, T) {
        let e = unless_lost::<T, FMA>(x, exp_minus::<T, FMA>(x.magnitude()));
        let q = if x < T::ZERO { self.alpha + e } else { mul_add::<T, FMA>(self.alpha, e, T::ONE) };
        (e, q)
    }
}

impl<T: Real> Sigma<T> for SmoothLeaky<T> {
    #[inline(always)]
    fn value<const FMA: bool>(self, x: T) -> T {
        let positive = if x > T::ZERO { x } else { T::ZERO };
        let softplus = positive + log1p_unit::<T, FMA>(exp_minus::<T, FMA>(x.magnitude()));
        mul_add::<T, FMA>(self.alpha, x, self.rest * softplus)
    }

    #[inline(always)]
    fn slope_and_ratio<const FMA: bool>(self, x: T) -> (T, T) {
        let (e, q) = self.exp_and_numerator::<FMA>(x);
        let d = T::ONE + e;
        (q / d, self.rest * e / (d * q))
    }

    #[inline(always)]
    fn backward_error<const FMA: bool>(self, v: T, y: T) -> T {
        let (e, q) = self.exp_and_numerator::<FMA>(y);
        mul_add::<T, FMA>(v * q, q, self.rest * e) / ((T::ONE + e) * q)
    }

    #[inline(always)]
    fn log_slope<const FMA: bool>(self, x: T) -> T {
        let e = unless_lost::<T, FMA>(x, exp_minus::<T, FMA>(x.magnitude()));
        let negative = x < T::ZERO;
        let first = if negative { self.alpha } else { T::ONE };
        let second = if negative { e } else { self.alpha * e };
        log_of_sum::<T, FMA>(first, second) - log1p_unit::<T, FMA>(e)
    }
}

/// s_T \[M4\].
#[derive(Clone, Copy)]
pub(super) struct TanhLinear<T> {
    pub(super) beta: T,
    /// 2α.
    pub(super) two_alpha: T,
    /// 4α.
    pub(super) four_alpha: T,
    /// 8α².
    pub(super) eight_alpha_squared: T,
}

/// e = exp(−2α|x|), d = 1 + e, τ = d tanh(αx) and p = d² σ'(x).
struct TanhParts<T> {
    e: T,
    d: T,
    tau: T,
    p: T,
}

impl<T: Real> TanhLinear<T> {
    pub(super) fn new(alpha: f64, beta: f64) -> Result<Self> {
        let rounded = T::representable("alpha", alpha)?.to_f64();
        let beta = T::representable("beta", beta)?;
        Ok(Self {
            beta,
            two_alpha: T::from_f64(2.0 * rounded),
            four_alpha: T::from_f64(4.0 * rounded),
            eight_alpha_squared: T::from_f64(8.0 * rounded * rounded),
        })
    }

    /// The parts of every formula; NaN unless x is finite.
    #[inline(always)]
    fn parts<const FMA: bool>(self, x: T) -> TanhParts<T> {
        let (exp, expm1) = exp_and_expm1::<T, FMA>(-(self.two_alpha * x.magnitude()));
        let e = unless_lost::<T, FMA>(x, exp);
        let d = T::ONE + e;
        // 1 − e from expm1: no cancellation at small x.
        let tau = (-expm1).with_sign_of(x);
        let p = mul_add::<T, FMA>(self.four_alpha, e, self.beta * d * d);
        TanhParts { e, d, tau, p }
    }
}

impl<T: Real> Sigma<T> for TanhLinear<T> {
    #[inline(always)]
    fn value<const FMA: bool>(self, x: T) -> T {
        let (exp, expm1) = exp_and_expm1::<T, FMA>(-(self.two_alpha * x.magnitude()));
        let tanh = ((-expm1) / (T::ONE + exp)).with_sign_of(x);
        mul_add::<T, FMA>(self.beta, x, tanh)
    }

    #[inline(always)]
    fn slope_and_ratio<const FMA: bool>(self, x: T) -> (T, T) {
        let TanhParts { e, d, tau, p } = self.parts::<FMA>(x);
        (p / (d * d), -(self.eight_alpha_squared * tau * e / (d * p)))
    }

    /// σ' = p/d² and r = −8α² τ e/(d p), over the common denominator d² p.
    #[inline(always)]
    fn backward_error<const FMA: bool>(self, v: T, y: T) -> T {
        let TanhParts { e, d, tau, p } = self.parts::<FMA>(y);
        let ratio_part = self.eight_alpha_squared * tau * e * d;
        mul_add::<T, FMA>(v * p, p, -ratio_part) / (d * d * p)
    }

    #[inline(always)]
    fn log_slope<const FMA: bool>(self, x: T) -> T {
        let e = unless_lost::<T, FMA>(x, exp_minus::<T, FMA>(self.two_alpha * x.magnitude()));
        let d = T::ONE + e;
        log_of_sum::<T, FMA>(self.beta, self.four_alpha * e / (d * d))
    }
}
