//! The one network definition: what the layers are, never where their numbers live.
//!
//! A network is coupling × activation × output density. Equations are those of MATH.md, cited as `[Mn]`.

pub use relgrad_vocabulary::{Activation, Base};

use crate::error::{Error, Result};
use crate::layer::{Convolution, CouplingKind, Dense, Geometry};

/// Shape and components of z = g(x), \[M1\]: L layers y = W z + b, each (or each but the last) followed by σ.
///
/// `C` is the coupling, the set of W: a type such as [`Dense`] where code is compiled for it, or [`CouplingKind`] where
/// it is known only at run time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Architecture<C = Dense> {
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
    /// Dimension d of a condition u: the output then has location and scale that are affine in u \[M6\]. Zero for a
    /// density without a condition.
    pub conditions: usize,
    /// What couples the components inside a layer.
    pub coupling: C,
}

impl Architecture {
    /// The authors' default: dense layers, s_L with α = 0.3, linear last layer, no bias, normal base.
    pub fn new(dim: usize, layers: usize) -> Self {
        Self {
            dim,
            layers,
            activation: Activation::SmoothLeaky { alpha: 0.3 },
            last_nonlinear: false,
            bias: false,
            base: Base::Normal,
            conditions: 0,
            coupling: Dense,
        }
    }
}

impl Architecture<CouplingKind> {
    /// The authors' defaults with convolutions for layers.
    pub fn convolutional(convolution: Convolution, layers: usize) -> Self {
        Architecture::new(convolution.dim(), layers).with(CouplingKind::Convolution(convolution))
    }
}

impl<C> Architecture<C> {
    /// The same network with other layers.
    pub fn with<O>(self, coupling: O) -> Architecture<O> {
        let Self { dim, layers, activation, last_nonlinear, bias, base, conditions, .. } = self;
        Architecture { dim, layers, activation, last_nonlinear, bias, base, conditions, coupling }
    }

    /// Whether σ follows layer `k`, counted from 0.
    pub fn is_nonlinear(&self, k: usize) -> bool {
        self.last_nonlinear || k + 1 < self.layers
    }
}

impl<C: Geometry> Architecture<C> {
    /// Rejects sizes and parameters for which \[M1\]–\[M6\] are undefined.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] names the parameter and what it must be; [`Error::ShapeMismatch`] for a coupling of
    /// another dimension.
    pub fn validate(&self) -> Result<()> {
        if self.dim == 0 {
            return Err(Error::invalid("dim", 0.0, "must be at least 1"));
        }
        if self.layers == 0 {
            return Err(Error::invalid("layers", 0.0, "must be at least 1"));
        }
        self.activation.validate()?;
        self.base.validate()?;
        self.coupling.validate(self.dim)
    }
}

impl From<Architecture> for Architecture<CouplingKind> {
    fn from(dense: Architecture) -> Self {
        dense.with(CouplingKind::Dense)
    }
}
