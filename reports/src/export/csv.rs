//! `summary.csv`: one line a method and dimension, units in the column names.

use relgrad_vocabulary::{DeviceKind, excerpt};

use super::{Exporter, Report};
use crate::record::Outcome;
use crate::run::Settings;
use crate::summary::{CellSummary, Estimate, Series, Stop};

/// Writes `summary.csv` (RFC 4180 quoting, `\n` line ends). A value that does not exist is an empty field.
#[derive(Debug, Clone, Copy)]
pub struct Csv;

const COLUMNS: [&str; 45] = [
    "device",
    "method",
    "dim",
    "batch",
    "layers",
    "dtype",
    "outcome",
    "reason",
    "rounds",
    "samples",
    "median_seconds",
    "median_seconds_low",
    "median_seconds_high",
    "peak_bytes",
    "model_min_bytes",
    "peak_over_model_ratio",
    "model_flops",
    "gflop_per_second",
    "ceiling_seconds",
    "ceiling_bound",
    "fraction_of_ceiling",
    "fraction_of_ceiling_low",
    "fraction_of_ceiling_high",
    "speedup_over_ordinary_ratio",
    "speedup_over_ordinary_ratio_low",
    "speedup_over_ordinary_ratio_high",
    "speedup_over_autodiff_ratio",
    "speedup_over_autodiff_ratio_low",
    "speedup_over_autodiff_ratio_high",
    "check_max_rel_err",
    "predicted_seconds",
    "predicted_peak_bytes",
    "exponent",
    "exponent_low",
    "exponent_high",
    "exponent_min_dim",
    "exponent_max_dim",
    "exponent_points",
    "git_revision",
    "started",
    "arithmetic",
    "threads",
    "bias",
    "activation",
    "convolution",
];

impl Exporter for Csv {
    fn file_name(&self) -> &'static str {
        "summary.csv"
    }

    fn render(&self, report: &Report<'_>) -> String {
        let run = &report.study.run;
        let revision = excerpt(run.git_revision.as_deref().unwrap_or_default(), 200);
        let tail = [revision, run.started.clone()];
        let mut text = line(&COLUMNS.map(String::from));
        for series in &report.summary.series {
            let mut rows: Vec<(usize, Vec<String>)> = Vec::new();
            rows.extend(series.points.iter().map(|p| (p.dim, of_point(p))));
            rows.extend(series.stops.iter().map(|s| (s.dim, of_stop(s))));
            rows.sort_by_key(|(dim, _)| *dim);
            for (dim, middle) in rows {
                let head = of_cell(series, dim, &run.settings);
                let settings = of_settings(&run.settings, series.device, dim);
                text += &line(&[head.as_slice(), &middle, &of_fit(series), &tail, &settings].concat());
            }
        }
        text
    }
}

fn of_cell(series: &Series, dim: usize, settings: &Settings) -> Vec<String> {
    vec![
        series.device.to_string(),
        series.method.to_string(),
        dim.to_string(),
        series.batch.to_string(),
        series.layers.to_string(),
        settings.dtype.to_string(),
    ]
}

/// The settings that change a time beside those of [`of_cell`].
fn of_settings(settings: &Settings, device: DeviceKind, dim: usize) -> [String; 5] {
    [
        settings.arithmetic(device).to_string(),
        settings.threads.to_string(),
        settings.bias.to_string(),
        settings.activation.to_string(),
        settings.convolution.as_ref().map_or(String::new(), |c| c.describe_layers_at(dim)),
    ]
}

/// From `outcome` to `predicted_peak_bytes`.
fn of_point(point: &CellSummary) -> Vec<String> {
    let peak = point.peak_bytes.map(|b| b as f64);
    let mut fields = vec!["measured".into(), String::new(), point.rounds.to_string(), point.samples.to_string()];
    fields.extend(estimate(Some(&point.seconds)));
    fields.extend([
        number(peak),
        number(Some(point.model.min_bytes)),
        number(peak.map(|b| b / point.model.min_bytes)),
        number(Some(point.model.flops)),
        number(Some(point.gflops)),
        number(point.ceiling.map(|c| c.seconds)),
        point.ceiling.map(|c| c.bound.name().to_string()).unwrap_or_default(),
    ]);
    fields.extend(estimate(point.ceiling.as_ref().map(|c| &c.fraction)));
    fields.extend(estimate(point.speedup_over_ordinary.as_ref()));
    fields.extend(estimate(point.speedup_over_autodiff.as_ref()));
    fields.extend([number(point.check_max_rel_err), String::new(), String::new()]);
    fields
}

/// From `outcome` to `predicted_peak_bytes`.
fn of_stop(stop: &Stop) -> Vec<String> {
    let outcome = if stop.outcome == Outcome::Failed { "failed" } else { "skipped" };
    let mut fields = vec![outcome.into(), stop.reason.clone(), "0".into(), "0".into()];
    fields.resize(24, String::new());
    fields.extend([number(stop.predicted_seconds), number(stop.predicted_bytes)]);
    fields
}

fn of_fit(series: &Series) -> Vec<String> {
    let mut fields = estimate(series.fit.as_ref().map(|f| &f.exponent)).to_vec();
    match &series.fit {
        Some(f) => fields.extend([f.from, f.to, f.points].map(|n| n.to_string())),
        None => fields.resize(6, String::new()),
    }
    fields
}

fn estimate(estimate: Option<&Estimate>) -> [String; 3] {
    [number(estimate.map(|e| e.value)), number(estimate.map(|e| e.low)), number(estimate.map(|e| e.high))]
}

/// The shortest text that reads back as the same number; empty when there is none or it is not finite.
fn number(value: Option<f64>) -> String {
    value.filter(|v| v.is_finite()).map(|v| v.to_string()).unwrap_or_default()
}

fn line(fields: &[String]) -> String {
    fields.iter().map(|f| quoted(f)).collect::<Vec<_>>().join(",") + "\n"
}

/// A field as RFC 4180 quotes it. Text that a spreadsheet would take for a formula gets an apostrophe in front; numbers
/// stay numbers.
fn quoted(field: &str) -> String {
    let starts_a_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']) && field.parse::<f64>().is_err();
    let field = if starts_a_formula { format!("'{field}") } else { field.into() };
    if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn quoting_follows_rfc_4180() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("say \"no\"\n"), "\"say \"\"no\"\"\n\"");
    }

    #[test]
    fn text_is_no_formula_and_numbers_stay_numbers() {
        assert_eq!(quoted("=1+1"), "'=1+1");
        assert_eq!(quoted("@SUM(1,2)"), "\"'@SUM(1,2)\"");
        assert_eq!(quoted("-1.5e-3"), "-1.5e-3");
        assert_eq!(quoted("-f"), "'-f");
    }
}
