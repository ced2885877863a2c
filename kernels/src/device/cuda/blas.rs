//! cuBLAS and cuBLASLt: products, and the LU of many small matrices at a time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;

use cudarc::cublas::{result as blas, sys as blas_sys};
use cudarc::driver::{CudaStream, result as driver};

use super::gemm::Gemm;
use super::lt::{LtHandle, Plan, PlanKey};
use super::{compute_type, data_type, refused};
use crate::error::Result;
use crate::math::Math;
use crate::scalar::{Dtype, Scalar};

/// Calls the library for numbers of type `T`, which is `$Number` in the arguments, by one function or one of a pair.
macro_rules! call {
    ($operation:literal, $function:ident { $($argument:expr),+ $(,)? }) => {
        blas_sys::$function($($argument),+).result().map_err(refused($operation))
    };
    ($operation:literal, $T:ty as $Number:ident, $single:ident | $double:ident { $($argument:expr),+ $(,)? }) => {
        match <$T>::DTYPE {
            Dtype::F32 => {
                type $Number = f32;
                call!($operation, $single { $($argument),+ })
            }
            Dtype::F64 => {
                type $Number = f64;
                call!($operation, $double { $($argument),+ })
            }
        }
    };
}

/// Work memory of products, taken once: what NVIDIA recommends for Hopper. With memory of the caller's the library
/// allocates none of its own in a product, and a product can be recorded.
const WORKSPACE_BYTES: usize = 32 << 20;

/// The libraries' handles on one stream.
pub(super) struct Blas {
    handle: blas_sys::cublasHandle_t,
    lt: LtHandle,
    workspace: u64,
    plans: RefCell<HashMap<PlanKey, Option<Rc<Plan>>>>,
    /// Declared last: handles go before their stream.
    stream: Arc<CudaStream>,
}

/// The matrices of a batched factorisation, by address of what the library wants on the device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batched {
    pub(super) dim: i32,
    pub(super) count: i32,
    /// The addresses of the matrices.
    pub(super) a: u64,
    /// dim×count of i32.
    pub(super) pivots: u64,
    /// count of i32.
    pub(super) info: u64,
}

/// `count` matrices of dim×dim at `a`, side by side, of which the panel of `width` columns from `first` on is factored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trailing {
    pub(super) dim: usize,
    pub(super) count: usize,
    pub(super) first: usize,
    pub(super) width: usize,
    pub(super) a: u64,
}

impl Blas {
    pub(super) fn new(stream: &Arc<CudaStream>) -> Result<Self> {
        let failed = refused("starting cuBLAS");
        let handle = blas::create_handle().map_err(&failed)?;
        let lt = match LtHandle::new() {
            Ok(lt) => lt,
            Err(error) => {
                // SAFETY: the handle was created above and is known nowhere else.
                let _ = unsafe { blas::destroy_handle(handle) };
                return Err(error);
            }
        };
        let plans = RefCell::default();
        let mut this = Self { handle, lt, workspace: 0, plans, stream: Arc::clone(stream) };
        // SAFETY: the stream outlives the handle, see `stream`; the library only stores it.
        unsafe { blas::set_stream(handle, stream.cu_stream().cast()) }.map_err(&failed)?;
        // SAFETY: cuMemAlloc only writes the address of the new block, which `drop` frees.
        this.workspace =
            unsafe { driver::malloc_sync(WORKSPACE_BYTES) }.map_err(refused("taking cuBLAS's work memory"))?;
        // After the stream: setting that would put the library's own memory back.
        // No reduced precision but where a product asks for it by its compute type.
        // SAFETY: the block has the size that is said, and outlives the handle, which is alive.
        unsafe {
            call!("starting cuBLAS", cublasSetWorkspace_v2 { handle, this.workspace as *mut c_void, WORKSPACE_BYTES })?;
            call!("starting cuBLAS", cublasSetMathMode { handle, blas_sys::cublasMath_t::CUBLAS_DEFAULT_MATH })?;
        }
        Ok(this)
    }

