//! Figures from what relgrad measured.
//!
//! [`draw`] turns a [`Study`] and its [`Summary`] into one of the [`Figure`]s, and a [`Drawing`] is that figure as SVG
//! and as PNG. Both come from one list of shapes, so they show the same. The crate measures and computes nothing:
//! estimates, fits and models are those of `relgrad-reports`. It needs no system font; the one it measures and draws
//! text with is embedded.
//!
//! Single-panel figures are 85 mm wide, a journal's column; Figure 4, the roofline and the heat map are 170 mm wide. No
//! text is below 7 pt at that size.

mod axis;
mod caption;
mod chart;
mod clear;
mod data;
mod error;
mod experiment;
mod figures;
mod font;
mod guides;
mod heatmap;
mod legend;
mod panel;
mod render;
mod scene;
mod style;
mod trace;
mod trend;
mod xy;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::Path;
use std::str::FromStr;

use relgrad_reports::experiment::Figure as ExperimentFigure;
use relgrad_reports::study::Study;
use relgrad_reports::summary::Summary;
use relgrad_reports::writer::write_atomically;
use relgrad_vocabulary::DeviceKind;

pub use error::{Error, Result};
pub use trend::{MOST_TRENDS, Trend, draw_trend};

/// A figure this crate can draw. Numbers are those of Gresele et al. (NeurIPS 2020).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Figure {
    /// Time of one gradient against D on a GPU, log–log (`fig1-left`).
    Fig1Left,
    /// Time of one gradient against D on the CPU, log–log (`fig3`).
    Fig3,
    /// Memory over time of one gradient, relative beside autodiff (`fig4`).
    Fig4,
    /// Speed-up of relative over the other methods against D (`speedup`).
    Speedup,
    /// Peak memory against D (`memory`).
    Memory,
    /// Exponents of time between neighbouring dimensions (`local-exponent`).
    LocalExponent,
    /// Measured over fitted times (`residuals`).
    Residuals,
    /// Achieved arithmetic and traffic beside the machine's measured ceilings (`roofline`).
    Roofline,
    /// Speed-up of relative over D and N (`heat-map`).
    HeatMap,
}

impl Figure {
    /// Every figure, in the order a report shows them.
    pub const ALL: [Figure; 9] = [
        Figure::Fig3,
        Figure::Fig1Left,
        Figure::Speedup,
        Figure::Memory,
        Figure::LocalExponent,
        Figure::Residuals,
        Figure::Fig4,
        Figure::Roofline,
        Figure::HeatMap,
    ];

    /// The name on the command line and of the files.
    pub fn name(self) -> &'static str {
        match self {
            Figure::Fig1Left => "fig1-left",
            Figure::Fig3 => "fig3",
            Figure::Fig4 => "fig4",
            Figure::Speedup => "speedup",
            Figure::Memory => "memory",
            Figure::LocalExponent => "local-exponent",
            Figure::Residuals => "residuals",
            Figure::Roofline => "roofline",
            Figure::HeatMap => "heat-map",
        }
    }

    /// What the figure shows, in a few sentences: conditions, the meaning of bands and dashes, and the numbers read off
    /// most.
    pub fn caption(self, study: &Study, summary: &Summary) -> String {
        caption::caption(self, study, &self.shown(study, summary))
    }

    /// Whether the records hold what the figure needs; [`draw`] says what is missing.
    pub fn available(self, study: &Study, summary: &Summary) -> bool {
        self.check(study, &self.shown(study, summary)).is_ok()
    }

    /// All names, for messages.
    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// The device of a figure of times.
    fn device(self) -> DeviceKind {
        if self == Figure::Fig1Left { DeviceKind::Cuda } else { DeviceKind::Cpu }
    }

    /// What the figure shows of a summary: every batch size where it is an axis, else that of the settings.
    fn shown<'a>(self, study: &Study, summary: &'a Summary) -> Cow<'a, Summary> {
        if self == Figure::HeatMap { Cow::Borrowed(summary) } else { data::main(study, summary) }
    }

    fn check(self, study: &Study, summary: &Summary) -> Result<()> {
        let found = |found: bool, error: Error| if found { Ok(()) } else { Err(error) };
        match self {
            Figure::Fig1Left | Figure::Fig3 => {
                let device = self.device();
                let timed = data::any_measured(summary, device, |p| Some(p.seconds));
                found(timed, Error::NothingMeasured { device })
            }
            Figure::Speedup => found(data::has_speedup(summary), Error::NoSpeedup),
            Figure::LocalExponent => {
                let mut on_main = summary.series.iter().filter(|s| s.device == data::main_device(summary));
                found(on_main.any(|s| !s.local_exponents.is_empty()), Error::NoNeighbours)
            }
            Figure::Residuals => {
                let mut on_main = summary.series.iter().filter(|s| s.device == data::main_device(summary));
                found(on_main.any(|s| s.fit.is_some()), Error::NoFit)
            }
            Figure::Roofline => {
                let device = data::main_device(summary);
                let timed = data::any_measured(summary, device, |p| Some(p.seconds));
                found(timed && study.run.roofline(device).is_some(), Error::NoRoofline)
            }
            Figure::HeatMap => found(heatmap::available(study, summary), Error::OneBatchSize),
            Figure::Memory => {
                let device = data::main_device(summary);
                found(data::any_measured(summary, device, data::peak_bytes), Error::NoPeakMemory)
            }
            Figure::Fig4 => {
                found(study.records.iter().any(trace::has_trace), Error::NoMemoryTrace)?;
                found(trace::pair(study).is_some(), Error::NoCommonTrace)
            }
        }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Figure {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|figure| figure.name() == name);
        found.ok_or_else(|| Error::UnknownFigure { name: name.into() })
    }
}

