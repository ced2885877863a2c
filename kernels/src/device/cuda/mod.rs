//! An NVIDIA GPU, on cuBLAS, cuSOLVER and kernels of our own.
//!
//! CUDA's libraries are loaded at run time, so that the same program runs where there are none, and says so
//! ([`Error::NoDevice`]). Everything is asked for on one stream: operations run in the order of their calls, and
//! [`crate::device::Device::synchronize`] waits for the last of them.
//!
//! What the host must know on its way makes it wait: norms, sums per sample, and the reports of inversions. Gradients
//! without inverses need none of these, so that they can be recorded as a CUDA graph.

mod blas;
mod calls;
mod factorization;
mod gemm;
mod graph;
mod launch;
mod lt;
mod lu;
mod memory;
mod operations;
mod probe;
mod solver;
mod source;
mod stream;

#[cfg(test)]
mod emulation;

use std::cell::{Cell, OnceCell};
use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;

use cudarc::driver::{CudaContext, result, sys};

use crate::error::{Error, Result};
use crate::math::Math;
use crate::scalar::Dtype;
use blas::Blas;
use memory::Memory;
use solver::Solver;
use stream::{Module, Queue};

pub use memory::{Buffer, MemoryUse, Slice, SliceMut};
pub use probe::{Found, Library, look_in, require};
pub use source::compile;

/// A GPU and the arithmetic of its products. Clones share the GPU's stream and handles.
#[derive(Clone)]
pub struct Cuda {
    shared: Rc<Shared>,
    math: Cell<Math>,
}

/// Fields are dropped in this order: handles and modules before the stream, the context last.
struct Shared {
    modules: [OnceCell<Module>; 2],
    solver: OnceCell<Solver>,
    blas: Blas,
    queue: Queue,
    memory: Arc<Memory>,
    context: Arc<CudaContext>,
}

/// What a GPU is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Its identity, as NVIDIA's tools write it: `GPU-` and 32 hexadecimal digits in groups.
    pub uuid: String,
    /// Compute capability, for instance (9, 0).
    pub compute_capability: (i32, i32),
    /// Bytes of its memory.
    pub memory_bytes: u64,
}

impl Cuda {
    /// How many of the blocks of a panel are worked on at a time, at least: enough to give many of the multiprocessors
    /// of a large GPU something to do, few enough that two panels of them stay small beside the record of a batch. A
    /// batch of the study, 100 samples, is two panels.
    pub const LANES: usize = 50;

    /// The GPU number `ordinal`.
    ///
    /// # Errors
    /// [`Error::NoDevice`] says which library is missing, or that the driver knows no such GPU.
    pub fn new(ordinal: usize, math: Math) -> Result<Self> {
        probe::require(&[Library::Driver, Library::Nvrtc, Library::Cublas, Library::CublasLt])?;
        let count = count()?;
        if ordinal >= count {
            let reason = format!("the driver knows {count} GPUs, and number {ordinal} was asked for");
            return Err(Error::NoDevice { reason });
        }
        let context = CudaContext::new(ordinal).map_err(refused("starting the GPU"))?;
        let memory = Arc::new(Memory::new(Arc::clone(&context)));
        let queue = Queue::new(&context, &memory)?;
        let blas = Blas::new(queue.stream())?;
        let (modules, solver) = (Default::default(), OnceCell::new());
        let shared = Shared { modules, solver, blas, queue, memory, context };
        Ok(Self { shared: Rc::new(shared), math: Cell::new(math) })
    }

    /// The same GPU with another arithmetic of products.
    pub fn with_math(&self, math: Math) -> Self {
        Self { shared: Rc::clone(&self.shared), math: Cell::new(math) }
    }

    /// What is known of the GPU.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn facts(&self) -> Result<Facts> {
        facts(self.shared.context.cu_device())
    }

    /// Device memory: what buffers take, by our own books, and what the driver says is free.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn memory(&self) -> Result<MemoryUse> {
        self.shared.memory.usage()
    }

    /// Reads the bytes in buffers now, from any thread: for a trace of memory over time.
    pub fn live_bytes(&self) -> impl Fn() -> u64 + Send + use<> {
        let memory = Arc::clone(&self.shared.memory);
        move || memory.live_bytes()
    }

    /// Lets the peak of [`Self::memory`] begin at what buffers take now.
    pub fn reset_peak(&self) {
        self.shared.memory.reset_peak();
    }

    /// Marks the beginning of a span of work; [`crate::device::Device::synchronize`] marks its end.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn begin_span(&self) -> Result<()> {
        self.shared.queue.begin_span()
    }

    /// Seconds of the last span, from the GPU's own events; resolved to about half a microsecond.
    ///
    /// # Errors
    /// [`Error::Device`] when no span was begun and ended.
    pub fn span_seconds(&self) -> Result<f64> {
        self.shared.queue.span_seconds()
    }

    fn module(&self, dtype: Dtype) -> Result<&Module> {
        let cell = &self.shared.modules[dtype as usize];
        if let Some(module) = cell.get() {
            return Ok(module);
        }
        let module = Module::load(&self.shared.context, dtype)?;
        Ok(cell.get_or_init(|| module))
    }

    fn solver(&self) -> Result<&Solver> {
        let cell = &self.shared.solver;
        if let Some(solver) = cell.get() {
            return Ok(solver);
        }
        let solver = Solver::new(self.shared.queue.stream())?;
        Ok(cell.get_or_init(|| solver))
    }
}

