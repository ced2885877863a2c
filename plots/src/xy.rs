//! Panels of one quantity against D with reference lines: local exponents, residuals of the fit, achieved rates.

use crate::axis::{Axis, Room, Unit};
use crate::chart::{self, Curve};
use crate::clear::Clear;
use crate::legend::{self, Key, Sign};
use crate::panel::{self, Panel, Titles};
use crate::scene::{Align, Rect, Scene, Stroke, Text};
use crate::style::{COLUMN_WIDTH, GREY, MARGIN, MODEL, NORMAL, PAGE_WIDTH, SMALL};

/// Height of the panels, in points.
const PANEL_HEIGHT: f64 = 150.0;
/// Between two panels, in points.
const BETWEEN: f64 = 20.0;

/// One panel.
#[derive(Debug, Clone)]
pub(crate) struct Plot<'a> {
    /// Title of the vertical axis.
    pub(crate) quantity: &'a str,
    pub(crate) scale: Scale,
    /// Measured values against D; stops and models of the curves are not shown.
    pub(crate) curves: Vec<Curve>,
    /// Horizontal lines with their labels.
    pub(crate) levels: Vec<(f64, String)>,
}

/// What kind of vertical axis a panel has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    /// Logarithmic, of plain numbers.
    Logarithmic,
    /// Linear, and at least from `low` to `high`, and holds every value; intervals beyond `farthest` of either leave
    /// the panel.
    Linear { low: f64, high: f64, farthest: f64 },
}

