//! The largest dimensions of a study that was measured, hidden and predicted.

use relgrad_vocabulary::Subject;

use super::{hide, predicted};
use crate::record::study::Study;
use crate::statistics::median;
use crate::statistics::summary::{Estimate, Series, Summary};

/// So many of the largest dimensions are hidden at most.
const MOST_HIDDEN: usize = 3;
/// So many dimensions are left at least.
const LEAST_LEFT: usize = 4;

/// A cell that was hidden.
#[derive(Debug, Clone, PartialEq)]
pub struct Hidden {
    /// Its method.
    pub method: Subject,
    /// Its dimension.
    pub dim: usize,
    /// How many of the largest dimensions were hidden with it.
    pub hidden: usize,
    /// What the others predict.
    pub predicted: Option<Estimate>,
    /// Its median.
    pub measured: f64,
}

/// Predictions and what was measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Backtest(pub Vec<Hidden>);

impl Backtest {
    /// The share of the prediction intervals that hold the measured median.
    pub fn covered(&self) -> f64 {
        let held = self.0.iter().filter(|hidden| super::holds(hidden.predicted, hidden.measured)).count();
        held as f64 / self.0.len() as f64
    }

    /// The median of |predicted/measured − 1|; `None` without a prediction.
    pub fn median_error(&self) -> Option<f64> {
        let error = |hidden: &Hidden| Some((hidden.predicted?.value / hidden.measured - 1.0).abs());
        median(&self.0.iter().filter_map(error).collect::<Vec<_>>())
    }
}

/// Hides the last one, two and three dimensions of every series, and predicts them from the others.
pub fn backtest(study: &Study) -> Backtest {
    let whole = Summary::of(study);
    let mut cells = Vec::new();
    for hidden in 1..=MOST_HIDDEN {
        let is_long = |series: &&Series| series.points.len() >= LEAST_LEFT + hidden;
        let tried: Vec<&Series> = whole.series.iter().filter(is_long).collect();
        let last = |series: &Series| series.points[series.points.len() - hidden].dim;
        let mut rest = study.clone();
        hide(&mut rest, |record| {
            let place = &record.cell.point;
            let of = |s: &&&Series| {
                (s.method, s.device, s.batch, s.layers) == (record.cell.method, place.device, place.batch, place.layers)
            };
            tried.iter().find(of).is_some_and(|series| place.dim >= last(series))
        });
        let rest = Summary::of(&rest);
        for series in tried {
            let key = |s: &Series| (s.method, s.device, s.batch, s.layers);
            let Some(left) = rest.series.iter().find(|s| key(s) == key(series)) else { continue };
            cells.extend(series.points[series.points.len() - hidden..].iter().map(|point| Hidden {
                method: series.method,
                dim: point.dim,
                hidden,
                predicted: predicted(left, point.dim),
                measured: point.seconds.value,
            }));
        }
    }
    Backtest(cells)
}
