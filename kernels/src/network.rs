//! The one network definition: what the layers are, never where their numbers live.
//!
//! Equations are those of MATH.md, cited as `[Mn]`.

pub use relgrad_vocabulary::{Activation, Base};

use crate::error::{Error, Result};

/// What couples the D components inside one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Coupling {
    /// y = W z + b with a dense D×D matrix W.
    #[default]
    Dense,
    /// y = K ∗ z + b, circular, with one bias a channel \[M24\]; evaluated by [`crate::convolution`].
    Convolution(Convolution),
}

/// A circular convolution: c channels in and out, on a grid of n = n₁·n₂ points, D = c·n, flattened channel-major and
/// then row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Channels c.
    pub channels: usize,
    /// n₁ rows and n₂ columns; a 1-D grid has one row.
    pub grid: [usize; 2],
    /// Taps of the kernel along each axis, r₁ and r₂. Along an axis they are 0, 1, …, ⌊r/2⌋ and then the negative ones
    /// up to −1, modulo the grid: all of them for r = n, a centred window for an odd r.
    pub kernel: [usize; 2],
}

impl Convolution {
    /// Every tap on the grid, the support of an exact relative gradient \[M27\].
    pub fn full(channels: usize, grid: [usize; 2]) -> Self {
        Self { channels, grid, kernel: grid }
    }

    /// Grid points n.
    pub fn points(&self) -> usize {
        self.grid[0].saturating_mul(self.grid[1])
    }

    /// Taps |S| of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel[0].saturating_mul(self.kernel[1])
    }

    /// D = c·n.
    pub fn dim(&self) -> usize {
        self.channels.saturating_mul(self.points())
    }

    /// Whether the kernel has every tap.
    pub fn is_full(&self) -> bool {
        self.kernel == self.grid
    }

    /// Whether the kernel mixes channels only.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1]
    }

    /// Where each tap lies on the grid, n₂·row + column, in the order of [`Self::kernel`].
    pub fn tap_positions(&self) -> Vec<usize> {
        let along = |axis: usize| {
            let (n, r) = (self.grid[axis], self.kernel[axis]);
            (0..r).map(move |j| if j <= r / 2 { j % n } else { n - (r - j) })
        };
        along(0).flat_map(|row| along(1).map(move |col| row * self.grid[1] + col)).collect()
    }

    fn validate(&self, dim: usize) -> Result<()> {
        let positive = self.channels > 0 && self.grid[0] > 0 && self.grid[1] > 0;
        let fits = |axis: usize| (1..=self.grid[axis]).contains(&self.kernel[axis]);
        if !positive {
            return Err(Error::shape("convolution", "a channel and a grid point at least", format!("{self:?}")));
        }
        if !(fits(0) && fits(1)) {
            let expected = format!("a kernel from 1×1 to {}×{} taps", self.grid[0], self.grid[1]);
            return Err(Error::shape("convolution", expected, format!("{}×{}", self.kernel[0], self.kernel[1])));
        }
        if self.dim() != dim {
            let [rows, cols] = self.grid;
            let expected = format!("D = {} channels on {rows}×{cols} points", self.channels);
            return Err(Error::shape("convolution", expected, format!("D = {dim}")));
        }
        Ok(())
    }
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

    /// The authors' defaults with convolutions for layers.
    pub fn convolutional(convolution: Convolution, layers: usize) -> Self {
        Self { coupling: Coupling::Convolution(convolution), ..Self::new(convolution.dim(), layers) }
    }

    /// What the layers convolve.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for a network whose layers are not convolutions.
    pub fn convolution(&self) -> Result<Convolution> {
        match self.coupling {
            Coupling::Convolution(convolution) => Ok(convolution),
            Coupling::Dense => Err(Error::shape("convolution", "convolution layers", "dense ones")),
        }
    }

    /// Rejects networks whose weights are not D×D matrices.
    pub(crate) fn require_dense(&self) -> Result<()> {
        match self.coupling {
            Coupling::Dense => Ok(()),
            Coupling::Convolution(_) => {
                Err(Error::shape("dense network", "dense layers", "convolutions (see `convolution`)"))
            }
        }
    }

    /// Whether σ follows layer `k`, counted from 0.
    pub fn is_nonlinear(&self, k: usize) -> bool {
        self.last_nonlinear || k + 1 < self.layers
    }

    /// Rejects sizes and parameters for which \[M1\]–\[M5\] are undefined.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] names the parameter and what it must be.
    pub fn validate(&self) -> Result<()> {
        if self.dim == 0 {
            return Err(Error::invalid("dim", 0.0, "must be at least 1"));
        }
        if self.layers == 0 {
            return Err(Error::invalid("layers", 0.0, "must be at least 1"));
        }
        self.activation.validate()?;
        self.base.validate()?;
        match self.coupling {
            Coupling::Dense => Ok(()),
            Coupling::Convolution(convolution) => convolution.validate(self.dim),
        }
    }
}
