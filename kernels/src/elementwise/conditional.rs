//! The location–scale family of a conditional density \[M6\], element by element. Not vectorised: it stands once at the
//! end of a network.

use super::check_lengths;
use super::real::Real;
use crate::error::Result;

/// ρ ← (s − m)/τ, with log τ given.
///
/// The division is a product with exp(−log τ) in f64, so that f32 rounds once.
///
/// # Errors
/// The lengths differ.
pub fn standardize<T: Real>(s: &[T], location: &[T], log_scale: &[T], rho: &mut [T]) -> Result<()> {
    check_lengths("standardize", rho.len(), [s.len(), location.len(), log_scale.len()])?;
    for (rho, ((s, m), t)) in rho.iter_mut().zip(s.iter().zip(location).zip(log_scale)) {
        *rho = T::from_f64((s.to_f64() - m.to_f64()) * (-t.to_f64()).exp());
    }
    Ok(())
}

/// ψ ← ψ/τ = ∂ log p(s|u)/∂s and ρ ← −1 − ρψ = ∂ log p(s|u)/∂ log τ, from ψ(ρ) and ρ.
///
/// # Errors
/// The lengths differ.
pub fn conditional_scores<T: Real>(log_scale: &[T], psi: &mut [T], rho: &mut [T]) -> Result<()> {
    check_lengths("conditional_scores", log_scale.len(), [psi.len(), rho.len()])?;
    for (t, (psi, rho)) in log_scale.iter().zip(psi.iter_mut().zip(rho.iter_mut())) {
        let (score, distance) = (psi.to_f64(), rho.to_f64());
        *psi = T::from_f64(score * (-t.to_f64()).exp());
        *rho = T::from_f64(-1.0 - distance * score);
    }
    Ok(())
}
