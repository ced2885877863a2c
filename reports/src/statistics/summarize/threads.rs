//! Strong scaling: how the time of a method falls with more threads.

use relgrad_vocabulary::DeviceKind;

use super::{Group, axes, scatters_of_ratios, speedup};
use crate::record::Held;
use crate::record::run::{Run, Settings};
use crate::statistics::fit::{self, Observation};
use crate::statistics::summary::{Estimate, OnThreads, Series, ThreadScaling};

/// Every method at every D that was measured on the fewest threads and on more, with `series` of the groups.
pub(super) fn scaling(groups: &[Group<'_>], series: &[Series], run: &Run) -> Vec<ThreadScaling> {
    let settings = &run.settings;
    if settings.other_threads.is_empty() {
        return Vec::new();
    }
    let main = groups.iter().filter(|g| axes::is_main(g, settings) && g.device == DeviceKind::Cpu);
    main.flat_map(|group| of_method(group, groups, series, run)).collect()
}

/// A method on some threads, and its speed-up over the fewest at a dimension.
struct Team<'a> {
    group: &'a Group<'a>,
    series: &'a Series,
}

impl<'a> Team<'a> {
    /// Those of a method, by ascending number of threads.
    fn of(group: &Group<'_>, groups: &'a [Group<'a>], series: &'a [Series], settings: &Settings) -> Vec<Self> {
        let mut counts: Vec<usize> = settings.thread_counts().collect();
        counts.sort_unstable();
        let on = |threads: usize| {
            let held = Held { threads, ..settings.held() };
            let is_it = |g: &Group<'_>| (g.method, g.device, g.held) == (group.method, group.device, held);
            let place = groups.iter().position(is_it)?;
            Some(Self { group: &groups[place], series: &series[place] })
        };
        counts.into_iter().filter_map(on).collect()
    }

    fn seconds(&self, dim: usize) -> Option<Estimate> {
        self.series.points.iter().find(|point| point.dim == dim).map(|point| point.seconds)
    }
}

fn of_method(group: &Group<'_>, groups: &[Group<'_>], series: &[Series], run: &Run) -> Vec<ThreadScaling> {
    let teams = Team::of(group, groups, series, &run.settings);
    let Some((fewest, more)) = teams.split_first() else { return Vec::new() };
    let from = fewest.group.held.threads;
    if run.settings.thread_counts().min() != Some(from) {
        return Vec::new();
    }
    let scatters: Vec<_> = more.iter().map(|team| scatters_of_ratios(team.group, Some(fewest.group))).collect();
    let at = |dim: usize| {
        let one = Estimate::exact(1.0);
        let first = OnThreads { threads: from, seconds: fewest.seconds(dim)?, speedup: one, efficiency: one };
        let others = more.iter().zip(&scatters).filter_map(|(team, scatters)| {
            let (seconds, threads) = (team.seconds(dim)?, team.group.held.threads);
            let speedup = speedup(team.group, fewest.group, scatters, dim)?;
            let ideal = threads as f64 / from as f64;
            Some(OnThreads { threads, seconds, speedup, efficiency: speedup.map(|times| times / ideal) })
        });
        let points: Vec<OnThreads> = [first].into_iter().chain(others).collect();
        let serial_share = serial_share(&teams, dim, run.machine.logical_cores);
        (points.len() > 1).then_some(ThreadScaling { method: group.method, dim, from, points, serial_share })
    };
    fewest.group.cells.keys().filter_map(|dim| at(*dim)).collect()
}

/// Threads that share a core take turns, of which Amdahl's law says nothing.
fn serial_share(teams: &[Team<'_>], dim: usize, cores: usize) -> Option<Estimate> {
    let few = teams.iter().filter(|team| team.group.held.threads <= cores);
    let observations = few.filter_map(|team| {
        let processes = &team.group.cells.get(&dim)?.processes;
        (processes.rounds() > 0).then_some(Observation { x: team.group.held.threads, processes })
    });
    fit::serial_share(&observations.collect::<Vec<_>>())
}
