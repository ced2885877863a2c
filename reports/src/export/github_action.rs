//! Input of github-action-benchmark (`tool: customSmallerIsBetter` and `customBiggerIsBetter`): a JSON array of named
//! values.
//!
//! Schema: <https://github.com/benchmark-action/github-action-benchmark#examples>, `BenchmarkResult` of its
//! `src/extract.ts`.

use serde::Serialize;

use super::{Exporter, Report, name_of, pretty_json};
use crate::summary::Estimate;

/// Writes `github-action-smaller.json`: times in seconds and peak memory in bytes.
#[derive(Debug, Clone, Copy)]
pub struct GithubActionSmaller;

/// Writes `github-action-bigger.json`: speed-ups.
#[derive(Debug, Clone, Copy)]
pub struct GithubActionBigger;

#[derive(Serialize)]
struct Entry {
    name: String,
    unit: &'static str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<String>,
}

impl Exporter for GithubActionSmaller {
    fn file_name(&self) -> &'static str {
        "github-action-smaller.json"
    }

    fn render(&self, report: &Report<'_>) -> String {
        let mut entries = Vec::new();
        for (series, point) in report.points() {
            let name = name_of(report, series, point.dim);
            entries.push(entry(format!("{name}/time"), "s", &point.seconds, point.rounds, point.samples));
            entries.extend(point.peak_bytes.map(|bytes| Entry {
                name: format!("{name}/peak-memory"),
                unit: "B",
                value: bytes as f64,
                range: None,
                extra: None,
            }));
        }
        pretty_json(&entries)
    }
}

impl Exporter for GithubActionBigger {
    fn file_name(&self) -> &'static str {
        "github-action-bigger.json"
    }

    fn render(&self, report: &Report<'_>) -> String {
        let mut entries = Vec::new();
        for (series, point) in report.points() {
            let name = name_of(report, series, point.dim);
            for (over, speedup) in point.speedups() {
                let name = format!("{name}/speedup-over-{over}");
                entries.push(entry(name, "x", speedup, point.rounds, point.samples));
            }
        }
        pretty_json(&entries)
    }
}

fn entry(name: String, unit: &'static str, e: &Estimate, rounds: usize, samples: usize) -> Entry {
    Entry {
        name,
        unit,
        value: e.value,
        range: Some(format!("[{}, {}]", e.low, e.high)),
        extra: Some(format!("95 % interval; {rounds} processes, {samples} samples")),
    }
}
