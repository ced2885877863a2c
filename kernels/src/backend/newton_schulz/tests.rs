//! The refresh by itself, and through trainings.

use super::*;
use crate::Tuning;
use crate::backend::Ordinary;
use crate::bound::cost_of_refresh;
use crate::check::relative_error;
use crate::cost::{Sizes, cost};
use crate::device::Cpu;
use crate::evaluation::{Workload, prepare};
use crate::init::{self, Init};
use crate::method::Method;
use crate::optimizer::plain_step;
use crate::scalar::Dtype;

/// R is (1 − f) times the inverse, for f over the range of one to many iterations: the refresh ends at the inverse,
/// with the products that the cost model says.
pub(crate) fn a_refresh_ends_at_the_inverse<D: Device<T>, T: Scalar>(device: &D) {
    const DIM: usize = 40;
    // Its own inverse: a Householder reflection, scaled by 2.
    let v = init::normals(3, DIM);
    let square: f64 = v.iter().map(|v| v * v).sum();
    let reflection = |i: usize, j: usize| f64::from(i == j) - 2.0 * v[i] * v[j] / square;
    let of =
        |scale: f64| -> Vec<T> { (0..DIM * DIM).map(|at| T::of(scale * reflection(at % DIM, at / DIM))).collect() };
    let matrix = |scale| Matrix::from_column_major(device, &of(scale), DIM, DIM, "test").unwrap();
    let (weight, mut out) = (matrix(2.0), matrix(0.0));
    let mut inverses = Followed::new(device, 1, DIM).unwrap();
    for residual in [0.0, 1e-9, 1e-5, 1e-3, 1e-2, 0.1, 0.3] {
        inverses.known[0] = (matrix(0.5 * (1.0 - residual)), true);
        inverses.last = Refresh::default();
        assert!(inverses.iterate(device, 0, weight.view(), out.view_mut()).unwrap());
        let found = out.to_column_major(device).unwrap().into_iter().map(Scalar::widen);
        let error = relative_error(found, of(0.5).into_iter().map(Scalar::widen));
        assert!(error < 8.0 * T::EPS, "{residual}: {error:e}");
        assert_eq!(inverses.last.products, products(residual, T::EPS), "{residual}");
        let rounding = 1e3 * T::EPS;
        assert!(residual < rounding || (inverses.last.residual / residual - 1.0).abs() < rounding / residual);
    }
    // Where the powers do not fall it says so: R = −W⁻¹ has F = 2I.
    inverses.known[0] = (matrix(-0.5), true);
    assert!(!inverses.iterate(device, 0, weight.view(), out.view_mut()).unwrap());
}

#[test]
fn a_refresh_ends_at_the_inverse_in_both_precisions() {
    a_refresh_ends_at_the_inverse::<_, f32>(&Cpu::new(2));
    a_refresh_ends_at_the_inverse::<_, f64>(&Cpu::new(2));
}

/// What each order costs and leaves.
#[test]
fn the_cheapest_iterations_are_taken() {
    // F^{1, 2, 3, 4, 6} by 1 product for F, 1 for a square, 2 for a cube.
    for (residual, single, double) in [(1e-9, 1, 2), (1e-4, 2, 4), (1e-3, 3, 5), (1e-2, 4, 6), (0.1, 6, 8)] {
        let found = [f64::from(f32::EPSILON), f64::EPSILON].map(|epsilon| products(residual, epsilon));
        assert_eq!(found, [single, double], "{residual}");
    }
    assert_eq!(next([1.0, 0.6, 0.4], 1e-9), None);
    assert_eq!(next([1.0, f64::NAN, f64::NAN], 1e-9), None);
    assert_eq!(next([f64::INFINITY; 3], 1e-9), None);
}

/// Two networks that train side by side, one of which inverts anew each time.
fn trains_like_ordinary<T: Scalar>(tolerance: f64) {
    let (device, batch) = (Cpu::new(2), 30);
    let architecture = Architecture { bias: true, ..Architecture::new(60, 2) };
    let network = || init::network::<_, T, _>(&device, &architecture, Init::Conditioned, 5).unwrap();
    let (mut ours, mut theirs) = (network(), network());
    let mut gradients = [(); 2].map(|()| Gradient::zeros(&device, &architecture, "test").unwrap());
    let backend = NewtonSchulz::default();
    let mut workspace = backend.workspace(&device, &architecture, batch).unwrap();
    let mut inverting = Ordinary.workspace(&device, &architecture, batch).unwrap();
    for step in 0..40 {
        let x = init::batch(&device, 60, batch, step).unwrap();
        let [our, their] = &mut gradients;
        backend.gradient(&device, &ours, x.view(), &mut workspace, our).unwrap();
        Ordinary.gradient(&device, &theirs, x.view(), &mut inverting, their).unwrap();
        let Refresh { products, factored, .. } = workspace.inverses.last;
        assert_eq!(factored, if step == 0 { 2 } else { 0 }, "step {step}");
        assert!(step == 0 || (4..=16).contains(&products), "step {step}: {products}");
        plain_step(&device, &mut ours, our, 1e-3).unwrap();
        plain_step(&device, &mut theirs, their, 1e-3).unwrap();
    }
    let wide = |m: &Matrix<Cpu, T>| m.to_column_major(&device).unwrap().into_iter().map(Scalar::widen);
    for (ours, theirs) in ours.arrays().iter().zip(theirs.arrays().iter()) {
        let error = relative_error(wide(ours), wide(theirs));
        assert!(error < tolerance, "{error:e}");
    }
}

