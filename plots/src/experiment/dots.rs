//! One value with its interval a row.

use relgrad_reports::experiment::{Dot, DotPanel};
use relgrad_vocabulary::Method;

use crate::axis::{Axis, Room, Unit};
use crate::font;
use crate::legend::{self, Key, Sign};
use crate::panel::Panel;
use crate::scene::{Align, Marker, Rect, Scene, Stroke, Text};
use crate::style::{FAINT, GREY, INK, MARGIN, MODEL, NORMAL, PAGE_WIDTH, SMALL, look, spare};

/// Height of a row, in points.
const ROW: f64 = 15.0;
/// Widest name and note, in points.
const TEXT: f64 = 170.0;

/// Draws the panel; `None` without a value.
pub(crate) fn draw(content: &DotPanel) -> Option<Scene> {
    content.rows.iter().find_map(|row| row.value)?;
    let mut scene = Scene { width: PAGE_WIDTH, ..Scene::default() };
    let left = MARGIN + font::widest(content.rows.iter().map(|row| &row.name)).min(TEXT) + 8.0;
    let right = PAGE_WIDTH - MARGIN - font::widest(content.rows.iter().map(|row| &row.note)).min(TEXT) - 12.0;
    let top = MARGIN + 2.0;
    let rect = Rect { left, top, right, bottom: top + ROW * content.rows.len() as f64 };
    let x = axis(content, right - left);
    let panel = Panel { rect, x, y: Axis::spanning(0.0, 1.0, Room { length: 1.0, label: 1.0 }) };
    draw_frame(&mut scene, &panel, &content.x_title);
    if let Some((x, _)) = content.reference.as_ref().and_then(|level| panel.place(level.value, 0.0)) {
        scene.line(&[(x, rect.top), (x, rect.bottom)], Stroke { color: GREY, width: 0.9, dash: MODEL });
    }
    for (i, row) in content.rows.iter().enumerate() {
        draw_row(&mut scene, &panel, row, top + ROW * (i as f64 + 0.5));
    }
    let keys: Vec<Key> =
        content.reference.iter().map(|level| Key { sign: Sign::Model, text: level.name.clone() }).collect();
    legend::draw(&mut scene, &[keys], &[], rect.bottom + Panel::BOTTOM_ROOM + 3.0);
    Some(scene)
}

fn axis(content: &DotPanel, length: f64) -> Axis {
    let room = Room { length, label: 44.0 };
    let ends = |row: &Dot| {
        let (low, high) = row.interval.or(row.value.map(|v| (v, v))).unzip();
        [row.value, low, high].into_iter().flatten()
    };
    let values = content.rows.iter().flat_map(ends).chain(content.reference.iter().map(|level| level.value));
    if content.logarithmic { Axis::log(values, 1.3, Unit::Count, room) } else { Axis::around(values, room) }
}

fn draw_frame(scene: &mut Scene, panel: &Panel, title: &str) {
    let Rect { left, top, right, bottom } = panel.rect;
    scene.line(&[(left, bottom), (right, bottom)], Stroke { color: INK, width: 0.7, dash: &[] });
    for tick in &panel.x.ticks {
        let Some((x, _)) = panel.place(tick.value, 0.0) else { continue };
        let length = if tick.label.is_some() { 3.0 } else { 1.6 };
        scene.line(&[(x, bottom), (x, bottom + length)], Stroke { color: INK, width: 0.7, dash: &[] });
        if let Some(label) = &tick.label {
            scene.line(&[(x, top), (x, bottom)], Stroke { color: FAINT, width: 0.5, dash: &[] });
            scene.text(Text::new(label, (x, bottom + 5.0 + 0.76 * SMALL), SMALL).align(Align::Center));
        }
    }
    let at = ((left + right) / 2.0, bottom + Panel::BOTTOM_ROOM - 0.5 * NORMAL);
    scene.text(Text::new(title, at, NORMAL).align(Align::Center));
}

fn draw_row(scene: &mut Scene, panel: &Panel, row: &Dot, y: f64) {
    let baseline = font::baseline(y);
    let Rect { left, right, .. } = panel.rect;
    let fit = |text: &str| legend::shortened(text, TEXT, SMALL);
    scene.text(Text::new(fit(&row.name), (left - 6.0, baseline), SMALL).align(Align::Right));
    scene.text(Text::new(fit(&row.note), (right + 6.0, baseline), SMALL).color(GREY));
    let Some(value) = row.value else { return };
    let color = row.name.split(' ').next().unwrap_or_default().parse::<Method>().map_or(spare(0), look).color;
    if let Some((low, high)) = row.interval {
        let ends = [low, high].map(|end| panel.place(end, 0.0).map(|(x, _)| (x, y)));
        if let [Some(low), Some(high)] = ends {
            panel.line(scene, &[low, high], Stroke { color, width: 1.2, dash: &[] });
        }
    }
    if let Some((x, _)) = panel.place(value, 0.0) {
        scene.marker(Marker::Circle, (x, y), color, false);
    }
}
