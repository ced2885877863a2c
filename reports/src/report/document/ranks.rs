//! The same evaluation with its weights split over more ranks.

use super::{Block, or_none};
use crate::record::TransportKind;
use crate::record::run::Settings;
use crate::statistics::summary::{OnRanks, RankScaling, Summary};
use crate::table::Table;
use crate::units::{self, NONE, counted, grouped};

/// A row for each number of ranks; nothing where the sweep had one.
pub(super) fn of(summary: &Summary, settings: &Settings) -> Vec<Block<'static>> {
    let Some(RankScaling { from, .. }) = summary.rank_scaling.first() else { return Vec::new() };
    let fewest = counted(*from, "rank");
    let rows = summary.rank_scaling.iter().flat_map(|scaling| scaling.points.iter().map(|on| row(scaling, on)));
    let columns = format!(
        "method | >D | >ranks | by | >time [95 %] | >faster than on {fewest} [95 %] | >memory of a rank | \
         >received by all"
    );
    let table = Table::new(&columns, rows).without_empty(NONE);
    let (batch, layers) = (grouped(settings.batch), settings.layers);
    let rules = vec![
        ("faster", format!("time on {fewest} over time on more, paired by round (N = {batch}, L = {layers})")),
        ("received", "bytes of an evaluation that came from other ranks; 3·N·D·(ranks − 1) numbers a layer".into()),
        ("by", "MPI: processes that mpiexec started; threads: of one process, with their mean memory".into()),
    ];
    vec![Block::Subheading("How time changes with ranks".into()), Block::Table(table), Block::Facts(rules)]
}

fn row(scaling: &RankScaling, on: &OnRanks) -> Vec<String> {
    let by = on.transport.map(|transport| match transport {
        TransportKind::Mpi => "MPI".to_string(),
        TransportKind::Threads => "threads".to_string(),
    });
    vec![
        scaling.method.to_string(),
        grouped(scaling.dim),
        grouped(on.ranks),
        or_none(by),
        units::seconds_estimate(&on.seconds),
        or_none((on.ranks != scaling.from).then(|| units::ratio_estimate(&on.speedup))),
        or_none(on.peak_bytes.map(|bytes| units::bytes(bytes as f64))),
        or_none(on.received_bytes.map(|bytes| units::bytes(bytes as f64))),
    ]
}
