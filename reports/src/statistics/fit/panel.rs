//! The processes of several places, as fits are judged by them.

use super::Observation;
use super::line::Weighted;
use crate::statistics::resample::Blocks;
use crate::statistics::student::f_tail;

/// Standard deviation of what a quiet machine adds to a law: cache sets, remainders of vectors, pages. A misfit of this
/// size says nothing of the law.
const MACHINE: f64 = 0.01;

/// The logarithms of the processes' medians at each place, without what a round does to all places alike.
pub(crate) struct Panel {
    /// ln x, the mean over the processes, their number; by ascending x.
    pub(crate) places: Vec<Weighted>,
    /// Sum of the squares of the processes about the mean of their place.
    within: f64,
    /// Its degrees of freedom.
    degrees: f64,
}

impl Panel {
    pub(crate) fn of(observations: &[Observation<'_>]) -> Self {
        let mut cells: Vec<_> = observations.iter().filter(|o| o.x > 0 && o.processes.rounds() > 0).collect();
        cells.sort_by_key(|o| o.x);
        cells.dedup_by_key(|o| o.x);
        let blocks = Blocks::of(&cells.iter().map(|o| o.processes).collect::<Vec<_>>());
        let mut panel = Self { places: Vec::new(), within: 0.0, degrees: 0.0 };
        let mut rounds = 0;
        for cell in &cells {
            let logs: Vec<f64> = cell.processes.medians().map(|(round, m)| m.ln() - blocks.effect(round)).collect();
            let mean = logs.iter().sum::<f64>() / logs.len() as f64;
            panel.within += logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>();
            panel.degrees += (logs.len() - 1) as f64;
            panel.places.push(((cell.x as f64).ln(), mean, logs.len() as f64));
            rounds = rounds.max(logs.len());
        }
        if !blocks.is_empty() {
            panel.degrees -= (rounds - 1) as f64;
        }
        panel
    }

    /// Number of observations that are not spent on the rounds.
    fn count(&self) -> f64 {
        self.places.len() as f64 + self.degrees
    }

    /// The corrected Akaike criterion of a law with so many parameters, the scatter among them, whose residuals at the
    /// places have this weighted sum of squares.
    pub(crate) fn criterion(&self, residual: f64, parameters: f64) -> f64 {
        let n = self.count();
        let correction = match n - parameters - 1.0 {
            room if room > 0.0 => 2.0 * parameters * (parameters + 1.0) / room,
            _ => f64::INFINITY,
        };
        // The floor keeps an exact fit finite: one part in 10¹² is beyond any timer.
        n * ((residual + self.within) / n).max(1e-24).ln() + 2.0 * parameters + correction
    }

    /// The probability that residuals of a true law have so large a sum of squares or a larger one, by the scatter of
    /// the processes (the test for lack of fit: Draper & Smith, *Applied Regression Analysis*, 1998, section 2.1).
    /// `None` where no place has two processes.
    pub(crate) fn misfit(&self, residual: f64, degrees: f64) -> Option<f64> {
        let processes: f64 = self.places.iter().map(|(.., weight)| weight).sum();
        let machine = processes / self.places.len() as f64 * MACHINE * MACHINE;
        let scatter = self.within / self.degrees + machine;
        (self.degrees > 0.0).then(|| f_tail(residual / degrees / scatter, degrees, self.degrees))
    }

    /// The variance of a process about the mean of its place; `None` where no place has two.
    pub(crate) fn variance(&self) -> Option<f64> {
        (self.degrees > 0.0).then(|| self.within / self.degrees)
    }
}
