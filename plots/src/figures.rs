//! The charts against D: time, speed-up, memory, local exponents, residuals and rates.

use relgrad_reports::fit::LocalExponent;
use relgrad_reports::record::Model;
use relgrad_reports::study::Study;
use relgrad_reports::summary::{Estimate, Residual, Series, Stop, Summary};
use relgrad_reports::units;
use relgrad_vocabulary::{DeviceKind, Method};

use crate::axis::Unit;
use crate::chart::{self, Chart, Curve, Reference};
use crate::data;
use crate::guides::Laws;
use crate::scene::Scene;
use crate::style::{COLUMN_WIDTH, Look, PAGE_WIDTH, look};
use crate::xy::{self, Plot, Scale};

/// Figure 3 and the left of Figure 1: time of one gradient on a device.
pub(crate) fn time(study: &Study, summary: &Summary, device: DeviceKind) -> Scene {
    chart::draw(&Chart {
        heading: heading(study, device),
        quantity: "time of one gradient",
        unit: Unit::Seconds,
        curves: data::curves(summary, device, |p| Some(p.seconds), data::expected_seconds, |_| Vec::new()),
        model: "",
        reference: Reference::Slopes(Laws::of(&study.run.settings)),
    })
}

/// Peak memory with the model's lower bound.
pub(crate) fn memory(study: &Study, summary: &Summary) -> Scene {
    let device = data::main_device(summary);
    let predicted = |stop: &Stop| stop.predicted_bytes.map(data::exactly);
    let bounds =
        |subject| data::models(study, device, subject).into_iter().map(|(dim, m)| (dim, m.min_bytes)).collect();
    let mut curves = data::curves(summary, device, data::peak_bytes, predicted, bounds);
    for curve in &mut curves {
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
    let curves = Method::BASELINES.map(|baseline| Curve {
        name: format!("{} over {baseline}", Method::Relative),
        look: Look { dash: &[], ..look(baseline) },
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

/// Exponents between neighbouring dimensions, at the middle of the two on the logarithmic axis.
pub(crate) fn local_exponents(study: &Study, summary: &Summary) -> Scene {
    let device = data::main_device(summary);
    let curves = of_series(summary, device, |series| {
        let middle = |l: &LocalExponent| ((l.from as f64 * l.to as f64).sqrt(), data::sound(l.exponent));
        series.local_exponents.iter().filter(|l| l.exponent.value.is_finite()).map(middle).collect()
    });
    let scale = Scale::Linear { low: 0.0, high: 3.0, farthest: 1.0 };
    let levels = Laws::of(&study.run.settings).labelled().map(|(power, label)| (power, label.to_string())).to_vec();
    xy::draw(&heading(study, device), &[Plot { quantity: "local exponent of time", scale, curves, levels }])
}

/// Measured over fitted times within the range of each fit.
pub(crate) fn residuals(study: &Study, summary: &Summary) -> Scene {
    let device = data::main_device(summary);
    let curves = of_series(summary, device, |series| {
        let inside =
            series.residuals.iter().filter(|r| series.fit.is_some_and(|fit| (fit.from..=fit.to).contains(&r.dim)));
        let finite = inside.filter(|r| r.ratio.is_finite() && r.ratio > 0.0);
        finite.map(|r| (r.dim as f64, residual(series, r))).collect()
    });
    let levels = vec![(1.0, "the fitted power law".to_string())];
    let scale = Scale::Linear { low: 0.8, high: 1.2, farthest: 2.0 };
    let plot = Plot { quantity: "measured / fitted time", scale, curves, levels };
    xy::draw(&heading(study, device), &[plot])
}

/// The ratio with the relative interval of the measured median.
fn residual(series: &Series, residual: &Residual) -> Estimate {
    let seconds = series.points.iter().find(|p| p.dim == residual.dim).map(|p| data::sound(p.seconds));
    let scaled = |end: f64, value: f64| residual.ratio * end / value;
    seconds.map_or(data::exactly(residual.ratio), |s| Estimate {
        value: residual.ratio,
        low: scaled(s.low, s.value),
        high: scaled(s.high, s.value),
    })
}

/// Achieved arithmetic and memory traffic beside what the machine was measured to sustain.
pub(crate) fn roofline(study: &Study, summary: &Summary) -> Scene {
    let device = data::main_device(summary);
    let settings = &study.run.settings;
    let ceilings = study.run.roofline(device);
    let rate = |amount: fn(&Model) -> f64| {
        of_series(summary, device, |series| {
            data::measured(series, |p| {
                let over = |seconds: f64| amount(&p.model) / seconds / 1e9;
                let Estimate { value, low, high } = p.seconds;
                Some(Estimate { value: over(value), low: over(high), high: over(low) })
            })
        })
    };
    let level = |ceiling: Option<f64>, what: &str| {
        let shown = ceiling.filter(|c| c.is_finite() && *c > 0.0);
        shown.map(|c| (c / 1e9, format!("{what}: {}", units::number(c / 1e9)))).into_iter().collect()
    };
    let flops = ceilings.and_then(|r| r.peak_flops_per_second(settings.arithmetic(device), settings.threads));
    let bytes = ceilings.and_then(|r| r.peak_bytes_per_second(settings.threads));
    let plots = [
        Plot {
            quantity: "arithmetic (GFLOP/s)",
            scale: Scale::Logarithmic,
            curves: rate(|m| m.flops),
            levels: level(flops, "measured product of square matrices"),
        },
        Plot {
            quantity: "least traffic over time (GB/s)",
            scale: Scale::Logarithmic,
            curves: rate(|m| m.min_traffic_bytes),
            levels: level(bytes, "measured memory bandwidth"),
        },
    ];
    xy::draw(&chart::heading(&data::conditions(study, device), PAGE_WIDTH), &plots)
}

/// One curve a series on `device` that has values.
fn of_series(summary: &Summary, device: DeviceKind, values: impl Fn(&Series) -> Vec<(f64, Estimate)>) -> Vec<Curve> {
    let on_device = || summary.series.iter().filter(|s| s.device == device);
    let curve = |series: &Series| Curve {
        name: series.method.to_string(),
        look: look(series.method),
        measured: values(series),
        stop: None,
        model: Vec::new(),
    };
    on_device().map(curve).filter(|c| !c.measured.is_empty()).collect()
}

fn flop_ratios(study: &Study, device: DeviceKind, baseline: Method) -> Vec<(f64, f64)> {
    let relative = data::models(study, device, Method::Relative.into());
    let ratio = |(dim, model): &(f64, Model)| {
        let own = relative[relative.binary_search_by(|(d, _)| d.total_cmp(dim)).ok()?].1.flops;
        (own > 0.0).then_some((*dim, model.flops / own))
    };
    data::models(study, device, baseline.into()).iter().filter_map(ratio).collect()
}

fn heading(study: &Study, device: DeviceKind) -> String {
    chart::heading(&data::conditions(study, device), COLUMN_WIDTH)
}
