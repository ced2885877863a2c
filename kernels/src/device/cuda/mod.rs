//! An NVIDIA GPU, on cuBLAS, cuSOLVER and kernels of our own.
//!
//! CUDA's libraries are loaded at run time, so that the same program runs where there are none, and says so
//! ([`Error::NoDevice`]). Everything is asked for on one stream: operations run in the order of their calls, and
//! [`crate::device::Device::synchronize`] waits for the last of them.
//!
//! What the host must know on its way makes it wait: norms, sums per sample, and the reports of inversions. Gradients
//! without inverses need none of these, so that they can be recorded as a CUDA graph.

mod blas;
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

use crate::device::{Device, Inversion, Replay};
use crate::error::{Error, Result};
use crate::math::Math;
use crate::scalar::{Dtype, Scalar};
use blas::Blas;
use factorization::Factorization;
use gemm::Gemm;
use launch::{Kernels, Launcher};
use memory::{Block, Buffer, Heap, SliceMut};
use operations::{Answers, Gpu};
use solver::Solver;
use stream::{Lane, Module, Queue};

pub use memory::MemoryUse;
pub use probe::{Found, Library, look_in, require};
pub use source::compile;

/// The library's name of a number type; each library has a type of its own for it.
macro_rules! data_type {
    ($sys:ident, $dtype:expr) => {
        match $dtype {
            Dtype::F32 => $sys::cudaDataType_t::CUDA_R_32F,
            Dtype::F64 => $sys::cudaDataType_t::CUDA_R_64F,
        }
    };
}
use data_type;

/// The library's name of an arithmetic of products.
macro_rules! compute_type {
    ($sys:ident, $math:expr) => {
        match $math {
            Math::F32 => $sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            Math::Tf32 => $sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            Math::F64 => $sys::cublasComputeType_t::CUBLAS_COMPUTE_64F,
        }
    };
}
use compute_type;

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
    heap: Arc<Heap>,
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
        let heap = Arc::new(Heap::new(Arc::clone(&context)));
        let queue = Queue::new(&context, &heap)?;
        let blas = Blas::new(queue.stream())?;
        let (modules, solver) = (Default::default(), OnceCell::new());
        let shared = Shared { modules, solver, blas, queue, heap, context };
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
        self.shared.heap.usage()
    }

    /// Reads the bytes in buffers now, from any thread: for a trace of memory over time.
    pub fn live_bytes(&self) -> impl Fn() -> u64 + Send + use<> {
        let heap = Arc::clone(&self.shared.heap);
        move || heap.ledger.bytes().0
    }

    /// Lets the peak of [`Self::memory`] begin at what buffers take now.
    pub fn reset_peak(&self) {
        self.shared.heap.ledger.reset_peak();
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

    fn solver(&self) -> Result<&Solver> {
        once(&self.shared.solver, || Solver::new(self.shared.queue.stream()))
    }

    /// Libraries work on the context that is current on the calling thread.
    fn enter(&self) -> Result<()> {
        self.shared.context.bind_to_thread().map_err(refused("entering the GPU's context"))
    }

    /// The stream for a copy.
    fn stream(&self) -> Result<sys::CUstream> {
        self.enter()?;
        Ok(self.shared.queue.stream().cu_stream())
    }

    /// Numbers of another type than that of the chosen arithmetic are multiplied in their own.
    fn math_of(&self, dtype: Dtype) -> Math {
        let math = self.math.get();
        if math.dtype() == dtype { math } else { Math::of(dtype) }
    }
}

/// What the cell holds, made at the first call.
fn once<V>(cell: &OnceCell<V>, make: impl FnOnce() -> Result<V>) -> Result<&V> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

impl Gpu for Cuda {
    type Buffer<T: Scalar> = Buffer<T>;
    type Factorization = Factorization;

    fn answers(&self) -> &impl Answers {
        &self.shared.queue
    }

