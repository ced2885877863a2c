//! Panels of quantities against the dimension D, one at the width of a column, or two side by side at that of a page.

mod curves;
mod numbers;

use relgrad_reports::summary::Estimate;
use relgrad_reports::units;

use crate::axis::{Axis, Room, Unit};
use crate::clear::Clear;
use crate::font;
use crate::guides::{Guides, Laws};
use crate::legend::{self, Key, Note, Sign};
use crate::panel::{Panel, Titles};
use crate::paper::Paper;
use crate::scene::{Align, Rect, Scene, Stroke, Text};
use crate::style::{COLUMN_WIDTH, GREY, Look, MARGIN, MODEL, NORMAL, PAGE_WIDTH, SMALL};
use curves::{
    bars, clips, draw_curves, draw_labels, has_interval, measured_places, place_labels, predicted_line, shifts,
};
pub(crate) use numbers::{hex, numbers, style};

/// Between two panels, in points.
const BETWEEN: f64 = 20.0;
/// A prediction this many times over the largest value leaves the panel instead of stretching the axis.
const FARTHEST_PREDICTION: f64 = 100.0;
/// Intervals and processes widen a logarithmic axis by at most this factor at either end,
const WIDENED_BY: f64 = 3.2;
/// and a linear one by this share of the range of the values.
const WIDENED_SHARE: f64 = 0.3;
/// Room to the right of the curves for their labels, in points.
const LABELS: f64 = 46.0;
/// A panel whose curves have names at their ends needs so much height for one.
const NAME_HEIGHT: f64 = 14.0;
/// A page from this width on, in points, has two panels side by side.
const TWO_PANELS: f64 = 1.5 * COLUMN_WIDTH;

/// What a panel shows.
#[derive(Debug, Clone)]
pub(crate) struct Plot<'a> {
    pub(crate) quantity: &'a str,
    pub(crate) against: Against,
    pub(crate) scale: Scale,
    /// Height of the panel, in points.
    pub(crate) height: f64,
    pub(crate) curves: Vec<Curve>,
    pub(crate) intervals: Intervals,
    /// What a small point is.
    pub(crate) point: &'a str,
    /// What the dashed curves are called in the legend.
    pub(crate) model: &'a str,
    pub(crate) reference: Reference,
}

/// The horizontal axis of a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    Dim,
    /// With a tick at each number, and to the right room for the labels of the curves.
    Threads,
    /// The same.
    Ranks,
}

impl Against {
    fn title(self) -> &'static str {
        match self {
            Self::Dim => "data dimension D",
            Self::Threads => "threads",
            Self::Ranks => "ranks",
        }
    }

    /// A place on it in words.
    fn place(self, x: f64) -> String {
        match self {
            Self::Dim => format!("D = {}", units::number(x)),
            Self::Threads => units::counted(x as usize, "thread"),
            Self::Ranks => units::counted(x as usize, "rank"),
        }
    }
}

/// What kind of vertical axis a panel has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    /// Logarithmic, with a margin of this factor at both ends.
    Logarithmic { unit: Unit, margin: f64 },
    /// Linear, and at least from `low` to `high`.
    Linear { low: f64, high: f64 },
}

/// How intervals are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Intervals {
    /// As a band along the curve.
    Band,
    /// As a bar at each value, the curves' bars next to one another: neighbours that share a time jump in opposite
    /// directions, and a band around them would be all teeth.
    Bars,
}

/// What a reader compares the curves with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reference {
    Nothing,
    /// Two slopes.
    Slopes(Laws),
    /// A line where the quantity is 1.
    One,
    /// Dashed lines with their labels.
    Levels(Vec<(f64, String)>),
    /// The same of what no value should exceed: one that does gets a ring.
    Ceiling(Vec<(f64, String)>),
}

/// One line of a chart with what belongs to it. For D read what the panel is against.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// Its name in the legend, which curves may share.
    pub(crate) name: String,
    /// What stands at its end, to tell it from others of its name; empty where none has it.
    pub(crate) label: String,
    pub(crate) look: Look,
    /// Measured values against D, ascending; without an interval the ends equal the value.
    pub(crate) measured: Vec<(f64, Estimate)>,
    /// The cells behind each measured value, by their names in a page.
    pub(crate) cells: Vec<Vec<String>>,
    /// The value of each process against D.
    pub(crate) processes: Vec<(f64, f64)>,
    /// Where the measurements end before the sweep does.
    pub(crate) stop: Option<StopMark>,
    /// The cost model against D, ascending.
    pub(crate) model: Vec<(f64, f64)>,
}

