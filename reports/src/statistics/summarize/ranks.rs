//! How the time of a method changes where its weights are split over more ranks.

use super::{Group, axes, scatters_of_ratios, speedup};
use crate::record::Held;
use crate::record::run::Settings;
use crate::statistics::summary::{Estimate, OnRanks, RankScaling, Series};

/// Every method at every D that was measured on the fewest ranks and on more, with `series` of the groups.
pub(super) fn scaling(groups: &[Group<'_>], series: &[Series], settings: &Settings) -> Vec<RankScaling> {
    if settings.other_ranks.is_empty() {
        return Vec::new();
    }
    let main = groups.iter().filter(|group| axes::is_main(group, settings));
    main.flat_map(|group| of_method(group, groups, series, settings)).collect()
}

fn of_method(main: &Group<'_>, groups: &[Group<'_>], series: &[Series], settings: &Settings) -> Vec<RankScaling> {
    let mut counts: Vec<usize> = settings.rank_counts().collect();
    counts.sort_unstable();
    let on = |ranks: usize| {
        let held = Held { ranks, ..settings.held() };
        let is_it = |g: &Group<'_>| (g.method, g.device, g.held) == (main.method, main.device, held);
        let place = groups.iter().position(is_it)?;
        Some((&groups[place], &series[place]))
    };
    let on_ranks: Vec<(&Group<'_>, &Series)> = counts.into_iter().filter_map(on).collect();
    let Some((&(fewest, first), more)) = on_ranks.split_first() else { return Vec::new() };
    let from = fewest.held.ranks;
    if settings.rank_counts().min() != Some(from) {
        return Vec::new();
    }
    let scatters: Vec<_> = more.iter().map(|(group, _)| scatters_of_ratios(group, Some(fewest))).collect();
    let at = |dim: usize| {
        let begin = point(fewest, first, dim, Estimate::exact(1.0))?;
        let others = more.iter().zip(&scatters).filter_map(|((group, series), scatters)| {
            point(group, series, dim, speedup(group, fewest, scatters, dim)?)
        });
        let points: Vec<OnRanks> = [begin].into_iter().chain(others).collect();
        (points.len() > 1).then_some(RankScaling { method: main.method, dim, from, points })
    };
    fewest.cells.keys().filter_map(|dim| at(*dim)).collect()
}

fn point(group: &Group<'_>, series: &Series, dim: usize, speedup: Estimate) -> Option<OnRanks> {
    let cell = series.points.iter().find(|point| point.dim == dim)?;
    let exchanged = group.cells.get(&dim)?.valid().find_map(|record| record.exchanged);
    Some(OnRanks {
        ranks: group.held.ranks,
        seconds: cell.seconds,
        speedup,
        peak_bytes: cell.peak_bytes,
        received_bytes: exchanged.map(|exchanged| exchanged.received_bytes),
        transport: exchanged.map(|exchanged| exchanged.transport),
    })
}
