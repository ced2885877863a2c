//! The vectorised operations against the functions of one element, bit for bit, at lengths on both sides of the block.

use crate::network::{Activation, Base};

use super::super::activation::{Sigma, SmoothLeaky, TanhLinear};
use super::super::density::{Density, Logistic, Sech};
use super::super::real::Real;
use super::super::*;
use super::{ACTIVATIONS, activated};

/// Whether this processor's code has fused multiply-adds.
fn fused() -> bool {
    struct Fused;
    impl Vectorised for Fused {
        type Output = bool;
        fn run<const FMA: bool>(self) -> bool {
            FMA
        }
    }
    vectorised(Fused)
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

fn check_activation<T: Real>(activation: Activation, sigma: impl Sigma<T>, length: usize) {
    let (y, v) = (numbers::<T>(1, length), numbers::<T>(2, length));
    let fresh = || vec![T::ZERO; length];
    let psi = |y| {
        let z = here!(sigma.value(y));
        here!(Logistic.score(z))
    };
    assert_eq!(activated(activation, &y).unwrap(), map(&y, |y| here!(sigma.value(y))));

    let (mut slope, mut ratio) = (fresh(), fresh());
    slope_and_ratio(activation, &y, &mut slope, &mut ratio).unwrap();
    assert_eq!(slope, map(&y, |y| here!(sigma.slope_and_ratio(y)).0));
    assert_eq!(ratio, map(&y, |y| here!(sigma.slope_and_ratio(y)).1));

    let mut delta = fresh();
    backward_error(activation, &v, &y, &mut delta).unwrap();
    let expected: Vec<T> = v.iter().zip(&y).map(|(&v, &y)| here!(sigma.backward_error(v, y))).collect();
    assert_eq!(delta, expected);
    output_error(activation, Base::Logistic, &y, &mut delta).unwrap();
    assert_eq!(delta, map(&y, |y| here!(sigma.backward_error(psi(y), y))));
}

fn check_all<T: Real>(length: usize) {
    for activation in [ACTIVATIONS[1], ACTIVATIONS[3]] {
        with_sigma!(activation, T, sigma => check_activation::<T>(activation, sigma, length)).unwrap();
    }
    let (z, mut psi) = (numbers::<T>(3, length), vec![T::ZERO; length]);
    let sech = Sech::<T>::new(1.25).unwrap();
    base_score(Base::Sech { c: 1.25 }, &z, &mut psi).unwrap();
    assert_eq!(psi, map(&z, |z| here!(sech.score(z))));
}

#[test]
fn slices_of_every_length_agree_with_their_elements() {
    for length in (0..=70).chain([127, 128, 129, 255, 256, 257, 1000]) {
        check_all::<f32>(length);
        check_all::<f64>(length);
    }
}

fn check_bias<T: Real>(dim: usize, columns: usize) {
    let activation = ACTIVATIONS[1];
    let (bias, y) = (numbers::<T>(4, dim), numbers::<T>(5, dim * columns));
    let expected: Vec<T> = y.iter().enumerate().map(|(i, &y)| y + bias[i % dim]).collect();

    let (mut sum, mut also, mut z) = (y.clone(), y.clone(), y);
    add_bias(&bias, &mut sum);
    bias_activate(activation, Some(&bias), &mut also, &mut z).unwrap();
    assert_eq!(sum, expected, "add_bias, {dim}×{columns}");
    assert_eq!((also, z), (sum, activated(activation, &expected).unwrap()), "bias_activate, {dim}×{columns}");
}

/// Dimensions on both sides of one block of 64, of its double, and far from both.
const DIMS: [usize; 17] = [1, 2, 3, 7, 10, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 191, 300];

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
    add_sums(Term::LogSlope(Activation::SmoothLeaky { alpha }), &y, dim, &mut sums).unwrap();
    check("log σ'", &sums, &|y| here!(sigma.log_slope(y)).to_f64());
    let mut sums = vec![5.0; columns];
    add_sums(Term::LogDensity(Base::Logistic), &y, dim, &mut sums).unwrap();
    check("log p", &sums, &|z| here!(Logistic.log_density(z)).to_f64());
}

#[test]
fn biases_and_sums_stay_in_their_rows_and_columns() {
    for dim in DIMS {
        for columns in [0, 1, 2, 3, 13, 67] {
            check_bias::<f32>(dim, columns);
            check_bias::<f64>(dim, columns);
            check_sums::<f32>(dim, columns);
            check_sums::<f64>(dim, columns);
        }
    }
}
