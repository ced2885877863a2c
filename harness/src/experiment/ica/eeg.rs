//! An EEG recording unmixed by one layer: the likelihood beside that of a Gaussian, and where each component is seen.

use relgrad_kernels::device::{Device, Matrix};
use relgrad_kernels::inversion::Inverter;
use relgrad_kernels::likelihood::Evaluator;
use relgrad_kernels::parameters::Parameters;
use relgrad_kernels::{Base, Cpu, Dtype, Method};
use relgrad_reports::experiment::{ScalpMap, ScalpMaps};
use relgrad_reports::training::{Nats, TrainingSettings};
use relgrad_reports::units;
use serde_json::{Value, json};

use super::super::models::Model;
use super::super::{Context, gaussian};
use super::{METHODS, Section};
use crate::data::catalogue::{self, Entry};
use crate::data::recording::{self, Electrode};
use crate::data::{DataSet, Samples};
use crate::error::{Error, Result};
use crate::train::learner::Tracking;
use crate::train::model;
use crate::train::recipe::Recipe;

const SET: &str = "eeg";
const STEP_SIZES: [f64; 4] = [0.004, 0.02, 0.1, 0.5];
/// Maps a line, and lines.
const ACROSS: usize = 8;
const LINES: usize = 2;

/// Trains on the recording with both gradients; a section that says so where it is not at hand.
pub(super) fn run(context: &mut Context<'_>) -> Result<Section> {
    let entry = catalogue::find(SET)?;
    if !entry.is_at_hand(context.data.as_deref()) {
        let words = format!("the recording `{SET}` is not at hand: left out (set the folder of data sets with --data)");
        context.say(&words);
        return Ok(Section { notes: vec![words], numbers: Value::Null, ..Section::default() });
    }
    let set = context.load(SET, 0)?;
    let (_, gaussian) = gaussian::fit(&set)?;
    let mut rows = vec![line("full-covariance Gaussian", "–", "–", gaussian, None)];
    let (mut numbers, mut shown) = (Vec::new(), None);
    for method in METHODS {
        let (step_size, model, tried) = best(context, &set, method)?;
        let test = model.outcome.test;
        rows.push(line("1 layer, sech", method.name(), &step_size.to_string(), test, Some(model.outcome.seconds)));
        context.say(&rows.last().map_or(String::new(), |cells| cells.join(", ")));
        numbers.push(json!({ "method": method.name(), "step_size": step_size, "tried": tried,
            "outcome": model.outcome }));
        if method == Method::Relative {
            shown = Some(components(context, entry, &set, &model_name(method, step_size), &model.settings)?);
        }
    }
    let components = shown.unwrap_or_default();
    Ok(Section {
        numbers: json!({ "set": SET, "gaussian": gaussian, "models": numbers,
            "components": components.iter().map(Component::number).collect::<Vec<_>>() }),
        rows,
        notes: vec![note(&components)],
        panels: Vec::new(),
        maps: Some(maps(context, entry, &components)?),
    })
}

fn line(problem: &str, method: &str, step_size: &str, nats: Nats, seconds: Option<f64>) -> Vec<String> {
    let seconds = seconds.map_or("–".to_string(), |seconds| format!("{} (whole)", units::seconds(seconds)));
    let [problem, method, step_size] = [&format!("EEG, {problem}"), method, step_size].map(str::to_string);
    vec![problem, "32".to_string(), method, step_size, format!("{nats} nats"), "–".to_string(), seconds]
}

fn model_name(method: Method, step_size: f64) -> String {
    format!("ica-eeg-{method}-{step_size}")
}

