//! A picture before any file format: shapes in points (1/72 inch), y downwards.

use plotters::style::RGBColor;

use relgrad_vocabulary::excerpt;

use crate::clear::Clear;
use crate::font::{self, Weight};
use crate::legend;
use crate::style::{GREY, INK, MARGIN, PAPER, SMALL};

/// A line longer than any page, in points, is not cut into dashes.
const LONGEST_DASHED: f64 = 10_000.0;
/// Longest text, in characters: a page's width holds half of it.
const LONGEST_TEXT: usize = 300;

/// A place on the page, in points.
pub(crate) type Place = (f64, f64);

/// A picture under construction. Later shapes cover earlier ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scene {
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) shapes: Vec<Shape>,
}

/// One thing to draw.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Line {
        points: Vec<Place>,
        color: RGBColor,
        width: f64,
    },
    Area {
        points: Vec<Place>,
        color: RGBColor,
        opacity: f64,
    },
    Disc {
        center: Place,
        radius: f64,
        color: RGBColor,
    },
    /// A picture stretched over a rectangle, `columns` pixels across, three bytes a pixel, rows from the top.
    Image {
        rect: Rect,
        columns: usize,
        rgb: Vec<u8>,
    },
    Text(Text),
}

/// How to draw a line: `dash` alternates lengths of pen down and pen up, in points; empty is solid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stroke {
    pub(crate) color: RGBColor,
    pub(crate) width: f64,
    pub(crate) dash: &'static [f64],
}

/// Which part of the text stands at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Center,
    Right,
}

/// One line of text whose baseline passes through `at`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Text {
    pub(crate) content: String,
    pub(crate) at: Place,
    pub(crate) size: f64,
    pub(crate) align: Align,
    pub(crate) weight: Weight,
    pub(crate) color: RGBColor,
    /// Whether the text runs upwards (a vertical axis's title).
    pub(crate) upwards: bool,
}

/// An axis-parallel rectangle, in points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

/// The sign of a series at a data point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    TriangleDown,
    TriangleLeft,
    TriangleRight,
    Pentagon,
    /// Of five points.
    Star,
    /// Of four points, upright and on its side.
    Plus,
    Cross,
    /// Of three points.
    Tripod,
    TripodDown,
    /// Of six points.
    Asterisk,
    BarUpright,
    BarFlat,
}

impl Marker {
    /// Its name in a page.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Circle => "circle",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Diamond => "diamond",
            Self::TriangleDown => "triangle-down",
            Self::TriangleLeft => "triangle-left",
            Self::TriangleRight => "triangle-right",
            Self::Pentagon => "pentagon",
            Self::Star => "star",
            Self::Plus => "plus",
            Self::Cross => "saltire",
            Self::Tripod => "tripod",
            Self::TripodDown => "tripod-down",
            Self::Asterisk => "asterisk",
            Self::BarUpright => "bar-upright",
            Self::BarFlat => "bar-flat",
        }
    }
}

impl Shape {
    /// The same farther down.
    fn lowered(mut self, down: f64) -> Self {
        match &mut self {
            Self::Line { points, .. } | Self::Area { points, .. } => points.iter_mut().for_each(|at| at.1 += down),
            Self::Disc { center, .. } => center.1 += down,
            Self::Image { rect, .. } => *rect = Rect { top: rect.top + down, bottom: rect.bottom + down, ..*rect },
            Self::Text(text) => text.at.1 += down,
        }
        self
    }
}

impl Scene {
    /// A page with a line above its panels: what all its numbers have in common, shortened until it fits.
    pub(crate) fn headed(width: f64, left: f64, conditions: &[String]) -> Self {
        let mut scene = Self { width, ..Self::default() };
        let heading = legend::shortened(&conditions.join(" · "), width - 2.0 * MARGIN, SMALL);
        scene.text(Text::new(heading, (left, MARGIN + 0.76 * SMALL), SMALL).color(GREY));
        scene
    }

    /// This page with another one below it.
    pub(crate) fn above(mut self, below: Self) -> Self {
        let down = self.height;
        self.shapes.extend(below.shapes.into_iter().map(|shape| shape.lowered(down)));
        Self { width: self.width.max(below.width), height: down + below.height, shapes: self.shapes }
    }

    /// Draws the first of some texts that covers nothing, and returns where it stands.
    pub(crate) fn first_clear(&mut self, clear: &Clear, texts: impl IntoIterator<Item = Text>) -> Option<Rect> {
        let text = texts.into_iter().find(|text| clear.holds(text.bounds()))?;
        let bounds = text.bounds();
        self.text(text);
        Some(bounds)
    }

    pub(crate) fn text(&mut self, text: Text) {
        if !text.content.is_empty() {
            self.shapes.push(Shape::Text(text));
        }
    }

