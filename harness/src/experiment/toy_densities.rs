//! Figures 2 and 5: samples of toy densities beside what a deep network learned of them.

use std::iter;

use relgrad_kernels::parameters::Parameters;
use relgrad_kernels::{Activation, Cpu, Dtype, Scalar};
use relgrad_reports::experiment::{DensityPanel, DensityRow, Figure};
use relgrad_reports::training::{Outcome, TrainingSettings};
use serde_json::json;

use super::{Context, Effort, Findings, signed};
use crate::data::DataSet;
use crate::data::toy::Toy;
use crate::error::{Error, Result};
use crate::train::learner::Tracking;
use crate::train::recipe::Recipe;
use crate::train::start::Start;
use crate::train::{model, network};

/// A mixture of Gaussians, half moons and a sine.
pub(crate) const FIGURE_2: &[Toy] = &[Toy::Mixture, Toy::Moons, Toy::Sine];
/// The list of the authors' code.
pub(crate) const FIGURE_5: &[Toy] =
    &[Toy::EightGaussians, Toy::Smile, Toy::Spirals, Toy::Checkerboard, Toy::Rings, Toy::Trimodal];

/// Optimiser of each column. Adam on the entries made one layer of a hundred nearly singular on rings, and what was
/// learned was lost at steps of any size; trainings in relative coordinates \[M94\] had no such layer.
const OPTIMIZERS: [&str; 2] = ["sgd", "equivariant-adam"];

/// A layer of two units has entries near 1 throughout, so that Adam's published 10⁻³ moves little in a short training.
fn step_size(optimizer: &str, effort: Effort) -> f64 {
    if optimizer == "sgd" { effort.pick(0.005, 0.005, 0.002) } else { effort.pick(0.01, 0.01, 0.003) }
}

/// What 100 layers need besides to learn a density, all of them a start that standardises what each layer receives:
/// the noise that training samples have at first, and a slope of s_L nearer to 1.
///
/// By SGD rings are at -3.05 nats without and at -3.34 with them, so that only Adam has those of the last two.
struct Aids {
    noise: f64,
    alpha: f64,
}

fn aids(toy: Toy, optimizer: &str) -> Option<Aids> {
    match (toy, optimizer) {
        (Toy::Spirals, _) => Some(Aids { noise: 0.3, alpha: 0.3 }),
        (Toy::Checkerboard, "equivariant-adam") => Some(Aids { noise: 0.2, alpha: 0.6 }),
        (Toy::Rings, "equivariant-adam") => Some(Aids { noise: 0.3, alpha: 0.5 }),
        _ => None,
    }
}

/// Nats that epochs may end below the best one; where they stay further below, steps have thrown the network out, and
/// training goes back. A hundred layers that fit for long enough get steep, and a step that was right at the start then
/// leaves the numbers. Plain steps waver by more at first and come back by themselves: with 0.3, eight Gaussians went
/// back five times in 540 epochs, and ended 0.09 nats lower for the small steps that were left.
fn rewind_nats(optimizer: &str) -> f64 {
    if optimizer == "sgd" { 1.0 } else { 0.3 }
}

/// Cells a side of a density's picture.
const SIDE: usize = 96;

const SHOWN: usize = 2000;

/// One trained model of one density.
struct Fit {
    optimizer: &'static str,
    step_size: f64,
    /// How often training went back to its best network, with half the step size.
    returns: usize,
    outcome: Outcome,
    panel: DensityPanel,
}

