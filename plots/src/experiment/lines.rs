//! Curves over linear axes, or a logarithmic horizontal one, panels side by side, one legend below.

use relgrad_reports::experiment::{Curve, Level, LinePanel};
use relgrad_vocabulary::Method;

use crate::axis::{Axis, Room, Unit};
use crate::legend::{self, Key, Sign};
use crate::panel::{Panel, Titles};
use crate::scene::{Rect, Scene, Stroke};
use crate::style::{COLUMN_WIDTH, GREY, MARGIN, MODEL, PAGE_WIDTH, PREDICTED, look, spare};

/// Height of the panels, in points.
const PANEL_HEIGHT: f64 = 150.0;
/// Between the panels, in points.
const BETWEEN: f64 = 12.0;
/// Dashes of the levels, in their order.
const LEVELS: [&[f64]; 3] = [MODEL, PREDICTED, &[7.0, 2.0, 1.0, 2.0]];

/// Draws the panels; `None` when no curve has two points.
pub(crate) fn draw(panels: &[LinePanel]) -> Option<Scene> {
    let drawable = |curve: &Curve| curve.points.iter().filter(|p| p.0.is_finite() && p.1.is_finite()).count() > 1;
    if !panels.iter().any(|panel| panel.curves.iter().any(drawable)) {
        return None;
    }
    let width = if panels.len() > 1 { PAGE_WIDTH } else { COLUMN_WIDTH };
    let mut scene = Scene { width, ..Scene::default() };
    let names = names(panels);
    let share = (width - 2.0 * MARGIN - BETWEEN * (panels.len() - 1) as f64) / panels.len() as f64;
    for (i, content) in panels.iter().enumerate() {
        let left = MARGIN + i as f64 * (share + BETWEEN);
        draw_panel(&mut scene, content, (left, left + share), &names);
    }
    let top = MARGIN + 6.0 + PANEL_HEIGHT + Panel::BOTTOM_ROOM + 5.0;
    legend::draw(&mut scene, &keys(panels, &names), &[], top);
    Some(scene)
}

fn draw_panel(scene: &mut Scene, content: &LinePanel, (left, right): (f64, f64), names: &[&str]) {
    let panel = lay_out(content, (left, right));
    panel.draw_grid(scene);
    let Rect { left, right, .. } = panel.rect;
    for (i, level) in content.levels.iter().enumerate() {
        if let Some((_, y)) = panel.place(panel.x.high, level.value) {
            panel.line(scene, &[(left, y), (right, y)], level_stroke(i));
        }
    }
    // The first name is the one a reader looks for: it lies on top.
    for name in names.iter().rev() {
        let curves: Vec<&Curve> = content.curves.iter().filter(|curve| curve.name == **name).collect();
        let stroke = stroke(name, names, curves.len());
        for curve in curves {
            panel.line(scene, &panel.places(curve.points.iter().copied()), stroke);
        }
    }
    panel.draw_axes(scene, Titles { x: &content.x_title, y: &content.y_title });
}

fn lay_out(content: &LinePanel, ends: (f64, f64)) -> Panel {
    let y_room = Room { length: PANEL_HEIGHT, label: 22.0 };
    let y = match content.y_range {
        Some((low, high)) => Axis::spanning(low, high, y_room),
        None => {
            let points = content.curves.iter().flat_map(|curve| curve.points.iter().map(|p| p.1));
            Axis::around(points.chain(content.levels.iter().map(|level| level.value)), y_room)
        }
    };
    let xs = || content.curves.iter().flat_map(|curve| curve.points.iter().map(|p| p.0)).filter(|x| x.is_finite());
    let (lowest, highest) = (xs().fold(0.0, f64::min), xs().fold(0.0, f64::max));
    let high = if highest > lowest { highest } else { lowest + 1.0 };
    let x = |length| {
        let room = Room { length, label: 34.0 };
        if content.logarithmic {
            Axis::log(xs(), 1.1, Unit::Count, room)
        } else {
            Axis::spanning(lowest, high * 1.02, room)
        }
    };
    Panel::between(ends, (MARGIN + 6.0, PANEL_HEIGHT), y, x)
}

/// The curves' names in the order of their first appearance.
fn names(panels: &[LinePanel]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for curve in panels.iter().flat_map(|panel| &panel.curves) {
        if !names.contains(&curve.name.as_str()) {
            names.push(&curve.name);
        }
    }
    names
}

/// Repetitions are drawn thin.
fn stroke(name: &str, names: &[&str], repetitions: usize) -> Stroke {
    let look = match method(name) {
        Some(method) => look(method),
        None => {
            let mut others: Vec<_> = names.iter().filter(|name| method(name).is_none()).collect();
            others.sort_unstable();
            spare(others.iter().position(|other| **other == name).unwrap_or(0))
        }
    };
    Stroke { width: if repetitions > 1 { 0.7 } else { 1.2 }, ..look.stroke(look.dash) }
}

/// The method whose look a curve takes: the names that trainings and experiments use have colours of their own.
fn method(name: &str) -> Option<Method> {
    match name {
        "Adam" | "exact" | "validation" => Some(Method::Relative),
        "SGD" | "paper" | "training batches" => Some(Method::Ordinary),
        "plain" => Some(Method::Autodiff),
        other => other.parse().ok(),
    }
}

fn level_stroke(i: usize) -> Stroke {
    Stroke { color: GREY, width: 0.9, dash: LEVELS[i % LEVELS.len()] }
}

fn keys(panels: &[LinePanel], names: &[&str]) -> [Vec<Key>; 2] {
    let curve = |name: &&str| Key { sign: Sign::Line(stroke(name, names, 1)), text: (*name).to_string() };
    let levels = panels.iter().flat_map(|panel| panel.levels.iter().enumerate());
    let level = |(i, level): (usize, &Level)| Key { sign: Sign::Line(level_stroke(i)), text: level.name.clone() };
    [names.iter().map(curve).collect(), legend::distinct(levels.map(level))]
}
