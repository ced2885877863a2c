//! What makes a page answer: the script, its style, and the numbers that it shows, embedded once as JSON.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::{Value, json};

use super::chart::{Chart, cell_key, series_key};
use super::document::{label, measurements};
use crate::export::{Figure, Report};
use crate::record::{Clocks, Record};
use crate::statistics::median;
use crate::units::{self, NONE, grouped};

/// Rules for what the script adds.
pub(super) const STYLE: &str = include_str!("web/explore.css");
/// The script, whole; it starts at the end of the page.
const SCRIPT: &str = concat!(
    "'use strict';\n(() => {\n",
    include_str!("web/page.js"),
    include_str!("web/format.js"),
    include_str!("web/axis.js"),
    include_str!("web/chart.js"),
    include_str!("web/samples.js"),
    include_str!("web/explore.js"),
    include_str!("web/tables.js"),
    "})();\n"
);
/// Most samples of a process in a page.
const MOST_SAMPLES: usize = 120;
/// Most processes of a page that have their samples in it.
const MOST_PROCESSES: usize = 1500;
/// How the columns of the measurements begin that a point shows without a click.
const FIRST: [&str; 3] = ["time", "peak memory", "samples"];

/// The elements at the end of a page: its numbers, then the script.
pub(super) fn elements(mut data: Value, charts: &[(&str, &Chart)]) -> String {
    data["units"] = units::tables();
    data["style"] = json!(charts.first().map(|(_, chart)| &chart.style));
    data["figures"] = charts.iter().map(|(name, chart)| (name.to_string(), json!(chart))).collect();
    format!("<script type=\"application/json\" id=\"data\">{}</script>\n<script>\n{SCRIPT}</script>\n", embedded(&data))
}