/// Trains every density with both optimisers.
pub(crate) fn run(context: &mut Context<'_>, shown: &[Toy]) -> Result<Findings> {
    let toys = if context.effort == Effort::Smoke { &shown[..1] } else { shown };
    let settings = settings(context, toys.len());
    let (mut rows, mut table, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for &toy in toys {
        let set = context.load(&format!("toy:{}", toy.name()), settings.toy_samples)?;
        let window = window(&set);
        let mut fits = Vec::new();
        for optimizer in OPTIMIZERS {
            fits.push(fit(context, &set, window, optimizer, &helped(&settings, toy, optimizer))?);
        }
        let entropy = set.entropy_nats;
        let mut cells = vec![toy.name().to_string()];
        cells.extend(fits.iter().map(|fit| fit.outcome.test.to_string()));
        cells.push(entropy.map_or("unknown".to_string(), |h| signed(-h, 3)));
        table.push(cells);
        for fit in &fits {
            numbers.push(json!({ "density": toy.name(), "optimizer": fit.optimizer, "step_size": fit.step_size,
                "returns": fit.returns, "outcome": fit.outcome, "minus_entropy_nats": entropy.map(|h| -h) }));
        }
        rows.push(DensityRow {
            name: toy.name().to_string(),
            window,
            samples: set.parts.train.first(SHOWN).iter().map(|x| [x[0], x[1]]).collect(),
            densities: fits.into_iter().map(|fit| fit.panel).collect(),
        });
    }
    let columns =
        ["density", "SGD: held-out log-likelihood (nats)", "equivariant Adam: the same", "minus the true entropy"];
    Ok(Findings {
        numbers: json!({ "layers": settings.layers, "epochs": settings.epochs, "fits": numbers }),
        table: super::table(columns, table),
        notes: notes(context.effort, &settings, toys),
        figure: Figure::Densities { rows },
    })
}

/// What all trainings of a figure of so many densities share.
fn settings(context: &Context<'_>, toys: usize) -> TrainingSettings {
    TrainingSettings {
        layers: context.effort.pick(10, 100, 100),
        epochs: context.effort.pick(3, quick_epochs(toys), 4000),
        toy_samples: context.effort.pick(1000, 10_000, 10_000),
        schedule: "cosine".to_string(),
        dtype: Dtype::F64,
        init: "standardise".to_string(),
        threads: 1,
        checkpoint_every: 10,
        ..context.settings("")
    }
}

/// Those of one density by one optimiser.
fn helped(shared: &TrainingSettings, toy: Toy, optimizer: &str) -> TrainingSettings {
    let rewind = Some(rewind_nats(optimizer));
    let mut settings = TrainingSettings { data: format!("toy:{}", toy.name()), rewind, ..shared.clone() };
    if let Some(Aids { noise, alpha }) = aids(toy, optimizer) {
        settings.init = Start::StandardiseLayers.to_string();
        settings.noise = Some(noise);
        settings.activation = Activation::SmoothLeaky { alpha };
    }
    settings
}

/// Under a minute for all of them at 0.03 s an epoch, and three at 0.15 s.
fn quick_epochs(toys: usize) -> usize {
    540_usize.div_ceil(toys)
}

fn notes(effort: Effort, settings: &TrainingSettings, toys: &[Toy]) -> Vec<String> {
    let TrainingSettings { layers, epochs, .. } = settings;
    let rates = OPTIMIZERS.map(|name| format!("{name} {}", step_size(name, effort))).join(", ");
    let falls = OPTIMIZERS.map(|name| format!("{} ({name})", rewind_nats(name))).join(" or ");
    let setting = format!(
        "Relative gradient, {layers} layers, s_L with α = 0.3, biases, batches of 100, {epochs} epochs, f64. Step \
         sizes {rates}, falling to 0 over the training. Epochs that stayed {falls} nats below the best one, \
         or left the numbers, were undone and the step size halved (`returns` in the numbers). The step sizes are ours."
    );
    let fits = toys.iter().flat_map(|toy| OPTIMIZERS.map(|optimizer| (*toy, optimizer)));
    let helped = fits.filter_map(|(toy, optimizer)| Some((toy.name(), optimizer, aids(toy, optimizer)?)));
    let told = helped.map(|(name, optimizer, Aids { noise, alpha })| {
        format!(
            "{name} by {optimizer}: every layer standardised at the start; noise of standard deviation {noise} on the \
             samples at first, which falls to 0 over half of the steps; α = {alpha}."
        )
    });
    let common = [
        "Darker is denser: the shade is the root of the density, scaled in each panel separately. Left: samples.",
        "No model of continuous invertible layers can leave a region empty. Thin bridges between the parts of a \
         density come from the model, as in the paper's figures.",
    ];
    iter::once(setting).chain(told).chain(common.map(str::to_string)).collect()
}

/// Trains one density with one optimiser, and draws what was learned.
fn fit(
    context: &mut Context<'_>,
    set: &DataSet,
    window: [f64; 4],
    optimizer: &'static str,
    shared: &TrainingSettings,
) -> Result<Fit> {
    let step_size = step_size(optimizer, context.effort);
    context.say(&format!("{} with {optimizer}, step size {step_size}", set.name));
    let mut settings = shared.clone();
    settings.optimizer = optimizer.to_string();
    settings.learning_rate = step_size;
    let name = format!("{}-{optimizer}-{step_size}", set.name.replace("toy:", ""));
    let recipe = Recipe::of(&settings, 2)?;
    let model = context.model(&name, settings, set, Tracking::Off)?;
    let returns = model.epochs.iter().filter(|epoch| epoch.rejected_steps > Some(0)).count();
    let (device, parameters) = model::best_model::<f64>(&context.model_dir(&name), &recipe)?;
    let outcome = model.outcome;
    let values = density(&device, &parameters, window)?;
    let name = if optimizer == "sgd" { "SGD" } else { "equivariant Adam" };
    let title = format!("{name}: {} nats", signed(outcome.test.mean, 3));
    let panel = DensityPanel { title, side: SIDE, values };
    Ok(Fit { optimizer, step_size, returns, outcome, panel })
}

/// p(x) at the cells' centres, rows from the top.
fn density<T: Scalar>(device: &Cpu, parameters: &Parameters<Cpu, T>, window: [f64; 4]) -> Result<Vec<f32>> {
    let [left, right, low, high] = window;
    let at = |from: f64, to: f64, i: usize| T::of(from + (to - from) * (i as f64 + 0.5) / SIDE as f64);
    let grid: Vec<T> =
        (0..SIDE).flat_map(|i| (0..SIDE).flat_map(move |j| [at(left, right, j), at(high, low, i)])).collect();
    let logs = network::log_likelihoods(device, parameters, &grid, &[])
        .map_err(|cause| Error::Diverged(format!("the learned density cannot be drawn: {cause}")))?;
    Ok(logs.into_iter().map(|log| log.exp() as f32).collect())
}

/// A square around all training samples.
fn window(set: &DataSet) -> [f64; 4] {
    let range = |column: usize| {
        let values = set.parts.train.iter().map(|x| x[column]);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    let ((left, right), (low, high)) = (range(0), range(1));
    let half = 0.55 * (right - left).max(high - low);
    let (x, y) = (0.5 * (left + right), 0.5 * (low + high));
    [x - half, x + half, y - half, y + half]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_density_is_in_a_figure() {
        let shown = [FIGURE_2, FIGURE_5].concat();
        assert!(Toy::ALL.iter().all(|toy| shown.contains(toy)));
    }
}
