//! From the words of a cell to the types of the kernels.

use relgrad_kernels::{Architecture, Convolution, Cost, Coupling, Cuda, Dtype, Error, Math, Method, Result};
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

/// A device, by the name that the command line and records use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum DeviceKind {
    /// The host's cores.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

impl DeviceKind {
    /// Every device.
    pub(crate) const ALL: [Self; 2] = [Self::Cpu, Self::Cuda];

    /// The device of a record; one that this version does not know was never measured here, and reads as the CPU.
    pub(crate) fn of(name: &str) -> Self {
        if name == Self::Cuda.name() { Self::Cuda } else { Self::Cpu }
    }

    /// `cpu` or `cuda`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

impl std::fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for DeviceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|device| device.name() == text);
        known.ok_or_else(|| format!("`{text}` is no device; the devices are: cpu, cuda"))
    }
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
        let dtype = cell.dtype.parse()?;
        let math = cell.math.as_deref().map_or(Ok(Math::of(dtype)), str::parse)?;
        let device = DeviceKind::of(&cell.device);
        Ok(Self { method: cell.method.parse()?, architecture, dtype, math, device })
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
            (_, DeviceKind::Cuda) => {
                Ok(relgrad_kernels::cost_on(Cuda::LANES, method, &architecture, batch, dtype))
            }
        }
    }
}
