//! The location–scale family of a conditional density \[M6\], element by element. Not vectorised: it stands once at the
//! end of a network.

use super::real::Real;

/// s ← (s − m)/τ, with log τ given.
///
/// The division is a product with exp(−log τ) in f64, so that f32 rounds once.
pub(crate) fn standardize<T: Real>(s: &mut [T], location: &[T], log_scale: &[T]) {
    for ((s, m), t) in s.iter_mut().zip(location).zip(log_scale) {
        *s = T::from_f64((s.to_f64() - m.to_f64()) * (-t.to_f64()).exp());
    }
}

/// ψ ← ψ/τ = ∂ log p(s|u)/∂s and ρ ← −1 − ρψ = ∂ log p(s|u)/∂ log τ, from ψ(ρ) and ρ.
pub(crate) fn conditional_scores<T: Real>(log_scale: &[T], psi: &mut [T], rho: &mut [T]) {
    for ((t, psi), rho) in log_scale.iter().zip(psi).zip(rho) {
        let (score, distance) = (psi.to_f64(), rho.to_f64());
        *psi = T::from_f64(score * (-t.to_f64()).exp());
        *rho = T::from_f64(-1.0 - distance * score);
    }
}
