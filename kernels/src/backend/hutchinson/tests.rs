//! The law of the sketch by enumeration, the solve beside dense inverses, and faults that the check must find.

use nalgebra::DMatrix;

use super::*;
use crate::backend::Ordinary;
use crate::check;
use crate::device::Cpu;
use crate::init::{self, Init};
use crate::reference::Reference;

fn weights<T: Scalar>(gradient: &Gradient<Cpu, T>) -> Vec<DMatrix<f64>> {
    let wide = |m: &Matrix<Cpu, T>| {
        let numbers = m.to_column_major(&Cpu::new(1)).unwrap().into_iter().map(Scalar::widen).collect();
        DMatrix::from_vec(m.rows(), m.cols(), numbers)
    };
    gradient.weights.iter().map(wide).collect()
}

/// The mean over all sign vectors is the ordinary gradient, and the variance is (D−1)/m of ‖W^{-T} − C‖_F² \[M62\].
#[test]
fn all_probes_together_are_unbiased() {
    const DIM: usize = 6;
    let device = Cpu::new(1);
    let architecture = Architecture { bias: true, ..Architecture::new(DIM, 2) };
    let parameters = init::network::<_, f64, _>(&device, &architecture, Init::Conditioned, 3).unwrap();
    let x = init::batch(&device, DIM, 4, 1).unwrap();
    let mut out = Gradient::zeros(&device, &architecture, "test").unwrap();
    let mut ordinary = Ordinary.workspace(&device, &architecture, 4).unwrap();
    Ordinary.gradient(&device, &parameters, x.view(), &mut ordinary, &mut out).unwrap();
    let exact = weights(&out);
    let reference = Reference::from_parameters(&device, &parameters).unwrap();
    for control in [false, true] {
        let method = Hutchinson { probes: 1, tolerance: 1e-12, control, ..Hutchinson::default() };
        let mut work = method.workspace(&device, &architecture, 4).unwrap();
        let (mut mean, mut variance) = (vec![DMatrix::zeros(DIM, DIM); 2], [0.0; 2]);
        let outcomes = 1_usize << DIM;
        for signs in 0..outcomes {
            let probe: Vec<f64> = (0..DIM).map(|i| if signs >> i & 1 == 0 { 1.0 } else { -1.0 }).collect();
            work.set_probes(&device, &probe).unwrap();
            method.gradient(&device, &parameters, x.view(), &mut work, &mut out).unwrap();
            for (k, found) in weights(&out).iter().enumerate() {
                mean[k] += found / outcomes as f64;
                variance[k] += (found - &exact[k]).norm_squared() / outcomes as f64;
            }
        }
        for k in 0..2 {
            assert!((&mean[k] - &exact[k]).norm() < 1e-10, "{control}");
            let inverse = reference.inverse(k).unwrap().transpose();
            let weight = reference.weight(k);
            let gain = if control { DIM as f64 / weight.norm_squared() } else { 0.0 };
            let expected = (DIM - 1) as f64 * (inverse - weight * gain).norm_squared();
            assert!((variance[k] / expected - 1.0).abs() < 1e-9, "{control}: {} of {expected}", variance[k]);
        }
    }
}

/// A matrix of condition `condition`, its singular values spread evenly on a logarithmic scale.
fn conditioned<T: Scalar>(device: &Cpu, dim: usize, condition: f64) -> Matrix<Cpu, T> {
    let orthogonal = |seed| {
        let architecture = Architecture::new(dim, 1);
        let network = init::network::<_, f64, _>(device, &architecture, Init::Orthogonal, seed).unwrap();
        DMatrix::from_vec(dim, dim, network.arrays().weights[0].to_column_major(device).unwrap())
    };
    let singular = |i: usize| condition.powf(-(i as f64) / (dim - 1) as f64);
    let values = DMatrix::from_fn(dim, dim, |i, j| if i == j { singular(i) } else { 0.0 });
    let numbers: Vec<T> = (orthogonal(1) * values * orthogonal(2)).iter().map(|&x| T::of(x)).collect();
    Matrix::from_column_major(device, &numbers, dim, dim, "test").unwrap()
}