impl Curve {
    /// Without values.
    pub(crate) fn named(name: String, look: Look) -> Self {
        let (measured, cells, processes, model) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { name, label: String::new(), look, measured, cells, processes, stop: None, model }
    }

    /// Whether its label is its name, so that a legend need not have it.
    fn has_name_at_end(&self) -> bool {
        !self.label.is_empty() && self.label == self.name && !self.measured.is_empty()
    }
}

/// The first dimension beyond the last measured one that was tried or ruled out.
#[derive(Debug, Clone)]
pub(crate) struct StopMark {
    pub(crate) dim: f64,
    /// What is expected there; an interval is a prediction interval.
    pub(crate) predicted: Option<Estimate>,
    /// Why, in a few words.
    pub(crate) note: String,
}

impl<'a> Plot<'a> {
    pub(crate) fn new(quantity: &'a str, scale: Scale, curves: Vec<Curve>) -> Self {
        let (against, intervals, reference) = (Against::Dim, Intervals::Band, Reference::Nothing);
        Self { quantity, against, scale, height: 150.0, curves, intervals, point: "one process", model: "", reference }
    }

    /// A high logarithmic one.
    pub(crate) fn log(quantity: &'a str, unit: Unit, curves: Vec<Curve>) -> Self {
        Self { height: 172.0, ..Self::new(quantity, Scale::Logarithmic { unit, margin: 1.6 }, curves) }
    }

    /// Whether the names of the curves stand at their ends, to the right of the panel.
    fn is_named(&self) -> bool {
        self.curves.iter().any(Curve::has_name_at_end)
    }

    fn levels(&self) -> &[(f64, String)] {
        match &self.reference {
            Reference::Levels(levels) | Reference::Ceiling(levels) => levels,
            _ => &[],
        }
    }

    /// Whether a value exceeds what it should not.
    pub(crate) fn exceeds(&self, value: f64) -> bool {
        matches!(&self.reference, Reference::Ceiling(levels) if levels.iter().any(|(level, _)| value > *level))
    }

    /// Values, models, levels and predictions that are near enough: the axis holds them all.
    fn values(&self) -> Vec<f64> {
        let measured = self.curves.iter().flat_map(|c| &c.measured).map(|(_, e)| e.value);
        let models = self.curves.iter().flat_map(|c| &c.model).map(|(_, value)| *value);
        let levels = self.levels().iter().map(|(level, _)| *level);
        let one = (self.reference == Reference::One).then_some(1.0);
        let mut values: Vec<f64> = measured.chain(models).chain(levels).chain(one).collect();
        let highest = values.iter().copied().filter(|v| v.is_finite()).fold(0.0, f64::max);
        let reach = if highest > 0.0 { FARTHEST_PREDICTION * highest } else { f64::INFINITY };
        let predicted = self.curves.iter().filter_map(|c| c.stop.as_ref()?.predicted);
        values.extend(predicted.map(|p| p.value).filter(|value| *value <= reach));
        values
    }

    /// The ends of the vertical axis: it follows the values. What spreads around them widens it a little, so that an
    /// interval of many decades does not press the curves together.
    fn ends(&self) -> (f64, f64) {
        let (least, is_log) = match self.scale {
            Scale::Logarithmic { .. } => ((f64::INFINITY, f64::NEG_INFINITY), true),
            Scale::Linear { low, high } => ((low, high), false),
        };
        let usable = |v: &f64| v.is_finite() && (*v > 0.0 || !is_log);
        let values = self.values().into_iter().filter(usable);
        let (low, high) = values.fold(least, |(low, high), v| (low.min(v), high.max(v)));
        let (lowest, highest) = if is_log {
            (low / WIDENED_BY, high * WIDENED_BY)
        } else {
            (low - WIDENED_SHARE * (high - low), high + WIDENED_SHARE * (high - low))
        };
        let spread = self.curves.iter().flat_map(spread).map(|(_, v)| v).filter(usable);
        let (down, up) = spread.fold((low, high), |(low, high), v| (low.min(v), high.max(v)));
        (down.max(lowest), up.min(highest))
    }
}

