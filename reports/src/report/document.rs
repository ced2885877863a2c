//! What a report says, apart from how Markdown or HTML spell it.

mod growth;
mod overview;
mod ranks;
mod state;
mod threads;

use relgrad_vocabulary::{DeviceKind, Math, excerpt};

use super::ceilings;
use crate::export::{Figure, Report};
use crate::record::Outcome;
use crate::record::roofline::{Bound, Ceiling};
use crate::record::run::{Machine, Run, Settings};
use crate::statistics::summary::{CellSummary, Series, Stop, Summary};
use crate::table::Table;
use crate::units::{self, NONE, grouped, number};

/// Dimensions that the paper and its readers quote; the summary shows the speed-ups at those that were measured, and at
/// the largest of all.
const QUOTED_DIMS: [usize; 5] = [1000, 2000, 5000, 10_000, 20_000];
/// How many of the largest dimensions the summary shows when at most one of those was measured.
const LARGEST_DIMS: usize = 3;

/// A title and what follows it.
pub(super) struct Document<'a> {
    pub(super) title: String,
    pub(super) blocks: Vec<Block<'a>>,
}

/// A piece of a document. Its text is plain: escaping is the rendering's business.
pub(super) enum Block<'a> {
    Heading(&'static str),
    Subheading(String),
    Paragraph(String),
    Code(String),
    Facts(Vec<(&'static str, String)>),
    Overview(Overview),
    Table(Table),
    Figures(&'a [Figure]),
}

/// The first screen: what was measured, on what, and what to beware of.
pub(super) struct Overview {
    /// Machine and problem, a sentence each.
    pub(super) setting: Vec<String>,
    pub(super) numbers: Vec<KeyNumber>,
    pub(super) methods: Table,
    pub(super) warnings: Vec<String>,
}

/// A number that a reader looks for first.
pub(super) struct KeyNumber {
    pub(super) what: String,
    pub(super) value: String,
    /// Its interval and where it holds.
    pub(super) detail: String,
}

impl<'a> Document<'a> {
    /// Lays out a report: one screen of summary, then the figures, then tables.
    pub(super) fn of(report: &Report<'a>) -> Self {
        let Report { study, summary, figures } = *report;
        let settings = &study.run.settings;
        let mut blocks = vec![Block::Overview(overview::of(study, summary))];
        if !figures.is_empty() {
            blocks.push(Block::Heading("Figures"));
            blocks.push(Block::Figures(figures));
        }
        blocks.push(Block::Heading("Results"));
        blocks.extend(speedups(summary, settings));
        blocks.extend(growth::of(summary, settings));
        blocks.extend(threads::of(summary, settings));
        blocks.extend(ranks::of(summary, settings));
        blocks.extend(stops(summary, settings));
        if !study.run.rooflines.is_empty() {
            blocks.push(Block::Heading("Ceilings"));
            blocks.push(Block::Paragraph(CEILINGS.into()));
            blocks.push(Block::Table(ceilings::table(&study.run.rooflines)));
        }
        blocks.extend(state::of(study));
        blocks.push(Block::Heading("Measurements"));
        blocks.push(Block::Facts(HOW_TO_READ.map(|(column, text)| (column, text.into())).into()));
        for series in summary.series.iter().filter(|s| !s.points.is_empty()) {
            blocks.push(Block::Subheading(label(series, settings)));
            blocks.push(Block::Table(measurements(series)));
        }
        blocks.push(Block::Heading("Run"));
        blocks.push(Block::Facts(facts(&study.run)));
        blocks.push(Block::Code(command(&study.run.command)));
        blocks.iter_mut().for_each(Block::cut);
        Self { title: "relgrad: the cost of one gradient".into(), blocks }
    }
}

impl Block<'_> {
    /// Shortens what may come from a file and makes its control characters visible: laying out tables takes a time in
    /// proportion to their widest cell.
    pub(super) fn cut(&mut self) {
        const TITLE: usize = 200;
        const CELL: usize = 300;
        const TEXT: usize = 1500;
        const ITEMS: usize = 100;
        let shorten = |text: &mut String, most: usize| *text = excerpt(text, most);
        let table = |table: &mut Table| table.each_cell(|cell| shorten(cell, CELL));
        match self {
            Self::Heading(_) | Self::Paragraph(_) | Self::Figures(_) => {}
            Self::Subheading(text) => shorten(text, TITLE),
            Self::Code(text) => shorten(text, TEXT),
            Self::Facts(facts) => facts.iter_mut().for_each(|(_, value)| shorten(value, TEXT)),
            Self::Table(rows) => table(rows),
            Self::Overview(overview) => {
                overview.setting.iter_mut().for_each(|part| shorten(part, TEXT));
                overview.warnings.truncate(ITEMS);
                overview.warnings.iter_mut().for_each(|warning| shorten(warning, TEXT));
                table(&mut overview.methods);
            }
        }
    }
}

/// The columns of the measurements.
const HOW_TO_READ: [(&str, &str); 8] = [
    ("time", "the median over processes of each process's median, for one gradient of the log-likelihood"),
    (
        "brackets",
        "95 % intervals of a bootstrap over processes, then over the samples of each. One or two processes have the \
         scatter between processes of the three nearest dimensions; one without these has no interval",
    ),
    ("over ordinary, over autodiff", "speed-ups, paired by round"),
    ("peak memory", "the largest memory of the process, less that before the problem was allocated"),
    ("model", "the least memory that the method requires"),
    ("GFLOP/s", "the operations of the cost model over the time"),
    ("of ceiling", "the least time that the measured ceilings allow, over the time"),
    ("check error", "the largest relative error of the gradient"),
];

const CEILINGS: &str = "Measured on this machine before the cells, after them, and between rounds where the budget \
    allowed, with the operations that the gradients use. The least time of a cell is max(flops / rate, bytes / \
    bandwidth). Flops and bytes are the cost model's operations and least traffic. Rate and bandwidth are the fastest \
    samples of the best square product and the best stream, at the cell's number type and threads, over all \
    measurements.";

/// A series by its method and device, and by what the sweep varied or the settings lack.
pub(super) fn label(series: &Series, settings: &Settings) -> String {
    format!("{} on {}{}", series.method, series.device, settings.apart(series.held()))
}

fn facts(run: &Run) -> Vec<(&'static str, String)> {
    let s = &run.settings;
    let bias = if s.bias { "with bias" } else { "no bias" };
    let layers = s.convolution.as_ref().map(|c| format!(", {}", c.describe())).unwrap_or_default();
    let threads = s.threads_in_words();
    let ended = run.ended.as_deref().unwrap_or("not ended");
    let mut facts = vec![
        (
            "Problem",
            format!(
                "N = {} samples, L = {} layers ({bias}){layers}, activation {}, {}, {threads}, seed {}",
                all(s.batches()),
                all(s.layer_counts()),
                s.activation,
                s.dtype,
                s.seed
            ),
        ),
        ("Machine", machine(&run.machine)),
        ("System", system(&run.machine)),
    ];
    facts.extend(s.math.map(arithmetic));
    let whole = |rule| format!("every evaluation is a gradient and a step by `{rule}`; models and bounds are of both");
    facts.extend(s.update.map(|rule| ("Update", whole(rule))));
    facts.extend(
        (!s.tuning.is_default()).then(|| ("Tuning", format!("{}, of the methods that have these numbers", s.tuning))),
    );
    facts.extend(run.machine.gpus.iter().map(|gpu| ("GPU", gpu.clone())));
    facts.extend([
        ("Date", format!("{} to {ended}", run.started)),
        (
            "Revision",
            format!(
                "{}, relgrad {}, {}",
                run.git_revision.as_deref().unwrap_or("not a checkout"),
                run.version,
                run.rustc
            ),
        ),
    ]);
    facts
}

fn all(values: impl Iterator<Item = usize>) -> String {
    values.map(grouped).collect::<Vec<_>>().join(", ")
}

/// What the matrix products of the device that was asked for an arithmetic are made of.
fn arithmetic(math: Math) -> (&'static str, String) {
    let of = if math.is_known_to(DeviceKind::Cuda) { "GPU arithmetic" } else { "CPU arithmetic" };
    let told = match math.factor_bits() {
        Some(bits) => format!(
            "{math}: factors of matrix products rounded to {bits} bits, sums and all else in {}; the check error \
             below includes the rounding",
            math.dtype()
        ),
        None => format!("{math} in every product, sum and factorisation"),
    };
    (of, told)
}

fn machine(machine: &Machine) -> String {
    let mut parts = vec![machine.cpu.clone()];
    parts.extend(machine.physical_cores.map(|n| format!("{n} physical")));
    parts.push(units::counted(machine.logical_cores, "logical core"));
    parts.push(machine.simd.clone());
    parts.extend(machine.caches.iter().cloned());
    parts.push(format!(
        "{} memory ({} available)",
        units::bytes(machine.memory_bytes as f64),
        units::bytes(machine.available_bytes as f64)
    ));
    joined(parts)
}

fn system(machine: &Machine) -> String {
    let mut parts = vec![machine.os.clone(), machine.virtualization.clone()];
    parts.extend(machine.governor.as_ref().map(|g| format!("governor {g}")));
    parts.extend(machine.frequency_mhz.map(|f| format!("{f:.0} MHz")));
    parts.extend(machine.load_average.map(|l| format!("load {l:.2} at the start")));
    parts.extend(machine.huge_pages.as_ref().map(|h| format!("huge pages {h}")));
    joined(parts)
}

fn joined(parts: Vec<String>) -> String {
    parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(", ")
}

/// The command as one could type it: arguments that a shell would split are quoted.
fn command(arguments: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+%@".contains(c);
    let quoted = arguments.iter().map(|a| {
        if !a.is_empty() && a.chars().all(plain) { a.clone() } else { format!("'{}'", a.replace('\'', r"'\''")) }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn speedups(summary: &Summary, settings: &Settings) -> Vec<Block<'static>> {
    let compared = |s: &&Series| !s.method.is_baseline();
    let mut rows = Vec::new();
    for series in summary.series.iter().filter(compared) {
        let last = series.points.last().map(|point| point.dim);
        let wanted = |point: &&CellSummary| QUOTED_DIMS.contains(&point.dim) || Some(point.dim) == last;
        let quoted: Vec<&CellSummary> = series.points.iter().filter(wanted).collect();
        let largest = &series.points[series.points.len().saturating_sub(LARGEST_DIMS)..];
        let shown = if quoted.len() < 2 { largest.iter().collect() } else { quoted };
        rows.extend(shown.into_iter().map(|point| {
            vec![
                label(series, settings),
                grouped(point.dim),
                units::seconds_estimate(&point.seconds),
                or_none(point.speedup_over_ordinary.as_ref().map(units::ratio_estimate)),
                or_none(point.speedup_over_autodiff.as_ref().map(units::ratio_estimate)),
            ]
        }));
    }
    if rows.is_empty() {
        return Vec::new();
    }
    let columns = "method | >D | >time [95 %] | >faster than ordinary [95 %] | >faster than autodiff [95 %]";
    let table = Table::new(columns, rows).without_empty(NONE);
    vec![Block::Subheading("Speed-up".into()), Block::Table(table)]
}

/// Cells without a measurement are censored: a time is bounded at best. One row per run of neighbouring dimensions that
/// stopped for the same reason, with what is known and expected of the first.
fn stops(summary: &Summary, settings: &Settings) -> Vec<Block<'static>> {
    let mut rows = Vec::new();
    for series in &summary.series {
        let alike = |a: &Stop, b: &Stop| a.outcome == b.outcome && a.reason == b.reason;
        for stops in series.stops.chunk_by(alike) {
            let first = &stops[0];
            rows.push(vec![
                label(series, settings),
                dims_of(stops),
                outcome(first).into(),
                first.reason.clone(),
                or_none(first.at_least_seconds.map(|s| format!("≥ {}", units::seconds(s)))),
                or_none(first.expected_seconds().as_ref().map(units::seconds_estimate)),
                or_none(first.predicted_bytes.map(units::bytes)),
            ]);
        }
    }
    let heading = Block::Subheading("Where methods stopped".into());
    if rows.is_empty() {
        return vec![heading, Block::Paragraph("Every cell was measured.".into())];
    }
    let columns = "method | >D | outcome | reason | >lower bound | >predicted time [95 %] | \
                   >predicted memory";
    vec![heading, Block::Table(Table::new(columns, rows)), Block::Paragraph(HOW_STOPS_READ.into())]
}

const HOW_STOPS_READ: &str = "These cells have no measurement and are in no median. Lower bound: the time limit that \
    the cell exceeded; the fits use it. Predicted: one gradient, by the terms and the power law of the measured \
    dimensions, with the 95 % prediction interval of one median and not below the ceilings; with fewer than three \
    dimensions, what the sweep expected. Of several dimensions the first is listed.";

fn dims_of(stops: &[Stop]) -> String {
    match stops {
        [only] => grouped(only.dim),
        _ => {
            let last = grouped(stops[stops.len() - 1].dim);
            format!("{} – {last} ({} dimensions)", grouped(stops[0].dim), stops.len())
        }
    }
}

fn outcome(stop: &Stop) -> &'static str {
    if stop.outcome == Outcome::Failed { "failed" } else { "skipped" }
}

pub(super) fn measurements(series: &Series) -> Table {
    let row = |p: &CellSummary| {
        let peak = p.peak_bytes.map(|b| b as f64);
        vec![
            grouped(p.dim),
            units::seconds_estimate(&p.seconds),
            number(p.gflops),
            or_none(p.ceiling.as_ref().map(of_ceiling)),
            or_none(peak.map(units::bytes)),
            units::bytes(p.model.min_bytes),
            or_none(peak.map(|b| number(b / p.model.min_bytes))),
            or_none(p.speedup_over_ordinary.as_ref().map(units::ratio_estimate)),
            or_none(p.speedup_over_autodiff.as_ref().map(units::ratio_estimate)),
            format!("{} / {}", grouped(p.samples), p.rounds),
            or_none(p.check_max_rel_err.map(units::scientific)),
            or_none(p.inverse_error.map(units::scientific)),
        ]
    };
    let columns = ">D | >time [95 %] | >GFLOP/s | >of ceiling [95 %] | >peak memory | >model | >peak / model | \
                   >over ordinary [95 %] | >over autodiff [95 %] | >samples / processes | >check error | \
                   >error of R";
    Table::new(columns, series.points.iter().map(row)).without_empty(NONE)
}

/// The fraction with its interval; a cell that memory bounds says so, and one above its ceiling.
fn of_ceiling(ceiling: &Ceiling) -> String {
    let text = units::percent_estimate(&ceiling.fraction);
    match ceiling.bound {
        Bound::Compute if ceiling.is_exceeded() => format!("{text} (ceiling too low)"),
        Bound::Compute => text,
        Bound::Bandwidth => format!("{text} (bandwidth)"),
    }
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| NONE.into())
}
