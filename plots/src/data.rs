//! From a study's records and summary to the curves of a chart.

use std::borrow::Cow;

use relgrad_reports::record::{Model, Outcome, Record};
use relgrad_reports::study::Study;
use relgrad_reports::summary::{CellSummary, Estimate, Series, Stop, Summary};
use relgrad_reports::units::{counted, grouped};
use relgrad_vocabulary::{DeviceKind, Method, Subject};

use crate::chart::{Curve, StopMark};
use crate::style::look;

/// The device whose speed-ups and memory are shown: the CPU where it was measured, else the first one that was.
pub(crate) fn main_device(summary: &Summary) -> DeviceKind {
    let mut devices = summary.series.iter().filter(|s| !s.points.is_empty()).map(|s| s.device);
    let first = devices.clone().next().unwrap_or(DeviceKind::Cpu);
    devices.find(|d| *d == DeviceKind::Cpu).unwrap_or(first)
}

/// Whether some series on `device` has a point with this value.
pub(crate) fn any_measured(
    summary: &Summary,
    device: DeviceKind,
    value: impl Fn(&CellSummary) -> Option<Estimate>,
) -> bool {
    summary.series.iter().any(|s| s.device == device && !measured(s, &value).is_empty())
}

/// Whether some dimension has a measured time of relative and of a baseline, on the device whose speed-ups are shown.
pub(crate) fn has_speedup(summary: &Summary) -> bool {
    let compared =
        |series| Method::BASELINES.into_iter().any(|baseline| !measured(series, |p| speedup(p, baseline)).is_empty());
    relative(summary, main_device(summary)).is_some_and(compared)
}

/// The peak memory of a point; it has no interval.
pub(crate) fn peak_bytes(point: &CellSummary) -> Option<Estimate> {
    Some(exactly(point.peak_bytes? as f64))
}

/// One curve for each method on `device`: `value` of its points, `predicted` of its stops, and its `model`.
pub(crate) fn curves(
    summary: &Summary,
    device: DeviceKind,
    value: impl Fn(&CellSummary) -> Option<Estimate>,
    predicted: impl Fn(&Stop) -> Option<Estimate>,
    model: impl Fn(Subject) -> Vec<(f64, f64)>,
) -> Vec<Curve> {
    let on_device = || summary.series.iter().filter(|s| s.device == device);
    let curve = |series: &Series| Curve {
        name: series.method.to_string(),
        look: look(series.method),
        measured: measured(series, &value),
        stop: first_stop(series).map(|stop| StopMark {
            dim: stop.dim as f64,
            predicted: predicted(stop).filter(|p| p.value.is_finite() && p.value > 0.0).map(sound),
            note: note(series.method, stop),
        }),
        model: model(series.method),
    };
    on_device().map(curve).filter(|c| !c.measured.is_empty() || c.stop.is_some()).collect()
}

/// The time expected of a cell that was not measured: the fit's with its prediction interval, else the plan's.
pub(crate) fn expected_seconds(stop: &Stop) -> Option<Estimate> {
    stop.extrapolated_seconds.or_else(|| stop.predicted_seconds.map(exactly))
}

/// A number without an interval.
pub(crate) fn exactly(value: f64) -> Estimate {
    Estimate { value, low: value, high: value }
}

/// The summary of what figures against D show: the batch size and number of layers that the settings name first.
pub(crate) fn main<'a>(study: &Study, summary: &'a Summary) -> Cow<'a, Summary> {
    let settings = &study.run.settings;
    let is_main = |s: &Series| (s.batch, s.layers) == (settings.batch, settings.layers);
    if summary.series.iter().all(is_main) {
        return Cow::Borrowed(summary);
    }
    let series = summary.series.iter().filter(|s| is_main(s)).cloned().collect();
    Cow::Owned(Summary { series, ..summary.clone() })
}

