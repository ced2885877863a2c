//! The one network definition: what the layers are, never where their numbers live.
//!
//! Equations are those of MATH.md, cited as `[Mn]`.

use crate::error::{Error, Result};

/// An invertible, strictly increasing elementwise nonlinearity σ.
///
/// Parameters are kept in f64 and rounded once to the working precision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// s_L(x) = αx + (1−α) log(1+eˣ), 0 < α ≤ 1 \[M3\], (P.34).
    SmoothLeaky {
        /// Slope at −∞.
        alpha: f64,
    },
    /// s_T(x) = tanh(αx) + βx, α, β > 0 \[M4\], (P.35).
    TanhLinear {
        /// Scale inside the hyperbolic tangent.
        alpha: f64,
        /// Slope of the linear part.
        beta: f64,
    },
}

/// The density p_i of each latent component \[M5\].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Base {
    /// Standard normal.
    Normal,
    /// Hyperbolic secant p(s) = (c/π) sech(cs); c = π/2 has unit variance.
    Sech {
        /// Inverse scale c > 0.
        c: f64,
    },
    /// Logistic, variance π²/3.
    Logistic,
    /// Laplace, variance 2.
    Laplace,
}

impl Base {
    /// The unit-variance hyperbolic secant ½ sech(πs/2).
    pub const SECH: Self = Self::Sech { c: std::f64::consts::FRAC_PI_2 };
}

/// What couples the D components inside one layer.
///
/// Only the fully connected layer exists today; convolutions (\[M24\]–\[M27\]) will be another variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Coupling {
    /// y = W z + b with a dense D×D matrix W.
    #[default]
    Dense,
}

/// Shape and ingredients of z = g(x), \[M1\]: L layers y = W z + b, each (or each but the last) followed by σ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Architecture {
    /// Data dimension D ≥ 1.
    pub dim: usize,
    /// Number of layers L ≥ 1.
    pub layers: usize,
    /// The nonlinearity σ.
    pub activation: Activation,
    /// Whether σ follows the last layer too. Off in the authors' architecture (App. H.3), and by default.
    pub last_nonlinear: bool,
    /// Whether layers have biases b.
    pub bias: bool,
    /// Density of each latent component.
    pub base: Base,
    /// What couples the components inside a layer.
    pub coupling: Coupling,
}

impl Architecture {
    /// The authors' default: s_L with α = 0.3, linear last layer, no bias, normal base.
    pub fn new(dim: usize, layers: usize) -> Self {
        Self {
            dim,
            layers,
            activation: Activation::SmoothLeaky { alpha: 0.3 },
            last_nonlinear: false,
            bias: false,
            base: Base::Normal,
            coupling: Coupling::Dense,
        }
    }

    /// Whether σ follows layer `k`, counted from 0.
    pub fn is_nonlinear(&self, k: usize) -> bool {
        self.last_nonlinear || k + 1 < self.layers
    }

    /// Number of nonlinear layers, `ns` of \[M2\].
    pub fn nonlinear_layers(&self) -> usize {
        if self.last_nonlinear { self.layers } else { self.layers - 1 }
    }

    /// Rejects sizes and parameters for which \[M1\]–\[M5\] are undefined.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] names the parameter and what it must be.
    pub fn validate(&self) -> Result<()> {
        let positive = |name: &'static str, value: f64| {
            if value > 0.0 && value.is_finite() {
                Ok(())
            } else {
                Err(Error::invalid(name, value, "must be positive and finite"))
            }
        };
        if self.dim == 0 {
            return Err(Error::invalid("dim", 0.0, "must be at least 1"));
        }
        if self.layers == 0 {
            return Err(Error::invalid("layers", 0.0, "must be at least 1"));
        }
        match self.activation {
            Activation::SmoothLeaky { alpha } if alpha > 0.0 && alpha <= 1.0 => {}
            Activation::SmoothLeaky { alpha } => {
                return Err(Error::invalid("alpha", alpha, "must be in (0, 1] for s_L"));
            }
            Activation::TanhLinear { alpha, beta } => {
                positive("alpha", alpha)?;
                positive("beta", beta)?;
            }
        }
        if let Base::Sech { c } = self.base {
            positive("c", c)?;
        }
        Ok(())
    }
}
