//! Files for other programs, read back through types transcribed from the programs' published schemas. Unknown fields
//! are refused, so that a misspelt one is found.

use std::collections::BTreeMap;

use relgrad_reports::export::{Report, formats};
use relgrad_reports::fixture;
use relgrad_reports::summary::Summary;
use serde::Deserialize;

/// Measured points of the fixture: relative, ordinary, autodiff.
const MEASURED: usize = 8 + 6 + 4;

fn render(format: &str) -> String {
    let study = fixture::study();
    let summary = Summary::of(&study);
    let (_, exporter) = formats().into_iter().find(|(name, _)| *name == format).expect("a format");
    exporter.render(&Report { study: &study, summary: &summary, figures: &[] })
}

/// `BenchmarkResult` of github-action-benchmark's `src/extract.ts`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionEntry {
    name: String,
    value: f64,
    unit: String,
    range: Option<String>,
    extra: Option<String>,
}

#[test]
fn github_action_benchmark() {
    let smaller: Vec<ActionEntry> = serde_json::from_str(&render("github-action-smaller")).expect("an array");
    assert_eq!(smaller.len(), 2 * MEASURED);
    let bigger: Vec<ActionEntry> = serde_json::from_str(&render("github-action-bigger")).expect("an array");
    assert!(bigger.iter().all(|e| e.name.contains("/speedup-over-") && e.unit == "x"));
    for entry in smaller.iter().chain(&bigger) {
        assert!(entry.value > 0.0 && !entry.name.is_empty() && !entry.unit.is_empty());
        assert_eq!(entry.range.is_some(), entry.extra.is_some());
    }
    let mut names: Vec<&str> = smaller.iter().chain(&bigger).map(|e| e.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), smaller.len() + bigger.len(), "the action tells benchmarks apart by name");
}

/// `https://bencher.dev/bmf.json`: benchmark, measure, metric; `value` is required.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BencherMetric {
    value: f64,
    lower_value: Option<f64>,
    upper_value: Option<f64>,
}

#[test]
fn bencher_metric_format() {
    type Benchmarks = BTreeMap<String, BTreeMap<String, BencherMetric>>;
    let benchmarks: Benchmarks = serde_json::from_str(&render("bencher")).expect("benchmarks");
    assert_eq!(benchmarks.len(), MEASURED);
    for (name, measures) in &benchmarks {
        assert!(name.len() <= 1024, "{name}");
        assert!(measures.contains_key("latency"));
        for (measure, metric) in measures {
            assert!(measure.len() <= 64, "{measure}");
            assert!(metric.lower_value.is_none_or(|low| low <= metric.value));
            assert!(metric.upper_value.is_none_or(|high| high >= metric.value));
        }
    }
    let latency = &benchmarks["relative/cpu/f32/threads=2/smooth:0.3/N=100/L=2/D=1000"]["latency"];
    assert!((1e7..1e8).contains(&latency.value), "nanoseconds: {}", latency.value);
}

/// What google-benchmark's `src/json_reporter.cc` writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoogleFile {
    context: GoogleContext,
    benchmarks: Vec<GoogleBenchmark>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "presence and type are what is tested")]
struct GoogleContext {
    date: String,
    host_name: String,
    executable: String,
    num_cpus: i64,
    mhz_per_cpu: i64,
    cpu_scaling_enabled: bool,
    caches: Vec<serde_json::Value>,
    load_avg: Vec<f64>,
    library_build_type: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "presence and type are what is tested")]
struct GoogleBenchmark {
    name: String,
    run_name: String,
    run_type: String,
    repetitions: i64,
    repetition_index: Option<i64>,
    threads: i64,
    aggregate_name: Option<String>,
    iterations: i64,
    real_time: f64,
    cpu_time: f64,
    time_unit: String,
    max_bytes_used: Option<i64>,
    label: Option<String>,
}

