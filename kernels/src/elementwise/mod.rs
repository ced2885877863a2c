//! The elementwise work of a network: nonlinearities \[M3\], \[M4\], base densities \[M5\], backward errors \[M7\],
//! \[M8\].
//!
//! Matrices are D×N and column-major with one sample per column, passed as one contiguous slice; an operation that does
//! not care about columns takes any slice. Each operation is one pass, allocates nothing, and runs on the widest
//! vectors of the processor (AVX-512, AVX2 with FMA, Neon, or the target's baseline), chosen at run time. Callers that
//! want threads split the slices between columns.
//!
//! # Accuracy
//! σ, σ', σ''/σ' and log σ' overflow at no finite argument unless their own value does. Over |x| ≤ 10⁴ the relative
//! error of σ and σ' is at most 5·10⁻¹⁶ (f64) or 3·10⁻⁷ (f32). That of s_L is relative to |αx| + (1−α) log(1+eˣ), as
//! the two cancel near its zero. If α of s_T is not a power of two, αx is rounded too, which costs σ' a further
//! eps·α|x|·αh, h of \[M4\].
//! log σ' has absolute error 3·10⁻¹⁶ or 2·10⁻⁷ near its zeros. Parameters are rounded once to the working precision.
//!
//! # Values that are not finite
//! A NaN or an infinity among the arguments of an element makes every result of that element NaN or infinite, also
//! where the limit would be finite (σ'(∞), ψ(∞)): a lost number is never hidden.
//!
//! # Errors
//! Every operation returns [`Error::ShapeMismatch`] if lengths do not fit, and [`Error::InvalidParameter`]
//! if a parameter of the activation is out of range or not a normal number in the working precision. Buffers are then
//! untouched.

mod activation;
mod conditional;
mod density;
mod functions;
mod inverse;
mod maps;
mod parameters;
mod real;
pub mod reference;
mod sweep;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::network::{Activation, Base};

use activation::{SmoothLeaky, TanhLinear};
pub use conditional::{conditional_scores, standardize};
use density::{Laplace, Logistic, Normal, Sech};
use maps::{Activate, AddBias, BackwardError, BiasActivate, LogDensity, LogSlope, OutputError, Score, SlopeAndRatio};
pub(crate) use parameters::{DensityParameters, SigmaParameters};
pub use real::Real;
use sweep::{Operand, RowValues, add_column_sums, for_each};

/// Evaluates an expression with the activation's own type, so that each has its own vectorised code.
macro_rules! with_sigma {
    ($activation:expr, $T:ty, $sigma:ident => $run:expr) => {
        match $activation {
            Activation::SmoothLeaky { alpha } => {
                let $sigma = SmoothLeaky::<$T>::new(alpha)?;
                $run
            }
            Activation::TanhLinear { alpha, beta } => {
                let $sigma = TanhLinear::<$T>::new(alpha, beta)?;
                $run
            }
        }
    };
}

/// Evaluates an expression with the density's own type.
macro_rules! with_density {
    ($base:expr, $T:ty, $density:ident => $run:expr) => {
        match $base {
            Base::Normal => {
                let $density = Normal;
                $run
            }
            Base::Sech { c } => {
                let $density = Sech::<$T>::new(c)?;
                $run
            }
            Base::Logistic => {
                let $density = Logistic;
                $run
            }
            Base::Laplace => {
                let $density = Laplace;
                $run
            }
        }
    };
}

/// Y ← Y + b 1ᵀ, for Y of `bias.len()` rows; the linear last layer of \[M1\].
///
/// # Errors
/// `y` is not a whole number of columns, or `bias` is empty.
pub fn add_bias<T: Real>(bias: &[T], y: &mut [T]) -> Result<()> {
    check_columns("add_bias", bias.len(), y.len())?;
    for_each(AddBias, [y], [Operand::Rows(&RowValues::new(bias))]);
    Ok(())
}

/// Z ← σ(Y) \[M3\], \[M4\].
///
/// # Errors
/// `y` and `z` differ in length, or a bad parameter.
pub fn activate<T: Real>(activation: Activation, y: &[T], z: &mut [T]) -> Result<()> {
    check_lengths("activate", y.len(), [z.len()])?;
    with_sigma!(activation, T, sigma => for_each(Activate(sigma), [z], [Operand::Flat(y)]));
    Ok(())
}

/// Y ← Y + b 1ᵀ and Z ← σ(Y), \[M1\], in one pass; Y has `bias.len()` rows. Without a bias Y is only read.
///
/// # Errors
/// `y` and `z` differ in length, `y` is not a whole number of columns, `bias` is empty, or a bad parameter.
pub fn bias_activate<T: Real>(activation: Activation, bias: Option<&[T]>, y: &mut [T], z: &mut [T]) -> Result<()> {
    let Some(bias) = bias else {
        return activate(activation, y, z);
    };
    check_lengths("bias_activate", y.len(), [z.len()])?;
    check_columns("bias_activate", bias.len(), y.len())?;
    let rows = RowValues::new(bias);
    with_sigma!(activation, T, sigma => for_each(BiasActivate(sigma), [y, z], [Operand::Rows(&rows)]));
    Ok(())
}

