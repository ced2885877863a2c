//! Sources whose variances differ between segments, behind a random network: p(s|u) identifies them (Hyvärinen &
//! Morioka 2016; Hyvärinen, Sasaki & Turner 2019).

use relgrad_kernels::device::{Device, Matrix};
use relgrad_kernels::inversion::Inverter;
use relgrad_kernels::likelihood::Evaluator;
use relgrad_kernels::parameters::{Batch, Parameters};
use relgrad_kernels::{Activation, Architecture, Base, Cpu, Init, Method, Scalar, init};
use relgrad_reports::experiment::{Curve, LinePanel};
use relgrad_reports::training::TrainingSettings;
use serde_json::json;

use super::super::{Context, lines};
use super::course::{self, Mixture, Sight, Solver};
use super::recovery::mean_correlation;
use super::{Section, row};
use crate::data::{Parts, Samples};
use crate::error::{Error, Result};
use crate::train::learner::Learner;
use crate::train::network::Inputs;

/// Layers of the mixing network, and of the unmixing one.
const LAYERS: usize = 3;
const ACTIVATION: Activation = Activation::SmoothLeaky { alpha: 0.3 };
/// Standard deviations of the sources in a segment: uniform logarithms between the two.
const DEVIATIONS: [f64; 2] = [0.2, 3.0];
const STEP_SIZES: [f64; 3] = [0.002, 0.008, 0.03];
/// Gradient and optimiser of deep models: Adam's moments of ΔW by both gradients, and those of E.
const DEEP: [(Method, &str); 3] =
    [(Method::Relative, "adam"), (Method::Ordinary, "adam"), (Method::Relative, "equivariant-adam")];
/// Recovered is what has so much of the correlation at the worst of their ends.
const SHARE: f64 = 0.98;

/// A problem: D sources over M segments.
#[derive(Clone, Copy)]
struct SegmentKind {
    dim: usize,
    segments: usize,
    /// Of the unmixing network.
    layers: usize,
    optimizer: &'static str,
}

/// Sources s_i ~ N(0, σ_im²) in segment m, seen as x with g(x) = s for a random network g.
struct SegmentMixture {
    parts: Parts,
    settings: TrainingSettings,
    /// Mean log-likelihood of the validation part under the density it was drawn from, which no model exceeds but by
    /// chance.
    true_nats: f64,
    /// s of the test part, D numbers a sample.
    sources: Vec<f64>,
    /// Test part.
    test: Inputs<f32>,
}

