//! Likelihood for the money: every method trains the same networks from the same starts by plain steps.
//!
//! The rule is one for all: the step size is the best of a grid on the validation part, which goes on where its best is
//! at an end. The trainings that count are those of that step size from several seeds, stopped by the same patience.

use relgrad_kernels::{Method, cost};
use relgrad_reports::experiment::{Curve, Figure, LinePanel};
use relgrad_reports::training::{Epoch, Nats, Outcome, TrainingSettings};
use relgrad_reports::units;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::kept::{self, KeptTraining};
use super::{Context, Effort, Findings, figures, lines, table, texts};
use crate::data::DataSet;
use crate::data::catalogue::ENTRIES;
use crate::error::{Error, Result};
use crate::machine::linux;
use crate::measure::cell::memory;
use crate::train::recipe::Recipe;
use crate::train::trainer::Trained;

/// A set, and the smallest step size of its grid.
struct Contest {
    data: &'static str,
    smallest_step: f64,
    layers: usize,
}

const TOYS: [Contest; 2] = [
    Contest { data: "toy:moons", smallest_step: 2e-3, layers: 6 },
    Contest { data: "toy:8gaussians", smallest_step: 2e-3, layers: 6 },
];
const PATCHES: Contest = Contest { data: "bsds300", smallest_step: 1e-4, layers: 2 };

/// Step sizes are the smallest one times these,
const GRID: [f64; 5] = [1.0, 5.0, 25.0, 125.0, 625.0];
/// and so much less or more, at most so often, while the best one is at an end.
const FURTHER: (f64, usize) = (5.0, 3);
/// Epochs without a better validation likelihood after which a training stops.
const PATIENCE: usize = 10;

/// Those that train by a direction of their own. The in-place step is what `relative` takes with plain steps anyway,
/// and full Jacobians give the direction of `ordinary`.
fn competes(method: Method) -> bool {
    !method.name().starts_with("autodiff") && !matches!(method, Method::RelativeInPlace)
}

/// What became of one method on one set.
struct Competitor {
    data: String,
    method: Method,
    /// Absent where every step size of the grid diverged.
    chosen: Option<Chosen>,
    /// Step size and best validation likelihood; none where it diverged.
    tried: Vec<(f64, Option<f64>)>,
}

struct Chosen {
    step_size: f64,
    /// Bytes that parameters, batch and a step take, by the cost model that sweeps compare with peaks.
    step_bytes: f64,
    /// One a seed; the first is the training of the grid.
    models: Vec<Learned>,
    /// Further seeds that diverged.
    lost_seeds: usize,
}

/// A training of one seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Learned {
    seed: u64,
    outcome: Outcome,
    epochs: Vec<Epoch>,
    /// Bytes that it took at most, beyond what the process held.
    peak_bytes: Option<f64>,
    /// Energy that the processor took meanwhile, evaluation included.
    joules: Option<f64>,
}

impl Chosen {
    /// Mean over the seeds, and twice its standard error.
    fn over_seeds(&self, of: impl Fn(&Learned) -> f64) -> Nats {
        let values: Vec<f64> = self.models.iter().map(of).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Nats { mean, two_standard_errors: (values.len() > 1).then(|| 2.0 * (variance / count).sqrt()) }
    }

    fn test(&self) -> Nats {
        self.over_seeds(|model| model.outcome.test.mean)
    }

    fn seconds(&self) -> f64 {
        self.over_seeds(|model| model.outcome.seconds).mean
    }
}

/// Trains all that compete on every set at hand.
pub(crate) fn run(context: &mut Context<'_>) -> Result<Findings> {
    let images = Contest { data: "", smallest_step: 1e-4, layers: 2 };
    let courses = TOYS.into_iter().chain([images, PATCHES]);
    let mut entries = Vec::new();
    for course in courses {
        let data = if course.data.is_empty() { context.images.clone() } else { course.data.to_string() };
        if !data.starts_with("toy:") && !is_at_hand(context, &data) {
            context.say(&format!("{data} is not at hand: left out (set the folder of data sets with --data)"));
            continue;
        }
        let set = context.load(&data, toy_samples(context))?;
        for method in Method::ALL.into_iter().filter(|method| competes(*method)) {
            entries.push(compete(context, &course, &set, method)?);
        }
    }
    Ok(findings(context, &entries))
}

fn toy_samples(context: &Context<'_>) -> usize {
    context.effort.pick(500, 2000, 10_000)
}

fn is_at_hand(context: &Context<'_>, data: &str) -> bool {
    ENTRIES.iter().any(|entry| entry.name == data && entry.is_at_hand(context.data.as_deref()))
}

