//! Sums over all numbers of a matrix: norms, of which every in-place step takes three a layer, and whether all are
//! finite.

use std::ops::Range;

use super::shared::Shared;
use super::team::{self, Length};
use crate::elementwise::{Vectorised, vectorised};
use crate::scalar::Scalar;

/// Threads that share a norm at most: each has its sum in a place of its own, to be added in the same order every time.
const PARTS: usize = 16;

/// Fewer numbers stay on the calling thread.
const LEAST_SHARED: usize = 1 << 14;

/// Partial sums of a thread.
const LANES: usize = 32;

/// ‖a‖_F of the numbers, in f64 so that neither squares nor sums overflow.
pub(super) fn frobenius<T: Scalar>(threads: usize, a: &[T]) -> f64 {
    let parts = if a.len() < LEAST_SHARED { 1 } else { threads.clamp(1, PARTS) };
    let range = |part: usize| -> Range<usize> { a.len() * part / parts..a.len() * (part + 1) / parts };
    let mut sums = [0.0; PARTS];
    if parts == 1 {
        sums[0] = sum_of_squares(a);
    } else {
        let sums = Shared::new(&mut sums);
        team::run(parts, Length::Short, &|part| {
            // SAFETY: every part has a number of its own.
            unsafe { sums.range(part..part + 1) }.fill(sum_of_squares(&a[range(part)]));
        });
    }
    sums.iter().sum::<f64>().sqrt()
}

/// Whether no number is NaN or infinite: x·0 is 0 for the finite ones only, and a sum keeps a NaN.
pub(super) fn all_finite<T: Scalar>(numbers: &[T]) -> bool {
    const LANES: usize = 16;
    let zero = T::default();
    let mut sums = [zero; LANES];
    let (whole, rest) = numbers.as_chunks::<LANES>();
    for chunk in whole {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += x * zero;
        }
    }
    sums.iter().chain(rest).fold(zero, |sum, &x| sum + x * zero) == zero
}

fn sum_of_squares<T: Scalar>(a: &[T]) -> f64 {
    vectorised(SumOfSquares(a))
}

struct SumOfSquares<'a, T>(&'a [T]);

impl<T: Scalar> Vectorised for SumOfSquares<'_, T> {
    type Output = f64;

    // Plain loops: a closure would not be compiled for the instruction set of the function around it.
    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let (whole, rest) = self.0.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for chunk in whole {
            for i in 0..LANES {
                let x = chunk[i].widen();
                sums[i] += x * x;
            }
        }
        let mut sum = 0.0;
        for x in rest {
            sum += x.widen() * x.widen();
        }
        for part in sums {
            sum += part;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_agree_with_a_plain_sum() {
        for len in [0, 1, LANES - 1, LANES, LANES + 1, LEAST_SHARED - 1, LEAST_SHARED, 3 * LEAST_SHARED + 7] {
            let a: Vec<f32> = (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 7.0).collect();
            let expected = a.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            for threads in [1, 2, 3, PARTS + 5] {
                let found = frobenius(threads, &a);
                assert!((found - expected).abs() <= 1e-12 * expected, "{len} numbers, {threads} threads");
                assert_eq!(found.to_bits(), frobenius(threads, &a).to_bits(), "the same every time");
            }
        }
    }

    #[test]
    fn neither_large_nor_lost_numbers_are_hidden() {
        let mut a = vec![1e30_f32; LEAST_SHARED];
        let expected = 1e30 * (LEAST_SHARED as f64).sqrt();
        assert!((frobenius(2, &a) / expected - 1.0).abs() < 1e-6, "the squares overflow in f32");
        a[LEAST_SHARED - 1] = f32::NAN;
        assert!(frobenius(2, &a).is_nan());
    }
}
