//! A log–log chart of quantities against the dimension D: every figure but the memory trace.

use plotters::style::RGBColor;
use relgrad_reports::summary::Estimate;

use crate::axis::{Axis, Room, Unit};
use crate::clear::Clear;
use crate::guides::{Guides, Laws};
use crate::legend::{self, Key, Note, Sign};
use crate::panel::{self, Panel, Titles};
use crate::scene::{Align, Place, Rect, Scene, Stroke, Text};
use crate::style::{BAND, COLUMN_WIDTH, GREY, Look, MARGIN, MODEL, PREDICTED, SMALL};

/// Height of the panel, in points.
const PANEL_HEIGHT: f64 = 172.0;
/// A prediction this many times over the largest value leaves the panel instead of stretching the axis.
const FARTHEST_PREDICTION: f64 = 100.0;

/// What a chart shows.
#[derive(Debug, Clone)]
pub(crate) struct Chart<'a> {
    /// The line above the panel: what all its numbers have in common.
    pub(crate) heading: String,
    /// Title of the vertical axis.
    pub(crate) quantity: &'a str,
    pub(crate) unit: Unit,
    pub(crate) curves: Vec<Curve>,
    /// What the dashed curves are called in the legend.
    pub(crate) model: &'a str,
    pub(crate) reference: Reference,
}

/// What a reader compares the curves with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reference {
    Nothing,
    /// Two slopes.
    Slopes(Laws),
    /// A line where the quantity is 1.
    One,
}

/// One line of a chart with what belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) look: Look,
    /// Measured values against D, ascending; without an interval the ends equal the value.
    pub(crate) measured: Vec<(f64, Estimate)>,
    /// Where the measurements end before the sweep does.
    pub(crate) stop: Option<StopMark>,
    /// The cost model against D, ascending.
    pub(crate) model: Vec<(f64, f64)>,
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

/// Draws the chart at the width of a column.
pub(crate) fn draw(chart: &Chart<'_>) -> Scene {
    let mut scene = Scene { width: COLUMN_WIDTH, ..Scene::default() };
    let (panel, guides) = lay_out(chart);
    let rect = panel.rect;
    scene.text(Text::new(&chart.heading, (MARGIN, MARGIN + 0.76 * SMALL), SMALL).color(GREY));
    panel.draw_grid(&mut scene);
    if chart.reference == Reference::One {
        draw_unit_line(&mut scene, &panel, &taken(&panel, chart));
    }
    if let Some(guides) = guides {
        guides.draw(&mut scene);
    }
    for curve in &chart.curves {
        draw_band(&mut scene, &panel, &curve.measured, curve.look.color);
    }
    // The first series is the one a reader looks for: it lies on top.
    for curve in chart.curves.iter().rev() {
        draw_lines(&mut scene, &panel, curve);
    }
    for curve in chart.curves.iter().rev() {
        draw_markers(&mut scene, &panel, curve);
    }
    panel.draw_axes(&mut scene, Titles { x: "data dimension D", y: chart.quantity });
    let top = rect.bottom + Panel::BOTTOM_ROOM + 5.0;
    let bottom = legend::draw(&mut scene, &keys(chart), &notes(chart), top);
    scene.height = bottom + MARGIN;
    scene
}

/// Chooses the axes, leaving room below the data for the guide slopes where they need it.
fn lay_out(chart: &Chart<'_>) -> (Panel, Option<Guides>) {
    let mut panel = panel_of(chart, 1.0);
    let Reference::Slopes(laws) = chart.reference else { return (panel, None) };
    for half_decades in 0..5 {
        let candidate = panel_of(chart, 10f64.powf(-0.5 * f64::from(half_decades)));
        let guides = Guides::fit(&candidate, &taken(&candidate, chart), laws);
        if guides.is_some() {
            return (candidate, guides);
        }
        panel = candidate;
    }
    (panel, None)
}

fn panel_of(chart: &Chart<'_>, lowered: f64) -> Panel {
    let y_room = Room { length: PANEL_HEIGHT, label: 1.9 * SMALL };
    let y = Axis::log(heights(chart).into_iter(), 1.6, chart.unit, y_room);
    let y = Axis::log_between(y.low * lowered, y.high, chart.unit, y_room);
    let top = MARGIN + SMALL + 7.0;
    let left = MARGIN + Panel::left_room(&y);
    let dims = || chart.curves.iter().flat_map(dims);
    let x_axis = |right: f64| Axis::log(dims(), 1.25, Unit::Count, Room { length: right - left, label: 34.0 });
    let right = COLUMN_WIDTH - MARGIN;
    let right = right - panel::widest_label(&x_axis(right)) / 2.0;
    let rect = Rect { left, top, right, bottom: top + PANEL_HEIGHT };
    Panel { rect, x: x_axis(right), y }
}

