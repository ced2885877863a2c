//! Files for other programs, held against the fields of the programs' published schemas. Unknown fields are refused, so
//! that a misspelt one is found.

use std::collections::BTreeSet;

use relgrad_reports::export::{FORMATS, Field, Frame, Report, records, samples};
use relgrad_reports::fixture;
use relgrad_reports::history::Entry;
use relgrad_reports::record::Record;
use relgrad_reports::study::Study;
use relgrad_reports::summary::Summary;
use serde_json::Value;

/// Measured points of the fixture: relative, ordinary, autodiff.
const MEASURED: usize = 8 + 6 + 4;

fn render(name: &str) -> String {
    render_of(name, &fixture::study())
}

fn render_of(name: &str, study: &Study) -> String {
    let summary = Summary::of(study);
    let format = FORMATS.into_iter().find(|format| format.name == name).expect("a format");
    (format.render)(&Report { study, summary: &summary, figures: &[] })
}

/// Cells on other numbers of threads are other cells, whatever the format.
#[test]
fn numbers_of_threads_are_kept_apart() {
    let study = fixture::study_with_threads();
    let benchmarks = json(&render_of("bencher", &study));
    assert_eq!(benchmarks.as_object().expect("benchmarks").len(), 3 * MEASURED);
    let google = json(&render_of("google-benchmark", &study));
    let four = list(&google["benchmarks"]).iter().filter(|entry| text(entry, "run_name").contains("/threads=4/"));
    assert!(four.map(|entry| assert_eq!(entry["threads"], 4)).count() == 4 * MEASURED, "three processes, one median");
    let csv = render_of("csv", &study);
    let of = |threads: &str| csv.lines().filter(|line| line.contains(&format!(",{threads},1,false,"))).count();
    assert_eq!(["1", "2", "4"].map(of), [24; 3]);
    let latex = render_of("latex", &study);
    assert!(latex.contains("$L = 2$, 4 threads)") && latex.contains("1, 2, 4 threads on the CPU"), "{latex}");
    let cells = Entry::of(&study).cells;
    let distinct: BTreeSet<_> = cells.iter().map(|cell| (cell.method.name(), cell.dim, cell.threads)).collect();
    assert_eq!((cells.len(), distinct.len()), (3 * MEASURED, 3 * MEASURED));
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().expect("a text")
}

fn number(object: &Value, field: &str) -> f64 {
    object[field].as_f64().expect("a number")
}

