//! Work on panels: D×D blocks side by side, one per sample (the Jacobians of \[M20\]–\[M21\]).
//!
//! Samples are independent, so the threads share the samples and each block is done by one of them: by whoever is free,
//! since a core that a neighbour takes for a moment would otherwise keep all waiting.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::factor::{self, Lane};
use super::shared::Shared;
use super::team::{self, Length};
use crate::device::Inversion;
use crate::scalar::Scalar;

/// Numbers that a task handles at least: a smaller one is over before another thread has woken up.
const GRAIN: usize = 1 << 14;

/// out_n ← a_n^{-T}; many blocks are shared out among the lanes, a single one gets all threads.
pub(super) fn invert_each<T: Scalar>(
    threads: usize,
    dim: usize,
    a: &mut [T],
    out: &mut [T],
    lanes: &mut [Lane],
    report: &mut [Inversion],
) {
    let block = dim * dim;
    let count = report.len();
    if count < lanes.len() || lanes.len() == 1 {
        let lane = &mut lanes[0];
        for ((a, out), report) in a.chunks_mut(block).zip(out.chunks_mut(block)).zip(report) {
            *report = factor::invert_transposed(dim, a, out, lane, threads);
        }
        return;
    }
    let work = Work { count, numbers: block * INVERSION };
    let (a, out, report) = (Shared::new(a), Shared::new(out), Shared::new(report));
    let parts = lanes.len();
    let lanes = Shared::new(lanes);
    work.share_out(parts, |part, samples| {
        let numbers = samples.start * block..samples.end * block;
        // SAFETY: the lanes are the parts' own, and no two of these ranges overlap.
        let (lane, a, out, report) = unsafe {
            (&mut lanes.range(part..part + 1)[0], a.range(numbers.clone()), out.range(numbers), report.range(samples))
        };
        for ((a, out), report) in a.chunks_mut(block).zip(out.chunks_mut(block)).zip(report) {
            *report = factor::invert_transposed(dim, a, out, lane, 1);
        }
    });
}

/// out_n ← diag(s_n) a_n, where `a` is one block per sample or one for all; without `a` in place.
pub(super) fn scale_rows<T: Scalar>(threads: usize, dim: usize, scale: &[T], a: Option<&[T]>, out: &mut [T]) {
    let block = dim * dim;
    let work = Work { count: out.len() / block, numbers: block };
    let out = Shared::new(out);
    work.share_out(threads, |_, samples| {
        for n in samples {
            let scale = &scale[n * dim..][..dim];
            // SAFETY: each sample's block is one part's alone.
            let out = unsafe { out.range(n * block..(n + 1) * block) };
            let Some(a) = a else {
                for column in out.chunks_exact_mut(dim) {
                    column.iter_mut().zip(scale).for_each(|(out, &scale)| *out *= scale);
                }
                continue;
            };
            for (out, a) in out.chunks_exact_mut(dim).zip(sample_block(a, block, n).chunks_exact(dim)) {
                for ((out, &a), &scale) in out.iter_mut().zip(a).zip(scale) {
                    *out = a * scale;
                }
            }
        }
    });
}

/// out_n ← a_nᵀ, where `a` is one block per sample or one for all, tile by tile: both sides of a tile stay in the
/// nearest cache.
pub(super) fn transpose_blocks<T: Scalar>(threads: usize, dim: usize, a: &[T], out: &mut [T]) {
    const TILE: usize = 16;
    let block = dim * dim;
    // Stripes of columns of all blocks, so that a single block is shared out too.
    let stripes = dim.div_ceil(TILE);
    let work = Work { count: out.len() / block * stripes, numbers: TILE * dim };
    let out = Shared::new(out);
    work.share_out(threads, |_, items| {
        for item in items {
            let (n, first) = (item / stripes, item % stripes * TILE);
            let a = sample_block(a, block, n);
            let columns = first..(first + TILE).min(dim);
            // SAFETY: the stripes are disjoint.
            let out = unsafe { out.range(n * block + columns.start * dim..n * block + columns.end * dim) };
            for row in (0..dim).step_by(TILE) {
                let rows = row..(row + TILE).min(dim);
                for (j, column) in columns.clone().zip(out.chunks_exact_mut(dim)) {
                    for (i, out) in rows.clone().zip(&mut column[rows.clone()]) {
                        *out = a[i * dim + j];
                    }
                }
            }
        }
    });
}

