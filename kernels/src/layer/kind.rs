//! The list of couplings, for where a coupling is known at run time only.

use super::{Circular, Convolution, Dense, Geometry, MaybeGroup, Plu, Pointwise, Qr, Spectral};
use crate::cost::{Cost, Sizes};
use crate::device::Cpu;
use crate::error::Result;
use crate::method::Method;
use crate::scalar::Scalar;

/// The coupling of a network whose type is known only at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CouplingKind {
    /// y = W z + b with a dense D×D matrix W.
    #[default]
    Dense,
    /// y = K ∗ z + b, circular, with one bias a channel \[M24\].
    Convolution(Convolution),
    /// W = P L U.
    Plu,
    /// W = Q U.
    Qr(Qr),
}

impl CouplingKind {
    fn geometry(&self) -> &dyn Geometry {
        match self {
            Self::Dense => &Dense,
            Self::Convolution(convolution) => convolution,
            Self::Plu => &Plu,
            Self::Qr(qr) => qr,
        }
    }

    /// The layers that a method moves, for a network whose layers are these.
    #[must_use]
    pub fn moved_by(self, method: Method) -> Self {
        match (self, method) {
            (Self::Dense, Method::Plu) => Self::Plu,
            (Self::Dense, Method::Qr) => Self::Qr(Qr::default()),
            _ => self,
        }
    }

    /// Calls `visitor` with the type that evaluates this coupling on the CPU.
    ///
    /// # Errors
    /// Those of the visitor.
    pub fn visit<T: Spectral, V: Visitor<T>>(self, visitor: V) -> Result<V::Out> {
        match self {
            Self::Dense => visitor.visit(Dense),
            Self::Convolution(convolution) if convolution.is_pointwise() => visitor.visit(Pointwise(convolution)),
            Self::Convolution(convolution) if convolution.is_full() => visitor.visit(Circular::<true>(convolution)),
            Self::Convolution(convolution) => visitor.visit(Circular::<false>(convolution)),
            Self::Plu => visitor.visit(Plu),
            Self::Qr(qr) => visitor.visit(qr),
        }
    }
}

/// Work that is generic over the type of a [`CouplingKind`].
pub trait Visitor<T: Scalar> {
    /// What comes of it.
    type Out;
    /// Does the work.
    ///
    /// # Errors
    /// Its own.
    fn visit<C: MaybeGroup<Cpu, T>>(self, coupling: C) -> Result<Self::Out>;
}

impl Geometry for CouplingKind {
    fn validate(&self, dim: usize) -> Result<()> {
        self.geometry().validate(dim)
    }

    fn weight_shape(&self, dim: usize) -> [usize; 2] {
        self.geometry().weight_shape(dim)
    }

    fn bias_len(&self, dim: usize) -> usize {
        self.geometry().bias_len(dim)
    }

    fn multiplicity(&self) -> f64 {
        self.geometry().multiplicity()
    }

    fn own_method(&self) -> Option<Method> {
        self.geometry().own_method()
    }

    fn cost(&self, method: Method, shape: &Sizes) -> Result<Cost> {
        self.geometry().cost(method, shape)
    }
}
