//! The number types, and the bit-level constants of `exp` and `log` that differ between them.

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::error::{Error, Result};

/// A working precision of the elementwise functions: `f32` or `f64`. Sealed.
pub trait Real: lane::Lane {}

impl Real for f32 {}
impl Real for f64 {}

pub(super) mod lane {
    use super::*;

    /// What one lane of a vector can do: arithmetic, comparison, and the bits of its own format.
    ///
    /// Every method is a plain instruction on every target, so that loops over them vectorise.
    pub trait Lane:
        Copy
        + Debug
        + Default
        + PartialOrd
        + Send
        + Sync
        + 'static
        + Neg<Output = Self>
        + Add<Output = Self>
        + Sub<Output = Self>
        + Mul<Output = Self>
        + Div<Output = Self>
    {
        const ZERO: Self;
        const HALF: Self;
        const ONE: Self;
        const EPSILON: Self;
        const LOG2_E: Self;
        const LN_2: Self;
        /// √2 − 1, where log1p changes from f = e to f = (1+e)/2 − 1.
        const SQRT_2_MINUS_1: Self;
        /// ln 2 in two parts; the product of the first and an exponent is exact without a fused multiply-add.
        const LN_2_HIGH: Self;
        const LN_2_LOW: Self;
        /// 1.5·2^p with p the mantissa bits: adding it rounds to an integer, which then stands in the low bits.
        const ROUNDER: Self;
        /// Below it exp would leave the normal numbers.
        const EXP_MIN: Self;
        /// Coefficients of P in eʳ = 1 + r + r² P(r) for |r| ≤ ½ ln 2, constant term first.
        const EXP_TAIL: &'static [Self];
        /// Coefficients of Q in log(1+f) = f − f²/2 + f³ Q(f) for √½ ≤ 1+f ≤ √2, constant term first.
        const LOG_TAIL: &'static [Self];

        fn from_f64(value: f64) -> Self;
        fn to_f64(self) -> f64;
        fn magnitude(self) -> Self;
        fn with_sign_of(self, other: Self) -> Self;
        fn is_normal_number(self) -> bool;
        /// self·factor + term, rounded once; only where the target has the instruction.
        fn fused_mul_add(self, factor: Self, term: Self) -> Self;
        /// 2ⁿ, given n + [`Lane::ROUNDER`] for an n in the exponent's range.
        fn exp2_of_shifted(self) -> Self;
        /// A positive normal number as 2ᵏ·m with √½ ≤ m < √2: (k, 2⁻ᵏ, m).
        fn split_exponent(self) -> (Self, Self, Self);

        /// A parameter in this precision.
        ///
        /// # Errors
        /// [`Error::InvalidParameter`] unless it is positive and still a normal number.
        fn representable(name: &'static str, value: f64) -> Result<Self> {
            let rounded = Self::from_f64(value);
            if rounded > Self::ZERO && rounded.is_normal_number() {
                Ok(rounded)
            } else {
                Err(Error::invalid(name, value, "must be positive and a normal number of the working precision"))
            }
        }
    }

