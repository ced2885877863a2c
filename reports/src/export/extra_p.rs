//! Extra-P's JSON Lines: one measurement a line, for its performance models.
//!
//! Schema: <https://github.com/extra-p/extrap/blob/master/docs/file-formats.md#json-lines-format>. The parameters are
//! D, N and L, the call path the method with its settings, the values the medians of the processes.

use serde_json::json;

use super::Report;
use crate::statistics::median;

/// The contents of `extra-p.jsonl`.
pub(super) fn render(report: &Report<'_>) -> String {
    let mut text = String::new();
    for (series, point) in report.points() {
        let records = report.records(series, point);
        let callpath = report.study.run.settings.name((series.method, series.device), series.held(), None);
        let seconds: Vec<f64> = records.iter().filter_map(|r| median(&r.seconds)).collect();
        let bytes: Vec<f64> = records.iter().filter_map(|r| r.peak_bytes).map(|b| b as f64).collect();
        for (metric, value) in [("time", seconds), ("memory", bytes)].into_iter().filter(|(_, v)| !v.is_empty()) {
            let params = json!({ "D": point.dim as f64, "N": series.batch as f64, "L": series.layers as f64 });
            let line = json!({ "params": params, "callpath": callpath, "metric": metric, "value": value });
            text += &format!("{line}\n");
        }
    }
    text
}
