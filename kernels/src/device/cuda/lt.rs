//! cuBLASLt: a product with an addend that is not the destination, in one pass over the destination.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::cublaslt::{result as lt, sys};
use cudarc::driver::CudaStream;

use super::blas::Operands;
use super::gemm::Gemm;
use super::refused;
use crate::error::Result;
use crate::math::Math;
use crate::scalar::{Dtype, Scalar};

const OPERATION: &str = "a product with an addend";

/// What an algorithm depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PlanKey {
    math: Math,
    gemm: Gemm,
    /// Bytes that the addresses of a, b, the addend and c are multiples of.
    alignments: [u32; 4],
}

impl PlanKey {
    pub(super) fn new(math: Math, gemm: Gemm, addend: u64, Operands { a, b, c }: Operands) -> Self {
        Self { math, gemm, alignments: [a, b, addend, c].map(alignment) }
    }
}

/// The largest power of two that divides an address, up to the 256 bytes that the library asks about.
fn alignment(address: u64) -> u32 {
    1 << address.trailing_zeros().min(8)
}

/// A handle of the library, destroyed when dropped.
pub(super) struct LtHandle(sys::cublasLtHandle_t);

impl LtHandle {
    pub(super) fn new() -> Result<Self> {
        lt::create_handle().map(Self).map_err(refused("starting cuBLASLt"))
    }

    /// The algorithm that the library's heuristics put first; `None` when they know none or refuse to answer, which
    /// costs a copy of the addend but no result.
    pub(super) fn plan(&self, key: &PlanKey, workspace_bytes: usize) -> Result<Option<Plan>> {
        let mut plan = Plan::new(key)?;
        let preference = Preference::new(workspace_bytes, &key.alignments)?;
        // SAFETY: every descriptor is alive.
        let found = unsafe {
            let Plan { product, a, b, c, .. } = &plan;
            lt::get_matmul_algo_heuristic(self.0, product.0, a.0, b.0, c.0, c.0, preference.0)
        };
        Ok(found.ok().map(|found| {
            plan.algorithm = Some((found.algo, found.workspaceSize));
            plan
        }))
    }

    /// c ← addend + α op(a) op(b).
    ///
    /// # Safety
    /// The operands are device memory of the shapes and alignments of the plan's key, and c overlaps none of the
    /// others; `workspace` is as large as it was said to be when the plan was made.
    pub(super) unsafe fn run<T: Scalar>(
        &self,
        plan: &Plan,
        alpha: T,
        addend: u64,
        Operands { a, b, c }: Operands,
        workspace: u64,
        stream: &Arc<CudaStream>,
    ) -> Result<()> {
        let Some((algorithm, workspace_bytes)) = &plan.algorithm else { return Ok(()) };
        let one = T::of(1.0);
        // SAFETY: the caller vouches for the operands; α and β = 1 are of the scale type of the plan, in host memory,
        // and read before the call returns.
        unsafe {
            lt::matmul(
                self.0,
                plan.product.0,
                (&raw const alpha).cast(),
                (&raw const one).cast(),
                a as *const c_void,
                plan.a.0,
                b as *const c_void,
                plan.b.0,
                addend as *const c_void,
                plan.c.0,
                c as *mut c_void,
                plan.c.0,
                &raw const *algorithm,
                workspace as *mut c_void,
                *workspace_bytes,
                stream.cu_stream().cast(),
            )
        }
        .map_err(refused(OPERATION))
    }
}

impl Drop for LtHandle {
    fn drop(&mut self) {
        // SAFETY: created in `new` and destroyed once, here.
        let _ = unsafe { lt::destroy_handle(self.0) };
    }
}

/// The descriptors of a product and its algorithm; the addend and the result have one layout.
pub(super) struct Plan {
    product: Product,
    a: Layout,
    b: Layout,
    c: Layout,
    algorithm: Option<(sys::cublasLtMatmulAlgo_t, usize)>,
}

