//! The two working precisions.

pub use relgrad_vocabulary::Dtype;

use crate::device::OnHost;
use crate::elementwise::Real;

/// A working precision: f32 or f64.
pub trait Scalar: Real + OnHost + faer::traits::RealField + nalgebra::Scalar + Send + Sync + Default + 'static {
    /// Its name.
    const DTYPE: Dtype;
    /// Spacing of the numbers next to 1.
    const EPS: f64;
    /// The largest finite number.
    const LARGEST: f64;

    /// Rounds to this precision.
    #[inline]
    fn of(value: f64) -> Self {
        Self::from_f64(value)
    }

    /// Widens without error.
    #[inline]
    fn widen(self) -> f64 {
        self.to_f64()
    }
}

impl Scalar for f32 {
    const DTYPE: Dtype = Dtype::F32;
    const EPS: f64 = f32::EPSILON as f64;
    const LARGEST: f64 = f32::MAX as f64;
}

impl Scalar for f64 {
    const DTYPE: Dtype = Dtype::F64;
    const EPS: f64 = f64::EPSILON;
    const LARGEST: f64 = f64::MAX;
}
