//! Against sums in f64, at sizes on both sides of every block edge, for every instruction set of this processor.

use faer::Mat;

use super::super::tests::random;
use super::*;

/// In units of ε·Σ|a||b|: a lane adds up to 700/4 terms, each rounded once.
const BOUND: f64 = 32.0;

fn levels() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| level.is_available())
}

fn sizes() -> impl Iterator<Item = (usize, usize, usize)> {
    let small = [1, 7, 8, 15, 17, 33, 130].into_iter().flat_map(|d| (1..=17).map(move |n| (d, d + 3, n)));
    small.chain([
        (700, 513, 5),
        (513, 700, 12),
        (257, 300, MOST_SAMPLES),
        (640, 256, 1),
        (1100, 19, MOST_SAMPLES - 1),
        (1112, 40, 23),
        (3000, 20, 24),
    ])
}

/// The largest error of `found` as a sum of terms, in units of ε·Σ|terms|.
fn error<T: Scalar>(found: T, terms: impl Iterator<Item = f64>) -> f64 {
    let (sum, size) = terms.fold((0.0, f64::MIN_POSITIVE), |(sum, size), term: f64| (sum + term, size + term.abs()));
    let error = (found.widen() - sum).abs() / (T::EPS * size);
    if error.is_nan() { f64::INFINITY } else { error }
}

fn products<T: Scalar>(level: Level, (rows, cols, samples): (usize, usize, usize)) {
    let (weight, z) = (random::<T>(rows, cols, 1), random::<T>(cols, samples, 2));
    let (weight, z) = (packed(&weight), packed(&z));
    let mut out = vec![T::of(f64::NAN); rows * samples];
    let (z_stride, y) = (cols, out.as_mut_ptr());
    let pass = Push { rows, cols, samples, weight: weight.as_ptr(), z: z.as_ptr(), z_stride, y };
    let middle = rows / 3;
    // SAFETY: the level is there, the slices are those of the shapes.
    unsafe {
        push(level, &pass, 0..middle);
        push(level, &pass, middle..rows);
    }
    for n in 0..samples {
        for i in 0..rows {
            let terms = (0..cols).map(|j| weight[i + j * rows].widen() * z[j + n * cols].widen());
            let error = error(out[i + n * rows], terms);
            assert!(error <= BOUND, "{level:?}, {rows}×{cols}, {samples} samples: {error} ε at {i}, {n}");
        }
    }
}

/// Column by column.
fn packed<T: Scalar>(m: &Mat<T>) -> Vec<T> {
    m.col_iter().flat_map(|column| column.iter().copied()).collect()
}

/// With the update in place, apart, and past the caches.
fn updates<T: Scalar>(level: Level, (rows, cols, samples): (usize, usize, usize), place: usize) {
    let width = samples * (1 + (rows + samples) % 2);
    let matrix = |cols, seed| packed(&random::<T>(rows, cols, seed));
    let (mut weight, errors, left) = (matrix(cols, 3), matrix(width, 4), matrix(samples, 5));
    let old = weight.clone();
    let mut pulled = vec![T::of(f64::NAN); cols * width];
    let mut apart = vec![T::of(f64::NAN); rows * cols];
    let (alpha, beta) = (T::of(0.75), T::of(if place == 0 { 1.25 } else { 1.0 }));
    let out = if place == 0 { weight.as_mut_ptr() } else { apart.as_mut_ptr() };
    let update = WeightUpdate { left: left.as_ptr(), out, alpha, beta, most: Some(1e3), past_caches: place == 2 };
    let pass = Pull {
        rows,
        cols,
        samples,
        width,
        weight: if place == 0 { out.cast_const() } else { weight.as_ptr() },
        errors: errors.as_ptr(),
        pulled: pulled.as_mut_ptr(),
        update: Some(update),
    };
    let middle = cols / 3;
    // SAFETY: the level is there, the slices are those of the shapes.
    assert!(unsafe { pull(level, &pass, 0..middle) && pull(level, &pass, middle..cols) });
    let new = if place == 0 { &weight } else { &apart };
    for j in 0..cols {
        for n in 0..width {
            let terms = (0..rows).map(|i| old[i + j * rows].widen() * errors[i + n * rows].widen());
            let error = error(pulled[j + n * cols], terms);
            assert!(error <= BOUND, "{level:?}, {rows}×{cols}, {width} errors: {error} ε at {j}, {n}");
        }
        for i in 0..rows {
            let products = (0..samples).map(|n| left[i + n * rows].widen() * pulled[j + n * cols].widen());
            let terms = products.map(|term| alpha.widen() * term).chain([beta.widen() * old[i + j * rows].widen()]);
            let error = error(new[i + j * rows], terms);
            assert!(error <= BOUND, "{level:?}, {rows}×{cols}, {samples} samples, {place}: {error} ε at {i}, {j}");
        }
    }
}

fn check<T: Scalar>() {
    for level in levels() {
        for (i, size) in sizes().enumerate() {
            products::<T>(level, size);
            updates::<T>(level, size, i % 3);
            updates::<T>(level, size, 2);
        }
    }
}

#[test]
fn passes_are_sums_of_products() {
    check::<f32>();
    check::<f64>();
}

#[test]
fn a_row_that_is_too_large_ends_the_pass_before_it_is_written() {
    for level in levels() {
        for factor in [1e3, f32::NAN] {
            let (dim, samples) = (40, 3);
            let mut weight: Vec<f32> = packed(&random(dim, dim, 1));
            weight[20 * dim..21 * dim].iter_mut().for_each(|w| *w *= factor);
            let before = weight.clone();
            let (errors, left) = (packed(&random::<f32>(dim, samples, 2)), packed(&random::<f32>(dim, samples, 3)));
            let mut pulled = vec![0.0; dim * samples];
            let out = weight.as_mut_ptr();
            let left = left.as_ptr();
            let update = WeightUpdate { left, out, alpha: 1.0, beta: 1.0, most: Some(100.0), past_caches: false };
            let errors = errors.as_ptr();
            let pulled = pulled.as_mut_ptr();
            let (width, weight_at) = (samples, out.cast_const());
            let pass =
                Pull { rows: dim, cols: dim, samples, width, weight: weight_at, errors, pulled, update: Some(update) };
            // SAFETY: the level is there, the slices are those of the shapes.
            assert!(!unsafe { pull(level, &pass, 0..dim) });
            let same = |range: Range<usize>| {
                weight[range.clone()].iter().zip(&before[range]).all(|(a, b)| a.to_bits() == b.to_bits())
            };
            assert!(same(20 * dim..dim * dim), "{level:?}: what is too large, and what follows, is as it was");
            assert!(!same(0..dim));
        }
    }
}
