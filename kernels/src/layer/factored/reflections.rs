//! Products of reflections in blocks \[M53\]–\[M56\]: H_1 … H_n = I − H T Hᵀ with H = \[h_1 … h_n\] and an upper
//! triangle T, T⁻¹ = striu(HᵀH) + ½ diag(HᵀH) (Joffrain, Low, Quintana-Ortí, van de Geijn & Van Zee, "Accumulating
//! Householder transformations, revisited", ACM Transactions on Mathematical Software 32, 2006).
//!
//! h_i is zero above entry i, and stands on and below the diagonal of column i of an array whose upper half is somebody
//! else's. So of each block the square on the diagonal is copied, and the rest read where it lies.

use std::ops::Range;

use faer::reborrow::{Reborrow, ReborrowMut};
use faer::{MatMut, MatRef};

use crate::device::{How, Onto};
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// What the blocks of a layer need beside its array.
pub(super) struct Reflections<T> {
    dim: usize,
    /// n.
    size: usize,
    /// The lower triangles on the diagonal, block after block, each column-major.
    tops: Vec<T>,
    /// T, likewise.
    triangles: Vec<T>,
    /// A block's T⁻¹ and T.
    wide: Vec<f64>,
}

/// H and T of a block.
#[derive(Clone, Copy)]
pub(super) struct WyBlock<'a, T> {
    /// Its first column, and row.
    pub(super) start: usize,
    top: MatRef<'a, T>,
    /// What is below the square.
    rest: MatRef<'a, T>,
    triangle: MatRef<'a, T>,
}

impl<T: Scalar> Reflections<T> {
    pub(super) fn new(dim: usize, size: usize) -> Self {
        let numbers = (dim - 1).div_ceil(size) * size * size;
        let [tops, triangles] = [0, 1].map(|_| vec![T::default(); numbers]);
        Self { dim, size, tops, triangles, wide: vec![0.0; 2 * size * size] }
    }

    /// How many blocks there are.
    pub(super) fn count(&self) -> usize {
        (self.dim - 1).div_ceil(self.size)
    }

    /// n.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The columns of the block `index`.
    pub(super) fn columns(&self, index: usize) -> Range<usize> {
        let start = index * self.size;
        start..start + self.width(index)
    }

    /// How many they are.
    fn width(&self, index: usize) -> usize {
        self.size.min(self.dim - 1 - index * self.size)
    }

    /// Reads all blocks of an array.
    pub(super) fn read(&mut self, how: How, array: &[T]) -> Result<()> {
        (0..self.count()).try_for_each(|index| self.read_block(how, index, array))
    }

    /// Reads one of them, of which the columns from its first on are given.
    pub(super) fn read_block(&mut self, how: How, index: usize, array: &[T]) -> Result<()> {
        let (dim, start, width) = (self.dim, index * self.size, self.width(index));
        let place = index * self.size * self.size..index * self.size * self.size + width * width;
        let top = &mut self.tops[place.clone()];
        for (j, to) in top.chunks_exact_mut(width).enumerate() {
            let column = &array[(start + j) * dim + start..][..width];
            to[..j].fill(T::default());
            to[j..].copy_from_slice(&column[j..]);
        }
        let top = MatRef::from_column_major_slice(top, width, width);
        let rest = rest(dim, start, width, array);
        let triangle = &mut self.triangles[place];
        let mut gram = MatMut::from_column_major_slice_mut(triangle, width, width);
        product(how, top.transpose(), top, None, T::of(1.0), gram.rb_mut());
        product(how, rest.transpose(), rest, Some(T::of(1.0)), T::of(1.0), gram);
        let (a, inverse) = self.wide.split_at_mut(self.size * self.size);
        for (at, (to, gram)) in a.iter_mut().zip(&*triangle).enumerate() {
            let is_diagonal = at.is_multiple_of(width + 1);
            *to = gram.widen() * if is_diagonal { 0.5 } else { 1.0 };
        }
        invert_upper(width, a, inverse)?;
        triangle.iter_mut().zip(&*inverse).for_each(|(to, &x)| *to = T::of(x));
        Ok(())
    }

    /// The block `index` of the array that was read.
    pub(super) fn block<'a>(&'a self, index: usize, array: &'a [T]) -> WyBlock<'a, T> {
        let (start, width) = (index * self.size, self.width(index));
        let place = index * self.size * self.size..index * self.size * self.size + width * width;
        let square = |of: &'a [T]| MatRef::from_column_major_slice(&of[place.clone()], width, width);
        let rest = rest(self.dim, start, width, array);
        WyBlock { start, top: square(&self.tops), rest, triangle: square(&self.triangles) }
    }

