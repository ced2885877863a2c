//! The values that claims are judged by, found in the results of a part.

use relgrad_kernels::Method;
use relgrad_reports::summary::{CellSummary, Estimate, Series, Summary};
use relgrad_reports::units::{self, grouped};
use serde_json::Value;

use super::evidence::Evidence;

/// A measured value with its interval, as it is and as people read it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ours {
    pub(super) text: String,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Ours {
    pub(super) fn exact(value: f64, text: String) -> Self {
        Self { text, low: value, high: value }
    }

    /// An exponent, unless its interval is too wide to tell D² from D³.
    pub(super) fn exponent(estimate: Estimate, (from, to): (usize, usize)) -> Result<Self, String> {
        let text = format!("{} on D = {} – {}", units::exponent(&estimate), grouped(from), grouped(to));
        if estimate.high - estimate.low >= 1.0 {
            return Err(format!("{text}, too uncertain to tell D² from D³"));
        }
        Ok(Self { text, low: estimate.low, high: estimate.high })
    }
}

/// The series of a method at the settings' N and L.
pub(super) fn series(summary: &Summary, method: Method) -> Result<&Series, String> {
    let measured = |series: &&Series| series.method == method && !series.points.is_empty();
    summary.series.iter().find(measured).ok_or_else(|| format!("no measurement of {method}"))
}

pub(super) fn point(summary: &Summary, method: Method, dim: usize) -> Result<&CellSummary, String> {
    let series = summary.series.iter().find(|series| series.method == method);
    if let Some(point) = series.and_then(|series| series.points.iter().find(|point| point.dim == dim)) {
        return Ok(point);
    }
    let stop = series.and_then(|series| series.stops.iter().find(|stop| stop.dim == dim));
    let reason = stop.map_or(String::new(), |stop| format!(": {}", stop.reason));
    Err(format!("no measurement of {method} at D = {}{reason}", grouped(dim)))
}

/// p of time ∝ Dᵖ.
pub(super) fn exponent(method: Method) -> impl Fn(&Evidence) -> Result<Ours, String> {
    move |evidence| {
        let (_, summary) = evidence.sweep()?;
        let fit = series(summary, method)?.fit.ok_or_else(|| format!("{method} has fewer than three dimensions"))?;
        Ours::exponent(fit.exponent, (fit.from, fit.to))
    }
}

/// The least and the largest speed-up of relative over autodiff.
pub(super) fn speedups(evidence: &Evidence) -> Result<Ours, String> {
    let (_, summary) = evidence.sweep()?;
    let points = &series(summary, Method::Relative)?.points;
    let of = |p: &CellSummary| Some((p.dim, p.speedup_over_autodiff?));
    let mut all: Vec<(usize, Estimate)> = points.iter().filter_map(of).collect();
    all.sort_by(|a, b| a.1.value.total_cmp(&b.1.value));
    let (Some((low_dim, low)), Some((high_dim, high))) = (all.first(), all.last()) else {
        return Err("no D has both".to_string());
    };
    let told = |estimate: &Estimate, dim: usize| format!("{} at D = {}", units::ratio(estimate.value), grouped(dim));
    let text = format!("{} to {}", told(low, *low_dim), told(high, *high_dim));
    Ok(Ours { text, low: low.low, high: high.high })
}

/// The share of the paper's runs and evaluations that the points of relative have.
pub(super) fn effort(evidence: &Evidence) -> Result<Ours, String> {
    const RUNS: usize = 5;
    const EVALUATIONS: usize = 10;
    let (study, summary) = evidence.sweep()?;
    let points = &series(summary, Method::Relative)?.points;
    let runs = points.iter().map(|point| point.rounds).min().unwrap_or(0);
    let each = points.iter().map(|point| point.samples / point.rounds.max(1)).min().unwrap_or(0);
    let share = (runs as f64 / RUNS as f64).min(each as f64 / EVALUATIONS as f64);
    let settings = &study.run.settings;
    let text = format!(
        "N = {}, L = {}, {}; {} of at least {}",
        grouped(settings.batch),
        settings.layers,
        settings.dtype,
        units::counted(runs, "run"),
        units::counted(each, "evaluation"),
    );
    Ok(Ours::exact(share, text))
}

/// The largest dimension of a method.
pub(super) fn reach(method: Method) -> impl Fn(&Evidence) -> Result<Ours, String> {
    move |evidence| {
        let (_, summary) = evidence.sweep()?;
        let point = series(summary, method)?.points.last().ok_or("nothing was measured")?;
        let text =
            format!("{} for one gradient at D = {}", units::seconds_estimate(&point.seconds), grouped(point.dim));
        Ok(Ours::exact(point.dim as f64, text))
    }
}

