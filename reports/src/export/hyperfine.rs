//! The JSON that hyperfine writes with `--export-json`, for its plotting scripts and what reads it.
//!
//! Schema: `BenchmarkResult` of <https://github.com/sharkdp/hyperfine>, `src/benchmark/benchmark_result.rs`. A
//! "command" is a cell and a "time" one sample. User and system time are not measured here and are 0.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Exporter, Report, name_of, pretty_json};
use crate::run::Settings;

/// Writes `hyperfine.json`.
#[derive(Debug, Clone, Copy)]
pub struct Hyperfine;

#[derive(Serialize)]
struct File {
    results: Vec<Benchmark>,
}

#[derive(Serialize)]
struct Benchmark {
    command: String,
    mean: f64,
    stddev: Option<f64>,
    median: f64,
    user: f64,
    system: f64,
    min: f64,
    max: f64,
    times: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_usage_byte: Option<Vec<u64>>,
    exit_codes: Vec<Option<i32>>,
    parameters: BTreeMap<String, String>,
}

impl Exporter for Hyperfine {
    fn file_name(&self) -> &'static str {
        "hyperfine.json"
    }

    fn render(&self, report: &Report<'_>) -> String {
        let mut results = Vec::new();
        for (series, point) in report.points() {
            let records = report.records(series, point);
            let times: Vec<f64> = records.iter().flat_map(|r| r.seconds.iter().copied()).collect();
            let memory: Option<Vec<u64>> =
                records.iter().flat_map(|r| r.seconds.iter().map(|_| r.peak_bytes)).collect();
            let numbers = [("dim", point.dim), ("batch", series.batch), ("layers", series.layers)];
            let parameters = numbers.map(|(name, number)| (name, number.to_string())).into_iter();
            let Settings { threads, bias, activation, .. } = &report.study.run.settings;
            let settings = [
                ("method", series.method.to_string()),
                ("device", series.device.to_string()),
                ("arithmetic", report.study.run.settings.arithmetic(series.device).to_string()),
                ("threads", threads.to_string()),
                ("bias", bias.to_string()),
                ("activation", activation.to_string()),
            ];
            let parameters = parameters.chain(settings);
            let mean = times.iter().sum::<f64>() / times.len() as f64;
            results.push(Benchmark {
                command: name_of(report, series, point.dim),
                mean,
                stddev: stddev(&times, mean),
                median: point.seconds.value,
                user: 0.0,
                system: 0.0,
                min: times.iter().copied().fold(f64::INFINITY, f64::min),
                max: times.iter().copied().fold(0.0, f64::max),
                exit_codes: vec![Some(0); times.len()],
                times,
                memory_usage_byte: memory,
                parameters: parameters.map(|(name, value)| (name.to_string(), value)).collect(),
            });
        }
        pretty_json(&File { results })
    }
}

fn stddev(times: &[f64], mean: f64) -> Option<f64> {
    let square: f64 = times.iter().map(|t| (t - mean).powi(2)).sum();
    (times.len() > 1).then(|| (square / (times.len() - 1) as f64).sqrt())
}
