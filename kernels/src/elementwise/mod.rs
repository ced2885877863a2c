//! The elementwise work of a network: nonlinearities \[M3\], \[M4\], base densities \[M5\], backward errors \[M7\],
//! \[M8\].
//!
//! Matrices are D×N and column-major with one sample per column, passed as one contiguous slice. Each operation is one
//! pass, allocates nothing, and runs on the widest vectors of the processor (AVX-512, AVX2 with FMA, Neon, or the
//! target's baseline), chosen at run time. Callers have checked shapes ([`crate::device::Device`]); those that want
//! threads split the slices between columns.
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
//! Every operation returns [`Error::InvalidParameter`] if a parameter is out of range or not a normal number in the
//! working precision. Buffers are then untouched.

mod activation;
mod combine;
mod conditional;
mod density;
mod functions;
mod inverse;
mod maps;
mod parameters;
mod real;
pub mod reference;
mod sweep;

use crate::device::Term;
use crate::error::{Error, Result};
use crate::network::{Activation, Base};

use activation::{SmoothLeaky, TanhLinear};
pub(crate) use combine::{blend, scale_and_add};
pub(crate) use conditional::{conditional_scores, standardize};
use density::{Laplace, Logistic, Normal, Sech};
pub(crate) use functions::mul_add;
use maps::{Activate, AddBias, BackwardError, BiasActivate, LogDensity, LogSlope, OutputError, Score, SlopeAndRatio};
pub(crate) use parameters::{DensityParameters, SigmaParameters};
pub use real::Real;
use sweep::{Operand, RowValues, add_column_sums, for_each};
pub(crate) use sweep::{Vectorised, vectorised};

/// Does something with the activation's own type, so that each has its own vectorised code.
macro_rules! with_sigma {
    ($activation:expr, $T:ty, $sigma:ident => $run:expr) => {
        match $activation {
            Activation::SmoothLeaky { alpha } => SmoothLeaky::<$T>::new(alpha).map(|$sigma| $run),
            Activation::TanhLinear { alpha, beta } => TanhLinear::<$T>::new(alpha, beta).map(|$sigma| $run),
        }
    };
}

/// Does something with the density's own type.
macro_rules! with_density {
    ($base:expr, $T:ty, $density:ident => $run:expr) => {
        match $base {
            Base::Normal => Ok(Normal).map(|$density| $run),
            Base::Sech { c } => Sech::<$T>::new(c).map(|$density| $run),
            Base::Logistic => Ok(Logistic).map(|$density| $run),
            Base::Laplace => Ok(Laplace).map(|$density| $run),
        }
    };
}

/// Y ← Y + b 1ᵀ, for Y of `bias.len()` ≥ 1 rows; the linear last layer of \[M1\].
pub(crate) fn add_bias<T: Real>(bias: &[T], y: &mut [T]) {
    for_each(AddBias(), [y], [Operand::Rows(&RowValues::new(bias))]);
}

/// Y ← Y + b 1ᵀ and Z ← σ(Y), \[M1\], in one pass; Y has `bias.len()` ≥ 1 rows. Without a bias Y is only read.
pub(crate) fn bias_activate<T: Real>(
    activation: Activation,
    bias: Option<&[T]>,
    y: &mut [T],
    z: &mut [T],
) -> Result<()> {
    with_sigma!(activation, T, sigma => match bias {
        Some(bias) => for_each(BiasActivate(sigma), [y, z], [Operand::Rows(&RowValues::new(bias))]),
        None => for_each(Activate(sigma), [z], [Operand::Flat(y)]),
    })
}

/// δ ← V ⊙ σ'(Y) + σ''(Y)/σ'(Y) \[M8\].
pub(crate) fn backward_error<T: Real>(activation: Activation, v: &[T], y: &[T], delta: &mut [T]) -> Result<()> {
    let read = [Operand::Flat(v), Operand::Flat(y)];
    with_sigma!(activation, T, sigma => for_each(BackwardError(sigma), [delta], read))
}

/// δ_L ← ψ(σ(Y)) ⊙ σ'(Y) + σ''(Y)/σ'(Y), the backward error of a nonlinear last layer \[M7\].
pub(crate) fn output_error<T: Real>(activation: Activation, base: Base, y: &[T], delta: &mut [T]) -> Result<()> {
    with_sigma!(activation, T, sigma => with_density!(base, T, density => {
        for_each(OutputError(sigma, density), [delta], [Operand::Flat(y)]);
    }))
    .flatten()
}

/// `slope` ← σ'(Y) and `ratio` ← σ''(Y)/σ'(Y).
pub(crate) fn slope_and_ratio<T: Real>(
    activation: Activation,
    y: &[T],
    slope: &mut [T],
    ratio: &mut [T],
) -> Result<()> {
    with_sigma!(activation, T, sigma => for_each(SlopeAndRatio(sigma), [slope, ratio], [Operand::Flat(y)]))
}

/// `psi` ← ψ(Z) = (log p)'(Z) \[M5\].
pub(crate) fn base_score<T: Real>(base: Base, z: &[T], psi: &mut [T]) -> Result<()> {
    with_density!(base, T, density => for_each(Score(density), [psi], [Operand::Flat(z)]))
}

/// Adds the sum of the terms of each column of `dim` rows to `sums`, in f64: a layer's share of L1J, or Lp \[M2\].
pub(crate) fn add_sums<T: Real>(term: Term, x: &[T], dim: usize, sums: &mut [f64]) -> Result<()> {
    match term {
        Term::LogSlope(activation) => {
            with_sigma!(activation, T, sigma => add_column_sums(LogSlope(sigma), x, dim, sums))
        }
        Term::LogDensity(base) => {
            with_density!(base, T, density => add_column_sums(LogDensity(density), x, dim, sums))
        }
    }
}

/// Y ← σ⁻¹(Z) by Newton's method \[M23\], to one or two ulp of backward error; not vectorised.
///
/// # Errors
/// [`Error::ShapeMismatch`] when the lengths differ, [`Error::InvalidParameter`].
pub fn inverse<T: Real>(activation: Activation, z: &[T], y: &mut [T]) -> Result<()> {
    if y.len() != z.len() {
        return Err(Error::shape("inverse", format!("{} elements", z.len()), format!("{} elements", y.len())));
    }
    with_sigma!(activation, T, sigma => {
        for (y, &z) in y.iter_mut().zip(z) {
            (*y, _) = inverse::invert(sigma, inverse::start(activation, z), z);
        }
    })
}

// Below the macros, which it uses.
#[cfg(test)]
mod tests;
