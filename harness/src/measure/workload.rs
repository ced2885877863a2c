//! From the words of a cell to the types of the kernels, and the one place where device and number type are chosen.

pub(crate) use relgrad_kernels::DeviceKind;
use relgrad_kernels::device::Device;
use relgrad_kernels::evaluation::{self, Evaluation, Workload};
use relgrad_kernels::optimizer::cost_of_update;
use relgrad_kernels::ranks::cost_of_columns;
use relgrad_kernels::{
    Architecture, Convolution, Cost, CouplingKind, Cpu, Cuda, Dense, Error, Math, Method, Result, Scalar, UpdateRule,
    cost_on,
};
use relgrad_reports::record::{self, Cell, Point};

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

pub(crate) use with_dtype;

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
            DeviceKind::Cpu => Cpu::new(threads).with_math(math).map(Self::Cpu),
            DeviceKind::Cuda => gpu::open(math).map(Self::Cuda),
        }
    }

    /// The same device with another arithmetic of products; nothing where it has none.
    pub(crate) fn with_math(&self, math: Math) -> Option<Self> {
        match self {
            Self::Cpu(device) => device.with_math(math).ok().map(Self::Cpu),
            Self::Cuda(device) if math.is_known_to(DeviceKind::Cuda) => Some(Self::Cuda(device.with_math(math))),
            Self::Cuda(_) => None,
        }
    }

    pub(crate) fn prepare(&self, workload: &Workload) -> Result<Box<dyn Evaluation>> {
        self.prepare_updating(workload, None)
    }

    /// As [`Self::prepare`], with an update of the parameters in every evaluation.
    pub(crate) fn prepare_updating(
        &self,
        workload: &Workload,
        update: Option<UpdateRule>,
    ) -> Result<Box<dyn Evaluation>> {
        match self {
            Self::Cpu(device) => {
                let math = with_dtype!(workload.dtype, T => math::<T>(device));
                evaluation::prepare_updating(math, workload, update)
            }
            Self::Cuda(device) => evaluation::prepare_on_gpu(device.clone(), workload),
        }
    }
}

/// The arithmetic of a CPU's products of numbers of a type.
fn math<T: Scalar>(device: &Cpu) -> Math {
    Device::<T>::math(device)
}

/// What a cell evaluates, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    pub(crate) workload: Workload,
    pub(crate) math: Math,
    pub(crate) device: DeviceKind,
    pub(crate) update: Option<UpdateRule>,
    /// Ranks over which the weights are split.
    pub(crate) ranks: usize,
}

impl Task {
    /// The problem of a cell.
    pub(crate) fn of(cell: &Cell) -> Result<Self> {
        let Point { device, dim, batch, layers, dtype, threads, bias, activation, seed, convolution, tuning, .. } =
            cell.point;
        let coupling = convolution.map_or(CouplingKind::Dense, |of| {
            let record::Convolution { channels, grid, kernel } = of;
            CouplingKind::Convolution(Convolution { channels, grid, kernel })
        });
        let architecture = Architecture { activation, bias, ..Architecture::new(dim, layers).with(coupling) };
        architecture.validate()?;
        let method = Method::try_from(cell.method)?;
        let workload = Workload { threads, seed, tuning, ..Workload::new(method, architecture, batch, dtype) };
        let Point { update, ranks, .. } = cell.point;
        Ok(Self { workload, math: cell.point.arithmetic(), device, update, ranks })
    }

    pub(crate) fn cost(&self) -> Result<Cost> {
        let Workload { method, architecture, dtype, .. } = self.workload;
        let gradient = self.cost_of_gradient()?;
        let update = self.update.filter(|_| !method.is_step());
        Ok(update.map_or(gradient, |rule| cost_of_update(rule, gradient, &architecture, dtype)))
    }

    fn cost_of_gradient(&self) -> Result<Cost> {
        let Workload { method, architecture, dtype, batch, .. } = self.workload;
        if self.ranks > 1 {
            let (dense, sizes) = (architecture.with(Dense), (batch, self.ranks));
            return cost_of_columns(&dense, sizes, dtype, method == Method::Relative);
        }
        let tuned = self.workload.tuned();
        match self.device {
            DeviceKind::Cpu => relgrad_kernels::cost(tuned, &architecture, batch, dtype),
            DeviceKind::Cuda if architecture.coupling == CouplingKind::Dense => {
                cost_on(Cuda::LANES, tuned, &architecture, batch, dtype)
            }
            DeviceKind::Cuda => Err(Error::Unknown {
                kind: "device of convolutions",
                name: self.device.to_string(),
                expected: DeviceKind::Cpu.to_string(),
            }),
        }
    }
}