/// The training with the best likelihood of the validation part, and what was tried.
fn best(context: &mut Context<'_>, set: &DataSet, method: Method) -> Result<(f64, Model, Vec<Value>)> {
    let (mut tried, mut best) = (Vec::new(), None::<(f64, Model)>);
    for step_size in STEP_SIZES {
        let settings = TrainingSettings {
            method,
            learning_rate: step_size,
            optimizer: "sgd".to_string(),
            schedule: "cosine".to_string(),
            batch: 100,
            epochs: context.effort.pick(2, 60, 300),
            layers: 1,
            base: Base::SECH,
            init: "whiten".to_string(),
            dtype: Dtype::F64,
            threads: 1,
            checkpoint_every: 10,
            ..context.settings(SET)
        };
        let nats = match context.model(&model_name(method, step_size), settings, set, Tracking::Off) {
            Ok(model) => {
                let nats = model.outcome.validation.mean;
                if best.as_ref().is_none_or(|(_, best)| nats > best.outcome.validation.mean) {
                    best = Some((step_size, model));
                }
                Some(nats)
            }
            Err(Error::Diverged(_)) => None,
            Err(other) => return Err(other),
        };
        tried.push(json!({ "step_size": step_size, "validation_nats": nats }));
    }
    let (step_size, model) =
        best.ok_or_else(|| Error::Diverged(format!("{SET}: {method} diverged at every step size of {STEP_SIZES:?}")))?;
    Ok((step_size, model, tried))
}

/// One output of the layer.
struct Component {
    /// Its column of W⁻¹ in units of the recording, times its standard deviation.
    map: Vec<f64>,
    /// Of the channels' summed variance, as if components were uncorrelated.
    share: f64,
    /// Fourth moment over squared variance, minus 3.
    excess_kurtosis: f64,
}

impl Component {
    fn number(&self) -> Value {
        json!({ "map": self.map, "variance_share": self.share, "excess_kurtosis": self.excess_kurtosis })
    }
}

/// The components of a model, those that make most of the variance first.
fn components(
    context: &Context<'_>,
    entry: &Entry,
    set: &DataSet,
    name: &str,
    settings: &TrainingSettings,
) -> Result<Vec<Component>> {
    let recipe = Recipe::of(settings, set.parts.dim())?;
    let (device, parameters) = model::best_model::<f64>(&context.model_dir(name), &recipe)?;
    let failed = |cause: relgrad_kernels::Error| Error::Diverged(format!("the unmixing cannot be inverted: {cause}"));
    let mixing = mixing(&device, &parameters).map_err(failed)?;
    let moments = moments(&device, &parameters, &set.parts.train).map_err(failed)?;
    let units = recording::deviations(entry, &entry.folder(context.data.as_deref())?)?;
    let columns = mixing.chunks_exact(units.len()).zip(moments);
    let mut found: Vec<Component> = columns.map(|(column, moments)| component(column, moments, &units)).collect();
    let whole: f64 = found.iter().map(|component| component.share).sum();
    found.iter_mut().for_each(|component| component.share /= whole);
    found.sort_by(|a, b| b.share.total_cmp(&a.share));
    Ok(found)
}

fn component(column: &[f64], (deviation, excess_kurtosis): (f64, f64), units: &[f64]) -> Component {
    let map: Vec<f64> = column.iter().zip(units).map(|(a, unit)| a * unit * deviation).collect();
    let share = map.iter().map(|a| a * a).sum();
    Component { map, share, excess_kurtosis }
}

/// W⁻¹, D×D column-major: the inverse of the unit vectors, without that of 0, which the bias makes.
fn mixing(device: &Cpu, parameters: &Parameters<Cpu, f64>) -> relgrad_kernels::Result<Vec<f64>> {
    let dim = parameters.architecture().dim;
    let inverter = Inverter::new(device, parameters)?;
    let (mut columns, mut zero) = (vec![0.0; dim * dim], vec![0.0; dim]);
    (0..dim).for_each(|i| columns[i * (dim + 1)] = 1.0);
    inverter.invert(&mut columns)?;
    inverter.invert(&mut zero)?;
    columns.iter_mut().zip(zero.iter().cycle()).for_each(|(a, zero)| *a -= zero);
    Ok(columns)
}

