//! How far each method's direction is from the exact one of its own metric, beside its time (RIVALS.md §30, [M83]).
//!
//! Each method trains the same network on the same batches by its own plain steps. At some of its steps the direction
//! is drawn several times on one batch, by steps too short to move anything, and compared with the exact direction at
//! the same weights.

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
const STEP: f64 = 0.01;
/// A step that moves nothing but leaves the direction its digits: (W_new − W)/μ has an error of 10⁻⁹.
const TINY_STEP: f64 = 1e-7;
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

/// Of directions H_p from the exact one G, relative to ‖G‖.
#[derive(Debug, Clone, Copy, serde::Serialize)]
struct Distance {
    /// ⟨H̄, G⟩ / (‖H̄‖ ‖G‖) of the mean H̄.
    cosine: f64,
    /// ‖H̄‖ / ‖G‖.
    norm_ratio: f64,
    /// √(‖H̄ − G‖² − s²/P) / ‖G‖, 0 where noise explains it.
    bias: f64,
    /// s / ‖G‖ of one draw.
    noise: f64,
}

impl Distance {
    fn of(draws: &[Vec<f64>], exact: &[f64]) -> Self {
        let count = draws.len() as f64;
        let mean: Vec<f64> = (0..exact.len()).map(|i| draws.iter().map(|draw| draw[i]).sum::<f64>() / count).collect();
        let norm = |a: &[f64]| a.iter().map(|x| x * x).sum::<f64>().sqrt();
        let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let variance = draws.iter().map(|draw| square(draw, &mean)).sum::<f64>() / (count - 1.0).max(1.0);
        let inner = mean.iter().zip(exact).map(|(a, b)| a * b).sum::<f64>();
        let (of_mean, of_exact) = (norm(&mean), norm(exact));
        Self {
            cosine: inner / (of_mean * of_exact),
            norm_ratio: of_mean / of_exact,
            bias: (square(&mean, exact) - variance / count).max(0.0).sqrt() / of_exact,
            noise: variance.sqrt() / of_exact,
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
    settings.dtype = Dtype::F64;
    settings.base = Base::SECH;
    settings.activation = Activation::SmoothLeaky { alpha: 0.3 };
    settings.batch = BATCH;
    let recipe = Recipe::of(&settings, dim)?;
    let data = mixed_sources(dim, BATCH * 50, context.seed);
    let draws = context.effort.pick(4, 16, 48);
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
                // A batch that is not the one just learned.
                look(&mut learner, recipe.method, batch(step + 1), draws)
            };
            found.push((checkpoint, reach().ok()));
        }
        Ok(found)
    }
}

/// Draws directions, and compares them with the exact one.
fn look<C: MaybeGroup<Cpu, f64>>(
    learner: &mut Learner<f64, C>,
    method: Method,
    batch: &[f64],
    draws: usize,
) -> relgrad_kernels::Result<Distance> {
    let exact = exact(learner, method, batch)?;
    let mut drawn = Vec::new();
    for _ in 0..draws {
        let before = numbers(learner)?;
        learner.step(batch, &[], TINY_STEP, false)?;
        learner.settle()?;
        let moved = numbers(learner)?.into_iter().zip(before).map(|(after, before)| (after - before) / TINY_STEP);
        drawn.push(moved.collect());
    }
    Ok(Distance::of(&drawn, &exact))
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
        let (architecture, batch) = (Architecture::new(dim, 2).into(), BATCH);
        prepare(&Workload { method, architecture, init: Init::Orthogonal, batch, dtype: Dtype::F32, threads, seed })
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
            x_title: format!("D = {}: distance from the exact direction", grouped(dim)),
            y_title: "time over relative".to_string(),
            points: found.iter().filter(|of| of.dim == dim && of.steps == last).filter_map(point).collect(),
        }
    };
    dims.into_iter().map(panel).collect()
}

fn notes(last: usize) -> Vec<String> {
    vec![
        format!(
            "The figure is of {last} steps. The distance is √(bias² + noise²) of one direction, relative to the norm \
             of the exact one on the same batch at the same weights; {NEAREST:e} and nearer are drawn at \
             {NEAREST:e}."
        ),
        "Exact means: in the metric of the method, the relative, the transposed or the ordinary gradient. Methods with \
         parameters of their own are compared in these. Bias and noise are those of the method's probes or state, not \
         of the batch."
            .to_string(),
        format!(
            "Data: independent sech sources behind a mixing of condition number 3. Two layers, N = {BATCH}, steps of \
             {STEP} by each method itself, f64. Time: one evaluation in f32, medians in turn with `relative`."
        ),
    ]
}
