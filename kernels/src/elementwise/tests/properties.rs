//! Lost numbers stay lost, bounds hold, and σ⁻¹ inverts.

use proptest::prelude::*;

use crate::error::Error;
use crate::network::{Activation, Base};

use super::super::inverse::{invert, start};
use super::super::real::Real;
use super::super::{activation::*, *};
use super::{ACTIVATIONS, activated, element, grid, rounded};

const BASES: [Base; 4] = [Base::Normal, Base::SECH, Base::Logistic, Base::Laplace];

/// Every operation on one column of three elements, the middle one lost.
fn results_around<T: Real>(activation: Activation, base: Base, lost: T) -> Result<Vec<[T; 3]>> {
    let good = [T::from_f64(0.5); 3];
    let x = [good[0], lost, good[2]];
    let mut out = [good; 10];
    let [z, y, biased, of_y, of_v, output, slope, ratio, psi, inverted] = &mut out;
    bias_activate(activation, None, &mut x.clone(), z)?;
    bias_activate(activation, Some(&x), y, biased)?;
    backward_error(activation, &good, &x, of_y)?;
    backward_error(activation, &x, &good, of_v)?;
    output_error(activation, base, &x, output)?;
    slope_and_ratio(activation, &x, slope, ratio)?;
    base_score(base, &x, psi)?;
    inverse(activation, &x, inverted)?;
    let mut sums = [[0.0; 3]; 2];
    add_sums(Term::LogSlope(activation), &x, 1, &mut sums[0])?;
    add_sums(Term::LogDensity(base), &x, 1, &mut sums[1])?;
    Ok(out.into_iter().chain(sums.map(|sums| sums.map(T::from_f64))).collect())
}

fn check_lost_numbers<T: Real>() {
    for lost in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(T::from_f64) {
        for activation in ACTIVATIONS {
            for base in BASES {
                for (i, result) in results_around(activation, base, lost).unwrap().into_iter().enumerate() {
                    let finite = result.map(|x| x.to_f64().is_finite());
                    assert_eq!(finite, [true, false, true], "{activation:?} {base:?} {lost:?} {i}: {result:?}");
                }
            }
        }
    }
}

#[test]
fn a_lost_number_stays_lost_and_alone() {
    check_lost_numbers::<f32>();
    check_lost_numbers::<f64>();
}

/// σ overflows only where its own value does; every other function of σ is finite at every finite argument.
#[test]
fn nothing_overflows_at_large_arguments() {
    for activation in ACTIVATIONS {
        for x in [1e5, 1e20, 1e38, -1e5, -1e20, -1e38] {
            fn all_finite<T: Real>(activation: Activation, x: f64) -> bool {
                let found = element::<T, true>(activation, T::from_f64(x));
                [found.value, found.slope, found.ratio, found.log_slope].iter().all(|x| x.to_f64().is_finite())
            }
            assert!(all_finite::<f32>(activation, x) && all_finite::<f64>(activation, x * 1e260), "{activation:?} {x}");
        }
    }
}

/// 0 ≤ r ≤ (1−√α)/(1+√α) for s_L \[M3\], up to rounding, and the bound is reached.
#[test]
fn ratio_of_s_l_has_its_bound() {
    for alpha in [1e-6, 0.01, 0.3, 1.0_f64] {
        let activation = Activation::SmoothLeaky { alpha };
        let bound = (1.0 - alpha.sqrt()) / (1.0 + alpha.sqrt());
        let ratio = |x| element::<f64, true>(activation, x).ratio;
        for x in grid() {
            assert!((0.0..=bound * (1.0 + 1e-15)).contains(&ratio(x)), "α = {alpha}, x = {x}: {}", ratio(x));
        }
        assert!((ratio(alpha.sqrt().ln()) - bound).abs() <= 1e-15, "α = {alpha}");
    }
}

