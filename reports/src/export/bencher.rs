//! Bencher Metric Format: benchmark, measure, metric.
//!
//! Schema: <https://bencher.dev/docs/reference/bencher-metric-format/>. `latency` is Bencher's built-in measure, in
//! nanoseconds; the other measures are named here.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Exporter, Report, name_of, pretty_json};
use crate::summary::Estimate;

/// Writes `bencher.json`.
#[derive(Debug, Clone, Copy)]
pub struct Bencher;

#[derive(Serialize)]
struct Metric {
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lower_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper_value: Option<f64>,
}

impl Exporter for Bencher {
    fn file_name(&self) -> &'static str {
        "bencher.json"
    }

    fn render(&self, report: &Report<'_>) -> String {
        let mut benchmarks: BTreeMap<String, BTreeMap<String, Metric>> = BTreeMap::new();
        for (series, point) in report.points() {
            let measures = benchmarks.entry(name_of(report, series, point.dim)).or_default();
            measures.insert("latency".into(), metric(&point.seconds, 1e9));
            for (over, speedup) in point.speedups() {
                measures.insert(format!("speedup-over-{over}"), metric(speedup, 1.0));
            }
            if let Some(bytes) = point.peak_bytes {
                let metric = Metric { value: bytes as f64, lower_value: None, upper_value: None };
                measures.insert("peak-memory".into(), metric);
            }
        }
        pretty_json(&benchmarks)
    }
}

fn metric(e: &Estimate, scale: f64) -> Metric {
    Metric { value: e.value * scale, lower_value: Some(e.low * scale), upper_value: Some(e.high * scale) }
}
