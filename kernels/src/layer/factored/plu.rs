//! W = P L U with a fixed permutation \[M50\]–\[M52\].

use faer::MatMut;
use nalgebra::DMatrix;
use rayon::prelude::*;

use super::host::{half_of, half_times, rank_one_times, scale_rows, triangle};
use super::{how, multiply, require_rows, singular, split_diagonal, view, write_diagonal};
use crate::bound::cost_of_dense;
use crate::cost::{Cost, Sizes};
use crate::device::{Addend, Cpu, Half, HalfOuter, Matrix, MatrixMut, MatrixRef, Solvable, Triangular};
use crate::error::{Error, Result};
use crate::init::{Init, square};
use crate::inversion::Solve;
use crate::layer::{Coupling, Extent, Geometry, MaybeGroup, SeenBlock, finite_log_det};
use crate::method::Method;
use crate::parameters::{Arrays, Layer};
use crate::scalar::Scalar;

/// y = P L (U z) + b: L with ones on its diagonal, U with s_i exp(d_i), s_i = ±1.
///
/// Of the array's first D columns the strict lower part is that of L, the strict upper part that of U, and the diagonal
/// is d; then come two columns that do not move: s, and π with (P x)_i = x_π(i).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plu;

type Ref<'a, T> = MatrixRef<'a, Cpu, T>;
type Mut<'a, T> = MatrixMut<'a, Cpu, T>;

impl Geometry for Plu {
    fn validate(&self, dim: usize) -> Result<()> {
        require_rows(dim)
    }

    fn weight_shape(&self, dim: usize) -> [usize; 2] {
        [dim, dim + 2]
    }

    fn own_method(&self) -> Option<Method> {
        Some(Method::Plu)
    }

    fn cost(&self, _method: Method, shape: &Sizes) -> Result<Cost> {
        Ok(cost_of_dense(Method::Plu, shape))
    }
}

/// What a pass reads of a layer's array once, and what it keeps.
pub struct Work<T: Scalar> {
    layers: Vec<PluNumbers<T>>,
    /// U z of each layer; D×LN.
    inner: Matrix<Cpu, T>,
    /// L U z or Pᵀδ, and LᵀPᵀδ; D×N.
    blocks: [Matrix<Cpu, T>; 2],
}

/// The numbers of a layer's array beside its triangles.
struct PluNumbers<T> {
    /// u_ii.
    diagonal: Vec<T>,
    /// π.
    order: Vec<usize>,
    /// u_ii times its mean derivative, on the way to that of d.
    slopes: Vec<T>,
}

impl<T: Scalar> PluNumbers<T> {
    fn new(dim: usize) -> Self {
        Self { diagonal: vec![T::default(); dim], order: vec![0; dim], slopes: vec![T::default(); dim] }
    }

    /// Reads an array.
    fn read(&mut self, array: Ref<'_, T>) -> Result<()> {
        let dim = array.rows();
        let (array, signs, order) = parts(array);
        write_diagonal(array.iter().step_by(dim + 1).copied(), signs, &mut self.diagonal)?;
        // Every number must occur once: it is marked in the order, and the marks are replaced.
        self.order.fill(usize::MAX);
        for row in order {
            let row = row.widen();
            let is_row = row >= 0.0 && row < dim as f64 && row.fract() == 0.0;
            if !is_row || self.order[row as usize] != usize::MAX {
                return Err(Error::invalid("row of a permutation", row, "must be that of no other row"));
            }
            self.order[row as usize] = 0;
        }
        self.order.iter_mut().zip(order).for_each(|(to, row)| *to = row.widen() as usize);
        Ok(())
    }
}

/// The D columns of the triangles, s, and π.
fn parts<T: Scalar>(array: Ref<'_, T>) -> (&[T], &[T], &[T]) {
    let dim = array.rows();
    let (triangles, columns) = array.slice().split_at(dim * dim);
    let (signs, order) = columns.split_at(dim);
    (triangles, signs, order)
}

/// to_i ← from_π(i) in every column, or the other way round.
fn permute<T: Scalar>(device: &Cpu, order: &[usize], back: bool, from: &[T], to: &mut [T]) -> Result<()> {
    let dim = order.len();
    device.on_columns(dim, [to], [from], |[to], [from]| {
        for (to, from) in to.chunks_exact_mut(dim).zip(from.chunks_exact(dim)) {
            if back {
                order.iter().zip(from).for_each(|(&row, &x)| to[row] = x);
            } else {
                to.iter_mut().zip(order).for_each(|(to, &row)| *to = from[row]);
            }
        }
        Ok(())
    })
}