impl Plan {
    fn new(key: &PlanKey) -> Result<Self> {
        use sys::cublasLtMatmulDescAttributes_t as Attribute;
        let Gemm { transposed_a, transposed_b, m, n, k, lda, ldb, ldc } = key.gemm;
        let number = match key.math.dtype() {
            Dtype::F32 => sys::cudaDataType_t::CUDA_R_32F,
            Dtype::F64 => sys::cudaDataType_t::CUDA_R_64F,
        };
        let compute = match key.math {
            Math::F32 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            Math::Tf32 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            Math::F64 => sys::cublasComputeType_t::CUBLAS_COMPUTE_64F,
        };
        let product = lt::create_matmul_desc(compute, number).map(Product).map_err(refused(OPERATION))?;
        for (attribute, transposed) in [
            (Attribute::CUBLASLT_MATMUL_DESC_TRANSA, transposed_a),
            (Attribute::CUBLASLT_MATMUL_DESC_TRANSB, transposed_b),
        ] {
            // CUBLAS_OP_T and CUBLAS_OP_N, which the library's documentation calls 32-bit integers here.
            let operation = i32::from(transposed);
            // SAFETY: the attribute is a 32-bit operation, which the call copies.
            unsafe {
                lt::set_matmul_desc_attribute(
                    product.0,
                    attribute,
                    (&raw const operation).cast(),
                    size_of_val(&operation),
                )
            }
            .map_err(refused(OPERATION))?;
        }
        let layout = |rows: i64, cols: i64, leading: i64| {
            lt::create_matrix_layout(number, rows as u64, cols as u64, leading).map(Layout).map_err(refused(OPERATION))
        };
        // Layouts are of the matrices as stored.
        let stored = |rows, cols, transposed| if transposed { (cols, rows) } else { (rows, cols) };
        let (a, b) = (stored(m, k, transposed_a), stored(k, n, transposed_b));
        Ok(Self {
            product,
            a: layout(a.0, a.1, lda)?,
            b: layout(b.0, b.1, ldb)?,
            c: layout(m, n, ldc)?,
            algorithm: None,
        })
    }
}

/// A descriptor of a product, destroyed when dropped.
struct Product(sys::cublasLtMatmulDesc_t);

impl Drop for Product {
    fn drop(&mut self) {
        // SAFETY: created by the library and destroyed once, here.
        let _ = unsafe { lt::destroy_matmul_desc(self.0) };
    }
}

/// A descriptor of a matrix, destroyed when dropped.
struct Layout(sys::cublasLtMatrixLayout_t);

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: created by the library and destroyed once, here.
        let _ = unsafe { lt::destroy_matrix_layout(self.0) };
    }
}

/// What the heuristics may count on, destroyed when dropped.
struct Preference(sys::cublasLtMatmulPreference_t);

impl Preference {
    fn new(workspace_bytes: usize, alignments: &[u32; 4]) -> Result<Self> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Attribute;
        let preference = lt::create_matmul_pref().map(Self).map_err(refused(OPERATION))?;
        let workspace_bytes = workspace_bytes as u64;
        // SAFETY: the attribute is a 64-bit number of bytes, which the call copies.
        unsafe {
            lt::set_matmul_pref_attribute(
                preference.0,
                Attribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                (&raw const workspace_bytes).cast(),
                size_of::<u64>(),
            )
        }
        .map_err(refused(OPERATION))?;
        let attributes = [
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ];
        for (attribute, bytes) in attributes.into_iter().zip(alignments) {
            // SAFETY: the attribute is a 32-bit number of bytes, which the call copies.
            unsafe {
                lt::set_matmul_pref_attribute(preference.0, attribute, (&raw const *bytes).cast(), size_of::<u32>())
            }
            .map_err(refused(OPERATION))?;
        }
        Ok(preference)
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: created by the library and destroyed once, here.
        let _ = unsafe { lt::destroy_matmul_pref(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::alignment;

    #[test]
    fn alignments_are_powers_of_two_up_to_256() {
        let of = [(0x1000, 256), (0x1100, 256), (0x1080, 128), (0x1010, 16), (0x1004, 4), (0x1001, 1)];
        for (address, bytes) in of {
            assert_eq!(alignment(address), bytes, "{address:#x}");
        }
    }
}
