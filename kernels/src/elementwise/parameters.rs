//! The parameters of activations and densities as a GPU kernel takes them: validated and rounded by the same code as on
//! the CPU, laid out like the structs of `activation.cu` and `density.cu`.

use crate::error::Result;
use crate::network::{Activation, Base};

use super::activation::{SmoothLeaky, TanhLinear};
use super::density::Sech;
use super::real::Real;

/// `Sigma` of `activation.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct SigmaParameters<T> {
    pub(super) kind: i32,
    pub(super) alpha: T,
    pub(super) rest: T,
    pub(super) beta: T,
    pub(super) two_alpha: T,
    pub(super) four_alpha: T,
    pub(super) eight_alpha_squared: T,
}

/// `Density` of `density.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct DensityParameters<T> {
    pub(super) kind: i32,
    pub(super) c: T,
    pub(super) log_scale: T,
}

impl<T: Real> SigmaParameters<T> {
    /// # Errors
    /// [`crate::Error::InvalidParameter`], as every elementwise operation.
    pub(crate) fn new(activation: Activation) -> Result<Self> {
        match activation {
            Activation::SmoothLeaky { alpha } => SmoothLeaky::<T>::new(alpha).map(SmoothLeaky::parameters),
            Activation::TanhLinear { alpha, beta } => TanhLinear::<T>::new(alpha, beta).map(TanhLinear::parameters),
        }
    }
}

impl<T: Real> DensityParameters<T> {
    /// # Errors
    /// [`crate::Error::InvalidParameter`], as every elementwise operation.
    pub(crate) fn new(base: Base) -> Result<Self> {
        let plain = |kind| Ok(Self { kind, ..Self::default() });
        match base {
            Base::Normal => plain(0),
            Base::Sech { c } => Sech::<T>::new(c).map(Sech::parameters),
            Base::Logistic => plain(2),
            Base::Laplace => plain(3),
        }
    }
}
