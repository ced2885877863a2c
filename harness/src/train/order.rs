//! The order in which an epoch visits the samples, and the noise that a step adds to them.

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

/// Standard normal numbers that depend on the seed and the step alone.
pub(crate) fn noise_of_step(seed: u64, step: u64, count: usize) -> Vec<f64> {
    // Another odd multiplier than that of the order.
    init::normals(seed.wrapping_mul(0xd1b5_4a32_d192_ed03).wrapping_add(step), count)
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

    #[test]
    fn every_step_has_a_noise_of_its_own() {
        let noises = [(1, 0), (1, 1), (2, 0), (2, 1)].map(|(seed, step)| noise_of_step(seed, step, 1000));
        for (i, noise) in noises.iter().enumerate() {
            let variance = noise.iter().map(|x| x * x).sum::<f64>() / 1000.0;
            assert!((variance - 1.0).abs() < 0.2, "{variance}");
            assert!(noises[..i].iter().all(|other| other != noise));
        }
        assert_eq!(noises[0], noise_of_step(1, 0, 1000));
    }
}
