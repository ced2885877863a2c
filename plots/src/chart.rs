//! Panels of quantities against the dimension D, one at the width of a column, or two side by side at that of a page.

use plotters::style::RGBColor;
use relgrad_reports::summary::Estimate;

use crate::axis::{Axis, Room, Unit};
use crate::clear::Clear;
use crate::guides::{Guides, Laws};
use crate::legend::{self, Key, Note, Sign};
use crate::panel::{Panel, Titles};
use crate::scene::{Align, Place, Rect, Scene, Stroke, Text};
use crate::style::{BAND, COLUMN_WIDTH, GREY, Look, MARGIN, MODEL, NORMAL, PAGE_WIDTH, PREDICTED, SMALL};

/// Between two panels, in points.
const BETWEEN: f64 = 20.0;
/// A prediction this many times over the largest value leaves the panel instead of stretching the axis.
const FARTHEST_PREDICTION: f64 = 100.0;

/// What a panel shows.
#[derive(Debug, Clone)]
pub(crate) struct Plot<'a> {
    pub(crate) quantity: &'a str,
    pub(crate) scale: Scale,
    /// Height of the panel, in points.
    pub(crate) height: f64,
    pub(crate) curves: Vec<Curve>,
    /// What the dashed curves are called in the legend.
    pub(crate) model: &'a str,
    pub(crate) reference: Reference,
}

/// What kind of vertical axis a panel has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    /// Logarithmic, with a margin of this factor at both ends.
    Logarithmic { unit: Unit, margin: f64 },
    /// Linear, and at least from `low` to `high`, and holds every value; intervals beyond `farthest` of either leave
    /// the panel.
    Linear { low: f64, high: f64, farthest: f64 },
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

impl<'a> Plot<'a> {
    pub(crate) fn new(quantity: &'a str, scale: Scale, curves: Vec<Curve>) -> Self {
        Self { quantity, scale, height: 150.0, curves, model: "", reference: Reference::Nothing }
    }

    /// A high logarithmic one.
    pub(crate) fn log(quantity: &'a str, unit: Unit, curves: Vec<Curve>) -> Self {
        Self { height: 172.0, ..Self::new(quantity, Scale::Logarithmic { unit, margin: 1.6 }, curves) }
    }

    fn levels(&self) -> &[(f64, String)] {
        if let Reference::Levels(levels) = &self.reference { levels } else { &[] }
    }
}

