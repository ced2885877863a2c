//! The direction beside the ordinary gradient, the balance of the inverse, its constraint, and faults.

use super::*;
use crate::backend::{GradientBackend, Ordinary};
use crate::check::relative_error;
use crate::device::Cpu;
use crate::init::{self, Init};
use crate::network::Architecture;
use crate::parameters::Gradient;

fn architecture(dim: usize) -> Architecture {
    Architecture { bias: true, ..Architecture::new(dim, 2) }
}

fn network<T: Scalar>(device: &Cpu, dim: usize) -> Parameters<Cpu, T> {
    init::network(device, &architecture(dim), Init::Conditioned, 4).unwrap()
}

/// With R = W⁻¹ the weights move along half of the ordinary gradient, the biases along all of it.
#[test]
fn the_first_step_is_half_of_the_ordinary_one() {
    const DIM: usize = 24;
    let device = Cpu::new(2);
    let x = init::batch(&device, DIM, 10, 2).unwrap();
    let (mut parameters, before) = (network::<f64>(&device, DIM), network::<f64>(&device, DIM));
    let mut gradient = Gradient::zeros(&device, &architecture(DIM), "test").unwrap();
    let mut work = Ordinary.workspace(&device, &architecture(DIM), 10).unwrap();
    Ordinary.gradient(&device, &parameters, x.view(), &mut work, &mut gradient).unwrap();
    let mut state = SelfNormalizing::new(&device, &parameters, 10, Constraint::default()).unwrap();
    state.step(&device, &mut parameters, x.view().into(), 0.125).unwrap();
    let arrays = before.arrays().iter().zip(parameters.arrays().iter()).zip(gradient.iter());
    for (i, ((before, after), gradient)) in arrays.enumerate() {
        let share = if i < 2 { 0.5 } else { 1.0 };
        let moved = (wide(&device, after).unwrap() - wide(&device, before).unwrap()) * 8.0;
        let expected = wide(&device, gradient).unwrap() * share;
        assert!(relative_error(moved.iter().copied(), expected.iter().copied()) < 1e-12, "array {i}");
    }
}

/// ‖I − RW‖_F/√D of the worst layer after steps of length `mu` with a λ that stays, up to time 0.5.
fn settled(weight: f64, mu: f64) -> f64 {
    const DIM: usize = 8;
    let device = Cpu::new(1);
    let mut parameters = network::<f64>(&device, DIM);
    let x = init::batch(&device, DIM, 200, 2).unwrap();
    let constraint = Constraint { gain: 0.0, weight, ..Constraint::default() };
    let mut state = SelfNormalizing::new(&device, &parameters, 200, constraint).unwrap();
    for _ in 0..(0.5 / mu).round() as usize {
        state.step(&device, &mut parameters, x.view().into(), mu).unwrap();
    }
    state.inverse_error(&device, &parameters).unwrap().unwrap()
}

/// The balance of drive and reconstruction [M49]: F does not depend on μ, and is O(1/λ).
#[test]
fn the_inverse_settles_where_both_forces_balance() {
    let base = settled(10.0, 4e-3);
    let (finer, stiffer) = (settled(10.0, 2e-3) / base, settled(40.0, 2e-3) / base);
    assert!((finer - 1.0).abs() < 0.05, "{base}: {finer}");
    assert!((0.2..0.32).contains(&stiffer), "{base}: {stiffer}");
}

/// Fresh batches of fewer samples than dimensions: with the constraint the inverse stays near what is asked for, and
/// without a pull it does not.
#[test]
fn the_constraint_holds_the_inverse() {
    const DIM: usize = 32;
    let device = Cpu::new(1);
    let train = |constraint| {
        let mut parameters = network::<f32>(&device, DIM);
        let mut state = SelfNormalizing::new(&device, &parameters, 20, constraint).unwrap();
        for seed in 0..400 {
            let x = init::batch(&device, DIM, 20, seed).unwrap();
            state.step(&device, &mut parameters, x.view().into(), 0.01).unwrap();
        }
        state.inverse_error(&device, &parameters).unwrap().unwrap()
    };
    let constraint = Constraint { error: 0.05, ..Constraint::default() };
    let (held, free) = (train(constraint), train(Constraint { gain: 0.0, weight: 0.0, ..constraint }));
    assert!(held < 0.1 && held > 1e-3, "{held}");
    assert!(free > 0.3, "{free}");
}

/// At sizes for numbers and for vectors: a step passes, and one of another length, or with another λ, does not.
fn faults_are_found<T: Scalar>() {
    let device = Cpu::new(2);
    for dim in [20, 150] {
        let x = init::batch(&device, dim, 12, 2).unwrap();
        let outcome = |change: &dyn Fn(&mut SelfNormalizing<Cpu, T>), length: f64| {
            let mut parameters = network::<T>(&device, dim);
            let mut state = SelfNormalizing::new(&device, &parameters, 12, Constraint::default()).unwrap();
            // Away from the inverse, so that λ matters.
            for k in 0..2 {
                let inverse: Vec<T> =
                    state.inverses(&device).unwrap()[k].iter().map(|entry| T::of(0.8 * entry.widen())).collect();
                state.set_inverse(&device, k, &inverse).unwrap();
            }
            let expected = expected(&device, &parameters, &state.transposed, &x).unwrap();
            state.step(&device, &mut parameters, x.view().into(), length * 0.01).unwrap();
            change(&mut state);
            state.judge(&device, &parameters, expected, (0.01, 12)).unwrap()
        };
        let right = outcome(&|_| {}, 1.0);
        assert!(right.passed(), "D = {dim}: {right:?}");
        let longer = outcome(&|_| {}, 1.01);
        let other = outcome(&|state| state.layers[1].used *= 1.1, 1.0);
        for wrong in [longer, other] {
            assert!(!wrong.passed(), "D = {dim}: {wrong:?}");
        }
    }
}

#[test]
fn faults_are_found_in_both_precisions() {
    faults_are_found::<f32>();
    faults_are_found::<f64>();
}
