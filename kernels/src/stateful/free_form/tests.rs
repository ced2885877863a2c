//! Probes, the mean over them, and faults.

use nalgebra::DMatrix;

use super::*;
use crate::backend::{GradientBackend, Ordinary};
use crate::check::relative_error;
use crate::device::Cpu;
use crate::init::{self, Init};
use crate::parameters::Gradient;
use crate::stateful::checking::wide;

fn network<T: Scalar>(device: &Cpu, dim: usize, layers: usize) -> Parameters<Cpu, T> {
    let architecture = Architecture { bias: true, ..Architecture::new(dim, layers) };
    init::network(device, &architecture, Init::Conditioned, 4).unwrap()
}

/// √D e_i for every sample, i by i.
fn units(dim: usize, samples: usize) -> Vec<f64> {
    let length = (dim as f64).sqrt();
    let entry = |at: usize| if at % dim == at / dim / samples { length } else { 0.0 };
    (0..dim * samples * dim).map(entry).collect()
}

/// Every array's move over μ.
fn moves(device: &Cpu, before: &Arrays<Cpu, f64>, after: &Arrays<Cpu, f64>, mu: f64) -> Vec<DMatrix<f64>> {
    let pairs = after.iter().zip(before.iter());
    pairs.map(|(after, before)| (wide(device, after).unwrap() - wide(device, before).unwrap()) / mu).collect()
}

/// One linear layer has a decoder that is its inverse: the mean over all probes is then the ordinary gradient, and the
/// reconstruction has nothing to say.
#[test]
fn all_probes_of_an_exact_decoder_give_the_ordinary_gradient() {
    const DIM: usize = 7;
    let device = Cpu::new(1);
    let (mut parameters, before) = (network::<f64>(&device, DIM, 1), network::<f64>(&device, DIM, 1));
    let x = init::batch(&device, DIM, 5, 2).unwrap();
    let architecture = *parameters.architecture();
    let mut gradient = Gradient::zeros(&device, &architecture, "test").unwrap();
    let mut work = Ordinary.workspace(&device, &architecture, 5).unwrap();
    Ordinary.gradient(&device, &parameters, x.view(), &mut work, &mut gradient).unwrap();
    let settings = FreeFormSettings { probes: DIM, ..FreeFormSettings::default() };
    let mut state = FreeForm::new(&device, &parameters, 5, settings).unwrap();
    state.set_probes(&device, &units(DIM, 5)).unwrap();
    state.step(&device, &mut parameters, x.view().into(), 0.25).unwrap();
    for (found, expected) in moves(&device, before.arrays(), parameters.arrays(), 0.25).iter().zip(gradient.iter()) {
        let expected = wide(&device, expected).unwrap();
        assert!(relative_error(found.iter().copied(), expected.iter().copied()) < 1e-12);
    }
    assert!(state.inverse_error(&device, &parameters).unwrap().unwrap() < 1e-12);
}

/// Two probes a sample are the mean of one probe a sample twice, whatever the layers.
#[test]
fn probes_add_up() {
    const DIM: usize = 6;
    let device = Cpu::new(1);
    let architecture = Architecture {
        bias: true,
        last_nonlinear: true,
        base: crate::network::Base::SECH,
        ..Architecture::new(DIM, 3)
    };
    let network = || init::network::<_, f64, _>(&device, &architecture, Init::Conditioned, 4).unwrap();
    let x = init::batch(&device, DIM, 4, 2).unwrap();
    let probes = init::normals(9, 2 * DIM * 4);
    let direction = |probes: &[f64]| {
        let (mut parameters, before) = (network(), network());
        let settings = FreeFormSettings { probes: probes.len() / (DIM * 4), ..FreeFormSettings::default() };
        let mut state = FreeForm::new(&device, &parameters, 4, settings).unwrap();
        state.set_probes(&device, probes).unwrap();
        state.step(&device, &mut parameters, x.view().into(), 0.25).unwrap();
        moves(&device, before.arrays(), parameters.arrays(), 0.25)
    };
    let (first, second) = probes.split_at(DIM * 4);
    let both = direction(&probes);
    for (both, (first, second)) in both.iter().zip(direction(first).iter().zip(&direction(second))) {
        let mean = (first + second) * 0.5;
        assert!(relative_error(both.iter().copied(), mean.iter().copied()) < 1e-12);
    }
}

#[test]
fn probes_of_a_sample_are_orthogonal_and_differ_from_draw_to_draw() {
    for (dim, count) in [(1, 1), (2, 2), (9, 1), (9, 4), (40, 3)] {
        let mut probes = Probes::<f64>::new(Signs::new(3), dim, 6, count);
        probes.draw();
        let first = probes.numbers().to_vec();
        for sample in 0..6 {
            let vector = |probe: usize| &first[(probe * 6 + sample) * dim..][..dim];
            for (i, j) in (0..count).flat_map(|i| (0..=i).map(move |j| (i, j))) {
                let product: f64 = vector(i).iter().zip(vector(j)).map(|(a, b)| a * b).sum();
                let expected = if i == j { dim as f64 / count as f64 } else { 0.0 };
                assert!((product - expected).abs() < 1e-12 * dim as f64, "{dim} {count}: {product}");
            }
        }
        probes.draw();
        assert!(dim < 9 || first != probes.numbers());
    }
}

/// At sizes for numbers and for vectors: a step passes, and one of another length, or with other probes, does not.
fn faults_are_found<T: Scalar>() {
    let device = Cpu::new(2);
    for (dim, probes) in [(20, 3), (150, 2), (150, 1)] {
        let x = init::batch(&device, dim, 12, 2).unwrap();
        let outcome = |length: f64, others: bool| {
            let mut parameters = network::<T>(&device, dim, 2);
            let settings = FreeFormSettings { probes, ..FreeFormSettings::default() };
            let mut state = FreeForm::new(&device, &parameters, 12, settings).unwrap();
            state.draw(&device).unwrap();
            let source = state.source.take();
            let host = wide(&device, &x).unwrap();
            let expected = check::expected(&state, &device, &parameters, host).unwrap();
            state.source = source.filter(|_| others);
            state.step(&device, &mut parameters, x.view().into(), length * 0.01).unwrap();
            check::judge(&state, &device, &parameters, &expected, (0.01, 12)).unwrap()
        };
        let right = outcome(1.0, false);
        assert!(right.passed(), "D = {dim}: {right:?}");
        for wrong in [outcome(1.01, false), outcome(1.0, true)] {
            assert!(!wrong.passed(), "D = {dim}: {wrong:?}");
        }
    }
}

#[test]
fn faults_are_found_in_both_precisions() {
    faults_are_found::<f32>();
    faults_are_found::<f64>();
}
