//! The figures of a study, one file each: its name, what it needs, how it is drawn, what its caption says. A new one is
//! its file and its line in [`ALL`].

mod heat_map;
mod local_exponent;
mod memory;
mod memory_over_time;
mod rank_scaling;
mod residuals;
mod roofline;
mod speedup;
mod strong_scaling;
mod time;

use relgrad_reports::export::Chart;
use relgrad_vocabulary::DeviceKind;

use crate::chart::Plot;
use crate::data::{Along, Shown};
use crate::scene::Scene;

/// Every figure, in the order a report shows them.
pub(crate) static ALL: [Spec; 11] = [
    time::FIG3,
    time::FIG1_LEFT,
    speedup::SPEC,
    memory::SPEC,
    local_exponent::SPEC,
    residuals::SPEC,
    memory_over_time::SPEC,
    roofline::SPEC,
    heat_map::SPEC,
    strong_scaling::SPEC,
    rank_scaling::SPEC,
];

/// A figure of a study.
#[derive(Debug)]
pub(crate) struct Spec {
    /// The name on the command line and of the files.
    pub(crate) name: &'static str,
    /// The device that it is of; absent: the one whose speed-ups are shown.
    pub(crate) device: Option<DeviceKind>,
    /// Its axis; what else a sweep varies is as in the settings.
    pub(crate) along: Along,
    /// What the records lack, and what to measure.
    pub(crate) needs: fn(&Shown<'_>) -> Result<(), String>,
    pub(crate) content: Content,
    pub(crate) caption: fn(&Shown<'_>) -> String,
}

/// What a figure consists of.
#[derive(Debug)]
pub(crate) enum Content {
    /// Panels, which a page's script can draw again.
    Panels(fn(&Shown<'_>) -> Vec<Plot<'static>>),
    /// A drawing of its own, with its numbers for a page's script if that can draw it.
    Scene(fn(&Shown<'_>) -> Scene, fn(&Shown<'_>) -> Option<Chart>),
}

/// `Err` of what is missing where it is not `found`.
fn require(found: bool, missing: &str) -> Result<(), String> {
    if found { Ok(()) } else { Err(missing.to_string()) }
}