impl<T: Scalar> Work<T> {
    /// The blocks become Pᵀδ and LᵀPᵀδ, and `v`, where it is wanted, Uᵀ times that.
    fn pull(
        &mut self,
        device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        delta: Ref<'_, T>,
        v: Option<Mut<'_, T>>,
    ) -> Result<()> {
        let (dim, samples) = delta.shape();
        let PluNumbers { diagonal, order, .. } = &self.layers[layer.index];
        let (array, ..) = parts(layer.weight);
        let [back, inner] = &mut self.blocks;
        let [back, inner] = [back, inner].map(|block| block.view_mut().columns(0, samples).into_slice());
        permute(device, order, true, delta.slice(), back)?;
        multiply(device, Triangular::unit_lower(dim, array).transposed(), dim, back, inner);
        if let Some(v) = v {
            multiply(device, Triangular::upper(array, diagonal).transposed(), dim, inner, v.into_slice());
        }
        Ok(())
    }
}

impl<T: Scalar> Coupling<Cpu, T> for Plu {
    const IS_LINEAR: bool = false;
    type Work = Work<T>;
    type Inverse = ();

    fn work(&self, device: &Cpu, Extent { dim, layers, batch, .. }: Extent) -> Result<Work<T>> {
        let block = |count: usize, what| Matrix::zeros(device, dim, count.saturating_mul(batch), what);
        let inner = block(layers, "products of factors")?;
        let blocks = [block(1, "products of factors")?, block(1, "products of factors")?];
        Ok(Work { layers: (0..layers).map(|_| PluNumbers::new(dim)).collect(), inner, blocks })
    }

    fn inverse(&self, _device: &Cpu, _dim: usize) -> Result<()> {
        Ok(())
    }

    fn prepare(&self, _device: &Cpu, arrays: &Arrays<Cpu, T>, work: &mut Work<T>) -> Result<()> {
        work.layers.iter_mut().zip(&arrays.weights).try_for_each(|(numbers, array)| numbers.read(array.view()))
    }

    fn push(
        &self,
        device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        z: Ref<'_, T>,
        y: Mut<'_, T>,
        work: &mut Work<T>,
    ) -> Result<()> {
        let (dim, samples) = z.shape();
        let (k, (array, ..)) = (layer.index, parts(layer.weight));
        let Work { layers, inner, blocks } = work;
        let room = inner.cols() / layers.len();
        let inner = inner.view_mut().columns(k * room, samples).into_slice();
        let product = blocks[0].view_mut().columns(0, samples).into_slice();
        multiply(device, Triangular::upper(array, &layers[k].diagonal), dim, z.slice(), inner);
        multiply(device, Triangular::unit_lower(dim, array), dim, inner, product);
        permute(device, &layers[k].order, false, product, y.into_slice())
    }

    fn pull(
        &self,
        device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        delta: Ref<'_, T>,
        v: Mut<'_, T>,
        work: &mut Work<T>,
    ) -> Result<()> {
        work.pull(device, layer, delta, Some(v))
    }

    /// Only at a layer, by [`Coupling::differentiate`].
    fn outer(
        &self,
        _device: &Cpu,
        _alpha: T,
        _factors: (SeenBlock<'_, Cpu, T>, SeenBlock<'_, Cpu, T>),
        _addend: Addend<'_, Cpu, T>,
        _out: Mut<'_, T>,
        _work: &mut Work<T>,
    ) -> Result<()> {
        Err(Error::shape("outer product", "layers that are linear in their numbers", "factors"))
    }

    fn differentiate(
        &self,
        device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        (alpha, _): (T, T),
        (delta, carried): (Ref<'_, T>, Ref<'_, T>),
        (v, out): (Option<Mut<'_, T>>, Mut<'_, T>),
        work: &mut Work<T>,
    ) -> Result<()> {
        let (dim, samples) = delta.shape();
        work.pull(device, layer, delta, v)?;
        let Work { layers, inner, blocks } = work;
        let room = inner.cols() / layers.len();
        let inner = inner.view().columns(layer.index * room, samples);
        let [back, pulled] = blocks.each_ref().map(|block| block.view().columns(0, samples));
        let (array, fixed) = out.into_slice().split_at_mut(dim * dim);
        let PluNumbers { diagonal, slopes, .. } = &mut layers[layer.index];
        let lower = HalfOuter { half: Half::Lower, alpha, left: back.slice(), right: inner.slice() };
        T::half_outer(how::<T>(device), dim, lower, array, None);
        let upper = HalfOuter { half: Half::Upper, alpha, left: pulled.slice(), right: carried.slice() };
        T::half_outer(how::<T>(device), dim, upper, array, Some(&mut *slopes));
        for ((out, &u), &slope) in array.iter_mut().step_by(dim + 1).zip(&*diagonal).zip(&*slopes) {
            *out = T::of(1.0) + u * slope;
        }
        fixed.fill(T::default());
        Ok(())
    }