impl SegmentMixture {
    fn new(context: &Context<'_>, kind: SegmentKind, which: u64) -> Result<Self> {
        let SegmentKind { dim, segments, layers, optimizer } = kind;
        let seed = context.seed.wrapping_add(which);
        let counts = context.effort.pick([600, 200, 200], [20_000, 4000, 4000], [20_000, 4000, 4000]);
        let total: usize = counts.iter().sum();
        let deviations = deviations(dim, segments, seed ^ 0x5345_4756);
        let mut sources = init::normals(seed ^ 0x5345_4753, dim * total);
        for (n, sample) in sources.chunks_exact_mut(dim).enumerate() {
            let of_segment = &deviations[n % segments * dim..][..dim];
            sample.iter_mut().zip(of_segment).for_each(|(s, deviation)| *s *= deviation);
        }
        let failed = |cause| Error::Input(format!("the mixing network cannot be inverted: {cause}"));
        let network = network(dim, seed ^ 0x5345_474d).map_err(failed)?;
        let mixed = mixed(&network, &sources).map_err(failed)?;
        let parts = parted(&mixed, dim, segments, counts);
        let settings = TrainingSettings {
            optimizer: optimizer.to_string(),
            schedule: "cosine".to_string(),
            batch: 200,
            epochs: context.effort.pick(10, 40, 100),
            layers,
            activation: ACTIVATION,
            base: Base::Normal,
            init: "whiten-layers".to_string(),
            seed,
            threads: 1,
            ..context.settings("segments")
        };
        let [.., test] = Inputs::of(&parts);
        let validation = dim * counts[0]..dim * (counts[0] + counts[1]);
        let slopes = log_slopes(&network, &mixed[validation.clone()]).map_err(failed)?;
        let true_nats = slopes + log_density(&sources[validation], &deviations, counts[0], dim);
        let sources = sources.split_off(dim * (counts[0] + counts[1]));
        Ok(Self { parts, settings, true_nats, sources, test })
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

/// g, of orthogonal weights.
fn network(dim: usize, seed: u64) -> relgrad_kernels::Result<Parameters<Cpu, f64>> {
    let architecture = Architecture { activation: ACTIVATION, bias: true, ..Architecture::new(dim, LAYERS) };
    init::network(&Cpu::new(1), &architecture, Init::Orthogonal, seed)
}

/// x = g⁻¹(s).
fn mixed(network: &Parameters<Cpu, f64>, sources: &[f64]) -> relgrad_kernels::Result<Vec<f64>> {
    let mut x = sources.to_vec();
    Inverter::new(&Cpu::new(1), network)?.invert(&mut x)?;
    Ok(x)
}

/// The mean of log|det J_g(x)|, which is that of the slopes: the weights are orthogonal.
fn log_slopes(network: &Parameters<Cpu, f64>, x: &[f64]) -> relgrad_kernels::Result<f64> {
    let (device, dim) = (Cpu::new(1), network.architecture().dim);
    let count = x.len() / dim;
    let x = Matrix::from_column_major(&device, x, dim, count, "samples")?;
    let terms = Evaluator::new(&device, network.architecture(), count)?.data_terms(&device, network, x.view())?;
    Ok(terms.l1j.iter().sum::<f64>() / count as f64)
}

/// The mean of Σ_i log N(s_i; 0, σ_im²) over samples, the first of which is the `first` of all.
fn log_density(sources: &[f64], deviations: &[f64], first: usize, dim: usize) -> f64 {
    let half_log = 0.5 * std::f64::consts::TAU.ln();
    let of = |(n, s): (usize, &[f64])| {
        let deviations = deviations.chunks_exact(dim).cycle().nth((first + n) % (deviations.len() / dim));
        let term = |(s, deviation): (&f64, &f64)| -0.5 * (s / deviation).powi(2) - deviation.ln() - half_log;
        s.iter().zip(deviations.unwrap_or_default()).map(term).sum::<f64>()
    };
    let count = (sources.len() / dim).max(1) as f64;
    sources.chunks_exact(dim).enumerate().map(of).sum::<f64>() / count
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

/// A problem in every way of [`DEEP`], and by the relative gradient with a single layer.
struct Unmixed {
    dim: usize,
    segments: usize,
    solvers: Vec<Solver>,
    linear: Solver,
    /// Of each mixture.
    true_nats: Vec<f64>,
}

impl Unmixed {
    /// The mean of what the deep models' likelihoods lack.
    fn lacking(&self) -> f64 {
        let lacks = |solver: &Solver| -> Vec<f64> {
            let ends = solver.trainings.iter().zip(&self.true_nats);
            ends.filter_map(|(sights, nats)| Some(nats - sights.as_ref()?.last()?.validation_nats)).collect()
        };
        let all: Vec<f64> = self.solvers.iter().flat_map(lacks).collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    }
}

pub(super) fn run(context: &mut Context<'_>) -> Result<Section> {
    let dims = context.effort.pick(&[3][..], &[5, 10], &[5, 10, 20]);
    let numbers_of_segments = context.effort.pick(&[1, 4][..], &[1, 2, 5, 10, 40], &[1, 2, 5, 10, 20, 40, 80]);
    let mixtures = context.effort.pick(1, 2, 3);
    let mut all = Vec::new();
    for &dim in dims {
        for &segments in numbers_of_segments {
            let solved = solve_kind(context, dim, segments, mixtures)?;
            rows(&solved).iter().for_each(|cells| context.say(&cells.join(", ")));
            all.push(solved);
        }
    }
    let number = |of: &Unmixed| {
        json!({ "dim": of.dim, "segments": of.segments, "solvers": of.solvers, "one_layer": of.linear,
            "true_validation_nats": of.true_nats })
    };
    Ok(Section {
        numbers: json!({ "layers": LAYERS, "activation": ACTIVATION.to_string(), "deviations": DEVIATIONS,
            "step_sizes": STEP_SIZES, "mixtures": mixtures, "kinds": all.iter().map(number).collect::<Vec<_>>() }),
        rows: all.iter().flat_map(rows).collect(),
        notes: vec![note(mixtures, &all)],
        panels: panels(&all),
        maps: None,
    })
}

fn solve_kind(context: &mut Context<'_>, dim: usize, segments: usize, mixtures: u64) -> Result<Unmixed> {
    let mut solve = |layers: usize, (method, optimizer): (Method, &'static str)| -> Result<(Solver, Vec<f64>)> {
        let kind = SegmentKind { dim, segments, layers, optimizer };
        let drawn: Vec<_> =
            (0..mixtures).map(|which| SegmentMixture::new(context, kind, which)).collect::<Result<_>>()?;
        let true_nats = drawn.iter().map(|mixture| mixture.true_nats).collect();
        let drawn: Vec<&dyn Mixture> = drawn.iter().map(|mixture| mixture as &dyn Mixture).collect();
        Ok((course::solve(context, method, &STEP_SIZES, &drawn)?, true_nats))
    };
    let (linear, true_nats) = solve(1, DEEP[0])?;
    let solvers = DEEP.into_iter().map(|way| Ok(solve(LAYERS, way)?.0)).collect::<Result<_>>()?;
    Ok(Unmixed { dim, segments, solvers, linear, true_nats })
}

fn rows(solved: &Unmixed) -> Vec<Vec<String>> {
    let Unmixed { dim, segments, solvers, linear, .. } = solved;
    let worst = solvers.iter().filter_map(Solver::score).map(|(mean, _)| mean).fold(1.0, f64::min);
    let problem = |layers: usize| {
        let plural = if layers == 1 { "1 layer".to_string() } else { format!("{layers} layers") };
        format!("{segments} segments, {plural}").replace("1 segments", "1 segment")
    };
    let of = |solver: &Solver, layers: usize| {
        // Without segments the starts are as good as the ends.
        let is_there = |sight: &Sight| *segments > 1 && sight.score >= SHARE * worst;
        row(&problem(layers), *dim, solver, "MCC", 3, is_there)
    };
    solvers.iter().map(|solver| of(solver, LAYERS)).chain([of(linear, 1)]).collect()
}

/// Correlation against the number of segments and, with the most segments, against seconds.
fn panels(all: &[Unmixed]) -> Vec<LinePanel> {
    let Some(last) = all.last() else { return Vec::new() };
    let dim = last.dim;
    let against = |of: &dyn Fn(&Unmixed) -> Option<f64>, name: &str| Curve {
        name: name.to_string(),
        points: all
            .iter()
            .filter(|solved| solved.dim == dim)
            .filter_map(|solved| Some((solved.segments as f64, of(solved)?)))
            .collect(),
    };
    let deep = last.solvers.iter().enumerate();
    let mut curves: Vec<Curve> =
        deep.map(|(i, solver)| against(&|solved| Some(solved.solvers[i].score()?.0), &solver.name())).collect();
    curves.push(against(&|solved| Some(solved.linear.score()?.0), "one layer"));
    let of_training = |solver: &Solver| -> Vec<Curve> {
        let curve = |sights: &Vec<Sight>| Curve {
            name: solver.name(),
            points: sights.iter().map(|sight| (sight.seconds, sight.score)).collect(),
        };
        solver.trainings.iter().flatten().map(curve).collect()
    };
    let range = Some((0.0, 1.0));
    let over_time = last.solvers.iter().flat_map(of_training).collect();
    vec![
        lines(["segments", &format!("mean correlation, D = {dim}")], range, curves, Vec::new()),
        lines([&format!("seconds, {} segments", last.segments), "mean correlation"], range, over_time, Vec::new()),
    ]
}

fn note(mixtures: u64, all: &[Unmixed]) -> String {
    let starts: Vec<f64> = all
        .iter()
        .flat_map(|solved| solved.solvers.iter().flat_map(|solver| solver.trainings.iter().flatten()))
        .filter_map(|sights| Some(sights.first()?.score))
        .collect();
    let start = starts.iter().sum::<f64>() / starts.len().max(1) as f64;
    let lacking = all.iter().map(Unmixed::lacking).sum::<f64>() / all.len().max(1) as f64;
    let mean = |of: &Unmixed, way: usize| of.solvers[way].score().map(|score| score.0);
    let [ahead, equivariant_ahead] = [0, 2].map(|way| all.iter().filter(|of| mean(of, way) > mean(of, 1)).count());
    let [low, high] = DEVIATIONS;
    format!(
        "Segments: s_i is normal with a standard deviation in each segment, drawn log-uniformly from {low} to {high}; \
         g(x) = s for a random network of {LAYERS} layers with {ACTIVATION}, which a model of as many layers can be. \
         The model learns it and the deviations, given the segment as a unit vector u: log τ(u) and m(u) are affine in \
         u. Mixtures a row: {mixtures}; the number of samples does not depend on that of segments. MCC is the mean of \
         |correlation| of s itself (not of |s|) with the outputs on the test part, matched by the best assignment; \
         at the starts it is {start:.2} in the mean. One segment has no variation that could identify the sources. \
         The likelihood of the validation part ends {lacking:.2} nats below that of the density it was drawn from, in \
         the mean. That density is among the models, so what is missing is lost by optimisation or by few samples. \
         Of {} problems the relative gradient with {LAYERS} layers ends with a higher MCC than the ordinary one in \
         {ahead} by Adam, and in {equivariant_ahead} by Adam in relative coordinates (`equivariant-adam`). Steps and \
         seconds are the median until {SHARE} times the worst of the three ends.",
        all.len()
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

    /// The likelihood of the truth is that which a model of the same numbers has.
    #[test]
    fn a_mixture_is_undone_by_its_network() {
        let dim = 3;
        let network = network(dim, 7).unwrap();
        let sources = init::normals(1, dim * 50);
        let x = mixed(&network, &sources).unwrap();
        assert!(mean_correlation(&sources, &x, dim) < 0.99, "it does mix");
        let device = Cpu::new(1);
        let mut evaluator = Evaluator::new(&device, network.architecture(), 50).unwrap();
        let batch = Matrix::from_column_major(&device, &x, dim, 50, "test").unwrap();
        let likelihood = evaluator.log_likelihood(&device, &network, batch.view()).unwrap();
        let back = device.to_host(evaluator.latents()).unwrap();
        assert!(back.iter().zip(&sources).all(|(a, b)| (a - b).abs() < 1e-9));
        let truth = log_slopes(&network, &x).unwrap() + log_density(&sources, &[1.0; 3], 0, dim);
        assert!((truth - likelihood.mean()).abs() < 1e-9);
        // Samples 1, 2 and 3 of two segments: σ = 2, 1, 2.
        let by_hand = |s: f64, sigma: f64| -0.5 * (s / sigma).powi(2) - (sigma * std::f64::consts::TAU.sqrt()).ln();
        let expected = (by_hand(3.0, 2.0) + by_hand(1.0, 1.0) + by_hand(0.5, 2.0)) / 3.0;
        assert!((log_density(&[3.0, 1.0, 0.5], &[1.0, 2.0], 1, 1) - expected).abs() < 1e-12);
    }
}