fn settings(context: &Context<'_>, course: &Contest, set: &DataSet, method: Method) -> TrainingSettings {
    let mut settings = context.settings(&set.name);
    settings.toy_samples = toy_samples(context);
    settings.method = method;
    settings.optimizer = "sgd".to_string();
    settings.epochs = context.effort.pick(2, 5, 20);
    settings.schedule = "cosine".to_string();
    // One rule for all: methods that keep numbers beside the weights have no estimate.
    settings.edge = None;
    settings.init = "standardise".to_string();
    settings.layers = course.layers;
    settings.patience = Some(PATIENCE);
    settings
}

/// The grid, then the other seeds of its best step size.
fn compete(context: &mut Context<'_>, course: &Contest, set: &DataSet, method: Method) -> Result<Competitor> {
    let (mut best, mut tried) = (None::<(f64, Learned)>, Vec::new());
    let first_seed = settings(context, course, set, method).seed;
    let mut next: Vec<f64> = GRID.iter().rev().map(|factor| course.smallest_step * factor).collect();
    while let Some(step_size) = next.pop() {
        let found = train(context, course, set, (method, step_size, first_seed))?;
        let score = found.as_ref().map(|model| model.outcome.validation.mean);
        let told = score.map_or("diverged".to_string(), |score| format!("{score:.3} nats of validation"));
        context.say(&format!("{}: {method}, step size {step_size}: {told}", set.name));
        tried.push((step_size, score));
        tried.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        if let Some(model) = found
            && best.as_ref().is_none_or(|(_, best)| model.outcome.validation.mean > best.outcome.validation.mean)
        {
            best = Some((step_size, model));
        }
        if next.is_empty() && tried.len() < GRID.len() + FURTHER.1 {
            next.extend(beyond(&tried, best.as_ref().map(|(step_size, _)| *step_size)));
        }
    }
    let Some((step_size, model)) = best else {
        return Ok(Competitor { data: set.name.clone(), method, chosen: None, tried });
    };
    let (mut models, mut lost_seeds) = (vec![model], 0);
    for seed in 1..context.effort.pick(1, 3, 3) {
        match train(context, course, set, (method, step_size, first_seed.wrapping_add(seed)))? {
            Some(model) => models.push(model),
            None => lost_seeds += 1,
        }
    }
    let recipe = Recipe::of(&settings(context, course, set, method), set.parts.dim())?;
    let model = cost(method, &recipe.architecture, recipe.batch, recipe.dtype);
    let step_bytes = model.map_err(|cause| Error::Usage(cause.to_string()))?.expected_bytes;
    Ok(Competitor {
        data: set.name.clone(),
        method,
        chosen: Some(Chosen { step_size, step_bytes, models, lost_seeds }),
        tried,
    })
}

/// The step size after the end of the sorted grid at which the best one is; a smaller one where all diverged.
fn beyond(tried: &[(f64, Option<f64>)], best: Option<f64>) -> Option<f64> {
    let (smallest, largest) = (tried.first()?.0, tried.last()?.0);
    match best {
        Some(best) if best == largest => Some(largest * FURTHER.0),
        Some(best) if best > smallest => None,
        _ => Some(smallest / FURTHER.0),
    }
}

/// A training, read where an earlier run left it; `None` where it diverged.
fn train(
    context: &mut Context<'_>,
    course: &Contest,
    set: &DataSet,
    (method, step_size, seed): (Method, f64, u64),
) -> Result<Option<Learned>> {
    context.check_interrupt()?;
    let mut settings = settings(context, course, set, method);
    (settings.learning_rate, settings.seed) = (step_size, seed);
    let name = format!("{}-{method}-{step_size:e}-{seed}.json", set.name.replace(':', "-"));
    let path = kept::folder(context.out, "rivals")?.join(name);
    if let Some(kept) = KeptTraining::find(context, &path)
        && (&kept.settings, &kept.data) == (&settings, &set.facts())
    {
        return Ok(kept.model);
    }
    let recipe = Recipe::of(&settings, set.parts.dim())?;
    let before = memory::resident().filter(|_| memory::reset_high_water());
    let energy = linux::package_joules();
    let trained = kept::train(context, &recipe, &set.parts)?;
    let model = trained.map(|Trained { epochs, outcome }| {
        let bytes = before.zip(memory::high_water()).map(|(before, most)| most.saturating_sub(before) as f64);
        // A counter that went round says nothing.
        let joules = energy.zip(linux::package_joules()).map(|(from, to)| to - from).filter(|joules| *joules >= 0.0);
        Learned { seed, outcome, epochs, peak_bytes: bytes, joules }
    });
    let left = KeptTraining::new(settings, set.facts(), model);
    left.write(&path)?;
    Ok(left.model)
}

