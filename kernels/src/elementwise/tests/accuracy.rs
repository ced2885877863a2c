//! Each function of one element against the plain formulas in f64 and against an 80-digit table.

use crate::error::Result;
use crate::network::{Activation, Base};

use super::super::density::{Density, Laplace, Logistic, Normal, Sech};
use super::super::real::Real;
use super::super::reference;
use super::table;
use super::{ACTIVATIONS, element, grid, rounded};

/// What MATH.md §2 states for |x| ≤ 10⁴.
struct Tolerance {
    /// Relative error of σ and σ'.
    relative: f64,
    /// Absolute error of log σ' near its zeros; elsewhere relative.
    log_slope: f64,
    /// Relative error of r, ψ and log p, which have no stated bound: eight roundings.
    derived: f64,
    /// Eight times where an exponential is flushed to zero.
    underflow: f64,
}

const SINGLE: Tolerance =
    Tolerance { relative: 3e-7, log_slope: 2e-7, derived: 4.0 * f32::EPSILON as f64, underflow: 1e-37 };
const DOUBLE: Tolerance =
    Tolerance { relative: 5e-16, log_slope: 3e-16, derived: 4.0 * f64::EPSILON, underflow: 1e-306 };

#[track_caller]
fn assert_close(what: &str, at: (Activation, f64), found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs();
    assert!(error <= tolerance, "{what} of {at:?}: {found:e}, not {expected:e}: {error:e} > {tolerance:e}");
}

/// |αx| + (1−α) log(1+eˣ): the terms of s_L cancel near its zero, so its error is measured against their sizes.
fn value_scale(activation: Activation, x: f64, value: f64) -> f64 {
    match activation {
        Activation::SmoothLeaky { alpha } => value - 2.0 * alpha * x.min(0.0),
        Activation::TanhLinear { .. } => value.abs(),
    }
}

/// How much larger the relative error of exp(−2α|x|) is than that of its argument; |x| itself is exact.
fn exponent_condition(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::SmoothLeaky { .. } => 1.0,
        Activation::TanhLinear { alpha, .. } => 1.0 + alpha * x.abs(),
    }
}

/// What one relative unit of error in 2α|x| does to the αh of σ' = αh + β; scaling by a power of two is exact.
fn argument_rounding(activation: Activation, x: f64, slope: f64) -> f64 {
    match activation {
        Activation::TanhLinear { alpha, beta } if alpha.log2().fract() != 0.0 => alpha * x.abs() * (slope - beta),
        _ => 0.0,
    }
}

/// Each row is x, σ, σ', r, log σ'.
fn check_rows<T: Real>(activation: Activation, rows: impl IntoIterator<Item = [f64; 5]>, tolerance: &Tolerance) {
    let Tolerance { relative, derived, underflow, .. } = *tolerance;
    for [x, value, slope, ratio, log_slope] in rows {
        let at = (activation, x);
        let allowed = [
            relative * value_scale(activation, x, value) + f64::MIN_POSITIVE,
            relative * slope + derived * argument_rounding(activation, x, slope),
            derived * exponent_condition(activation, x) * ratio.abs() + underflow / slope,
            tolerance.log_slope * log_slope.abs().max(1.0),
        ];
        for found in [element::<T, true>(activation, T::from_f64(x)), element::<T, false>(activation, T::from_f64(x))] {
            let found = [found.value, found.slope, found.ratio, found.log_slope].map(T::to_f64);
            let expected = [value, slope, ratio, log_slope];
            for (i, what) in ["σ", "σ'", "r", "log σ'"].into_iter().enumerate() {
                assert_close(what, at, found[i], expected[i], allowed[i]);
            }
        }
    }
}

#[test]
fn f64_activations_agree_with_the_table() {
    for (activation, rows) in table::activations() {
        check_rows::<f64>(activation, rows, &DOUBLE);
    }
    let identity = grid().into_iter().map(|x| [x, x, 1.0, 0.0, 0.0]);
    check_rows::<f64>(Activation::SmoothLeaky { alpha: 1.0 }, identity, &DOUBLE);
}

/// The plain f64 formulas are a thousand times better than f32, so they are exact here.
#[test]
fn f32_activations_agree_with_the_plain_formulas() {
    for activation in ACTIVATIONS.map(rounded::<f32>) {
        let rows = grid().into_iter().map(|x| reference_row(activation, f64::from(x as f32)));
        check_rows::<f32>(activation, rows, &SINGLE);
    }
}

