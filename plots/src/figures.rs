//! The charts against D: time, speed-up and memory.

use relgrad_reports::method::RELATIVE;
use relgrad_reports::record::Model;
use relgrad_reports::study::Study;
use relgrad_reports::summary::Summary;

use crate::axis::Unit;
use crate::chart::{self, Chart, Curve, Reference};
use crate::data::{self, BASELINES};
use crate::scene::Scene;
use crate::style::{COLUMN_WIDTH, Look, look};

/// Figure 3 and the left of Figure 1: time of one gradient on a device.
pub(crate) fn time(study: &Study, summary: &Summary, device: &str) -> Scene {
    chart::draw(&Chart {
        heading: heading(study, device),
        quantity: "time of one gradient",
        unit: Unit::Seconds,
        curves: data::curves(summary, device, |p| Some(p.seconds), |s| s.predicted_seconds),
        model: "",
        reference: Reference::Slopes,
    })
}

/// Peak memory with the model's lower bound.
pub(crate) fn memory(study: &Study, summary: &Summary) -> Scene {
    let device = data::main_device(summary);
    let mut curves = data::curves(summary, device, data::peak_bytes, |s| s.predicted_bytes);
    for curve in &mut curves {
        let bounds = data::models(study, device, &curve.name);
        curve.model = bounds.into_iter().map(|(dim, m)| (dim, m.min_bytes)).collect();
        // Dashes mean the model here; markers and colours tell the methods apart.
        curve.look = Look { dash: &[], ..curve.look };
    }
    chart::draw(&Chart {
        heading: heading(study, device),
        quantity: "peak memory",
        unit: Unit::Bytes,
        curves,
        model: "model’s lower bound",
        reference: Reference::Nothing,
    })
}

/// How many times faster `relative` is than the baselines, with the quotient of the models' operations.
pub(crate) fn speedup(study: &Study, summary: &Summary) -> Scene {
    let device = data::main_device(summary);
    let curves = BASELINES.map(|baseline| Curve {
        name: format!("{RELATIVE} over {baseline}"),
        look: Look { dash: &[], ..look(baseline, &[]) },
        measured: data::relative(summary, device)
            .map(|series| data::measured(series, |p| data::speedup(p, baseline)))
            .unwrap_or_default(),
        stop: None,
        model: flop_ratios(study, device, baseline),
    });
    chart::draw(&Chart {
        heading: heading(study, device),
        quantity: "speed-up of relative",
        unit: Unit::Ratio,
        curves: curves.into_iter().filter(|c| !c.measured.is_empty()).collect(),
        model: "ratio of model flops",
        reference: Reference::One,
    })
}

fn flop_ratios(study: &Study, device: &str, baseline: &str) -> Vec<(f64, f64)> {
    let relative = data::models(study, device, RELATIVE);
    let ratio = |(dim, model): &(f64, Model)| {
        let own = relative.iter().find(|(d, _)| d == dim)?.1.flops;
        (own > 0.0).then_some((*dim, model.flops / own))
    };
    data::models(study, device, baseline).iter().filter_map(ratio).collect()
}

fn heading(study: &Study, device: &str) -> String {
    chart::heading(&data::conditions(study, device), COLUMN_WIDTH)
}