    macro_rules! implement_lane {
        ($float:ident, $bits:ident; $($constants:tt)+) => {
            impl Lane for $float {
                const ZERO: Self = 0.0;
                const HALF: Self = 0.5;
                const ONE: Self = 1.0;
                const EPSILON: Self = $float::EPSILON;
                const LOG2_E: Self = std::$float::consts::LOG2_E;
                const LN_2: Self = std::$float::consts::LN_2;
                const SQRT_2_MINUS_1: Self = std::$float::consts::SQRT_2 - 1.0;
                const ROUNDER: Self = 1.5 / $float::EPSILON;
                $($constants)+

                #[inline(always)]
                fn from_f64(value: f64) -> Self {
                    value as Self
                }

                #[inline(always)]
                fn to_f64(self) -> f64 {
                    self as f64
                }

                #[inline(always)]
                fn magnitude(self) -> Self {
                    self.abs()
                }

                #[inline(always)]
                fn with_sign_of(self, other: Self) -> Self {
                    self.copysign(other)
                }

                #[inline(always)]
                fn is_normal_number(self) -> bool {
                    self.is_normal()
                }

                #[inline(always)]
                fn fused_mul_add(self, factor: Self, term: Self) -> Self {
                    self.mul_add(factor, term)
                }

                #[inline(always)]
                fn exp2_of_shifted(self) -> Self {
                    const MANTISSA: u32 = $float::MANTISSA_DIGITS - 1;
                    Self::from_bits((self.to_bits() << MANTISSA).wrapping_add((1.0 as $float).to_bits()))
                }

                #[inline(always)]
                fn split_exponent(self) -> (Self, Self, Self) {
                    const MANTISSA: u32 = $float::MANTISSA_DIGITS - 1;
                    const BIAS: $bits = $float::MAX_EXP as $bits - 1;
                    const ONE: $bits = (1.0 as $float).to_bits();
                    const SQRT_HALF: $bits = std::$float::consts::FRAC_1_SQRT_2.to_bits();
                    // An integer below 2^MANTISSA or-ed into this number's mantissa is added to it.
                    const INTEGERS: $float = 1.0 / $float::EPSILON;

                    let bits = self.to_bits().wrapping_add(ONE - SQRT_HALF);
                    let biased = bits >> MANTISSA;
                    let k = Self::from_bits(INTEGERS.to_bits() | biased) - (INTEGERS + BIAS as $float);
                    let inverse_scale = Self::from_bits((2 * BIAS).wrapping_sub(biased) << MANTISSA);
                    let m = Self::from_bits((bits & ((1 << MANTISSA) - 1)).wrapping_add(SQRT_HALF));
                    (k, inverse_scale, m)
                }
            }
        };
    }

    // Minimax (Remez in 50 digits); ln 2 split as in fdlibm's e_exp.c and its float version.

    implement_lane! {
        f32, u32;
        const LN_2_HIGH: Self = 0.693_138_1;
        const LN_2_LOW: Self = 9.058_001e-6;
        const EXP_MIN: Self = -87.3;
        /// Error 2⁻³² of |r|.
        const EXP_TAIL: &'static [Self] =
            &[0.5, 0.166_666_67, 0.041_666_355, 0.008_333_273, 0.001_394_101_1, 0.000_199_141_97];
        /// Error 2⁻³⁰ of f².
        const LOG_TAIL: &'static [Self] = &[
            0.333_333_1,
            -0.249_999_87,
            0.200_021_46,
            -0.166_692_17,
            0.142_200_2,
            -0.123_855_5,
            0.118_651_35,
            -0.117_807_14,
            0.069_210_55,
        ];
    }
    implement_lane! {
        f64, u64;
        const LN_2_HIGH: Self = 6.931_471_803_691_238e-1;
        const LN_2_LOW: Self = 1.908_214_929_270_587_7e-10;
        const EXP_MIN: Self = -708.3;
        /// Error 2⁻⁶¹ of |r|.
        const EXP_TAIL: &'static [Self] = &[
            0.5,
            0.16666666666666677,
            0.0416666666666667,
            0.00833333333332161,
            0.0013888888888866817,
            0.0001984126988619325,
            2.4801587360622056e-05,
            2.755724412938589e-06,
            2.7557242690081e-07,
            2.5109068530719083e-08,
            2.092446773855671e-09,
        ];
        /// Error 2⁻⁵⁶ of f².
        const LOG_TAIL: &'static [Self] = &[
            0.33333333333333276,
            -0.24999999999988987,
            0.20000000000020868,
            -0.16666666669640462,
            0.1428571428537764,
            -0.12499999706763693,
            0.11111110855593428,
            -0.10000014449563024,
            0.09090932794473634,
            -0.08332937144485471,
            0.07691375353400175,
            -0.07148980384171007,
            0.06686077498355615,
            -0.0620201601195135,
            0.05661971968190115,
            -0.056440397135939444,
            0.06500958943961689,
            -0.06070699664900029,
            0.02694845984595248,
        ];
    }
}
