//! The two working precisions.

use std::fmt;
use std::str::FromStr;

use crate::elementwise::Real;
use crate::error::Error;

/// A working precision: f32 or f64.
pub trait Scalar:
    Real + faer::traits::RealField + nalgebra::Scalar + Send + Sync + Default + 'static
{
    /// Its name.
    const DTYPE: Dtype;
    /// Spacing of the numbers next to 1.
    const EPS: f64;

    /// Rounds to this precision.
    fn of(value: f64) -> Self;

    /// Widens without error.
    fn widen(self) -> f64;
}

impl Scalar for f32 {
    const DTYPE: Dtype = Dtype::F32;
    const EPS: f64 = f32::EPSILON as f64;

    fn of(value: f64) -> Self {
        value as Self
    }

    fn widen(self) -> f64 {
        f64::from(self)
    }
}

impl Scalar for f64 {
    const DTYPE: Dtype = Dtype::F64;
    const EPS: f64 = f64::EPSILON;

    fn of(value: f64) -> Self {
        value
    }

    fn widen(self) -> f64 {
        self
    }
}

/// Name of a working precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl Dtype {
    /// Every precision.
    pub const ALL: [Self; 2] = [Self::F32, Self::F64];

    /// `f32` or `f64`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// Bytes of one number, `w` of MATH.md.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dtype {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|dtype| dtype.name() == text)
            .ok_or_else(|| Error::unknown("dtype", text, "f32, f64"))
    }
}
