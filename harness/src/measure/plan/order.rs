//! The order of cells: shuffled within a round, from a seed.
//!
//! A shuffled order keeps a drift of the machine (heat, neighbours) from looking like a trend in D.

/// Shuffles `items` uniformly (Fisher–Yates); the same seed and round give the same order on every machine.
pub(crate) fn shuffle<T>(items: &mut [T], seed: u64, round: usize) {
    let mut generator = SplitMix64(seed ^ (round as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    for last in (1..items.len()).rev() {
        items.swap(last, generator.below(last + 1));
    }
}

/// SplitMix64 (Steele, Lea & Flood, OOPSLA 2014): small, seedable, and enough to shuffle a few hundred cells.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`. The multiply-shift has a bias below `bound`/2⁶⁴, nothing for a shuffle.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shuffled(seed: u64, round: usize) -> Vec<usize> {
        let mut items: Vec<usize> = (0..40).collect();
        shuffle(&mut items, seed, round);
        items
    }

    #[test]
    fn a_shuffle_is_a_permutation_that_the_seed_decides() {
        let mut sorted = shuffled(7, 0);
        assert_eq!(sorted, shuffled(7, 0));
        assert_ne!(sorted, shuffled(7, 1));
        assert_ne!(sorted, shuffled(8, 0));
        sorted.sort_unstable();
        assert_eq!(sorted, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn every_place_is_reached_about_equally_often() {
        // 4 items, 4000 shuffles: each item is expected 1000 times first, standard deviation 27.
        let mut first = [0usize; 4];
        for seed in 0..4000 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut items, seed, 0);
            first[items[0]] += 1;
        }
        assert!(first.iter().all(|count| (860..1140).contains(count)), "{first:?}");
    }
}
