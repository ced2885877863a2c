//! Sources whose variances differ between segments, behind a random network: p(s|u) identifies them (Hyvärinen &
//! Morioka 2016; Hyvärinen, Sasaki & Turner 2019).

use relgrad_kernels::device::{Device, Matrix};
use relgrad_kernels::inversion::Inverter;
use relgrad_kernels::likelihood::Evaluator;
use relgrad_kernels::parameters::Batch;
use relgrad_kernels::{Activation, Architecture, Base, Cpu, Init, Method, Scalar, init};
use relgrad_reports::experiment::{Curve, LinePanel};
use relgrad_reports::training::TrainingSettings;
use serde_json::json;

use super::super::{Context, lines};
use super::course::{Mixture, Sight, Solver, solve};
use super::recovery::mean_correlation;
use super::{METHODS, Section, row};
use crate::data::{Parts, Samples};
use crate::error::{Error, Result};
use crate::train::learner::Learner;
use crate::train::network::Inputs;

/// Layers of the mixing network, and of the unmixing one.
const LAYERS: usize = 3;
const ACTIVATION: Activation = Activation::SmoothLeaky { alpha: 0.3 };
/// Standard deviations of the sources in a segment: uniform logarithms between the two.
const DEVIATIONS: [f64; 2] = [0.2, 3.0];
const STEP_SIZES: [f64; 3] = [0.001, 0.004, 0.016];
/// Recovered is what has so much of the correlation at the end of the worse of the two gradients.
const SHARE: f64 = 0.98;

/// A problem: D sources over M segments.
#[derive(Clone, Copy)]
struct SegmentKind {
    dim: usize,
    segments: usize,
    /// Of the unmixing network.
    layers: usize,
}

/// Sources s_i ~ N(0, σ_im²) in segment m, seen as x with g(x) = s for a random network g.
struct SegmentMixture {
    parts: Parts,
    settings: TrainingSettings,
    /// s of the test part, D numbers a sample.
    sources: Vec<f64>,
    /// Test part.
    test: Inputs<f32>,
}

impl SegmentMixture {
    fn new(context: &Context<'_>, kind: SegmentKind, which: u64) -> Result<Self> {
        let SegmentKind { dim, segments, layers } = kind;
        let seed = context.seed.wrapping_add(which);
        let counts = context.effort.pick([600, 200, 200], [10_000, 2000, 2000], [20_000, 4000, 4000]);
        let total: usize = counts.iter().sum();
        let deviations = deviations(dim, segments, seed ^ 0x5345_4756);
        let mut sources = init::normals(seed ^ 0x5345_4753, dim * total);
        for (n, sample) in sources.chunks_exact_mut(dim).enumerate() {
            let of_segment = &deviations[n % segments * dim..][..dim];
            sample.iter_mut().zip(of_segment).for_each(|(s, deviation)| *s *= deviation);
        }
        let mixed = mixed(dim, &sources, seed ^ 0x5345_474d)
            .map_err(|cause| Error::Input(format!("the mixing network cannot be inverted: {cause}")))?;
        let parts = parted(&mixed, dim, segments, counts);
        let settings = TrainingSettings {
            optimizer: "adam".to_string(),
            schedule: "cosine".to_string(),
            batch: 200,
            epochs: context.effort.pick(10, 60, 200),
            layers,
            activation: ACTIVATION,
            base: Base::Normal,
            init: "whiten-layers".to_string(),
            seed,
            threads: 1,
            ..context.settings("segments")
        };
        let [.., test] = Inputs::of(&parts);
        let sources = sources.split_off(dim * (counts[0] + counts[1]));
        Ok(Self { parts, settings, sources, test })
    }
}

/// σ_im at m·D + i; 1 where there is one segment.
fn deviations(dim: usize, segments: usize, seed: u64) -> Vec<f64> {
    if segments == 1 {
        return vec![1.0; dim];
    }
    let [low, high] = DEVIATIONS.map(f64::ln);
    init::uniforms(seed, dim * segments).into_iter().map(|u| (low + u * (high - low)).exp()).collect()
}

/// x = g⁻¹(s) for a network of orthogonal weights.
fn mixed(dim: usize, sources: &[f64], seed: u64) -> relgrad_kernels::Result<Vec<f64>> {
    let device = Cpu::new(1);
    let architecture = Architecture { activation: ACTIVATION, bias: true, ..Architecture::new(dim, LAYERS) };
    let network = init::network::<_, f64, _>(&device, &architecture, Init::Orthogonal, seed)?;
    let mut x = sources.to_vec();
    Inverter::new(&device, &network)?.invert(&mut x)?;
    Ok(x)
}