/// JSON that cannot end its element or open another: no text of it holds a `<`, or a character that controls.
fn embedded(data: &Value) -> String {
    let text = data.to_string();
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '<' || c.is_control() {
            escaped += &format!("\\u{:04x}", c as u32);
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// The figures that a page can draw again.
pub(super) fn charts(figures: &[Figure]) -> Vec<(&str, &Chart)> {
    figures.iter().filter_map(|figure| Some((figure.name.as_str(), figure.chart.as_ref()?))).collect()
}

/// The cells of a report: the texts of their row in the table of measurements, and their samples.
pub(super) fn cells(report: &Report<'_>) -> Value {
    let study = report.study;
    let clocks = study.clocks();
    let begin = study.records.iter().map(|r| r.started_unix_seconds).filter(|t| *t > 0.0).fold(f64::INFINITY, f64::min);
    let mut records: HashMap<_, Vec<(&Record, bool)>> = HashMap::new();
    let all = study.records.iter().map(|r| (r, true)).chain(study.replaced.iter().map(|r| (r, false)));
    for (record, counts) in all.filter(|(record, _)| record.is_valid()).take(MOST_PROCESSES) {
        let point = record.cell.point;
        let key = (record.cell.method, point.device, point.held(), point.dim);
        records.entry(key).or_default().push((record, counts));
    }
    let (mut columns, mut cells) = (BTreeMap::new(), BTreeMap::new());
    for series in &report.summary.series {
        let table = measurements(series);
        columns.insert(series_key(series), table.columns().iter().map(|c| c.title.clone()).collect::<Vec<_>>());
        for (point, row) in series.points.iter().zip(table.rows()) {
            let (scale, _) = units::unit_of_seconds(point.seconds.value);
            let key = (series.method, series.device, series.held(), point.dim);
            let mut of_cell = records.remove(&key).unwrap_or_default();
            of_cell.sort_by_key(|(record, _)| (record.cell.round, record.attempt));
            let processes = of_cell.iter().map(|(record, counts)| Raw::of(record, *counts, scale, begin, &clocks));
            let at = format!("{}, D = {}", label(series, &study.run.settings), grouped(point.dim));
            let cell = json!({
                "label": at,
                "columns": series_key(series),
                "facts": row.iter().map(|text| if text == NONE { "" } else { text }).collect::<Vec<_>>(),
                "y": [point.seconds.value, point.seconds.low, point.seconds.high],
                "peak_bytes": point.peak_bytes,
                "bound_bytes": point.model.min_bytes,
                "scale": scale,
                "processes": processes.collect::<Vec<_>>(),
            });
            cells.insert(cell_key(series, point.dim), cell);
        }
    }
    json!({ "columns": columns, "cells": cells, "first": FIRST, "samples": told() })
}

fn told() -> String {
    format!(
        "Each point is a sample, in the order taken; of a process with more than {MOST_SAMPLES} the lowest and the \
         highest of each of {} stretches are shown. The line across a process is the median of all of its samples; \
         dashes and band are the median over the processes with its 95 % interval. Hollow: a process that another \
         replaced.",
        MOST_SAMPLES / 2
    )
}

/// A process that measured a cell.
#[derive(Serialize)]
struct Raw {
    /// Its round, with the attempt where there was more than one.
    name: String,
    counts: bool,
    /// When it began, after the run did.
    began: String,
    /// How many samples it took, and of how many evaluations each.
    samples: String,
    /// From the first sample's beginning to the last one's end.
    span: String,
    median: String,
    median_seconds: f64,
    peak: String,
    /// What disturbed it.
    note: String,
    /// When each sample that is shown ended, in thousandths of the span, and its time over the cell's scale.
    at: Vec<u32>,
    seconds: Vec<f64>,
}

impl Raw {
    fn of(record: &Record, counts: bool, scale: f64, begin: f64, clocks: &Clocks) -> Self {
        let each = record.evaluations_per_sample as f64;
        let ends: Vec<f64> = record.seconds.iter().scan(0.0, |sum, s| Some(add(sum, each * s))).collect();
        let span = ends.last().copied().unwrap_or(0.0);
        let shown = thinned(&record.seconds, MOST_SAMPLES);
        let after = record.started_unix_seconds - begin;
        let samples = units::counted(record.seconds.len(), "sample");
        let attempt = if record.attempt > 0 { format!(".{}", record.attempt + 1) } else { String::new() };
        let quiet = if record.state.is_some() { "quiet" } else { NONE };
        let middle = median(&record.seconds).unwrap_or(f64::NAN);
        Self {
            name: format!("{}{attempt}", record.cell.round + 1),
            counts,
            began: if after.is_finite() && after >= 0.0 { units::seconds(after) } else { NONE.into() },
            samples: if each > 1.0 { format!("{samples} of {} evaluations", units::number(each)) } else { samples },
            span: units::seconds(span),
            median: units::seconds(middle),
            median_seconds: middle,
            peak: record.peak_bytes.map_or(NONE.into(), |bytes| units::bytes(bytes as f64)),
            note: clocks.of_record(record).map_or_else(|| quiet.into(), |disturbance| disturbance.to_string()),
            at: shown.iter().map(|&i| (1000.0 * ends[i] / span).round() as u32).collect(),
            seconds: shown.iter().map(|&i| four_digits(record.seconds[i] / scale)).collect(),
        }
    }
}

fn add(sum: &mut f64, more: f64) -> f64 {
    *sum += more;
    *sum
}

/// More digits than a picture shows only make the page longer.
fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// The places of at most `most` values, ascending: all, or the lowest and the highest of each of `most / 2` stretches.
fn thinned(values: &[f64], most: usize) -> Vec<usize> {
    if values.len() <= most {
        return (0..values.len()).collect();
    }
    let stretches = most / 2;
    let stretch = |i: usize| {
        let places = || i * values.len() / stretches..(i + 1) * values.len() / stretches;
        let by_value = |a: &usize, b: &usize| values[*a].total_cmp(&values[*b]);
        let (low, high) = (places().min_by(by_value), places().max_by(by_value));
        [low.min(high), low.max(high)]
    };
    let mut kept: Vec<usize> = (0..stretches).flat_map(stretch).flatten().collect();
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_all_of_a_few_and_the_extremes_of_many() {
        assert_eq!(thinned(&[3.0, 1.0, 2.0], 4), [0, 1, 2]);
        let mut values: Vec<f64> = (0..10_000).map(|i| f64::from(i % 7)).collect();
        (values[4_321], values[8_765]) = (99.0, -5.0);
        let kept = thinned(&values, 120);
        assert!(kept.len() <= 120 && kept.is_sorted() && kept.contains(&4_321) && kept.contains(&8_765), "{kept:?}");
    }

    #[test]
    fn no_text_of_the_numbers_can_end_their_element() {
        let text = "</script><!--<script>\u{2028}\u{7f}\u{85}\n\"'";
        let json = embedded(&json!({ "a": text }));
        assert!(!json.contains(|c: char| c == '<' || c.is_control()));
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["a"], text);
    }
}
