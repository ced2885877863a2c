//! The order in which an epoch visits the samples.

use relgrad_kernels::init;

/// A permutation of `count` samples that depends on the seed and the epoch alone, so that a resumed training goes on
/// where it stopped.
pub(crate) fn of_epoch(seed: u64, epoch: usize, count: usize) -> Vec<u32> {
    // The odd multiplier spreads neighbouring seeds, so that seed 1 at epoch 2 is not seed 2 at epoch 1.
    let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(epoch as u64);
    let uniforms = init::uniforms(seed, count);
    let mut order: Vec<u32> = (0..count as u32).collect();
    for i in (1..count).rev() {
        order.swap(i, (uniforms[i] * (i + 1) as f64) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_comes_once_in_an_order_of_its_own() {
        let orders = [(1, 0), (1, 1), (2, 0), (2, 1)].map(|(seed, epoch)| of_epoch(seed, epoch, 100));
        for (i, order) in orders.iter().enumerate() {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..100).collect::<Vec<u32>>());
            assert!(orders[..i].iter().all(|other| other != order));
        }
        assert_eq!(orders[0], of_epoch(1, 0, 100));
        assert_eq!(of_epoch(1, 0, 1), [0]);
    }
}
