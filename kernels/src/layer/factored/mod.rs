//! Layers that keep the factors of W instead of W, so that log|det W| and W⁻¹ cost no LU: [`Plu`] and [`Qr`].
//!
//! Factors are not closed under products, so these are no groups: they have an ordinary gradient, in their own numbers.
//! All numbers of a layer are one array of D×(D+2), two triangles and two columns. What initialisation, optimisers and
//! checkpoints do with arrays they do with these; fixed numbers stand in the array with a gradient of zero.

mod host;
mod plu;
mod qr;
mod reflections;

pub use plu::Plu;
pub(crate) use qr::BLOCK;
pub use qr::Qr;

use faer::{MatMut, MatRef};

use crate::device::{Cpu, Device, How, Triangular};
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// The most rows of an array: a whole number up to here is exact in f32.
const MOST_ROWS: usize = 1 << 24;

fn require_rows(dim: usize) -> Result<()> {
    if dim > MOST_ROWS {
        return Err(Error::shape("layers of factors", format!("at most {MOST_ROWS} rows"), dim));
    }
    Ok(())
}

/// How a device multiplies with triangles.
fn how<T: Scalar>(device: &Cpu) -> How {
    How { threads: device.threads(), math: Device::<T>::math(device), block: None }
}

fn view<T: Scalar>(dim: usize, block: &[T]) -> MatRef<'_, T> {
    MatRef::from_column_major_slice(block, dim, block.len() / dim)
}

/// out ← T z for blocks of D×N.
fn multiply<T: Scalar>(device: &Cpu, t: Triangular<'_, T>, dim: usize, z: &[T], out: &mut [T]) {
    let cols = out.len() / dim;
    let out = MatMut::from_column_major_slice_mut(out, dim, cols);
    T::multiply_triangular(how::<T>(device), t, view(dim, z), out);
}

/// u_ii = s_i exp(d_i), s_i = ±1.
fn write_diagonal<T: Scalar>(logs: impl Iterator<Item = T>, signs: &[T], out: &mut [T]) -> Result<()> {
    for ((out, log), sign) in out.iter_mut().zip(logs).zip(signs) {
        let sign = sign.widen();
        if sign.abs() != 1.0 {
            return Err(Error::invalid("sign of a pivot", sign, "must be 1 or -1"));
        }
        *out = T::of(sign * libm::exp(log.widen()));
    }
    Ok(())
}

/// s_i and d_i of u_ii; the layer is singular where there are none.
fn split_diagonal<T: Scalar>(k: usize, u: f64) -> Result<(T, T)> {
    if u == 0.0 || !u.is_finite() {
        return Err(singular(k));
    }
    Ok((T::of(1f64.copysign(u)), T::of(libm::log(u.abs()))))
}

/// Of layer k, from 0.
fn singular(k: usize) -> Error {
    Error::Singular { matrix: format!("weight of layer {}", k + 1), condition: f64::INFINITY }
}