/// Standard deviation and excess kurtosis of every output.
fn moments(
    device: &Cpu,
    parameters: &Parameters<Cpu, f64>,
    samples: &Samples,
) -> relgrad_kernels::Result<Vec<(f64, f64)>> {
    let (dim, count) = (samples.dim, samples.count());
    let x = Matrix::from_column_major(device, &samples.values, dim, count, "samples")?;
    let mut evaluator = Evaluator::new(device, parameters.architecture(), count)?;
    evaluator.data_terms(device, parameters, x.view())?;
    let outputs: Vec<f64> = device.to_host(evaluator.latents())?;
    let of = |i: usize| {
        let values = || outputs.iter().skip(i).step_by(dim);
        let mean = values().sum::<f64>() / count as f64;
        let moment = |power: i32| values().map(|z| (z - mean).powi(power)).sum::<f64>() / count as f64;
        (moment(2).sqrt(), moment(4) / moment(2).powi(2) - 3.0)
    };
    Ok((0..dim).map(of).collect())
}

fn maps(context: &Context<'_>, entry: &Entry, components: &[Component]) -> Result<ScalpMaps> {
    let electrodes: Vec<Electrode> = recording::electrodes(entry, &entry.folder(context.data.as_deref())?)?;
    // Those beside the eyes are no places of the scalp.
    let is_shown: Vec<bool> = electrodes.iter().map(|electrode| !electrode.name.starts_with("EOG")).collect();
    let shown = |values: &[f64]| {
        oriented(values.iter().zip(&is_shown).filter(|(_, shown)| **shown).map(|(value, _)| *value).collect())
    };
    let map = |(i, component): (usize, &Component)| ScalpMap {
        title: format!("{}: {:.1} %", i + 1, 100.0 * component.share),
        values: shown(&component.map),
    };
    Ok(ScalpMaps {
        across: ACROSS,
        electrodes: electrodes.iter().zip(&is_shown).filter(|of| *of.1).map(|of| of.0.place).collect(),
        maps: components.iter().take(ACROSS * LINES).enumerate().map(map).collect(),
    })
}

/// The same, or its negative, so that the largest value is positive: a component has no sign of its own.
fn oriented(values: Vec<f64>) -> Vec<f64> {
    let largest = values.iter().copied().fold(0.0, |most: f64, a| if a.abs() > most.abs() { a } else { most });
    values.into_iter().map(|a| a * largest.signum()).collect()
}

fn note(components: &[Component]) -> String {
    let first = components.first().map_or(0.0, |component| 100.0 * component.share);
    let heavy = components.iter().filter(|component| component.excess_kurtosis > 1.0).count();
    format!(
        "EEG: 30,504 moments of 32 channels in an order of their own, standardised, whitened by the start, batches of \
         100, plain steps of a cosine schedule, f64. Log-likelihoods are of the test part, ± two standard errors; \
         moments next to each other are alike, so that they are too small. Maps: columns of W⁻¹ in units of the \
         recording at the 30 electrodes of the scalp, seen from above, orange where a map's largest value is, by share \
         of the variance; between electrodes the colour is an average. The first makes {first:.0} %; {heavy} of {} \
         components have an excess kurtosis above 1. There are no true sources to compare with.",
        components.len()
    )
}

#[cfg(test)]
mod tests {
    use relgrad_kernels::{Architecture, Init, init};

    use super::*;

    /// W times the columns is the identity, whatever the bias.
    #[test]
    fn columns_of_the_inverse_undo_the_weight() {
        let (device, dim) = (Cpu::new(1), 5);
        let architecture = Architecture { bias: true, ..Architecture::new(dim, 1) };
        let network = init::network(&device, &architecture, Init::ScaledGaussian, 3).unwrap();
        let (columns, weight) = (mixing(&device, &network).unwrap(), &network.arrays().weights[0]);
        let weight: Vec<f64> = weight.to_column_major(&device).unwrap();
        for (i, column) in columns.chunks_exact(dim).enumerate() {
            for row in 0..dim {
                let sum: f64 = (0..dim).map(|j| weight[j * dim + row] * column[j]).sum();
                assert!((sum - f64::from(u8::from(i == row))).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn a_map_has_units_and_a_positive_largest_value() {
        let Component { map, share, .. } = component(&[0.5, -2.0], (3.0, 1.0), &[10.0, 1.0]);
        assert_eq!((&map[..], share), (&[15.0, -6.0][..], 261.0));
        assert_eq!(oriented(map), [15.0, -6.0]);
        assert_eq!(oriented(vec![1.0, -2.0]), [-1.0, 2.0]);
    }
}