/// Whether an object has the fields of a schema and no other: `name: type`, `name?: type` for one that may be absent.
fn check(object: &Value, schema: &str) {
    let fields = object.as_object().expect("an object");
    let mut known = BTreeSet::new();
    for (name, kind) in schema.split_whitespace().map(|entry| entry.split_once(':').expect("name:type")) {
        let (name, may_be_absent) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
        known.insert(name);
        let fits = |value: &Value| match kind {
            "text" => value.is_string(),
            "number" => value.is_f64(),
            "whole" => value.is_u64(),
            "yes/no" => value.is_boolean(),
            "numbers" => list(value).iter().all(Value::is_f64),
            "wholes" => list(value).iter().all(Value::is_u64),
            "list" => value.is_array(),
            "texts" => value.as_object().is_some_and(|texts| texts.values().all(Value::is_string)),
            "object" => value.is_object(),
            other => panic!("no type {other}"),
        };
        let found = fields.get(name);
        assert!(found.map_or(may_be_absent, fits), "{name} is {found:?}, not a {kind}");
    }
    let unknown: Vec<_> = fields.keys().filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// `BenchmarkResult` of github-action-benchmark's `src/extract.ts`.
#[test]
fn github_action_benchmark() {
    let [smaller, bigger] = ["github-action-smaller", "github-action-bigger"].map(|name| json(&render(name)));
    let (smaller, bigger) = (list(&smaller), list(&bigger));
    assert_eq!(smaller.len(), 2 * MEASURED);
    assert!(bigger.iter().all(|e| text(e, "name").contains("/speedup-over-") && text(e, "unit") == "x"));
    for entry in smaller.iter().chain(bigger) {
        check(entry, "name:text value:number unit:text range?:text extra?:text");
        assert!(number(entry, "value") > 0.0 && !text(entry, "name").is_empty() && !text(entry, "unit").is_empty());
        assert_eq!(entry.get("range").is_some(), entry.get("extra").is_some());
    }
    let names: BTreeSet<&str> = smaller.iter().chain(bigger).map(|entry| text(entry, "name")).collect();
    assert_eq!(names.len(), smaller.len() + bigger.len(), "the action tells benchmarks apart by name");
}

/// `https://bencher.dev/bmf.json`: benchmark, measure, metric; `value` is required.
#[test]
fn bencher_metric_format() {
    let benchmarks = json(&render("bencher"));
    let all = benchmarks.as_object().expect("benchmarks");
    assert_eq!(all.len(), MEASURED);
    for (name, measures) in all {
        assert!(name.len() <= 1024 && measures.get("latency").is_some(), "{name}");
        for (measure, metric) in measures.as_object().expect("measures") {
            check(metric, "value:number lower_value?:number upper_value?:number");
            assert!(measure.len() <= 64, "{measure}");
            let value = number(metric, "value");
            assert!(metric.get("lower_value").is_none_or(|low| low.as_f64().unwrap() <= value));
            assert!(metric.get("upper_value").is_none_or(|high| high.as_f64().unwrap() >= value));
        }
    }
    let latency = &benchmarks["relative/cpu/f32/threads=2/smooth:0.3/N=100/L=2/D=1000"]["latency"];
    assert!((1e7..1e8).contains(&number(latency, "value")), "nanoseconds: {latency}");
}

/// What google-benchmark's `src/json_reporter.cc` writes.
#[test]
fn google_benchmark() {
    let file = json(&render("google-benchmark"));
    check(&file, "context:object benchmarks:list");
    check(
        &file["context"],
        "date:text host_name:text executable:text num_cpus:whole mhz_per_cpu:whole cpu_scaling_enabled:yes/no \
         caches:list load_avg:numbers library_build_type:text",
    );
    assert!(["release", "debug"].contains(&text(&file["context"], "library_build_type")));
    let of_type = |kind| list(&file["benchmarks"]).iter().filter(move |b| text(b, "run_type") == kind);
    assert_eq!((of_type("aggregate").count(), of_type("iteration").count()), (MEASURED, 3 * MEASURED));
    assert_eq!(list(&file["benchmarks"]).len(), 4 * MEASURED);
    for benchmark in list(&file["benchmarks"]) {
        check(
            benchmark,
            "name:text run_name:text run_type:text repetitions:whole repetition_index?:whole threads:whole \
             aggregate_name?:text iterations:whole real_time:number cpu_time:number time_unit:text \
             max_bytes_used?:whole label?:text",
        );
        assert!(["ns", "us", "ms", "s"].contains(&text(benchmark, "time_unit")));
    }
    assert!(of_type("iteration").all(|b| b.get("repetition_index").is_some() && b.get("aggregate_name").is_none()));
    for aggregate in of_type("aggregate") {
        assert_eq!(text(aggregate, "aggregate_name"), "median");
        assert_eq!(text(aggregate, "name"), format!("{}_median", text(aggregate, "run_name")));
    }
}

/// `BenchmarkResult` of hyperfine's `src/benchmark/benchmark_result.rs`.
#[test]
fn hyperfine() {
    let file = json(&render("hyperfine"));
    check(&file, "results:list");
    assert_eq!(list(&file["results"]).len(), MEASURED);
    for result in list(&file["results"]) {
        check(
            result,
            "command:text mean:number stddev:number median:number user:number system:number min:number max:number \
             times:numbers memory_usage_byte?:wholes exit_codes:wholes parameters:texts",
        );
        let of = |field| number(result, field);
        assert!(!text(result, "command").is_empty());
        assert!(of("min") <= of("median") && of("median") <= of("max"));
        assert!(of("min") <= of("mean") && of("mean") <= of("max") && of("stddev") > 0.0);
        assert_eq!((of("user"), of("system")), (0.0, 0.0));
        for field in ["exit_codes", "memory_usage_byte"] {
            assert_eq!(list(&result[field]).len(), list(&result["times"]).len());
        }
        assert!(text(&result["parameters"], "dim").parse::<usize>().is_ok());
    }
}

/// Extra-P's `docs/file-formats.md`, JSON Lines.
#[test]
fn extra_p() {
    let lines: Vec<Value> = render("extra-p").lines().map(json).collect();
    assert_eq!(lines.len(), 2 * MEASURED);
    for line in &lines {
        check(line, "params:object value:numbers callpath:text metric:text");
        check(&line["params"], "D:number N:number L:number");
        assert!(number(&line["params"], "D") >= 10.0);
        assert_eq!(list(&line["value"]).len(), 3, "one value a process");
        let (method, settings) = text(line, "callpath").split_once('/').unwrap();
        assert!(["relative", "ordinary", "autodiff"].contains(&method));
        assert_eq!(settings, "cpu/f32/threads=2/smooth:0.3");
        assert!(["time", "memory"].contains(&text(line, "metric")));
    }
}

#[test]
fn csv_has_a_header_and_a_row_a_cell() {
    assert_eq!(render("csv").lines().count(), 1 + 3 * 8);
}

/// One row a sample of the records that count, one row a record of all.
#[test]
fn tables_have_every_sample_and_every_record() {
    let mut study = fixture::study();
    let again = Record { attempt: 1, ..study.records[0].clone() };
    study.replaced = vec![again];
    let (samples, records) = (samples(&study), records(&study));
    let measured = study.records.iter().filter(|record| record.is_valid());
    let seconds: Vec<Field> =
        measured.flat_map(|record| record.seconds.iter().map(|&seconds| Field::Number(Some(seconds)))).collect();
    assert!(seconds.len() > 100);
    let column = |frame: &Frame, name: &str| {
        let at = frame.names.iter().position(|known| known == name).expect("a column");
        frame.rows.iter().map(|row| row[at].clone()).collect::<Vec<_>>()
    };
    assert_eq!(column(&samples, "seconds"), seconds);
    assert_eq!(records.rows.len(), study.records.len() + 1);
    let counts = column(&records, "counts");
    assert_eq!(counts.iter().filter(|counts| **counts == Field::Flag(false)).count(), 1);
    assert_eq!(counts.last(), Some(&Field::Flag(false)));
    for (frame, format) in [(&samples, "table"), (&records, "table-records")] {
        assert!(frame.rows.iter().all(|row| row.len() == frame.names.len()));
        // A column has one kind of value.
        let kinds = |row: &Vec<Field>| row.iter().map(std::mem::discriminant).collect::<Vec<_>>();
        assert!(frame.rows.iter().all(|row| kinds(row) == kinds(&frame.rows[0])));
        assert_eq!(frame.to_csv().lines().count(), frame.rows.len() + 1);
        assert_eq!(render(format).lines().next(), frame.to_csv().lines().next());
    }
}

/// Every row of the table has as many columns, every brace its partner, and units stand with the numbers.
#[test]
fn latex_is_a_whole_table_of_booktabs() {
    let table = render("latex");
    let lines = || table.lines().filter(|line| line.ends_with(" \\\\"));
    assert_eq!(lines().count(), 1 + 3 + 3 * 8);
    for line in lines() {
        let unescaped = line.replace("\\&", "");
        let spanned: usize = match unescaped.split_once("\\multicolumn{") {
            Some((_, rest)) => rest[..1].parse::<usize>().unwrap() - 1,
            None => 0,
        };
        assert_eq!(unescaped.matches('&').count() + spanned, 4, "{line}");
    }
    let plain = table.replace("\\{", "").replace("\\}", "");
    assert_eq!(plain.matches('{').count(), plain.matches('}').count());
    for part in ["\\toprule", "\\bottomrule", "$\\mu$s {[}", "$\\times$ {[}", " MiB \\\\", "exponent 2.0", "95\\,\\%"] {
        assert!(table.contains(part), "no {part}: {table}");
    }
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
    for format in FORMATS {
        assert!(!(format.render)(&report).contains("137953"), "{}", format.name);
    }
}
