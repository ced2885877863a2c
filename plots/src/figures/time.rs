//! Figure 3 and the left of Figure 1: time of one gradient against D on the CPU and on a GPU, log–log.

use relgrad_reports::summary::{Estimate, Series, Stop};
use relgrad_reports::units::{self, grouped};
use relgrad_vocabulary::DeviceKind;

use super::{Content, Spec};
use crate::axis::Unit;
use crate::chart::{self, Plot, Reference};
use crate::data::{self, Along, Shown};
use crate::guides::Laws;

pub(super) const FIG3: Spec =
    Spec { name: "fig3", device: Some(DeviceKind::Cpu), along: Along::Dim, needs, content: CONTENT, caption };
pub(super) const FIG1_LEFT: Spec = Spec { name: "fig1-left", device: Some(DeviceKind::Cuda), ..FIG3 };

const CONTENT: Content = Content::Panels(|shown| vec![plot(shown)]);

fn needs(shown: &Shown<'_>) -> Result<(), String> {
    let device = &shown.device;
    let missing = format!("no record has a measured time on {device}: run `relgrad sweep --device {device}`");
    super::require(shown.has(|p| Some(p.seconds)), &missing)
}

/// More curves than a legend serves: each has its name at its end, and none a band, which would hide the others.
const MANY: usize = 6;

fn plot(shown: &Shown<'_>) -> Plot<'static> {
    let mut curves = shown.stopped(|p| Some(p.seconds), data::seconds, Stop::expected_seconds);
    if curves.len() > MANY {
        for curve in &mut curves {
            curve.label.clone_from(&curve.name);
            curve.measured.iter_mut().for_each(|(_, estimate)| *estimate = Estimate::exact(estimate.value));
        }
    }
    Plot {
        reference: Reference::Slopes(Laws::of(&shown.study.run.settings)),
        ..Plot::log("time of one gradient", Unit::Seconds, curves)
    }
}

fn caption(shown: &Shown<'_>) -> String {
    let mut sentences = vec![
        format!(
            "Time of one gradient of the log-likelihood against the data dimension D ({}).",
            shown.conditions_of_machine()
        ),
        format!("Markers are medians of the processes' medians.{}", chart::explained(&[plot(shown)])),
    ];
    if shown.series().any(|s| !s.stops.is_empty()) {
        sentences.push(
            "A hollow marker is the predicted time of the first skipped dimension. A bar at it is the 95 % prediction \
             interval of the fitted power law, an extrapolation."
                .into(),
        );
    }
    let slopes = Laws::of(&shown.study.run.settings).labelled().map(|(_, label)| label.trim_start_matches("∝ "));
    sentences.push(format!("Grey lines show the slopes of {}.", slopes.join(" and ")));
    let fits: Vec<String> = shown.series().filter_map(fit).collect();
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
