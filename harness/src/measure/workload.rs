//! From the words of a cell to the types of the kernels, and the one place where device and number type are chosen.

pub(crate) use relgrad_kernels::DeviceKind;
use relgrad_kernels::evaluation::{self, Evaluation, Workload};
use relgrad_kernels::{
    Activation, Architecture, Convolution, Cost, Coupling, Cpu, Cuda, Dtype, Error, Init, Math, Method, Result,
};
use relgrad_reports::record::{self, Cell};

use crate::machine::gpu;

/// An expression with a [`relgrad_kernels::Scalar`] as the type that a [`Dtype`] names.
macro_rules! with_dtype {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            relgrad_kernels::Dtype::F32 => {
                type $T = f32;
                $body
            }
            relgrad_kernels::Dtype::F64 => {
                type $T = f64;
                $body
            }
        }
    };
}

/// An expression of a [`Target`]'s device, whatever its type, and of a type of numbers.
macro_rules! with_device {
    ($target:expr, $dtype:expr, |$device:ident, $T:ident| $body:expr) => {
        match $target {
            $crate::measure::workload::Target::Cpu($device) => with_dtype!($dtype, $T => $body),
            $crate::measure::workload::Target::Cuda($device) => with_dtype!($dtype, $T => $body),
        }
    };
}

pub(crate) use {with_device, with_dtype};

/// A device that is open.
#[derive(Clone)]
pub(crate) enum Target {
    Cpu(Cpu),
    Cuda(Cuda),
}

impl Target {
    /// The CPU with so many threads, or the first GPU.
    pub(crate) fn open(device: DeviceKind, math: Math, threads: usize) -> Result<Self> {
        match device {
            DeviceKind::Cpu => Ok(Self::Cpu(Cpu::new(threads))),
            DeviceKind::Cuda => gpu::open(math).map(Self::Cuda),
        }
    }

    /// The same device with another arithmetic of products.
    pub(crate) fn with_math(&self, math: Math) -> Self {
        match self {
            Self::Cpu(device) => Self::Cpu(*device),
            Self::Cuda(device) => Self::Cuda(device.with_math(math)),
        }
    }

    pub(crate) fn prepare(&self, workload: &Workload) -> Result<Box<dyn Evaluation>> {
        match self {
            Self::Cpu(_) => evaluation::prepare(workload),
            Self::Cuda(device) => {
                with_dtype!(workload.dtype, T => evaluation::prepare_on::<_, T>(device.clone(), workload))
            }
        }
    }
}

/// What a cell evaluates, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    pub(crate) workload: Workload,
    pub(crate) math: Math,
    pub(crate) device: DeviceKind,
}

impl Task {
    /// Reads the words of a cell.
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
        let Cell { batch, threads, seed, .. } = *cell;
        let workload = Workload { method, architecture, init: Init::Orthogonal, batch, dtype, threads, seed };
        Ok(Self { workload, math, device: cell.device.parse()? })
    }

    pub(crate) fn cost(&self) -> Result<Cost> {
        let Workload { method, architecture, dtype, batch, .. } = self.workload;
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