/// A finished figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    scene: scene::Scene,
    svg: String,
}

impl Drawing {
    /// The figure as a self-contained SVG document of its physical size (`width="85.00mm"` or `170.00mm`).
    ///
    /// The same records give the same bytes. Text stays text; its family is DejaVu Sans with fallbacks of like widths.
    /// On a screen, scale it with CSS (`svg { width: 100%; height: auto }`).
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// Writes the SVG to `path`: whole, or not at all.
    ///
    /// # Errors
    /// [`Error::Write`] when the file cannot be written.
    pub fn write_svg(&self, path: &Path) -> Result<()> {
        Ok(write_atomically(path, self.svg.as_bytes())?)
    }

    /// Writes the figure as a PNG, 2000 pixels wide (600 or 300 an inch in print), to `path`: whole, or not at all.
    ///
    /// # Errors
    /// [`Error::Write`] when the file cannot be written, [`Error::Render`] when the backend fails, [`Error::Memory`]
    /// when its pixels find no room.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        Ok(write_atomically(path, &render::png(&self.scene)?)?)
    }
}

/// Fails where there is too little memory to draw a figure's shapes: what the libraries below allocate, a few MiB,
/// would end the program.
fn require_memory() -> Result<()> {
    const BYTES: usize = 12 << 20;
    Vec::<u8>::new().try_reserve_exact(BYTES).map_err(|_| Error::Memory { bytes: BYTES })
}

/// Draws `figure` from a study and the summary of that same study.
///
/// # Errors
/// Where the records lack what the figure shows, the error says what to measure; see [`Error`].
pub fn draw(figure: Figure, study: &Study, summary: &Summary) -> Result<Drawing> {
    let shown = figure.shown(study, summary);
    let summary = &shown;
    figure.check(study, summary)?;
    require_memory()?;
    let scene = match figure {
        Figure::Fig1Left | Figure::Fig3 => figures::time(study, summary, figure.device()),
        Figure::Speedup => figures::speedup(study, summary),
        Figure::Memory => figures::memory(study, summary),
        Figure::LocalExponent => figures::local_exponents(study, summary),
        Figure::Residuals => figures::residuals(study, summary),
        Figure::Roofline => figures::roofline(study, summary),
        Figure::HeatMap => heatmap::draw(study, summary),
        Figure::Fig4 => match trace::pair(study) {
            Some(pair) => trace::draw(study, pair),
            None => return Err(Error::NoCommonTrace),
        },
    };
    let svg = render::svg(&scene, &figure.caption(study, summary))?;
    Ok(Drawing { scene, svg })
}

/// Draws the figure of an experiment or a training; `title` is for screen readers.
///
/// # Errors
/// [`Error::Empty`] when there is nothing to draw.
pub fn draw_experiment(figure: &ExperimentFigure, title: &str) -> Result<Drawing> {
    require_memory()?;
    let scene = experiment::scene(figure)?;
    let svg = render::svg(&scene, title)?;
    Ok(Drawing { scene, svg })
}