fn findings(context: &Context<'_>, entries: &[Competitor]) -> Findings {
    let columns = [
        "set",
        "method",
        "step size",
        "test (nats), ± 2 standard errors over seeds",
        "training time",
        "memory of a step, by the model",
        "energy",
        "step sizes that diverged",
    ];
    Findings {
        numbers: json!({ "grid": GRID, "entries": entries.iter().map(numbers).collect::<Vec<_>>() }),
        table: table(columns, entries.iter().map(cells).collect()),
        notes: notes(context),
        figure: Figure::Lines { panels: panels(entries) },
    }
}

fn numbers(Competitor { data, method, chosen, tried }: &Competitor) -> Value {
    let chosen = chosen.as_ref().map(|chosen| {
        json!({ "step_size": chosen.step_size, "step_bytes": chosen.step_bytes, "test": chosen.test(),
            "lost_seeds": chosen.lost_seeds, "models": chosen.models })
    });
    json!({ "data": data, "method": method.name(), "chosen": chosen, "tried": tried })
}

fn cells(Competitor { data, method, chosen, tried }: &Competitor) -> Vec<String> {
    let diverged = tried.iter().filter(|(_, score)| score.is_none()).count().to_string();
    let Some(chosen) = chosen else {
        return texts([data, method.name(), "–", "every step size diverged", "–", "–", "–", &diverged]);
    };
    let is_edge = [tried.first(), tried.last()].into_iter().flatten().any(|(step, _)| *step == chosen.step_size);
    let edge = if is_edge { " (edge of the grid)" } else { "" };
    vec![
        data.clone(),
        method.to_string(),
        format!("{}{edge}", units::plain(chosen.step_size)),
        match chosen.lost_seeds {
            0 => chosen.test().to_string(),
            lost => format!("{} ({} diverged)", chosen.test(), units::counted(lost, "seed")),
        },
        units::seconds(chosen.seconds()),
        units::bytes(chosen.step_bytes),
        chosen.models[0].joules.map_or("–".to_string(), |joules| format!("{joules:.0} J")),
        diverged,
    ]
}

/// One panel a set: validation likelihood against seconds, a curve a method.
fn panels(entries: &[Competitor]) -> Vec<LinePanel> {
    let mut sets: Vec<&str> = entries.iter().map(|entry| entry.data.as_str()).collect();
    sets.dedup();
    let panel = |set: &str| {
        let curve = |(method, model): (Method, &Learned)| Curve {
            name: method.to_string(),
            points: model.epochs.iter().map(|epoch| (epoch.seconds, epoch.validation_nats)).collect(),
        };
        let of_set = entries.iter().filter(|entry| entry.data == set);
        let first = |entry: &Competitor| entry.chosen.as_ref().map(|chosen| curve((entry.method, &chosen.models[0])));
        let curves: Vec<Curve> = of_set.filter_map(first).collect();
        let range = figures::range_of_curves(&curves);
        let titles = [format!("{set}: time (s)"), "validation log-likelihood (nats)".to_string()];
        let panel = lines(titles.each_ref().map(String::as_str), range, curves, Vec::new());
        // Methods differ by factors of time.
        LinePanel { logarithmic: true, ..panel }
    };
    sets.into_iter().map(panel).collect()
}

fn notes(context: &Context<'_>) -> Vec<String> {
    let mut notes = texts([
        "Plain steps, batches of 100, f32, a first layer that standardises the data; step sizes fall to 0 by a cosine. \
         The step size is the best of five on the validation part, and of up to three further ones where that is at \
         an end of the grid; all methods have the same rule, patience and epochs.",
        "Time is that of the steps, without evaluation. Memory is that of parameters, batch and work, which the peaks \
         of sweeps are compared with. Energy is that of the processor's packages over the first training, evaluation \
         included, where the system tells it.",
        "In plain steps `relative` and `transposed` store no gradient.",
    ]);
    if context.effort != Effort::Full {
        notes.push("A shortened experiment: likelihoods rise with --effort full.".to_string());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_goes_on_where_its_best_is_at_an_end() {
        let tried = |scores: [Option<f64>; 3]| [0.1, 0.5, 2.5].into_iter().zip(scores).collect::<Vec<_>>();
        let all = tried([Some(-3.0), Some(-2.0), Some(-1.0)]);
        assert_eq!(beyond(&all, Some(2.5)), Some(12.5));
        assert_eq!(beyond(&all, Some(0.5)), None);
        assert_eq!(beyond(&all, Some(0.1)), Some(0.02));
        assert_eq!(beyond(&tried([None; 3]), None), Some(0.02));
        assert_eq!(beyond(&[], None), None);
    }
}