#[test]
fn a_training_follows_that_of_the_ordinary_gradient() {
    trains_like_ordinary::<f32>(1e-5);
    trains_like_ordinary::<f64>(1e-13);
}

/// Weights that move too far, and the same ones again.
#[test]
fn far_moves_take_an_lu_and_none_at_all_takes_one_product() {
    let (device, batch) = (Cpu::new(1), 6);
    let architecture = Architecture::new(20, 2);
    let backend = NewtonSchulz::default();
    let mut workspace = backend.workspace(&device, &architecture, batch).unwrap();
    let x = init::batch::<_, f64>(&device, 20, batch, 1).unwrap();
    let mut took = |seed| {
        let network = init::network(&device, &architecture, Init::Conditioned, seed).unwrap();
        let mut expected = Gradient::zeros(&device, &architecture, "test").unwrap();
        let mut work = Ordinary.workspace(&device, &architecture, batch).unwrap();
        Ordinary.gradient(&device, &network, x.view(), &mut work, &mut expected).unwrap();
        let mut out = Gradient::zeros(&device, &architecture, "test").unwrap();
        backend.gradient(&device, &network, x.view(), &mut workspace, &mut out).unwrap();
        for (ours, theirs) in out.iter().zip(expected.iter()) {
            let wide = |m: &Matrix<Cpu, f64>| m.to_column_major(&device).unwrap();
            assert!(relative_error(wide(ours), wide(theirs)) < 1e-13);
        }
        workspace.inverses.last
    };
    assert_eq!(took(1), Refresh { products: 0, factored: 2, residual: 0.0 });
    let again = took(1);
    assert_eq!((again.products, again.factored), (2, 0));
    let other = took(2);
    assert_eq!(other.factored, 2);
    assert!(other.residual > LARGEST_RESIDUAL);
    assert_eq!(took(2).factored, 0);
}

/// A timed evaluation refreshes the inverses of one step before, however often it is repeated; the cost model counts
/// its products.
#[test]
fn every_timed_evaluation_does_the_work_of_a_step() {
    for dtype in Dtype::ALL {
        for (dim, batch) in [(100, 100), (300, 100)] {
            let architecture = Architecture::new(dim, 2);
            let workload = Workload { threads: 2, ..Workload::new(Method::NewtonSchulz, architecture, batch, dtype) };
            let mut evaluation = prepare(&workload).unwrap();
            let mut refresh = || {
                evaluation.evaluate().unwrap();
                evaluation.refresh().unwrap()
            };
            let first = refresh();
            assert!((0..3).all(|_| refresh() == first));
            assert_eq!(first.factored, 0);
            assert!((first.residual / 0.01 - 1.0).abs() < 0.2, "{dim}, {dtype}: {first:?}");
            let flops = |method| cost(method, &architecture, batch, dtype).unwrap().flops;
            let products = flops(Method::NewtonSchulz) - flops(Method::Ordinary);
            let products = products / (2.0 * (dim as f64).powi(3)) + 2.0;
            // Of two layers one has moved less, and all singular values of F but some are smaller than the largest.
            let most = products.round() as usize;
            assert!((most / 2..=most).contains(&first.products), "{dim}, {dtype}, {most}: {first:?}");
            let sizes = Sizes { dim, layers: 2, batch, dtype, lanes: 2, tuning: Tuning::default() };
            assert_eq!(cost_of_refresh(&sizes, most, 0).flops, flops(Method::NewtonSchulz));
            assert_eq!(cost_of_refresh(&sizes, 0, 2).flops, flops(Method::Ordinary));
            let evaluation = prepare(&Workload { method: Method::Ordinary, ..workload }).unwrap();
            assert_eq!(evaluation.refresh(), None);
        }
    }
}
