//! What a gradient must be whose inverses are known by their products with random probes alone \[M62\].

use nalgebra::DVector;

use crate::backend::Sketched;
use crate::error::Result;
use crate::reference::{Direction, Reference};

/// The residual Wᵀ(Q − W^{-T}Ω) of a solve may be so many times what an error of η‖Q‖ in random directions would leave,
/// η‖Q‖_F‖W‖_F/√D.
const RESIDUAL: f64 = 8.0;

/// Puts C + (1/m)(W^{-T} − C)ΩΩᵀ for W^{-T} in the weights of an ordinary gradient. Returns for each by how much an
/// entry may be off: that of (1/m) E Ωᵀ is at most ‖E‖_F/√m, and ‖E‖_F is to be at most η‖W^{-T}Ω‖_F.
pub(super) fn replace(sketched: &Sketched, reference: &Reference, direction: &mut Direction) -> Result<Vec<f64>> {
    let omega = &sketched.probes;
    let count = omega.ncols() as f64;
    let mut allowed = Vec::new();
    for (k, of_weight) in direction.weights.iter_mut().enumerate() {
        let (weight, inverse) = (reference.weight(k), reference.inverse(k)?.transpose());
        let control = weight * sketched.gain(weight.nrows(), weight.norm());
        *of_weight += &control - &inverse;
        *of_weight += (&inverse - &control) * omega * omega.transpose() / count;
        allowed.push(sketched.tolerance * (inverse * omega).norm() / count.sqrt());
    }
    Ok(allowed)
}

/// The derivative of the share along R = a cᵀ, a = W e, and by how much it may be off:
///
/// ⟨C + (1/m)(W^{-T} − C)ΩΩᵀ, R⟩ = eᵀPc + aᵀC(c − Pc) with P = (1/m)ΩΩᵀ; a residual r of the solve leaves
/// (1/m) eᵀr Ωᵀc, about ‖r‖_F‖Ωᵀc‖/m for a normal e. `push` multiplies with W of layer k, whose norm is ‖W‖_F.
pub(super) fn share(
    sketched: &Sketched,
    (k, weight_norm): (usize, f64),
    [a, c, e]: [&DVector<f64>; 3],
    push: impl FnOnce(&[f64]) -> Result<DVector<f64>>,
) -> Result<(f64, f64)> {
    let omega = &sketched.probes;
    let (dim, count) = (omega.nrows() as f64, omega.ncols() as f64);
    let seen: DVector<f64> = omega.tr_mul(c);
    let projected = omega * &seen / count;
    let rest = push((c - &projected).as_slice())?;
    let control = sketched.gain(omega.nrows(), weight_norm) * a.dot(&rest);
    let residual = RESIDUAL * sketched.tolerance * sketched.sizes[k] * weight_norm / dim.sqrt();
    let allowed = residual * seen.norm() / count;
    Ok((e.dot(&projected) + control, allowed))
}
