//! out ← βW + α left Uᵀ for some columns, whose entries of U are known.

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
use std::ops::Range;

use super::super::pack::Pack;
use super::super::vector::Vector;
use super::{MOST_SAMPLES, Pull, WeightUpdate};

/// Bytes of the first cache that a chunk of the rows of the left factor takes.
const CHUNK_BYTES: usize = 16 << 10;
/// Registers of rows that are updated at a time.
const HEIGHT: usize = 4;

/// C columns from `col` on, G at a time. A chunk of the rows of `left` stays in the first cache for all of them.
///
/// # Safety
/// As for [`super::pull`], inside a function that enables V's instruction set; `u` has the samples' entries of U.
#[inline(always)]
pub(super) unsafe fn columns<V: Vector, const C: usize, const G: usize>(
    p: &Pull<V::Number>,
    update: &WeightUpdate<V::Number>,
    col: usize,
    u: &[[V::Number; MOST_SAMPLES]; C],
) where
    V::Number: Pack,
{
    let chunk = (CHUNK_BYTES / (p.samples * size_of::<V::Number>())).next_multiple_of(HEIGHT * V::LANES);
    // The columns of a group begin alike within a register, so that all can be streamed: neighbours do, or every other.
    let bytes = p.rows * size_of::<V::Number>();
    let step = if !update.past_caches || bytes.is_multiple_of(size_of::<V>()) { 1 } else { 2 };
    let together = !update.past_caches || (step * bytes).is_multiple_of(size_of::<V>());
    // SAFETY: the columns and rows are those of the caller.
    unsafe {
        let mut row = 0;
        while row < p.rows {
            let end = (row + chunk).min(p.rows);
            let mut group = 0;
            while group < C {
                if together {
                    // With a step of 2 the groups of 2G columns are even and odd ones.
                    let first = if step == 1 { group } else { group / G % 2 + group / (2 * G) * (2 * G) };
                    Together::<_, G>::new(p, update, col, (first, step), u).rows::<V>(row..end, update);
                    group += G;
                } else {
                    Together::<_, 1>::new(p, update, col, (group, 1), u).rows::<V>(row..end, update);
                    group += 1;
                }
            }
            row = end;
        }
    }
}

/// G columns, `step` apart.
struct Together<N, const G: usize> {
    weight: [*const N; G],
    out: [*mut N; G],
    u: [*const N; G],
    left: *const N,
    stride: usize,
    samples: usize,
    step: usize,
    ahead: *const N,
}

impl<N: Pack, const G: usize> Together<N, G> {
    #[inline(always)]
    fn new<const C: usize>(
        p: &Pull<N>,
        update: &WeightUpdate<N>,
        col: usize,
        (first, step): (usize, usize),
        u: &[[N; MOST_SAMPLES]; C],
    ) -> Self {
        let (mut weight, mut out, mut of_u) = ([p.weight; G], [update.out; G], [u[0].as_ptr(); G]);
        for g in 0..G {
            let place = first + g * step;
            weight[g] = p.weight.wrapping_add((col + place) * p.rows);
            out[g] = update.out.wrapping_add((col + place) * p.rows);
            of_u[g] = u[place].as_ptr();
        }
        let ahead =
            if col + 2 * C <= p.cols { p.weight.wrapping_add((col + C + first) * p.rows) } else { std::ptr::null() };
        Self { weight, out, u: of_u, left: update.left, stride: p.rows, samples: p.samples, step, ahead }
    }

    /// Some rows; when they are streamed, from where a register of the destination begins to where another does.
    #[inline(always)]
    unsafe fn rows<V: Vector<Number = N>>(&self, rows: Range<usize>, update: &WeightUpdate<N>) {
        // SAFETY: the caller's promise.
        unsafe {
            let factors = (V::splat(update.alpha), V::splat(update.beta));
            if !update.past_caches {
                return self.run::<V, false>(rows.start, rows.end, factors);
            }
            let begins =
                |row: usize| (row + self.out[0].wrapping_add(row).align_offset(size_of::<V>())).min(self.stride);
            let from = if rows.start == 0 { 0 } else { begins(rows.start) };
            let to = if rows.end == self.stride { rows.end } else { begins(rows.end) };
            let whole = begins(from).min(to);
            self.partial::<V>(from, whole - from, factors);
            self.run::<V, true>(whole, to, factors);
        }
    }

    #[inline(always)]
    unsafe fn run<V: Vector<Number = N>, const STREAM: bool>(&self, mut row: usize, end: usize, factors: (V, V)) {
        // SAFETY: the caller's promise.
        unsafe {
            while row + HEIGHT * V::LANES <= end {
                self.tile::<V, HEIGHT, STREAM>(row, factors);
                row += HEIGHT * V::LANES;
            }
            while row + V::LANES <= end {
                self.tile::<V, 1, STREAM>(row, factors);
                row += V::LANES;
            }
            self.partial::<V>(row, end - row, factors);
        }
    }

    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Plain indices unroll into registers; iterators do not.
    unsafe fn tile<V: Vector<Number = N>, const MV: usize, const STREAM: bool>(
        &self,
        row: usize,
        (alpha, beta): (V, V),
    ) {
        // SAFETY: the caller's promise; a stream's address is a multiple of the register's size.
        unsafe {
            let mut sums = [[V::zero(); MV]; G];
            if !self.ahead.is_null() {
                for g in 0..G {
                    for i in 0..MV {
                        _mm_prefetch::<_MM_HINT_T1>(
                            self.ahead.wrapping_add(g * self.stride * self.step + row + i * V::LANES).cast(),
                        );
                    }
                }
            }
            for n in 0..self.samples {
                let mut left = [V::zero(); MV];
                for i in 0..MV {
                    left[i] = V::load(self.left.add(n * self.stride + row + i * V::LANES));
                }
                for g in 0..G {
                    let u = V::splat(*self.u[g].add(n));
                    for i in 0..MV {
                        sums[g][i] = sums[g][i].add_mul(left[i], u);
                    }
                }
            }
            for g in 0..G {
                for i in 0..MV {
                    let place = row + i * V::LANES;
                    let new = V::load(self.weight[g].add(place)).mul(beta).add_mul(sums[g][i], alpha);
                    if STREAM {
                        new.stream(self.out[g].add(place));
                    } else {
                        new.store(self.out[g].add(place));
                    }
                }
            }
        }
    }

    /// Part of a register: the rows before the first whole one, or after the last.
    #[inline(always)]
    unsafe fn partial<V: Vector<Number = N>>(&self, row: usize, rows: usize, (alpha, beta): (V, V)) {
        if rows == 0 {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe {
            for g in 0..G {
                let mut sum = V::zero();
                for n in 0..self.samples {
                    let left = V::load_first(self.left.add(n * self.stride + row), rows);
                    sum = sum.add_mul(left, V::splat(*self.u[g].add(n)));
                }
                let new = V::load_first(self.weight[g].add(row), rows).mul(beta).add_mul(sum, alpha);
                new.store_first(self.out[g].add(row), rows);
            }
        }
    }
}