    /// z ← H_1 … H_K z for columns of D numbers, the last block first. `inner` (as many numbers) ← T Hᵀz of each block.
    pub(super) fn multiply(&self, how: How, array: &[T], z: &mut [T], inner: &mut [T], scratch: &mut [T]) {
        let samples = z.len() / self.dim;
        for index in (0..self.count()).rev() {
            let block = self.block(index, array);
            let c = block.part_mut(inner, samples);
            let mut z = block.rows(MatMut::from_column_major_slice_mut(z, self.dim, samples));
            block.project(how, false, z.rb(), c, scratch);
            block.add(how, T::of(-1.0), block.part(inner, samples), z.rb_mut());
        }
    }

    /// δ ← H_K … H_1 δ for the columns of a matrix of D rows.
    pub(super) fn multiply_transposed(&self, how: How, array: &[T], mut delta: MatMut<'_, T>, scratch: [&mut [T]; 2]) {
        let [e, scratch] = scratch;
        for index in 0..self.count() {
            self.block(index, array).reflect_back(how, delta.rb_mut(), [&mut *e, &mut *scratch]);
        }
    }
}

/// What lies below the square of a block.
fn rest<T: Scalar>(dim: usize, start: usize, width: usize, array: &[T]) -> MatRef<'_, T> {
    let columns = MatRef::from_column_major_slice(&array[start * dim..(start + width) * dim], dim, width);
    columns.subrows(start + width, dim - start - width)
}

/// out ← β out + α a b, overwritten without β.
fn product<T: Scalar>(how: How, a: MatRef<'_, T>, b: MatRef<'_, T>, beta: Option<T>, alpha: T, out: MatMut<'_, T>) {
    if a.ncols() > 0 && out.nrows() > 0 {
        T::multiply(how.math, how.threads, alpha, a, b, beta.map_or(Onto::Overwrite, Onto::Scaled), out);
    }
}

/// out ← A⁻¹ for an upper triangle, both column-major; A's other half is not read.
fn invert_upper(size: usize, a: &[f64], out: &mut [f64]) -> Result<()> {
    out[..size * size].fill(0.0);
    for j in 0..size {
        let pivot = a[j * (size + 1)];
        if pivot <= 0.0 || !pivot.is_finite() {
            return Err(Error::invalid("square of a reflection's norm", 2.0 * pivot, "must be positive and finite"));
        }
        out[j * (size + 1)] = 1.0 / pivot;
        for i in (0..j).rev() {
            let sum: f64 = (i + 1..=j).map(|k| a[i + k * size] * out[k + j * size]).sum();
            out[i + j * size] = -sum / a[i * (size + 1)];
        }
    }
    Ok(())
}

impl<'a, T: Scalar> WyBlock<'a, T> {
    pub(super) fn width(&self) -> usize {
        self.top.ncols()
    }

