//! σ⁻¹ by Newton's method \[M23\].

use crate::network::Activation;

use super::activation::Sigma;
use super::real::Real;

/// The paper's count; the starts below need at most 17.
const MAX_ITERATIONS: usize = 100;

/// (σ⁻¹(z), iterations). NaN when z is not finite.
///
/// From the start of [`start`] the iteration is monotone: s_L is convex and the start lies right of the root; s_T is
/// concave in |y| and the start lies inside. It stops at |step| ≤ 4 eps (|y| + |z|/σ'(y)).
pub(super) fn invert<T: Real, A: Sigma<T>>(sigma: A, start: T, z: T) -> (T, usize) {
    let tolerance = T::from_f64(4.0) * T::EPSILON;
    let mut y = start;
    for iteration in 1..=MAX_ITERATIONS {
        let slope = sigma.slope_and_ratio::<false>(y).0;
        let step = (sigma.value::<false>(y) - z) / slope;
        y = y - step;
        let on = step.magnitude() > tolerance * (y.magnitude() + z.magnitude() / slope);
        // Not the opposite comparison: NaN ends the loop too.
        if !on {
            return (y, iteration);
        }
    }
    (y, MAX_ITERATIONS)
}

/// Newton's start for σ(y) = z \[M23\].
pub(super) fn start<T: Real>(activation: Activation, z: T) -> T {
    match activation {
        Activation::SmoothLeaky { alpha } => {
            if z < T::ZERO {
                z / T::from_f64(alpha)
            } else {
                z
            }
        }
        Activation::TanhLinear { alpha, beta } => {
            let inner = z.magnitude() / T::from_f64(alpha + beta);
            let outer = (z.magnitude() - T::ONE) / T::from_f64(beta);
            (if outer > inner { outer } else { inner }).with_sign_of(z)
        }
    }
}
