//! What the columns of samples are like: which do not vary, and which follow from others. No density of full dimension
//! fits such data, and scaling them to 1 would make a likelihood out of rounding.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef};
use relgrad_kernels::init;

use crate::data::{CONSTANT, Samples};

/// Most columns for which dependence is looked for without being asked: D³/3 operations.
pub(super) const MOST_EXAMINED: usize = 1024;

/// Moments and extremes of every column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Columns {
    pub(super) mean: Vec<f64>,
    /// Population standard deviation.
    pub(super) deviation: Vec<f64>,
    smallest: Vec<f64>,
    largest: Vec<f64>,
}

impl Columns {
    pub(super) fn of(samples: &Samples) -> Self {
        let (dim, count) = (samples.dim, samples.count() as f64);
        let (mut mean, mut square) = (vec![0.0; dim], vec![0.0; dim]);
        let (mut smallest, mut largest) = (vec![f64::INFINITY; dim], vec![f64::NEG_INFINITY; dim]);
        for sample in samples.iter() {
            for (j, &x) in sample.iter().enumerate() {
                mean[j] += x / count;
                smallest[j] = smallest[j].min(x);
                largest[j] = largest[j].max(x);
            }
        }
        for sample in samples.iter() {
            for (square, (x, mean)) in square.iter_mut().zip(sample.iter().zip(&mean)) {
                *square += (x - mean).powi(2) / count;
            }
        }
        let deviation = square.into_iter().map(f64::sqrt).collect();
        Self { mean, deviation, smallest, largest }
    }

    /// Halfway between the smallest and the largest value.
    pub(super) fn middle(&self, j: usize) -> f64 {
        self.smallest[j] + 0.5 * (self.largest[j] - self.smallest[j])
    }

    /// The largest value without its sign.
    pub(super) fn magnitude(&self, j: usize) -> f64 {
        self.largest[j].max(-self.smallest[j])
    }

    /// Whether a column does not vary, but for rounding in numbers whose spacing next to 1 is `eps`. Its extremes tell:
    /// a mean of equal numbers is not quite one of them.
    pub(super) fn is_constant(&self, j: usize, eps: f64) -> bool {
        self.largest[j] - self.smallest[j] <= CONSTANT.max(16.0 * eps) * self.magnitude(j)
    }

    /// Whether every value of a column is its smallest or its largest.
    pub(super) fn has_two_values(&self, samples: &Samples, j: usize) -> bool {
        samples.iter().all(|sample| sample[j] == self.smallest[j] || sample[j] == self.largest[j])
    }

    pub(super) fn constant(&self, eps: f64) -> Vec<usize> {
        (0..self.mean.len()).filter(|&j| self.is_constant(j, eps)).collect()
    }
}

/// The share of the samples with the value that more than half of them have; 0 where there is none. Boyer and Moore's
/// vote.
pub(super) fn most_frequent(samples: &Samples, j: usize) -> f64 {
    let (mut candidate, mut votes) = (f64::NAN, 0_usize);
    for x in samples.iter().map(|sample| sample[j]) {
        match votes {
            0 => (candidate, votes) = (x, 1),
            _ if x == candidate => votes += 1,
            _ => votes -= 1,
        }
    }
    let times = samples.iter().filter(|sample| sample[j] == candidate).count();
    if 2 * times > samples.count() { times as f64 / samples.count() as f64 } else { 0.0 }
}

/// A column that follows from those before it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dependent {
    pub(super) column: usize,
    /// The columns that it is a combination of, with a constant.
    pub(super) on: Vec<usize>,
}

/// The columns that are combinations of columns before them, up to rounding in numbers whose spacing next to 1 is
/// `eps`. Columns that do not vary are left out.
pub(super) fn dependent(samples: &Samples, columns: &Columns, eps: f64) -> Vec<Dependent> {
    let most = (4 * samples.dim).max(1000);
    let few = super::start::evenly_spaced(samples, most);
    let found = combinations(&correlation(&few, columns, eps), eps);
    // What does not hold for a part of the samples does not hold for all; the other way round it may.
    if found.is_empty() || few.count() == samples.count() {
        return found;
    }
    combinations(&correlation(samples, columns, eps), eps)
}

