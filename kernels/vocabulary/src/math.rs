//! The arithmetic of matrix products.

use crate::names;
use crate::spelt::spelt;
use crate::{DeviceKind, Dtype};

names! {
    /// How a device multiplies: never chosen silently, always a name in the record.
    Math, "arithmetic", {
        /// f32 numbers, f32 products and sums.
        F32 = "f32",
        /// f32 numbers, products of factors rounded to 11 bits on tensor cores, f32 sums. CUDA only.
        Tf32 = "tf32",
        /// f32 numbers, products of factors rounded to 8 bits, f32 sums. CPUs with AVX512-BF16 only.
        Bf16 = "bf16",
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
            Self::F32 | Self::Tf32 | Self::Bf16 => Dtype::F32,
            Self::F64 => Dtype::F64,
        }
    }

    /// Bits of a factor of a product, where they are fewer than those of the numbers: of the significand, with the
    /// first one, which is not stored.
    pub const fn factor_bits(self) -> Option<u32> {
        match self {
            Self::F32 | Self::F64 => None,
            Self::Tf32 => Some(11),
            Self::Bf16 => Some(8),
        }
    }

    /// Whether devices of a kind can have it.
    pub fn is_known_to(self, device: DeviceKind) -> bool {
        match self {
            Self::F32 | Self::F64 => true,
            Self::Tf32 => device == DeviceKind::Cuda,
            Self::Bf16 => device == DeviceKind::Cpu,
        }
    }
}