    /// Draws a polyline; fewer than two points draw nothing.
    pub(crate) fn line(&mut self, points: &[Place], stroke: Stroke) {
        let Stroke { color, width, dash } = stroke;
        if points.len() < 2 {
            return;
        }
        let length = |pair: &[Place]| (pair[1].0 - pair[0].0).hypot(pair[1].1 - pair[0].1);
        let is_short = points.windows(2).all(|pair| length(pair) < LONGEST_DASHED);
        if dash.is_empty() || !is_short {
            self.shapes.push(Shape::Line { points: points.to_vec(), color, width });
            return;
        }
        for points in dashes(points, dash) {
            self.shapes.push(Shape::Line { points, color, width });
        }
    }

    /// Fills a polygon; fewer than three corners draw nothing.
    pub(crate) fn area(&mut self, points: Vec<Place>, color: RGBColor, opacity: f64) {
        if points.len() >= 3 {
            self.shapes.push(Shape::Area { points, color, opacity });
        }
    }

    /// Draws a marker with a thin halo that sets it off the lines; a hollow one is open inside.
    pub(crate) fn marker(&mut self, marker: Marker, at: Place, color: RGBColor, hollow: bool) {
        const RADIUS: f64 = 2.2;
        self.solid_marker(marker, at, RADIUS + 0.3, PAPER);
        self.solid_marker(marker, at, RADIUS, color);
        if hollow {
            self.solid_marker(marker, at, RADIUS - 0.85, PAPER);
        }
    }

    /// Draws the sign of one process.
    pub(crate) fn dot(&mut self, center: Place, color: RGBColor) {
        self.shapes.push(Shape::Disc { center, radius: 0.9, color });
    }

    /// Draws a ring around the place of a marker.
    pub(crate) fn ring(&mut self, center: Place, color: RGBColor) {
        for (radius, color) in [(4.6, color), (3.8, PAPER)] {
            self.shapes.push(Shape::Disc { center, radius, color });
        }
    }

    /// Draws the sign of what goes on beyond the end of an axis, with its tip there.
    pub(crate) fn wedge(&mut self, (x, y): Place, upwards: bool, color: RGBColor) {
        let base = if upwards { y + 4.0 } else { y - 4.0 };
        self.area(vec![(x, y), (x - 2.2, base), (x + 2.2, base)], color, 1.0);
    }

    /// Draws the sign of a failure without a value.
    pub(crate) fn cross(&mut self, (x, y): Place, color: RGBColor) {
        const ARM: f64 = 2.0;
        let stroke = Stroke { color, width: 1.0, dash: &[] };
        self.line(&[(x - ARM, y - ARM), (x + ARM, y + ARM)], stroke);
        self.line(&[(x - ARM, y + ARM), (x + ARM, y - ARM)], stroke);
    }

    fn solid_marker(&mut self, marker: Marker, (x, y): Place, radius: f64, color: RGBColor) {
        // Corners reach beyond the circle, so that a shape still shows below another at the same place. The number of
        // corners and the angle of the first name the shape; a star has others between, nearer to its centre.
        let (corners, start, reach, waist) = match marker {
            Marker::Circle => {
                self.shapes.push(Shape::Disc { center: (x, y), radius: 0.9 * radius, color });
                return;
            }
            Marker::BarUpright | Marker::BarFlat => {
                let (long, short) = (1.6 * radius, 0.55 * radius);
                let (across, up) = if marker == Marker::BarFlat { (long, short) } else { (short, long) };
                let bar = Rect { left: x - across, top: y - up, right: x + across, bottom: y + up };
                return self.area(bar.corners().to_vec(), color, 1.0);
            }
            Marker::Square => (4, 0.125, 1.65, 1.0),
            Marker::Triangle => (3, 0.25, 1.6, 1.0),
            Marker::Diamond => (4, 0.0, 1.6, 1.0),
            Marker::TriangleDown => (3, 0.75, 1.6, 1.0),
            Marker::TriangleLeft => (3, 0.5, 1.6, 1.0),
            Marker::TriangleRight => (3, 0.0, 1.6, 1.0),
            Marker::Pentagon => (5, 0.25, 1.35, 1.0),
            Marker::Star => (5, 0.25, 1.8, 0.42),
            Marker::Plus => (4, 0.0, 1.9, 0.36),
            Marker::Cross => (4, 0.125, 1.9, 0.36),
            Marker::Tripod => (3, 0.25, 1.9, 0.26),
            Marker::TripodDown => (3, 0.75, 1.9, 0.26),
            Marker::Asterisk => (6, 0.25, 1.75, 0.45),
        };
        let is_star = waist < 1.0;
        let count = if is_star { 2 * corners } else { corners };
        let points = (0..count).map(|i| {
            let reach = if is_star && i % 2 == 1 { waist * reach } else { reach };
            let turn = (start + f64::from(i) / f64::from(count)) * std::f64::consts::TAU;
            (x + reach * radius * turn.cos(), y - reach * radius * turn.sin())
        });
        self.area(points.collect(), color, 1.0);
    }
}

impl Text {
    /// Regular text in the ink colour, left-aligned.
    pub(crate) fn new(content: impl Into<String>, at: Place, size: f64) -> Self {
        Text {
            content: excerpt(&content.into(), LONGEST_TEXT),
            at,
            size,
            align: Align::Left,
            weight: Weight::Regular,
            color: INK,
            upwards: false,
        }
    }

