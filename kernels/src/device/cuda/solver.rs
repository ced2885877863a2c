//! cuSOLVER: LU factorisation of one matrix.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::cusolver::{result, sys};
use cudarc::driver::CudaStream;

use super::memory::{Block, Buffer, Heap};
use super::probe::{self, Library};
use super::{data_type, refused};
use crate::error::Result;
use crate::scalar::{Dtype, Scalar};

/// Calls the library.
macro_rules! call {
    ($function:ident { $($argument:expr),+ $(,)? }) => {
        sys::$function($($argument),+).result().map_err(refused("a factorisation"))
    };
}

/// The library's handle on one stream.
pub(super) struct Solver {
    handle: sys::cusolverDnHandle_t,
    parameters: sys::cusolverDnParams_t,
    /// Declared last: the handle goes before its stream.
    stream: Arc<CudaStream>,
}

/// Work memory for the LU of one D×D matrix at a time.
pub(super) struct Work {
    dim: usize,
    /// One-based row that step i swapped with row i.
    pivots: Buffer<i64>,
    /// 0, or the one-based position of a zero pivot; not read: a zero pivot shows in log|det|.
    info: Buffer<i32>,
    device: Buffer<u8>,
    host: Vec<u8>,
}

impl Solver {
    /// # Errors
    /// [`crate::Error::NoDevice`] without the library.
    pub(super) fn new(stream: &Arc<CudaStream>) -> Result<Self> {
        probe::require(&[Library::Cusolver])?;
        let failed = refused("starting cuSOLVER");
        let handle = result::dn_create().map_err(&failed)?;
        let parameters = match result::dn_create_params() {
            Ok(parameters) => parameters,
            Err(error) => {
                // SAFETY: the handle was created above and is known nowhere else.
                let _ = unsafe { result::dn_destroy(handle) };
                return Err(failed(error));
            }
        };
        let this = Self { handle, parameters, stream: Arc::clone(stream) };
        // SAFETY: the stream outlives the handle, see `stream`; the library only stores it.
        unsafe { result::dn_set_stream(handle, stream.cu_stream().cast()) }.map_err(&failed)?;
        Ok(this)
    }

    /// Work memory for matrices of `dim`×`dim` numbers of type `T`.
    pub(super) fn work<T: Scalar>(&self, memory: &Arc<Heap>, dim: usize) -> Result<Work> {
        let (mut device_bytes, mut host_bytes) = (0, 0);
        let number = data_type!(sys, T::DTYPE);
        // SAFETY: the matrix is not read, only its size and type are; the call writes two numbers of bytes.
        unsafe {
            call! { cusolverDnXgetrf_bufferSize {
                self.handle, self.parameters, dim as i64, dim as i64, number, std::ptr::null(), dim as i64, number,
                &raw mut device_bytes, &raw mut host_bytes,
            } }?;
        }
        Ok(Work {
            dim,
            pivots: Buffer::new(memory, dim, "pivots")?,
            info: Buffer::new(memory, 1, "status of a factorisation")?,
            device: Buffer::new(memory, device_bytes, "work memory of a factorisation")?,
            host: vec![0; host_bytes],
        })
    }

    /// PA = LU, in place: L below the diagonal, U on and above it, pivots in `work`.
    ///
    /// # Safety
    /// `a` is the address of as many numbers of type `T` as `work` was made for.
    pub(super) unsafe fn factor<T: Scalar>(&self, a: u64, work: &mut Work) -> Result<()> {
        let (dim, number) = (work.dim as i64, data_type!(sys, T::DTYPE));
        // SAFETY: the caller vouches for `a`; pivots, status and work memory are of the sizes that the library asked
        // for.
        unsafe {
            call! { cusolverDnXgetrf {
                self.handle, self.parameters, dim, dim, number, a as *mut c_void, dim,
                work.pivots.address() as *mut i64, number, work.device.address() as *mut c_void, work.device.len(),
                work.host.as_mut_ptr().cast(), work.host.len(), work.info.address() as *mut i32,
            } }
        }
    }
}

impl Work {
    /// The address of the pivots of the last factorisation, one-based, 64 bits each.
    pub(super) fn pivots(&self) -> u64 {
        self.pivots.address()
    }
}

impl Drop for Solver {
    fn drop(&mut self) {
        let context = self.stream.context();
        context.record_err(context.bind_to_thread());
        // SAFETY: both were created in `new` and are destroyed once, here.
        let _ = unsafe { result::dn_destroy_params(self.parameters) };
        // SAFETY: as above.
        let _ = unsafe { result::dn_destroy(self.handle) };
    }
}
