//! Achieved arithmetic and memory traffic beside what the machine was measured to sustain.

use relgrad_reports::record::Model;
use relgrad_reports::summary::{CellSummary, Estimate};
use relgrad_reports::units;

use super::{Content, Spec};
use crate::axis::Unit;
use crate::chart::{self, Curve, Plot, Reference, Scale};
use crate::data::{self, Along, Shown};

pub(super) const SPEC: Spec =
    Spec { name: "roofline", device: None, along: Along::Dim, needs, content: CONTENT, caption };

const CONTENT: Content = Content::Panels(|shown| plots(shown).into());

fn needs(shown: &Shown<'_>) -> Result<(), String> {
    let missing = "the folder has no measured ceilings, or no times: run `relgrad sweep` without --no-roofline";
    let is_known = shown.study.run.roofline(shown.device).is_some();
    super::require(shown.has(|p| Some(p.seconds)) && is_known, missing)
}

fn plots(shown: &Shown<'_>) -> [Plot<'static>; 2] {
    let settings = &shown.study.run.settings;
    let ceilings = shown.study.run.roofline(shown.device);
    let flops = ceilings.and_then(|r| r.peak_flops_per_second(settings.arithmetic(shown.device), settings.threads));
    let bytes = ceilings.and_then(|r| r.peak_bytes_per_second(settings.threads));
    let plot = |quantity, amount: fn(&Model) -> f64, ceiling: Option<f64>, what: &str| {
        let ceiling = ceiling.filter(|c| c.is_finite() && *c > 0.0);
        let level = ceiling.map(|c| (c / 1e9, format!("{what}: {}", units::number(c / 1e9))));
        let scale = Scale::Logarithmic { unit: Unit::Count, margin: 1.5 };
        Plot {
            reference: Reference::Ceiling(level.into_iter().collect()),
            ..Plot::new(quantity, scale, rates(shown, amount))
        }
    };
    [
        plot("arithmetic (GFLOP/s)", |m| m.flops, flops, "measured product of square matrices"),
        plot("least traffic over time (GB/s)", |m| m.min_traffic_bytes, bytes, "measured memory bandwidth"),
    ]
}

/// An amount over the measured time, in 10⁹ a second.
fn rates(shown: &Shown<'_>, amount: fn(&Model) -> f64) -> Vec<Curve> {
    let over = |model: &Model, seconds: f64| amount(model) / seconds / 1e9;
    shown.curves(|series| {
        let rate = |p: &CellSummary| {
            let [value, low, high] = [p.seconds.value, p.seconds.high, p.seconds.low].map(|s| over(&p.model, s));
            Some(Estimate { value, low, high })
        };
        (data::measured(series, rate), shown.processes(series, |r| Some(over(&r.model, data::seconds(r)?))))
    })
}

fn caption(shown: &Shown<'_>) -> String {
    let plots = plots(shown);
    let above = |plot: &Plot<'_>, what: &str, why: &str| {
        let values = || plot.curves.iter().flat_map(|c| &c.measured);
        let count = values().filter(|(_, e)| plot.exceeds(e.value)).count();
        let what = format!("{count} of {} {what}", values().count());
        if count == 0 { String::new() } else { format!(" Ringed: {what} above the ceiling; {why}.") }
    };
    let [arithmetic, traffic] = &plots;
    format!(
        "Operations of the cost model, and the least bytes it moves, divided by the measured time, against the data \
         dimension D ({}).{} Dashed: the fastest rate measured on this machine with the same number type and threads. \
         A method near neither line is limited by something else.{}{}",
        shown.conditions_of_machine(),
        chart::explained(&plots),
        above(arithmetic, "arithmetic rates", "the machine was slower when the ceiling was measured"),
        above(traffic, "traffic rates", "data in caches exceed the bandwidth of memory"),
    )
}
