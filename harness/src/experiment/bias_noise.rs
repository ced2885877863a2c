//! How far each method's direction is from the exact one of its own metric, beside its time (RIVALS.md §30, [M83]).
//!
//! Each method trains the same network on the same batches by its own plain steps. From some of its steps on the
//! direction of each of the next steps is compared with the exact one at the same weights, on the same batch.

use std::time::Instant;

use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::bound::bind;
use relgrad_kernels::device::Matrix;
use relgrad_kernels::evaluation::{Evaluation, Workload, prepare};
use relgrad_kernels::layer::{Coupling, MaybeGroup, Visitor};
use relgrad_kernels::parameters::{Gradient, Parameters};
use relgrad_kernels::{Activation, Architecture, Base, Cpu, Dtype, Init, Method, init};
use relgrad_reports::experiment::{Figure, ScatterPanel, ScatterPoint};
use relgrad_reports::units::grouped;
use serde_json::{Value, json};

use super::{Context, Findings, table, texts};
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::train::learner::{Learner, Tracking};
use crate::train::recipe::Recipe;

const BATCH: usize = 100;
/// Steps of the training.
const STEP: f64 = 1e-3;
/// The figure shows what is nearer to the exact direction than this at this place.
const NEAREST: f64 = 1e-4;

/// A method at one dimension, after some steps of its training.
struct Looked {
    method: Method,
    dim: usize,
    steps: usize,
    /// Absent where its training diverged.
    error: Option<Distance>,
    /// Of one evaluation in f32, over that of `relative`.
    time_ratio: Option<f64>,
}

/// Of directions H_p from the exact ones G_p, relative to the norm ‖G‖ of their mean square.
#[derive(Debug, Clone, Copy, serde::Serialize)]
struct Distance {
    /// Σ⟨H_p, G_p⟩ / √(Σ‖H_p‖² Σ‖G_p‖²).
    cosine: f64,
    /// √(Σ‖H_p‖² / Σ‖G_p‖²).
    norm_ratio: f64,
    /// √(‖mean of H_p − G_p‖² − s²/P) / ‖G‖, 0 where noise explains it.
    bias: f64,
    /// s / ‖G‖ of the differences H_p − G_p.
    noise: f64,
}

impl Distance {
    fn of(draws: &[Vec<f64>], exact: &[Vec<f64>]) -> Self {
        let count = draws.len() as f64;
        let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let all = |a: &[Vec<f64>], b: &[Vec<f64>]| a.iter().zip(b).map(|(a, b)| inner(a, b)).sum::<f64>();
        let differences: Vec<Vec<f64>> =
            draws.iter().zip(exact).map(|(h, g)| h.iter().zip(g).map(|(h, g)| h - g).collect()).collect();
        let numbers = differences.first().map_or(0, Vec::len);
        let mean: Vec<f64> = (0..numbers).map(|i| differences.iter().map(|d| d[i]).sum::<f64>() / count).collect();
        let (of_draws, of_exact, of_mean) = (all(draws, draws), all(exact, exact), inner(&mean, &mean));
        let variance = ((all(&differences, &differences) - count * of_mean) / (count - 1.0).max(1.0)).max(0.0);
        let size = (of_exact / count).sqrt();
        Self {
            cosine: all(draws, exact) / (of_draws * of_exact).sqrt(),
            norm_ratio: (of_draws / of_exact).sqrt(),
            bias: (of_mean - variance / count).max(0.0).sqrt() / size,
            noise: variance.sqrt() / size,
        }
    }

    /// √(bias² + noise²): the distance of one draw.
    fn whole(&self) -> f64 {
        self.bias.hypot(self.noise)
    }
}

pub(crate) fn run(context: &mut Context<'_>) -> Result<Findings> {
    let dims = context.effort.pick(&[8, 12][..], &[32, 128], &[32, 128, 512]);
    let checkpoints = context.effort.pick(&[0, 3][..], &[0, 100], &[0, 100, 1000]);
    let mut found = Vec::new();
    for &dim in dims {
        for method in Method::ALL.into_iter().filter(|method| !method.name().starts_with("autodiff")) {
            context.check_interrupt()?;
            let time_ratio = time_ratio(context, method, dim)?;
            for (steps, error) in distances(context, method, dim, checkpoints)? {
                let told = error.map_or("diverged".to_string(), |error| format!("{:.1e} from it", error.whole()));
                context.say(&format!("D = {dim}, {steps} steps: {method} is {told}"));
                found.push(Looked { method, dim, steps, error, time_ratio });
            }
        }
    }
    Ok(findings(&found, checkpoints))
}

/// A training that is stopped to look at its direction.
struct Course<'a> {
    recipe: &'a Recipe,
    data: &'a Samples,
    checkpoints: &'a [usize],
    draws: usize,
}

