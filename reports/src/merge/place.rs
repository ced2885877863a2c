//! Numbers of several machines next to each other: exponents, and speed-ups at each D.

use std::collections::BTreeSet;

use relgrad_vocabulary::{DeviceKind, Math, Method, Subject};
use serde::Serialize;

use super::{Common, Merged, OnMachine};
use crate::record::Held;
use crate::statistics::summary::{CellSummary, Estimate, Series};
use crate::units::grouped;

/// Speed-ups are listed at these D, and at the largest that machines share.
const LISTED_DIMS: [usize; 6] = [100, 1000, 2000, 5000, 10_000, 20_000];

/// One quantity of one series, machine by machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SideBySide {
    /// The series: `relative, N = 100, L = 2, f32`.
    pub series: String,
    /// What the quantity is over, for a speed-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<&'static str>,
    /// Data dimension D, for a speed-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dim: Option<usize>,
    /// One a machine, in their order; nothing where it was not measured.
    pub sides: Vec<Option<Side>>,
    /// What they have in common; nothing with fewer than two.
    pub common: Option<Common>,
}

/// A number of one machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Side {
    /// The number.
    pub value: Estimate,
    /// First and last D behind it, for an exponent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dims: Option<(usize, usize)>,
}

/// A speed-up of a cell.
type Quotient = fn(&CellSummary) -> Option<Estimate>;

/// What must be the same for two series to measure the same thing on two machines.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    method: Subject,
    device: DeviceKind,
    arithmetic: Math,
    batch: usize,
    layers: usize,
    /// Bias, activation, update, layers, in words.
    rest: String,
}

impl Key {
    fn of(machine: &OnMachine, series: &Series) -> Self {
        let settings = &machine.study.run.settings;
        let Series { method, device, batch, layers, .. } = *series;
        let mut rest = format!("{}", settings.activation);
        rest += if settings.bias { ", biases" } else { "" };
        rest.extend(settings.update.map(|update| format!(", step {update}")));
        let tuning = method.method().map(|method| settings.tuning.of(method)).filter(|tuning| !tuning.is_default());
        rest.extend(tuning.map(|tuning| format!(", {tuning}")));
        rest.extend(settings.convolution.as_ref().map(|convolution| format!(", {}", convolution.describe_layers())));
        Self { method, device, arithmetic: settings.arithmetic(device), batch, layers, rest }
    }

    fn name(&self, is_alone: bool) -> String {
        let Self { method, arithmetic, batch, layers, rest, .. } = self;
        let device = if self.device == DeviceKind::Cpu { String::new() } else { format!(" on {}", self.device) };
        let name = format!("{method}{device}, N = {}, L = {}, {arithmetic}", grouped(*batch), grouped(*layers));
        if is_alone { name } else { format!("{name}, {rest}") }
    }
}

/// Exponents of time along D, one row a series.
pub fn exponents(merged: &Merged) -> Vec<SideBySide> {
    let exponent = |series: &Series| {
        let fit = series.fit?;
        Some(Side { value: fit.exponent, dims: Some((fit.from, fit.to)) })
    };
    let row = |(key, name): &(Key, String)| {
        let sides: Vec<Option<Side>> = on_machines(merged, key, exponent);
        let common = Common::of(sides.iter().flatten().map(|side| side.value));
        SideBySide { series: name.clone(), over: None, dim: None, sides, common }
    };
    let rows = keys(merged).iter().map(row).collect::<Vec<_>>();
    rows.into_iter().filter(|row| row.sides.iter().any(Option::is_some)).collect()
}

/// Speed-ups over the baselines, one row a series, baseline and D.
pub fn speedups(merged: &Merged) -> Vec<SideBySide> {
    let baselines: [(&'static str, Quotient); 2] =
        [("ordinary", |p| p.speedup_over_ordinary), ("autodiff", |p| p.speedup_over_autodiff)];
    let mut rows = Vec::new();
    let is_baseline = |key: &Key| key.method.method().is_some_and(|method| Method::BASELINES.contains(&method));
    for (key, name) in keys(merged).into_iter().filter(|(key, _)| !is_baseline(key)) {
        for (over, value) in &baselines {
            for dim in dims(merged, &key, value) {
                let at = |series: &Series| {
                    let point = series.points.iter().find(|point| point.dim == dim)?;
                    Some(Side { value: value(point)?, dims: None })
                };
                let sides = on_machines(merged, &key, at);
                let common = Common::of_ratios(sides.iter().flatten().map(|side| side.value));
                rows.push(SideBySide { series: name.clone(), over: Some(over), dim: Some(dim), sides, common });
            }
        }
    }
    rows
}

/// The listed D that a machine measured, and the largest of all.
fn dims(merged: &Merged, key: &Key, value: &Quotient) -> BTreeSet<usize> {
    let measured = |series: &Series| -> Option<Vec<usize>> {
        Some(series.points.iter().filter(|point| value(point).is_some()).map(|point| point.dim).collect())
    };
    let all: BTreeSet<usize> = on_machines(merged, key, measured).into_iter().flatten().flatten().collect();
    let largest = all.last().copied();
    all.into_iter().filter(|dim| LISTED_DIMS.contains(dim) || Some(*dim) == largest).collect()
}

/// The series of all machines, each once, with their names: short ones where no two need the rest.
fn keys(merged: &Merged) -> Vec<(Key, String)> {
    let mut keys: Vec<Key> = Vec::new();
    for machine in &merged.machines {
        for series in &machine.summary.series {
            let key = Key::of(machine, series);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    let is_alone = keys.iter().all(|key| key.rest == keys[0].rest);
    keys.into_iter().map(|key| (key.clone(), key.name(is_alone))).collect()
}

/// A number of a series on every machine that has it, on as many threads as that machine's settings name first.
fn on_machines<V>(merged: &Merged, key: &Key, of: impl Fn(&Series) -> Option<V>) -> Vec<Option<V>> {
    let on = |machine: &OnMachine| {
        let Held { threads, ranks, .. } = machine.study.run.settings.held();
        let on_these = |series: &Series| (series.threads, series.ranks) == (threads, ranks);
        let is_it = |series: &&Series| on_these(series) && Key::of(machine, series) == *key;
        machine.summary.series.iter().find(is_it).and_then(&of)
    };
    merged.machines.iter().map(on).collect()
}