    /// c ← α op(a) op(b) + β c, for the addresses of a, b and c; with β = 0 the old c is not read.
    ///
    /// # Safety
    /// The operands are device memory of the sizes that `gemm` says, and c overlaps neither a nor b.
    pub(super) unsafe fn multiply<T: Scalar>(
        &self,
        math: Math,
        gemm: &Gemm,
        (alpha, beta): (T, T),
        [a, b, c]: [u64; 3],
    ) -> Result<()> {
        let (number, compute) = (data_type!(blas_sys, T::DTYPE), compute_type!(blas_sys, math));
        let Gemm { transposed_a, transposed_b, m, n, k, lda, ldb, ldc } = *gemm;
        // SAFETY: the caller vouches for the operands. α and β are of the scale type that goes with the compute type
        // (f32 or f64), in host memory, which the handle expects and the call reads before it returns.
        unsafe {
            call! { "a product", cublasGemmEx_64 {
                self.handle, operation(transposed_a), operation(transposed_b), m, n, k,
                (&raw const alpha).cast(), a as *const c_void, number, lda, b as *const c_void, number, ldb,
                (&raw const beta).cast(), c as *mut c_void, number, ldc,
                compute, blas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            } }
        }
    }

    /// c ← addend + α op(a) op(b) in one pass over c; `false` where cuBLASLt knows no way, and nothing was done.
    ///
    /// # Safety
    /// As [`Self::multiply`]; `addend` has c's shape.
    pub(super) unsafe fn multiply_onto<T: Scalar>(
        &self,
        math: Math,
        gemm: &Gemm,
        alpha: T,
        addend: u64,
        operands: [u64; 3],
    ) -> Result<bool> {
        let key = PlanKey::new(math, *gemm, addend, operands);
        let known = self.plans.borrow().get(&key).cloned();
        let plan = match known {
            Some(plan) => plan,
            None => {
                let plan = self.lt.plan(&key, WORKSPACE_BYTES)?.map(Rc::new);
                self.plans.borrow_mut().insert(key, plan.clone());
                plan
            }
        };
        let Some(plan) = plan else { return Ok(false) };
        // SAFETY: the plan was made for operands of these shapes and alignments; the caller vouches for the rest.
        unsafe { self.lt.run(&plan, alpha, addend, operands, self.workspace, &self.stream)? };
        Ok(true)
    }

    /// PA = LU of every matrix, in place.
    ///
    /// # Safety
    /// The addresses in `batch` are device memory of the sizes it says.
    pub(super) unsafe fn factor_batch<T: Scalar>(&self, batch: Batched) -> Result<()> {
        let Batched { dim, count, a, pivots, info } = batch;
        // SAFETY: the caller vouches for the operands.
        unsafe {
            call! { "a batched factorisation", T as Number, cublasSgetrfBatched | cublasDgetrfBatched {
                self.handle, dim, a as *const *mut Number, dim, pivots as *mut i32, info as *mut i32, count,
            } }
        }
    }

    /// B ← T^{-T} B for every pair of matrices, T a triangle of the factors of [`Self::factor_batch`]; `b` has the
    /// addresses of the dim×dim right-hand sides.
    ///
    /// # Safety
    /// As [`Self::factor_batch`].
    pub(super) unsafe fn solve_triangles<T: Scalar>(&self, triangle: Triangle, batch: Batched, b: u64) -> Result<()> {
        let Batched { dim, count, a, .. } = batch;
        let (side, fill, diagonal) = triangle.flags();
        // SAFETY: the caller vouches for the operands; 1 is in host memory and read before the call returns.
        unsafe {
            call! { "a batched solve", T as Number, cublasStrsmBatched | cublasDtrsmBatched {
                self.handle, side, fill, operation(true), diagonal, dim, dim, &(1.0 as Number),
                a as *const *const Number, dim, b as *const *mut Number, dim, count,
            } }
        }
    }

