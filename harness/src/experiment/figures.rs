//! Writing figures, and the figure of a training.

use std::path::{Path, PathBuf};

use relgrad_plots::draw_experiment;
use relgrad_reports::experiment::{Curve, Figure, Level, LinePanel, Pictures};
use relgrad_reports::training::{Epoch, Training};

use super::lines;
use crate::error::{Error, Result};
use crate::{console, outputs};

/// Draws NAME.svg and NAME.png.
///
/// # Errors
/// When there is not the memory to draw, nothing to draw, or when the files cannot be written.
pub(crate) fn write(dir: &Path, name: &str, figure: &Figure, title: &str) -> Result<Vec<PathBuf>> {
    let drawing = draw_experiment(figure, title).map_err(|cause| Error::Output(cause.to_string()))?;
    outputs::write_drawing(dir, name, &drawing, &outputs::FORMATS)
}

/// Writes grey pictures in a grid as the format of the path's ending.
///
/// # Errors
/// As [`write`].
pub(crate) fn pictures(path: &Path, size: (usize, usize), pictures: Vec<Vec<u8>>, title: &str) -> Result<()> {
    let across = ((pictures.len() as f64).sqrt().ceil() as usize).max(1);
    let figure = Figure::Pictures(Pictures { across, size, pictures, lines: Vec::new() });
    let drawing = draw_experiment(&figure, title).map_err(|cause| Error::Output(cause.to_string()))?;
    drawing.write(path).map_err(|cause| Error::Output(cause.to_string()))
}

/// Writes `figures/training.svg` and `.png`: log-likelihood against epoch, and beside it μλ over the limit of stable
/// steps where that was estimated. Too short a training has none.
pub(crate) fn training(dir: &Path, training: &Training, epochs: &[Epoch]) -> Result<()> {
    if epochs.len() < 2 {
        return Ok(());
    }
    let validation: Vec<(f64, f64)> = epochs.iter().map(|e| (e.epoch as f64, e.validation_nats)).collect();
    let on_batches: Vec<(f64, f64)> = epochs.iter().filter_map(|e| Some((e.epoch as f64, e.training_nats?))).collect();
    let mut curves = vec![Curve { name: "validation".to_string(), points: validation }];
    if on_batches.len() > 1 {
        curves.push(Curve { name: "training batches".to_string(), points: on_batches });
    }
    let levels = training.data.entropy_nats.map(|h| Level { name: "minus the entropy".to_string(), value: -h });
    let range = range_of_curves(&curves);
    let panel = lines(["epoch", "log-likelihood (nats)"], range, curves, levels.into_iter().collect());
    let panels = std::iter::once(panel).chain(edge_panel(epochs)).collect();
    let data: String = console::visible(&training.settings.data).chars().take(60).collect();
    let title = format!("Log-likelihood of {data} against epoch");
    let dir = dir.join("figures");
    if dir.is_symlink() {
        return Err(Error::output(&dir, "it is a link, and links are not followed; remove it"));
    }
    write(&dir, "training", &Figure::Lines { panels }, &title).map(|_| ())
}

/// μλ over its limit against epoch; `None` with fewer than two values.
fn edge_panel(epochs: &[Epoch]) -> Option<LinePanel> {
    let points: Vec<(f64, f64)> = epochs.iter().filter_map(|e| Some((e.epoch as f64, e.edge_share?))).collect();
    let highest = points.iter().map(|point| point.1).fold(1.0, f64::max);
    let curve = Curve { name: "μλ over its limit".to_string(), points };
    let level = Level { name: "the edge of stability".to_string(), value: 1.0 };
    // A few steps far beyond the edge would flatten the rest.
    let range = Some((0.0, 1.1 * highest.min(3.0)));
    (curve.points.len() > 1).then(|| lines(["epoch", "μλ over its limit"], range, vec![curve], vec![level]))
}

/// A range of the vertical axis that holds all curves without their starts.
pub(crate) fn range_of_curves(curves: &[Curve]) -> Option<(f64, f64)> {
    let ranges = curves.iter().filter_map(|curve| range_without_start(&curve.points));
    ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// A range of the vertical axis that the untrained network does not stretch: from the value after a tenth of the epochs
/// (but at least the first) to a margin above the best.
fn range_without_start(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let after = points.get((points.len() / 10).max(1))?.1;
    let best = points.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
    let margin = (best - after).abs().max(best.abs() * 1e-3).max(1e-3) * 0.15;
    (after.is_finite() && best.is_finite()).then_some((after - margin, best + margin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing::epoch;

    #[test]
    fn the_edge_has_a_panel_where_it_was_estimated() {
        let of = |shares: &[Option<f64>]| -> Vec<Epoch> {
            shares.iter().enumerate().map(|(i, &edge_share)| Epoch { edge_share, ..epoch(i, -1.0) }).collect()
        };
        assert_eq!(edge_panel(&of(&[None, Some(0.5), None])), None);
        let panel = edge_panel(&of(&[None, Some(0.5), None, Some(0.8)])).unwrap();
        assert_eq!(panel.curves[0].points, [(1.0, 0.5), (3.0, 0.8)]);
        assert_eq!((panel.levels[0].value, panel.y_range), (1.0, Some((0.0, 1.1))));
    }

    /// Batches end above the validation part and begin far below it.
    #[test]
    fn the_range_holds_every_curve_but_the_starts() {
        let curve = |values: &[f64]| Curve {
            name: String::new(),
            points: values.iter().enumerate().map(|(i, &y)| (i as f64, y)).collect(),
        };
        let curves = [curve(&[-900.0, -20.0, -12.0, -11.0]), curve(&[-950.0, -18.0, -9.0, -5.0])];
        let (low, high) = range_of_curves(&curves).unwrap();
        assert!(-30.0 < low && low < -20.0 && -5.0 < high && high < 0.0, "{low} {high}");
        assert_eq!(range_of_curves(&[]), None);
    }
}