/// Both signs of 10⁻⁹ … 10³, the range for which MATH.md §13 gives the iterations.
fn inverse_grid() -> impl Iterator<Item = f64> {
    (0..=1200).flat_map(|i| [1.0, -1.0].map(|sign| sign * 1e-9 * 10f64.powf(f64::from(i) / 100.0)))
}

/// Iterations needed at most, and |σ(σ⁻¹(z)) − z| ≤ 8 eps (|z| + σ'(y)|y|): a few ulp of backward error.
fn check_inverse<T: Real, A: Sigma<T>>(activation: Activation, sigma: A) -> usize {
    let eps = T::EPSILON.to_f64();
    let mut most = 0;
    for z in inverse_grid().map(T::from_f64) {
        let (y, iterations) = invert(sigma, start(activation, z), z);
        most = most.max(iterations);
        let (y, z) = (y.to_f64(), z.to_f64());
        let residual = (reference::sigma(activation, y) - z).abs();
        let allowed = 8.0 * eps * (z.abs() + reference::slope(activation, y) * y.abs());
        assert!(residual <= allowed, "{activation:?} {z:e}: {residual:e} > {allowed:e}");
    }
    most
}

#[test]
fn inverse_converges_within_the_stated_iterations() {
    let smooth_leaky = [(0.3, 6), (0.01, 8), (1e-6, 17)].map(|(alpha, most)| (Activation::SmoothLeaky { alpha }, most));
    for (activation, stated) in smooth_leaky.into_iter().chain([(ACTIVATIONS[3], 6)]) {
        let most = with_sigma!(activation, f64, sigma => check_inverse(activation, sigma)).unwrap();
        assert!(most <= stated, "{activation:?}: {most} iterations, not {stated}");
        let single = rounded::<f32>(activation);
        with_sigma!(single, f32, sigma => check_inverse::<f32, _>(single, sigma)).unwrap();
    }
}

proptest! {
    /// y → σ(y) → y, with the conditioning of σ⁻¹: an error eps |σ| of z moves y by eps |σ|/σ'.
    #[test]
    fn inverse_undoes_activate(y in -500.0..500.0_f64, alpha in 0.01..1.0_f64, beta in 0.01..1.0_f64) {
        for activation in [Activation::SmoothLeaky { alpha }, Activation::TanhLinear { alpha, beta }] {
            let (z, mut back) = (activated(activation, &[y]).unwrap(), [0.0]);
            inverse(activation, &z, &mut back).unwrap();
            let size = y.abs() + (f64::abs(z[0]) + 1.0) / reference::slope(activation, y);
            prop_assert!((back[0] - y).abs() <= 16.0 * f64::EPSILON * size, "{activation:?} {y}: {}", back[0]);
        }
    }
}

#[test]
fn a_misfit_is_an_error_and_touches_nothing() {
    let mut two = [7.0; 2];
    assert!(matches!(inverse(ACTIVATIONS[1], &[1.0], &mut two), Err(Error::ShapeMismatch { .. })));
    assert_eq!(two, [7.0; 2]);
}

#[test]
fn parameters_out_of_range_are_errors() {
    let tanh = [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (f64::NAN, 1.0), (1e-50, 1.0), (1.0, 1e50)];
    let tanh = tanh.map(|(alpha, beta)| Activation::TanhLinear { alpha, beta });
    let smooth_leaky = [0.0, 1.5, 1e-50, f64::NAN].map(|alpha| Activation::SmoothLeaky { alpha });
    let mut z = [7.0_f32];
    for activation in tanh.into_iter().chain(smooth_leaky) {
        let result = bias_activate(activation, None, &mut [1.0], &mut z);
        assert!(matches!(result, Err(Error::InvalidParameter { .. })), "{activation:?}: {result:?}");
    }
    let result = base_score(Base::Sech { c: 0.0 }, &[1.0], &mut z);
    assert!(matches!(result, Err(Error::InvalidParameter { name: "c", .. })), "{result:?}");
    assert_eq!(z, [7.0]);
}
