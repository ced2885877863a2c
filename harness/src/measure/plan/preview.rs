//! `--list`: what a sweep would do and cost, as far as that can be known beforehand.

use relgrad_reports::record::Point;
use relgrad_reports::units;

use super::schedule::{Schedule, Step};

/// Tells, line by line, the cells still without a record, in the order in which they would run if every prediction came
/// true.
pub(crate) fn table(mut schedule: Schedule, spent_seconds: f64, mut tell: impl FnMut(&str)) {
    let (cells, recorded) = schedule.progress();
    let is_guess = recorded == 0 && !schedule.is_expected();
    let mut line = |fields: [&str; 9]| {
        let [method, dim, batch, layers, threads, round, seconds, bytes, verdict] = fields;
        let place = format!("{method:<18} {dim:>8} {batch:>6} {layers:>3} {threads:>7} {round:>5}");
        tell(&format!("{place}  {seconds:>14}  {bytes:>10}  {verdict}"));
    };
    line(["method", "D", "N", "L", "threads", "round", "one evaluation", "memory", "plan"]);
    let (mut wanted_seconds, mut runs) = (0.0, 0);
    loop {
        let (cell, prediction, verdict) = match schedule.next(spent_seconds + wanted_seconds) {
            Step::Done => break,
            Step::Skip { planned, prediction, reason } => (planned.cell, prediction, format!("skip: {reason}")),
            Step::Run(assignment) => {
                let seconds = assignment.expected_seconds;
                wanted_seconds += seconds;
                runs += 1;
                let verdict = format!("run, about {}", units::seconds(seconds));
                (assignment.planned.cell, assignment.forecast.prediction(), verdict)
            }
        };
        schedule.mark(&cell);
        line([
            cell.method.name(),
            &units::grouped(cell.point.dim),
            &units::grouped(cell.point.batch),
            &cell.point.layers.to_string(),
            &on(&cell.point),
            &(cell.round + 1).to_string(),
            &units::seconds(prediction.seconds),
            &units::bytes(prediction.peak_bytes),
            &verdict,
        ]);
    }
    let about = if runs == 0 { String::new() } else { format!(" in about {}", units::seconds(wanted_seconds)) };
    let (cells, skips) = (units::counted(cells, "cell"), cells - recorded - runs);
    tell(&format!("\n{cells}: {recorded} recorded, {runs} to run{about}, {skips} to skip"));
    if is_guess {
        tell("Predictions assume a modest machine; a sweep corrects them by its measurements.");
    }
}

/// The threads of a cell, and its ranks where there are several.
fn on(point: &Point) -> String {
    match point.ranks {
        1 => point.threads.to_string(),
        ranks => format!("{} in {ranks}", point.threads),
    }
}
