//! exp and log on the arguments that \[M3\]–\[M5\] need, without branches, tables or library calls.
//!
//! `FMA` says whether the code runs where a fused multiply-add is one instruction. Elsewhere it would be a call
//! into libm, many times the price of the two operations.

use super::real::Real;

/// a·b + c.
#[inline(always)]
pub(crate) fn mul_add<T: Real, const FMA: bool>(a: T, b: T, c: T) -> T {
    if FMA { a.fused_mul_add(b, c) } else { a * b + c }
}

/// `value`, or NaN where the argument x is NaN or infinite. `value` must not be infinite.
#[inline(always)]
pub(super) fn unless_lost<T: Real, const FMA: bool>(x: T, value: T) -> T {
    mul_add::<T, FMA>(x, T::ZERO, value)
}

/// The polynomial with these coefficients, constant term first; at least four.
///
/// Four interleaved Horner chains in x⁴ (after Estrin): a single chain's latency would be what the loop waits for.
#[inline(always)]
fn polynomial<T: Real, const FMA: bool>(x: T, coefficients: &'static [T]) -> T {
    let x2 = x * x;
    let x4 = x2 * x2;
    let groups = coefficients.chunks_exact(4);
    let mut sums = [T::ZERO; 4];
    sums[..groups.remainder().len()].copy_from_slice(groups.remainder());
    for group in groups.rev() {
        for (sum, &coefficient) in sums.iter_mut().zip(group) {
            *sum = mul_add::<T, FMA>(*sum, x4, coefficient);
        }
    }
    let low = mul_add::<T, FMA>(sums[1], x, sums[0]);
    let high = mul_add::<T, FMA>(sums[3], x, sums[2]);
    mul_add::<T, FMA>(high, x2, low)
}

/// (eᵗ, eᵗ − 1) for t ≤ 0, both to about one ulp; eᵗ is flushed to 0 where it would be subnormal. NaN gives NaN.
///
/// Cody–Waite: t = n ln 2 + r, so eᵗ − 1 = 2ⁿ(eʳ − 1) + (2ⁿ − 1), with no cancellation as the two have one sign
/// or n = 0 or the first is at most 0.7 of the second.
#[inline(always)]
pub(super) fn exp_and_expm1<T: Real, const FMA: bool>(t: T) -> (T, T) {
    let shifted = mul_add::<T, FMA>(t, T::LOG2_E, T::ROUNDER);
    let n = shifted - T::ROUNDER;
    let r = mul_add::<T, FMA>(n, -T::LN_2_LOW, mul_add::<T, FMA>(n, -T::LN_2_HIGH, t));
    let p = mul_add::<T, FMA>(r * r, polynomial::<T, FMA>(r, T::EXP_TAIL), r);
    let scale = shifted.exp2_of_shifted();
    let exp = mul_add::<T, FMA>(scale, p, scale);
    let expm1 = mul_add::<T, FMA>(scale, p, scale - T::ONE);
    // Below the limit, and at −∞, the bits above are meaningless.
    if t < T::EXP_MIN { (T::ZERO, -T::ONE) } else { (exp, expm1) }
}

/// e⁻ˣ for x ≥ 0.
#[inline(always)]
pub(super) fn exp_minus<T: Real, const FMA: bool>(x: T) -> T {
    exp_and_expm1::<T, FMA>(-x).0
}

/// log(1+f) for √½ ≤ 1+f ≤ √2.
#[inline(always)]
fn log1p_reduced<T: Real, const FMA: bool>(f: T) -> T {
    let q = mul_add::<T, FMA>(f, polynomial::<T, FMA>(f, T::LOG_TAIL), -T::HALF);
    mul_add::<T, FMA>(f * f, q, f)
}

/// log(1+e) for 0 ≤ e ≤ 1.
#[inline(always)]
pub(super) fn log1p_unit<T: Real, const FMA: bool>(e: T) -> T {
    let high = e > T::SQRT_2_MINUS_1;
    let f = if high { (e - T::ONE) * T::HALF } else { e };
    let offset = if high { T::LN_2 } else { T::ZERO };
    offset + log1p_reduced::<T, FMA>(f)
}

/// log(a + b), with a > 0, b ≥ 0 and a + b normal; the rounding error of the sum is carried, so that 1 + tiny is good.
#[inline(always)]
pub(super) fn log_of_sum<T: Real, const FMA: bool>(a: T, b: T) -> T {
    // Knuth's two-sum: sum + error is a + b exactly.
    let sum = a + b;
    let b_rounded = sum - a;
    let error = (a - (sum - b_rounded)) + (b - b_rounded);

    let (k, inverse_scale, m) = sum.split_exponent();
    let f = mul_add::<T, FMA>(error, inverse_scale, m - T::ONE);
    let log1p = mul_add::<T, FMA>(k, T::LN_2_LOW, log1p_reduced::<T, FMA>(f));
    mul_add::<T, FMA>(k, T::LN_2_HIGH, log1p)
}