/// Draws panels below what all their numbers have in common, with one legend.
pub(crate) fn draw(conditions: &[String], plots: &[Plot<'_>]) -> Scene {
    let width = if plots.len() > 1 { PAGE_WIDTH } else { COLUMN_WIDTH };
    let mut scene = Scene::headed(width, MARGIN, conditions);
    let each = (width - BETWEEN * (plots.len() as f64 - 1.0)) / plots.len() as f64;
    let (mut bottom, mut unplaced) = (0.0_f64, Vec::new());
    for (i, plot) in plots.iter().enumerate() {
        let start = i as f64 * (each + BETWEEN);
        let (panel, guides) = lay_out(plot, (start + MARGIN, start + each - MARGIN));
        panel.draw_grid(&mut scene);
        unplaced.extend(draw_reference(&mut scene, &panel, plot));
        guides.iter().for_each(|guides| guides.draw(&mut scene));
        draw_curves(&mut scene, &panel, &plot.curves);
        panel.draw_axes(&mut scene, Titles { x: "data dimension D", y: plot.quantity });
        bottom = bottom.max(panel.rect.bottom);
    }
    let mut keys = keys(plots);
    keys[0].extend(unplaced.into_iter().map(|text| Key { sign: Sign::Line(LEVEL), text }));
    legend::draw(&mut scene, &keys, &notes(plots), bottom + Panel::BOTTOM_ROOM + 5.0);
    scene
}

/// Chooses the axes, leaving room below the data for the guide slopes where they need it.
fn lay_out(plot: &Plot<'_>, ends: (f64, f64)) -> (Panel, Option<Guides>) {
    let Reference::Slopes(laws) = plot.reference else { return (panel_of(plot, ends, 1.0), None) };
    let candidate = |half_decades: i32| {
        let panel = panel_of(plot, ends, 10f64.powf(-0.5 * f64::from(half_decades)));
        let guides = Guides::fit(&panel, &taken(&panel, plot), laws);
        (panel, guides)
    };
    (0..4).map(candidate).find(|(_, guides)| guides.is_some()).unwrap_or_else(|| candidate(4))
}

fn panel_of(plot: &Plot<'_>, ends: (f64, f64), lowered: f64) -> Panel {
    let room = Room { length: plot.height, label: 1.9 * SMALL };
    let y = match plot.scale {
        Scale::Logarithmic { unit, margin } => {
            let y = Axis::log(heights(plot).into_iter(), margin, unit, room);
            Axis::log_between(y.low * lowered, y.high, unit, room)
        }
        Scale::Linear { low, high, farthest } => {
            let measured = || plot.curves.iter().flat_map(|c| &c.measured).map(|(_, e)| e);
            let is_near = |v: &f64| (low - farthest..=high + farthest).contains(v);
            let near = measured().flat_map(|e| [e.value, e.low, e.high]).filter(is_near);
            let seen = measured().map(|e| e.value).chain(near).chain(plot.levels().iter().map(|(level, _)| *level));
            let reach = seen.fold((low, high), |(low, high), v| (low.min(v), high.max(v)));
            Axis::linear_between(reach.0, reach.1, room)
        }
    };
    let dims = || plot.curves.iter().flat_map(dims);
    let x = |length| Axis::log(dims(), 1.25, Unit::Count, Room { length, label: 34.0 });
    Panel::between(ends, (MARGIN + SMALL + 7.0, plot.height), y, x)
}

fn dims(curve: &Curve) -> impl Iterator<Item = f64> {
    let measured = curve.measured.iter().map(|(dim, _)| *dim);
    measured.chain(curve.stop.iter().map(|s| s.dim)).chain(curve.model.iter().map(|(dim, _)| *dim))
}

/// All values that a logarithmic axis must reach.
fn heights(plot: &Plot<'_>) -> Vec<f64> {
    let measured = plot.curves.iter().flat_map(|c| &c.measured).flat_map(|(_, e)| [e.value, e.low, e.high]);
    let models = plot.curves.iter().flat_map(|c| &c.model).map(|(_, value)| *value);
    let levels = plot.levels().iter().map(|(level, _)| *level);
    let one = (plot.reference == Reference::One).then_some(1.0);
    let mut heights: Vec<f64> = measured.chain(models).chain(levels).chain(one).collect();
    let highest = heights.iter().copied().filter(|h| h.is_finite()).fold(0.0, f64::max);
    let reach = if highest > 0.0 { FARTHEST_PREDICTION * highest } else { f64::INFINITY };
    let predicted = plot.curves.iter().filter_map(|c| c.stop.as_ref()?.predicted);
    heights.extend(predicted.flat_map(|p| [p.value, p.low, p.high]).filter(|p| *p <= reach));
    heights
}

/// The places that labels must leave free. Those of levels may stand in a band: there is little room beside it.
fn taken(panel: &Panel, plot: &Plot<'_>) -> Clear {
    let has_levels = matches!(plot.reference, Reference::Levels(_));
    let reach = if has_levels { 5.0 } else { 5.5 };
    let mut clear = Clear::new(panel.rect);
    for curve in &plot.curves {
        let places = measured_places(panel, curve);
        clear.take_line(&places, reach);
        if !has_levels {
            take_band(&mut clear, panel, curve);
        }
        clear.take_line(&panel.places(curve.model.iter().copied()), reach);
        places.iter().for_each(|p| clear.take(*p, reach));
        if let Some(line) = predicted_line(panel, curve) {
            clear.take_line(&line, reach);
            clear.take(line[1], reach);
            let interval = curve.stop.as_ref().and_then(|s| Some((s.dim, s.predicted?)));
            clear.take_line(&panel.places(interval.iter().flat_map(|(dim, p)| [(*dim, p.low), (*dim, p.high)])), reach);
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

/// Draws bands, lines and markers; the first series is the one a reader looks for, and lies on top.
fn draw_curves(scene: &mut Scene, panel: &Panel, curves: &[Curve]) {
    for curve in curves {
        draw_band(scene, panel, &curve.measured, curve.look.color);
    }
    for curve in curves.iter().rev() {
        let look = curve.look;
        panel.line(scene, &panel.places(curve.model.iter().copied()), look.thin(MODEL));
        if let Some(line) = predicted_line(panel, curve) {
            panel.line(scene, &line, look.stroke(PREDICTED));
        }
        panel.line(scene, &measured_places(panel, curve), look.stroke(look.dash));
    }
    for curve in curves.iter().rev() {
        draw_markers(scene, panel, curve);
    }
}

fn draw_markers(scene: &mut Scene, panel: &Panel, curve: &Curve) {
    let Look { color, marker, .. } = curve.look;
    for place in measured_places(panel, curve).into_iter().filter(|place| panel.rect.holds(*place)) {
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
fn draw_band(scene: &mut Scene, panel: &Panel, measured: &[(f64, Estimate)], color: RGBColor) {
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

/// Draws the horizontal lines of a panel, and returns the labels for which it has no room.
fn draw_reference(scene: &mut Scene, panel: &Panel, plot: &Plot<'_>) -> Vec<String> {
    match &plot.reference {
        Reference::One => {
            draw_unit_line(scene, panel, &taken(panel, plot));
            Vec::new()
        }
        Reference::Levels(levels) => {
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

fn has_interval(measured: &[(f64, Estimate)]) -> bool {
    measured.iter().any(|(_, e)| e.low < e.high)
}

fn keys(plots: &[Plot<'_>]) -> [Vec<Key>; 2] {
    let curves = || plots.iter().flat_map(|plot| &plot.curves);
    let curve_keys = curves().map(|c| Key { sign: Sign::Curve(c.look), text: c.name.clone() });
    let others = [
        (curves().any(|c| has_interval(&c.measured)), Sign::Band, "95 % confidence"),
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
