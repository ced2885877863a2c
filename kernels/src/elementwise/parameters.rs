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
    kind: i32,
    alpha: T,
    rest: T,
    beta: T,
    two_alpha: T,
    four_alpha: T,
    eight_alpha_squared: T,
}

/// `Density` of `density.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct DensityParameters<T> {
    kind: i32,
    c: T,
    log_scale: T,
}

impl<T: Real> SigmaParameters<T> {
    /// # Errors
    /// [`crate::Error::InvalidParameter`], as every elementwise operation.
    pub(crate) fn new(activation: Activation) -> Result<Self> {
        match activation {
            Activation::SmoothLeaky { alpha } => {
                let SmoothLeaky { alpha, rest } = SmoothLeaky::new(alpha)?;
                Ok(Self { kind: 0, alpha, rest, ..Self::default() })
            }
            Activation::TanhLinear { alpha, beta } => {
                let TanhLinear { beta, two_alpha, four_alpha, eight_alpha_squared } = TanhLinear::new(alpha, beta)?;
                Ok(Self { kind: 1, beta, two_alpha, four_alpha, eight_alpha_squared, ..Self::default() })
            }
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
            Base::Sech { c } => Sech::new(c).map(|Sech { c, log_scale }| Self { kind: 1, c, log_scale }),
            Base::Logistic => plain(2),
            Base::Laplace => plain(3),
        }
    }
}
