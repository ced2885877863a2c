//! A panel: the rectangle data are drawn in, with its two axes.

use crate::axis::{Axis, Tick};
use crate::font;
use crate::scene::{Align, Place, Rect, Scene, Stroke, Text};
use crate::style::{FAINT, INK, NORMAL, SMALL};

/// Length of a labelled tick, in points.
const TICK: f64 = 3.0;
/// Distance of a label from its tick, in points.
const GAP: f64 = 2.0;

/// A rectangle of the page with a value on each axis.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    pub(crate) rect: Rect,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
}

/// The titles of the axes; an empty vertical title leaves out that axis's labels too (a neighbour carries them).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Titles<'a> {
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
}

impl Panel {
    /// A panel whose labels, too, lie between `start` and `end`; `x` makes its axis of a length.
    pub(crate) fn between(
        (start, end): (f64, f64),
        (top, height): (f64, f64),
        y: Axis,
        x: impl Fn(f64) -> Axis,
    ) -> Self {
        let left = start + Self::left_room(&y);
        let right = end - widest_label(&x(end - left)) / 2.0;
        Self { rect: Rect { left, top, right, bottom: top + height }, x: x(right - left), y }
    }

    /// The room a vertical axis's labels and title take left of the panel, in points.
    pub(crate) fn left_room(axis: &Axis) -> f64 {
        widest_label(axis) + TICK + GAP + NORMAL + 4.5
    }

    /// The room a horizontal axis's labels and title take below the panel, in points.
    pub(crate) const BOTTOM_ROOM: f64 = TICK + GAP + SMALL + 1.8 * NORMAL;

    /// Where a pair of values lies on the page; `None` when one of them has no place on its axis.
    pub(crate) fn place(&self, x: f64, y: f64) -> Option<Place> {
        let (u, v) = (self.x.fraction(x), self.y.fraction(y));
        (u.is_finite() && v.is_finite())
            .then(|| (self.rect.left + u * self.rect.width(), self.rect.bottom - v * self.rect.height()))
    }

    /// The places of a line's points, without those that have none.
    pub(crate) fn places(&self, values: impl IntoIterator<Item = (f64, f64)>) -> Vec<Place> {
        values.into_iter().filter_map(|(x, y)| self.place(x, y)).collect()
    }

    /// Draws a polyline as far as it lies in the panel.
    pub(crate) fn line(&self, scene: &mut Scene, places: &[Place], stroke: Stroke) {
        let mut pieces: Vec<Vec<Place>> = Vec::new();
        for pair in places.windows(2) {
            let Some((a, b)) = self.rect.clip(pair[0], pair[1]) else { continue };
            match pieces.last_mut() {
                Some(piece) if piece.last() == Some(&a) => piece.push(b),
                _ => pieces.push(vec![a, b]),
            }
        }
        pieces.iter().for_each(|piece| scene.line(piece, stroke));
    }

    /// Draws the grid: to be covered by data.
    pub(crate) fn draw_grid(&self, scene: &mut Scene) {
        let stroke = Stroke { color: FAINT, width: 0.5, dash: &[] };
        let Rect { left, top, right, bottom } = self.rect;
        for tick in self.x.ticks.iter().filter(|t| t.label.is_some()) {
            let x = self.x_of(tick);
            scene.line(&[(x, top), (x, bottom)], stroke);
        }
        for tick in self.y.ticks.iter().filter(|t| t.label.is_some()) {
            let y = self.y_of(tick);
            scene.line(&[(left, y), (right, y)], stroke);
        }
    }

    /// Draws the axes with ticks, labels and titles.
    pub(crate) fn draw_axes(&self, scene: &mut Scene, titles: Titles<'_>) {
        let Rect { left, top, right, bottom } = self.rect;
        let stroke = Stroke { color: INK, width: 0.7, dash: &[] };
        scene.line(&[(left, top), (left, bottom), (right, bottom)], stroke);
        for tick in &self.x.ticks {
            let (x, length) = (self.x_of(tick), length(tick));
            scene.line(&[(x, bottom), (x, bottom + length)], stroke);
            if let Some(label) = &tick.label {
                let at = (x, bottom + TICK + GAP + 0.76 * SMALL);
                scene.text(Text::new(label, at, SMALL).align(Align::Center));
            }
        }
        for tick in &self.y.ticks {
            let (y, length) = (self.y_of(tick), length(tick));
            scene.line(&[(left, y), (left - length, y)], stroke);
            if let (Some(label), false) = (&tick.label, titles.y.is_empty()) {
                let at = (left - TICK - GAP, font::baseline(y));
                scene.text(Text::new(label, at, SMALL).align(Align::Right));
            }
        }
        let x_at = ((left + right) / 2.0, bottom + Self::BOTTOM_ROOM - 0.5 * NORMAL);
        scene.text(Text::new(titles.x, x_at, NORMAL).align(Align::Center));
        let y_at = (left - Self::left_room(&self.y) + NORMAL, (top + bottom) / 2.0);
        scene.text(Text::new(titles.y, y_at, NORMAL).align(Align::Center).upwards());
    }

    fn x_of(&self, tick: &Tick) -> f64 {
        self.rect.left + self.x.fraction(tick.value) * self.rect.width()
    }

    fn y_of(&self, tick: &Tick) -> f64 {
        self.rect.bottom - self.y.fraction(tick.value) * self.rect.height()
    }
}

/// Width of the widest label of an axis, in points.
fn widest_label(axis: &Axis) -> f64 {
    font::widest(axis.ticks.iter().filter_map(|t| t.label.as_deref()))
}

fn length(tick: &Tick) -> f64 {
    if tick.label.is_some() { TICK } else { 0.55 * TICK }
}
