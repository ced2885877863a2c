//! The names of the gradient backends that reports compare with.

/// The relative gradient \[M11\].
pub const RELATIVE: &str = "relative";
/// Backpropagation with the explicit inverse of each weight matrix \[M9\]: the first baseline.
pub const ORDINARY: &str = "ordinary";
/// Automatic differentiation of the full Jacobian's determinant \[M20\]: the second baseline.
pub const AUTODIFF: &str = "autodiff";
/// A calibration kernel: the matrix product W X of a cell's shape, (D×D)·(D×N), by faer itself, whatever the methods
/// use.
pub const GEMM: &str = "gemm";
/// A calibration kernel: a copy of one D×D matrix.
pub const COPY: &str = "copy";
/// The calibration kernels. Records of a kernel carry its name as their method, and stand beside those of the methods
/// at the same point, measured in turn with them.
pub const CALIBRATIONS: [&str; 2] = [GEMM, COPY];

/// Whether a name is that of a calibration kernel.
pub fn is_calibration(name: &str) -> bool {
    CALIBRATIONS.contains(&name)
}