    fn kernels<T: Scalar>(&self) -> Result<Kernels<impl Launcher, T>> {
        self.enter()?;
        let Shared { queue, modules, context, .. } = &*self.shared;
        let module = once(&modules[T::DTYPE as usize], || Module::load(context, T::DTYPE))?;
        Ok(Kernels::new(Lane { queue, module }))
    }

    fn buffer<T: Scalar>(&self, len: usize, what: &str) -> Result<Buffer<T>> {
        let buffer = Buffer::new(&self.shared.heap, len, what)?;
        if len > 0 {
            let stream = self.shared.queue.stream().cu_stream();
            // SAFETY: the bytes are those of the new buffer; all-zero bits are 0.0.
            unsafe { result::memset_d8_async(buffer.address(), 0, len * size_of::<T>(), stream) }
                .map_err(refused("filling new memory with zeros"))?;
        }
        Ok(buffer)
    }

    unsafe fn copy_from_host<T: Scalar>(&self, source: &[T], to: u64) -> Result<()> {
        let stream = self.stream()?;
        // SAFETY: the caller vouches for the address, and `source` is borrowed until the copy has been waited for.
        unsafe { result::memcpy_htod_async(to, source, stream) }.map_err(refused("upload"))?;
        self.shared.queue.stream().synchronize().map_err(refused("upload"))
    }

    unsafe fn copy_to_host<T: Scalar>(&self, from: u64, destination: &mut [T]) -> Result<()> {
        let stream = self.stream()?;
        // SAFETY: the caller vouches for the address, and `destination` is borrowed until the copy has been waited for.
        unsafe { result::memcpy_dtoh_async(destination, from, stream) }.map_err(refused("download"))?;
        self.shared.queue.stream().synchronize().map_err(refused("download"))
    }

    unsafe fn copy_bytes(&self, from: u64, to: u64, bytes: usize) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream()?) }.map_err(refused("copy"))
    }

    unsafe fn gemm<T: Scalar>(&self, gemm: &Gemm, factors: (T, T), operands: [u64; 3]) -> Result<()> {
        self.enter()?;
        // SAFETY: the caller's promise.
        unsafe { self.shared.blas.multiply(self.math_of(T::DTYPE), gemm, factors, operands) }
    }

    unsafe fn gemm_onto<T: Scalar>(&self, gemm: &Gemm, alpha: T, addend: u64, operands: [u64; 3]) -> Result<bool> {
        self.enter()?;
        // SAFETY: the caller's promise.
        unsafe { self.shared.blas.multiply_onto(self.math_of(T::DTYPE), gemm, alpha, addend, operands) }
    }

    fn fits(work: &Factorization, dim: usize, count: usize) -> bool {
        work.fits(dim, count)
    }

    unsafe fn invert<T: Scalar>(
        &self,
        a: SliceMut<'_, T>,
        out: SliceMut<'_, T>,
        work: &mut Factorization,
        report: &mut [Inversion],
    ) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { work.invert_transposed::<T>(self, [a.address(), out.address()], report) }
    }

    unsafe fn log_det<T: Scalar>(&self, dim: usize, a: u64) -> Result<f64> {
        // SAFETY: the caller's promise.
        unsafe { factorization::log_abs_det::<T>(self, dim, a) }
    }
}

impl<T: Scalar> Device<T> for Cuda {
    fn synchronize(&self) -> Result<()> {
        self.enter()?;
        self.shared.queue.wait()
    }

    fn lanes(&self) -> usize {
        Self::LANES
    }

    fn factorization(&self, dim: usize, count: usize) -> Result<Factorization> {
        self.enter()?;
        Factorization::new::<T>(self, dim, count)
    }

    fn math(&self) -> Math {
        self.math_of(T::DTYPE)
    }

    fn in_full_precision<R>(&self, work: impl FnOnce() -> R) -> R {
        let math = self.math.replace(Math::of(T::DTYPE));
        let result = work();
        self.math.set(math);
        result
    }

    fn record(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<Option<Box<dyn Replay>>> {
        self.enter()?;
        graph::record(self, work)
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
