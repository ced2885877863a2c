//! Strong scaling: the same gradient on more threads.

use super::{Block, or_none};
use crate::record::run::Settings;
use crate::statistics::summary::{OnThreads, Summary, ThreadScaling};
use crate::table::Table;
use crate::units::{self, NONE, counted, grouped};

/// A row for each number of threads above the fewest; nothing where the sweep had one.
pub(super) fn of(summary: &Summary, settings: &Settings) -> Vec<Block<'static>> {
    let Some(ThreadScaling { from, .. }) = summary.thread_scaling.first() else { return Vec::new() };
    let fewest = counted(*from, "thread");
    let rows = summary.thread_scaling.iter().flat_map(|scaling| {
        let last = scaling.points.last();
        scaling.points[1..].iter().map(move |on| row(scaling, on, Some(on) == last))
    });
    let columns = format!(
        "method | >D | >threads | >time [95 %] | >faster than on {fewest} [95 %] | >efficiency [95 %] | \
         >serial share [95 %]"
    );
    let table = Table::new(&columns, rows).without_empty(NONE);
    let (batch, layers) = (grouped(settings.batch), settings.layers);
    let over = if *from == 1 { String::new() } else { format!(" over {from}") };
    let mut rules = vec![
        ("faster", format!("time on {fewest} over time on more, paired by round (N = {batch}, L = {layers})")),
        ("efficiency", format!("that over the number of threads{over}")),
    ];
    let has_share = summary.thread_scaling.iter().any(|scaling| scaling.serial_share.is_some());
    rules.extend(has_share.then(|| ("serial share", SERIAL_SHARE.to_string())));
    vec![Block::Subheading("How time falls with threads".into()), Block::Table(table), Block::Facts(rules)]
}

const SERIAL_SHARE: &str = "s of Amdahl's law t(p) = t(1)·(s + (1 − s)/p), fitted to three or more numbers of threads \
    up to that of the logical cores; none where the times contradict the law (5 %)";

/// The last row of a method at a D has the serial share of all.
fn row(scaling: &ThreadScaling, on: &OnThreads, is_last: bool) -> Vec<String> {
    let serial = scaling.serial_share.as_ref().filter(|_| is_last).map(units::percent_estimate);
    vec![
        scaling.method.to_string(),
        grouped(scaling.dim),
        grouped(on.threads),
        units::seconds_estimate(&on.seconds),
        units::ratio_estimate(&on.speedup),
        units::percent_estimate(&on.efficiency),
        or_none(serial),
    ]
}