    /// Nothing: in these numbers the derivative of log|det W| is 1 in each d, which [`Coupling::differentiate`] adds.
    fn invert_transposed(
        &self,
        _device: &Cpu,
        _layer: &Layer<'_, Cpu, T>,
        _out: Mut<'_, T>,
        _inverse: &mut (),
        _work: &mut Work<T>,
    ) -> Result<()> {
        Ok(())
    }

    fn to_dense(&self, device: &Cpu, weight: Ref<'_, T>, out: Mut<'_, T>) -> Result<()> {
        let dim = weight.rows();
        let mut numbers = PluNumbers::new(dim);
        numbers.read(weight)?;
        let (array, ..) = parts(weight);
        let mut upper = Matrix::<Cpu, T>::zeros(device, dim, dim, "factor of a weight")?;
        let mut product = Matrix::<Cpu, T>::zeros(device, dim, dim, "product of factors")?;
        for (j, column) in upper.view_mut().into_slice().chunks_exact_mut(dim).enumerate() {
            column[..j].copy_from_slice(&array[j * dim..][..j]);
            column[j] = numbers.diagonal[j];
        }
        let product = product.view_mut().into_slice();
        multiply(device, Triangular::unit_lower(dim, array), dim, upper.view().slice(), product);
        permute(device, &numbers.order, false, product, out.into_slice())
    }

    /// \[M52\].
    fn sum_entries(&self, _device: &Cpu, weight: Ref<'_, T>, dense: Ref<'_, T>, out: Mut<'_, T>) -> Result<()> {
        let dim = weight.rows();
        let mut numbers = PluNumbers::new(dim);
        numbers.read(weight)?;
        let (array, ..) = parts(weight);
        let diagonal: Vec<f64> = numbers.diagonal.iter().map(|u| u.widen()).collect();
        let (l, u) = (triangle(Half::Lower, array, &vec![1.0; dim]), triangle(Half::Upper, array, &diagonal));
        let mut back = DMatrix::zeros(dim, dim);
        for (i, &row) in numbers.order.iter().enumerate() {
            (0..dim).for_each(|j| back[(row, j)] = dense.slice()[i + j * dim].widen());
        }
        let pulled = l.transpose() * &back;
        let sums = half_of(Half::Lower, &(back * u.transpose())) + half_of(Half::Upper, &pulled);
        let out = out.into_slice();
        out.fill(T::default());
        out.iter_mut().zip(sums.iter()).for_each(|(out, &sum)| *out = T::of(sum));
        (0..dim).for_each(|i| out[i * (dim + 1)] = T::of(diagonal[i] * pulled[(i, i)]));
        Ok(())
    }

    fn tangent(
        &self,
        _device: &Cpu,
        weight: Ref<'_, T>,
        (r, c): (&[f64], &[f64]),
        z: &DMatrix<f64>,
    ) -> Result<(DMatrix<f64>, f64)> {
        let dim = weight.rows();
        let (array, signs, order) = parts(weight);
        let u: Vec<f64> = (0..dim).map(|i| signs[i].widen() * array[i * (dim + 1)].widen().exp()).collect();
        let logs: Vec<f64> = r.iter().zip(c).map(|(r, c)| r * c).collect();
        let moved: Vec<f64> = u.iter().zip(&logs).map(|(u, log)| u * log).collect();
        let inner = half_times(Half::Upper, array, z) + scale_rows(&u, z);
        let inner_moves = rank_one_times(Half::Upper, (r, c), z) + scale_rows(&moved, z);
        let moves =
            rank_one_times(Half::Lower, (r, c), &inner) + half_times(Half::Lower, array, &inner_moves) + inner_moves;
        let permuted = DMatrix::from_fn(dim, z.ncols(), |i, n| moves[(order[i].widen() as usize, n)]);
        Ok((permuted, logs.iter().sum()))
    }

    fn draw(
        &self,
        device: &Cpu,
        dim: usize,
        (init, seed, k): (Init, u64, usize),
        weight: &mut Matrix<Cpu, T>,
    ) -> Result<()> {
        let mut dense = Matrix::zeros(device, dim, dim, "dense weight")?;
        square(device, init, seed, k, &mut dense)?;
        self.take_dense(device, k, dense.view(), weight.view_mut())
    }