/// The columns that are an earlier one times a factor plus a constant, up to rounding as of [`dependent`]: O(ND), where
/// all combinations take O(ND²). Columns that do not vary are left out.
pub(super) fn repeated(samples: &Samples, columns: &Columns, eps: f64) -> Vec<Dependent> {
    let least = least_share(samples.dim, eps);
    // Standardised columns of one direction have one product with random numbers, but for its sign.
    let draws = init::normals(0x7265_7065_6174, samples.count());
    let scale = 1.0 / (samples.count() as f64).sqrt();
    let mut products = vec![0.0; samples.dim];
    for (sample, draw) in samples.iter().zip(&draws) {
        products.iter_mut().zip(sample).enumerate().for_each(|(j, (sum, x))| *sum += draw * (x - columns.mean[j]));
    }
    let varies = (0..samples.dim).filter(|&j| !columns.is_constant(j, eps));
    let mut order: Vec<(f64, usize)> = varies.map(|j| (products[j] * scale / columns.deviation[j], j)).collect();
    order.sort_by(|a, b| a.0.abs().total_cmp(&b.0.abs()).then(a.1.cmp(&b.1)));
    // Six deviations of what rounding makes of a product.
    let near = 6.0 * least.sqrt();
    // Columns of different directions, each with those of its own.
    let mut groups: Vec<((f64, usize), Vec<usize>)> = Vec::new();
    for (product, j) in order {
        let candidates = groups.iter_mut().rev().take_while(|((other, _), _)| product.abs() - other.abs() <= near);
        let is_same = |((other, k), _): &&mut ((f64, usize), Vec<usize>)| {
            distance(samples, columns, [j, *k], (product * other).signum()) <= least
        };
        match candidates.into_iter().find(is_same) {
            Some((_, group)) => group.push(j),
            None => groups.push(((product, j), vec![j])),
        }
    }
    let mut found = Vec::new();
    for (_, mut group) in groups {
        group.sort_unstable();
        found.extend(group[1..].iter().map(|&column| Dependent { column, on: vec![group[0]] }));
    }
    found.sort_by_key(|one| one.column);
    found
}

/// Mean square of the difference of two standardised columns, the second with a sign.
fn distance(samples: &Samples, columns: &Columns, pair: [usize; 2], sign: f64) -> f64 {
    let of = |sample: &[f64], j: usize| (sample[j] - columns.mean[j]) / columns.deviation[j];
    let square = |sample: &[f64]| (of(sample, pair[0]) - sign * of(sample, pair[1])).powi(2);
    samples.iter().map(square).sum::<f64>() / samples.count() as f64
}

/// Whether two columns have the same numbers.
pub(super) fn are_equal(samples: &Samples, a: usize, b: usize) -> bool {
    samples.iter().all(|sample| sample[a] == sample[b])
}

/// Square of the share of a column that does not follow from others, at most where it does: rounding of D products,
/// and what the precision of training cannot tell from 0.
fn least_share(dim: usize, eps: f64) -> f64 {
    (64.0 * dim as f64 * f64::EPSILON).max((16.0 * eps).powi(2))
}

/// Correlations; those of a column that does not vary are 0.
fn correlation(samples: &Samples, columns: &Columns, eps: f64) -> Mat<f64> {
    const CHUNK: usize = 1024;
    let dim = samples.dim;
    let scale = |j: usize| if columns.is_constant(j, eps) { 0.0 } else { 1.0 / columns.deviation[j] };
    let scales: Vec<f64> = (0..dim).map(scale).collect();
    let mut correlation = Mat::<f64>::zeros(dim, dim);
    for chunk in samples.values.chunks(dim * CHUNK) {
        let moments = columns.mean.iter().zip(&scales).cycle();
        let scaled: Vec<f64> = chunk.iter().zip(moments).map(|(x, (mean, scale))| (x - mean) * scale).collect();
        let block = MatRef::from_column_major_slice(&scaled, dim, scaled.len() / dim);
        let par = faer::get_global_parallelism();
        let share = 1.0 / samples.count() as f64;
        matmul(correlation.as_mut(), Accum::Add, block, block.transpose(), share, par);
    }
    correlation
}

/// Cholesky's factorisation, column after column, that leaves out those of which nothing is left.
fn combinations(correlation: &Mat<f64>, eps: f64) -> Vec<Dependent> {
    let dim = correlation.nrows();
    let least = least_share(dim, eps);
    let (mut kept, mut rows) = (Vec::<usize>::new(), Vec::<Vec<f64>>::new());
    let mut found = Vec::new();
    for column in 0..dim {
        let variance = correlation[(column, column)];
        if variance == 0.0 {
            continue;
        }
        let mut row: Vec<f64> = Vec::with_capacity(kept.len() + 1);
        for (other, factor) in kept.iter().zip(&rows) {
            let known: f64 = row.iter().zip(factor).map(|(a, b)| a * b).sum();
            row.push((correlation[(column, *other)] - known) / factor[row.len()]);
        }
        let left = variance - row.iter().map(|x| x * x).sum::<f64>();
        if left > least * variance {
            row.push(left.sqrt());
            rows.push(row);
            kept.push(column);
        } else {
            found.push(Dependent { column, on: factors(&row, &rows, &kept) });
        }
    }
    found
}

