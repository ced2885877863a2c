//! `summary.csv`: one line a method and dimension, units in the column names (RFC 4180 quoting, `\n` line ends).

use relgrad_vocabulary::{DeviceKind, Method, excerpt};

use super::Report;
use crate::record::Outcome;
use crate::statistics::summary::{CellSummary, Estimate, Series, Stop};

/// The contents of `summary.csv`. A value that does not exist is an empty field.
pub(super) fn render(report: &Report<'_>) -> String {
    let mut text = String::new();
    for series in &report.summary.series {
        let points = series.points.iter().map(|point| (point.dim, row(report, series, Some(point), None)));
        let stops = series.stops.iter().map(|stop| (stop.dim, row(report, series, None, Some(stop))));
        let mut rows: Vec<_> = points.chain(stops).collect();
        rows.sort_by_key(|(dim, _)| *dim);
        text.extend(rows.into_iter().map(|(_, row)| line(row.into_iter().map(|(_, value)| value))));
    }
    let header = row(report, &Series::new(Method::Relative.into(), DeviceKind::Cpu, 0, 0), None, None)
        .into_iter()
        .map(|(name, _)| name);
    line(header) + &text
}

type Row = Vec<(String, String)>;

/// The columns of a cell, with their names: a measured one has a point, any other a stop.
fn row(report: &Report<'_>, series: &Series, point: Option<&CellSummary>, stop: Option<&Stop>) -> Row {
    let (run, settings) = (&report.study.run, &report.study.run.settings);
    let dim = point.map(|p| p.dim).or(stop.map(|s| s.dim)).unwrap_or_default();
    let outcome = match stop.map(|stop| stop.outcome) {
        None => "measured",
        Some(Outcome::Failed) => "failed",
        Some(_) => "skipped",
    };
    let (peak, ceiling) = (point.and_then(|p| p.peak_bytes).map(|b| b as f64), point.and_then(|p| p.ceiling));
    let (model, fit) = (point.map(|p| p.model), series.fit);
    let whole = |n: Option<usize>| n.map(|n| n.to_string()).unwrap_or_default();
    let mut row = Row::new();
    let mut add = |name: &str, value: String| row.push((name.into(), value));
    add("device", series.device.to_string());
    add("method", series.method.to_string());
    add("dim", dim.to_string());
    add("batch", series.batch.to_string());
    add("layers", series.layers.to_string());
    add("dtype", settings.dtype.to_string());
    add("outcome", outcome.into());
    add("reason", stop.map(|s| s.reason.clone()).unwrap_or_default());
    add("rounds", point.map_or(0, |p| p.rounds).to_string());
    add("samples", point.map_or(0, |p| p.samples).to_string());
    estimate(&mut add, "median_seconds", point.map(|p| p.seconds));
    add("peak_bytes", number(peak));
    add("model_min_bytes", number(model.map(|m| m.min_bytes)));
    add("peak_over_model_ratio", number(peak.zip(model).map(|(b, m)| b / m.min_bytes)));
    add("model_flops", number(model.map(|m| m.flops)));
    add("gflop_per_second", number(point.map(|p| p.gflops)));
    add("ceiling_seconds", number(ceiling.map(|c| c.seconds)));
    add("ceiling_bound", ceiling.map(|c| c.bound.name().to_string()).unwrap_or_default());
    estimate(&mut add, "fraction_of_ceiling", ceiling.map(|c| c.fraction));
    estimate(&mut add, "speedup_over_ordinary_ratio", point.and_then(|p| p.speedup_over_ordinary));
    estimate(&mut add, "speedup_over_autodiff_ratio", point.and_then(|p| p.speedup_over_autodiff));
    add("check_max_rel_err", number(point.and_then(|p| p.check_max_rel_err)));
    estimate(&mut add, "predicted_seconds", stop.and_then(Stop::expected_seconds));
    add("predicted_peak_bytes", number(stop.and_then(|s| s.predicted_bytes)));
    estimate(&mut add, "exponent", fit.map(|f| f.exponent));
    add("exponent_min_dim", whole(fit.map(|f| f.from)));
    add("exponent_max_dim", whole(fit.map(|f| f.to)));
    add("exponent_points", whole(fit.map(|f| f.points)));
    add("git_revision", excerpt(run.git_revision.as_deref().unwrap_or_default(), 200));
    add("started", run.started.clone());
    add("arithmetic", settings.arithmetic(series.device).to_string());
    add("threads", settings.threads.to_string());
    add("bias", settings.bias.to_string());
    add("activation", settings.activation.to_string());
    add("convolution", settings.convolution.as_ref().map_or(String::new(), |c| c.describe_layers_at(dim)));
    row
}

/// A value and the ends of its interval, in three columns.
fn estimate(add: &mut impl FnMut(&str, String), name: &str, estimate: Option<Estimate>) {
    add(name, number(estimate.map(|e| e.value)));
    add(&format!("{name}_low"), number(estimate.map(|e| e.low)));
    add(&format!("{name}_high"), number(estimate.map(|e| e.high)));
}

/// The shortest text that reads back as the same number; empty when there is none or it is not finite.
fn number(value: Option<f64>) -> String {
    value.filter(|v| v.is_finite()).map(|v| v.to_string()).unwrap_or_default()
}

fn line(fields: impl Iterator<Item = String>) -> String {
    fields.map(|field| quoted(&field)).collect::<Vec<_>>().join(",") + "\n"
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
    fn quoting_follows_rfc_4180_and_text_is_no_formula() {
        for (field, text) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"no\"\n", "\"say \"\"no\"\"\n\""),
            ("=1+1", "'=1+1"),
            ("@SUM(1,2)", "\"'@SUM(1,2)\""),
            ("-1.5e-3", "-1.5e-3"),
            ("-f", "'-f"),
        ] {
            assert_eq!(quoted(field), text);
        }
    }
}
