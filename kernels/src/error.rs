//! Everything that can go wrong in a kernel, naming the operation and the sizes.

use crate::math::Math;

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation has no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Operands do not fit together.
    #[error("{operation}: expected {expected}, got {found}")]
    ShapeMismatch {
        /// The operation that was asked for.
        operation: &'static str,
        /// The shape it needs.
        expected: String,
        /// The shape it was given.
        found: String,
    },
    /// A parameter is outside the set where the mathematics holds.
    #[error("{name} = {value} {requirement}")]
    InvalidParameter {
        /// Name of the parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it must be.
        requirement: &'static str,
    },
    /// A name that is not in the list of the things it should name.
    #[error("unknown {kind} `{name}`: expected {expected}")]
    Unknown {
        /// What was being named.
        kind: &'static str,
        /// The name.
        name: String,
        /// What would have been understood.
        expected: String,
    },
    /// An input or a result holds a NaN or an infinity.
    #[error("{what} has a value that is not finite (NaN or infinity)")]
    NonFinite {
        /// Which array.
        what: String,
    },
    /// A matrix that must be inverted is singular to working precision.
    #[error("{matrix} is singular to working precision (condition estimate {condition:.1e})")]
    Singular {
        /// Which matrix, for instance `weight of layer 2` or `Jacobian of sample 5`.
        matrix: String,
        /// Skeel condition number; infinite when elimination met a zero pivot.
        condition: f64,
    },
    /// Memory for a buffer could not be had.
    #[error("cannot allocate {bytes} bytes for {what}")]
    OutOfMemory {
        /// Size asked for.
        bytes: u128,
        /// Purpose of the buffer.
        what: String,
    },
    /// The device that was asked for is not there.
    #[error("no CUDA device: {reason}")]
    NoDevice {
        /// What is missing, and how to get it.
        reason: String,
    },
    /// The device has no instructions for products in an arithmetic.
    #[error("{math} products require {requirement}")]
    NoArithmetic {
        /// The arithmetic.
        math: Math,
        /// What has them.
        requirement: &'static str,
    },
    /// A device or one of its libraries refused an operation.
    #[error("{operation} failed on the device: {status}")]
    Device {
        /// What was asked for.
        operation: &'static str,
        /// What the library answered.
        status: String,
    },
    /// One of several ranks has failed; the others have stopped.
    #[error("rank {rank} of {ranks} failed, the others stopped: {cause}")]
    Rank {
        /// Which, from 0.
        rank: usize,
        /// How many there are.
        ranks: usize,
        /// Its error.
        cause: Box<Error>,
    },
    /// An operation between ranks did not come to its end.
    #[error("{operation} between ranks: {cause}")]
    Transport {
        /// What was asked for.
        operation: &'static str,
        /// What went wrong.
        cause: String,
    },
}

impl From<relgrad_vocabulary::Unknown> for Error {
    fn from(unknown: relgrad_vocabulary::Unknown) -> Self {
        let relgrad_vocabulary::Unknown { kind, name, expected } = unknown;
        Self::Unknown { kind, name, expected }
    }
}

impl From<relgrad_vocabulary::OutOfRange> for Error {
    fn from(parameter: relgrad_vocabulary::OutOfRange) -> Self {
        Self::invalid(parameter.name, parameter.value, parameter.requirement)
    }
}

impl Error {
    pub(crate) fn invalid(name: &'static str, value: f64, requirement: &'static str) -> Self {
        Self::InvalidParameter { name, value, requirement }
    }

    /// [`Error::Transport`]; for transports of other crates too.
    pub fn transport(operation: &'static str, cause: impl ToString) -> Self {
        Self::Transport { operation, cause: cause.to_string() }
    }

    pub(crate) fn shape(operation: &'static str, expected: impl ToString, found: impl ToString) -> Self {
        Self::ShapeMismatch { operation, expected: expected.to_string(), found: found.to_string() }
    }
}
