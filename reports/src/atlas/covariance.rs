//! The covariance of y between two cells.

use serde::{Deserialize, Serialize};

use super::AtlasCell;

/// Prior variances of the intercept of a kind of device and of a method on it: both are to follow from the
/// measurements.
const OF_KIND: f64 = 9.0;
const OF_METHOD: f64 = 1.0;

/// The components of the variance of y = ln(t / t₀). A smooth function of variance σ² has the covariance σ²·k(r), with
/// Matérn's k(r) = (1 + √3 r)·exp(−√3 r) of the distance r = |x − x'| / length between the coordinates of two cells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Variances {
    /// Length over which the functions change, in units of the coordinates: e times D is 1.
    pub length: f64,
    /// Function that all methods and machines share.
    pub shape: f64,
    /// Function of a method that all machines share.
    pub method_shape: f64,
    /// Intercept of a machine.
    pub machine: f64,
    /// Function of a machine.
    pub machine_shape: f64,
    /// Intercept of a method on a machine.
    pub machine_method: f64,
    /// Function of a method on a machine.
    pub machine_method_shape: f64,
    /// Between the cells of a machine, beyond the functions.
    pub cell: f64,
    /// Between the processes of a cell.
    pub process: f64,
}

impl Variances {
    /// Of what belongs to one machine.
    pub(super) fn between(&self) -> [f64; 2] {
        [self.machine + self.machine_shape, self.machine_method + self.machine_method_shape]
    }

    /// Of a mean over so many processes, beyond the functions.
    pub(super) fn noise(&self, processes: usize) -> f64 {
        self.cell + self.process / processes.max(1) as f64
    }

    /// Covariance of the functions at two places.
    pub(super) fn covariance(&self, a: &Located, b: &Located) -> f64 {
        if a.cell.series.device != b.cell.series.device {
            return 0.0;
        }
        let square: f64 = a.at.iter().zip(&b.at).map(|(x, y)| (x - y) * (x - y)).sum();
        let distance = (3.0 * square).sqrt() / self.length;
        let k = (1.0 + distance) * (-distance).exp();
        let (same_method, same_machine) = (a.cell.series.method == b.cell.series.method, a.machine == b.machine);
        let mut sum = OF_KIND + self.shape * k;
        if same_method {
            sum += OF_METHOD + self.method_shape * k;
        }
        if same_machine {
            sum += self.machine + self.machine_shape * k;
        }
        if same_method && same_machine {
            sum += self.machine_method + self.machine_method_shape * k;
        }
        sum
    }
}

/// A cell on a machine, with its coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Located {
    pub(super) machine: usize,
    pub(super) cell: AtlasCell,
    at: [f64; 5],
}

impl Located {
    pub(super) fn new(machine: usize, cell: AtlasCell) -> Self {
        Self { machine, cell, at: cell.coordinates() }
    }
}
