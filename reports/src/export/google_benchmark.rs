//! The JSON that google-benchmark writes with `--benchmark_format=json`, for its `tools/compare.py` and what reads it.
//!
//! Schema: `src/json_reporter.cc` of <https://github.com/google/benchmark>. A process is a repetition. The CPU time
//! that the format demands is not measured here: it repeats the wall-clock time, and every entry says so in its label.

use serde_json::{Value, json};

use super::{Report, name_of, pretty_json};
use crate::record::Record;
use crate::record::run::Run;
use crate::statistics::median;

/// The contents of `google-benchmark.json`.
pub(super) fn render(report: &Report<'_>) -> String {
    let run = &report.study.run;
    let mut benchmarks = Vec::new();
    for (series, point) in report.points() {
        let run_name = name_of(report, series, point.dim);
        let entry = |nanoseconds: f64, threads, iterations, own: Value| {
            let mut entry = json!({
                "name": run_name, "run_name": run_name, "repetitions": point.rounds, "threads": threads,
                "iterations": iterations, "real_time": nanoseconds, "cpu_time": nanoseconds, "time_unit": "ns",
                "label": "cpu_time repeats real_time",
            });
            if let (Value::Object(entry), Value::Object(own)) = (&mut entry, own) {
                entry.extend(own.into_iter().filter(|(_, value)| !value.is_null()));
            }
            entry
        };
        let repetition = |record: &Record| {
            let iterations = record.seconds.len() as u64 * record.evaluations_per_sample;
            let own = json!({
                "run_type": "iteration", "repetition_index": record.cell.round, "max_bytes_used": record.peak_bytes,
            });
            Some(entry(1e9 * median(&record.seconds)?, record.cell.point.threads, iterations, own))
        };
        benchmarks.extend(report.records(series, point).into_iter().filter_map(repetition));
        let name = format!("{run_name}_median");
        let own = json!({ "name": name, "run_type": "aggregate", "aggregate_name": "median" });
        benchmarks.push(entry(1e9 * point.seconds.value, series.threads, point.rounds as u64, own));
    }
    pretty_json(&json!({ "context": context(run), "benchmarks": benchmarks }))
}

fn context(run: &Run) -> Value {
    json!({
        "date": run.started,
        "host_name": run.machine.cpu,
        "executable": run.command.first().map_or("", String::as_str),
        "num_cpus": run.machine.logical_cores,
        "mhz_per_cpu": run.machine.frequency_mhz.unwrap_or(0.0) as u64,
        "cpu_scaling_enabled": run.machine.governor.is_some(),
        "caches": [],
        "load_avg": run.machine.load_average.into_iter().collect::<Vec<_>>(),
        "library_build_type": "release",
    })
}
