//! The steps of a learner.

use relgrad_kernels::Dense;
use relgrad_reports::training::TrainingSettings;

use super::learner::{Learner, Tracking};
use super::recipe::Recipe;
use super::recipe::tests::settings;
use crate::data::toy::Toy;

/// The largest step of a weight over the step size, step by step, where each batch is the same: then m and v are
/// 1 − 0.9ⁿ and 1 − 0.999ⁿ times the direction and its square, and no direction changes but by a little.
fn shares(correction: Option<&str>, steps: usize) -> Vec<f64> {
    const RATE: f64 = 1e-9;
    let adam_correction = correction.map(str::to_string);
    let settings = TrainingSettings { adam_correction, dtype: relgrad_kernels::Dtype::F64, ..settings() };
    let samples = Toy::Moons.sample(200, 9);
    let recipe = Recipe::of(&settings, 2).unwrap();
    let mut learner: Learner<f64> = Learner::begin(&recipe, Dense, &samples, Tracking::Off).unwrap();
    let share = |_| {
        let before = learner.snapshot().unwrap();
        learner.step(&samples.values[..2 * learner.batch_size()], &[], RATE, false).unwrap();
        let after = learner.snapshot().unwrap();
        let moved = after.iter().flatten().zip(before.iter().flatten()).map(|(a, b)| (a - b).abs());
        moved.fold(0.0, f64::max) / RATE
    };
    (0..steps).map(share).collect()
}

/// Batches of 50 among 200 samples: epochs of four steps, the first with t = 2. Tolerance: a step of 1e-9 in f64 is
/// exact to 1e-6, and the direction changes by as little.
#[test]
fn the_epoch_stands_in_adams_corrections() {
    let (by_step, by_epoch) = (shares(None, 9), shares(Some("epoch"), 9));
    assert!(by_step.iter().all(|share| (share - 1.0).abs() < 1e-4), "{by_step:?}");
    for (i, share) in by_epoch.iter().enumerate() {
        let (n, t) = (i as i32 + 1, i as i32 / 4 + 2);
        let of = |beta: f64| (1.0 - beta.powi(n)) / (1.0 - beta.powi(t));
        let expected = of(0.9) / of(0.999).sqrt();
        assert!((share - expected).abs() < 1e-4, "step {n}: {share} for {expected}");
    }
}
