//! Images drawn from a trained model: latents from the base density, sent through the inverse network.

use relgrad_kernels::device::{Device, Matrix};
use relgrad_kernels::inversion::Inverter;
use relgrad_kernels::likelihood::Evaluator;
use relgrad_kernels::parameters::Parameters;
use relgrad_kernels::{Cpu, Scalar};
use relgrad_reports::experiment::{Figure, Pictures};
use serde_json::json;

use super::learning_curves::{image_model_name, image_settings};
use super::{Context, Findings, table, texts};
use crate::data::DataSet;
use crate::error::{Error, Result};
use crate::train::learner::Tracking;
use crate::train::model;
use crate::train::network::converted;
use crate::train::recipe::Recipe;

const ACROSS: usize = 8;
const DRAWN: usize = 48;

/// Draws from the model of Figure 6, training it first where there is none.
pub(crate) fn run(context: &mut Context<'_>) -> Result<Findings> {
    let set = context.load(&context.images.clone(), 0)?;
    let size = set
        .picture
        .ok_or_else(|| Error::Usage(format!("{} has no images: choose --images mnist or optdigits", set.name)))?;
    let name = image_model_name(context, "adam");
    let settings = image_settings(context, "adam");
    let recipe = Recipe::of(&settings, set.parts.dim())?;
    let model = context.model(&name, settings, &set, Tracking::On)?;
    let (device, parameters) = model::best_model::<f32>(&context.model_dir(&name), &recipe)?;
    let failed = |cause: relgrad_kernels::Error| Error::Diverged(format!("the model cannot be inverted: {cause}"));
    let inverter = Inverter::new(&device, &parameters).map_err(failed)?;
    let drawn = inverter.sample(DRAWN, context.seed).map_err(failed)?;
    let round_trip = round_trip(&device, &parameters, &inverter, &set).map_err(failed)?;
    let far = far_away(&drawn, &set);
    let dim = set.parts.dim();
    let mut pictures: Vec<Vec<u8>> = set.parts.test.first(ACROSS).iter().map(DataSet::to_pixels).collect();
    let drawn: Vec<f64> = drawn.into_iter().map(f64::from).collect();
    pictures.extend(drawn.chunks_exact(dim).map(DataSet::to_pixels));
    let row = |name: &str, value: String| vec![name.to_string(), value];
    let rows = vec![
        row("model", format!("{name}, epoch {}", model.outcome.best_epoch)),
        row("test log-likelihood of the model (nats)", model.outcome.test.to_string()),
        row("‖g⁻¹(g(x)) − x‖ / ‖x‖ on the test part, largest of 100", format!("{round_trip:.1e}")),
        row("drawn samples farther from 0 than any test sample", format!("{far} of {DRAWN}")),
    ];
    let outside = format!(
        "Mass far from the data costs little likelihood. {far} of {DRAWN} samples are out there. Without them the \
         model would gain about {:.2} nats; a test image has {} nats.",
        -(1.0 - (far as f64 / DRAWN as f64).min(0.99)).ln(),
        model.outcome.test
    );
    Ok(Findings {
        numbers: json!({ "model": name, "outcome": model.outcome, "drawn": DRAWN,
            "round_trip_error": round_trip, "drawn_outside_the_data": far }),
        table: table(["", "value"], rows),
        notes: texts([
            "First line: test images, after dequantisation. The others: s drawn from the base density, x = g⁻¹(s) \
             layer by layer with one LU each, then the inverse of the logit.",
            &outside,
        ]),
        figure: Figure::Pictures(Pictures {
            across: ACROSS,
            size,
            pictures,
            lines: texts(["test images", "drawn from the model"]),
        }),
    })
}

/// How many drawn samples are farther from 0 than every test sample.
fn far_away(drawn: &[f32], set: &DataSet) -> usize {
    let farthest = set.parts.test.iter().map(|x| norm(x.iter().copied())).fold(0.0, f64::max);
    let outside = |x: &&[f32]| norm(x.iter().map(|&x| f64::from(x))) > farthest;
    drawn.chunks_exact(set.parts.dim()).filter(outside).count()
}

fn norm(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.map(|x| x * x).sum::<f64>().sqrt()
}

/// The largest relative error of inverting the network on its own latents of test samples.
fn round_trip<T: Scalar>(
    device: &Cpu,
    parameters: &Parameters<Cpu, T>,
    inverter: &Inverter<T>,
    set: &DataSet,
) -> relgrad_kernels::Result<f64> {
    let samples = set.parts.test.first(100);
    let (dim, count) = (samples.dim, samples.count());
    let x: Vec<T> = converted(&samples);
    let batch = Matrix::from_column_major(device, &x, dim, count, "test samples")?;
    let mut evaluator = Evaluator::new(device, parameters.architecture(), count)?;
    evaluator.data_terms(device, parameters, batch.view())?;
    let mut back = vec![T::default(); x.len()];
    device.download(evaluator.latents().slice(), &mut back)?;
    inverter.invert(&mut back)?;
    let error = |(x, y): (&[T], &[T])| {
        norm(x.iter().zip(y).map(|(x, y)| x.widen() - y.widen())) / norm(x.iter().map(|x| x.widen()))
    };
    Ok(x.chunks_exact(dim).zip(back.chunks_exact(dim)).map(error).fold(0.0, f64::max))
}
