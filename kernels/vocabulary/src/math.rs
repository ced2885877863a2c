//! The arithmetic of matrix products.

use std::fmt;
use std::str::FromStr;

use crate::Dtype;
use crate::Unknown;

/// How a device multiplies: never chosen silently, always a name in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Math {
    /// f32 numbers, f32 products and sums.
    F32,
    /// f32 numbers, products of factors rounded to 11 bits on tensor cores, f32 sums. CUDA only.
    Tf32,
    /// f64 throughout.
    F64,
}

impl Math {
    /// Every arithmetic.
    pub const ALL: [Self; 3] = [Self::F32, Self::Tf32, Self::F64];

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

    /// `f32`, `tf32` or `f64`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::F64 => "f64",
        }
    }
}

impl fmt::Display for Math {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Math {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL
            .into_iter()
            .find(|math| math.name() == text)
            .ok_or_else(|| Unknown::new("arithmetic", text, "f32, tf32, f64"))
    }
}
