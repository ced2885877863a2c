//! What a method costs against how far it is from the exact direction: logarithmic axes, panels side by side.

use relgrad_reports::experiment::{ScatterPanel, ScatterPoint};
use relgrad_vocabulary::Method;

use crate::axis::{Axis, Room, Unit};
use crate::legend::{self, Key, Sign};
use crate::panel::{Panel, Titles};
use crate::scene::{Rect, Scene, Stroke};
use crate::style::{COLUMN_WIDTH, GREY, Look, MARGIN, MODEL, PAGE_WIDTH, look, spare};

/// Height of the panels, in points.
const PANEL_HEIGHT: f64 = 170.0;
/// Between the panels, in points.
const BETWEEN: f64 = 12.0;

/// Draws the panels, which share their axes; `None` without a point that has a place.
pub(crate) fn draw(panels: &[ScatterPanel]) -> Option<Scene> {
    let points = || panels.iter().flat_map(|panel| &panel.points).filter(|point| has_place(point));
    points().next()?;
    let width = if panels.len() > 1 { PAGE_WIDTH } else { COLUMN_WIDTH };
    let mut scene = Scene { width, ..Scene::default() };
    let share = (width - 2.0 * MARGIN - BETWEEN * (panels.len() - 1) as f64) / panels.len() as f64;
    for (i, content) in panels.iter().enumerate() {
        let start = MARGIN + i as f64 * (share + BETWEEN);
        let room = Room { length: PANEL_HEIGHT, label: 14.0 };
        let y = Axis::log(points().map(|point| point.y), 1.4, Unit::Ratio, room);
        let x = |length| Axis::log(points().map(|point| point.x), 1.6, Unit::Count, Room { length, label: 34.0 });
        let panel = Panel::between((start, start + share), (MARGIN + 6.0, PANEL_HEIGHT), y, x);
        panel.draw_grid(&mut scene);
        let Rect { left, right, .. } = panel.rect;
        if let Some((_, y)) = panel.place(panel.x.high, 1.0) {
            panel.line(&mut scene, &[(left, y), (right, y)], Stroke { color: GREY, width: 0.9, dash: MODEL });
        }
        for point in content.points.iter().filter(|point| has_place(point)) {
            if let Some(place) = panel.place(point.x, point.y) {
                let Look { marker, color, .. } = look_of(&point.name);
                scene.marker(marker, place, color, false);
            }
        }
        panel.draw_axes(&mut scene, Titles { x: &content.x_title, y: &content.y_title });
    }
    let key = |point: &ScatterPoint| Key { sign: Sign::Marker(look_of(&point.name)), text: point.name.clone() };
    let top = MARGIN + 6.0 + PANEL_HEIGHT + Panel::BOTTOM_ROOM + 5.0;
    legend::draw(&mut scene, &[legend::distinct(points().map(key))], &[], top);
    Some(scene)
}

fn has_place(point: &ScatterPoint) -> bool {
    [point.x, point.y].iter().all(|value| value.is_finite() && *value > 0.0)
}

fn look_of(name: &str) -> Look {
    name.parse::<Method>().map_or(spare(0), look)
}
