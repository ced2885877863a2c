//! The names of the gradient backends that reports compare with.

/// The relative gradient \[M11\].
pub const RELATIVE: &str = "relative";
/// Backpropagation with the explicit inverse of each weight matrix \[M9\]: the first baseline.
pub const ORDINARY: &str = "ordinary";
/// Automatic differentiation of the full Jacobian's determinant \[M20\]: the second baseline.
pub const AUTODIFF: &str = "autodiff";
