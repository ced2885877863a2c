//! Input of github-action-benchmark (`tool: customSmallerIsBetter` and `customBiggerIsBetter`): a JSON array of named
//! values.
//!
//! Schema: <https://github.com/benchmark-action/github-action-benchmark#examples>, `BenchmarkResult` of its
//! `src/extract.ts`.

use serde_json::{Value, json};

use super::{Report, name_of, pretty_json};
use crate::statistics::summary::{CellSummary, Estimate};

/// The contents of `github-action-smaller.json`: times in seconds and peak memory in bytes.
pub(super) fn smaller(report: &Report<'_>) -> String {
    let mut entries = Vec::new();
    for (series, point) in report.points() {
        let name = name_of(report, series, point.dim);
        entries.push(entry(format!("{name}/time"), "s", &point.seconds, point));
        let memory = |bytes| json!({ "name": format!("{name}/peak-memory"), "unit": "B", "value": bytes as f64 });
        entries.extend(point.peak_bytes.map(memory));
    }
    pretty_json(&entries)
}

/// The contents of `github-action-bigger.json`: speed-ups.
pub(super) fn bigger(report: &Report<'_>) -> String {
    let mut entries = Vec::new();
    for (series, point) in report.points() {
        let name = name_of(report, series, point.dim);
        let speedups = point.speedups();
        entries.extend(speedups.map(|(over, e)| entry(format!("{name}/speedup-over-{over}"), "x", e, point)));
    }
    pretty_json(&entries)
}

fn entry(name: String, unit: &str, e: &Estimate, point: &CellSummary) -> Value {
    json!({
        "name": name,
        "unit": unit,
        "value": e.value,
        "range": format!("[{}, {}]", e.low, e.high),
        "extra": format!("95 % interval; {} processes, {} samples", point.rounds, point.samples),
    })
}
