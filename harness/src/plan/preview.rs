//! `--list`: what a sweep would do and cost, as far as that can be known beforehand.

use std::fmt::Write;

use super::schedule::{Schedule, Step};
use crate::units;

/// The cells still without a record, in the order in which they would run if every prediction came true.
pub(crate) fn table(schedule: &Schedule, spent_seconds: f64) -> String {
    let mut schedule = schedule.clone();
    let (cells, recorded) = schedule.progress();
    let mut text = String::new();
    let mut line = |fields: [&str; 8]| {
        let [method, dim, batch, layers, round, seconds, bytes, verdict] = fields;
        let _ = writeln!(
            text,
            "{method:<18} {dim:>8} {batch:>6} {layers:>3} {round:>5}  {seconds:>14}  {bytes:>10}  {verdict}"
        );
    };
    line(["method", "D", "N", "L", "round", "one evaluation", "memory", "plan"]);
    let (mut elapsed, mut runs) = (spent_seconds, 0);
    loop {
        let (cell, prediction, verdict) = match schedule.next(elapsed) {
            Step::Done => break,
            Step::Skip { planned, prediction, reason } => {
                (planned.cell, prediction, format!("skip: {reason}"))
            }
            Step::Run(assignment) => {
                let seconds = assignment.expected_seconds;
                elapsed += seconds;
                runs += 1;
                let verdict = format!("run, about {}", units::seconds(seconds));
                (assignment.planned.cell, assignment.forecast.prediction(), verdict)
            }
        };
        schedule.mark(cell.clone());
        line([
            &cell.method,
            &cell.dim.to_string(),
            &cell.batch.to_string(),
            &cell.layers.to_string(),
            &(cell.round + 1).to_string(),
            &units::seconds(prediction.seconds),
            &units::bytes(prediction.peak_bytes),
            &verdict,
        ]);
    }
    let _ = writeln!(
        text,
        "\n{cells} cells: {recorded} recorded, {runs} to run in about {}, {} to skip",
        units::seconds((elapsed - spent_seconds).round()),
        cells - recorded - runs,
    );
    if recorded == 0 {
        text.push_str("Predictions assume a modest machine; a sweep corrects them with what it measures.\n");
    }
    text
}
