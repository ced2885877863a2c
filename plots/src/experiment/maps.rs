//! Maps of a head from above: the colour between electrodes is an average of theirs.

use plotters::style::RGBColor;
use relgrad_reports::experiment::{ScalpMap, ScalpMaps};

use crate::legend;
use crate::scene::{Align, Place, Rect, Scene, Shape, Stroke, Text};
use crate::style::{INK, MARGIN, PAGE_WIDTH, SMALL};

/// Between two maps, in points.
const BETWEEN: f64 = 6.0;
/// Room of a title above a nose, and of the nose above its head, in points.
const TITLE: f64 = 9.0;
const NOSE: f64 = 5.0;
/// Distance of the head's edge from its middle, in the unit of the electrodes' places.
const EDGE: f64 = 0.5;
/// What is shown beyond the outermost electrode.
const RIM: f64 = 1.06;
/// Standard deviation of the weights by distance: about that between two electrodes of a cap of 32.
const WIDTH: f64 = 0.09;
/// Pixels a side.
const SIDE: usize = 72;
/// Colours of the largest value of either sign; 0 is white.
const POSITIVE: RGBColor = RGBColor(0xb8, 0x4a, 0x00);
const NEGATIVE: RGBColor = RGBColor(0x00, 0x5a, 0x9c);

/// Draws the grid; `None` without a map.
pub(crate) fn draw(content: &ScalpMaps) -> Option<Scene> {
    if content.across == 0 || content.electrodes.is_empty() || content.maps.is_empty() {
        return None;
    }
    let farthest = content.electrodes.iter().map(|[x, y]| x.hypot(*y)).filter(|d| d.is_finite()).fold(EDGE, f64::max);
    let mut scene = Scene { width: PAGE_WIDTH, ..Scene::default() };
    let across = content.across as f64;
    let side = (PAGE_WIDTH - 2.0 * MARGIN - BETWEEN * (across - 1.0)) / across;
    let mut top = MARGIN;
    for line in content.maps.chunks(content.across) {
        top += TITLE + NOSE;
        for (j, map) in line.iter().enumerate().filter(|(_, map)| map.values.len() == content.electrodes.len()) {
            let left = MARGIN + j as f64 * (side + BETWEEN);
            let head = Head { rect: Rect { left, top, right: left + side, bottom: top + side }, reach: RIM * farthest };
            head.draw(&mut scene, &content.electrodes, map);
        }
        top += side + BETWEEN;
    }
    scene.height = top + MARGIN;
    Some(scene)
}

/// Where a head is on the page.
struct Head {
    rect: Rect,
    /// Half of the rectangle's width, in the unit of the electrodes' places.
    reach: f64,
}

impl Head {
    fn draw(&self, scene: &mut Scene, electrodes: &[[f64; 2]], map: &ScalpMap) {
        let rgb = self.pixels(electrodes, &map.values);
        scene.shapes.push(Shape::Image { rect: self.rect, columns: SIDE, rgb });
        let stroke = Stroke { color: INK, width: 0.7, dash: &[] };
        let rim: Vec<Place> = (0..=60).map(|i| self.on_rim(f64::from(i) / 60.0)).collect();
        scene.line(&rim, stroke);
        let Rect { left, top, right, .. } = self.rect;
        let tip = ((left + right) / 2.0, top - NOSE + 0.5);
        scene.line(&[self.on_rim(-0.025), tip, self.on_rim(0.025)], stroke);
        for &[x, y] in electrodes {
            scene.shapes.push(Shape::Disc { center: self.place(x, y), radius: 0.6, color: INK });
        }
        let title = legend::shortened(&map.title, self.rect.width(), SMALL);
        scene.text(Text::new(title, (tip.0, top - NOSE - 2.0), SMALL).align(Align::Center));
    }

    fn place(&self, x: f64, y: f64) -> Place {
        let half = self.rect.width() / 2.0;
        (self.rect.left + half * (1.0 + x / self.reach), self.rect.top + half * (1.0 - y / self.reach))
    }

    /// A place on the rim, by the share of a turn clockwise from the nose.
    fn on_rim(&self, turn: f64) -> Place {
        let (sine, cosine) = (turn * std::f64::consts::TAU).sin_cos();
        self.place(self.reach * sine, self.reach * cosine)
    }

    fn pixels(&self, electrodes: &[[f64; 2]], values: &[f64]) -> Vec<u8> {
        let largest = values.iter().map(|v| v.abs()).filter(|v| v.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
        let at = |i: usize| self.reach * (2.0 * (i as f64 + 0.5) / SIDE as f64 - 1.0);
        let pixel = |i: usize| {
            let (x, y) = (at(i % SIDE), -at(i / SIDE));
            let inside = x.hypot(y) <= self.reach;
            shade(if inside { between(electrodes, values, [x, y]) / largest } else { 0.0 })
        };
        (0..SIDE * SIDE).flat_map(pixel).collect()
    }
}

/// Σ w_i v_i / Σ w_i with weights w_i = exp(−d_i²/2·[`WIDTH`]²) of the squared distances.
fn between(electrodes: &[[f64; 2]], values: &[f64], [x, y]: [f64; 2]) -> f64 {
    let distances: Vec<f64> = electrodes.iter().map(|[a, b]| (x - a).powi(2) + (y - b).powi(2)).collect();
    // Relative to the nearest one, so that far from all of them no weight is lost.
    let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
    let (mut sum, mut weights) = (0.0, 0.0);
    for (distance, value) in distances.iter().zip(values) {
        let weight = (-0.5 * (distance - nearest) / (WIDTH * WIDTH)).exp();
        sum += weight * value;
        weights += weight;
    }
    sum / weights
}

/// White at 0, full colour at −1 and 1 and beyond.
fn shade(value: f64) -> [u8; 3] {
    let share = if value.is_finite() { value.abs().min(1.0) } else { 0.0 };
    let color = if value < 0.0 { NEGATIVE } else { POSITIVE };
    [color.0, color.1, color.2].map(|c| (255.0 - share * (255.0 - f64::from(c))).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_nearest_electrodes() {
        let (electrodes, values) = ([[-0.3, 0.0], [0.3, 0.0]], [1.0, -1.0]);
        assert!(between(&electrodes, &values, [-0.3, 0.0]) > 0.99);
        assert!(between(&electrodes, &values, [0.0, 0.2]).abs() < 1e-12);
        assert!(between(&electrodes, &values, [100.0, 0.0]) < -0.99, "far away too");
        assert_eq!((shade(0.0), shade(5.0), shade(f64::NAN)), ([255; 3], shade(1.0), [255; 3]));
    }

    /// A positive value to the right and in front is orange there, and blue where it is negative.
    #[test]
    fn right_is_right_and_the_nose_is_above() {
        let rect = Rect { left: 0.0, top: 0.0, right: 10.0, bottom: 10.0 };
        let head = Head { rect, reach: 0.5 };
        assert_eq!(head.place(0.5, 0.5), (10.0, 0.0));
        let rgb = head.pixels(&[[0.25, 0.25], [-0.25, -0.25]], &[1.0, -1.0]);
        let pixel = |row: usize, column: usize| &rgb[3 * (row * SIDE + column)..][..3];
        let (quarter, rest) = (SIDE / 4, SIDE - SIDE / 4);
        assert!(pixel(quarter, rest)[0] > pixel(quarter, rest)[2], "orange");
        assert!(pixel(rest, quarter)[0] < pixel(rest, quarter)[2], "blue");
        assert_eq!(pixel(0, 0), [255; 3], "white beyond the rim");
    }
}
