//! Linear mixtures x = A s of known sources, unmixed by one layer with the `sech` density.

use relgrad_kernels::inversion::draw_latents;
use relgrad_kernels::{Base, init};
use relgrad_reports::experiment::{Curve, LinePanel};
use relgrad_reports::training::TrainingSettings;
use serde_json::json;

use super::super::{Context, lines};
use super::course::{Mixture, Sight, Solver, solve};
use super::recovery::amari;
use super::{METHODS, Section, row};
use crate::data::{Parts, Samples};
use crate::error::Result;
use crate::train::learner::Learner;

const STEP_SIZES: [f64; 5] = [0.004, 0.02, 0.1, 0.5, 2.5];
/// Unmixed is what is not farther than so many times the distance at the end of the worse of the two gradients.
const SLACK: f64 = 1.1;

/// Where the unmixing starts: the first is equally far from every mixture, the second undoes all second moments.
const STARTS: [&str; 2] = ["orthogonal", "whiten"];

/// A kind of mixture.
struct LinearKind {
    dim: usize,
    sources: Base,
    start: &'static str,
}

/// Sources of one density behind a matrix of independent normals, whose rows have length 1.
struct LinearMixture {
    parts: Parts,
    settings: TrainingSettings,
    /// A, D×D column-major.
    mixing: Vec<f64>,
}

impl LinearMixture {
    fn new(context: &Context<'_>, kind: &LinearKind, which: u64) -> Self {
        let (dim, seed) = (kind.dim, context.seed.wrapping_add(which));
        let (train, held_out) = context.effort.pick((500, 200), (10_000, 2000), (20_000, 5000));
        let mut mixing = init::normals(seed ^ 0x4c49_4e41, dim * dim);
        for i in 0..dim {
            let length = mixing.iter().skip(i).step_by(dim).map(|a| a * a).sum::<f64>().sqrt();
            mixing.iter_mut().skip(i).step_by(dim).for_each(|a| *a /= length);
        }
        let sources = draw_latents(kind.sources, dim * (train + 2 * held_out), seed ^ 0x4c49_4e53);
        let values: Vec<f64> = sources.chunks_exact(dim).flat_map(|s| product(&mixing, s)).collect();
        let part = |from: usize, count: usize| Samples { dim, values: values[from * dim..][..count * dim].to_vec() };
        let parts = Parts::of([part(0, train), part(train, held_out), part(train + held_out, held_out)]);
        let settings = TrainingSettings {
            optimizer: "sgd".to_string(),
            schedule: "cosine".to_string(),
            batch: 100,
            epochs: context.effort.pick(40, 20, 30),
            layers: 1,
            base: Base::SECH,
            init: kind.start.to_string(),
            seed,
            threads: 1,
            ..context.settings("linear mixture")
        };
        Self { parts, settings, mixing }
    }
}

/// A B for columns of as many numbers as A has rows, column-major.
fn product(a: &[f64], b: &[f64]) -> Vec<f64> {
    let dim = a.len().isqrt();
    let column = |b: &[f64]| -> Vec<f64> {
        let mut sums = vec![0.0; dim];
        for (column, b) in a.chunks_exact(dim).zip(b) {
            sums.iter_mut().zip(column).for_each(|(sum, a)| *sum += a * b);
        }
        sums
    };
    b.chunks_exact(dim).flat_map(column).collect()
}

impl Mixture for LinearMixture {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn settings(&self) -> &TrainingSettings {
        &self.settings
    }

    /// The Amari distance of W A.
    fn score(&self, learner: &Learner<f32>) -> relgrad_kernels::Result<f64> {
        let weight = learner.parameters.arrays().weights[0].to_column_major(&learner.device)?;
        let weight: Vec<f64> = weight.into_iter().map(f64::from).collect();
        Ok(amari(&product(&weight, &self.mixing), self.parts.dim()))
    }
}

/// Every kind by both gradients.
pub(super) fn run(context: &mut Context<'_>) -> Result<Section> {
    let dims = context.effort.pick(&[3][..], &[5, 20], &[5, 10, 20]);
    let mixtures = context.effort.pick(1, 3, 10);
    let mut section = Section::default();
    let mut numbers = Vec::new();
    for &dim in dims {
        for (sources, start) in [Base::SECH, Base::Laplace].into_iter().flat_map(|s| STARTS.map(|start| (s, start))) {
            let kind = LinearKind { dim, sources, start };
            let drawn: Vec<LinearMixture> = (0..mixtures).map(|i| LinearMixture::new(context, &kind, i)).collect();
            let drawn: Vec<&dyn Mixture> = drawn.iter().map(|mixture| mixture as &dyn Mixture).collect();
            let mut solvers = Vec::new();
            for method in METHODS {
                solvers.push(solve(context, method, &STEP_SIZES, &drawn)?);
            }
            let rows = rows(&kind, &solvers);
            rows.iter().for_each(|cells| context.say(&cells.join(", ")));
            section.rows.extend(rows);
            // The last dimension is the hardest one.
            if Some(&dim) == dims.last() && kind.sources == Base::SECH && start == STARTS[0] {
                section.panels = panels(dim, &solvers);
            }
            numbers.push(json!({ "dim": dim, "sources": kind.sources.to_string(), "start": start,
                "solvers": solvers }));
        }
    }
    section.numbers = json!({ "mixtures": mixtures, "step_sizes": STEP_SIZES, "kinds": numbers });
    section.notes = vec![note(mixtures)];
    Ok(section)
}

/// Sources by name, without the scale.
fn name(base: Base) -> &'static str {
    if base == Base::Laplace { "Laplace" } else { "sech" }
}

fn rows(kind: &LinearKind, solvers: &[Solver]) -> Vec<Vec<String>> {
    let worst = solvers.iter().filter_map(Solver::score).map(|(mean, _)| mean).fold(0.0, f64::max);
    let of = |solver: &Solver| {
        let problem = format!("linear, {} sources, {} start", name(kind.sources), kind.start);
        row(&problem, kind.dim, solver, "Amari", 4, |sight: &Sight| sight.score <= SLACK * worst)
    };
    solvers.iter().map(of).collect()
}

fn panels(dim: usize, solvers: &[Solver]) -> Vec<LinePanel> {
    let curves = |x: fn(&Sight) -> f64| -> Vec<Curve> {
        let curve = |method: &str, sights: &[Sight]| Curve {
            name: method.to_string(),
            points: sights.iter().map(|sight| (x(sight), sight.score)).collect(),
        };
        let of = |solver: &Solver| -> Vec<Curve> {
            solver.trainings.iter().flatten().map(|sights| curve(solver.method, sights)).collect()
        };
        solvers.iter().flat_map(of).collect()
    };
    let y = format!("Amari distance, linear, D = {dim}");
    vec![
        lines(["thousands of steps", &y], None, curves(|sight| 1e-3 * sight.step as f64), Vec::new()),
        lines(["seconds", "Amari distance"], None, curves(|sight| sight.seconds), Vec::new()),
    ]
}

fn note(mixtures: u64) -> String {
    format!(
        "Linear: x = A s, A of independent normals with rows of length 1, {mixtures} mixtures a row, one layer with a \
         bias, density ½ sech(πs/2), batches of 100, plain steps of a cosine schedule, f32. The Amari distance of W A \
         is 0 for a scaled permutation and 1 at most. Steps and seconds are the median until it is {SLACK} times the \
         worse of the two ends."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_of_columns() {
        // [[1, 3], [2, 4]] times (5, 6) and (1, 0).
        assert_eq!(product(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 1.0, 0.0]), [23.0, 34.0, 1.0, 2.0]);
    }
}
