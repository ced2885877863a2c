//! Grey pictures in a grid.

use relgrad_reports::experiment::Pictures;

use crate::legend;
use crate::scene::{Rect, Scene, Shape, Text};
use crate::style::{COLUMN_WIDTH, MARGIN, SMALL};

/// Between two pictures, in points.
const BETWEEN: f64 = 1.5;
/// Room of a line's text above its pictures, in points.
const TITLE: f64 = 11.0;

/// Draws the grid; `None` without a picture.
pub(crate) fn draw(content: &Pictures) -> Option<Scene> {
    let (rows, columns) = content.size;
    if content.across == 0 || rows * columns == 0 || content.pictures.is_empty() {
        return None;
    }
    let mut scene = Scene { width: COLUMN_WIDTH, ..Scene::default() };
    let across = content.across as f64;
    let width = (COLUMN_WIDTH - 2.0 * MARGIN - BETWEEN * (across - 1.0)) / across;
    let height = width * rows as f64 / columns as f64;
    let mut top = MARGIN;
    for (i, line) in content.pictures.chunks(content.across).enumerate() {
        if let Some(text) = content.lines.get(i).filter(|text| !text.is_empty()) {
            let text = legend::shortened(text, COLUMN_WIDTH - 2.0 * MARGIN, SMALL);
            scene.text(Text::new(text, (MARGIN, top + 0.76 * SMALL), SMALL));
            top += TITLE;
        }
        for (j, picture) in line.iter().enumerate().filter(|(_, picture)| picture.len() == rows * columns) {
            let left = MARGIN + j as f64 * (width + BETWEEN);
            let rect = Rect { left, top, right: left + width, bottom: top + height };
            let rgb = picture.iter().flat_map(|&grey| [grey; 3]).collect();
            scene.shapes.push(Shape::Image { rect, columns, rgb });
        }
        top += height + BETWEEN;
    }
    scene.height = top + MARGIN;
    Some(scene)
}
