//! A golden network, of whatever layers.

use relgrad_kernels::{Architecture, CouplingKind};

use crate::array::{Array, Direction};
use crate::tolerance::Tolerances;

/// A network, a batch, and what must come out. Arrays of layers are as the library keeps them.
#[derive(Debug, Clone)]
pub struct Golden {
    /// Name of the case.
    pub id: String,
    /// The network.
    pub architecture: Architecture<CouplingKind>,
    /// W_k, first layer first.
    pub weights: Vec<Array>,
    /// b_k, one column; empty without biases.
    pub biases: Vec<Array>,
    /// X, D×N.
    pub x: Array,
    /// What must come out.
    pub outputs: Outputs,
    /// How close it must come.
    pub tolerances: Tolerances,
    /// The density of the outputs, where it depends on a condition.
    pub conditional: Option<Conditional>,
}

/// A location–scale density with affine m(u) = A u + a and log τ(u) = B u + c \[M6\].
#[derive(Debug, Clone)]
pub struct Conditional {
    /// u, d×N.
    pub u: Array,
    /// A, a, B, c.
    pub density: [Array; 4],
    /// dA, da, dB, dc.
    pub gradient: [Array; 4],
}

/// What the file says must come out; equations as in MATH.md.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Y_k, D×N.
    pub y: Vec<Array>,
    /// Z = g(X), D×N.
    pub z: Array,
    /// ℓ of each sample, N×1.
    pub per_sample: Array,
    /// Lp of each sample, N×1.
    pub lp: Array,
    /// L1J of each sample, N×1.
    pub l1j: Array,
    /// log|det W_k|, L×1.
    pub l2j_per_layer: Array,
    /// δ_k, D×N, per sample.
    pub delta: Vec<Array>,
    /// \[M9\], \[M26\].
    pub ordinary: Direction,
    /// \[M13\]–\[M14\], \[M27\]; layers that are no group have none.
    pub relative: Option<Direction>,
    /// \[M12\], \[M15\], where the file has it.
    pub transposed: Option<Direction>,
    /// S and g⁻¹(S), D×M, where the file has them.
    pub inverse: Option<[Array; 2]>,
}