/// What spreads around the values of a curve, against D: processes and the ends of intervals.
fn spread(curve: &Curve) -> impl Iterator<Item = (f64, f64)> {
    let predicted = curve.stop.as_ref().and_then(|stop| Some((stop.dim, stop.predicted?)));
    // The end of an interval that is left out would be the value itself, which the axis holds or leaves out whole.
    let intervals = curve.measured.iter().copied().chain(predicted).filter(|(_, e)| e.low < e.high);
    intervals.flat_map(|(dim, e)| [(dim, e.low), (dim, e.high)]).chain(curve.processes.iter().copied())
}

/// Draws panels below what all their numbers have in common, with one legend, two side by side where they have room.
pub(crate) fn draw(paper: Paper, conditions: &[String], plots: &[Plot<'_>]) -> Scene {
    let is_wide = plots.len() > 1 || plots.iter().any(Plot::is_named);
    let width = if is_wide { paper.page() } else { paper.column() };
    let mut scene = Scene::headed(width, MARGIN, conditions);
    let columns = if width < TWO_PANELS { 1 } else { plots.len().min(2) };
    let each = (width - BETWEEN * (columns as f64 - 1.0)) / columns as f64;
    let own = if plots.len() > 1 && columns > 1 { (PAGE_WIDTH - BETWEEN) / 2.0 } else { COLUMN_WIDTH };
    let grown = (each / own).clamp(0.8, 2.0);
    let (mut top, mut unplaced, mut panels) = (MARGIN + SMALL + 7.0, Vec::new(), Vec::new());
    for (i, plot) in plots.iter().enumerate() {
        let start = (i % columns) as f64 * (each + BETWEEN);
        let named = plot.curves.iter().filter(|curve| curve.has_name_at_end()).count();
        let height = (grown * plot.height).max(NAME_HEIGHT * named as f64);
        let (panel, guides) = lay_out(plot, (start + MARGIN, start + each - MARGIN), (top, height));
        panel.draw_grid(&mut scene);
        unplaced.extend(draw_reference(&mut scene, &panel, plot));
        guides.iter().for_each(|guides| guides.draw(&mut scene));
        draw_curves(&mut scene, &panel, plot);
        draw_labels(&mut scene, &panel, plot);
        panel.draw_axes(&mut scene, Titles { x: plot.against.title(), y: plot.quantity });
        if (i + 1) % columns == 0 || i + 1 == plots.len() {
            top = panel.rect.bottom + Panel::BOTTOM_ROOM + 8.0;
        }
        panels.push(panel);
    }
    let mut keys = keys(plots, &panels);
    keys[0].extend(unplaced.into_iter().map(|text| Key { sign: Sign::Line(LEVEL), text }));
    legend::draw(&mut scene, &keys, &notes(plots), top - 3.0);
    scene
}

/// What the signs of some panels mean, in sentences for a caption.
pub(crate) fn explained(plots: &[Plot<'_>]) -> String {
    let paper = Paper::default();
    let panels: Vec<Panel> =
        plots.iter().map(|plot| panel_of(plot, (0.0, paper.column()), (0.0, 150.0), 1.0)).collect();
    let is_bars = plots.iter().any(|plot| plot.intervals == Intervals::Bars);
    let intervals = format!("{} are 95 % confidence intervals.", if is_bars { "Bars" } else { "Bands" });
    let points = format!("A small point is {}.", plots[0].point);
    let sentences = [
        (plots.iter().any(|plot| plot.curves.iter().any(|c| has_interval(&c.measured))), intervals.as_str()),
        (plots.iter().any(|plot| plot.curves.iter().any(|c| !c.processes.is_empty())), points.as_str()),
        (
            plots.iter().zip(&panels).any(|(plot, panel)| clips(panel, plot)),
            "The axis follows the medians; a triangle at its end marks an interval or a process that goes beyond it.",
        ),
    ];
    sentences.iter().filter(|(is_drawn, _)| *is_drawn).map(|(_, sentence)| format!(" {sentence}")).collect()
}

/// Chooses the axes, leaving room below the data for the guide slopes where they need it.
fn lay_out(plot: &Plot<'_>, ends: (f64, f64), down: (f64, f64)) -> (Panel, Option<Guides>) {
    let Reference::Slopes(laws) = plot.reference else { return (panel_of(plot, ends, down, 1.0), None) };
    let candidate = |half_decades: i32| {
        let panel = panel_of(plot, ends, down, 10f64.powf(-0.5 * f64::from(half_decades)));
        let guides = Guides::fit(&panel, &taken(&panel, plot), laws);
        (panel, guides)
    };
    (0..4).map(candidate).find(|(_, guides)| guides.is_some()).unwrap_or_else(|| candidate(4))
}

/// A panel between two places across and so far down, whose logarithmic axis begins at `lowered` of where it would.
fn panel_of(plot: &Plot<'_>, ends: (f64, f64), (top, height): (f64, f64), lowered: f64) -> Panel {
    let room = Room { length: height, label: 1.9 * SMALL };
    let (low, high) = plot.ends();
    let y = match plot.scale {
        Scale::Logarithmic { unit, margin } if plot.against != Against::Dim => {
            Axis::doubling(low / margin, high * margin, unit, room)
        }
        Scale::Logarithmic { unit, margin } => {
            let y = Axis::log([low, high].into_iter(), margin, unit, room);
            Axis::log_between(y.low * lowered, y.high, unit, room)
        }
        Scale::Linear { .. } => Axis::linear_between(low, high, room),
    };
    let names = font::widest(plot.curves.iter().filter(|c| c.has_name_at_end()).map(|c| &c.label));
    let ends = (ends.0, if plot.is_named() { ends.1 - names - curves::TO_LABEL } else { ends.1 });
    let dims = || plot.curves.iter().flat_map(dims);
    let x = |length| match plot.against {
        Against::Dim => Axis::log(dims(), 1.25, Unit::Count, Room { length, label: 34.0 }),
        Against::Threads | Against::Ranks => Axis::log_at(dims(), LABELS, Room { length, label: 12.0 }),
    };
    Panel::between(ends, (top, height), y, x)
}

fn dims(curve: &Curve) -> impl Iterator<Item = f64> {
    let measured = curve.measured.iter().map(|(dim, _)| *dim);
    measured.chain(curve.stop.iter().map(|s| s.dim)).chain(curve.model.iter().map(|(dim, _)| *dim))
}

/// The places that labels must leave free. Those of levels may stand in a band: there is little room beside it.
fn taken(panel: &Panel, plot: &Plot<'_>) -> Clear {
    let has_levels = !plot.levels().is_empty();
    let reach = if has_levels { 5.0 } else { 5.5 };
    let mut clear = Clear::new(panel.rect);
    for (curve, shift) in plot.curves.iter().zip(shifts(plot)) {
        let places = measured_places(panel, curve);
        if plot.intervals == Intervals::Bars {
            bars(panel, curve, shift).iter().for_each(|bar| clear.take_line(bar, 2.0));
        } else {
            clear.take_line(&places, reach);
        }
        if !has_levels {
            take_band(&mut clear, panel, curve);
        }
        clear.take_line(&panel.places(curve.model.iter().copied()), reach);
        places.iter().for_each(|(x, y)| clear.take((x + shift, *y), reach));
        if let Some(line) = predicted_line(panel, curve) {
            clear.take_line(&line, reach);
            clear.take(line[1], reach);
            let interval = curve.stop.as_ref().and_then(|s| Some((s.dim, s.predicted?)));
            clear.take_line(&panel.places(interval.iter().flat_map(|(dim, p)| [(*dim, p.low), (*dim, p.high)])), reach);
        }
    }
    place_labels(panel, plot).iter().for_each(|label| clear.take_line(&label.line(), SMALL / 2.0 + 1.0));
    clear
}

/// Takes the band of confidence: on a busy machine it is wide, and a label in it is hard to read.
fn take_band(clear: &mut Clear, panel: &Panel, curve: &Curve) {
    const LINES: i32 = 24;
    const REACH: f64 = 2.5;
    for line in 0..=LINES {
        let share = f64::from(line) / f64::from(LINES);
        let height = |e: &Estimate| {
            let [low, high] = [e.low, e.high].map(|end| end.clamp(panel.y.low, panel.y.high));
            low * (high / low).powf(share)
        };
        clear.take_line(&panel.places(curve.measured.iter().map(|(dim, e)| (*dim, height(e)))), REACH);
    }
}

/// Draws the horizontal lines of a panel, and returns the labels for which it has no room.
fn draw_reference(scene: &mut Scene, panel: &Panel, plot: &Plot<'_>) -> Vec<String> {
    match &plot.reference {
        Reference::One => {
            draw_unit_line(scene, panel, &taken(panel, plot));
            Vec::new()
        }
        Reference::Levels(levels) | Reference::Ceiling(levels) => {
            let mut clear = taken(panel, plot);
            let unplaced = levels.iter().filter(|(level, label)| !draw_level(scene, panel, &mut clear, *level, label));
            unplaced.map(|(_, label)| label.clone()).collect()
        }
        Reference::Nothing | Reference::Slopes(_) => Vec::new(),
    }
}

fn draw_unit_line(scene: &mut Scene, panel: &Panel, clear: &Clear) {
    let Some((_, y)) = panel.place(panel.x.low, 1.0) else { return };
    let Rect { left, right, .. } = panel.rect;
    scene.line(&[(left, y), (right, y)], Stroke { color: GREY, width: 0.9, dash: &[] });
    let label = |x, align| move |y| Text::new("equally fast", (x, y), SMALL).align(align).color(GREY);
    let [above, below] = beside(y);
    let [right, left] = [label(right - 3.0, Align::Right), label(left + 3.0, Align::Left)];
    scene.first_clear(clear, [right(below), right(above), left(below), left(above)]);
}

/// Baselines of a label above and below a horizontal line.
fn beside(y: f64) -> [f64; 2] {
    [y - 2.8, y + 2.0 + 0.76 * SMALL]
}

const LEVEL: Stroke = Stroke { color: GREY, width: 0.9, dash: MODEL };

/// A dashed line across the panel with its label where data leave room. Whether they did; a level outside the panel
/// needs no label.
fn draw_level(scene: &mut Scene, panel: &Panel, clear: &mut Clear, level: f64, label: &str) -> bool {
    /// Places along the level that are tried.
    const PLACES: i32 = 24;
    let Rect { left, right, .. } = panel.rect;
    let y = panel.place(panel.x.low, level).map(|(_, y)| y);
    let Some(y) = y.filter(|y| panel.rect.holds((left, *y))) else { return true };
    scene.line(&[(left, y), (right, y)], LEVEL);
    let ends = [(left + 3.0, Align::Left), (right - 3.0, Align::Right)];
    let between = (1..PLACES).map(|i| (left + (right - left) * f64::from(i) / f64::from(PLACES), Align::Center));
    let places: Vec<_> = ends.into_iter().chain(between).collect();
    let text = |(x, align), y| Text::new(label, (x, y), SMALL).align(align).color(GREY);
    let texts = beside(y).into_iter().flat_map(|y| places.iter().map(move |place| text(*place, y)));
    let Some(bounds) = scene.first_clear(clear, texts) else { return false };
    let across = (bounds.top + bounds.bottom) / 2.0;
    clear.take_line(&[(bounds.left, across), (bounds.right, across)], NORMAL / 2.0 + 1.0);
    true
}

fn keys(plots: &[Plot<'_>], panels: &[Panel]) -> [Vec<Key>; 2] {
    let curves = || plots.iter().flat_map(|plot| &plot.curves);
    let is_bars = plots.iter().any(|plot| plot.intervals == Intervals::Bars);
    let sign = |look| if is_bars { Sign::Marker(look) } else { Sign::Curve(look) };
    let named = curves().filter(|c| (!c.measured.is_empty() || c.stop.is_some()) && !c.has_name_at_end());
    let curve_keys = named.map(|c| Key { sign: sign(c.look), text: c.name.clone() });
    let exceeds = |plot: &Plot<'_>| plot.curves.iter().flat_map(|c| &c.measured).any(|(_, e)| plot.exceeds(e.value));
    let interval = if is_bars { Sign::Bar } else { Sign::Band };
    let others = [
        (curves().any(|c| has_interval(&c.measured)), interval, "95 % confidence"),
        (curves().any(|c| !c.processes.is_empty()), Sign::Process, plots[0].point),
        (plots.iter().zip(panels).any(|(plot, panel)| clips(panel, plot)), Sign::Clipped, "beyond the axis"),
        (plots.iter().any(exceeds), Sign::Ring, "above the ceiling"),
        (curves().filter_map(|c| c.stop.as_ref()).any(|s| s.predicted.is_some()), Sign::Predicted, "predicted"),
        (curves().any(|c| !c.model.is_empty()), Sign::Model, plots[0].model),
    ];
    let shown = others.into_iter().filter(|(is_shown, ..)| *is_shown);
    [legend::distinct(curve_keys), shown.map(|(_, sign, text)| Key { sign, text: text.into() }).collect()]
}

fn notes(plots: &[Plot<'_>]) -> Vec<Note> {
    let curves = plots.iter().flat_map(|plot| &plot.curves);
    let stopped = curves.filter_map(|c| Some((c.look, c.stop.as_ref()?)));
    stopped.map(|(look, stop)| Note { look, hollow: stop.predicted.is_some(), text: stop.note.clone() }).collect()
}