#[test]
fn google_benchmark() {
    let file: GoogleFile = serde_json::from_str(&render("google-benchmark")).expect("the reporter's JSON");
    assert!(["release", "debug"].contains(&file.context.library_build_type.as_str()));
    let (iterations, aggregates): (Vec<_>, Vec<_>) = file.benchmarks.iter().partition(|b| b.run_type == "iteration");
    assert_eq!(aggregates.len(), MEASURED);
    assert_eq!(iterations.len(), 3 * MEASURED);
    assert!(iterations.iter().all(|b| b.repetition_index.is_some() && b.aggregate_name.is_none()));
    for aggregate in aggregates {
        assert_eq!(aggregate.run_type, "aggregate");
        assert_eq!(aggregate.aggregate_name.as_deref(), Some("median"));
        assert_eq!(aggregate.name, format!("{}_median", aggregate.run_name));
        assert!(["ns", "us", "ms", "s"].contains(&aggregate.time_unit.as_str()));
    }
}

/// `BenchmarkResult` of hyperfine's `src/benchmark/benchmark_result.rs`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HyperfineResult {
    command: String,
    mean: f64,
    stddev: Option<f64>,
    median: f64,
    user: f64,
    system: f64,
    min: f64,
    max: f64,
    times: Vec<f64>,
    memory_usage_byte: Option<Vec<u64>>,
    exit_codes: Vec<Option<i32>>,
    parameters: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HyperfineFile {
    results: Vec<HyperfineResult>,
}

#[test]
fn hyperfine() {
    let file: HyperfineFile = serde_json::from_str(&render("hyperfine")).expect("the export");
    assert_eq!(file.results.len(), MEASURED);
    for result in &file.results {
        assert!(!result.command.is_empty());
        assert!(result.min <= result.median && result.median <= result.max);
        assert!(result.min <= result.mean && result.mean <= result.max);
        assert!(result.stddev.is_some_and(|s| s > 0.0));
        assert_eq!((result.user, result.system), (0.0, 0.0));
        assert_eq!(result.exit_codes.len(), result.times.len());
        assert_eq!(result.memory_usage_byte.as_ref().map(Vec::len), Some(result.times.len()));
        assert!(result.parameters["dim"].parse::<usize>().is_ok());
    }
}

/// Extra-P's `docs/file-formats.md`, JSON Lines.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtraPLine {
    params: BTreeMap<String, f64>,
    value: Vec<f64>,
    callpath: String,
    metric: String,
}

#[test]
fn extra_p() {
    let text = render("extra-p");
    let lines: Vec<ExtraPLine> = text.lines().map(|line| serde_json::from_str(line).expect("a measurement")).collect();
    assert_eq!(lines.len(), 2 * MEASURED);
    for line in &lines {
        assert!(line.params["D"] >= 10.0);
        assert_eq!(line.value.len(), 3, "one value a process");
        let (method, settings) = line.callpath.split_once('/').unwrap();
        assert!(["relative", "ordinary", "autodiff"].contains(&method));
        assert_eq!(settings, "cpu/f32/threads=2/smooth:0.3");
        assert!(["time", "memory"].contains(&line.metric.as_str()));
    }
}

#[test]
fn csv_has_a_header_and_a_row_a_cell() {
    assert_eq!(render("csv").lines().count(), 1 + 3 * 8);
}

/// Of a cell whose gradient failed its check in one round the times of that round are nobody's.
#[test]
fn times_of_wrong_gradients_are_not_exported() {
    let mut study = fixture::study();
    for record in study.records.iter_mut().filter(|r| r.cell.round == 1) {
        if let Some(check) = &mut record.check {
            check.max_rel_err = 0.5;
            record.seconds.iter_mut().for_each(|seconds| *seconds = 137_953.0);
        }
    }
    let summary = Summary::of(&study);
    let report = Report { study: &study, summary: &summary, figures: &[] };
    for (name, exporter) in formats() {
        let text = exporter.render(&report);
        assert!(!text.contains("137953"), "{name}");
    }
}