/// The columns with a share in a combination: c of Lᵀc = l.
fn factors(row: &[f64], rows: &[Vec<f64>], kept: &[usize]) -> Vec<usize> {
    const SHARE: f64 = 1e-3;
    let mut shares = row.to_vec();
    for k in (0..shares.len()).rev() {
        shares[k] /= rows[k][k];
        let share = shares[k];
        shares[..k].iter_mut().zip(&rows[k]).for_each(|(x, l)| *x -= share * l);
    }
    kept.iter().zip(shares).filter(|(_, share)| share.abs() > SHARE).map(|(column, _)| *column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of independent normals, mapped.
    fn samples<const D: usize>(count: usize, map: impl Fn([f64; 3]) -> [f64; D]) -> Samples {
        let z = init::normals(11, 3 * count);
        Samples { dim: D, values: z.as_chunks::<3>().0.iter().flat_map(|z| map(*z)).collect() }
    }

    #[test]
    fn columns_that_do_not_vary_are_found_at_every_magnitude() {
        let noise = |x: f64| x * f64::EPSILON;
        let data = samples(3000, |[x, y, z]| {
            [
                x,
                1e9,
                1e-30,
                0.0,
                5.0 + 5.0 * noise(y),
                1e9 + 1e9 * noise(z),
                -1e300,
                1.7e9 + y,
                1e-30 * z,
                1.0 + 1e-9 * x,
            ]
        });
        assert_eq!(Columns::of(&data).constant(f64::EPSILON), [1, 2, 3, 4, 5, 6]);
        // What f32 makes of it: also those that differ in the seventh digit.
        assert_eq!(Columns::of(&data).constant(f64::from(f32::EPSILON)), [1, 2, 3, 4, 5, 6, 7, 9]);
        let once = Samples { dim: 2, values: [0.1, 0.3].repeat(100_000) };
        assert_eq!(Columns::of(&once).constant(f64::EPSILON), [0, 1]);
    }

    #[test]
    fn columns_that_follow_from_others_are_found_with_what_they_follow_from() {
        let data = samples(3000, |[x, y, z]| {
            [1e6 * x, 3.0, y, 1e6 * x, 2.0 * y + 1.0, z, x - 1e3 * y + 0.5 * z, y * y, x + 1e-3 * z * z]
        });
        let found = dependent(&data, &Columns::of(&data), f64::EPSILON);
        let expected = [(3, vec![0]), (4, vec![2]), (6, vec![0, 2, 5])];
        let of = |(column, on): (usize, Vec<usize>)| Dependent { column, on };
        // x has a thousandth of the share of y in column 6.
        assert_eq!(found[..2], expected[..2].iter().cloned().map(of).collect::<Vec<_>>());
        assert!(found.len() == 3 && found[2].column == 6 && found[2].on.contains(&2), "{found:?}");
        // Pairs alone, without combinations of three.
        let pairs = repeated(&data, &Columns::of(&data), f64::EPSILON);
        assert_eq!(pairs, found[..2]);
        assert!(are_equal(&data, 0, 3) && !are_equal(&data, 2, 4));
        // An event that is rare is constant in a part of the samples and no combination in all of them.
        let mut rare = samples(3000, |[x, y, _]| [x, y, 0.0]);
        rare.values[3 * 1501 + 2] = 1.0;
        assert_eq!(dependent(&rare, &Columns::of(&rare), f64::EPSILON), []);
    }

    /// Two thousand columns of noise, every third of which repeats one before it, turned round, scaled and far from 0.
    /// Tolerances of f32 and f64 find the same; what differs by a hundredth of a per cent is another column.
    #[test]
    fn repeated_columns_are_found_among_many() {
        let (dim, count) = (2001, 60);
        let noise = init::normals(5, dim * count);
        let mut data = Samples { dim, values: noise };
        for n in 0..count {
            data.values[n * dim + 1] = data.values[n * dim] + 1e-4 * data.values[n * dim + 3];
        }
        let mut expected = Vec::new();
        for j in (2..dim).step_by(3) {
            let from = j / 2;
            let factor = if j % 2 == 0 { -3.0 } else { 1e-3 };
            for n in 0..count {
                data.values[n * dim + j] = factor * data.values[n * dim + from] + if j % 4 == 0 { 7.0 } else { 0.0 };
            }
            expected.push(j);
        }
        for eps in [f64::EPSILON, f64::from(f32::EPSILON)] {
            let found = repeated(&data, &Columns::of(&data), eps);
            let columns: Vec<usize> = found.iter().map(|one| one.column).collect();
            assert_eq!(columns, expected, "{eps}");
            assert!(found.iter().all(|one| one.on.len() == 1 && one.on[0] < one.column));
        }
    }
}
