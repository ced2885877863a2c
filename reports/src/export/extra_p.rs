//! Extra-P's JSON Lines: one measurement a line, for its performance models.
//!
//! Schema: <https://github.com/extra-p/extrap/blob/master/docs/file-formats.md#json-lines-format>. The parameters are
//! D, N and L, the call path the method with its settings, the values the medians of the processes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Exporter, Report};
use crate::stats::median;

/// Writes `extra-p.jsonl`.
#[derive(Debug, Clone, Copy)]
pub struct ExtraP;

#[derive(Serialize)]
struct Line {
    params: BTreeMap<&'static str, f64>,
    callpath: String,
    metric: &'static str,
    value: Vec<f64>,
}

impl Exporter for ExtraP {
    fn file_name(&self) -> &'static str {
        "extra-p.jsonl"
    }

    fn render(&self, report: &Report<'_>) -> String {
        let mut text = String::new();
        for (series, point) in report.points() {
            let records = report.records(series, point);
            let settings = &report.study.run.settings;
            let callpath = settings.name((series.method, series.device), None, |name| name.to_string());
            let seconds = records.iter().filter_map(|r| median(&r.seconds)).collect();
            let bytes = records.iter().filter_map(|r| r.peak_bytes).map(|b| b as f64).collect();
            for (metric, value) in [("time", seconds), ("memory", bytes)] {
                let value: Vec<f64> = value;
                let places = [("D", point.dim), ("N", series.batch), ("L", series.layers)];
                let params = places.map(|(axis, place)| (axis, place as f64)).into();
                let line = Line { params, callpath: callpath.clone(), metric, value };
                if !line.value.is_empty() {
                    // Serialising these types fails only for maps whose keys are not strings, and theirs are.
                    text += &serde_json::to_string(&line).unwrap_or_default();
                    text.push('\n');
                }
            }
        }
        text
    }
}
