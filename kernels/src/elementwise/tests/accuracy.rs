//! Each function of one element against the plain formulas in f64 and against an 80-digit table.

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

/// `row` is x, σ, σ', r, log σ'.
fn check_row<T: Real, const FMA: bool>(activation: Activation, row: [f64; 5], tolerance: &Tolerance) {
    let [x, value, slope, ratio, log_slope] = row;
    let at = (activation, x);
    let found = element::<T, FMA>(activation, T::from_f64(x));
    let Tolerance { relative, derived, underflow, .. } = *tolerance;
    assert_close(
        "σ",
        at,
        found.value.to_f64(),
        value,
        relative * value_scale(activation, x, value) + f64::MIN_POSITIVE,
    );
    let allowed = relative * slope + derived * argument_rounding(activation, x, slope);
    assert_close("σ'", at, found.slope.to_f64(), slope, allowed);
    let allowed = derived * exponent_condition(activation, x) * ratio.abs() + underflow / slope;
    assert_close("r", at, found.ratio.to_f64(), ratio, allowed);
    let scale = log_slope.abs().max(1.0);
    assert_close("log σ'", at, found.log_slope.to_f64(), log_slope, tolerance.log_slope * scale);
}

#[test]
fn f64_activations_agree_with_the_table() {
    for (activation, rows) in table::ACTIVATIONS {
        for &row in *rows {
            check_row::<f64, true>(*activation, row, &DOUBLE);
            check_row::<f64, false>(*activation, row, &DOUBLE);
        }
    }
}

/// The plain f64 formulas are a thousand times better than f32, so they are exact here.
#[test]
fn f32_activations_agree_with_the_plain_formulas() {
    for activation in ACTIVATIONS.map(rounded::<f32>) {
        for x in grid() {
            let x = f64::from(x as f32);
            let row = reference_row(activation, x);
            check_row::<f32, true>(activation, row, &SINGLE);
            check_row::<f32, false>(activation, row, &SINGLE);
        }
    }
}

/// In f64 the plain formulas err as much as ours: both errors together.
#[test]
fn f64_activations_agree_with_the_plain_formulas() {
    let both = Tolerance { relative: 1e-15, log_slope: 6e-16, derived: 8.0 * f64::EPSILON, underflow: 1e-306 };
    for activation in ACTIVATIONS {
        for x in grid() {
            let row = reference_row(activation, x);
            check_row::<f64, true>(activation, row, &both);
            check_row::<f64, false>(activation, row, &both);
        }
    }
}

fn reference_row(activation: Activation, x: f64) -> [f64; 5] {
    [
        x,
        reference::sigma(activation, x),
        reference::slope(activation, x),
        reference::ratio(activation, x),
        reference::log_slope(activation, x),
    ]
}

#[test]
fn plain_formulas_agree_with_the_table() {
    let tolerance = 8.0 * f64::EPSILON;
    for (activation, rows) in table::ACTIVATIONS {
        for &[x, value, slope, ratio, log_slope] in *rows {
            let at = (*activation, x);
            let found = reference_row(*activation, x);
            assert_close("σ", at, found[1], value, tolerance * value_scale(*activation, x, value));
            assert_close("σ'", at, found[2], slope, tolerance * slope);
            let condition = exponent_condition(*activation, x);
            assert_close("r", at, found[3], ratio, tolerance * condition * ratio.abs() + 1e-306 / slope);
            assert_close("log σ'", at, found[4], log_slope, tolerance * log_slope.abs().max(1.0));
        }
    }
    for (base, rows) in table::DENSITIES {
        for &[s, log_density, score] in *rows {
            let found = reference::log_density(*base, s);
            assert!((found - log_density).abs() <= tolerance * log_density.abs(), "log p, {base:?}, {s}: {found}");
            let found = reference::score(*base, s);
            assert!((found - score).abs() <= tolerance * score.abs(), "ψ, {base:?}, {s}: {found}");
        }
    }
}

/// (log p, ψ) of one element.
fn density<T: Real, const FMA: bool>(base: Base, s: f64) -> (f64, f64) {
    fn of<T: Real, B: Density<T>, const FMA: bool>(density: B, s: T) -> (f64, f64) {
        (density.log_density::<FMA>(s).to_f64(), density.score::<FMA>(s).to_f64())
    }
    let s = T::from_f64(s);
    match base {
        Base::Normal => of::<T, _, FMA>(Normal, s),
        Base::Sech { c } => of::<T, _, FMA>(Sech::new(c).unwrap(), s),
        Base::Logistic => of::<T, _, FMA>(Logistic, s),
        Base::Laplace => of::<T, _, FMA>(Laplace, s),
    }
}

fn check_density<T: Real>(base: Base, [s, log_density, score]: [f64; 3], relative: f64) {
    for found in [density::<T, true>(base, s), density::<T, false>(base, s)] {
        let error = (found.0 - log_density).abs();
        assert!(error <= relative * log_density.abs(), "log p, {base:?}, {s}: {error:e}");
        let error = (found.1 - score).abs();
        assert!(error <= relative * score.abs(), "ψ, {base:?}, {s}: {error:e}");
    }
}

#[test]
fn f64_densities_agree_with_the_table() {
    for (base, rows) in table::DENSITIES {
        for &row in *rows {
            check_density::<f64>(*base, row, DOUBLE.derived);
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
            check_density::<f32>(base, row, SINGLE.derived);
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
