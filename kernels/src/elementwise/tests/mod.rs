//! Accuracy is tested on the functions of one element, with and without fused multiply-add; the slice operations must
//! then agree with those functions bit for bit, at every length.

mod accuracy;
mod properties;
mod slices;
mod table;

use crate::error::Result;
use crate::network::Activation;

use super::activation::{Sigma, SmoothLeaky, TanhLinear};
use super::bias_activate;
use super::real::Real;

/// Parameters over the whole range of slopes: nearly flat, the authors' two, and the identity.
const ACTIVATIONS: [Activation; 5] = [
    Activation::SmoothLeaky { alpha: 1e-6 },
    Activation::SmoothLeaky { alpha: 0.3 },
    Activation::SmoothLeaky { alpha: 1.0 },
    Activation::TanhLinear { alpha: 1.0, beta: 0.1 },
    Activation::TanhLinear { alpha: 0.7, beta: 1e-3 },
];

/// The activation with its parameters rounded to the working precision, for an exact comparison.
fn rounded<T: Real>(activation: Activation) -> Activation {
    let round = |value| T::from_f64(value).to_f64();
    match activation {
        Activation::SmoothLeaky { alpha } => Activation::SmoothLeaky { alpha: round(alpha) },
        Activation::TanhLinear { alpha, beta } => Activation::TanhLinear { alpha: round(alpha), beta: round(beta) },
    }
}

/// σ, σ', r and log σ' of one element.
struct Element<T> {
    value: T,
    slope: T,
    ratio: T,
    log_slope: T,
}

fn element<T: Real, const FMA: bool>(activation: Activation, x: T) -> Element<T> {
    fn of<T: Real, A: Sigma<T>, const FMA: bool>(sigma: A, x: T) -> Element<T> {
        let (slope, ratio) = sigma.slope_and_ratio::<FMA>(x);
        Element { value: sigma.value::<FMA>(x), slope, ratio, log_slope: sigma.log_slope::<FMA>(x) }
    }
    with_sigma!(activation, T, sigma => of::<T, _, FMA>(sigma, x)).unwrap()
}

/// σ of each.
fn activated<T: Real>(activation: Activation, y: &[T]) -> Result<Vec<T>> {
    let mut z = vec![T::from_f64(7.0); y.len()];
    bias_activate(activation, None, &mut y.to_vec(), &mut z).map(|()| z)
}

/// Arguments of every size up to 10⁴, of both signs, with zeros, dense where the functions bend.
fn grid() -> Vec<f64> {
    let mut points = vec![0.0, -0.0];
    for i in 0..4000 {
        let dense = f64::from(i) * 0.01 + 0.003;
        let spread = 1e-30 * 10f64.powf(f64::from(i) / 4000.0 * 34.0);
        points.extend([dense, -dense, spread, -spread]);
    }
    points.extend([1e4, -1e4, 87.2, -87.2, 87.4, -87.4, 708.2, -708.2, 708.4, -708.4]);
    points
}
