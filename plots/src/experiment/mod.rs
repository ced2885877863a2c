//! Figures of experiments: curves, densities, values with intervals, points, pictures, maps of a head.

mod densities;
mod dots;
mod lines;
mod maps;
mod pictures;
mod scatter;

#[cfg(test)]
mod tests;

use relgrad_reports::experiment::Figure;

use crate::error::{Error, Result};
use crate::scene::Scene;

/// Lays a figure out.
pub(crate) fn scene(figure: &Figure) -> Result<Scene> {
    drawn(figure).ok_or(Error::Empty)
}

/// `None` where there is nothing to draw.
fn drawn(figure: &Figure) -> Option<Scene> {
    match figure {
        Figure::Lines { panels } => lines::draw(panels),
        Figure::Densities { rows } => densities::draw(rows),
        Figure::Dots(panel) => dots::draw(panel),
        Figure::Scatter { panels } => scatter::draw(panels),
        Figure::Pictures(pictures) => pictures::draw(pictures),
        Figure::Maps(maps) => maps::draw(maps),
        Figure::Stack { parts } => parts.iter().filter_map(drawn).reduce(Scene::above),
    }
}
