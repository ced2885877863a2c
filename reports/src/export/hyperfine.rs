//! The JSON that hyperfine writes with `--export-json`, for its plotting scripts and what reads it.
//!
//! Schema: `BenchmarkResult` of <https://github.com/sharkdp/hyperfine>, `src/benchmark/benchmark_result.rs`. A
//! "command" is a cell and a "time" one sample. User and system time are not measured here and are 0.

use serde_json::json;

use super::{Report, name_of, pretty_json};

/// The contents of `hyperfine.json`.
pub(super) fn render(report: &Report<'_>) -> String {
    let settings = &report.study.run.settings;
    let mut results = Vec::new();
    for (series, point) in report.points() {
        let records = report.records(series, point);
        let times: Vec<f64> = records.iter().flat_map(|r| r.seconds.iter().copied()).collect();
        let memory: Option<Vec<u64>> = records.iter().flat_map(|r| r.seconds.iter().map(|_| r.peak_bytes)).collect();
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let mut result = json!({
            "command": name_of(report, series, point.dim),
            "mean": mean,
            "stddev": stddev(&times, mean),
            "median": point.seconds.value,
            "user": 0.0,
            "system": 0.0,
            "min": times.iter().copied().fold(f64::INFINITY, f64::min),
            "max": times.iter().copied().fold(0.0, f64::max),
            "times": times,
            "exit_codes": vec![0; times.len()],
            "parameters": {
                "dim": point.dim.to_string(),
                "batch": series.batch.to_string(),
                "layers": series.layers.to_string(),
                "method": series.method,
                "device": series.device,
                "arithmetic": settings.arithmetic(series.device),
                "threads": series.threads.to_string(),
                "bias": settings.bias.to_string(),
                "activation": settings.activation,
            },
        });
        if let Some(memory) = memory {
            result["memory_usage_byte"] = json!(memory);
        }
        results.push(result);
    }
    pretty_json(&json!({ "results": results }))
}

fn stddev(times: &[f64], mean: f64) -> Option<f64> {
    let square: f64 = times.iter().map(|t| (t - mean).powi(2)).sum();
    (times.len() > 1).then(|| (square / (times.len() - 1) as f64).sqrt())
}
