//! The first screen of a report.

use relgrad_vocabulary::Method;

use super::{KeyNumber, Overview, dims_of, joined, label, or_none, outcome};
use crate::record::run::{Run, Settings};
use crate::record::study::Study;
use crate::statistics::summary::{CellSummary, Estimate, Series, Summary};
use crate::table::Table;
use crate::units::{self, NONE, grouped};

/// The upper end of an interval over the lower one, beyond which a speed-up is no headline where there is another.
const TELLING: f64 = 2.0;

/// Machine, key numbers, a line a method, warnings.
pub(super) fn of(study: &Study, summary: &Summary) -> Overview {
    let settings = &study.run.settings;
    let main: Vec<&Series> = summary.series.iter().filter(|s| s.held() == settings.held()).collect();
    Overview {
        setting: setting(&study.run),
        numbers: main
            .iter()
            .filter(|s| s.method == Method::Relative)
            .flat_map(|s| numbers(s, &main, settings))
            .collect(),
        methods: methods(&main, settings),
        warnings: summary.warnings.clone(),
    }
}

fn setting(run: &Run) -> Vec<String> {
    let (machine, s) = (&run.machine, &run.settings);
    let mut parts = vec![machine.cpu.clone(), units::counted(machine.logical_cores, "logical core")];
    parts.extend([machine.simd.clone(), format!("{} memory", units::bytes(machine.memory_bytes as f64))]);
    parts.extend(machine.gpus.iter().cloned());
    parts.push(machine.virtualization.clone());
    let bias = if s.bias { ", bias" } else { "" };
    let threads = s.threads_in_words();
    let update = s.update.map_or(String::new(), |rule| format!(", with a step by {rule}"));
    let problem = format!(
        "N = {}, L = {}{bias}{update}, {}, {}, {threads}, {} processes a cell",
        super::all(s.batches()),
        super::all(s.layer_counts()),
        s.activation,
        s.dtype,
        s.rounds
    );
    let revision = run.git_revision.as_deref().map_or("not a checkout".into(), short);
    vec![joined(parts), problem, format!("{}, revision {revision}", run.started)]
}

/// Enough of a revision to find it, and whether it was dirty.
fn short(revision: &str) -> String {
    let (hash, dirty) = revision.split_once('-').map_or((revision, ""), |(hash, _)| (hash, "-dirty"));
    format!("{}{dirty}", hash.chars().take(12).collect::<String>())
}

/// The speed-ups of relative at the largest dimension that each baseline reached and whose interval is narrower
/// than [`TELLING`], and its exponent. One with two processes or more stands in where there is none, or else any.
fn numbers(relative: &Series, main: &[&Series], settings: &Settings) -> Vec<KeyNumber> {
    let apart = settings.apart(relative.held());
    let speedup = |baseline: Method, of: fn(&CellSummary) -> Option<Estimate>| {
        let base = main.iter().find(|s| s.method == baseline && s.device == relative.device);
        let rounds_of_base = |dim| base.and_then(|s| s.points.iter().find(|p| p.dim == dim)).map_or(0, |p| p.rounds);
        let several = |p: &CellSummary| p.rounds > 1 && rounds_of_base(p.dim) > 1;
        let telling = |p: &CellSummary| several(p) && of(p).is_some_and(|e| e.high <= TELLING * e.low);
        let (point, estimate) = best(relative, [&telling, &several], of)?;
        let [value, low, high] = units::aligned(&estimate, 1.0);
        let interval = if estimate.low == estimate.high { "no interval".into() } else { format!("[{low}, {high}]") };
        Some(KeyNumber {
            what: format!("faster than {baseline} on {}", relative.device),
            value: format!("{value}×"),
            detail: format!("{interval} at D = {}{apart}", grouped(point.dim)),
        })
    };
    let exponent = relative.fit.map(|fit| KeyNumber {
        what: format!("time of {} on {}", relative.method, relative.device),
        value: format!("∝ D^{:.2}", fit.exponent.value),
        detail: format!(
            "[{:.2}, {:.2}] for D from {} to {}{apart}",
            fit.exponent.low,
            fit.exponent.high,
            grouped(fit.from),
            grouped(fit.to)
        ),
    });
    let largest = best(relative, [&|p: &CellSummary| p.rounds > 1], |p| Some(p.seconds)).map(|(point, _)| KeyNumber {
        what: format!("one gradient at D = {}{apart}", grouped(point.dim)),
        value: units::seconds(point.seconds.value),
        detail: point.peak_bytes.map_or(String::new(), |b| format!("with {} peak memory", units::bytes(b as f64))),
    });
    let speedups = [
        speedup(Method::Ordinary, |p| p.speedup_over_ordinary),
        speedup(Method::Autodiff, |p| p.speedup_over_autodiff),
    ];
    speedups.into_iter().chain([exponent, largest]).flatten().collect()
}

/// The largest dimension that has a number and passes the first of the tests that any passes, or else the largest that
/// has one.
fn best<'a, T, const TESTS: usize>(
    series: &'a Series,
    tests: [&dyn Fn(&CellSummary) -> bool; TESTS],
    of: impl Fn(&CellSummary) -> Option<T>,
) -> Option<(&'a CellSummary, T)> {
    let from_above = || series.points.iter().rev().filter_map(|point| Some((point, of(point)?)));
    let passing = |test: &dyn Fn(&CellSummary) -> bool| from_above().find(|(point, _)| test(point));
    tests.into_iter().find_map(passing).or_else(|| from_above().next())
}

fn methods(main: &[&Series], settings: &Settings) -> Table {
    let row = |series: &&Series| {
        let last = series.points.last();
        vec![
            label(series, settings),
            or_none(series.fit.map(|fit| units::exponent(&fit.exponent))),
            series.fit.map_or("fewer than 3 dimensions".into(), |f| format!("{} – {}", grouped(f.from), grouped(f.to))),
            or_none(last.map(|p| grouped(p.dim))),
            or_none(last.map(|p| units::seconds(p.seconds.value))),
            stopped(series),
        ]
    };
    let columns = "method | >exponent p [95 %] | >fitted on D | >largest D | >its time | stopped by";
    Table::new(columns, main.iter().map(row))
}

fn stopped(series: &Series) -> String {
    let last = series.points.last().map_or(0, |p| p.dim);
    let beyond = series.stops.iter().position(|s| s.dim > last);
    match beyond.map(|at| &series.stops[at..]) {
        Some(stops) => {
            let alike = stops.iter().take_while(|s| s.reason == stops[0].reason).count();
            format!("D = {} {}: {}", dims_of(&stops[..alike]), outcome(&stops[0]), stops[0].reason)
        }
        None if series.stops.is_empty() => NONE.into(),
        None => format!("{} smaller cells have no measurement", series.stops.len()),
    }
}
