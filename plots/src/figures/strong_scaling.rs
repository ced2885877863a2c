//! How many times faster each method is on more threads, and the share of the ideal that this is.

use std::collections::BTreeMap;

use relgrad_reports::export::cell_key;
use relgrad_reports::record::Record;
use relgrad_reports::summary::{Estimate, OnThreads, ThreadScaling};
use relgrad_reports::units::{self, counted, grouped};
use relgrad_vocabulary::{DeviceKind, Subject};

use super::{Content, Spec};
use crate::axis::Unit;
use crate::chart::{self, Against, Curve, Plot, Scale};
use crate::data::{self, Along, Shown};
use crate::style::{GREY, Look, look};

pub(super) const SPEC: Spec = Spec {
    name: "strong-scaling",
    device: Some(DeviceKind::Cpu),
    along: Along::Threads,
    needs,
    content: Content::Panels(|shown| plots(shown).into()),
    caption,
};

fn needs(shown: &Shown<'_>) -> Result<(), String> {
    let missing = "no method has measured times on several threads: run `relgrad sweep` with a list, as in \
                   --threads 1,2,4";
    super::require(!shown.summary.thread_scaling.is_empty(), missing)
}

/// Of each method the smallest and the largest D that were measured on the most threads, and with one or two methods a
/// middle one: more curves could not be told apart, and a table has them all.
fn chosen<'a>(shown: &'a Shown<'_>) -> Vec<&'a ThreadScaling> {
    let mut by_method: Vec<(Subject, Vec<&ThreadScaling>)> = Vec::new();
    for scaling in &shown.summary.thread_scaling {
        match by_method.last_mut().filter(|(method, _)| *method == scaling.method) {
            Some((_, known)) => known.push(scaling),
            None => by_method.push((scaling.method, vec![scaling])),
        }
    }
    let methods = by_method.len();
    let of_method = |(_, mut dims): (Subject, Vec<&'a ThreadScaling>)| {
        let most = dims.iter().map(|scaling| scaling.points.len()).max();
        dims.retain(|scaling| Some(scaling.points.len()) == most);
        let last = dims.len() - 1;
        let mut places = match methods {
            1 | 2 => vec![0, last / 2, last],
            3 => vec![0, last],
            _ => vec![last],
        };
        places.dedup();
        places.into_iter().map(|place| dims[place]).collect::<Vec<_>>()
    };
    by_method.into_iter().flat_map(of_method).collect()
}

fn plots(shown: &Shown<'_>) -> [Plot<'static>; 2] {
    let plot = |quantity, scale, value: fn(&OnThreads) -> Estimate, of_ideal: bool| {
        let chosen = chosen(shown);
        let (from, most) = ends(&chosen);
        // A speed-up of a process on p threads, as the panel shows it.
        let shown_as = |threads: f64, speedup: f64| if of_ideal { speedup * from / threads } else { speedup };
        let ideal = [from, most].map(|threads| (threads, shown_as(threads, threads / from)));
        let mut curves: Vec<Curve> = chosen.iter().map(|scaling| curve(shown, scaling, value, shown_as)).collect();
        let grey = Look { color: GREY, ..look(chosen[0].method) };
        curves.push(Curve { model: ideal.into(), ..Curve::named("ideal".to_string(), grey) });
        Plot { against: Against::Threads, point: "one round", model: "ideal", ..Plot::new(quantity, scale, curves) }
    };
    let log = Scale::Logarithmic { unit: Unit::Ratio, margin: 1.12 };
    [
        plot("speed-up", log, |on| on.speedup, false),
        plot("parallel efficiency", Scale::Linear { low: 0.0, high: 1.0 }, |on| on.efficiency, true),
    ]
}

/// The fewest and the most threads.
fn ends(chosen: &[&ThreadScaling]) -> (f64, f64) {
    let counts = || chosen.iter().flat_map(|scaling| &scaling.points).map(|on| on.threads as f64);
    (counts().fold(f64::INFINITY, f64::min), counts().fold(1.0, f64::max))
}

fn curve(
    shown: &Shown<'_>,
    scaling: &ThreadScaling,
    value: fn(&OnThreads) -> Estimate,
    shown_as: impl Fn(f64, f64) -> f64,
) -> Curve {
    let ThreadScaling { method, dim, from, .. } = *scaling;
    let key = |threads: usize| {
        let series = shown.series().find(|series| series.method == method && series.threads == threads)?;
        Some(cell_key(series, dim))
    };
    let cells =
        |on: &OnThreads| [Some(on.threads).filter(|threads| *threads != from), Some(from)].into_iter().flatten();
    let speedups = speedups_of_rounds(shown, scaling).into_iter();
    Curve {
        label: format!("D = {}", grouped(dim)),
        measured: scaling.points.iter().map(|on| (on.threads as f64, data::sound(value(on)))).collect(),
        cells: scaling.points.iter().map(|on| cells(on).filter_map(key).collect()).collect(),
        processes: speedups.map(|(threads, speedup)| (threads, shown_as(threads, speedup))).collect(),
        ..Curve::named(method.to_string(), Look { dash: &[], ..look(method) })
    }
}

/// The speed-up over the fewest threads in each round, against threads.
fn speedups_of_rounds(shown: &Shown<'_>, scaling: &ThreadScaling) -> Vec<(f64, f64)> {
    let series = shown.series().filter(|series| series.method == scaling.method);
    let records = series.flat_map(|series| shown.records(series)).filter(|r| r.cell.point.dim == scaling.dim);
    let place = |r: &Record| (r.cell.point.threads, r.cell.round);
    let times: BTreeMap<_, _> = records.filter_map(|r| Some((place(r), data::seconds(r)?))).collect();
    let speedup = |(&(threads, round), seconds): (&(usize, usize), &f64)| {
        let first = times.get(&(scaling.from, round)).filter(|_| threads != scaling.from)?;
        Some((threads as f64, first / seconds)).filter(|(_, speedup)| speedup.is_finite() && *speedup > 0.0)
    };
    times.iter().filter_map(speedup).collect()
}

fn caption(shown: &Shown<'_>) -> String {
    let chosen = chosen(shown);
    let shares = chosen.iter().filter_map(|scaling| {
        let share = units::percent_estimate(scaling.serial_share.as_ref()?);
        Some(format!("{} at D = {}: {share}", scaling.method, grouped(scaling.dim)))
    });
    let shares: Vec<String> = shares.collect();
    let shares = if shares.is_empty() {
        String::new()
    } else {
        format!(" Serial share of Amdahl's law: {}.", shares.join(", "))
    };
    let fewest = chosen.first().map_or(1, |scaling| scaling.from);
    format!(
        "Left: time on {} divided by that on more, paired by round. Right: that over the ideal, which is in proportion \
         to the threads ({}).{}{shares}",
        counted(fewest, "thread"),
        shown.conditions_of_machine(),
        chart::explained(&plots(shown)),
    )
}
