//! How well sources were recovered: the Amari distance of a linear unmixing, the correlation of matched components.

/// The Amari distance of P = W A from a scaled permutation, in \[0, 1\] (Amari, Cichocki & Yang 1996, divided by its
/// largest value):
///
/// (1 / 2D(D−1)) Σ_i (Σ_j |p_ij| / max_j |p_ij| − 1) + the same of Pᵀ.
///
/// `product` has D² numbers, in rows or in columns: the distance of the transpose is the same. D = 1 has distance 0; a
/// row or column of zeros has none (NaN).
pub(super) fn amari(product: &[f64], dim: usize) -> f64 {
    if dim < 2 {
        return 0.0;
    }
    let excess = |line: &mut dyn Iterator<Item = f64>| {
        let (sum, most) = line.fold((0.0, 0.0_f64), |(sum, most), p| (sum + p.abs(), most.max(p.abs())));
        sum / most - 1.0
    };
    let of_line = |i: usize| {
        let line = &product[i * dim..(i + 1) * dim];
        let across = product.iter().skip(i).step_by(dim);
        excess(&mut line.iter().copied()) + excess(&mut across.copied())
    };
    (0..dim).map(of_line).sum::<f64>() / (2 * dim * (dim - 1)) as f64
}

/// The mean of |correlation| over the pairs of a true and a found component, paired so that it is largest; a component
/// that does not vary correlates with none. D numbers a sample in both.
pub(super) fn mean_correlation(truth: &[f64], found: &[f64], dim: usize) -> f64 {
    let correlations = correlations(truth, found, dim);
    let partner = assignment(&correlations, dim);
    partner.iter().enumerate().map(|(i, &j)| correlations[i * dim + j]).sum::<f64>() / dim as f64
}

/// |correlation| of true component i and found component j, at i·D + j.
fn correlations(truth: &[f64], found: &[f64], dim: usize) -> Vec<f64> {
    let [truth, found] = [truth, found].map(|samples| standardised(samples, dim));
    let mut sums = vec![0.0; dim * dim];
    for (s, z) in truth.chunks_exact(dim).zip(found.chunks_exact(dim)) {
        for (row, s) in sums.chunks_exact_mut(dim).zip(s) {
            row.iter_mut().zip(z).for_each(|(sum, z)| *sum += s * z);
        }
    }
    let count = (truth.len() / dim).max(1) as f64;
    sums.into_iter().map(|sum| (sum / count).abs().min(1.0)).collect()
}

