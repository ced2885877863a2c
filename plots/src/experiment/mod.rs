//! Figures of experiments: curves, densities, values with intervals, points, pictures.

mod densities;
mod dots;
mod lines;
mod pictures;
mod scatter;

#[cfg(test)]
mod tests;

use relgrad_reports::experiment::Figure;

use crate::error::{Error, Result};
use crate::scene::Scene;

/// Lays a figure out.
pub(crate) fn scene(figure: &Figure) -> Result<Scene> {
    let scene = match figure {
        Figure::Lines { panels } => lines::draw(panels),
        Figure::Densities { rows } => densities::draw(rows),
        Figure::Dots(panel) => dots::draw(panel),
        Figure::Scatter { panels } => scatter::draw(panels),
        Figure::Pictures(pictures) => pictures::draw(pictures),
    };
    scene.ok_or(Error::Empty)
}
