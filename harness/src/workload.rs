//! From the words of a cell to the types of the kernels.

pub(crate) use relgrad_kernels::DeviceKind;
use relgrad_kernels::{
    Activation, Architecture, Convolution, Cost, Coupling, Cuda, Dtype, Error, Math, Method, Result,
};
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
    /// Arithmetic of products.
    pub(crate) math: Math,
    /// Where it runs.
    pub(crate) device: DeviceKind,
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
            activation: cell.activation.parse::<Activation>()?,
            bias: cell.bias,
            coupling,
            ..Architecture::new(cell.dim, cell.layers)
        };
        architecture.validate()?;
        let dtype = cell.dtype.parse::<Dtype>()?;
        let math = cell.math.as_deref().map_or(Ok(Math::of(dtype)), str::parse)?;
        let method = cell.method.parse::<Method>()?;
        let device = cell.device.parse::<DeviceKind>()?;
        Ok(Self { method, architecture, dtype, math, device })
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