    /// Its LU with partial pivoting, so that |L_ij| ≤ 1.
    fn take_dense(&self, _device: &Cpu, k: usize, dense: Ref<'_, T>, weight: Mut<'_, T>) -> Result<()> {
        let dim = dense.rows();
        let (array, columns) = weight.into_slice().split_at_mut(dim * dim);
        array.copy_from_slice(dense.slice());
        let (mut forward, mut backward) = (vec![0; dim], vec![0; dim]);
        T::lu(MatMut::from_column_major_slice_mut(array, dim, dim), &mut forward, &mut backward);
        let (signs, order) = columns.split_at_mut(dim);
        for (i, sign) in signs.iter_mut().enumerate() {
            let pivot = &mut array[i * (dim + 1)];
            (*sign, *pivot) = split_diagonal(k, pivot.widen())?;
        }
        order.iter_mut().zip(backward).for_each(|(to, row)| *to = T::of(row as f64));
        Ok(())
    }

    /// Σ d.
    fn log_abs_det(&self, _device: &Cpu, dim: usize, layer: &Layer<'_, Cpu, T>) -> Result<f64> {
        let (array, ..) = parts(layer.weight);
        finite_log_det(layer.index, array.iter().step_by(dim + 1).map(|d| d.widen()).sum())
    }

    fn factor(&self, _device: &Cpu, dim: usize, layer: &Layer<'_, Cpu, T>) -> Result<Box<dyn Solve<T>>> {
        let mut numbers = PluNumbers::new(dim);
        numbers.read(layer.weight)?;
        let (array, ..) = parts(layer.weight);
        let mut array = array.to_vec();
        for (number, &u) in array.iter_mut().step_by(dim + 1).zip(&numbers.diagonal) {
            if u.widen() == 0.0 || !u.widen().is_finite() {
                return Err(singular(layer.index));
            }
            *number = u;
        }
        Ok(Box::new(PluFactors { array, order: numbers.order }))
    }

    /// A new LU with pivoting where L has grown: max|L_ij| > 8, or > 2 while the diagonal of U spans e^9. The moments
    /// of the old numbers are forgotten.
    fn recondition(
        &self,
        device: &Cpu,
        k: usize,
        mut weight: Mut<'_, T>,
        moments: Option<[Mut<'_, T>; 2]>,
    ) -> Result<bool> {
        let dim = weight.rows();
        let (array, ..) = parts(weight.view());
        let below = |(j, column): (usize, &[T])| column[j + 1..].iter().fold(0.0, |most, x| x.widen().abs().max(most));
        let largest = array.par_chunks_exact(dim).enumerate().map(below).reduce(|| 0.0, f64::max);
        let logs = || array.iter().step_by(dim + 1).map(|d| d.widen());
        let span = logs().fold(f64::NEG_INFINITY, f64::max) - logs().fold(f64::INFINITY, f64::min);
        let has_grown = largest > MOST_GROWTH || largest > LEAST_GROWTH && span > MOST_SPAN;
        if !has_grown || !largest.is_finite() || !span.is_finite() {
            return Ok(false);
        }
        let mut dense = Matrix::zeros(device, dim, dim, "dense weight")?;
        self.to_dense(device, weight.view(), dense.view_mut())?;
        self.take_dense(device, k, dense.view(), weight.reborrow())?;
        for moments in moments.into_iter().flatten() {
            moments.into_slice().fill(T::default());
        }
        Ok(true)
    }
}

/// Sizes of L at which it is made anew. After pivoting it is at most 1.
const MOST_GROWTH: f64 = 8.0;
const LEAST_GROWTH: f64 = 2.0;
/// Range of d from which on solves with U lose four digits.
const MOST_SPAN: f64 = 9.0;

impl<T: Scalar> MaybeGroup<Cpu, T> for Plu {}

/// L and U in one array, u_ii on its diagonal.
struct PluFactors<T> {
    array: Vec<T>,
    order: Vec<usize>,
}

impl<T: Scalar> Solve<T> for PluFactors<T> {
    fn solve(&self, y: &mut [T]) -> Result<()> {
        let dim = self.order.len();
        let mut column = vec![T::default(); dim];
        for y in y.chunks_exact_mut(dim) {
            column.copy_from_slice(y);
            self.order.iter().zip(&column).for_each(|(&row, &x)| y[row] = x);
        }
        let (array, cols) = (view(dim, &self.array), y.len() / dim);
        for kind in [Solvable::UnitLower, Solvable::Upper] {
            T::solve_triangular(kind, array, MatMut::from_column_major_slice_mut(y, dim, cols));
        }
        Ok(())
    }
}
