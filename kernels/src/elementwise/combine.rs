//! Products and sums of blocks, element by element.

use super::real::Real;

/// out ← scale ⊙ out, or that + addend.
pub(crate) fn scale_and_add<T: Real>(scale: &[T], addend: Option<&[T]>, out: &mut [T]) {
    match addend {
        None => out.iter_mut().zip(scale).for_each(|(out, &scale)| *out = scale * *out),
        Some(addend) => {
            for ((out, &scale), &addend) in out.iter_mut().zip(scale).zip(addend) {
                *out = scale * *out + addend;
            }
        }
    }
}

/// out ← α a + β out.
pub(crate) fn blend<T: Real>((alpha, a): (T, &[T]), beta: T, out: &mut [T]) {
    out.iter_mut().zip(a).for_each(|(out, &a)| *out = alpha * a + beta * *out);
}
