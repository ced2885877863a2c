//! The two working precisions.

use crate::names;
use crate::spelt::spelt;

names! {
    /// Name of a working precision.
    Dtype, "dtype", {
        /// IEEE 754 binary32.
        F32 = "f32",
        /// IEEE 754 binary64.
        F64 = "f64",
    }
}

spelt!(Dtype);

impl Dtype {
    /// Bytes of one number, `w` of MATH.md.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}
