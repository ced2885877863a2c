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
mod facts;
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

use std::cell::OnceCell;
use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;

use cudarc::driver::{CudaContext, result, sys};

use crate::DeviceKind;
use crate::device::raw::RawInverse;
use crate::device::{Device, Inversion, Replay};
use crate::error::{Error, Result};
use crate::math::Math;
use crate::scalar::{Dtype, Scalar};
use blas::Blas;
use factorization::Factorization;
use gemm::Gemm;
use launch::{Kernels, Launcher};
use memory::{Block, Buffer, Heap, Slice, SliceMut};
use operations::{Answers, Gpu};
use solver::Solver;
use stream::{Lane, Module, Queue};

pub use facts::{Facts, count, devices, version};
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
            Math::Bf16 => $sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_16BF,
            Math::F64 => $sys::cublasComputeType_t::CUBLAS_COMPUTE_64F,
        }
    };
}
use compute_type;

/// A GPU and the arithmetic of its products. Clones share the GPU's stream and handles.
#[derive(Clone)]
pub struct Cuda {
    shared: Rc<Shared>,
    math: Math,
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

impl Cuda {
    /// How many of the blocks of a panel are worked on at a time, at least: enough to give many of the multiprocessors
    /// of a large GPU something to do, few enough that two panels of them stay small beside the record of a batch. A
    /// batch of the study, 100 samples, is two panels.
    pub const LANES: usize = 50;

    /// The GPU number `ordinal`.
    ///
    /// # Errors
    /// [`Error::NoDevice`] says which library is missing, or that the driver knows no such GPU.
    /// [`Error::NoArithmetic`] for one that is not measured on GPUs.
    pub fn new(ordinal: usize, math: Math) -> Result<Self> {
        if !math.is_known_to(DeviceKind::Cuda) {
            return Err(Error::NoArithmetic { math, requirement: "a CPU; on a GPU use tf32" });
        }
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
        Ok(Self { shared: Rc::new(shared), math })
    }

    /// The same GPU with another arithmetic of products.
    pub fn with_math(&self, math: Math) -> Self {
        Self { shared: Rc::clone(&self.shared), math }
    }

    /// What is known of the GPU.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn facts(&self) -> Result<Facts> {
        facts::of(self.shared.context.cu_device())
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
        if self.math.dtype() == dtype { self.math } else { Math::of(dtype) }
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
}

impl<T: Scalar> RawInverse<T> for Cuda {
    type Factorization = Factorization;

    fn raw_fits(work: &Factorization, dim: usize, count: usize) -> bool {
        work.fits(dim, count)
    }

    unsafe fn raw_invert_transposed(
        &self,
        _: usize,
        a: SliceMut<'_, T>,
        out: SliceMut<'_, T>,
        work: &mut Factorization,
        report: &mut [Inversion],
    ) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { work.invert_transposed::<T>(self, [a.address(), out.address()], report) }
    }

    unsafe fn raw_log_abs_det(&self, dim: usize, a: Slice<'_, T>) -> Result<f64> {
        // SAFETY: the caller's promise.
        unsafe { factorization::log_abs_det::<T>(self, dim, a.address()) }
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

    fn in_full_precision<R>(&self, work: impl FnOnce(&Self) -> R) -> R {
        work(&self.with_math(Math::of(T::DTYPE)))
    }

    fn record(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<Option<Box<dyn Replay>>> {
        self.enter()?;
        graph::record(self, work)
    }
}

/// Turns what a library answered into an error that names the operation.
fn refused<E: Display>(operation: &'static str) -> impl Fn(E) -> Error {
    move |status| Error::Device { operation, status: status.to_string() }
}
