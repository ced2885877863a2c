//! `summary.csv`: one line a method and dimension, units in the column names.

use relgrad_vocabulary::{DeviceKind, Method, excerpt};

use super::Report;
use super::frame::{Field, Frame};
use crate::record::Outcome;
use crate::statistics::summary::{CellSummary, Estimate, Series, Stop};

/// The contents of `summary.csv`. A value that does not exist is an empty field.
pub(super) fn render(report: &Report<'_>) -> String {
    summary(report).to_csv()
}

/// One row a method and dimension, measured or not: the numbers of the report.
pub fn summary(report: &Report<'_>) -> Frame {
    let mut all = Vec::new();
    for series in &report.summary.series {
        let points = series.points.iter().map(|point| (point.dim, row(report, series, Some(point), None)));
        let stops = series.stops.iter().map(|stop| (stop.dim, row(report, series, None, Some(stop))));
        let mut rows: Vec<_> = points.chain(stops).collect();
        rows.sort_by_key(|(dim, _)| *dim);
        all.extend(rows.into_iter().map(|(_, row)| row.into_iter().map(|(_, value)| value).collect()));
    }
    let nothing = row(
        report,
        &Series::new(Method::Relative.into(), DeviceKind::Cpu, report.study.run.settings.held()),
        None,
        None,
    );
    Frame { names: nothing.into_iter().map(|(name, _)| name).collect(), rows: all }
}

/// The columns of a cell, with their names: a measured one has a point, any other a stop.
fn row(report: &Report<'_>, series: &Series, point: Option<&CellSummary>, stop: Option<&Stop>) -> Vec<(String, Field)> {
    let (run, settings) = (&report.study.run, &report.study.run.settings);
    let dim = point.map(|p| p.dim).or(stop.map(|s| s.dim)).unwrap_or_default();
    let outcome = stop.map_or(Outcome::Measured, |stop| stop.outcome);
    let (peak, ceiling) = (point.and_then(|p| p.peak_bytes), point.and_then(|p| p.ceiling));
    let (model, fit) = (point.map(|p| p.model), series.fit);
    let whole = |n: usize| Field::Whole(Some(n as u64));
    let text = |text: String| Field::Text(Some(text));
    let number = Field::Number;
    let mut row = Vec::new();
    let mut add = |name: &str, value: Field| row.push((name.into(), value));
    add("device", text(series.device.to_string()));
    add("method", text(series.method.to_string()));
    add("dim", whole(dim));
    add("batch", whole(series.batch));
    add("layers", whole(series.layers));
    add("dtype", text(settings.dtype.to_string()));
    add("outcome", text(outcome.name().into()));
    add("reason", Field::Text(stop.map(|s| s.reason.clone())));
    add("rounds", whole(point.map_or(0, |p| p.rounds)));
    add("samples", whole(point.map_or(0, |p| p.samples)));
    estimate(&mut add, "median_seconds", point.map(|p| p.seconds));
    add("peak_bytes", Field::Whole(peak));
    add("model_min_bytes", number(model.map(|m| m.min_bytes)));
    add("peak_over_model_ratio", number(peak.zip(model).map(|(b, m)| b as f64 / m.min_bytes)));
    add("model_flops", number(model.map(|m| m.flops)));
    add("gflop_per_second", number(point.map(|p| p.gflops)));
    add("ceiling_seconds", number(ceiling.map(|c| c.seconds)));
    add("ceiling_bound", Field::Text(ceiling.map(|c| c.bound.name().to_string())));
    estimate(&mut add, "fraction_of_ceiling", ceiling.map(|c| c.fraction));
    estimate(&mut add, "speedup_over_ordinary_ratio", point.and_then(|p| p.speedup_over_ordinary));
    estimate(&mut add, "speedup_over_autodiff_ratio", point.and_then(|p| p.speedup_over_autodiff));
    add("check_max_rel_err", number(point.and_then(|p| p.check_max_rel_err)));
    estimate(&mut add, "predicted_seconds", stop.and_then(Stop::expected_seconds));
    add("predicted_peak_bytes", number(stop.and_then(|s| s.predicted_bytes)));
    estimate(&mut add, "exponent", fit.map(|f| f.exponent));
    add("exponent_min_dim", Field::Whole(fit.map(|f| f.from as u64)));
    add("exponent_max_dim", Field::Whole(fit.map(|f| f.to as u64)));
    add("exponent_points", Field::Whole(fit.map(|f| f.points as u64)));
    add("git_revision", Field::Text(run.git_revision.as_deref().map(|revision| excerpt(revision, 200))));
    add("started", text(run.started.clone()));
    add("arithmetic", text(settings.arithmetic(series.device).to_string()));
    add("threads", whole(series.threads));
    add("ranks", whole(series.ranks));
    add("bias", Field::Flag(settings.bias));
    add("activation", text(settings.activation.to_string()));
    add("convolution", Field::Text(settings.convolution.as_ref().map(|c| c.describe_layers_at(dim))));
    row
}

/// A value and the ends of its interval, in three columns.
fn estimate(add: &mut impl FnMut(&str, Field), name: &str, estimate: Option<Estimate>) {
    add(name, Field::Number(estimate.map(|e| e.value)));
    add(&format!("{name}_low"), Field::Number(estimate.map(|e| e.low)));
    add(&format!("{name}_high"), Field::Number(estimate.map(|e| e.high)));
}