fn dims(curve: &Curve) -> impl Iterator<Item = f64> {
    let measured = curve.measured.iter().map(|(dim, _)| *dim);
    measured.chain(curve.stop.iter().map(|s| s.dim)).chain(curve.model.iter().map(|(dim, _)| *dim))
}

/// All values the vertical axis must reach.
fn heights(chart: &Chart<'_>) -> Vec<f64> {
    let mut heights: Vec<f64> =
        chart.curves.iter().flat_map(|c| c.measured.iter().flat_map(|(_, e)| [e.value, e.low, e.high])).collect();
    heights.extend(chart.curves.iter().flat_map(|c| c.model.iter().map(|(_, value)| *value)));
    if chart.reference == Reference::One {
        heights.push(1.0);
    }
    let highest = heights.iter().copied().filter(|h| h.is_finite()).fold(0.0, f64::max);
    let reach = if highest > 0.0 { FARTHEST_PREDICTION * highest } else { f64::INFINITY };
    let predicted = chart.curves.iter().filter_map(|c| c.stop.as_ref()?.predicted);
    heights.extend(predicted.flat_map(|p| [p.value, p.low, p.high]).filter(|p| *p <= reach));
    heights
}

fn taken(panel: &Panel, chart: &Chart<'_>) -> Clear {
    const REACH: f64 = 5.5;
    let mut clear = Clear::new(panel.rect);
    for curve in &chart.curves {
        let places = measured_places(panel, curve);
        clear.take_line(&places, REACH);
        take_band(&mut clear, panel, curve);
        clear.take_line(&panel.places(curve.model.iter().copied()), REACH);
        places.iter().for_each(|p| clear.take(*p, REACH));
        if let Some(line) = predicted_line(panel, curve) {
            clear.take_line(&line, REACH);
            clear.take(line[1], REACH);
            let interval = curve.stop.as_ref().and_then(|s| Some((s.dim, s.predicted?)));
            clear.take_line(&panel.places(interval.iter().flat_map(|(dim, p)| [(*dim, p.low), (*dim, p.high)])), REACH);
        }
    }
    clear
}

/// Takes the band of confidence: on a busy machine it is wide, and a label in it is hard to read.
fn take_band(clear: &mut Clear, panel: &Panel, curve: &Curve) {
    const LINES: i32 = 24;
    const REACH: f64 = 2.5;
    for line in 0..=LINES {
        let share = f64::from(line) / f64::from(LINES);
        let height = |e: &Estimate| e.low * (e.high / e.low).powf(share);
        clear.take_line(&panel.places(curve.measured.iter().map(|(dim, e)| (*dim, height(e)))), REACH);
    }
}

fn draw_lines(scene: &mut Scene, panel: &Panel, curve: &Curve) {
    let look = curve.look;
    panel.line(scene, &panel.places(curve.model.iter().copied()), look.thin(MODEL));
    if let Some(line) = predicted_line(panel, curve) {
        panel.line(scene, &line, look.stroke(PREDICTED));
    }
    panel.line(scene, &measured_places(panel, curve), look.stroke(look.dash));
}

fn draw_markers(scene: &mut Scene, panel: &Panel, curve: &Curve) {
    let Look { color, marker, .. } = curve.look;
    for place in measured_places(panel, curve) {
        scene.marker(marker, place, color, false);
    }
    let Some(stop) = &curve.stop else { return };
    match stop.predicted.and_then(|p| panel.place(stop.dim, p.value)) {
        Some(place) if panel.rect.holds(place) => {
            draw_prediction_interval(scene, panel, stop, color);
            scene.marker(marker, place, color, true);
        }
        Some(_) => {}
        None => {
            if let Some((x, _)) = panel.place(stop.dim, panel.y.high) {
                scene.cross((x, panel.rect.top + 4.0), color);
            }
        }
    }
}