/// Draws one panel at the width of a column, or two side by side at that of a page.
pub(crate) fn draw(heading: &str, plots: &[Plot<'_>]) -> Scene {
    let width = if plots.len() > 1 { PAGE_WIDTH } else { COLUMN_WIDTH };
    let mut scene = Scene { width, ..Scene::default() };
    scene.text(Text::new(heading, (MARGIN, MARGIN + 0.76 * SMALL), SMALL).color(GREY));
    let each = (width - BETWEEN * (plots.len() as f64 - 1.0)) / plots.len() as f64;
    let mut bottom: f64 = 0.0;
    let mut unplaced = Vec::new();
    for (i, plot) in plots.iter().enumerate() {
        let panel = lay_out(plot, i as f64 * (each + BETWEEN), each);
        unplaced.extend(draw_plot(&mut scene, &panel, plot));
        bottom = bottom.max(panel.rect.bottom);
    }
    let curves = || plots.iter().flat_map(|plot| &plot.curves);
    let mut keys: Vec<Key> = Vec::new();
    for curve in curves() {
        if !keys.iter().any(|key| key.text == curve.name) {
            keys.push(Key { sign: Sign::Curve(curve.look), text: curve.name.clone() });
        }
    }
    keys.extend(unplaced.into_iter().map(|text| Key { sign: Sign::Line(LEVEL), text }));
    let band = curves().any(|curve| chart::has_interval(&curve.measured));
    let band = band.then(|| Key { sign: Sign::Band, text: "95 % confidence".into() });
    let top = bottom + Panel::BOTTOM_ROOM + 5.0;
    scene.height = legend::draw(&mut scene, &[keys, band.into_iter().collect()], &[], top) + MARGIN;
    scene
}

fn lay_out(plot: &Plot<'_>, start: f64, width: f64) -> Panel {
    let room = Room { length: PANEL_HEIGHT, label: 1.9 * SMALL };
    let values = || plot.curves.iter().flat_map(|c| &c.measured).flat_map(|(_, e)| [e.value, e.low, e.high]);
    let levels = || plot.levels.iter().map(|(level, _)| *level);
    let y = match plot.scale {
        Scale::Logarithmic => Axis::log(values().chain(levels()), 1.5, Unit::Count, room),
        Scale::Linear { low, high, farthest } => {
            let measured = plot.curves.iter().flat_map(|c| &c.measured).map(|(_, e)| e.value);
            let near = values().filter(|v| (low - farthest..=high + farthest).contains(v));
            let seen = measured.chain(near).chain(levels());
            let reach = seen.fold((low, high), |(low, high), v| (low.min(v), high.max(v)));
            Axis::linear_between(reach.0, reach.1, room)
        }
    };
    let left = start + MARGIN + Panel::left_room(&y);
    let dims = || plot.curves.iter().flat_map(|c| c.measured.iter().map(|(dim, _)| *dim));
    let x_axis = |right: f64| Axis::log(dims(), 1.25, Unit::Count, Room { length: right - left, label: 34.0 });
    let right = start + width - MARGIN;
    let right = right - panel::widest_label(&x_axis(right)) / 2.0;
    let top = MARGIN + SMALL + 7.0;
    Panel { rect: Rect { left, top, right, bottom: top + PANEL_HEIGHT }, x: x_axis(right), y }
}

/// Draws a panel and returns the labels of levels for which it has no room.
fn draw_plot(scene: &mut Scene, panel: &Panel, plot: &Plot<'_>) -> Vec<String> {
    panel.draw_grid(scene);
    let mut clear = Clear::new(panel.rect);
    for curve in &plot.curves {
        let places = panel.places(curve.measured.iter().map(|(dim, e)| (*dim, e.value)));
        clear.take_line(&places, 5.0);
        places.iter().for_each(|place| clear.take(*place, 5.0));
    }
    let mut unplaced = Vec::new();
    for (level, label) in &plot.levels {
        if !draw_level(scene, panel, &mut clear, *level, label) {
            unplaced.push(label.clone());
        }
    }
    for curve in &plot.curves {
        chart::draw_band(scene, panel, &curve.measured, curve.look.color);
    }
    for curve in plot.curves.iter().rev() {
        let places = panel.places(curve.measured.iter().map(|(dim, e)| (*dim, e.value)));
        panel.line(scene, &places, curve.look.stroke(curve.look.dash));
    }
    for curve in plot.curves.iter().rev() {
        for place in panel.places(curve.measured.iter().map(|(dim, e)| (*dim, e.value))) {
            if panel.rect.holds(place) {
                scene.marker(curve.look.marker, place, curve.look.color, false);
            }
        }
    }
    panel.draw_axes(scene, Titles { x: "data dimension D", y: plot.quantity });
    unplaced
}

/// Places along a level that are tried for its label.
const PLACES: i32 = 24;

/// How levels are drawn.
const LEVEL: Stroke = Stroke { color: GREY, width: 0.9, dash: MODEL };

/// A dashed line across the panel with its label where data leave room. Whether they did; a level outside the panel
/// needs no label.
fn draw_level(scene: &mut Scene, panel: &Panel, clear: &mut Clear, level: f64, label: &str) -> bool {
    let Some((_, y)) = panel.place(panel.x.low, level) else { return true };
    let Rect { left, right, .. } = panel.rect;
    if !panel.rect.holds((left, y)) {
        return true;
    }
    scene.line(&[(left, y), (right, y)], LEVEL);
    let ends = [(left + 3.0, Align::Left), (right - 3.0, Align::Right)];
    let between = (1..PLACES).map(|i| (left + (right - left) * f64::from(i) / f64::from(PLACES), Align::Center));
    let places: Vec<_> = ends.into_iter().chain(between).collect();
    let baselines = [y - 2.8, y + 2.0 + 0.76 * SMALL];
    let mut texts = baselines.iter().flat_map(|baseline| {
        places.iter().map(|(x, align)| Text::new(label, (*x, *baseline), SMALL).align(*align).color(GREY))
    });
    let Some(text) = texts.find(|text| clear.holds(text.bounds())) else { return false };
    let bounds = text.bounds();
    let across = (bounds.top + bounds.bottom) / 2.0;
    clear.take_line(&[(bounds.left, across), (bounds.right, across)], NORMAL / 2.0 + 1.0);
    scene.text(text);
    true
}