/// Largest memory of a method at one dimension.
pub(super) fn peak(method: Method, dim: usize) -> impl Fn(&Evidence) -> Result<Ours, String> {
    move |evidence| {
        let (_, summary) = evidence.sweep()?;
        let bytes = point(summary, method, dim)?.peak_bytes.ok_or("this system does not tell peak memory")? as f64;
        Ok(Ours::exact(bytes, format!("{} ({:.2}·10⁹ bytes)", units::bytes(bytes), bytes / 1e9)))
    }
}

/// A number of an experiment by its JSON pointer.
pub(super) fn at(numbers: &Value, pointer: &str) -> Result<f64, String> {
    numbers.pointer(pointer).and_then(Value::as_f64).ok_or_else(|| format!("{pointer} is not in the numbers"))
}

pub(super) fn list<'a>(numbers: &'a Value, pointer: &str) -> Result<&'a Vec<Value>, String> {
    numbers.pointer(pointer).and_then(Value::as_array).ok_or_else(|| format!("{pointer} is not in the numbers"))
}

/// Figure 1 (right): by how much relative ends higher than ordinary.
pub(super) fn lead(starts: &'static str) -> impl Fn(&Evidence) -> Result<Ours, String> {
    move |evidence| {
        let sets = list(evidence.numbers()?, "/sets")?;
        let is_set = |set: &&Value| set["starts"] == starts && set["mixing"].as_f64() > Some(0.0);
        let set = sets.iter().find(is_set).ok_or("the set is not in the numbers")?;
        // Results of before have constant steps alone.
        let runs = list(set, "/line_search").or_else(|_| list(set, "/shown"))?;
        let median = |method: Method| -> Result<f64, String> {
            let runs = runs.iter().find(|runs| runs["method"] == method.name()).ok_or("no such runs")?;
            let mut ends: Vec<f64> = list(runs, "/last_tenth_nats")?.iter().filter_map(Value::as_f64).collect();
            ends.sort_by(f64::total_cmp);
            let middle = |i: usize| ends.get(i).copied().ok_or("every start diverged");
            Ok(0.5 * (middle(ends.len().saturating_sub(1) / 2)? + middle(ends.len() / 2)?))
        };
        let (relative, ordinary) = (median(Method::Relative)?, median(Method::Ordinary)?);
        let text = format!("{:.4} nats for relative, {:.4} for ordinary", -relative, -ordinary);
        Ok(Ours::exact(relative - ordinary, text))
    }
}

/// Figures 2 and 5: how far the better optimiser of the worst density stays below minus the entropy.
pub(super) fn gap(evidence: &Evidence) -> Result<Ours, String> {
    let fits = list(evidence.numbers()?, "/fits")?;
    let mut gaps: Vec<(&str, f64)> = Vec::new();
    for fit in fits {
        let density = fit["density"].as_str().ok_or("a fit has no density")?;
        let Ok(best) = at(fit, "/minus_entropy_nats") else { continue };
        let gap = best - at(fit, "/outcome/test/mean")?;
        match gaps.iter_mut().find(|known| known.0 == density) {
            Some(known) => known.1 = known.1.min(gap),
            None => gaps.push((density, gap)),
        }
    }
    let worst = gaps.iter().max_by(|a, b| a.1.total_cmp(&b.1)).ok_or("no entropy is known")?;
    let told: Vec<String> = gaps.iter().map(|(density, gap)| format!("{density} {gap:.3}")).collect();
    Ok(Ours::exact(worst.1, format!("nats below minus the entropy: {}", told.join(", "))))
}

/// Figure 6: the least that an optimiser gained from its first epoch to its best.
pub(super) fn gain(evidence: &Evidence) -> Result<Ours, String> {
    let models = list(evidence.numbers()?, "/models")?;
    let mut gains = Vec::new();
    for model in models {
        let first = at(model, "/epochs/0/validation_nats")?;
        let best = at(model, "/outcome/validation/mean")?;
        let name = model.pointer("/settings/optimizer").and_then(Value::as_str).unwrap_or("?");
        gains.push((name, first, best));
    }
    let least = gains.iter().map(|(_, first, best)| best - first).fold(f64::INFINITY, f64::min);
    let told: Vec<String> = gains
        .iter()
        .map(|(name, first, best)| format!("{name} from {first:.0} to {best:.0} nats").replace('-', "−"))
        .collect();
    Ok(Ours::exact(least, told.join(", ")))
}