/// A thin bar with caps: what is expected is not measured.
fn draw_prediction_interval(scene: &mut Scene, panel: &Panel, stop: &StopMark, color: RGBColor) {
    const CAP: f64 = 2.0;
    let Some(Estimate { low, high, .. }) = stop.predicted.filter(|p| p.low < p.high) else { return };
    let inside = |value: f64| panel.place(stop.dim, value.clamp(panel.y.low, panel.y.high));
    let (Some(low), Some(high)) = (inside(low), inside(high)) else { return };
    let stroke = Stroke { color, width: 0.8, dash: &[] };
    scene.line(&[low, high], stroke);
    for (x, y) in [low, high] {
        scene.line(&[(x - CAP, y), (x + CAP, y)], stroke);
    }
}

/// The 95 % band; a single point gets a bar.
pub(crate) fn draw_band(scene: &mut Scene, panel: &Panel, measured: &[(f64, Estimate)], color: RGBColor) {
    if !has_interval(measured) {
        return;
    }
    let inside = |value: f64| value.clamp(panel.y.low, panel.y.high);
    let highs = panel.places(measured.iter().map(|(dim, e)| (*dim, inside(e.high))));
    let mut lows = panel.places(measured.iter().map(|(dim, e)| (*dim, inside(e.low))));
    if let ([low], [high]) = (&lows[..], &highs[..]) {
        scene.line(&[*low, *high], Stroke { color, width: 1.0, dash: &[] });
        return;
    }
    lows.reverse();
    scene.area([highs, lows].concat(), color, BAND);
}

fn draw_unit_line(scene: &mut Scene, panel: &Panel, clear: &Clear) {
    let Some((_, y)) = panel.place(panel.x.low, 1.0) else { return };
    let Rect { left, right, .. } = panel.rect;
    scene.line(&[(left, y), (right, y)], Stroke { color: GREY, width: 0.9, dash: &[] });
    let (above, below) = (y - 2.8, y + 2.0 + 0.76 * SMALL);
    let places = [(right - 3.0, Align::Right), (left + 3.0, Align::Left)]
        .into_iter()
        .flat_map(|(x, align)| [((x, below), align), ((x, above), align)]);
    let label = |(at, align)| Text::new("equally fast", at, SMALL).align(align).color(GREY);
    if let Some(text) = places.map(label).find(|text| clear.holds(text.bounds())) {
        scene.text(text);
    }
}

fn measured_places(panel: &Panel, curve: &Curve) -> Vec<Place> {
    panel.places(curve.measured.iter().map(|(dim, e)| (*dim, e.value)))
}

/// From the last measured place to the predicted one.
fn predicted_line(panel: &Panel, curve: &Curve) -> Option<[Place; 2]> {
    let stop = curve.stop.as_ref()?;
    let to = panel.place(stop.dim, stop.predicted?.value)?;
    let from = measured_places(panel, curve).last().copied().unwrap_or(to);
    Some([from, to])
}

pub(crate) fn has_interval(measured: &[(f64, Estimate)]) -> bool {
    measured.iter().any(|(_, e)| e.low < e.high)
}

fn keys(chart: &Chart<'_>) -> [Vec<Key>; 2] {
    let curves = chart.curves.iter().map(|c| Key { sign: Sign::Curve(c.look), text: c.name.clone() });
    let mut others = Vec::new();
    let mut other = |shown: bool, sign: Sign, text: &str| {
        if shown {
            others.push(Key { sign, text: text.into() });
        }
    };
    let stops = || chart.curves.iter().filter_map(|c| c.stop.as_ref());
    other(chart.curves.iter().any(|c| has_interval(&c.measured)), Sign::Band, "95 % confidence");
    other(stops().any(|s| s.predicted.is_some()), Sign::Predicted, "predicted");
    other(chart.curves.iter().any(|c| !c.model.is_empty()), Sign::Model, chart.model);
    [curves.collect(), others]
}

fn notes(chart: &Chart<'_>) -> Vec<Note> {
    let stopped = chart.curves.iter().filter_map(|c| Some((c.look, c.stop.as_ref()?)));
    stopped.map(|(look, stop)| Note { look, hollow: stop.predicted.is_some(), text: stop.note.clone() }).collect()
}

/// The line above a panel, shortened until it fits the page.
pub(crate) fn heading(parts: &[String], width: f64) -> String {
    let whole = parts.join(" · ");
    legend::shortened(&whole, width - 2.0 * MARGIN, SMALL)
}