/// The points of a series that have a positive value.
pub(crate) fn measured(series: &Series, value: impl Fn(&CellSummary) -> Option<Estimate>) -> Vec<(f64, Estimate)> {
    let valid = |e: &Estimate| e.value.is_finite() && e.value > 0.0;
    let points = series.points.iter().filter_map(|p| Some((p.dim as f64, value(p)?)));
    points.filter(|(_, e)| valid(e)).map(|(dim, e)| (dim, sound(e))).collect()
}

/// The cost model of a method on a device against D, from every record, run or not.
pub(crate) fn models(study: &Study, device: DeviceKind, method: Subject) -> Vec<(f64, Model)> {
    let settings = &study.run.settings;
    let is_main = |r: &Record| (r.cell.point.batch, r.cell.point.layers) == (settings.batch, settings.layers);
    let of = |r: &&Record| r.cell.point.device == device && r.cell.method == method && is_main(r);
    let mut models: Vec<_> = study.records.iter().filter(of).map(|r| (r.cell.point.dim as f64, r.model)).collect();
    models.sort_by(|a, b| a.0.total_cmp(&b.0));
    models.dedup_by(|a, b| a.0 == b.0);
    models
}

/// What all measurements of a figure share, for its heading and caption.
pub(crate) fn conditions(study: &Study, device: DeviceKind) -> Vec<String> {
    let mut conditions = conditions_but_batch(study, device);
    conditions.insert(1, format!("N = {}", grouped(study.run.settings.batch)));
    conditions
}

/// The same for a figure in which N is an axis.
pub(crate) fn conditions_but_batch(study: &Study, device: DeviceKind) -> Vec<String> {
    let settings = &study.run.settings;
    let place =
        if device == DeviceKind::Cpu { format!("CPU, {}", threads(settings.threads)) } else { "GPU".to_string() };
    let mut conditions = vec![place, format!("L = {}", settings.layers), settings.arithmetic(device).to_string()];
    if let Some(convolution) = &settings.convolution {
        let kernel = match convolution.kernel {
            None => "full kernels".to_string(),
            Some([rows, cols]) => format!("{rows}×{cols} kernels"),
        };
        conditions.push(format!("D = c·n, c = {}, {kernel}", convolution.channels));
    }
    conditions
}

/// The speed-up of a point of `relative` over one of [`Method::BASELINES`].
pub(crate) fn speedup(point: &CellSummary, baseline: Method) -> Option<Estimate> {
    match baseline {
        Method::Ordinary => point.speedup_over_ordinary,
        _ => point.speedup_over_autodiff,
    }
}

/// The series of `relative` on a device.
pub(crate) fn relative(summary: &Summary, device: DeviceKind) -> Option<&Series> {
    summary.series.iter().find(|s| s.device == device && s.method == Method::Relative)
}

/// The first dimension beyond the measured ones without a measurement.
fn first_stop(series: &Series) -> Option<&Stop> {
    let last = series.points.iter().map(|p| p.dim).max().unwrap_or(0);
    series.stops.iter().filter(|s| s.dim > last).min_by_key(|s| s.dim)
}

/// What a note below the panel says of a stop.
pub(crate) fn note(method: Subject, stop: &Stop) -> String {
    let dim = grouped(stop.dim);
    let reason = stop.reason.trim().trim_end_matches('.');
    let happened = match stop.outcome {
        Outcome::Failed => format!("failed at D\u{a0}=\u{a0}{dim}"),
        Outcome::Skipped | Outcome::Measured => format!("not run from D\u{a0}=\u{a0}{dim}"),
    };
    if reason.is_empty() { format!("{method} {happened}") } else { format!("{method} {happened}: {reason}") }
}

/// An estimate whose interval holds its value, also where an end is no number.
pub(crate) fn sound(estimate: Estimate) -> Estimate {
    let value = estimate.value;
    let end = |end: f64| if end.is_finite() { end } else { value };
    Estimate { value, low: end(estimate.low).min(value), high: end(estimate.high).max(value) }
}

fn threads(threads: usize) -> String {
    counted(threads, "thread")
}