    /// The rows that it changes.
    fn rows<'b>(&self, block: MatMut<'b, T>) -> MatMut<'b, T> {
        let count = block.nrows() - self.start;
        block.subrows_mut(self.start, count)
    }

    /// Its n×N numbers of those of all blocks, one block after another.
    pub(super) fn part<'b>(&self, all: &'b [T], samples: usize) -> MatRef<'b, T> {
        let numbers = &all[self.start * samples..][..self.width() * samples];
        MatRef::from_column_major_slice(numbers, self.width(), samples)
    }

    fn part_mut<'b>(&self, all: &'b mut [T], samples: usize) -> MatMut<'b, T> {
        let numbers = &mut all[self.start * samples..][..self.width() * samples];
        MatMut::from_column_major_slice_mut(numbers, self.width(), samples)
    }

    /// out ← T Hᵀz, or TᵀHᵀz, for the rows z of this block.
    fn project(&self, how: How, transposed: bool, z: MatRef<'_, T>, out: MatMut<'_, T>, scratch: &mut [T]) {
        let (width, samples) = (self.width(), z.ncols());
        let mut inner = MatMut::from_column_major_slice_mut(&mut scratch[..width * samples], width, samples);
        let (square, below) = z.split_at_row(width);
        product(how, self.top.transpose(), square, None, T::of(1.0), inner.rb_mut());
        product(how, self.rest.transpose(), below, Some(T::of(1.0)), T::of(1.0), inner.rb_mut());
        let triangle = if transposed { self.triangle.transpose() } else { self.triangle };
        product(how, triangle, inner.rb(), None, T::of(1.0), out);
    }

    /// z ← z + α H c for the rows of this block.
    fn add(&self, how: How, alpha: T, c: MatRef<'_, T>, z: MatMut<'_, T>) {
        let (square, below) = z.split_at_row_mut(self.width());
        product(how, self.top, c, Some(T::of(1.0)), alpha, square);
        product(how, self.rest, c, Some(T::of(1.0)), alpha, below);
    }

    /// δ ← (I − H TᵀHᵀ) δ.
    pub(super) fn reflect_back(&self, how: How, delta: MatMut<'_, T>, [e, scratch]: [&mut [T]; 2]) {
        let (width, samples) = (self.width(), delta.ncols());
        let delta = self.rows(delta);
        let mut e = MatMut::from_column_major_slice_mut(&mut e[..width * samples], width, samples);
        self.project(how, true, delta.rb(), e.rb_mut(), scratch);
        self.add(how, T::of(-1.0), e.rb(), delta);
    }

    /// One block of the way back \[M55\]: z, its output, becomes its input; δ becomes that of its input; the lower half
    /// and the diagonal of its columns `out` ← α (−δ cᵀ − z eᵀ + H(M + Mᵀ)).
    pub(super) fn differentiate(
        &self,
        how: How,
        alpha: T,
        c: MatRef<'_, T>,
        [z, delta]: [MatMut<'_, T>; 2],
        out: MatMut<'_, T>,
        scratch: &mut BlockScratch<T>,
    ) {
        let (width, samples) = (self.width(), z.ncols());
        let (mut z, delta) = (self.rows(z), self.rows(delta));
        let BlockScratch { e, inner, squares } = scratch;
        self.add(how, T::of(1.0), c, z.rb_mut());
        let mut e = MatMut::from_column_major_slice_mut(&mut e[..width * samples], width, samples);
        self.project(how, true, delta.rb(), e.rb_mut(), inner);
        let (e, (sums, top)) = (e.rb(), squares.split_at_mut(width * width));
        let mut sums = MatMut::from_column_major_slice_mut(sums, width, width);
        product(how, e, c.transpose(), None, T::of(1.0), sums.rb_mut());
        for j in 0..width {
            (0..j).for_each(|i| sums[(j, i)] = sums[(i, j)]);
        }
        let top = &mut top[..width * width];
        let (above, below) = self.rows(out).split_at_row_mut(width);
        let square = MatMut::from_column_major_slice_mut(&mut *top, width, width);
        for (rows, mut out, own) in [(0..width, square, self.top), (width..z.nrows(), below, self.rest)] {
            let [z, delta] = [z.rb(), delta.rb()].map(|m| m.get(rows.clone(), ..));
            product(how, delta, c.transpose(), None, -alpha, out.rb_mut());
            product(how, z, e.transpose(), Some(T::of(1.0)), -alpha, out.rb_mut());
            product(how, own, sums.rb(), Some(T::of(1.0)), alpha, out);
        }
        let mut above = above;
        for j in 0..width {
            (j..width).for_each(|i| above[(i, j)] = top[i + j * width]);
        }
        self.add(how, T::of(-1.0), e, delta);
    }
}

/// Work memory of a block on the way back.
pub(super) struct BlockScratch<T> {
    /// n×N.
    pub(super) e: Vec<T>,
    pub(super) inner: Vec<T>,
    /// n×n, twice.
    squares: Vec<T>,
}

impl<T: Scalar> BlockScratch<T> {
    pub(super) fn new(size: usize, samples: usize) -> Self {
        let numbers = |count: usize| vec![T::default(); count];
        let block = size.saturating_mul(samples);
        Self { e: numbers(block), inner: numbers(block), squares: numbers(2 * size * size) }
    }
}

/// Makes columns `range` of an array those of an upper triangle by reflections of them, which take the places of what
/// they make zero; `diagonal` ← that of the triangle. ‖h‖² = 2.
pub(super) fn triangularize<T: Scalar>(dim: usize, range: Range<usize>, array: &mut [T], diagonal: &mut [f64]) {
    for i in range.clone() {
        let (head, tail) = array.split_at_mut((i + 1) * dim);
        let h = &mut head[i * dim + i..];
        let norm = h.iter().map(|x| x.widen().powi(2)).sum::<f64>().sqrt();
        let first = h[0].widen();
        // Away from the first entry, so that nothing cancels; of a column of zeros nothing is left to reflect.
        diagonal[i] = if norm == 0.0 { 0.0 } else { -norm.copysign(first) };
        let pivot = if norm == 0.0 { 1.0 } else { first - diagonal[i] };
        let rest: f64 = h[1..].iter().map(|x| x.widen().powi(2)).sum();
        let scale = (2.0 / (pivot * pivot + rest)).sqrt();
        h[0] = T::of(scale * pivot);
        h[1..].iter_mut().for_each(|x| *x = T::of(scale * x.widen()));
        for column in tail[..(range.end - i - 1) * dim].chunks_exact_mut(dim) {
            let column = &mut column[i..];
            let dot: f64 = column.iter().zip(&*h).map(|(x, h)| x.widen() * h.widen()).sum();
            column.iter_mut().zip(&*h).for_each(|(x, h)| *x = T::of(x.widen() - dot * h.widen()));
        }
    }
}
