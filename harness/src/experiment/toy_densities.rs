//! Figures 2 and 5: samples of toy densities beside what a deep network learned of them.

use relgrad_kernels::parameters::Parameters;
use relgrad_kernels::{Cpu, Scalar};
use relgrad_reports::experiment::{DensityPanel, DensityRow, Figure, Table};
use relgrad_reports::training::{Nats, Outcome, Stop};
use serde_json::json;

use super::{Context, Findings};
use crate::data::DataSet;
use crate::data::toy::Toy;
use crate::error::{Error, Result};
use crate::train::evaluate;
use crate::train::learner::Tracking;
use crate::train::recipe::Recipe;
use crate::train::trainer::{self, Job, Trained};

/// Which densities a figure shows.
pub(crate) struct Plan {
    toys: &'static [Toy],
}

/// A mixture of Gaussians, half moons and a sine.
pub(crate) const FIGURE_2: Plan = Plan { toys: &[Toy::Mixture, Toy::Moons, Toy::Sine] };

/// The list of the authors' code.
pub(crate) const FIGURE_5: Plan = Plan {
    toys: &[Toy::EightGaussians, Toy::Smile, Toy::Spirals, Toy::Checkerboard, Toy::Rings, Toy::Trimodal],
};

/// Optimiser and step size of each column.
const OPTIMIZERS: [(&str, f64); 2] = [("sgd", 0.01), ("adam", 1e-3)];

/// Of the step size: what is tried last.
const LEAST_SHARE: f64 = 0.1;

/// Cells a side of a density's picture.
const SIDE: usize = 96;

/// Samples shown.
const SHOWN: usize = 2000;

/// One trained model of one density.
struct Fit {
    optimizer: &'static str,
    step_size: f64,
    outcome: Outcome,
    panel: DensityPanel,
}

