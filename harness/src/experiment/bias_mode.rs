//! Erratum E7: what becomes of the likelihood when the bias's update lacks the log-determinant's share.

use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::device::Matrix;
use relgrad_kernels::{Cpu, Dtype, Init, init};
use relgrad_reports::experiment::{Curve, Figure, Level, LinePanel, Table};
use serde_json::json;

use super::{Context, Findings};
use crate::error::{Error, Result};
use crate::train::evaluate;
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
    let data = standard_sample();
    let mut ends = Vec::new();
    for mode in BiasMode::ALL {
        context.check_interrupt()?;
        ends.push(descend(context, mode, &data, steps)?);
    }
    let cell = |x: f64| format!("{x:.4}").replace('-', "−");
    let row = |end: &End| vec![end.mode.to_string(), cell(end.weight), cell(end.bias), cell(end.nats)];
    let columns = ["bias mode", "w", "b", "log-likelihood (nats)"].map(str::to_string).to_vec();
    let number = |end: &End| {
        json!({ "mode": end.mode.name(), "weight": end.weight,
        "bias": end.bias, "nats": end.nats })
    };
    Ok(Findings {
        numbers: json!({ "steps": steps, "step_size": STEP, "maximum_nats": MAXIMUM,
            "ends": ends.iter().map(number).collect::<Vec<_>>() }),
        table: Table { columns, rows: ends.iter().map(row).collect() },
        notes: notes(&ends),
        figure: Figure::Lines {
            panels: vec![LinePanel {
                x_title: "step".to_string(),
                y_title: "log-likelihood (nats)".to_string(),
                y_range: Some((-2.6, -1.3)),
                curves: ends
                    .iter()
                    .map(|end| Curve { name: end.mode.to_string(), points: end.curve.clone() })
                    .collect(),
                levels: vec![Level { name: "maximum".to_string(), value: MAXIMUM }],
            }],
        },
    })
}

fn notes(ends: &[End]) -> Vec<String> {
    let nats = |mode| ends.iter().find(|end| end.mode == mode).map_or(f64::NAN, |end| end.nats);
    vec![
        format!(
            "The exact rule reaches the maximum ({:.4} nats); the paper's stops at {:.4} nats, where its update is \
             zero and the gradient is not: it lacks + b, the share of the log-determinant.",
            nats(BiasMode::Exact),
            nats(BiasMode::Paper)
        ),
        "With mean 0, or without biases, the rules agree at the maximum; the paper's figures hide the difference where \
         the data are centred."
            .to_string(),
    ]
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

fn descend(context: &Context<'_>, mode: BiasMode, data: &[f64], steps: usize) -> Result<End> {
    let mut settings = context.settings("one-dimensional Gaussian");
    settings.optimizer = "sgd".to_string();
    settings.layers = 1;
    settings.bias_mode = mode.to_string();
    settings.dtype = Dtype::F64;
    let recipe = Recipe::of(&settings, 1)?;
    let device = Cpu::new(1);
    let kernel = |cause: relgrad_kernels::Error| Error::Diverged(cause.to_string());
    let parameters = init::network::<_, f64, _>(&device, &recipe.architecture, Init::Orthogonal, 0).map_err(kernel)?;
    let x = Matrix::from_column_major(&device, data, 1, data.len(), "data").map_err(kernel)?;
    let mut learner = Learner::new(device, parameters, &recipe, data.len(), Tracking::Off).map_err(kernel)?;
    let nats = |learner: &Learner<f64>| -> Result<f64> {
        let values = evaluate::log_likelihoods(&device, &learner.parameters, data).map_err(kernel)?;
        Ok(values.iter().sum::<f64>() / values.len() as f64)
    };
    let mut curve = vec![(0.0, nats(&learner)?)];
    for step in 1..=steps {
        learner.step(x.view(), STEP, false).map_err(kernel)?;
        curve.push((step as f64, nats(&learner)?));
    }
    let arrays = learner.parameters.arrays();
    let first = |matrix: &Matrix<Cpu, f64>| matrix.to_column_major(&device).map(|values| values[0]).map_err(kernel);
    let (weight, bias) = (first(&arrays.weights[0])?, first(&arrays.biases[0])?);
    // The sign of a latent is free: report the positive one.
    let sign = weight.signum();
    Ok(End { mode, weight: sign * weight, bias: sign * bias, nats: nats(&learner)?, curve })
}
