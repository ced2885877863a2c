//! `summary.json`: the run's facts and every estimate, in SI units and bytes.

use serde::Serialize;

use super::{Report, pretty_json};
use crate::record::run::Run;
use crate::statistics::summary::Summary;

#[derive(Serialize)]
struct File<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    run: &'a Run,
}

/// The contents of `summary.json`. It reads back as a [`Summary`]; the key `run` holds the contents of `run.json`.
pub(super) fn render(report: &Report<'_>) -> String {
    pretty_json(&File { summary: report.summary, run: &report.study.run })
}
