//! The vectorised operations against the functions of one element, bit for bit, at lengths on both sides of the block.

use pulp::{Arch, Simd, WithSimd};

use crate::network::{Activation, Base};

use super::super::activation::{Sigma, SmoothLeaky, TanhLinear};
use super::super::density::{Density, Logistic, Sech};
use super::super::real::Real;
use super::super::*;

/// Whether this processor's code has fused multiply-adds.
fn fused() -> bool {
    struct Fused;
    impl WithSimd for Fused {
        type Output = bool;
        fn with_simd<S: Simd>(self, _: S) -> bool {
            !S::IS_SCALAR
        }
    }
    Arch::new().dispatch(Fused)
}

/// Calls a generic method with this processor's `FMA`.
macro_rules! here {
    ($object:ident.$method:ident($($argument:expr),*)) => {
        if fused() { $object.$method::<true>($($argument),*) } else { $object.$method::<false>($($argument),*) }
    };
}

/// Reproducible numbers in ±20.
fn numbers<T: Real>(seed: usize, length: usize) -> Vec<T> {
    (0..length).map(|i| T::from_f64(((i * 7919 + seed * 104_729) % 4001) as f64 / 100.0 - 20.0)).collect()
}

fn map<T: Copy>(values: &[T], function: impl Fn(T) -> T) -> Vec<T> {
    values.iter().map(|&value| function(value)).collect()
}

fn check_activation<T: Real, A: Sigma<T>>(activation: Activation, sigma: A, length: usize) {
    let (y, v) = (numbers::<T>(1, length), numbers::<T>(2, length));
    let fresh = || vec![T::ZERO; length];
    let expected_z = map(&y, |y| here!(sigma.value(y)));
    let expected_slope = map(&y, |y| here!(sigma.slope_and_ratio(y)).0);
    let expected_ratio = map(&y, |y| here!(sigma.slope_and_ratio(y)).1);
    let expected_delta: Vec<T> = v.iter().zip(&y).map(|(&v, &y)| here!(sigma.backward_error(v, y))).collect();

    let mut z = fresh();
    activate(activation, &y, &mut z).unwrap();
    assert_eq!(z, expected_z);
    let (mut same_y, mut z) = (y.clone(), fresh());
    bias_activate(activation, None, &mut same_y, &mut z).unwrap();
    assert_eq!((same_y, z), (y.clone(), expected_z));

    let (mut slope, mut ratio) = (fresh(), fresh());
    slope_and_ratio(activation, &y, &mut slope, &mut ratio).unwrap();
    assert_eq!((slope, ratio), (expected_slope.clone(), expected_ratio));
    assert_eq!(map(&y, |y| here!(sigma.value_slope_ratio(y)).1), expected_slope);

    let mut delta = fresh();
    backward_error(activation, &v, &y, &mut delta).unwrap();
    assert_eq!(delta, expected_delta);
    output_error(activation, Base::Logistic, &y, &mut delta).unwrap();
    let psi = |y| {
        let z = here!(sigma.value(y));
        here!(Logistic.score(z))
    };
    assert_eq!(delta, map(&y, |y| here!(sigma.backward_error(psi(y), y))));
}

fn check_scores<T: Real>(length: usize) {
    let z = numbers::<T>(3, length);
    let sech = Sech::<T>::new(1.25).unwrap();
    let expected = map(&z, |z| here!(sech.score(z)));
    let mut psi = vec![T::ZERO; length];
    base_score(Base::Sech { c: 1.25 }, &z, &mut psi).unwrap();
    assert_eq!(psi, expected);
}

fn check_all<T: Real>(length: usize) {
    let (alpha, beta) = (0.3, 0.1);
    check_activation::<T, _>(Activation::SmoothLeaky { alpha }, SmoothLeaky::new(alpha).unwrap(), length);
    check_activation::<T, _>(Activation::TanhLinear { alpha, beta }, TanhLinear::new(alpha, beta).unwrap(), length);
    check_scores::<T>(length);
}

#[test]
fn slices_of_every_length_agree_with_their_elements() {
    for length in (0..=70).chain([127, 128, 129, 255, 256, 257, 1000]) {
        check_all::<f32>(length);
        check_all::<f64>(length);
    }
}

fn check_bias<T: Real>(dim: usize, columns: usize) {
    let activation = Activation::SmoothLeaky { alpha: 0.3 };
    let (bias, y) = (numbers::<T>(4, dim), numbers::<T>(5, dim * columns));
    let expected: Vec<T> = y.iter().enumerate().map(|(i, &y)| y + bias[i % dim]).collect();

    let mut sum = y.clone();
    add_bias(&bias, &mut sum).unwrap();
    assert_eq!(sum, expected, "add_bias, {dim}×{columns}");

    let (mut sum, mut z, mut expected_z) = (y.clone(), y.clone(), y.clone());
    bias_activate(activation, Some(&bias), &mut sum, &mut z).unwrap();
    activate(activation, &expected, &mut expected_z).unwrap();
    assert_eq!((sum, z), (expected, expected_z), "bias_activate, {dim}×{columns}");
}

/// Dimensions on both sides of one block of 64, of its double, and far from both.
const DIMS: [usize; 17] = [1, 2, 3, 7, 10, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 191, 300];

#[test]
fn bias_repeats_down_every_column() {
    for dim in DIMS {
        for columns in [0, 1, 2, 3, 13, 67] {
            check_bias::<f32>(dim, columns);
            check_bias::<f64>(dim, columns);
        }
    }
}

/// The sums are added to what is there, and each column keeps its own: to the rounding of `dim` additions.
fn check_sums<T: Real>(dim: usize, columns: usize) {
    let y = numbers::<T>(6, dim * columns);
    let alpha = 0.3;
    let sigma = SmoothLeaky::<T>::new(alpha).unwrap();
    let check = |what: &str, sums: &[f64], term: &dyn Fn(T) -> f64| {
        for (column, sum) in sums.iter().enumerate() {
            let terms = y[column * dim..][..dim].iter().map(|&y| term(y));
            let (expected, size) = terms.fold((5.0, 5.0), |(sum, size), term| (sum + term, size + term.abs()));
            let allowed = dim as f64 * f64::EPSILON * size;
            assert!((sum - expected).abs() <= allowed, "{what} {dim}×{columns}, {column}: {sum} {expected}");
        }
    };

    let mut sums = vec![5.0; columns];
    log_slope_sums(Activation::SmoothLeaky { alpha }, &y, dim, &mut sums).unwrap();
    check("log σ'", &sums, &|y| here!(sigma.log_slope(y)).to_f64());
    let mut sums = vec![5.0; columns];
    log_density_sums(Base::Logistic, &y, dim, &mut sums).unwrap();
    check("log p", &sums, &|z| here!(Logistic.log_density(z)).to_f64());
}

#[test]
fn sums_stay_in_their_columns() {
    for dim in DIMS {
        for columns in [0, 1, 2, 3, 13, 67] {
            check_sums::<f32>(dim, columns);
            check_sums::<f64>(dim, columns);
        }
    }
}