/// The solve ends where its error is η, says so, and takes about half of cond(W) ln(2/η) steps.
fn a_solve_ends_at_its_tolerance<T: Scalar>() {
    const DIM: usize = 96;
    let device = Cpu::new(2);
    for condition in [1.0, 1.6, 5.0, 30.0] {
        for tolerance in [0.1, 1e-2, 1e-3] {
            let weight = conditioned::<T>(&device, DIM, condition);
            let mut solver = ConjugateGradients::new(&device, 1, DIM, 4).unwrap();
            let mut signs = vec![T::default(); DIM * 4];
            Signs::new(5).fill(&mut signs);
            device.upload(&signs, solver.probes.view_mut().into_slice()).unwrap();
            let method = Hutchinson { tolerance, ..Hutchinson::default() };
            solver.solve(&device, &method, 0, weight.view(), 0.0).unwrap();
            let wide = |m: &Matrix<Cpu, T>| {
                let numbers = m.to_column_major(&device).unwrap().into_iter().map(Scalar::widen).collect();
                DMatrix::from_vec(m.rows(), m.cols(), numbers)
            };
            let exact = wide(&weight).try_inverse().unwrap().transpose() * wide(&solver.probes);
            let error = (wide(&solver.solution) - &exact).norm() / exact.norm();
            let Solved { iterations, error: told } = solver.last;
            let told_all = format!("cond {condition}, η = {tolerance}: {error:e} of {told:e} in {iterations}");
            assert!(error <= 1.3 * tolerance, "{told_all}");
            assert!(told <= tolerance && error <= 2.5 * told + 100.0 * T::EPS, "{told_all}");
            let most = 0.5 * condition * (2.0 / tolerance).ln() + 3.0;
            assert!((iterations as f64) <= most, "{told_all}");
        }
    }
}

#[test]
fn a_solve_ends_at_its_tolerance_in_both_precisions() {
    a_solve_ends_at_its_tolerance::<f32>();
    a_solve_ends_at_its_tolerance::<f64>();
}

#[test]
fn a_singular_weight_is_told() {
    let device = Cpu::new(1);
    let architecture = Architecture::new(8, 2);
    let zeros = Gradient::<_, f32>::zeros(&device, &architecture, "test").unwrap();
    let parameters = Parameters::new(architecture, zeros).unwrap();
    let method = Hutchinson::default();
    let mut work = method.workspace(&device, &architecture, 3).unwrap();
    let mut out = Gradient::zeros(&device, &architecture, "test").unwrap();
    let x = init::batch(&device, 8, 3, 1).unwrap();
    let told = method.gradient(&device, &parameters, x.view(), &mut work, &mut out).unwrap_err();
    assert_eq!(told, Error::Singular { matrix: "weight of layer 2".into(), condition: f64::INFINITY });
}

/// At sizes for the reference and for the probe: what the method computes passes, and a solve that ended too early,
/// other probes, and another control variate do not.
fn faults_are_found<T: Scalar>() {
    let device = Cpu::new(2);
    for dim in [40, 150] {
        let architecture = Architecture { bias: true, ..Architecture::new(dim, 2) };
        let parameters = init::network::<_, T, _>(&device, &architecture, Init::Conditioned, 5).unwrap();
        let x = init::batch(&device, dim, 20, 1).unwrap();
        let mut out = Gradient::zeros(&device, &architecture, "test").unwrap();
        let mut outcome = |method: Hutchinson, change: &dyn Fn(&mut Sketched)| {
            let mut work = method.workspace(&device, &architecture, 20).unwrap();
            method.gradient(&device, &parameters, x.view(), &mut work, &mut out).unwrap();
            let sketched = GradientBackend::<_, T>::sketched(&method, &device, &work).unwrap();
            let mut sketched = sketched.unwrap();
            change(&mut sketched);
            check::sketched(&device, &sketched, &parameters, &x, &out).unwrap()
        };
        for control in [false, true] {
            let method = Hutchinson { control, ..Hutchinson::default() };
            let right = outcome(method, &|_| {});
            assert!(right.passed(), "D = {dim}: {right:?}");
            let early = outcome(Hutchinson { most_iterations: 2, ..method }, &|_| {});
            let others = outcome(method, &|sketched| sketched.probes.swap_columns(0, 1));
            assert!(others.passed(), "the order of the probes is nothing: {others:?}");
            let others = outcome(method, &|sketched| sketched.probes.rows_mut(0, dim / 2).neg_mut());
            let other_control = outcome(method, &|sketched| sketched.control = !control);
            for wrong in [early, others, other_control] {
                assert!(!wrong.passed(), "D = {dim}: {wrong:?}");
            }
        }
    }
}

#[test]
fn faults_are_found_in_both_precisions() {
    faults_are_found::<f32>();
    faults_are_found::<f64>();
}
