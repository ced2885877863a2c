//! From the words of a cell to the types of the kernels.

use relgrad_kernels::{Architecture, Convolution, Cost, Coupling, Dtype, Method, Result};
use relgrad_reports::record::{self, Cell};

/// What a cell evaluates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    /// The way to the gradient.
    pub(crate) method: Method,
    /// The network.
    pub(crate) architecture: Architecture,
    /// Number type.
    pub(crate) dtype: Dtype,
}

impl Workload {
    /// Reads the words of a cell.
    ///
    /// # Errors
    /// Names the word that is not known, or the parameter that is out of range.
    pub(crate) fn of(cell: &Cell) -> Result<Self> {
        let coupling = match cell.convolution {
            None => Coupling::Dense,
            Some(record::Convolution { channels, grid, kernel }) => {
                Coupling::Convolution(Convolution { channels, grid, kernel })
            }
        };
        let architecture = Architecture {
            activation: cell.activation.parse()?,
            bias: cell.bias,
            coupling,
            ..Architecture::new(cell.dim, cell.layers)
        };
        architecture.validate()?;
        Ok(Self { method: cell.method.parse()?, architecture, dtype: cell.dtype.parse()? })
    }

    /// Its cost on batches of `batch` samples.
    ///
    /// # Errors
    /// For a method that has no form for these layers.
    pub(crate) fn cost(&self, batch: usize) -> Result<Cost> {
        match self.architecture.coupling {
            Coupling::Convolution(_) => {
                relgrad_kernels::convolution::cost(self.method, &self.architecture, batch, self.dtype)
            }
            _ => Ok(relgrad_kernels::cost(self.method, &self.architecture, batch, self.dtype)),
        }
    }
}
