//! Runs a function of one element over whole slices, vectorised for the processor at hand.
//!
//! Slices go through in blocks of [`BLOCK`] elements held in local arrays. A loop of fixed length over local arrays
//! is one the compiler vectorises in full, with no alias checks; the last, shorter block is padded
//! and takes the same path, so small matrices (D = 10) never meet a scalar loop.

use pulp::{Arch, Simd, WithSimd};

use super::real::Real;

/// Work in loops that are to be compiled for the widest vectors of the processor.
pub(crate) trait Vectorised {
    type Output;

    /// Does the work; `FMA` says whether a fused multiply-add is one instruction here. It has to be inlined, as all
    /// that it calls.
    fn run<const FMA: bool>(self) -> Self::Output;
}

/// Does the work on the instruction set of this processor.
#[inline]
pub(crate) fn vectorised<V: Vectorised>(work: V) -> V::Output {
    struct Compiled<V>(V);

    impl<V: Vectorised> WithSimd for Compiled<V> {
        type Output = V::Output;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> V::Output {
            if S::IS_SCALAR { self.0.run::<false>() } else { self.0.run::<true>() }
        }
    }

    Arch::new().dispatch(Compiled(work))
}

/// Elements per block: four AVX-512 registers of f32, eight of f64.
pub(super) const BLOCK: usize = 64;

/// A function of one element that changes `M` values, reading `R` more.
pub(super) trait Map<T: Real, const M: usize, const R: usize>: Copy {
    fn apply<const FMA: bool>(self, changed: [T; M], read: [T; R]) -> [T; M];
}

/// Where the read values of an element come from.
pub(super) enum Operand<'a, T> {
    /// One value for each element.
    Flat(&'a [T]),
    /// One value for each row of a column-major matrix.
    Rows(&'a RowValues<'a, T>),
}

impl<T: Real> Operand<'_, T> {
    #[inline(always)]
    fn load(&self, start: usize, length: usize, block: &mut [T; BLOCK]) {
        match self {
            Self::Flat(values) => block[..length].copy_from_slice(&values[start..start + length]),
            Self::Rows(rows) => block.copy_from_slice(rows.at(start)),
        }
    }
}

/// A vector repeated down each column of a column-major matrix, so that any block of it is contiguous.
pub(super) struct RowValues<'a, T> {
    values: &'a [T],
    /// What follows position `seam_start` of the vector, going around its end.
    seam: [T; 2 * BLOCK],
    seam_start: usize,
}

impl<'a, T: Real> RowValues<'a, T> {
    /// `values` must not be empty.
    pub(super) fn new(values: &'a [T]) -> Self {
        let seam_start = values.len().saturating_sub(BLOCK);
        let mut seam = [T::ZERO; 2 * BLOCK];
        let mut row = seam_start;
        for value in &mut seam {
            *value = values[row];
            row = if row + 1 == values.len() { 0 } else { row + 1 };
        }
        Self { values, seam, seam_start }
    }

    /// The values of the [`BLOCK`] elements that follow the matrix's element `start`.
    #[inline(always)]
    fn at(&self, start: usize) -> &[T] {
        let row = start % self.values.len();
        if row >= self.seam_start {
            &self.seam[row - self.seam_start..][..BLOCK]
        } else {
            &self.values[row..row + BLOCK]
        }
    }
}

/// Applies `map` to every element. All slices have the length of `changed[0]`.
#[inline]
pub(super) fn for_each<T, F, const M: usize, const R: usize>(map: F, changed: [&mut [T]; M], read: [Operand<'_, T>; R])
where
    T: Real,
    F: Map<T, M, R>,
{
    vectorised(Sweep { map, changed, read });
}

struct Sweep<'a, T, F, const M: usize, const R: usize> {
    map: F,
    changed: [&'a mut [T]; M],
    read: [Operand<'a, T>; R],
}

impl<T: Real, F: Map<T, M, R>, const M: usize, const R: usize> Vectorised for Sweep<'_, T, F, M, R> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        let total = self.changed[0].len();
        let whole = total - total % BLOCK;
        let mut start = 0;
        while start < whole {
            self.block::<FMA>(start, BLOCK);
            start += BLOCK;
        }
        if whole < total {
            self.block::<FMA>(whole, total - whole);
        }
    }
}

impl<T: Real, F: Map<T, M, R>, const M: usize, const R: usize> Sweep<'_, T, F, M, R> {
    #[inline(always)]
    fn block<const FMA: bool>(&mut self, start: usize, length: usize) {
        let mut changed = [[T::ZERO; BLOCK]; M];
        for (block, slice) in changed.iter_mut().zip(&self.changed) {
            block[..length].copy_from_slice(&slice[start..start + length]);
        }
        let mut read = [[T::ZERO; BLOCK]; R];
        for (block, operand) in read.iter_mut().zip(&self.read) {
            operand.load(start, length, block);
        }
        for i in 0..BLOCK {
            let results =
                self.map.apply::<FMA>(std::array::from_fn(|j| changed[j][i]), std::array::from_fn(|j| read[j][i]));
            for j in 0..M {
                changed[j][i] = results[j];
            }
        }
        for (slice, block) in self.changed.iter_mut().zip(&changed) {
            slice[start..start + length].copy_from_slice(&block[..length]);
        }
    }
}

/// Adds Σ map(x) over each column of a column-major matrix with `dim` rows to that column's entry of `sums`.
#[inline]
pub(super) fn add_column_sums<T: Real, F: Map<T, 1, 0>>(map: F, values: &[T], dim: usize, sums: &mut [f64]) {
    vectorised(ColumnSums { map, values, dim, sums });
}

struct ColumnSums<'a, T, F> {
    map: F,
    values: &'a [T],
    dim: usize,
    sums: &'a mut [f64],
}

impl<T: Real, F: Map<T, 1, 0>> Vectorised for ColumnSums<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (mut row, mut column) = (0, 0);
        for chunk in self.values.chunks(BLOCK) {
            let mut block = [T::ZERO; BLOCK];
            block[..chunk.len()].copy_from_slice(chunk);
            for term in &mut block {
                [*term] = self.map.apply::<FMA>([*term], []);
            }
            // A loop of its own: in one with `map` the wider f64 would halve the lanes of an f32.
            let terms = block.map(T::to_f64);
            let mut rest = &terms[..chunk.len()];
            while !rest.is_empty() {
                let (head, tail) = rest.split_at(rest.len().min(self.dim - row));
                self.sums[column] += sum(head);
                row += head.len();
                if row == self.dim {
                    (row, column) = (0, column + 1);
                }
                rest = tail;
            }
        }
    }
}

/// Σ of at most [`BLOCK`] terms, in eight partial sums.
#[inline(always)]
fn sum(terms: &[f64]) -> f64 {
    let (chunks, rest) = terms.as_chunks::<8>();
    let mut partial = [0.0; 8];
    for chunk in chunks {
        for (sum, term) in partial.iter_mut().zip(chunk) {
            *sum += term;
        }
    }
    let rest: f64 = rest.iter().sum();
    let [a, b, c, d, e, f, g, h] = partial;
    ((a + e) + (c + g)) + ((b + f) + (d + h)) + rest
}