/// δ ← V ⊙ σ'(Y) + σ''(Y)/σ'(Y) \[M8\].
///
/// # Errors
/// The lengths differ, or a bad parameter.
pub fn backward_error<T: Real>(activation: Activation, v: &[T], y: &[T], delta: &mut [T]) -> Result<()> {
    check_lengths("backward_error", y.len(), [v.len(), delta.len()])?;
    let read = [Operand::Flat(v), Operand::Flat(y)];
    with_sigma!(activation, T, sigma => for_each(BackwardError(sigma), [delta], read));
    Ok(())
}

/// δ_L ← ψ(σ(Y)) ⊙ σ'(Y) + σ''(Y)/σ'(Y), the backward error of a nonlinear last layer \[M7\].
///
/// # Errors
/// The lengths differ, or a bad parameter.
pub fn output_error<T: Real>(activation: Activation, base: Base, y: &[T], delta: &mut [T]) -> Result<()> {
    check_lengths("output_error", y.len(), [delta.len()])?;
    with_sigma!(activation, T, sigma => with_density!(base, T, density => {
        for_each(OutputError(sigma, density), [delta], [Operand::Flat(y)]);
    }));
    Ok(())
}

/// `slope` ← σ'(Y) and `ratio` ← σ''(Y)/σ'(Y).
///
/// # Errors
/// The lengths differ, or a bad parameter.
pub fn slope_and_ratio<T: Real>(activation: Activation, y: &[T], slope: &mut [T], ratio: &mut [T]) -> Result<()> {
    check_lengths("slope_and_ratio", y.len(), [slope.len(), ratio.len()])?;
    with_sigma!(activation, T, sigma => for_each(SlopeAndRatio(sigma), [slope, ratio], [Operand::Flat(y)]));
    Ok(())
}

/// `psi` ← ψ(Z) = (log p)'(Z) \[M5\].
///
/// # Errors
/// The lengths differ, or a bad parameter.
pub fn base_score<T: Real>(base: Base, z: &[T], psi: &mut [T]) -> Result<()> {
    check_lengths("base_score", z.len(), [psi.len()])?;
    with_density!(base, T, density => for_each(Score(density), [psi], [Operand::Flat(z)]));
    Ok(())
}

/// Adds Σ_i log σ'(y_i) of each column to `sums`: one layer's share of L1J \[M2\], per sample, summed in f64.
///
/// `dim` is the number of rows of Y.
///
/// # Errors
/// `y` is not `sums.len()` columns of `dim` rows, `dim` is 0, or a bad parameter.
pub fn log_slope_sums<T: Real>(activation: Activation, y: &[T], dim: usize, sums: &mut [f64]) -> Result<()> {
    check_sums("log_slope_sums", y.len(), dim, sums.len())?;
    with_sigma!(activation, T, sigma => add_column_sums(LogSlope(sigma), y, dim, sums));
    Ok(())
}

/// Adds Σ_i log p(z_i) of each column to `sums`: Lp of \[M2\], per sample, summed in f64.
///
/// `dim` is the number of rows of Z.
///
/// # Errors
/// `z` is not `sums.len()` columns of `dim` rows, `dim` is 0, or a bad parameter.
pub fn log_density_sums<T: Real>(base: Base, z: &[T], dim: usize, sums: &mut [f64]) -> Result<()> {
    check_sums("log_density_sums", z.len(), dim, sums.len())?;
    with_density!(base, T, density => add_column_sums(LogDensity(density), z, dim, sums));
    Ok(())
}

/// Y ← σ⁻¹(Z) by Newton's method \[M23\], to one or two ulp of backward error; not vectorised.
///
/// # Errors
/// The lengths differ, or a bad parameter.
pub fn inverse<T: Real>(activation: Activation, z: &[T], y: &mut [T]) -> Result<()> {
    check_lengths("inverse", z.len(), [y.len()])?;
    with_sigma!(activation, T, sigma => {
        for (y, &z) in y.iter_mut().zip(z) {
            (*y, _) = inverse::invert(sigma, inverse::start(activation, z), z);
        }
    });
    Ok(())
}

fn check_lengths<const K: usize>(operation: &'static str, expected: usize, found: [usize; K]) -> Result<()> {
    match found.into_iter().find(|&length| length != expected) {
        None => Ok(()),
        Some(length) => Err(Error::shape(operation, format!("{expected} elements in each array"), format!("{length}"))),
    }
}

fn check_columns(operation: &'static str, dim: usize, length: usize) -> Result<()> {
    if dim > 0 && length.is_multiple_of(dim) {
        Ok(())
    } else {
        Err(Error::shape(operation, format!("whole columns of {dim} ≥ 1 elements"), format!("{length} elements")))
    }
}

fn check_sums(operation: &'static str, length: usize, dim: usize, columns: usize) -> Result<()> {
    if dim > 0 && dim.checked_mul(columns) == Some(length) {
        Ok(())
    } else {
        let expected = format!("{columns} columns of {dim} ≥ 1 elements");
        Err(Error::shape(operation, expected, format!("{length} elements")))
    }
}
