//! How many times faster `relative` is than the baselines against D, with the quotient of the models' operations.

use relgrad_reports::units::{self, grouped};
use relgrad_vocabulary::Method;

use super::{Content, Spec};
use crate::axis::Unit;
use crate::chart::{self, Curve, Plot, Reference};
use crate::data::{self, Along, Shown};
use crate::style::{Look, look};

pub(super) const SPEC: Spec =
    Spec { name: "speedup", device: None, along: Along::Dim, needs, content: CONTENT, caption };

const CONTENT: Content = Content::Panels(|shown| vec![plot(shown)]);

fn needs(shown: &Shown<'_>) -> Result<(), String> {
    let missing =
        "no dimension has a measured time of relative and of ordinary or autodiff: run `relgrad sweep` with them";
    super::require(Method::BASELINES.into_iter().any(|baseline| !shown.speedups(baseline).is_empty()), missing)
}

fn plot(shown: &Shown<'_>) -> Plot<'static> {
    let cells = |dim: f64, baseline| shown.cells(&[Method::Relative.into(), Method::into(baseline)], dim as usize);
    let curves = Method::BASELINES.map(|baseline| Curve {
        cells: shown.speedups(baseline).iter().map(|(dim, _)| cells(*dim, baseline)).collect(),
        measured: shown.speedups(baseline),
        processes: shown.speedups_of_rounds(baseline),
        model: flop_ratios(shown, baseline),
        ..Curve::named(format!("{} over {baseline}", Method::Relative), Look { dash: &[], ..look(baseline) })
    });
    let curves = curves.into_iter().filter(|c| !c.measured.is_empty()).collect();
    Plot {
        point: "one round",
        model: "ratio of model flops",
        reference: Reference::One,
        ..Plot::log("speed-up of relative", Unit::Ratio, curves)
    }
}

fn flop_ratios(shown: &Shown<'_>, baseline: Method) -> Vec<(f64, f64)> {
    let relative = shown.models(Method::Relative);
    let ratio = |(dim, model): &(f64, data::Model)| {
        let own = relative[relative.binary_search_by(|(d, _)| d.total_cmp(dim)).ok()?].1.flops;
        (own > 0.0).then_some((*dim, model.flops / own))
    };
    shown.models(baseline).iter().filter_map(ratio).collect()
}

fn caption(shown: &Shown<'_>) -> String {
    let last = |baseline: Method| {
        let (dim, estimate) = *shown.speedups(baseline).last()?;
        Some(format!("{} over {baseline} at D = {}", units::ratio(estimate.value), grouped(dim as usize)))
    };
    let ends: Vec<String> = Method::BASELINES.into_iter().filter_map(last).collect();
    let ends = if ends.is_empty() {
        String::new()
    } else {
        format!(" Speed-up of {} at the largest common dimension: {}.", Method::Relative, ends.join(" and "))
    };
    format!(
        "Time of the baseline divided by that of relative, against the data dimension D ({}).{} Dashed: the ratio of \
         the models' floating-point operations.{ends}",
        shown.conditions_of_machine(),
        chart::explained(&[plot(shown)])
    )
}
