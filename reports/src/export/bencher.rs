//! Bencher Metric Format: benchmark, measure, metric.
//!
//! Schema: <https://bencher.dev/docs/reference/bencher-metric-format/>. `latency` is Bencher's built-in measure, in
//! nanoseconds; the other measures are named here.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Report, name_of, pretty_json};
use crate::statistics::summary::Estimate;

/// The contents of `bencher.json`.
pub(super) fn render(report: &Report<'_>) -> String {
    let mut benchmarks: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for (series, point) in report.points() {
        let measures = benchmarks.entry(name_of(report, series, point.dim)).or_default();
        measures.insert("latency".into(), metric(&point.seconds, 1e9));
        let speedups = point.speedups().map(|(over, speedup)| (format!("speedup-over-{over}"), metric(speedup, 1.0)));
        measures.extend(speedups);
        measures.extend(point.peak_bytes.map(|bytes| ("peak-memory".into(), json!({ "value": bytes as f64 }))));
    }
    pretty_json(&benchmarks)
}

fn metric(e: &Estimate, scale: f64) -> Value {
    json!({ "value": e.value * scale, "lower_value": e.low * scale, "upper_value": e.high * scale })
}
