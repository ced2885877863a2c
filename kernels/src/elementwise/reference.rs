//! The functions of MATH.md §2 and §3 in plain f64 with the standard library: slow, short, and obviously right.
//!
//! Tests and the nalgebra reference compare with these.

use crate::network::{Activation, Base};

/// σ(x), \[M3\] or \[M4\].
pub fn sigma(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::SmoothLeaky { alpha } => alpha * x + (1.0 - alpha) * (x.max(0.0) + (-x.abs()).exp().ln_1p()),
        Activation::TanhLinear { alpha, beta } => (alpha * x).tanh() + beta * x,
    }
}

/// σ'(x).
pub fn slope(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::SmoothLeaky { alpha } => {
            let e = (-x.abs()).exp();
            smooth_leaky_numerator(alpha, x, e) / (1.0 + e)
        }
        Activation::TanhLinear { alpha, beta } => alpha * sech_squared(alpha * x) + beta,
    }
}

/// σ''(x).
pub fn curvature(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::SmoothLeaky { alpha } => {
            let e = (-x.abs()).exp();
            (1.0 - alpha) * e / (1.0 + e).powi(2)
        }
        Activation::TanhLinear { alpha, .. } => -2.0 * alpha * alpha * (alpha * x).tanh() * sech_squared(alpha * x),
    }
}

/// r(x) = σ''(x)/σ'(x).
pub fn ratio(activation: Activation, x: f64) -> f64 {
    curvature(activation, x) / slope(activation, x)
}

/// log σ'(x).
pub fn log_slope(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::SmoothLeaky { alpha } => {
            let e = (-x.abs()).exp();
            (if x >= 0.0 { (alpha * e).ln_1p() } else { (alpha + e).ln() }) - e.ln_1p()
        }
        Activation::TanhLinear { .. } => slope(activation, x).ln(),
    }
}

/// log p(s), \[M5\].
pub fn log_density(base: Base, s: f64) -> f64 {
    use std::f64::consts::{LN_2, PI};
    match base {
        Base::Normal => -0.5 * s * s - 0.5 * (2.0 * PI).ln(),
        Base::Sech { c } => {
            let a = c * s.abs();
            (2.0 * c / PI).ln() - a - (-2.0 * a).exp().ln_1p()
        }
        Base::Logistic => -s.abs() - 2.0 * (-s.abs()).exp().ln_1p(),
        Base::Laplace => -s.abs() - LN_2,
    }
}

/// ψ(s) = (log p)'(s).
pub fn score(base: Base, s: f64) -> f64 {
    match base {
        Base::Normal => -s,
        Base::Sech { c } => -c * (c * s).tanh(),
        Base::Logistic => -(s / 2.0).tanh(),
        Base::Laplace if s == 0.0 => 0.0,
        Base::Laplace => -s.signum(),
    }
}

/// (1+e) σ'(x) of s_L, given e = exp(−|x|).
fn smooth_leaky_numerator(alpha: f64, x: f64, e: f64) -> f64 {
    if x >= 0.0 { 1.0 + alpha * e } else { alpha + e }
}

/// 1 − tanh²(x), without the cancellation.
fn sech_squared(x: f64) -> f64 {
    let e = (-2.0 * x.abs()).exp();
    4.0 * e / (1.0 + e).powi(2)
}