/// Three parts, u of every sample the unit vector of its segment.
fn parted(mixed: &[f64], dim: usize, segments: usize, counts: [usize; 3]) -> Parts {
    let start = |part: usize| counts[..part].iter().sum::<usize>();
    let x = |part| Samples { dim, values: mixed[start(part) * dim..][..counts[part] * dim].to_vec() };
    let u = |part| {
        let mut values = vec![0.0; counts[part] * segments];
        for (n, u) in values.chunks_exact_mut(segments).enumerate() {
            u[(start(part) + n) % segments] = 1.0;
        }
        Samples { dim: segments, values }
    };
    Parts { given: Some([0, 1, 2].map(u)), ..Parts::of([0, 1, 2].map(x)) }
}

impl Mixture for SegmentMixture {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn settings(&self) -> &TrainingSettings {
        &self.settings
    }

    /// The mean correlation of the test part's sources with the outputs.
    fn score(&self, learner: &Learner<f32>) -> relgrad_kernels::Result<f64> {
        let (device, parameters) = (&learner.device, &learner.parameters);
        let (dim, conditions) = (self.parts.dim(), self.parts.conditions());
        let count = self.test.x.len() / dim;
        let x = Matrix::from_column_major(device, &self.test.x, dim, count, "test samples")?;
        let u = Matrix::from_column_major(device, &self.test.u, conditions, count, "test segments")?;
        let mut evaluator = Evaluator::new(device, parameters.architecture(), count)?;
        evaluator.data_terms(device, parameters, Batch { x: x.view(), u: Some(u.view()) })?;
        let found: Vec<f64> = device.to_host(evaluator.latents())?.into_iter().map(Scalar::widen).collect();
        Ok(mean_correlation(&self.sources, &found, dim))
    }
}

/// A problem by both gradients, and by the relative one with a single layer.
struct Unmixed {
    kind: SegmentKind,
    solvers: Vec<Solver>,
    linear: Solver,
}

pub(super) fn run(context: &mut Context<'_>) -> Result<Section> {
    let dims = context.effort.pick(&[3][..], &[5], &[5, 10, 20]);
    let numbers_of_segments = context.effort.pick(&[1, 4][..], &[1, 2, 5, 10, 40], &[1, 2, 5, 10, 20, 40, 80]);
    let mixtures = context.effort.pick(1, 2, 3);
    let mut all = Vec::new();
    for &dim in dims {
        for &segments in numbers_of_segments {
            let solved = solve_kind(context, SegmentKind { dim, segments, layers: LAYERS }, mixtures)?;
            rows(&solved).iter().for_each(|cells| context.say(&cells.join(", ")));
            all.push(solved);
        }
    }
    let number = |of: &Unmixed| json!({ "dim": of.kind.dim, "segments": of.kind.segments, "solvers": of.solvers, "one_layer": of.linear });
    Ok(Section {
        numbers: json!({ "layers": LAYERS, "activation": ACTIVATION.to_string(), "deviations": DEVIATIONS,
            "step_sizes": STEP_SIZES, "mixtures": mixtures, "kinds": all.iter().map(number).collect::<Vec<_>>() }),
        rows: all.iter().flat_map(rows).collect(),
        notes: vec![note(mixtures, &all)],
        panels: panels(&all),
        maps: None,
    })
}

fn solve_kind(context: &mut Context<'_>, kind: SegmentKind, mixtures: u64) -> Result<Unmixed> {
    let drawn = |context: &Context<'_>, kind: SegmentKind| -> Result<Vec<SegmentMixture>> {
        (0..mixtures).map(|which| SegmentMixture::new(context, kind, which)).collect()
    };
    let of = |drawn: &[SegmentMixture], method: Method, context: &mut Context<'_>| {
        let drawn: Vec<&dyn Mixture> = drawn.iter().map(|mixture| mixture as &dyn Mixture).collect();
        solve(context, method, &STEP_SIZES, &drawn)
    };
    let deep = drawn(context, kind)?;
    let mut solvers = Vec::new();
    for method in METHODS {
        solvers.push(of(&deep, method, context)?);
    }
    let shallow = drawn(context, SegmentKind { layers: 1, ..kind })?;
    let linear = of(&shallow, Method::Relative, context)?;
    Ok(Unmixed { kind, solvers, linear })
}

fn rows(solved: &Unmixed) -> Vec<Vec<String>> {
    let Unmixed { kind, solvers, linear } = solved;
    let worst = solvers.iter().filter_map(Solver::score).map(|(mean, _)| mean).fold(1.0, f64::min);
    let problem = |layers: usize| {
        let plural = if layers == 1 { "1 layer".to_string() } else { format!("{layers} layers") };
        format!("{} segments, {plural}", kind.segments).replace("1 segments", "1 segment")
    };
    let of = |solver: &Solver, layers: usize| {
        row(&problem(layers), kind.dim, solver, "MCC", 3, |sight: &Sight| sight.score >= SHARE * worst)
    };
    solvers.iter().map(|solver| of(solver, LAYERS)).chain([of(linear, 1)]).collect()
}