fn distances(
    context: &Context<'_>,
    method: Method,
    dim: usize,
    checkpoints: &[usize],
) -> Result<Vec<(usize, Option<Distance>)>> {
    let mut settings = context.settings("mixed sources");
    settings.method = method;
    settings.optimizer = "sgd".to_string();
    // Steps are asked for one by one, all of one size.
    settings.edge = None;
    settings.dtype = Dtype::F64;
    settings.base = Base::SECH;
    settings.activation = Activation::SmoothLeaky { alpha: 0.3 };
    settings.batch = BATCH;
    // A guard shortens steps, which is no error of their direction; those with a state have none without.
    (settings.bias, settings.guard) = (false, method.keeps_state());
    let recipe = Recipe::of(&settings, dim)?;
    let data = mixed_sources(dim, BATCH * 50, context.seed);
    let draws = context.effort.pick(4, 16, 24);
    let course = Course { recipe: &recipe, data: &data, checkpoints, draws };
    recipe.architecture.coupling.visit::<f64, _>(course).map_err(input)?
}

impl Visitor<f64> for Course<'_> {
    type Out = Result<Vec<(usize, Option<Distance>)>>;

    fn visit<C: MaybeGroup<Cpu, f64>>(self, coupling: C) -> relgrad_kernels::Result<Self::Out> {
        Ok(self.follow(coupling))
    }
}

impl Course<'_> {
    fn follow<C: MaybeGroup<Cpu, f64>>(self, coupling: C) -> Result<Vec<(usize, Option<Distance>)>> {
        let Self { recipe, data, checkpoints, draws } = self;
        let mut learner = Learner::<f64, C>::begin(recipe, coupling, data, Tracking::Off)?;
        let width = data.dim * BATCH;
        let batch = |step: usize| &data.values[(step * width) % data.values.len()..][..width];
        let (mut found, mut step) = (Vec::new(), 0);
        for &checkpoint in checkpoints {
            let mut reach = || {
                while step < checkpoint {
                    learner.step(batch(step), &[], STEP, false)?;
                    step += 1;
                }
                learner.settle()?;
                let seen = look(&mut learner, recipe.method, (step..step + draws).map(batch));
                step += draws;
                seen
            };
            found.push((checkpoint, reach().ok()));
        }
        Ok(found)
    }
}

/// Goes on for some steps, and compares the direction of each with the exact one where it was taken.
fn look<'a, C: MaybeGroup<Cpu, f64>>(
    learner: &mut Learner<f64, C>,
    method: Method,
    batches: impl Iterator<Item = &'a [f64]>,
) -> relgrad_kernels::Result<Distance> {
    let (mut drawn, mut right) = (Vec::new(), Vec::new());
    for batch in batches {
        right.push(exact(learner, method, batch)?);
        let before = numbers(learner)?;
        learner.step(batch, &[], STEP, false)?;
        learner.settle()?;
        let length = STEP * share(method);
        let moved = numbers(learner)?.into_iter().zip(before).map(|(after, before)| (after - before) / length);
        drawn.push(moved.collect());
    }
    Ok(Distance::of(&drawn, &right))
}

/// The share of the exact direction that a step is to take: `self-normalizing` leaves the other half to R.
fn share(method: Method) -> f64 {
    if method == Method::SelfNormalizing { 0.5 } else { 1.0 }
}

/// The exact direction in the method's metric.
fn exact<C: MaybeGroup<Cpu, f64>>(
    learner: &Learner<f64, C>,
    method: Method,
    batch: &[f64],
) -> relgrad_kernels::Result<Vec<f64>> {
    let (device, parameters): (_, &Parameters<_, _, C>) = (&learner.device, &learner.parameters);
    let architecture = parameters.architecture();
    let x = Matrix::from_column_major(device, batch, architecture.dim, BATCH, "batch")?;
    let mut out = Gradient::zeros(device, architecture, "exact direction")?;
    let mut bound = bind(device, method.direction(), BiasMode::Exact, architecture, BATCH)?;
    bound.gradient(device, parameters, x.view(), &mut out)?;
    all(device, &out)
}

fn numbers<C: Coupling<Cpu, f64>>(learner: &Learner<f64, C>) -> relgrad_kernels::Result<Vec<f64>> {
    all(&learner.device, learner.parameters.arrays())
}

fn all(device: &Cpu, arrays: &Gradient<Cpu, f64>) -> relgrad_kernels::Result<Vec<f64>> {
    let columns: Vec<Vec<f64>> =
        arrays.iter().map(|array| array.to_column_major(device)).collect::<relgrad_kernels::Result<_>>()?;
    Ok(columns.concat())
}

