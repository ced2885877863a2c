//! The arithmetic of matrix products.

use crate::Dtype;
use crate::names;
use crate::spelt::spelt;

names! {
    /// How a device multiplies: never chosen silently, always a name in the record.
    Math, "arithmetic", {
        /// f32 numbers, f32 products and sums.
        F32 = "f32",
        /// f32 numbers, products of factors rounded to 11 bits on tensor cores, f32 sums. CUDA only.
        Tf32 = "tf32",
        /// f64 throughout.
        F64 = "f64",
    }
}

spelt!(Math);

impl Math {
    /// The arithmetic that is exact to the numbers' own precision.
    pub const fn of(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F64 => Self::F64,
        }
    }

    /// The type of the numbers.
    pub const fn dtype(self) -> Dtype {
        match self {
            Self::F32 | Self::Tf32 => Dtype::F32,
            Self::F64 => Dtype::F64,
        }
    }
}
