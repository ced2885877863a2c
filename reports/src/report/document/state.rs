//! The machine while it measured: what was quiet, what was disturbed, what was measured again.

use std::collections::{BTreeMap, HashSet};

use super::{Block, or_none};
use crate::record::study::Study;
use crate::record::{Clocks, Disturbance, Record, State};
use crate::statistics::median;
use crate::table::Table;
use crate::units::{self, NONE, grouped};

/// Disturbed cells that are listed.
const LISTED: usize = 40;

const RULE: &str = "A process is disturbed if other programs and other virtual machines took more than 5 % of the time \
    of the cores that it may use, or if its threads together had no core for 5 % of the time, or if its clock was more \
    than 10 % below that of another process of the same cell. What relgrad itself uses does not count. It is left \
    out of the statistics if at least two other processes of its cell had a quiet machine. The numbers cover warm-up \
    and sampling: the median over the processes, and the largest.";

/// Nothing for a study whose records say nothing of the machine.
pub(super) fn of(study: &Study) -> Vec<Block<'static>> {
    let clocks = study.clocks();
    let left_out = study.left_out();
    let counting = study.records.iter().map(|record| (record, !left_out.contains(&record.cell)));
    let all = counting.chain(study.replaced.iter().map(|record| (record, false)));
    let processes: Vec<Watched<'_>> = all.filter_map(|(record, counts)| Watched::of(record, counts, &clocks)).collect();
    if processes.is_empty() {
        return Vec::new();
    }
    let mut blocks = vec![
        Block::Heading("The machine while measuring"),
        Block::Paragraph(outcome(&processes)),
        Block::Paragraph(RULE.into()),
        Block::Table(states(study, &processes)),
    ];
    let disturbed: Vec<_> = processes.iter().filter_map(Watched::row).take(LISTED).collect();
    if !disturbed.is_empty() {
        let columns = "disturbed process | >D | >round | >attempt | what disturbed it | in the statistics";
        blocks.push(Block::Table(Table::new(columns, disturbed)));
    }
    blocks
}

/// A process that measured a cell, with the machine meanwhile.
struct Watched<'a> {
    record: &'a Record,
    state: &'a State,
    disturbance: Option<Disturbance>,
    counts: bool,
}

impl<'a> Watched<'a> {
    fn of(record: &'a Record, counts: bool, clocks: &Clocks) -> Option<Self> {
        let state = record.state.as_ref().filter(|_| record.is_valid())?;
        Some(Self { record, state, disturbance: clocks.of_record(record), counts })
    }

    /// Its line in the list of those that were disturbed.
    fn row(&self) -> Option<Vec<String>> {
        let Record { cell, attempt, .. } = self.record;
        Some(vec![
            format!("{} on {}", cell.method, cell.point.device),
            grouped(cell.point.dim),
            (cell.round + 1).to_string(),
            (attempt + 1).to_string(),
            self.disturbance?.to_string(),
            if self.counts { "yes" } else { "no" }.into(),
        ])
    }
}

/// How many cells had a quiet machine, in a few sentences.
fn outcome(processes: &[Watched<'_>]) -> String {
    let count = |test: &dyn Fn(&Watched<'_>) -> bool| processes.iter().filter(|process| test(process)).count();
    let is_disturbed = |process: &Watched<'_>| process.disturbance.is_some();
    let kept = count(&|p| p.counts && is_disturbed(p));
    let quiet = count(&|p| p.counts && !is_disturbed(p));
    let again = count(&|p| p.record.attempt > 0);
    let mended = count(&|p| p.record.attempt > 0 && p.counts && !is_disturbed(p));
    let cells = processes.iter().map(|p| p.record.cell).collect::<HashSet<_>>().len();
    let mut text = format!("Cells with a quiet machine: {} of {}.", grouped(quiet), grouped(cells));
    if again > 0 {
        text +=
            &format!(" Further attempts at disturbed cells: {}, of which {} count.", grouped(again), grouped(mended));
    }
    if quiet + kept < cells {
        text += &format!(" Left out, as two others were quiet: {}.", grouped(cells - quiet - kept));
    }
    if kept > 0 {
        text += &format!(" Cells that count although disturbed: {}.", grouped(kept));
    }
    text
}

/// A line for each measurement of the ceilings, each round, and all repetitions.
fn states(study: &Study, processes: &[Watched<'_>]) -> Table {
    let mut rows = Vec::new();
    for roofline in &study.run.rooflines {
        let threads = study.run.settings.most_threads();
        if let Some(state) = &roofline.state {
            let is_disturbed = state.disturbance(threads).is_some();
            rows.push(row(format!("ceilings of {}, {}", roofline.device, roofline.started), &[(state, is_disturbed)]));
        }
    }
    let mut groups: BTreeMap<_, Vec<(&State, bool)>> = BTreeMap::new();
    for Watched { record, state, disturbance, .. } in processes {
        let key = if record.attempt > 0 { (1, 0) } else { (0, record.cell.round) };
        groups.entry(key).or_default().push((state, disturbance.is_some()));
    }
    rows.extend(groups.into_iter().map(|((again, round), states)| {
        row(if again > 0 { "further attempts".into() } else { format!("round {}", round + 1) }, &states)
    }));
    let columns = "when | >processes | >disturbed | >relgrad | >other programs | >other machines | >without a core | \
                   >lost its core | >clock | >empty region";
    Table::new(columns, rows).without_empty(NONE)
}

fn row(when: String, states: &[(&State, bool)]) -> Vec<String> {
    let typical = |of: &dyn Fn(&State) -> Option<f64>, show: fn(f64) -> String| {
        let values: Vec<f64> = states.iter().filter_map(|(state, _)| of(state)).collect();
        let most = values.iter().copied().reduce(f64::max);
        or_none(median(&values).zip(most).map(|(middle, most)| match values.len() {
            1 => show(middle),
            _ => format!("{}, at most {}", show(middle), show(most)),
        }))
    };
    let clocks = || states.iter().flat_map(|(state, _)| state.clock_hz.map(|hz| hz / 1e9));
    let (low, high) = clocks().fold((f64::INFINITY, 0.0), |(low, high), hz| (hz.min(low), hz.max(high)));
    let per_second = |state: &State| Some(state.involuntary_switches? as f64 / state.seconds.max(1e-9));
    vec![
        when,
        states.len().to_string(),
        states.iter().filter(|(_, disturbed)| *disturbed).count().to_string(),
        typical(&State::own_share, units::percent),
        typical(&State::foreign_share, units::percent),
        typical(&State::stolen_share, units::percent),
        typical(&|state| Some(state.waited_seconds? / state.seconds), units::percent),
        typical(&per_second, |rate| format!("{} / s", units::number(rate))),
        format!("{low:.2} – {high:.2} GHz"),
        typical(&|state| state.region_seconds, units::seconds),
    ]
}
