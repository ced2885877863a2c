//! The gradient of a log-determinant-of-the-Jacobian objective, three ways, over one network definition.

pub mod error;
pub mod network;

pub use error::{Error, Result};
pub use network::{Activation, Architecture, Base, Coupling};
