//! Work on panels: D×D blocks side by side, one per sample (the Jacobians of \[M20\]–\[M21\]).
//!
//! Samples are independent, so the threads share the samples and each block is done by one of them.

use rayon::prelude::*;

use super::factor::{self, Lane};
use crate::device::{Cpu, Inversion, MatrixRef};
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// Numbers that a task handles at least: a smaller one is over before another thread has woken up.
const GRAIN: usize = 1 << 14;

/// Checks that `a` holds either `count` D×D blocks or a single one for all.
pub(super) fn require_blocks<T: Scalar>(
    operation: &'static str,
    dim: usize,
    count: usize,
    a: &MatrixRef<'_, Cpu, T>,
) -> Result<()> {
    if a.rows() == dim && (a.cols() == dim * count || a.cols() == dim) {
        Ok(())
    } else {
        let found = format!("{}×{}", a.rows(), a.cols());
        Err(Error::shape(operation, format!("1 or {count} blocks of {dim}×{dim}"), found))
    }
}

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
    if report.len() < lanes.len() || lanes.len() == 1 {
        let lane = &mut lanes[0];
        for ((a, out), report) in a.chunks_mut(block).zip(out.chunks_mut(block)).zip(report) {
            *report = factor::invert_transposed(dim, a, out, lane, threads);
        }
        return;
    }
    let share = report.len().div_ceil(lanes.len());
    a.par_chunks_mut(share * block)
        .zip(out.par_chunks_mut(share * block))
        .zip(report.par_chunks_mut(share))
        .zip(lanes.par_iter_mut())
        .for_each(|(((a, out), report), lane)| {
            for ((a, out), report) in a.chunks_mut(block).zip(out.chunks_mut(block)).zip(report) {
                *report = factor::invert_transposed(dim, a, out, lane, 1);
            }
        });
}

/// out_n ← diag(s_n) a_n, where `a` is one block per sample or one for all.
pub(super) fn scale_rows<T: Scalar>(dim: usize, scale: &[T], a: &[T], out: &mut [T]) {
    let block = dim * dim;
    let one = |(n, (out, scale)): (usize, (&mut [T], &[T]))| {
        let a = sample_block(a, block, n);
        for (out, a) in out.chunks_exact_mut(dim).zip(a.chunks_exact(dim)) {
            for ((out, &a), &scale) in out.iter_mut().zip(a).zip(scale) {
                *out = a * scale;
            }
        }
    };
    if out.len() <= GRAIN {
        out.chunks_mut(block).zip(scale.chunks(dim)).enumerate().for_each(one);
    } else {
        let samples = out.par_chunks_mut(block).zip(scale.par_chunks(dim)).enumerate();
        samples.with_min_len(grain(block)).for_each(one);
    }
}

/// a_n ← diag(s_n) a_n.
pub(super) fn scale_rows_in_place<T: Scalar>(dim: usize, scale: &[T], a: &mut [T]) {
    let one = |(a, scale): (&mut [T], &[T])| {
        for column in a.chunks_exact_mut(dim) {
            for (a, &scale) in column.iter_mut().zip(scale) {
                *a *= scale;
            }
        }
    };
    if a.len() <= GRAIN {
        a.chunks_mut(dim * dim).zip(scale.chunks(dim)).for_each(one);
    } else {
        let samples = a.par_chunks_mut(dim * dim).zip(scale.par_chunks(dim));
        samples.with_min_len(grain(dim * dim)).for_each(one);
    }
}

/// Operands of [`curvature_adjoint`].
pub(super) struct Adjoint<'a, T> {
    pub(super) slope: &'a [T],
    pub(super) weight: &'a [T],
    pub(super) a: &'a [T],
    pub(super) b: &'a [T],
}

/// out\[:,n\] ← slope\[:,n\] ⊙ out\[:,n\] + weight\[:,n\] ⊙ rowsum(a_n ⊙ b_n).
///
/// The row sums run over columns in chunks of rows that fit in registers, so nothing is allocated.
pub(super) fn curvature_adjoint<T: Scalar>(dim: usize, operands: &Adjoint<'_, T>, out: &mut [T]) {
    const ROWS: usize = 32;
    let block = dim * dim;
    let Adjoint { slope, weight, a, b } = *operands;
    out.par_chunks_mut(dim).enumerate().with_min_len(grain(block)).for_each(|(n, out)| {
        let (a, b) = (sample_block(a, block, n), sample_block(b, block, n));
        let (slope, weight) = (&slope[n * dim..][..dim], &weight[n * dim..][..dim]);
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
    });
}

/// out ← out + α Σ_n a_n.
pub(super) fn add_blocks<T: Scalar>(alpha: T, a: &[T], out: &mut [T]) {
    const PIECE: usize = 1 << 12;
    let block = out.len();
    out.par_chunks_mut(PIECE).enumerate().for_each(|(p, out)| {
        for a in a.chunks_exact(block) {
            for (out, &a) in out.iter_mut().zip(&a[p * PIECE..]) {
                *out += alpha * a;
            }
        }
    });
}

/// Blocks of `numbers` that make up a task.
fn grain(numbers: usize) -> usize {
    GRAIN.div_ceil(numbers)
}

fn sample_block<T>(a: &[T], block: usize, n: usize) -> &[T] {
    if a.len() == block { a } else { &a[n * block..][..block] }
}
