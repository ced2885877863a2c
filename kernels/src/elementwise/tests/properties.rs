//! Lost numbers stay lost, bounds hold, and σ⁻¹ inverts.

use proptest::prelude::*;

use crate::error::Error;
use crate::network::{Activation, Base};

use super::super::inverse::{invert, start};
use super::super::real::Real;
use super::super::{activation::*, *};
use super::{ACTIVATIONS, element, grid};

const BASES: [Base; 4] = [Base::Normal, Base::SECH, Base::Logistic, Base::Laplace];

/// Every operation on one column of three elements, the middle one lost; the lost results, then the good ones.
fn results_around<T: Real>(activation: Activation, base: Base, lost: T) -> (Vec<f64>, Vec<f64>) {
    let good = T::from_f64(0.5);
    let x = [good, lost, good];
    let fresh = || [good; 3];
    let (mut lost_results, mut good_results) = (vec![], vec![]);
    let mut record = |result: [T; 3]| {
        lost_results.push(result[1].to_f64());
        good_results.extend([result[0].to_f64(), result[2].to_f64()]);
    };

    let mut z = fresh();
    activate(activation, &x, &mut z).unwrap();
    record(z);
    let (mut y, mut z) = (fresh(), fresh());
    bias_activate(activation, Some(&x), &mut y, &mut z).unwrap();
    record(y);
    record(z);
    let mut delta = fresh();
    backward_error(activation, &fresh(), &x, &mut delta).unwrap();
    record(delta);
    backward_error(activation, &x, &fresh(), &mut delta).unwrap();
    record(delta);
    output_error(activation, base, &x, &mut delta).unwrap();
    record(delta);
    let (mut slope, mut ratio) = (fresh(), fresh());
    slope_and_ratio(activation, &x, &mut slope, &mut ratio).unwrap();
    record(slope);
    record(ratio);
    let mut psi = fresh();
    base_score(base, &x, &mut psi).unwrap();
    record(psi);
    inverse(activation, &x, &mut psi).unwrap();
    record(psi);

    let mut sums = [0.0; 3];
    log_slope_sums(activation, &x, 1, &mut sums).unwrap();
    record(sums.map(T::from_f64));
    let mut sums = [0.0; 3];
    log_density_sums(base, &x, 1, &mut sums).unwrap();
    record(sums.map(T::from_f64));
    (lost_results, good_results)
}

fn check_lost_numbers<T: Real>() {
    for lost in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(T::from_f64) {
        for activation in ACTIVATIONS {
            for base in BASES {
                let (lost_results, good_results) = results_around(activation, base, lost);
                let found = lost_results.iter().position(|result| result.is_finite());
                assert_eq!(found, None, "{activation:?} {base:?} {lost:?}: {lost_results:?}");
                assert!(good_results.iter().all(|result| result.is_finite()), "{activation:?} {base:?}");
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
            let found = element::<f32, true>(activation, x);
            assert!(found.value.is_finite() && found.slope.is_finite(), "{activation:?} {x}");
            assert!(found.ratio.is_finite() && found.log_slope.is_finite(), "{activation:?} {x}");
            let found = element::<f64, true>(activation, f64::from(x) * 1e260);
            assert!(found.value.is_finite() && found.slope.is_finite(), "{activation:?} {x}");
            assert!(found.ratio.is_finite() && found.log_slope.is_finite(), "{activation:?} {x}");
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
    for (alpha, stated) in [(0.3, 6), (0.01, 8), (1e-6, 17)] {
        let activation = Activation::SmoothLeaky { alpha };
        let most = check_inverse::<f64, _>(activation, SmoothLeaky::new(alpha).unwrap());
        assert!(most <= stated, "α = {alpha}: {most} iterations, not {stated}");
        let single = f64::from(alpha as f32);
        check_inverse::<f32, _>(Activation::SmoothLeaky { alpha: single }, SmoothLeaky::new(single).unwrap());
    }
    let (alpha, beta) = (1.0, 0.1);
    let most = check_inverse::<f64, _>(Activation::TanhLinear { alpha, beta }, TanhLinear::new(alpha, beta).unwrap());
    assert!(most <= 6, "s_T: {most} iterations");
    let beta = f64::from(0.1_f32);
    check_inverse::<f32, _>(Activation::TanhLinear { alpha, beta }, TanhLinear::new(alpha, beta).unwrap());
}

proptest! {
    /// y → σ(y) → y, with the conditioning of σ⁻¹: an error eps |σ| of z moves y by eps |σ|/σ'.
    #[test]
    fn inverse_undoes_activate(y in -500.0..500.0_f64, alpha in 0.01..1.0_f64, beta in 0.01..1.0_f64) {
        for activation in [Activation::SmoothLeaky { alpha }, Activation::TanhLinear { alpha, beta }] {
            let (mut z, mut back) = ([0.0], [0.0]);
            activate(activation, &[y], &mut z).unwrap();
            inverse(activation, &z, &mut back).unwrap();
            let size = y.abs() + (z[0].abs() + 1.0) / reference::slope(activation, y);
            prop_assert!((back[0] - y).abs() <= 16.0 * f64::EPSILON * size, "{activation:?} {y}: {}", back[0]);
        }
    }
}

#[test]
fn misfits_are_errors_and_touch_nothing() {
    let activation = ACTIVATIONS[1];
    let (mut two, mut six) = ([7.0; 2], [7.0; 6]);
    let mut sums = [7.0; 2];
    let results = [
        add_bias(&[1.0; 4], &mut six),
        add_bias(&[], &mut six),
        activate(activation, &[1.0], &mut two),
        bias_activate(activation, Some(&[1.0; 4]), &mut [7.0; 6], &mut six),
        bias_activate(activation, None, &mut two, &mut six),
        backward_error(activation, &[1.0], &[1.0; 2], &mut two),
        output_error(activation, Base::Normal, &[1.0], &mut two),
        slope_and_ratio(activation, &[1.0; 2], &mut two, &mut six),
        base_score(Base::Normal, &[1.0], &mut two),
        log_slope_sums(activation, &six, 2, &mut sums),
        log_slope_sums::<f64>(activation, &[], 0, &mut sums),
        log_density_sums(Base::Normal, &six, 4, &mut sums),
        inverse(activation, &[1.0], &mut two),
    ];
    for result in results {
        assert!(matches!(result, Err(Error::ShapeMismatch { .. })), "{result:?}");
    }
    assert!(two.iter().chain(&six).chain(&sums).all(|&untouched| untouched == 7.0));
}

#[test]
fn parameters_out_of_range_are_errors() {
    let mut z = [7.0_f32];
    for (alpha, beta) in [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (f64::NAN, 1.0), (1e-50, 1.0), (1.0, 1e50)] {
        let result = activate(Activation::TanhLinear { alpha, beta }, &[1.0], &mut z);
        assert!(matches!(result, Err(Error::InvalidParameter { .. })), "{alpha} {beta}: {result:?}");
    }
    for alpha in [0.0, 1.5, 1e-50, f64::NAN] {
        let result = activate(Activation::SmoothLeaky { alpha }, &[1.0], &mut z);
        assert!(matches!(result, Err(Error::InvalidParameter { .. })), "{alpha}: {result:?}");
    }
    let result = base_score(Base::Sech { c: 0.0 }, &[1.0], &mut z);
    assert!(matches!(result, Err(Error::InvalidParameter { name: "c", .. })), "{result:?}");
    assert_eq!(z, [7.0]);
}
