//! The JSON that google-benchmark writes with `--benchmark_format=json`, for its `tools/compare.py` and what reads it.
//!
//! Schema: `src/json_reporter.cc` of <https://github.com/google/benchmark>. A process is a repetition. The CPU time
//! that the format demands is not measured here: it repeats the wall-clock time, and every entry says so in its label.

use serde::Serialize;

use super::{Exporter, Report, name_of, pretty_json};
use crate::record::Record;
use crate::stats::median;

/// Writes `google-benchmark.json`.
#[derive(Debug, Clone, Copy)]
pub struct GoogleBenchmark;

#[derive(Serialize)]
struct File {
    context: Context,
    benchmarks: Vec<Benchmark>,
}

#[derive(Serialize)]
struct Context {
    date: String,
    host_name: String,
    executable: String,
    num_cpus: usize,
    mhz_per_cpu: u64,
    cpu_scaling_enabled: bool,
    caches: Vec<String>,
    load_avg: Vec<f64>,
    library_build_type: &'static str,
}

#[derive(Serialize)]
struct Benchmark {
    name: String,
    run_name: String,
    run_type: &'static str,
    repetitions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition_index: Option<usize>,
    threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregate_name: Option<&'static str>,
    iterations: u64,
    real_time: f64,
    cpu_time: f64,
    time_unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes_used: Option<u64>,
    label: &'static str,
}

const LABEL: &str = "cpu_time repeats real_time";

impl Exporter for GoogleBenchmark {
    fn file_name(&self) -> &'static str {
        "google-benchmark.json"
    }

    fn render(&self, report: &Report<'_>) -> String {
        let run = &report.study.run;
        let mut benchmarks = Vec::new();
        for (series, point) in report.points() {
            let name = name_of(report, series, point.dim);
            let repetition = |record: &Record| {
                let nanoseconds = 1e9 * median(&record.seconds)?;
                Some(Benchmark {
                    repetition_index: Some(record.cell.round),
                    iterations: record.seconds.len() as u64 * record.evaluations_per_sample,
                    max_bytes_used: record.peak_bytes,
                    ..blank(&name, nanoseconds, point.rounds, record.cell.point.threads)
                })
            };
            benchmarks.extend(report.records(series, point).into_iter().filter_map(repetition));
            benchmarks.push(Benchmark {
                name: format!("{name}_median"),
                run_type: "aggregate",
                aggregate_name: Some("median"),
                iterations: point.rounds as u64,
                ..blank(&name, 1e9 * point.seconds.value, point.rounds, run.settings.threads)
            });
        }
        pretty_json(&File { context: context(report), benchmarks })
    }
}

fn blank(name: &str, nanoseconds: f64, repetitions: usize, threads: usize) -> Benchmark {
    Benchmark {
        name: name.into(),
        run_name: name.into(),
        run_type: "iteration",
        repetitions,
        repetition_index: None,
        threads,
        aggregate_name: None,
        iterations: 1,
        real_time: nanoseconds,
        cpu_time: nanoseconds,
        time_unit: "ns",
        max_bytes_used: None,
        label: LABEL,
    }
}

fn context(report: &Report<'_>) -> Context {
    let run = &report.study.run;
    Context {
        date: run.started.clone(),
        host_name: run.machine.cpu.clone(),
        executable: run.command.first().cloned().unwrap_or_default(),
        num_cpus: run.machine.logical_cores,
        mhz_per_cpu: run.machine.frequency_mhz.unwrap_or(0.0) as u64,
        cpu_scaling_enabled: run.machine.governor.is_some(),
        caches: Vec::new(),
        load_avg: run.machine.load_average.into_iter().collect(),
        library_build_type: "release",
    }
}
