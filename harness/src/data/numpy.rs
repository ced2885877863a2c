//! NumPy's legacy generator, for the noise of published preprocessing: the same seed gives NumPy's own numbers.

use rand_mt::Mt;

/// `numpy.random.RandomState(seed)`.
pub(crate) struct RandomState(Mt);

impl RandomState {
    pub(crate) fn new(seed: u32) -> Self {
        Self(Mt::new(seed))
    }

    /// `rand()`: 53 bits from two words, uniform in [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        let high = f64::from(self.0.next_u32() >> 5);
        let low = f64::from(self.0.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// `shuffle(rows)` of a two-dimensional array: whole rows of `columns` numbers, in place.
    pub(crate) fn shuffle_rows(&mut self, values: &mut [f64], columns: usize) {
        for i in (1..values.len() / columns).rev() {
            let j = self.below_or_equal(i as u32) as usize;
            if i != j {
                let (head, tail) = values.split_at_mut(i * columns);
                head[j * columns..(j + 1) * columns].swap_with_slice(&mut tail[..columns]);
            }
        }
    }

    /// Uniform in 0..=max, by masking and rejection (`random_interval` for 32 bits).
    fn below_or_equal(&mut self, max: u32) -> u32 {
        let mask = u32::MAX.checked_shr(max.leading_zeros()).unwrap_or(0);
        loop {
            let value = self.0.next_u32() & mask;
            if value <= max {
                return value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first values of `numpy.random.RandomState(42).rand(3)`, as NumPy prints them.
    #[test]
    fn uniforms_are_numpys() {
        let mut state = RandomState::new(42);
        let expected = [0.3745401188473625, 0.9507143064099162, 0.7319939418114051];
        assert_eq!([state.uniform(), state.uniform(), state.uniform()], expected);
    }

    /// `a = numpy.arange(10); numpy.random.RandomState(42).shuffle(a)`.
    #[test]
    fn shuffling_is_numpys() {
        let mut values: Vec<f64> = (0..10).flat_map(|i| [f64::from(i), f64::from(-i)]).collect();
        RandomState::new(42).shuffle_rows(&mut values, 2);
        let first: Vec<f64> = values.iter().step_by(2).copied().collect();
        assert_eq!(first, [8.0, 1.0, 5.0, 0.0, 7.0, 2.0, 9.0, 4.0, 3.0, 6.0]);
        assert!(values.chunks_exact(2).all(|row| row[0] == -row[1]));
    }
}
