//! cuBLASLt: a product with an addend that is not the destination, in one pass over the destination.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::cublaslt::{result as lt, sys};
use cudarc::driver::CudaStream;

use super::gemm::Gemm;
use super::{compute_type, data_type, refused};
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
    pub(super) fn new(math: Math, gemm: Gemm, addend: u64, [a, b, c]: [u64; 3]) -> Self {
        Self { math, gemm, alignments: [a, b, addend, c].map(alignment) }
    }
}

/// The largest power of two that divides an address, up to the 256 bytes that the library asks about.
fn alignment(address: u64) -> u32 {
    1 << address.trailing_zeros().min(8)
}

/// Something of the library, destroyed when dropped.
macro_rules! owned {
    ($(#[$doc:meta])* $visibility:vis $name:ident($raw:ident), $destroy:ident) => {
        $(#[$doc])*
        $visibility struct $name(sys::$raw);

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: created by the library and destroyed once, here.
                let _ = unsafe { lt::$destroy(self.0) };
            }
        }
    };
}

owned!(
    /// A handle of the library.
    pub(super) LtHandle(cublasLtHandle_t), destroy_handle
);
owned!(
    /// A descriptor of a product.
    Descriptor(cublasLtMatmulDesc_t), destroy_matmul_desc
);
owned!(
    /// A descriptor of a matrix.
    Layout(cublasLtMatrixLayout_t), destroy_matrix_layout
);
owned!(
    /// What the heuristics may count on.
    Preference(cublasLtMatmulPreference_t), destroy_matmul_pref
);

/// Sets an attribute of a descriptor to a number, which the call copies.
macro_rules! set {
    ($set:ident, $descriptor:expr, $attribute:expr, $value:expr) => {{
        let value = $value;
        // SAFETY: the descriptor is alive, and the value has the type of the attribute.
        let done = unsafe { lt::$set($descriptor.0, $attribute, (&raw const value).cast(), size_of_val(&value)) };
        done.map_err(refused(OPERATION))
    }};
}

impl LtHandle {
    pub(super) fn new() -> Result<Self> {
        lt::create_handle().map(Self).map_err(refused("starting cuBLASLt"))
    }

    /// The algorithm that the library's heuristics put first; `None` when they know none or refuse to answer, which
    /// costs a copy of the addend but no result.
    pub(super) fn plan(&self, key: &PlanKey, workspace_bytes: usize) -> Result<Option<Plan>> {
        use sys::cublasLtMatmulDescAttributes_t::{CUBLASLT_MATMUL_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSB};
        let Gemm { transposed_a, transposed_b, m, n, k, lda, ldb, ldc } = key.gemm;
        let (number, compute) = (data_type!(sys, key.math.dtype()), compute_type!(sys, key.math));
        let product = lt::create_matmul_desc(compute, number).map(Descriptor).map_err(refused(OPERATION))?;
        // CUBLAS_OP_T and CUBLAS_OP_N, which the library's documentation calls 32-bit integers here.
        set!(set_matmul_desc_attribute, product, CUBLASLT_MATMUL_DESC_TRANSA, i32::from(transposed_a))?;
        set!(set_matmul_desc_attribute, product, CUBLASLT_MATMUL_DESC_TRANSB, i32::from(transposed_b))?;
        // Layouts are of the matrices as stored.
        let layout = |rows: i64, cols: i64, transposed: bool, leading: i64| {
            let (rows, cols) = if transposed { (cols, rows) } else { (rows, cols) };
            lt::create_matrix_layout(number, rows as u64, cols as u64, leading).map(Layout).map_err(refused(OPERATION))
        };
        let (a, b) = (layout(m, k, transposed_a, lda)?, layout(k, n, transposed_b, ldb)?);
        let c = layout(m, n, false, ldc)?;
        let preference = preference(workspace_bytes, key.alignments)?;
        // SAFETY: every descriptor is alive.
        let found = unsafe { lt::get_matmul_algo_heuristic(self.0, product.0, a.0, b.0, c.0, c.0, preference.0) };
        Ok(found.ok().map(|found| Plan {
            product,
            a,
            b,
            c,
            algorithm: found.algo,
            workspace_bytes: found.workspaceSize,
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
        operands: [u64; 3],
        workspace: u64,
        stream: &Arc<CudaStream>,
    ) -> Result<()> {
        let one = T::of(1.0);
        let (alpha, one) = ((&raw const alpha).cast(), (&raw const one).cast());
        let [a, b, c] = operands.map(|address| address as *mut c_void);
        let (addend, workspace) = (addend as *const c_void, workspace as *mut c_void);
        let (algorithm, bytes, stream) = (&raw const plan.algorithm, plan.workspace_bytes, stream.cu_stream().cast());
        let (product, of) = (plan.product.0, [plan.a.0, plan.b.0, plan.c.0]);
        // SAFETY: the caller vouches for the operands; α and β = 1 are of the scale type of the plan, in host memory,
        // and read before the call returns.
        #[rustfmt::skip]
        let done = unsafe {
            lt::matmul(
                self.0, product, alpha, one, a, of[0], b, of[1], addend, of[2], c, of[2],
                algorithm, workspace, bytes, stream,
            )
        };
        done.map_err(refused(OPERATION))
    }
}

/// The descriptors of a product and its algorithm; the addend and the result have one layout.
pub(super) struct Plan {
    product: Descriptor,
    a: Layout,
    b: Layout,
    c: Layout,
    algorithm: sys::cublasLtMatmulAlgo_t,
    workspace_bytes: usize,
}

fn preference(workspace_bytes: usize, alignments: [u32; 4]) -> Result<Preference> {
    use sys::cublasLtMatmulPreferenceAttributes_t::*;
    let preference = lt::create_matmul_pref().map(Preference).map_err(refused(OPERATION))?;
    let most = CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
    set!(set_matmul_pref_attribute, preference, most, workspace_bytes as u64)?;
    let attributes = [
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
    ];
    for (attribute, bytes) in attributes.into_iter().zip(alignments) {
        set!(set_matmul_pref_attribute, preference, attribute, bytes)?;
    }
    Ok(preference)
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
