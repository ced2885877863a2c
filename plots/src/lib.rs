//! Figures of measurements.
//!
//! [`draw`] draws a [`Figure`] of a [`Study`] and its [`Summary`]. The [`Drawing`] writes it as SVG, PNG and PDF, all
//! from one list of shapes. The crate computes no statistic: estimates, fits and models are those of `relgrad-reports`.
//! Its font is embedded.
//!
//! Single-panel figures are 85 mm wide, a journal's column. Figure 4, the roofline, the heat map and strong
//! scaling are 170 mm wide. No
//! text is smaller than 7 pt at that size. [`draw_on`] draws in another size.

mod axis;
mod chart;
mod clear;
mod data;
mod error;
mod experiment;
mod figures;
mod font;
mod guides;
mod legend;
mod machines;
mod panel;
mod paper;
mod pdf;
mod render;
mod scene;
mod style;
mod trend;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::str::FromStr;

use relgrad_reports::experiment::Figure as ExperimentFigure;
use relgrad_reports::export::Chart;
use relgrad_reports::study::Study;
use relgrad_reports::summary::Summary;
use relgrad_reports::writer::write_atomically;

use data::Shown;
pub use error::{Error, Result};
use figures::{Content, Spec};
pub use machines::{MACHINES_CAPTION, MOST_MACHINES, OnMachine, draw_machines};
pub use paper::Paper;
pub use trend::{MOST_TRENDS, Trend, draw_trend};

/// A figure of a study. A file in `figures/` has what it requires, how it is drawn, and its caption.
///
/// `fig1-left`, `fig3` and `fig4` are those of Gresele et al. (NeurIPS 2020): time of one gradient against D on a GPU
/// and on the CPU, and memory over time. `speedup`, `memory`, `local-exponent`, `residuals` and `roofline` are against
/// D too, `heat-map` is over D and N,
/// `strong-scaling` is against the number of threads, `rank-scaling` against that of ranks.
#[derive(Debug, Clone, Copy)]
pub struct Figure(&'static Spec);

impl Figure {
    /// Every figure, in the order a report shows them.
    pub const ALL: [Figure; COUNT] = {
        let mut all = [Figure(&figures::ALL[0]); COUNT];
        let mut i = 1;
        while i < COUNT {
            all[i] = Figure(&figures::ALL[i]);
            i += 1;
        }
        all
    };

    /// The name on the command line and of the files.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The caption: the conditions, the meaning of bands and dashes, and the main numbers.
    pub fn caption(self, study: &Study, summary: &Summary) -> String {
        (self.0.caption)(&self.shown(study, summary, Paper::default()))
    }

    /// Whether the records have what the figure requires; the error of [`draw`] names what is missing.
    pub fn available(self, study: &Study, summary: &Summary) -> bool {
        (self.0.needs)(&self.shown(study, summary, Paper::default())).is_ok()
    }

    fn shown<'a>(self, study: &'a Study, summary: &'a Summary, paper: Paper) -> Shown<'a> {
        Shown { paper, ..Shown::of(study, summary, self.0.device, self.0.along) }
    }
}

const COUNT: usize = figures::ALL.len();

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

/// A format of a drawing's file, by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a browser. Text stays text; its family is DejaVu Sans with fallbacks of like widths.
    Svg,
    /// 2000 pixels wide (600 or 300 an inch in print).
    Png,
    /// For a paper. Text stays text, in the embedded font.
    Pdf,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Svg, Self::Png, Self::Pdf];

    /// The extension of its files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Png => "png",
            Self::Pdf => "pdf",
        }
    }

    /// That of a path, by its extension.
    ///
    /// # Errors
    /// [`Error::Extension`].
    pub fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let found = Self::ALL.into_iter().find(|format| extension == Some(format.name()));
        found.ok_or_else(|| Error::Extension(path.display().to_string()))
    }
}

/// A finished figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    scene: scene::Scene,
    title: String,
    /// How many times larger than the scene it is on paper.
    scale: f64,
    svg: String,
    chart: Option<Chart>,
}

impl Drawing {
    fn of(scene: scene::Scene, title: String, scale: f64) -> Result<Self> {
        let svg = render::svg(&scene, &title, scale)?;
        Ok(Self { scene, title, scale, svg, chart: None })
    }

    /// The figure as a self-contained SVG document of its physical size (`width="85.00mm"` or `170.00mm`).
    ///
    /// The same records give the same bytes. On a screen, scale it with CSS (`svg { width: 100%; height: auto }`).
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// The numbers of its panels, with which a page's script draws it again; only panels against an axis have them.
    pub fn chart(&self) -> Option<&Chart> {
        self.chart.as_ref()
    }

    /// Writes the figure to `path`, in the format of its extension: whole, or not at all.
    ///
    /// # Errors
    /// [`Error::Extension`]; [`Error::Write`] when the file cannot be written, [`Error::Render`] when the backend
    /// fails, [`Error::Memory`] when there is not enough memory for its pixels.
    pub fn write(&self, path: &Path) -> Result<()> {
        let bytes = match Format::of(path)? {
            Format::Svg => return Ok(write_atomically(path, self.svg.as_bytes())?),
            Format::Png => render::png(&self.scene)?,
            Format::Pdf => pdf::pdf(&self.scene, &self.title, self.scale)?,
        };
        Ok(write_atomically(path, &bytes)?)
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
/// When the records lack what the figure shows: the error names what to measure; see [`Error`].
pub fn draw(figure: Figure, study: &Study, summary: &Summary) -> Result<Drawing> {
    draw_on(Paper::default(), figure, study, summary)
}

/// The same in the size of a paper.
///
/// # Errors
/// Those of [`draw`].
pub fn draw_on(paper: Paper, figure: Figure, study: &Study, summary: &Summary) -> Result<Drawing> {
    let (spec, shown) = (figure.0, figure.shown(study, summary, paper));
    (spec.needs)(&shown).map_err(Error::Missing)?;
    require_memory()?;
    let (scene, chart) = match spec.content {
        Content::Panels(plots) => {
            let plots = plots(&shown);
            (chart::draw(paper, &shown.conditions(), &plots), Some(chart::numbers(&plots)))
        }
        Content::Scene(draw, chart) => (draw(&shown), chart(&shown)),
    };
    Ok(Drawing { chart, ..Drawing::of(scene, (spec.caption)(&shown), paper.scale())? })
}

/// Draws the figure of an experiment or a training; `title` is for screen readers.
///
/// # Errors
/// [`Error::Empty`] when there is nothing to draw.
pub fn draw_experiment(figure: &ExperimentFigure, title: &str) -> Result<Drawing> {
    require_memory()?;
    Drawing::of(experiment::scene(figure)?, title.to_string(), 1.0)
}