/// In f64 the plain formulas err as much as ours: both errors together.
#[test]
fn f64_activations_agree_with_the_plain_formulas() {
    let both = Tolerance { relative: 1e-15, log_slope: 6e-16, derived: 8.0 * f64::EPSILON, underflow: 1e-306 };
    for activation in ACTIVATIONS {
        check_rows::<f64>(activation, grid().into_iter().map(|x| reference_row(activation, x)), &both);
    }
}

fn reference_row(activation: Activation, x: f64) -> [f64; 5] {
    use reference::{log_slope, ratio, sigma, slope};
    [x, sigma(activation, x), slope(activation, x), ratio(activation, x), log_slope(activation, x)]
}

#[test]
fn plain_formulas_agree_with_the_table() {
    let tolerance = 8.0 * f64::EPSILON;
    for (activation, rows) in table::activations() {
        for [x, value, slope, ratio, log_slope] in rows {
            let (at, found) = ((activation, x), reference_row(activation, x));
            assert_close("σ", at, found[1], value, tolerance * value_scale(activation, x, value));
            assert_close("σ'", at, found[2], slope, tolerance * slope);
            let condition = exponent_condition(activation, x);
            assert_close("r", at, found[3], ratio, tolerance * condition * ratio.abs() + 1e-306 / slope);
            assert_close("log σ'", at, found[4], log_slope, tolerance * log_slope.abs().max(1.0));
        }
    }
    for (base, rows) in table::densities() {
        for row in rows {
            let found = (reference::log_density(base, row[0]), reference::score(base, row[0]));
            check_density(base, row, &[found], tolerance);
        }
    }
}

/// (log p, ψ) of one element, with and without fused multiply-add.
fn density<T: Real>(base: Base, s: f64) -> [(f64, f64); 2] {
    fn of<T: Real, B: Density<T>>(density: B, s: T) -> [(f64, f64); 2] {
        let fused = (density.log_density::<true>(s), density.score::<true>(s));
        let plain = (density.log_density::<false>(s), density.score::<false>(s));
        [fused, plain].map(|(log_density, score)| (log_density.to_f64(), score.to_f64()))
    }
    let found: Result<_> = with_density!(base, T, density => of(density, T::from_f64(s)));
    found.unwrap()
}

/// `row` is s, log p, ψ.
fn check_density(base: Base, [s, log_density, score]: [f64; 3], found: &[(f64, f64)], relative: f64) {
    let pairs = found.iter().flat_map(|found| [("log p", found.0, log_density), ("ψ", found.1, score)]);
    for (what, found, expected) in pairs {
        let error = (found - expected).abs();
        assert!(error <= relative * expected.abs(), "{what}, {base:?}, {s}: {error:e}");
    }
}

#[test]
fn f64_densities_agree_with_the_table() {
    for (base, rows) in table::densities() {
        for row in rows {
            check_density(base, row, &density::<f64>(base, row[0]), DOUBLE.derived);
        }
    }
}

#[test]
fn f32_densities_agree_with_the_plain_formulas() {
    let c = f64::from(std::f32::consts::FRAC_PI_2);
    for base in [Base::Normal, Base::Sech { c }, Base::Sech { c: 1.0 }, Base::Logistic, Base::Laplace] {
        for s in grid() {
            let s = f64::from(s as f32);
            let row = [s, reference::log_density(base, s), reference::score(base, s)];
            check_density(base, row, &density::<f32>(base, s), SINGLE.derived);
        }
    }
}

/// Central differences of σ with h = 10⁻⁵ err by h² σ'''/6 + eps |σ|/h < 10⁻⁹ for |x| ≤ 8; likewise of log σ' for r.
#[test]
fn slope_and_ratio_are_derivatives() {
    let h = 1e-5;
    for activation in ACTIVATIONS {
        for i in -160..=160 {
            let x = f64::from(i) * 0.05;
            let at = |x| element::<f64, true>(activation, x);
            let (left, right) = (at(x - h), at(x + h));
            let difference = |left: f64, right: f64| (right - left) / (2.0 * h);
            let found = at(x);
            assert_close("σ'", (activation, x), found.slope, difference(left.value, right.value), 1e-9);
            let ratio = difference(left.log_slope, right.log_slope);
            assert_close("r", (activation, x), found.ratio, ratio, 1e-9);
        }
    }
}
