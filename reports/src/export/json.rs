//! `summary.json`: the run's facts and every estimate, in SI units and bytes.

use serde::Serialize;

use super::{Exporter, Report};
use crate::run::Run;
use crate::summary::Summary;

/// Writes `summary.json`. It reads back as a [`Summary`]; the key `run` holds the contents of `run.json`.
#[derive(Debug, Clone, Copy)]
pub struct Json;

#[derive(Serialize)]
struct File<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    run: &'a Run,
}

impl Exporter for Json {
    fn file_name(&self) -> &'static str {
        "summary.json"
    }

    fn render(&self, report: &Report<'_>) -> String {
        let file = File { summary: report.summary, run: &report.study.run };
        // Serialising these types fails only for maps whose keys are not strings, and they hold no map.
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }
}
