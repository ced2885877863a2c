//! Samples beside the densities learned from them.

use plotters::style::RGBColor;
use relgrad_reports::experiment::{DensityPanel, DensityRow};

use crate::legend;
use crate::scene::{Align, Rect, Scene, Shape, Stroke, Text};
use crate::style::{COLUMN_WIDTH, INK, MARGIN, NORMAL, PAGE_WIDTH, SMALL};

/// Between two panels, in points.
const BETWEEN: f64 = 6.0;
/// Room for a title above a panel, in points.
const TITLE: f64 = 12.0;
/// Room between two rows of panels, in points.
const ROW_GAP: f64 = 4.0;
/// Colour of samples.
const SAMPLE: RGBColor = RGBColor(0x00, 0x72, 0xb2);

/// Anchors of the colour map, from nothing to the highest density: white over blue to near black, so that lightness
/// alone tells the order.
const COLOURS: [(u8, u8, u8); 5] =
    [(0xff, 0xff, 0xff), (0xc6, 0xdb, 0xef), (0x6b, 0xae, 0xd6), (0x21, 0x71, 0xb5), (0x06, 0x20, 0x4a)];

pub(crate) fn draw(rows: &[DensityRow]) -> Option<Scene> {
    let most = rows.iter().map(|row| row.densities.len()).max()? + 1;
    let width = if most > 2 { PAGE_WIDTH } else { COLUMN_WIDTH };
    let side = (width - 2.0 * MARGIN - BETWEEN * (most - 1) as f64) / most as f64;
    let side = side.min(150.0);
    let mut scene =
        Scene { width: 2.0 * MARGIN + side * most as f64 + BETWEEN * (most - 1) as f64, ..Scene::default() };
    let mut top = MARGIN;
    for row in rows {
        let rect = |i: usize| {
            let left = MARGIN + i as f64 * (side + BETWEEN);
            Rect { left, top: top + TITLE, right: left + side, bottom: top + TITLE + side }
        };
        draw_samples(&mut scene, row, rect(0));
        for (i, density) in row.densities.iter().enumerate() {
            draw_density(&mut scene, density, rect(i + 1));
        }
        top += TITLE + side + ROW_GAP;
    }
    scene.height = top;
    Some(scene)
}

fn draw_samples(scene: &mut Scene, row: &DensityRow, rect: Rect) {
    let [left, right, low, high] = row.window;
    for &[x, y] in &row.samples {
        let place = (
            rect.left + (x - left) / (right - left) * rect.width(),
            rect.bottom - (y - low) / (high - low) * rect.height(),
        );
        if rect.holds(place) {
            scene.shapes.push(Shape::Disc { center: place, radius: 0.5, color: SAMPLE });
        }
    }
    frame(scene, rect, &row.name, true);
}

fn draw_density(scene: &mut Scene, density: &DensityPanel, rect: Rect) {
    let finite = density.values.iter().copied().filter(|v| v.is_finite());
    let highest = finite.fold(0.0_f32, f32::max);
    let colour = |value: f32| {
        let share = if highest > 0.0 && value.is_finite() { (value / highest).clamp(0.0, 1.0) } else { 0.0 };
        // The root shows the thin parts of a density as well.
        shade(f64::from(share).sqrt())
    };
    let rgb: Vec<u8> = density.values.iter().flat_map(|v| colour(*v)).collect();
    if density.side > 0 && rgb.len() == 3 * density.side * density.side {
        scene.shapes.push(Shape::Image { rect, columns: density.side, rgb });
    }
    frame(scene, rect, &density.title, false);
}

fn shade(share: f64) -> [u8; 3] {
    let at = share * (COLOURS.len() - 1) as f64;
    let i = (at as usize).min(COLOURS.len() - 2);
    let mix = |a: u8, b: u8| (f64::from(a) + (at - i as f64) * (f64::from(b) - f64::from(a))).round() as u8;
    let ((r, g, b), (r1, g1, b1)) = (COLOURS[i], COLOURS[i + 1]);
    [mix(r, r1), mix(g, g1), mix(b, b1)]
}

fn frame(scene: &mut Scene, rect: Rect, title: &str, bold: bool) {
    let Rect { left, top, right, .. } = rect;
    let [first, second, third, fourth] = rect.corners();
    scene.line(&[first, second, third, fourth, first], Stroke { color: INK, width: 0.5, dash: &[] });
    let size = if bold { NORMAL } else { SMALL };
    // Bold letters are wider than those that the measure is for.
    let text = legend::shortened(title, 0.9 * rect.width(), size);
    let text = Text::new(text, ((left + right) / 2.0, top - 3.0), size).align(Align::Center);
    scene.text(if bold { text.bold() } else { text });
}