/// Trains every density with both optimisers.
pub(crate) fn run(context: &mut Context<'_>, plan: &Plan) -> Result<Findings> {
    let toys = if context.effort == super::Effort::Smoke { &plan.toys[..1] } else { plan.toys };
    let layers = context.effort.pick(10, 100, 100);
    let epochs = context.effort.pick(3, quick_epochs(toys.len()), 300);
    let (mut rows, mut table, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for &toy in toys {
        let set = context.load(&format!("toy:{}", toy.name()), context.effort.pick(1000, 10_000, 10_000))?;
        let window = window(&set);
        let mut fits = Vec::new();
        for (optimizer, step_size) in OPTIMIZERS {
            fits.push(fit(context, &set, window, (optimizer, step_size), (layers, epochs))?);
        }
        let entropy = set.entropy_nats;
        let mut cells = vec![toy.name().to_string()];
        cells.extend(fits.iter().map(|fit| fit.outcome.test.to_string()));
        cells.push(entropy.map_or("unknown".to_string(), |h| format!("{:.3}", -h).replace('-', "−")));
        table.push(cells);
        for fit in &fits {
            numbers.push(json!({ "density": toy.name(), "optimizer": fit.optimizer, "step_size": fit.step_size, "outcome": fit.outcome,
                "minus_entropy_nats": entropy.map(|h| -h) }));
        }
        rows.push(DensityRow {
            name: toy.name().to_string(),
            window,
            samples: set.parts.train.first(SHOWN).iter().map(|x| [x[0], x[1]]).collect(),
            densities: fits.into_iter().map(|fit| fit.panel).collect(),
        });
    }
    let columns =
        ["density", "SGD: held-out log-likelihood (nats)", "Adam: the same", "minus the true entropy"];
    Ok(Findings {
        numbers: json!({ "layers": layers, "epochs": epochs, "fits": numbers }),
        table: Table { columns: columns.map(str::to_string).to_vec(), rows: table },
        notes: notes(layers, epochs),
        figure: Figure::Densities { rows },
    })
}

/// A minute and a half for all of them, at about 0.2 s an epoch.
fn quick_epochs(toys: usize) -> usize {
    60_usize.div_ceil(toys).max(10)
}

fn notes(layers: usize, epochs: usize) -> Vec<String> {
    let rates = OPTIMIZERS.map(|(name, rate)| format!("{name} {rate}")).join(", ");
    vec![
        format!(
            "Relative gradient, {layers} layers, s_L with α = 0.3, biases, batches of 100, {epochs} epochs, f64; step \
             sizes {rates}, falling to 0 over the training, and halved where a training left the numbers (`step_size` in the \
             numbers; ours, the paper's table of rates is not part of this project)."
        ),
        "The darker, the denser; the scale is that of the root of the density, each panel on its own. Left: samples."
            .to_string(),
        "No model of continuous invertible layers can leave a region empty: thin bridges between the parts of a density \
         are the model's, as in the paper's figures."
            .to_string(),
    ]
}

/// Trains with the step size, or half of it as often as it takes: a hundred layers that fit for long enough get steep, and
/// a step that was right at the start then leaves the numbers.
fn fit(
    context: &mut Context<'_>,
    set: &DataSet,
    window: [f64; 4],
    (optimizer, first_step_size): (&'static str, f64),
    (layers, epochs): (usize, usize),
) -> Result<Fit> {
    let mut step_size = first_step_size;
    let trained: Trained<f64> = loop {
        let mut settings = context.settings(&set.name);
        settings.optimizer = optimizer.to_string();
        settings.learning_rate = step_size;
        settings.schedule = "cosine".to_string();
        settings.layers = layers;
        settings.epochs = epochs;
        settings.dtype = "f64".to_string();
        settings.init = "standardise".to_string();
        settings.threads = 1;
        let recipe = Recipe::of(&settings, 2)?;
        context.say(&format!("{} with {optimizer}, step size {step_size}", set.name));
        let job = Job {
            recipe: &recipe,
            data: &set.parts,
            store: None,
            time_limit_seconds: None,
            label: "",
            quiet: true,
            tracking: Tracking::Off,
        };
        match trainer::train(&job, context.events) {
            Err(Error::Diverged(_)) if step_size > LEAST_SHARE * first_step_size => step_size /= 2.0,
            other => break other?,
        }
    };
    if trained.outcome.stop == Stop::Interrupted {
        return Err(Error::Interrupted(context.resume_hint()));
    }
    let values = density(&trained.device, &trained.parameters, window)?;
    let test = trained.outcome.test;
    let title = format!("{}: {} nats", if optimizer == "sgd" { "SGD" } else { "Adam" }, short(test));
    let panel = DensityPanel { title, side: SIDE, values };
    Ok(Fit { optimizer, step_size, outcome: trained.outcome, panel })
}

fn short(nats: Nats) -> String {
    format!("{:.3}", nats.mean).replace('-', "−")
}

/// p(x) at the cells' centres, rows from the top.
fn density<T: Scalar>(device: &Cpu, parameters: &Parameters<Cpu, T>, window: [f64; 4]) -> Result<Vec<f32>> {
    let [left, right, low, high] = window;
    let at = |from: f64, to: f64, i: usize| T::of(from + (to - from) * (i as f64 + 0.5) / SIDE as f64);
    let grid: Vec<T> =
        (0..SIDE).flat_map(|i| (0..SIDE).flat_map(move |j| [at(left, right, j), at(high, low, i)])).collect();
    let logs = evaluate::log_likelihoods(device, parameters, &grid)
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
    use std::str::FromStr;

    use super::*;

    #[test]
    fn every_density_is_in_a_figure() {
        let shown: Vec<Toy> = [FIGURE_2.toys, FIGURE_5.toys].concat();
        for toy in Toy::ALL {
            assert!(shown.contains(&toy) && Toy::from_str(toy.name()).is_ok());
        }
    }
}
