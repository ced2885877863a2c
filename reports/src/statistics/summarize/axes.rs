//! Comparisons along an axis: how time grows with N and L, and where one method overtakes another.

use std::collections::BTreeMap;

use relgrad_vocabulary::{DeviceKind, Method};

use super::{Group, Rounds};
use crate::record::Held;
use crate::record::run::Settings;
use crate::statistics::fit::{self, Crossover, Observation};
use crate::statistics::summary::{Axis, Overtaking, Scaling};

/// Exponents along N and L of every method, at the largest D where at least three places were measured.
pub(super) fn scaling(groups: &[Group<'_>], settings: &Settings) -> Vec<Scaling> {
    let mut found = Vec::new();
    for axis in [Axis::Batch, Axis::Layers] {
        for group in groups.iter().filter(|g| is_main(g, settings)) {
            let fits = along(axis, group, groups, settings).into_iter().rev().find_map(|(dim, places)| {
                let observations = observations(&places);
                let all: Vec<usize> = observations.iter().map(|o| o.x).collect();
                Some((dim, fit::exponent(&observations, fit::asymptotic_range(&all)?)?))
            });
            found.extend(fits.map(|(dim, fit)| Scaling { method: group.method, device: group.device, axis, dim, fit }));
        }
    }
    found
}

/// Where methods overtake one another along D, and along N and L at every D where they do so within the range, and at
/// the largest where both have at least two places. Every pair that has one of the three methods of the comparison in
/// it is told, as the faster at the end of the range overtaking the other.
pub(super) fn overtakings(groups: &[Group<'_>], settings: &Settings) -> Vec<Overtaking> {
    let compared = groups.iter().filter(|g| is_main(g, settings));
    let main: Vec<(&Group<'_>, Method)> = compared.filter_map(|g| Some((g, g.method.method()?))).collect();
    let mut found = Vec::new();
    for (index, first) in main.iter().enumerate() {
        for second in main[index + 1..].iter().filter(|second| second.0.is_beside(first.0)) {
            let compared = [Method::Relative, Method::Ordinary, Method::Autodiff];
            if ![first, second].iter().any(|(_, method)| compared.contains(method)) {
                continue;
            }
            let pair = |axis| Pair { methods: [first.1, second.1], device: first.0.device, axis, dim: None };
            found.extend(overtaking(pair(Axis::Dim), [&first.0.observations(), &second.0.observations()]));
            for axis in [Axis::Batch, Axis::Layers] {
                let [ours, theirs] = [first, second].map(|(g, _)| along(axis, g, groups, settings));
                let told = ours.iter().filter_map(|(dim, places)| {
                    let theirs = observations(theirs.get(dim)?);
                    let pair = Pair { dim: Some(*dim), ..pair(axis) };
                    overtaking(pair, [&observations(places), &theirs])
                });
                let mut told: Vec<Overtaking> = told.collect();
                let largest = told.last().and_then(|overtaking| overtaking.dim);
                told.retain(|o| o.dim == largest || matches!(o.crossover, Crossover::At(_)));
                found.append(&mut told);
            }
        }
    }
    found
}

/// Two methods to compare along an axis.
struct Pair {
    methods: [Method; 2],
    device: DeviceKind,
    axis: Axis,
    dim: Option<usize>,
}

/// `None` with fewer than two places that both measured.
fn overtaking(pair: Pair, sides: [&[Observation<'_>]; 2]) -> Option<Overtaking> {
    let ([first, second], [this, other]) = (sides, pair.methods);
    let shared: Vec<usize> = first.iter().map(|o| o.x).filter(|x| second.iter().any(|o| o.x == *x)).collect();
    let range = (*shared.iter().min()?, *shared.iter().max()?);
    let (crossover, method, over) = match fit::crossover(second, first)? {
        Crossover::AboveRange => (fit::crossover(first, second)?, other, this),
        crossover => (crossover, this, other),
    };
    Some(Overtaking { method, over, device: pair.device, axis: pair.axis, dim: pair.dim, range, crossover })
}

pub(super) fn is_main(group: &Group<'_>, settings: &Settings) -> bool {
    group.held == settings.held()
}

/// The cells of a group's method and device along N or L, everything else as in the settings: by D, then by place.
fn along<'a>(
    axis: Axis,
    group: &Group<'_>,
    groups: &'a [Group<'a>],
    settings: &Settings,
) -> BTreeMap<usize, Vec<(usize, &'a Rounds<'a>)>> {
    let mut places: BTreeMap<usize, Vec<(usize, &Rounds<'_>)>> = BTreeMap::new();
    for other in groups.iter().filter(|g| g.method == group.method && g.device == group.device) {
        let (main, Held { batch, layers, .. }) = (settings.held(), other.held);
        let (place, here) = match axis {
            Axis::Layers => (layers, Held { layers, ..main }),
            Axis::Batch | Axis::Dim => (batch, Held { batch, ..main }),
        };
        for (dim, rounds) in other.cells.iter().filter(|(_, c)| other.held == here && c.processes.rounds() > 0) {
            places.entry(*dim).or_default().push((place, rounds));
        }
    }
    places
}

fn observations<'a>(places: &[(usize, &'a Rounds<'a>)]) -> Vec<Observation<'a>> {
    places.iter().map(|(x, rounds)| Observation { x: *x, processes: &rounds.processes }).collect()
}
