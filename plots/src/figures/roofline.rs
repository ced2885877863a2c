//! Achieved arithmetic and memory traffic beside what the machine was measured to sustain.

use relgrad_reports::record::Model;
use relgrad_reports::summary::Estimate;
use relgrad_reports::units;

use super::Spec;
use crate::axis::Unit;
use crate::chart::{self, Curve, Plot, Reference, Scale};
use crate::data::{self, Shown};
use crate::scene::Scene;

pub(super) const SPEC: Spec = Spec { name: "roofline", device: None, every_batch: false, needs, draw, caption };

fn needs(shown: &Shown<'_>) -> Result<(), String> {
    let missing = "the folder has no measured ceilings, or no times: run `relgrad sweep` without --no-roofline";
    let is_known = shown.study.run.roofline(shown.device).is_some();
    super::require(shown.has(|p| Some(p.seconds)) && is_known, missing)
}

fn draw(shown: &Shown<'_>) -> Scene {
    let settings = &shown.study.run.settings;
    let ceilings = shown.study.run.roofline(shown.device);
    let flops = ceilings.and_then(|r| r.peak_flops_per_second(settings.arithmetic(shown.device), settings.threads));
    let bytes = ceilings.and_then(|r| r.peak_bytes_per_second(settings.threads));
    let plot = |quantity, amount: fn(&Model) -> f64, ceiling: Option<f64>, what: &str| {
        let ceiling = ceiling.filter(|c| c.is_finite() && *c > 0.0);
        let level = ceiling.map(|c| (c / 1e9, format!("{what}: {}", units::number(c / 1e9))));
        let scale = Scale::Logarithmic { unit: Unit::Count, margin: 1.5 };
        Plot {
            reference: Reference::Levels(level.into_iter().collect()),
            ..Plot::new(quantity, scale, rates(shown, amount))
        }
    };
    let plots = [
        plot("arithmetic (GFLOP/s)", |m| m.flops, flops, "measured product of square matrices"),
        plot("least traffic over time (GB/s)", |m| m.min_traffic_bytes, bytes, "measured memory bandwidth"),
    ];
    chart::draw(&shown.conditions(), &plots)
}

/// An amount over the measured time, in 10⁹ a second.
fn rates(shown: &Shown<'_>, amount: fn(&Model) -> f64) -> Vec<Curve> {
    shown.curves(|series| {
        data::measured(series, |p| {
            let over = |seconds: f64| amount(&p.model) / seconds / 1e9;
            let Estimate { value, low, high } = p.seconds;
            Some(Estimate { value: over(value), low: over(high), high: over(low) })
        })
    })
}

fn caption(shown: &Shown<'_>) -> String {
    format!(
        "Operations of the cost model, and the least bytes it moves, divided by the measured time, against the data \
         dimension D ({}). Dashed: the fastest rate measured on this machine before the sweep, with the same number \
         type and threads. A method near neither line is limited by something else. Data in caches can exceed the \
         bandwidth of memory.",
        shown.conditions_of_machine()
    )
}