/// Mean 0 and variance 1 of every component; zeros where it does not vary.
fn standardised(samples: &[f64], dim: usize) -> Vec<f64> {
    let count = (samples.len() / dim).max(1) as f64;
    let moments: Vec<(f64, f64)> = (0..dim)
        .map(|i| {
            let component = || samples.iter().skip(i).step_by(dim);
            let mean = component().sum::<f64>() / count;
            (mean, (component().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt())
        })
        .collect();
    let scaled = |(x, (mean, deviation)): (&f64, &(f64, f64))| {
        if *deviation > 0.0 { (x - mean) / deviation } else { 0.0 }
    };
    samples.iter().zip(moments.iter().cycle()).map(scaled).collect()
}

/// The partner j of every i, each once, with the largest Σ `scores[i·D + j]`, by the Hungarian method with potentials
/// (Kuhn 1955; shortest augmenting paths, O(D³)).
fn assignment(scores: &[f64], dim: usize) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    // Column `dim` is where the row that looks for a partner starts from.
    let mut row_of = vec![NONE; dim + 1];
    let (mut of_rows, mut of_columns) = (vec![0.0; dim], vec![0.0; dim + 1]);
    for row in 0..dim {
        row_of[dim] = row;
        let (mut least, mut before) = (vec![f64::INFINITY; dim], vec![dim; dim]);
        let mut seen = vec![false; dim + 1];
        let mut column = dim;
        while row_of[column] != NONE {
            seen[column] = true;
            let i = row_of[column];
            for j in (0..dim).filter(|&j| !seen[j]) {
                let slack = -scores[i * dim + j] - of_rows[i] - of_columns[j];
                if slack < least[j] {
                    (least[j], before[j]) = (slack, column);
                }
            }
            let free = (0..dim).filter(|&j| !seen[j]);
            let Some(next) = free.min_by(|&a, &b| least[a].total_cmp(&least[b])) else { break };
            let delta = least[next];
            for j in (0..=dim).filter(|&j| seen[j]) {
                of_rows[row_of[j]] += delta;
                of_columns[j] -= delta;
            }
            (0..dim).filter(|&j| !seen[j]).for_each(|j| least[j] -= delta);
            column = next;
        }
        while column != dim {
            row_of[column] = row_of[before[column]];
            column = before[column];
        }
    }
    let mut partner = vec![0; dim];
    (0..dim).filter(|&j| row_of[j] != NONE).for_each(|j| partner[row_of[j]] = j);
    partner
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use relgrad_kernels::init;

    use super::*;

    /// A permutation with scales of either sign.
    fn scaled_permutation(dim: usize) -> Vec<f64> {
        let mut product = vec![0.0; dim * dim];
        for i in 0..dim {
            product[i * dim + (3 * i + 1) % dim] = if i % 2 == 0 { 0.01 } else { -70.0 } * (i + 1) as f64;
        }
        product
    }

    #[test]
    fn a_scaled_permutation_is_at_distance_0_and_a_constant_at_1() {
        for dim in [1, 2, 5, 20] {
            assert_eq!(amari(&scaled_permutation(dim), dim), 0.0, "{dim}");
        }
        assert!((amari(&[-3.0; 49], 7) - 1.0).abs() < 1e-15);
        assert!(amari(&[0.0, 0.0, 1.0, 0.0], 2).is_nan());
        // By hand: rows 1/2 and 1/3, columns 1/3 and 1/2, over 2·2·1.
        assert!((amari(&[2.0, 1.0, 1.0, 3.0], 2) - (1.0 / 2.0 + 1.0 / 3.0) * 2.0 / 4.0).abs() < 1e-15);
    }

    /// Every way to pair rows with columns.
    fn best_by_trial(scores: &[f64], dim: usize, taken: &mut Vec<usize>) -> f64 {
        let i = taken.len();
        if i == dim {
            return 0.0;
        }
        let mut best = f64::NEG_INFINITY;
        for j in 0..dim {
            if !taken.contains(&j) {
                taken.push(j);
                best = best.max(scores[i * dim + j] + best_by_trial(scores, dim, taken));
                taken.pop();
            }
        }
        best
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        /// Neither permutations nor signs nor one factor for all change it; scales of rows do.
        #[test]
        fn the_amari_distance_does_not_see_order_sign_and_scale(dim in 2..9_usize, seed: u64, factor in 0.01..100.0) {
            let product = init::normals(seed, dim * dim);
            let distance = amari(&product, dim);
            prop_assert!((0.0..=1.0).contains(&distance));
            let moved = |i: usize| -> f64 { factor * product[(i / dim + 1) % dim * dim + (i % dim + 2) % dim] };
            let moved: Vec<f64> = (0..dim * dim).map(|i| if i % 3 == 0 { -moved(i) } else { moved(i) }).collect();
            prop_assert!((amari(&moved, dim) - distance).abs() < 1e-12);
            let transposed: Vec<f64> = (0..dim * dim).map(|i| product[i % dim * dim + i / dim]).collect();
            prop_assert!((amari(&transposed, dim) - distance).abs() < 1e-12);
        }

        /// Values on a coarse grid have ties too.
        #[test]
        fn the_assignment_is_the_best_of_all(dim in 1..7_usize, seed: u64, is_coarse: bool) {
            let round = |x: f64| if is_coarse { (3.0 * x).round() } else { x };
            let scores: Vec<f64> = init::uniforms(seed, dim * dim).into_iter().map(round).collect();
            let partner = assignment(&scores, dim);
            let mut sorted = partner.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..dim).collect::<Vec<_>>());
            let sum: f64 = partner.iter().enumerate().map(|(i, &j)| scores[i * dim + j]).sum();
            prop_assert!((sum - best_by_trial(&scores, dim, &mut Vec::new())).abs() < 1e-12);
        }
    }

    #[test]
    fn correlation_sees_through_order_sign_scale_and_offset() {
        let (dim, count) = (4, 5000);
        let truth = init::normals(1, dim * count);
        let sample = |s: &[f64]| [5.0 - 0.1 * s[2], 7.0 * s[0], s[3], -s[1]];
        let found: Vec<f64> = truth.chunks_exact(dim).flat_map(sample).collect();
        assert!((mean_correlation(&truth, &found, dim) - 1.0).abs() < 1e-12);
        // Of independent numbers it is of the order of 1/√N; here the largest of some.
        let other = mean_correlation(&truth, &init::normals(2, dim * count), dim);
        assert!(other < 4.0 / (count as f64).sqrt(), "{other}");
        // Half a component, half another one: each correlates with 1/√2.
        let mixed: Vec<f64> = truth.chunks_exact(2).flat_map(|s| [s[0] + s[1], s[0] - s[1]]).collect();
        assert!((mean_correlation(&truth, &mixed, dim) - 0.5_f64.sqrt()).abs() < 0.02);
        // A component that does not vary is none.
        let still: Vec<f64> = truth.chunks_exact(dim).flat_map(|s| [s[0], 3.0, s[2], s[1]]).collect();
        assert!((mean_correlation(&truth, &still, dim) - 0.75).abs() < 0.02);
    }
}
