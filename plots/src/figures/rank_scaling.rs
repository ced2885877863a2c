//! How many times faster each method is over more ranks, and as many machines by a model of their network.

use relgrad_reports::export::cell_key;
use relgrad_reports::summary::{OnRanks, RankScaling};
use relgrad_reports::units::{counted, grouped};
use relgrad_vocabulary::DeviceKind;

use super::{Content, Spec};
use crate::axis::Unit;
use crate::chart::{self, Against, Curve, Plot, Scale};
use crate::data::{self, Along, Shown};
use crate::style::{Look, look};

pub(super) const SPEC: Spec = Spec {
    name: "rank-scaling",
    device: Some(DeviceKind::Cpu),
    along: Along::Ranks,
    needs,
    content: Content::Panels(|shown| vec![plot(shown)]),
    caption,
};

/// Gb/s of the networks of the model, without a limit first.
const NETWORKS: [f64; 4] = [f64::INFINITY, 100.0, 25.0, 10.0];

fn needs(shown: &Shown<'_>) -> Result<(), String> {
    let missing = "no method has measured times over several ranks: run `relgrad sweep` with a list, as in \
                   --ranks 1,2,4";
    super::require(!shown.summary.rank_scaling.is_empty(), missing)
}

/// Of each method the smallest and the largest D: a table has them all.
fn chosen<'a>(shown: &'a Shown<'_>) -> Vec<&'a RankScaling> {
    let all = &shown.summary.rank_scaling;
    let is_end = |place: usize| {
        let is_other = |beside: Option<&RankScaling>| beside.is_none_or(|other| other.method != all[place].method);
        is_other(place.checked_sub(1).map(|before| &all[before])) || is_other(all.get(place + 1))
    };
    (0..all.len()).filter(|place| is_end(*place)).map(|place| &all[place]).collect()
}

/// The one whose model is shown: the first method at its largest D.
fn modelled<'a>(chosen: &[&'a RankScaling]) -> Option<&'a RankScaling> {
    chosen.iter().copied().rev().find(|scaling| scaling.method == chosen[0].method)
}

fn plot(shown: &Shown<'_>) -> Plot<'static> {
    let chosen = chosen(shown);
    let mut curves: Vec<Curve> = chosen.iter().map(|scaling| curve(shown, scaling)).collect();
    curves.extend(modelled(&chosen).into_iter().flat_map(models));
    let scale = Scale::Logarithmic { unit: Unit::Ratio, margin: 1.12 };
    Plot { against: Against::Ranks, point: "one round", model: "model", ..Plot::new("speed-up", scale, curves) }
}

fn curve(shown: &Shown<'_>, scaling: &RankScaling) -> Curve {
    let RankScaling { method, dim, from, .. } = *scaling;
    let key = |ranks: usize| {
        let series = shown.series().find(|series| series.method == method && series.ranks == ranks)?;
        Some(cell_key(series, dim))
    };
    let cells = |on: &OnRanks| [Some(on.ranks).filter(|ranks| *ranks != from), Some(from)].into_iter().flatten();
    Curve {
        label: format!("D = {}", grouped(dim)),
        measured: scaling.points.iter().map(|on| (on.ranks as f64, data::sound(on.speedup))).collect(),
        cells: scaling.points.iter().map(|on| cells(on).filter_map(key).collect()).collect(),
        ..Curve::named(method.to_string(), Look { dash: &[], ..look(method) })
    }
}

/// The speed-up of as many machines as ranks, each as fast as this one on the fewest ranks, that compute and then wait
/// for what comes to them over a network.
fn models(scaling: &RankScaling) -> Vec<Curve> {
    let alone = scaling.points.first().map_or(f64::NAN, |on| on.seconds.value);
    let over = |gigabits: f64| {
        let at = |on: &OnRanks| {
            let ranks = on.ranks as f64;
            let received = on.received_bytes.map_or(0.0, |bytes| bytes as f64 / ranks);
            let seconds = alone * scaling.from as f64 / ranks + 8.0 * received / (1e9 * gigabits);
            (ranks, alone / seconds)
        };
        let model = scaling.points.iter().map(at).collect();
        let label = if gigabits.is_finite() { format!("{gigabits} Gb/s") } else { "no waiting".to_string() };
        Curve { label, model, ..Curve::named("model".to_string(), look(scaling.method)) }
    };
    NETWORKS.into_iter().map(over).collect()
}

fn caption(shown: &Shown<'_>) -> String {
    let chosen = chosen(shown);
    let fewest = chosen.first().map_or(1, |scaling| scaling.from);
    let of = modelled(&chosen).map_or(String::new(), |of| format!("{}, D = {}", of.method, grouped(of.dim)));
    format!(
        "Time on {} divided by that over more, paired by round; all ranks share this machine ({}). Dashed: a model of \
         as many machines like this one ({of}), without and with the time of a network.{}",
        counted(fewest, "rank"),
        shown.conditions_of_machine(),
        chart::explained(&[plot(shown)]),
    )
}