/// How many GPUs the driver knows.
///
/// # Errors
/// [`Error::NoDevice`] without the driver, or when it cannot start or knows none.
pub fn count() -> Result<usize> {
    probe::require(&[Library::Driver])?;
    let no_device = |error: cudarc::driver::DriverError| Error::NoDevice {
        reason: format!("the driver does not start ({error}); check it with nvidia-smi"),
    };
    result::init().map_err(no_device)?;
    match result::device::get_count().map_err(no_device)? {
        count @ 1.. => Ok(count as usize),
        _ => Err(Error::NoDevice { reason: "the driver knows no GPU; check it with nvidia-smi".to_owned() }),
    }
}

/// Every GPU that the driver knows; starts none.
///
/// # Errors
/// As [`count`].
pub fn devices() -> Result<Vec<Facts>> {
    let failed = refused("finding a GPU");
    (0..count()? as i32).map(|ordinal| facts(result::device::get(ordinal).map_err(&failed)?)).collect()
}

fn facts(device: sys::CUdevice) -> Result<Facts> {
    use sys::CUdevice_attribute as Attribute;
    let failed = refused("reading the properties of a GPU");
    // SAFETY: `device` came from the driver; the call only writes its result.
    let attribute = |attribute| unsafe { result::device::get_attribute(device, attribute) };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR).map_err(&failed)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR).map_err(&failed)?;
    // SAFETY: as above.
    let memory_bytes = unsafe { result::device::total_mem(device) }.map_err(&failed)? as u64;
    Ok(Facts {
        name: result::device::get_name(device).map_err(&failed)?,
        uuid: uuid(&result::device::get_uuid(device).map_err(&failed)?.bytes.map(|byte| byte as u8)),
        compute_capability: (major, minor),
        memory_bytes,
    })
}

/// `GPU-8-4-4-4-12` hexadecimal digits.
fn uuid(bytes: &[u8; 16]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let (a, b, c) = (&digits[..8], &digits[8..12], &digits[12..16]);
    format!("GPU-{a}-{b}-{c}-{}-{}", &digits[16..20], &digits[20..])
}

/// The version of a library that is there, as it tells itself.
pub fn version(library: Library) -> Option<String> {
    use cudarc::{cublas, cublaslt, cusolver, driver, nvrtc};
    probe::require(&[library]).ok()?;
    let thousands = |version: i32, step: i32| format!("{}.{}", version / 1000, version % 1000 / step);
    let (mut first, mut second) = (0, 0);
    // SAFETY: the library is there; each call only writes numbers to the host memory that it is given.
    unsafe {
        match library {
            Library::Driver => {
                driver::sys::cuDriverGetVersion(&raw mut first).result().ok()?;
                Some(format!("for CUDA {}", thousands(first, 10)))
            }
            Library::Nvrtc => {
                nvrtc::sys::nvrtcVersion(&raw mut first, &raw mut second).result().ok()?;
                Some(format!("{first}.{second}"))
            }
            Library::Cublas => {
                use cublas::sys::{cublasGetProperty, libraryPropertyType_t as Property};
                cublasGetProperty(Property::MAJOR_VERSION, &raw mut first).result().ok()?;
                cublasGetProperty(Property::MINOR_VERSION, &raw mut second).result().ok()?;
                Some(format!("{first}.{second}"))
            }
            Library::CublasLt => Some(dotted(cublaslt::sys::cublasLtGetVersion())),
            Library::Cusolver => {
                cusolver::sys::cusolverGetVersion(&raw mut first).result().ok()?;
                Some(thousands(first, 100))
            }
        }
    }
}

/// 130100 as 13.1.
fn dotted(version: usize) -> String {
    format!("{}.{}", version / 10_000, version % 10_000 / 100)
}

/// Turns what a library answered into an error that names the operation.
fn refused<E: Display>(operation: &'static str) -> impl Fn(E) -> Error {
    move |status| Error::Device { operation, status: status.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_identities_are_written_as_nvidia_writes_them() {
        assert_eq!(dotted(130_100), "13.1");
        let bytes = [0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff];
        assert_eq!(uuid(&bytes), "GPU-a0010203-0405-0607-0809-0a0b0c0d0eff");
    }

    /// The library is looked for before anything that would panic without it.
    #[test]
    fn without_a_driver_the_error_says_so() {
        if matches!(Library::Driver.find(), Found::At(_)) {
            return;
        }
        for error in [Cuda::new(0, Math::F32).err(), count().err(), devices().err()] {
            let text = error.expect("no driver, no device").to_string();
            assert!(text.starts_with("no CUDA device: the CUDA driver (libcuda) is missing; install"), "{text}");
        }
    }
}