/// out\[:,n\] ← slope\[:,n\] ⊙ out\[:,n\] + weight\[:,n\] ⊙ rowsum(a_n ⊙ b_n).
///
/// The row sums run over columns in chunks of rows that fit in registers, so nothing is allocated.
pub(super) fn curvature_adjoint<T: Scalar>(
    threads: usize,
    dim: usize,
    [slope, weight, a, b]: [&[T]; 4],
    out: &mut [T],
) {
    const ROWS: usize = 32;
    let block = dim * dim;
    let work = Work { count: out.len() / dim, numbers: block };
    let out = Shared::new(out);
    work.share_out(threads, |_, samples| {
        for n in samples {
            let (a, b) = (sample_block(a, block, n), sample_block(b, block, n));
            let (slope, weight) = (&slope[n * dim..][..dim], &weight[n * dim..][..dim]);
            // SAFETY: each sample's column is one part's alone.
            let out = unsafe { out.range(n * dim..(n + 1) * dim) };
            for start in (0..dim).step_by(ROWS) {
                let rows = ROWS.min(dim - start);
                let mut sums = [T::default(); ROWS];
                for (a, b) in a.chunks_exact(dim).zip(b.chunks_exact(dim)) {
                    for ((sum, &a), &b) in sums.iter_mut().zip(&a[start..][..rows]).zip(&b[start..][..rows]) {
                        *sum += a * b;
                    }
                }
                for (i, sum) in (start..).zip(&sums[..rows]) {
                    out[i] = slope[i] * out[i] + weight[i] * *sum;
                }
            }
        }
    });
}

/// out ← out + α Σ_n a_n. Blocks are summed in groups of about √n, so that the rounding error of n blocks grows like
/// √n, not like n: a batch of 20,000 samples is one sum where D is small.
pub(super) fn add_blocks<T: Scalar>(threads: usize, alpha: T, a: &[T], out: &mut [T]) {
    const PIECE: usize = 1 << 12;
    let block = out.len();
    let group = (a.len() / block).isqrt().max(1);
    let work = Work { count: block.div_ceil(PIECE), numbers: PIECE * (a.len() / block) };
    let out = Shared::new(out);
    work.share_out(threads, |_, pieces| {
        for piece in pieces {
            let range = piece * PIECE..((piece + 1) * PIECE).min(block);
            // SAFETY: the pieces are disjoint.
            let out = unsafe { out.range(range.clone()) };
            let mut sums = [T::of(0.0); PIECE];
            let sums = &mut sums[..out.len()];
            for group in a.chunks(group * block) {
                sums.fill(T::of(0.0));
                for a in group.chunks_exact(block) {
                    sums.iter_mut().zip(&a[range.clone()]).for_each(|(sum, &a)| *sum += a);
                }
                out.iter_mut().zip(&*sums).for_each(|(out, &sum)| *out += alpha * sum);
            }
        }
    });
}

/// An inversion takes at least so many times as long for each number as the other work here.
const INVERSION: usize = 8;

/// `count` items of work, each on about `numbers` numbers.
struct Work {
    count: usize,
    numbers: usize,
}

impl Work {
    /// Calls `work` with a part's index, below `threads`, and the next items, until none are left.
    fn share_out(&self, threads: usize, work: impl Fn(usize, Range<usize>) + Sync) {
        let grain = GRAIN.div_ceil(self.numbers.max(1)).max(1);
        if threads <= 1 || self.count <= grain {
            return work(0, 0..self.count);
        }
        // A few turns for each part, so that they end together.
        let turn = grain.max(self.count / (TURNS * threads));
        let next = AtomicUsize::new(0);
        let length = Length::of(self.count * self.numbers * PASSES, threads);
        team::run(threads, length, &|part| {
            loop {
                let start = next.fetch_add(turn, Ordering::Relaxed);
                if start >= self.count {
                    break;
                }
                work(part, start..(start + turn).min(self.count));
            }
        });
    }
}

/// What a number costs, in multiply-adds: it comes from memory.
const PASSES: usize = 16;

/// Turns that each of the threads takes at most, where all are equally fast.
const TURNS: usize = 4;

fn sample_block<T>(a: &[T], block: usize, n: usize) -> &[T] {
    if a.len() == block { a } else { &a[n * block..][..block] }
}
