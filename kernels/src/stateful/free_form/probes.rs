//! Orthogonal probes of every sample.

use crate::init::Signs;
use crate::scalar::Scalar;

/// K orthogonal vectors of length √(D/K) a sample: signs by Gram–Schmidt. Their law has all symmetries of the signs',
/// so that E Σ vvᵀ = I.
pub(super) struct Probes<T> {
    signs: Signs,
    dim: usize,
    samples: usize,
    count: usize,
    /// K blocks of D×N side by side.
    numbers: Vec<T>,
}

impl<T: Scalar> Probes<T> {
    pub(super) fn new(signs: Signs, dim: usize, samples: usize, count: usize) -> Self {
        Self { signs, dim, samples, count, numbers: vec![T::default(); dim * samples * count] }
    }

    pub(super) fn numbers(&self) -> &[T] {
        &self.numbers
    }

    /// Draws all anew, without allocation.
    pub(super) fn draw(&mut self) {
        let Self { signs, dim, samples, count, numbers } = self;
        let (dim, block) = (*dim, *dim * *samples);
        signs.fill(numbers);
        let length = (dim as f64 / *count as f64).sqrt();
        if *count == 1 {
            return;
        }
        for sample in 0..*samples {
            let start = sample * dim;
            for probe in 0..*count {
                let (before, rest) = numbers.split_at_mut(probe * block + start);
                let own = &mut rest[..dim];
                // Signs that depend on the others leave nothing, or rounding: then others are drawn.
                while !orthogonalize(own, (0..probe).map(|other| &before[other * block + start..][..dim]), length) {
                    signs.fill(own);
                }
            }
        }
    }
}

/// Takes the parts along `others`, all of length `length`, off `own`, and gives it that length; `false` where little is
/// left.
fn orthogonalize<'a, T: Scalar>(own: &mut [T], others: impl Iterator<Item = &'a [T]> + Clone, length: f64) -> bool {
    let dot = |a: &[T], b: &[T]| a.iter().zip(b).map(|(a, b)| a.widen() * b.widen()).sum::<f64>();
    let size = dot(own, own).sqrt();
    // Twice: the first time leaves rounding of what was taken off.
    for _ in 0..2 {
        for other in others.clone() {
            let part = dot(own, other) / (length * length);
            own.iter_mut().zip(other).for_each(|(own, other)| *own = T::of(own.widen() - part * other.widen()));
        }
    }
    let left = dot(own, own).sqrt();
    let scale = length / left;
    own.iter_mut().for_each(|own| *own = T::of(scale * own.widen()));
    left > 1e-3 * size
}