    pub(crate) fn align(self, align: Align) -> Self {
        Text { align, ..self }
    }

    pub(crate) fn bold(self) -> Self {
        Text { weight: Weight::Bold, ..self }
    }

    pub(crate) fn color(self, color: RGBColor) -> Self {
        Text { color, ..self }
    }

    pub(crate) fn upwards(self) -> Self {
        Text { upwards: true, ..self }
    }

    /// Its width, and where it starts beside its place.
    pub(crate) fn extent(&self) -> (f64, f64) {
        let width = font::width(&self.content, self.size, self.weight);
        let share = match self.align {
            Align::Left => 0.0,
            Align::Center => -0.5,
            Align::Right => -1.0,
        };
        (width, share * width)
    }

    /// The rectangle that ascenders, descenders and the advance width cover.
    pub(crate) fn bounds(&self) -> Rect {
        const ASCENT: f64 = 0.76;
        const DESCENT: f64 = 0.24;
        let (width, start) = self.extent();
        let ((x, y), up, down) = (self.at, ASCENT * self.size, DESCENT * self.size);
        if self.upwards {
            Rect { left: x - up, right: x + down, top: y - start - width, bottom: y - start }
        } else {
            Rect { left: x + start, right: x + start + width, top: y - up, bottom: y + down }
        }
    }
}

impl Rect {
    pub(crate) fn width(&self) -> f64 {
        self.right - self.left
    }

    pub(crate) fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// The corners, around it.
    pub(crate) fn corners(&self) -> [Place; 4] {
        let Self { left, top, right, bottom } = *self;
        [(left, top), (right, top), (right, bottom), (left, bottom)]
    }

    /// Whether a place lies inside, edges included.
    pub(crate) fn holds(&self, (x, y): Place) -> bool {
        (self.left..=self.right).contains(&x) && (self.top..=self.bottom).contains(&y)
    }

    /// The part of the segment from `a` to `b` inside (Liang and Barsky, 1984).
    pub(crate) fn clip(&self, a: Place, b: Place) -> Option<(Place, Place)> {
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
        let sides = [(-dx, a.0 - self.left), (dx, self.right - a.0), (-dy, a.1 - self.top), (dy, self.bottom - a.1)];
        for (toward, room) in sides {
            if toward == 0.0 && room < 0.0 {
                return None;
            } else if toward < 0.0 {
                enter = enter.max(room / toward);
            } else if toward > 0.0 {
                leave = leave.min(room / toward);
            }
        }
        (enter <= leave).then(|| {
            let at = |t: f64| (a.0 + t * dx, a.1 + t * dy);
            (at(enter), at(leave))
        })
    }
}

/// Cuts a polyline into its pen-down pieces.
fn dashes(points: &[Place], pattern: &[f64]) -> Vec<Vec<Place>> {
    let mut pieces = Vec::new();
    let (mut entry, mut left, mut piece) = (0, pattern[0], vec![points[0]]);
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        loop {
            let rest = (to.0 - from.0).hypot(to.1 - from.1);
            if rest <= left {
                left -= rest;
                piece.push(to);
                break;
            }
            from = (from.0 + (to.0 - from.0) * left / rest, from.1 + (to.1 - from.1) * left / rest);
            if piece.last() != Some(&from) {
                piece.push(from);
            }
            let done = std::mem::replace(&mut piece, vec![from]);
            if entry % 2 == 0 {
                pieces.push(done);
            }
            entry = (entry + 1) % pattern.len();
            left = pattern[entry];
        }
    }
    if entry % 2 == 0 && piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_cover_their_share_of_the_line_around_corners() {
        let pieces = dashes(&[(0.0, 0.0), (10.0, 0.0), (10.0, 14.0)], &[4.0, 2.0]);
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces[1], [(6.0, 0.0), (10.0, 0.0)]);
        assert_eq!(pieces[2], [(10.0, 2.0), (10.0, 6.0)]);
    }

    #[test]
    fn clipping_keeps_the_inside() {
        let rect = Rect { left: 0.0, top: 0.0, right: 10.0, bottom: 10.0 };
        assert_eq!(rect.clip((-5.0, 5.0), (15.0, 5.0)), Some(((0.0, 5.0), (10.0, 5.0))));
        assert_eq!(rect.clip((-5.0, -1.0), (15.0, -1.0)), None);
        assert_eq!(rect.clip((2.0, 2.0), (2.0, 20.0)), Some(((2.0, 2.0), (2.0, 10.0))));
    }

    #[test]
    fn text_bounds_follow_alignment_and_direction() {
        let text = Text::new("000", (50.0, 50.0), 10.0);
        let width = 3.0 * 1303.0 / 2048.0 * 10.0;
        let level = text.clone().align(Align::Right).bounds();
        assert!((level.left - (50.0 - width)).abs() < 1e-3 && (level.right - 50.0).abs() < 1e-9);
        let up = text.align(Align::Center).upwards().bounds();
        assert!((up.height() - width).abs() < 1e-3 && up.left < 50.0 && up.right > 50.0);
    }
}
