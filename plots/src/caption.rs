//! Captions: what a figure shows, in the sentences that stand below it.

use relgrad_reports::record::Outcome;
use relgrad_reports::study::Study;
use relgrad_reports::summary::{Series, Summary};
use relgrad_reports::units::{self, grouped, number};
use relgrad_vocabulary::{DeviceKind, Method, excerpt};

use crate::Figure;
use crate::data;
use crate::guides::Laws;
use crate::trace;

/// The caption of `figure`.
pub(crate) fn caption(figure: Figure, study: &Study, summary: &Summary) -> String {
    match figure {
        Figure::Fig3 | Figure::Fig1Left => time(study, summary, figure.device()),
        Figure::Fig4 => memory_over_time(study),
        Figure::Speedup => speedup(study, summary),
        Figure::Memory => memory(study, summary),
        Figure::LocalExponent => local_exponents(study, summary),
        Figure::Residuals => residuals(study, summary),
        Figure::Roofline => roofline(study, summary),
        Figure::HeatMap => heat_map(study, summary),
    }
}

fn local_exponents(study: &Study, summary: &Summary) -> String {
    let laws = Laws::of(&study.run.settings);
    format!(
        "Exponent of time between neighbouring dimensions, ln(t₂/t₁) / ln(D₂/D₁), at their geometric mean ({}). Bands \
         are 95 % confidence intervals, cut off where they leave the panel. A power law is a level line; a rise \
         towards {} or {} shows the leading term take over.",
        conditions(study, data::main_device(summary)),
        laws.low(),
        laws.high()
    )
}

fn residuals(study: &Study, summary: &Summary) -> String {
    let device = data::main_device(summary);
    let range = |s: &Series| {
        let fit = s.fit.as_ref()?;
        Some(format!("{} {} to {}", s.method, grouped(fit.from), grouped(fit.to)))
    };
    let ranges: Vec<String> = summary.series.iter().filter(|s| s.device == device).filter_map(range).collect();
    format!(
        "Measured median over the time of the fitted power law within the range of the fit ({}), with the 95 % \
         confidence interval of the median. Fitted over D: {}. A bow means that one power law does not describe the \
         range.",
        conditions(study, device),
        ranges.join(", ")
    )
}

fn roofline(study: &Study, summary: &Summary) -> String {
    format!(
        "Operations of the cost model over the measured time, and the least bytes that must move over the same time, \
         against the data dimension D ({}). Dashed: the fastest that this machine did before the sweep with the same \
         number type and threads. A method near neither line is held up by something else; data that stay in caches \
         can pass the bandwidth of memory.",
        conditions(study, data::main_device(summary))
    )
}

fn heat_map(study: &Study, summary: &Summary) -> String {
    let device = data::main_device(summary);
    let conditions = on_machine(study, device, data::conditions_but_batch(study, device));
    format!(
        "Time of the baseline over time of relative, over the data dimension D and the batch size N ({}). Blue: \
         relative is faster; orange: the baseline is. Grey: one of the two has no measurement.",
        conditions
    )
}

fn time(study: &Study, summary: &Summary, device: DeviceKind) -> String {
    let series = || summary.series.iter().filter(|s| s.device == device);
    let mut sentences = vec![
        format!(
            "Time of one gradient of the log-likelihood against the data dimension D ({}).",
            conditions(study, device)
        ),
        "Markers are medians over all samples; bands are their 95 % confidence intervals.".into(),
    ];
    if series().any(|s| !s.stops.is_empty()) {
        sentences.push(
            "A dotted line to a hollow marker leads to the time expected of the first dimension that was not run; a \
             bar at it is the 95 % prediction interval of the fitted power law, an extrapolation."
                .into(),
        );
    }
    let slopes = Laws::of(&study.run.settings).labelled().map(|(_, label)| label.trim_start_matches("∝ "));
    sentences.push(format!("Grey lines show the slopes of {}.", slopes.join(" and ")));
    let fits: Vec<String> = series().filter_map(fit).collect();
    if !fits.is_empty() {
        sentences.push(format!("Fitted exponents p of time ∝ Dᵖ: {}.", fits.join("; ")));
    }
    sentences.join(" ")
}

fn fit(series: &Series) -> Option<String> {
    let fit = series.fit.as_ref()?;
    let (from, to) = (grouped(fit.from), grouped(fit.to));
    Some(format!("{} {} for D from {from} to {to}", series.method, units::exponent(&fit.exponent)))
}

fn memory_over_time(study: &Study) -> String {
    let Some(pair) = trace::pair(study) else {
        return "Memory over time of one gradient.".into();
    };
    let cell = &pair.relative.cell;
    let (relative, autodiff) = (trace::peak(pair.relative), trace::peak(pair.autodiff));
    format!(
        "Resident memory over time from the allocation of the problem to the end of its first gradient, relative \
         beside autodiff, at D = {} ({}). The panels share the memory axis; each has its own time axis. Dashed: the \
         lower bound of the memory model. At its peak autodiff holds {} times the memory of relative ({} and {}).",
        grouped(cell.point.dim),
        conditions(study, cell.point.device),
        number(autodiff / relative),
        units::bytes(autodiff),
        units::bytes(relative),
    )
}

fn speedup(study: &Study, summary: &Summary) -> String {
    let device = data::main_device(summary);
    let last = |baseline: Method| {
        let points = data::measured(data::relative(summary, device)?, |p| data::speedup(p, baseline));
        let (dim, estimate) = *points.last()?;
        let times = units::ratio(estimate.value);
        Some(format!("{times} over {baseline} at D = {}", grouped(dim as usize)))
    };
    let ends: Vec<String> = Method::BASELINES.into_iter().filter_map(last).collect();
    let ends = if ends.is_empty() {
        String::new()
    } else {
        format!(" At the largest dimension that both ran, {} is faster by {}.", Method::Relative, ends.join(" and "))
    };
    format!(
        "Time of the baseline over time of relative against the data dimension D ({}). Bands are 95 % confidence \
         intervals; dashed: the same quotient of the models' floating-point operations.{ends}",
        conditions(study, device)
    )
}

fn memory(study: &Study, summary: &Summary) -> String {
    let device = data::main_device(summary);
    let skipped = study.records.iter().any(|r| r.outcome != Outcome::Measured);
    let predicted = if skipped { " Hollow markers are predictions." } else { "" };
    let memory = if device == DeviceKind::Cpu {
        "resident memory above that of the bare process"
    } else {
        "memory in buffers of the GPU"
    };
    format!(
        "Peak {memory} against the data dimension D ({}). Dashed: the lower bound of the memory \
         model.{predicted}",
        conditions(study, device)
    )
}

/// The shared conditions with the processor's or the GPU's name in front.
fn conditions(study: &Study, device: DeviceKind) -> String {
    on_machine(study, device, data::conditions(study, device))
}

fn on_machine(study: &Study, device: DeviceKind, conditions: Vec<String>) -> String {
    let machine = &study.run.machine;
    let name = if device == DeviceKind::Cpu { Some(&machine.cpu) } else { machine.gpus.first() };
    let name = name.filter(|n| !n.is_empty()).map(|name| excerpt(name, 200));
    name.into_iter().chain(conditions).collect::<Vec<_>>().join(", ")
}
