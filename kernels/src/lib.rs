//! The gradient of a log-likelihood with a Jacobian determinant, in three ways, over one network definition.
//!
//! A deep density model z = g(x) of L fully connected D×D layers (or circular convolutions) is trained on log p(x) = Σ
//! log p_i(g_i(x)) + log|det J_g(x)|. This crate evaluates that log-likelihood and its gradient. Equations are those of
//! `kernels/MATH.md`, cited as `[Mn]`; `(P.n)` are the paper's (Gresele, Fissore, Javaloy, Schölkopf, Hyvärinen,
//! NeurIPS 2020).
//!
//! * [`network`]: the definition of a network. [`layer`]: its couplings. [`parameters`]: its numbers on a device.
//!   [`init`]: seeded numbers.
//! * [`device`]: some forty in-place operations, and their implementations for the CPU and CUDA.
//! * [`backend`]: the gradient backends, each written once over [`device::Device`] and [`layer::Coupling`]. [`bound`]:
//!   from a method's name to its backend.
//!
//! The crate reads no clock, file or command line.

pub mod agreement;
pub mod backend;
pub mod bound;
pub mod check;
pub mod cost;
pub mod device;
pub mod elementwise;
pub mod error;
pub mod evaluation;
pub mod forward;
pub mod gaussian;
pub mod init;
pub mod inversion;
pub mod layer;
pub mod likelihood;
pub mod network;
pub mod optimizer;
mod output;
pub mod parameters;
pub mod ranks;
pub mod reference;
pub mod scalar;
pub mod stateful;
pub mod step;

pub use cost::{Cost, cost, cost_on};
pub use device::{Cpu, Cuda};
pub use error::{Error, Result};
pub use init::Init;
pub use layer::{Convolution, CouplingKind, Dense};
pub use network::Architecture;
pub use relgrad_vocabulary::{
    Activation, Base, DeviceKind, Dtype, Math, Method, Tuned, Tuning, UpdateRule, math, method,
};
pub use scalar::Scalar;

/// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