/// Correlation against the number of segments and, with the most segments, against seconds.
fn panels(all: &[Unmixed]) -> Vec<LinePanel> {
    let Some(last) = all.last() else { return Vec::new() };
    let dim = last.kind.dim;
    let against = |of: &dyn Fn(&Unmixed) -> Option<f64>, name: &str| Curve {
        name: name.to_string(),
        points: all
            .iter()
            .filter(|solved| solved.kind.dim == dim)
            .filter_map(|solved| Some((solved.kind.segments as f64, of(solved)?)))
            .collect(),
    };
    let mut curves: Vec<Curve> = METHODS
        .iter()
        .enumerate()
        .map(|(i, method)| against(&|solved| Some(solved.solvers[i].score()?.0), method.name()))
        .collect();
    curves.push(against(&|solved| Some(solved.linear.score()?.0), "one layer"));
    let of_training = |solver: &Solver| -> Vec<Curve> {
        let curve = |sights: &Vec<Sight>| Curve {
            name: solver.method.to_string(),
            points: sights.iter().map(|sight| (sight.seconds, sight.score)).collect(),
        };
        solver.trainings.iter().flatten().map(curve).collect()
    };
    let range = Some((0.0, 1.0));
    let over_time = last.solvers.iter().flat_map(of_training).collect();
    vec![
        lines(["segments", &format!("mean correlation, D = {dim}")], range, curves, Vec::new()),
        lines([&format!("seconds, {} segments", last.kind.segments), "mean correlation"], range, over_time, Vec::new()),
    ]
}

fn note(mixtures: u64, all: &[Unmixed]) -> String {
    let starts: Vec<f64> = all
        .iter()
        .flat_map(|solved| solved.solvers.iter().flat_map(|solver| solver.trainings.iter().flatten()))
        .filter_map(|sights| Some(sights.first()?.score))
        .collect();
    let start = starts.iter().sum::<f64>() / starts.len().max(1) as f64;
    let [low, high] = DEVIATIONS;
    format!(
        "Segments: s_i is normal with a standard deviation in each segment, drawn log-uniformly from {low} to {high}; \
         g(x) = s for a random network of {LAYERS} layers with {ACTIVATION}, which a model of as many layers can be. \
         The model learns it and the deviations, given the segment as a unit vector u: log τ(u) and m(u) are affine in \
         u. {mixtures} mixtures a row; the number of samples does not depend on that of segments. MCC is the mean of \
         |correlation| of s itself (not of |s|) with the outputs on the test part, matched by the best assignment; \
         at the starts it is {start:.2} in the mean. One segment has no variation that could identify the sources. \
         Steps and seconds are the median until {SHARE} times the worse of the two ends."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The samples of a segment have its deviations, and the network that mixed them unmixes them.
    #[test]
    fn sources_have_the_deviations_of_their_segments() {
        let (dim, segments) = (2, 3);
        let deviations = deviations(dim, segments, 4);
        assert!(deviations.iter().all(|d| (DEVIATIONS[0]..=DEVIATIONS[1]).contains(d)));
        assert_eq!(super::deviations(5, 1, 4), [1.0; 5]);
        let parts = parted(&[0.0; 20], dim, segments, [4, 3, 3]);
        assert_eq!(parts.conditions(), 3);
        let given = parts.given.unwrap();
        // Samples 0 … 3, 4 … 6, 7 … 9 are of segments 0 1 2 0, 1 2 0, 1 2 0.
        assert_eq!(given[0].values[9..], [1.0, 0.0, 0.0]);
        assert_eq!(given[1].values[..3], [0.0, 1.0, 0.0]);
        assert_eq!(given[2].values[..3], [0.0, 1.0, 0.0]);
    }

    #[test]
    fn a_mixture_is_undone_by_its_network() {
        let (dim, seed) = (3, 7);
        let sources = init::normals(1, dim * 50);
        let x = mixed(dim, &sources, seed).unwrap();
        assert!(mean_correlation(&sources, &x, dim) < 0.99, "it does mix");
        let device = Cpu::new(1);
        let architecture = Architecture { activation: ACTIVATION, bias: true, ..Architecture::new(dim, LAYERS) };
        let network = init::network::<_, f64, _>(&device, &architecture, Init::Orthogonal, seed).unwrap();
        let mut evaluator = Evaluator::new(&device, &architecture, 50).unwrap();
        let x = Matrix::from_column_major(&device, &x, dim, 50, "test").unwrap();
        evaluator.data_terms(&device, &network, x.view()).unwrap();
        let back = device.to_host(evaluator.latents()).unwrap();
        assert!(back.iter().zip(&sources).all(|(a, b)| (a - b).abs() < 1e-9));
    }
}
