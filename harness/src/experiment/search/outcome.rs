//! What a search tells: the best of each set beside the paper's row, and how the others stood.

use relgrad_reports::experiment::{Curve, Figure, Level, LinePanel};
use relgrad_reports::training::{Nats, Outcome, Provenance, TrainingSettings};
use relgrad_reports::units;
use serde_json::{Value, json};

use super::Tried;
use super::grid::{self, Grid, PATIENCE};
use crate::data::catalogue::{ENTRIES, PAPER};
use crate::error::{Error, Result};
use crate::experiment::{Context, Effort, Findings, lines, table, table1, texts};

/// What became of a set.
pub(super) struct Searched {
    pub(super) set: String,
    pub(super) provenance: Provenance,
    /// Validation part.
    pub(super) gaussian: Nats,
    /// In the order of the grid; none where it diverged.
    pub(super) tried: Vec<(TrainingSettings, Option<Tried>)>,
    /// None where every setting diverged.
    pub(super) winner: Option<Winner>,
}

/// The best setting, trained once more.
pub(super) struct Winner {
    pub(super) settings: TrainingSettings,
    pub(super) found: Tried,
    pub(super) outcome: Outcome,
    /// Name of the model's folder.
    pub(super) model: String,
}

impl Searched {
    /// The value of Table 1 and its two standard errors, where the set is, or stands for, one there.
    fn paper(&self) -> Option<(f64, f64)> {
        let stands_for = ENTRIES.iter().find(|entry| entry.name == self.set)?.stands_for?;
        PAPER.iter().find(|(set, ..)| *set == stands_for).map(|(_, _, value, error)| (*value, *error))
    }

    fn diverged(&self) -> usize {
        self.tried.iter().filter(|(_, tried)| tried.is_none()).count()
    }
}

/// # Errors
/// When every setting of every set diverged.
pub(super) fn findings(context: &Context<'_>, grid: &Grid, found: &[Searched]) -> Result<Findings> {
    if found.iter().all(|searched| searched.winner.is_none()) {
        return Err(Error::Diverged("every setting of the search diverged".to_string()));
    }
    let columns =
        ["set", "best setting", "validation (nats)", "ours, test (nats)", "the paper (nats)", "tried", "data"];
    Ok(Findings {
        numbers: json!({ "grid": grid.numbers(),
            "sets": found.iter().map(numbers).collect::<Vec<_>>() }),
        table: table(columns, found.iter().map(cells).collect()),
        notes: notes(context, grid),
        figure: Figure::Lines { panels: found.iter().filter_map(panel).collect() },
    })
}

fn numbers(searched: &Searched) -> Value {
    let tried = |(settings, tried): &(TrainingSettings, Option<Tried>)| json!({ "settings": settings, "found": tried });
    let winner = searched.winner.as_ref().map(|winner| {
        json!({ "settings": winner.settings, "validation_in_search": winner.found.validation,
            "validation": winner.outcome.validation, "test": winner.outcome.test, "model": winner.model })
    });
    json!({ "set": searched.set, "provenance": searched.provenance, "gaussian_validation": searched.gaussian,
        "paper": searched.paper().map(|(mean, error)| json!({ "mean": mean, "two_standard_errors": error })),
        "settings": searched.tried.len(), "diverged": searched.diverged(), "winner": winner,
        "tried": searched.tried.iter().map(tried).collect::<Vec<_>>() })
}

fn cells(searched: &Searched) -> Vec<String> {
    let paper =
        searched.paper().map_or("–".to_string(), |(value, error)| format!("{value} ± {error}").replace('-', "−"));
    let tried = match searched.diverged() {
        0 => searched.tried.len().to_string(),
        diverged => format!("{} ({diverged} diverged)", searched.tried.len()),
    };
    let [setting, validation, test] = match &searched.winner {
        Some(Winner { settings, outcome, .. }) => {
            [grid::described(settings), outcome.validation.to_string(), outcome.test.to_string()]
        }
        None => ["every setting diverged", "–", "–"].map(str::to_string),
    };
    texts([&searched.set, &setting, &validation, &test, &paper, &tried, searched.provenance.label()])
}

/// The validation likelihoods from the best down, with room for the better three quarters and the Gaussian.
fn panel(searched: &Searched) -> Option<LinePanel> {
    let known = searched.tried.iter().filter_map(|(_, tried)| Some(tried.as_ref()?.validation.mean));
    let mut values: Vec<f64> = known.collect();
    values.sort_by(|a, b| b.total_cmp(a));
    let gaussian = searched.gaussian.mean;
    let (best, low) = (values.first()?.max(gaussian), values[(values.len() - 1) * 3 / 4].min(gaussian));
    let margin = 0.15 * (best - low).max(best.abs() * 1e-3).max(1e-3);
    let points = values.iter().enumerate().map(|(i, value)| ((i + 1) as f64, *value)).collect();
    let titles =
        [format!("{}: settings, the best first", searched.set), "validation log-likelihood (nats)".to_string()];
    let gaussian = Level { name: "Gaussian, full covariance".to_string(), value: gaussian };
    let curve = Curve { name: "validation".to_string(), points };
    let range = Some((low - margin, best + margin));
    Some(lines(titles.each_ref().map(String::as_str), range, vec![curve], vec![gaussian]))
}

fn notes(context: &Context<'_>, grid: &Grid) -> Vec<String> {
    let mut notes = vec![
        "The setting is the best of its grid on the validation part alone. No other setting is evaluated on the test \
         part. The best is trained once more, and that model is tested."
            .to_string(),
        "The axes are those of the paper’s Table 3: activation, layers, step size, batch, base density and biases; \
         start and schedule too where they were asked for. Their values are ours, and stand in `numbers.grid`."
            .to_string(),
        format!(
            "Relative gradient, Adam; steps of constant size and orthogonal starts unless stated. The best model is \
             that of the best validation, after every {}; a training stops after {PATIENCE} without a better one.",
            if grid.every == 1 { "epoch".to_string() } else { units::counted(grid.every, "epoch") },
        ),
        table1::COMPARABLE.to_string(),
    ];
    if !context.axes.is_empty() {
        notes.push(format!("Axes that were asked for: {}.", context.axes.join("; ")));
    } else if context.effort != Effort::Full {
        notes.push("A shortened search of a few settings: --effort full has all of them.".to_string());
    }
    notes
}