    /// B ← T^{-T} B for B (rows×cols), T a triangle of the rows×rows matrix at `a`; both with leading dimension `ld`.
    ///
    /// # Safety
    /// `a` and `b` are addresses of device memory of these sizes, and do not overlap.
    pub(super) unsafe fn solve_triangle<T: Scalar>(
        &self,
        triangle: Triangle,
        (rows, cols): (i64, i64),
        [a, b]: [u64; 2],
        ld: i64,
    ) -> Result<()> {
        let (side, fill, diagonal) = triangle.flags();
        // SAFETY: the caller vouches for the operands; 1 is in host memory and read before the call returns.
        unsafe {
            call! { "a solve", T as Number, cublasStrsm_v2_64 | cublasDtrsm_v2_64 {
                self.handle, side, fill, operation(true), diagonal, rows, cols, &(1.0 as Number),
                a as *const Number, ld, b as *mut Number, ld,
            } }
        }
    }

    /// A22 ← A22 − A21 A12 for every matrix, what an LU leaves to do after a panel, in the number type's own precision.
    ///
    /// # Safety
    /// The matrices of `trailing` are device memory.
    pub(super) unsafe fn update_trailing<T: Scalar>(&self, trailing: Trailing) -> Result<()> {
        let Trailing { dim, count, first, width, a } = trailing;
        let (compute, number) = (compute_type!(blas_sys, Math::of(T::DTYPE)), data_type!(blas_sys, T::DTYPE));
        let (next, ld) = (first + width, dim as i64);
        let (rest, stride) = ((dim - next) as i64, (dim * dim) as i64);
        let at = |row: usize, col: usize| a + ((col * dim + row) * size_of::<T>()) as u64;
        let (minus_one, one) = (T::of(-1.0), T::of(1.0));
        // SAFETY: the three parts lie within each matrix, and the part that is written overlaps neither of the others.
        // α and β are of the scale type that goes with the compute type, in host memory, and read before the call
        // returns.
        unsafe {
            call! { "an update of many matrices", cublasGemmStridedBatchedEx_64 {
                self.handle, operation(false), operation(false), rest, rest, width as i64,
                (&raw const minus_one).cast(), at(next, first) as *const c_void, number, ld, stride,
                at(first, next) as *const c_void, number, ld, stride,
                (&raw const one).cast(), at(next, next) as *mut c_void, number, ld, stride,
                count as i64, compute, blas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            } }
        }
    }
}

/// A factor of an LU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Triangle {
    /// L, below the diagonal, its diagonal all ones.
    UnitLower,
    /// U, on and above the diagonal.
    Upper,
}

impl Triangle {
    /// The library's words for a solve with it from the left.
    fn flags(self) -> (blas_sys::cublasSideMode_t, blas_sys::cublasFillMode_t, blas_sys::cublasDiagType_t) {
        use blas_sys::{cublasDiagType_t as Diagonal, cublasFillMode_t as Fill, cublasSideMode_t as Side};
        let (fill, diagonal) = match self {
            Self::UnitLower => (Fill::CUBLAS_FILL_MODE_LOWER, Diagonal::CUBLAS_DIAG_UNIT),
            Self::Upper => (Fill::CUBLAS_FILL_MODE_UPPER, Diagonal::CUBLAS_DIAG_NON_UNIT),
        };
        (Side::CUBLAS_SIDE_LEFT, fill, diagonal)
    }
}

fn operation(transposed: bool) -> blas_sys::cublasOperation_t {
    if transposed { blas_sys::cublasOperation_t::CUBLAS_OP_T } else { blas_sys::cublasOperation_t::CUBLAS_OP_N }
}

impl Drop for Blas {
    fn drop(&mut self) {
        let context = self.stream.context();
        context.record_err(context.bind_to_thread());
        // SAFETY: the handle was created in `new` and is destroyed once, here.
        let _ = unsafe { blas::destroy_handle(self.handle) };
        if self.workspace != 0 {
            // SAFETY: allocated in `new` and freed once, here; cuMemFree waits for work that uses it.
            context.record_err(unsafe { driver::free_sync(self.workspace) });
        }
    }
}