/// x = A s of independent sources with the density ½ sech(πs/2), A of condition number about 3: an orthogonal matrix
/// whose columns have lengths between ½ and 3/2.
fn mixed_sources(dim: usize, count: usize, seed: u64) -> Samples {
    let source = |u: f64| 2.0 / std::f64::consts::PI * (std::f64::consts::FRAC_PI_2 * u).tan().ln();
    let sources: Vec<f64> = init::uniforms(seed ^ 0x5348, dim * count).into_iter().map(source).collect();
    let direction = init::normals(seed ^ 0x4d49, dim);
    let squared = direction.iter().map(|x| x * x).sum::<f64>();
    let mut values = Vec::with_capacity(dim * count);
    for sample in sources.chunks_exact(dim) {
        let scaled = |i: usize| sample[i] * (0.5 + i as f64 / dim as f64);
        let inner = (0..dim).map(|i| direction[i] * scaled(i)).sum::<f64>();
        values.extend((0..dim).map(|i| scaled(i) - 2.0 * inner / squared * direction[i]));
    }
    Samples { dim, values }
}

/// Time of one evaluation over that of `relative`, f32, medians of evaluations in turn.
fn time_ratio(context: &Context<'_>, method: Method, dim: usize) -> Result<Option<f64>> {
    let (threads, seed) = (context.threads, context.seed);
    let of = |method| {
        let workload = Workload::new(method, Architecture::new(dim, 2), BATCH, Dtype::F32);
        prepare(&Workload { init: Init::Orthogonal, threads, seed, ..workload })
    };
    let rounds = context.effort.pick(3, 15, 51);
    let timed = || -> relgrad_kernels::Result<f64> {
        let mut both = [of(method)?, of(Method::Relative)?];
        let mut seconds = [Vec::new(), Vec::new()];
        for round in 0..=rounds {
            for (evaluation, seconds) in both.iter_mut().zip(&mut seconds) {
                let clock = Instant::now();
                Evaluation::evaluate(evaluation.as_mut())?;
                // The first one warms up.
                if round > 0 {
                    seconds.push(clock.elapsed().as_secs_f64());
                }
            }
        }
        let [ours, relative] = seconds.map(median);
        Ok(ours / relative)
    };
    // On a thread of the pool, as a cell's process does.
    rayon::scope(|_| timed()).map(Some).map_err(input)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn input(cause: relgrad_kernels::Error) -> Error {
    Error::Input(cause.to_string())
}

fn findings(found: &[Looked], checkpoints: &[usize]) -> Findings {
    let columns = ["D", "steps", "method", "time over relative", "cosine", "norm ratio", "bias", "noise of one draw"];
    let number = |of: &Looked| {
        json!({ "method": of.method.name(), "dim": of.dim, "steps": of.steps, "time_ratio": of.time_ratio,
            "distance": of.error })
    };
    let last = checkpoints.last().copied().unwrap_or(0);
    Findings {
        numbers: json!({ "batch": BATCH, "training_step": STEP,
            "found": found.iter().map(number).collect::<Vec<Value>>() }),
        table: table(columns, found.iter().map(cells).collect()),
        notes: notes(last),
        figure: Figure::Scatter { panels: panels(found, last) },
    }
}

fn cells(of: &Looked) -> Vec<String> {
    let ratio = of.time_ratio.map_or("–".to_string(), |ratio| format!("{ratio:.2}"));
    let head = [grouped(of.dim), of.steps.to_string(), of.method.to_string(), ratio];
    let rest = match &of.error {
        None => texts(["diverged", "–", "–", "–"]),
        Some(Distance { cosine, norm_ratio, bias, noise }) => {
            let small = |x: f64| if x < 1e-6 { "0".to_string() } else { format!("{x:.2e}") };
            vec![format!("{cosine:.4}"), format!("{norm_ratio:.4}"), small(*bias), small(*noise)]
        }
    };
    head.into_iter().chain(rest).collect()
}

/// One panel a dimension, after the last checkpoint.
fn panels(found: &[Looked], last: usize) -> Vec<ScatterPanel> {
    let mut dims: Vec<usize> = found.iter().map(|of| of.dim).collect();
    dims.dedup();
    let panel = |dim: usize| {
        let point = |of: &Looked| {
            let (x, y) = (of.error?.whole().max(NEAREST), of.time_ratio?);
            Some(ScatterPoint { name: of.method.to_string(), x, y })
        };
        ScatterPanel {
            x_title: format!("D = {}: relative distance", grouped(dim)),
            y_title: "time over relative".to_string(),
            points: found.iter().filter(|of| of.dim == dim && of.steps == last).filter_map(point).collect(),
        }
    };
    dims.into_iter().map(panel).collect()
}

fn notes(last: usize) -> Vec<String> {
    vec![
        format!(
            "The figure is of {last} steps and those after. The distance is √(bias² + noise²) of one direction from \
             the exact one on the same batch at the same weights, relative to its norm; {NEAREST:e} and nearer are \
             drawn at {NEAREST:e}."
        ),
        "Exact means: in the metric of the method, the relative, the transposed or the ordinary gradient. Methods with \
         parameters of their own are compared in these. Bias and noise are those of the method's probes or state, not \
         of the batch."
            .to_string(),
        format!(
            "Data: independent sech sources behind a mixing of condition number 3. Two layers without biases, \
             N = {BATCH}, steps of {STEP} by each method itself, f64. Time: one evaluation in f32, medians in turn \
             with `relative`."
        ),
    ]
}
