//! From a cell to what the kernels evaluate.

pub(crate) use relgrad_kernels::DeviceKind;
use relgrad_kernels::{Architecture, Convolution, Cost, Coupling, Cuda, Dtype, Error, Math, Method, Result};
use relgrad_reports::record::{self, Cell, Point};

/// What a cell evaluates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    /// The way to the gradient.
    pub(crate) method: Method,
    /// The network.
    pub(crate) architecture: Architecture,
    /// Number type.
    pub(crate) dtype: Dtype,
    /// Arithmetic of products.
    pub(crate) math: Math,
    /// Where it runs.
    pub(crate) device: DeviceKind,
}

impl Workload {
    /// What a cell's method evaluates at its point.
    ///
    /// # Errors
    /// Names the parameter that is out of range, or the calibration kernel, which evaluates no gradient.
    pub(crate) fn of(cell: &Cell) -> Result<Self> {
        let coupling = match cell.point.convolution {
            None => Coupling::Dense,
            Some(record::Convolution { channels, grid, kernel }) => {
                Coupling::Convolution(Convolution { channels, grid, kernel })
            }
        };
        let architecture = Architecture {
            activation: cell.point.activation,
            bias: cell.point.bias,
            coupling,
            ..Architecture::new(cell.point.dim, cell.point.layers)
        };
        architecture.validate()?;
        let method = Method::try_from(cell.method)?;
        let Point { dtype, device, .. } = cell.point;
        Ok(Self { method, architecture, dtype, math: cell.point.arithmetic(), device })
    }

    /// Its cost on batches of `batch` samples.
    ///
    /// # Errors
    /// For a method that has no form for these layers, and for convolutions on a GPU.
    pub(crate) fn cost(&self, batch: usize) -> Result<Cost> {
        let Self { method, architecture, dtype, .. } = *self;
        match (architecture.coupling, self.device) {
            (Coupling::Convolution(_), DeviceKind::Cpu) => {
                relgrad_kernels::convolution::cost(method, &architecture, batch, dtype)
            }
            (Coupling::Convolution(_), DeviceKind::Cuda) => Err(Error::Unknown {
                kind: "device of convolutions",
                name: self.device.to_string(),
                expected: DeviceKind::Cpu.to_string(),
            }),
            (_, DeviceKind::Cpu) => Ok(relgrad_kernels::cost(method, &architecture, batch, dtype)),
            (_, DeviceKind::Cuda) => Ok(relgrad_kernels::cost_on(Cuda::LANES, method, &architecture, batch, dtype)),
        }
    }
}
