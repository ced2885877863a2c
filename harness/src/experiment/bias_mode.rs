//! Erratum E7: what becomes of the likelihood when the bias's update lacks the log-determinant's share.

use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::{Dense, Dtype, init};
use relgrad_reports::experiment::{Curve, Figure, Level};
use serde_json::json;

use super::{Context, Findings, lines, signed, table, texts};
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::train::learner::{Learner, Tracking};
use crate::train::recipe::Recipe;

const SAMPLES: usize = 2000;
const STEP: f64 = 0.05;

/// −½(1 + log 2π): the maximum over all affine layers for data of unit variance.
const MAXIMUM: f64 = -1.418_938_533_204_672_7;

/// Where a rule stops.
struct End {
    mode: BiasMode,
    weight: f64,
    bias: f64,
    nats: f64,
    curve: Vec<(f64, f64)>,
}

/// One affine layer on one-dimensional data of mean 3 and standard deviation 1, full batches, f64.
pub(crate) fn run(context: &mut Context<'_>) -> Result<Findings> {
    let steps = context.effort.pick(600, 600, 2000);
    let data = Samples { dim: 1, values: standard_sample() };
    let mut ends = Vec::new();
    for mode in BiasMode::ALL {
        context.check_interrupt()?;
        ends.push(descend(context, mode, &data, steps)?);
    }
    let cells = |end: &End| {
        let [weight, bias, nats] = [end.weight, end.bias, end.nats].map(|x| signed(x, 4));
        vec![end.mode.to_string(), weight, bias, nats]
    };
    let rows = ends.iter().map(cells).collect();
    let number =
        |end: &End| json!({ "mode": end.mode.name(), "weight": end.weight, "bias": end.bias, "nats": end.nats });
    let numbers = json!({ "steps": steps, "step_size": STEP, "maximum_nats": MAXIMUM,
        "ends": ends.iter().map(number).collect::<Vec<_>>() });
    let notes = notes(&ends);
    let curves = ends.into_iter().map(|end| Curve { name: end.mode.to_string(), points: end.curve }).collect();
    let maximum = Level { name: "maximum".to_string(), value: MAXIMUM };
    let panel = lines(["step", "log-likelihood (nats)"], Some((-2.6, -1.3)), curves, vec![maximum]);
    Ok(Findings {
        numbers,
        table: table(["bias mode", "w", "b", "log-likelihood (nats)"], rows),
        notes,
        figure: Figure::Lines { panels: vec![panel] },
    })
}

fn notes(ends: &[End]) -> Vec<String> {
    let nats = |mode| ends.iter().find(|end| end.mode == mode).map_or(f64::NAN, |end| end.nats);
    let stops = format!(
        "The exact rule reaches the maximum ({:.4} nats). The paper's rule stops at {:.4} nats, where its update is \
         zero and the gradient is not: it lacks + b, the part of the log-determinant.",
        nats(BiasMode::Exact),
        nats(BiasMode::Paper)
    );
    texts([
        &stops,
        "With mean 0, or without biases, the rules agree at the maximum. Centred data in the paper's figures hide the \
         difference.",
    ])
}

/// Normal samples, shifted and scaled so that their mean is 3 and their variance 1 to the last bit that matters.
fn standard_sample() -> Vec<f64> {
    let mut x = init::normals(0, SAMPLES);
    let mean = x.iter().sum::<f64>() / SAMPLES as f64;
    x.iter_mut().for_each(|x| *x -= mean);
    let deviation = (x.iter().map(|x| x * x).sum::<f64>() / SAMPLES as f64).sqrt();
    x.iter_mut().for_each(|x| *x = 3.0 + *x / deviation);
    x
}

fn descend(context: &Context<'_>, mode: BiasMode, data: &Samples, steps: usize) -> Result<End> {
    let mut settings = context.settings("one-dimensional Gaussian");
    settings.optimizer = "sgd".to_string();
    // Steps are asked for one by one, all of one size.
    settings.edge = None;
    settings.layers = 1;
    settings.bias_mode = mode.to_string();
    settings.dtype = Dtype::F64;
    settings.batch = data.count();
    (settings.seed, settings.threads) = (0, 1);
    let kernel = |cause: relgrad_kernels::Error| Error::Diverged(cause.to_string());
    let mut learner = Learner::begin(&Recipe::of(&settings, 1)?, Dense, data, Tracking::Off)?;
    let nats = |learner: &Learner<f64>| -> Result<f64> {
        let values = learner.log_likelihoods(&data.values, &[]).map_err(kernel)?;
        Ok(values.iter().sum::<f64>() / values.len() as f64)
    };
    let mut curve = vec![(0.0, nats(&learner)?)];
    for step in 1..=steps {
        learner.step(&data.values, &[], STEP, false).map_err(kernel)?;
        curve.push((step as f64, nats(&learner)?));
    }
    let arrays = learner.snapshot().map_err(kernel)?;
    let (weight, bias) = (arrays[0][0], arrays[1][0]);
    // The sign of a latent is free: report the positive one.
    let sign = weight.signum();
    Ok(End { mode, weight: sign * weight, bias: sign * bias, nats: nats(&learner)?, curve })
}
